/** What the feed is asked for: after each animation frame what the next one will show, no more often than it can be seen. */
import { keepRows } from "./state.js";

const ROWS_ASK_MS = 100;
/** The server sends the ribbons of at most 256 rows. */
const ROWS_MOST = 255;

/** What the page shows. `rows`: slots whose ribbons are in sight. `drawer`: the open slot, -1 for none. `eager`: every change is followed.
 * `client`, `session`: the open one, null for none. `find`: words for the list of sessions, which is wanted if `sessions`.
 * @typedef {{paused: boolean, rows: number[], drawer: number, eager: boolean, client: string | null, session: string | null, sessions: boolean,
 *   find: string}} Shown */

export class Asking {
  #world;
  #feed;
  #clock;
  #shown;
  #askedAtMs = -Infinity;
  #rowsAskedAtMs = -Infinity;
  #firstPictureSeen = false;

  /** @param {import("./state.js").World} world @param {import("./feed.js").Feed} feed @param {import("./clock.js").Clock} clock
   * @param {() => Shown} shown */
  constructor(world, feed, clock, shown) {
    this.#world = world;
    this.#feed = feed;
    this.#clock = clock;
    this.#shown = shown;
  }

  /** An animation frame was painted. */
  painted() {
    const nowMs = performance.now();
    if (this.#world.frames > 0 && !this.#firstPictureSeen) {
      this.#firstPictureSeen = true;
      performance.mark("first-picture");
    }
    const { tickMs } = this.#clock;
    const { paused, rows: inSight, drawer, eager, client, session, sessions, find } = this.#shown();
    if (paused || !this.#feed.hasCredit || nowMs - this.#askedAtMs < (eager ? 0 : tickMs / 2)) return;
    this.#askedAtMs = nowMs;
    const wanted = inSight.slice(0, ROWS_MOST);
    if (drawer >= 0 && !wanted.includes(drawer)) wanted.push(drawer);
    const rows = wanted.length > 0 && nowMs - this.#rowsAskedAtMs >= Math.min(ROWS_ASK_MS, tickMs / 2);
    if (rows) this.#rowsAskedAtMs = nowMs;
    keepRows(this.#world, new Set(wanted));
    this.#feed.watch({ rows: wanted, client, sessions, find, session });
    this.#feed.more(rows);
  }

  /**
   * Asks for the picture that a pause keeps. It has the ribbons of as many clients as one frame holds: those in sight, then others.
   * @param {number[]} others slots
   * @returns {number} how many ribbons
   */
  askForAll(others) {
    const { rows, drawer, client, session } = this.#shown();
    const wanted = [...new Set([...(drawer >= 0 ? [drawer] : []), ...rows, ...others])].slice(0, ROWS_MOST);
    this.#feed.watch({ rows: wanted, client, sessions: false, find: "", session });
    this.#feed.more(true, true);
    return wanted.length;
  }
}
