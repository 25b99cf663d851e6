import { copyText } from "./clipboard.js";
import { need } from "./dom.js";

const DONE_MS = 2_000;

/** The button that puts the room's link on the clipboard. */
export class Share {
  /** @type {HTMLElement} */
  #button;
  /** @type {HTMLElement} */
  #label;
  /** @type {import("./notices.js").Notices} */
  #notices;
  #timer = 0;

  /** @param {import("./notices.js").Notices} notices */
  constructor(notices) {
    this.#button = need('[data-action="share"]', HTMLElement);
    this.#label = need("span", HTMLElement, this.#button);
    this.#notices = notices;
  }

  // API

  start() {
    this.#button.addEventListener("click", () => void this.#copy());
  }

  // Internal

  async #copy() {
    const url = this.#button.dataset.url ?? location.href;
    if (!(await copyText(url))) {
      this.#notices.say(`The link could not be put on the clipboard. Here it is: ${url}`, { tone: "warn" });
      return;
    }
    this.#label.textContent = "Copied";
    this.#button.classList.add("done");
    need("#announce", HTMLElement).textContent = "Link copied";
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => {
      this.#label.textContent = "Share";
      this.#button.classList.remove("done");
    }, DONE_MS);
  }
}
