/** The button that changes the theme. */
import { need, setAttribute } from "../base/dom.js";
import { keepPreferences } from "../base/preferences.js";
import { applyTheme, isDark } from "../draw/theme.js";
import { announce } from "./notices.js";

/** @param {import("../base/preferences.js").Preferences} preferences changed here */
export function followThemeButton(preferences) {
  const button = need("theme", HTMLButtonElement);
  const show = () => {
    applyTheme(preferences.theme);
    const word = preferences.theme === "system" ? "as the system" : preferences.theme;
    setAttribute(button, "aria-label", `Theme: ${word}`);
    button.title = `Theme: ${word}`;
  };
  button.addEventListener("click", () => {
    // The first press always changes what is seen.
    const next = { system: isDark() ? "light" : "dark", light: "dark", dark: "light" }[preferences.theme];
    preferences.theme = next === "dark" ? "dark" : "light";
    keepPreferences(preferences);
    show();
    announce(`${preferences.theme} theme`);
  });
  show();
}
