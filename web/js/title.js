/** The window's title: what is shown, and how much was said that nobody has read here. */
export class WindowTitle {
  #name = "";
  #unread = 0;

  /** @param {string} name  of the table; empty without one */
  set name(name) {
    this.#name = name;
    this.#show();
  }

  /** @param {number} count */
  set unread(count) {
    this.#unread = count;
    this.#show();
  }

  #show() {
    const count = this.#unread ? `(${this.#unread > 99 ? "99+" : this.#unread}) ` : "";
    const title = `${count}${this.#name ? `${this.#name} · ` : ""}Tablecast`;
    if (document.title !== title) document.title = title;
  }
}
