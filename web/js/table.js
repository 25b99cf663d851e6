import { bodyRow, fillGap, headRow, rowGap } from "./cells.js";
import { Columns } from "./columns.js";
import { make, need } from "./dom.js";
import { Emitter } from "./emitter.js";
import { number, numericColumns } from "./format.js";

/** @typedef {import("./types.js").PageMessage} PageMessage */
/** @typedef {import("./selection.js").Place} Place */
/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {{top: number, bottom: number, left: number, right: number}} Extent  rows and columns, ends excluded */

/** A page of more cells has only those near the window in the document; scrolling brings the rest. */
const CELLS_AT_ONCE = 12_000;
const COLUMNS_AHEAD_PX = 600;
const ROWS_AHEAD = 14;

/** Shows one page at a time, by text nodes only: whatever a file holds stays text. */
export class TableView {
  /** @type {Emitter<{rendered: null}>} after rows have come into the document or left it */
  #events = new Emitter();
  /** @type {string} */
  #room;
  #scroller = need("#scroller", HTMLElement);
  #table = need("#table", HTMLTableElement);
  #head = need("thead", HTMLTableSectionElement, this.#table);
  #body = need("tbody", HTMLTableSectionElement, this.#table);
  #above = rowGap();
  #below = rowGap();
  #cols = make("colgroup");
  #noRows = need("#no-rows", HTMLElement);
  /** @type {PageMessage|null} */
  #page = null;
  /** @type {Columns} */
  #columns;
  /** @type {boolean[]} */
  #numeric = [];
  /** @type {Map<string, number>} */
  #cuts = new Map();
  /** @type {Map<number, HTMLTableRowElement>} rows in the document, by their index in the page */
  #rows = new Map();
  /** @type {Extent} */
  #window = { top: 0, bottom: 0, left: 0, right: 0 };
  #rowHeight = 33;
  #measured = false;
  #numberWidth = 48;
  #frame = 0;
  /** @type {Selection|null} */
  #selection = null;
  /** @type {Element[]} */
  #marked = [];

  /** @param {string} room */
  constructor(room) {
    this.#room = room;
    this.#columns = new Columns(room);
  }

  // API

  /** @type {Emitter<{rendered: null}>["on"]} */
  on = (name, listener) => this.#events.on(name, listener);

  /** @type {HTMLTableElement} */
  get element() {
    return this.#table;
  }

  get page() {
    return this.#page;
  }

  get columns() {
    return this.#columns;
  }

