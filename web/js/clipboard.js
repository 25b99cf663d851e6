/**
 * Put text on the clipboard. Pages served over plain http have no clipboard API; the older way works
 * there, within a click or a key press.
 * @param {string} text
 * @returns {Promise<boolean>} whether it is there now
 */
export async function copyText(text) {
  if (navigator.clipboard && isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Permission can be refused; the older way needs none.
    }
  }
  return copyByCommand(text);
}

/** @param {string} text */
function copyByCommand(text) {
  const write = /** @param {ClipboardEvent} event */ (event) => {
    event.clipboardData?.setData("text/plain", text);
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  addEventListener("copy", write, { capture: true });
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    removeEventListener("copy", write, { capture: true });
  }
}

/**
 * Cells as TSV, quoted the way spreadsheets read it back.
 * @param {string[][]} records
 */
export function asTsv(records) {
  const quoted = /** @param {string} cell */ (cell) =>
    /[\t\n\r"]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
  return records.map((record) => record.map(quoted).join("\t")).join("\n");
}
