import { Emitter } from "./emitter.js";
import { counted, number } from "./format.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./types.js").PageMessage} PageMessage */
/** @typedef {{row: number, column: number|null}} Target  both count from 1, as in a row's link; row 0 is the header */
/**
 * @typedef {object} BrowseEvents
 * @property {boolean} change  whether this viewer browses now
 * @property {{page: PageMessage|null, kept: boolean}} page
 *   What is to be shown now; `kept`: nobody turned to it here, so nothing may scroll.
 * @property {Target} target  a row or cell of the shown page that was asked for
 */

/** A request that nobody answered within this time is taken for lost. */
const ANSWER_MS = 5_000;
/** A page that fills up is read anew no more often than this. */
const GROWTH_MS = 300;

/** Which page this viewer sees: the room's, or one of their own while they browse. Knows no DOM. */
export class Browse {
  /** @type {Emitter<BrowseEvents>} */
  #events = new Emitter();
  /** @type {Session} */
  #session;
  /** @type {import("./access.js").Access} */
  #access;
  /** @type {import("./notices.js").Notices} */
  #notices;
  #browsing = false;
  /** @type {PageMessage|null} the page that was sent to this viewer alone */
  #own = null;
  /** How the document was read when that page was asked for. */
  #reading = "";
  /** The page that this viewer chose last; a shorter table may not have it. */
  #chosen = 1;
  /** @type {{pageNo: number, kept: boolean, document: string, reading: string}|null} */
  #asked = null;
  #unsent = false;
  /** @type {Target|null} where to go once its page is here */
  #target = null;
  /** The page that everyone is being brought to, else 0. */
  #bringing = 0;
  #bringTimer = 0;
  #askTimer = 0;
  #growthTimer = 0;

  /**
   * @param {Session} session
   * @param {import("./access.js").Access} access
   * @param {import("./notices.js").Notices} notices
   * @param {PageMessage|null} own  a page that this viewer browses from the beginning
   */
  constructor(session, access, notices, own) {
    this.#session = session;
    this.#access = access;
    this.#notices = notices;
    if (!own) return;
    this.#browsing = true;
    this.#own = own;
    this.#reading = this.#present();
    this.#chosen = own.page_no;
  }

  // API

  /** @type {Emitter<BrowseEvents>["on"]} */
  on = (name, listener) => this.#events.on(name, listener);

