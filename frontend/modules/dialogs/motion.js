/** How the picture moves: Calm, Softened, or True colours, which can flash and are shown only to people who accept that. */
import { need, within } from "../base/dom.js";

/** @typedef {import("../base/preferences.js").Preferences} Preferences */
/** @typedef {import("../base/preferences.js").Motion} Motion */

/** @param {Preferences} preferences changed here @param {() => void} changed */
export function followMotion(preferences, changed) {
  const warning = need("flash-warning", HTMLDialogElement);
  const radios = [...document.querySelectorAll("input[name=motion]")].filter((node) => node instanceof HTMLInputElement);
  const show = () => {
    for (const radio of radios) radio.checked = radio.value === preferences.motion;
  };
  const become = (/** @type {Motion} */ motion) => {
    preferences.motion = motion;
    show();
    changed();
  };
  for (const radio of radios) {
    radio.addEventListener("change", () => {
      if (radio.value === "true") warning.showModal();
      else become(radio.value === "softened" ? "softened" : "calm");
    });
  }
  within(warning, ".primary", HTMLButtonElement).addEventListener("click", () => {
    warning.close();
    become("true");
  });
  within(warning, ".close-text", HTMLButtonElement).addEventListener("click", () => warning.close());
  // Escape and Cancel alike leave everything as it was.
  warning.addEventListener("close", show);
  show();
}

/** Told now, and when the system's setting changes. @param {(less: boolean) => void} told */
export function followReducedMotion(told) {
  const less = matchMedia("(prefers-reduced-motion: reduce)");
  less.addEventListener("change", () => told(less.matches));
  told(less.matches);
}
