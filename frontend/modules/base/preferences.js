/** What this browser remembers for its user. Where storage is forbidden the page works, and forgets. */

/** @typedef {"system" | "light" | "dark"} Theme */
/** calm: pictures on the slow clock; softened: at once, in colours that cannot flash; true: at once, in the colours that came, which can
 * flash. The last one is chosen anew each time the page is opened, behind a warning.
 * @typedef {"calm" | "softened" | "true"} Motion */
/** @typedef {{theme: Theme, motion: Motion, shortcuts: boolean}} Preferences */

const KEY = "udprism";

/** @type {Preferences} */
const DEFAULTS = { theme: "system", motion: "calm", shortcuts: true };

/** @returns {Preferences} */
export function readPreferences() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return {
      theme: ["system", "light", "dark"].includes(kept.theme) ? kept.theme : DEFAULTS.theme,
      motion: ["calm", "softened"].includes(kept.motion) ? kept.motion : DEFAULTS.motion,
      shortcuts: typeof kept.shortcuts === "boolean" ? kept.shortcuts : DEFAULTS.shortcuts,
    };
  } catch {
    return { ...DEFAULTS };
  }
}

/** @param {Preferences} preferences */
export function keepPreferences(preferences) {
  try {
    const { motion } = preferences;
    localStorage.setItem(KEY, JSON.stringify({ ...preferences, motion: motion === "true" ? DEFAULTS.motion : motion }));
  } catch {
    // Private windows may refuse; nothing depends on it.
  }
}
