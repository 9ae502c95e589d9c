/** The drawer: everything about one client or one session, beside the view that stays usable. */
import { api } from "../base/api.js";
import { TABS } from "../base/address.js";
import { ChangeDialog } from "../dialogs/change.js";
import { CodePanel } from "../dialogs/code.js";
import { element, explained, need, setAttribute, setIcon, setText, within } from "../base/dom.js";
import { count, perSecond, plural, span } from "../base/format.js";
import { Flight } from "./flight.js";
import { Inspector } from "./inspector.js";
import { LinkEditor } from "../dialogs/link.js";
import { announce, notify, saidBy } from "../dialogs/notices.js";
import { Overview } from "./overview.js";
import { Received } from "./received.js";
import { Relayed } from "./relayed.js";
import { Recent } from "../feed/recent.js";
import { Strip } from "../draw/strip.js";
import { stateOf } from "../feed/state.js";

/** @typedef {import("../base/address.js").Place} Place */
/** @typedef {import("../base/address.js").Tab} Tab */

/** Ids of received flows begin so; no others do. */
export const RECEIVED = "f-";
/** And so begin ids of relayed conversations. */
export const RELAYED = "r-";
/** Whether the feed knows it: only the feed's clients are asked of it. @param {string} id */
export const isClient = (id) => id !== "" && !id.startsWith(RECEIVED) && !id.startsWith(RELAYED);

export class Drawer {
  #root = need("drawer", HTMLElement);
  #title = need("drawer-title", HTMLElement);
  #way = need("drawer-way", HTMLElement);
  #pause = need("drawer-pause", HTMLButtonElement);
  #change = need("drawer-change", HTMLButtonElement);
  #remove = need("drawer-remove", HTMLButtonElement);
  #gone = need("drawer-gone", HTMLElement);
  #body = need("drawer-body", HTMLElement);
  #facts = need("session-facts", HTMLElement);
  #answers = need("session-answers", HTMLElement);
  #strip = new Strip();
  #tabs = TABS.map((tab) => ({ tab, button: need(`tab-${tab}`, HTMLButtonElement), panel: need(`panel-${tab}`, HTMLElement) }));
  #overview;
  #recent = new Recent();
  #inspector = new Inspector(this.#recent);
  #flight;
  #link = new LinkEditor();
  #code = new CodePanel();
  #received = new Received();
  #relayed = new Relayed();
  #changeDialog = new ChangeDialog();
  /** @type {Element | null} what had the focus before */ #before = null;
  /** @type {Place | null} */ #place = null;
  #world;
  #actions;
  #moment;

