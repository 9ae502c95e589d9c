/** The wire inspector: the last datagrams of a client, and the bytes of one of them with every field named. */
import { element, need, setAttribute, setText, within } from "../base/dom.js";
import { count, milliseconds, UNKNOWN } from "../base/format.js";
import { bytesOf, fieldsOf, hexOf } from "./wire.js";

/** @typedef {import("../feed/recent.js").Datagram} Datagram */

const SHOWN = 64;

export class Inspector {
  #root = need("panel-datagrams", HTMLElement);
  #rows = within(this.#root, "tbody", HTMLElement);
  #bytes = within(this.#root, ".bytes", HTMLElement);
  #about = within(this.#root, ".byte-about", HTMLElement);
  #fields = within(this.#root, ".byte-fields", HTMLElement);
  #which = within(this.#root, ".byte-which", HTMLElement);
  #hold = within(this.#root, "#hold", HTMLInputElement);
  #nothing = within(this.#root, ".nothing", HTMLElement);
  #clientId = "";
  #way = "";
  /** @type {Datagram[]} newest first */ #datagrams = [];
  /** @type {number | null} */ #chosen = null;

  /** @param {import("../feed/recent.js").Recent} recent */
  constructor(recent) {
    recent.add({
      wanted: () => !this.#root.hidden && !this.#hold.checked,
      show: (datagrams) => {
        this.#datagrams = datagrams.slice(-SHOWN).reverse();
        this.#showRows();
      },
    });
    this.#rows.addEventListener("click", (event) => this.#choose(/** @type {Element} */ (event.target).closest("tr")));
    this.#rows.addEventListener("keydown", (event) => {
      const row = /** @type {Element} */ (event.target).closest("tr");
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!row || !step) return;
      event.preventDefault();
      this.#choose(step > 0 ? row.nextElementSibling : row.previousElementSibling);
    });
    const point = (/** @type {Event} */ event) => this.#point(/** @type {Element} */ (event.target).closest("[data-field]")?.getAttribute("data-field") ?? null);
    for (const part of [this.#bytes, this.#fields]) {
      part.addEventListener("pointerover", point);
      part.addEventListener("focusin", point);
    }
  }

  /** @param {string} clientId */
  open(clientId) {
    if (clientId === this.#clientId) return;
    this.#clientId = clientId;
    this.#chosen = null;
    this.#datagrams = [];
    this.#hold.checked = false;
    this.#rows.replaceChildren();
    this.#showBytes(null);
  }

  /** @param {string} way both addresses */
  tick(way) {
    this.#way = way;
  }

  /** Shows the bytes of this datagram, as soon as it is in the list, and holds the list. @param {number} sequence */
  look(sequence) {
    this.#chosen = sequence;
    const found = this.#datagrams.find((datagram) => datagram.sequence === sequence);
    if (found) this.#showBytes(found);
    this.#markChosen();
  }

  #showRows() {
    const first = this.#datagrams.find((datagram) => datagram.payload_hex);
    if (this.#chosen === null && first) {
      this.#chosen = first.sequence;
      this.#showBytes(first);
    }
    this.#nothing.hidden = this.#datagrams.length > 0;
    this.#root.dataset.empty = String(this.#datagrams.length === 0);
    while (this.#rows.children.length > this.#datagrams.length) this.#rows.lastElementChild?.remove();
    const focused = this.#rows.contains(document.activeElement) ? document.activeElement : null;
    const focusedSequence = focused?.closest("tr")?.getAttribute("data-sequence");
    this.#datagrams.forEach((datagram, index) => {
      let row = this.#rows.children[index];
      if (!row) {
        const number = element("th", { scope: "row" }, element("button", { type: "button", class: "plain" }));
        row = element("tr", {}, number, element("td"), element("td", {}, element("span", { class: "dot" }), element("span")), element("td"), element("td"));
        this.#rows.append(row);
      }
      this.#showRow(row, datagram);
    });
    this.#markChosen();
    if (focusedSequence) /** @type {HTMLElement | null} */ (this.#rows.querySelector(`[data-sequence="${focusedSequence}"] button`))?.focus({ preventScroll: true });
  }

  /** @param {Element} row @param {Datagram} datagram */
  #showRow(row, datagram) {
    const [number, fate, colour, delay, size] = row.children;
    setAttribute(row, "data-sequence", String(datagram.sequence));
    setAttribute(row, "data-fate", datagram.fate);
    if (number?.firstChild) setText(number.firstChild, count(datagram.sequence));
    if (fate) setText(fate, fateWords(datagram));
    const [dot, name] = colour?.children ?? [];
    if (dot instanceof HTMLElement) {
      dot.hidden = datagram.rgb === null;
      dot.style.background = datagram.rgb ?? "";
    }
    if (name) setText(name, datagram.colour ?? datagram.rgb ?? UNKNOWN);
    if (delay) setText(delay, milliseconds(datagram.delay_ms));
    if (size) setText(size, datagram.size_bytes === null ? UNKNOWN : `${datagram.size_bytes} B`);
  }

  /** Looking at one datagram holds the list: it would run away otherwise. @param {Element | null} row */
  #choose(row) {
    const sequence = row?.getAttribute("data-sequence");
    const datagram = this.#datagrams.find((each) => String(each.sequence) === sequence);
    if (!row || !datagram) return;
    this.#hold.checked = true;
    this.#chosen = datagram.sequence;
    this.#showBytes(datagram);
    this.#markChosen();
    row.querySelector("button")?.focus();
  }

  #markChosen() {
    const rows = [...this.#rows.children];
    const chosen = rows.find((row) => row.getAttribute("data-sequence") === String(this.#chosen));
    for (const row of rows) {
      row.classList.toggle("is-chosen", row === chosen);
      const button = row.querySelector("button");
      if (!button) continue;
      button.tabIndex = row === (chosen ?? rows[0]) ? 0 : -1;
      setAttribute(button, "aria-pressed", String(row === chosen));
    }
  }

  /** @param {Datagram | null} datagram */
  #showBytes(datagram) {
    if (!datagram) {
      setText(this.#which, "");
      this.#bytes.replaceChildren();
      this.#fields.replaceChildren();
      setText(this.#about, "");
      return;
    }
    if (!datagram.payload_hex) {
      setText(this.#which, `Datagram ${count(datagram.sequence)} never arrived: there are no bytes to show.`);
      this.#bytes.replaceChildren();
      this.#fields.replaceChildren();
      setText(this.#about, "");
      return;
    }
    const bytes = bytesOf(datagram.payload_hex);
    const more = (datagram.size_bytes ?? bytes.length) - bytes.length;
    setText(this.#which, `Datagram ${count(datagram.sequence)}, ${datagram.size_bytes ?? bytes.length} bytes of UDP payload, ${this.#way}${more > 0 ? `; only the first ${bytes.length} were recorded` : ""}`);
    const fields = fieldsOf(bytes);
    this.#bytes.replaceChildren(...fields.map((field, index) => element("button", { type: "button", "data-field": String(index), "aria-label": `${field.name}: ${hexOf(field.bytes)}` }, hexOf(field.bytes))));
    this.#fields.replaceChildren(...fields.flatMap((field, index) => [
      element("dt", { "data-field": String(index) }, field.name),
      element("dd", { "data-field": String(index), "data-about": `Bytes ${field.offset} to ${field.offset + field.bytes.length - 1}. ${field.about}` }, field.value),
    ]));
    setText(this.#about, "Point at the bytes, or Tab to them: each group is one field.");
  }

  /** @param {string | null} field */
  #point(field) {
    if (field === null) return;
    for (const part of this.#root.querySelectorAll("[data-field]")) part.classList.toggle("is-pointed", part.getAttribute("data-field") === field);
    const value = this.#fields.querySelector(`dd[data-field="${field}"]`);
    const name = this.#fields.querySelector(`dt[data-field="${field}"]`);
    if (value && name) setText(this.#about, `${name.textContent}: ${value.textContent}. ${value.getAttribute("data-about") ?? ""}`);
  }
}

/** @param {Datagram} datagram */
function fateWords(datagram) {
  const words = [datagram.fate.replace("_", " ")];
  if (datagram.fate === "lost" && datagram.cause) words.push(`(${datagram.cause.replaceAll("_", " ")})`);
  if (datagram.reordered) words.push("reordered");
  if (datagram.duplicates) words.push(`+${datagram.duplicates} duplicate${datagram.duplicates > 1 ? "s" : ""}`);
  return words.join(" ");
}
