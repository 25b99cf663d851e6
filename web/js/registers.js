/** @typedef {import("./types.js").RegisterValues} RegisterValues */
/** @typedef {import("./types.js").StateMessage} StateMessage */

/**
 * A room's state as this browser knows it: last-write-wins registers under an epoch and a revision.
 */
export class Registers {
  #epoch = "";
  #rev = -1;
  /** @type {RegisterValues} */
  #values = {};

  // API

  get epoch() {
    return this.#epoch;
  }

  get rev() {
    return Math.max(0, this.#rev);
  }

  get values() {
    return this.#values;
  }

  /**
   * Take what the server says. A whole state replaces everything, even by a lower revision; a change
   * counts only within the known epoch and above the known revision.
   * @param {Pick<StateMessage, "epoch"|"rev"|"set"|"whole">} state
   * @returns {"applied"|"old"|"foreign"} "foreign": of an epoch that is not known; ask with `sync`
   */
  apply(state) {
    if (!state.whole) {
      if (state.epoch !== this.#epoch) return "foreign";
      if (state.rev <= this.#rev) return "old";
    }
    this.#epoch = state.epoch;
    this.#rev = state.rev;
    this.#values = state.whole ? { ...state.set } : { ...this.#values, ...state.set };
    return "applied";
  }

  /**
   * Whether the server, which says it sent everything up to here, knows more than this browser.
   * @param {{epoch: string, rev: number}} server
   */
  behind(server) {
    return server.epoch !== this.#epoch || server.rev > this.#rev;
  }
}
