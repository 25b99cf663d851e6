import { make, need } from "./dom.js";
import { messageContent } from "./markup.js";

/** @typedef {import("./types.js").ChatEntry} ChatEntry */
/** @typedef {{id: string, rev: number, time: number, speaker: string, element: HTMLElement}} Item  `speaker` is empty in a note */

/** The server keeps as many; older ones would be gone after a reload anyway. */
const KEPT = 200;
/** So near to the end still reads as the end. */
const END_PX = 48;
/** Messages of one speaker within this time stand under one name. */
const TOGETHER_MS = 300_000;
/** More messages than this in that time are counted aloud rather than read out. */
const READ_OUT = 4;
const READ_OUT_MS = 3_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dayOfYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

/** What was said, in the room's order, in a box that scrolls; who reads an older part stays there. */
export class ChatLog {
  #box = need("#talk", HTMLElement);
  #log = need("#log", HTMLElement);
  #empty = need("#chat-empty", HTMLElement);
  /** @type {Map<string, Item>} */
  #items = new Map();
  /** @type {Map<string, HTMLElement>} */
  #days = new Map();
  #atEnd = true;
  #top = 0;
  #shown = false;
  /** @type {number[]} */
  #lately = [];
  #calmTimer = 0;
  #notes = 0;
  /** @type {{moved: () => void, announce: (text: string) => void}} */
  #to;

  /**
   * @param {object} to
   * @param {() => void} to.moved  the end was reached or left, or the box came into sight
   * @param {(text: string) => void} to.announce
   */
  constructor(to) {
    this.#to = to;
  }

  // API

