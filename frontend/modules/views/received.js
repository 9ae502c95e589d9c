/** The drawer's panel for a flow that a receiver hears: who sends, how steadily, and every channel of the newest picture. */
import { ask, Problem } from "../base/api.js";
import { element, need, setAttribute, setText } from "../base/dom.js";
import { count, milliseconds, perSecond, span } from "../base/format.js";

/** @typedef {import("../feed/bodies.d.ts").HeardFlow} Flow */
/** @typedef {import("../feed/bodies.d.ts").Picture} Picture */

const EVERY_MS = 250;
/** Who else is bound to the port is looked up this often. */
const LOOK_EVERY_MS = 10_000;
/** So much may change at full rate (WCAG 2.2: 21,824 CSS px² in any 341 × 256). */
const MOST_AREA_PX = 21824;
const WIDTH_PX = 341;
const LINE_BYTES = 16;

/** One datagram's or picture's bytes, as they are. @param {string} hex */
export function bytesOf(hex) {
  return Uint8Array.from({ length: hex.length / 2 }, (_, at) => parseInt(hex.slice(at * 2, at * 2 + 2), 16));
}

/** How many pixels stand side by side, so that all of them fit. @param {number} pixels */
export function columnsOf(pixels) {
  if (pixels <= 0) return 1;
  const height = MOST_AREA_PX / WIDTH_PX;
  return Math.min(pixels, Math.max(1, Math.ceil(Math.sqrt((pixels * WIDTH_PX) / height))));
}

/** One pixel's slots, counted from 1, and their values. @param {Uint8Array} values @param {number} channels @param {number} pixel */
export function describePixel(values, channels, pixel) {
  const first = pixel * channels;
  const own = [...values.subarray(first, first + channels)];
  if (!own.length) return "";
  const slots = own.length > 1 ? `slots ${first + 1} to ${first + own.length}` : `slot ${first + 1}`;
  return `pixel ${pixel + 1}, ${slots}: ${own.join(", ")}`;
}

/** Bytes to the end, a line for each 16. @param {Uint8Array} bytes @param {number} from what the first one is called */
export function dump(bytes, from) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += LINE_BYTES) {
    const line = [...bytes.subarray(at, at + LINE_BYTES)].map((byte) => byte.toString(16).padStart(2, "0"));
    lines.push(`${String(at + from).padStart(5)}  ${line.join(" ")}`);
  }
  return lines.join("\n");
}

/** What is known of it, as pairs. @param {Flow} flow @returns {[string, string][]} */
export function factsOf(flow) {
  const { frames, ledger } = flow;
  const known = ledger.lost !== null;
  return [
    ["State", stateWords(flow)],
    ["Format", flow.format],
    ["Frames", `${count(frames.count)}, ${perSecond(frames.rate_hz)}`],
    ["Pauses between frames", frames.pause_ms ? `${milliseconds(frames.pause_ms.shortest)} to ${milliseconds(frames.pause_ms.longest)}` : "not known yet"],
    ["Bytes per datagram", frames.size_bytes ? frames.size_bytes.shortest === frames.size_bytes.longest ? count(frames.size_bytes.longest) : `${count(frames.size_bytes.shortest)} to ${count(frames.size_bytes.longest)}` : "–"],
    ["Received", count(ledger.received)],
    ["Lost", known ? count(ledger.lost) : "cannot be known"],
    ["Numbers", flow.numbering ?? "this format has none"],
    ["Jitter", jitterWords(flow)],
    ["Goodbyes", count(flow.goodbyes)],
  ];
}

/** @param {Flow} flow */
function jitterWords(flow) {
  if (flow.jitter_ticks === null || flow.media_hz === null) return "the datagrams carry no timestamps";
  return `${milliseconds(flow.jitter_ms)}, ${flow.jitter_ticks.toFixed(1)} ticks of ${count(flow.media_hz)} per second`;
}

/** @param {Flow} flow */
function stateWords(flow) {
  const repeats = flow.frames.repeats_after_ms;
  if (flow.state === "held") return `held: the same picture${repeats === null ? "" : `, repeated every ${span(repeats)}`}`;
  if (flow.state === "ended") return "ended by the sender";
  return `${flow.state}, last datagram ${span(flow.age_ms)} ago`;
}

export class Received {
  #root = need("panel-received", HTMLElement);
  #facts = need("received-facts", HTMLElement);
  #notes = need("received-notes", HTMLElement);
  #canvas = need("received-picture", HTMLCanvasElement);
  #under = need("received-under", HTMLElement);
  #none = need("received-none", HTMLElement);
  #fields = need("received-fields", HTMLElement);
  #bytes = need("received-bytes", HTMLElement);
  #slots = need("received-slots", HTMLElement);
  #id = "";
  #askedAtMs = -Infinity;
  #asking = false;
  #values = new Uint8Array(0);
  #channels = 3;
  #pointedAt = -1;
  #gone = false;
  /** @type {string[]} */ #alsoBound = [];
  #lookedAtMs = -Infinity;

