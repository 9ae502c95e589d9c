/** The one place where things are added: clients, and every kind of endpoint. What was added can be taken back at once. */
import { api, Problem } from "../base/api.js";
import { element, need, setText, within } from "../base/dom.js";
import { showError, valuesOf } from "../base/form.js";
import { count, plural } from "../base/format.js";
import { KINDS } from "../feed/kinds.js";
import { attempt, notify } from "./notices.js";

/** @typedef {import("../feed/kinds.js").Kind} Kind */
/** @typedef {import("../feed/kinds.js").Field} Field */

const CLIENTS = "clients";

export class AddDialog {
  #dialog = need("add", HTMLDialogElement);
  #kinds = need("add-kinds", HTMLElement);
  #title = need("add-title", HTMLElement);
  #clients = within(this.#dialog, "form", HTMLFormElement);
  /** The form of the kind that is chosen, where that is not clients. @type {HTMLFormElement | null} */ #other = null;
  #added;

  /** @param {{added: (kind: string) => void}} actions added: an endpoint of this kind is there now */
  constructor({ added }) {
    this.#added = added;
    this.#kinds.append(...[{ name: CLIENTS, title: "Clients" }, ...KINDS].map(({ name, title }) => element("label", {}, element("input", { type: "radio", name: "add-kind", value: name }), " ", element("span", {}, title))));
    this.#kinds.addEventListener("change", (event) => this.#choose(/** @type {HTMLInputElement} */ (event.target).value));
    within(this.#dialog, "header .close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    this.#follow(this.#clients, () => this.#addClients());
  }

  /** @param {HTMLFormElement} form @param {() => Promise<void>} add */
  #follow(form, add) {
    within(form, ".close-text", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit(form, add);
    });
  }

  /** @param {string} [kind] the name of one of KINDS; clients otherwise */
  open(kind = CLIENTS) {
    within(this.#kinds, `[value=${kind}]`, HTMLInputElement).checked = true;
    this.#choose(kind);
    if (!this.#dialog.open) this.#dialog.showModal();
    const [first] = (this.#other ?? this.#clients).querySelectorAll("input, select");
    if (first instanceof HTMLInputElement) first.select();
    /** @type {HTMLElement | undefined} */ (first)?.focus();
  }

  /** @param {string} name */
  #choose(name) {
    const kind = KINDS.find((one) => one.name === name);
    showError(this.#clients, "", "");
    this.#other?.remove();
    this.#other = kind ? formOf(kind) : null;
    this.#clients.hidden = Boolean(kind);
    setText(this.#title, kind ? `Add a ${kind.one}` : "Add clients");
    const form = this.#other;
    if (!kind || !form) return;
    this.#follow(form, () => this.#addEndpoint(kind, form));
    this.#dialog.append(form);
  }

  /** @param {HTMLFormElement} form @param {() => Promise<void>} add */
  async #submit(form, add) {
    const submit = within(form, ".primary", HTMLButtonElement);
    submit.disabled = true;
    showError(form, "", "");
    try {
      await add();
      this.#dialog.close();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      showError(form, error.field, error.message);
    } finally {
      submit.disabled = false;
    }
  }

  async #addClients() {
    const made = await api.addClients(given(this.#clients));
    const [first] = made;
    notify(made.length === 1 && first ? `Added ${first.name}` : `Added ${plural(made.length, "client")}`, {
      label: "Undo",
      run: () => void attempt(() => api.removeClients(made.map((client) => client.id)), `Removed ${made.length === 1 && first ? first.name : count(made.length)} again`),
    });
  }

  /** @param {Kind} kind @param {HTMLFormElement} form */
  async #addEndpoint(kind, form) {
    const made = await api.begin(kind.name, given(form));
    this.#added(kind.name);
    notify(`Added the ${kind.one} ${made.name ?? made.id}`, { label: "Undo", run: () => void attempt(() => api.end(kind.name, made.id), `Ended the ${kind.one} again`) });
  }
}

/** What a form says; an empty field is left to the server. @param {HTMLFormElement} form */
const given = (form) => Object.fromEntries(Object.entries(valuesOf(form)).filter(([name, value]) => name !== "" && value !== "" && value !== null));

/** @param {Kind} kind */
function formOf({ one, about, fields }) {
  return element("form", { method: "dialog", novalidate: "", "aria-labelledby": "add-title" },
    element("p", { class: "error", "data-error": "", role: "alert" }),
    element("p", { class: "dialog-text hint" }, about),
    element("div", { class: "fields" }, ...fields.map(labelOf)),
    element("footer", {}, element("button", { type: "button", class: "close-text" }, "Cancel"), " ", element("button", { type: "submit", class: "primary" }, `Add the ${one}`)));
}

/** @param {Field} field */
function labelOf({ name, label, hint, type = "text", placeholder = "", options, value, wide, required }) {
  const input = options
    ? element("select", { name }, ...options.map(([option, text]) => element("option", { value: option }, text)))
    : element("input", { name, type, placeholder, autocomplete: "off", spellcheck: "false", ...(type === "number" ? { step: "any", inputmode: "decimal" } : {}), ...(required ? { required: "" } : {}) });
  if (value !== undefined) input.value = value;
  return element("label", wide ? { class: "wide" } : {}, `${label} `, input, ...(hint ? [element("small", { class: "hint" }, hint)] : []), element("small", { class: "error", "data-error": name }));
}
