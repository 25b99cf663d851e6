import { UnsaidMessages } from "./unsaid.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./unsaid.js").Unsaid} Outgoing  `reason`: why it failed, for people */

/** Nobody waits longer than this for an answer. */
const ANSWER_MS = 10_000;
/** The server takes five a second and ten at once from one viewer. */
const AT_ONCE = 8;
const PACE_MS = 250;
/** After a refusal for haste. */
const PAUSE_MS = 1_500;
const HASTE_FORGIVEN = 5;
/** What was written longer ago before a reload is not said without being asked: the talk has gone on. */
const FRESH_MS = 120_000;
const CLOSED = "the connection is closed for good. Copy it and reload the page.";
const OLD = "the page was left before the room had it.";

/**
 * Messages on their way: sent once there is a connection, each under one id however often it is
 * sent, also after a reload.
 */
export class Outbox {
  /** @type {Session} */
  #session;
  /** @type {() => void} */
  #changed;
  /** @type {Map<string, Outgoing & {sent: boolean, hasty: number, timer: number}>} */
  #entries = new Map();
  #tokens = AT_ONCE;
  #filledAt = 0;
  #pumpTimer = 0;
  /** @type {UnsaidMessages} */
  #kept;

  /**
   * @param {Session} session
   * @param {() => void} changed  called when what `entries` tells is not true any more
   */
  constructor(session, changed) {
    this.#session = session;
    this.#kept = new UnsaidMessages(session.uuid);
    this.#changed = () => {
      this.#kept.keep(this.entries);
      changed();
    };
  }

  // API

  /** @param {(id: string) => boolean} said  whether the room has a message */
  start(said) {
    this.#takeKept(said);
    this.#session.on("phase", ({ phase }) => {
      if (phase === "closed" && this.#session.registers.deleted) this.#entries.clear();
      for (const entry of this.#entries.values()) {
        if (phase !== "live") this.#unsend(entry);
        if (phase === "closed") this.#fail(entry, CLOSED);
      }
      this.#changed();
    });
    this.#session.on("message", (message) => {
      if (message.type === "hello") this.#pump();
    });
    this.#session.on("error", (error) => {
      if (error.about === "chat") this.#refused(error);
    });
  }

  /** @returns {Outgoing[]} in the order they were written */
  get entries() {
    return [...this.#entries.values()];
  }

  /** @param {string} body */
  say(body) {
    const id = newId();
    this.#entries.set(id, { id, body, at: Date.now(), state: "pending", reason: "", sent: false, hasty: 0, timer: 0 });
    if (this.#session.phase === "closed") this.#fail(this.#entries.get(id), CLOSED);
    this.#pump();
    this.#changed();
  }

  /** @param {string} id */
  retry(id) {
    const entry = this.#entries.get(id);
    if (!entry || entry.state !== "failed" || this.#session.phase === "closed") return;
    entry.state = "pending";
    entry.hasty = 0;
    this.#unsend(entry);
    this.#pump();
    this.#changed();
  }

  /**
   * It was said, or is not to be said any more.
   * @param {string} id
   * @returns {boolean} whether it was here
   */
  remove(id) {
    clearTimeout(this.#entries.get(id)?.timer);
    const known = this.#entries.delete(id);
    if (known) this.#changed();
    return known;
  }

  // Internal

  /** @param {(id: string) => boolean} said */
  #takeKept(said) {
    for (const kept of this.#kept.get()) {
      if (said(kept.id)) continue;
      const entry = { ...kept, sent: false, hasty: 0, timer: 0 };
      this.#entries.set(kept.id, entry);
      if (this.#session.registers.deleted) this.#entries.clear();
      else if (entry.state === "pending" && Math.abs(Date.now() - entry.at) > FRESH_MS) this.#fail(entry, OLD);
    }
    this.#changed();
  }

  /** @param {import("./types.js").ErrorMessage} error */
  #refused(error) {
    const sent = [...this.#entries.values()].find((entry) => entry.sent && entry.state === "pending");
    const entry = error.id ? this.#entries.get(error.id) : sent;
    if (!entry) return;
    if (error.code === "rate_limited" && entry.hasty < HASTE_FORGIVEN) {
      entry.hasty += 1;
      this.#unsend(entry);
      this.#tokens = 0;
      this.#filledAt = Date.now() + PAUSE_MS;
      this.#pumpIn(PAUSE_MS);
    } else {
      this.#fail(entry, error.message);
    }
    this.#changed();
  }

  #pump() {
    clearTimeout(this.#pumpTimer);
    if (this.#session.phase !== "live") return;
    const now = Date.now();
    const gained = Math.floor(Math.max(0, now - this.#filledAt) / PACE_MS);
    if (gained > 0) {
      this.#tokens = Math.min(AT_ONCE, this.#tokens + gained);
      this.#filledAt = now;
    }
    for (const entry of this.#entries.values()) {
      if (entry.sent || entry.state !== "pending") continue;
      if (this.#tokens === 0) return this.#pumpIn(PACE_MS);
      if (!this.#session.send({ type: "chat", id: entry.id, body: entry.body })) return;
      this.#tokens -= 1;
      entry.sent = true;
      entry.timer = window.setTimeout(() => {
        this.#fail(entry, "the server did not answer in time.");
        this.#changed();
      }, ANSWER_MS);
    }
  }

  /** @param {number} ms */
  #pumpIn(ms) {
    clearTimeout(this.#pumpTimer);
    this.#pumpTimer = window.setTimeout(() => this.#pump(), ms);
  }

  /** @param {{sent: boolean, timer: number}} entry */
  #unsend(entry) {
    clearTimeout(entry.timer);
    entry.sent = false;
  }

  /**
   * @param {(Outgoing & {timer: number})|undefined} entry
   * @param {string} reason
   */
  #fail(entry, reason) {
    if (!entry) return;
    clearTimeout(entry.timer);
    entry.state = "failed";
    entry.reason = reason;
  }
}

/** A random UUID; pages served over plain http have no `randomUUID`. */
function newId() {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
