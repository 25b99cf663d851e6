import { Description } from "./describe.js";
import { need } from "./dom.js";
import { DropZone, objection } from "./drop.js";
import { number } from "./format.js";
import { Notices } from "./notices.js";
import { Pager } from "./pager.js";
import { Picker } from "./picker.js";
import { Progress } from "./progress.js";
import { Reader } from "./reader.js";
import { Resizer } from "./resizer.js";
import { Share } from "./share.js";
import { Status } from "./status.js";
import { TableView } from "./table.js";
import { ThemeSwitch } from "./theme-switch.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./types.js").RegisterValues} RegisterValues */

/** The room's page: joins a session to all that shows it. */
export class RoomPage {
  /** @type {Session} */
  #session;
  #notices = new Notices();
  #announcer = need("#announce", HTMLElement);
  #empty = need("#empty", HTMLElement);
  #caption = need("#caption", HTMLElement);
  #leftOut = need("#left-out", HTMLElement);
  #overlay = need("#overlay", HTMLElement);
  /** @type {TableView} */
  #view;
  /** @type {Reader} */
  #reader;
  /** @type {Picker} */
  #picker;
  /** @type {Pager} */
  #pager;
  /** @type {string} the upload that this browser sent last */
  #own = "";
  /** @type {string} the table that stayed when an upload failed */
  #failed = "";
  #announceTimer = 0;

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
    this.#view = new TableView(session.uuid);
    this.#reader = new Reader(session.uuid, this.#view, this.#notices);
    this.#picker = new Picker(this.#view, {
      read: (place) => this.#reader.open(place),
      announce: (text) => this.#announce(text),
      notices: this.#notices,
    });
    this.#pager = new Pager(session, { notices: this.#notices, cellActive: () => this.#picker.active !== null });
  }

  // API

  start() {
    const session = this.#session;
    new ThemeSwitch(need('[data-action="theme"]', HTMLElement)).start();
    new Share(this.#notices).start();
    new Description(session).start();
    new Status(session).start();
    new Progress(session).start();
    this.#view.start();
    new Resizer(this.#view, (text) => this.#announce(text)).start();
    this.#picker.start();
    this.#reader.start();
    this.#pager.start();
    this.#startDrop();
    session.on("page", () => {
      this.#notices.over("page");
      this.#showPage(true);
    });
    session.on("registers", ({ before, now }) => this.#changed(before, now));
    session.on("error", (error) => this.#notices.say(error.message, { tone: error.retry ? "warn" : "bad", about: error.about ?? "" }));
    session.on("acknowledged", (uploader) => (this.#own = uploader.id));
    session.on("uploaded", ({ uploader, outcome }) => this.#uploaded(uploader, outcome));
    this.#own = session.uploader?.id ?? session.lastUpload?.uploader.id ?? "";
    addEventListener("beforeunload", (event) => {
      if (session.uploader) event.preventDefault();
    });
    need('[data-action="upload"]', HTMLElement).addEventListener("click", () => this.#closeMenu());
    this.#showPage(false);
    // Small files are here before the page is.
    if (session.lastUpload) this.#uploaded(session.lastUpload.uploader, session.lastUpload.outcome);
  }

  // Internal

  /** @param {boolean} aloud */
  #showPage(aloud) {
    const { page, registers } = this.#session;
    const known = page && page.document === registers.document?.id ? page : null;
    this.#empty.hidden = known !== null;
    const leftOut = known?.columns_left_out ?? 0;
    this.#leftOut.hidden = leftOut === 0;
    if (leftOut) this.#leftOut.textContent = `${number(leftOut)} columns at the right do not fit into a page and are left out here; the file is whole.`;
    if (!known) {
      this.#view.clear();
      this.#picker.pageShown();
      this.#reader.close();
      return;
    }
    this.#view.show(known);
    this.#picker.pageShown();
    this.#reader.pageShown();
    const rows = known.data.length ? `, rows ${number(known.first_row)} to ${number(known.first_row + known.data.length - 1)}` : "";
    const where = `Page ${number(known.page_no)} of ${number(this.#pager.pages)}${rows}`;
    this.#caption.textContent = `${registers.document?.name ?? ""}, ${where}`;
    if (aloud) this.#announce(where);
  }

  /**
   * @param {RegisterValues} before
   * @param {RegisterValues} now
   */
  #changed(before, now) {
    // The page of a new document follows in its own message; the old table stays until then, unless
    // there is no document any more.
    if (!now.document && this.#view.page) this.#showPage(false);
    const another = now.upload ?? now.document;
    if (another && another.id !== this.#failed) this.#notices.over("upload");
    if (!before.upload || before.upload.id === now.upload?.id) return;
    const { id, name } = before.upload;
    if (id === this.#own) return;
    if (now.document?.id === id) {
      if (now.document.complete) this.#notices.note(`“${name}” has arrived: ${number(now.document.rows)} rows, version ${number(now.document.version)}.`);
    } else {
      this.#failed = now.document?.id ?? "";
      this.#notices.say(`“${name}” was not taken: it is no table, or whoever sent it stopped. ${kept(now.document)}`, { tone: "warn", about: "upload" });
    }
  }

  #startDrop() {
    new DropZone({
      taken: (file) => this.#take(file),
      problem: (text) => this.#notices.say(text, { tone: "warn" }),
      over: (over) => this.#promise(over),
    }).start();
  }

  /** Why no file can be taken now; empty if one can. */
  #obstacle() {
    const { phase, degraded, registers, uploader } = this.#session;
    const running = uploader?.file.name ?? registers.upload?.name;
    if (phase === "live" && !uploader && registers.upload && registers.upload.id === this.#own) {
      return "The room still waits for the upload that broke off; it gives it up within half a minute.";
    }
    if (running && phase === "live") return `“${running}” is still arriving. Wait until it is here, then drop the next.`;
    if (degraded) return "The storage cannot be reached, so a file cannot be taken now. It comes back by itself.";
    if (phase !== "live") return "There is no connection now, so a file cannot be taken. It comes back by itself.";
    return "";
  }

  /** @param {boolean} over */
  #promise(over) {
    this.#overlay.hidden = !over;
    if (!over) return;
    const obstacle = this.#obstacle();
    const name = this.#session.registers.document?.name;
    this.#overlay.classList.toggle("refused", obstacle !== "");
    const title = obstacle ? "Not now" : name ? "Drop to replace the table" : "Drop to show it here";
    const text = obstacle || (name ? `Everyone here will see the new file instead of “${name}”.` : "Everyone who has the link sees it at once.");
    need("#overlay-title", HTMLElement).textContent = title;
    need("#overlay-text", HTMLElement).textContent = text;
  }

  /** @param {File} file */
  #take(file) {
    const objected = objection(file, this.#session.limits?.document_bytes);
    if (objected) return this.#notices.say(objected, { tone: "warn" });
    const obstacle = this.#obstacle();
    const action = { label: "Try again", run: () => this.#take(file) };
    if (obstacle) return this.#notices.say(obstacle, { tone: "warn", action });
    this.#notices.clear();
    this.#own = "";
    if (!this.#session.upload(file)) this.#notices.say("There is no connection yet, so nothing was sent.", { tone: "warn", action });
  }

  /**
   * @param {import("./uploader.js").Uploader} uploader
   * @param {import("./uploader.js").Outcome} outcome
   */
  #uploaded(uploader, outcome) {
    const { file } = uploader;
    if (outcome.kind === "done") {
      this.#notices.note(`“${file.name}” is here for everyone. Share the link to bring more people.`);
      return;
    }
    const previous = this.#session.registers.upload?.previous ?? (uploader.id === this.#session.registers.document?.id ? null : this.#session.registers.document);
    const keeps = kept(previous);
    if (outcome.kind === "cancelled") {
      this.#notices.say(`Stopped sending “${file.name}”. ${keeps}`, { tone: "warn" });
      return;
    }
    const action = outcome.retry ? { label: "Send it again", run: () => this.#take(file) } : undefined;
    const said = outcome.complete ? outcome.message : `${outcome.message} ${this.#session.phase === "live" ? keeps : goesBack(previous)}`;
    this.#notices.say(said, { tone: "bad", action });
  }

  #closeMenu() {
    const menu = need("#more", HTMLElement);
    if (menu.matches(":popover-open")) menu.hidePopover();
  }

  /** @param {string} text */
  #announce(text) {
    clearTimeout(this.#announceTimer);
    this.#announceTimer = window.setTimeout(() => (this.#announcer.textContent = text), 200);
  }
}

/** @param {import("./types.js").DocumentValue|null|undefined} table */
function kept(table) {
  return table ? `“${table.name}”, version ${number(table.version)}, is shown as before.` : "The room is empty as before.";
}

/** @param {import("./types.js").DocumentValue|null|undefined} table */
function goesBack(table) {
  return table ? `The room goes back to “${table.name}”, version ${number(table.version)}.` : "The room stays empty.";
}
