/** Which clients are shown, and in what order: the roster through the find box and the order menu. Pure. */
import { delayMs, jitterMs, lossRatio, rateHz, stateOf, trouble } from "./state.js";

/** @typedef {import("./state.js").World} World */
/** @typedef {import("./state.js").Entry} Entry */
/** @typedef {import("../base/address.js").Order} Order */

const collator = new Intl.Collator("en", { numeric: true });

/** Orders that move by themselves; they are worked out again now and then, not at each frame. @param {Order} order */
export const isMoving = (order) => order !== "name" && order !== "joined";

/**
 * @param {World} world
 * @param {string} find words that must all be there, in name, id, target, address, stream or state
 * @param {Order} order
 * @returns {number[]} slots
 */
export function select(world, find, order) {
  const words = find.toLowerCase().split(/\s+/).filter(Boolean);
  const entries = [...world.roster.values()].filter((entry) => words.every((word) => matches(world, entry, word)));
  return sorted(world, entries, order).map((entry) => entry.slot);
}

/** @param {World} world @param {Entry} entry @param {string} word */
function matches(world, entry, word) {
  return entry.words.includes(word) || stateOf(world, entry.slot) === word || (word === "losing" && lossRatio(world, entry.slot) > 0);
}

/** @param {World} world @param {Entry[]} entries @param {Order} order */
function sorted(world, entries, order) {
  if (order === "joined") return entries;
  if (order === "name") return entries.sort((a, b) => collator.compare(a.name, b.name));
  const measure = { trouble, loss: lossRatio, jitter: jitterMs, delay: delayMs, rate: rateHz }[order];
  const keys = new Map(entries.map((entry) => [entry.slot, known(measure(world, entry.slot))]));
  return entries.sort((a, b) => (keys.get(b.slot) ?? 0) - (keys.get(a.slot) ?? 0) || a.slot - b.slot);
}

/** What is not known comes last. @param {number} value */
const known = (value) => (Number.isNaN(value) ? -1 : value);
