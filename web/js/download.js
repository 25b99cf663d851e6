import { encodingName } from "./dialects.js";
import { make, need } from "./dom.js";
import { fileSize } from "./format.js";
import { Panel } from "./panel.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./types.js").DocumentValue} DocumentValue */

/** @type {{ext: string, name: string, hint: string, cells: boolean}[]} */
const FORMATS = [
  { ext: "tsv", name: "TSV", hint: "cells between tabs", cells: true },
  { ext: "csv", name: "CSV", hint: "cells between commas", cells: true },
  { ext: "ndjson", name: "NDJSON", hint: "a JSON object a line", cells: false },
  { ext: "json", name: "JSON", hint: "one JSON object", cells: false },
];

/** The table as a file: the bytes as they came, or all rows in another format. */
export class Download {
  /** @type {Session} */
  #session;
  /** @type {Panel} */
  #panel;
  #list = need("#download-list", HTMLElement);
  #safe = need("#download-safe", HTMLInputElement);
  #shown = "";

  /**
   * @param {Session} session
   * @param {HTMLButtonElement} fact
   */
  constructor(session, fact) {
    this.#session = session;
    this.#panel = new Panel("download", fact);
  }

  // API

  start() {
    this.#panel.start();
    this.#safe.addEventListener("change", () => this.#show());
    this.#session.on("registers", () => this.#show());
    this.#show();
  }

  // Internal

  #show() {
    const table = this.#session.registers.document;
    const ready = table?.complete ? table : null;
    this.#panel.offer(ready !== null);
    if (!ready) return;
    const key = `${ready.id} ${ready.size} ${ready.name} ${this.#safe.checked}`;
    if (key === this.#shown) return;
    this.#shown = key;
    const base = `/api/rooms/${this.#session.uuid}`;
    const formulas = this.#safe.checked ? "?formulas=defuse" : "";
    // Of a workbook only the cells of one sheet are here.
    const original = ready.sheet ? [] : [link(`${base}/document`, "As uploaded", this.#original(ready), ready.name)];
    this.#list.replaceChildren(
      ...original,
      ...FORMATS.map(({ ext, name, hint, cells }) => link(`${base}/rows.${ext}${cells ? formulas : ""}`, name, hint, "")),
    );
  }

  /** @param {DocumentValue} table */
  #original(table) {
    const size = table.size === null ? "" : `, ${fileSize(table.size)}`;
    const { encoding } = table.dialect;
    return `${/^utf-(16|32)/.test(encoding) ? "as UTF-8" : encodingName(encoding)}${size}`;
  }
}

/**
 * @param {string} href
 * @param {string} name
 * @param {string} hint
 * @param {string} file  the name to save under; empty: as the server says
 */
function link(href, name, hint, file) {
  return make("li", {}, make("a", { href, download: file }, make("strong", {}, name), " ", make("span", { class: "hint" }, hint)));
}
