/** The clients that lanes and wall show, in their order, and what stands there if there are none. */
import { need, setText, within } from "../base/dom.js";
import { count } from "../base/format.js";
import { isMoving, select } from "../feed/selection.js";

const REORDER_MS = 2000;
const VIEWS = ["lanes", "wall"];

export class Chosen {
  /** @type {number[]} */ slots = [];
  #world;
  #show;
  #atMs = -Infinity;
  #question = "";

  /** @param {import("../feed/state.js").World} world @param {(slots: number[]) => void} show */
  constructor(world, show) {
    this.#world = world;
    this.#show = show;
  }

  /** The next tick chooses anew. */
  forget() {
    this.#question = "";
  }

  /** Chooses anew if the roster or the question changed; orders that move are worked out every two seconds.
   * @param {import("../base/address.js").Place} place */
  tick({ find, order, view }) {
    // Where there is no client there is no roster either: the status tells that nothing is missing.
    const told = this.#world.rosterChanges > 0 || this.#world.status?.clients.total === 0;
    const question = `${this.#world.rosterChanges} ${told} ${order} ${find}`;
    const nowMs = performance.now();
    const stale = (isMoving(order) || find !== "") && nowMs - this.#atMs > REORDER_MS;
    if (question === this.#question && !stale) return;
    this.#question = question;
    this.#atMs = nowMs;
    this.slots = select(this.#world, find, order);
    const empty = told && this.#world.roster.size === 0;
    const isHere = VIEWS.includes(view);
    need("empty", HTMLElement).hidden = !empty || !isHere;
    for (const one of VIEWS) {
      need(one, HTMLElement).hidden = empty || view !== one;
      need(`${one}-nothing`, HTMLElement).hidden = this.slots.length > 0 || !told;
    }
    this.#offerRemoval(find, empty || !isHere);
    this.#show(this.slots);
  }

  /** @param {string} find @param {boolean} hidden */
  #offerRemoval(find, hidden) {
    const removal = need("remove-open", HTMLButtonElement);
    const removable = this.slots.filter((slot) => this.#world.roster.get(slot)?.kind === "client").length;
    removal.disabled = removable === 0;
    removal.hidden = hidden;
    const what = find.trim() === "" ? "Remove all…" : `Remove ${count(removable)} found…`;
    setText(within(removal, "span", HTMLElement), what);
    removal.title = what;
  }
}
