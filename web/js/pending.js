/**
 * @typedef {object} Unfinished  An upload of this tab that was not told to be over.
 * @property {string} uuid
 * @property {string} id  the upload's
 * @property {string} token  with which it goes on
 * @property {string} name
 * @property {number} size
 * @property {number} lastModified
 * @property {string} [sheet]
 */

const KEY = "tablecast-upload";

/** What a reload must not lose of an upload: with the same file chosen again, it goes on. */
export class Pending {
  /** @type {string} */
  #uuid;

  /** @param {string} uuid */
  constructor(uuid) {
    this.#uuid = uuid;
  }

  // API

  /** @returns {Unfinished|null} */
  get() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
      return kept?.uuid === this.#uuid && typeof kept.token === "string" ? kept : null;
    } catch {
      return null;
    }
  }

  /** @param {import("./uploader.js").Uploader} uploader */
  keep({ id, token, file, sheet }) {
    const { name, size, lastModified } = file;
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ uuid: this.#uuid, id, token, name, size, lastModified, sheet }));
    } catch {
      // Storage can be forbidden; then an upload goes on only as long as this page.
    }
  }

  forget() {
    try {
      if (this.get()) sessionStorage.removeItem(KEY);
    } catch {
      // As above.
    }
  }

  /**
   * Whether this is the file of the unfinished upload, as it was.
   * @param {File} file
   */
  isFor(file) {
    const kept = this.get();
    return kept !== null && kept.name === file.name && kept.size === file.size && kept.lastModified === file.lastModified;
  }
}
