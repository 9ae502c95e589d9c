/**
 * What is said on /ws/live, and the only place that reads it: JSON texts and binary frames become typed values here,
 * or a ProtocolError. PROTOCOL.md has the layout; everything is little-endian.
 */

export const PROTOCOL = 1;
export const CELLS = 256;

const MAGIC = 0x50;
const HEADER_BYTES = 32;
const ROW_HEADER_BYTES = 64;
const HAS_STATS = 1;
const HAS_ROWS = 2;

/** The server broke the protocol, or speaks a newer one. */
export class ProtocolError extends Error {}

/** States of a hosted client or of a received flow, in the order of the wire's numbers. */
export const STATES = /** @type {const} */ (["free", "connecting", "live", "silent", "refused", "error", "paused", "held", "ended"]);
/** @typedef {typeof STATES[number]} StateName */
export const State = Object.freeze({ FREE: 0, CONNECTING: 1, LIVE: 2, SILENT: 3, REFUSED: 4, ERROR: 5, PAUSED: 6, HELD: 7, ENDED: 8 });

export const Fate = Object.freeze({ EMPTY: 0, RECEIVED: 1, LOST: 2, LATE: 3 });
export const Cell = Object.freeze({ FATE: 0b11, REORDERED: 4, DUPLICATE: 8, CORRUPT: 16, CAUSE_SHIFT: 5, SECONDS_SHIFT: 5, MOST_SECONDS: 7 });

/** Bits of a client's flags byte; the first four tell of the last second. */
export const Flag = Object.freeze({ LOST: 1, REORDERED: 2, DUPLICATE: 4, CORRUPT: 8, PLAIN: 16, LINK: 32, RELATIVE_DELAY: 64, BEHIND: 128 });

/** @typedef {{type: "hello", protocol: number, instance: string, version: string, server_unix_ms: number, udp: string,
 *   frame_hz: number, history: number, max_clients: number, palette: {basic: [string, string, string][], names: [string, string][]}, formats: [string, string, boolean][],
 *   limits: import("../base/form.js").Limits}} Hello */
/** @typedef {[slot: number, id: string, name: string | null, target: string, mode: string, stream: string | null, rate_hz: number | null,
 *   colours: number, local_address: string | null, kind?: "receiver"]} RosterRow */
/** @typedef {{type: "roster", version: number, base: number, upsert: RosterRow[], remove: number[]}} Roster */
/** @typedef {import("./bodies.d.ts").Ledger & {received_plain?: number}} LedgerBody */
/** @typedef {import("./bodies.d.ts").Attention} Attention */
/** @typedef {import("./bodies.d.ts").Status & {type: "status", viewers: number,
 *   viewer: {received: number, relayed: number, conflated: number}}} Status */
/** @typedef {import("./bodies.d.ts").Delays} Percentiles */
/** @typedef {import("./bodies.d.ts").Link} LinkBody */
/** @typedef {import("./bodies.d.ts").Client} ClientBody */
/** @typedef {{type: "client", id: string, client: ClientBody | null}} Client */
/** @typedef {import("./bodies.d.ts").Session} SessionBody */
/** @typedef {{type: "sessions", find: string, sessions: SessionBody[], total: number, left: SessionBody[]}} Sessions */
/** @typedef {{type: "session", id: string, session: SessionBody | null}} Session */
/** @typedef {Hello | Roster | Status | Client | Sessions | Session} Message */

/** @typedef {{rate: Uint16Array, loss: Uint16Array, jitter: Uint16Array, delay: Uint16Array}} Stats */
/** One client's ribbon. Numbers are NaN where they cannot be known; cells are r, g, b, fate, oldest first.
 * @typedef {{slot: number, newest: number, received: number, lost: number, sent: number, rateHz: number, lossRatio: number,
 *   jitterMs: number, delayMs: number, silenceMs: number, cells: Uint8Array}} Row */
