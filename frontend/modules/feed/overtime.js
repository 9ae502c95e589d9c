/**
 * What happened over time, as the server keeps it: one range for all charts of the page, live or held, and the body of /api/history for
 * it. Who draws registers a viewer; a viewer out of sight costs nothing.
 */
import { ask, Problem } from "../base/api.js";

/** @typedef {{from: number, to: number}} Range Unix seconds */
/** @typedef {import("./bodies.d.ts").HistoryBody} HistoryBody */
/** `flow` returns null for everything together and undefined while nothing is to be shown.
 * @typedef {{flow: () => string | null | undefined, show: (curves: Curves, range: Range, other: Curves | null) => void,
 *   compare?: () => import("./comparison.js").Comparison | null, failed?: (why: string) => void}} Viewer
 * `compare`: what is fetched beside it; its times are those of the range, however much earlier it was. */

export const LIVE_SPANS_S = /** @type {const} */ ([600, 10_800, 172_800]);
const EVERY_MS = 1000;
const SLOWEST_MS = 30_000;
/** One flow's steps of 1 s are kept for ten minutes. */
const FINE_SPAN_S = 660;

/** An address has tenths of a second. @param {number} seconds */
const tenth = (seconds) => Math.round(seconds * 10) / 10;

export class OverTime {
  /** How much of the past the live range shows. @type {number} */ spanS = LIVE_SPANS_S[0];
  /** @type {Range | null} null while live */ held = null;
  /** @type {{viewer: Viewer, askedAtMs: number, flow: string | null, busy: boolean}[]} */ #viewers = [];
  #changed;
  #paused;
  #nowUnixMs;

  /** @param {{changed: () => void, nowUnixMs: () => number, paused: () => boolean}} actions
   *   changed: the range was chosen anew. nowUnixMs: the present, or the moment at which the page is paused */
  constructor(actions) {
    this.#changed = actions.changed;
    this.#paused = actions.paused;
    this.#nowUnixMs = actions.nowUnixMs;
  }

  /** @param {Viewer} viewer */
  add(viewer) {
    this.#viewers.push({ viewer, askedAtMs: -Infinity, flow: null, busy: false });
  }

  /** @returns {Range} */
  get range() {
    if (this.held) return this.held;
    const now = this.#nowUnixMs() / 1000;
    return { from: now - this.spanS, to: now };
  }

  /** The reader chose another stretch. @param {Range | null} range null: back to live @returns {Range} what is shown then */
  hold(range) {
    const now = this.#nowUnixMs() / 1000;
    this.show(range && { from: tenth(Math.min(range.from, now - 5)), to: tenth(Math.min(range.to, now)) });
    this.#changed();
    return this.range;
  }

  /** Shows what an address says. @param {Range | null} range null: live */
  show(range) {
    this.held = range;
    this.refresh();
  }

  /** @param {number} spanS */
  live(spanS) {
    this.spanS = spanS;
    this.hold(null);
  }

  /** Every viewer asks at the next tick. */
  refresh() {
    for (const one of this.#viewers) one.askedAtMs = -Infinity;
  }

  /** Call it at each tick of the page clock. */
  tick() {
    const nowMs = performance.now();
    // A range of hours moves by a pixel in many seconds; one that is held does not move at all.
    const everyMs = this.held || this.#paused() ? Infinity : Math.min(SLOWEST_MS, Math.max(EVERY_MS, this.spanS));
    for (const one of this.#viewers) {
      const flow = one.viewer.flow();
      if (flow === undefined || one.busy) continue;
      if (flow === one.flow && nowMs - one.askedAtMs < everyMs) continue;
      one.flow = flow;
      one.askedAtMs = nowMs;
      void this.#ask(one, flow);
    }
  }

  /** @param {{viewer: Viewer, busy: boolean}} one @param {string | null} flow */
  async #ask(one, flow) {
    const { range } = this;
    one.busy = true;
    try {
      const curves = await this.#curves(range, flow);
      const compared = one.viewer.compare?.() ?? null;
      const other = compared && await this.#earlier(range, compared.flow || flow, compared.shiftS);
      if (one.viewer.flow() === flow) one.viewer.show(curves, range, other);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      one.viewer.failed?.(error.message);
    } finally {
      one.busy = false;
    }
  }

  /** @param {Range} range @param {string | null} flow */
  async #curves(range, flow) {
    const curves = curvesOf(await this.#get(range, flow, {}));
    // The finest steps of one flow are kept only since somebody looked: they go on where the coarser ones end.
    return flow === null || range.to - range.from > FINE_SPAN_S ? curves : joined(curves, curvesOf(await this.#get(range, flow, { step_s: "1" })));
  }

  /** @param {Range} range @param {string | null} flow @param {number} shiftS */
  async #earlier(range, flow, shiftS) {
    const curves = await this.#curves({ from: range.from - shiftS, to: range.to - shiftS }, flow);
    return { ...curves, times: curves.times.map((time) => (time === null ? null : time + shiftS)) };
  }

  /** @param {Range} range @param {string | null} flow @param {Record<string, string>} more @returns {Promise<HistoryBody>} */
  #get(range, flow, more) {
    const query = new URLSearchParams({ from: range.from.toFixed(3), to: range.to.toFixed(3), ...(flow === null ? {} : { flow }), ...more });
    return ask("GET", `api/history?${query}`);
  }
}

/** One array element per step. times: when it ends, Unix seconds. lossRatio: lost of all that were sent, 0 to 1. lost: per second, by cause.
 * A number is null if it is not known.
 * @typedef {(number | null)[]} Values
 * @typedef {{times: Values, rate: Values, lossRatio: Values, lost: Record<string, Values>, delay: Record<string, Values>, jitter: Values,
 *   events: HistoryBody["events"]}} Curves */

/** @param {HistoryBody} body @returns {Curves} */
export function curvesOf(body) {
  const { rate_hz: rate, lost_by_cause: causes, delay_ms: delay, jitter_ms: jitter } = body.columns;
  // A step in which more losses were taken back than declared is below zero; per second there is no such thing.
  const lost = Object.fromEntries(Object.entries(causes).map(([cause, column]) => [cause, column.map((count) => (count === null ? null : Math.max(0, count) / body.step_s))]));
  const lossRatio = rate.map((received, index) => {
    const missing = Object.values(lost).reduce((sum, column) => sum + (column[index] ?? 0), 0);
    return received === null || received + missing === 0 ? null : missing / (received + missing);
  });
  return { times: rate.map((_, index) => body.from + (index + 1) * body.step_s), rate, lossRatio, lost, delay, jitter, events: body.events };
}

/** The coarse curves up to where the fine ones begin, and those from there on. @param {Curves} coarse @param {Curves} fine @returns {Curves} */
export function joined(coarse, fine) {
  const begins = fine.times[0];
  if (begins === undefined || begins === null) return coarse;
  const kept = coarse.times.filter((time) => time !== null && time < begins).length;
  const join = (/** @type {Values | undefined} */ before, /** @type {Values} */ after) => [...(before ?? []).slice(0, kept), ...after];
  const joinAll = (/** @type {Record<string, Values>} */ before, /** @type {Record<string, Values>} */ after) =>
    Object.fromEntries(Object.entries(after).map(([name, column]) => [name, join(before[name], column)]));
  return {
    times: join(coarse.times, fine.times), rate: join(coarse.rate, fine.rate), lossRatio: join(coarse.lossRatio, fine.lossRatio),
    lost: joinAll(coarse.lost, fine.lost), delay: joinAll(coarse.delay, fine.delay), jitter: join(coarse.jitter, fine.jitter), events: coarse.events,
  };
}
