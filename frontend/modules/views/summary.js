/** The header: how many clients, in what state, and the ledger whose sums close. */
import { need, setAttribute, setText, within } from "../base/dom.js";
import { clockTime, count, plural } from "../base/format.js";
import { notify } from "../dialogs/notices.js";

/** @typedef {import("../feed/state.js").World} World */

const LEDGER_TERMS = /** @type {const} */ (["sent", "received", "lost", "in_flight"]);
/** Shown only where there are any. */
const RARE = new Set(["unknown_path", "path", "awaiting", "received_plain"]);
const LEDGER_CAUSES = /** @type {const} */ (["link", "sender_kernel", "receiver_kernel", "unexplained"]);

export class Summary {
  #clients = need("count-clients", HTMLElement);
  #losing = need("count-losing", HTMLButtonElement);
  #silent = need("count-silent", HTMLButtonElement);
  #behind = need("count-behind", HTMLButtonElement);
  #rate = need("count-rate", HTMLElement);
  #closes = need("ledger-closes", HTMLElement);
  #badge = need("link-badge", HTMLButtonElement);
  #numbers = new Map([...document.querySelectorAll("#ledger [data-ledger]")].map((node) => [node.getAttribute("data-ledger") ?? "", node]));
  /** Sessions of other programs at the last tick, of the same run of the server. */ #raw = { instance: "", sessions: 0 };
  #world;

  /** @param {World} world @param {{showLosing: () => void, showSilent: () => void, openLink: () => void}} actions */
  constructor(world, actions) {
    this.#world = world;
    this.#losing.addEventListener("click", actions.showLosing);
    this.#silent.addEventListener("click", actions.showSilent);
    this.#behind.addEventListener("click", actions.showSilent);
    this.#badge.addEventListener("click", actions.openLink);
  }

  tick() {
    const { status } = this.#world;
    if (!status) return;
    const { clients, ledger } = status;
    const down = clients.silent + clients.refused + clients.error;
    setText(this.#clients, count(clients.total));
    setText(this.#losing, count(status.losing));
    setText(this.#silent, count(down));
    setText(this.#rate, count(status.datagrams_per_s));
    setAttribute(this.#losing, "aria-label", `${count(status.losing)} losing: show the worst first`);
    setAttribute(this.#silent, "aria-label", `${count(down)} silent, refused or in error: show the worst first`);
    setText(this.#behind, count(status.behind));
    setAttribute(this.#behind, "aria-label", `${count(status.behind)} whose sender falls behind its schedule: show the worst first`);
    const behind = this.#behind.closest("div");
    if (behind) behind.hidden = !status.behind;
    this.#mark(this.#behind, status.behind > 0);
    this.#mark(this.#losing, status.losing > 0);
    this.#mark(this.#silent, down > 0);
    for (const name of LEDGER_TERMS) this.#write(name, ledger[name]);
    for (const name of LEDGER_CAUSES) this.#write(name, ledger.lost_by_cause?.[name] ?? null);
    for (const name of /** @type {const} */ (["unknown_path", "path", "awaiting"])) this.#write(name, ledger.lost_by_cause?.[name] ?? null);
    this.#write("received_plain", ledger.received_plain ?? null);
    this.#tellDeparted(ledger.departed);
    setAttribute(need("ledger-causes", HTMLElement), "data-zero", String(!ledger.lost));
    setText(this.#closes, status.closes ? "✓ closes" : "✗ does not close");
    setAttribute(this.#closes, "data-closes", String(status.closes));
    this.#showBadge(status.links);
    this.#greet(this.#world.hello?.instance ?? "", status.sessions.raw);
  }

  /** @param {Element} node @param {boolean} some */
  #mark(node, some) {
    const group = node.closest("div");
    if (group) setAttribute(group, "data-some", String(some));
  }

  /** @param {string} name @param {number | null} value */
  #write(name, value) {
    const node = this.#numbers.get(name);
    if (!node) return;
    setText(node, count(value));
    if (!node.parentElement) return;
    setAttribute(node.parentElement, "data-zero", String(!value));
    if (RARE.has(name)) node.parentElement.hidden = !value;
  }

  /** The sums are of the clients that there are: those of the removed ones are no less true. @param {import("../feed/bodies.d.ts").Totals | undefined} departed */
  #tellDeparted(departed) {
    const node = need("ledger-departed", HTMLElement);
    setText(node, departed ? `sent ${count(departed.sent)}, lost ${count(departed.lost)}` : "–");
    if (node.parentElement) node.parentElement.hidden = !departed?.sent;
  }

  /** While anything is impaired on purpose, nobody must take it for the network's fault. @param {import("../feed/messages.js").Status["links"]} links */
  #showBadge(links) {
    const on = links.default || links.clients > 0 || links.sessions > 0;
    this.#badge.hidden = !on;
    if (!on) return;
    const who = links.default ? "all clients" : [
      links.clients ? plural(links.clients, "client") : "",
      links.sessions ? plural(links.sessions, "session") : "",
    ].filter(Boolean).join(", ");
    setText(within(this.#badge, ".who", HTMLElement), `Link impaired: ${who}`);
    this.#badge.title = links.since_unix_ms === null ? "" : `Something has been impaired since ${clockTime(links.since_unix_ms)}`;
  }

  /** The proof of life of whoever types the nc line: it is said at once, on every view. @param {string} instance @param {number} sessions */
  #greet(instance, sessions) {
    const came = sessions - this.#raw.sessions;
    if (instance === this.#raw.instance && came > 0) notify(`${plural(came, "program")} joined: see Server`);
    this.#raw = { instance, sessions };
  }
}
