/**
 * The element that `selector` names; a page without it is broken, and says so.
 * @template {Element} T
 * @param {string} selector
 * @param {{new (): T}} type
 * @param {ParentNode} [root]
 * @returns {T}
 */
export function need(selector, type, root = document) {
  const found = root.querySelector(selector);
  if (!(found instanceof type)) throw new Error(`This page has no ${selector}`);
  return found;
}

/**
 * A new element. `content` becomes text nodes, never markup.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(string|Node)} content
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, attributes = {}, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...content);
  return element;
}

/**
 * A button that says why it does nothing has to stay within reach: it is marked, not disabled.
 * @param {Element} button
 * @param {string} why  empty: it works
 * @param {string} [told]  the id of the element that tells why
 */
export function refuse(button, why, told) {
  if (why) button.setAttribute("aria-disabled", "true");
  else button.removeAttribute("aria-disabled");
  if (why && told) button.setAttribute("aria-describedby", told);
  else if (told) button.removeAttribute("aria-describedby");
}

/**
 * Whether keys pressed in `target` belong to it: fields keep all of theirs.
 * @param {EventTarget|null} target
 */
export function takesText(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return target.type !== "range";
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}
