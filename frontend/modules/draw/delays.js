/** How long the last datagrams took: a histogram on a logarithmic scale, beside the percentiles of the whole life. */
import { element, need, setAttribute, setText } from "../base/dom.js";
import { count, milliseconds, plural } from "../base/format.js";
import { Recent } from "../feed/recent.js";
import { drawHeat, Heat, lossRuns } from "./heat.js";

/** @typedef {import("../feed/recent.js").Datagram} Datagram */

const BINS = 24;
const LEAST_MS = 0.001;

/**
 * Bins of equal width in the logarithm, from the least to the greatest value of both.
 * @param {number[]} values milliseconds @param {number[]} [others] of the flow that it is compared with
 * @returns {{from: number, to: number, bins: number[], otherBins: number[]}}
 */
export function histogram(values, others = []) {
  const positive = [...values, ...others].map((value) => Math.max(LEAST_MS, value));
  const from = Math.min(...positive);
  const to = Math.max(from * 1.05, ...positive);
  const binsOf = (/** @type {number[]} */ some) => {
    const bins = new Array(BINS).fill(0);
    for (const value of some) bins[Math.min(BINS - 1, Math.floor((Math.log(Math.max(LEAST_MS, value) / from) / Math.log(to / from)) * BINS))] += 1;
    return bins;
  };
  return { from, to, bins: binsOf(values), otherBins: binsOf(others) };
}

/** @param {Datagram[]} datagrams */
const delaysOf = (datagrams) => datagrams.flatMap(({ delay_ms: delayMs }) => (delayMs === null ? [] : [delayMs]));

/** @param {Datagram[]} datagrams */
function lossRunsInWords(datagrams) {
  const runs = lossRuns(datagrams).map(([length, times]) => `${length === 1 ? "single losses" : `${length} in a row`}: ${count(times)}`);
  return runs.length ? `${runs.join(", ")}.` : `No losses among the last ${count(datagrams.length)} datagrams.`;
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
  /** The last datagrams of the client that it is compared with. */ #beside = new Recent();
  #besideName = "";
  /** @type {Datagram[]} */ #own = [];
  /** @type {Datagram[]} */ #others = [];
  #recent;
  #percentiles = new Map([...this.#root.querySelectorAll("[data-percentile]")].map((node) => [node.getAttribute("data-percentile") ?? "", node]));

  /** @param {import("../feed/recent.js").Recent} recent */
  constructor(recent) {
    this.#bars.append(...Array.from({ length: BINS }, () => element("i")));
    this.#recent = recent;
    recent.add({
      wanted: () => this.#root.offsetParent !== null,
      show: (datagrams) => {
        this.#own = datagrams;
        this.#show();
        this.#showHeat(datagrams);
      },
    });
    this.#beside.add({
      wanted: () => this.#root.offsetParent !== null,
      show: (datagrams) => {
        this.#others = datagrams;
        this.#show();
      },
    });
  }

  /** Another client's delays and losses beside these. @param {string} id "" for none @param {string} name */
  compare(id, name) {
    if (name === this.#besideName) return;
    this.#besideName = name;
    this.#others = [];
    this.#beside.open(id);
    this.#show();
  }

  /** Another client is open. */
  clear() {
    this.#own = [];
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

  /** @param {import("../feed/messages.js").ClientBody | null} client */
  tick(client) {
    if (this.#root.offsetParent === null) return;
    this.#beside.tick(this.#recent.untilUnixMs);
    const percentiles = client?.delay_ms;
    for (const [name, node] of this.#percentiles) setText(node, milliseconds(percentiles?.[/** @type {"p50"} */ (name)]));
  }

  #show() {
    const [values, others] = [delaysOf(this.#own), delaysOf(this.#others)];
    const beside = this.#besideName === "" || this.#others.length === 0 ? "" : this.#besideName;
    setText(need("loss-runs", HTMLElement), `${lossRunsInWords(this.#own)}${beside ? ` ${beside}: ${lossRunsInWords(this.#others)}` : ""}`);
    setText(need("delays-beside", HTMLElement), beside ? `Dotted: the delays of ${beside}.` : "");
    setAttribute(this.#bars, "data-beside", String(others.length > 0));
    const some = values.length > 0;
    this.#nothing.hidden = some;
    this.#bars.hidden = this.#least.hidden = this.#middle.hidden = this.#most.hidden = !some;
    if (!some) return;
    const { from, to, bins, otherBins } = histogram(values, others);
    const shares = bins.map((one) => one / values.length);
    const otherShares = otherBins.map((one) => one / Math.max(1, others.length));
    const most = Math.max(...shares, ...otherShares);
    [...this.#bars.children].forEach((bar, index) => {
      const { style } = /** @type {HTMLElement} */ (bar);
      style.setProperty("--own", `${Math.round(((shares[index] ?? 0) / most) * 100)}%`);
      const other = otherShares[index] ?? 0;
      style.setProperty("--other", other > 0 ? `${Math.round((other / most) * 100)}%` : "-10px");
    });
    setText(this.#least, milliseconds(from));
    setText(this.#middle, milliseconds(Math.sqrt(from * to)));
    setText(this.#most, milliseconds(to));
    setAttribute(this.#bars, "aria-label", `Delay of the last ${count(values.length)} datagrams, from ${milliseconds(Math.min(...values))} to ${milliseconds(Math.max(...values))}`
      + (others.length ? `; of ${beside} from ${milliseconds(Math.min(...others))} to ${milliseconds(Math.max(...others))}` : ""));
  }
}
