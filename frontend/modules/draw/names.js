/** What a colour is called. Never colour alone: the page always says the name and the hex value beside it. */
import { parseColour, unpack } from "./colour.js";

/** @typedef {{name: string, red: number, green: number, blue: number}} Named */

/** @type {Named[]} */ let named = [];
/** @type {Map<number, string>} */ const remembered = new Map();
const REMEMBERED_MAX = 4096;

/** The names that the server knows; of two for one colour, the first is said. @param {[string, string][]} names */
export function learnNames(names) {
  named = names.map(([name, value]) => {
    const [red, green, blue] = unpack(parseColour(value));
    return { name, red, green, blue };
  });
  remembered.clear();
}

/**
 * The name of a colour, or "near teal" where it has none.
 * @param {number} red @param {number} green @param {number} blue
 */
export function nameOf(red, green, blue) {
  const key = (red << 16) | (green << 8) | blue;
  let name = remembered.get(key);
  if (name === undefined) {
    name = nearest(red, green, blue);
    if (remembered.size >= REMEMBERED_MAX) remembered.clear();
    remembered.set(key, name);
  }
  return name;
}

/** @param {number} red @param {number} green @param {number} blue */
function nearest(red, green, blue) {
  let best = "";
  let least = Infinity;
  for (const other of named) {
    const distance = apart(red, green, blue, other);
    if (distance < least) {
      least = distance;
      best = other.name;
    }
  }
  return least === 0 ? best : `near ${best}`;
}

/** Squared distance, weighted by how well eyes tell the channels apart (T. Riemersma, "Colour metric").
 * @param {number} red @param {number} green @param {number} blue @param {Named} other */
function apart(red, green, blue, other) {
  const mean = (red + other.red) / 2;
  return (2 + mean / 256) * (red - other.red) ** 2 + 4 * (green - other.green) ** 2 + (2 + (255 - mean) / 256) * (blue - other.blue) ** 2;
}
