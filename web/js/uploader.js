/** @typedef {import("./types.js").AckMessage} AckMessage */
/** @typedef {import("./types.js").Limits} Limits */
/**
 * @typedef {object} Outcome
 * @property {"done"|"cancelled"|"failed"} kind
 * @property {string} message  for people; empty unless failed
 * @property {boolean} complete  whether the message, being the server's, also says what was kept
 * @property {boolean} retry  whether the same file may go through later
 */
/** @typedef {Pick<import("./connection.js").Connection, "send"|"sendBytes">} Link */

/**
 * Sends one file in slices, never more than the window beyond what the server has taken, so that at
 * no time more than a few slices are in memory.
 */
export class Uploader {
  /** @type {Link} */
  #link;
  /** @type {File} */
  #file;
  /** @type {Limits} */
  #limits;
  /** @type {(outcome: Outcome) => void} */
  #ended;
  #id = "";
  #sent = 0;
  #received = 0;
  #active = true;
  /** @type {(() => void)|null} */
  #wake = null;

  /**
   * @param {Link} link
   * @param {File} file
   * @param {Limits} limits
   * @param {(outcome: Outcome) => void} ended called exactly once
   */
  constructor(link, file, limits, ended) {
    this.#link = link;
    this.#file = file;
    this.#limits = limits;
    this.#ended = ended;
  }

  // API

  get file() {
    return this.#file;
  }

  /** The upload's id; empty until the server agreed to it. */
  get id() {
    return this.#id;
  }

  get active() {
    return this.#active;
  }

  get received() {
    return this.#received;
  }

  start() {
    if (!this.#link.send({ type: "upload", name: this.#file.name, size: this.#file.size })) this.lost();
  }

  /** @param {AckMessage} ack */
  acknowledged(ack) {
    if (!this.#active || (this.#id && ack.upload !== this.#id)) return;
    this.#received = Math.max(this.#received, ack.received);
    if (ack.done) {
      this.#end({ kind: "done", message: "", complete: false, retry: false });
    } else if (!this.#id) {
      this.#id = ack.upload;
      void this.#pump();
    }
    this.#wake?.();
  }

  /**
   * The server gave the upload up.
   * @param {string} message
   * @param {boolean} retry
   */
  refused(message, retry) {
    this.#end({ kind: "failed", message: `“${this.#file.name}” was not taken. ${message}`, complete: true, retry });
  }

  /** The connection is gone. */
  lost() {
    const message = `The connection was lost while “${this.#file.name}” was being sent.`;
    this.#end({ kind: "failed", message, complete: false, retry: true });
  }

  cancel() {
    if (!this.#active) return;
    this.#link.send({ type: "upload_cancel" });
    this.#end({ kind: "cancelled", message: "", complete: false, retry: false });
  }

  // Internal

  async #pump() {
    const { size } = this.#file;
    while (this.#active && this.#sent < size) {
      const end = Math.min(size, this.#sent + this.#limits.chunk_bytes);
      const chunk = await this.#read(this.#sent, end);
      while (this.#active && end - this.#received > this.#limits.window_bytes) await this.#news();
      if (!this.#active || !chunk) return;
      if (!this.#link.sendBytes(chunk)) return this.lost();
      this.#sent = end;
    }
    if (this.#active) this.#link.send({ type: "upload_end" });
  }

  /**
   * @param {number} start
   * @param {number} end
   */
  async #read(start, end) {
    try {
      return await this.#file.slice(start, end).arrayBuffer();
    } catch {
      if (this.#active) this.#link.send({ type: "upload_cancel" });
      const message = `“${this.#file.name}” could not be read any more: was it moved or changed?`;
      this.#end({ kind: "failed", message, complete: false, retry: false });
      return null;
    }
  }

  /** Wait for an acknowledgement or the end; the connection's watch on silence bounds the wait. */
  #news() {
    return new Promise((resolve) => (this.#wake = () => resolve(undefined)));
  }

  /** @param {Outcome} outcome */
  #end(outcome) {
    if (!this.#active) return;
    this.#active = false;
    this.#wake?.();
    this.#ended(outcome);
  }
}
