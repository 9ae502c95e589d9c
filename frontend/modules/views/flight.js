/**
 * The flight of datagrams, as textbooks draw it: time runs to the right, above it what was sent, below it what arrived. A stroke is one
 * datagram; its slant is its delay, a stub is a loss, strokes that cross were reordered, a fork is a duplicate.
 */
import { need, setAttribute, setText } from "../base/dom.js";
import { clockTime, count, milliseconds, plural } from "../base/format.js";
import { onThemeChange, paints } from "../draw/theme.js";
import { unpack } from "../draw/colour.js";

/** @typedef {import("../feed/recent.js").Datagram} Datagram */
/** One stroke, in seconds from the left edge; `down` is NaN for what never arrived.
 * @typedef {{datagram: Datagram, up: number, down: number}} Stroke */

const HEIGHT_PX = 230;
const TOP_PX = 26;
const BOTTOM_PX = HEIGHT_PX - 34;
const SIDE_PX = 10;
const STUB = 0.45;
const MOST_PER_S = 200;
const NEAR_PX = 6;
/** Windows that the buttons + and − step through, seconds. */
const WINDOWS_S = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];
/** What stands at the end of a stub. @type {Record<string, string>} */
const CAUSE_MARKS = { link: "L", sender_kernel: "S", receiver_kernel: "R", unexplained: "?", unknown_path: "?", path: "P", awaiting: "…" };

/**
 * Strokes of the newest datagrams. A window of `windowS` seconds ends at the newest instant; above MOST_PER_S every n-th datagram is drawn.
 * Losses have no instant of their own unless the sender tells it: they are put between their neighbours.
 * @param {Datagram[]} datagrams newest last @param {number} windowS
 * @returns {{strokes: Stroke[], endNs: number, oneIn: number}}
 */
export function strokesOf(datagrams, windowS) {
  const known = datagrams.map((one) => ({ one, sentNs: one.sent_at_ns }));
  spreadUnknown(known);
  const instants = known.flatMap(({ one, sentNs }) => [sentNs ?? 0, one.received_at_ns === null ? 0 : arrivalNs(one, sentNs)]);
  const endNs = Math.max(0, ...instants);
  const startNs = endNs - windowS * 1e9;
  const inside = known.filter(({ one, sentNs }) => sentNs !== null && Math.max(sentNs, arrivalNs(one, sentNs) || 0) >= startNs);
  const oneIn = Math.max(1, Math.ceil(inside.length / windowS / MOST_PER_S));
  const strokes = inside.filter((_, index) => index % oneIn === 0).map(({ one, sentNs }) => ({
    datagram: one, up: ((sentNs ?? 0) - startNs) / 1e9, down: (arrivalNs(one, sentNs) - startNs) / 1e9,
  }));
  return { strokes, endNs, oneIn };
}

/** By the delay, which is relative if the two ends have no clock in common. @param {Datagram} one @param {number | null} sentNs */
function arrivalNs(one, sentNs) {
  if (one.received_at_ns === null || sentNs === null) return NaN;
  return one.delay_ms === null ? one.received_at_ns : sentNs + one.delay_ms * 1e6;
}

/** @param {{one: Datagram, sentNs: number | null}[]} known */
function spreadUnknown(known) {
  for (let at = 0; at < known.length; at++) {
    if (known[at]?.sentNs !== null) continue;
    let next = at;
    while (next < known.length && known[next]?.sentNs === null) next += 1;
    const before = known[at - 1]?.sentNs;
    const after = known[next]?.sentNs;
    if (before === undefined || before === null || after === undefined || after === null) {
      at = next;
      continue;
    }
    for (let place = at; place < next; place++) {
      const entry = known[place];
      if (entry) entry.sentNs = before + ((after - before) * (place - at + 1)) / (next - at + 1);
    }
    at = next;
  }
}

export class Flight {
  #root = need("panel-flight", HTMLElement);
  #canvas = need("flight-canvas", HTMLCanvasElement);
  #facts = need("flight-facts", HTMLElement);
  #scale = need("flight-scale", HTMLElement);
  #window = WINDOWS_S.indexOf(2);
  /** @type {Datagram[]} */ #datagrams = [];
  /** @type {Stroke[]} */ #strokes = [];
  #endNs = 0;
  #oneIn = 1;
  /** @type {Stroke | null} */ #pointed = null;
  #opened;

