import { make, need } from "./dom.js";
import { counted, number } from "./format.js";

/** @typedef {{pageNo: number, last: number, count: number, room: boolean}} Dot  pages that stand too close for a dot each share one */

const THUMB_PX = 16;
const APART_PX = 9;
const SMALLEST_PX = 12;
const LARGEST_PX = 24;

/** The table from its first page to its last as a line: where this viewer is, the room, the others. */
export class Strip {
  /** @type {import("./session.js").Session} */
  #session;
  /** @type {import("./browse.js").Browse} */
  #browse;
  #box = need("#strip", HTMLElement);
  #slider = need("#scrub", HTMLInputElement);
  #line = need("#strip-dots", HTMLElement);
  #tip = need("#strip-tip", HTMLElement);
  /** @type {Map<number, number>} people by page, as the server counts them: this viewer too */
  #people = new Map();
  /** @type {Dot[]} */
  #dots = [];
  #painted = "";

  /**
   * @param {import("./session.js").Session} session
   * @param {import("./browse.js").Browse} browse
   */
  constructor(session, browse) {
    this.#session = session;
    this.#browse = browse;
  }

  // API

  /**
   * @param {(pageNo: number) => void} turn
   * @param {(pageNo: number) => void} preview  while the slider is dragged
   */
  start(turn, preview) {
    const slider = this.#slider;
    slider.addEventListener("input", () => {
      preview(slider.valueAsNumber);
      this.#tell(slider.valueAsNumber);
    });
    slider.addEventListener("change", () => turn(slider.valueAsNumber));
    slider.addEventListener("pointermove", (event) => this.#hover(event));
    slider.addEventListener("pointerleave", () => this.#leave());
    slider.addEventListener("focus", () => this.#leave());
    slider.addEventListener("blur", () => (this.#tip.hidden = true));
    this.#count(this.#session.present?.pages ?? {});
    this.#session.on("message", (message) => {
      if (message.type === "here") this.#count(message.pages ?? {});
    });
    this.#session.on("page", () => this.#paint());
    this.#browse.on("page", () => this.#paint());
    this.#browse.on("change", () => this.#paint());
    new ResizeObserver(() => this.#paint()).observe(this.#box);
  }

  /**
   * @param {number} pageNo  the page this viewer sees, or has asked for
   * @param {number} pages
   * @param {boolean} settled  no page is on its way
   */
  show(pageNo, pages, settled) {
    const slider = this.#slider;
    // What the tip says of a page may be untrue of the next table.
    if (this.#pages !== pages) this.#tip.hidden = true;
    slider.max = String(pages);
    slider.disabled = pages < 2;
    this.#box.classList.toggle("single", pages < 2);
    if (document.activeElement !== slider || settled) slider.value = String(pageNo);
    slider.setAttribute("aria-valuetext", this.#sentence(pageNo, pages));
    this.#paint();
  }

  // Internal

  /** @param {Record<string, number>} pages */
  #count(pages) {
    this.#people = new Map(Object.entries(pages).map(([pageNo, count]) => [Number(pageNo), count]));
    this.#slider.setAttribute("aria-valuetext", this.#sentence(this.#slider.valueAsNumber, this.#pages));
    this.#paint();
  }

  get #pages() {
    return Math.max(1, Number(this.#slider.max));
  }

  /**
   * Others who look at a page.
   * @param {number} pageNo
   */
  #others(pageNo) {
    return Math.max(0, (this.#people.get(pageNo) ?? 0) - (pageNo === this.#browse.page?.page_no ? 1 : 0));
  }

  /**
   * @param {number} pageNo
   * @param {number} pages
   */
  #sentence(pageNo, pages) {
    const others = this.#others(pageNo);
    return `Page ${number(pageNo)} of ${number(pages)}${others ? `, ${counted(others, "other is", "others are")} there` : ""}`;
  }

  /** How far along the line a page is, from 0 to 1. @param {number} pageNo */
  #part(pageNo) {
    return this.#pages > 1 ? (Math.min(this.#pages, pageNo) - 1) / (this.#pages - 1) : 0;
  }

  #paint() {
    const width = this.#box.clientWidth - THUMB_PX;
    if (width <= 0) return;
    const room = this.#browse.browsing ? (this.#browse.roomPage?.page_no ?? 0) : 0;
    const pages = [...new Set([...this.#people.keys(), ...(room ? [room] : [])])].sort((a, b) => a - b);
    const you = this.#browse.page?.page_no;
    this.#dots = [];
    for (const pageNo of pages) {
      const count = this.#others(pageNo);
      if (count === 0 && pageNo !== room) continue;
      const before = this.#dots.at(-1);
      const isRoom = pageNo === room;
      const alone = isRoom || before?.room || pageNo === you || before?.pageNo === you;
      if (before && !alone && (this.#part(pageNo) - this.#part(before.pageNo)) * width < APART_PX) {
        before.last = pageNo;
        before.count += count;
      } else this.#dots.push({ pageNo, last: pageNo, count, room: isRoom });
    }
    const painted = JSON.stringify([this.#dots, this.#pages, this.#browse.page?.page_no]);
    if (painted === this.#painted) return;
    this.#painted = painted;
    this.#line.replaceChildren(...this.#dots.map((dot) => this.#dot(dot)));
  }

  /** @param {Dot} dot */
  #dot(dot) {
    const size = Math.min(LARGEST_PX, SMALLEST_PX + 3 * Math.log2(Math.max(1, dot.count)));
    const you = dot.pageNo === this.#browse.page?.page_no;
    const least = you ? LARGEST_PX : dot.room ? THUMB_PX : 0;
    const element = make("i", { class: you ? "you" : dot.room ? "room" : "", "data-page": String(dot.pageNo), "data-count": String(dot.count) });
    element.style.setProperty("--part", this.#centre(dot).toFixed(5));
    element.style.setProperty("--size", `${Math.max(size, least).toFixed(1)}px`);
    return element;
  }

  /** @param {Dot} dot */
  #centre({ pageNo, last }) {
    return (this.#part(pageNo) + this.#part(last)) / 2;
  }

  /** @param {PointerEvent} event */
  #hover(event) {
    if (event.pointerType !== "mouse" || event.buttons) return;
    const width = this.#box.clientWidth - THUMB_PX;
    const part = Math.min(1, Math.max(0, (event.clientX - this.#box.getBoundingClientRect().left - THUMB_PX / 2) / Math.max(1, width)));
    const near = this.#dots.filter((dot) => Math.abs(this.#centre(dot) - part) * width < APART_PX);
    if (near.length) this.#say(near.map((dot) => this.#words(dot)).join(" · "), this.#centre(near[0]));
    else this.#tell(1 + Math.round(part * (this.#pages - 1)), part);
  }

  /** Without a pointer, the tip stands where the keyboard is. */
  #leave() {
    if (this.#slider.matches(":focus-visible")) this.#tell(this.#slider.valueAsNumber);
    else this.#tip.hidden = true;
  }

  /**
   * @param {number} pageNo
   * @param {number} [part]
   */
  #tell(pageNo, part = this.#part(pageNo)) {
    const room = this.#browse.browsing && pageNo === this.#browse.roomPage?.page_no;
    this.#say(this.#words({ pageNo, last: pageNo, count: this.#others(pageNo), room }), part);
  }

  /** @param {Dot} dot */
  #words({ pageNo, last, count, room }) {
    const where = last > pageNo ? `Pages ${number(pageNo)}–${number(last)}` : `Page ${number(pageNo)}`;
    const you = pageNo <= (this.#browse.page?.page_no ?? 0) && last >= (this.#browse.page?.page_no ?? 0);
    const people = you ? `you${count ? ` and ${counted(count, "other")}` : ""}` : count ? counted(count, "person", "people") : "";
    const who = [room ? "the room" : "", people].filter(Boolean).join(", ");
    return who ? `${where}: ${who}` : where;
  }

  /**
   * @param {string} text
   * @param {number} part
   */
  #say(text, part) {
    this.#tip.textContent = text;
    this.#tip.style.setProperty("--part", part.toFixed(5));
    this.#tip.hidden = false;
  }
}
