import { make } from "./dom.js";

/** Where a message may link to: pages of the web, and rows of this table. */
const LINK = /^(https?:\/\/|#r\d)/i;

/**
 * What the server made of a message, taken apart and made anew: text, line breaks and links, and
 * nothing else, whoever it came from.
 * @param {string} html
 * @returns {Node[]} without `div.message` around it; empty if there is no such thing
 */
export function messageContent(html) {
  // A parsed document has no window: nothing in it runs or loads.
  const parsed = new DOMParser().parseFromString(html, "text/html");
  const message = parsed.querySelector("div.message");
  return message ? [...message.childNodes].flatMap(remade) : [];
}

/**
 * @param {Node} node
 * @returns {Node[]}
 */
function remade(node) {
  if (node instanceof Text) return [document.createTextNode(node.data)];
  if (node instanceof HTMLBRElement) return [make("br")];
  if (!(node instanceof Element) || /^(script|style|template)$/i.test(node.localName)) return [];
  const content = [...node.childNodes].flatMap(remade);
  const href = node instanceof HTMLAnchorElement ? (node.getAttribute("href") ?? "") : "";
  if (!LINK.test(href)) return content;
  /** @type {Record<string, string>} */
  const attributes = href.startsWith("#")
    ? { class: "ref", href, title: "Go to this place in the table" }
    : { href, target: "_blank", rel: "noopener noreferrer nofollow" };
  return [make("a", attributes, ...content)];
}
