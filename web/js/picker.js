import { asTsv, copyText } from "./clipboard.js";
import { need } from "./dom.js";
import { counted, number } from "./format.js";
import { refTo } from "./refs.js";
import { Selection } from "./selection.js";

/** @typedef {import("./table.js").TableView} TableView */
/** @typedef {import("./selection.js").Place} Place */

const EDGE_PX = 28;

/** Cells picked by pointer and keys, copied as TSV, and handed to the reader. */
export class Picker {
  /** @type {TableView} */
  #view;
  /** @type {(place: Place) => void} */
  #read;
  /** @type {(place: Place|null) => void} */
  #point;
  /** @type {(text: string) => void} */
  #announce;
  /** @type {import("./notices.js").Notices} */
  #notices;
  #selection = new Selection();
  #line = need("#selection", HTMLElement);
  #text = need("#selection-text", HTMLElement);
  #linkButton = need('[data-action="copy-row-link"]', HTMLElement);
  #readButton = need('[data-action="read"]', HTMLElement);
  #quoteButton = need('[data-action="quote"]', HTMLElement);

  /**
   * @param {TableView} view
   * @param {object} options
   * @param {(place: Place) => void} options.read
   * @param {(place: Place|null) => void} options.point  the viewer picked a cell, or let go
   * @param {(text: string) => void} options.announce
   * @param {import("./notices.js").Notices} options.notices
   */
  constructor(view, { read, point, announce, notices }) {
    this.#view = view;
    this.#read = read;
    this.#point = point;
    this.#announce = announce;
    this.#notices = notices;
  }

  // API

  get active() {
    return this.#selection.active;
  }

