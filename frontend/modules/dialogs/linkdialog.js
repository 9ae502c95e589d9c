/** The link of everybody, and one press that clears every link there is. */
import { api } from "../base/api.js";
import { need, setText, within } from "../base/dom.js";
import { plural } from "../base/format.js";
import { LinkEditor } from "./link.js";
import { notify, saidBy } from "./notices.js";

export class LinkDialog {
  #dialog = need("link-dialog", HTMLDialogElement);
  #others = need("link-others", HTMLElement);
  #editor = new LinkEditor();
  #world;

  /** @param {import("../feed/state.js").World} world */
  constructor(world) {
    this.#world = world;
    need("link-default", HTMLElement).append(this.#editor.element);
    within(this.#dialog, ".close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    within(this.#others, "button", HTMLButtonElement).addEventListener("click", () => void this.#clearAll());
  }

  async open() {
    this.#dialog.showModal();
    this.tick();
    try {
      // Asked for only where there is one: "not found" would be an error on the console.
      this.#editor.show("default", this.#world.status?.links.default ? await api.getLink("default") : null);
    } catch (error) {
      notify(saidBy(error));
    }
  }

  tick() {
    if (!this.#dialog.open) return;
    const links = this.#world.status?.links;
    const total = (links?.clients ?? 0) + (links?.sessions ?? 0);
    this.#others.hidden = total === 0;
    const who = [links?.clients ? plural(links.clients, "client") : "", links?.sessions ? plural(links.sessions, "session") : ""].filter(Boolean);
    setText(within(this.#others, "span", HTMLElement), `${who.join(" and ")} ${total === 1 ? "has" : "have"} a link of ${total === 1 ? "its" : "their"} own.`);
  }

  async #clearAll() {
    try {
      await api.clearAllLinks();
      this.#editor.show("", null);
      this.#editor.show("default", null);
      notify("Every link is clear");
    } catch (error) {
      notify(saidBy(error));
    }
  }
}
