import { counted } from "./format.js";

/** @typedef {import("./types.js").ReportValue} ReportValue */
/** @typedef {import("./types.js").DocumentValue} DocumentValue */

/** What may separate cells, the usual first. @type {[string, string][]} */
export const DELIMITERS = [["\t", "tab"], [",", "comma"], [";", "semicolon"], ["|", "pipe"], [" ", "space"], ["", "nothing: a line is one cell"]];

/** @type {Record<string, string>} */
const NAMES = {
  "": "one column", "\t": "tab", ",": "comma", ";": "semicolon", "|": "pipe", " ": "space", ":": "colon",
  "=": "equals sign", "^": "caret", "~": "tilde", "#": "hash",
  "\x1c": "file separator", "\x1d": "group separator", "\x1e": "record separator", "\x1f": "unit separator",
};

/** @type {Record<string, string>} */
const WHY = {
  mark: "The mark at the file's beginning says so.",
  zeros: "Its zero bytes stand where this encoding has them.",
  valid: "All that was looked at is valid in it.",
  guess: "This is a guess: correct it if letters look wrong.",
  fallback: "Nothing in the file tells: correct it if letters look wrong.",
  chosen: "Somebody here chose it.",
};

/** @type {Record<string, string>} */
const NOTES = {
  runaway_quote: "A quote was opened and never closed, so quotes are read as ordinary text.",
  nul_bytes: "There are zero bytes in the file; each shows as \ufffd.",
  sheets_left_out: "The workbook has more sheets than are listed here.",
  not_counted: "Uneven rows and unreadable characters are being counted again.",
};

/**
 * "tab", "comma", `"¦"`, "character 0x01", as the server writes it.
 * @param {string} delimiter
 */
export function delimiterName(delimiter) {
  if (delimiter in NAMES) return NAMES[delimiter];
  if (/^[^\p{C}\p{Z}]$/u.test(delimiter)) return `"${delimiter}"`;
  return `character 0x${(delimiter.codePointAt(0) ?? 0).toString(16).padStart(2, "0")}`;
}

/**
 * "cp1252" -> "Windows-1252", without its languages.
 * @param {string} codec
 */
export function encodingName(codec) {
  for (const option of document.querySelectorAll("#report-form [name=encoding] option")) {
    if (option instanceof HTMLOptionElement && option.value === codec) return option.text.split(" (")[0];
  }
  return codec.toUpperCase();
}

/**
 * How a document is read, in one line: "semicolon, Windows-1252 (a guess), header, 3 ragged rows".
 * @param {DocumentValue} table
 */
export function readInShort(table) {
  const { report } = table;
  const read = report ?? table.dialect;
  const guessed = report?.encoding_why === "guess" || report?.encoding_why === "fallback";
  const source = table.sheet
    ? [isParquet(table) ? "Parquet" : `sheet ${table.sheet}`]
    : [delimiterName(read.delimiter), encodingName(read.encoding) + (guessed ? " (a guess)" : "")];
  if (read.header) source.push("header");
  else if (report) source.push("no header");
  return [...source, ...(report ? oddities(report) : [])].join(", ");
}

/**
 * A Parquet file comes as a workbook of one sheet, though it has none.
 * @param {DocumentValue} table
 */
export function isParquet({ name, sheets }) {
  return sheets?.length === 1 && /\.(parquet|pq)$/i.test(name);
}

/** @param {string} why */
export function whyEncoding(why) {
  return WHY[why] ?? "";
}

/**
 * All that was found odd, but for the ragged rows, each in a sentence.
 * @param {ReportValue} report
 */
export function findings(report) {
  const found = [];
  if (report.replaced) found.push(`${counted(report.replaced, "character")} could not be read and ${report.replaced === 1 ? "shows" : "show"} as \ufffd.`);
  if (report.skipped) found.push(`${counted(report.skipped, "line")} before the table ${report.skipped === 1 ? "was" : "were"} skipped.`);
  found.push(...report.notes.flatMap((note) => NOTES[note] ?? []));
  return found;
}

/** @param {ReportValue} report */
function oddities(report) {
  const odd = [];
  if (report.ragged) odd.push(counted(report.ragged, "ragged row"));
  if (report.replaced) odd.push(counted(report.replaced, "unreadable character"));
  if (report.skipped) odd.push(counted(report.skipped, "line skipped", "lines skipped"));
  if (report.notes.includes("runaway_quote")) odd.push("quotes read as text");
  return odd;
}