  /**
   * The place that is picked, for others to name: both numbers count from 1; a whole row has no column.
   * @returns {{row: number, column: number|null, text: string}|null} null for the header, which has no row
   */
  get quotable() {
    const { active, range } = this.#selection;
    if (!active || !range || active.row === 0) return null;
    const row = this.#view.rowNumber(active.row);
    const { count } = this.#view.columns;
    if (count > 1 && range.left === 0 && range.right === count - 1) return { row, column: null, text: "" };
    return { row, column: active.column + 1, text: this.#view.text(active.row, active.column) };
  }

  start() {
    const table = this.#view.element;
    table.addEventListener("pointerdown", (event) => this.#press(event));
    table.addEventListener("click", (event) => this.#click(event));
    table.addEventListener("dblclick", (event) => this.#open(event.target));
    table.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("copy", (event) => this.#copied(event));
    need('[data-action="copy-cells"]', HTMLElement).addEventListener("click", () => void this.#copy());
    this.#linkButton.addEventListener("click", () => void this.#copyLink());
    this.#readButton.addEventListener("click", () => this.#readActive());
  }

  /** Another page is shown: keep the place, not the rectangle. */
  pageShown() {
    const { page, columns } = this.#view;
    this.#selection.resize(page?.data.length ?? 0, page ? columns.count : 0);
    if (!this.#focused()) this.#selection.clear();
    this.#show();
  }

  // Internal

  #focused() {
    return this.#view.element.contains(document.activeElement);
  }

  #show() {
    this.#view.mark(this.#selection);
    this.#tell();
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (event.pointerType !== "mouse" || event.button !== 0 || !this.#pick(event)) return;
    event.preventDefault();
    // No pointer capture: with it, the double click that follows would lose its cell.
    const dragging = new AbortController();
    const { signal } = dragging;
    addEventListener("pointermove", (moved) => this.#drag(moved), { signal });
    for (const end of ["pointerup", "pointercancel", "blur"]) addEventListener(end, () => dragging.abort(), { signal });
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    const place = this.#view.placeAt(event.clientX, event.clientY);
    const active = this.#selection.active;
    if (active?.row === place.row && active.column === place.column) return;
    this.#selection.extend(place);
    this.#show();
    this.#point(this.#selection.active);
    this.#scrollNear(event);
  }

  /** @param {PointerEvent} event */
  #scrollNear(event) {
    const scroller = this.#view.element.parentElement;
    if (!scroller) return;
    const box = scroller.getBoundingClientRect();
    if (event.clientY > box.bottom - EDGE_PX) scroller.scrollTop += EDGE_PX;
    if (event.clientX > box.right - EDGE_PX) scroller.scrollLeft += EDGE_PX;
  }

  /**
   * Fingers scroll by dragging, so a tap picks, and a tap on the picked cell reads it.
   * @param {MouseEvent} event
   */
  #click(event) {
    if (this.#wholeOf(event)) return;
    const touched = event instanceof PointerEvent && event.pointerType !== "mouse";
    if (!touched) return;
    const place = this.#view.placeOf(event.target);
    const active = this.#selection.active;
    if (place && active?.row === place.row && active.column === place.column) this.#readActive();
    else this.#pick(event);
  }

  /** @param {MouseEvent} event */
  #wholeOf(event) {
    const link = event.target instanceof Element ? event.target.closest('[data-action="whole"]') : null;
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return false;
    event.preventDefault();
    this.#open(link);
    return true;
  }

  /**
   * @param {MouseEvent} event
   * @returns {boolean} whether something was picked
   */
  #pick(event) {
    if (event.target instanceof Element && event.target.closest(".grip, .whole")) return false;
    const place = this.#view.placeOf(event.target);
    const { page, columns } = this.#view;
    if (!place || !page || columns.count === 0) return false;
    const end = { row: page.data.length, column: columns.count - 1 };
    if (place.column < 0 && place.row === 0) this.#selection.span(end, { row: 0, column: 0 });
    else if (place.column < 0) this.#selection.span({ row: place.row, column: end.column }, { row: place.row, column: 0 });
    else if (event.shiftKey && this.#selection.active) this.#selection.extend(place);
    else if (place.row === 0) this.#selection.span({ row: end.row, column: place.column }, place);
    else this.#selection.pick(place);
    this.#view.element.focus({ preventScroll: true });
    this.#show();
    this.#point(this.#selection.active);
    return true;
  }

  /** @param {EventTarget|null} target */
  #open(target) {
    const place = this.#view.placeOf(target);
    if (!place || place.column < 0) return;
    this.#selection.pick(place);
    this.#show();
    this.#read(place);
  }

  #readActive() {
    if (this.#selection.active) this.#read(this.#selection.active);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.target !== this.#view.element || event.defaultPrevented || event.altKey) return;
    const { page, columns } = this.#view;
    if (!page || columns.count === 0) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key.toLowerCase() !== "a") return;
      this.#selection.span({ row: page.data.length, column: columns.count - 1 }, { row: 0, column: 0 });
      event.preventDefault();
      return this.#show();
    }
    const active = this.#selection.active;
    if (!active) return this.#enter(event);
    if (event.key === "Escape") this.#selection.clear();
    else if (event.key === "Enter" || event.key === "F2") return this.#activate(event, active);
    else {
      const to = destination(event.key, active, columns.count - 1);
      if (!to) return;
      if (event.shiftKey) this.#selection.extend(to);
      else this.#selection.pick(to);
    }
    event.preventDefault();
    this.#show();
    this.#point(this.#selection.active);
    if (this.#selection.active) {
      this.#view.reveal(this.#selection.active);
      this.#view.mark(this.#selection);
    }
  }

  /**
   * With nothing picked yet, Enter begins with the first cell.
   * @param {KeyboardEvent} event
   */
  #enter(event) {
    if (event.key !== "Enter" && event.key !== "F2") return;
    event.preventDefault();
    const box = this.#view.element.parentElement?.getBoundingClientRect();
    this.#selection.pick(box ? this.#view.placeAt(box.left, box.top) : { row: 1, column: 0 });
    this.#show();
    this.#point(this.#selection.active);
  }

  /**
   * @param {KeyboardEvent} event
   * @param {Place} active
   */
  #activate(event, active) {
    event.preventDefault();
    if (active.row === 0) this.#view.grip(active.column)?.focus({ preventScroll: true });
    else this.#read(active);
  }

