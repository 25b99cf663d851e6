import { make, need } from "./dom.js";
import { face, paint } from "./face.js";
import { counted, number } from "./format.js";
import { Identity } from "./identity.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./me.js").Me} Me */
/** @typedef {import("./types.js").Person} Person */
/** @typedef {import("./types.js").HereMessage} HereMessage */

/** As many faces as the bar has room for. */
const FACES = 3;
/** Pages named in a room that is too large for a list of its people. */
const PAGES = 12;
const ROLES = { owner: "owner", presenter: "presenter", guest: "" };

/** Who is here and where they look: faces in the bar, a list in the side. */
export class People {
  /** @type {Session} */
  #session;
  /** @type {Me} */
  #me;
  /** @type {import("./side.js").Side} */
  #side;
  /** @type {(pageNo: number) => void} */
  #look;
  #button = need("#watchers", HTMLElement);
  #faces = need("#faces", HTMLElement);
  #words = need("#watchers-text", HTMLElement);
  #tabCount = need("#people-count", HTMLElement);
  #lead = need("#people-lead", HTMLElement);
  #list = need("#people-list", HTMLElement);
  #pages = need("#people-pages", HTMLElement);
  #own = need("#own-entry", HTMLElement);
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  /** @type {HereMessage} */
  #here = { type: "here", count: 0 };

  /**
   * @param {Session} session
   * @param {object} with_
   * @param {Me} with_.me
   * @param {import("./side.js").Side} with_.side
   * @param {(pageNo: number) => void} with_.look  go and see a page, for oneself
   */
  constructor(session, { me, side, look }) {
    this.#session = session;
    this.#me = me;
    this.#side = side;
    this.#look = look;
  }

  // API

