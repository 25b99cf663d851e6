import { ChatLog } from "./chat-log.js";
import { make, need } from "./dom.js";
import { counted, number } from "./format.js";
import { Identity } from "./identity.js";
import { Outbox } from "./outbox.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./me.js").Me} Me */
/** @typedef {import("./side.js").Side} Side */
/** @typedef {import("./outbox.js").Outgoing} Outgoing */

const CHARACTERS = 4_000;
/** How much of a message's limit is left when the count begins to show. */
const NEAR = 400;
const QUOTED = 60;
/** The log is laid out no more often than this, however much is said. */
const PACE_MS = 100;

/** The room's chat: what was said, what is on its way, and the field to say something. */
export class Chat {
  /** @type {Session} */
  #session;
  /** @type {Me} */
  #me;
  /** @type {Side} */
  #side;
  /** @type {import("./title.js").WindowTitle} */
  #title;
  /** @type {(text: string) => void} */
  #announce;
  #log = new ChatLog({ moved: () => this.#look(), announce: (text) => this.#announce(text) });
  /** @type {Outbox} */
  #outbox;
  #form = need("#say", HTMLFormElement);
  #field = need("#say-body", HTMLTextAreaElement);
  #hint = need("#say-hint", HTMLElement);
  #own = need("#own-name", HTMLElement);
  #outgoing = need("#outbox", HTMLElement);
  #newer = need("#newer", HTMLElement);
  #unread = 0;
  #begun = false;
  /** @type {{messages: import("./types.js").ChatEntry[], whole: boolean}} heard and not shown yet */
  #heard = { messages: [], whole: false };
  #shownAt = 0;
  #showTimer = 0;
  /** The newest version of the table that was seen. */
  #version = 0;
  /** The complete version that was shown last; 0: none yet. */
  #shown = 0;

  /**
   * @param {Session} session
   * @param {object} with_
   * @param {Me} with_.me
   * @param {Side} with_.side
   * @param {import("./title.js").WindowTitle} with_.title
   * @param {(text: string) => void} with_.announce
   */
  constructor(session, { me, side, title, announce }) {
    this.#session = session;
    this.#me = me;
    this.#side = side;
    this.#title = title;
    this.#announce = announce;
    this.#outbox = new Outbox(session, () => this.#showOutgoing());
  }

  // API

