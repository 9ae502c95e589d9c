/**
 * The link's sliders: what is done on purpose to the datagrams of one client, one session, or everybody. Each change acts on the next
 * datagram; what the server refuses is said beside its field.
 */
import { api, Problem } from "../base/api.js";
import { copyOf, element, setText, within } from "../base/dom.js";
import { notify } from "./notices.js";

/** @typedef {Record<string, any>} Link */
/** A slider is a part of a power curve, because the low end needs the finer hand.
 * @typedef {{field: string, label: string, unit: "%" | "ms" | "kbit/s" | "", most: number, power: number, step: number, more?: boolean, none?: string}} Slider */

/** @type {readonly Slider[]} */
export const SLIDERS = [
  { field: "loss_ratio", label: "Loss", unit: "%", most: 100, power: 2.5, step: 0.1 },
  { field: "delay_ms", label: "Delay", unit: "ms", most: 2000, power: 2.5, step: 1 },
  { field: "jitter_ms", label: "Jitter", unit: "ms", most: 500, power: 2.5, step: 1 },
  { field: "reorder_ratio", label: "Reorder", unit: "%", most: 100, power: 2, step: 0.1 },
  { field: "duplicate_ratio", label: "Duplicate", unit: "%", most: 100, power: 2, step: 0.1 },
  { field: "corrupt_ratio", label: "Corrupt", unit: "%", most: 100, power: 2, step: 0.1 },
  { field: "burst.enter_ratio", label: "Bursts begin", unit: "%", most: 100, power: 2.5, step: 0.1, more: true },
  { field: "burst.leave_ratio", label: "Bursts end", unit: "%", most: 100, power: 1, step: 1, more: true },
  { field: "burst.loss_ratio", label: "Loss in a burst", unit: "%", most: 100, power: 1, step: 1, more: true },
  { field: "rate_kbit_s", label: "Rate limit", unit: "kbit/s", most: 10000, power: 3, step: 1, more: true, none: "none" },
  { field: "queue_datagrams", label: "Queue", unit: "", most: 10000, power: 3, step: 1, more: true },
];

/** The server's defaults: everything off. */
export const OFF = Object.freeze({
  loss_ratio: 0, burst: Object.freeze({ enter_ratio: 0, leave_ratio: 0, loss_ratio: 1 }), delay_ms: 0, jitter_ms: 0, distribution: "uniform",
  keep_order: false, reorder_ratio: 0, duplicate_ratio: 0, corrupt_ratio: 0, corrupt_header: false, rate_kbit_s: null, queue_datagrams: 1000,
  blackout: false, seed: 0,
});

/** @param {Link} link @param {string} field may be `burst.enter_ratio` */
export const fieldOf = (link, field) => field.split(".").reduce((/** @type {any} */ part, name) => part?.[name], link) ?? null;

/** @param {Link} link @param {string} field @param {unknown} value @returns {Link} a new one */
export function withValue(link, field, value) {
  const [name = "", inner] = field.split(".");
  return { ...link, [name]: inner ? { ...link[name], [inner]: value } : value };
}

/** The slider's place, 0 to 1000, of a shown value. @param {Slider} slider @param {number} shown */
export const placeOf = (slider, shown) => Math.round(1000 * Math.min(1, Math.max(0, shown) / slider.most) ** (1 / slider.power));

/** @param {Slider} slider @param {number} place 0 to 1000 */
export function shownAt(slider, place) {
  const value = slider.most * (place / 1000) ** slider.power;
  return Number((Math.round(value / slider.step) * slider.step).toFixed(3));
}

const WAIT_MS = 150;
let profileList = /** @type {Promise<{id: string, name: string, models: string, source: string, link: Link}[]> | null} */ (null);
let serial = 0;

export class LinkEditor {
  element = copyOf("link-editor");
  /** Told after each change that the server took. */ changed = () => {};
  #owner = "";
  /** @type {Link} */ #link = OFF;
  #isSet = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {Map<string, Link>} what the server has yet to be told, by owner */ #unsent = new Map();
  #sending = false;
  #profile = within(this.element, "[name=profile]", HTMLSelectElement);
  #models = within(this.element, ".profile-models", HTMLElement);
  #clear = within(this.element, ".link-clear", HTMLButtonElement);
  #error = within(this.element, ".link-error", HTMLElement);
  #sliders = SLIDERS.map((slider) => this.#makeSlider(slider));

