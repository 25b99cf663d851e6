import { make, need } from "./dom.js";
import { number } from "./format.js";

/** @typedef {import("./session.js").Session} Session */

/** Says who turned the room's page last, and takes it back. */
export class Turned {
  /** @type {Session} */
  #session;
  /** @type {import("./access.js").Access} */
  #access;
  /** @type {import("./browse.js").Browse} */
  #browse;
  #line = need("#turned", HTMLElement);
  #text = need("p", HTMLElement, this.#line);
  #undo = need('[data-action="undo"]', HTMLElement, this.#line);
  /** @type {Set<string>} the ids that this window has had, a new one on every connection */
  #me = new Set();

  /**
   * @param {Session} session
   * @param {import("./access.js").Access} access
   * @param {import("./browse.js").Browse} browse
   */
  constructor(session, access, browse) {
    this.#session = session;
    this.#access = access;
    this.#browse = browse;
  }

  // API

  start() {
    if (this.#session.viewer) this.#me.add(this.#session.viewer);
    this.#session.on("message", (message) => {
      if (message.type !== "hello") return;
      this.#me.add(message.viewer);
      this.#show();
    });
    this.#session.on("registers", () => this.#show());
    this.#access.on("change", () => this.#show());
    this.#browse.on("change", () => this.#show());
    this.#undo.addEventListener("click", () => this.#takeBack());
    this.#show();
  }

  /** Who turned the page, if it was somebody else; empty if it was this viewer or nobody. */
  get other() {
    const by = this.#turn?.by;
    return by && !this.#me.has(by.id) ? by.name : "";
  }

  // Internal

  /** The room's page, if somebody turned to it within the shown document. */
  get #turn() {
    const { page, document } = this.#session.registers;
    return page && document && page.document === document.id && page.back ? page : null;
  }

  /** Where an undo leads: 0 if there is nothing to take back. */
  get #target() {
    const turn = this.#turn;
    if (!turn?.back || turn.back.document !== turn.document || turn.back.offset === turn.offset) return 0;
    return this.#pageNo(turn.back.offset);
  }

  /** @param {number} offset */
  #pageNo(offset) {
    const size = this.#session.registers.page?.size || 100;
    const rows = this.#session.registers.document?.rows ?? 0;
    // Older clients turn to offsets between the pages; the nearest page is as the server says it.
    return Math.min(Math.max(1, Math.ceil(rows / size)), Math.floor((offset + Math.floor(size / 2)) / size) + 1);
  }

  #takeBack() {
    const target = this.#target;
    if (target) this.#session.turn(target);
  }

  #show() {
    const turn = this.#turn;
    this.#line.hidden = !turn?.by || this.#browse.browsing;
    if (!turn?.by) return;
    const who = this.#me.has(turn.by.id) ? "You" : make("bdi", { "data-person": String(turn.by.color) }, turn.by.name);
    const where = ` to page ${number(this.#pageNo(turn.offset))}`;
    // Where there is no room for the number, it stands in the field beside.
    const brief = make("span", { class: "brief", "aria-hidden": "true" }, " the page");
    this.#text.replaceChildren(who, " turned", make("span", { class: "where" }, where), brief);
    this.#text.title = `${who instanceof Node ? who.textContent : who} turned${where}`;
    const target = this.#target;
    this.#undo.hidden = !target || !this.#access.canTurn;
    this.#undo.title = `Back to page ${number(target)}, for everyone`;
  }
}
