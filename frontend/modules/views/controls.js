/** The tools above the picture: what they do to the address, and what the address does to them. */
import { announce } from "../dialogs/notices.js";
import { LENSES } from "../base/address.js";
import { need } from "../base/dom.js";

/** @typedef {import("../base/address.js").Address} Address */
/** @typedef {import("../base/address.js").Place} Place */

export class Controls {
  #find = need("find", HTMLInputElement);
  #order = need("order", HTMLSelectElement);
  #lens = need("lens", HTMLSelectElement);
  #spotlight = need("spotlight", HTMLInputElement);
  #compare = need("compare", HTMLInputElement);
  #address;

  /** @param {Address} address */
  constructor(address) {
    this.#address = address;
    this.#find.addEventListener("input", () => address.adjust({ find: this.#find.value }));
    this.#order.addEventListener("change", () => address.adjust({ order: /** @type {import("../base/address.js").Order} */ (this.#order.value) }));
    this.#lens.addEventListener("change", () => address.adjust({ lens: /** @type {import("../base/address.js").Lens} */ (this.#lens.value) }));
    this.#spotlight.addEventListener("change", () => address.adjust({ spotlight: this.#spotlight.checked }));
    this.#compare.addEventListener("change", () => address.adjust({ compare: this.#compare.value.trim() }));
    for (const button of document.querySelectorAll(".nothing button")) button.addEventListener("click", () => address.adjust({ find: "" }));
  }

  /** @param {Place} place */
  follow({ find, order, lens, spotlight }) {
    if (this.#find.value !== find) this.#find.value = find;
    this.#order.value = order;
    this.#lens.value = lens;
    this.#spotlight.checked = spotlight;
  }

  /** To the find box. */
  find() {
    this.#find.focus();
    this.#find.select();
  }

  /** The next lens, on the wall. */
  nextLens() {
    const { view, lens } = this.#address.place;
    if (view !== "wall") return;
    const next = LENSES[(LENSES.indexOf(lens) + 1) % LENSES.length] ?? "colour";
    this.#address.adjust({ lens: next });
    announce(`Lens: ${next}`);
  }
}
