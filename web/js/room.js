import { Browse } from "./browse.js";
import { Deleted } from "./deleted.js";
import { Description } from "./describe.js";
import { need } from "./dom.js";
import { Download } from "./download.js";
import { Facts } from "./facts.js";
import { Following } from "./following.js";
import { number } from "./format.js";
import { Meeting } from "./meeting.js";
import { Notices } from "./notices.js";
import { Outages } from "./outages.js";
import { Pager } from "./pager.js";
import { Picker } from "./picker.js";
import { Pointing } from "./pointing.js";
import { Presenting } from "./presenting.js";
import { Progress } from "./progress.js";
import { Reader } from "./reader.js";
import { noteVisit } from "./recent.js";
import { Report } from "./report.js";
import { Resizer } from "./resizer.js";
import { Sharing } from "./sharing.js";
import { Shortcuts } from "./shortcuts.js";
import { Status } from "./status.js";
import { TableView } from "./table.js";
import { ThemeSwitch } from "./theme-switch.js";
import { WindowTitle } from "./title.js";
import { Turned } from "./turned.js";
import { Uploads } from "./uploads.js";
import { Versions } from "./versions.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./types.js").RegisterValues} RegisterValues */

/** What other modules answer for: refusals that are no news to the whole page. */
const ELSEWHERE = new Set(["chat", "follow", "key", "me", "point"]);

/** The room's page: joins a session to all that shows it. */
export class RoomPage {
  /** @type {Session} */
  #session;
  /** @type {import("./access.js").Access} */
  #access;
  /** @type {import("./me.js").Me} */
  #me;
  #notices = new Notices();
  /** @type {Browse} */
  #browse;
  #announcer = need("#announce", HTMLElement);
  #empty = need("#empty", HTMLElement);
  #caption = need("#caption", HTMLElement);
  #leftOut = need("#left-out", HTMLElement);
  /** @type {TableView} */
  #view;
  /** @type {Reader} */
  #reader;
  /** @type {Picker} */
  #picker;
  /** @type {Pager} */
  #pager;
  /** @type {Turned} */
  #turned;
  /** @type {Pointing} */
  #pointing;
  /** @type {Facts} */
  #facts;
  /** @type {Report} */
  #report;
  /** @type {Versions} */
  #versions;
  /** @type {Uploads} */
  #uploads;
  /** @type {Outages} */
  #outages;
  /** The page that a screen reader was told of last. */
  #told = "";
  /** Where it is, as it was said last. */
  #saidWhere = "";
  #announceTimer = 0;
  #announcing = ""; // once the timer fires

