import { make } from "./dom.js";

/** @typedef {import("./table.js").TableView} TableView */
/** @typedef {{row: number, name: string, color: number}} Pointer */

/** How long a row that somebody went to stays marked. */
const TARGET_MS = 5_000;
/** Names on one row; more are counted. */
const TAGS = 2;

/** What is marked in the table besides the selection: rows pointed at, and a row that was gone to. */
export class Marks {
  /** @type {TableView} */
  #view;
  /** @type {Pointer[]} */
  #pointers = [];
  /** @type {number|null} the row that this viewer points at */
  #mine = null;
  /** @type {{document: string, row: number, column: number}|null} column from 0; -1: the row */
  #target = null;
  #timer = 0;
  /** @type {Element[]} */
  #marked = [];

  /** @param {TableView} view */
  constructor(view) {
    this.#view = view;
  }

  // API

  start() {
    this.#view.on("rendered", () => this.#paint());
  }

  /**
   * @param {Pointer[]} pointers
   * @param {number|null} mine
   */
  show(pointers, mine) {
    this.#pointers = pointers;
    this.#mine = mine;
    this.#paint();
  }

  /**
   * Scroll a row or cell of the shown page into view, and mark it for a moment.
   * @param {number} row  from 1 in the document; 0 is the header
   * @param {number|null} column  from 1
   */
  goTo(row, column) {
    const { page, columns } = this.#view;
    if (!page || columns.count === 0) return;
    const shown = column === null ? -1 : Math.min(columns.count, column) - 1;
    const index = row === 0 ? 0 : row - page.first_row + 1;
    this.#view.reveal({ row: index, column: shown });
    this.#target = { document: page.document, row, column: shown };
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => {
      this.#target = null;
      this.#paint();
    }, TARGET_MS);
    this.#paint();
  }

  // Internal

  #paint() {
    for (const element of this.#marked) {
      element.classList.remove("pointed", "mine", "target");
      if (element.classList.contains("tags")) element.remove();
    }
    this.#marked = [];
    this.#paintTarget();
    if (this.#mine !== null) this.#mark(this.#view.rowOf(this.#mine), "mine");
    /** @type {Map<number, Pointer[]>} */
    const rows = new Map();
    for (const pointer of this.#pointers) rows.set(pointer.row, [...(rows.get(pointer.row) ?? []), pointer]);
    for (const [row, pointers] of rows) this.#paintPointers(row, pointers);
  }

  #paintTarget() {
    const target = this.#target;
    const { page } = this.#view;
    if (!target || target.document !== page?.document) return;
    const row = this.#view.rowOf(target.row);
    this.#mark(row, "target");
    if (!row || target.column < 0) return;
    const index = target.row === 0 ? 0 : target.row - page.first_row + 1;
    this.#mark(this.#view.cellAt({ row: index, column: target.column }), "target");
  }

  /**
   * @param {number} row
   * @param {Pointer[]} pointers  who pointed last at the end
   */
  #paintPointers(row, pointers) {
    const element = this.#view.rowOf(row);
    const head = element?.cells[0];
    if (!element || !head) return;
    this.#mark(element, "pointed");
    const tags = make("span", { class: "tags" });
    const shown = pointers.slice(-TAGS);
    if (pointers.length > shown.length) tags.append(make("span", { class: "tag more" }, `+${pointers.length - shown.length}`));
    for (const { name, color } of shown) {
      tags.append(make("span", { class: "tag", "data-person": String(color) }, make("bdi", {}, name), make("span", {}, " points here")));
    }
    head.append(tags);
    this.#marked.push(tags);
  }

  /**
   * @param {Element|null} element
   * @param {string} mark
   */
  #mark(element, mark) {
    if (!element) return;
    element.classList.add(mark);
    this.#marked.push(element);
  }
}
