/**
 * The link's sliders: what is done on purpose to the datagrams of one client, one session, or everybody. Each change acts on the next
 * datagram; what the server refuses is said beside its field.
 */
import { api, Problem } from "../base/api.js";
import { copyOf, element, setText, within } from "../base/dom.js";
import { notify } from "./notices.js";

/** @typedef {Record<string, any>} Link */
/** @typedef {import("../feed/bodies.d.ts").LinkField} LinkField */
/** A field with a slider, which is a power curve: the low end needs the finer hand.
 * @typedef {LinkField & {slider: import("../feed/bodies.d.ts").Slider}} Sliding */

/** What the link may say, from the server's one table. @type {Promise<LinkField[]> | null} */
let table = null;

/** @returns {Promise<LinkField[]>} @throws {Problem} */
export function linkFields() {
  table ??= api.definitions().then((/** @type {import("../feed/bodies.d.ts").Definitions} */ answer) => answer.link);
  table.catch(() => { table = null; });
  return table;
}

/** The link that does nothing. @param {readonly LinkField[]} fields @returns {Link} */
export const offOf = (fields) => fields.reduce((link, field) => withValue(link, field.field, field.default), /** @type {Link} */ ({}));

/** @param {Link} link @param {string} field may be `burst.enter_ratio` */
export const fieldOf = (link, field) => field.split(".").reduce((/** @type {any} */ part, name) => part?.[name], link) ?? null;

/** @param {Link} link @param {string} field @param {unknown} value @returns {Link} a new one */
export function withValue(link, field, value) {
  const [name = "", inner] = field.split(".");
  return { ...link, [name]: inner ? { ...link[name], [inner]: value } : value };
}

/** The slider's place, 0 to 1000, of a shown value. @param {import("../feed/bodies.d.ts").Slider} slider @param {number} shown */
export const placeOf = (slider, shown) => Math.round(1000 * Math.min(1, Math.max(0, shown) / slider.most) ** (1 / slider.power));

/** @param {import("../feed/bodies.d.ts").Slider} slider @param {number} place 0 to 1000 */
export function shownAt(slider, place) {
  const value = slider.most * (place / 1000) ** slider.power;
  return Number((Math.round(value / slider.step) * slider.step).toFixed(3));
}

const WAIT_MS = 150;
const NONE = "none";
let profileList = /** @type {Promise<{id: string, name: string, models: string, source: string, link: Link}[]> | null} */ (null);
let serial = 0;

export class LinkEditor {
  element = copyOf("link-editor");
  /** Told after each change that the server took. */ changed = () => {};
  #door;
  #owner = "";
  /** @type {Link} */ #off = {};
  /** @type {Link} */ #link = {};
  #isSet = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {Map<string, Link>} what the server has yet to be told, by owner */ #unsent = new Map();
  #sending = false;
  #profile = within(this.element, "[name=profile]", HTMLSelectElement);
  #models = within(this.element, ".profile-models", HTMLElement);
  #clear = within(this.element, ".link-clear", HTMLButtonElement);
  #error = within(this.element, ".link-error", HTMLElement);
  /** @type {{field: Sliding, range: HTMLInputElement, number: HTMLInputElement, error: HTMLElement}[]} */ #sliders = [];
  /** Writes the link into the other controls. @type {((link: Link) => void)[]} */ #writers = [];
  #made = false;

  /** @param {{putLink: (owner: string, link: Link) => Promise<any>, clearLink: (owner: string) => Promise<any>}} door where links are set */
  constructor(door = api) {
    this.#door = door;
    this.element.inert = true;
    this.#clear.addEventListener("click", () => void this.#clearLink());
    this.#profile.addEventListener("change", () => void this.#takeProfile());
  }

  /** The controls, from the server's table: once it is here. @returns {Promise<boolean>} whether they are there */
  async #make() {
    if (this.#made) return true;
    try {
      const fields = await linkFields();
      if (this.#made) return true;
      this.#made = true;
      this.#off = offOf(fields);
      for (const field of fields) this.#makeControl(field);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#showError("", error.message);
    }
    return this.#made;
  }

  /** @param {LinkField} field */
  #makeControl(field) {
    if (field.slider) this.#makeSlider(/** @type {Sliding} */ (field));
    else if (field.kind === "flag") this.#makeFlag(field);
    else if (field.kind === "choice") this.#makeChoice(field);
    else this.#makeNumber(field);
  }

