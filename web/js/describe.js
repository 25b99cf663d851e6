import { make, need } from "./dom.js";
import { counted, fileSize, number } from "./format.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./types.js").DocumentValue} DocumentValue */

/** @type {Record<string, string>} */
const DELIMITERS = { "\t": "tab", ",": "comma", ";": "semicolon", "|": "pipe" };

/** What the bar and the empty room say about the table: name, facts, window title. */
export class Description {
  /** @type {Session} */
  #session;
  #name = need("#name", HTMLElement);
  #facts = need("#facts", HTMLElement);
  #emptyTitle = need("#empty-title", HTMLElement);
  #emptyText = need("#empty-text", HTMLElement);
  #emptyDo = need("#empty-do", HTMLElement);
  #upload = need('[data-action="upload"]', HTMLElement);

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
  }

  // API

  start() {
    for (const event of /** @type {const} */ (["registers", "degraded", "phase", "uploaded"])) {
      this.#session.on(event, () => this.#show());
    }
    this.#show();
  }

  // Internal

  #show() {
    const table = this.#session.registers.document;
    const name = table?.name ?? "";
    document.title = name ? `${name} · Tablecast` : "Tablecast";
    this.#name.title = name;
    const unknown = this.#session.degraded;
    need("bdi", HTMLElement, this.#name).textContent = name || (unknown ? "This room" : "An empty room");
    const nothing = make("span", {}, unknown ? "its table is not known right now" : "no table yet");
    const facts = table ? this.#factsOf(table) : [nothing];
    this.#facts.replaceChildren(...facts.flatMap((fact, index) => (index ? [" · ", fact] : [fact])));
    this.#upload.title = name ? "Show another file: it replaces the table for everyone here" : "Show a file to everyone here";
    this.#sayEmpty();
  }

  /** @param {DocumentValue} document */
  #factsOf(document) {
    const { dialect } = document;
    const read = [DELIMITERS[dialect.delimiter] ?? dialect.delimiter, dialect.encoding.toUpperCase()];
    if (dialect.header) read.push("header");
    const facts = [
      make("span", {}, counted(document.rows, "row") + (document.complete ? "" : " so far")),
      make("span", {}, counted(document.columns, "column")),
    ];
    if (document.size !== null) facts.push(make("span", {}, this.#size(document, document.size)));
    facts.push(make("span", {}, read.join(", ")), make("span", {}, `version ${number(document.version)}`));
    return facts;
  }

  /**
   * @param {DocumentValue} document
   * @param {number} size
   */
  #size(document, size) {
    if (!document.complete) return fileSize(size);
    const href = `/api/rooms/${this.#session.uuid}/document`;
    return make("a", { href, download: document.name, title: "Download the file" }, fileSize(size));
  }

  #sayEmpty() {
    const { registers, degraded, uploader } = this.#session;
    const coming = Boolean(registers.upload || uploader);
    this.#emptyDo.hidden = degraded || coming;
    if (degraded) {
      this.#emptyTitle.textContent = "The table cannot be shown right now";
      this.#emptyText.textContent = "The storage cannot be reached. The table shows as soon as it is back.";
    } else if (coming) {
      this.#emptyTitle.textContent = "A table is on its way";
      this.#emptyText.textContent = "The first page shows as soon as it is here, long before the upload ends.";
    } else if (registers.document) {
      this.#emptyTitle.textContent = "The page is on its way";
      this.#emptyText.textContent = "It shows as soon as it is here.";
      this.#emptyDo.hidden = true;
    } else {
      this.#emptyTitle.textContent = "This room has no table yet";
      this.#emptyText.textContent = "Drop a TSV file anywhere on this page. Everyone who has the link sees it at once.";
    }
  }
}
