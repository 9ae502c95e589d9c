/** Server: who is served, raw clients first. What a plain stream cannot tell is said, not invented. */
import { Strip } from "../draw/strip.js";
import { dropRows, element, explained, need, setText } from "../base/dom.js";
import { count, milliseconds, perSecond, span, UNKNOWN } from "../base/format.js";

/** @typedef {import("../feed/messages.js").SessionBody} Session */

const JUST_NOW_MS = 10_000;
const HOSTED_SHOWN = 200;

/** After the client's own; `term` is what /api/definitions calls the number. */
const COLUMNS = [
  { label: "Joined", term: "session.age_ms" },
  { label: "Rate", term: "session.rate_hz" },
  { label: "Sent", term: "session.sent" },
  { label: "Not sent", term: "session.unsent" },
  { label: "Reported by the client", term: "session.reported" },
  { label: "Answers", term: "session.responses" },
];

/** What a row says, left to right; null where the column's name says enough. @param {Session} session @returns {string[]} */
export function describeSession(session) {
  const joined = session.left_ms !== null ? `left ${span(session.left_ms)} ago` : session.age_ms < JUST_NOW_MS ? "joined just now" : `joined ${span(session.age_ms)} ago`;
  const unsent = session.unsent.link + session.unsent.sender_kernel;
  const reported = session.reported;
  const heard = reported ? `${count(reported.received)} received, ${count(reported.lost)} lost`
    : session.stream === "plain" ? "send side only" : "no report yet";
  return [joined, session.left_ms === null ? perSecond(session.rate_hz) : UNKNOWN, count(session.sent), count(unsent), heard];
}

class SessionRow {
  element = element("tr", {});
  #open = element("button", { type: "button", class: "plain" });
  #kind = element("span", { class: "tag" });
  #strip = new Strip();
  #cells = COLUMNS.slice(0, -1).map(({ label }) => element("td", { "data-label": label }));
  #last = element("td", { class: "session-last", "data-label": "Answers" });

  constructor() {
    const who = element("th", { scope: "row" }, this.#open, this.#kind, this.#strip.element);
    this.element.append(who, ...this.#cells, this.#last);
  }

  /** @param {Session} session */
  show(session) {
    this.element.dataset.session = session.id;
    this.element.dataset.client = session.client_id ?? "";
    setText(this.#open, session.name ? `${session.name} · ${session.address}` : session.address);
    setText(this.#kind, `${session.kind}, ${session.stream}`);
    describeSession(session).forEach((text, index) => setText(/** @type {Node} */ (this.#cells[index]), text));
    this.element.classList.toggle("is-new", session.age_ms < JUST_NOW_MS && session.left_ms === null);
    this.element.classList.toggle("is-left", session.left_ms !== null);
    this.#strip.show(session.recent_rgb);
    const answer = session.responses.at(-1);
    setText(this.#last, answer ? `“${answer.text}”${answer.colour ? ` to ${answer.colour}` : ""}` : "–");
  }
}

export class ServerView {
  #body = need("server-body", HTMLElement);
  #total = need("server-total", HTMLElement);
  #nothing = need("server-nothing", HTMLElement);
  #facts = new Map([...need("server-facts", HTMLElement).querySelectorAll("[data-fact]")].map((node) => [node.getAttribute("data-fact") ?? "", node]));
  /** @type {Map<string, SessionRow>} */ #rows = new Map();
  #groups = ["raw", "hosted"].map((kind) => {
    const body = element("tbody", {});
    const title = element("h3", {});
    const nothing = element("p", { class: "hint" });
    const heads = ["Client", ...COLUMNS.map(({ label, term }) => explained(label, term))];
    const table = element("table", { class: "sessions" }, element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))), body);
    const section = element("section", { class: "session-group" }, title, nothing, table);
    this.#body.append(section);
    return { kind, body, title, nothing, table, section };
  });
  #world;

  /** @param {import("../feed/state.js").World} world @param {{openSession: (id: string) => void, openClient: (id: string) => void}} actions */
  constructor(world, actions) {
    this.#world = world;
    this.#body.addEventListener("click", (event) => {
      const row = /** @type {Element} */ (event.target).closest("tr[data-session]");
      if (!(row instanceof HTMLElement)) return;
      if (row.dataset.client) actions.openClient(row.dataset.client);
      else actions.openSession(row.dataset.session ?? "");
    });
  }

  get hidden() {
    return this.#body.offsetParent === null;
  }

  /** What the engineer asks before believing a figure: is the sender in time, and how much of it did this page see?
   * @param {import("../feed/messages.js").Status} status */
  #tickFacts({ schedule, viewer, viewers }) {
    const facts = { lag: milliseconds(schedule.lag_ms), skipped: count(schedule.skipped_ticks), viewers: count(viewers), relayed: count(viewer.relayed), conflated: count(viewer.conflated) };
    for (const [name, text] of Object.entries(facts)) {
      const node = this.#facts.get(name);
      if (node) setText(node, text);
    }
  }

  tick() {
    const { sessions, sessionsTotal, sessionsFind, status } = this.#world;
    const words = (sessionsFind ?? "").toLowerCase().split(" ");
    const left = this.#world.left.filter((one) => words.every((word) => `${one.name ?? ""} ${one.address}`.toLowerCase().includes(word)));
    if (this.hidden || sessionsFind === null) return;
    if (status) this.#tickFacts(status);
    setText(this.#total, count(status?.sessions.total ?? sessionsTotal));
    this.#nothing.hidden = sessionsTotal > 0 || sessionsFind === "";
    // Raw ones come first: where fewer are listed than asked for, all of them are.
    const raw = sessionsFind === "" ? status?.sessions.raw ?? 0 : sessions.filter((session) => session.kind === "raw").length;
    const kept = new Set();
    for (const group of this.#groups) {
      const all = sessions.filter((session) => session.kind === group.kind);
      const listed = group.kind === "hosted" ? all.slice(0, HOSTED_SHOWN) : all;
      const shown = group.kind === "raw" ? [...all, ...left] : listed;
      const total = group.kind === "raw" ? Math.max(raw, all.length) : sessionsTotal - raw;
      const found = sessionsFind === "" ? "" : " found";
      group.section.hidden = sessionsFind !== "" && total === 0 && shown.length === 0;
      setText(group.title, `${group.kind === "raw" ? "Raw clients" : "Hosted by this program"}: ${count(total)}${found}${group.kind === "raw" && left.length ? `, ${count(left.length)} left` : ""}`);
      setText(group.nothing, note(group.kind, listed.length, total));
      group.nothing.hidden = group.nothing.textContent === "";
      group.table.hidden = shown.length === 0;
      shown.forEach((session, index) => {
        kept.add(session.id);
        const row = this.#rows.get(session.id) ?? new SessionRow();
        this.#rows.set(session.id, row);
        row.show(session);
        if (group.body.children[index] !== row.element) group.body.insertBefore(row.element, group.body.children[index] ?? null);
      });
    }
    dropRows(this.#rows, kept);
  }
}

/** @param {string} kind @param {number} shown @param {number} total */
function note(kind, shown, total) {
  if (kind === "raw" && shown === 0) return "No other program has joined. Run the command above in a terminal, and it appears here within a second.";
  return shown < total ? `The first ${count(shown)} are listed.` : "";
}
