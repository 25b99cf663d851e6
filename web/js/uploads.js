import { need } from "./dom.js";
import { DropZone, objection } from "./drop.js";
import { number } from "./format.js";
import { whatIsNew } from "./versions.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./types.js").RegisterValues} RegisterValues */
/** @typedef {import("./types.js").DocumentValue} DocumentValue */
/** @typedef {import("./uploader.js").Manner} Manner */
/** @typedef {import("./uploader.js").Outcome} Outcome */

/** Takes files that are dropped or chosen, and says how uploads end: this browser's and the others'. */
export class Uploads {
  /** @type {Session} */
  #session;
  /** @type {import("./access.js").Access} */
  #access;
  /** @type {import("./notices.js").Notices} */
  #notices;
  #overlay = need("#overlay", HTMLElement);
  /** @type {string} the upload that this browser sent last */
  #own = "";
  /** @type {string} the table that stayed when an upload failed */
  #failed = "";
  /** @type {{file: File, sheet?: string}|null} what waits for a word whether it replaces the upload that runs */
  #offered = null;
  /** @type {DocumentValue|null} the last complete table that was shown */
  #complete = null;

  /**
   * @param {Session} session
   * @param {import("./access.js").Access} access
   * @param {import("./notices.js").Notices} notices
   */
  constructor(session, access, notices) {
    this.#session = session;
    this.#access = access;
    this.#notices = notices;
  }

  // API

