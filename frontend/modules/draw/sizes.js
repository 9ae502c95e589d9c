/** Datagrams without a colour: their size is one on a ramp, and a gap is one that a relay did not pass on. */
import { unpack } from "./colour.js";
import { picture } from "./key.js";
import { rampColour } from "./lens.js";
import { drawCells, ROWS } from "./ribbon.js";
import { isDark, paints } from "./theme.js";
import { element } from "../base/dom.js";
import { count } from "../base/format.js";
import { Cell, CELLS, Fate } from "../feed/messages.js";

/** @typedef {import("../feed/bodies.d.ts").RelayCells} RelayCells */

/** One scale for all, so that lanes can be compared: logarithmic, from the smallest payloads to the largest of all. */
const LEAST_BYTES = 16;
const MOST_BYTES = 65_507;
const EMPTY_MARK = 1;

/** The letters of a lane (`RelayCells.fates`): in words, and as a cell. @type {Readonly<Record<string, {words: string, cell: number}>>} */
export const LETTERS = Object.freeze({
  ".": { words: "forwarded", cell: Fate.RECEIVED },
  d: { words: "forwarded, and duplicated", cell: Fate.RECEIVED | Cell.DUPLICATE },
  c: { words: "forwarded, corrupted by the link", cell: Fate.RECEIVED | Cell.CORRUPT },
  r: { words: "forwarded, and refused by the destination", cell: Fate.RECEIVED },
  h: { words: "delayed by the link", cell: Fate.EMPTY },
  l: { words: "lost by the link or a rule", cell: Fate.LOST },
  q: { words: "lost by the link’s full queue", cell: Fate.LOST },
  k: { words: "lost by the kernel", cell: Fate.LOST },
});

/** Where a size lies on the ramp, 0 to 1. @param {number} sizeBytes */
export function sizeShare(sizeBytes) {
  return Math.min(1, Math.log(Math.max(sizeBytes, LEAST_BYTES) / LEAST_BYTES) / Math.log(MOST_BYTES / LEAST_BYTES));
}

/** A ribbon's cells, newest at the right. @param {RelayCells | undefined} told @param {boolean} dark */
export function cellsOf(told, dark) {
  const cells = new Uint8Array(CELLS * 4);
  const sizes = told?.size_bytes ?? [];
  const first = CELLS - sizes.length;
  sizes.forEach((sizeBytes, index) => {
    const { cell = Fate.EMPTY } = LETTERS[told?.fates[index] ?? ""] ?? {};
    const at = (first + index) * 4;
    if (cell === Fate.EMPTY) cells[at] = EMPTY_MARK;
    else cells.set([...unpack(rampColour(sizeShare(sizeBytes), dark)), cell], at);
  });
  return cells;
}

/** One cell in words. @param {RelayCells | undefined} told @param {number} place of CELLS */
export function describeSize(told, place) {
  const index = place - (CELLS - (told?.size_bytes.length ?? 0));
  const sizeBytes = told?.size_bytes[index];
  if (sizeBytes === undefined) return "nothing yet";
  return `${count(sizeBytes)} bytes, ${LETTERS[told?.fates[index] ?? ""]?.words ?? ""}`;
}

/** A lane in words. @param {RelayCells | undefined} told */
export function describeSizes(told) {
  if (!told?.size_bytes.length) return "no datagrams yet";
  const lost = [...told.fates].filter((letter) => LETTERS[letter]?.cell === Fate.LOST).length;
  return `last ${count(told.size_bytes.length)} datagrams of ${count(Math.min(...told.size_bytes))} to ${count(Math.max(...told.size_bytes))} bytes, ${count(lost)} lost`;
}

const CELL_PX = 6;
const RAMP_PX = 140;

/** What the colours and shapes mean; drawn by the same code as the lanes. */
export function sizesKey() {
  const dark = isDark();
  const ramp = picture(RAMP_PX, 12, (pixels) => pixels.forEach((_, index) => { pixels[index] = rampColour((index % RAMP_PX) / (RAMP_PX - 1), dark); }));
  const middle = Math.round(Math.sqrt(LEAST_BYTES * MOST_BYTES));
  const shapes = [["lost", "l"], ["held", "h"], ["duplicated", "d"], ["corrupted", "c"]].map(([words = "", letter = ""]) => {
    const cells = cellsOf({ size_bytes: [400, 400, 400], fates: `.${letter}.` }, dark);
    const canvas = picture(CELL_PX * 3, ROWS, (pixels) => drawCells(pixels, cells, CELL_PX, 3, paints));
    canvas.style.width = `${CELL_PX * 3}px`;
    canvas.style.height = `${ROWS * 2}px`;
    return element("span", { class: "key-entry" }, canvas, words);
  });
  return [element("span", { class: "key-entry key-ramp" }, `size: ${LEAST_BYTES} bytes or less`, ramp, `${count(MOST_BYTES)}, in the middle ${count(middle)}`), ...shapes];
}
