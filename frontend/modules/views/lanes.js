/** Lanes: one row a client. Only the rows in sight exist; the document scrolls. */
import { copyOf, icon, need, setAttribute, setIcon, setText, within } from "../base/dom.js";
import { count, percent, perSecond, span } from "../base/format.js";
import { CELLS, Flag } from "../feed/messages.js";
import { hex, pack, soften, unpack } from "../draw/colour.js";
import { nameOf } from "../draw/names.js";
import { ageMs, delayText, jitterText, lossRatio, rateHz, stateOf } from "../feed/state.js";
import { describeCell, describeCells, Ribbon } from "../draw/ribbon.js";
import { paints } from "../draw/theme.js";

/** @typedef {import("../feed/state.js").World} World */
/** @typedef {import("../base/preferences.js").Motion} Motion */

const OVERSCAN = 4;
const DESCRIBE_EVERY_TICKS = 6;

/** A row of the document, lent to one client after another. */
class Lane {
  element = copyOf("lane");
  slot = -1;
  #swatch = within(this.element, ".swatch", HTMLCanvasElement).getContext("2d");
  #pixel = new ImageData(1, 1);
  /** The colour that is shown, which may be softened. */ #shown = 0;
  /** The colour that was heard. */ #heard = 0;
  ribbon = new Ribbon(within(this.element, ".ribbon", HTMLCanvasElement));
  name = within(this.element, ".lane-name button", HTMLButtonElement);
  #remove = within(this.element, ".lane-remove", HTMLButtonElement);
  #colour = within(this.element, ".lane-colour b", HTMLElement);
  #hex = within(this.element, ".lane-colour code", HTMLElement);
  #numbers = ["rate", "loss", "jitter", "delay"].map((name) => within(this.element, `.lane-${name} b`, HTMLElement));
  #rateCell = within(this.element, ".lane-rate", HTMLElement);
  #state = within(this.element, ".lane-state", HTMLElement);
  #stateWord = within(this.element, ".lane-state b", HTMLElement);
  #stateIcon = this.#state.insertBefore(icon("connecting"), this.#stateWord);
  #ticks = 0;

