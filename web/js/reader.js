import { copyText } from "./clipboard.js";
import { make, need } from "./dom.js";
import { counted, number } from "./format.js";

/** @typedef {import("./table.js").TableView} TableView */
/** @typedef {import("./selection.js").Place} Place */

/** Laying out more text than this takes seconds; beyond it, the browser's own text view is better. */
const CHARACTERS_SHOWN = 400_000;
const FETCH_MS = 30_000;

/** A panel that holds one cell, whole. */
export class Reader {
  /** @type {string} */
  #room;
  /** @type {TableView} */
  #view;
  /** @type {import("./notices.js").Notices} */
  #notices;
  #panel = need("#reader", HTMLElement);
  #title = need("#reader-title", HTMLElement);
  #text = need("#reader-text", HTMLElement);
  #foot = need("#reader-foot", HTMLElement);
  #copyButton = need('[data-action="copy-reader"]', HTMLElement);
  #document = "";
  #whole = "";
  /** @type {AbortController|null} */
  #fetching = null;

  /**
   * @param {string} room
   * @param {TableView} view
   * @param {import("./notices.js").Notices} notices
   */
  constructor(room, view, notices) {
    this.#room = room;
    this.#view = view;
    this.#notices = notices;
  }

  // API

  start() {
    need('[data-action="close-reader"]', HTMLElement).addEventListener("click", () => this.close());
    this.#copyButton.addEventListener("click", () => void this.#copy());
    this.#panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close();
    });
  }

  /** @param {Place} place */
  open({ row, column }) {
    const { page } = this.#view;
    if (!page) return;
    this.#fetching?.abort();
    this.#document = page.document;
    const rowNumber = this.#view.rowNumber(row);
    const header = this.#view.text(0, column) || `column ${number(column + 1)}`;
    this.#title.textContent = row === 0 ? `Header · column ${number(column + 1)}` : `Row ${number(rowNumber)} · ${header}`;
    this.#title.title = this.#title.textContent;
    this.#panel.hidden = false;
    const cut = this.#view.cutSize(row, column);
    this.#show(this.#view.text(row, column), cut);
    if (cut) void this.#fetch(page.document, rowNumber, column, cut);
    this.#text.scrollTop = 0;
    this.#text.focus({ preventScroll: true });
  }

  close() {
    if (this.#panel.hidden) return;
    this.#fetching?.abort();
    const inside = this.#panel.contains(document.activeElement);
    this.#panel.hidden = true;
    if (inside) this.#view.element.focus({ preventScroll: true });
  }

  /** A cell of a table that is gone is not shown on. */
  pageShown() {
    if (this.#view.page?.document !== this.#document) this.close();
  }

  // Internal

  /**
   * @param {string} text
   * @param {number} missing characters of the whole cell while only its beginning is here, else 0
   */
  #show(text, missing) {
    this.#whole = text;
    this.#text.classList.toggle("empty-cell", text === "");
    this.#text.textContent = text === "" ? "This cell is empty." : text.slice(0, CHARACTERS_SHOWN);
    this.#copyButton.hidden = text === "" || missing > 0;
    this.#foot.textContent = missing
      ? `Fetching the whole cell, ${counted(missing, "character")}…`
      : counted(length(text), "character");
  }

  /**
   * @param {string} documentId
   * @param {number} row
   * @param {number} column
   * @param {number} size
   */
  async #fetch(documentId, row, column, size) {
    const url = `/api/rooms/${this.#room}/rows/${row}/cells/${column}?document=${encodeURIComponent(documentId)}`;
    const fetching = new AbortController();
    this.#fetching = fetching;
    const timer = setTimeout(() => fetching.abort("timeout"), FETCH_MS);
    try {
      const response = await fetch(url, { signal: fetching.signal });
      if (!response.ok) throw new Error(await problemOf(response));
      const text = await response.text();
      if (fetching.signal.aborted) return;
      this.#show(text, 0);
      if (text.length > CHARACTERS_SHOWN) {
        const link = make("a", { href: url, target: "_blank", rel: "noopener" }, "Open it all as text");
        this.#foot.replaceChildren(`The first ${number(CHARACTERS_SHOWN)} of ${counted(size, "character")}. `, link);
      }
    } catch (error) {
      if (fetching.signal.aborted && fetching.signal.reason !== "timeout") return;
      const why = error instanceof Error && error.message ? error.message : "The server did not answer.";
      this.#foot.textContent = `Only the beginning is here. The whole cell could not be fetched: ${why} Open the cell again to try again.`;
    } finally {
      clearTimeout(timer);
    }
  }

  async #copy() {
    const label = this.#copyButton.textContent;
    if (await copyText(this.#whole)) {
      this.#copyButton.textContent = "Copied";
      setTimeout(() => (this.#copyButton.textContent = label), 1_500);
    } else {
      this.#notices.say("The browser did not allow access to the clipboard. Select the text in the panel and press Ctrl+C.", { tone: "warn" });
    }
  }
}

/**
 * Code points, which is what the server counts as characters.
 * @param {string} text
 */
function length(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** @param {Response} response */
async function problemOf(response) {
  try {
    const problem = await response.json();
    return String(problem.detail ?? problem.title ?? response.statusText);
  } catch {
    return response.statusText;
  }
}
