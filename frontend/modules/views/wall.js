/** The wall: every client in sight at once. A canvas for the eye; a grid with one moving cell for keyboard and screen reader. */
import { hex, mix, pack, soften, unpack } from "../draw/colour.js";
import { element, need, setAttribute, setText } from "../base/dom.js";
import { showWallKey } from "../draw/key.js";
import { percent, perSecond, span } from "../base/format.js";
import { fit, MEASURES, position, rampColour } from "../draw/lens.js";
import { Flag, State } from "../feed/messages.js";
import { nameOf } from "../draw/names.js";
import { ageMs, delayText, jitterText, lossRatio, rateHz, stateOf, trouble } from "../feed/state.js";
import { isDark, paints } from "../draw/theme.js";
import { layoutTiles, Mark, TilePicture } from "../draw/tiles.js";

/** @typedef {import("../feed/state.js").World} World */
/** @typedef {import("../base/preferences.js").Motion} Motion */

const FINGER_PX = 24;
const DIMMED = 0.95;
const ROOM_BELOW_PX = 64;
const LEAST_HEIGHT_PX = 240;
/** So large a tile has room for a name. */
const NAMED_PX = 88;
const HINT = matchMedia("(pointer: coarse)").matches
  ? "Tap a tile to see which client it is."
  : "Point at a tile, or move with the arrow keys, to see which client it is.";

export class Wall {
  #grid = need("wall-grid", HTMLElement);
  #canvas = need("wall-canvas", HTMLCanvasElement);
  #row = need("wall-row", HTMLElement);
  #cell = need("wall-cell", HTMLElement);
  #info = need("wall-info", HTMLElement);
  #names = need("wall-names", HTMLElement);
  #pointedMark = need("wall-pointed", HTMLElement);
  #openedMark = need("wall-opened", HTMLElement);
  #openId = "";
  #context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d", { alpha: false }));
  #picture = new TilePicture();
  #layout = layoutTiles(0, 1, 1, 1);
  /** @type {ImageData | null} */ #image = null;
  #pixels = new Uint32Array(0);
  #topPx = 0;
  /** @type {number[]} */ #order = [];
  #active = 0;
  #pointed = -1;
  /** Nothing is painted before the first tick. */ #blank = true;
  /** @type {import("../base/address.js").Lens} */ lens = "colour";
  spotlight = false;
  #world;
  #actions;

