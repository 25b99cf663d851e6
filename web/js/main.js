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
const shown = pageInHtml(boot);
// A link to a page opens there for its reader alone, as one to a row does.
const asked = new URLSearchParams(location.search).has("page") && shown !== null && shown.first_row - 1 !== (boot.state?.set.page?.offset ?? 0);
session.begin(boot, asked ? null : shown);
new RoomPage(session, access, me, asked ? shown : null).start();
// Where nothing is any more, nothing is waited for.
if (!access.isDeleted) session.open();
// What is shown from now on is another matter than what was asked for.
if (location.search) history.replaceState(null, "", location.pathname + location.hash);