  start() {
    new Identity(this.#me, this.#own, need("#own-line", HTMLElement)).start();
    this.#button.addEventListener("click", () => {
      const menu = need("#more", HTMLElement);
      if (menu.matches(":popover-open")) menu.hidePopover();
      this.#side.open("people", true);
    });
    this.#session.on("message", (message) => {
      if (message.type !== "here") return;
      this.#here = message;
      this.#show();
    });
    if (this.#session.present) this.#here = this.#session.present;
    this.#session.on("phase", () => this.#show());
    this.#me.on("change", () => this.#show());
    this.#show();
  }

  // Internal

  /** Everyone but this viewer, in an order that does not change when they turn pages. */
  #others() {
    const others = (this.#here.people ?? []).filter(({ id }) => id !== this.#session.viewer);
    return others.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) || (a.id < b.id ? -1 : 1));
  }

  #show() {
    const live = this.#session.phase === "live" && this.#here.count > 0;
    const others = this.#others();
    this.#showFaces(live, others);
    this.#showOwn();
    this.#tabCount.textContent = live ? number(this.#here.count) : "";
    const listed = live && Array.isArray(this.#here.people);
    this.#showLead(live, listed, others.length);
    this.#showList(listed ? others : []);
    this.#showPages(live && !listed);
  }

  /**
   * @param {boolean} live
   * @param {Person[]} others
   */
  #showFaces(live, others) {
    const { count } = this.#here;
    this.#button.hidden = !live;
    this.#button.dataset.count = String(count);
    const words = count === 1 ? "Only you are here" : `${number(count)} here`;
    this.#button.title = words;
    this.#words.textContent = words;
    const named = Array.isArray(this.#here.people);
    const shown = named || count === 1 ? [...others, { name: this.#me.name, color: this.#me.color }].slice(0, FACES) : [];
    this.#faces.replaceChildren(...shown.map(face));
    const more = count - shown.length;
    if (more > 0) this.#faces.append(make("span", { class: "face more-faces", "aria-hidden": "true" }, shown.length ? `+${compact(more)}` : compact(more)));
  }

  #showOwn() {
    const { name, color } = this.#me;
    const line = need("#own-line", HTMLElement);
    line.dataset.person = String(color);
    paint(need(".face", HTMLElement, line), { name, color });
    need("bdi", HTMLElement, line).textContent = name;
    const me = this.#here.people?.find(({ id }) => id === this.#session.viewer);
    badge(line, me);
    need(".where", HTMLElement, line).textContent = me ? where(me) : "";
  }

  /**
   * @param {boolean} live
   * @param {boolean} listed
   * @param {number} others
   */
  #showLead(live, listed, others) {
    let text = "";
    if (!live) text = "Who is here is not known without a connection.";
    else if (this.#here.count === 1) text = "Nobody else is here. Share the link, and whoever opens it sees this table with you.";
    else if (!listed) text = `${counted(this.#here.count, "person is", "people are")} here.`;
    else if (others === 0) text = "Nobody else has come yet.";
    this.#lead.hidden = text === "";
    if (this.#lead.textContent !== text) this.#lead.textContent = text;
  }

  /** @param {Person[]} people */
  #showList(people) {
    const here = new Set(people.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (here.has(id)) continue;
      const inside = row.contains(document.activeElement);
      row.remove();
      this.#rows.delete(id);
      if (inside) need("#tab-people", HTMLElement).focus({ preventScroll: true });
    }
    /** @type {Element|null} */
    let next = this.#list.firstElementChild;
    for (const person of people) {
      const row = this.#rows.get(person.id) ?? this.#row(person.id);
      this.#rows.set(person.id, row);
      this.#fill(row, person);
      if (row === next) next = next.nextElementSibling;
      else {
        const focused = row.contains(document.activeElement) ? document.activeElement : null;
        this.#list.insertBefore(row, next);
        if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
      }
    }
  }

  /** @param {string} id */
  #row(id) {
    const named = make("span", { class: "known-as" }, make("bdi"), make("span", { class: "badge", hidden: "" }));
    const parts = [face({ name: "", color: 0 }), named, make("span", { class: "where" })];
    const button = make("button", { type: "button", class: "person quiet" }, ...parts);
    button.addEventListener("click", () => {
      const pageNo = this.#here.people?.find((person) => person.id === id)?.page_no;
      if (!pageNo) return;
      if (this.#side.isSheet) this.#side.close();
      this.#look(pageNo);
    });
    return make("li", {}, button);
  }

  /**
   * @param {HTMLElement} row
   * @param {Person} person
   */
  #fill(row, person) {
    const button = need("button", HTMLButtonElement, row);
    button.dataset.person = String(person.color);
    button.disabled = person.page_no === null;
    button.title = person.page_no === null ? "" : `Look at page ${number(person.page_no)} on your own`;
    paint(need(".face", HTMLElement, button), person);
    const name = need("bdi", HTMLElement, button);
    write(name, person.name);
    // A long one is cut off.
    name.title = person.name;
    badge(button, person);
    write(need(".where", HTMLElement, button), where(person));
  }

  /** @param {boolean} shown  in place of the list */
  #showPages(shown) {
    const pages = Object.entries(this.#here.pages ?? {}).sort((a, b) => b[1] - a[1]);
    this.#pages.hidden = !shown || pages.length === 0;
    if (this.#pages.hidden) return this.#pages.replaceChildren();
    const rows = pages.slice(0, PAGES).map(([page, count]) => {
      const button = make("button", { type: "button", class: "person quiet", "data-page": page }, `Page ${number(Number(page))}`, make("span", { class: "where" }, counted(count, "person", "people")));
      button.addEventListener("click", () => this.#look(Number(page)));
      return make("li", {}, button);
    });
    const others = this.#here.count - pages.slice(0, PAGES).reduce((sum, [, count]) => sum + count, 0);
    if (pages.length > PAGES && others > 0) rows.push(make("li", { class: "hint" }, `and ${number(others)} on other pages`));
    const focused = document.activeElement instanceof HTMLElement && this.#pages.contains(document.activeElement) ? document.activeElement.dataset.page : undefined;
    this.#pages.replaceChildren(...rows);
    if (focused) /** @type {HTMLElement|null} */ (this.#pages.querySelector(`[data-page="${CSS.escape(focused)}"]`))?.focus({ preventScroll: true });
  }
}

/** @param {Person} person */
function where({ page_no: pageNo, browsing }) {
  if (pageNo === null) return "";
  return browsing ? `browsing page ${number(pageNo)}` : `page ${number(pageNo)}`;
}

/**
 * @param {HTMLElement} row
 * @param {Person|undefined} person
 */
function badge(row, person) {
  const element = need(".badge", HTMLElement, row);
  const role = person ? ROLES[person.role] ?? "" : "";
  element.hidden = role === "";
  write(element, role);
}

/**
 * @param {HTMLElement} element
 * @param {string} text
 */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {number} count */
function compact(count) {
  return count < 1_000 ? String(count) : new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(count);
}
