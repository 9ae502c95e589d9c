/** The drawer's curves of one client over time: rate, losses by cause, delay percentiles and jitter, with what happened. */
import { element, need, setText } from "../base/dom.js";
import { aligned, comparisonOf, EARLIER } from "../feed/comparison.js";
import { clockTime, milliseconds, perSecond, UNKNOWN } from "../base/format.js";
import { TimeCharts } from "../draw/timechart.js";
import { showCsv } from "./timeline.js";

/** @typedef {import("../feed/overtime.js").OverTime} OverTime */
/** @typedef {import("../feed/overtime.js").Curves} Curves */
/** @typedef {import("../feed/overtime.js").Values} Values */

const TABLE_ROWS = 15;
const EVENTS_SHOWN = 30;
const NAMES_OFFERED = 30;
/** The other's curve, in each chart. */
const OTHER = { label: "other", colour: "text", dash: [2, 3], compared: true };
const CAUSES = /** @type {const} */ ([
  ["link", "link", "accent"], ["sender_kernel", "sender’s kernel", "warn"], ["receiver_kernel", "receiver’s kernel", "warn"],
  ["unexplained", "unexplained", "bad"], ["unknown_path", "unknown path", "bad"],
  ["path", "path", "warn"], ["awaiting", "awaiting report", "accent"],
]);

export class Past {
  #root = need("past", HTMLElement);
  #table = need("past-table", HTMLDetailsElement);
  #events = need("past-events", HTMLElement);
  #charts;
  #clientId = "";
  /** @type {Curves | null} */ #curves = null;
  #overTime;
  #world;
  #compare = need("compare", HTMLInputElement);
  #names = need("compare-names", HTMLElement);
  #why = need("compare-why", HTMLElement);
  /** @type {import("../feed/comparison.js").Comparison | null} */ #comparison = null;

  /** @param {OverTime} overTime @param {import("../feed/state.js").World} world */
  constructor(overTime, world) {
    this.#overTime = overTime;
    this.#world = world;
    this.#compare.addEventListener("focus", () => this.#offer());
    this.#compare.addEventListener("input", () => this.#offer());
    this.#charts = new TimeCharts(need("past-charts", HTMLElement), [
      { name: "Rate", term: "rate_hz", text: perSecond, heightPx: 56, shared: true, curves: [{ label: "received", colour: "accent", fill: true }, OTHER] },
      {
        name: "Lost", term: "lost", text: perSecond, heightPx: 54, shared: true,
        curves: [...CAUSES.map(([, label, colour], index) => ({ label, colour, ...(index % 2 ? { dash: [4, 3] } : {}) })), OTHER],
      },
      {
        name: "Delay", term: "delay_ms", text: milliseconds, heightPx: 56, shared: true,
        curves: [{ label: "p50", colour: "good" }, { label: "p95", colour: "warn" }, { label: "p99", colour: "bad" }, OTHER],
      },
      { name: "Jitter", term: "jitter_ms", text: milliseconds, heightPx: 72, curves: [{ label: "jitter", colour: "accent" }, OTHER] },
    ], need("past-how", HTMLElement), (range) => overTime.hold(range));
    overTime.add({
      flow: () => (this.#clientId === "" || this.#root.offsetParent === null ? undefined : this.#clientId),
      compare: () => this.#comparison,
      show: (curves, range, other) => {
        this.#curves = curves;
        showCsv("past-csv", range, this.#clientId);
        const beside = (/** @type {Values | undefined} */ values) => (other && values ? aligned(curves.times, other.times, values) : curves.times.map(() => null));
        const lost = other?.rate.map((_, at) => (other.rate[at] === null ? null : Object.values(other.lost).reduce((sum, column) => sum + (column[at] ?? 0), 0)));
        const compared = [other?.rate, lost, other?.delay.p50, other?.jitter].map(beside);
        this.#charts.comparedWith = this.#comparison?.label ?? "";
        const columns = [[curves.rate], CAUSES.map(([name]) => curves.lost[name] ?? []), ["p50", "p95", "p99"].map((name) => curves.delay[name] ?? []), [curves.jitter]];
        this.#charts.show(curves.times, columns.map((column, panel) => [...column, compared[panel] ?? []]), curves.events, range);
        this.#showTable();
        this.#showEvents();
      },
    });
    this.#table.addEventListener("toggle", () => this.#showTable());
  }

  /** @param {string} clientId "" for none */
  open(clientId) {
    if (clientId === this.#clientId) return;
    this.#clientId = clientId;
    this.#curves = null;
    this.#charts.show([], [], [], this.#overTime.range);
    this.#events.replaceChildren();
  }

  /** The flow that lies beside it; "" for none, or for its own past. */
  get comparedFlow() {
    return this.#comparison?.flow ?? "";
  }

  /** What to lay beside it. @param {string} words as of `comparisonOf` */
  compare(words) {
    if (document.activeElement !== this.#compare) this.#compare.value = words;
    const found = comparisonOf(words, (name) => [...this.#world.roster.values()].find((entry) => entry.name === name || entry.id === name)?.id ?? null);
    const why = typeof found === "string" ? found : "";
    setText(this.#why, why || (found ? "Dotted: what it is compared with. Its delay is the p50; its losses are the total of all causes." : ""));
    const next = typeof found === "string" ? null : found;
    if (JSON.stringify(next) === JSON.stringify(this.#comparison)) return;
    this.#comparison = next;
    this.#overTime.refresh();
  }

  /** The names that fit what was typed so far. */
  #offer() {
    const typed = this.#compare.value.trim().toLowerCase();
    const names = [];
    for (const entry of this.#world.roster.values()) {
      if (names.length === NAMES_OFFERED) break;
      if (entry.id !== this.#clientId && entry.name.toLowerCase().includes(typed)) names.push(entry.name);
    }
    this.#names.replaceChildren(...[...EARLIER, ...names.sort()].map((value) => element("option", { value })));
  }

  #showTable() {
    const body = this.#table.querySelector("tbody");
    const curves = this.#curves;
    if (!this.#table.open || !body || !curves) return;
    const step = Math.max(1, Math.ceil(curves.times.length / TABLE_ROWS));
    const rows = [];
    for (let at = curves.times.length - 1; at >= 0; at -= step) {
      const time = curves.times[at];
      const lost = Object.values(curves.lost).reduce((sum, column) => sum + (column[at] ?? 0), 0);
      const rate = curves.rate[at];
      const texts = [perSecond(rate), rate === null ? UNKNOWN : perSecond(lost), milliseconds(curves.delay.p50?.[at]), milliseconds(curves.delay.p99?.[at]), milliseconds(curves.jitter[at])];
      rows.push(element("tr", {}, element("th", { scope: "row" }, clockTime((time ?? 0) * 1000)), ...texts.map((text) => element("td", {}, text))));
    }
    body.replaceChildren(...rows);
  }

  #showEvents() {
    const events = this.#curves?.events ?? [];
    const { range } = this.#overTime;
    const shown = events.filter((event) => event.at >= range.from && event.at <= range.to).slice(-EVENTS_SHOWN).reverse();
    this.#events.replaceChildren(...shown.map((event) => element("li", {}, element("time", {}, clockTime(event.at * 1000)), " ", event.text)));
    setText(need("past-events-none", HTMLElement), shown.length ? "" : "Nothing happened in this period.");
  }
}
