import { need } from "./dom.js";

/** @typedef {import("./session.js").Session} Session */

/** What the bar and the empty room say about the table: its name, also as the window's title. */
export class Description {
  /** @type {Session} */
  #session;
  #name = need("#name", HTMLElement);
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
    this.#upload.title = name ? "Show another file: it replaces the table for everyone here" : "Show a file to everyone here";
    this.#sayEmpty();
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
      this.#emptyText.textContent = "Drop a TSV, CSV, Excel, OpenDocument or Parquet file anywhere on this page, packed or not. Everyone who has the link sees it at once.";
    }
  }
}
