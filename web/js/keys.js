// The keys of rooms that this browser holds, by the rooms' UUIDs, in its storage.
import { forget, recall, remember } from "./storage.js";

/** What a link that grants something carries behind its address. */
const IN_ADDRESS = /^#key=([^&]+)$/;

/** @param {string} uuid */
const place = (uuid) => `tablecast.key.${uuid}`;

/** @param {string} uuid */
export function keyOf(uuid) {
  return recall(place(uuid)) ?? "";
}

/**
 * @param {string} uuid
 * @param {string} key
 */
export function keepKey(uuid, key) {
  remember(place(uuid), key);
}

/** @param {string} uuid */
export function forgetKey(uuid) {
  forget(place(uuid));
}

/**
 * Take a key out of the address bar, before anything can show, log or send the address.
 * @returns {string} empty if there is none
 */
export function takeKeyFromAddress() {
  const found = IN_ADDRESS.exec(location.hash);
  if (!found) return "";
  history.replaceState(history.state, "", location.pathname + location.search);
  return decoded(found[1]);
}

/**
 * The address that grants what `key` grants. The part behind # is never sent to a server.
 * @param {string} address  the room's
 * @param {string} key
 */
export function linkWithKey(address, key) {
  return `${address}#key=${encodeURIComponent(key)}`;
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
