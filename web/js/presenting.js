import { need, refuse } from "./dom.js";
import { takeKeyFromAddress } from "./keys.js";

/** @typedef {import("./access.js").Access} Access */
/** @typedef {import("./types.js").Person} Person */

const NAMES = 2;
const LOST = {
  wrong: "This link’s key is not valid in this room, or not any more. It was forgotten; you can watch and chat without one.",
  ended: "You do not present any more: the owner of this room ended the link that you came by.",
};

/** Says who presents, and why a guest's buttons do nothing while somebody does. */
export class Presenting {
  /** @type {Access} */
  #access;
  /** @type {import("./session.js").Session} */
  #session;
  /** @type {import("./notices.js").Notices} */
  #notices;
  #chip = need("#presenting", HTMLElement);
  /** @type {Person[]} */
  #presenters = [];
  /** @type {string} the obstacle that was told last */
  #told = "";

  /**
   * @param {Access} access
   * @param {import("./session.js").Session} session
   * @param {import("./notices.js").Notices} notices
   */
  constructor(access, session, notices) {
    this.#access = access;
    this.#session = session;
    this.#notices = notices;
  }

  // API

  start() {
    this.#access.on("change", () => this.#show());
    this.#access.on("lost", (why) => this.#notices.say(LOST[why], { tone: "warn", about: "key" }));
    this.#session.on("message", (message) => {
      if (message.type === "here") this.#meet(message.people ?? []);
    });
    // A link that grants something, opened where its room is open already, loads nothing anew.
    addEventListener("hashchange", () => {
      const key = takeKeyFromAddress();
      if (key) this.#access.offer(key);
    });
    this.#told = this.#access.obstacle;
    this.#meet(this.#session.present?.people ?? []);
  }

  // Internal

  /** @param {Person[]} people */
  #meet(people) {
    this.#presenters = people.filter(({ role }) => role !== "guest");
    this.#show();
  }

  #show() {
    const { isPresenting, canTurn, obstacle, isDeleted } = this.#access;
    this.#chip.hidden = !isPresenting || isDeleted;
    this.#chip.dataset.presents = String(canTurn);
    const text = canTurn ? "You are presenting" : this.#who();
    const label = need("span", HTMLElement, this.#chip);
    if (label.textContent !== text) label.textContent = text;
    this.#chip.title = canTurn ? "Only presenters turn pages and upload here, and you are one" : obstacle;
    for (const button of document.querySelectorAll('[data-action="upload"], [data-action="choose"]')) {
      refuse(button, obstacle);
      // The bar's button has a title for each state of the table.
      if (button instanceof HTMLElement && button.dataset.action === "choose") button.title = obstacle;
    }
    if (obstacle === this.#told) return;
    this.#told = obstacle;
    if (isPresenting && obstacle) this.#notices.note("Only presenters turn pages and upload in this room now.", "role");
    if (obstacle) return;
    this.#notices.over("key");
    this.#notices.over("role");
  }

  #who() {
    const names = this.#presenters.map(({ name }) => name);
    if (names.length === 0) return "Presenters turn pages";
    const more = names.length - NAMES;
    return `Presenting: ${names.slice(0, NAMES).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  }
}
