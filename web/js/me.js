import { anyAnimal } from "./animals.js";
import { Emitter } from "./emitter.js";

/** @typedef {import("./session.js").Session} Session */

export const COLORS = 10;
const NAME_KEY = "tablecast.name";
const COLOR_KEY = "tablecast.color";
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

  /**
   * Must be there before the session is opened, so that whatever is sent then has a name.
   * @param {Session} session
   */
  constructor(session) {
    this.#session = session;
    session.on("message", (message) => {
      if (message.type === "hello") this.#tell();
    });
    // Another tab of this browser.
    addEventListener("storage", ({ key }) => {
      if (key !== NAME_KEY && key !== COLOR_KEY) return;
      this.#take(recall(NAME_KEY) ?? this.#name, Number(recall(COLOR_KEY) ?? this.#color));
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
    if (this.#take(name, color)) this.#remember();
  }

  // Internal

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
    try {
      localStorage.setItem(NAME_KEY, this.#name);
      localStorage.setItem(COLOR_KEY, String(this.#color));
    } catch {
      // Storage can be forbidden; the name lasts as long as the page then.
    }
  }
}

/** @param {string} key */
function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
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
