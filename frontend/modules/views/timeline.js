/** The time line of everything together, above the lanes: rate and loss, and what happened. */
import { need, setAttribute, setText } from "../base/dom.js";
import { clockTime, percent, perSecond } from "../base/format.js";
import { TimeCharts } from "../draw/timechart.js";

/** @typedef {import("../feed/overtime.js").OverTime} OverTime */

/** The figures of the stretch that is shown, for other programs. @param {string} id of the link @param {import("../draw/timechart.js").Range} range @param {string} flow "" for all */
export function showCsv(id, range, flow) {
  const query = new URLSearchParams({ from: range.from.toFixed(3), to: range.to.toFixed(3), ...(flow ? { flow } : {}), format: "csv" });
  setAttribute(need(id, HTMLAnchorElement), "href", `api/history?${query}`);
}

export class Timeline {
  #root = need("timeline", HTMLDetailsElement);
  #charts;
  #live = need("timeline-live", HTMLButtonElement);
  #where = need("timeline-range", HTMLElement);
  #overTime;

  /** @param {OverTime} overTime @param {(events: import("../draw/timechart.js").Mark[]) => void} eventsCame */
  constructor(overTime, eventsCame) {
    this.#overTime = overTime;
    // A phone's first screen belongs to the lanes.
    if (matchMedia("(width < 620px)").matches) this.#root.open = false;
    this.#charts = new TimeCharts(need("timeline-charts", HTMLElement), [
      { name: "Received", term: "rate_hz", text: perSecond, heightPx: 72, curves: [{ label: "received", colour: "accent", fill: true }] },
      { name: "Loss", term: "loss_recent", text: percent, heightPx: 72, curves: [{ label: "lost", colour: "bad", fill: true }] },
    ], need("timeline-how", HTMLElement), (range) => overTime.hold(range));
    overTime.add({
      flow: () => (this.#root.open && this.#root.offsetParent !== null ? null : undefined),
      show: (curves, range) => {
        this.#charts.show(curves.times, [[curves.rate], [curves.lossRatio]], curves.events, range);
        eventsCame(curves.events);
        showCsv("timeline-csv", range, "");
      },
    });
    this.#live.addEventListener("click", () => overTime.hold(null));
    for (const button of this.#root.querySelectorAll("[data-span]")) {
      button.addEventListener("click", () => overTime.live(Number(button.getAttribute("data-span"))));
    }
    this.showRange();
  }

  /** Which stretch is shown, and how to come back to now. */
  showRange() {
    const { held, spanS } = this.#overTime;
    this.#live.hidden = held === null;
    setText(this.#where, held ? `${clockTime(held.from * 1000)} to ${clockTime(held.to * 1000)}` : "");
    for (const button of this.#root.querySelectorAll("[data-span]")) {
      setAttribute(button, "aria-pressed", String(!held && Number(button.getAttribute("data-span")) === spanS));
    }
  }
}
