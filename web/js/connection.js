/** @typedef {import("./types.js").ServerMessage} ServerMessage */
/** @typedef {import("./types.js").ClientMessage} ClientMessage */
/** @typedef {"connecting"|"live"|"reconnecting"|"closed"} Phase */
/**
 * @typedef {object} ConnectionListener
 * @property {(message: ServerMessage) => void} message
 * @property {(phase: Phase, retryAt: number) => void} phase  `retryAt` in ms since 1970; 0 when not waiting
 */

const FIRST_RETRY_MS = 500;
const SLOWEST_RETRY_MS = 10_000;
/** A handshake that takes longer has met a node that is gone. */
const HANDSHAKE_MS = 8_000;
/** The server speaks every 15 s; two misses and a little more mean that nobody is there. */
const SILENCE_MS = 40_000;
const WATCH_MS = 5_000;

/** A room's WebSocket that comes back by itself: backoff with jitter, and a watch on silence. */
export class Connection {
  /** @type {string} */
  #url;
  /** @type {ConnectionListener} */
  #listener;
  /** @type {WebSocket|null} */
  #socket = null;
  /** @type {Phase} */
  #phase = "connecting";
  #attempt = 0;
  #retryAt = 0;
  #heardAt = 0;
  #retryTimer = 0;
  #handshakeTimer = 0;
  #watchTimer = 0;
  #events = new AbortController();

  /**
   * @param {string} url
   * @param {ConnectionListener} listener
   */
  constructor(url, listener) {
    this.#url = url;
    this.#listener = listener;
  }

  // API

  get phase() {
    return this.#phase;
  }

  /** Connect, and stay connected until `close`. */
  open() {
    const { signal } = this.#events;
    addEventListener("online", () => this.retryNow(), { signal });
    addEventListener("offline", () => this.#lost(), { signal });
    addEventListener("pageshow", () => this.#look(), { signal });
    document.addEventListener("visibilitychange", () => this.#look(), { signal });
    this.#watchTimer = window.setInterval(() => this.#watch(), WATCH_MS);
    this.#connect();
  }

  /**
   * @param {ClientMessage} message
   * @returns {boolean} whether it was handed to an open socket
   */
  send(message) {
    return this.#write(JSON.stringify(message));
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes */
  sendBytes(bytes) {
    return this.#write(bytes);
  }

  /** Do not wait for the backoff. */
  retryNow() {
    if (this.#phase === "closed" || this.#socket) return;
    this.#connect();
  }

  /** Leave for good. */
  close() {
    this.#events.abort();
    clearInterval(this.#watchTimer);
    this.#drop();
    clearTimeout(this.#retryTimer);
    this.#enter("closed");
  }

  // Internal

  #connect() {
    clearTimeout(this.#retryTimer);
    this.#retryAt = 0;
    const socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#handshakeTimer = window.setTimeout(() => this.#lost(), HANDSHAKE_MS);
    this.#enter(this.#phase === "connecting" ? "connecting" : "reconnecting");
    socket.addEventListener("message", (event) => {
      if (socket === this.#socket) this.#heard(event.data);
    });
    socket.addEventListener("close", () => {
      if (socket === this.#socket) this.#lost();
    });
  }

  /** @param {unknown} data */
  #heard(data) {
    this.#heardAt = Date.now();
    if (typeof data !== "string") return;
    /** @type {ServerMessage} */
    const message = JSON.parse(data);
    if (message.type === "hello") {
      clearTimeout(this.#handshakeTimer);
      this.#attempt = 0;
      this.#enter("live");
    } else if (message.type === "heartbeat") {
      this.send({ type: "heartbeat" });
    } else if (message.type === "bye") {
      this.#attempt = 0;
      if (!message.again) {
        this.close();
      }
    }
    this.#listener.message(message);
  }

  #lost() {
    if (this.#phase === "closed") return;
    this.#drop();
    const slowest = Math.min(SLOWEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#attempt);
    // Half of it is chance, so that a node's viewers do not all come back in the same moment.
    const delay = slowest * (this.#attempt === 0 ? Math.random() : 0.5 + Math.random() / 2);
    this.#attempt += 1;
    this.#retryAt = Date.now() + delay;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = window.setTimeout(() => this.#connect(), delay);
    this.#enter("reconnecting");
  }

  #drop() {
    clearTimeout(this.#handshakeTimer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #look() {
    if (document.visibilityState !== "visible") return;
    this.#watch();
    this.retryNow();
  }

  #watch() {
    // Timers stand still while a laptop sleeps: only the clock tells how long the silence was.
    if (this.#phase === "live" && Date.now() - this.#heardAt > SILENCE_MS) this.#lost();
  }

  /** @param {string|Uint8Array<ArrayBuffer>} data */
  #write(data) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(data);
    return true;
  }

  /** @param {Phase} phase */
  #enter(phase) {
    this.#phase = phase;
    this.#listener.phase(phase, this.#retryAt);
  }
}
