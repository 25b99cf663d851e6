const grouped = new Intl.NumberFormat("en");
const UNITS = ["bytes", "KB", "MB", "GB"];

/**
 * 1000000 -> "1,000,000", as the server writes it.
 * @param {number} value
 */
export function number(value) {
  return grouped.format(value);
}

/**
 * 1 -> "1 row", 2 -> "2 rows".
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export function counted(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/**
 * 99091415 -> "94.5 MB", as the server writes it.
 * @param {number} bytes
 */
export function fileSize(bytes) {
  const unit = unitFor(bytes);
  return `${inUnit(bytes, unit)} ${bytes === 1 ? "byte" : UNITS[unit]}`;
}

/**
 * "41 of 100 MB": both in the unit of the whole.
 * @param {number} part
 * @param {number} whole
 */
export function sizeOfSize(part, whole) {
  const unit = unitFor(whole);
  const coarse = /** @param {number} bytes */ (bytes) =>
    unit === 0 ? number(bytes) : grouped.format(Math.round(bytes / 1024 ** unit));
  const fine = whole / 1024 ** unit < 10;
  return `${fine ? inUnit(part, unit) : coarse(part)} of ${fine ? inUnit(whole, unit) : coarse(whole)} ${UNITS[unit]}`;
}

/** @type {[number, string][]} */
const TIMES = [[86_400, "day"], [3_600, "hour"], [60, "minute"], [1, "second"]];

/**
 * 604800 -> "7 days", 5400 -> "90 minutes": in the largest unit that says it exactly.
 * @param {number} seconds
 */
export function duration(seconds) {
  const [size, name] = TIMES.find(([size]) => seconds % size === 0) ?? [1, "second"];
  return counted(seconds / size, name);
}

/** @param {number} bytes */
function unitFor(bytes) {
  let unit = 0;
  while (unit < UNITS.length - 1 && bytes >= 1024 ** (unit + 1)) unit += 1;
  return unit;
}

/**
 * @param {number} bytes
 * @param {number} unit
 */
function inUnit(bytes, unit) {
  const value = bytes / 1024 ** unit;
  return unit === 0 ? number(value) : value.toFixed(1).replace(/\.0$/, "");
}

const NUMERIC = /^[-+−]?(\d{1,3}([,\u202f\u00a0 ]\d{3})+|\d+)?([.,]\d+)?%?$/;

/**
 * Whether a cell reads as a number, by the server's rule.
 * @param {string} cell
 */
export function looksNumeric(cell) {
  const text = cell.trim();
  return text.length < 40 && /\d/.test(text) && NUMERIC.test(text);
}

/**
 * Per column: every cell of the page that is not empty reads as a number, and there is one.
 * @param {string[][]} data
 * @param {number} columns
 * @returns {boolean[]}
 */
export function numericColumns(data, columns) {
  const numeric = new Array(columns).fill(false);
  const ruledOut = new Uint8Array(columns);
  for (const record of data) {
    const cells = Math.min(record.length, columns);
    for (let column = 0; column < cells; column += 1) {
      const cell = record[column];
      if (ruledOut[column] || cell === "") continue;
      if (looksNumeric(cell)) numeric[column] = true;
      else {
        ruledOut[column] = 1;
        numeric[column] = false;
      }
    }
  }
  return numeric;
}
