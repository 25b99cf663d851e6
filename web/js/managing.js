import { need } from "./dom.js";
import { duration } from "./format.js";
import { linkWithKey } from "./keys.js";

/** @typedef {import("./access.js").Access} Access */
/**
 * @typedef {object} Surroundings
 * @property {() => string} address  the room's, that everyone may have
 * @property {(text: string, bad?: boolean) => void} say
 */

const MODES = {
  open: "Everyone turns pages and uploads again.",
  presenting: "From now on only presenters turn pages and upload.",
};

/** The owner's part of the panel: who presents, by which link, how long the room is kept, its end. */
export class Management {
  /** @type {Access} */
  #access;
  /** @type {Surroundings} */
  #around;
  #part = need("#share-manage", HTMLElement);
  #modes = need("#share-mode", HTMLFieldSetElement);
  #link = need("#share-presenting", HTMLElement);
  #linkHint = need("#share-presenting-hint", HTMLElement);
  #make = need('[data-action="invite"]', HTMLButtonElement);
  #revoke = need('[data-action="revoke"]', HTMLButtonElement);
  #life = need("#share-life", HTMLSelectElement);
  #delete = need('[data-action="delete-room"]', HTMLButtonElement);
  #sure = need("#share-sure", HTMLElement);
  #busy = false;

  /**
   * @param {Access} access
   * @param {Surroundings} around
   */
  constructor(access, around) {
    this.#access = access;
    this.#around = around;
  }

  // API

  start() {
    this.#modes.addEventListener("change", () => void this.#changeMode());
    this.#make.addEventListener("click", () => void this.#invite());
    this.#revoke.addEventListener("click", () => void this.#endInvitation());
    this.#life.addEventListener("change", () => void this.#changeLife());
    this.#delete.addEventListener("click", () => this.#ask(true));
    need('[data-action="keep-room"]', HTMLElement).addEventListener("click", () => this.#ask(false));
    need('[data-action="delete-really"]', HTMLElement).addEventListener("click", () => void this.#deleteRoom());
    for (const option of this.#life.options) option.textContent = duration(Number(option.value));
    this.#access.on("change", () => this.#show());
    this.#show();
  }

  /** The panel is about to show. */
  opened() {
    this.#ask(false, false);
    this.#show();
  }

  // Internal

  #show() {
    const { isOwner, isPresenting, isInvited, life } = this.#access;
    this.#part.hidden = !isOwner;
    if (!isOwner) return;
    const mode = isPresenting ? "presenting" : "open";
    for (const choice of this.#modes.querySelectorAll("input")) choice.checked = choice.value === mode;
    if (!isInvited) this.#showLink("");
    const isShown = !this.#link.hidden;
    this.#linkHint.textContent = linkWords(isInvited, isShown);
    this.#make.textContent = isInvited ? "Make a new one, end the old" : "Make the link";
    this.#revoke.hidden = !isInvited;
    this.#showLife(life ?? Number(this.#life.dataset.usual));
  }

  /** @param {number} seconds */
  #showLife(seconds) {
    const value = String(seconds);
    if (![...this.#life.options].some((option) => option.value === value)) {
      this.#life.add(new Option(duration(seconds), value));
    }
    this.#life.value = value;
  }

  async #changeMode() {
    const mode = need("input:checked", HTMLInputElement, this.#modes).value === "presenting" ? "presenting" : "open";
    await this.#do(() => this.#access.ask("PUT", "/mode", { mode }), MODES[mode]);
  }

  async #invite() {
    const wasInvited = this.#access.isInvited;
    const words = wasInvited ? "A new link is made; the one before works no more." : "The link is made.";
    const answer = await this.#do(() => this.#access.ask("POST", "/keys"), words);
    if (!answer) return;
    this.#showLink(linkWithKey(this.#around.address(), String(answer.key)));
    this.#linkHint.textContent = linkWords(true, true);
    need("button", HTMLElement, this.#link).focus();
  }

  async #endInvitation() {
    const done = await this.#do(() => this.#access.ask("DELETE", "/keys"), "The link works no more. Who came by it watches as everyone else.");
    if (!done) return;
    this.#showLink("");
    this.#make.focus();
  }

  async #changeLife() {
    const seconds = Number(this.#life.value);
    await this.#do(() => this.#access.ask("PUT", "/life", { seconds }), `The room is kept for ${duration(seconds)} after the last one has left.`);
  }

  async #deleteRoom() {
    // Everyone here, this browser too, is told by the room itself.
    await this.#do(() => this.#access.ask("DELETE"), "The room is being deleted…");
  }

  /**
   * @param {boolean} sure  whether the second step is to be shown
   * @param {boolean} [focus]
   */
  #ask(sure, focus = true) {
    this.#sure.hidden = !sure;
    this.#delete.hidden = sure;
    if (!focus) return;
    if (!sure) return this.#delete.focus();
    need('[data-action="keep-room"]', HTMLElement).focus();
    this.#sure.scrollIntoView({ block: "nearest" });
  }

  /** @param {string} link */
  #showLink(link) {
    this.#link.hidden = link === "";
    need("input", HTMLInputElement, this.#link).value = link;
  }

  /**
   * One thing at a time; what did not happen is shown as it is.
   * @param {() => Promise<any>} what
   * @param {string} words  said when it is done
   * @returns {Promise<any>} the answer (true for none); null if it failed
   */
  async #do(what, words) {
    if (this.#busy) return this.#show();
    this.#busy = true;
    this.#part.setAttribute("aria-busy", "true");
    try {
      const answer = await what();
      this.#around.say(words);
      return answer ?? true;
    } catch (error) {
      this.#around.say(error instanceof Error ? error.message : String(error), true);
      this.#show();
      return null;
    } finally {
      this.#busy = false;
      this.#part.removeAttribute("aria-busy");
    }
  }
}

/**
 * @param {boolean} isInvited
 * @param {boolean} isShown
 */
function linkWords(isInvited, isShown) {
  if (isShown) return "Whoever has this link presents. It is shown only now: copy it. A new one ends it.";
  if (isInvited) return "There is one, and it is not shown again. Making a new one ends it: who came by the old link only watches then.";
  return "Lets others turn pages and upload while only presenters do.";
}
