import { NARROWEST_PX, WIDEST_PX } from "./columns.js";
import { make } from "./dom.js";
import { number } from "./format.js";

/** @typedef {import("./types.js").PageMessage} PageMessage */
/**
 * @typedef {object} Sight  Which columns of a page are in the document, and how they look.
 * @property {string} room
 * @property {number} left
 * @property {number} right  excluded
 * @property {number} count  of all columns
 * @property {boolean[]} numeric
 * @property {(column: number) => number} width  px
 * @property {Map<string, number>} cuts  "row:column" of cells that the page has shortened
 */

/** No column is so wide that more characters of a cell could be seen. */
const CHARACTERS_SHOWN = 1_000;
const BREAK = /\r\n|\r|\n/;
/** Lines of a cell that get a mark between them. */
const MARKS = 50;

/**
 * @param {PageMessage} page
 * @param {Sight} sight
 */
export function headRow(page, sight) {
  const { left, right, count } = sight;
  const row = make("tr");
  row.append(make("th", { scope: "col", class: "corner" }, make("abbr", { title: "Row number" }, "#")));
  if (left > 0) row.append(columnGap());
  for (let column = left; column < right; column += 1) row.append(headCell(page, column, sight));
  if (right < count) row.append(columnGap());
  return row;
}

/**
 * @param {PageMessage} page
 * @param {number} index  of the row in the page
 * @param {Sight} sight
 */
export function bodyRow(page, index, sight) {
  const { left, right, count, numeric, cuts } = sight;
  const record = page.data[index];
  const rowNumber = page.first_row + index;
  const row = document.createElement("tr");
  row.dataset.index = String(index);
  row.setAttribute("aria-rowindex", String(rowNumber + 1));
  if (index % 2) row.className = "odd";
  row.append(make("th", { scope: "row", "data-row": String(rowNumber) }, number(rowNumber)));
  if (left > 0) row.append(columnGap());
  const windowed = left > 0 || right < count;
  for (let column = left; column < right; column += 1) {
    const cell = document.createElement("td");
    write(cell, shorten(record[column] ?? ""));
    if (numeric[column]) cell.className = "number";
    if (windowed) cell.setAttribute("aria-colindex", String(column + 2));
    if (cuts.size && cuts.has(`${rowNumber}:${column}`)) cell.append(wholeLink(sight.room, page, rowNumber, column));
    row.append(cell);
  }
  if (right < count) row.append(columnGap());
  return row;
}

/** Rows that are not in the document, as one empty row of their height. */
export function rowGap() {
  return make("tbody", { "aria-hidden": "true" }, make("tr", { class: "gap" }, make("td")));
}

/**
 * @param {HTMLTableSectionElement} body  a `rowGap`
 * @param {number} height px
 * @returns {boolean} whether the gap has to be in the document
 */
export function fillGap(body, height) {
  body.rows[0].cells[0].style.height = `${height}px`;
  if (height <= 0) body.remove();
  return height > 0;
}

function columnGap() {
  return make("td", { class: "gap", "aria-hidden": "true" });
}

/**
 * @param {PageMessage} page
 * @param {number} column
 * @param {Sight} sight
 */
function headCell(page, column, { numeric, width }) {
  const name = page.header[column] ?? "";
  const cell = make("th", { scope: "col", "data-column": String(column) });
  const shown = make("span", { class: "head", "data-number": number(column + 1) });
  write(shown, shorten(name));
  if (numeric[column]) cell.classList.add("number");
  if (!name) {
    cell.classList.add("unnamed");
    cell.setAttribute("aria-label", `Column ${column + 1}, without a name`);
  }
  cell.setAttribute("aria-colindex", String(column + 2));
  cell.title = `${shorten(name) || `Column ${column + 1}`}\nDrag its right edge to change the width; double-click the edge to fit`;
  const grip = make("span", {
    class: "grip",
    role: "separator",
    tabindex: "-1",
    "aria-orientation": "vertical",
    "aria-label": `Width of column ${shorten(name) || column + 1}`,
    "aria-valuemin": String(NARROWEST_PX),
    "aria-valuemax": String(WIDEST_PX),
    "aria-valuenow": String(Math.round(width(column))),
  });
  cell.append(shown, grip);
  return cell;
}

/**
 * @param {string} room
 * @param {PageMessage} page
 * @param {number} row
 * @param {number} column
 */
function wholeLink(room, page, row, column) {
  const href = `/api/rooms/${room}/rows/${row}/cells/${column}?document=${encodeURIComponent(page.document)}`;
  return make("a", { class: "whole", "data-action": "whole", href, tabindex: "-1" }, "read whole");
}

/**
 * Text in one line, with a mark at each break that it has; read or copied it is the text alone.
 * @param {HTMLElement} element
 * @param {string} text
 */
function write(element, text) {
  const [first, ...rest] = text.split(BREAK, MARKS);
  element.textContent = first;
  let at = first.length;
  for (const line of rest) {
    const end = text[at] === "\r" && text[at + 1] === "\n" ? 2 : 1;
    element.append(make("span", { class: "break" }), text.slice(at, at + end) + line);
    at += end + line.length;
  }
  if (at < text.length) element.append(text.slice(at));
}

/** @param {string} text */
function shorten(text) {
  return text.length > CHARACTERS_SHOWN ? `${text.slice(0, CHARACTERS_SHOWN)}…` : text;
}