  /**
   * @param {Session} session
   * @param {import("./access.js").Access} access
   * @param {import("./me.js").Me} me
   * @param {import("./types.js").PageMessage|null} [own]  what this viewer alone is to see at first
   */
  constructor(session, access, me, own = null) {
    this.#session = session;
    this.#access = access;
    this.#me = me;
    this.#browse = new Browse(session, access, this.#notices, own);
    this.#view = new TableView(session.uuid);
    const announce = /** @param {string} text */ (text) => this.#announce(text);
    this.#turned = new Turned(session, access, this.#browse);
    this.#pointing = new Pointing(session, { access, browse: this.#browse, view: this.#view, announce });
    this.#reader = new Reader(session.uuid, this.#view, this.#notices);
    this.#picker = new Picker(this.#view, {
      read: (place) => this.#reader.open(place),
      point: (place) => this.#pointing.point(place),
      announce,
      notices: this.#notices,
    });
    this.#pager = new Pager(session, this.#browse, { notices: this.#notices, cellActive: () => this.#picker.active !== null });
    this.#uploads = new Uploads(session, access, this.#notices);
    this.#outages = new Outages(session, this.#notices);
    this.#facts = new Facts(session);
    this.#versions = new Versions(session, access, this.#facts.buttons.versions);
    this.#report = new Report(session, access, {
      fact: this.#facts.buttons.report,
      turn: (pageNo) => this.#pager.turn(pageNo),
      send: (file, sheet) => this.#uploads.take(file, { sheet }),
    });
  }

  // API

  start() {
    const session = this.#session;
    new ThemeSwitch(need('[data-action="theme"]', HTMLElement)).start();
    new Sharing(this.#access).start();
    noteVisit(session, this.#access);
    new Presenting(this.#access, session, this.#notices).start();
    const title = new WindowTitle();
    new Description(session, this.#access, title).start();
    this.#facts.start();
    this.#report.start();
    this.#versions.start();
    new Download(session, this.#facts.buttons.download).start();
    new Status(session).start();
    new Progress(session).start();
    this.#view.start();
    new Resizer(this.#view, (text) => this.#announce(text)).start();
    this.#picker.start();
    this.#reader.start();
    this.#browse.start();
    this.#browse.on("page", ({ kept }) => {
      this.#showPage(!kept, kept);
    });
    this.#pager.start();
    this.#turned.start();
    this.#pointing.start();
    const following = new Following(session, { access: this.#access, browse: this.#browse, announce: (text) => this.#announce(text) });
    following.start();
    new Shortcuts(() => following.toggle()).start();
    session.on("registers", ({ before, now }) => this.#changed(before, now));
    session.on("error", (error) => this.#refused(error));
    need('[data-action="upload"]', HTMLElement).addEventListener("click", () => this.#closeMenu());
    this.#showPage(false);
    this.#uploads.start();
    this.#outages.start();
    new Deleted(session, this.#access, this.#notices).start();
    new Meeting(session, {
      me: this.#me,
      browse: this.#browse,
      title,
      quotable: () => this.#picker.quotable,
      uncover: () => this.#reader.close(),
      announce: (text) => this.#announce(text),
    }).start();
  }

  // Internal

  /**
   * @param {boolean} aloud
   * @param {boolean} [still]  nothing scrolls, whatever the page is
   */
  #showPage(aloud, still = false) {
    const { registers } = this.#session;
    const { page } = this.#browse;
    const known = page && page.document === registers.document?.id ? page : null;
    // The page of a new document follows; the table before it stays until then.
    if (!known && registers.document && this.#view.page) return;
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
    this.#view.show(known, still);
    this.#picker.pageShown();
    this.#reader.pageShown();
    const where = this.#where(known);
    this.#caption.textContent = `${registers.document?.name ?? ""}, ${where}`;
    // Rows that are added to a page are not told again and again.
    const told = `${known.document} ${known.page_no}`;
    const who = this.#browse.browsing ? "" : this.#turned.other;
    if (told !== this.#told) this.#notices.over("page");
    if (aloud && told !== this.#told) this.#announce(who ? `${who} turned to ${where}` : where);
    this.#told = told;
    this.#saidWhere = where;
  }

  /**
   * @param {RegisterValues} before
   * @param {RegisterValues} now
   */
  #changed(before, now) {
    // The page of a new document follows in its own message; the old table stays until then, unless
    // there is no document any more.
    if (!now.document && this.#view.page) this.#showPage(false);
    // A cell that is read differently now is not shown on.
    if (JSON.stringify(before.document?.dialect) !== JSON.stringify(now.document?.dialect)) this.#readOtherwise(before, now);
    this.#grown(before, now);
  }

  /**
   * @param {RegisterValues} before
   * @param {RegisterValues} now
   */
  #readOtherwise(before, now) {
    this.#reader.close();
    // Whoever corrects it sees it where they did.
    if (!before.document?.complete || before.document.id !== now.document?.id || this.#report.isOpen) return;
    const { name, corrected_by: by } = now.document;
    this.#notices.note(by && by.id !== this.#session.viewer ? `${by.name} changed how “${name}” is read, for everyone.` : `“${name}” is read otherwise now, for everyone.`);
  }

  /**
   * How many pages there are is said with each page, and said again once all of them are here.
   * @param {RegisterValues} before
   * @param {RegisterValues} now
   */
  #grown(before, now) {
    const { page } = this.#view;
    if (!page || page.document !== now.document?.id) return;
    const where = this.#where(page);
    if (where === this.#saidWhere) return;
    this.#caption.textContent = `${now.document.name}, ${where}`;
    const whole = now.document.complete && before.document?.complete === false;
    if (whole) this.#announce(where);
    // What is about to be said is said as it is now.
    else if (this.#announcing.endsWith(this.#saidWhere)) this.#announce(this.#announcing.slice(0, -this.#saidWhere.length) + where);
    // Taken away, it is not read out.
    else if (this.#announcer.textContent?.endsWith(this.#saidWhere)) this.#announcer.textContent = "";
    this.#saidWhere = where;
  }

  /** @param {import("./types.js").PageMessage} page */
  #where(page) {
    const rows = page.data.length ? `, rows ${number(page.first_row)} to ${number(page.first_row + page.data.length - 1)}` : "";
    return `Page ${number(page.page_no)} of ${number(this.#browse.pages)}${rows}`;
  }

  /** @param {import("./types.js").ErrorMessage} error */
  #refused(error) {
    if (this.#report.refused(error) || this.#versions.refused(error)) return;
    // Said where it was asked for, if at all.
    if (ELSEWHERE.has(error.about ?? "")) return;
    if (this.#outages.refused(error)) return;
    this.#notices.say(error.message, { tone: error.retry ? "warn" : "bad", about: error.code === "presenters_only" ? "role" : (error.about ?? "") });
  }

  #closeMenu() {
    const menu = need("#more", HTMLElement);
    if (menu.matches(":popover-open")) menu.hidePopover();
  }

  /** @param {string} text */
  #announce(text) {
    clearTimeout(this.#announceTimer);
    this.#announcing = text;
    this.#announceTimer = window.setTimeout(() => {
      this.#announcing = "";
      this.#announcer.textContent = text;
    }, 200);
  }
}
