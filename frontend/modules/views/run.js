/** A scenario's run, above the curves: its time line, its steps and its verdict, with a report to take away. */
import { api, Problem } from "../base/api.js";
import { element, icon, need, setAttribute, setText } from "../base/dom.js";
import { showError } from "../base/form.js";
import { plural } from "../base/format.js";
import { attempt, notify, saidBy } from "../dialogs/notices.js";

/** @typedef {{id: string, title: string, state: string, detail: string | null, duration_s: number, elapsed_s: number, met: boolean | null,
 *   schedule_kept_ratio: number | null, steps: {at_s: number, what: string, to: string[], done_at: number | null}[],
 *   expectations: {text: string, measured: number | null, met: boolean | null}[], all: object | null, client_ids: string[]}} Run */

const ASK_MS = 1000;
const MOST_LISTED = 8;

export class RunPanel {
  #root = need("run", HTMLElement);
  #dialog = need("scenario", HTMLDialogElement);
  #text = need("scenario-text", HTMLTextAreaElement);
  #shipped = need("scenario-shipped", HTMLSelectElement);
  /** @type {Run | null} */ #run = null;
  /** @type {Record<string, string>} */ #texts = {};
  #timer = 0;
  #seenEventAt = 0;

  /** @param {(words: string) => void} find shows the clients that have these words */
  constructor(find) {
    need("scenario-open", HTMLButtonElement).addEventListener("click", () => void this.#openDialog());
    for (const button of this.#dialog.querySelectorAll(".close, .close-text")) button.addEventListener("click", () => this.#dialog.close());
    this.#shipped.addEventListener("change", () => { this.#text.value = this.#texts[this.#shipped.value] ?? ""; });
    this.#dialog.querySelector("form")?.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#start();
    });
    need("run-show", HTMLButtonElement).addEventListener("click", () => { if (this.#run) find(`run-${this.#run.id.replace("r-", "")}`); });
    need("run-stop", HTMLButtonElement).addEventListener("click", () => void this.#act((id) => api.stopScenario(id), "Stopped: no verdict"));
    need("run-remove", HTMLButtonElement).addEventListener("click", () => void this.#act((id) => api.removeScenario(id), "The run and its clients are removed"));
    void this.#look();
  }

  /** Somebody else's page may have started one: its event tells. @param {readonly {at: number, kind: string}[]} events */
  eventsCame(events) {
    const last = events.filter((event) => event.kind === "scenario").pop();
    if (!last || last.at <= this.#seenEventAt) return;
    this.#seenEventAt = last.at;
    void this.#look();
  }

  async #look() {
    clearTimeout(this.#timer);
    let answer;
    try {
      answer = await api.scenarios();
    } catch (error) {
      // Where the server is gone, the banner says so.
      if (!(error instanceof Problem)) throw error;
      this.#timer = setTimeout(() => void this.#look(), ASK_MS * 5);
      return;
    }
    this.#texts = Object.fromEntries(answer.shipped.map((/** @type {any} */ one) => [one.name, one.text]));
    if (this.#shipped.options.length <= 1) {
      for (const { name, title } of answer.shipped) this.#shipped.append(element("option", { value: name }, title));
    }
    this.#show(answer.scenarios[0] ?? null);
  }

  async #follow() {
    if (!this.#run) return;
    try {
      this.#show(await api.getScenario(this.#run.id));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      void this.#look();
    }
  }

  async #openDialog() {
    showError(/** @type {HTMLFormElement} */ (this.#dialog.querySelector("form")), "", "");
    this.#dialog.showModal();
    if (!this.#text.value) {
      this.#shipped.value = "lossy-wifi";
      this.#text.value = this.#texts[this.#shipped.value] ?? "";
    }
  }

  async #start() {
    const form = /** @type {HTMLFormElement} */ (this.#dialog.querySelector("form"));
    try {
      this.#show(await api.startScenario(this.#text.value));
      this.#dialog.close();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      showError(form, "text", error.field && error.field !== "text" ? `${error.field}: ${error.message}` : error.message);
    }
  }

  /** @param {(id: string) => Promise<unknown>} action @param {string} done */
  async #act(action, done) {
    const run = this.#run;
    if (!run) return;
    await attempt(() => action(run.id), done);
    await this.#look().catch((error) => notify(saidBy(error)));
  }

  /** @param {Run | null} run */
  #show(run) {
    clearTimeout(this.#timer);
    this.#run = run;
    this.#root.hidden = run === null;
    if (!run) return;
    const running = run.state === "running";
    if (running) this.#timer = setTimeout(() => void this.#follow(), ASK_MS);
    setText(need("run-title", HTMLElement), run.title);
    setAttribute(this.#root, "data-verdict", running ? "none" : String(run.met));
    setText(need("run-state", HTMLElement), verdictOf(run));
    need("run-stop", HTMLButtonElement).hidden = !running;
    need("run-report", HTMLAnchorElement).hidden = run.all === null;
    need("run-report", HTMLAnchorElement).href = `api/scenarios/${encodeURIComponent(run.id)}/report`;
    const bar = need("run-bar", HTMLElement);
    const share = Math.min(1, run.elapsed_s / run.duration_s);
    const marks = run.steps.map((step) => at(element("b", {}), step.at_s / run.duration_s));
    const done = element("i", {});
    done.style.width = `${share * 100}%`;
    bar.replaceChildren(done, ...marks);
    setAttribute(bar, "aria-label", `${Math.round(run.elapsed_s)} of ${run.duration_s} seconds`);
    const steps = run.steps.slice(0, MOST_LISTED).map((step) => element("li", step.done_at === null ? { class: "hint" } : {}, step.done_at === null ? "" : "✓ ", `${step.at_s} s: ${step.what} for ${whom(step.to)}`));
    if (run.steps.length > MOST_LISTED) steps.push(element("li", { class: "hint" }, `and ${plural(run.steps.length - MOST_LISTED, "more step")}`));
    need("run-steps", HTMLElement).replaceChildren(...steps);
    need("run-expect", HTMLElement).replaceChildren(...run.expectations.map((one) => {
      const mark = one.met === null ? icon("free") : icon(one.met ? "good" : "refused");
      const words = one.met === null ? (running ? "not known yet" : "no verdict") : one.met ? "met" : "not met";
      return element("li", { "data-met": String(one.met) }, mark, " ", element("code", {}, one.text), ` ${running && one.met !== null ? `${words} so far` : words}`, one.measured === null ? "" : `, measured ${Number(one.measured.toPrecision(4))}`);
    }));
  }
}

/** @param {string[]} names */
const whom = (names) => (names.length === 0 ? "all" : names.length > 3 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", "));

/** @param {HTMLElement} node @param {number} share */
function at(node, share) {
  node.style.left = `${share * 100}%`;
  return node;
}

/** @param {Run} run */
function verdictOf(run) {
  if (run.state === "running") return `running, ${Math.round(run.elapsed_s)} of ${run.duration_s} s`;
  if (run.state === "failed") return `failed: ${run.detail ?? "for a reason that is not known"}`;
  if (run.state === "stopped") return "stopped: no verdict";
  if (run.met === null) return `no verdict: the sender kept ${Math.floor((run.schedule_kept_ratio ?? 0) * 100)} % of its schedule`;
  const failed = run.expectations.filter((one) => !one.met).length;
  if (run.expectations.length === 0) return "finished: it has no expectations";
  return run.met ? `finished: all ${run.expectations.length} expectations are met` : `finished: ${failed} of ${run.expectations.length} expectations failed`;
}
