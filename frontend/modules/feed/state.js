/**
 * What the page knows, and how each message changes it. No document, no clock, no socket: a message comes in, the world is
 * different. Columns have one element a slot and are replaced whole by each frame.
 */
import { milliseconds } from "../base/format.js";
import { Flag, State, STATES } from "./messages.js";

/** @typedef {import("./messages.js").Message} Message */
/** @typedef {import("./messages.js").Frame} Frame */
/** @typedef {import("./messages.js").StateName} StateName */

/** A hosted client, or a flow that a receiver hears, as the roster tells of it; `words` is what the find box looks through.
 * @typedef {{slot: number, id: string, name: string, target: string, mode: string, stream: string | null, rateHz: number | null,
 *   colours: number, localAddress: string | null, kind: "client" | "receiver", words: string}} Entry */

/** `sessions` are those that have the words of `sessionsFind` (null before any came), `sessionsTotal` how many these are, listed or not; `left` are raw clients that are served no more.
 * @typedef {{hello: import("./messages.js").Hello | null, status: import("./messages.js").Status | null,
 *   frame: Frame | null, stats: import("./messages.js").Stats | null, rows: Map<number, import("./messages.js").Row>,
 *   roster: Map<number, Entry>, byId: Map<string, Entry>, rosterVersion: number, rosterChanges: number,
 *   client: import("./messages.js").ClientBody | null, clientGone: string | null,
 *   sessions: import("./messages.js").SessionBody[], sessionsTotal: number, sessionsFind: string | null, left: import("./messages.js").SessionBody[],
 *   session: import("./messages.js").SessionBody | null, sessionGone: string | null,
 *   frames: number, framesMissed: number}} World */

/** @returns {World} */
export function emptyWorld() {
  return {
    hello: null, status: null, frame: null, stats: null, rows: new Map(), roster: new Map(), byId: new Map(),
    rosterVersion: 0, rosterChanges: 0, client: null, clientGone: null, sessions: [], sessionsTotal: 0, sessionsFind: null, left: [],
    session: null, sessionGone: null, frames: 0, framesMissed: 0,
  };
}

/**
 * @param {World} world
 * @param {Message} message
 */
export function applyMessage(world, message) {
  switch (message.type) {
    case "hello":
      if (world.hello && world.hello.instance !== message.instance) forget(world);
      world.hello = message;
      break;
    case "roster":
      applyRoster(world, message);
      break;
    case "status":
      world.status = message;
      break;
    case "client":
      world.client = message.client;
      world.clientGone = message.client ? null : message.id;
      break;
    case "session":
      world.session = message.session;
      world.sessionGone = message.session ? null : message.id;
      break;
    case "sessions":
      world.sessions = message.sessions;
      world.sessionsTotal = message.total;
      world.sessionsFind = message.find;
      world.left = message.left ?? [];
      break;
  }
}

/** Another run of the server: its slots, ids and frame numbers mean something else. @param {World} world */
function forget(world) {
  const changes = world.rosterChanges;
  Object.assign(world, emptyWorld(), { rosterChanges: changes + 1 });
}

/**
 * @param {World} world
 * @param {import("./messages.js").Roster} message
 */
function applyRoster(world, message) {
  if (message.base === 0) {
    world.roster.clear();
    world.byId.clear();
    world.rows.clear();
  }
  for (const slot of message.remove) {
    const entry = world.roster.get(slot);
    if (entry) world.byId.delete(entry.id);
    world.roster.delete(slot);
    world.rows.delete(slot);
  }
  for (const [slot, id, name, target, mode, stream, rateHz, colours, localAddress, kind] of message.upsert) {
    const before = world.roster.get(slot);
    if (before && before.id !== id) world.byId.delete(before.id);
    const words = [name ?? "", id, target, mode, stream ?? "", localAddress ?? ""].join(" ").toLowerCase();
    /** @type {Entry} */
    const entry = { slot, id, name: name ?? id, target, mode, stream, rateHz, colours, localAddress, kind: kind ?? "client", words };
    world.roster.set(slot, entry);
    world.byId.set(id, entry);
  }
  world.rosterVersion = message.version;
  world.rosterChanges += 1;
}

/**
 * @param {World} world
 * @param {Frame} frame
 */
export function applyFrame(world, frame) {
  if (world.frame && frame.number > world.frame.number) world.framesMissed += frame.number - world.frame.number - 1;
  world.frames += 1;
  world.frame = frame;
  if (frame.stats) world.stats = frame.stats;
  for (const row of frame.rows) world.rows.set(row.slot, row);
}

/** Rows that nobody looks at any more are let go. @param {World} world @param {Set<number>} wanted */
export function keepRows(world, wanted) {
  for (const slot of world.rows.keys()) if (!wanted.has(slot)) world.rows.delete(slot);
}

/** @param {World} world @param {number} slot @returns {StateName} */
export function stateOf(world, slot) {
  return STATES[world.frame?.state[slot] ?? State.CONNECTING] ?? "connecting";
}

/** Loss over the last ten seconds, 0 to 1; NaN where it cannot be known. @param {World} world @param {number} slot */
export function lossRatio(world, slot) {
  return scaled(world.stats?.loss[slot], 1 / 65534);
}

/** A watched row knows it finer than the column does. @param {World} world @param {number} slot */
export function jitterMs(world, slot) {
  return world.rows.get(slot)?.jitterMs ?? scaled(world.stats?.jitter[slot], 0.01);
}

/** Median one-way delay. @param {World} world @param {number} slot */
export function delayMs(world, slot) {
  return world.rows.get(slot)?.delayMs ?? scaled(world.stats?.delay[slot], 0.1);
}

/** As text: a row that nobody watches is known to a tenth of a millisecond, so its zero is none. @param {World} world @param {number} slot */
export function delayText(world, slot) {
  return delayMs(world, slot) === 0 && !world.rows.has(slot) ? "< 0.1 ms" : milliseconds(delayMs(world, slot));
}

/** @param {World} world @param {number} slot */
export function jitterText(world, slot) {
  return jitterMs(world, slot) === 0 && !world.rows.has(slot) ? "< 10 µs" : milliseconds(jitterMs(world, slot));
}

/** @param {World} world @param {number} slot */
export function rateHz(world, slot) {
  const value = world.stats?.rate[slot];
  return value === undefined ? NaN : value * 0.02;
}

/** Milliseconds since the last arrival; NaN where nothing ever came. @param {World} world @param {number} slot */
export function ageMs(world, slot) {
  return scaled(world.frame?.ageMs[slot], 1);
}

/** @param {number | undefined} value @param {number} unit */
function scaled(value, unit) {
  return value === undefined || value === 65535 ? NaN : value * unit;
}

/**
 * How much a client wants to be looked at: 0 is well. Refused and error first, then silent, then a sender that falls behind, then by loss.
 * @param {World} world @param {number} slot
 */
export function trouble(world, slot) {
  switch (world.frame?.state[slot]) {
    case State.ERROR: return 4;
    case State.REFUSED: return 3.5;
    case State.SILENT: return 3;
    case State.CONNECTING: return 1.5;
    case State.PAUSED:
    case State.HELD:
    case State.ENDED: return 0;
    default: {
      const loss = lossRatio(world, slot);
      if ((world.frame?.flags[slot] ?? 0) & Flag.BEHIND) return 2.5;
      return loss > 0 ? 1 + loss : 0;
    }
  }
}
