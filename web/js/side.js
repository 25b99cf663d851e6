import { need } from "./dom.js";
import { counted } from "./format.js";

/** @typedef {"chat"|"people"} Tab */

const KEY = "tablecast.side";
/** As in side.css: below this the side is a sheet over the foot of the page, below that it begins closed. */
const SHEET = matchMedia("(max-width: 760px)");
const ROOMY = matchMedia("(min-width: 1101px)");

/**
 * What sits beside the table: chat and people, as two tabs. It can be put away, which this browser
 * remembers; on a phone it is a sheet that is opened for a moment.
 */
export class Side {
  #root = document.documentElement;
  #element = need("#side", HTMLElement);
  #button = need('[data-action="side"]', HTMLElement);
  #badge = need("#unread", HTMLElement);
  #tabs = { chat: need("#tab-chat", HTMLElement), people: need("#tab-people", HTMLElement) };
  #panels = { chat: need("#chat", HTMLElement), people: need("#people", HTMLElement) };
  /** @type {Tab} */
  #tab = "chat";
  /** @type {HTMLElement|null} */
  #openedBy = null;
  /** @type {() => void} */
  #uncover;

  /** @param {() => void} uncover  takes away what lies over it */
  constructor(uncover) {
    this.#uncover = uncover;
  }

  // API

  start() {
    this.#button.addEventListener("click", () => (this.isOpen ? this.close() : this.open(this.#tab, true)));
    need('[data-action="close-side"]', HTMLElement).addEventListener("click", () => this.close());
    for (const tab of /** @type {const} */ (["chat", "people"])) {
      this.#tabs[tab].addEventListener("click", () => this.#show(tab));
    }
    need('[role="tablist"]', HTMLElement, this.#element).addEventListener("keydown", (event) => this.#key(event));
    this.#element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing || event.defaultPrevented || !SHEET.matches) return;
      event.stopPropagation();
      this.close();
    });
    for (const query of [SHEET, ROOMY]) query.addEventListener("change", () => this.#tell());
    addEventListener("storage", ({ key, newValue }) => {
      if (key === KEY && newValue) this.#root.dataset.side = newValue;
      this.#tell();
    });
    this.#keepAboveKeyboard();
    this.#tell();
  }

  get isOpen() {
    return this.#element.checkVisibility();
  }

  /** Whether it lies over the table rather than beside it. */
  get isSheet() {
    return SHEET.matches;
  }

  /** @param {number} count  messages that were not seen */
  set unread(count) {
    this.#badge.hidden = count === 0;
    this.#badge.textContent = count > 99 ? "99+" : String(count);
    const label = count ? `Chat and people, ${counted(count, "unread message")}` : "Chat and people";
    if (this.#button.getAttribute("aria-label") !== label) this.#button.setAttribute("aria-label", label);
    this.#tabs.chat.dataset.unread = count ? this.#badge.textContent : "";
  }

  /**
   * @param {Tab} tab
   * @param {boolean} [focus]  whether the keys go there too
   */
  open(tab, focus = false) {
    if (!this.isOpen && document.activeElement instanceof HTMLElement) this.#openedBy = document.activeElement;
    this.#set("open");
    this.#uncover();
    this.#show(tab);
    if (!focus) return;
    // On a phone a field would bring up the keyboard, over what was to be read.
    const field = this.#panels[tab].querySelector("textarea");
    if (field instanceof HTMLElement && !SHEET.matches) field.focus({ preventScroll: true });
    else this.#tabs[tab].focus({ preventScroll: true });
  }

  close() {
    if (!this.isOpen) return;
    const inside = this.#element.contains(document.activeElement);
    this.#set("closed");
    const back = this.#openedBy?.checkVisibility() ? this.#openedBy : this.#button;
    if (inside) back.focus({ preventScroll: true });
    this.#openedBy = null;
  }

  // Internal

  /** @param {"open"|"closed"} state */
  #set(state) {
    if (SHEET.matches) {
      this.#root.dataset.sheet = state;
    } else {
      this.#root.dataset.side = state;
      try {
        localStorage.setItem(KEY, state);
      } catch {
        // Storage can be forbidden; it lasts as long as the page then.
      }
    }
    this.#tell();
  }

  #tell() {
    this.#button.setAttribute("aria-expanded", String(this.isOpen));
  }

  /** @param {Tab} tab */
  #show(tab) {
    this.#tab = tab;
    for (const name of /** @type {const} */ (["chat", "people"])) {
      this.#tabs[name].setAttribute("aria-selected", String(name === tab));
      this.#tabs[name].tabIndex = name === tab ? 0 : -1;
      this.#panels[name].hidden = name !== tab;
    }
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const steps = { ArrowLeft: "chat", Home: "chat", ArrowRight: "people", End: "people" };
    const to = /** @type {Record<string, Tab|undefined>} */ (steps)[event.key];
    if (!to) return;
    event.preventDefault();
    this.#show(to);
    this.#tabs[to].focus();
  }

  /** Some phones lay their keyboard over the page, and with it over the field. */
  #keepAboveKeyboard() {
    const view = window.visualViewport;
    view?.addEventListener("resize", () => {
      const covered = view.scale > 1.01 ? 0 : Math.max(0, Math.round(innerHeight - view.height - view.offsetTop));
      this.#root.style.setProperty("--keyboard", `${covered}px`);
    });
  }
}
