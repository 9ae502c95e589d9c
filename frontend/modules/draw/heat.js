/** Delays over time as a heat map: a column is a second, a row a delay, and how strong a cell is says how many datagrams had it. */
import { rampColour } from "./lens.js";
import { isDark, paints } from "./theme.js";

export const SECONDS = 120;
export const ROWS = 24;

/** @typedef {import("../feed/recent.js").Datagram} Datagram */

/**
 * Collects what the answers of the last two minutes had. Every answer repeats most of the one before: a datagram counts once.
 */
export class Heat {
  /** @type {Map<number, {second: number, delayMs: number}>} by sequence number */ #seen = new Map();
  newest = 0;

  clear() {
    this.#seen.clear();
    this.newest = 0;
  }

  /** @param {readonly Datagram[]} datagrams */
  take(datagrams) {
    for (const { sequence, received_at_ns: at, delay_ms: delayMs } of datagrams) {
      if (sequence === null || at === null || delayMs === null) continue;
      const second = Math.floor(at / 1e9);
      this.newest = Math.max(this.newest, second);
      this.#seen.set(sequence, { second, delayMs: Math.max(0.001, delayMs) });
    }
    for (const [sequence, { second }] of this.#seen) if (second <= this.newest - SECONDS) this.#seen.delete(sequence);
  }

  /** Counts by row and column, lowest delay first, newest second last; the range of delays, in milliseconds; both null without any.
   * @returns {{counts: Uint32Array, from: number, to: number, total: number} | null} */
  picture() {
    if (this.#seen.size === 0) return null;
    let [from, to] = [Infinity, 0];
    for (const { delayMs } of this.#seen.values()) [from, to] = [Math.min(from, delayMs), Math.max(to, delayMs)];
    to = Math.max(to, from * 1.05);
    const counts = new Uint32Array(ROWS * SECONDS);
    for (const { second, delayMs } of this.#seen.values()) {
      const row = Math.min(ROWS - 1, Math.floor((Math.log(delayMs / from) / Math.log(to / from)) * ROWS));
      const at = row * SECONDS + SECONDS - 1 - (this.newest - second);
      counts[at] = (counts[at] ?? 0) + 1;
    }
    return { counts, from, to, total: this.#seen.size };
  }
}

/** @param {CanvasRenderingContext2D} context of SECONDS × ROWS pixels @param {Uint32Array} counts */
export function drawHeat(context, counts) {
  const image = new ImageData(SECONDS, ROWS);
  const pixels = new Uint32Array(image.data.buffer);
  const most = Math.max(1, ...counts);
  const dark = isDark();
  for (let row = 0; row < ROWS; row++) {
    for (let column = 0; column < SECONDS; column++) {
      const count = counts[row * SECONDS + column] ?? 0;
      pixels[(ROWS - 1 - row) * SECONDS + column] = count === 0 ? paints.track : rampColour(0.25 + 0.75 * Math.log1p(count) / Math.log1p(most), dark);
    }
  }
  context.putImageData(image, 0, 0);
}

/**
 * How long losses come together: the number of runs by length.
 * @param {readonly Datagram[]} datagrams in order @returns {[number, number][]} length and how many, shortest first
 */
export function lossRuns(datagrams) {
  /** @type {Map<number, number>} */ const runs = new Map();
  let length = 0;
  for (const { fate } of [...datagrams, { fate: "received" }]) {
    if (fate === "lost") length += 1;
    else if (fate !== "in_flight") {
      if (length > 0) runs.set(length, (runs.get(length) ?? 0) + 1);
      length = 0;
    }
  }
  return [...runs].sort(([a], [b]) => a - b);
}
