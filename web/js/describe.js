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
  #shell = need("#empty-do .shell", HTMLElement);
  #leave = need("#empty-leave", HTMLElement);
  #upload = need('[data-action="upload"]', HTMLElement);
  /** @type {import("./access.js").Access} */
  #access;
  /** @type {import("./title.js").WindowTitle} */
  #title;

  /**
   * @param {Session} session
   * @param {import("./access.js").Access} access
   * @param {import("./title.js").WindowTitle} title
   */
  constructor(session, access, title) {
    this.#session = session;
    this.#access = access;
    this.#title = title;
  }

  // API

  start() {
    for (const event of /** @type {const} */ (["registers", "degraded", "phase", "uploaded"])) {
      this.#session.on(event, () => this.#show());
    }
    this.#access.on("change", () => this.#show());
    this.#show();
  }

  // Internal

  #show() {
    const table = this.#session.registers.document;
    const name = table?.name ?? "";
    this.#title.name = name;
    this.#name.title = name;
    const unknown = this.#session.degraded;
    need("bdi", HTMLElement, this.#name).textContent = this.#session.registers.deleted ? "A deleted room" : name || (unknown ? "This room" : "An empty room");
    this.#upload.title = this.#access.obstacle || (name ? "Show another file: it replaces the table for everyone here" : "Show a file to everyone here");
    this.#sayEmpty();
  }

  #sayEmpty() {
    const { registers, degraded, uploader } = this.#session;
    const coming = Boolean(registers.upload || uploader);
    this.#emptyDo.hidden = degraded || coming;
    this.#leave.hidden = !registers.deleted;
    this.#shell.hidden = !this.#access.canUpload;
    if (registers.deleted) {
      this.#emptyTitle.textContent = "This room was deleted by its owner";
      this.#emptyText.textContent = "Its table and its chat are gone for everyone.";
      this.#emptyDo.hidden = true;
    } else if (degraded) {
      this.#emptyTitle.textContent = "The table cannot be shown right now";
      this.#emptyText.textContent = "The storage cannot be reached. The table shows as soon as it is back.";
    } else if (coming) {
      this.#emptyTitle.textContent = "A table is on its way";
      this.#emptyText.textContent = "The first page shows as soon as it is here, long before the upload ends.";
    } else if (registers.document) {
      this.#emptyTitle.textContent = "The page is on its way";
      this.#emptyText.textContent = "It shows as soon as it is here.";
      this.#emptyDo.hidden = true;
    } else if (!this.#access.canUpload) {
      this.#emptyTitle.textContent = "This room has no table yet";
      this.#emptyText.textContent = "It shows here as soon as one of the presenters has chosen it. Only presenters upload in this room now.";
    } else {
      this.#emptyTitle.textContent = "This room has no table yet";
      this.#emptyText.textContent = `Drop a ${this.#emptyText.dataset.kinds} file anywhere on this page, packed or not. Everyone who has the link sees it at once.`;
    }
  }
}
