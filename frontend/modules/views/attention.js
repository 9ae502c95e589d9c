/** "Needs attention": the worst clients in words, so that nobody has to find them in a picture. */
import { element, icon, need, within } from "../base/dom.js";
import { milliseconds, percent, plural, span } from "../base/format.js";
import { ageMs } from "../feed/state.js";

/** @typedef {import("../feed/messages.js").Attention} Attention */

/** The server tells of so many at most. */
const TOLD = 20;
const SHOWN = 5;
const SHOWN_NARROW = 3;
const narrow = matchMedia("(width < 620px)");

export class AttentionList {
  #root = need("attention", HTMLElement);
  #list = within(this.#root, "ul", HTMLUListElement);
  #shown = "";
  #world;

  /** @param {import("../feed/state.js").World} world @param {{open: (id: string) => void, showAll: () => void}} actions */
  constructor(world, actions) {
    this.#world = world;
    this.#list.addEventListener("click", (event) => {
      const button = /** @type {Element} */ (event.target).closest("button");
      const id = button?.getAttribute("data-id");
      if (id) actions.open(id);
      else if (button) actions.showAll();
    });
  }

  tick() {
    const all = this.#world.status?.attention ?? [];
    const most = narrow.matches ? SHOWN_NARROW : SHOWN;
    const key = most + JSON.stringify(all) + all.map((one) => (one.why === "silent" ? span(ageMs(this.#world, one.slot ?? -1)) : "")).join();
    if (key === this.#shown) return;
    this.#shown = key;
    this.#root.hidden = all.length === 0;
    const focused = this.#list.contains(document.activeElement) ? document.activeElement?.getAttribute("data-id") : null;
    const rows = all.slice(0, most).map((one) => element("li", {}, this.#button(one)));
    if (all.length > most) rows.push(element("li", {}, element("button", { type: "button", class: "plain", "data-all": "" }, all.length === TOLD ? `and ${TOLD - most} or more others` : `and ${plural(all.length - most, "other")}`)));
    this.#list.replaceChildren(...rows);
    if (focused) /** @type {HTMLElement | null} */ (this.#list.querySelector(`[data-id="${CSS.escape(focused)}"]`))?.focus();
  }

  /** @param {Attention} one */
  #button(one) {
    const { shape, words } = reason(one, ageMs(this.#world, one.slot ?? -1));
    if (one.id === null) return element("button", { type: "button", class: "plain", "data-all": "" }, icon(shape), " ", words);
    return element("button", { type: "button", class: "plain", "data-id": one.id }, icon(shape), " ", one.name ?? one.id, " ", element("span", {}, words));
  }
}

/** @param {Attention} one @param {number} silenceMs */
function reason(one, silenceMs) {
  switch (one.why) {
    case "losing": case "loss": return { shape: "losing", words: `loses ${percent(one.value)}` };
    case "behind": return { shape: "connecting", words: `its sender reaches ${percent(one.value)} of the requested rate` };
    case "link-room": return { shape: "losing", words: `the link has no room for more delayed datagrams and drops them${one.value !== null && one.value > 1 ? ` (needs ${one.value.toFixed(1)} times its room)` : ""}` };
    case "relay-room": return { shape: "losing", words: "a relay’s link has no room for more delayed datagrams and drops them" };
    case "everybody-behind": return { shape: "connecting", words: `this machine is too slow: many senders reach about ${percent(one.value)} of the requested rate` };
    case "everybody": return { shape: "losing", words: `all clients lose about ${percent(one.value)}` };
    case "everybody-link": return { shape: "losing", words: `all clients lose about ${percent(one.value)} (the link)` };
    case "silent": return { shape: "silent", words: Number.isNaN(silenceMs) ? "silent" : `silent for ${span(silenceMs)}` };
    case "jitter": return { shape: "losing", words: `jitter ${milliseconds(one.value)}` };
    default: return { shape: ["refused", "error", "connecting", "paused"].includes(one.why) ? one.why : "error", words: one.why };
  }
}