  start() {
    this.#log.start();
    this.#outbox.start((id) => this.#log.has(id));
    new Identity(this.#me, this.#own, need("#as", HTMLElement)).start();
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#say();
    });
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    this.#field.addEventListener("input", () => this.#written());
    this.#newer.addEventListener("click", () => {
      this.#log.toEnd();
      this.#look();
      this.#field.focus({ preventScroll: true });
    });
    this.#me.on("change", () => this.#showMe());
    this.#session.on("message", (message) => {
      if (message.type === "chat") this.#hear(message);
      else if (message.type === "state") this.#tableChanged(Boolean(message.whole));
    });
    document.addEventListener("visibilitychange", () => this.#look());
    this.#version = this.#newestVersion();
    const { document: table, upload } = this.#session.registers;
    this.#shown = (table?.complete ? table : upload?.previous)?.version ?? 0;
    this.#showMe();
    this.#written();
  }

  /**
   * Begin a message with a place in the table.
   * @param {string} ref  "r1203c4"
   * @param {string} text  what stands there
   */
  quote(ref, text) {
    const line = text.replace(/\s+/g, " ").trim();
    const letters = [...line];
    const short = letters.length > QUOTED ? `${letters.slice(0, QUOTED).join("").trim()}…` : line;
    const { value, selectionStart, selectionEnd } = this.#field;
    const before = value.slice(0, selectionStart);
    const gap = before === "" || /\s$/.test(before) ? "" : " ";
    this.#side.open("chat");
    this.#field.focus({ preventScroll: true });
    this.#field.setRangeText(`${gap}${ref} ${short ? `“${short}” ` : ""}`, selectionStart, selectionEnd, "end");
    this.#written();
  }

  // Internal

  /** @param {import("./types.js").ChatMessage} chat */
  #hear({ messages, whole }) {
    if (whole) this.#heard = { messages, whole };
    else this.#heard.messages.push(...messages);
    clearTimeout(this.#showTimer);
    const wait = this.#shownAt + PACE_MS - Date.now();
    if (wait > 0 && wait <= PACE_MS) this.#showTimer = window.setTimeout(() => this.#showHeard(), wait);
    else this.#showHeard();
  }

  #showHeard() {
    const { messages, whole } = this.#heard;
    this.#heard = { messages: [], whole: false };
    this.#shownAt = Date.now();
    const own = new Set(messages.filter(({ id }) => this.#outbox.remove(id)).map(({ id }) => id));
    const fresh = this.#log.take(messages, whole);
    // What was said before this page came is not news.
    const news = this.#begun || !whole ? fresh.filter(({ id }) => !own.has(id)).length : 0;
    this.#begun = true;
    if (!this.#read()) this.#count(this.#unread + news);
  }

  #read() {
    return this.#log.atEnd && document.visibilityState === "visible";
  }

  #look() {
    this.#count(this.#read() ? 0 : this.#unread);
  }

  /** @param {number} unread */
  #count(unread) {
    this.#unread = unread;
    this.#title.unread = unread;
    this.#side.unread = unread;
    this.#newer.hidden = unread === 0 || this.#log.atEnd || !this.#log.visible;
    this.#newer.textContent = counted(unread, "new message");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    // An Enter that ends a composition belongs to it; Safari sends it late, with the old code.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#say();
  }

  get #most() {
    return this.#session.limits?.chat_characters ?? CHARACTERS;
  }

  #say() {
    const body = this.#field.value;
    this.#field.focus({ preventScroll: true });
    if (!body.trim() || length(body) > this.#most) return this.#written();
    this.#field.value = "";
    this.#written();
    this.#outbox.say(body);
    this.#log.toEnd();
    this.#look();
  }

  /** The field is as high as what is in it, up to six lines. */
  #written() {
    this.#field.style.height = "auto";
    const border = this.#field.offsetHeight - this.#field.clientHeight;
    if (this.#field.value) this.#field.style.height = `${this.#field.scrollHeight + border}px`;
    const count = length(this.#field.value);
    const over = count - this.#most;
    this.#hint.classList.toggle("bad", over > 0);
    this.#field.setAttribute("aria-invalid", String(over > 0));
    const text =
      over > 0
        ? `${number(count)} of ${number(this.#most)} characters: ${number(over)} too many to send.`
        : over > -NEAR
          ? `${number(count)} of ${number(this.#most)} characters`
          : "";
    if (this.#hint.textContent !== text) this.#hint.textContent = text;
  }

  #showMe() {
    this.#own.dataset.person = String(this.#me.color);
    need("bdi", HTMLElement, this.#own).textContent = this.#me.name;
  }

  #showOutgoing() {
    this.#log.keepingPlace(() => {
      const { entries } = this.#outbox;
      const wanted = new Set(entries.map(({ id }) => id));
      const shown = /** @type {HTMLElement[]} */ ([...this.#outgoing.children]);
      for (const element of shown) if (!wanted.has(element.dataset.id ?? "")) this.#leave(element);
      for (const entry of entries) {
        const element = shown.find(({ dataset }) => dataset.id === entry.id) ?? this.#outgoing.appendChild(outgoing(entry));
        if (element.dataset.state !== entry.state) this.#showState(element, entry);
        if (entry.state === "pending") need(".when", HTMLElement, element).textContent = this.#session.phase === "live" ? "sending…" : "waiting for the connection";
      }
    });
  }

  /**
   * A button that goes takes the focus with it; the field is where to go on.
   * @param {HTMLElement} element
   */
  #leave(element) {
    const inside = element.contains(document.activeElement);
    element.remove();
    if (inside) this.#field.focus({ preventScroll: true });
  }

  /**
   * @param {HTMLElement} element
   * @param {Outgoing} entry
   */
  #showState(element, { id, state, reason }) {
    const inside = element.querySelector(".fate")?.contains(document.activeElement);
    element.dataset.state = state;
    element.dataset.person = String(this.#me.color);
    need("bdi", HTMLElement, element).textContent = this.#me.name;
    const fate = need(".fate", HTMLElement, element);
    if (state === "pending") {
      fate.replaceChildren();
      if (inside) this.#field.focus({ preventScroll: true });
      return;
    }
    need(".when", HTMLElement, element).textContent = "not sent";
    const retry = make("button", { type: "button", "data-action": "retry-message" }, "Retry");
    const discard = make("button", { type: "button", "data-action": "discard-message" }, "Discard");
    retry.addEventListener("click", () => this.#outbox.retry(id));
    discard.addEventListener("click", () => this.#outbox.remove(id));
    fate.replaceChildren(make("p", {}, `Not sent: ${reason}`), ...(this.#session.phase === "closed" ? [] : [retry]), discard);
    this.#announce(`A message was not sent: ${reason}`);
  }

  /** @param {boolean} whole  after a pause: nobody saw it happen */
  #tableChanged(whole) {
    const { document: table, page } = this.#session.registers;
    if (!table?.complete) return;
    const isNew = table.version > this.#version;
    const isBack = !isNew && this.#shown !== 0 && table.version !== this.#shown;
    this.#version = this.#newestVersion();
    this.#shown = table.version;
    if (whole) return;
    const version = `ersion ${number(table.version)}`;
    const name = make("bdi", {}, table.name);
    if (isNew) this.#note(table.by, [` uploaded v${version}, `, name], [`V${version} was uploaded, `, name]);
    else if (isBack) this.#note(page?.document === table.id ? page.by : null, [` shows v${version} again, `, name], [`V${version} is shown again, `, name]);
  }

  /**
   * @param {import("./types.js").Actor|null|undefined} by
   * @param {(string|Node)[]} did  behind a name
   * @param {(string|Node)[]} happened  without one
   */
  #note(by, did, happened) {
    if (by) this.#log.note(make("bdi", { "data-person": String(by.color) }, by.name), ...did);
    else this.#log.note(...happened);
  }

  #newestVersion() {
    const { document: table, versions } = this.#session.registers;
    return Math.max(0, table?.complete ? table.version : 0, ...(versions ?? []).map(({ version }) => version));
  }
}

/**
 * A message that the room does not have yet.
 * @param {Outgoing} entry
 */
function outgoing({ id, body }) {
  const who = make("p", { class: "who" }, make("bdi"), " ", make("span", { class: "when" }));
  return make("div", { class: "said", "data-id": id }, who, make("div", { class: "message", dir: "auto" }, body), make("div", { class: "fate" }));
}

/**
 * Code points, which is what the server counts as characters.
 * @param {string} text
 */
function length(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
