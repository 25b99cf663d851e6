import { make, need } from "./dom.js";
import { fileSize, sizeOfSize } from "./format.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./types.js").UploadValue} UploadValue */

/** A file that arrives, as the whole room sees it; whoever sends it can also cancel, or go on. */
export class Progress {
  /** @type {Session} */
  #session;
  #line = need("#upload-progress", HTMLElement);
  #text = need("#upload-text", HTMLElement);
  #bar = need("#upload-bar", HTMLProgressElement);
  #again = need("#upload-again", HTMLElement);
  #cancel = need('[data-action="cancel"]', HTMLElement);
  /** How far an upload was known to be: one that goes on may begin a little earlier, the bar does not. */
  #most = { id: "", received: 0 };
  #frame = 0;

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
  }

  // API

  start() {
    this.#cancel.addEventListener("click", () => {
      if (this.#session.uploader) this.#session.uploader.cancel();
      else this.#session.abandon();
      this.#show();
    });
    for (const event of /** @type {const} */ (["registers", "acknowledged", "uploaded", "phase"])) {
      this.#session.on(event, () => this.#showSoon());
    }
    this.#show();
  }

  // Internal

  /** Acknowledgements come by the hundred a second; nobody sees more than one a frame. */
  #showSoon() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#show();
    });
  }

  #show() {
    const mine = this.#session.uploader;
    // Without a connection nothing arrives here, and how far it is elsewhere is not known.
    const lost = this.#session.phase === "reconnecting" || this.#session.phase === "closed";
    const upload = (lost ? null : this.#session.registers.upload) ?? null;
    const unfinished = lost ? null : this.#session.unfinished;
    this.#line.hidden = !mine && !upload;
    this.#cancel.hidden = !mine && !unfinished;
    this.#again.hidden = !unfinished;
    if (!mine && !upload) return;
    const own = mine && (!upload || upload.id === mine.id) ? mine : null;
    const name = upload?.name ?? mine?.file.name ?? "";
    const size = own ? own.file.size : (upload?.size ?? null);
    const received = this.#furthest(own?.id || (upload?.id ?? ""), Math.max(own?.received ?? 0, upload?.received ?? 0));
    const amount = size === null ? fileSize(received) : sizeOfSize(received, size);
    const [before, behind, after] = this.#words(upload, own !== null, unfinished !== null);
    this.#text.replaceChildren(before, make("bdi", {}, name), `${behind} — ${amount}${after}`);
    this.#line.classList.toggle("paused", Boolean(own ? own.isWaiting : upload?.paused));
    if (size) this.#bar.value = Math.floor((1000 * received) / size);
    else this.#bar.removeAttribute("value");
  }

  /**
   * What is said before the name, behind it, and behind the amount.
   * @param {UploadValue|null} upload
   * @param {boolean} isOwn
   * @param {boolean} isUnfinished
   */
  #words(upload, isOwn, isUnfinished) {
    if (isOwn && this.#session.uploader?.isWaiting) {
      const how = this.#session.phase === "live" ? "Going on in a moment." : "Connection lost, going on as soon as it is back.";
      return ["Sending ", "", `. ${how}`];
    }
    if (isOwn) return ["Sending ", "", ""];
    if (isUnfinished) return ["Choose ", " again to go on", ""];
    if (upload?.kind === "recut") return ["Reading ", " again…", ""];
    if (upload?.paused) return ["Receiving ", "", ". Paused: waiting for the sender to come back."];
    return ["Receiving ", "", ""];
  }

  /**
   * @param {string} id
   * @param {number} received
   */
  #furthest(id, received) {
    if (this.#most.id !== id) this.#most = { id, received };
    this.#most.received = Math.max(this.#most.received, received);
    return this.#most.received;
  }
}
