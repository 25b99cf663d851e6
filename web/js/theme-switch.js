/** @typedef {"auto"|"light"|"dark"} Choice */

const KEY = "tablecast-theme";
/** @type {Choice[]} */
const CHOICES = ["auto", "light", "dark"];
const WORDS = { auto: "as the system has it", light: "light", dark: "dark" };

/** The button that goes round auto, light and dark; theme.js applies the choice on the next load. */
export class ThemeSwitch {
  /** @type {HTMLElement} */
  #button;

  /** @param {HTMLElement} button */
  constructor(button) {
    this.#button = button;
  }

  // API

  start() {
    this.#button.addEventListener("click", () => this.#choose(this.#next()));
    this.#show(this.#choice());
  }

  // Internal

  /** @returns {Choice} */
  #choice() {
    const theme = document.documentElement.dataset.theme;
    return theme === "light" || theme === "dark" ? theme : "auto";
  }

  #next() {
    return CHOICES[(CHOICES.indexOf(this.#choice()) + 1) % CHOICES.length];
  }

  /** @param {Choice} choice */
  #choose(choice) {
    const root = document.documentElement;
    if (choice === "auto") delete root.dataset.theme;
    else root.dataset.theme = choice;
    try {
      if (choice === "auto") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, choice);
    } catch {
      // Storage can be forbidden; then the choice lasts as long as this page.
    }
    this.#show(choice);
  }

  /** @param {Choice} choice */
  #show(choice) {
    this.#button.dataset.choice = choice;
    this.#button.title = `Theme: ${WORDS[choice]}`;
    const label = this.#button.querySelector("[data-label]");
    if (label) label.textContent = `Theme: ${choice}`;
  }
}