  constructor() {
    for (const input of this.element.querySelectorAll("[data-flag]")) {
      const flag = /** @type {HTMLInputElement} */ (input);
      flag.addEventListener("change", () => this.#change(flag.dataset.flag ?? "", flag.checked));
    }
    within(this.element, "[name=distribution]", HTMLSelectElement).addEventListener("change", (event) => this.#change("distribution", /** @type {HTMLSelectElement} */ (event.target).value));
    within(this.element, "[name=seed]", HTMLInputElement).addEventListener("change", (event) => this.#change("seed", Number(/** @type {HTMLInputElement} */ (event.target).value)));
    this.#clear.addEventListener("click", () => void this.#clearLink());
    this.#profile.addEventListener("change", () => void this.#takeProfile());
  }

  /** @param {Slider} slider */
  #makeSlider(slider) {
    const id = `link-${serial++}`;
    const range = element("input", { type: "range", min: "0", max: "1000", "aria-label": slider.label });
    const number = element("input", { type: "number", id, min: "0", step: "any", inputmode: "decimal" });
    if (slider.none) number.placeholder = slider.none;
    const error = element("small", { class: "error", "data-error": slider.field });
    const row = element("div", { class: "slider" }, element("label", { for: id }, slider.label), range, number, element("span", { class: "hint" }, slider.unit), error);
    range.addEventListener("input", () => {
      const shown = shownAt(slider, range.valueAsNumber);
      number.value = slider.none && shown === 0 ? "" : String(shown);
      this.#takeShown(slider, shown);
    });
    number.addEventListener("input", () => {
      const shown = number.value === "" ? 0 : Number(number.value);
      range.value = String(placeOf(slider, shown));
      this.#takeShown(slider, shown);
    });
    within(this.element, slider.more ? ".sliders-more" : ".sliders", HTMLElement).append(row);
    return { slider, range, number, error };
  }

  /** @param {Slider} slider @param {number} shown */
  #takeShown(slider, shown) {
    this.#change(slider.field, slider.none && shown === 0 ? null : slider.unit === "%" ? shown / 100 : shown);
  }

  /** Nobody's link, and nothing to change: until it is known what is set for whom comes next. */
  close() {
    if (this.#timer !== undefined) void this.#send();
    this.#owner = "";
    this.element.inert = true;
  }

  /**
   * Shows the link of somebody. A link that is being changed here is not overwritten by what the feed says.
   * @param {string} owner a client's or session's id, or "default"
   * @param {Link | null} link null where none is set
   */
  show(owner, link) {
    if (owner === this.#owner && (this.#sending || this.#unsent.size > 0 || this.element.contains(document.activeElement))) return;
    if (owner !== this.#owner) {
      this.close();
      this.element.inert = false;
      this.#showError("", "");
      this.#profile.value = "";
      setText(this.#models, "");
      void this.#fillProfiles();
    }
    this.#owner = owner;
    this.#isSet = link !== null;
    this.#link = { ...OFF, ...link, burst: { ...OFF.burst, ...link?.burst } };
    this.#write();
  }

  #write() {
    for (const { slider, range, number } of this.#sliders) {
      const value = fieldOf(this.#link, slider.field);
      const shown = value === null ? 0 : Number((slider.unit === "%" ? value * 100 : value).toFixed(3));
      if (document.activeElement !== number) number.value = value === null ? "" : String(shown);
      range.value = String(placeOf(slider, shown));
      range.setAttribute("aria-valuetext", value === null ? slider.none ?? "none" : `${shown} ${slider.unit}`);
    }
    for (const input of this.element.querySelectorAll("[data-flag]")) {
      const flag = /** @type {HTMLInputElement} */ (input);
      flag.checked = Boolean(this.#link[flag.dataset.flag ?? ""]);
    }
    within(this.element, "[name=distribution]", HTMLSelectElement).value = this.#link.distribution;
    within(this.element, "[name=seed]", HTMLInputElement).value = String(this.#link.seed);
    this.#clear.disabled = !this.#isSet;
  }

  /** @param {string} field @param {unknown} value */
  #change(field, value) {
    this.#link = withValue(this.#link, field, value);
    // A burst that begins must end; three datagrams are a usual length.
    if (field === "burst.enter_ratio" && Number(value) > 0 && !this.#link.burst.leave_ratio) this.#link = withValue(this.#link, "burst.leave_ratio", 0.33);
    this.#profile.value = "";
    setText(this.#models, "");
    this.#write();
    this.#unsent.set(this.#owner, this.#link);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#send(), WAIT_MS);
  }

  /** Tells the server what it has yet to be told, one link at a time, so that an older one never arrives last. */
  async #send() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (const [owner, link] of this.#unsent) {
        this.#unsent.delete(owner);
        await this.#put(owner, link);
      }
    } finally {
      this.#sending = false;
    }
  }

  /** @param {string} owner @param {Link} link */
  async #put(owner, link) {
    try {
      await api.putLink(owner, link);
      if (owner !== this.#owner) return;
      if (this.#profile.value) notify(`${this.#profile.selectedOptions[0]?.textContent}: set`);
      this.#isSet = true;
      this.#clear.disabled = false;
      this.#showError("", "");
      this.changed();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (owner === this.#owner) this.#showError(error.field, error.message);
      else notify(error.message);
    }
  }

  async #clearLink() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#unsent.delete(this.#owner);
    try {
      await api.clearLink(this.#owner);
      this.#isSet = false;
      this.#link = OFF;
      this.#profile.value = "";
      setText(this.#models, "");
      this.#showError("", "");
      this.#write();
      this.changed();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#showError("", error.message);
    }
  }

  async #fillProfiles() {
    if (this.#profile.options.length > 1) return;
    try {
      profileList ??= api.profiles().then((answer) => answer.profiles);
      const list = await profileList;
      if (this.#profile.options.length > 1) return;
      this.#profile.append(...list.map(({ id, name }) => element("option", { value: id }, name)));
    } catch (error) {
      profileList = null;
      if (!(error instanceof Problem)) throw error;
    }
  }

  async #takeProfile() {
    const chosen = (await profileList)?.find(({ id }) => id === this.#profile.value);
    setText(this.#models, chosen ? `${chosen.models} ${chosen.source}` : "");
    if (!chosen) return;
    this.#link = { ...OFF, ...chosen.link, burst: { ...OFF.burst, ...chosen.link.burst } };
    this.#write();
    this.#unsent.set(this.#owner, this.#link);
    await this.#send();
  }

  /** @param {string} field @param {string} text */
  #showError(field, text) {
    const beside = this.#sliders.find(({ slider }) => slider.field === field);
    for (const { error, number, slider } of this.#sliders) {
      const wrong = text !== "" && slider.field === field;
      setText(error, wrong ? text : "");
      if (wrong) number.setAttribute("aria-invalid", "true");
      else number.removeAttribute("aria-invalid");
    }
    if (beside?.slider.more && text) within(this.element, "details", HTMLDetailsElement).open = true;
    setText(this.#error, beside || !text ? "" : `${field ? `${field}: ` : ""}${text}`);
  }
}
