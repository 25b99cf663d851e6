/** @typedef {import("./types.js").PageMessage} PageMessage */

/**
 * The page as the server's HTML shows it, so that it need not be sent twice. Null if there is none.
 * @param {import("./types.js").Boot} boot
 * @returns {PageMessage|null}
 */
export function pageInHtml({ uuid, state }) {
  const table = document.querySelector("#table");
  const shown = state?.set.document;
  if (!(table instanceof HTMLTableElement) || !shown || table.dataset.document !== shown.id) return null;
  const header = [...table.querySelectorAll("thead .head")].map((cell) => cell.textContent ?? "");
  const rows = [...table.tBodies[0].rows];
  const first = rows[0]?.cells[0].dataset.row ?? "1";
  return {
    type: "page",
    uuid,
    document: shown.id,
    page_no: Number(table.dataset.page),
    page_size: state.set.page?.size ?? Math.max(1, rows.length),
    total_number: shown.rows,
    first_row: Number(first),
    header,
    data: rows.map((row) => [...row.cells].slice(1).map(text)),
    cut: rows.flatMap((row, index) =>
      [...row.cells].slice(1).flatMap((cell, column) => {
        const size = Number(cell.querySelector("[data-size]")?.getAttribute("data-size"));
        return size ? [{ row: Number(first) + index, column, size }] : [];
      }),
    ),
    columns_left_out: Number(table.dataset.leftOut ?? 0),
  };
}

/**
 * A cell's text, without the link that a shortened cell carries.
 * @param {HTMLTableCellElement} cell
 */
function text(cell) {
  // A long one stands in a box of its own.
  const first = (cell.querySelector(":scope > div") ?? cell).firstChild;
  return first instanceof Text ? first.data : "";
}
