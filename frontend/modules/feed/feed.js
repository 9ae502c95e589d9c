/**
 * The live feed: one websocket on which the page asks and the server answers with its latest state.
 *
 * The page gives credit: one "more" for each frame that it can paint. A page that stalls or is hidden asks for nothing, so nothing queues
 * up anywhere, and the first answer afterwards is the newest picture. Reconnects for ever, spread at random so that a thousand tabs do not
 * come back in the same moment.
 */
import { parseFrame, parseText, ProtocolError } from "./messages.js";
import { whyRefused } from "./refusal.js";

export const MAX_OUTSTANDING = 2;
export const WATCHDOG_MS = 4000;
/** Timers that stood still for so long were asleep, as in a laptop that was shut. */
export const SLEPT_MS = 5000;
export const WAKE_PATIENCE_MS = 400;
export const FIRST_RETRY_MS = 500;
export const MAX_RETRY_MS = 15000;
const WATCH_EVERY_MS = 100;

/** connecting: the first attempt or a new one; live: open and answering; waiting: until the next attempt; refused: no use in trying.
 * @typedef {"connecting" | "live" | "waiting" | "refused"} FeedState */
/** @typedef {{rows: number[], client: string | null, sessions: boolean, find: string, session: string | null}} Watch */
/** @typedef {{message: (message: import("./messages.js").Message) => void, frame: (frame: import("./messages.js").Frame) => void,
 *   changed: () => void}} Listener */

/**
 * How long to wait before attempt number `attempt` (from 0): full jitter, "exponential backoff and jitter" (M. Brooker, 2015).
 * @param {number} attempt @param {number} chance 0 to 1
 */
export const retryDelayMs = (attempt, chance) => chance * Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt);

export class Feed {
  /** @type {FeedState} */ state = "connecting";
  /** Whether this connection has brought a frame yet. */ answered = false;
  /** Date.now() at the last frame; NaN before the first. */ lastFrameUnixMs = NaN;
  /** Date.now() of the next attempt, while waiting. */ retryAtUnixMs = NaN;
  /** What the server or the protocol said at the end. */ reason = "";
  /** Whether it said that it wants its token. */ needsToken = false;
  #url;
  #listener;
  /** @type {WebSocket | null} */ #socket = null;
  #attempt = 0;
  #outstanding = 0;
  #askedAtMs = 0;
  #watchedAtUnixMs = NaN;
  /** @type {Watch} */ #watch = { rows: [], client: null, sessions: false, find: "", session: null };
  #watchText = "";
  #watchSentAtMs = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #retryTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #wakeTimer;

  /** @param {string} url @param {Listener} listener */
  constructor(url, listener) {
    this.#url = url;
    this.#listener = listener;
  }

