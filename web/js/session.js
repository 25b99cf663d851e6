import { Connection } from "./connection.js";
import { Emitter } from "./emitter.js";
import { Registers } from "./registers.js";
import { Uploader } from "./uploader.js";

/** @typedef {import("./types.js").ServerMessage} ServerMessage */
/** @typedef {import("./types.js").PageMessage} PageMessage */
/** @typedef {import("./types.js").RegisterValues} RegisterValues */
/** @typedef {import("./connection.js").Phase} Phase */
/** @typedef {import("./uploader.js").Outcome} Outcome */
/**
 * @typedef {object} SessionEvents
 * @property {{before: RegisterValues, now: RegisterValues}} registers
 * @property {PageMessage} page
 * @property {number} here
 * @property {{phase: Phase, retryAt: number}} phase
 * @property {boolean} degraded
 * @property {import("./types.js").ErrorMessage} error
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
  /** @type {PageMessage|null} */
  #page = null;
  #pageRev = -1;
  /** @type {Uploader|null} */
  #uploader = null;
  /** @type {SessionEvents["uploaded"]|null} */
  #lastUpload = null;

  /** @param {string} uuid */
  constructor(uuid) {
    this.uuid = uuid;
    this.degraded = false;
    this.here = 0;
    this.retryAt = 0;
    const url = new URL(`/ws/${uuid}`, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.#connection = new Connection(url.href, {
      message: (message) => this.#take(message),
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

  /** This browser's upload while it runs. */
  get uploader() {
    return this.#uploader?.active ? this.#uploader : null;
  }

  /** How this browser's last upload ended; null while one runs and before the first. */
  get lastUpload() {
    return this.#lastUpload;
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
   * Turn the page for everyone.
   * @param {number} pageNo
   * @returns {boolean} whether it was sent
   */
  turn(pageNo) {
    return this.phase === "live" && this.#connection.send({ type: "page", page_no: pageNo });
  }

  /**
   * @param {File} file
   * @returns {boolean} false while there is no connection or another upload of this browser runs
   */
  upload(file) {
    if (!this.#limits || this.phase !== "live" || this.uploader) return false;
    /** @type {Uploader} */
    const uploader = new Uploader(this.#connection, file, this.#limits, (outcome) => {
      this.#lastUpload = { uploader, outcome };
      this.#events.emit("uploaded", this.#lastUpload);
    });
    this.#uploader = uploader;
    this.#lastUpload = null;
    uploader.start();
    return true;
  }

  // Internal

  /** @param {ServerMessage} message */
  #take(message) {
    switch (message.type) {
      case "hello":
        this.#limits = message.limits;
        return;
      case "state":
        return this.#takeState(message);
      case "page":
        return this.#takePage(message);
      case "here":
        this.here = message.count;
        return this.#events.emit("here", message.count);
      case "heartbeat":
        if (this.#registers.behind(message)) this.#sync();
        return;
      case "status":
        this.degraded = message.degraded;
        return this.#events.emit("degraded", message.degraded);
      case "ack":
        if (!this.uploader) return;
        this.uploader.acknowledged(message);
        if (this.#uploader) this.#events.emit("acknowledged", this.#uploader);
        return;
      case "error":
        if (message.about?.startsWith("upload") && this.uploader) return this.uploader.refused(message.message, message.retry);
        // After a cancel, chunks that were already on their way are refused; nobody needs to hear it.
        if (message.code === "no_upload") return;
        return this.#events.emit("error", message);
    }
  }

  /** @param {import("./types.js").StateMessage} state */
  #takeState(state) {
    const before = this.#registers.values;
    const result = this.#registers.apply(state);
    if (result === "foreign") this.#sync();
    if (result !== "applied") return;
    if (state.whole) this.#pageRev = -1;
    this.#events.emit("registers", { before, now: this.#registers.values });
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

  #sync() {
    this.#connection.send({ type: "sync", epoch: this.#registers.epoch, rev: this.#registers.rev });
  }

  /**
   * @param {Phase} phase
   * @param {number} retryAt
   */
  #enter(phase, retryAt) {
    this.retryAt = retryAt;
    if (phase === "reconnecting" || phase === "closed") {
      this.degraded = false;
      this.uploader?.lost();
    }
    this.#events.emit("phase", { phase, retryAt });
  }
}