  start() {
    const session = this.#session;
    new DropZone({
      taken: (file) => this.take(file),
      problem: (text) => this.#notices.say(text, { tone: "warn", about: this.#access.obstacle ? "role" : "" }),
      over: (over) => this.#promise(over),
      obstacle: () => this.#access.obstacle,
    }).start();
    session.on("registers", ({ before, now }) => this.#changed(before, now));
    session.on("acknowledged", (uploader) => (this.#own = uploader.id));
    session.on("uploaded", ({ uploader, outcome }) => this.#ended(uploader, outcome));
    addEventListener("beforeunload", (event) => {
      if (session.uploader) event.preventDefault();
    });
    this.#own = session.uploader?.id ?? session.lastUpload?.uploader.id ?? "";
    this.#complete = completeOf(session.registers);
    // Small files are here before the page is.
    if (session.lastUpload) this.#ended(session.lastUpload.uploader, session.lastUpload.outcome);
  }

  /**
   * @param {File} file
   * @param {Manner} [manner]
   */
  take(file, manner = {}) {
    const objected = objection(file, this.#session.limits?.document_bytes);
    if (objected) return this.#notices.say(objected, { tone: "warn" });
    const obstacle = this.#obstacle();
    const action = { label: "Try again", run: () => this.take(file, manner) };
    if (this.#access.obstacle) return this.#notices.say(`${obstacle} “${file.name}” was not sent.`, { tone: "warn", about: "role" });
    if (obstacle) return this.#notices.say(obstacle, { tone: "warn", action });
    this.#notices.clear();
    this.#own = "";
    this.#offered = null;
    if (!this.#session.upload(file, manner)) this.#notices.say("There is no connection yet, so nothing was sent.", { tone: "warn", action });
  }

  // Internal

  /** Why no file can be taken now; empty if one can. */
  #obstacle() {
    const { phase, degraded, uploader } = this.#session;
    if (this.#access.obstacle) return this.#access.obstacle;
    if (uploader) return `“${uploader.file.name}” is still being sent. Wait until it is here or cancel it, then drop the next.`;
    if (degraded) return "The storage cannot be reached, so a file cannot be taken now. It comes back by itself.";
    if (phase !== "live") return "There is no connection now, so a file cannot be taken. It comes back by itself.";
    return "";
  }

  /** @param {boolean} over */
  #promise(over) {
    this.#overlay.hidden = !over;
    if (!over) return;
    const obstacle = this.#obstacle();
    this.#overlay.classList.toggle("refused", obstacle !== "");
    const [title, text] = obstacle ? ["Not now", obstacle] : this.#effect();
    need("#overlay-title", HTMLElement).textContent = title;
    need("#overlay-text", HTMLElement).textContent = text;
  }

  /** What a drop would do. */
  #effect() {
    const { registers, unfinished } = this.#session;
    const name = registers.document?.name;
    if (unfinished) return ["Drop it again to go on", `“${unfinished.name}” goes on where it stopped. Any other file has to replace it, and you are asked first.`];
    if (registers.upload) return ["Drop to send it instead", `“${registers.upload.name}” is still arriving. You are asked before yours replaces it.`];
    if (name) return ["Drop to replace the table", `Everyone here will see the new file instead of “${name}”.`];
    return ["Drop to show it here", "Everyone who has the link sees it at once."];
  }

  /**
   * @param {RegisterValues} before
   * @param {RegisterValues} now
   */
  #changed(before, now) {
    const another = now.upload ?? now.document;
    if (another && another.id !== this.#failed) this.#notices.over("upload");
    // What was said of a table's size is not true of another one, nor of another reading.
    if (sizeOf(before.document) !== sizeOf(now.document)) this.#notices.over("table");
    if (before.upload && before.upload.id !== now.upload?.id) {
      this.#withdrawOffer();
      if (before.upload.id !== this.#own && now.document?.id !== before.upload.id) this.#tellFailed(before.upload, now.document);
    }
    const table = now.document;
    if (!table?.complete) return;
    const isNews = this.#complete?.id !== table.id && table.id !== this.#own;
    // The first state that is known at all is no news.
    if (isNews && (before.document !== undefined || before.upload !== undefined)) this.#tellArrived(before, table);
    this.#complete = table;
  }

  /**
   * @param {RegisterValues} before
   * @param {DocumentValue} table
   */
  #tellArrived(before, table) {
    if (before.upload?.id === table.id && before.upload.kind === "recut") {
      const by = table.corrected_by;
      this.#notices.note(`“${table.name}” was read again${this.#isOther(by) ? ` by ${by.name}` : ""}, for everyone.`);
    } else if (before.versions?.some(({ id }) => id === table.id)) this.#tellBack(table);
    else this.#notices.note(whatIsNew(this.#complete, table), "table");
  }

  /**
   * @param {import("./types.js").Actor|null|undefined} by
   * @returns {by is import("./types.js").Actor}
   */
  #isOther(by) {
    return Boolean(by && by.id !== this.#session.viewer);
  }

  /** @param {DocumentValue} table  one of the versions, shown in place of a newer or older one */
  #tellBack(table) {
    const version = `version ${number(table.version)} of “${table.name}”`;
    const { page } = this.#session.registers;
    const by = page?.document === table.id ? page.by : null;
    this.#notices.note(this.#isOther(by) ? `${by.name} shows everyone ${version} again.` : `Everyone sees ${version} again.`, "table");
  }

  /**
   * @param {import("./types.js").UploadValue} upload
   * @param {DocumentValue|null|undefined} table  what is shown now
   */
  #tellFailed({ name, kind }, table) {
    this.#failed = table?.id ?? "";
    const why = kind === "recut" ? `“${name}” could not be read that way.` : `“${name}” was not taken: it is no table, or whoever sent it stopped.`;
    this.#notices.say(`${why} ${kept(table)}`, { tone: "warn", about: "upload" });
  }

  /**
   * @param {import("./uploader.js").Uploader} uploader
   * @param {Outcome} outcome
   */
  #ended(uploader, outcome) {
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
    if (outcome.code === "upload_in_progress" && !uploader.replaces) return this.#offer(uploader);
    const action = outcome.retry || outcome.code === "upload_replaced" ? { label: "Send it again", run: () => this.take(file, { sheet: uploader.sheet }) } : undefined;
    if (outcome.code === "upload_replaced") {
      const { upload, document: table } = this.#session.registers;
      // A small file that took its place may be complete by now.
      const { name, by } = upload ?? (table?.id === previous?.id ? null : table) ?? {};
      this.#notices.say(`${by?.name ?? "Somebody here"} replaced your “${file.name}”${name ? ` with “${name}”` : ""} before it was complete.`, { tone: "warn", action });
      return;
    }
    const said = outcome.complete ? outcome.message : `${outcome.message} ${this.#session.phase === "live" ? keeps : goesBack(previous)}`;
    this.#notices.say(said, { tone: "bad", action });
  }

  /**
   * Another file is arriving: only a word of this user stops it.
   * @param {import("./uploader.js").Uploader} uploader
   */
  #offer({ file, sheet }) {
    const running = this.#session.registers.upload?.name;
    const other = running ? `“${running}”` : "Another file";
    this.#offered = { file, sheet };
    this.#notices.say(`${other} is just arriving here, so your “${file.name}” was not sent. Replacing it stops it for everyone.`, {
      tone: "warn",
      action: { label: "Replace it with mine", run: () => this.take(file, { sheet, replace: true }) },
      about: "offer",
    });
  }

  /** What was to be replaced is over. */
  #withdrawOffer() {
    const offered = this.#offered;
    this.#offered = null;
    if (!offered || !this.#notices.isAbout("offer")) return;
    const { file, sheet } = offered;
    const action = { label: "Send it", run: () => this.take(file, { sheet }) };
    this.#notices.say(`The other upload is over. Your “${file.name}” can be sent now.`, { tone: "warn", action });
  }
}

/** @param {RegisterValues} registers */
function completeOf({ document: table, upload }) {
  return (table?.complete ? table : upload?.previous) ?? null;
}

/** @param {DocumentValue|null|undefined} table */
function sizeOf(table) {
  return table ? `${table.id} ${table.rows} ${table.columns}` : "";
}

/** @param {DocumentValue|null|undefined} table */
function kept(table) {
  return table ? `“${table.name}”, version ${number(table.version)}, is shown as before.` : "The room is empty as before.";
}

/** @param {DocumentValue|null|undefined} table */
function goesBack(table) {
  return table ? `The room goes back to “${table.name}”, version ${number(table.version)}.` : "The room stays empty.";
}