  start() {
    this.#table.classList.add("laid-out");
    this.#table.setAttribute("role", "grid");
    this.#table.setAttribute("aria-multiselectable", "true");
    this.#table.insertBefore(this.#cols, this.#head);
    this.#scroller.addEventListener("scroll", () => this.#soon(), { passive: true });
    new ResizeObserver(() => {
      // Zoom and a phone's turn can change it.
      this.#measured = false;
      this.layOut();
    }).observe(this.#scroller);
  }

  /**
   * @param {PageMessage} page
   * @param {boolean} [still]  keep the scroll position, whatever the page is
   */
  show(page, still = false) {
    const before = this.#page;
    const sameRows = before?.document === page.document && before.first_row === page.first_row;
    this.#page = page;
    this.#scroller.hidden = false;
    const count = page.data.reduce((most, record) => Math.max(most, record.length), page.header.length);
    this.#numeric = numericColumns(page.data, count);
    this.#cuts = new Map(page.cut.map((cut) => [`${cut.row}:${cut.column}`, cut.size]));
    const style = getComputedStyle(this.#table);
    this.#columns.fit(page, count, style);
    const last = number(Math.max(page.first_row + page.data.length - 1, 999));
    this.#numberWidth = this.#columns.measureSmall(last, style) + 26;
    this.#table.dataset.page = String(page.page_no);
    this.#table.dataset.document = page.document;
    this.#table.setAttribute("aria-rowcount", String(page.total_number + 1));
    this.#table.setAttribute("aria-colcount", String(count + 1));
    this.#noRows.hidden = page.data.length > 0;
    if (!still && before?.document !== page.document) this.#scroller.scrollLeft = 0;
    if (!still && !sameRows) this.#scroller.scrollTop = 0;
    this.#place();
    this.#render(true);
  }

  clear() {
    this.#page = null;
    this.#scroller.hidden = true;
    for (const part of [this.#cols, this.#head, this.#body]) part.replaceChildren();
    this.#rows.clear();
    delete this.#table.dataset.page;
    delete this.#table.dataset.document;
  }

  /** Take the window's and the columns' present widths. */
  layOut() {
    if (!this.#page) return;
    this.#place();
    this.#sizeColumns();
    this.#render(false);
  }

  /**
   * The text of a cell as the page has it.
   * @param {number} row
   * @param {number} column
   */
  text(row, column) {
    if (!this.#page) return "";
    return (row === 0 ? this.#page.header : this.#page.data[row - 1])?.[column] ?? "";
  }

  /**
   * Characters of the whole cell if the page has it shortened, else 0.
   * @param {number} row
   * @param {number} column
   */
  cutSize(row, column) {
    return this.#cuts.get(`${this.rowNumber(row)}:${column}`) ?? 0;
  }

  /**
   * The row's number in the document, from 1; 0 is the header.
   * @param {number} row
   */
  rowNumber(row) {
    return row === 0 || !this.#page ? 0 : this.#page.first_row + row - 1;
  }

  /**
   * Whether a cell's text does not fit into its column.
   * @param {Place} place
   */
  clipped(place) {
    const cell = this.cellAt(place);
    const box = cell instanceof HTMLTableCellElement ? (cell.querySelector(".head") ?? cell) : null;
    if (!box) return false;
    return box.scrollWidth > box.clientWidth || /[\n\r]/.test(this.text(place.row, place.column));
  }

  /**
   * The cell that holds `node`: column -1 is a row number, row 0 the header.
   * @param {EventTarget|null} node
   * @returns {Place|null}
   */
  placeOf(node) {
    const cell = node instanceof Element ? node.closest("td, th") : null;
    const row = cell?.parentElement;
    if (!(cell instanceof HTMLTableCellElement) || !(row instanceof HTMLTableRowElement) || !this.#table.contains(cell)) return null;
    if (cell.classList.contains("gap")) return null;
    const index = row.parentElement === this.#head ? 0 : Number(row.dataset.index) + 1;
    if (Number.isNaN(index)) return null;
    return { row: index, column: cell.cellIndex === 0 ? -1 : cell.cellIndex - this.#lead() + this.#window.left };
  }

  /**
   * The cell under a point of the window, the nearest one outside the table.
   * @param {number} x
   * @param {number} y
   * @returns {Place}
   */
  placeAt(x, y) {
    const box = this.#scroller.getBoundingClientRect();
    const headHeight = this.#head.offsetHeight;
    const inX = Math.min(Math.max(x, box.left + this.#numberWidth), box.right - 1) - box.left;
    const inY = Math.min(Math.max(y, box.top + headHeight), box.bottom - 1) - box.top;
    return {
      row: Math.max(1, Math.floor((inY + this.#scroller.scrollTop - headHeight) / this.#rowHeight) + 1),
      column: this.#columns.at(inX + this.#scroller.scrollLeft - this.#numberWidth),
    };
  }

  /**
   * Scroll a cell into the window, clear of the header and the row numbers; with column -1, its row.
   * @param {Place} place
   */
  reveal({ row, column }) {
    const scroller = this.#scroller;
    if (column >= 0) {
      const left = this.#columns.left(column);
      const right = left + this.#columns.width(column);
      const wide = scroller.clientWidth - this.#numberWidth;
      if (left < scroller.scrollLeft) scroller.scrollLeft = left;
      else if (right > scroller.scrollLeft + wide) scroller.scrollLeft = Math.min(left, right - wide);
    }
    if (row > 0) {
      const top = (row - 1) * this.#rowHeight;
      const high = scroller.clientHeight - this.#head.offsetHeight;
      if (top < scroller.scrollTop) scroller.scrollTop = top;
      else if (top + this.#rowHeight > scroller.scrollTop + high) scroller.scrollTop = top + this.#rowHeight - high;
    }
    this.#render(false);
  }

  /**
   * The element of a row, while it has one.
   * @param {number} rowNumber  from 1 in the document; 0 is the header
   * @returns {HTMLTableRowElement|null}
   */
  rowOf(rowNumber) {
    if (!this.#page) return null;
    return (rowNumber === 0 ? this.#head.rows[0] : this.#rows.get(rowNumber - this.#page.first_row)) ?? null;
  }

  /**
   * The element of a cell, while it has one.
   * @param {Place} place
   * @returns {Element|null}
   */
  cellAt({ row, column }) {
    const { left, right } = this.#window;
    if (column < left || column >= right) return null;
    const record = row === 0 ? this.#head.rows[0] : this.#rows.get(row - 1);
    return record?.cells[column - left + this.#lead()] ?? null;
  }

  /**
   * Show what is selected, now and after every rendering.
   * @param {Selection} selection
   */
  mark(selection) {
    this.#selection = selection;
    for (const cell of this.#marked) {
      cell.removeAttribute("aria-selected");
      cell.removeAttribute("id");
      cell.classList.remove("active");
    }
    this.#marked = [];
    this.#table.removeAttribute("aria-activedescendant");
    const { range, active } = selection;
    if (!range || !active) return;
    const { top, bottom, left, right } = this.#window;
    for (let row = range.top; row <= range.bottom; row += 1) {
      if (row > 0 && (row - 1 < top || row - 1 >= bottom)) continue;
      for (let column = Math.max(left, range.left); column <= Math.min(range.right, right - 1); column += 1) {
        const cell = this.cellAt({ row, column });
        if (!cell) continue;
        cell.setAttribute("aria-selected", "true");
        this.#marked.push(cell);
      }
    }
    const cell = this.cellAt(active);
    if (cell) {
      cell.classList.add("active");
      cell.id = `cell-${active.row}-${active.column}`;
      this.#table.setAttribute("aria-activedescendant", cell.id);
      if (!this.#marked.includes(cell)) this.#marked.push(cell);
    }
  }

  /**
   * The width handle of a column, if it is in the document.
   * @param {number} column
   */
  grip(column) {
    const grip = this.cellAt({ row: 0, column })?.querySelector(".grip");
    return grip instanceof HTMLElement ? grip : null;
  }

  // Internal

  #soon() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render(false);
    });
  }

  #place() {
    this.#columns.spread(this.#scroller.clientWidth - this.#numberWidth);
  }

  /** Children before the first column's cell: the row number, and a gap for columns left of the window. */
  #lead() {
    return this.#window.left > 0 ? 2 : 1;
  }

  /**
   * What the window shows and some more around it; of a small page, all.
   * @param {number} columnsAhead px
   * @param {number} rowsAhead
   * @returns {Extent}
   */
  #near(columnsAhead, rowsAhead) {
    const rows = this.#page?.data.length ?? 0;
    const columns = this.#columns.count;
    const near = { top: 0, bottom: rows, left: 0, right: columns };
    if ((rows + 1) * columns <= CELLS_AT_ONCE) return near;
    const { scrollLeft, scrollTop, clientWidth, clientHeight } = this.#scroller;
    near.left = this.#columns.at(scrollLeft - columnsAhead);
    near.right = Math.min(columns, this.#columns.at(scrollLeft + clientWidth + columnsAhead) + 1);
    near.top = Math.min(rows, Math.max(0, Math.floor(scrollTop / this.#rowHeight) - rowsAhead));
    near.bottom = Math.min(rows, Math.ceil((scrollTop + clientHeight) / this.#rowHeight) + rowsAhead);
    return near;
  }

  /** @param {boolean} anew the page is another one */
  #render(anew) {
    if (!this.#page) return;
    const now = this.#window;
    const needed = this.#near(COLUMNS_AHEAD_PX / 4, ROWS_AHEAD / 4);
    const columnsMoved = anew || needed.left < now.left || needed.right > now.right;
    if (!columnsMoved && needed.top >= now.top && needed.bottom <= now.bottom) return;
    const wanted = this.#near(COLUMNS_AHEAD_PX, ROWS_AHEAD);
    if (!columnsMoved) {
      wanted.left = now.left;
      wanted.right = now.right;
    }
    this.#window = wanted;
    if (columnsMoved) {
      this.#head.replaceChildren(headRow(this.#page, this.#sight()));
      this.#sizeColumns();
      this.#rows.clear();
    }
    this.#renderRows(this.#page);
    if (this.#selection) this.mark(this.#selection);
    this.#events.emit("rendered", null);
  }

  /** @returns {import("./cells.js").Sight} */
  #sight() {
    const { left, right } = this.#window;
    return { room: this.#room, left, right, count: this.#columns.count, numeric: this.#numeric, cuts: this.#cuts, width: (column) => this.#columns.width(column) };
  }

  /** @param {PageMessage} page */
  #renderRows(page) {
    const { top, bottom } = this.#window;
    if (this.#rows.size === 0) this.#body.replaceChildren();
    for (const [index, row] of this.#rows) {
      if (index >= top && index < bottom) continue;
      row.remove();
      this.#rows.delete(index);
    }
    /** @type {Element|null} */
    let next = this.#body.firstElementChild;
    const batch = document.createDocumentFragment();
    const sight = this.#sight();
    for (let index = top; index < bottom; index += 1) {
      const there = this.#rows.get(index);
      if (there) {
        this.#body.insertBefore(batch, there);
        next = there.nextElementSibling;
        continue;
      }
      const row = bodyRow(page, index, sight);
      this.#rows.set(index, row);
      batch.append(row);
    }
    this.#body.insertBefore(batch, next);
    if (!this.#measured) {
      this.#rowHeight = anyRow(this.#rows)?.getBoundingClientRect().height || this.#rowHeight;
      this.#measured = this.#rows.size > 0;
    }
    if (fillGap(this.#above, top * this.#rowHeight)) this.#body.before(this.#above);
    if (fillGap(this.#below, (page.data.length - bottom) * this.#rowHeight)) this.#body.after(this.#below);
  }

  #sizeColumns() {
    const { left, right } = this.#window;
    const widths = [this.#numberWidth];
    if (left > 0) widths.push(this.#columns.left(left));
    for (let column = left; column < right; column += 1) widths.push(this.#columns.width(column));
    if (right < this.#columns.count) widths.push(this.#columns.total - this.#columns.left(right));
    while (this.#cols.childElementCount > widths.length + 1) this.#cols.lastElementChild?.remove();
    while (this.#cols.childElementCount < widths.length + 1) this.#cols.append(make("col"));
    const cols = /** @type {HTMLCollectionOf<HTMLTableColElement>} */ (this.#cols.children);
    widths.forEach((width, index) => (cols[index].style.width = `${width}px`));
    // The nameless last column takes what is left over.
    cols[widths.length].style.width = "auto";
    this.#table.style.width = `${this.#numberWidth + this.#columns.total}px`;
    this.#table.style.setProperty("--seen", `${this.#scroller.clientWidth}px`);
  }
}

/** @param {Map<number, HTMLTableRowElement>} rows */
function anyRow(rows) {
  return rows.values().next().value;
}
