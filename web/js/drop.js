import { need } from "./dom.js";
import { fileSize } from "./format.js";

/**
 * A file from a drop anywhere on the page or from a file button.
 */
export class DropZone {
  #input = need("#file", HTMLInputElement);
  /** @type {(file: File) => void} */
  #taken;
  /** @type {(problem: string) => void} */
  #problem;
  /** @type {(over: boolean) => void} */
  #over;
  /** @type {() => string} */
  #obstacle;
  #depth = 0;

  /**
   * @param {object} options
   * @param {(file: File) => void} options.taken
   * @param {(problem: string) => void} options.problem
   * @param {(over: boolean) => void} options.over  a file is held over the page, or no longer
   * @param {() => string} [options.obstacle]  why this viewer may choose none; empty: may
   */
  constructor({ taken, problem, over, obstacle = () => "" }) {
    this.#taken = taken;
    this.#problem = problem;
    this.#over = over;
    this.#obstacle = obstacle;
  }

  // API

  /** @param {AbortSignal} [signal] */
  start(signal) {
    for (const button of document.querySelectorAll('[data-action="choose"], [data-action="upload"]')) {
      button.addEventListener("click", () => this.#choose());
    }
    this.#input.addEventListener("change", () => {
      const file = this.#input.files?.[0];
      if (file) this.#taken(file);
      // The same file may be chosen again after a failure.
      this.#input.value = "";
    });
    addEventListener("dragenter", (event) => this.#enter(event), { signal });
    addEventListener("dragover", (event) => this.#hold(event), { signal });
    addEventListener("dragleave", (event) => this.#leave(event), { signal });
    addEventListener("drop", (event) => this.#drop(event), { signal });
  }

  // Internal

  #choose() {
    const obstacle = this.#obstacle();
    if (obstacle) this.#problem(obstacle);
    else this.#input.click();
  }

  /** @param {DragEvent} event */
  #enter(event) {
    if (!hasFiles(event)) return;
    event.preventDefault();
    this.#depth += 1;
    if (this.#depth === 1) this.#over(true);
  }

  /** @param {DragEvent} event */
  #hold(event) {
    if (!hasFiles(event)) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = "copy";
  }

  /** @param {DragEvent} event */
  #leave(event) {
    if (!hasFiles(event)) return;
    this.#depth = Math.max(0, this.#depth - 1);
    if (this.#depth === 0) this.#over(false);
  }

  /** @param {DragEvent} event */
  #drop(event) {
    this.#depth = 0;
    this.#over(false);
    if (!hasFiles(event)) return;
    event.preventDefault();
    const items = event.dataTransfer?.items;
    const files = event.dataTransfer?.files;
    if (items?.[0]?.webkitGetAsEntry?.()?.isDirectory) return this.#problem("That is a folder. Drop one file of the table instead.");
    if (!files?.length) return;
    if (files.length > 1) return this.#problem(`Those are ${files.length} files, and a room shows one table. Drop one of them.`);
    this.#taken(files[0]);
  }
}

/**
 * Why a file would be refused anyway, said before a byte is sent.
 * @param {File} file
 * @param {number|undefined} limit  bytes
 * @returns {string} empty if nothing speaks against it
 */
export function objection(file, limit) {
  if (file.size === 0) return `“${file.name}” is empty, so there is nothing to show. Nothing was changed.`;
  if (limit !== undefined && file.size > limit) {
    return `“${file.name}” is ${fileSize(file.size)}; a table may be up to ${fileSize(limit)}. Nothing was changed.`;
  }
  return "";
}

/** @param {DragEvent} event */
function hasFiles(event) {
  return event.dataTransfer?.types.includes("Files") ?? false;
}
