import { Connection } from "./connection.js";
import { Emitter } from "./emitter.js";
import { Pending } from "./pending.js";
import { Registers } from "./registers.js";
import { Uploader } from "./uploader.js";

/** @typedef {import("./types.js").ServerMessage} ServerMessage */
/** @typedef {import("./types.js").PageMessage} PageMessage */
/** @typedef {import("./types.js").RegisterValues} RegisterValues */
/** @typedef {import("./connection.js").Phase} Phase */
/** @typedef {import("./uploader.js").Outcome} Outcome */
/** @typedef {import("./uploader.js").Manner} Manner */
/** @typedef {import("./pending.js").Unfinished} Unfinished */
/**
 * @typedef {object} SessionEvents
 * @property {{before: RegisterValues, now: RegisterValues, lost: boolean}} registers
 * @property {PageMessage} page
 * @property {{phase: Phase, retryAt: number}} phase
 * @property {boolean} degraded
 * @property {import("./types.js").ErrorMessage} error
 * @property {ServerMessage} message  every message, after this module has taken what it needs
 * @property {Uploader} acknowledged
 * @property {{uploader: Uploader, outcome: Outcome}} uploaded
 */

/** What one browser knows of one room: its connection, its state, its upload. No view. */
export class Session {
  /** @type {Emitter<SessionEvents>} */
  #events = new Emitter();
  #registers = new Registers();
  /** @type {Connection} */
  #connection;
  /** @type {import("./types.js").Limits|null} */
  #limits = null;
  #viewer = "";
  /** @type {PageMessage|null} */
  #page = null;
  #pageRev = -1;
  /** @type {Uploader|null} */
  #uploader = null;
  /** @type {SessionEvents["uploaded"]|null} */
  #lastUpload = null;
  /** @type {Pending} */
  #pending;
  /** @type {{id: string, file: File}|null} the last table that came from here, and the file it was */
  #sent = null;
  /** @type {Unfinished|null} cancelled while there was no connection */
  #abandoned = null;
  /** The upload that was found again only to cancel it. */
  #cancelled = "";
  /** @type {import("./types.js").HereMessage|null} */
  #present = null;
  /** @type {{id: string, rev: number}|null} the last message of the chat; null before it was told */
  #lastSaid = null;

