import { readInShort } from "./dialects.js";
import { make, need } from "./dom.js";
import { counted, fileSize, number } from "./format.js";

/** @typedef {import("./session.js").Session} Session */

/** Plain text, or a button while there is more to see. Elements stay, so that a panel keeps its anchor. */
class Fact {
  element = make("span");
  /** @type {HTMLButtonElement} */
  button;

  /**
   * @param {string} action
   * @param {string} title
   */
  constructor(action, title) {
    this.button = make("button", { type: "button", class: "fact", "data-action": action, title });
  }

  /**
   * @param {string} text  empty: nothing to say
   * @param {boolean} [more]
   */
  say(text, more = false) {
    this.element.hidden = text === "";
    const isButton = this.button.parentNode === this.element;
    if (isButton === more && this.element.textContent === text) return;
    if (more) this.button.textContent = text;
    if (!more) this.element.textContent = text;
    else if (!isButton) this.element.replaceChildren(this.button);
  }
}

/** The line below the document's name; three of its facts open a panel. */
export class Facts {
  /** @type {Session} */
  #session;
  #line = need("#facts", HTMLElement);
  #rows = make("span");
  #columns = make("span");
  #size = new Fact("download", "Download the table");
  #read = new Fact("report", "How the file is read; correct it here");
  #version = new Fact("versions", "Earlier versions");

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
  }

  // API

  /** The buttons that open panels. */
  get buttons() {
    return { download: this.#size.button, report: this.#read.button, versions: this.#version.button };
  }

  start() {
    this.#read.element.className = "read";
    for (const event of /** @type {const} */ (["registers", "degraded", "phase", "uploaded"])) {
      this.#session.on(event, () => this.#show());
    }
    this.#line.replaceChildren(this.#rows, this.#columns, this.#size.element, this.#read.element, this.#version.element);
    this.#show();
  }

  // Internal

  #show() {
    const { registers, degraded } = this.#session;
    const table = registers.document;
    const nothing = registers.deleted ? "nothing of it is left" : degraded ? "its table is not known right now" : "no table yet";
    write(this.#rows, table ? counted(table.rows, "row") + (table.complete ? "" : " so far") : nothing);
    write(this.#columns, table ? counted(table.columns, "column") : "");
    this.#size.say(table && table.size !== null ? fileSize(table.size) : "", table?.complete);
    this.#read.say(table ? readInShort(table) : "", Boolean(table?.report || table?.sheet));
    this.#version.say(table ? `version ${number(table.version)}` : "", (registers.versions?.length ?? 0) > 1);
  }
}

/**
 * @param {HTMLElement} element
 * @param {string} text
 */
function write(element, text) {
  element.hidden = text === "";
  if (element.textContent !== text) element.textContent = text;
}