  /** @param {import("../feed/recent.js").Recent} recent @param {(sequence: number) => void} opened a datagram is to be looked at */
  constructor(recent, opened) {
    this.#opened = opened;
    recent.add({
      wanted: () => this.#root.offsetParent !== null,
      show: (datagrams) => {
        this.#datagrams = datagrams;
        this.draw();
      },
    });
    need("flight-closer", HTMLButtonElement).addEventListener("click", () => this.#zoom(-1));
    need("flight-farther", HTMLButtonElement).addEventListener("click", () => this.#zoom(1));
    this.#canvas.addEventListener("pointermove", (event) => this.#point(event.offsetX, event.offsetY));
    this.#canvas.addEventListener("pointerleave", () => this.#point(-100, -100));
    this.#canvas.addEventListener("click", () => this.#openPointed());
    this.#canvas.addEventListener("keydown", (event) => this.#keydown(event));
    new ResizeObserver(() => this.draw()).observe(this.#root);
    onThemeChange(() => this.draw());
  }

  /** Another client. */
  clear() {
    this.#datagrams = [];
    this.#pointed = null;
    this.draw();
  }

  /** @param {number} step */
  #zoom(step) {
    this.#window = Math.max(0, Math.min(WINDOWS_S.length - 1, this.#window + step));
    this.draw();
  }

  get #windowS() {
    return WINDOWS_S[this.#window] ?? 2;
  }

  draw() {
    const widthPx = this.#canvas.parentElement?.clientWidth ?? 0;
    const context = this.#canvas.getContext("2d");
    if (this.#root.offsetParent === null || widthPx === 0 || !context) return;
    const ratio = Math.min(2, devicePixelRatio);
    this.#canvas.width = Math.round(widthPx * ratio);
    this.#canvas.height = HEIGHT_PX * ratio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { strokes, endNs, oneIn } = strokesOf(this.#datagrams, this.#windowS);
    this.#strokes = strokes;
    this.#endNs = endNs;
    this.#oneIn = oneIn;
    this.#drawLines(context, widthPx);
    for (const stroke of strokes) this.#drawStroke(context, widthPx, stroke, stroke.datagram.sequence === this.#pointed?.datagram.sequence);
    this.#describe();
  }

  /** @param {number} seconds @param {number} widthPx */
  #x(seconds, widthPx) {
    return SIDE_PX + (seconds / this.#windowS) * (widthPx - 2 * SIDE_PX);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} widthPx */
  #drawLines(context, widthPx) {
    context.font = "12px sans-serif";
    context.fillStyle = css(paints.ink);
    context.fillText("sent", SIDE_PX, TOP_PX - 10);
    context.fillText("arrived", SIDE_PX, BOTTOM_PX + 16);
    context.fillStyle = css(paints.faint);
    for (const y of [TOP_PX, BOTTOM_PX]) context.fillRect(SIDE_PX, y, widthPx - 2 * SIDE_PX, 1);
    const tickS = this.#windowS / 5;
    for (let tick = 0; tick <= 5; tick++) {
      const x = this.#x(tick * tickS, widthPx);
      context.fillStyle = css(paints.faint);
      context.fillRect(Math.round(x), BOTTOM_PX, 1, 5);
      const text = tick === 5 ? "now" : `−${milliseconds((5 - tick) * tickS * 1000)}`;
      context.textAlign = tick === 0 ? "left" : tick === 5 ? "right" : "center";
      context.fillStyle = css(paints.ink);
      if (tick !== 0) context.fillText(text, x, BOTTOM_PX + 28);
    }
    context.textAlign = "left";
  }

  /** @param {CanvasRenderingContext2D} context @param {number} widthPx @param {Stroke} stroke @param {boolean} pointed */
  #drawStroke(context, widthPx, { datagram, up, down }, pointed) {
    const from = this.#x(up, widthPx);
    const ink = css(paints.ink);
    context.lineWidth = pointed ? 3.5 : 1.5;
    context.strokeStyle = datagram.rgb ?? ink;
    context.beginPath();
    context.moveTo(from, TOP_PX);
    if (Number.isNaN(down)) {
      if (datagram.fate !== "lost") return;
      const y = TOP_PX + (BOTTOM_PX - TOP_PX) * STUB;
      context.strokeStyle = ink;
      context.setLineDash([3, 2]);
      context.lineTo(from, y);
      context.stroke();
      context.setLineDash([]);
      context.fillStyle = ink;
      context.textAlign = "center";
      context.fillText(`✕ ${CAUSE_MARKS[datagram.cause ?? ""] ?? ""}`.trim(), from, y + 13);
      context.textAlign = "left";
      return;
    }
    const to = this.#x(down, widthPx);
    context.lineTo(to, BOTTOM_PX);
    context.stroke();
    if (datagram.duplicates) {
      // The copies' own instants are not kept: the fork says that there were some.
      context.beginPath();
      context.moveTo(from + (to - from) * 0.8, TOP_PX + (BOTTOM_PX - TOP_PX) * 0.8);
      context.lineTo(to + 7, BOTTOM_PX);
      context.stroke();
    }
  }

  /** @param {number} x @param {number} y */
  #point(x, y) {
    const widthPx = this.#canvas.clientWidth;
    const share = (y - TOP_PX) / (BOTTOM_PX - TOP_PX);
    let best = null;
    let least = NEAR_PX;
    if (share >= -0.1 && share <= 1.15) {
      for (const stroke of this.#strokes) {
        const from = this.#x(stroke.up, widthPx);
        const to = Number.isNaN(stroke.down) ? from : this.#x(stroke.down, widthPx);
        const apart = Math.abs(from + (to - from) * Math.max(0, Math.min(1, share)) - x);
        if (apart < least) {
          least = apart;
          best = stroke;
        }
      }
    }
    if (best?.datagram.sequence === this.#pointed?.datagram.sequence) return;
    this.#pointed = best;
    this.#canvas.style.cursor = best ? "pointer" : "";
    this.draw();
  }

  #openPointed() {
    const sequence = this.#pointed?.datagram.sequence;
    if (sequence !== undefined && sequence !== null) this.#opened(sequence);
  }

  /** @param {KeyboardEvent} event */
  #keydown(event) {
    const at = this.#strokes.findIndex(({ datagram }) => datagram.sequence === this.#pointed?.datagram.sequence);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step !== undefined) this.#pointed = this.#strokes[at < 0 ? this.#strokes.length - 1 : Math.max(0, Math.min(this.#strokes.length - 1, at + step))] ?? null;
    else if (event.key === "+" || event.key === "=") this.#zoom(-1);
    else if (event.key === "-") this.#zoom(1);
    else if (event.key === "Enter") this.#openPointed();
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.draw();
  }

