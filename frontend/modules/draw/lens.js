/** Lenses: one number of each client as one ramp whose luminance only rises, so that it reads without colour vision too. */
import { mix, parseColour } from "./colour.js";
import { milliseconds, percent, perSecond } from "../base/format.js";
import { delayMs, jitterMs, lossRatio, rateHz } from "../feed/state.js";

/** @typedef {import("../feed/state.js").World} World */
/** @typedef {Exclude<import("../base/address.js").Lens, "colour">} Measure */

/** Cividis (Nunez, Anderton, Renslow 2018), which looks nearly the same to who sees no red or no green. */
const STOPS = ["#00204d", "#31446b", "#666970", "#958f78", "#cab969", "#ffea46"].map(parseColour);

const RAMP = Uint32Array.from({ length: 256 }, (_, index) => {
  const place = (index / 255) * (STOPS.length - 1);
  const stop = Math.min(STOPS.length - 2, Math.floor(place));
  return mix(STOPS[stop] ?? 0, STOPS[stop + 1] ?? 0, place - stop);
});

/** Logarithmic: what matters at the low end is ten times smaller than at the middle. `least` and `most` follow the data (`fit`).
 * @type {Record<Measure, {of: (world: World, slot: number) => number, least: number, most: number, text: (value: number) => string}>} */
export const MEASURES = {
  loss: { of: lossRatio, least: 0.001, most: 1, text: percent },
  jitter: { of: jitterMs, least: 0.01, most: 100, text: milliseconds },
  delay: { of: delayMs, least: 0.1, most: 1000, text: milliseconds },
  rate: { of: rateHz, least: 0.1, most: 1000, text: perSecond },
};

/** A scale spans at least this factor, or noise would look like a difference. */
const LEAST_SPAN = 10;
const STEPS = [1, 2, 5];

/**
 * Fits a measure's scale to what there is, in steps of 1, 2, 5. It grows at once, and shrinks only when it is far too wide, so that it
 * does not dance.
 * @param {Measure} measure @param {Iterable<number>} values @returns {boolean} whether it changed
 */
export function fit(measure, values) {
  let [low, high] = [Infinity, 0];
  for (const value of values) {
    if (!(value > 0)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (high === 0) return false;
  const scale = MEASURES[measure];
  const most = Math.max(round(high, true), round(low, false) * LEAST_SPAN);
  const least = Math.min(round(low, false), most / LEAST_SPAN);
  if (high <= scale.most && low >= scale.least && scale.most <= most * LEAST_SPAN && scale.least * LEAST_SPAN >= least) return false;
  if (least === scale.least && most === scale.most) return false;
  Object.assign(scale, { least, most });
  return true;
}

/** The next 1, 2 or 5 times a power of ten. @param {number} value above 0 @param {boolean} up */
function round(value, up) {
  const decade = 10 ** Math.floor(Math.log10(value) + 1e-9);
  const share = value / decade;
  if (up) return decade * (STEPS.find((step) => step >= share - 1e-9) ?? 10);
  return decade * (STEPS.filter((step) => step <= share + 1e-9).pop() ?? 1);
}

/** What stands below the ramp: its ends and its middle. @param {Measure} measure @returns {[string, string, string]} */
export function ticks(measure) {
  const { least, most, text } = MEASURES[measure];
  return [text(least), text(Math.sqrt(least * most)), text(most)];
}

/** Where a value lies on the ramp, 0 to 1; NaN stays NaN. @param {Measure} measure @param {number} value */
export function position(measure, value) {
  const { least, most } = MEASURES[measure];
  if (value <= 0) return 0;
  return Math.max(0, Math.min(1, Math.log(value / least) / Math.log(most / least)));
}

/** The high end is what differs most from the page: bright on dark, dark on light.
 * @param {number} share 0 to 1 @param {boolean} dark */
export function rampColour(share, dark) {
  return RAMP[Math.round(255 * (dark ? share : 1 - share))] ?? 0;
}
