/** @typedef {import("./types.js").PageMessage} PageMessage */

export const NARROWEST_PX = 48;
const WIDEST_AUTO_PX = 360;
const WIDEST_AUTO_ON_PHONE_PX = 240;
const PHONE = "(max-width: 760px)";
/** How far a column grows by itself where the window has room to spare. */
const WIDEST_SPREAD_PX = 1200;
export const WIDEST_PX = 2400;
/** Beyond so many columns one cell of each is measured; beyond the second limit only its name. */
const MEASURE_WELL = 300;
const MEASURE_AT_ALL = 3000;
const CELLS_MEASURED = 40;
const CHARACTERS_MEASURED = 300;
/** Padding, border and a hair, since tabular figures are a little wider than the others. */
const EDGE_PX = 32;
const EDGE_NARROW_PX = 28;

/** Widths of a table's columns: fitted to what was shown, chosen by hand, remembered by name. */
export class Columns {
  /** @type {string} */
  #key;
  #document = "";
  /** @type {string[]} name of each column, made unique */
  #names = [];
  /** @type {number[]} what the content asks for, in px */
  #natural = [];
  /** @type {Map<string, number>} */
  #chosen = new Map();
  /** @type {Float64Array} left edge of each column, and the end of the last */
  #edges = new Float64Array(1);
  #context = document.createElement("canvas").getContext("2d");

  /** @param {string} room */
  constructor(room) {
    this.#key = `tablecast:widths:${room}`;
    this.#remember();
  }

  // API

  get count() {
    return this.#natural.length;
  }

  /** The width of all columns, in px. */
  get total() {
    return this.#edges[this.count];
  }

  /** @param {number} column */
  left(column) {
    return this.#edges[column];
  }

  /** @param {number} column */
  width(column) {
    return this.#edges[column + 1] - this.#edges[column];
  }

  /**
   * The column at `x` px from the first column's left edge; the nearest one outside.
   * @param {number} x
   */
  at(x) {
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#edges[middle] <= x) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  /**
   * Fit the columns to a page. Within a document they only grow, so that turning pages does not make
   * the columns dance.
   * @param {PageMessage} page
   * @param {number} count
   * @param {CSSStyleDeclaration} style of the table
   */
  fit(page, count, style) {
    if (page.document !== this.#document || count !== this.count) this.#natural = new Array(count).fill(0);
    this.#document = page.document;
    this.#names = uniqueNames(page.header, count);
    const edge = matchMedia(PHONE).matches ? EDGE_NARROW_PX : EDGE_PX;
    const measure = this.#measure(`${style.fontSize} ${style.fontFamily}`, count);
    const measureHead = this.#measure(`600 ${style.fontSize} ${style.fontFamily}`, 1);
    for (let column = 0; column < count; column += 1) {
      const head = measureHead(page.header[column] ?? "") + edge;
      const cells = measure.apply(null, widest(page.data, column, count)) + edge;
      this.#natural[column] = Math.max(this.#natural[column], Math.ceil(Math.max(head, cells)));
    }
  }

  /**
   * The width of a short text in the table's small figures, in px.
   * @param {string} text
   * @param {CSSStyleDeclaration} style
   */
  measureSmall(text, style) {
    return Math.ceil(this.#measure(`12px ${style.fontFamily}`, 1)(text));
  }

  /**
   * Lay the columns out in a window of `available` px: where it has room to spare, columns with long
   * cells get it.
   * @param {number} available
   */
  spread(available) {
    const cap = matchMedia(PHONE).matches ? WIDEST_AUTO_ON_PHONE_PX : WIDEST_AUTO_PX;
    const widths = this.#natural.map((natural, column) => this.#chosen.get(this.#names[column]) ?? clamp(natural, NARROWEST_PX, cap));
    let spare = available - widths.reduce((sum, width) => sum + width, 0);
    if (spare > 0) {
      const long = widths
        .map((_, column) => column)
        .filter((column) => this.#natural[column] > cap && !this.#chosen.has(this.#names[column]))
        .sort((a, b) => this.#natural[a] - this.#natural[b]);
      long.forEach((column, index) => {
        const share = Math.floor(spare / (long.length - index));
        const grown = Math.min(Math.min(this.#natural[column], WIDEST_SPREAD_PX) - widths[column], share);
        widths[column] += grown;
        spare -= grown;
      });
    }
    this.#edges = new Float64Array(widths.length + 1);
    widths.forEach((width, column) => (this.#edges[column + 1] = this.#edges[column] + width));
  }

  /**
   * A width chosen by hand, in px; it holds for this name in this room as long as the tab lives.
   * @param {number} column
   * @param {number} width
   */
  choose(column, width) {
    this.#chosen.set(this.#names[column], Math.round(clamp(width, NARROWEST_PX, WIDEST_PX)));
    this.#save();
  }

  /**
   * As wide as what was shown of it asks for.
   * @param {number} column
   */
  chooseNatural(column) {
    this.choose(column, this.#natural[column]);
  }

  // Internal

  /**
   * @param {string} font
   * @param {number} count
   * @returns {(...texts: string[]) => number} the width of the widest
   */
  #measure(font, count) {
    const context = this.#context;
    if (!context || count > MEASURE_AT_ALL) {
      return (...texts) => Math.max(0, ...texts.map((text) => Math.min(text.length, CHARACTERS_MEASURED) * 8));
    }
    return (...texts) => {
      context.font = font;
      let width = 0;
      for (const text of texts) {
        width = Math.max(width, context.measureText(text.slice(0, CHARACTERS_MEASURED).replace(/\d/g, "0")).width);
      }
      return width;
    };
  }

  #remember() {
    try {
      const saved = JSON.parse(sessionStorage.getItem(this.#key) ?? "[]");
      this.#chosen = new Map(saved);
    } catch {
      this.#chosen = new Map();
    }
  }

  #save() {
    try {
      sessionStorage.setItem(this.#key, JSON.stringify([...this.#chosen]));
    } catch {
      // Storage can be full or forbidden; then widths last as long as this page.
    }
  }
}

/**
 * The cells of a column that may be its widest, by their length.
 * @param {string[][]} data
 * @param {number} column
 * @param {number} count
 */
function widest(data, column, count) {
  let longest = "";
  let weight = 0;
  for (const record of data) {
    const cell = record[column];
    if (cell !== undefined && cell.length > weight) {
      longest = cell;
      weight = cell.length;
    }
  }
  if (count > MEASURE_WELL) return [longest];
  const candidates = [longest];
  for (const record of data) {
    const cell = record[column] ?? "";
    // Letters of some scripts are about twice as wide as the others.
    const wide = /[\u1100-\uffff]/.test(cell) ? 2 : 1;
    if (cell.length * wide > weight * 0.6 && candidates.length < CELLS_MEASURED) candidates.push(cell);
  }
  return candidates;
}

/**
 * @param {string[]} header
 * @param {number} count
 */
function uniqueNames(header, count) {
  /** @type {Map<string, number>} */
  const seen = new Map();
  return Array.from({ length: count }, (_, column) => {
    const name = header[column] ?? "";
    const times = (seen.get(name) ?? 0) + 1;
    seen.set(name, times);
    return times === 1 ? name : `${name}#${times}`;
  });
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}
