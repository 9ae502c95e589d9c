/** Optional single-key shortcuts: they can be switched off (WCAG 2.1.4) and never act inside a field or with a modifier held. */
import { isField } from "./dom.js";

/** @typedef {{enabled: () => boolean, find: () => void, pause: () => void, lens: () => void, help: () => void, escape: () => boolean,
 *   view: (index: number) => void, add: () => void}} KeyActions */

/** What the help dialog lists. @type {readonly [string, string][]} */
export const KEYS = [
  ["/", "find a client"],
  ["P", "pause and resume"],
  ["L", "next lens on the wall"],
  ["A", "add clients and more"],
  ["1 2 3", "lanes, wall, server"],
  ["?", "this help"],
  ["↑ ↓ ← →", "move among clients"],
  ["Home End", "first, last"],
  ["Enter", "open the client"],
  ["Esc", "close what is open"],
];

/** @param {KeyActions} actions */
export function followKeys(actions) {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog:modal")) return;
    if (event.key === "Escape") {
      if (actions.escape()) event.preventDefault();
      return;
    }
    if (isField(event.target) || !actions.enabled()) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : "";
    const run = { "/": actions.find, p: actions.pause, l: actions.lens, a: actions.add, "?": actions.help,
      1: () => actions.view(0), 2: () => actions.view(1), 3: () => actions.view(2) }[key];
    if (!run) return;
    event.preventDefault();
    run();
  });
}
