import { anyAnimal } from "./animals.js";
import { Emitter } from "./emitter.js";
import { recall, remember } from "./storage.js";

/** @typedef {import("./session.js").Session} Session */

export const COLORS = 10;
const NAME_KEY = "tablecast.name";
const COLOR_KEY = "tablecast.color";
/** There if its user chose the colour. */
const CHOSEN_KEY = "tablecast.color.chosen";
const NAME_CHARACTERS = 40;
/** What the server takes out of names too: controls, zero widths, and what turns the writing round. */
const UNSEEN = /[\p{Cc}\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;

/** Who sits at this browser: a name and a colour, the same in all its rooms, told to each of them. */
export class Me {
  /** @type {Session} */
  #session;
  /** @type {Emitter<{change: undefined}>} */
  #events = new Emitter();
  #name = "";
  #color = 0;
  /** Whether it is known who was here when this window came. */
  #met = false;

  /**
   * Must be there before the session is opened, so that whatever is sent then has a name.
   * @param {Session} session
   */
  constructor(session) {
    this.#session = session;
    session.on("message", (message) => {
      if (message.type === "hello") this.#tell();
      else if (message.type === "here" && message.people) this.#meet(message.people);
    });
    // Another tab of this browser.
    addEventListener("storage", ({ key }) => {
      if (key !== NAME_KEY && key !== COLOR_KEY) return;
      // In this room it may be another colour than the one that is kept.
      const color = key === COLOR_KEY ? Number(recall(COLOR_KEY) ?? this.#color) : this.#color;
      this.#take(recall(NAME_KEY) ?? this.#name, color);
    });
    this.#name = cleaned(recall(NAME_KEY) ?? "");
    const color = recall(COLOR_KEY);
    this.#color = color !== null && /^\d$/.test(color) ? Number(color) : Math.floor(Math.random() * COLORS);
    if (this.#name && color !== null) return;
    this.#name ||= anyAnimal();
    this.#remember();
  }

  // API

  /** @type {Emitter<{change: undefined}>["on"]} */
  on = (name, listener) => this.#events.on(name, listener);

  get name() {
    return this.#name;
  }

  /** From 0 to 9. */
  get color() {
    return this.#color;
  }

  /**
   * @param {string} name  an empty one changes nothing
   * @param {number} color
   */
  change(name, color) {
    const other = color !== this.#color;
    if (!this.#take(name, color)) return;
    this.#remember();
    if (other) remember(CHOSEN_KEY, "1");
  }

  // Internal

  /**
   * On entering, a colour that only chance gave makes way for somebody's who is here.
   * @param {import("./types.js").Person[]} people
   */
  #meet(people) {
    if (this.#met) return;
    this.#met = true;
    if (recall(CHOSEN_KEY) !== null) return;
    // One of the same name is most likely another window of this browser.
    const others = people.filter(({ id, name }) => id !== this.#session.viewer && name !== this.#name);
    const taken = new Set(others.map(({ color }) => color));
    if (!taken.has(this.#color)) return;
    for (let step = 1; step < COLORS; step += 1) {
      const color = (this.#color + step) % COLORS;
      if (!taken.has(color)) return void this.#take(this.#name, color);
    }
  }

  /**
   * @param {string} name
   * @param {number} color
   * @returns {boolean} whether that is somebody else
   */
  #take(name, color) {
    const wanted = cleaned(name) || this.#name;
    const inRange = Number.isInteger(color) && color >= 0 && color < COLORS ? color : this.#color;
    if (wanted === this.#name && inRange === this.#color) return false;
    this.#name = wanted;
    this.#color = inRange;
    this.#tell();
    this.#events.emit("change", undefined);
    return true;
  }

  #tell() {
    this.#session.send({ type: "me", name: this.#name, color: this.#color });
  }

  #remember() {
    // Storage can be forbidden; the name lasts as long as the page then.
    remember(NAME_KEY, this.#name);
    remember(COLOR_KEY, String(this.#color));
  }
}

/**
 * A name as the server will show it: one line, nothing invisible, at most forty characters.
 * @param {string} name
 */
function cleaned(name) {
  const plain = name.normalize("NFC").replace(/\s+/g, " ").replace(UNSEEN, "").trim();
  return [...plain].slice(0, NAME_CHARACTERS).join("").trim();
}
