/** All nodes as chips: whom this page looks at, how each of them is, and how old that word is. Nothing where there is one node. */
import { api } from "../base/api.js";
import { element, need, setText } from "../base/dom.js";
import { count } from "../base/format.js";
import { node as looked } from "../base/node.js";

const ASK_MS = 1000;
/** Younger than this is simply now: nodes speak once per second. */
const FRESH_MS = 2500;

/** @typedef {import("../base/node.js").Node} Node */
/** @typedef {import("../base/node.js").Nodes} Nodes */

/** @param {number} ms */
const ago = (ms) => `${count(Math.round(ms / 1000))} s ago`;

/** What a chip says beside the name. @param {Node} node */
export function wordsOf(node) {
  const clients = node.clients ? `${count(node.clients.total)} clients` : "clients unknown";
  if (node.is_this) return clients;
  if (node.state === "live" && node.as_of_ms <= FRESH_MS) return clients;
  return `${clients}, ${node.state}, ${ago(node.as_of_ms)}`;
}

/** What is known of another node's clock, in words. @param {Node} node */
export function clockOf(node) {
  if (!node.clock) return "";
  const { ahead_ms: ahead, bound_ms: bound } = node.clock;
  const way = ahead < 0 ? "behind" : "ahead";
  return `${node.name}'s clock is ${Math.abs(ahead).toFixed(1)} ms ${way}, ±${bound.toFixed(1)} ms: delays between the two machines cannot be more accurate than that`;
}

export class NodeChips {
  #place = need("nodes", HTMLElement);
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /** Asks once; again and again only where nodes know each other. */
  start() {
    document.addEventListener("visibilitychange", () => void this.#refresh());
    void this.#refresh();
  }

  async #refresh() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    /** @type {Nodes | null} */ let told = null;
    try {
      told = await api.nodes();
    } catch {
      told = null; // the banner says that the server does not answer
    }
    if (told) this.#show(told);
    if (told && told.nodes[0]?.name === null) return;
    this.#timer = setTimeout(() => void this.#refresh(), ASK_MS);
  }

  /** @param {Nodes} told */
  #show({ nodes, cut_off_s: cutOffS }) {
    this.#place.hidden = nodes.length < 2 && cutOffS === null && looked === "";
    if (this.#place.hidden) return;
    const chips = nodes.map((node) => this.#chip(node));
    const note = cutOffS === null ? "" : `cut off from the others for ${count(Math.round(cutOffS))} s`;
    this.#place.replaceChildren(...chips, ...(note ? [element("span", { class: "note" }, note)] : []));
  }

  /** @param {Node} node */
  #chip(node) {
    const isLooked = looked === "" ? node.is_this : looked === node.id || looked === node.name;
    const name = element("b");
    setText(name, node.name ?? node.id);
    const chip = element("a", { href: node.is_this ? "./" : `?node=${encodeURIComponent(node.id)}`, class: "node", "data-state": node.state, title: clockOf(node) }, name, ` ${wordsOf(node)}`);
    if (isLooked) chip.setAttribute("aria-current", "true");
    return chip;
  }
}
