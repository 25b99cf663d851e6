/**
 * The wire, as docs/PROTOCOL.md tells it: register values and messages.
 *
 * @typedef {{encoding: string, delimiter: string, quote: string, escape?: string, header: boolean}} Dialect
 *
 * @typedef {object} DocumentValue  Counts grow while `complete` is false.
 * @property {string} id
 * @property {number} version
 * @property {string} name
 * @property {number|null} size  bytes of the whole file; null while unknown
 * @property {number} stored  bytes that can be read so far
 * @property {number} rows
 * @property {number} columns
 * @property {ReportValue|null} [report]  what was understood of the file
 * @property {boolean} complete
 * @property {number} [created]  ms since 1970
 * @property {Dialect} dialect
 * @property {Actor|null} [by]  who sent it
 * @property {Actor|null} [corrected_by]  who last chose how it is read
 * @property {string[]|null} [sheets]  of the workbook that it was made of
 * @property {string|null} [sheet]  the one that is shown
 *
 * @typedef {{id: string, name: string, color: number}} Actor
 *   Who did something; `id` is the viewer's, empty for a program. `color` counts from 0 to 9.
 *
 * @typedef {"guest"|"presenter"|"owner"} Role
 *
 * @typedef {object} PageValue
 * @property {string} document
 * @property {number} offset
 * @property {number} size
 * @property {Actor|null} [by]  who turned to it
 * @property {number} [at]  ms since 1970
 * @property {{document: string, offset: number}|null} [back]  where the room was before
 *
 * @typedef {object} UploadValue
 * @property {string} id
 * @property {string} name
 * @property {number|null} size
 * @property {number} received
 * @property {DocumentValue|null} [previous]
 * @property {string|null} [kind]  "recut": the shown document is read again
 * @property {boolean} [paused]  whoever sends it has lost the connection
 * @property {Actor|null} [by]
 *
 * @typedef {object} ReportValue  How the document is read, and what was found odd.
 * @property {string} encoding
 * @property {string} encoding_why
 * @property {string} delimiter  one character; empty: each line is one cell
 * @property {string} quote
 * @property {string} escape
 * @property {boolean} header
 * @property {number} records
 * @property {number} columns
 * @property {number} ragged  records with another number of cells than the first
 * @property {number[]} ragged_records  the first of them, counted from 0
 * @property {number} replaced  characters shown as U+FFFD
 * @property {number} skipped  lines before the table
 * @property {string[]} notes
 * @property {string[]} [chosen]
 *
 * @typedef {object} RegisterValues
 * @property {DocumentValue|null} [document]
 * @property {PageValue|null} [page]
 * @property {UploadValue|null} [upload]
 * @property {DocumentValue[]|null} [versions]  complete documents, the newest first
 * @property {"open"|"presenting"|null} [mode]  absent: open
 * @property {boolean|null} [keyed]  whether somebody holds the room's key
 * @property {boolean|null} [invited]  whether there is a key for presenters
 * @property {number|null} [life]  seconds an idle room is kept, if it is not the server's usual
 * @property {{time: number}|null} [deleted]  the room is gone, and everything else with it
 *
 * @typedef {{row: number, column: number, size: number}} Cut
 *   A shortened cell. `row` counts from 1 (0: the header), `column` from 0; `size` in characters.
 *
 * @typedef {object} Limits
 * @property {number} document_bytes
 * @property {number} chunk_bytes
 * @property {number} window_bytes
 * @property {number} [chat_characters]
 * @property {number} [name_characters]
 *
 * @typedef {{type: "hello", viewer: string, node: string, uuid: string, limits: Limits, role?: Role}} HelloMessage
 * @typedef {{type: "state", uuid: string, epoch: string, rev: number, set: RegisterValues, whole?: boolean}} StateMessage
 *
 * @typedef {object} PageMessage
 * @property {"page"} type
 * @property {string} uuid
 * @property {string} document
 * @property {number} page_no
 * @property {number} page_size
 * @property {number} total_number
 * @property {number} first_row
 * @property {string[]} header
 * @property {string[][]} data
 * @property {Cut[]} cut
 * @property {number} [columns_left_out]
 * @property {number} [rev]
 * @property {boolean} [peek]
 *
 * @typedef {{id: string, name: string, color: number, page_no: number|null, browsing: boolean, role: Role}} Person
 * @typedef {{type: "here", count: number, people?: Person[]|null, pages?: Record<string, number>}} HereMessage
 *   `people` is null in a large room; `pages`: how many look at a page, by its number
 * @typedef {{id: string, rev: number, name: string, color: number, time: number, body: string, html: string}} ChatEntry
 * @typedef {{type: "chat", epoch: string, rev: number, whole: boolean, messages: ChatEntry[]}} ChatMessage
 * @typedef {{type: "role", role: Role}} RoleMessage
 * @typedef {{type: "point", viewer: string, name: string, color: number, row: number|null, document: string}} PointedMessage
 *   `row` counts from 1 (0: the header); null takes it back
 * @typedef {{type: "ack", upload: string, received: number, stored: number, done?: boolean, token?: string|null}} AckMessage
 * @typedef {{type: "heartbeat", epoch: string, rev: number}} HeartbeatMessage
 * @typedef {{type: "status", degraded: boolean}} StatusMessage
 * @typedef {{type: "error", code: string, message: string, retry: boolean, about?: string|null, id?: string|null}} ErrorMessage
 * @typedef {{type: "bye", reason: string, again: boolean}} ByeMessage
 * @typedef {HelloMessage|StateMessage|PageMessage|HereMessage|AckMessage|HeartbeatMessage|StatusMessage|ErrorMessage|ByeMessage|ChatMessage|RoleMessage|PointedMessage} ServerMessage
 *
 * @typedef {{type: "page"|"peek", page_no: number}} TurnMessage
 * @typedef {{type: "upload", name: string, size: number, sheet?: string, replace?: boolean, resume?: string}} UploadMessage
 * @typedef {{type: "dialect"} & Partial<Dialect>} DialectMessage  only what changes
 * @typedef {{type: "version", version: number}} VersionMessage
 * @typedef {{type: "upload_end"|"upload_cancel"|"heartbeat"|"follow"}} BareMessage
 * @typedef {{type: "sync", epoch: string, rev: number, chat_id?: string}} SyncMessage
 * @typedef {{type: "me", name: string, color?: number}} MeMessage
 * @typedef {{type: "chat", id: string, body: string}} SayMessage
 * @typedef {{type: "point", row: number|null}} PointMessage
 * @typedef {{type: "key", key: string}} KeyMessage
 * @typedef {TurnMessage|UploadMessage|DialectMessage|VersionMessage|BareMessage|SyncMessage|MeMessage|SayMessage|PointMessage|KeyMessage} ClientMessage
 *
 * @typedef {{uuid: string, state: {epoch: string, rev: number, set: RegisterValues, whole: true}|null}} Boot
 *   What the server put into the page: the state that its HTML shows; null if it could not be had.
 */

export {};
