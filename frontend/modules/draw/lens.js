/** Lenses: one number of each client as one ramp whose luminance only rises, so that it reads without colour vision too. */
import { mix, parseColour } from "./colour.js";
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

/** Logarithmic: what matters at the low end is ten times smaller than at the middle.
 * @type {Record<Measure, {of: (world: World, slot: number) => number, least: number, most: number, labels: [string, string]}>} */
export const MEASURES = {
  loss: { of: lossRatio, least: 0.001, most: 1, labels: ["0", "100 %"] },
  jitter: { of: jitterMs, least: 0.01, most: 300, labels: ["0", "300 ms"] },
  delay: { of: delayMs, least: 0.1, most: 3000, labels: ["0", "3 s"] },
  rate: { of: rateHz, least: 0.1, most: 1000, labels: ["0", "1,000/s"] },
};

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
