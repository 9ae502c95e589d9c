/**
 * A client's last datagrams as a strip of cells, newest at the right. Colour is what arrived; a gap is what never did.
 * A line between two cells is where a second began, a thick one a stall of more than a second: few cells between lines are a slow stream, many
 * a burst. Drawn into plain pixels: nine rows, which the style sheet stretches.
 */
import { Cell, CELLS, Fate } from "../feed/messages.js";
import { mix, pack } from "./colour.js";
import { count } from "../base/format.js";

/** @typedef {import("./theme.js").Paints} Paints */

export const ROWS = 9;
const DASH_ROW = 4;
const LATE_FROM_ROW = 5;
const CELL_MIN_PX = 4;
const CELL_MAX_PX = 6;

/** How wide a cell is drawn, and how many of the newest then fit. @param {number} widthPx */
export function fit(widthPx) {
  const cellPx = Math.max(CELL_MIN_PX, Math.min(CELL_MAX_PX, Math.floor(widthPx / CELLS)));
  return { cellPx, shown: Math.max(1, Math.min(CELLS, Math.floor(widthPx / cellPx))) };
}

/** One strip: the picture of the last tick. */
export class Ribbon {
  #pixels = new Uint32Array(0);
  /** @type {ImageData | null} */ #image = null;
  #context;
  #cellPx = CELL_MIN_PX;
  #shown = 0;
  #dirty = false;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    const context = canvas.getContext("2d");
    if (!context) throw new Error("no canvas here");
    this.#context = context;
  }

  /** @param {number} widthPx */
  resize(widthPx) {
    const { cellPx, shown } = fit(widthPx);
    if (cellPx === this.#cellPx && shown === this.#shown) return;
    this.#cellPx = cellPx;
    this.#shown = shown;
    const width = cellPx * shown;
    this.canvas.width = width;
    this.canvas.height = ROWS;
    this.canvas.style.width = `${width}px`;
    this.#image = new ImageData(width, ROWS);
    this.#pixels = new Uint32Array(this.#image.data.buffer);
  }

  /** @param {Uint8Array | undefined} cells r, g, b, fate; oldest first @param {Paints} paints */
  latch(cells, paints) {
    drawCells(this.#pixels, cells, this.#cellPx, this.#shown, paints);
    this.#dirty = true;
  }

  /** Which of the CELLS lies there; -1 outside. @param {number} offsetX in CSS pixels */
  placeAt(offsetX) {
    const shownAt = Math.floor(offsetX / this.#cellPx);
    return shownAt < 0 || shownAt >= this.#shown ? -1 : CELLS - this.#shown + shownAt;
  }

  paint() {
    if (!this.#image || !this.#dirty) return;
    this.#dirty = false;
    this.#context.putImageData(this.#image, 0, 0);
  }
}

/**
 * @param {Uint32Array} pixels
 * @param {Uint8Array | undefined} cells
 * @param {number} cellPx
 * @param {number} shown
 * @param {Paints} paints
 */
export function drawCells(pixels, cells, cellPx, shown, paints) {
  pixels.fill(paints.track);
  if (!cells) return;
  const width = cellPx * shown;
  for (let place = 0; place < shown; place++) {
    const at = (CELLS - shown + place) * 4;
    drawCell(pixels, width, place * cellPx, cellPx, cells, at, paints);
  }
}

/**
 * @param {Uint32Array} pixels @param {number} width @param {number} left @param {number} cellPx
 * @param {Uint8Array} cells @param {number} at @param {Paints} paints
 */
function drawCell(pixels, width, left, cellPx, cells, at, paints) {
  const byte = cells[at + 3] ?? 0;
  const fate = byte & Cell.FATE;
  const bar = (/** @type {number} */ row, /** @type {number} */ paint) => pixels.fill(paint, row * width + left, row * width + left + cellPx - 1);
  if (fate === Fate.EMPTY) {
    if (cells[at] === 1) pixels[DASH_ROW * width + left] = paints.faint;
    return;
  }
  if (fate === Fate.LOST) {
    bar(DASH_ROW, paints.ink);
    return;
  }
  const colour = pack(cells[at] ?? 0, cells[at + 1] ?? 0, cells[at + 2] ?? 0);
  const edge = mix(colour, paints.track, 0.6);
  for (let row = fate === Fate.LATE ? LATE_FROM_ROW : 0; row < ROWS; row++) {
    bar(row, colour);
    pixels[row * width + left + cellPx - 1] = edge;
  }
  drawSeconds(pixels, width, left, byte >> Cell.SECONDS_SHIFT, paints);
  if (byte & Cell.REORDERED) {
    bar(0, paints.ink);
    bar(1, paints.track);
  }
  if (byte & Cell.DUPLICATE) {
    bar(ROWS - 2, paints.track);
    bar(ROWS - 1, paints.ink);
  }
  if (byte & Cell.CORRUPT) {
    for (let row = 2; row < ROWS - 2; row++) pixels[row * width + left + (row % (cellPx - 1))] = paints.ink;
  }
}

/** The line before the first datagram of a new second. @param {Uint32Array} pixels @param {number} width @param {number} left @param {number} seconds that began @param {Paints} paints */
function drawSeconds(pixels, width, left, seconds, paints) {
  if (seconds === 0 || left === 0) return;
  for (let row = 0; row < ROWS; row++) {
    pixels[row * width + left - 1] = paints.ink;
    if (seconds > 1) pixels[row * width + left] = paints.ink;
  }
}

/** The strip in words. @param {Uint8Array | undefined} cells */
export function describeCells(cells) {
  if (!cells) return "no datagrams yet";
  let received = 0;
  let lost = 0;
  let reordered = 0;
  let duplicate = 0;
  for (let at = 3; at < cells.length; at += 4) {
    const byte = cells[at] ?? 0;
    const fate = byte & Cell.FATE;
    if (fate === Fate.RECEIVED || fate === Fate.LATE) received += 1;
    if (fate === Fate.LOST) lost += 1;
    if (byte & Cell.REORDERED) reordered += 1;
    if (byte & Cell.DUPLICATE) duplicate += 1;
  }
  return `last ${count(received + lost)} datagrams: ${count(received)} arrived, ${count(lost)} lost, ${count(reordered)} reordered, ${count(duplicate)} duplicated`;
}

/** @param {number} seconds that began since the arrival before */
const stallOf = (seconds) => (seconds < 2 ? "" : `after at least ${seconds - 1} s without any`);

const CAUSES = ["", "by the link", "by the sender’s kernel", "by the receiver’s kernel", "unexplained", "on an unknown path", "on the path", "for a cause that its sender has not told yet"];

/** One cell in words. @param {Uint8Array} cells @param {number} place @param {number | null} number of the datagram; null on a plain stream */
export function describeCell(cells, place, number) {
  const at = place * 4;
  const byte = cells[at + 3] ?? 0;
  const fate = byte & Cell.FATE;
  if (fate === Fate.EMPTY) return cells[at] === 1 ? "sent, not arrived yet" : "nothing yet";
  const which = number === null ? "" : `number ${count(number)}: `;
  if (fate === Fate.LOST) return `${which}lost ${CAUSES[byte >> Cell.CAUSE_SHIFT] ?? ""}`.trim();
  const marks = [
    fate === Fate.LATE ? "late" : "", byte & Cell.REORDERED ? "reordered" : "", byte & Cell.DUPLICATE ? "more than one copy" : "",
    byte & Cell.CORRUPT ? "corrupted" : "", stallOf(byte >> Cell.SECONDS_SHIFT),
  ].filter(Boolean);
  return `${which}arrived${marks.length ? `, ${marks.join(", ")}` : ""}, #${[0, 1, 2].map((part) => (cells[at + part] ?? 0).toString(16).padStart(2, "0")).join("")}`;
}