  #describe() {
    setText(this.#scale, `${milliseconds(this.#windowS * 1000)} wide${this.#oneIn > 1 ? `, 1 datagram in ${this.#oneIn} drawn` : ""}`);
    const one = this.#pointed?.datagram;
    const lost = this.#strokes.filter(({ datagram }) => datagram.fate === "lost").length;
    const timed = this.#datagrams.some(({ sent_at_ns }) => sent_at_ns !== null);
    const all = this.#strokes.length ? `${plural(this.#strokes.length, "datagram")} until ${clockTime(this.#endNs / 1e6)}, ${count(lost)} lost. Point at one.`
      : this.#datagrams.length && !timed ? "This stream carries no send times, so its flight cannot be drawn." : "No datagrams in this period.";
    setText(this.#facts, one ? describeDatagram(one) : all);
    setAttribute(this.#canvas, "aria-label", this.#facts.textContent ?? "");
  }
}

/** @param {Datagram} one */
function describeDatagram(one) {
  const parts = [`number ${count(one.sequence)}`, one.colour ?? "", one.fate === "lost" ? `lost: ${(one.cause ?? "unexplained").replaceAll("_", " ")}` : one.fate.replace("_", " ")];
  if (one.delay_ms !== null) parts.push(`delay ${milliseconds(one.delay_ms)}`);
  if (one.reordered) parts.push("reordered");
  if (one.duplicates) parts.push(plural(one.duplicates, "copy", "copies"));
  return parts.filter(Boolean).join(", ");
}

/** @param {number} packed */
const css = (packed) => `rgb(${unpack(packed).join(" ")})`;
