import { need, takesText } from "./dom.js";
import { number } from "./format.js";
import { Strip } from "./strip.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./browse.js").Browse} Browse */

/** A page that takes longer than this is shown to be on its way. */
const PENDING_MS = 150;
/** A turn that nobody answered within this time is forgotten rather than done as a surprise. */
const FORGET_MS = 5_000;
/** How long another page than the wanted one may be followed by the wanted one. */
const OVERTAKEN_MS = 1_000;
/** The server takes 30 turns a second from one viewer; a held key repeats faster than that. */
const PACE_MS = 50;

/** @type {Record<string, "first"|"previous"|"next"|"last">} */
const KEYS = { ArrowLeft: "previous", PageUp: "previous", ArrowRight: "next", PageDown: "next", Home: "first", End: "last" };

/** Turns the page, for everyone or for who browses alone, by links, a field, a slider and keys. */
export class Pager {
  /** @type {Session} */
  #session;
  /** @type {Browse} */
  #browse;
  /** @type {import("./notices.js").Notices} */
  #notices;
  /** @type {() => boolean} */
  #cellActive;
  #bar = need("#pager", HTMLElement);
  #stage = need("#stage", HTMLElement);
  #input = need("#page-input", HTMLInputElement);
  #form = need("#go", HTMLFormElement);
  #count = need("#page-count", HTMLElement);
  /** @type {Strip} */
  #strip;
  /** @type {number|null} the page that was asked for and is not here yet */
  #wanted = null;
  #unsent = false;
  #sentAt = 0;
  #paceTimer = 0;
  #pendingTimer = 0;
  #forgetTimer = 0;

  /**
   * @param {Session} session
   * @param {Browse} browse
   * @param {object} options
   * @param {import("./notices.js").Notices} options.notices
   * @param {() => boolean} options.cellActive  arrows, Home and End belong to the table while a cell is active
   */
  constructor(session, browse, { notices, cellActive }) {
    this.#session = session;
    this.#browse = browse;
    this.#strip = new Strip(session, browse);
    this.#notices = notices;
    this.#cellActive = cellActive;
  }

  // API

