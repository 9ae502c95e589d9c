/** Adding and removing hosted clients: what the server refuses is said beside its field; what was done can be undone. */
import { api, Problem } from "./api.js";
import { need, within } from "./dom.js";
import { count, plural } from "./format.js";
import { notify, saidBy } from "./notices.js";

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
    this.#showError("", "");
    this.#dialog.showModal();
    within(this.#form, "[name=count]", HTMLInputElement).select();
  }

  async #add() {
    this.#submit.disabled = true;
    this.#showError("", "");
    try {
      const made = await api.addClients(this.#definition());
      this.#dialog.close();
      const [first] = made;
      notify(made.length === 1 && first ? `Added ${first.name}` : `Added ${plural(made.length, "client")}`, {
        label: "Undo",
        run: () => void undo(() => api.removeClients(made.map((client) => client.id)), `Removed ${made.length === 1 && first ? first.name : count(made.length)} again`),
      });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#showError(error.field, error.message);
    } finally {
      this.#submit.disabled = false;
    }
  }

  /** An empty field is left to the server. */
  #definition() {
    const given = new FormData(this.#form);
    /** @type {Record<string, string | number>} */
    const definition = {};
    for (const [name, value] of given) {
      const text = String(value).trim();
      if (text === "") continue;
      definition[name] = ["count", "rate_hz", "colours"].includes(name) ? Number(text) : text;
    }
    return definition;
  }

  /** @param {string} field @param {string} text */
  #showError(field, text) {
    const places = [...this.#form.querySelectorAll("[data-error]")];
    const beside = places.find((place) => text && place.getAttribute("data-error") === field) ?? places[0];
    for (const place of places) place.textContent = place === beside ? text : "";
    for (const input of this.#form.querySelectorAll("input, select")) {
      const wrong = text !== "" && input.getAttribute("name") === field;
      input.toggleAttribute("aria-invalid", false);
      if (wrong) {
        input.setAttribute("aria-invalid", "true");
        /** @type {HTMLElement} */ (input).focus();
      }
    }
  }
}

/** One client goes without a question, because it can be brought back. @param {string} id */
export async function removeWithUndo(id) {
  try {
    const { name, target, rate_hz, colours, mode } = await api.getClient(id);
    await api.removeClient(id);
    const definition = { name, target, rate_hz, colours, mode };
    const given = Object.fromEntries(Object.entries(definition).filter(([, value]) => value !== null));
    notify(`Removed ${name ?? id}`, { label: "Undo", run: () => void undo(() => api.addClients(given), `${name ?? id} is back, as a new client`) });
  } catch (error) {
    notify(saidBy(error));
  }
}

/** @param {() => Promise<unknown>} action @param {string} done */
async function undo(action, done) {
  try {
    await action();
    notify(done);
  } catch (error) {
    notify(saidBy(error));
  }
}
