import { make } from "./dom.js";
import { COLORS } from "./me.js";

/** @typedef {import("./me.js").Me} Me */

const COLOR_NAMES = ["Orange", "Violet", "Teal", "Pink", "Blue", "Green", "Purple", "Red", "Mustard", "Slate"];
let forms = 0;

/** A small form in place of one's own name: another name, another colour. */
export class Identity {
  /** @type {Me} */
  #me;
  /** @type {HTMLElement} */
  #button;
  #group = `color-of-me-${(forms += 1)}`;
  #name = make("input", { type: "text", maxlength: "80", autocomplete: "nickname", "aria-label": "Your name", enterkeyhint: "done", dir: "auto" });
  #form = make("form", { class: "identity", "aria-label": "Your name and colour" });

  /**
   * @param {Me} me
   * @param {HTMLElement} button  what opens the form; the form comes after `place`
   * @param {HTMLElement} [place]
   */
  constructor(me, button, place = button) {
    this.#me = me;
    this.#button = button;
    this.#form.hidden = true;
    place.after(this.#form);
  }

  // API

  start() {
    const colors = make("div", { class: "swatches", role: "radiogroup", "aria-label": "Your colour" });
    for (let color = 0; color < COLORS; color += 1) {
      const input = make("input", { type: "radio", name: this.#group, value: String(color), "aria-label": COLOR_NAMES[color] });
      colors.append(make("label", { class: "swatch", "data-person": String(color), title: COLOR_NAMES[color] }, input));
    }
    const done = make("button", { type: "submit" }, "Done");
    this.#form.append(make("div", { class: "name-row" }, this.#name, done), colors);
    this.#button.setAttribute("aria-expanded", "false");
    this.#button.addEventListener("click", () => (this.#form.hidden ? this.#open() : this.#close()));
    colors.addEventListener("change", () => this.#save());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
      this.#close();
    });
    this.#form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      event.stopPropagation();
      this.#close();
    });
    // Whoever goes on to something else has chosen.
    this.#form.addEventListener("focusout", ({ relatedTarget }) => {
      if (this.#form.hidden || !(relatedTarget instanceof Node) || this.#form.contains(relatedTarget)) return;
      this.#save();
      if (relatedTarget !== this.#button) this.#close(false);
    });
    this.#me.on("change", () => this.#show());
  }

  // Internal

  #open() {
    this.#form.hidden = false;
    this.#button.setAttribute("aria-expanded", "true");
    this.#name.value = this.#me.name;
    this.#show();
    this.#name.focus();
    this.#name.select();
  }

  /** @param {boolean} [back]  whether the focus goes back to where it came from */
  #close(back = true) {
    this.#form.hidden = true;
    this.#button.setAttribute("aria-expanded", "false");
    if (back) this.#button.focus();
  }

  #save() {
    const checked = this.#form.querySelector(":checked");
    const color = checked instanceof HTMLInputElement ? Number(checked.value) : this.#me.color;
    this.#me.change(this.#name.value, color);
  }

  #show() {
    for (const input of this.#form.querySelectorAll("input")) {
      if (input.type === "radio") input.checked = Number(input.value) === this.#me.color;
    }
    if (document.activeElement !== this.#name) this.#name.value = this.#me.name;
  }
}
