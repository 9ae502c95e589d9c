/** The last datagrams of the client that is open: asked for once, for every part of the drawer that shows them. */
import { api, Problem } from "../base/api.js";

/** @typedef {import("./bodies.d.ts").Datagram} Datagram */
/** `wanted`: it is in sight and takes news. `show`: newest last.
 * @typedef {{wanted: () => boolean, show: (datagrams: Datagram[]) => void}} Viewer */

/** All that the server keeps of one client. */
const KEPT = 256;
const EVERY_MS = 1000;

export class Recent {
  /** @type {Viewer[]} */ #viewers = [];
  #clientId = "";
  #askedAtMs = -Infinity;
  #askedUntilUnixMs = NaN;
  /** Of the last tick, as there. */ untilUnixMs = NaN;
  #asking = false;
  /** @type {Datagram[] | null} */ #last = null;
  /** @type {Set<Viewer>} who has not seen the last answer */ #behind = new Set();

  /** @param {Viewer} viewer */
  add(viewer) {
    this.#viewers.push(viewer);
  }

  /** @param {string} clientId */
  open(clientId) {
    if (clientId === this.#clientId) return;
    this.#clientId = clientId;
    this.#last = null;
    this.#askedAtMs = -Infinity;
  }

  /** @param {number} untilUnixMs by the server's clock: nothing later is shown; NaN for no end */
  tick(untilUnixMs) {
    this.untilUnixMs = untilUnixMs;
    const waiting = this.#viewers.filter((viewer) => viewer.wanted());
    if (this.#last) {
      for (const viewer of waiting) if (this.#behind.delete(viewer)) viewer.show(this.#last);
    }
    // What happened until a moment in the past does not change: one answer tells it.
    const told = this.#last !== null && untilUnixMs === this.#askedUntilUnixMs;
    if (waiting.length === 0 || this.#asking || told || this.#clientId === "" || performance.now() - this.#askedAtMs < EVERY_MS) return;
    this.#askedAtMs = performance.now();
    void this.#ask(this.#clientId, untilUnixMs);
  }

  /** @param {string} clientId @param {number} untilUnixMs */
  async #ask(clientId, untilUnixMs) {
    this.#asking = true;
    try {
      const all = /** @type {Datagram[]} */ (await api.datagrams(clientId, KEPT));
      if (clientId !== this.#clientId) return;
      const untilNs = Number.isNaN(untilUnixMs) ? Infinity : untilUnixMs * 1e6;
      this.#last = all.filter((one) => (one.received_at_ns ?? one.sent_at_ns ?? 0) <= untilNs);
      this.#askedUntilUnixMs = untilUnixMs;
      this.#behind = new Set(this.#viewers);
      for (const viewer of this.#viewers) {
        if (!viewer.wanted()) continue;
        this.#behind.delete(viewer);
        viewer.show(this.#last);
      }
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
    } finally {
      this.#asking = false;
    }
  }
}
