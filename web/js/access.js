import { Emitter } from "./emitter.js";
import { forgetKey, keepKey, keyOf } from "./keys.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./types.js").Role} Role */
/**
 * @typedef {object} AccessEvents
 * @property {Access} change  the role, or who may do what, is another
 * @property {"wrong"|"ended"} lost  a key was wrong, or is none any more; it is forgotten
 */

/** What this browser may do in a room: its key, its role, and what the room says of both. No view. */
export class Access {
  /** @type {Emitter<AccessEvents>} */
  #events = new Emitter();
  /** @type {Session} */
  #session;
  /** @type {Role} */
  #role = "guest";
  /** @type {Role} what the cookie alone grants */
  #byCookie = "guest";
  /** @type {string} a key from a link, until the server has said what it grants */
  #offered = "";
  /** @type {string[]} keys to ask the server about */
  #untried = [];
  /** @type {string} the key that the server is asked about */
  #asked = "";
  #shown = "";

  /**
   * Must be there before the session is opened.
   * @param {Session} session
   * @param {string} [offered]  a key that a link brought along
   */
  constructor(session, offered = "") {
    this.#session = session;
    this.#offered = offered;
    // A reload before the server has answered must not lose it.
    if (offered && !keyOf(session.uuid)) keepKey(session.uuid, offered);
    session.on("message", (message) => this.#take(message));
    session.on("registers", () => this.#look());
    session.on("degraded", (degraded) => {
      if (!degraded) this.#tryAll();
    });
  }

  // API

  /** @type {Emitter<AccessEvents>["on"]} */
  on = (name, listener) => this.#events.on(name, listener);

  get uuid() {
    return this.#session.uuid;
  }

  get role() {
    return this.#role;
  }

  get isOwner() {
    return this.#role === "owner";
  }

  get isPresenting() {
    return this.#session.registers.mode === "presenting";
  }

  /** Whether somebody holds the room's key; a room that was opened without one is managed by nobody. */
  get isKeyed() {
    return this.#session.registers.keyed === true;
  }

  /** Whether there is a link that grants presenting. */
  get isInvited() {
    return this.#session.registers.invited === true;
  }

  /** Seconds that the room is kept when nobody is here; null: as long as the server keeps rooms. */
  get life() {
    return this.#session.registers.life ?? null;
  }

  get isDeleted() {
    return Boolean(this.#session.registers.deleted);
  }

  /** Whether this browser's page turns are for everyone. */
  get canTurn() {
    return !this.isDeleted && (!this.isPresenting || this.#role !== "guest");
  }

  get canUpload() {
    return this.canTurn;
  }

  /** Why this browser may not change the table; empty if it may. */
  get obstacle() {
    if (this.isDeleted) return "This room was deleted by its owner.";
    return this.canTurn ? "" : "Only presenters upload and turn pages in this room now. You can browse on your own, and chat.";
  }

  /**
   * The same of one thing that changes the table.
   * @param {string} what  "show other versions"
   */
  obstacleTo(what) {
    if (this.isDeleted) return this.obstacle;
    return this.canTurn ? "" : `Only presenters ${what} in this room now.`;
  }

  /**
   * A key that came by a link into the open page.
   * @param {string} key
   */
  offer(key) {
    this.#offered = key;
    if (!keyOf(this.uuid)) keepKey(this.uuid, key);
    this.#tryAll();
  }

  /**
   * Ask the room's REST door for something, with this browser's key.
   * @param {string} method
   * @param {string} [path]  below the room's own, beginning with a slash
   * @param {object} [body]  sent as JSON
   * @returns {Promise<any>} the answer; null if it has no body
   * @throws {Error} with a message for people
   */
  async ask(method, path = "", body) {
    const key = keyOf(this.uuid);
    /** @type {Record<string, string>} */
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    if (body) headers["Content-Type"] = "application/json";
    const asking = fetch(`/api/rooms/${this.uuid}${path}`, {
      method,
      headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(10_000),
    });
    const response = await asking.catch(() => {
      throw new Error("The server did not answer. Whether anything was changed shows when it is back.");
    });
    const answer = response.status === 204 ? null : await response.json().catch(() => null);
    if (!response.ok) throw new Error(answer?.detail ?? `The server refused it (${response.status}). Nothing was changed.`);
    return answer;
  }

  // Internal

  /** @param {import("./types.js").ServerMessage} message */
  #take(message) {
    if (message.type === "hello") this.#greeted(message.role ?? "guest");
    else if (message.type === "role") this.#granted(message.role);
    // There is another link for presenting, or none: the server says so at once to those who ask.
    else if (message.type === "state" && !message.whole && "invited" in message.set && this.#role === "presenter") this.#tryAll();
    else if (message.type === "error" && message.about === "key") this.#refused(message);
  }

  /** @param {Role} role */
  #greeted(role) {
    this.#byCookie = role;
    this.#role = role;
    this.#asked = "";
    this.#tryAll();
    this.#look();
  }

  /** The key that is held goes first: a link must not take the place of one that grants more. */
  #tryAll() {
    const keys = [keyOf(this.uuid), this.#offered].filter((key) => key !== "" && key !== this.#asked);
    this.#untried = [...new Set(keys)];
    if (!this.#asked) this.#tryNext();
  }

  #tryNext() {
    const key = this.#untried.shift();
    if (key === undefined) return;
    const grantsNoMore = this.#role === "owner" && key !== keyOf(this.uuid);
    if (grantsNoMore) this.#offered = "";
    else if (this.#session.send({ type: "key", key })) this.#asked = key;
  }

  /** @param {Role} role */
  #granted(role) {
    const before = this.#role;
    this.#role = role;
    if (role !== "guest") this.#accepted();
    // A wrong key is answered by an error; this is news of a key that was right.
    else if (before !== "guest") this.#lose("ended");
    this.#look();
  }

  #accepted() {
    const key = this.#asked;
    this.#asked = "";
    if (!key) return;
    if (key === this.#offered) this.#offered = "";
    if (key !== keyOf(this.uuid)) keepKey(this.uuid, key);
    if (this.#byCookie !== this.#role) {
      // Downloads and forms have no header for a key; what fails without the cookie says so itself.
      this.#byCookie = this.#role;
      this.ask("POST", "/cookie").catch(() => {});
    }
    this.#tryNext();
  }

  /** @param {import("./types.js").ErrorMessage} error */
  #refused(error) {
    const key = this.#asked;
    this.#asked = "";
    if (!key || error.retry) return;
    const isNew = key === this.#offered;
    if (isNew) this.#offered = "";
    // A key that the cookie outdoes is no loss.
    if (key === keyOf(this.uuid) && this.#role === "guest") this.#lose("wrong");
    else if (key === keyOf(this.uuid)) forgetKey(this.uuid);
    else if (isNew) this.#events.emit("lost", "wrong");
    this.#tryNext();
  }

  /** @param {"wrong"|"ended"} why */
  #lose(why) {
    forgetKey(this.uuid);
    this.#byCookie = "guest";
    this.ask("DELETE", "/cookie").catch(() => {});
    if (!this.isDeleted) this.#events.emit("lost", why);
  }

  #look() {
    const { mode, keyed, invited, life, deleted } = this.#session.registers;
    if (deleted) forgetKey(this.uuid);
    const now = JSON.stringify([this.#role, mode, keyed, invited, life, deleted]);
    if (now === this.#shown) return;
    this.#shown = now;
    this.#events.emit("change", this);
  }
}
