/** @typedef {import("./table.js").TableView} TableView */

const STEP_PX = 16;
const LEAP_PX = 64;

/** Columns made wider and narrower, by pointer and by keys. */
export class Resizer {
  /** @type {TableView} */
  #view;
  /** @type {(text: string) => void} */
  #announce;

  /**
   * @param {TableView} view
   * @param {(text: string) => void} announce
   */
  constructor(view, announce) {
    this.#view = view;
    this.#announce = announce;
  }

  // API

  start() {
    const table = this.#view.element;
    table.addEventListener("pointerdown", (event) => this.#hold(event));
    table.addEventListener("dblclick", (event) => this.#fit(event));
    table.addEventListener("keydown", (event) => this.#key(event));
  }

  // Internal

  /**
   * @param {Event} event
   * @returns {{grip: HTMLElement, column: number}|null}
   */
  #gripOf(event) {
    const grip = event.target instanceof HTMLElement ? event.target.closest(".grip") : null;
    const column = this.#view.placeOf(grip)?.column;
    return grip instanceof HTMLElement && column !== undefined ? { grip, column } : null;
  }

  /** @param {PointerEvent} event */
  #hold(event) {
    const held = this.#gripOf(event);
    if (!held || event.button !== 0) return;
    event.preventDefault();
    const { grip, column } = held;
    const from = event.clientX;
    const width = this.#view.columns.width(column);
    grip.setPointerCapture(event.pointerId);
    grip.classList.add("held");
    this.#view.element.classList.add("resizing");
    const move = /** @param {PointerEvent} moved */ (moved) => {
      if (Math.abs(moved.clientX - from) > 1) this.#set(grip, column, width + moved.clientX - from);
    };
    const release = () => {
      grip.classList.remove("held");
      this.#view.element.classList.remove("resizing");
      grip.removeEventListener("pointermove", move);
    };
    grip.addEventListener("pointermove", move);
    grip.addEventListener("lostpointercapture", release, { once: true });
  }

  /** @param {MouseEvent} event */
  #fit(event) {
    const held = this.#gripOf(event);
    if (!held) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.#view.columns.chooseNatural(held.column);
    this.#view.layOut();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const held = this.#gripOf(event);
    if (!held) return;
    const { grip, column } = held;
    const step = event.shiftKey ? LEAP_PX : STEP_PX;
    const width = this.#view.columns.width(column);
    if (event.key === "ArrowLeft") this.#set(grip, column, width - step);
    else if (event.key === "ArrowRight") this.#set(grip, column, width + step);
    else if (event.key === "Home" || event.key === " ") this.#view.columns.chooseNatural(column);
    else if (event.key === "Enter" || event.key === "Escape") this.#view.element.focus({ preventScroll: true });
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.#view.layOut();
    this.#tell(grip, column);
    this.#announce(`${Math.round(this.#view.columns.width(column))} pixels wide`);
  }

  /**
   * @param {HTMLElement} grip
   * @param {number} column
   * @param {number} width
   */
  #set(grip, column, width) {
    this.#view.columns.choose(column, width);
    this.#view.layOut();
    this.#tell(grip, column);
  }

  /**
   * @param {HTMLElement} grip
   * @param {number} column
   */
  #tell(grip, column) {
    grip.setAttribute("aria-valuenow", String(Math.round(this.#view.columns.width(column))));
  }
}
