import { make, need } from "./dom.js";
import { number } from "./format.js";

/** Says whether this viewer follows the room, and lets them leave and come back. */
export class Following {
  /** @type {import("./session.js").Session} */
  #session;
  /** @type {import("./access.js").Access} */
  #access;
  /** @type {import("./browse.js").Browse} */
  #browse;
  /** @type {(text: string) => void} */
  #announce;
  #line = need("#following", HTMLElement);
  #text = need("p", HTMLElement, this.#line);
  #leave = need('[data-action="browse"]', HTMLElement, this.#line);
  #rejoin = need('[data-action="rejoin"]', HTMLElement, this.#line);
  #bring = need('[data-action="bring"]', HTMLElement, this.#line);

  /**
   * @param {import("./session.js").Session} session
   * @param {object} parts
   * @param {import("./access.js").Access} parts.access
   * @param {import("./browse.js").Browse} parts.browse
   * @param {(text: string) => void} parts.announce
   */
  constructor(session, { access, browse, announce }) {
    this.#session = session;
    this.#access = access;
    this.#browse = browse;
    this.#announce = announce;
  }

  // API

  start() {
    this.#leave.addEventListener("click", () => this.toggle());
    this.#rejoin.addEventListener("click", () => this.toggle());
    this.#bring.addEventListener("click", () => this.#browse.bringEveryone());
    this.#session.on("page", () => this.#show());
    this.#session.on("registers", () => this.#show());
    this.#access.on("change", () => this.#show());
    this.#browse.on("change", (browsing) => this.#changed(browsing));
    this.#browse.on("page", () => this.#show());
    this.#show();
  }

  toggle() {
    if (this.#browse.browsing) this.#browse.follow();
    else this.#browse.browse();
  }

  // Internal

  /** @param {boolean} browsing */
  #changed(browsing) {
    const inside = this.#line.contains(document.activeElement);
    this.#show();
    // The button that was pressed is gone; the other one stands in its place.
    if (inside) (browsing ? this.#rejoin : this.#leave).focus({ preventScroll: true });
    if (browsing) this.#announce("You are browsing on your own");
  }

  #show() {
    const { browsing, roomPage, page, pages } = this.#browse;
    this.#line.dataset.state = browsing ? "browsing" : "following";
    // With a single page there is nothing to leave.
    this.#line.hidden = !browsing && pages < 2;
    this.#text.title = browsing ? `The room is on page ${number(this.#browse.roomPageNo)}` : "";
    if (!browsing) this.#text.textContent = this.#access.canTurn ? "Following the room" : "Following the presenter";
    else this.#text.replaceChildren(make("span", { class: "long" }, "The room is on "), make("span", { class: "short" }, "Room: "), `page ${number(this.#browse.roomPageNo)}`);
    this.#leave.hidden = browsing;
    this.#rejoin.hidden = !browsing;
    const same = roomPage?.document === page?.document && roomPage?.first_row === page?.first_row;
    this.#bring.hidden = !browsing || !this.#access.canTurn || same;
  }
}