  /** @returns {{records: string[][], cut: number}|null} */
  #picked() {
    const { range } = this.#selection;
    if (!range) return null;
    /** @type {string[][]} */
    const records = [];
    let cut = 0;
    for (let row = range.top; row <= range.bottom; row += 1) {
      const record = [];
      for (let column = range.left; column <= range.right; column += 1) {
        record.push(this.#view.text(row, column));
        if (this.#view.cutSize(row, column)) cut += 1;
      }
      records.push(record);
    }
    return { records, cut };
  }

  /** @param {ClipboardEvent} event */
  #copied(event) {
    if (!this.#focused() || !(getSelection()?.isCollapsed ?? true)) return;
    const picked = this.#picked();
    if (!picked || !event.clipboardData) return;
    event.clipboardData.setData("text/plain", asTsv(picked.records));
    event.preventDefault();
    this.#confirm(picked);
  }

  async #copy() {
    const picked = this.#picked();
    if (!picked) return;
    if (await copyText(asTsv(picked.records))) this.#confirm(picked);
    else this.#notices.say("The browser did not allow access to the clipboard. Select the cells and press Ctrl+C.", { tone: "warn" });
  }

  /** The link that opens this table at the picked row or cell. */
  async #copyLink() {
    const place = this.quotable;
    if (!place) return;
    const room = need('[data-action="share"]', HTMLElement).dataset.url ?? location.href;
    const url = new URL(`#${refTo(place.row, place.column)}`, room).href;
    const what = `Link to ${place.column === null ? "" : "a cell of "}row ${number(place.row)}`;
    if (await copyText(url)) {
      this.#text.textContent = "Link copied";
      this.#announce(`${what} copied`);
    } else this.#notices.say(`The link could not be put on the clipboard. Here it is: ${url}`, { tone: "warn" });
  }

  /** @param {{records: string[][], cut: number}} picked */
  #confirm({ records, cut }) {
    const cells = counted(records.length * records[0].length, "cell");
    this.#text.textContent = `${cells} copied`;
    this.#announce(`${cells} copied`);
    if (!cut) return;
    const which = cut === 1 ? "One of the copied cells is" : `${number(cut)} of the copied cells are`;
    this.#notices.say(`${which} shortened on this page and was copied so. “Read whole” shows and copies all of a cell.`, { tone: "warn" });
  }

  #tell() {
    const { range, active } = this.#selection;
    this.#line.hidden = !range;
    this.#quoteButton.hidden = this.quotable === null;
    this.#linkButton.hidden = this.quotable === null;
    if (!range || !active) return;
    const rows = range.bottom - range.top + 1;
    const columns = range.right - range.left + 1;
    const single = rows * columns === 1;
    const header = this.#view.text(0, active.column) || `column ${number(active.column + 1)}`;
    const row = active.row === 0 ? "Header" : `Row ${number(this.#view.rowNumber(active.row))}`;
    const whole = range.top === 0 && rows > 1;
    const size = `${counted(whole ? rows - 1 : rows, "row")} × ${counted(columns, "column")}${whole ? ", with header" : ""}`;
    const wholeRow = rows === 1 && this.quotable?.column === null;
    this.#text.textContent = single ? `${row} · ${header.slice(0, 60)}` : wholeRow ? row : size;
    this.#readButton.hidden = !single || !(this.#view.clipped(active) || this.#view.cutSize(active.row, active.column));
  }
}

/**
 * Where a key leads from a cell; null if it is not a key for moving.
 * @param {string} key
 * @param {Place} from
 * @param {number} last column
 * @returns {Place|null}
 */
function destination(key, { row, column }, last) {
  switch (key) {
    case "ArrowUp":
      return { row: row - 1, column };
    case "ArrowDown":
      return { row: row + 1, column };
    case "ArrowLeft":
      return { row, column: column - 1 };
    case "ArrowRight":
      return { row, column: column + 1 };
    case "Home":
      return { row, column: 0 };
    case "End":
      return { row, column: last };
    default:
      return null;
  }
}
