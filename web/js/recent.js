// The rooms that this browser was in lately, in its storage and nowhere else.
import { recall, remember } from "./storage.js";

/** @typedef {import("./types.js").Role} Role */
/**
 * @typedef {object} RecentRoom
 * @property {string} uuid
 * @property {string} name  of the table that was shown last; empty: there was none
 * @property {number} at  ms since 1970: when this browser was there last
 * @property {Role} role
 */

const PLACE = "tablecast.recent";
const MOST = 20;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** @type {readonly string[]} */
const ROLES = ["guest", "presenter", "owner"];

/** @returns {RecentRoom[]} the latest first */
export function recentRooms() {
  try {
    const kept = JSON.parse(recall(PLACE) ?? "[]");
    return Array.isArray(kept) ? kept.filter(isRoom).slice(0, MOST) : [];
  } catch {
    return [];
  }
}

/** @param {RecentRoom} room */
export function rememberRoom(room) {
  keep([room, ...recentRooms().filter(({ uuid }) => uuid !== room.uuid)].sort((one, other) => other.at - one.at));
}

/** @param {string} uuid */
export function forgetRoom(uuid) {
  keep(recentRooms().filter((room) => room.uuid !== uuid));
}

export function forgetAllRooms() {
  keep([]);
}

/**
 * Note that this browser is in a room, for as long as it is.
 * @param {import("./session.js").Session} session
 * @param {import("./access.js").Access} access
 */
export function noteVisit(session, access) {
  const note = () => {
    if (access.isDeleted) return;
    const before = recentRooms().find(({ uuid }) => uuid === session.uuid);
    const known = session.phase === "live" && !session.degraded;
    const { document: table } = session.registers;
    const name = table?.name ?? (known ? "" : (before?.name ?? ""));
    rememberRoom({ uuid: session.uuid, name, at: Date.now(), role: known ? access.role : (before?.role ?? access.role) });
  };
  let noted = "";
  const noteNews = () => {
    const news = `${access.role} ${session.registers.document?.name}`;
    if (news === noted || session.phase !== "live") return;
    noted = news;
    note();
  };
  session.on("registers", noteNews);
  access.on("change", noteNews);
  addEventListener("pagehide", note);
  note();
}

/** @param {RecentRoom[]} rooms */
function keep(rooms) {
  remember(PLACE, JSON.stringify(rooms.slice(0, MOST)));
}

/**
 * @param {any} room
 * @returns {room is RecentRoom}
 */
function isRoom(room) {
  return (
    typeof room === "object" && room !== null && UUID.test(room.uuid) && typeof room.name === "string" && Number.isFinite(room.at) && ROLES.includes(room.role)
  );
}
