/** The address bar holds what is looked at: a link shows a colleague the same thing. */

/** @typedef {"lanes" | "wall" | "server" | "endpoints"} View */
/** @typedef {"name" | "joined" | "trouble" | "loss" | "jitter" | "delay" | "rate"} Order */
/** @typedef {"colour" | "loss" | "jitter" | "delay" | "rate"} Lens */
/** @typedef {"overview" | "flight" | "datagrams" | "link" | "code"} Tab */
/** `open` is a hosted client's id, `session` a session's; at most one of them is set. `node` is another node's.
 * @typedef {{view: View, find: string, order: Order, lens: Lens, spotlight: boolean, open: string, session: string, node: string, tab: Tab, from: string, to: string, compare: string}} Place
 * `from` and `to` are the stretch of time that is held, Unix seconds; both are empty while it is live. `compare`: what the
 * open one is laid over: another name, or how much earlier. */

/** @type {readonly View[]} */ export const VIEWS = ["lanes", "wall", "server", "endpoints"];
/** @type {readonly Order[]} */ export const ORDERS = ["name", "joined", "trouble", "loss", "jitter", "delay", "rate"];
/** @type {readonly Lens[]} */ export const LENSES = ["colour", "loss", "jitter", "delay", "rate"];
/** @type {readonly Tab[]} */ export const TABS = ["overview", "flight", "datagrams", "link", "code"];

/** @type {Readonly<Place>} */
export const HOME = Object.freeze({ view: "lanes", find: "", order: "name", lens: "colour", spotlight: false, open: "", session: "", node: "", tab: "overview", from: "", to: "", compare: "" });

/**
 * What is not understood is left out.
 * @param {string} search such as `?view=wall&lens=loss`
 * @returns {Partial<Place>}
 */
export function parsePlace(search) {
  const given = new URLSearchParams(search);
  /** @template {string} T @param {string} name @param {readonly T[]} known */
  const oneOf = (name, known) => known.find((value) => value === given.get(name));
  const texts = Object.fromEntries(["find", "open", "session", "node", "compare"].map((name) => [name, given.get(name)?.slice(0, 200)]));
  const times = Object.fromEntries(["from", "to"].map((name) => [name, given.get(name)?.match(/^\d{1,11}(\.\d{1,3})?$/)?.[0]]));
  const place = {
    ...texts,
    ...times,
    view: oneOf("view", VIEWS),
    order: oneOf("order", ORDERS),
    lens: oneOf("lens", LENSES),
    tab: oneOf("tab", TABS),
    spotlight: given.has("spotlight") ? given.get("spotlight") === "1" : undefined,
  };
  return Object.fromEntries(Object.entries(place).filter(([, value]) => value !== undefined));
}

/** Only what differs from `home`. @param {Place} place @param {Place} home */
export function formatPlace(place, home) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(place)) {
    if (value !== home[/** @type {keyof Place} */ (name)]) search.set(name, typeof value === "boolean" ? (value ? "1" : "0") : value);
  }
  const text = search.toString();
  return text ? `?${text}` : "";
}

export class Address {
  /** @type {Place} */ place;
  /** @type {Place} */ #home = HOME;
  /** @type {Set<(place: Place, before: Place) => void>} */ #listeners = new Set();

  constructor() {
    this.place = { ...HOME, ...parsePlace(location.search) };
    addEventListener("popstate", () => this.#become({ ...this.#home, ...parsePlace(location.search) }));
  }

  /** Called at each change, and once now. @param {(place: Place, before: Place) => void} listener */
  follow(listener) {
    this.#listeners.add(listener);
    listener(this.place, this.place);
  }

  /** Where a link says no view, a crowd opens on the wall. @param {View} view */
  suggestView(view) {
    if (view === this.#home.view) return;
    this.#home = { ...HOME, view };
    if (!parsePlace(location.search).view) this.#become({ ...this.place, view });
  }

  /** Going somewhere can be undone by the browser's Back; adjusting (a filter, a lens) cannot. @param {Partial<Place>} changes */
  go(changes) {
    this.#change(changes, "pushState");
  }

  /** @param {Partial<Place>} changes */
  adjust(changes) {
    this.#change(changes, "replaceState");
  }

  /** @param {Partial<Place>} changes @param {"pushState" | "replaceState"} how */
  #change(changes, how) {
    const place = { ...this.place, ...changes };
    const search = formatPlace(place, this.#home);
    if (search !== location.search) history[how](null, "", location.pathname + search);
    this.#become(place);
  }

  /** @param {Place} place */
  #become(place) {
    const before = this.place;
    this.place = place;
    for (const listener of this.#listeners) listener(place, before);
  }
}
