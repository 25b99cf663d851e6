import { make, need } from "./dom.js";

/** @typedef {"bad"|"warn"|"good"} Tone */
/** @typedef {{label: string, run: () => void}} Action */

const NOTE_MS = 6_000;

/** One line where the eye already is: what happened, what was kept, what to do next. */
export class Notices {
  /** @type {HTMLElement} */
  #line;
  #timer = 0;
  #about = "";

  /** @param {HTMLElement} [line] */
  constructor(line = need("#notice", HTMLElement)) {
    this.#line = line;
  }

  // API

  /**
   * Stays until it is dismissed, something newer is said, or what it is `about` is over.
   * @param {string} text
   * @param {{tone?: Tone, action?: Action, about?: string}} [options]
   */
  say(text, { tone = "bad", action, about = "" } = {}) {
    clearTimeout(this.#timer);
    this.#about = about;
    const dismiss = make("button", { type: "button", class: "square", "data-action": "dismiss", "aria-label": "Dismiss", title: "Dismiss" }, "✕");
    dismiss.addEventListener("click", () => this.clear());
    this.#line.className = `line ${tone}`;
    this.#line.replaceChildren(make("p", { dir: "auto" }, text));
    if (action) {
      const button = make("button", { type: "button", "data-action": "again" }, action.label);
      button.addEventListener("click", () => {
        this.clear();
        action.run();
      });
      this.#line.append(button);
    }
    this.#line.append(dismiss);
    this.#line.hidden = false;
  }

  /**
   * Goes away by itself; never for anything that needs an answer.
   * @param {string} text
   * @param {string} [about]
   */
  note(text, about = "") {
    if (!this.#line.hidden && !this.#line.classList.contains("good")) return;
    this.say(text, { tone: "good", about });
    this.#timer = window.setTimeout(() => this.clear(), NOTE_MS);
  }

  /**
   * Whether what is said is about this.
   * @param {string} about
   */
  isAbout(about) {
    return this.#about === about;
  }

  /**
   * What is said about this is not true any more.
   * @param {string} about
   */
  over(about) {
    if (this.#about === about) this.clear();
  }

  clear() {
    this.#about = "";
    clearTimeout(this.#timer);
    this.#line.hidden = true;
    this.#line.replaceChildren();
  }
}
