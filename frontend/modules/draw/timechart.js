/**
 * Curves over time, by uPlot: several charts that share one range and one crosshair, with events as marks on each of them.
 * Dragging, the wheel and keys change the range; who owns these charts asks the server for it.
 */
import uPlot from "../../vendor/uplot/uPlot.esm.js";
import { element, explained, setAttribute, setText } from "../base/dom.js";
import { clockTime } from "../base/format.js";
import { onThemeChange } from "./theme.js";

/** Times are Unix seconds. */
/** @typedef {{from: number, to: number}} Range */
/** @typedef {{at: number, kind: string, text: string, flow: string | null}} Mark */
/** @typedef {{label: string, colour: string, fill?: boolean, dash?: number[], compared?: boolean}} Curve `colour` is a token of the style sheet;
 *   one that is `compared` belongs to something else, and is not spoken of while it has no values */
/** @typedef {{name: string, term: string, curves: Curve[], text: (value: number | null | undefined) => string, heightPx: number, shared?: boolean}} Panel `shared`: the time axis is the one of a chart below */
/** @typedef {(number | null)[]} Values */

const MIN_RANGE_S = 5;
const ZOOM_STEP = 1.4;
const AXIS_PX = 66;
const MARK_NEAR_PX = 6;
const MARKS_APART_PX = 4;

/** @param {string} token */
const colourOf = (token) => getComputedStyle(document.documentElement).getPropertyValue(`--${token}`).trim();

/** Tokens are light-dark() pairs, which a canvas does not understand: an element that wears one tells what it comes to. */
const probe = element("i", { hidden: "" });

