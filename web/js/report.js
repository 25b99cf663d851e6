import { DELIMITERS, delimiterName, encodingName, findings, whyEncoding } from "./dialects.js";
import { make, need, refuse } from "./dom.js";
import { counted, number } from "./format.js";
import { Panel } from "./panel.js";
import { SheetChoice } from "./sheets.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./types.js").ReportValue} ReportValue */
/** @typedef {"delimiter"|"quote"|"escape"|"encoding"|"skip_lines"|"header"} Field */
/** @typedef {Record<Field, string|boolean>} Values */

/** @type {Field[]} */
const FIELDS = ["delimiter", "quote", "escape", "encoding", "skip_lines", "header"];
/** @type {Record<string, string>} */
const SPOKEN = { skip_lines: "lines before" };
const OTHER = "other";
/** An answer that takes longer is not waited for. */
const PATIENCE_MS = 15_000;

/** How the document is read: said in full, and corrected for everyone. */
export class Report {
  /** @type {Session} */
  #session;
  /** @type {import("./access.js").Access} */
  #access;
  /** @type {Panel} */
  #panel;
  /** @type {SheetChoice} */
  #sheets;
  /** @type {(pageNo: number) => void} */
  #turn;
  #title = need("#report-title", HTMLElement);
  #found = need("#report-found", HTMLElement);
  #form = need("#report-form", HTMLFormElement);
  #other = need("#report-other", HTMLInputElement);
  #may = need("#report-may", HTMLElement);
  #mayAll = this.#may.textContent ?? "";
  #skip = need("#report-skip", HTMLInputElement);
  #why = need("#report-why", HTMLElement);
  #submit = need("#report-form [type=submit]", HTMLButtonElement);
  #status = need("#report-status", HTMLElement);
  /** @type {Values|null} what the form was filled with last */
  #base = null;
  #told = "";
  #waiting = false;
  #timer = 0;

