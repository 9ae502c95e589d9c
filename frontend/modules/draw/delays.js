/** How long the last datagrams took: a histogram on a logarithmic scale, beside the percentiles of the whole life. */
import { element, need, setAttribute, setText } from "../base/dom.js";
import { count, milliseconds, plural } from "../base/format.js";
import { drawHeat, Heat, lossRuns } from "./heat.js";

const BINS = 24;

/**
 * Bins of equal width in the logarithm, from the least to the greatest value.
 * @param {number[]} values milliseconds
 * @returns {{from: number, to: number, bins: number[]}}
 */
export function histogram(values) {
  const positive = values.map((value) => Math.max(0.001, value));
  const from = Math.min(...positive);
  const to = Math.max(from * 1.05, ...positive);
  const bins = new Array(BINS).fill(0);
  for (const value of positive) bins[Math.min(BINS - 1, Math.floor((Math.log(value / from) / Math.log(to / from)) * BINS))] += 1;
  return { from, to, bins };
}

export class Delays {
  #root = need("delays", HTMLElement);
  #bars = need("delays-bars", HTMLElement);
  #least = need("delays-least", HTMLElement);
  #most = need("delays-most", HTMLElement);
  #nothing = need("delays-nothing", HTMLElement);
  #middle = need("delays-middle", HTMLElement);
  #heatRoot = need("delays-heat", HTMLElement);
  #heatCanvas = need("heat-canvas", HTMLCanvasElement);
  #heat = new Heat();
  #percentiles = new Map([...this.#root.querySelectorAll("[data-percentile]")].map((node) => [node.getAttribute("data-percentile") ?? "", node]));

  /** @param {import("../feed/recent.js").Recent} recent */
  constructor(recent) {
    this.#bars.append(...Array.from({ length: BINS }, () => element("i")));
    recent.add({
      wanted: () => this.#root.offsetParent !== null,
      show: (datagrams) => {
        this.#show(datagrams.flatMap(({ delay_ms }) => (delay_ms === null ? [] : [delay_ms])));
        this.#showHeat(datagrams);
        this.#showRuns(datagrams);
      },
    });
  }

  /** Another client is open. */
  clear() {
    this.#heat.clear();
    this.#heatRoot.hidden = true;
  }

  /** @param {import("../feed/recent.js").Datagram[]} datagrams */
  #showHeat(datagrams) {
    this.#heat.take(datagrams);
    const picture = this.#heat.picture();
    this.#heatRoot.hidden = picture === null;
    const context = this.#heatCanvas.getContext("2d");
    if (!picture || !context) return;
    drawHeat(context, picture.counts);
    setText(need("heat-most", HTMLElement), milliseconds(picture.to));
    setText(need("heat-least", HTMLElement), milliseconds(picture.from));
    setAttribute(this.#heatCanvas, "aria-label", `Delay over the last two minutes: ${plural(picture.total, "datagram")} between ${milliseconds(picture.from)} and ${milliseconds(picture.to)}`);
  }

  /** @param {import("../feed/recent.js").Datagram[]} datagrams */
  #showRuns(datagrams) {
    const runs = lossRuns(datagrams);
    const words = runs.map(([length, times]) => `${length === 1 ? "single losses" : `${length} in a row`}: ${count(times)}`);
    setText(need("loss-runs", HTMLElement), words.length ? `${words.join(", ")}.` : `No losses among the last ${count(datagrams.length)} datagrams.`);
  }

  /** @param {import("../feed/messages.js").ClientBody | null} client */
  tick(client) {
    if (this.#root.offsetParent === null) return;
    const percentiles = client?.delay_ms;
    for (const [name, node] of this.#percentiles) setText(node, milliseconds(percentiles?.[/** @type {"p50"} */ (name)]));
  }

  /** @param {number[]} values */
  #show(values) {
    const some = values.length > 0;
    this.#nothing.hidden = some;
    this.#bars.hidden = this.#least.hidden = this.#middle.hidden = this.#most.hidden = !some;
    if (!some) return;
    const { from, to, bins } = histogram(values);
    const most = Math.max(...bins);
    [...this.#bars.children].forEach((bar, index) => {
      /** @type {HTMLElement} */ (bar).style.height = `${Math.round(((bins[index] ?? 0) / most) * 100)}%`;
    });
    setText(this.#least, milliseconds(from));
    setText(this.#middle, milliseconds(Math.sqrt(from * to)));
    setText(this.#most, milliseconds(to));
    setAttribute(this.#bars, "aria-label", `Delay of the last ${count(values.length)} datagrams, from ${milliseconds(from)} to ${milliseconds(to)}`);
  }
}
