/** The conversations of the relays, below their table: a pair of lanes each, to the target and back, coloured by size. */
import { ask, Problem } from "../base/api.js";
import { element, keepRows, setAttribute, setText } from "../base/dom.js";
import { count, plural, span } from "../base/format.js";
import { Ribbon } from "../draw/ribbon.js";
import { cellsOf, describeSize, describeSizes, sizesKey } from "../draw/sizes.js";
import { isDark, onThemeChange, paints } from "../draw/theme.js";
import { CELLS } from "../feed/messages.js";

/** @typedef {import("../feed/bodies.d.ts").RelayFlow} Flow */
/** @typedef {import("../feed/bodies.d.ts").RelayBody} Relay */
/** @typedef {"up" | "down"} Way */

/** At most one picture per second: no lane can flash (WCAG 2.3.1). */
const EVERY_MS = 1000;
const SHOWN = 50;
/** @type {readonly [Way, string, string][]} */
export const WAYS = [["up", "→", "to the target"], ["down", "←", "back to the client"]];

/** @param {string} state as REST says it */
export const stateWords = (state) => ({ one_way: "no answer yet", both: "both ways", refused: "refused by the target" })[state] ?? state;

/** One way of one conversation. */
class WayLane {
  #canvas = element("canvas", { role: "img", class: "relay-lane", "aria-label": "no datagrams yet" });
  #ribbon = new Ribbon(this.#canvas);
  #sums = element("span", { class: "relay-sums" });
  /** @type {import("../feed/bodies.d.ts").RelayCells | undefined} */ #told;
  element;

  /** @param {string} arrow @param {string} words */
  constructor(arrow, words) {
    this.element = element("div", { class: "relay-way" }, element("span", { class: "relay-arrow", title: words, "aria-hidden": "true" }, arrow), this.#canvas, this.#sums);
    this.words = words;
    this.#canvas.addEventListener("pointermove", (event) => {
      const place = this.#ribbon.placeAt(event.offsetX);
      setAttribute(this.#canvas, "title", place < 0 ? "" : describeSize(this.#told, place));
    });
  }

  /** @param {import("../feed/bodies.d.ts").RelaySums} sums @param {import("../feed/bodies.d.ts").RelayCells | undefined} cells @param {number} widthPx */
  tell(sums, cells, widthPx) {
    this.#told = cells;
    this.#ribbon.resize(widthPx);
    this.#ribbon.latch(cellsOf(cells, isDark()), paints);
    this.#ribbon.paint();
    setAttribute(this.#canvas, "aria-label", `${this.words}: ${describeSizes(cells)}`);
    setText(this.#sums, `${count(sums.in)} in, ${count(sums.lost)} lost${sums.held ? `, ${count(sums.held)} held` : ""}`);
  }
}

class Conversation {
  #name = element("button", { type: "button", class: "plain" });
  #about = element("small", { class: "hint" });
  #ways = WAYS.map(([way, arrow, words]) => /** @type {const} */ ([way, new WayLane(arrow, words)]));
  #lanes = element("div", { class: "relay-lanes" }, ...this.#ways.map(([, lane]) => lane.element));
  element = element("li", { class: "conversation" }, element("div", {}, this.#name, this.#about), this.#lanes);

  /** @param {() => void} open */
  constructor(open) {
    this.#name.addEventListener("click", open);
  }

  /** @param {Flow} flow @param {number} widthPx */
  tell(flow, widthPx) {
    setText(this.#name, flow.client_address);
    setAttribute(this.#name, "aria-label", `Conversation of ${flow.client_address}`);
    setText(this.#about, `${stateWords(flow.state)}, for ${span(flow.age_ms)}`);
    setAttribute(this.element, "data-state", flow.state);
    for (const [way, lane] of this.#ways) lane.tell(flow[way], flow.cells?.[way], widthPx);
  }
}

/** One relay's conversations. */
class RelayLanes {
  #title = element("h4", {});
  #note = element("p", { class: "hint" });
  #list = element("ul", { class: "conversations" });
  #rows = /** @type {Map<string, Conversation>} */ (new Map());
  #askedAtMs = -Infinity;
  #asking = false;
  #open;
  element = element("section", {}, this.#title, this.#note, this.#list);

  /** @param {(id: string) => void} open */
  constructor(open) {
    this.#open = open;
  }

  /** @param {Relay} relay @param {string} find */
  tick(relay, find) {
    setText(this.#title, `${relay.name}: ${relay.listen} → ${relay.target}`);
    const nowMs = performance.now();
    if (this.#asking || nowMs - this.#askedAtMs < EVERY_MS) return;
    this.#askedAtMs = nowMs;
    void this.#ask(relay, find.trim());
  }

  /** @param {Relay} relay @param {string} find */
  async #ask(relay, find) {
    this.#asking = true;
    try {
      const query = find && !`${relay.name} ${relay.listen} ${relay.target}`.toLowerCase().includes(find.toLowerCase()) ? `&query=${encodeURIComponent(find)}` : "";
      const { flows, total } = await ask("GET", `api/relays/${encodeURIComponent(relay.id)}/flows?limit=${SHOWN}&cells=${CELLS}${query}`);
      this.#tell(relay, flows, total, query !== "");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setText(this.#note, relay.error ?? error.message);
    } finally {
      this.#asking = false;
    }
  }

  /** @param {Relay} relay @param {Flow[]} flows @param {number} total @param {boolean} sought */
  #tell(relay, flows, total, sought) {
    const more = total > flows.length ? `The first ${count(flows.length)} of ${plural(total, "conversation")}. Search by address to find others.` : "";
    setText(this.#note, more || (total ? "" : sought ? "No conversation matches." : `No conversation yet: send to ${relay.listen}.`));
    const rows = keepRows(this.#rows, this.#list, flows, ({ id }) => new Conversation(() => this.#open(id)));
    for (const [row, flow] of rows) row.tell(flow, this.#laneWidth(row));
  }

  /** What is left for a lane beside its arrow and its sums. @param {Conversation} row */
  #laneWidth(row) {
    const lanes = row.element.querySelector(".relay-lanes");
    return Math.max(120, (lanes?.clientWidth ?? 0) - 200);
  }
}

export class Conversations {
  #key = element("div", { class: "key" });
  #relays = /** @type {Map<string, RelayLanes>} */ (new Map());
  #list = element("div", {});
  #open;
  element = element("div", { class: "relay-conversations", hidden: "" }, element("h4", { class: "unseen" }, "Conversations"), this.#key, this.#list);

  /** @param {(id: string) => void} open shows one conversation's drawer */
  constructor(open) {
    this.#open = open;
    onThemeChange(() => this.#showKey());
    this.#showKey();
  }

  #showKey() {
    this.#key.replaceChildren(...sizesKey());
  }

  /** @param {Relay[]} relays @param {string} find */
  tick(relays, find) {
    this.element.hidden = relays.length === 0;
    const rows = keepRows(this.#relays, this.#list, relays, () => new RelayLanes(this.#open));
    for (const [lanes, relay] of rows) lanes.tick(relay, find);
  }
}