  start() {
    const session = this.#session;
    session.on("page", (page) => this.#roomTurned(page));
    session.on("registers", ({ before }) => this.#roomChanged(before.document ?? null));
    session.on("degraded", () => this.#refresh());
    session.on("phase", () => this.#forget());
    session.on("message", (message) => {
      if (message.type === "hello") this.#greeted();
      else if (message.type === "page" && message.peek) this.#peeked(message);
    });
    session.on("error", ({ about }) => {
      if (about === "page") this.#bringing = 0;
      if (about === "peek") this.#refused();
    });
  }

  /** Whether this viewer turns pages alone. */
  get browsing() {
    return this.#browsing;
  }

  /** The page that this viewer is to see. */
  get page() {
    return this.#browsing && this.#own ? this.#own : this.#session.page;
  }

  /** The page that the room is on, kept while this viewer browses. */
  get roomPage() {
    return this.#session.page;
  }

  /** Its number, from 1, also before the page itself has come. */
  get roomPageNo() {
    const { page } = this.#session;
    const { offset = 0, size = 100 } = this.#session.registers.page ?? {};
    return page?.page_no ?? Math.floor(offset / size) + 1;
  }

  /** Pages of the document as far as it is here; at least one. */
  get pages() {
    const { page } = this;
    const shown = this.#session.registers.document;
    const seen = page && (!shown || page.document === shown.id) ? page.total_number : 0;
    return Math.max(1, Math.ceil(Math.max(seen, shown?.rows ?? 0) / this.#pageSize));
  }

  /**
   * Turn the page: for everyone while following, alone while browsing. Who may not turn the room's
   * page begins to browse by it.
   * @param {number} pageNo
   * @returns {boolean} whether it was sent
   */
  turn(pageNo) {
    if (!this.#browsing && this.#access.canTurn) return this.#session.turn(pageNo);
    if (!this.#browsing) this.#notices.note("Only presenters turn pages here; you are browsing on your own.", "role");
    this.browse(pageNo);
    return !this.#unsent;
  }

  /**
   * Turn pages alone from now on, beginning with this one.
   * @param {number} [pageNo]
   */
  browse(pageNo = this.page?.page_no ?? 1) {
    const began = !this.#browsing;
    if (!this.#session.registers.document) return;
    this.#browsing = true;
    if (began) this.#own = this.#session.page;
    this.#chosen = Math.min(this.pages, Math.max(1, pageNo));
    this.#target = null;
    this.#ask(this.#chosen, false);
    if (began) this.#events.emit("change", true);
  }

  /** See what the room sees again, at once. */
  follow() {
    if (!this.#browsing) return;
    this.#browsing = false;
    this.#own = null;
    this.#target = null;
    this.#bringing = 0;
    this.#forget();
    this.#notices.over("browse");
    this.#session.send({ type: "follow" });
    this.#events.emit("change", false);
    this.#events.emit("page", { page: this.page, kept: false });
  }

  /** Turn the room's page to this viewer's own, and follow. */
  bringEveryone() {
    const own = this.#own;
    if (!this.#browsing || !own || !this.#access.canTurn) return;
    const { page } = this.#session;
    if (page?.document === own.document && page.first_row === own.first_row) return this.follow();
    clearTimeout(this.#bringTimer);
    if (!this.#session.turn(own.page_no)) {
      this.#notices.say("There is no connection now, so nobody was brought here.", { tone: "warn", about: "browse" });
      return;
    }
    this.#bringing = own.page_no;
    this.#bringTimer = window.setTimeout(() => {
      if (!this.#bringing) return;
      this.#bringing = 0;
      this.#notices.say("Nobody was brought here: the server did not answer in time.", { tone: "warn", about: "browse" });
    }, ANSWER_MS);
  }

  /**
   * Go to a row for this viewer alone; where it is on the page already, only scroll there.
   * @param {number} row  from 1 in the document; 0 is the header
   * @param {number|null} [column]  from 1
   */
  show(row, column = null) {
    const target = { row, column };
    const { page } = this;
    const shown = this.#session.registers.document;
    if (!page || page.document !== shown?.id) {
      // The page may still come, as after a link to a row was opened.
      this.#target = target;
      return;
    }
    if (row === 0 || holds(page, row)) {
      this.#events.emit("target", target);
      return;
    }
    const rows = Math.max(page.total_number, shown.rows);
    if (row < 0 || row > rows) {
      const there = rows ? `it has ${counted(rows, "row")}${shown.complete ? "" : " so far"}` : "it has no rows";
      this.#notices.say(`There is no row ${number(row)} in this table: ${there}.`, { tone: "warn", about: "browse" });
      return;
    }
    this.browse(Math.ceil(row / this.#pageSize));
    this.#target = target;
  }

  // Internal

  get #pageSize() {
    return this.page?.page_size || this.#session.registers.page?.size || 100;
  }

  /** How the shown document is read: another reading means other rows. */
  #present() {
    return JSON.stringify(this.#session.registers.document?.dialect ?? null);
  }

  /**
   * @param {number} pageNo
   * @param {boolean} kept
   */
  #ask(pageNo, kept) {
    clearTimeout(this.#askTimer);
    clearTimeout(this.#growthTimer);
    this.#growthTimer = 0;
    this.#asked = { pageNo, kept, document: this.#session.registers.document?.id ?? "", reading: this.#present() };
    this.#unsent = !this.#session.send({ type: "peek", page_no: pageNo });
    if (!this.#unsent) this.#askTimer = window.setTimeout(() => this.#refused(), ANSWER_MS);
  }

  /** Whatever was asked on a connection that is gone is not answered any more. */
  #forget() {
    clearTimeout(this.#askTimer);
    clearTimeout(this.#growthTimer);
    this.#growthTimer = 0;
    if (!this.#unsent || !this.#browsing) this.#asked = null;
  }

  #refused() {
    clearTimeout(this.#askTimer);
    this.#asked = null;
    // What the viewer turned to themselves, the pager gives up; what is outdated is asked for again.
    if (this.#browsing && this.#session.phase === "live") this.#askTimer = window.setTimeout(() => this.#refresh(), ANSWER_MS / 2);
  }

  /** A new connection: the room has to hear again that this viewer browses. */
  #greeted() {
    if (!this.#browsing) return;
    const own = this.#own;
    const waiting = this.#unsent ? this.#asked : null;
    const stays = own && own.document === this.#session.registers.document?.id ? own.page_no : this.#chosen;
    this.#ask(waiting?.pageNo ?? stays, waiting?.kept ?? true);
  }

  /** @param {PageMessage} page */
  #peeked(page) {
    if (!this.#browsing || page.document !== this.#session.registers.document?.id) return;
    const asked = this.#asked;
    const kept = asked?.kept ?? true;
    this.#own = page;
    this.#reading = asked?.reading ?? this.#present();
    if (asked?.pageNo === page.page_no) {
      clearTimeout(this.#askTimer);
      this.#asked = null;
    }
    this.#events.emit("page", { page, kept });
    this.#arrive();
    this.#refresh();
  }

  /** @param {PageMessage} page */
  #roomTurned(page) {
    if (this.#browsing) {
      if (this.#bringing === page.page_no) this.follow();
      return;
    }
    this.#events.emit("page", { page, kept: false });
    const target = this.#target;
    this.#target = null;
    if (target) this.show(target.row, target.column);
  }

  #arrive() {
    const target = this.#target;
    if (!target || !this.page || !holds(this.page, target.row)) return;
    this.#target = null;
    this.#events.emit("target", target);
  }

  /** @param {import("./types.js").DocumentValue|null} before */
  #roomChanged(before) {
    if (!this.#browsing) return;
    const now = this.#session.registers.document;
    if (!now) return this.follow();
    if (before && before.id !== now.id) {
      const pageNo = Math.min(this.#chosen, this.pages);
      this.#target = null;
      const table = before.name === now.name ? `version ${number(now.version)} of ${now.name}` : `another table: ${now.name}`;
      const what = before.version === now.version ? "The room’s table is cut into rows anew" : `The room shows ${table}`;
      this.#notices.say(`${what}. You are still browsing on your own, on page ${number(pageNo)} of it.`, { tone: "warn", about: "browse" });
    }
    this.#refresh();
  }

  /** Read this viewer's page again if it is not what the document has there now. */
  #refresh() {
    const own = this.#own;
    const now = this.#session.registers.document;
    if (!this.#browsing || !now || this.#session.phase !== "live") return;
    const reading = this.#present();
    if (this.#asked?.document === now.id && this.#asked.reading === reading) return;
    if (own?.document !== now.id) this.#ask(Math.min(this.#chosen, this.pages), true);
    else if (this.#reading !== reading) this.#ask(Math.min(own.page_no, this.pages), true);
    else if (own.data.length < own.page_size && now.rows >= own.first_row + own.data.length && !this.#growthTimer) {
      this.#growthTimer = window.setTimeout(() => this.#ask(own.page_no, true), GROWTH_MS);
    }
  }
}

/**
 * @param {PageMessage} page
 * @param {number} row  from 1 in the document
 */
function holds(page, row) {
  return row >= page.first_row && row < page.first_row + page.data.length;
}