  /** @param {import("../feed/state.js").Entry} entry @param {number} index */
  show(entry, index) {
    if (this.slot !== entry.slot) {
      this.slot = entry.slot;
      this.#ticks = 0;
      this.#heard = 0;
      this.element.dataset.slot = String(entry.slot);
    }
    setText(this.name, entry.name);
    this.name.title = `${entry.name}: ${entry.target} → ${entry.localAddress ?? "not bound yet"}`;
    setAttribute(this.#remove, "aria-label", `Remove ${entry.name}`);
    this.#remove.hidden = entry.kind === "receiver";
    setAttribute(this.element, "aria-rowindex", String(index + 2));
  }

  /** The datagram below this place of the ribbon. @param {World} world @param {number} offsetX @returns {{number: number | null, text: string} | null} */
  cellAt(world, offsetX) {
    const row = world.rows.get(this.slot);
    const place = this.ribbon.placeAt(offsetX);
    if (!row || place < 0) return null;
    const number = Number.isNaN(row.newest) ? null : row.newest - (CELLS - 1 - place);
    return { number: number !== null && number >= 0 ? number : null, text: describeCell(row.cells, place, number) };
  }

  /** @param {World} world @param {boolean} softened the swatch does not wait for the tick */
  tick(world, softened) {
    const row = world.rows.get(this.slot);
    this.ribbon.latch(row?.cells, paints);
    this.#take(world, softened);
    this.#tickNumbers(world);
    if (this.#ticks++ % DESCRIBE_EVERY_TICKS === 0) setAttribute(this.ribbon.canvas, "aria-label", describeCells(row?.cells));
  }

  /** @param {World} world */
  #tickNumbers(world) {
    const slot = this.slot;
    const state = stateOf(world, slot);
    const plain = ((world.frame?.flags[slot] ?? 0) & Flag.PLAIN) !== 0;
    const quiet = state === "connecting" || state === "refused" || state === "error";
    const behind = ((world.frame?.flags[slot] ?? 0) & Flag.BEHIND) !== 0;
    const entry = world.roster.get(slot);
    const asked = entry?.rateHz ?? null;
    /** The format of a received flow. */ const received = entry?.kind === "receiver" ? entry.stream : null;
    const texts = [`${perSecond(rateHz(world, slot))}${behind && asked !== null ? ` of ${count(asked)}` : ""}`, percent(lossRatio(world, slot)), jitterText(world, slot), delayText(world, slot)];
    this.#numbers.forEach((node, index) => setText(node, quiet && index === 0 ? "–" : texts[index] ?? "–"));
    const age = ageMs(world, slot);
    setText(this.#stateWord, state === "silent" && !Number.isNaN(age) ? `silent ${span(age)}` : plain && state === "live" ? (received ? `live, ${received}` : "live, plain") : state);
    this.#state.title = plain && !received ? "A plain stream: no sequence numbers, so loss, jitter and delay cannot be known" : "";
    setIcon(this.#stateIcon, state);
    setAttribute(this.element, "data-state", state);
    setAttribute(this.element, "data-behind", String(behind));
    this.#rateCell.title = behind ? "The sender falls behind its schedule. No datagram is lost on the way, but fewer are sent than requested." : "";
    setAttribute(this.element, "data-losing", String(lossRatio(world, slot) > 0));
  }

  /** Swatch and label change together: a label beside another colour would be false. @param {World} world @param {boolean} softened */
  #take(world, softened) {
    const packed = heardColour(world, this.slot);
    const silent = packed === paints.track;
    this.#shown = softened && !silent ? soften(packed) : packed;
    if (packed === this.#heard) return;
    this.#heard = packed;
    const [red, green, blue] = unpack(packed);
    setText(this.#colour, silent ? (world.roster.get(this.slot)?.kind === "receiver" ? "no colour" : "nothing yet") : nameOf(red, green, blue));
    setText(this.#hex, silent ? "" : hex(red, green, blue));
  }

  /** A ribbon that scrolls with every datagram can flash: only true colours let it. @param {World} world @param {Motion} motion */
  live(world, motion) {
    this.#take(world, motion === "softened");
    if (motion === "true") this.ribbon.latch(world.rows.get(this.slot)?.cells, paints);
  }

  paint() {
    this.ribbon.paint();
    new Uint32Array(this.#pixel.data.buffer)[0] = this.#shown;
    this.#swatch?.putImageData(this.#pixel, 0, 0);
  }
}

/** @param {World} world @param {number} slot */
function heardColour(world, slot) {
  const rgba = world.frame?.rgba;
  if (!rgba?.[slot * 4 + 3]) return paints.track;
  return pack(rgba[slot * 4] ?? 0, rgba[slot * 4 + 1] ?? 0, rgba[slot * 4 + 2] ?? 0);
}

export class Lanes {
  #body = need("lanes-body", HTMLElement);
  #table = need("lanes-table", HTMLElement);
  /** @type {Map<number, Lane>} by slot */ #lanes = new Map();
  /** @type {Lane[]} */ #spare = [];
  /** @type {number[]} */ #order = [];
  #active = 0;
  #open = "";
  #rowPx = 0;
  #ribbonPx = 0;
  #motion;
  #world;

  /**
   * @param {World} world
   * @param {{open: (id: string) => void, remove: (id: string) => void, openDatagram: (id: string, number: number) => void,
   *   sort: (order: import("../base/address.js").Order) => void, motion: () => Motion, sighted: (slots: number[]) => void}} actions
   */
  constructor(world, actions) {
    this.#world = world;
    this.#motion = actions.motion;
    this.sighted = actions.sighted;
    this.#body.addEventListener("click", (event) => {
      const target = /** @type {Element} */ (event.target);
      const slot = Number(target.closest("[data-slot]")?.getAttribute("data-slot") ?? -1);
      const entry = world.roster.get(slot);
      if (!entry) return;
      const cell = target.matches(".ribbon") ? this.#lanes.get(slot)?.cellAt(world, event.offsetX) : null;
      if (target.closest(".lane-remove")) actions.remove(entry.id);
      else if (cell && cell.number !== null) actions.openDatagram(entry.id, cell.number);
      else actions.open(entry.id);
    });
    this.#body.addEventListener("pointermove", (event) => {
      const target = /** @type {Element} */ (event.target);
      if (!(target instanceof HTMLCanvasElement) || !target.matches(".ribbon")) return;
      const slot = Number(target.closest("[data-slot]")?.getAttribute("data-slot") ?? -1);
      target.title = this.#lanes.get(slot)?.cellAt(world, event.offsetX)?.text ?? "";
    });
    for (const button of this.#table.querySelectorAll("[data-order]")) {
      button.addEventListener("click", () => actions.sort(/** @type {import("../base/address.js").Order} */ (button.getAttribute("data-order"))));
    }
    this.#body.addEventListener("keydown", (event) => this.#keydown(event));
    this.#body.addEventListener("focusin", (event) => {
      const slot = Number(/** @type {Element} */ (event.target).closest("[data-slot]")?.getAttribute("data-slot") ?? -1);
      this.#activate(this.#order.indexOf(slot), false);
    });
    addEventListener("scroll", () => this.layout(), { passive: true });
    new ResizeObserver(() => this.measure()).observe(this.#body);
  }

  /** The column by which the rows are sorted. @param {string} order */
  markOrder(order) {
    for (const button of this.#table.querySelectorAll("[data-order]")) {
      const head = button.parentElement;
      if (head) setAttribute(head, "aria-sort", button.getAttribute("data-order") !== order ? "none" : order === "name" ? "ascending" : "descending");
    }
  }

  /** The row whose drawer is open. @param {string} id */
  markOpen(id) {
    this.#open = id;
    for (const lane of this.#lanes.values()) this.#markLane(lane);
  }

  /** @param {Lane} lane */
  #markLane(lane) {
    setAttribute(lane.element, "data-open", String(this.#world.roster.get(lane.slot)?.id === this.#open));
  }

  get hidden() {
    return this.#table.offsetParent === null;
  }

  /** @param {number[]} slots in the order in which they are shown */
  setOrder(slots) {
    this.#order = slots;
    this.#active = Math.min(this.#active, Math.max(0, slots.length - 1));
    setAttribute(this.#table, "aria-rowcount", String(slots.length + 1));
    const alone = String(slots.length === 1);
    if (this.#table.dataset.alone !== alone) {
      this.#table.dataset.alone = alone;
      this.#rowPx = 0;
    }
    this.layout();
  }

  /** The sizes come from the style sheet; they change with the window only. */
  measure() {
    this.#rowPx = 0;
    this.layout();
  }

  layout() {
    if (this.hidden) return;
    if (this.#rowPx === 0) this.#rowPx = parseFloat(getComputedStyle(this.#table).getPropertyValue("--lane-px")) || 40;
    this.#body.style.height = `${this.#order.length * this.#rowPx}px`;
    const top = -this.#body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / this.#rowPx) - OVERSCAN);
    const last = Math.min(this.#order.length, Math.ceil((top + innerHeight) / this.#rowPx) + OVERSCAN);
    const wanted = this.#order.slice(first, last);
    const inSight = new Set(wanted);
    for (const [slot, lane] of this.#lanes) {
      if (inSight.has(slot)) continue;
      lane.element.remove();
      this.#lanes.delete(slot);
      this.#spare.push(lane);
    }
    wanted.forEach((slot, offset) => this.#place(slot, first + offset));
    this.#fitRibbons();
    this.sighted(wanted);
  }

  /** @param {number} slot @param {number} index */
  #place(slot, index) {
    const entry = this.#world.roster.get(slot);
    if (!entry) return;
    let lane = this.#lanes.get(slot);
    if (!lane) {
      lane = this.#spare.pop() ?? new Lane();
      this.#lanes.set(slot, lane);
      this.#body.append(lane.element);
    }
    const isNew = lane.slot !== slot;
    lane.show(entry, index);
    lane.name.tabIndex = index === this.#active ? 0 : -1;
    this.#markLane(lane);
    lane.element.style.transform = `translateY(${index * this.#rowPx}px)`;
    if (isNew) {
      if (this.#ribbonPx) lane.ribbon.resize(this.#ribbonPx);
      lane.tick(this.#world, false);
      lane.paint();
    }
  }

  #fitRibbons() {
    const [any] = this.#lanes.values();
    const width = any?.ribbon.canvas.parentElement?.clientWidth ?? 0;
    if (!width) return;
    this.#ribbonPx = width;
    for (const lane of this.#lanes.values()) lane.ribbon.resize(width);
  }

  /** @param {KeyboardEvent} event */
  #keydown(event) {
    const last = this.#order.length - 1;
    const page = Math.max(1, Math.floor(innerHeight / this.#rowPx) - 4);
    const to = { ArrowDown: this.#active + 1, ArrowUp: this.#active - 1, Home: 0, End: last, PageDown: this.#active + page, PageUp: this.#active - page }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#activate(Math.max(0, Math.min(last, to)), true);
  }

  /** The one row that Tab reaches. @param {number} index @param {boolean} focus */
  #activate(index, focus) {
    if (index < 0) return;
    this.#active = index;
    if (focus) {
      const top = this.#body.getBoundingClientRect().top + index * this.#rowPx;
      const above = need("top", HTMLElement).getBoundingClientRect().bottom + this.#rowPx;
      if (top < above) scrollBy(0, top - above);
      else if (top + this.#rowPx * 2 > innerHeight) scrollBy(0, top + this.#rowPx * 2 - innerHeight);
      this.layout();
    }
    for (const lane of this.#lanes.values()) lane.name.tabIndex = lane.slot === this.#order[index] ? 0 : -1;
    if (focus) this.#lanes.get(this.#order[index] ?? -1)?.name.focus({ preventScroll: true });
  }

  tick() {
    if (this.hidden) return;
    const softened = this.#motion() === "softened";
    for (const lane of this.#lanes.values()) lane.tick(this.#world, softened);
  }

  live() {
    const motion = this.#motion();
    if (this.hidden || motion === "calm") return;
    for (const lane of this.#lanes.values()) lane.live(this.#world, motion);
  }

  paint() {
    if (this.hidden) return;
    for (const lane of this.#lanes.values()) lane.paint();
  }
}