  constructor() {
    this.#canvas.addEventListener("pointermove", (event) => {
      const box = this.#canvas.getBoundingClientRect();
      const column = Math.floor(((event.clientX - box.left) / box.width) * this.#canvas.width);
      const row = Math.floor(((event.clientY - box.top) / box.height) * this.#canvas.height);
      this.#pointedAt = row * this.#canvas.width + column;
      this.#sayUnder();
    });
    this.#canvas.addEventListener("pointerleave", () => {
      this.#pointedAt = -1;
      this.#sayUnder();
    });
  }

  get gone() {
    return this.#gone;
  }

  /** @param {string} id "" for none */
  open(id) {
    this.#root.hidden = id === "";
    if (id === this.#id) return;
    this.#id = id;
    this.#gone = false;
    this.#alsoBound = [];
    this.#askedAtMs = this.#lookedAtMs = -Infinity;
    this.#values = new Uint8Array(0);
    this.#facts.replaceChildren();
    this.#draw();
  }

  tick() {
    if (this.#id === "" || this.#asking || performance.now() - this.#askedAtMs < EVERY_MS) return;
    this.#askedAtMs = performance.now();
    void this.#ask(this.#id);
  }

  /** @param {string} id */
  async #ask(id) {
    this.#asking = true;
    try {
      const path = `api/flows/${encodeURIComponent(id)}`;
      const [flow, picture] = await Promise.all([ask("GET", path), ask("GET", `${path}/picture`)]);
      if (id === this.#id) this.show(flow, picture);
      if (performance.now() - this.#lookedAtMs >= LOOK_EVERY_MS) {
        this.#lookedAtMs = performance.now();
        const receiver = await ask("GET", `api/receivers/${encodeURIComponent(flow.receiver_id)}`);
        this.#alsoBound = receiver.also_bound;
      }
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (id === this.#id && error.status === 404) this.#gone = true;
    } finally {
      this.#asking = false;
    }
  }

  /** @param {Flow} flow @param {Picture} picture */
  show(flow, picture) {
    factsOf(flow).forEach(([name, text], index) => {
      if (this.#facts.children.length <= index) this.#facts.append(element("div", {}, element("dt", {}, name), element("dd", {})));
      setText(/** @type {Node} */ (this.#facts.children[index]?.lastChild), text);
    });
    const shared = this.#alsoBound.map((other) => `Not from this sender: ${other} is also bound to this port, and may receive datagrams meant for this receiver.`);
    const notes = flow.notes.length ? [...flow.notes, ...shared] : ["Nothing unusual so far.", ...shared];
    if (notes.join("\n") !== [...this.#notes.children].map((node) => node.textContent).join("\n")) {
      this.#notes.replaceChildren(...notes.map((note) => element("li", {}, note)));
    }
    this.#values = bytesOf(picture.values_hex);
    this.#channels = picture.channels;
    this.#draw();
    this.#showDatagram(picture.datagram);
  }

  /** @param {Picture["datagram"]} datagram */
  #showDatagram(datagram) {
    const rows = (datagram?.fields ?? []).map((field) => [field.name, field.value, field.about]);
    const [body] = [...this.#fields.querySelectorAll("tbody")];
    while (body && body.children.length > rows.length) body.lastElementChild?.remove();
    rows.forEach((texts, index) => {
      if (body && body.children.length <= index) body.append(element("tr", {}, element("th", { scope: "row" }), element("td", {}), element("td", {})));
      texts.forEach((text, column) => setText(/** @type {Node} */ (body?.children[index]?.children[column]), text));
    });
    setText(this.#bytes, datagram ? dump(bytesOf(datagram.payload_hex), 0) : "");
    setText(this.#slots, dump(this.#values, 1));
  }

  #draw() {
    const pixels = Math.ceil(this.#values.length / this.#channels);
    this.#canvas.hidden = pixels === 0;
    this.#none.hidden = pixels > 0;
    if (pixels === 0) return;
    const columns = columnsOf(pixels);
    const rows = Math.ceil(pixels / columns);
    if (this.#canvas.width !== columns) this.#canvas.width = columns;
    if (this.#canvas.height !== rows) this.#canvas.height = rows;
    const cellPx = Math.min(WIDTH_PX / columns, MOST_AREA_PX / WIDTH_PX / rows, 24);
    this.#canvas.style.width = `${columns * cellPx}px`;
    this.#canvas.style.height = `${rows * cellPx}px`;
    const image = new ImageData(columns, rows);
    const grey = this.#channels === 1;
    for (let pixel = 0; pixel < pixels; pixel++) {
      const at = pixel * this.#channels;
      const white = this.#channels === 4 ? this.#values[at + 3] ?? 0 : 0;
      for (let colour = 0; colour < 3; colour++) {
        image.data[pixel * 4 + colour] = Math.min(255, (this.#values[at + (grey ? 0 : colour)] ?? 0) + white);
      }
      image.data[pixel * 4 + 3] = 255;
    }
    this.#canvas.getContext("2d")?.putImageData(image, 0, 0);
    setAttribute(this.#canvas, "aria-label", `${count(pixels)} pixels; the first is ${[...this.#values.subarray(0, this.#channels)].join(", ")}`);
    this.#sayUnder();
  }

  #sayUnder() {
    const text = this.#pointedAt >= 0 ? describePixel(this.#values, this.#channels, this.#pointedAt) : "";
    setText(this.#under, text || `${count(this.#values.length)} slots, counted from 1. Point at a pixel to see its slots.`);
  }
}
