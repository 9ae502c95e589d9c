/** Removing hosted clients: one goes without a question, because it can be brought back; many go after one that says how many. */
import { api, Problem } from "../base/api.js";
import { need, setText, within } from "../base/dom.js";
import { showError } from "../base/form.js";
import { plural } from "../base/format.js";
import { attempt, notify, saidBy } from "./notices.js";

/** @param {string} id */
export async function removeWithUndo(id) {
  try {
    /** @type {import("../feed/messages.js").ClientBody} */
    const { name, target, rate_hz, colours, mode } = await api.getClient(id);
    await api.removeClient(id);
    const definition = { name, target, rate_hz, colours, mode };
    const given = Object.fromEntries(Object.entries(definition).filter(([, value]) => value !== null));
    notify(`Removed ${name ?? id}`, { label: "Undo", run: () => void attempt(() => api.addClients(given), `${name ?? id} is back, as a new client`) });
  } catch (error) {
    notify(saidBy(error));
  }
}

export class RemoveDialog {
  #dialog = need("remove", HTMLDialogElement);
  #form = within(this.#dialog, "form", HTMLFormElement);
  #submit = within(this.#dialog, ".primary", HTMLButtonElement);
  #cancel = within(this.#dialog, ".close-text", HTMLButtonElement);
  /** @type {string[] | null} null for all */ #ids = null;
  #world;

  /** @param {import("../feed/state.js").World} world */
  constructor(world) {
    this.#world = world;
    for (const button of this.#dialog.querySelectorAll(".close, .close-text")) button.addEventListener("click", () => this.#dialog.close());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#remove();
    });
  }

  /** What is counted here is what goes, whatever else joins in the meantime; "all" is whoever is there. @param {number[]} slots @param {string} find */
  open(slots, find) {
    const { roster } = this.#world;
    const clients = [...roster.values()].filter((entry) => entry.kind === "client");
    const ids = slots.flatMap((slot) => roster.get(slot)?.kind === "client" ? roster.get(slot)?.id ?? [] : []);
    const all = ids.length === clients.length;
    this.#ids = all ? null : ids;
    const many = plural(ids.length, "client");
    setText(need("remove-title", HTMLElement), `Remove ${many}?`);
    setText(need("remove-which", HTMLElement), all ? "These are all clients." : `Clients found by “${find.trim()}”, of ${plural(clients.length, "client")} in all.`);
    setText(this.#submit, `Remove ${many}`);
    showError(this.#form, "", "");
    this.#dialog.showModal();
    this.#cancel.focus();
  }

  async #remove() {
    this.#submit.disabled = true;
    showError(this.#form, "", "");
    try {
      const removed = this.#ids ? await api.removeClients(this.#ids.filter((id) => this.#world.byId.has(id))) : await api.removeAllClients();
      this.#dialog.close();
      notify(`Removed ${plural(removed, "client")}`);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      showError(this.#form, error.field, error.message);
    } finally {
      this.#submit.disabled = false;
    }
  }
}
