import { make } from "./dom.js";

/**
 * A person as a disc with two letters; the name stands beside it or in a title, never in it alone.
 * @param {{name: string, color: number}} person
 */
export function face(person) {
  const disc = make("span", { class: "face", "aria-hidden": "true" });
  paint(disc, person);
  return disc;
}

/**
 * @param {HTMLElement} disc
 * @param {{name: string, color: number}} person
 */
export function paint(disc, { name, color }) {
  disc.dataset.person = String(color);
  const letters = initials(name);
  if (disc.textContent !== letters) disc.textContent = letters;
}

/**
 * "Otter" -> "OT", "Ada Lovelace" -> "AL".
 * @param {string} name
 */
function initials(name) {
  const words = name.split(/[\s._-]+/u).filter((word) => /[\p{L}\p{N}]/u.test(word));
  if (words.length === 0) return letters(name).slice(0, 1).join("");
  const first = letters(words[0]);
  // Joined or doubled, the letters of these would not be read as two.
  const latin = /^[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{N}]/u.test(words[0]);
  const two = words.length > 1 ? [first[0], letters(words[1])[0]] : first.slice(0, 2);
  return (latin ? two : two.slice(0, 1)).join("").toUpperCase();
}

const SEGMENTER = "Segmenter" in Intl ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null;

/**
 * What a reader takes for single letters: an accent or a flag is not cut in two.
 * @param {string} text
 */
function letters(text) {
  return SEGMENTER ? [...SEGMENTER.segment(text)].map(({ segment }) => segment) : [...text];
}
