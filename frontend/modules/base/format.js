/** Numbers and instants as text. A value that is not known is a dash, never a zero. */

export const UNKNOWN = "–";

const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const timeOfDay = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** @param {number | null | undefined} value @returns {value is null | undefined} */
const unknown = (value) => value === null || value === undefined || Number.isNaN(value);

/** @param {number | null | undefined} value */
export const count = (value) => (unknown(value) ? UNKNOWN : whole.format(value));

/** Three significant digits are what an eye compares. @param {number} value */
function digits(value) {
  const size = Math.abs(value);
  return size >= 100 ? whole.format(value) : size >= 10 ? value.toFixed(1) : size >= 1 || size === 0 ? value.toFixed(1) : value.toFixed(2);
}

/** Below a tenth of a millisecond, where loopback lives, microseconds. @param {number | null | undefined} value */
export function milliseconds(value) {
  if (unknown(value)) return UNKNOWN;
  return value !== 0 && Math.abs(value) < 0.1 ? `${Math.round(value * 1000)} µs` : `${digits(value)} ms`;
}

/** @param {number | null | undefined} value */
export const perSecond = (value) => (unknown(value) ? UNKNOWN : `${digits(value)}/s`);

/** A loss that exists is never rounded to nothing. @param {number | null | undefined} ratio */
export function percent(ratio) {
  if (unknown(ratio)) return UNKNOWN;
  if (ratio > 0 && ratio < 0.0005) return "< 0.1 %";
  const value = ratio * 100;
  return `${value >= 10 ? value.toFixed(0) : value.toFixed(1)} %`;
}

/** A length of time in words that fit a table: "4 s", "3 min", "2 h". @param {number | null | undefined} ms */
export function span(ms) {
  if (unknown(ms)) return UNKNOWN;
  const seconds = ms / 1000;
  if (seconds < 1) return `${Math.round(ms)} ms`;
  if (seconds < 100) return `${Math.floor(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** @param {number} unixMs */
export const clockTime = (unixMs) => timeOfDay.format(unixMs);

/** @param {number} number @param {string} one @param {string} [many] */
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** Of a file, in powers of ten. @param {number} size */
export function bytes(size) {
  const unit = size >= 1e9 ? "GB" : size >= 1e6 ? "MB" : "kB";
  const value = size / { GB: 1e9, MB: 1e6, kB: 1e3 }[unit];
  return `${value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
}
