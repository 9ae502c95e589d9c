/** The links that lead from one view to another, and what is shown in which. */

/** @typedef {import("../base/address.js").View} View */

/** @param {(view: View) => void} go */
export function followViewLinks(go) {
  for (const link of document.querySelectorAll("a[data-view]")) {
    link.addEventListener("click", (event) => {
      const { ctrlKey, metaKey, shiftKey } = /** @type {MouseEvent} */ (event);
      if (ctrlKey || metaKey || shiftKey) return;
      event.preventDefault();
      go(/** @type {View} */ (link.getAttribute("data-view")));
    });
  }
}

/** @param {View} view */
export function showView(view) {
  for (const link of document.querySelectorAll("a[data-view]")) {
    if (link.getAttribute("data-view") === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  for (const one of document.querySelectorAll(".view")) /** @type {HTMLElement} */ (one).hidden = one.getAttribute("data-view") !== view;
  for (const tool of document.querySelectorAll("[data-for]")) /** @type {HTMLElement} */ (tool).hidden = !(tool.getAttribute("data-for") ?? "").includes(view);
}
