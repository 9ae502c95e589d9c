/** Changing a hosted client: its name, its rate, how many pixels a datagram brings. Its stream goes on, and so does its ledger. */
import { api, Problem } from "../base/api.js";
import { need, setText, within } from "../base/dom.js";
import { showError, valuesOf } from "../base/form.js";
import { attempt, notify } from "./notices.js";

/** @typedef {import("../base/form.js").Values} Values */

/**
 * What is said otherwise than before. Pure.
 * @param {Values} before @param {Values} after
 * @returns {Values}
 */
export const changed = (before, after) => Object.fromEntries(Object.entries(after).filter(([name, value]) => value !== before[name]));

export class ChangeDialog {
  #dialog = need("change", HTMLDialogElement);
  #form = within(this.#dialog, "form", HTMLFormElement);
  #submit = within(this.#dialog, ".primary", HTMLButtonElement);
  #id = "";
  /** @type {Values} */ #before = {};

  constructor() {
    for (const button of this.#dialog.querySelectorAll(".close, .close-text")) button.addEventListener("click", () => this.#dialog.close());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#change();
    });
  }

  /** @param {import("../feed/messages.js").ClientBody} client */
  open(client) {
    const { id, name, rate_hz, colours } = client;
    this.#id = id;
    this.#before = { name: name ?? id, rate_hz, colours };
    for (const [field, value] of Object.entries(this.#before)) within(this.#form, `[name=${field}]`, HTMLInputElement).value = String(value ?? "");
    showError(this.#form, "", "");
    setText(need("change-title", HTMLElement), `Change ${name ?? id}`);
    this.#dialog.showModal();
    within(this.#form, "[name=name]", HTMLInputElement).select();
  }

  async #change() {
    const id = this.#id;
    const changes = changed(this.#before, valuesOf(this.#form));
    const names = Object.keys(changes);
    if (names.length === 0) {
      this.#dialog.close();
      return;
    }
    const old = Object.fromEntries(names.map((name) => [name, this.#before[name] ?? null]));
    this.#submit.disabled = true;
    showError(this.#form, "", "");
    try {
      const { name } = await api.changeClient(id, changes);
      this.#dialog.close();
      notify(`Changed ${name ?? id}`, { label: "Undo", run: () => void attempt(() => api.changeClient(id, old), `${name ?? id} has its old settings again`) });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      showError(this.#form, error.field, error.message);
    } finally {
      this.#submit.disabled = false;
    }
  }
}
