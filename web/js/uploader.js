import { Slices } from "./slices.js";

/** @typedef {import("./types.js").AckMessage} AckMessage */
/** @typedef {import("./types.js").ErrorMessage} ErrorMessage */
/** @typedef {import("./types.js").Limits} Limits */
/**
 * @typedef {object} Outcome
 * @property {"done"|"cancelled"|"failed"} kind
 * @property {string} message  for people; empty unless failed
 * @property {boolean} complete  whether the message, being the server's, also says what was kept
 * @property {boolean} retry  whether the same file may go through later
 * @property {string} code  the server's, where it was the server that ended it
 */
/**
 * @typedef {object} Manner
 * @property {string} [sheet]  of a workbook: the one to show
 * @property {boolean} [replace]  stop the upload that runs in the room
 * @property {string} [resume]  token of an upload that goes on with this file
 */
/** @typedef {Pick<import("./connection.js").Connection, "send"|"sendBytes">} Link */

/** A node that does not take an upload up again may do so a little later. */
const RESUME_PAUSE_MS = 2_000;
const RESUME_TRIES = 10;
/** Ends of an upload that waiting does not mend. */
const OVER = ["upload_lost", "upload_replaced"];

/**
 * Sends one file in slices, never more than the window beyond what the server has taken, so that at
 * no time more than a few slices are in memory. If the server gave it a token, it outlives its
 * connection: it goes on where the server says, or once from the beginning if that is forgotten.
 */
export class Uploader {
  /** @type {Link} */
  #link;
  /** @type {File} */
  #file;
  /** @type {Limits} */
  #limits;
  /** @type {Manner} */
  #manner;
  /** @type {(outcome: Outcome) => void} */
  #ended;
  #id = "";
  #token = "";
  #sent = 0;
  #received = 0;
  #active = true;
  /** Begun or resumed, and not answered yet. */
  #asked = false;
  #resuming = false;
  #interrupted = false;
  #restarted = false;
  #tries = 0;
  #timer = 0;
  /** Goes up with every connection, so that the pump of the last one stops. */
  #run = 0;
  /** @type {(() => void)|null} */
  #wake = null;

  /**
   * @param {Link} link
   * @param {File} file
   * @param {Limits} limits
   * @param {Manner} manner
   * @param {(outcome: Outcome) => void} ended called exactly once
   */
  constructor(link, file, limits, manner, ended) {
    this.#link = link;
    this.#file = file;
    this.#limits = limits;
    this.#manner = manner;
    this.#token = manner.resume ?? "";
    this.#ended = ended;
  }

  // API

  get file() {
    return this.#file;
  }

  get sheet() {
    return this.#manner.sheet;
  }

  /** The upload's id; empty until the server agreed to it. */
  get id() {
    return this.#id;
  }

  /** With it the upload goes on over another connection; empty if it cannot. */
  get token() {
    return this.#token;
  }

  get active() {
    return this.#active;
  }

  get received() {
    return this.#received;
  }

  /** Whether it waits for a connection, or for a node that takes it up again. */
  get isWaiting() {
    return this.#active && (this.#interrupted || this.#resuming);
  }

  /** Whether it was to stop the upload that ran in the room. */
  get replaces() {
    return this.#manner.replace === true;
  }

  start() {
    this.#ask();
  }

