import { make, need } from "./dom.js";
import { number } from "./format.js";
import { forgetAllRooms, forgetRoom, recentRooms, rememberRoom } from "./recent.js";

/** @typedef {import("./recent.js").RecentRoom} RecentRoom */

/** How many show before somebody asks for more. */
const FIRST = 5;
const BADGES = { guest: "", presenter: "you present", owner: "yours" };
/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000]];
const WEEK_MS = 7 * 86_400_000;

/** The start page's way back into the rooms that this browser was in lately. */
export class RecentList {
  #list = need("#recent-list", HTMLElement);
  #none = need("#recent-none", HTMLElement);
  #more = need('[data-action="more-rooms"]', HTMLElement);
  #clear = need('[data-action="forget-rooms"]', HTMLElement);
  #status = need("#recent-status", HTMLElement);
  #said = need("#recent-said", HTMLElement);
  #undo = need('[data-action="undo-forget"]', HTMLElement);
  #all = false;
  /** @type {RecentRoom[]} what was removed last, and can come back */
  #removed = [];
  #relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  #date = new Intl.DateTimeFormat("en", { day: "numeric", month: "long" });
  #exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

  // API

  /** @param {AbortSignal} [signal] */
  start(signal) {
    this.#more.addEventListener("click", () => {
      this.#all = true;
      this.#show();
      this.#focus(FIRST);
    });
    this.#clear.addEventListener("click", () => {
      const rooms = recentRooms();
      forgetAllRooms();
      this.#gone(rooms, "The list is empty.");
    });
    this.#undo.addEventListener("click", () => {
      this.#removed.forEach(rememberRoom);
      const first = this.#removed[0]?.uuid;
      this.#removed = [];
      this.#show();
      this.#focus(recentRooms().findIndex(({ uuid }) => uuid === first));
    });
    // Another window, or the way back to this one.
    addEventListener("storage", () => this.#show(), { signal });
    addEventListener("pageshow", () => this.#show(), { signal });
    this.#show();
  }

  // Internal

  #show() {
    const rooms = recentRooms();
    const shown = this.#all ? rooms : rooms.slice(0, FIRST);
    this.#list.replaceChildren(...shown.map((room) => this.#item(room)));
    this.#list.hidden = rooms.length === 0;
    this.#none.hidden = rooms.length > 0;
    this.#clear.hidden = rooms.length < 2;
    this.#more.hidden = shown.length === rooms.length;
    this.#more.textContent = `Show ${number(rooms.length - shown.length)} more`;
    this.#status.hidden = this.#removed.length === 0;
  }

  /** @param {RecentRoom} room */
  #item(room) {
    const { uuid, at, role } = room;
    const name = room.name || "A room without a table";
    const when = make("time", { datetime: new Date(at).toISOString(), title: this.#exact.format(at) }, this.#ago(at));
    const link = make("a", { href: `/t/${uuid}` }, make("bdi", { class: room.name ? "" : "unnamed" }, name));
    const remove = make("button", { type: "button", class: "quiet square", "data-action": "forget-room", title: "Remove from this list", "aria-label": `Remove ${name} from this list` }, "✕");
    remove.addEventListener("click", () => {
      forgetRoom(uuid);
      this.#gone([room], `“${name}” is off the list; the room itself stays.`);
    });
    const facts = make("p", {}, when);
    if (BADGES[role]) facts.append(make("span", { class: "badge" }, BADGES[role]));
    return make("li", { "data-room": uuid, "data-role": role }, link, facts, remove);
  }

  /**
   * @param {RecentRoom[]} rooms
   * @param {string} text
   */
  #gone(rooms, text) {
    this.#removed = rooms;
    this.#said.textContent = text;
    this.#show();
    this.#undo.focus();
  }

  /** @param {number} index */
  #focus(index) {
    this.#list.querySelectorAll("a")[Math.max(0, index)]?.focus();
  }

  /** @param {number} at */
  #ago(at) {
    const age = Date.now() - at;
    if (age > WEEK_MS) return this.#date.format(at);
    const [unit, size] = UNITS.find(([, size]) => age >= size) ?? ["minute", 60_000];
    return age < 60_000 ? "just now" : this.#relative.format(-Math.floor(age / size), unit);
  }
}