  /**
   * @param {Session} session
   * @param {import("./access.js").Access} access
   * @param {object} options
   * @param {HTMLButtonElement} options.fact
   * @param {(pageNo: number) => void} options.turn  turn the page for everyone
   * @param {(file: File, sheet: string) => void} options.send  send a workbook again
   */
  constructor(session, access, { fact, turn, send }) {
    this.#session = session;
    this.#access = access;
    this.#turn = turn;
    this.#panel = new Panel("report", fact, () => this.#open());
    this.#sheets = new SheetChoice(session, access, (file, sheet) => {
      this.#panel.close();
      send(file, sheet);
    });
  }

  // API

  start() {
    const delimiter = this.#select("delimiter");
    for (const [value, name] of DELIMITERS) delimiter.add(new Option(name, value));
    delimiter.add(new Option("another character…", OTHER));
    this.#panel.start();
    this.#sheets.start();
    this.#form.addEventListener("input", () => this.#edited());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#form.addEventListener("reset", (event) => {
      event.preventDefault();
      this.#base = null;
      this.#say("");
      this.#show();
    });
    this.#session.on("registers", () => this.#show());
    this.#session.on("phase", ({ phase }) => {
      if (this.#waiting && phase !== "live") this.#settle("The connection was lost before the answer came.", "bad");
      this.#show();
    });
    this.#access.on("change", () => this.#show());
    this.#show();
  }

  get isOpen() {
    return this.#panel.isOpen;
  }

  /**
   * The server said no; whether this is told here.
   * @param {import("./types.js").ErrorMessage} error
   */
  refused(error) {
    if (error.about !== "dialect" || !this.#panel.isOpen) return false;
    this.#settle(error.message, "bad");
    this.#show();
    return true;
  }

  // Internal

  #open() {
    this.#base = null;
    this.#settle("");
    this.#show();
  }

  #show() {
    const { document: table, upload } = this.#session.registers;
    const report = table?.report;
    this.#panel.offer(Boolean(table && (report || table.sheet)));
    if (!table) return;
    this.#title.textContent = `How “${table.name}” is read`;
    this.#form.hidden = !report;
    if (!report) return this.#found.replaceChildren();
    this.#tell(report, table);
    this.#fill(report, Boolean(table.sheet));
    if (this.#waiting && upload?.kind === "recut") {
      // As long as that takes; everyone sees how far it is.
      clearTimeout(this.#timer);
      this.#say("The file is read again for everyone; the table follows.");
    }
    this.#judge();
  }

  /**
   * @param {ReportValue} report
   * @param {import("./types.js").DocumentValue} table
   */
  #tell(report, { rows, sheet, corrected_by: by }) {
    const key = JSON.stringify([report, rows, by, this.#access.canTurn]);
    if (key === this.#told) return;
    this.#told = key;
    const odd = findings(report);
    const items = [make("li", {}, `${counted(rows, "row")}, ${counted(report.columns, "column")}${report.header ? " and a header" : ", no header"}.`)];
    if (report.ragged) items.push(make("li", { class: "odd" }, ...this.#ragged(report)));
    items.push(...odd.map((sentence) => make("li", { class: "odd" }, sentence)));
    if (report.chosen?.length) items.push(make("li", {}, ...chosen(report.chosen, by)));
    // What somebody chose is not counted again.
    const counts = !report.chosen?.some((field) => field === "delimiter" || field === "encoding");
    if (counts && !report.ragged && !report.replaced) items.push(make("li", {}, "Every row has as many cells as the first, and every character could be read."));
    this.#found.replaceChildren(...items);
    this.#why.textContent = sheet ? "" : whyEncoding(report.encoding_why);
  }

  /** @param {ReportValue} report */
  #ragged(report) {
    const rows = report.ragged_records.map((record) => (report.header ? record : record + 1));
    const forAll = this.#access.canTurn ? ", for everyone" : " on your own";
    const links = rows.map((row) => {
      const link = make("button", { type: "button", class: "link", "data-row": String(row), title: `Turn to row ${number(row)}${forAll}` }, number(row));
      link.addEventListener("click", () => this.#goTo(row));
      return link;
    });
    const more = report.ragged > rows.length ? " and more" : "";
    return [
      `${counted(report.ragged, "row has", "rows have")} more or fewer cells than the first: row${report.ragged === 1 ? "" : "s"} `,
      ...links.flatMap((link, index) => (index ? [", ", link] : [link])),
      `${more}. A press turns there${forAll}.`,
    ];
  }

  /** @param {number} row */
  #goTo(row) {
    const size = this.#session.page?.page_size || 100;
    this.#turn(Math.floor((row - 1) / size) + 1);
    // A phone's sheet covers the rows.
    if (matchMedia("(max-width: 760px)").matches) this.#panel.close();
  }

  /**
   * Fields that nobody touches follow what is true; touched ones stay as they are.
   * @param {ReportValue} report
   * @param {boolean} isSheet  then the text between is ours, and only the header is a question
   */
  #fill(report, isSheet) {
    const { delimiter, quote, escape, encoding, skipped, header } = report;
    const now = /** @type {Values} */ ({ delimiter, quote, escape, encoding, skip_lines: String(skipped), header });
    const base = this.#base;
    const values = this.#values();
    for (const field of FIELDS) {
      need(`[data-field="${field}"]`, HTMLElement, this.#form).hidden = isSheet && field !== "header";
      if (!base || values[field] === base[field]) this.#put(field, now[field]);
    }
    this.#base = now;
    const changed = base && FIELDS.some((field) => base[field] !== now[field]);
    if (changed && this.#waiting) this.#settle("Changed, for everyone.");
  }

  /**
   * @param {Field} field
   * @param {string|boolean} value
   */
  #put(field, value) {
    if (field === "header" || typeof value === "boolean") {
      need("[name=header]", HTMLInputElement, this.#form).checked = value === true;
      return;
    }
    if (field === "skip_lines") {
      this.#skip.value = value;
      return;
    }
    const select = this.#select(field);
    const known = [...select.options].some((option) => option.value === value && value !== OTHER);
    if (field === "delimiter") {
      this.#other.value = known ? "" : value;
      select.value = known ? value : OTHER;
      this.#other.hidden = known;
      return;
    }
    if (!known) select.add(new Option(field === "encoding" ? encodingName(value) : delimiterName(value), value));
    select.value = value;
  }

  /** @returns {Values} */
  #values() {
    const delimiter = this.#select("delimiter").value;
    return {
      delimiter: delimiter === OTHER ? this.#other.value : delimiter,
      quote: this.#select("quote").value,
      escape: this.#select("escape").value,
      encoding: this.#select("encoding").value,
      skip_lines: this.#skip.value,
      header: need("[name=header]", HTMLInputElement, this.#form).checked,
    };
  }

  #changes() {
    const values = this.#values();
    const base = this.#base;
    return Object.fromEntries(FIELDS.filter((field) => base && values[field] !== base[field]).map((field) => [field, field === "skip_lines" ? Number(values[field]) : values[field]]));
  }

  #edited() {
    const isOther = this.#select("delimiter").value === OTHER;
    if (isOther && this.#other.hidden) {
      this.#other.hidden = false;
      this.#other.focus();
    }
    this.#other.hidden = !isOther;
    if (!this.#waiting) this.#say("");
    this.#judge();
  }

  /** Whether there is something to send, and a way. */
  #judge() {
    const obstacle = this.#access.obstacleTo("correct this");
    this.#may.textContent = obstacle || this.#mayAll;
    for (const field of this.#form.querySelectorAll("select, input")) {
      if (field instanceof HTMLSelectElement || field instanceof HTMLInputElement) field.disabled = obstacle !== "";
    }
    refuse(this.#submit, obstacle, "report-may");
    const changed = Object.keys(this.#changes()).length > 0;
    const incomplete = !this.#skip.validity.valid || (this.#select("delimiter").value === OTHER && [...this.#other.value].length !== 1);
    const live = this.#session.phase === "live";
    // While it says why it does nothing it stays within reach.
    this.#submit.disabled = !obstacle && (!changed || incomplete || !live || this.#waiting);
    need("[type=reset]", HTMLButtonElement, this.#form).hidden = !changed || this.#waiting;
    if (changed && !live) this.#say("There is no connection now, so nothing can be changed.", "bad");
  }

  #send() {
    const obstacle = this.#access.obstacleTo("correct this");
    if (obstacle) return this.#say(obstacle, "bad");
    const changes = this.#changes();
    if (!Object.keys(changes).length || !this.#session.read(changes)) return;
    this.#waiting = true;
    this.#say("Changing it for everyone…");
    this.#timer = window.setTimeout(() => {
      this.#settle("The server did not answer. What is shown is how the file is read now.", "bad");
      this.#judge();
    }, PATIENCE_MS);
    this.#judge();
  }

  /**
   * @param {string} text
   * @param {string} [tone]
   */
  #settle(text, tone) {
    clearTimeout(this.#timer);
    this.#waiting = false;
    this.#say(text, tone);
  }

  /**
   * @param {string} text
   * @param {string} [tone]
   */
  #say(text, tone = "") {
    this.#status.className = tone;
    if (this.#status.textContent === text) return;
    this.#status.textContent = text;
    if (text) this.#status.scrollIntoView({ block: "nearest" });
  }

  /** @param {Exclude<Field, "header"|"skip_lines">} field */
  #select(field) {
    return need(`select[name="${field}"]`, HTMLSelectElement, this.#form);
  }
}

/**
 * What people chose in place of what was recognised, and who chose last.
 * @param {string[]} fields
 * @param {import("./types.js").Actor|null|undefined} by
 */
function chosen(fields, by) {
  const spoken = fields.map((field) => SPOKEN[field] ?? field.replace("_", " ")).join(", ");
  const last = by ? [" ", make("bdi", {}, by.name), " chose last."] : [];
  return [`Chosen by somebody here: ${spoken}.`, ...last];
}