/** The columns are views into the message, one element a slot.
 * @typedef {{number: number, unixMs: number, slots: number, rosterVersion: number, rgba: Uint8Array, state: Uint8Array,
 *   flags: Uint8Array, ageMs: Uint16Array, stats: Stats | null, rows: Row[]}} Frame */

const KNOWN = new Set(["hello", "roster", "status", "client", "sessions", "session"]);

/**
 * @param {string} text
 * @returns {Message | null} null for a type that a later server may add
 */
export function parseText(text) {
  /** @type {any} */
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    throw new ProtocolError("a text message that is not JSON");
  }
  if (typeof message !== "object" || message === null || typeof message.type !== "string") {
    throw new ProtocolError("a text message without a type");
  }
  if (message.type === "hello" && message.protocol !== PROTOCOL) {
    throw new ProtocolError(`the server speaks protocol ${message.protocol}, this page ${PROTOCOL}`);
  }
  return KNOWN.has(message.type) ? message : null;
}

/**
 * @param {ArrayBuffer} buffer
 * @returns {Frame}
 */
export function parseFrame(buffer) {
  if (buffer.byteLength < HEADER_BYTES) throw new ProtocolError("a frame shorter than its header");
  const header = new DataView(buffer, 0, HEADER_BYTES);
  if (header.getUint8(0) !== MAGIC || header.getUint8(1) !== PROTOCOL) throw new ProtocolError("not a frame of this protocol");
  const flags = header.getUint16(2, true);
  const slots = header.getUint32(16, true);
  const rowCount = header.getUint32(24, true);
  const take = reader(buffer);
  const rgba = take.bytes(slots * 4);
  const state = take.bytes(slots);
  const flagColumn = take.bytes(slots);
  const ageMs = take.words(slots);
  const stats = flags & HAS_STATS
    ? { rate: take.words(slots), loss: take.words(slots), jitter: take.words(slots), delay: take.words(slots) }
    : null;
  return {
    number: header.getUint32(4, true),
    unixMs: header.getFloat64(8, true),
    slots,
    rosterVersion: header.getUint32(20, true),
    rgba,
    state,
    flags: flagColumn,
    ageMs,
    stats,
    rows: flags & HAS_ROWS ? readRows(take, rowCount) : [],
  };
}

/** @param {ArrayBuffer} buffer */
function reader(buffer) {
  let at = HEADER_BYTES;
  /** Each column starts on a multiple of 4. @param {number} bytes */
  const advance = (bytes) => {
    const start = at;
    if (start + bytes > buffer.byteLength) throw new ProtocolError("a frame shorter than its columns");
    at += (bytes + 3) & ~3;
    return start;
  };
  return {
    /** @param {number} count */
    bytes: (count) => new Uint8Array(buffer, advance(count), count),
    /** @param {number} count */
    words: (count) => new Uint16Array(buffer, advance(count * 2), count),
    /** @param {number} bytes */
    view: (bytes) => new DataView(buffer, advance(bytes), bytes),
  };
}

/**
 * @param {ReturnType<typeof reader>} take
 * @param {number} count
 * @returns {Row[]}
 */
function readRows(take, count) {
  const headers = Array.from({ length: count }, () => take.view(ROW_HEADER_BYTES));
  return headers.map((view) => {
    const cells = view.getUint32(4, true);
    if (cells !== CELLS) throw new ProtocolError(`a row of ${cells} cells`);
    return {
      slot: view.getUint32(0, true),
      newest: view.getFloat64(8, true),
      received: view.getFloat64(16, true),
      lost: view.getFloat64(24, true),
      sent: view.getFloat64(32, true),
      rateHz: view.getFloat32(40, true),
      lossRatio: view.getFloat32(44, true),
      jitterMs: view.getFloat32(48, true),
      delayMs: view.getFloat32(52, true),
      silenceMs: view.getFloat64(56, true),
      cells: take.bytes(cells * 4),
    };
  });
}
