/**
 * The wall's picture: one tile a client, drawn into plain pixels. One pass a frame for ten thousand tiles, because nothing here makes an
 * object: a line of tiles is written once and copied down.
 */
import { inkOn } from "./colour.js";

/** Marks on a tile, in black or white, whichever the tile's luminance leaves visible. */
export const Mark = Object.freeze({ NOTCH: 1, BARS: 2, HATCH: 4, HOLLOW: 8, CROSS: 16, PAUSE: 32 });

const LARGEST_PX = 240;
/** A large tile belongs to its colour: its notch need not grow with it. */
const NOTCH_MOST_PX = 36;

/** @typedef {{tilePx: number, gapPx: number, columns: number, rows: number, heightPx: number}} Grid */

/**
 * The largest tiles with which all fit into the area; never smaller than `leastPx`, even where the wall must then scroll.
 * @param {number} count @param {number} widthPx @param {number} heightPx @param {number} leastPx
 * @returns {Grid}
 */
export function layoutTiles(count, widthPx, heightPx, leastPx) {
  let tilePx = LARGEST_PX;
  while (tilePx > leastPx && Math.floor(widthPx / tilePx) * Math.floor(heightPx / tilePx) < count) tilePx -= 1;
  const columns = Math.max(1, Math.floor(widthPx / tilePx));
  const rows = Math.ceil(count / columns);
  return { tilePx, gapPx: tilePx >= 24 ? 2 : tilePx >= 4 ? 1 : 0, columns, rows, heightPx: rows * tilePx };
}

export class TilePicture {
  #colours = new Uint32Array(0);
  #marks = new Uint8Array(0);
  #line = new Uint32Array(0);
  count = 0;

  /** @param {number} count */
  resize(count) {
    if (count > this.#colours.length) {
      const room = Math.ceil(count / 1024) * 1024;
      this.#colours = new Uint32Array(room);
      this.#marks = new Uint8Array(room);
    }
    this.count = count;
  }

  /** @param {number} place @param {number} colour packed */
  colour(place, colour) {
    this.#colours[place] = colour;
  }

  /** @param {number} place @param {number} marks */
  mark(place, marks) {
    this.#marks[place] = marks;
  }

  /**
   * @param {Uint32Array} pixels
   * @param {number} width of the pixels
   * @param {number} top how many pixel lines of the wall lie above the pixels
   * @param {Grid} grid
   * @param {import("./theme.js").Paints} paints
   */
  paint(pixels, width, top, grid, paints) {
    const height = pixels.length / width;
    const { tilePx, gapPx, columns } = grid;
    const bodyPx = tilePx - gapPx;
    if (this.#line.length !== width) this.#line = new Uint32Array(width);
    pixels.fill(paints.ground);
    const firstRow = Math.floor(top / tilePx);
    const lastRow = Math.min(grid.rows - 1, Math.floor((top + height - 1) / tilePx));
    for (let row = firstRow; row <= lastRow; row++) {
      const first = row * columns;
      const last = Math.min(this.count, first + columns);
      this.#writeLine(first, last, tilePx, bodyPx, paints);
      const y = row * tilePx - top;
      for (let line = Math.max(0, y); line < Math.min(height, y + bodyPx); line++) pixels.set(this.#line, line * width);
      for (let place = first; place < last; place++) {
        const marks = this.#marks[place] ?? 0;
        if (marks) drawMarks(pixels, width, height, (place - first) * tilePx, y, bodyPx, marks, this.#line[(place - first) * tilePx] ?? 0, paints);
      }
    }
  }

  /** @param {number} first @param {number} last @param {number} tilePx @param {number} bodyPx @param {import("./theme.js").Paints} paints */
  #writeLine(first, last, tilePx, bodyPx, paints) {
    const line = this.#line.fill(paints.ground);
    for (let place = first, x = 0; place < last; place++, x += tilePx) {
      const colour = this.#colours[place] ?? 0;
      for (let pixel = x; pixel < x + bodyPx; pixel++) line[pixel] = colour;
    }
  }
}

/**
 * @param {Uint32Array} pixels @param {number} width @param {number} height
 * @param {number} left @param {number} top may be negative: the tile is cut by the upper edge
 * @param {number} sizePx @param {number} marks @param {number} colour of the tile @param {import("./theme.js").Paints} paints
 */
export function drawMarks(pixels, width, height, left, top, sizePx, marks, colour, paints) {
  const fill = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ wide, /** @type {number} */ high, /** @type {number} */ paint) => {
    for (let line = Math.max(0, top + y); line < Math.min(height, top + y + high); line++) {
      pixels.fill(paint, line * width + left + x, line * width + left + x + wide);
    }
  };
  const thick = Math.max(1, Math.round(sizePx / 10));
  if (marks & Mark.HOLLOW) {
    fill(thick, thick, sizePx - 2 * thick, sizePx - 2 * thick, paints.ground);
  }
  const ink = marks & Mark.HOLLOW ? paints.ink : inkOn(colour);
  if (marks & Mark.HATCH) {
    const period = Math.max(3, Math.round(sizePx / 4));
    for (let y = 0; y < sizePx; y++) {
      for (let x = -y % period; x < sizePx; x += period) {
        const from = Math.max(0, x);
        fill(from, y, Math.max(0, Math.min(x + thick, sizePx) - from), 1, ink);
      }
    }
  }
  if (marks & Mark.CROSS) {
    for (let y = 0; y < sizePx; y++) {
      fill(Math.min(y, sizePx - thick), y, thick, 1, ink);
      fill(Math.max(0, sizePx - thick - y), y, thick, 1, ink);
    }
  }
  if (marks & Mark.PAUSE) {
    const bar = Math.max(1, Math.round(sizePx / 6));
    const high = Math.round(sizePx * 0.6);
    const y = (sizePx - high) >> 1;
    fill(Math.round(sizePx * 0.25), y, bar, high, ink);
    fill(sizePx - Math.round(sizePx * 0.25) - bar, y, bar, high, ink);
  }
  if (marks & Mark.NOTCH) {
    const leg = Math.max(2, Math.min(NOTCH_MOST_PX, Math.round(sizePx * 0.42)));
    for (let y = 0; y < leg; y++) fill(sizePx - leg + y, y, leg - y, 1, ink);
  }
  if (marks & Mark.BARS) {
    const wide = Math.max(2, Math.round(sizePx * 0.6));
    fill(0, sizePx - thick * 2, wide, thick, ink);
    fill(0, sizePx - thick * 4, wide, thick, ink);
  }
}
