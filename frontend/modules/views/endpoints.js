/** Endpoints: what this program does beside serving colours, one table per kind: seen, added and ended here. */
import { api, Problem } from "../base/api.js";
import { element, explained, icon, keepRows, need, setAttribute, setText } from "../base/dom.js";
import { KINDS } from "../feed/kinds.js";
import { attempt, notify, saidBy } from "../dialogs/notices.js";
import { Conversations } from "./conversations.js";

/** @typedef {import("../feed/kinds.js").Kind} Kind */

const EVERY_MS = 1000;

/** What begins an endpoint again as it was. @param {Kind} kind @param {any} body */
export function definitionOf({ fields, keep = [], tidy = (definition) => definition }, body) {
  const names = [...fields.map(({ name }) => name), ...keep];
  return tidy(Object.fromEntries(names.filter((name) => body[name] !== null && body[name] !== undefined).map((name) => [name, body[name]])));
}

/** What a kind shows below its table. @typedef {{element: HTMLElement, tick: (bodies: any[], find: string) => void}} Part */

class EndpointRow {
  element = element("tr", {});
  #name = element("th", { scope: "row" });
  #cells;
  #state = element("td", { class: "endpoint-state", "data-label": "State" });
  #word = element("span", {});
  #end = element("button", { type: "button", class: "quiet" }, icon("close"));
  #show;
  /** @type {any} */ body = null;

  /** @param {Kind} kind @param {{end: (row: EndpointRow) => void, show: (words: string) => void}} actions */
  constructor(kind, { end, show }) {
    this.kind = kind;
    this.#cells = kind.columns.map(({ label }) => element("td", { "data-label": label }));
    this.#end.addEventListener("click", () => end(this));
    this.#show = kind.find ? element("button", { type: "button" }, "Lanes") : null;
    this.#show?.addEventListener("click", () => show(kind.find?.(this.body) ?? ""));
    this.#state.append(this.#word);
    this.element.append(this.#name, ...this.#cells, this.#state, element("td", { class: "endpoint-end" }, ...(this.#show ? [this.#show] : []), this.#end));
  }

  /** @param {any} body */
  tell(body) {
    this.body = body;
    const name = body.name ?? body.id;
    setText(this.#name, name);
    this.kind.columns.forEach(({ text }, index) => setText(/** @type {Node} */ (this.#cells[index]), text(body)));
    setText(this.#word, body.error ? `${body.state}: ${body.error}` : body.state);
    setAttribute(this.element, "data-state", body.state);
    setAttribute(this.#end, "aria-label", `End the ${this.kind.one} ${name}`);
    if (this.#show) setAttribute(this.#show, "aria-label", `Lanes of ${name}`);
  }
}

class Group {
  #title = element("h3", {});
  #body = element("tbody", {});
  #table;
  #rows = /** @type {Map<string, EndpointRow>} */ (new Map());
  #failed = element("p", { class: "error", role: "alert" });
  #askedAtMs = -Infinity;
  #busy = false;
  /** @type {any[]} */ #bodies = [];
  element;
  #part;
  #actions;

  /** @param {Kind} kind @param {Part | undefined} part @param {{add: (kind: string) => void, show: (words: string) => void}} actions */
  constructor(kind, part, actions) {
    this.kind = kind;
    this.#part = part;
    this.#actions = actions;
    const add = element("button", { type: "button" }, icon("add"), ` Add a ${kind.one}`);
    add.addEventListener("click", () => actions.add(kind.name));
    const heads = ["Name", ...kind.columns.map(({ label, term }) => (term ? explained(label, term) : label)), "State"].map((head) => element("th", { scope: "col" }, head));
    this.#table = element("table", { class: "sessions endpoints" }, element("thead", {}, element("tr", {}, ...heads, element("th", { scope: "col" }, element("span", { class: "unseen" }, "End")))), this.#body);
    this.element = element("section", { class: "session-group", "data-kind": kind.name }, element("div", { class: "endpoints-head" }, this.#title, add), element("p", { class: "hint" }, kind.about), this.#failed, this.#table, ...(part ? [part.element] : []));
    this.#tell([]);
  }

  /** The next tick asks at once. */
  refresh() {
    this.#askedAtMs = -Infinity;
  }

  /** @param {string} find rows without these words are not shown */
  tick(find) {
    const words = find.trim().toLowerCase();
    for (const { element: row } of this.#rows.values()) row.hidden = !(row.textContent ?? "").toLowerCase().includes(words);
    this.#part?.tick(this.#bodies, find);
    const nowMs = performance.now();
    if (this.#busy || nowMs - this.#askedAtMs < EVERY_MS) return;
    this.#askedAtMs = nowMs;
    void this.#ask();
  }

  async #ask() {
    this.#busy = true;
    try {
      this.#tell(await api.endpoints(this.kind.name));
      setText(this.#failed, "");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setText(this.#failed, `This list is old: ${error.message}.`);
    } finally {
      this.#busy = false;
    }
  }

  /** @param {any[]} bodies */
  #tell(bodies) {
    this.#bodies = bodies;
    setText(this.#title, `${this.kind.title}: ${bodies.length}`);
    this.#table.hidden = bodies.length === 0;
    const actions = { end: (/** @type {EndpointRow} */ one) => void this.#end(one), show: this.#actions.show };
    const rows = keepRows(this.#rows, this.#body, bodies, () => new EndpointRow(this.kind, actions));
    for (const [row, body] of rows) row.tell(body);
  }

  /** One goes without a question, because it can be begun again. @param {EndpointRow} row */
  async #end({ body }) {
    const { name: resource, one } = this.kind;
    const name = body.name ?? body.id;
    const definition = definitionOf(this.kind, body);
    this.#bodies = this.#bodies.filter(({ id }) => id !== body.id); // nothing more is asked of it
    try {
      await api.end(resource, body.id);
      this.refresh();
      notify(`Ended the ${one} ${name}`, { label: "Undo", run: () => void attempt(async () => {
        await api.begin(resource, definition);
        this.refresh();
      }, `The ${one} ${name} is back, as a new one`) });
    } catch (error) {
      notify(saidBy(error));
    }
  }
}

export class EndpointsView {
  #body = need("endpoints-body", HTMLElement);
  #groups;

  /** @param {{open: (id: string) => void, add: (kind: string) => void, show: (words: string) => void}} actions open: a conversation's
   * drawer. add: opens the dialog. show: the lanes that have these words */
  constructor(actions) {
    /** @type {Record<string, Part>} */ const parts = { relays: new Conversations(actions.open) };
    this.#groups = KINDS.map((kind) => new Group(kind, parts[kind.name], actions));
    this.#body.append(...this.#groups.map((group) => group.element));
  }

  get hidden() {
    return this.#body.offsetParent === null;
  }

  refresh() {
    for (const group of this.#groups) group.refresh();
  }

  /** @param {string} find */
  tick(find) {
    if (this.hidden) return;
    for (const group of this.#groups) group.tick(find);
  }
}
