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
 * @property {string[]|null} [sheets]  of the workbook that it was made of
 * @property {string|null} [sheet]  the one that is shown
 *
 * @typedef {{document: string, offset: number, size: number}} PageValue
 *
 * @typedef {object} UploadValue
 * @property {string} id
 * @property {string} name
 * @property {number|null} size
 * @property {number} received
 * @property {DocumentValue|null} [previous]
 * @property {string|null} [kind]  "recut": the shown document is read again
 * @property {boolean} [paused]  whoever sends it has lost the connection
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
 *
 * @typedef {{row: number, column: number, size: number}} Cut
 *   A shortened cell. `row` counts from 1 (0: the header), `column` from 0; `size` in characters.
 *
 * @typedef {object} Limits
 * @property {number} document_bytes
 * @property {number} chunk_bytes
 * @property {number} window_bytes
 *
 * @typedef {{type: "hello", viewer: string, node: string, uuid: string, limits: Limits}} HelloMessage
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
 * @typedef {{type: "here", count: number}} HereMessage
 * @typedef {{type: "ack", upload: string, received: number, stored: number, done?: boolean, token?: string|null}} AckMessage
 * @typedef {{type: "heartbeat", epoch: string, rev: number}} HeartbeatMessage
 * @typedef {{type: "status", degraded: boolean}} StatusMessage
 * @typedef {{type: "error", code: string, message: string, retry: boolean, about?: string|null}} ErrorMessage
 * @typedef {{type: "bye", reason: string, again: boolean}} ByeMessage
 * @typedef {HelloMessage|StateMessage|PageMessage|HereMessage|AckMessage|HeartbeatMessage|StatusMessage|ErrorMessage|ByeMessage} ServerMessage
 *
 * @typedef {{type: "page"|"peek", page_no: number}} TurnMessage
 * @typedef {{type: "upload", name: string, size: number, sheet?: string, replace?: boolean, resume?: string}} UploadMessage
 * @typedef {{type: "dialect"} & Partial<Dialect>} DialectMessage  only what changes
 * @typedef {{type: "version", version: number}} VersionMessage
 * @typedef {{type: "upload_end"|"upload_cancel"|"heartbeat"}} BareMessage
 * @typedef {{type: "sync", epoch: string, rev: number}} SyncMessage
 * @typedef {TurnMessage|UploadMessage|DialectMessage|VersionMessage|BareMessage|SyncMessage} ClientMessage
 *
 * @typedef {{uuid: string, state: {epoch: string, rev: number, set: RegisterValues, whole: true}|null}} Boot
 *   What the server put into the page: the state that its HTML shows; null if it could not be had.
 */

export {};