  /** @param {LinkField} field */
  #makeFlag(field) {
    const input = element("input", { type: "checkbox" });
    const label = element("label", { class: "check" }, input, " ", element("span", {}, field.label));
    input.addEventListener("change", () => this.#change(field.field, input.checked));
    this.#writers.push((link) => { input.checked = Boolean(fieldOf(link, field.field)); });
    within(this.element, field.rare ? ".link-more" : ".link-flags", HTMLElement).append(label);
  }

  /** @param {LinkField} field */
  #makeChoice(field) {
    const select = element("select", { name: field.field }, ...field.choices.map((choice) => element("option", {}, choice)));
    select.addEventListener("change", () => this.#change(field.field, select.value));
    this.#writers.push((link) => { select.value = String(fieldOf(link, field.field)); });
    within(this.element, ".link-more", HTMLElement).append(element("label", {}, `${field.label} `, select));
  }

  /** @param {LinkField} field */
  #makeNumber(field) {
    const input = element("input", { type: "number", name: field.field, min: String(field.low), step: "1", inputmode: "numeric" });
    input.addEventListener("change", () => this.#change(field.field, Number(input.value)));
    this.#writers.push((link) => { input.value = String(fieldOf(link, field.field)); });
    within(this.element, ".link-more", HTMLElement).append(element("label", {}, `${field.label} `, input));
  }

  /** @param {Sliding} field */
  #makeSlider(field) {
    const id = `link-${serial++}`;
    const range = element("input", { type: "range", min: "0", max: "1000", "aria-label": field.label });
    const number = element("input", { type: "number", id, min: "0", step: "any", inputmode: "decimal" });
    if (field.none) number.placeholder = NONE;
    const error = element("small", { class: "error", "data-error": field.field });
    const row = element("div", { class: "slider" }, element("label", { for: id }, field.label), range, number, element("span", { class: "hint" }, field.unit), error);
    range.addEventListener("input", () => {
      const shown = shownAt(field.slider, range.valueAsNumber);
      number.value = field.none && shown === 0 ? "" : String(shown);
      this.#takeShown(field, shown);
    });
    number.addEventListener("input", () => {
      const shown = number.value === "" ? 0 : Number(number.value);
      range.value = String(placeOf(field.slider, shown));
      this.#takeShown(field, shown);
    });
    within(this.element, field.rare ? ".sliders-more" : ".sliders", HTMLElement).append(row);
    this.#sliders.push({ field, range, number, error });
  }

  /** @param {Sliding} field @param {number} shown */
  #takeShown(field, shown) {
    this.#change(field.field, field.none && shown === 0 ? null : field.kind === "ratio" ? shown / 100 : shown);
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
      this.#showError("", "");
      this.#profile.value = "";
      setText(this.#models, "");
      void this.#fillProfiles();
    }
    this.#owner = owner;
    this.#isSet = link !== null;
    void this.#fill(owner, link);
  }

  /** @param {string} owner @param {Link | null} link */
  async #fill(owner, link) {
    if (!await this.#make() || owner !== this.#owner) return;
    this.#link = this.#completed(link);
    this.#write();
    this.element.inert = owner === "";
  }

  /** @param {Link | null} link */
  #completed(link) {
    return { ...this.#off, ...link, burst: { ...this.#off.burst, ...link?.burst } };
  }

  #write() {
    for (const { field, range, number } of this.#sliders) {
      const value = fieldOf(this.#link, field.field);
      const shown = value === null ? 0 : Number((field.kind === "ratio" ? value * 100 : value).toFixed(3));
      if (document.activeElement !== number) number.value = value === null ? "" : String(shown);
      range.value = String(placeOf(field.slider, shown));
      range.setAttribute("aria-valuetext", value === null ? NONE : `${shown} ${field.unit}`);
    }
    for (const write of this.#writers) write(this.#link);
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
      await this.#door.putLink(owner, link);
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
      await this.#door.clearLink(this.#owner);
      this.#isSet = false;
      this.#link = this.#off;
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
    this.#link = this.#completed(chosen.link);
    this.#write();
    this.#unsent.set(this.#owner, this.#link);
    await this.#send();
  }

  /** @param {string} field @param {string} text */
  #showError(field, text) {
    const beside = this.#sliders.find((slider) => slider.field.field === field);
    for (const { error, number, field: its } of this.#sliders) {
      const wrong = text !== "" && its.field === field;
      setText(error, wrong ? text : "");
      if (wrong) number.setAttribute("aria-invalid", "true");
      else number.removeAttribute("aria-invalid");
    }
    if (beside?.field.rare && text) within(this.element, "details", HTMLDetailsElement).open = true;
    setText(this.#error, beside || !text ? "" : `${field ? `${field}: ` : ""}${text}`);
  }
}