  /** @param {World} world @param {{open: (id: string) => void, motion: () => Motion}} actions */
  constructor(world, actions) {
    this.#world = world;
    this.#actions = actions;
    this.#canvas.addEventListener("pointermove", (event) => this.#point(this.#placeAt(event)));
    this.#canvas.addEventListener("pointerleave", () => this.#point(-1));
    this.#canvas.addEventListener("click", (event) => {
      const place = this.#placeAt(event);
      if (place < 0) return;
      this.#activate(place);
      this.#open(place);
    });
    this.#cell.addEventListener("keydown", (event) => this.#keydown(event));
    this.#cell.addEventListener("focus", () => this.#describe());
    addEventListener("scroll", () => this.layout(), { passive: true });
    addEventListener("resize", () => this.layout());
    new ResizeObserver(() => this.layout()).observe(need("wall", HTMLElement));
  }

  get hidden() {
    return this.#grid.offsetParent === null;
  }

  /** @param {number[]} slots in the order in which they are shown */
  setOrder(slots) {
    this.#order = slots;
    this.#picture.resize(slots.length);
    this.#active = Math.max(0, Math.min(this.#active, slots.length - 1));
    this.layout();
  }

  /** Sizes and scrolling: the canvas covers what is in sight of the grid and no more. */
  layout() {
    if (this.hidden) return;
    const widthPx = need("wall", HTMLElement).clientWidth;
    const gridTopPx = this.#grid.getBoundingClientRect().top;
    const roomPx = Math.max(LEAST_HEIGHT_PX, innerHeight - (gridTopPx + scrollY) - ROOM_BELOW_PX);
    const leastPx = matchMedia("(pointer: coarse), (width < 620px)").matches ? FINGER_PX : 3;
    this.#layout = layoutTiles(this.#order.length, widthPx, roomPx, leastPx);
    const { tilePx, columns, rows, heightPx } = this.#layout;
    this.#grid.style.height = `${heightPx}px`;
    const seenPx = Math.max(1, Math.min(heightPx, innerHeight));
    this.#topPx = Math.round(Math.max(0, Math.min(heightPx - seenPx, -gridTopPx)));
    this.#canvas.style.top = `${this.#topPx}px`;
    const usedPx = columns * tilePx;
    if (!this.#image || this.#canvas.width !== usedPx || this.#canvas.height !== seenPx) {
      this.#canvas.width = usedPx;
      this.#canvas.height = seenPx;
      this.#image = new ImageData(usedPx, seenPx);
      this.#pixels = new Uint32Array(this.#image.data.buffer);
    }
    setAttribute(this.#grid, "aria-rowcount", String(rows));
    setAttribute(this.#grid, "aria-colcount", String(columns));
    this.#cell.hidden = this.#order.length === 0;
    this.#moveCell();
    this.#placeNames();
    this.#placeMarks();
    this.paint();
  }

  /** @param {string} id the client whose drawer is open, "" for none */
  markOpen(id) {
    this.#openId = id;
    this.#placeMarks();
  }

  #placeMarks() {
    const opened = this.#openId ? this.#order.indexOf(this.#world.byId.get(this.#openId)?.slot ?? -1) : -1;
    for (const [mark, place] of /** @type {const} */ ([[this.#pointedMark, this.#pointed], [this.#openedMark, opened]])) {
      mark.hidden = place < 0 || place >= this.#order.length;
      if (!mark.hidden) this.#cover(mark, place);
    }
  }

  /** @param {HTMLElement} node @param {number} place */
  #cover(node, place) {
    const { tilePx, gapPx, columns } = this.#layout;
    node.style.transform = `translate(${(place % columns) * tilePx}px, ${Math.floor(place / columns) * tilePx}px)`;
    node.style.width = node.style.height = `${tilePx - gapPx}px`;
  }

  /** Few clients are large, and large ones have their names. */
  #placeNames() {
    const { tilePx, gapPx, columns } = this.#layout;
    const named = tilePx >= NAMED_PX ? this.#order : [];
    while (this.#names.children.length > named.length) this.#names.lastElementChild?.remove();
    named.forEach((slot, place) => {
      const label = /** @type {HTMLElement} */ (this.#names.children[place] ?? this.#names.appendChild(element("span", {})));
      setText(label, this.#world.roster.get(slot)?.name ?? "");
      label.style.maxWidth = `${tilePx - gapPx}px`;
      label.style.transform = `translate(${(place % columns) * tilePx}px, calc(${(Math.floor(place / columns) + 1) * tilePx - gapPx}px - 100%))`;
    });
  }

  tick() {
    if (this.hidden || !this.#world.frame) return;
    const { lens } = this;
    if (lens !== "colour" && fit(lens, this.#order.map((slot) => MEASURES[lens].of(this.#world, slot)))) showWallKey(lens, this.#actions.motion());
    need("wall-well", HTMLElement).hidden = !this.spotlight || this.#order.some((slot) => trouble(this.#world, slot) > 0);
    if (this.#actions.motion() === "calm" || lens !== "colour") this.#colourAll(false);
    this.#blank = false;
    this.#markAll();
    this.#describe();
  }

  live() {
    const motion = this.#actions.motion();
    if (this.hidden || this.lens !== "colour" || motion === "calm") return;
    this.#colourAll(motion === "softened");
    this.#blank = false;
  }

  paint() {
    if (this.hidden || !this.#image || this.#blank) return;
    this.#picture.paint(this.#pixels, this.#image.width, this.#topPx, this.#layout, paints);
    this.#context.putImageData(this.#image, 0, 0);
  }

  /** @param {boolean} softened */
  #colourAll(softened) {
    const dark = isDark();
    const { ground } = paints;
    for (let place = 0; place < this.#order.length; place++) {
      const slot = this.#order[place] ?? 0;
      const colour = this.#colourOf(slot, softened, dark);
      this.#picture.colour(place, this.spotlight && trouble(this.#world, slot) === 0 ? mix(colour, ground, DIMMED) : colour);
    }
  }

  /** @param {number} slot @param {boolean} softened @param {boolean} dark */
  #colourOf(slot, softened, dark) {
    if (this.lens !== "colour") {
      const share = position(this.lens, MEASURES[this.lens].of(this.#world, slot));
      return Number.isNaN(share) ? paints.track : rampColour(share, dark);
    }
    const rgba = this.#world.frame?.rgba;
    const at = slot * 4;
    if (!rgba?.[at + 3]) return paints.faint;
    const packed = pack(rgba[at] ?? 0, rgba[at + 1] ?? 0, rgba[at + 2] ?? 0);
    return softened ? soften(packed) : packed;
  }

  #markAll() {
    const { frame } = this.#world;
    for (let place = 0; place < this.#order.length; place++) {
      const slot = this.#order[place] ?? 0;
      this.#picture.mark(place, frame ? marksOf(frame, slot) : 0);
    }
  }

  /** @param {MouseEvent} event @returns {number} -1 where no tile is */
  #placeAt(event) {
    const { tilePx, columns } = this.#layout;
    const column = Math.floor(event.offsetX / tilePx);
    const place = Math.floor((event.offsetY + this.#topPx) / tilePx) * columns + column;
    return column < columns && place < this.#order.length ? place : -1;
  }

  /** @param {number} place */
  #point(place) {
    this.#pointed = place;
    this.#placeMarks();
    this.#canvas.style.cursor = place >= 0 ? "pointer" : "";
    this.#describe();
  }

  /** @param {number} place */
  #open(place) {
    const entry = this.#world.roster.get(this.#order[place] ?? -1);
    if (entry) this.#actions.open(entry.id);
  }

  /** @param {KeyboardEvent} event */
  #keydown(event) {
    const { columns } = this.#layout;
    const last = this.#order.length - 1;
    const rowStart = this.#active - (this.#active % columns);
    const to = {
      ArrowRight: this.#active + 1, ArrowLeft: this.#active - 1, ArrowDown: this.#active + columns, ArrowUp: this.#active - columns,
      Home: event.ctrlKey ? 0 : rowStart, End: event.ctrlKey ? last : rowStart + columns - 1,
      PageDown: this.#active + columns * 10, PageUp: this.#active - columns * 10,
    }[event.key];
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.#open(this.#active);
    } else if (to !== undefined) {
      event.preventDefault();
      this.#activate(Math.max(0, Math.min(last, to)));
      this.#cell.scrollIntoView({ block: "nearest" });
    }
  }

  /** @param {number} place */
  #activate(place) {
    this.#active = place;
    this.#moveCell();
    this.#describe();
  }

  #moveCell() {
    const { columns } = this.#layout;
    const row = Math.floor(this.#active / columns);
    const column = this.#active % columns;
    this.#cover(this.#cell, this.#active);
    setAttribute(this.#row, "aria-rowindex", String(row + 1));
    setAttribute(this.#cell, "aria-colindex", String(column + 1));
  }

  /** The line below the wall says in words what is pointed at, or where the keyboard is. */
  #describe() {
    setAttribute(this.#cell, "aria-label", this.#words(this.#active));
    const focused = document.activeElement === this.#cell;
    const place = this.#pointed >= 0 ? this.#pointed : focused ? this.#active : -1;
    setText(this.#info, place >= 0 ? this.#words(place) : HINT);
  }

  /** @param {number} place */
  #words(place) {
    const slot = this.#order[place] ?? -1;
    const entry = this.#world.roster.get(slot);
    if (!entry) return "no client";
    const rgba = this.#world.frame?.rgba;
    const [red, green, blue] = unpack(pack(rgba?.[slot * 4] ?? 0, rgba?.[slot * 4 + 1] ?? 0, rgba?.[slot * 4 + 2] ?? 0));
    const heard = rgba?.[slot * 4 + 3] ? `${nameOf(red, green, blue)} ${hex(red, green, blue)}` : "nothing yet";
    const state = stateOf(this.#world, slot);
    const age = ageMs(this.#world, slot);
    return [entry.name, heard, state === "silent" && !Number.isNaN(age) ? `silent for ${span(age)}` : state, perSecond(rateHz(this.#world, slot)),
      `loss ${percent(lossRatio(this.#world, slot))}`, `jitter ${jitterText(this.#world, slot)}`,
      `delay ${delayText(this.#world, slot)}`].join(" · ");
  }
}

/** @param {import("../feed/messages.js").Frame} frame @param {number} slot */
function marksOf(frame, slot) {
  const flags = frame.flags[slot] ?? 0;
  let marks = (flags & Flag.LOST ? Mark.NOTCH : 0) | (flags & Flag.REORDERED ? Mark.BARS : 0);
  // Where several would share a tile the worst state is seen, and alone.
  switch (frame.state[slot]) {
    case State.SILENT: marks = Mark.HATCH; break;
    case State.REFUSED: case State.ERROR: marks = Mark.CROSS; break;
    case State.PAUSED: marks = Mark.PAUSE; break;
  }
  return frame.rgba[slot * 4 + 3] ? marks : marks | Mark.HOLLOW;
}
