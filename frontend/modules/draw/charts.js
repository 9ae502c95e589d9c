/** Four small charts of one client: 600 samples at 4 Hz, two and a half minutes. Gaps in time are gaps in the line. */
import { element, explained, need, setAttribute, setText } from "../base/dom.js";
import { clockTime, milliseconds, percent, perSecond, UNKNOWN } from "../base/format.js";
import { delayMs, jitterMs, lossRatio, rateHz } from "../feed/state.js";
import { paints } from "./theme.js";
import { unpack } from "./colour.js";

const SAMPLES = 600;
const SAMPLE_MS = 250;
const TABLE_STEP = 40;
const HEIGHT_PX = 56;

/** @typedef {import("../feed/state.js").World} World */

const MEASURES = /** @type {const} */ ([
  { name: "Rate", term: "rate_hz", of: rateHz, text: perSecond, least: 1 },
  { name: "Loss", term: "loss_recent", of: lossRatio, text: percent, least: 0.01 },
  { name: "Jitter", term: "jitter_ms", of: jitterMs, text: milliseconds, least: 0.1 },
  { name: "Delay", term: "delay_ms", of: delayMs, text: milliseconds, least: 0.1 },
]);

/** A ring of samples; NaN where nothing is known. */
export class Samples {
  #values = new Float32Array(SAMPLES).fill(NaN);
  #newest = -1;

  clear() {
    this.#values.fill(NaN);
    this.#newest = -1;
  }

  /** @param {number} step number of the sample, counted from any time @param {number} value */
  put(step, value) {
    if (this.#newest < 0 || step - this.#newest > SAMPLES) {
      this.#values.fill(NaN);
      this.#newest = step - 1;
    }
    for (let missed = this.#newest + 1; missed < step; missed++) this.#values[missed % SAMPLES] = NaN;
    this.#values[step % SAMPLES] = value;
    this.#newest = Math.max(step, this.#newest);
  }

  /** @param {number} age in samples, 0 the newest */
  at(age) {
    return this.#newest < age ? NaN : this.#values[(this.#newest - age) % SAMPLES] ?? NaN;
  }

  /** Least and greatest of what is known. */
  range() {
    let least = Infinity;
    let most = -Infinity;
    for (const value of this.#values) {
      if (value < least) least = value;
      if (value > most) most = value;
    }
    return most === -Infinity ? { least: NaN, most: NaN } : { least, most };
  }
}

export class Charts {
  #root = need("charts", HTMLElement);
  #table = need("charts-table", HTMLDetailsElement);
  #slot = -1;
  #step = -1;
  #charts = MEASURES.map((measure) => {
    const canvas = element("canvas", { role: "img" });
    const now = element("b");
    const range = element("span", { class: "hint" });
    const title = element("h4", {}, explained(measure.name, measure.term), now);
    this.#root.append(element("div", { class: "chart" }, title, canvas, range));
    return { measure, canvas, now, range, samples: new Samples() };
  });
  #world;

  /** @param {World} world */
  constructor(world) {
    this.#world = world;
    this.#table.addEventListener("toggle", () => this.#showTable());
  }

  /** @param {number} slot */
  open(slot) {
    if (slot === this.#slot) return;
    this.#slot = slot;
    for (const chart of this.#charts) chart.samples.clear();
  }

  /** A sample where one is due. */
  live() {
    const step = Math.floor(performance.now() / SAMPLE_MS);
    if (this.#slot < 0 || step === this.#step) return;
    this.#step = step;
    for (const { measure, samples } of this.#charts) samples.put(step, measure.of(this.#world, this.#slot));
  }

  tick() {
    if (this.#root.offsetParent === null) return;
    for (const chart of this.#charts) {
      const { measure, samples } = chart;
      const { least, most } = samples.range();
      const text = measure.text(samples.at(0));
      setText(chart.now, text);
      const range = Number.isNaN(least) ? "not known" : `min ${measure.text(least)}, max ${measure.text(most)}`;
      setText(chart.range, range);
      setAttribute(chart.canvas, "aria-label", `${measure.name} over the last two and a half minutes: now ${text}, ${range}`);
      drawLine(chart.canvas, samples, Math.max(measure.least, Number.isNaN(most) ? 0 : most * 1.1));
    }
    this.#showTable();
  }

  #showTable() {
    const body = this.#table.querySelector("tbody");
    if (!this.#table.open || !body) return;
    const rows = [];
    for (let age = 0; age < SAMPLES; age += TABLE_STEP) {
      const texts = this.#charts.map(({ measure, samples }) => measure.text(samples.at(age)));
      if (texts.every((text) => text === UNKNOWN)) continue;
      rows.push(element("tr", {}, element("th", { scope: "row" }, clockTime(Date.now() - age * SAMPLE_MS)), ...texts.map((text) => element("td", {}, text))));
    }
    body.replaceChildren(...rows);
  }
}

/** @param {HTMLCanvasElement} canvas @param {Samples} samples @param {number} top value at the upper edge */
function drawLine(canvas, samples, top) {
  const ratio = Math.min(2, devicePixelRatio);
  const width = canvas.clientWidth;
  if (canvas.width !== Math.round(width * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = HEIGHT_PX * ratio;
  }
  const context = canvas.getContext("2d");
  if (!context) return;
  const colour = (/** @type {number} */ packed, /** @type {number} */ alpha) => `rgb(${unpack(packed).join(" ")} / ${alpha})`;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, HEIGHT_PX);
  context.fillStyle = colour(paints.track, 1);
  context.fillRect(0, HEIGHT_PX - 1, width, 1);
  context.strokeStyle = colour(paints.accent, 1);
  context.fillStyle = colour(paints.accent, 0.14);
  context.lineWidth = 1.5;
  const x = (/** @type {number} */ age) => width * (1 - age / (SAMPLES - 1));
  const y = (/** @type {number} */ value) => HEIGHT_PX - 1 - (HEIGHT_PX - 4) * Math.max(0, Math.min(1, value / top));
  // One path for each run of samples without a gap.
  for (let age = SAMPLES - 1; age >= 0; age--) {
    if (Number.isNaN(samples.at(age))) continue;
    const start = age;
    context.beginPath();
    for (; age >= 0 && !Number.isNaN(samples.at(age)); age--) context.lineTo(x(age), y(samples.at(age)));
    context.stroke();
    context.lineTo(x(age + 1), HEIGHT_PX - 1);
    context.lineTo(x(start), HEIGHT_PX - 1);
    context.fill();
  }
}
