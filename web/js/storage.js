// The browser's storage, which may be full or forbidden: then things are remembered until the page
// is left.

/** @type {Map<string, string>} */
const unstored = new Map();

/**
 * @param {string} name
 * @returns {string|null}
 */
export function recall(name) {
  try {
    return localStorage.getItem(name) ?? unstored.get(name) ?? null;
  } catch {
    return unstored.get(name) ?? null;
  }
}

/**
 * @param {string} name
 * @param {string} value
 */
export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
    unstored.delete(name);
  } catch {
    unstored.set(name, value);
  }
}

/** @param {string} name */
export function forget(name) {
  unstored.delete(name);
  try {
    localStorage.removeItem(name);
  } catch {
    // What is forbidden was never kept.
  }
}
