/** The default link, beside the lanes; named links at one press; and one press that clears all links. */
import { api, Problem } from "../base/api.js";
import { need, setText, within } from "../base/dom.js";
import { plural } from "../base/format.js";
import { LinkEditor } from "./link.js";
import { notify, saidBy } from "./notices.js";

const PERFECT = "perfect";

export class LinkDialog {
  #dialog = need("link-dialog", HTMLDialogElement);
  #others = need("link-others", HTMLElement);
  #editor = new LinkEditor();
  /** @type {HTMLElement | null} what had the focus */ #before = null;
  #world;

  /** @param {import("../feed/state.js").World} world */
  constructor(world) {
    this.#world = world;
    need("link-default", HTMLElement).append(this.#editor.element);
    within(this.#dialog, ".close", HTMLButtonElement).addEventListener("click", () => this.close());
    this.#dialog.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented) return;
      event.preventDefault();
      event.stopPropagation();
      this.close();
    });
    for (const button of document.querySelectorAll("[data-profile]")) {
      button.addEventListener("click", () => void this.#choose(button.getAttribute("data-profile") ?? ""));
    }
    within(this.#others, "button", HTMLButtonElement).addEventListener("click", () => void this.#clearAll());
  }

  /** One press on the first screen: a link with a name for everybody. @param {string} id of a profile */
  async #choose(id) {
    try {
      const profiles = /** @type {{id: string, name: string, models: string, link: object}[]} */ ((await api.profiles()).profiles);
      const chosen = profiles.find((profile) => profile.id === id);
      if (!chosen) return;
      if (id === PERFECT) await api.clearLink("default").catch((error) => { if (!(error instanceof Problem) || error.status !== 404) throw error; });
      else await api.putLink("default", chosen.link);
      notify(`${chosen.name}: ${chosen.models}`);
      if (this.#dialog.open) this.#editor.show("default", id === PERFECT ? null : chosen.link);
    } catch (error) {
      notify(saidBy(error));
    }
  }

  close() {
    this.#dialog.close();
    delete document.documentElement.dataset.link;
    this.#before?.focus();
  }

  /** Beside the lanes and not over them: what a slider does is seen while it moves. */
  async open() {
    this.#before = document.activeElement instanceof HTMLElement ? document.activeElement : null;
    if (!this.#dialog.open) this.#dialog.show();
    document.documentElement.dataset.link = "open";
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
      notify("All links cleared");
    } catch (error) {
      notify(saidBy(error));
    }
  }
}