  /** Connects, and holds on: at once when the network or the tab comes back, by the watchdog when an open socket says nothing. */
  start() {
    addEventListener("online", () => this.retryNow());
    document.addEventListener("visibilitychange", () => this.#wake());
    this.#watchedAtUnixMs = Date.now();
    setInterval(() => this.#watchdog(), 1000);
    this.#open();
  }

  /** Does nothing while a connection stands or is being made. */
  retryNow() {
    if (this.state !== "waiting") return;
    clearTimeout(this.#retryTimer);
    this.#open();
  }

  /** Makes the connection anew, so that everything is told from the beginning. */
  restart() {
    const socket = this.#socket;
    if (!socket) return;
    socket.onclose = null;
    socket.onmessage = null;
    socket.close();
    this.#open();
  }

  /** Frames that were asked for and have not come. */
  get outstanding() {
    return this.#outstanding;
  }

  get hasCredit() {
    return this.state === "live" && this.#outstanding < MAX_OUTSTANDING;
  }

  /** Asks for one frame, newer than the last. @param {boolean} rows with the ribbons of the watched rows @param {boolean} [atOnce] with the
   *  watch that holds now, and beyond the credit */
  more(rows, atOnce = false) {
    if (this.state !== "live" || (!atOnce && !this.hasCredit)) return;
    if (atOnce) this.#watchSentAtMs = -Infinity;
    this.#sendWatch();
    this.#outstanding += 1;
    this.#askedAtMs = performance.now();
    this.#send({ type: "more", rows });
  }

  /** @param {Watch} watch */
  watch(watch) {
    this.#watch = watch;
  }

  #open() {
    this.answered = false;
    this.#become("connecting");
    const socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#askedAtMs = performance.now();
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.reason = "";
      this.needsToken = false;
      this.#outstanding = 0;
      this.#watchText = "";
      this.state = "live";
      this.more(true);
      this.more(true);
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#closed(opened, event.reason);
  }

  /** @param {unknown} data */
  #receive(data) {
    try {
      if (typeof data === "string") {
        const message = parseText(data);
        if (message) this.#listener.message(message);
      } else if (data instanceof ArrayBuffer) {
        const frame = parseFrame(data);
        this.#outstanding = Math.max(0, this.#outstanding - 1);
        const first = !this.answered;
        this.answered = true;
        this.#attempt = 0;
        this.lastFrameUnixMs = Date.now();
        this.#listener.frame(frame);
        if (first) this.#listener.changed();
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.reason = error.message;
      this.#become("refused");
      this.#socket?.close();
    }
  }

  /** @param {boolean} opened whether there was a connection at all @param {string} reason */
  #closed(opened, reason) {
    this.#socket = null;
    if (this.state === "refused") return;
    if (opened) this.reason = reason;
    else void this.#learnWhy();
    const delayMs = retryDelayMs(this.#attempt, Math.random());
    this.#attempt += 1;
    this.retryAtUnixMs = Date.now() + delayMs;
    this.#retryTimer = setTimeout(() => this.#open(), delayMs);
    this.#become("waiting");
  }

  async #learnWhy() {
    const { needsToken, reason } = await whyRefused(this.#url);
    if (this.state === "live" || this.state === "refused") return;
    this.needsToken = needsToken;
    this.reason = reason;
    this.#listener.changed();
  }

  #watchdog() {
    // By the wall clock: on some systems the other one stands still while the machine sleeps.
    const sleptMs = Date.now() - this.#watchedAtUnixMs;
    this.#watchedAtUnixMs = Date.now();
    if (sleptMs > SLEPT_MS) this.#wake();
    else if (performance.now() - this.#askedAtMs >= WATCHDOG_MS) this.#abandonIfQuiet();
  }

  /**
   * After a sleep nothing is held against the server that was asked before. But its end of the socket may have gone long ago without a
   * word, so there is little patience for the first answer.
   */
  #wake() {
    clearTimeout(this.#wakeTimer);
    if (document.hidden) return;
    const wokeUnixMs = Date.now();
    this.#askedAtMs = performance.now();
    this.retryNow();
    if (wokeUnixMs - this.lastFrameUnixMs < SLEPT_MS) return;
    this.#wakeTimer = setTimeout(() => {
      if (this.lastFrameUnixMs >= wokeUnixMs || this.state !== "live") return;
      this.#abandonIfQuiet();
      this.retryNow();
    }, WAKE_PATIENCE_MS);
  }

  /** An open socket that owes us a frame and is quiet is as good as closed. */
  #abandonIfQuiet() {
    const socket = this.#socket;
    if (!socket || document.hidden || (this.#outstanding === 0 && socket.readyState === WebSocket.OPEN)) return;
    socket.onclose = null;
    socket.onmessage = null;
    socket.close();
    this.#closed(true, "");
  }

  /** The watch goes with the next credit, where it differs from what the server has; a scroll does not send hundreds. */
  #sendWatch() {
    const text = JSON.stringify({ type: "watch", ...this.#watch });
    const nowMs = performance.now();
    if (text === this.#watchText || nowMs - this.#watchSentAtMs < (this.#watchText ? WATCH_EVERY_MS : 0)) return;
    this.#watchText = text;
    this.#watchSentAtMs = nowMs;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(text);
  }

  /** @param {object} message */
  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** @param {FeedState} state */
  #become(state) {
    this.state = state;
    this.#listener.changed();
  }
}