  /** @param {AckMessage} ack */
  acknowledged(ack) {
    if (!this.#active) return;
    if (this.#asked) this.#begin(ack);
    else if (ack.upload !== this.#id) return;
    this.#received = Math.max(this.#received, ack.received);
    if (ack.done) this.#end({ kind: "done" });
    this.#wake?.();
  }

  /**
   * The server gave the upload up, or does not take it up again.
   * @param {ErrorMessage} error
   */
  refused(error) {
    if (!this.#active || (this.#resuming && this.#triesAgain(error))) return;
    const message = `“${this.#file.name}” was not taken. ${error.message}`;
    this.#end({ kind: "failed", message, complete: true, retry: error.retry, code: error.code });
  }

  /** The document is complete, as everyone sees. */
  finished() {
    this.#end({ kind: "done" });
  }

  /** The connection is gone for now. */
  interrupted() {
    if (!this.#active) return;
    if (!this.#token) return this.lost();
    this.#run += 1;
    this.#interrupted = true;
    this.#asked = false;
    clearTimeout(this.#timer);
    this.#wake?.();
  }

  /** There is a connection again. */
  reconnected() {
    if (!this.#active || !this.#interrupted) return;
    this.#tries = 0;
    this.#ask();
  }

  /** The connection is gone for good. */
  lost() {
    const message = `The connection was lost while “${this.#file.name}” was being sent.`;
    this.#end({ kind: "failed", message, retry: true });
  }

  cancel() {
    if (!this.#active) return;
    this.#link.send({ type: "upload_cancel" });
    this.#end({ kind: "cancelled" });
  }

  // Internal

  #ask() {
    const { name, size } = this.#file;
    const { sheet, replace } = this.#manner;
    this.#run += 1;
    this.#asked = true;
    this.#interrupted = false;
    this.#resuming = this.#token !== "";
    const resume = this.#token || undefined;
    // What is replaced was replaced by the first ack.
    const again = this.#resuming || this.#restarted;
    if (!this.#link.send({ type: "upload", name, size, sheet, replace: again ? undefined : replace, resume })) this.interrupted();
  }

  /** @param {AckMessage} ack */
  #begin(ack) {
    this.#asked = false;
    this.#resuming = false;
    this.#tries = 0;
    this.#id = ack.upload;
    this.#token = ack.token || this.#token;
    this.#sent = ack.received;
    this.#received = ack.received;
    void this.#pump();
  }

  /**
   * @param {ErrorMessage} error
   * @returns {boolean} whether the upload goes on after all
   */
  #triesAgain(error) {
    if (error.code === "upload_lost" && !this.#restarted) {
      this.#restarted = true;
      this.#token = "";
      this.#ask();
      return true;
    }
    this.#tries += 1;
    if (!error.retry || OVER.includes(error.code) || this.#tries >= RESUME_TRIES) return false;
    this.#asked = false;
    this.#timer = window.setTimeout(() => this.#active && this.#ask(), RESUME_PAUSE_MS);
    return true;
  }

  async #pump() {
    const { size } = this.#file;
    const run = this.#run;
    const goesOn = () => this.#active && run === this.#run;
    const slices = new Slices(this.#file, this.#sent, this.#limits.chunk_bytes);
    while (goesOn() && this.#sent < size) {
      const end = Math.min(size, this.#sent + this.#limits.chunk_bytes);
      const chunk = await this.#read(slices, end - this.#sent);
      while (goesOn() && end - this.#received > this.#limits.window_bytes) await this.#news();
      if (!goesOn() || !chunk) break;
      if (this.#link.sendBytes(chunk)) this.#sent = end;
      else this.interrupted();
    }
    slices.close();
    if (goesOn()) this.#link.send({ type: "upload_end" });
  }

  /**
   * @param {Slices} slices
   * @param {number} length
   */
  async #read(slices, length) {
    try {
      return await slices.next(length);
    } catch {
      if (this.#active) this.#link.send({ type: "upload_cancel" });
      const message = `“${this.#file.name}” could not be read any more: was it moved or changed?`;
      this.#end({ kind: "failed", message });
      return null;
    }
  }

  /** Wait for an acknowledgement or the end; the connection's watch on silence bounds the wait. */
  #news() {
    return new Promise((resolve) => (this.#wake = () => resolve(undefined)));
  }

  /** @param {Pick<Outcome, "kind"> & Partial<Outcome>} outcome */
  #end(outcome) {
    if (!this.#active) return;
    this.#active = false;
    clearTimeout(this.#timer);
    this.#wake?.();
    this.#ended({ message: "", complete: false, retry: false, code: "", ...outcome });
  }
}
