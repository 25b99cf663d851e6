import { make, need } from "./dom.js";
import { number } from "./format.js";
import { Marks } from "./marks.js";

/** @typedef {import("./types.js").PointedMessage} PointedMessage */
/** @typedef {import("./selection.js").Place} Place */
/** @typedef {{row: number, name: string, color: number, document: string, until: number}} Pointed */

/** How long a row stays pointed at, unless it is taken back or said again. */
const LASTS_MS = 8_000;
/** The server takes 5 a second from one viewer. */
const PACE_MS = 250;
/** Whoever points about quickly is read out once they stay. */
const STAYS_MS = 1_000;

/** Shows everyone the row that somebody clicked, for a moment. Nobody is scrolled by it. */
export class Pointing {
  /** @type {import("./session.js").Session} */
  #session;
  /** @type {import("./access.js").Access} */
  #access;
  /** @type {import("./browse.js").Browse} */
  #browse;
  /** @type {import("./table.js").TableView} */
  #view;
  /** @type {(text: string) => void} */
  #announce;
  /** @type {Marks} */
  #marks;
  #chip = need("#pointing", HTMLElement);
  /** @type {Map<string, Pointed>} by viewer, who pointed last at the end */
  #pointed = new Map();
  /** @type {Pointed|null} */
  #mine = null;
  /** @type {number|null|undefined} what is to be sent; undefined: nothing */
  #unsent = undefined;
  #sentAt = 0;
  #paceTimer = 0;
  #endTimer = 0;
  #announceTimer = 0;
  #chipSays = "";
  /** @type {Set<string>} who was here when that was said last */
  #here = new Set();

  /**
   * @param {import("./session.js").Session} session
   * @param {object} parts
   * @param {import("./access.js").Access} parts.access
   * @param {import("./browse.js").Browse} parts.browse
   * @param {import("./table.js").TableView} parts.view
   * @param {(text: string) => void} parts.announce
   */
  constructor(session, { access, browse, view, announce }) {
    this.#session = session;
    this.#access = access;
    this.#browse = browse;
    this.#view = view;
    this.#announce = announce;
    this.#marks = new Marks(view);
  }

  // API

  start() {
    this.#marks.start();
    this.#session.on("message", (message) => {
      if (message.type === "point") this.#heard(message);
      else if (message.type === "here" && message.people) this.#present(new Set(message.people.map(({ id }) => id)));
    });
    this.#session.on("phase", ({ phase }) => {
      // Who points meanwhile is not heard.
      if (phase === "live") this.#pointed.clear();
      this.#unsent = undefined;
      this.#show();
    });
    this.#browse.on("page", ({ page }) => {
      this.#turned(page);
      this.#show();
    });
    this.#browse.on("target", ({ row, column }) => this.#marks.goTo(row, column));
    need("button", HTMLElement, this.#chip).addEventListener("click", () => {
      const pointed = this.#elsewhere();
      if (pointed) this.#browse.show(pointed.row);
    });
  }

  /**
   * This viewer picked a cell, or let go.
   * @param {Place|null} place  of the shown page
   */
  point(place) {
    const { page } = this.#view;
    if (!page || page.document !== this.#session.registers.document?.id || !this.#access.canTurn) return;
    const row = place && place.row > 0 ? this.#view.rowNumber(place.row) : null;
    if (row === null && !this.#mine) return;
    this.#mine = row === null ? null : { row, name: "", color: 0, document: page.document, until: Date.now() + LASTS_MS };
    this.#unsent = row;
    this.#flush();
    this.#show();
  }

  // Internal

  /**
   * Whoever sees another page, however it came, does not point at a row of the one before.
   * @param {import("./types.js").PageMessage|null} page  what this viewer sees now
   */
  #turned(page) {
    const mine = this.#mine;
    if (!mine || (page?.document === mine.document && mine.row >= page.first_row && mine.row < page.first_row + page.data.length)) return;
    this.#mine = null;
    this.#unsent = null;
    this.#flush();
  }

  #flush() {
    clearTimeout(this.#paceTimer);
    if (this.#unsent === undefined) return;
    const wait = this.#sentAt + PACE_MS - Date.now();
    if (wait > 0) {
      this.#paceTimer = window.setTimeout(() => this.#flush(), wait);
      return;
    }
    this.#session.send({ type: "point", row: this.#unsent });
    this.#unsent = undefined;
    this.#sentAt = Date.now();
  }

  /** @param {PointedMessage} message */
  #heard({ viewer, name, color, row, document }) {
    if (viewer === this.#session.viewer) return;
    this.#pointed.delete(viewer);
    if (row !== null) {
      this.#pointed.set(viewer, { row, name, color, document, until: Date.now() + LASTS_MS });
      clearTimeout(this.#announceTimer);
      this.#announceTimer = window.setTimeout(() => {
        if (this.#pointed.get(viewer)?.row === row) this.#announce(`${name} points at ${place(row)}`);
      }, STAYS_MS);
    }
    this.#show();
  }

  /** @param {Set<string>} here */
  #present(here) {
    // Somebody new can point before their name has come.
    const gone = [...this.#pointed.keys()].filter((viewer) => this.#here.has(viewer) && !here.has(viewer));
    this.#here = here;
    for (const viewer of gone) this.#pointed.delete(viewer);
    if (gone.length) this.#show();
  }

  /** Who points at a row that is not on the page this viewer sees, the last one of several. */
  #elsewhere() {
    const { page } = this.#browse;
    const shown = this.#session.registers.document?.id;
    const there = [...this.#pointed.values()].filter(
      ({ row, document }) => row > 0 && document === shown && (!page || row < page.first_row || row >= page.first_row + page.data.length),
    );
    return there.pop() ?? null;
  }

  #show() {
    const now = Date.now();
    for (const [viewer, { until }] of this.#pointed) if (until <= now) this.#pointed.delete(viewer);
    if (this.#mine && this.#mine.until <= now) this.#mine = null;
    const shown = this.#view.page?.document;
    const here = [...this.#pointed.values()].filter(({ document }) => document === shown);
    this.#marks.show(here, this.#mine?.document === shown ? (this.#mine?.row ?? null) : null);
    this.#showChip();
    clearTimeout(this.#endTimer);
    const next = Math.min(this.#mine?.until ?? Infinity, ...[...this.#pointed.values()].map(({ until }) => until));
    if (next < Infinity) this.#endTimer = window.setTimeout(() => this.#show(), Math.max(0, next - now) + 10);
  }

  #showChip() {
    const pointed = this.#elsewhere();
    this.#chip.hidden = !pointed;
    if (!pointed) {
      this.#chipSays = "";
      return;
    }
    const { row, name, color } = pointed;
    const says = JSON.stringify([row, name, color]);
    if (says === this.#chipSays) return;
    this.#chipSays = says;
    const pageNo = Math.ceil(row / (this.#browse.page?.page_size || 100));
    const text = need("p", HTMLElement, this.#chip);
    const who = make("bdi", { "data-person": String(color) }, name);
    text.replaceChildren(who, ` points at ${place(row)}, page ${number(pageNo)}`);
  }
}

/** @param {number} row */
function place(row) {
  return row === 0 ? "the header" : `row ${number(row)}`;
}
