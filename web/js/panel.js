import { need } from "./dom.js";

/**
 * A sheet that a fact in the bar opens: below that fact, on a phone at the foot of the window. It
 * takes nothing away from the page: a press elsewhere and Esc close it.
 */
export class Panel {
  /** @type {HTMLElement} */
  #element;
  #bar = need(".bar", HTMLElement);
  #menu = need("#more", HTMLElement);
  #menuButton = need('[popovertarget="more"]', HTMLElement);
  /** @type {HTMLElement|null} the button in the menu of a narrow bar, for what that bar has no room for */
  #inMenu;
  /** @type {HTMLButtonElement} */
  #fact;
  /** @type {() => void} */
  #shown;

  /**
   * @param {string} id
   * @param {HTMLButtonElement} fact
   * @param {() => void} [shown]  called before it shows
   */
  constructor(id, fact, shown = () => {}) {
    this.#element = need(`#${id}`, HTMLElement);
    this.#inMenu = this.#menu.querySelector(`[data-action="${id}"]`);
    this.#fact = fact;
    this.#shown = shown;
  }

  // API

  get element() {
    return this.#element;
  }

  get isOpen() {
    return this.#element.matches(":popover-open");
  }

  start() {
    this.#fact.popoverTargetElement = this.#element;
    this.#fact.setAttribute("aria-haspopup", "dialog");
    this.#inMenu?.addEventListener("click", () => {
      this.#menu.hidePopover();
      this.#element.showPopover();
    });
    need("[data-close]", HTMLElement, this.#element).addEventListener("click", () => this.close());
    this.#element.addEventListener("beforetoggle", (event) => {
      if (event instanceof ToggleEvent && event.newState === "open") this.#place();
    });
    this.#element.addEventListener("toggle", (event) => {
      if (!(event instanceof ToggleEvent)) return;
      if (event.newState === "open") this.#element.focus({ preventScroll: true });
      else if (document.activeElement === document.body) this.#opener().focus();
    });
  }

  /** @param {boolean} available  whether there is anything to show */
  offer(available) {
    if (this.#inMenu) this.#inMenu.hidden = !available;
    if (!available) this.close();
  }

  close() {
    if (this.isOpen) this.#element.hidePopover();
  }

  // Internal

  #opener() {
    const narrow = this.#inMenu !== null && this.#menuButton.checkVisibility();
    return narrow || !this.#fact.checkVisibility() ? this.#menuButton : this.#fact;
  }

  #place() {
    const bar = this.#bar.getBoundingClientRect();
    const fact = this.#fact.getBoundingClientRect();
    this.#element.style.setProperty("--left", `${Math.round(fact.left)}px`);
    this.#element.style.setProperty("--top", `${Math.round(bar.bottom)}px`);
    this.#shown();
  }
}
