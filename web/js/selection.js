/** @typedef {{row: number, column: number}} Place  row 0 is the header, 1 the page's first row */
/** @typedef {{top: number, bottom: number, left: number, right: number}} Range  all inclusive */

/** A rectangle of cells between an anchor and the active cell. Knows no DOM. */
export class Selection {
  #rows = 0;
  #columns = 0;
  /** @type {Place|null} */
  #anchor = null;
  /** @type {Place|null} */
  #active = null;

  // API

  /** @returns {Place|null} */
  get active() {
    return this.#active;
  }

  /** @returns {Range|null} */
  get range() {
    if (!this.#anchor || !this.#active) return null;
    return {
      top: Math.min(this.#anchor.row, this.#active.row),
      bottom: Math.max(this.#anchor.row, this.#active.row),
      left: Math.min(this.#anchor.column, this.#active.column),
      right: Math.max(this.#anchor.column, this.#active.column),
    };
  }

  /**
   * The table has so many rows and columns now; what is selected shrinks into it.
   * @param {number} rows
   * @param {number} columns
   */
  resize(rows, columns) {
    this.#rows = rows;
    this.#columns = columns;
    if (columns === 0) this.clear();
    else if (this.#active) this.pick(this.#active);
  }

  /** @param {Place} place */
  pick(place) {
    this.#active = this.#inside(place);
    this.#anchor = this.#active;
  }

  /**
   * Stretch from the anchor to here.
   * @param {Place} place
   */
  extend(place) {
    this.#active = this.#inside(place);
    this.#anchor ??= this.#active;
  }

  /**
   * The anchor is where a rectangle begins, the active cell where it ends.
   * @param {Place} anchor
   * @param {Place} active
   */
  span(anchor, active) {
    this.#anchor = this.#inside(anchor);
    this.#active = this.#inside(active);
  }

  clear() {
    this.#anchor = null;
    this.#active = null;
  }

  // Internal

  /**
   * @param {Place} place
   * @returns {Place}
   */
  #inside({ row, column }) {
    return {
      row: Math.min(this.#rows, Math.max(0, row)),
      column: Math.min(this.#columns - 1, Math.max(0, column)),
    };
  }
}
