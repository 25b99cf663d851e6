/** Bytes read by one stream; whether the file was changed is looked at with each. */
const STRETCH_BYTES = 4 * 1024 * 1024;

/**
 * Reads a file piece by piece, each into the memory of the one before: left to the garbage
 * collector, the pieces of a large file would be a hundred megabytes before it comes.
 */
export class Slices {
  /** @type {Blob} */
  #file;
  /** Where the next piece begins. */
  #at;
  /** @type {ArrayBuffer} */
  #memory;
  /** @type {ReadableStreamBYOBReader|null} */
  #reader = null;

  /**
   * @param {Blob} file
   * @param {number} start
   * @param {number} longest  bytes of a piece, at most
   */
  constructor(file, start, longest) {
    this.#file = file;
    this.#at = start;
    this.#memory = new ArrayBuffer(longest);
  }

  // API

  /**
   * The next bytes, to be used before the next call. Rejects if the file cannot be read any more.
   * @param {number} length  no more than the file still has
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  async next(length) {
    let filled = 0;
    while (filled < length) {
      const isNew = !this.#reader;
      this.#reader ??= this.#open();
      if (!this.#reader) return this.#copy(length);
      const room = new Uint8Array(this.#memory, filled, length - filled);
      const { value, done } = await this.#reader.read(room);
      // The memory went to the stream and came back.
      this.#memory = value?.buffer ?? this.#memory;
      if (done && isNew) throw new Error("the file is shorter than it was");
      if (done) this.#reader = null;
      filled += value?.byteLength ?? 0;
      this.#at += value?.byteLength ?? 0;
    }
    return new Uint8Array(this.#memory, 0, length);
  }

  /** Read no further. */
  close() {
    // What cannot be read any more need not be given back.
    this.#reader?.cancel().catch(() => undefined);
    this.#reader = null;
  }

  // Internal

  /** Null in a browser whose files cannot be read into given memory. */
  #open() {
    try {
      return this.#file.slice(this.#at, this.#at + STRETCH_BYTES).stream().getReader({ mode: "byob" });
    } catch {
      return null;
    }
  }

  /** @param {number} length */
  async #copy(length) {
    const bytes = await this.#file.slice(this.#at, this.#at + length).arrayBuffer();
    this.#at += length;
    return new Uint8Array(bytes);
  }
}
