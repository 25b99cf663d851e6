import { need } from "./dom.js";
import { forgetRoom } from "./recent.js";

const SAID = "This room was deleted by its owner.";

/** The end of a room while people are in it: nothing of it stays, and nothing tries to come back. */
export class Deleted {
  /** @type {import("./session.js").Session} */
  #session;
  /** @type {import("./access.js").Access} */
  #access;
  /** @type {import("./notices.js").Notices} */
  #notices;
  #done = false;

  /**
   * @param {import("./session.js").Session} session
   * @param {import("./access.js").Access} access
   * @param {import("./notices.js").Notices} notices
   */
  constructor(session, access, notices) {
    this.#session = session;
    this.#access = access;
    this.#notices = notices;
  }

  // API

  start() {
    this.#access.on("change", () => this.#look());
    this.#look();
  }

  // Internal

  #look() {
    if (!this.#access.isDeleted || this.#done) return;
    this.#done = true;
    forgetRoom(this.#session.uuid);
    this.#session.close();
    // What ends with the room has been said by now, and is no news beside it.
    this.#notices.clear();
    for (const panel of document.querySelectorAll(":popover-open")) {
      if (panel instanceof HTMLElement) panel.hidePopover();
    }
    this.#clearTalk();
    need("#announce", HTMLElement).textContent = SAID;
  }

  #clearTalk() {
    for (const field of document.querySelectorAll("#say :is(textarea, input, button), #as button")) field.setAttribute("disabled", "");
    need("#say-body", HTMLTextAreaElement).placeholder = "This room was deleted";
    for (const part of ["#log", "#outbox", "#people-list", "#people-pages"]) need(part, HTMLElement).replaceChildren();
    need("#newer", HTMLElement).hidden = true;
    need("#chat-empty", HTMLElement).hidden = true;
  }
}
