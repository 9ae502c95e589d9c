/** Two curves over one another: a flow beside another one, or beside its own past. */

/** `shiftS`: how much earlier the other one is looked at. `flow`: whose, "" for the same.
 * @typedef {{flow: string, shiftS: number, label: string}} Comparison */

const UNIT_S = /** @type {Record<string, number>} */ ({ min: 60, h: 3600, day: 86_400 });
export const EARLIER = /** @type {const} */ (["1 min before", "10 min before", "1 h before", "1 day before"]);

/**
 * What words ask for: `10 min before`, or the name or id of another flow.
 * @param {string} words @param {(name: string) => string | null} find the id of a name
 * @returns {Comparison | string | null} null for no words; a text says why there is nothing to compare with
 */
export function comparisonOf(words, find) {
  const text = words.trim();
  if (text === "") return null;
  const earlier = text.match(/^(\d{1,4}) ?(min|h|day)s?( before)?$/);
  if (earlier) return { flow: "", shiftS: Number(earlier[1]) * (UNIT_S[earlier[2] ?? ""] ?? 0), label: `${earlier[1]} ${earlier[2]} before` };
  const flow = find(text);
  return flow === null ? `No client is called “${text}”.` : { flow, shiftS: 0, label: text };
}

/**
 * Values of other instants at these times: of each the nearest one, as long as it is no farther away than the other's own step.
 * @param {(number | null)[]} times ascending @param {(number | null)[]} otherTimes ascending @param {(number | null)[]} values
 * @returns {(number | null)[]} one per time
 */
export function aligned(times, otherTimes, values) {
  let at = 0;
  const timeAt = (/** @type {number} */ index) => otherTimes[index] ?? Infinity;
  return times.map((time) => {
    if (time === null) return null;
    while (at + 1 < otherTimes.length && Math.abs(timeAt(at + 1) - time) <= Math.abs(timeAt(at) - time)) at += 1;
    const step = Math.min(Math.abs(timeAt(at + 1) - timeAt(at)), Math.abs(timeAt(at) - timeAt(at - 1))) || 0;
    const reach = Number.isFinite(step) ? step : 1;
    return Math.abs(timeAt(at) - time) <= reach ? values[at] ?? null : null;
  });
}
