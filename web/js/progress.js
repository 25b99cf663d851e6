import { make, need } from "./dom.js";
import { fileSize, sizeOfSize } from "./format.js";

/** @typedef {import("./session.js").Session} Session */

/** A file that arrives, as the whole room sees it; whoever sends it can also cancel. */
export class Progress {
  /** @type {Session} */
  #session;
  #line = need("#upload-progress", HTMLElement);
  #text = need("#upload-text", HTMLElement);
  #bar = need("#upload-bar", HTMLProgressElement);
  #cancel = need('[data-action="cancel"]', HTMLElement);

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
  }

  // API

  start() {
    this.#cancel.addEventListener("click", () => this.#session.uploader?.cancel());
    this.#session.on("registers", () => this.#show());
    this.#session.on("acknowledged", () => this.#show());
    this.#session.on("uploaded", () => this.#show());
    this.#session.on("phase", () => this.#show());
    this.#show();
  }

  // Internal

  #show() {
    const mine = this.#session.uploader;
    // Without a connection nothing arrives here, and how far it is elsewhere is not known.
    const lost = this.#session.phase === "reconnecting" || this.#session.phase === "closed";
    const upload = lost ? null : this.#session.registers.upload;
    this.#line.hidden = !mine && !upload;
    this.#cancel.hidden = !mine;
    if (!mine && !upload) return;
    const own = mine && (!upload || upload.id === mine.id) ? mine : null;
    const name = upload?.name ?? mine?.file.name ?? "";
    const size = own ? own.file.size : (upload?.size ?? null);
    const received = Math.max(own?.received ?? 0, upload?.received ?? 0);
    const amount = size === null ? fileSize(received) : sizeOfSize(received, size);
    this.#text.replaceChildren(own ? "Sending " : "Receiving ", make("bdi", {}, name), ` — ${amount}`);
    if (size) this.#bar.value = Math.floor((1000 * received) / size);
    else this.#bar.removeAttribute("value");
  }
}