  start() {
    for (const link of this.#links()) {
      link.addEventListener("click", (event) => this.#click(event, link));
      link.addEventListener("keydown", (event) => {
        if (event.key !== " ") return;
        event.preventDefault();
        link.click();
      });
    }
    this.#form.addEventListener("submit", (event) => this.#go(event));
    this.#input.addEventListener("focus", () => {
      this.#input.value = String(this.#shown());
      this.#input.select();
    });
    this.#input.addEventListener("blur", () => this.#show());
    this.#input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#input.blur();
    });
    this.#strip.start(
      (pageNo) => this.turn(pageNo),
      (pageNo) => (this.#input.value = number(pageNo)),
    );
    document.addEventListener("keydown", (event) => this.#key(event));
    this.#browse.on("page", () => this.#arrived());
    this.#browse.on("change", () => this.#show());
    this.#session.on("registers", () => this.#show());
    this.#session.on("phase", () => this.#flush());
    this.#session.on("error", (error) => {
      if (error.about === "page" || error.about === "peek") this.#settle();
    });
    this.#show();
  }

  get page() {
    return this.#browse.page?.page_no ?? 1;
  }

  get pages() {
    return this.#browse.pages;
  }

  /** @param {number} pageNo */
  turn(pageNo) {
    const target = Math.min(this.pages, Math.max(1, pageNo));
    if (target === (this.#wanted ?? this.page)) return this.#show();
    if (this.#session.phase !== "live") {
      // Done later, it would move everyone when nobody expects it.
      this.#notices.say("There is no connection now, so the page was not turned.", { tone: "warn", about: "page" });
      return this.#show();
    }
    this.#wanted = target;
    this.#unsent = true;
    this.#flush();
    clearTimeout(this.#forgetTimer);
    this.#forgetTimer = window.setTimeout(() => this.#forget(), FORGET_MS);
    if (!this.#pendingTimer) this.#pendingTimer = window.setTimeout(() => this.#stage.classList.add("pending"), PENDING_MS);
    this.#show();
  }

  // Internal

  #links() {
    return /** @type {NodeListOf<HTMLAnchorElement>} */ (this.#bar.querySelectorAll(".turn a"));
  }

  /** The page that the next step counts from. */
  #shown() {
    return this.#wanted ?? this.page;
  }

  /** @param {string|undefined} action */
  #target(action) {
    if (action === "first") return 1;
    if (action === "last") return this.pages;
    return this.#shown() + (action === "next" ? 1 : -1);
  }

  /**
   * @param {MouseEvent} event
   * @param {HTMLAnchorElement} link
   */
  #click(event, link) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (link.getAttribute("aria-disabled") !== "true") this.turn(this.#target(link.dataset.action));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const action = KEYS[event.key];
    if (!action || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (this.#bar.hidden || takesText(event.target) || this.#ownKeys(event)) return;
    event.preventDefault();
    this.turn(this.#target(action));
  }

  /** @param {KeyboardEvent} event */
  #ownKeys(event) {
    const target = event.target;
    if (!(target instanceof Element)) return false;
    if (target.closest("#reader, #side, [popover], .grip")) return true;
    if (target.id === "scrub") return event.key.startsWith("Arrow");
    const pageKey = event.key === "PageUp" || event.key === "PageDown";
    return !pageKey && target.id === "table" && this.#cellActive();
  }

  /** @param {SubmitEvent} event */
  #go(event) {
    event.preventDefault();
    const typed = this.#input.value.replace(/[\s,.'’_]/g, "");
    const pageNo = Number(typed);
    if (!/^\d+$/.test(typed) || pageNo < 1 || pageNo > this.pages) {
      const range = this.pages === 1 ? "this table has one page" : `pages go from 1 to ${number(this.pages)}`;
      this.#notices.say(`There is no page “${this.#input.value.trim().slice(0, 40)}”: ${range}. ${this.#browse.browsing ? "You stay" : "Everyone stays"} on page ${number(this.page)}.`, { tone: "warn", about: "page" });
      this.#input.select();
      return;
    }
    this.turn(pageNo);
    this.#input.value = String(pageNo);
    this.#input.select();
  }

  /** Send the newest wish, at a pace that the server takes. */
  #flush() {
    if (!this.#unsent || this.#wanted === null || this.#session.phase !== "live") return;
    const wait = this.#sentAt + PACE_MS - Date.now();
    clearTimeout(this.#paceTimer);
    if (wait > 0) {
      this.#paceTimer = window.setTimeout(() => this.#flush(), wait);
      return;
    }
    if (this.#browse.turn(this.#wanted)) {
      this.#unsent = false;
      this.#sentAt = Date.now();
    }
  }

  #arrived() {
    const { page } = this;
    if (this.#wanted === null || page === this.#wanted) {
      this.#settle();
    } else if (!this.#unsent) {
      // Either a page on the way, of a key that is held, or somebody else was quicker or later:
      // if nothing more comes, this is where everyone is.
      clearTimeout(this.#forgetTimer);
      this.#forgetTimer = window.setTimeout(() => this.#settle(), OVERTAKEN_MS);
    }
    this.#show();
  }

  #forget() {
    const wanted = this.#wanted;
    const sent = !this.#unsent;
    this.#settle();
    if (wanted === null || wanted === this.page) return;
    const why = sent ? "the server did not answer in time" : "there was no connection";
    this.#notices.say(`Page ${number(wanted)} was not opened: ${why}. Page ${number(this.page)} is still shown.`, { tone: "warn", about: "page" });
  }

  #settle() {
    clearTimeout(this.#pendingTimer);
    clearTimeout(this.#forgetTimer);
    clearTimeout(this.#paceTimer);
    this.#pendingTimer = 0;
    this.#wanted = null;
    this.#unsent = false;
    this.#stage.classList.remove("pending");
    this.#show();
  }

  #show() {
    const { page } = this.#browse;
    const shown = this.#shown();
    const { pages } = this;
    // While the page of a new document is on its way the bar stays, or the table would grow and shrink.
    this.#bar.hidden = !page || !this.#session.registers.document;
    if (document.activeElement !== this.#input) this.#input.value = number(shown);
    this.#bar.style.setProperty("--digits", String(number(pages).length));
    this.#bar.classList.toggle("long", pages >= 10_000);
    this.#count.textContent = `of ${number(pages)}`;
    this.#strip.show(shown, pages, this.#wanted === null);
    for (const link of this.#links()) this.#enable(link, shown, pages);
  }

  /**
   * @param {HTMLAnchorElement} link
   * @param {number} shown
   * @param {number} pages
   */
  #enable(link, shown, pages) {
    const back = link.dataset.action === "first" || link.dataset.action === "previous";
    const enabled = back ? shown > 1 : shown < pages;
    if (enabled) {
      link.href = `?page=${Math.min(pages, Math.max(1, this.#target(link.dataset.action)))}`;
      link.removeAttribute("aria-disabled");
    } else {
      link.removeAttribute("href");
      link.setAttribute("aria-disabled", "true");
    }
  }
}
