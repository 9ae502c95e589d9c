/** A capture file's flows: of a recording, or of a file that is dropped on the page; and sending them again. */
import { ask, Problem } from "../base/api.js";
import { element, need, setText, within } from "../base/dom.js";
import { showError, valuesOf } from "../base/form.js";
import { bytes, count, milliseconds, percent, perSecond, plural } from "../base/format.js";
import { atNode } from "../base/node.js";
import { notify } from "./notices.js";

/** @typedef {import("../feed/bodies.d.ts").Inspected} Inspected */
/** @typedef {import("../feed/bodies.d.ts").CapturedFlow} Flow */
/** @typedef {{recording?: string, file?: string}} Source */

const PIECE_BYTES = 64 * 1024;
const MOST_SHOWN = 200;
const CURVE_PX = { width: 120, height: 22 };

export class CaptureDialog {
  #dialog = need("capture", HTMLDialogElement);
  #form = within(this.#dialog, "form", HTMLFormElement);
  #rows = within(this.#dialog, "tbody", HTMLElement);
  /** @type {Source} */ #source = {};
  #turn = 0;

  constructor() {
    within(this.#dialog, ".close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#replay();
    });
    for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => {
      if (hasFile(event)) event.preventDefault();
    });
    document.addEventListener("drop", (event) => {
      const file = hasFile(event) ? /** @type {DragEvent} */ (event).dataTransfer?.files[0] : undefined;
      if (!file) return;
      event.preventDefault();
      void this.openFile(file);
    });
  }

  /** @param {string} path of its inspection @param {string} title @param {Source} source */
  async open(path, title, source) {
    const turn = this.#begin(title);
    await this.#show(turn, path, source);
  }

  /** Uploads it piece by piece, then shows it. @param {File} file */
  async openFile(file) {
    const turn = this.#begin(file.name);
    try {
      const made = await ask("POST", "api/captures", { name: file.name, bytes: file.size });
      for (let at = 0; at < file.size; at += PIECE_BYTES) {
        if (turn !== this.#turn || !this.#dialog.open) {
          await ask("DELETE", `api/captures/${made.id}`);
          return;
        }
        setText(need("capture-facts", HTMLElement), `Reading ${bytes(at)} of ${bytes(file.size)}…`);
        await put(`api/captures/${made.id}/bytes?at=${at}`, file.slice(at, at + PIECE_BYTES));
      }
      await this.#show(turn, `api/captures/${made.id}/inspection`, { file: made.id });
    } catch (error) {
      this.#refused(turn, error);
    }
  }

  /** @param {string} title @returns {number} */
  #begin(title) {
    this.#turn += 1;
    setText(need("capture-title", HTMLElement), title);
    setText(need("capture-facts", HTMLElement), "Reading…");
    this.#rows.replaceChildren();
    need("capture-table", HTMLElement).hidden = true;
    this.#form.hidden = true;
    if (!this.#dialog.open) this.#dialog.showModal();
    return this.#turn;
  }

  /** @param {number} turn @param {string} path @param {Source} source */
  async #show(turn, path, source) {
    try {
      const found = /** @type {Inspected} */ (await ask("GET", path));
      if (turn !== this.#turn) return;
      this.#source = source;
      setText(need("capture-facts", HTMLElement), factsOf(found));
      this.#rows.replaceChildren(...found.flows.slice(0, MOST_SHOWN).map((flow) => rowOf(flow, found)));
      need("capture-table", HTMLElement).hidden = found.flows.length === 0;
      this.#form.hidden = found.flows.length === 0;
      showError(this.#form, "", "");
    } catch (error) {
      this.#refused(turn, error);
    }
  }

  /** @param {number} turn @param {unknown} error */
  #refused(turn, error) {
    if (!(error instanceof Problem)) throw error;
    if (turn === this.#turn) setText(need("capture-facts", HTMLElement), error.message);
  }

  async #replay() {
    const { target, speed } = valuesOf(this.#form);
    const loop = within(this.#form, "[name=loop]", HTMLInputElement).checked ? 0 : 1;
    try {
      await ask("POST", "api/replays", { ...this.#source, target, speed: speed ?? 1, loop });
      showError(this.#form, "", "");
      notify(`Replaying to ${target}: see Recordings…`);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      showError(this.#form, error.field, error.message);
    }
  }
}

/** @param {Event} event */
const hasFile = (event) => event instanceof DragEvent && Boolean(event.dataTransfer?.types.includes("Files"));

/** @param {string} path @param {Blob} piece */
async function put(path, piece) {
  const answer = await fetch(atNode(path), { method: "PUT", body: piece }).catch(() => null);
  if (answer?.ok) return;
  const said = await answer?.json().catch(() => null);
  throw new Problem(said?.detail ?? "the file could not be sent", "", answer?.status ?? 0);
}

/** @param {Inspected} found */
function factsOf(found) {
  const words = [`${plural(found.flows.length, "flow")} in ${plural(found.packets, "packet")}`];
  const skipped = Object.entries(found.skipped).map(([reason, number]) => `${count(number)} ${reason}`);
  if (skipped.length > 0) words.push(`skipped: ${skipped.join(", ")}`);
  for (const one of found.delays) {
    const [from, to] = [one.from_interface, one.to_interface].map((number) => nameOf(found, number));
    const { p50, p99 } = one.delay_ms;
    words.push(`${from} → ${to}: ${plural(one.datagrams, "datagram")}, median ${milliseconds(p50)}, p99 ${milliseconds(p99)}`);
  }
  if (found.flows.length > MOST_SHOWN) words.push(`the first ${MOST_SHOWN} flows are shown`);
  if (found.cut_at !== null) words.push("the last packet is truncated");
  if (found.fault) words.push(`damaged: ${found.fault.detail}; nothing after that was read`);
  return words.join(" · ");
}

/** @param {Inspected} found @param {number} number */
const nameOf = (found, number) => found.interfaces[number]?.name ?? `interface ${number}`;

/** @param {Flow} flow @param {Inspected} found */
function rowOf(flow, found) {
  const { ledger } = flow;
  const lost = ledger?.sent ? `${count(ledger.lost)} (${percent((ledger.lost ?? 0) / ledger.sent)})` : "–";
  const cells = [`${flow.from} → ${flow.to}`, flow.format, nameOf(found, flow.interface), count(flow.datagrams), lost, milliseconds(flow.jitter_ms), perSecond(flow.rate_hz)];
  return element("tr", {}, ...cells.map((text) => element("td", {}, text)), element("td", {}, curveOf(flow.counts)));
}

/** Datagrams in each step of time. @param {number[]} counts */
function curveOf(counts) {
  const canvas = element("canvas", { role: "img", "aria-label": "its datagrams over time" });
  const scale = devicePixelRatio;
  canvas.width = CURVE_PX.width * scale;
  canvas.height = CURVE_PX.height * scale;
  const context = canvas.getContext("2d");
  const most = Math.max(...counts, 1);
  if (!context) return canvas;
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent") || "#888";
  const step = canvas.width / Math.max(counts.length, 1);
  counts.forEach((number, at) => {
    const height = number / most * canvas.height;
    context.fillRect(at * step, canvas.height - height, Math.max(step, 1), height);
  });
  return canvas;
}
