/** The drawer's panel for a relayed conversation: both sums, both links, and the last datagrams with their bytes. */
import { ask, Problem } from "../base/api.js";
import { element, explained, need, setAttribute, setText } from "../base/dom.js";
import { count, milliseconds, span } from "../base/format.js";
import { LinkEditor } from "../dialogs/link.js";
import { notify, saidBy } from "../dialogs/notices.js";
import { stateWords, WAYS } from "./conversations.js";
import { bytesOf, dump } from "./received.js";

/** @typedef {import("../feed/bodies.d.ts").RelayFlow} Flow */
/** @typedef {import("../feed/bodies.d.ts").RelayBody} Relay */
/** @typedef {import("../feed/bodies.d.ts").RelaySums} Sums */
/** @typedef {import("../feed/bodies.d.ts").RelayDatagram} Datagram */
/** @typedef {import("./conversations.js").Way} Way */

const EVERY_MS = 1000;
const SHOWN = 64;

/** In = out + lost + held; below stand figures that are part of none of these. @type {readonly [name: string, term: string, of: (sums: Sums) => number][]} */
const ROWS = [
  ["In", "relay_in", (sums) => sums.in],
  ["Out", "relay_out", (sums) => sums.out],
  ["Lost by the link or a rule", "relay_lost", (sums) => sums.lost_by_cause.link],
  ["Lost by its full queue", "relay_lost", (sums) => sums.lost_by_cause.queue],
  ["Lost by the kernel", "relay_lost", (sums) => sums.lost_by_cause.kernel],
  ["Held", "relay_held", (sums) => sums.held],
  ["Duplicated", "", (sums) => sums.duplicated],
  ["Corrupted", "", (sums) => sums.corrupted],
  ["Refused by the destination", "relay_refused", (sums) => sums.refused],
  ["Lost, as RFC 3550 counts", "as_rfc3550", (sums) => sums.as_rfc3550.lost],
  ["Lost, as iperf3 counts", "as_iperf3", (sums) => sums.as_iperf3.lost],
];

/** What became of one datagram, in words. @param {Datagram} datagram */
export function fateWords({ fate, cause, duplicated, corrupted, refused }) {
  const marks = [duplicated ? "duplicated" : "", corrupted ? "corrupted" : "", refused ? "refused by the destination" : ""].filter(Boolean);
  return [fate === "lost" && cause ? `lost (${cause})` : fate, ...marks].join(", ");
}

/** The relay's id within a conversation's. @param {string} flowId */
export const relayOf = (flowId) => flowId.slice(0, flowId.lastIndexOf("-"));

/** Links of relays are found by their whole path. */
const door = {
  putLink: (/** @type {string} */ owner, /** @type {object} */ link) => ask("PUT", owner, link),
  clearLink: (/** @type {string} */ owner) => ask("DELETE", owner),
};

export class Relayed {
  #root = need("panel-relayed", HTMLElement);
  #sums = need("relayed-sums", HTMLElement);
  #facts = need("relayed-facts", HTMLElement);
  #scope = need("relayed-scope", HTMLSelectElement);
  #way = need("relayed-way", HTMLSelectElement);
  #hold = need("relayed-hold", HTMLInputElement);
  #rows = need("relayed-datagrams", HTMLElement);
  #bytes = need("relayed-bytes", HTMLElement);
  #links = WAYS.map(([way]) => /** @type {const} */ ([way, new LinkEditor(door)]));
  #id = "";
  #askedAtMs = -Infinity;
  #asking = false;
  /** @type {Flow | null} */ flow = null;
  gone = false;

