import { need } from "./dom.js";

/** @typedef {import("./session.js").Session} Session */

const WORDS = {
  connecting: "Connecting…",
  live: "Live",
  reconnecting: "Reconnecting…",
  degraded: "Degraded",
  closed: "Closed",
  deleted: "Deleted",
};
/** A connection that is back within this time was never worth a line. */
const PATIENCE_MS = 1_500;

/** Whether what is shown is live, in a word, a colour and, when it is not, a line. */
export class Status {
  /** @type {Session} */
  #session;
  #word = need("#status", HTMLElement);
  #line = need("#connection-line", HTMLElement);
  #retry = need('[data-action="retry"]', HTMLElement);
  #timer = 0;
  #everLive = false;
  #lostAt = 0;

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
  }

  // API

  start() {
    this.#retry.addEventListener("click", () => this.#session.retryNow());
    this.#session.on("phase", () => this.#show());
    this.#session.on("degraded", () => this.#show());
    this.#session.on("registers", () => this.#show());
    this.#show();
  }

  // Internal

  /** @returns {keyof typeof WORDS} */
  #state() {
    const { phase, degraded, registers } = this.#session;
    if (registers.deleted) return "deleted";
    return phase === "live" && degraded ? "degraded" : phase;
  }

  #show() {
    const state = this.#state();
    if (state === "live" || state === "degraded" || state === "deleted") {
      this.#everLive = true;
      this.#lostAt = 0;
    } else {
      this.#lostAt ||= Date.now();
    }
    if (this.#word.dataset.state !== state) {
      this.#word.dataset.state = state;
      need("span", HTMLElement, this.#word).textContent = WORDS[state];
    }
    clearTimeout(this.#timer);
    this.#tell(state);
  }

  /** @param {keyof typeof WORDS} state */
  #tell(state) {
    const waiting = state === "reconnecting" || state === "connecting";
    if (state === "live" || state === "deleted" || (waiting && Date.now() - this.#lostAt < PATIENCE_MS)) {
      this.#line.hidden = true;
    } else {
      this.#line.hidden = false;
      this.#retry.hidden = !waiting || !this.#session.retryAt;
      const text = this.#sentence(state);
      const paragraph = need("p", HTMLElement, this.#line);
      if (paragraph.textContent !== text) paragraph.textContent = text;
    }
    if (waiting) this.#timer = window.setTimeout(() => this.#tell(state), 500);
  }

  /** @param {keyof typeof WORDS} state */
  #sentence(state) {
    if (state === "degraded") return "This node cannot reach its storage. What is shown may be out of date; it comes back by itself.";
    if (state === "closed") return "This node closed the connection for good. What is shown may be out of date; reload the page to come back.";
    const seconds = Math.ceil((this.#session.retryAt - Date.now()) / 1000);
    const next = seconds > 0 ? `The next try is in ${seconds} s.` : "Trying again…";
    return this.#everLive
      ? `The connection is lost. What is shown is the last that arrived and may be out of date. ${next}`
      : `There is no connection yet. What is shown may be out of date. ${next}`;
  }
}
