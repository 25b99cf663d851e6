const REF = /^#r(\d{1,12})(?:c(\d{1,7}))?$/;

/**
 * The place in the table that a link names.
 * @param {string} hash  "#r1203" or "#r1203c4"
 * @returns {{row: number, column: number|null}|null} both count from 1; null if it names none
 */
export function placeOf(hash) {
  const found = REF.exec(hash);
  if (!found) return null;
  const row = Number(found[1]);
  const column = found[2] === undefined ? null : Number(found[2]);
  return row > 0 && column !== 0 ? { row, column } : null;
}

/**
 * The other way round: what to write for a place.
 * @param {number} row
 * @param {number|null} column
 */
export function refTo(row, column) {
  return column === null ? `r${row}` : `r${row}c${column}`;
}

/** Links to places in the table: in messages, and in the address that the page was opened with. */
export class Refs {
  /** @type {(row: number, column: number|null) => void} */
  #show;
  /** @type {() => void} */
  #followed;

  /**
   * @param {(row: number, column: number|null) => void} show  both count from 1
   * @param {() => void} followed  a link on the page is about to be followed
   */
  constructor(show, followed) {
    this.#show = show;
    this.#followed = followed;
  }

  // API

  start() {
    document.addEventListener("click", (event) => {
      const link = event.target instanceof Element ? event.target.closest("a.ref") : null;
      // With another key it is to open elsewhere, as the browser does it.
      if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
      const place = placeOf(link.hash);
      if (!place) return;
      event.preventDefault();
      this.#followed();
      this.#show(place.row, place.column);
    });
    addEventListener("hashchange", () => this.#take());
    this.#take();
  }

  // Internal

  #take() {
    const place = placeOf(location.hash);
    if (place) this.#show(place.row, place.column);
  }
}
