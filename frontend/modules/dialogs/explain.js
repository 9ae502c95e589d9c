/** Every number explains itself: its formula, where that is defined, and what it cannot tell. One source: /api/definitions. */
import { api, Problem } from "../base/api.js";
import { element, need, setText, within } from "../base/dom.js";

/** @typedef {{id: string, name: string, unit: string | null, formula: string, source: string | null, caveat: string | null}} Definition */

/** @type {Promise<Map<string, Definition>> | null} */
let definitions = null;

async function fetchDefinitions() {
  const answer = await api.definitions();
  return new Map(/** @type {Definition[]} */ (answer.definitions).map((definition) => [definition.id, definition]));
}

/** Answers every element with data-term, those to come included. */
export function followTerms() {
  const bubble = need("explain", HTMLElement);
  document.addEventListener("click", (event) => {
    const button = /** @type {Element} */ (event.target).closest("button[data-term]");
    if (button instanceof HTMLButtonElement) void explain(bubble, button);
    else if (!bubble.contains(/** @type {Node} */ (event.target))) hide(bubble);
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || bubble.hidden) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    hide(bubble);
  }, true);
  addEventListener("scroll", () => hide(bubble), { passive: true });
  addEventListener("resize", () => hide(bubble));
  within(bubble, ".close", HTMLButtonElement).addEventListener("click", () => hide(bubble));
}

/** @type {HTMLButtonElement | null} */
let opener = null;

/** @param {HTMLElement} bubble */
function hide(bubble) {
  if (bubble.hidden) return;
  const hadFocus = bubble.contains(document.activeElement);
  bubble.hidden = true;
  opener?.setAttribute("aria-expanded", "false");
  if (hadFocus) opener?.focus();
  opener = null;
}

/** @param {HTMLElement} bubble @param {HTMLButtonElement} button */
async function explain(bubble, button) {
  const again = opener === button;
  hide(bubble);
  if (again) return;
  const term = button.dataset.term ?? "";
  /** @type {Definition | undefined} */
  let definition;
  try {
    definitions ??= fetchDefinitions();
    definition = (await definitions).get(term);
  } catch (error) {
    definitions = null;
    if (!(error instanceof Problem)) throw error;
  }
  fill(bubble, definition, button.textContent ?? term);
  opener = button;
  button.setAttribute("aria-expanded", "true");
  // Inside an open dialog, or its top layer would cover the bubble.
  (button.closest("dialog") ?? document.body).append(bubble);
  bubble.hidden = false;
  place(bubble, button);
  bubble.focus();
}

/** @param {HTMLElement} bubble @param {Definition | undefined} definition @param {string} word */
function fill(bubble, definition, word) {
  setText(within(bubble, "h2", HTMLElement), definition ? `${definition.name}${definition.unit ? ` (${definition.unit})` : ""}` : word);
  const lines = definition
    ? [["", definition.formula], ["Caveat", definition.caveat], ["Source", definition.source]]
    : [["", "The server gave no definition."]];
  within(bubble, ".explain-body", HTMLElement).replaceChildren(...lines.flatMap(([label, text]) => (text
    ? [element("p", {}, ...(label ? [element("b", {}, `${label}: `)] : []), text)] : [])));
}

/** Below what it explains, or above it; always in sight. @param {HTMLElement} bubble @param {HTMLElement} button */
function place(bubble, button) {
  const at = button.getBoundingClientRect();
  const { width, height } = bubble.getBoundingClientRect();
  const left = Math.max(8, Math.min(innerWidth - width - 8, at.left));
  const below = at.bottom + 6;
  bubble.style.left = `${left}px`;
  bubble.style.top = `${below + height < innerHeight ? below : Math.max(8, at.top - height - 6)}px`;
}
