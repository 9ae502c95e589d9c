/** The tokens of style.css, as numbers for canvases. Read again whenever the theme changes. */
import { pack, parseColour } from "./colour.js";

/** @typedef {{ground: number, track: number, ink: number, faint: number, accent: number}} Paints */

/** @type {Paints} */
export const paints = { ground: pack(255, 255, 255), track: pack(230, 230, 230), ink: pack(0, 0, 0), faint: pack(150, 150, 150), accent: pack(0, 80, 200) };

/** @type {Set<() => void>} */
const listeners = new Set();

/** @param {() => void} listener */
export function onThemeChange(listener) {
  listeners.add(listener);
}

/** @param {import("../base/preferences.js").Theme} theme */
export function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  readPaints();
}

export function followSystemTheme() {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readPaints);
}

/** Dark is shown now, by choice or by the system. */
export function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
}

function readPaints() {
  const probe = document.createElement("i");
  probe.hidden = true;
  document.body.append(probe);
  for (const name of /** @type {(keyof Paints)[]} */ (Object.keys(paints))) {
    probe.style.color = `var(--${name})`;
    paints[name] = parseColour(getComputedStyle(probe).color);
  }
  probe.remove();
  for (const listener of listeners) listener();
}
