/** What the shapes mean. Drawn by the same code as the pictures, so that the key is always right. */
import { parseColour, soften } from "./colour.js";
import { element, need } from "../base/dom.js";
import { rampColour, ticks } from "./lens.js";
import { Cell, CELLS, Fate } from "../feed/messages.js";
import { drawCells, ROWS } from "./ribbon.js";
import { isDark, paints } from "./theme.js";
import { drawMarks, Mark } from "./tiles.js";

const SAMPLE = parseColour("#2f9e5a");
const CELL_PX = 6;
/** The server's basic palette. @type {readonly [string, string][]} */
const BASIC = [["red", "#ff0000"], ["green", "#008000"], ["blue", "#0000ff"], ["yellow", "#ffff00"], ["purple", "#800080"], ["orange", "#ffa500"]];

/** @typedef {import("../base/preferences.js").Motion} Motion */

/** @type {readonly [string, number][]} fate bytes of the middle one of three cells */
const CELL_SAMPLES = [
  ["arrived", Fate.RECEIVED],
  ["lost", Fate.LOST],
  ["late", Fate.LATE],
  ["reordered", Fate.RECEIVED | Cell.REORDERED],
  ["duplicate", Fate.RECEIVED | Cell.DUPLICATE],
  ["corrupt", Fate.RECEIVED | Cell.CORRUPT],
  ["a second", Fate.RECEIVED | (1 << Cell.SECONDS_SHIFT)],
];

/** @type {readonly [string, number][]} */
const TILE_SAMPLES = [
  ["lost in the last second", Mark.NOTCH],
  ["reordered", Mark.BARS],
  ["silent", Mark.HATCH],
  ["never heard", Mark.HOLLOW],
  ["refused or error", Mark.CROSS],
  ["paused", Mark.PAUSE],
];

/** @param {number} width @param {number} height @param {(pixels: Uint32Array) => void} draw */
export function picture(width, height, draw) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  draw(new Uint32Array(image.data.buffer));
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  return canvas;
}

/** @param {number} fate */
function cellPicture(fate) {
  const cells = new Uint8Array(CELLS * 4);
  [Fate.RECEIVED, fate, Fate.RECEIVED].forEach((byte, index) => cells.set([47, 158, 90, byte], (CELLS - 3 + index) * 4));
  const canvas = picture(CELL_PX * 3, ROWS, (pixels) => drawCells(pixels, cells, CELL_PX, 3, paints));
  canvas.style.width = `${CELL_PX * 3}px`;
  canvas.style.height = `${ROWS * 2}px`;
  return canvas;
}

/** @param {number} marks */
function tilePicture(marks) {
  const size = 16;
  return picture(size, size, (pixels) => {
    const colour = marks & Mark.HOLLOW ? paints.faint : SAMPLE;
    pixels.fill(colour);
    drawMarks(pixels, size, size, 0, 0, size, marks, colour, paints);
  });
}

/** @param {string} text @param {HTMLCanvasElement} canvas */
const entry = (text, canvas) => element("span", { class: "key-entry" }, canvas, text);

/** Which softened colour stands for which true one. @param {Motion} motion @returns {HTMLElement[]} */
function softenedKey(motion) {
  if (motion !== "softened") return [];
  const pairs = BASIC.map(([name, text]) => {
    const colour = parseColour(text);
    const canvas = picture(24, 12, (pixels) => pixels.forEach((_, index) => { pixels[index] = index % 24 < 12 ? colour : soften(colour); }));
    return entry(name, canvas);
  });
  return [element("span", {}, "Softened: on the left the colour that arrived, on the right the one shown instead, which cannot flash."), ...pairs];
}

/** @param {Motion} motion */
export function showLanesKey(motion) {
  const root = need("lanes-key-shapes", HTMLElement);
  root.replaceChildren(...CELL_SAMPLES.map(([text, fate]) => entry(text, cellPicture(fate))), ...softenedKey(motion));
}

/** @param {import("../base/address.js").Lens} lens @param {Motion} motion */
export function showWallKey(lens, motion) {
  const root = need("wall-key", HTMLElement);
  const shapes = TILE_SAMPLES.map(([text, marks]) => entry(text, tilePicture(marks)));
  if (lens === "colour") {
    root.replaceChildren(element("span", {}, "Each tile is one client in the colour that it received last."), ...shapes, ...softenedKey(motion));
    return;
  }
  const width = 140;
  const dark = isDark();
  const ramp = picture(width, 12, (pixels) => pixels.forEach((_, index) => { pixels[index] = rampColour((index % width) / (width - 1), dark); }));
  const [least, middle, most] = ticks(lens);
  root.replaceChildren(element("span", { class: "key-entry key-ramp" }, `${lens}: ${least} or less`, ramp, `${most}, in the middle ${middle}`), ...shapes);
}
