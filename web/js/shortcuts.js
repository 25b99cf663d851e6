import { need, takesText } from "./dom.js";
import { recall, remember } from "./storage.js";

const LETTERS = "tablecast:letters";
/** What an arrow key scrolls: two rows. */
const LINE_PX = 66;

/** The sheet that lists what keys do, and the keys that belong to the whole page. */
export class Shortcuts {
  #sheet = need("#shortcuts", HTMLElement);
  #menu = need("#more", HTMLElement);
  #button = need('[data-action="shortcuts"]', HTMLElement);
  #letters = need("#letters", HTMLInputElement);
  #scroller = need("#scroller", HTMLElement);
  /** @type {() => void} */
  #toggle;

  /** @param {() => void} toggle  between following and browsing */
  constructor(toggle) {
    this.#toggle = toggle;
  }

  // API

  start() {
    this.#letters.checked = recall(LETTERS) !== "off";
    this.#letters.addEventListener("change", () => remember(LETTERS, this.#letters.checked ? "on" : "off"));
    this.#button.addEventListener("click", () => this.#open());
    need("[data-close]", HTMLElement, this.#sheet).addEventListener("click", () => this.#sheet.hidePopover());
    this.#sheet.addEventListener("toggle", (event) => {
      if (event instanceof ToggleEvent && event.newState === "open") this.#sheet.focus({ preventScroll: true });
    });
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  // Internal

  #open() {
    if (this.#menu.matches(":popover-open")) this.#menu.hidePopover();
    if (!this.#sheet.matches(":popover-open")) this.#sheet.showPopover();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || takesText(event.target)) return;
    if (this.#letters.checked && event.key === "?") {
      event.preventDefault();
      this.#open();
    } else if (this.#letters.checked && event.key === "b" && !inSheet(event.target)) {
      event.preventDefault();
      this.#toggle();
    } else if (event.target === document.body) this.#scroll(event);
  }

  /**
   * The page itself does not scroll: without a focus the keys are for the table.
   * @param {KeyboardEvent} event
   */
  #scroll(event) {
    const page = this.#scroller.clientHeight - LINE_PX;
    const by = { ArrowDown: LINE_PX, ArrowUp: -LINE_PX, " ": event.shiftKey ? -page : page }[event.key];
    if (by === undefined || this.#scroller.hidden) return;
    event.preventDefault();
    this.#scroller.scrollTop += by;
  }
}

/** @param {EventTarget|null} target */
function inSheet(target) {
  return target instanceof Element && target.closest("[popover]") !== null;
}
