/**
 * @typedef {object} Unsaid  A message that the room did not confirm.
 * @property {string} id
 * @property {string} body
 * @property {number} at  ms since 1970; when it was written
 * @property {"pending"|"failed"} state
 * @property {string} reason
 */

/** What a reload of this tab must not lose of the chat: messages that were not confirmed yet. */
export class UnsaidMessages {
  /** @type {string} */
  #key;

  /** @param {string} uuid  the room's */
  constructor(uuid) {
    this.#key = `tablecast-unsaid-${uuid}`;
  }

  // API

  /** @returns {Unsaid[]} in the order they were written */
  get() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(this.#key) ?? "[]");
      return Array.isArray(kept) ? kept.filter(isUnsaid) : [];
    } catch {
      return [];
    }
  }

  /** @param {Unsaid[]} messages  all there are */
  keep(messages) {
    try {
      if (messages.length === 0) sessionStorage.removeItem(this.#key);
      else sessionStorage.setItem(this.#key, JSON.stringify(messages.map(({ id, body, at, state, reason }) => ({ id, body, at, state, reason }))));
    } catch {
      // Storage can be full or forbidden; then a message waits only as long as this page.
    }
  }
}

/** @param {any} kept */
function isUnsaid(kept) {
  return typeof kept?.id === "string" && typeof kept.body === "string" && typeof kept.at === "number" && typeof kept.reason === "string" && (kept.state === "pending" || kept.state === "failed");
}
