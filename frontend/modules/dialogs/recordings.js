/** Recordings: one button that begins and ends one, with its size as it grows; the list of all; what is sent again. */
import { ask } from "../base/api.js";
import { element, icon, need, setAttribute, setText, within } from "../base/dom.js";
import { bytes, clockTime, count, plural } from "../base/format.js";
import { atNode } from "../base/node.js";
import { CaptureDialog } from "./capture.js";
import { attempt, saidBy } from "./notices.js";

/** @typedef {import("../feed/bodies.d.ts").Recording} Recording */
/** @typedef {import("../feed/bodies.d.ts").Replay} Replay */

const LOOK_MS = 1000;
const TRY_AGAIN_MS = 5000;

export class Recordings {
  #button = need("record", HTMLButtonElement);
  #dialog = need("recordings", HTMLDialogElement);
  #list = need("recordings-list", HTMLElement);
  #replays = need("replays-list", HTMLElement);
  #capture = new CaptureDialog();
  #timer = 0;
  #seenEventAt = 0;
  /** @type {Recording | undefined} the newest that runs */ #running;

  constructor() {
    this.#button.addEventListener("click", () => void this.#toggle());
    need("recordings-open", HTMLButtonElement).addEventListener("click", () => {
      this.#dialog.showModal();
      void this.#look();
    });
    within(this.#dialog, ".close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    const file = need("capture-file", HTMLInputElement);
    file.addEventListener("change", () => {
      const [chosen] = file.files ?? [];
      if (chosen) void this.#capture.openFile(chosen);
      file.value = "";
    });
    void this.#look();
  }

  /** Something else may have begun one: its event tells. @param {readonly {at: number, kind: string}[]} events */
  eventsCame(events) {
    const last = events.filter((event) => event.kind === "recording" || event.kind === "replay").pop();
    if (!last || last.at <= this.#seenEventAt) return;
    this.#seenEventAt = last.at;
    void this.#look();
  }

  async #toggle() {
    this.#button.disabled = true;
    const running = this.#running;
    if (running) await attempt(() => ask("POST", `api/recordings/${running.id}/stop`), "The recording has ended. See Recordings…");
    else await attempt(() => ask("POST", "api/recordings", {}), "Recording: click again to end it");
    this.#button.disabled = false;
    void this.#look();
  }

  /** Looks again and again while something changes. */
  async #look() {
    clearTimeout(this.#timer);
    try {
      const { recordings } = /** @type {{recordings: Recording[]}} */ (await ask("GET", "api/recordings"));
      this.#running = recordings.filter((one) => one.state === "running").pop();
      this.#showButton();
      let changing = this.#running !== undefined;
      if (this.#dialog.open) {
        const { replays } = /** @type {{replays: Replay[]}} */ (await ask("GET", "api/replays"));
        replaced(this.#list, recordings.reverse(), (one) => `${one.id} ${one.state} ${one.files.length}`, (one) => this.#row(one), sizeOf);
        replaced(this.#replays, replays.reverse(), (one) => `${one.id} ${one.state}`, (one) => this.#replayRow(one), sumsOf);
        need("recordings-none", HTMLElement).hidden = recordings.length > 0;
        need("replays", HTMLElement).hidden = replays.length === 0;
        changing ||= replays.some((one) => one.state === "playing");
      }
      if (changing) this.#timer = setTimeout(() => void this.#look(), LOOK_MS);
    } catch (error) {
      saidBy(error); // a bug is thrown on; where the server is gone, the banner says so
      this.#timer = setTimeout(() => void this.#look(), TRY_AGAIN_MS);
    }
  }

  #showButton() {
    const running = this.#running;
    setAttribute(this.#button, "aria-pressed", String(running !== undefined));
    setText(within(this.#button, "span", HTMLElement), running ? `Stop recording · ${bytes(running.bytes)}` : "Record");
  }

  /** @param {Recording} one */
  #row(one) {
    const what = element("span", {}, `${clockTime(one.began_unix_ms ?? one.ended_unix_ms ?? 0)} · `, element("b", {}), ` · ${stateOf(one)}`);
    const files = one.files.map((name) => {
      const href = atNode(`api/recordings/${one.id}/file?name=${encodeURIComponent(name)}`);
      return element("a", { href, download: name }, name.replace(/^rec-[0-9a-f]+-/, ""));
    });
    const inspect = element("button", { type: "button", "aria-label": `Inspect ${one.id}` }, "Inspect");
    inspect.addEventListener("click", () => void this.#capture.open(`api/recordings/${one.id}/inspection`, one.id, { recording: one.id }));
    const buttons = [inspect, this.#ending(one.state === "running", `api/recordings/${one.id}`, "recording")];
    return element("li", {}, what, element("span", { class: "files" }, ...files), ...buttons);
  }

  /** @param {Replay} one */
  #replayRow(one) {
    const words = one.error ? `${one.state}: ${one.error}` : one.state;
    const what = element("span", {}, `→ ${one.target} · `, element("b", {}), ` · ${words}`);
    return element("li", {}, what, this.#ending(one.state === "playing", `api/replays/${one.id}`, "replay"));
  }

  /** A button that stops what goes on, and removes what has ended. @param {boolean} going @param {string} path @param {string} what */
  #ending(going, path, what) {
    const button = element("button", { type: "button", class: going ? "" : "danger", "aria-label": `${going ? "Stop" : "Delete"} the ${what}` }, going ? "Stop" : icon("remove"));
    button.addEventListener("click", () => void (async () => {
      button.disabled = true;
      if (going) await attempt(() => ask("POST", `${path}/stop`), `The ${what} has ended`);
      else await attempt(() => ask("DELETE", path), `The ${what} is deleted`);
      button.disabled = false;
      void this.#look();
    })());
    return button;
  }
}

/**
 * One row for each; a row whose key stays the same is kept, so that a button keeps the focus, and only its figures change.
 * @template T
 * @param {HTMLElement} list @param {T[]} all @param {(one: T) => string} keyOf @param {(one: T) => HTMLElement} make @param {(one: T) => string} figures
 */
function replaced(list, all, keyOf, make, figures) {
  const old = new Map([...list.children].map((row) => [row.getAttribute("data-key"), row]));
  const rows = all.map((one) => {
    const row = old.get(keyOf(one)) ?? make(one);
    setAttribute(row, "data-key", keyOf(one));
    setText(within(row, "b", HTMLElement), figures(one));
    return row;
  });
  if (rows.length !== list.children.length || rows.some((row, at) => list.children[at] !== row)) list.replaceChildren(...rows);
}

/** @param {Recording} one */
function sizeOf(one) {
  const seen = one.recorded ? `, ${plural(one.recorded.sender + one.recorded.receiver, "packet")}` : "";
  const missed = one.missed ? one.missed.sender + one.missed.receiver : 0;
  return `${bytes(one.bytes)}${seen}${missed ? `, ${count(missed)} not recorded` : ""}`;
}

/** @param {Recording} one */
const stateOf = (one) => (one.error ? `${one.state}: ${one.error}` : one.state);

/** @param {Replay} one */
function sumsOf(one) {
  const skipped = Object.entries(one.skipped).map(([reason, number]) => `${count(number)} ${reason}`).join(", ");
  return `${count(one.sent)} sent, ${count(one.ledger.lost)} lost${one.held ? `, ${count(one.held)} held` : ""}${skipped ? `; skipped: ${skipped}` : ""}`;
}
