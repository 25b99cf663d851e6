// Wires the start page. A file dropped here must survive the way into its room, so the room's HTML
// is fetched and put in place while the upload already runs; nothing is navigated.
import { Access } from "./access.js";
import { need } from "./dom.js";
import { DropZone, objection } from "./drop.js";
import { keepKey } from "./keys.js";
import { Me } from "./me.js";
import { Notices } from "./notices.js";
import { RecentList } from "./recent-list.js";
import { RoomPage } from "./room.js";
import { Session } from "./session.js";
import { ThemeSwitch } from "./theme-switch.js";

const FIRST_ANSWER_MS = 20_000;

/** An upload's end that says whether the same file may be taken later. */
class Failure extends Error {
  /**
   * @param {string} message
   * @param {boolean} retry
   */
  constructor(message, retry) {
    super(message);
    this.retry = retry;
  }
}

class StartPage {
  #drop = need("#drop", HTMLElement);
  #title = need("#drop-title", HTMLElement);
  #hint = need("#drop-hint", HTMLElement);
  #button = need('.drop [data-action="choose"]', HTMLElement);
  #bar = need("#starting", HTMLElement);
  #notices = new Notices();
  #listening = new AbortController();
  #words = { title: this.#title.textContent ?? "", hint: this.#hint.textContent ?? "" };

  // API

  start() {
    new ThemeSwitch(need('[data-action="theme"]', HTMLElement)).start();
    new DropZone({
      taken: (file) => void this.#take(file),
      problem: (text) => this.#notices.say(text, { tone: "warn" }),
      over: (over) => this.#drop.classList.toggle("over", over),
    }).start(this.#listening.signal);
    // The room that took this page's place shares its entry in the history: back and forward load anew.
    addEventListener("popstate", () => location.reload());
    // Without scripts the form opens the room, and only a cookie knows its key.
    need("#open-empty", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#openEmpty();
    });
    new RecentList().start(this.#listening.signal);
  }

  // Internal

  async #openEmpty() {
    try {
      location.assign(`/t/${await newRoom()}`);
    } catch (error) {
      this.#failed(reason(error));
    }
  }

  /** @param {File} file */
  async #take(file) {
    if (this.#drop.dataset.state === "busy") return;
    const problem = objection(file, undefined);
    if (problem) return this.#notices.say(problem, { tone: "warn" });
    this.#notices.clear();
    this.#busy(`Opening a room for “${file.name}”`);
    /** @type {Session|null} */
    let session = null;
    try {
      const uuid = await newRoom();
      session = new Session(uuid);
      const access = new Access(session);
      const me = new Me(session);
      await this.#firstAnswer(session, file);
      await this.#enter(session, access, me);
    } catch (error) {
      session?.uploader?.cancel();
      session?.close();
      this.#failed(reason(error), error instanceof Failure && !error.retry ? undefined : file);
    }
  }

  /**
   * Connect, begin the upload, and wait until there is a first page to show (or why there is none).
   * @param {Session} session
   * @param {File} file
   * @returns {Promise<void>}
   */
  #firstAnswer(session, file) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("The server did not answer in time.")), FIRST_ANSWER_MS);
      const settle = /** @param {() => void} how */ (how) => {
        clearTimeout(timer);
        how();
      };
      // The state is the last thing a new viewer of an empty room is told before it may speak.
      let begun = false;
      session.on("registers", ({ now }) => {
        if (begun && session.uploader && now.document?.id === session.uploader.id) settle(resolve);
        if (begun) return;
        begun = true;
        const problem = objection(file, session.limits?.document_bytes);
        if (problem) settle(() => reject(new Failure(problem, false)));
        else if (!session.upload(file)) settle(() => reject(new Error("The connection was lost.")));
      });
      session.on("uploaded", ({ outcome }) => {
        if (outcome.kind === "failed") settle(() => reject(new Failure(outcome.message, outcome.retry)));
        else if (outcome.kind === "done") settle(resolve);
      });
      session.on("degraded", (degraded) => {
        if (degraded) settle(() => reject(new Error("The server cannot reach its storage. Nothing was sent; try again in a moment.")));
      });
      session.on("error", (error) => settle(() => reject(new Error(error.message))));
      session.open();
    });
  }

  /**
   * @param {Session} session
   * @param {Access} access
   * @param {Me} me
   */
  async #enter(session, access, me) {
    const url = `/t/${session.uuid}`;
    const response = await fetch(url, { headers: { Accept: "text/html" } });
    if (!response.ok) throw new Error(`The room's page could not be loaded (${response.status}).`);
    const html = await response.text();
    const ended = session.lastUpload?.outcome;
    if (ended?.kind === "failed") throw new Failure(ended.message, ended.retry);
    const page = new DOMParser().parseFromString(html, "text/html");
    this.#listening.abort();
    document.body.replaceWith(document.adoptNode(page.body));
    history.pushState(null, "", url);
    new RoomPage(session, access, me).start();
  }

  /** @param {string} title */
  #busy(title) {
    this.#drop.dataset.state = "busy";
    this.#title.textContent = title;
    this.#hint.textContent = "The file is on its way; its first page shows in a moment.";
    this.#button.hidden = true;
    this.#bar.hidden = false;
  }

  /**
   * @param {string} text
   * @param {File} [file]
   */
  #failed(text, file) {
    this.#drop.dataset.state = "ready";
    this.#title.textContent = this.#words.title;
    this.#hint.textContent = this.#words.hint;
    this.#button.hidden = false;
    this.#bar.hidden = true;
    const action = file ? { label: "Try again", run: () => void this.#take(file) } : undefined;
    // Servers speak to rooms where something was shown; here nobody had anything.
    this.#notices.say(text.replace(/ ?Everyone keeps what they had\./, ""), { tone: "bad", action });
  }
}

/**
 * Make a room; this browser keeps its key.
 * @returns {Promise<string>} the new room's UUID
 */
async function newRoom() {
  const response = await fetch("/api/rooms?cookie=1", { method: "POST", signal: AbortSignal.timeout(FIRST_ANSWER_MS) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail ?? `A room could not be opened (${response.status}).`);
  const uuid = String(answer.uuid);
  if (answer.key) keepKey(uuid, String(answer.key));
  return uuid;
}

/** @param {unknown} error */
function reason(error) {
  // fetch says only "Failed to fetch" when nobody answers.
  if (error instanceof TypeError) return "The server cannot be reached. Nothing was sent; try again in a moment.";
  return error instanceof Error ? error.message : String(error);
}

new StartPage().start();
