/** The one line that says when what is seen is not now. Stale never looks live. */
import { need, setAttribute, setIcon, setText, within } from "../base/dom.js";
import { clockTime } from "../base/format.js";
import { announce } from "../dialogs/notices.js";

/** @typedef {{feed: import("../feed/feed.js").FeedState, answered: boolean, lastFrameUnixMs: number, retryAtUnixMs: number, reason: string, needsToken: boolean,
 *   paused: boolean,
 *   pausedAtUnixMs: number, framesPerS: number, eager: boolean, shownOneIn: number, serverState: string, nowUnixMs: number}} Situation */
/** @typedef {{pill: string, word: string, kind: "" | "bad" | "note", text: string, button: "" | "Retry now" | "Resume" | "Reload" | "Enter the token"}} Condition */

const SLOW_FRAMES_PER_S = 20;
/** @type {Record<string, [string, string]>} */
const SERVER_STATES = {
  restarting: ["Restarting", "The colour server is restarting; clients reconnect on their own."],
  busy: ["Busy", "The colour server has been overloaded for two seconds; it is still running."],
  hangs: ["Stuck", "The colour server has not responded for two seconds."],
};

/**
 * What to say of the picture. Pure.
 * @param {Situation} now
 * @returns {Condition}
 */
export function conditionOf(now) {
  const asOf = Number.isNaN(now.lastFrameUnixMs) ? "No picture yet" : `As of ${clockTime(now.lastFrameUnixMs)}`;
  if (now.feed === "refused") {
    return { pill: "refused", word: "Stopped", kind: "bad", text: `${asOf}: ${now.reason}.`, button: "Reload" };
  }
  if (now.needsToken && now.feed !== "live") {
    return { pill: "refused", word: "Signed out", kind: "bad", text: `${asOf}: ${now.reason}.`, button: "Enter the token" };
  }
  if (now.feed === "waiting") {
    const seconds = Math.max(1, Math.ceil((now.retryAtUnixMs - now.nowUnixMs) / 1000));
    const why = now.reason ? `${now.reason}; ` : "the server does not answer; ";
    return { pill: "waiting", word: "Disconnected", kind: "bad", text: `${asOf}: ${why}retrying in ${seconds} s.`, button: "Retry now" };
  }
  if (now.feed === "connecting" || !now.answered) {
    const again = !Number.isNaN(now.lastFrameUnixMs);
    return { pill: "connecting", word: "Connecting", kind: again ? "bad" : "", text: again || now.reason ? `${asOf}: ${now.reason ? `${now.reason}; ` : ""}reconnecting.` : "", button: "" };
  }
  if (now.paused) {
    return { pill: "paused", word: "Paused", kind: "note", text: `Paused at ${clockTime(now.pausedAtUnixMs)}. Datagrams keep flowing; the page shows this moment, and you can still explore it.`, button: "Resume" };
  }
  if (now.serverState !== "running") {
    const [word, text] = SERVER_STATES[now.serverState] ?? SERVER_STATES.hangs;
    return { pill: "behind", word, kind: "note", text, button: "" };
  }
  if (now.eager && now.framesPerS < SLOW_FRAMES_PER_S) {
    const share = now.shownOneIn > 1 ? `, 1 frame in ${now.shownOneIn} shown` : "";
    return { pill: "behind", word: "Behind", kind: "note", text: `This display runs at ${Math.round(now.framesPerS)} frames per second${share}. Only frames are skipped, no data.`, button: "" };
  }
  return { pill: "live", word: "Live", kind: "", text: "", button: "" };
}

export class Banner {
  #root = need("banner", HTMLElement);
  #text = within(this.#root, "p", HTMLElement);
  #button = within(this.#root, "button", HTMLButtonElement);
  #pill = need("feed-pill", HTMLElement);
  #word = within(this.#pill, "b", HTMLElement);
  #icon = within(this.#pill, "svg", SVGElement);
  #said = "";

  /** @param {{retry: () => void, resume: () => void}} actions */
  constructor(actions) {
    this.#button.addEventListener("click", () => {
      if (this.#button.textContent === "Retry now") actions.retry();
      else if (this.#button.textContent === "Resume") actions.resume();
      else location.reload();
    });
  }

  /** @param {Condition} condition */
  show(condition) {
    const icons = /** @type {Record<string, string>} */ ({ live: "live", paused: "paused", behind: "connecting", connecting: "connecting", waiting: "refused", refused: "refused" });
    setAttribute(this.#pill, "data-state", condition.pill);
    setText(this.#word, condition.word);
    setIcon(this.#icon, icons[condition.pill] ?? "connecting");
    this.#root.hidden = condition.text === "";
    setAttribute(this.#root, "data-kind", condition.kind);
    setText(this.#text, condition.text);
    this.#button.hidden = condition.button === "";
    setText(this.#button, condition.button);
    setAttribute(document.documentElement, "data-feed", condition.pill);
    setAttribute(document.documentElement, "data-stale", String(condition.kind === "bad"));
    // The word only: the seconds would be read aloud each second.
    if (condition.word !== this.#said) {
      if (this.#said !== "") announce(condition.word);
      this.#said = condition.word;
    }
  }
}
