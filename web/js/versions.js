import { make, need, refuse } from "./dom.js";
import { counted, fileSize, number } from "./format.js";
import { Panel } from "./panel.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./types.js").DocumentValue} DocumentValue */

/** An answer that takes longer is not waited for. */
const PATIENCE_MS = 10_000;

/** The tables that the room keeps, and the way back to one of them, for everyone. */
export class Versions {
  /** @type {Session} */
  #session;
  /** @type {import("./access.js").Access} */
  #access;
  /** @type {Panel} */
  #panel;
  #may = need("#versions-may", HTMLElement);
  #list = need("#versions-list", HTMLElement);
  #status = need("#versions-status", HTMLElement);
  #shown = "";
  #timer = 0;
  #time = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

  /**
   * @param {Session} session
   * @param {import("./access.js").Access} access
   * @param {HTMLButtonElement} fact
   */
  constructor(session, access, fact) {
    this.#session = session;
    this.#access = access;
    this.#panel = new Panel("versions", fact, () => this.#say(""));
  }

  // API

  start() {
    this.#panel.start();
    this.#session.on("registers", () => this.#show());
    this.#session.on("phase", () => this.#show());
    this.#access.on("change", () => this.#show());
    this.#show();
  }

  /**
   * The server said no; whether this is told here.
   * @param {import("./types.js").ErrorMessage} error
   */
  refused(error) {
    if (error.about !== "version" || !this.#panel.isOpen) return false;
    this.#say(error.message);
    return true;
  }

  // Internal

  #show() {
    const { document: table, versions } = this.#session.registers;
    this.#panel.offer(Boolean(table && versions && versions.length > 1));
    const live = this.#session.phase === "live";
    const obstacle = this.#access.obstacleTo("show other versions");
    this.#may.textContent = obstacle;
    this.#may.hidden = obstacle === "";
    const key = JSON.stringify([versions, table?.id, live, obstacle]);
    if (key === this.#shown) return;
    this.#shown = key;
    const inside = this.#list.contains(document.activeElement);
    this.#list.replaceChildren(...(versions ?? []).map((version) => this.#item(version, version.id === table?.id, live)));
    if (inside) this.#panel.element.focus({ preventScroll: true });
    this.#say("");
  }

  /**
   * @param {DocumentValue} version
   * @param {boolean} isShown
   * @param {boolean} live
   */
  #item(version, isShown, live) {
    const label = `Version ${number(version.version)}`;
    const facts = [version.size === null ? "" : fileSize(version.size), counted(version.rows, "row")].filter(Boolean).join(" · ");
    const item = make(
      "li",
      {},
      make("p", { class: "version-name" }, make("strong", {}, label), " ", make("bdi", {}, version.name)),
      make("p", { class: "hint" }, ...this.#when(version), facts),
    );
    if (isShown) {
      item.setAttribute("aria-current", "true");
      item.append(make("p", { class: "badge" }, "shown now"));
      return item;
    }
    const button = make("button", { type: "button", "data-version": String(version.version), "aria-label": `Show this one to everyone: version ${number(version.version)}` }, "Show this one to everyone");
    button.disabled = !live;
    const obstacle = this.#access.obstacleTo("show other versions");
    refuse(button, obstacle, "versions-may");
    button.addEventListener("click", () => (obstacle ? this.#say(obstacle) : this.#choose(version.version)));
    item.append(button);
    return item;
  }

  /** @param {DocumentValue} version */
  #when({ created }) {
    if (!created) return [];
    const date = new Date(created);
    return [make("time", { datetime: date.toISOString() }, this.#time.format(date)), " · "];
  }

  /** @param {number} version */
  #choose(version) {
    if (!this.#session.showVersion(version)) return this.#say("There is no connection now. Nothing was changed.");
    this.#say(`Showing version ${number(version)}…`);
    this.#timer = window.setTimeout(() => this.#say("The server did not answer. Nothing was changed here."), PATIENCE_MS);
  }

  /** @param {string} text */
  #say(text) {
    clearTimeout(this.#timer);
    this.#status.textContent = text;
  }
}

/**
 * What is new about a version: "Version 3 of trips.tsv: 1,204 rows more".
 * @param {DocumentValue|null} before
 * @param {DocumentValue} now
 */
export function whatIsNew(before, now) {
  const label = `Version ${number(now.version)} of “${now.name}”`;
  if (!before) return `“${now.name}” has arrived: ${counted(now.rows, "row")}.`;
  const rows = now.rows - before.rows;
  const changes = [];
  if (rows) changes.push(`${counted(Math.abs(rows), "row")} ${rows > 0 ? "more" : "fewer"}`);
  if (now.columns !== before.columns) changes.push(`${counted(now.columns, "column")} instead of ${number(before.columns)}`);
  const instead = now.name === before.name ? "" : `, in place of “${before.name}”`;
  return `${label}${instead}: ${changes.join(", ") || `${counted(now.rows, "row")}, as many as before`}.`;
}
