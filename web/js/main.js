// Wires the room's page when it was loaded as a page.
import { Access } from "./access.js";
import { need } from "./dom.js";
import { pageInHtml } from "./hydrate.js";
import { takeKeyFromAddress } from "./keys.js";
import { Me } from "./me.js";
import { RoomPage } from "./room.js";
import { Session } from "./session.js";

const offered = takeKeyFromAddress();
/** @type {import("./types.js").Boot} */
const boot = JSON.parse(need("#boot", HTMLElement).textContent ?? "");
const session = new Session(boot.uuid);
const access = new Access(session, offered);
const me = new Me(session);
session.begin(boot, pageInHtml(boot));
new RoomPage(session, access, me).start();
// Where nothing is any more, nothing is waited for.
if (!access.isDeleted) session.open();
// ?page= is for reading without scripts; with them everyone is on the room's page.
if (location.search) history.replaceState(null, "", location.pathname + location.hash);
