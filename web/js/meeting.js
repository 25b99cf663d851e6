import { Chat } from "./chat.js";
import { need } from "./dom.js";
import { People } from "./people.js";
import { refTo, Refs } from "./refs.js";
import { Side } from "./side.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./me.js").Me} Me */
/** @typedef {{row: number, text: string, column: number|null}} Quotable  both count from 1 */

/** What makes a table on everyone's screen a meeting: who is here, and what they say. */
export class Meeting {
  /** @type {Me} */
  #me;
  /** @type {Side} */
  #side;
  /** @type {Chat} */
  #chat;
  /** @type {People} */
  #people;
  /** @type {Refs} */
  #refs;
  /** @type {() => Quotable|null} */
  #quotable;

  /**
   * @param {Session} session
   * @param {object} with_
   * @param {Me} with_.me
   * @param {import("./browse.js").Browse} with_.browse
   * @param {import("./title.js").WindowTitle} with_.title
   * @param {() => Quotable|null} with_.quotable  the place that is selected in the table
   * @param {() => void} with_.uncover  takes away what lies over chat and people
   * @param {(text: string) => void} with_.announce
   */
  constructor(session, { me, browse, title, quotable, uncover, announce }) {
    const side = new Side(uncover);
    this.#side = side;
    this.#me = me;
    this.#chat = new Chat(session, { me: this.#me, side, title, announce });
    this.#people = new People(session, { me: this.#me, side, look: (pageNo) => browse.browse(pageNo) });
    this.#refs = new Refs(
      (row, column) => browse.show(row, column),
      () => {
        // What was asked for would lie below the sheet.
        if (side.isSheet) side.close();
      },
    );
    this.#quotable = quotable;
  }

  // API

  start() {
    this.#side.start();
    this.#chat.start();
    this.#people.start();
    this.#refs.start();
    need('[data-action="quote"]', HTMLElement).addEventListener("click", () => {
      const place = this.#quotable();
      if (place) this.#chat.quote(refTo(place.row, place.column), place.text);
    });
  }
}
