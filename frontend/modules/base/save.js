/** Pictures to take away: canvases with their titles, one below the other, as one PNG. */
import { element } from "./dom.js";

const EDGE_PX = 12;
const TITLE_PX = 18;

/** @typedef {{title: string, canvas: HTMLCanvasElement, widthPx: number, heightPx: number}} Part in CSS pixels */

/** What a section shows. @param {HTMLElement} root @returns {Part[]} */
export function partsOf(root) {
  return [...root.querySelectorAll("canvas")].flatMap((canvas) => {
    const { width, height } = canvas.getBoundingClientRect();
    if (width === 0 || height === 0 || canvas.closest(".key")) return [];
    const title = canvas.closest(".panel-chart")?.querySelector(".panel-name")?.textContent ?? canvas.closest(".lane")?.querySelector(".lane-name")?.textContent ?? canvas.getAttribute("aria-label") ?? "";
    return [{ title: title.trim(), canvas, widthPx: width, heightPx: height }];
  });
}

/** @param {Part[]} parts @returns {HTMLCanvasElement} */
export function joined(parts) {
  const scale = devicePixelRatio;
  const made = element("canvas");
  const widthPx = Math.max(...parts.map((part) => part.widthPx)) + 2 * EDGE_PX;
  const heightPx = parts.reduce((sum, part) => sum + TITLE_PX + part.heightPx + EDGE_PX, EDGE_PX);
  made.width = Math.ceil(widthPx * scale);
  made.height = Math.ceil(heightPx * scale);
  const context = /** @type {CanvasRenderingContext2D} */ (made.getContext("2d"));
  const style = getComputedStyle(document.body);
  context.scale(scale, scale);
  context.fillStyle = getComputedStyle(document.documentElement).backgroundColor;
  context.fillRect(0, 0, widthPx, heightPx);
  context.imageSmoothingEnabled = false;
  context.fillStyle = style.color;
  context.font = "12px sans-serif";
  let y = EDGE_PX;
  for (const part of parts) {
    context.fillText(part.title, EDGE_PX, y + 12, widthPx - 2 * EDGE_PX);
    context.drawImage(part.canvas, EDGE_PX, y + TITLE_PX, part.widthPx, part.heightPx);
    y += TITLE_PX + part.heightPx + EDGE_PX;
  }
  return made;
}

/** Buttons with `data-save` save the pictures of the element whose id they name. */
export function followSaves() {
  for (const button of document.querySelectorAll("[data-save]")) {
    button.addEventListener("click", () => {
      const id = button.getAttribute("data-save") ?? "";
      const parts = partsOf(/** @type {HTMLElement} */ (document.getElementById(id)));
      if (parts.length === 0) return;
      joined(parts).toBlob((blob) => {
        if (!blob) return;
        const link = element("a", { href: URL.createObjectURL(blob), download: `udprism-${id}.png` });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      });
    });
  }
}