  /** @param {import("../feed/state.js").World} world
   * @param {import("../feed/overtime.js").OverTime} overTime
   * @param {import("../feed/moment.js").Moment} moment
   * @param {{close: () => void, remove: (id: string) => void, tab: (tab: Tab) => void}} actions */
  constructor(world, overTime, moment, actions) {
    this.#world = world;
    this.#actions = actions;
    this.#moment = moment;
    this.#flight = new Flight(this.#recent, (sequence) => {
      this.#inspector.look(sequence);
      actions.tab("datagrams");
    });
    this.#overview = new Overview(world, overTime, this.#recent);
    this.#facts.prepend(this.#strip.element);
    need("panel-link", HTMLElement).append(this.#link.element);
    need("drawer-close", HTMLButtonElement).addEventListener("click", () => actions.close());
    this.#pause.addEventListener("click", () => void this.#togglePause());
    this.#change.addEventListener("click", () => void this.#openChange());
    this.#remove.addEventListener("click", () => void this.#removeSubject());
    for (const { tab, button } of this.#tabs) button.addEventListener("click", () => actions.tab(tab));
    within(this.#root, "[role=tablist]", HTMLElement).addEventListener("keydown", (event) => this.#tabKey(event));
  }

  get isOpen() {
    return !this.#root.hidden;
  }

  /** The slot whose ribbon is wanted; -1 for none. */
  get slot() {
    return this.#place?.open ? this.#world.byId.get(this.#place.open)?.slot ?? -1 : -1;
  }

  /** Whether what is open is a flow that a receiver hears. */
  get #isReceived() {
    return Boolean(this.#place?.open.startsWith(RECEIVED));
  }

  get #isRelayed() {
    return Boolean(this.#place?.open.startsWith(RELAYED));
  }

  /** Whether what is open has one panel of its own instead of tabs. */
  get #hasOnePanel() {
    return this.#isReceived || this.#isRelayed;
  }

  /** The body of the client that is open; null until the first one has come, some moments after its drawer. */
  get #client() {
    const { client } = this.#world;
    return client && client.id === this.#place?.open ? client : null;
  }

  /** Whether the client that is open is paused, which its frame tells before its body has come. */
  get #isPaused() {
    const client = this.#client;
    return client ? client.paused ?? client.state === "paused" : stateOf(this.#world, this.slot) === "paused";
  }

  /** Shows the bytes of one of the open client's datagrams. @param {number} number */
  look(number) {
    this.#inspector.look(number);
  }

  /** @param {Place} place */
  follow(place) {
    const was = this.#place?.open || this.#place?.session || "";
    const is = place.open || place.session;
    this.#place = place;
    if (is && !this.isOpen) this.#before = document.activeElement;
    this.#root.hidden = !is;
    setAttribute(document.documentElement, "data-drawer", String(Boolean(is)));
    if (!is) {
      if (was && this.#before instanceof HTMLElement && this.#before.isConnected) this.#before.focus({ preventScroll: true });
      return;
    }
    if (is !== was) this.#openSubject(place);
    this.#received.open(this.#isReceived ? place.open : "");
    const home = need(this.#isReceived ? "received-past" : this.#isRelayed ? "relayed-past" : "overview-past", HTMLElement);
    if (!home.firstChild) home.append(need("past", HTMLElement));
    this.#relayed.open(this.#isRelayed ? place.open : "");
    for (const { tab, button, panel } of this.#tabs) {
      const chosen = tab === place.tab;
      const possible = this.#hasOnePanel ? false : Boolean(place.open) || (tab !== "datagrams" && tab !== "flight");
      button.hidden = !possible;
      button.tabIndex = chosen ? 0 : -1;
      setAttribute(button, "aria-selected", String(chosen));
      panel.hidden = !chosen || this.#hasOnePanel || (tab === "overview" && !place.open);
    }
    this.#facts.hidden = !place.session || place.tab !== "overview";
    this.tick();
  }

  /** @param {Place} place */
  #openSubject(place) {
    setText(this.#title, this.#world.byId.get(place.open)?.name ?? place.session);
    if (!this.#moment.paused) this.#world.client = this.#world.session = null;
    this.#link.close();
    if (place.open && !this.#hasOnePanel) {
      this.#recent.open(place.open);
      this.#inspector.open(place.open);
      setAttribute(need("datagrams-csv", HTMLAnchorElement), "href", `api/clients/${encodeURIComponent(place.open)}/datagrams?format=csv`);
      this.#flight.clear();
    }
    this.#body.scrollTop = 0;
    need("drawer-close", HTMLButtonElement).focus({ preventScroll: true });
    announce(`Opened ${this.#title.textContent}`);
  }

  /** @param {KeyboardEvent} event */
  #tabKey(event) {
    const shown = this.#tabs.filter(({ button }) => !button.hidden);
    const at = shown.findIndex(({ tab }) => tab === this.#place?.tab);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const chosen = shown[(to + shown.length) % shown.length];
    if (!chosen) return;
    this.#actions.tab(chosen.tab);
    chosen.button.focus();
  }

  live() {
    if (!this.isOpen || !this.#place?.open || this.#hasOnePanel) return;
    this.#overview.open(this.#place.open, this.slot);
    this.#overview.live();
  }

  tick() {
    if (!this.isOpen || !this.#place) return;
    if (this.#isReceived) this.#tickReceived(this.#place.open);
    else if (this.#isRelayed) this.#tickRelayed(this.#place.open);
    else if (this.#place.open) this.#tickClient(this.#place.open);
    else this.#tickSession(this.#place.session);
  }

  /** @param {string} id */
  #tickReceived(id) {
    const entry = this.#world.byId.get(id);
    const gone = this.#received.gone || (this.#world.rosterChanges > 0 && !entry);
    this.#showGone(gone, "This flow has ended: it was silent for ten minutes, or its receiver has ended.");
    this.#pause.hidden = this.#change.hidden = this.#remove.hidden = true;
    need("drawer-not-kept", HTMLElement).hidden = !this.#moment.paused;
    setText(this.#title, entry?.name ?? id);
    setText(this.#way, entry ? `${entry.target} → ${entry.localAddress ?? ""}, ${entry.stream ?? ""}` : "");
    this.#overview.openFlow(gone ? "" : id, this.#place?.compare ?? "");
    if (!gone && !this.#moment.paused) this.#received.tick();
  }

  /** @param {string} id */
  #tickRelayed(id) {
    const { flow, gone } = this.#relayed;
    this.#showGone(gone, "This conversation has ended, or its relay has ended.");
    this.#pause.hidden = this.#change.hidden = this.#remove.hidden = true;
    need("drawer-not-kept", HTMLElement).hidden = true;
    setText(this.#title, flow?.client_address ?? id);
    setText(this.#way, flow ? `${flow.client_address} ⇄ ${flow.target_address}, relayed` : "");
    this.#overview.openFlow(gone ? "" : `${id}-${this.#relayed.way}`, this.#place?.compare ?? "");
    this.#relayed.tick();
  }

  /** @param {string} id */
  #tickClient(id) {
    const client = this.#client;
    const gone = this.#world.clientGone === id || (client === null && this.#world.rosterChanges > 0 && !this.#world.byId.has(id));
    this.#showGone(gone, "This client no longer exists.");
    this.#overview.open(gone ? "" : id, this.slot);
    this.#overview.compare(this.#place?.compare ?? "");
    this.#overview.tick(client);
    this.#pause.hidden = this.#change.hidden = gone;
    const paused = this.#isPaused;
    setText(within(this.#pause, "span", HTMLElement), paused ? "Resume client" : "Pause client");
    setIcon(within(this.#pause, "svg", SVGElement), paused ? "play" : "paused");
    setText(within(this.#remove, "span", HTMLElement), "Remove");
    const entry = this.#world.byId.get(id);
    const way = entry ? `${entry.target} → ${entry.localAddress ?? "not bound yet"}` : "";
    this.#inspector.tick(way);
    if (!gone) this.#recent.tick(this.#moment.serverUnixMs);
    need("drawer-not-kept", HTMLElement).hidden = this.#moment.has(id);
    if (!client) {
      if (gone) return;
      setText(this.#title, entry?.name ?? id);
      setText(this.#way, way);
      if (entry) this.#code.show(entry.target, null);
      return;
    }
    setText(this.#title, client.name ?? client.id);
    const address = client.target_address;
    const target = address && address !== client.target ? `${client.target} (${address})` : client.target;
    setText(this.#way, `${target} → ${client.local_address ?? "not bound yet"}, ${client.stream ?? client.mode}`);
    this.#link.show(id, client.link);
    this.#code.show(client.target, client.rate_hz);
  }

  /** @param {string} id */
  #tickSession(id) {
    const session = (this.#world.session?.id === id ? this.#world.session : null) ?? this.#world.left.find((one) => one.id === id) ?? null;
    this.#showGone(this.#world.sessionGone === id && !session, "This session has ended.");
    this.#remove.hidden = !session || session.left_ms !== null;
    this.#strip.show(session?.recent_rgb ?? "");
    this.#pause.hidden = this.#change.hidden = true;
    setText(within(this.#remove, "span", HTMLElement), "End session");
    if (!session) {
      setText(this.#title, id);
      setText(this.#way, "");
      within(this.#facts, "dl", HTMLElement).replaceChildren();
      setText(this.#answers, "");
      return;
    }
    setText(this.#title, session.name ?? session.address);
    setText(this.#way, `${this.#world.hello?.udp ?? "server"} → ${session.address}, ${session.kind}, ${session.stream}`);
    const { reported } = session;
    const facts = [
      { name: "Joined", term: "session.age_ms", text: `${span(session.age_ms)} ago${session.left_ms === null ? "" : `, left ${span(session.left_ms)} ago`}` },
      { name: "Rate", term: "session.rate_hz", text: perSecond(session.rate_hz) },
      { name: "Pixels per datagram", term: "colours", text: count(session.colours) },
      { name: "Palette", text: session.palette },
      { name: "Reached from", text: session.source },
      { name: "Sent", term: "session.sent", text: count(session.sent) },
      { name: "Dropped by the link", term: "session.unsent", text: count(session.unsent.link) },
      { name: "Refused by the kernel", term: "session.unsent", text: count(session.unsent.sender_kernel) },
      { name: "Ends", term: "session.lease_ends_in_s", text: session.left_ms !== null ? "it has left" : session.lease_ends_in_s === null ? "when the client closes its port" : `in ${span(session.lease_ends_in_s * 1000)}, unless the client sends something` },
      { name: "At the other end", term: "session.reported", text: reported
        ? `${count(reported.received)} received, ${count(reported.lost)} lost, ${count(reported.reordered)} reordered (reported by the client ${span(reported.age_ms)} ago)`
        : session.stream === "plain" ? "Send side only: a plain stream has no sequence numbers, so loss and delay cannot be known." : "No report yet." },
    ];
    const list = within(this.#facts, "dl", HTMLElement);
    facts.forEach(({ name, term, text }, index) => {
      if (list.children.length <= index * 2) list.append(element("dt", {}, term ? explained(name, term) : name), element("dd", {}));
      setText(/** @type {Node} */ (list.children[index * 2 + 1]), text);
    });
    const answers = session.responses.map(({ text, colour, answered_after_ms }) => `“${text}”${colour ? ` to ${colour}` : ""}${answered_after_ms === null ? "" : `, after ${span(answered_after_ms)}`}`);
    setText(this.#answers, answers.length ? `${plural(answers.length, "answer")}: ${answers.join("; ")}` : "No answers from this client.");
    this.#link.show(id, session.link);
    this.#code.show(this.#world.hello?.udp ?? "127.0.0.1:12345", null);
  }

  /** @param {boolean} gone @param {string} text */
  #showGone(gone, text) {
    this.#gone.hidden = !gone;
    setText(this.#gone, gone ? text : "");
    this.#body.hidden = gone;
    this.#remove.hidden = gone;
  }

  async #togglePause() {
    const id = this.#place?.open;
    if (!id) return;
    try {
      await api.changeClient(id, { paused: !this.#isPaused });
    } catch (error) {
      notify(saidBy(error));
    }
  }

  async #openChange() {
    const id = this.#place?.open;
    if (!id) return;
    try {
      this.#changeDialog.open(this.#client ?? (await api.getClient(id)));
    } catch (error) {
      notify(saidBy(error));
    }
  }

  async #removeSubject() {
    const place = this.#place;
    if (!place) return;
    if (place.open) {
      this.#actions.remove(place.open);
      this.#actions.close();
      return;
    }
    try {
      await api.endSession(place.session);
      notify("Session ended");
      this.#actions.close();
    } catch (error) {
      notify(saidBy(error));
    }
  }
}