  constructor() {
    const places = need("relayed-links", HTMLElement);
    this.#links.forEach(([, editor], index) => {
      const [, arrow, words] = WAYS[index] ?? ["up", "", ""];
      places.append(element("h4", {}, `${arrow} ${words}`), editor.element);
    });
    for (const select of [this.#scope, this.#way]) select.addEventListener("change", () => this.#refresh());
    need("relayed-rebind", HTMLButtonElement).addEventListener("click", () => void this.#do("POST", `rebind?flow=${encodeURIComponent(this.#id)}`, "The relay now sends to the target from another port"));
    need("relayed-end", HTMLButtonElement).addEventListener("click", () => void this.#do("DELETE", `flows/${encodeURIComponent(this.#id)}`, "Conversation ended. The client’s next datagram starts a new one"));
    this.#rows.addEventListener("click", (event) => {
      const hex = /** @type {Element} */ (event.target).closest("tr")?.getAttribute("data-hex");
      if (hex !== null && hex !== undefined) this.#look(hex);
    });
  }

  /** @param {string} id "" for none */
  open(id) {
    this.#root.hidden = id === "";
    if (id === this.#id) return;
    this.#id = id;
    this.flow = null;
    this.gone = false;
    this.#hold.checked = false;
    this.#rows.replaceChildren();
    this.#sums.replaceChildren();
    setText(this.#bytes, "");
    for (const [, editor] of this.#links) editor.close();
    this.#refresh();
  }

  /** Which direction's curves and datagrams are shown. */
  get way() {
    return this.#way.value;
  }

  #refresh() {
    this.#askedAtMs = -Infinity;
    this.#hold.checked = false;
  }

  tick() {
    if (this.#id === "" || this.gone || this.#asking || performance.now() - this.#askedAtMs < EVERY_MS) return;
    this.#askedAtMs = performance.now();
    void this.#ask(this.#id);
  }

  /** @param {string} id */
  async #ask(id) {
    this.#asking = true;
    const relayPath = `api/relays/${encodeURIComponent(relayOf(id))}`;
    const path = `${relayPath}/flows/${encodeURIComponent(id)}`;
    const way = this.#way.value;
    try {
      const [flow, relay, { datagrams }] = await Promise.all([ask("GET", path), ask("GET", relayPath), ask("GET", `${path}/datagrams?direction=${way}&limit=${SHOWN}`)]);
      if (id !== this.#id) return;
      this.flow = flow;
      this.#showSums(flow);
      this.#showFacts(flow);
      this.#showLinks(flow, relay, relayPath, path);
      if (way === this.#way.value && !this.#hold.checked) this.#showDatagrams(datagrams);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (id === this.#id && error.status === 404) this.gone = true;
    } finally {
      this.#asking = false;
    }
  }

  /** @param {Flow} flow */
  #showSums(flow) {
    ROWS.forEach(([name, term, of], index) => {
      if (this.#sums.children.length <= index) this.#sums.append(element("tr", {}, element("th", { scope: "row" }, term ? explained(name, term) : name), element("td", {}), element("td", {})));
      const [, up, down] = this.#sums.children[index]?.children ?? [];
      if (up) setText(up, count(of(flow.up)));
      if (down) setText(down, count(of(flow.down)));
    });
  }

  /** @param {Flow} flow */
  #showFacts(flow) {
    const heard = flow.heard_ms_ago;
    const facts = [
      ["State", stateWords(flow.state)],
      ["Sends to the target from", flow.local_address],
      ["Last datagram", `→ ${heard.up === null ? "none" : `${span(heard.up)} ago`}, ← ${heard.down === null ? "none" : `${span(heard.down)} ago`}`],
      ["Client’s own buffer", flow.client_buffer ? `${count(flow.client_buffer.queue_bytes)} bytes waiting, ${count(flow.client_buffer.drops)} datagrams dropped` : "not on this machine"],
    ];
    facts.forEach(([name = "", text = ""], index) => {
      if (this.#facts.children.length <= index) this.#facts.append(element("div", {}, element("dt", {}, name), element("dd", {})));
      setText(/** @type {Node} */ (this.#facts.children[index]?.lastChild), text);
    });
  }

  /** @param {Flow} flow @param {Relay} relay @param {string} relayPath @param {string} path */
  #showLinks(flow, relay, relayPath, path) {
    const own = this.#scope.value === "own";
    for (const [way, editor] of this.#links) editor.show(`${own ? path : relayPath}/links/${way}`, own ? flow.links[way] : relay[way]);
  }

  /** @param {Datagram[]} datagrams */
  #showDatagrams(datagrams) {
    const newest = [...datagrams].reverse();
    while (this.#rows.children.length > newest.length) this.#rows.lastElementChild?.remove();
    newest.forEach((datagram, index) => {
      if (this.#rows.children.length <= index) this.#rows.append(element("tr", {}, element("th", { scope: "row" }, element("button", { type: "button", class: "plain" })), element("td", {}), element("td", {}), element("td", {})));
      const row = this.#rows.children[index];
      if (!row) return;
      setAttribute(row, "data-hex", datagram.payload_hex);
      setAttribute(row, "data-fate", datagram.fate);
      const [number, fate, delay, size] = row.children;
      if (number?.firstChild) setText(number.firstChild, count(datagram.number));
      if (fate) setText(fate, fateWords(datagram));
      if (delay) setText(delay, milliseconds(datagram.delay_ms));
      if (size) setText(size, `${count(datagram.size_bytes)} B`);
    });
    const [first] = newest;
    if (first && !this.#bytes.textContent) setText(this.#bytes, dump(bytesOf(first.payload_hex), 0));
  }

  /** Looking at one datagram holds the list, which would run away otherwise. @param {string} hex */
  #look(hex) {
    this.#hold.checked = true;
    setText(this.#bytes, hex ? dump(bytesOf(hex), 0) : "no bytes: the datagram is empty, or this relay keeps no payloads");
  }

  /** @param {"POST" | "DELETE"} method @param {string} path @param {string} done */
  async #do(method, path, done) {
    try {
      await ask(method, `api/relays/${encodeURIComponent(relayOf(this.#id))}/${path}`);
      notify(done);
      this.#refresh();
    } catch (error) {
      notify(saidBy(error));
    }
  }
}
