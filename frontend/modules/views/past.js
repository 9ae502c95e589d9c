/** The drawer's curves of one client over time: rate, losses by cause, delay percentiles and jitter, with what happened. */
import { element, need, setText } from "../base/dom.js";
import { clockTime, milliseconds, perSecond, UNKNOWN } from "../base/format.js";
import { TimeCharts } from "../draw/timechart.js";
import { showCsv } from "./timeline.js";

/** @typedef {import("../feed/overtime.js").OverTime} OverTime */
/** @typedef {import("../feed/overtime.js").Curves} Curves */

const TABLE_ROWS = 15;
const EVENTS_SHOWN = 30;
const CAUSES = /** @type {const} */ ([
  ["link", "link", "accent"], ["sender_kernel", "sender’s kernel", "warn"], ["receiver_kernel", "receiver’s kernel", "warn"],
  ["unexplained", "unexplained", "bad"], ["unknown_path", "unknown path", "bad"],
  ["path", "path", "warn"], ["awaiting", "awaiting word", "accent"],
]);

export class Past {
  #root = need("past", HTMLElement);
  #table = need("past-table", HTMLDetailsElement);
  #events = need("past-events", HTMLElement);
  #charts;
  #clientId = "";
  /** @type {Curves | null} */ #curves = null;
  #overTime;

  /** @param {OverTime} overTime */
  constructor(overTime) {
    this.#overTime = overTime;
    this.#charts = new TimeCharts(need("past-charts", HTMLElement), [
      { name: "Rate", term: "rate_hz", text: perSecond, heightPx: 56, shared: true, curves: [{ label: "received", colour: "accent", fill: true }] },
      {
        name: "Lost", term: "lost", text: perSecond, heightPx: 54, shared: true,
        curves: CAUSES.map(([, label, colour], index) => ({ label, colour, ...(index % 2 ? { dash: [4, 3] } : {}) })),
      },
      {
        name: "Delay", term: "delay_ms", text: milliseconds, heightPx: 56, shared: true,
        curves: [{ label: "p50", colour: "good" }, { label: "p95", colour: "warn" }, { label: "p99", colour: "bad" }],
      },
      { name: "Jitter", term: "jitter_ms", text: milliseconds, heightPx: 72, curves: [{ label: "jitter", colour: "accent" }] },
    ], need("past-how", HTMLElement), (range) => overTime.hold(range));
    overTime.add({
      flow: () => (this.#clientId === "" || this.#root.offsetParent === null ? undefined : this.#clientId),
      show: (curves, range) => {
        this.#curves = curves;
        showCsv("past-csv", range, this.#clientId);
        const columns = [[curves.rate], CAUSES.map(([name]) => curves.lost[name] ?? []), ["p50", "p95", "p99"].map((name) => curves.delay[name] ?? []), [curves.jitter]];
        this.#charts.show(curves.times, columns, curves.events, range);
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
