import { copyText } from "./clipboard.js";
import { need } from "./dom.js";
import { Management } from "./managing.js";
import { Panel } from "./panel.js";

/** @typedef {import("./access.js").Access} Access */

const DONE_MS = 2_000;

/** What “Share” opens: the room's link, already copied, and for its owner all that governs the room. */
export class Sharing {
  /** @type {Access} */
  #access;
  /** @type {Panel} */
  #panel;
  #button = need('[data-action="share"]', HTMLButtonElement);
  #viewing = need("#share-viewing", HTMLElement);
  #hint = need("#share-viewing-hint", HTMLElement);
  #presenting = need("#share-presenting", HTMLElement);
  #why = need("#share-why", HTMLElement);
  #status = need("#share-status", HTMLElement);
  /** @type {Management} */
  #management;
  #timer = 0;

  /** @param {Access} access */
  constructor(access) {
    this.#access = access;
    this.#panel = new Panel("sharing", this.#button, () => this.#opened());
    this.#management = new Management(access, {
      address: () => this.#address,
      say: (text, bad) => this.#say(text, bad),
    });
  }

  // API

  start() {
    this.#panel.start();
    this.#management.start();
    for (const link of [this.#viewing, this.#presenting]) this.#wire(link);
    need("input", HTMLInputElement, this.#viewing).value = this.#address;
    this.#access.on("change", () => this.#show());
    this.#show();
  }

  // Internal

  get #address() {
    return this.#button.dataset.url ?? location.origin + location.pathname;
  }

  /** The link is what nearly everyone wants: pressing “Share” is enough to have it. */
  #opened() {
    this.#management.opened();
    this.#say("");
    if (!this.#access.isDeleted) void this.#copy(this.#viewing, true);
  }

  /** @param {HTMLElement} link */
  #wire(link) {
    const field = need("input", HTMLInputElement, link);
    field.addEventListener("focus", () => field.select());
    need("button", HTMLElement, link).addEventListener("click", () => void this.#copy(link));
  }

  /**
   * @param {HTMLElement} link
   * @param {boolean} [unasked]
   */
  async #copy(link, unasked = false) {
    const field = need("input", HTMLInputElement, link);
    if (await copyText(field.value)) return this.#copied(link);
    if (unasked) return;
    field.focus();
    this.#say("The link could not be put on the clipboard. It is selected: copy it with the keys or menu of your device.", true);
  }

  /** @param {HTMLElement} link */
  #copied(link) {
    clearTimeout(this.#timer);
    const label = need("button span", HTMLElement, link);
    for (const each of document.querySelectorAll(".copied")) each.classList.remove("copied");
    link.classList.add("copied");
    this.#button.classList.add("done");
    this.#say(link === this.#viewing ? "The link for viewing is on the clipboard." : "The link for presenting is on the clipboard. Whoever has it turns pages and uploads.");
    label.textContent = "Copied";
    this.#timer = window.setTimeout(() => {
      for (const each of [this.#viewing, this.#presenting]) need("button span", HTMLElement, each).textContent = "Copy";
      link.classList.remove("copied");
      this.#button.classList.remove("done");
    }, DONE_MS);
  }

  #show() {
    const { isOwner, isPresenting, isKeyed, isDeleted, role } = this.#access;
    if (isDeleted) this.#panel.close();
    this.#button.disabled = isDeleted;
    this.#hint.textContent = isPresenting
      ? "Whoever has it sees the table, can browse on their own, and chats. Presenters turn the pages."
      : "Whoever has it sees the table, turns pages, uploads, and chats.";
    this.#why.hidden = isOwner;
    if (!isKeyed) this.#why.textContent = "This room was opened without a key, so there is nothing to manage: all who have the link may do the same. A room that is made on the start page has an owner.";
    else if (role === "presenter") this.#why.textContent = "You present in this room. Its owner says who presents, and how long the room is kept.";
    else this.#why.textContent = "Whoever made this room manages it: who presents, and how long it is kept.";
  }

  /**
   * @param {string} text
   * @param {boolean} [bad]
   */
  #say(text, bad = false) {
    this.#status.textContent = text;
    this.#status.classList.toggle("bad", bad);
  }
}