/** @param {string} token */
function resolved(token) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(--${token})`;
  return getComputedStyle(probe).color || colourOf(token);
}

/** Of places in order those that are not too near to the one before: a hundred marks on one spot would hide the curve.
 * @param {number[]} places @param {number} leastPx */
export function apart(places, leastPx) {
  let last = -Infinity;
  return places.filter((place) => {
    if (place - last < leastPx) return false;
    last = place;
    return true;
  });
}

export class TimeCharts {
  #root;
  #panels;
  #key;
  #changed;
  /** @type {uPlot[]} */ #plots = [];
  /** @type {HTMLElement[]} */ #readouts = [];
  /** @type {Mark[]} */ #marks = [];
  /** What the curves that are compared belong to. */ comparedWith = "";
  /** @type {Range} */ range = { from: 0, to: 1 };
  /** @type {Values[][]} by panel: times, then a column per curve */ #data = [];
  #markLine;
  #hint;

  /**
   * @param {HTMLElement} root @param {Panel[]} panels
   * @param {HTMLElement} markLine says what the mark below the crosshair is; until then it keeps its text
   * @param {(range: Range) => Range} changed the reader asks for another range; returns the one that is taken
   */
  constructor(root, panels, markLine, changed) {
    this.#root = root;
    this.#panels = panels;
    this.#changed = changed;
    this.#key = uPlot.sync(`over-time-${root.id}`);
    this.#markLine = markLine;
    this.#hint = markLine.textContent ?? "";
    for (const panel of panels) this.#make(panel);
    new ResizeObserver(() => this.#fit()).observe(root);
    onThemeChange(() => this.#plots.forEach((plot) => plot.redraw(false, true)));
  }

  /** @param {Panel} panel */
  #make(panel) {
    const readout = element("span", { class: "readout" });
    const holder = element("div", { class: "plot", tabindex: "0", role: "img" });
    holder.addEventListener("keydown", (event) => this.#keydown(event));
    holder.addEventListener("wheel", (event) => this.#wheel(event, holder), { passive: false });
    this.#root.append(element("div", { class: "panel-chart" }, element("p", { class: "panel-name" }, explained(panel.name, panel.term), " ", readout), holder));
    this.#readouts.push(readout);
    this.#data.push([[], ...panel.curves.map(() => [])]);
    this.#plots.push(new uPlot(this.#options(panel, this.#plots.length), /** @type {any} */ ([[], ...panel.curves.map(() => [])]), holder));
  }

  /** @param {Panel} panel @param {number} index @returns {any} */
  #options(panel, index) {
    const axis = { stroke: () => resolved("muted"), grid: { stroke: () => resolved("line"), width: 1 }, ticks: { stroke: () => resolved("line"), width: 1 }, font: "11px sans-serif" };
    return {
      width: 300, height: panel.heightPx, padding: [6, 24, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: this.#key.key, setSeries: false }, drag: { x: true, y: false, setScale: false }, points: { size: 5 } },
      scales: { x: { time: true, range: () => [this.range.from, this.range.to] }, y: { range: (/** @type {unknown} */ _, /** @type {number} */ least, /** @type {number} */ most) => [Math.min(0, least ?? 0), most > 0 ? most * 1.08 : 1] } },
      series: [{}, ...panel.curves.map((curve) => ({
        label: curve.label, stroke: () => resolved(curve.colour), width: 1.5, dash: curve.dash, spanGaps: false, points: { show: false },
        fill: curve.fill ? () => resolved(curve.colour).replace("rgb(", "rgba(").replace(")", ", 0.14)") : undefined,
      }))],
      axes: [{ ...axis, values: panel.shared ? (/** @type {unknown} */ _, /** @type {number[]} */ ticks) => ticks.map(() => "") : "{HH}:{mm}:{ss}", space: 80, size: panel.shared ? 6 : 26 }, { ...axis, size: AXIS_PX, space: 18, values: (/** @type {unknown} */ _, /** @type {number[]} */ ticks) => ticks.map(panel.text) }],
      hooks: {
        setCursor: [(/** @type {uPlot} */ plot) => this.#read(plot, index)],
        setSelect: [(/** @type {uPlot} */ plot) => this.#selected(plot)],
        draw: [(/** @type {uPlot} */ plot) => this.#drawMarks(plot)],
      },
    };
  }

  /** @param {Values} times @param {Values[][]} columns a list of columns per panel @param {Mark[]} marks @param {Range} range */
  show(times, columns, marks, range) {
    this.range = range;
    this.#marks = marks;
    this.#plots.forEach((plot, index) => {
      this.#data[index] = [times, ...(columns[index] ?? [])];
      plot.setData(/** @type {any} */ (this.#data[index]));
      this.#read(plot, index);
    });
  }

  #fit() {
    this.#plots.forEach((plot, index) => {
      const width = plot.root.parentElement?.clientWidth ?? 0;
      if (width > 0) plot.setSize({ width, height: this.#panels[index]?.heightPx ?? 80 });
    });
  }

  /** The value below the crosshair, otherwise the newest one. @param {uPlot} plot @param {number} index */
  #read(plot, index) {
    const panel = this.#panels[index];
    const readout = this.#readouts[index];
    if (!panel || !readout) return;
    const [times = [], ...columns] = this.#data[index] ?? [];
    const pointed = plot.cursor.idx ?? null;
    const at = pointed ?? times.length - 1;
    // Of many curves those that are zero say nothing.
    const shown = panel.curves.map((curve, place) => ({ curve, value: columns[place]?.[at] })).filter(({ curve, value }) => !curve.compared || (value !== null && value !== undefined))
      .filter(({ value }, place, all) => value || all.length < 4 || (place === 0 && !columns.some((column) => column[at])));
    const parts = shown.map(({ curve, value }) => `${shown.length > 1 ? `${curve.compared ? this.comparedWith : curve.label} ` : ""}${panel.text(value)}`);
    const when = pointed === null || times[at] === undefined || times[at] === null ? "" : ` at ${clockTime(times[at] * 1000)}`;
    setText(readout, times.length ? `${parts.join(", ")}${when}` : "no data for this period");
    setAttribute(/** @type {Element} */ (plot.root.parentElement), "aria-label", `${panel.name}, ${clockTime(this.range.from * 1000)} to ${clockTime(this.range.to * 1000)}: ${readout.textContent}`);
    if (index === 0) this.#readMark(plot);
  }

  /** @param {uPlot} plot */
  #readMark(plot) {
    const left = plot.cursor.left ?? -1;
    const near = left < 0 ? undefined : this.#marks.find((mark) => Math.abs(plot.valToPos(mark.at, "x") - left) <= MARK_NEAR_PX);
    setText(this.#markLine, near ? `${clockTime(near.at * 1000)}: ${near.text}` : this.#hint);
  }

  /** @param {uPlot} plot */
  #drawMarks(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = resolved("edge");
    ctx.fillStyle = resolved("edge");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([3, 3]);
    const inside = this.#marks.filter((mark) => mark.at >= this.range.from && mark.at <= this.range.to);
    for (const x of apart(inside.map((mark) => Math.round(plot.valToPos(mark.at, "x", true)) + 0.5), MARKS_APART_PX * devicePixelRatio)) {
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(x - 3 * devicePixelRatio, bbox.top);
      ctx.lineTo(x + 3 * devicePixelRatio, bbox.top);
      ctx.lineTo(x, bbox.top + 5 * devicePixelRatio);
      ctx.fill();
    }
    ctx.restore();
  }

  /** @param {uPlot} plot */
  #selected(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    const range = { from: plot.posToVal(left, "x"), to: plot.posToVal(left + width, "x") };
    plot.setSelect(/** @type {any} */ ({ left: 0, width: 0, top: 0, height: 0 }), false);
    this.#become(range);
  }

  /** @param {WheelEvent} event @param {HTMLElement} holder */
  #wheel(event, holder) {
    // A wheel without Ctrl scrolls the page, as everywhere; with it (or a pinch) it zooms.
    if (!event.ctrlKey) return;
    event.preventDefault();
    const box = holder.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left - AXIS_PX) / (box.width - AXIS_PX)));
    this.#zoom(event.deltaY > 0 ? ZOOM_STEP : 1 / ZOOM_STEP, share);
  }

  /** @param {KeyboardEvent} event */
  #keydown(event) {
    const length = this.range.to - this.range.from;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+" || event.key === "=") this.#zoom(1 / ZOOM_STEP, 0.5);
    else if (event.key === "-") this.#zoom(ZOOM_STEP, 0.5);
    else if (event.key === "ArrowLeft") this.#become({ from: this.range.from - length / 4, to: this.range.to - length / 4 });
    else if (event.key === "ArrowRight") this.#become({ from: this.range.from + length / 4, to: this.range.to + length / 4 });
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {number} factor @param {number} share where in the range the fixed point lies, 0 to 1 */
  #zoom(factor, share) {
    const { from, to } = this.range;
    const fixed = from + (to - from) * share;
    this.#become({ from: fixed - (fixed - from) * factor, to: fixed + (to - fixed) * factor });
  }

  /** @param {Range} range */
  #become(range) {
    const middle = (range.from + range.to) / 2;
    const half = Math.max(MIN_RANGE_S, range.to - range.from) / 2;
    // At once: the next key may come before the server's answer.
    this.range = this.#changed({ from: middle - half, to: middle + half });
  }
}
