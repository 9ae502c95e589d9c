/** A session's last colours as a strip: a client that this program does not host has no ribbon in the frames. */
import { element } from "../base/dom.js";
import { CELLS, Fate } from "../feed/messages.js";
import { plural } from "../base/format.js";
import { Ribbon } from "./ribbon.js";
import { paints } from "./theme.js";

/** @param {string} recent six hexadecimal digits per colour, oldest first @returns {Uint8Array} cells of a ribbon */
export function cellsOf(recent) {
  const cells = new Uint8Array(CELLS * 4);
  const colours = recent.match(/.{6}/g) ?? [];
  colours.slice(-CELLS).forEach((colour, index, all) => {
    const packed = Number.parseInt(colour, 16);
    cells.set([packed >> 16, (packed >> 8) & 255, packed & 255, Fate.RECEIVED], (CELLS - all.length + index) * 4);
  });
  return cells;
}

export class Strip {
  element = element("span", { class: "strip" }, element("canvas", { class: "ribbon", width: "1", height: "9", role: "img" }));
  #ribbon = new Ribbon(/** @type {HTMLCanvasElement} */ (this.element.firstElementChild));
  #shown = "";

  /** Call it at a tick of the page clock: colours that change faster can flash. @param {string} recent as of `cellsOf` */
  show(recent) {
    this.element.hidden = recent === "";
    this.#ribbon.canvas.setAttribute("aria-label", `the last ${plural(recent.length / 6, "colour")} that were sent to it, newest right`);
    const width = this.element.clientWidth;
    if (!width || (recent === this.#shown && this.#ribbon.canvas.width > 1)) return;
    this.#shown = recent;
    this.#ribbon.resize(width);
    this.#ribbon.latch(cellsOf(recent), paints);
    this.#ribbon.paint();
    this.#ribbon.canvas.title = "The last colours that were sent to it, newest right. Whether they arrived, only its receiver knows.";
  }
}
