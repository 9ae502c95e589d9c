/** Adding hosted clients. What was added can be taken back at once. */
import { api, Problem } from "../base/api.js";
import { need, within } from "../base/dom.js";
import { showError, valuesOf } from "../base/form.js";
import { count, plural } from "../base/format.js";
import { attempt, notify } from "./notices.js";

export class AddDialog {
  #dialog = need("add", HTMLDialogElement);
  #form = within(this.#dialog, "form", HTMLFormElement);
  #submit = within(this.#dialog, ".primary", HTMLButtonElement);

  constructor() {
    for (const button of this.#dialog.querySelectorAll(".close, .close-text")) button.addEventListener("click", () => this.#dialog.close());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#add();
    });
  }

  open() {
    showError(this.#form, "", "");
    this.#dialog.showModal();
    within(this.#form, "[name=count]", HTMLInputElement).select();
  }

  async #add() {
    this.#submit.disabled = true;
    showError(this.#form, "", "");
    try {
      // An empty field is left to the server.
      const definition = Object.fromEntries(Object.entries(valuesOf(this.#form)).filter(([, value]) => value !== "" && value !== null));
      const made = await api.addClients(definition);
      this.#dialog.close();
      const [first] = made;
      notify(made.length === 1 && first ? `Added ${first.name}` : `Added ${plural(made.length, "client")}`, {
        label: "Undo",
        run: () => void attempt(() => api.removeClients(made.map((client) => client.id)), `Removed ${made.length === 1 && first ? first.name : count(made.length)} again`),
      });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      showError(this.#form, error.field, error.message);
    } finally {
      this.#submit.disabled = false;
    }
  }
}
