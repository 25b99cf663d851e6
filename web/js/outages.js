/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./types.js").ErrorMessage} ErrorMessage */
/** @typedef {import("./types.js").RegisterValues} RegisterValues */

const LOST = "lost";
const OUT_OF_REACH = "storage";

/** What people are told of the server's storage: that it cannot be reached, and what it has lost. */
export class Outages {
  #session;
  #notices;

  /**
   * @param {Session} session
   * @param {import("./notices.js").Notices} notices
   */
  constructor(session, notices) {
    this.#session = session;
    this.#notices = notices;
  }

  // API

  start() {
    this.#session.on("registers", ({ before, now, lost }) => this.#changed(before, now, lost));
    this.#session.on("degraded", () => this.#reached());
  }

  /**
   * Say of something that could not be done why; false if storage has no part in it.
   * @param {ErrorMessage} error
   */
  refused(error) {
    if (error.code !== "unavailable") return false;
    // The line above says what is the matter.
    const text = this.#session.degraded ? "That could not be done now. Nothing was lost; try again when the storage is back." : error.message;
    this.#notices.say(text, { tone: "warn", about: OUT_OF_REACH });
    return true;
  }

  // Internal

  /**
   * @param {RegisterValues} before
   * @param {RegisterValues} now
   * @param {boolean} lost
   */
  #changed(before, now, lost) {
    this.#reached();
    if (!lost) {
      if (before.document?.id !== now.document?.id) this.#notices.over(LOST);
      return;
    }
    if (now.deleted) return;
    const text =
      before.document && !now.document
        ? "The server no longer has what was shown and said here. Whoever has the file can upload it again."
        : "The server has lost what was changed here last. This is what it still has, for everyone.";
    this.#notices.say(text, { tone: "warn", about: LOST });
  }

  #reached() {
    if (!this.#session.degraded) this.#notices.over(OUT_OF_REACH);
  }
}