  start() {
    this.#takeFromPage();
    this.#box.addEventListener(
      "scroll",
      () => {
        if (!this.#box.clientHeight) return;
        this.#top = this.#box.scrollTop;
        this.#atEnd = this.#box.scrollHeight - this.#box.scrollTop - this.#box.clientHeight < END_PX;
        this.#to.moved();
      },
      { passive: true },
    );
    // Both when the box comes into sight, which forgot its place meanwhile, and when its height changes.
    new ResizeObserver(() => {
      const shown = this.#box.clientHeight > 0;
      if (shown && this.#atEnd) this.toEnd();
      else if (shown && !this.#shown) this.#box.scrollTop = this.#top;
      this.#shown = shown;
      this.#to.moved();
    }).observe(this.#box);
  }

  /** Whether the newest message can be seen, as far as the page goes. */
  get atEnd() {
    return this.#atEnd && this.#box.checkVisibility({ visibilityProperty: true });
  }

  get visible() {
    return this.#box.checkVisibility({ visibilityProperty: true });
  }

  toEnd() {
    this.#box.scrollTop = this.#box.scrollHeight;
    this.#atEnd = true;
  }

  /** @param {string} id */
  has(id) {
    return this.#items.has(id);
  }

  /**
   * Show messages, or show only these from now on.
   * @param {ChatEntry[]} entries
   * @param {boolean} whole
   * @returns {ChatEntry[]} those that were not known
   */
  take(entries, whole) {
    const fresh = entries.filter((entry) => !this.#items.has(entry.id));
    this.#hush(fresh.length, whole);
    this.keepingPlace(() => {
      if (whole) {
        const kept = new Set(entries.map((entry) => entry.id));
        for (const [id, item] of this.#items) if (item.speaker && !kept.has(id)) this.#items.delete(id);
      }
      // A known one is left as it stands: nobody can say something else under its id.
      for (const entry of fresh) this.#items.set(entry.id, said(entry));
      this.#arrange();
    });
    return fresh;
  }

  /**
   * Something that happened to the table, between the messages.
   * @param {...(string|Node)} content
   */
  note(...content) {
    const time = Date.now();
    const last = Math.max(0, ...[...this.#items.values()].map((item) => item.rev));
    const element = make("p", { class: "note" }, ...content, " · ", make("time", { datetime: new Date(time).toISOString() }, clock.format(time)));
    const id = `note ${(this.#notes += 1)}`;
    this.keepingPlace(() => {
      this.#items.set(id, { id, rev: last, time, speaker: "", element });
      this.#arrange();
    });
  }

  /**
   * Change what the box holds without moving what is read in it.
   * @param {() => void} change
   */
  keepingPlace(change) {
    if (!this.#box.clientHeight) return change();
    const box = this.#box.getBoundingClientRect();
    const read = this.#atEnd ? null : [...this.#log.children].find((element) => element.getBoundingClientRect().bottom > box.top);
    const before = read?.getBoundingClientRect().top ?? 0;
    change();
    if (this.#atEnd) this.toEnd();
    else if (read?.isConnected) this.#box.scrollTop += read.getBoundingClientRect().top - before;
  }

  // Internal

  /** What the server put into the page. */
  #takeFromPage() {
    for (const element of this.#log.querySelectorAll(".said")) {
      if (!(element instanceof HTMLElement)) continue;
      const { id = "", rev, person } = element.dataset;
      const time = need("time", HTMLElement, element);
      const at = Date.parse(time.getAttribute("datetime") ?? "") || 0;
      tellTime(time, at);
      const speaker = `${person} ${element.querySelector("bdi")?.textContent}`;
      this.#items.set(id, { id, rev: Number(rev), time: at, speaker, element });
    }
    this.#arrange();
    this.toEnd();
  }

  #arrange() {
    // A stable sort: notes stand behind the message they came after.
    const items = [...this.#items.values()].sort((a, b) => a.rev - b.rev);
    for (const gone of items.splice(0, Math.max(0, items.length - KEPT))) this.#items.delete(gone.id);
    /** @type {HTMLElement[]} */
    const wanted = [];
    let today = "";
    /** @type {Item|null} */
    let last = null;
    for (const item of items) {
      const date = new Date(item.time).toDateString();
      if (date !== today) {
        wanted.push(this.#day(date, item.time));
        last = null;
      }
      today = date;
      const together = last !== null && last.speaker !== "" && last.speaker === item.speaker && item.time - last.time < TOGETHER_MS;
      item.element.classList.toggle("together", together);
      wanted.push(item.element);
      last = item;
    }
    place(this.#log, wanted);
    this.#empty.hidden = items.length > 0;
  }

  /**
   * @param {string} date
   * @param {number} time
   */
  #day(date, time) {
    const element = this.#days.get(date) ?? make("p", { class: "day" });
    const now = new Date();
    const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
    const sameYear = new Date(time).getFullYear() === now.getFullYear();
    const name = date === now.toDateString() ? "Today" : date === yesterday.toDateString() ? "Yesterday" : (sameYear ? day : dayOfYear).format(time);
    if (element.textContent !== name) element.textContent = name;
    this.#days.set(date, element);
    return element;
  }

  /**
   * A screen reader hears each message, but not two hundred at once.
   * @param {number} fresh
   * @param {boolean} whole
   */
  #hush(fresh, whole) {
    if (fresh === 0) return;
    const now = Date.now();
    this.#lately = this.#lately.filter((time) => now - time < READ_OUT_MS);
    for (let count = 0; count < Math.min(fresh, KEPT); count += 1) this.#lately.push(now);
    if (!whole && this.#lately.length <= READ_OUT) return;
    this.#log.setAttribute("aria-live", "off");
    const many = whole ? 0 : this.#lately.length;
    clearTimeout(this.#calmTimer);
    this.#calmTimer = window.setTimeout(() => {
      this.#log.setAttribute("aria-live", "polite");
      if (many) this.#to.announce(`${many} new messages in the chat`);
    }, READ_OUT_MS);
  }
}

/**
 * @param {ChatEntry} entry
 * @returns {Item}
 */
function said({ id, rev, name, color, time, html }) {
  const at = make("time");
  tellTime(at, time);
  const message = make("div", { class: "message", id: `m${id}`, dir: "auto" }, ...messageContent(html));
  const element = make("div", { class: "said", "data-id": id, "data-person": String(color) }, make("p", { class: "who" }, make("bdi", { title: name }, name), " ", at), message);
  return { id, rev, time, speaker: `${color} ${name}`, element };
}

/**
 * @param {HTMLElement} element
 * @param {number} time  ms since 1970
 */
function tellTime(element, time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return;
  element.setAttribute("datetime", date.toISOString());
  element.title = moment.format(date);
  element.textContent = clock.format(date);
}

/**
 * Make `wanted` the children of `parent`; what stands right is not touched, or it would be read out again.
 * @param {HTMLElement} parent
 * @param {HTMLElement[]} wanted
 */
function place(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (child instanceof HTMLElement && !keep.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const element of wanted) {
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
}