  /** @param {string} uuid */
  constructor(uuid) {
    this.uuid = uuid;
    this.degraded = false;
    this.retryAt = 0;
    this.#pending = new Pending(uuid);
    const url = new URL(`/ws/${uuid}`, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.#connection = new Connection(url.href, {
      message: (message) => {
        this.#take(message);
        this.#events.emit("message", message);
        // Whose it is and with which key goes first.
        if (message.type === "hello") this.#goOn();
      },
      phase: (phase, retryAt) => this.#enter(phase, retryAt),
    });
  }

  // API

  /** @type {Emitter<SessionEvents>["on"]} */
  on = (name, listener) => this.#events.on(name, listener);

  get registers() {
    return this.#registers.values;
  }

  /** The newest page that was sent for all, whether or not its document is still the room's. */
  get page() {
    return this.#page;
  }

  get phase() {
    return this.#connection.phase;
  }

  get limits() {
    return this.#limits;
  }

  /** This viewer's id on the present connection; empty before the first one. */
  get viewer() {
    return this.#viewer;
  }

  /** Who is here, as it was told last; null before that. */
  get present() {
    return this.#present;
  }

  /** This browser's upload while it runs. */
  get uploader() {
    return this.#uploader?.active ? this.#uploader : null;
  }

  /** How this browser's last upload ended; null while one runs and before the first. */
  get lastUpload() {
    return this.#lastUpload;
  }

  /** The upload that this tab began before it was loaded anew, while the room waits for it. */
  get unfinished() {
    const kept = this.uploader ? null : this.#pending.get();
    return kept && kept.id === this.registers.upload?.id ? kept : null;
  }

  /** The file that the shown table was made of, if it came from here. */
  get source() {
    return this.#sent && this.#sent.id === this.registers.document?.id ? this.#sent.file : null;
  }

  /**
   * What the page that was loaded shows already.
   * @param {import("./types.js").Boot} boot
   * @param {PageMessage|null} page
   */
  begin(boot, page) {
    if (boot.state) this.#registers.apply(boot.state);
    this.degraded = boot.state === null;
    this.#page = page;
  }

  open() {
    this.#connection.open();
  }

  close() {
    this.#connection.close();
  }

  retryNow() {
    this.#connection.retryNow();
  }

  /**
   * For the modules that speak about more than the table.
   * @param {import("./types.js").ClientMessage} message
   * @returns {boolean} whether it was sent
   */
  send(message) {
    return this.phase === "live" && this.#connection.send(message);
  }

  /**
   * Turn the page for everyone.
   * @param {number} pageNo
   * @returns {boolean} whether it was sent
   */
  turn(pageNo) {
    return this.phase === "live" && this.#connection.send({ type: "page", page_no: pageNo });
  }

  /**
   * Read the table otherwise, for everyone.
   * @param {Partial<import("./types.js").Dialect>} changes
   * @returns {boolean} whether it was sent
   */
  read(changes) {
    return this.phase === "live" && this.#connection.send({ type: "dialect", ...changes });
  }

  /**
   * Show an earlier version to everyone.
   * @param {number} version
   * @returns {boolean} whether it was sent
   */
  showVersion(version) {
    return this.phase === "live" && this.#connection.send({ type: "version", version });
  }

  /**
   * Send a file, or go on with it where an upload before a reload stopped.
   * @param {File} file
   * @param {Manner} [manner]
   * @returns {boolean} false while there is no connection or another upload of this browser runs
   */
  upload(file, manner = {}) {
    if (!this.#limits || this.phase !== "live" || this.uploader) return false;
    const kept = this.unfinished;
    const goesOn = kept && this.#pending.isFor(file) ? { sheet: kept.sheet, resume: kept.token } : {};
    /** @type {Uploader} */
    const uploader = new Uploader(this.#connection, file, this.#limits, { ...manner, ...goesOn }, (outcome) => this.#uploadEnded(uploader, outcome));
    this.#uploader = uploader;
    this.#lastUpload = null;
    uploader.start();
    return true;
  }

  /** Give the unfinished upload up, for everyone. */
  abandon() {
    this.#abandoned = this.unfinished;
    this.#pending.forget();
    this.#cancelAbandoned();
  }

  // Internal

  /** @param {ServerMessage} message */
  #take(message) {
    switch (message.type) {
      case "hello":
        this.#limits = message.limits;
        this.#viewer = message.viewer;
        return;
      case "state":
        return this.#takeState(message);
      case "page":
        return this.#takePage(message);
      case "here":
        this.#present = message;
        return;
      case "heartbeat":
        if (this.#registers.behind(message)) this.#sync();
        return;
      case "chat":
        return this.#takeChat(message);
      case "status":
        this.degraded = message.degraded;
        return this.#events.emit("degraded", message.degraded);
      case "ack":
        return this.#takeAck(message);
      case "error":
        if (message.about?.startsWith("upload") && this.uploader) return this.#takeRefusal(this.uploader, message);
        // After a cancel, chunks that were already on their way are refused; nobody needs to hear it.
        if (message.code === "no_upload" || (message.code === "upload_lost" && !this.uploader)) return;
        return this.#events.emit("error", message);
    }
  }

  /** @param {import("./types.js").AckMessage} ack */
  #takeAck(ack) {
    const { uploader } = this;
    if (!uploader || ack.upload === this.#cancelled) return;
    const { id, token } = uploader;
    uploader.acknowledged(ack);
    if (uploader.active && uploader.token && (uploader.id !== id || uploader.token !== token)) this.#pending.keep(uploader);
    this.#events.emit("acknowledged", uploader);
  }

  /**
   * @param {Uploader} uploader
   * @param {import("./types.js").ErrorMessage} error
   */
  #takeRefusal(uploader, error) {
    const table = this.registers.document;
    // The answer to the end of the upload was lost, and with it the word that all is there.
    if (error.code === "upload_lost" && table?.complete && table.id === uploader.id) return uploader.finished();
    uploader.refused(error);
    if (uploader.active) this.#events.emit("acknowledged", uploader);
  }

  /**
   * @param {Uploader} uploader
   * @param {Outcome} outcome
   */
  #uploadEnded(uploader, outcome) {
    const { file, id, token, sheet } = uploader;
    if (outcome.kind === "done") this.#sent = { id, file };
    if (outcome.kind === "cancelled" && token && this.phase !== "live") {
      const { name, size, lastModified } = file;
      this.#abandoned = { uuid: this.uuid, id, token, name, size, lastModified, sheet };
    }
    // Without a connection for good, a reload may still go on with it.
    if (this.phase !== "closed") this.#pending.forget();
    this.#lastUpload = { uploader, outcome };
    this.#events.emit("uploaded", this.#lastUpload);
  }

  #goOn() {
    this.#cancelAbandoned();
    this.uploader?.reconnected();
  }

  /** The server keeps an upload whose connection was lost; a cancel has to find it again first. */
  #cancelAbandoned() {
    if (!this.#abandoned || this.phase !== "live") return;
    const { id, name, size, token, sheet } = this.#abandoned;
    this.#abandoned = null;
    this.#cancelled = id;
    this.#connection.send({ type: "upload", name, size, sheet, resume: token });
    this.#connection.send({ type: "upload_cancel" });
  }

  /** @param {import("./types.js").StateMessage} state */
  #takeState(state) {
    const { values: before, epoch, rev } = this.#registers;
    const result = this.#registers.apply(state);
    if (result === "foreign") this.#sync();
    if (result !== "applied") return;
    if (state.whole) this.#pageRev = -1;
    // What had changes goes on under another epoch only where some of them are gone.
    const lost = rev > 0 && state.epoch !== epoch;
    this.#events.emit("registers", { before, now: this.#registers.values, lost });
  }

  /** @param {PageMessage} page */
  #takePage(page) {
    if (page.peek || page.document !== this.registers.document?.id) return;
    if (page.rev !== undefined) {
      if (page.rev < this.#pageRev) return;
      this.#pageRev = page.rev;
    }
    this.#page = page;
    this.#events.emit("page", page);
  }

  /** @param {import("./types.js").ChatMessage} chat */
  #takeChat({ messages, whole }) {
    if (whole) this.#lastSaid = { id: "", rev: -1 };
    for (const { id, rev } of messages) {
      if (!this.#lastSaid || rev > this.#lastSaid.rev) this.#lastSaid = { id, rev };
    }
  }

  #sync() {
    const { epoch, rev } = this.#registers;
    this.#connection.send({ type: "sync", epoch, rev, chat_id: this.#lastSaid?.id });
  }

  /**
   * @param {Phase} phase
   * @param {number} retryAt
   */
  #enter(phase, retryAt) {
    this.retryAt = retryAt;
    if (phase === "reconnecting" || phase === "closed") {
      this.degraded = false;
      if (phase === "closed") this.uploader?.lost();
      else this.uploader?.interrupted();
    }
    this.#events.emit("phase", { phase, retryAt });
  }
}
