/** The help: how to begin, the keys, and whether single keys act. */
import { element, need, within } from "../base/dom.js";
import { KEYS } from "../base/keys.js";
import { keepPreferences } from "../base/preferences.js";

/** @param {import("../base/preferences.js").Preferences} preferences changed here @returns {HTMLDialogElement} */
export function followHelp(preferences) {
  const help = need("help", HTMLDialogElement);
  for (const [keys, what] of KEYS) {
    const shown = keys.split(" ").flatMap((key) => [element("kbd", {}, key), " "]);
    need("help-keys", HTMLElement).append(element("dt", {}, ...shown), element("dd", {}, what));
  }
  const shortcuts = need("shortcuts", HTMLInputElement);
  shortcuts.checked = preferences.shortcuts;
  shortcuts.addEventListener("change", () => {
    preferences.shortcuts = shortcuts.checked;
    keepPreferences(preferences);
  });
  need("help-open", HTMLButtonElement).addEventListener("click", () => help.showModal());
  within(help, ".close", HTMLButtonElement).addEventListener("click", () => help.close());
  return help;
}
