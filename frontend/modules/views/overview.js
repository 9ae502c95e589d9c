/** The drawer's first panel: what a client hears now, and what became of everything that was sent to it. */
import { hex, pack, unpack } from "../draw/colour.js";
import { Delays } from "../draw/delays.js";
import { need, setAttribute, setText, within } from "../base/dom.js";
import { count, milliseconds, percent, perSecond, span, UNKNOWN } from "../base/format.js";
import { Past } from "./past.js";
import { Flag } from "../feed/messages.js";
import { nameOf } from "../draw/names.js";
import { describeCells, Ribbon } from "../draw/ribbon.js";
import { ageMs, stateOf } from "../feed/state.js";
import { paints } from "../draw/theme.js";

/** @typedef {import("../feed/state.js").World} World */

/** True colours at full rate are allowed on so small an area only (WCAG 2.2: 21,824 CSS px² in any 341 × 256). */
const LANE_MAX_PX = 341;

export class Overview {
  #root = need("panel-overview", HTMLElement);
  #swatch = within(this.#root, ".now-swatch", HTMLCanvasElement).getContext("2d");
  #pixel = new ImageData(1, 1);
  #lane = new Ribbon(within(this.#root, ".now-lane", HTMLCanvasElement));
  #colour = within(this.#root, ".now-colour", HTMLElement);
  #hex = within(this.#root, ".now-hex", HTMLElement);
  #facts = within(this.#root, ".now-facts", HTMLElement);
  #plain = need("plain-note", HTMLElement);
  #sum = within(this.#root, ".drawer-closes", HTMLElement);
  #numbers = new Map([...this.#root.querySelectorAll("[data-number]")].map((node) => [node.getAttribute("data-number") ?? "", node]));
  #past;
  #delays;
  #world;
  #slot = -1;
  #ticks = 0;

  /** @param {World} world @param {import("../feed/overtime.js").OverTime} overTime @param {import("../feed/recent.js").Recent} recent */
  constructor(world, overTime, recent) {
    this.#world = world;
    this.#past = new Past(overTime, world);
    this.#delays = new Delays(recent);
  }

  /** @param {string} words of the address */
  compare(words) {
    this.#past.compare(words);
    const other = this.#world.byId.get(this.#past.comparedFlow);
    this.#delays.compare(other?.kind === "client" ? other.id : "", other?.kind === "client" ? other.name : "");
  }

  /** @param {string} id @param {number} slot -1 while it is not known */
  open(id, slot) {
    if (slot !== this.#slot) this.#ticks = 0;
    if (slot !== this.#slot) this.#delays.clear();
    this.#slot = slot;
    this.#past.open(id);
  }

  /** The curves over time of a flow with a panel of its own; a client's are in this one. @param {string} id "" for none @param {string} compare words of the address */
  openFlow(id, compare) {
    this.#past.open(id);
    this.#past.compare(compare);
  }

  live() {
    if (this.#root.offsetParent === null || this.#slot < 0) return;
    this.#lane.resize(LANE_MAX_PX);
    this.#lane.latch(this.#world.rows.get(this.#slot)?.cells, paints);
    this.#lane.paint();
    const packed = this.#packed();
    new Uint32Array(this.#pixel.data.buffer)[0] = packed ?? paints.track;
    this.#swatch?.putImageData(this.#pixel, 0, 0);
    // With the swatch, or the word would name another colour than the one beside it.
    const [red, green, blue] = unpack(packed ?? 0);
    setText(this.#colour, packed === null ? "nothing yet" : nameOf(red, green, blue));
    setText(this.#hex, packed === null ? "" : hex(red, green, blue));
  }

  #packed() {
    const rgba = this.#world.frame?.rgba;
    const at = this.#slot * 4;
    return rgba?.[at + 3] ? pack(rgba[at] ?? 0, rgba[at + 1] ?? 0, rgba[at + 2] ?? 0) : null;
  }

  /** @param {import("../feed/messages.js").ClientBody | null} client */
  tick(client) {
    if (this.#root.offsetParent === null) return;
    const state = stateOf(this.#world, this.#slot);
    const age = ageMs(this.#world, this.#slot);
    const why = client?.error ?? (state === "refused" && client ? `nothing listens at ${client.target}; the client keeps trying` : "");
    const stale = document.documentElement.dataset.stale === "true";
    setText(this.#facts, stale ? `${state} in the last picture; its state since then is unknown` : `${state}${why ? ` (${why})` : ""}, ${Number.isNaN(age) ? "nothing received yet" : `last datagram ${span(age)} ago`}`);
    this.#plain.hidden = !((this.#world.frame?.flags[this.#slot] ?? 0) & Flag.PLAIN);
    need("delay-relative", HTMLElement).hidden = !client?.delay_is_relative;
    this.#tickLedger(client);
    this.#delays.tick(client);
    if (this.#ticks++ % 6 === 0) setAttribute(this.#lane.canvas, "aria-label", describeCells(this.#world.rows.get(this.#slot)?.cells));
  }

  /** @param {import("../feed/messages.js").ClientBody | null} client */
  #tickLedger(client) {
    const ledger = client?.ledger;
    const causes = ledger?.lost_by_cause;
    const write = (/** @type {string} */ name, /** @type {string} */ text) => {
      const node = this.#numbers.get(name);
      if (node) setText(node, text);
    };
    for (const name of /** @type {const} */ (["sent", "received", "lost", "in_flight", "late", "reordered", "duplicates", "corrupt"])) write(name, count(ledger?.[name]));
    for (const name of /** @type {const} */ (["link", "sender_kernel", "receiver_kernel", "unexplained"])) write(name, count(causes?.[name]));
    const anomalies = client?.anomalies;
    for (const [id, name, number] of /** @type {const} */ ([
      ["unknown-path", "unknown_path", causes?.unknown_path], ["path-loss", "path", causes?.path], ["awaiting-word", "awaiting", causes?.awaiting], ["jumps", "jumps", anomalies?.jumps],
      ["beyond-window", "beyond_window", anomalies?.beyond_window], ["negative-delays", "negative_delays", anomalies?.negative_delays],
    ])) {
      write(name, count(number));
      need(id, HTMLElement).hidden = !number;
    }
    write("loss_ratio", percent(client?.loss_ratio));
    write("jitter_ms", milliseconds(client?.jitter_ms));
    write("rtt_ms", milliseconds(client?.rtt_ms));
    write("rate_hz", !client ? UNKNOWN : client.stream === "plain" ? "the server’s default, because a plain stream cannot choose" : client.rate_hz === null ? "server’s default" : perSecond(client.rate_hz));
    write("colours", client ? count(client.colours) : UNKNOWN);
    write("relayed", count(ledger?.relayed));
    write("conflated", count(ledger?.conflated));
    const known = ledger && ledger.sent !== null && ledger.received !== null && ledger.lost !== null && ledger.in_flight !== null;
    const closes = known && ledger.sent === (ledger.received ?? 0) + (ledger.lost ?? 0) + (ledger.in_flight ?? 0);
    setText(this.#sum, !client ? "" : !client.stream ? "no stream yet" : !known ? "the number sent is unknown" : closes ? "✓ closes" : "✗ does not close");
    setAttribute(this.#sum, "data-closes", known ? String(closes) : "unknown");
  }
}
