import { isParquet } from "./dialects.js";
import { need } from "./dom.js";
import { counted } from "./format.js";

/** @typedef {import("./session.js").Session} Session */

/** Which sheet of a workbook is shown; whoever sent the workbook can show another. */
export class SheetChoice {
  /** @type {Session} */
  #session;
  /** @type {import("./access.js").Access} */
  #access;
  /** @type {(file: File, sheet: string) => void} */
  #send;
  #part = need("#sheets", HTMLFormElement);
  #text = need("#sheets-text", HTMLElement);
  #choice = need("#sheets-choice", HTMLElement);
  #select = need("#sheets select", HTMLSelectElement);
  #submit = need("#sheets [type=submit]", HTMLButtonElement);
  #shown = "";

  /**
   * @param {Session} session
   * @param {import("./access.js").Access} access
   * @param {(file: File, sheet: string) => void} send  send the workbook again, for this sheet
   */
  constructor(session, access, send) {
    this.#session = session;
    this.#access = access;
    this.#send = send;
  }

  // API

  start() {
    this.#part.addEventListener("submit", (event) => {
      event.preventDefault();
      const file = this.#session.source;
      if (file) this.#send(file, this.#select.value);
    });
    this.#select.addEventListener("change", () => this.#judge());
    for (const event of /** @type {const} */ (["registers", "uploaded", "phase"])) this.#session.on(event, () => this.#show());
    this.#access.on("change", () => this.#show());
    this.#show();
  }

  // Internal

  #show() {
    const table = this.#session.registers.document;
    this.#part.hidden = !table?.sheet || isParquet(table);
    if (!table?.sheet) return;
    const sheets = table.sheets ?? [table.sheet];
    // Who may not send it anew has no choice either.
    const source = this.#access.canUpload ? this.#session.source : null;
    const key = JSON.stringify([table.id, sheets, table.sheet, source !== null]);
    if (key !== this.#shown) {
      this.#shown = key;
      this.#choice.hidden = sheets.length < 2 || !source;
      this.#select.replaceChildren(...sheets.map((sheet) => new Option(sheet, sheet)));
      this.#select.value = table.sheet;
      this.#text.textContent = this.#sentence(table.sheet, sheets, source !== null);
    }
    this.#judge();
  }

  /**
   * @param {string} sheet
   * @param {string[]} sheets
   * @param {boolean} isHere  whether this browser holds the workbook
   */
  #sentence(sheet, sheets, isHere) {
    if (sheets.length < 2) return `This is “${sheet}”, the workbook’s only sheet with cells.`;
    const shown = `This is “${sheet}”, one of ${counted(sheets.length, "sheet")}`;
    if (isHere) return `${shown}. Another one becomes a new version, for everyone.`;
    const others = sheets.filter((name) => name !== sheet);
    const some = others.slice(0, 8).map((name) => `“${name}”`).join(", ") + (others.length > 8 ? " and more" : "");
    return `${shown}; the others are ${some}. To show one of them, upload the workbook again and choose it here.`;
  }

  #judge() {
    this.#submit.disabled = this.#session.phase !== "live" || this.#select.value === this.#session.registers.document?.sheet;
  }
}
