/**
 * A pause: one moment of everything, kept. Nothing more is asked of the feed; views go on drawing from what was kept, so that anything can
 * be opened, sorted and read as it was. What is not in the live picture (ribbons of lanes out of sight, bodies, sessions) is fetched when
 * the pause begins, as far as one answer goes.
 */
import { api, Problem } from "../base/api.js";

/** @typedef {import("./state.js").World} World */

const ANSWER_MS = 1500;

export class Moment {
  /** Date.now() when the pause began; NaN while there is none. */ atUnixMs = NaN;
  /** The server's clock at the picture that was kept. */ serverUnixMs = NaN;
  /** @type {"live" | "taking" | "kept"} */ #state = "live";
  /** @type {Map<string, import("./messages.js").ClientBody>} */ #clients = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #world;
  #changed;

  /** @param {World} world @param {() => void} changed the moment is kept now */
  constructor(world, changed) {
    this.#world = world;
    this.#changed = changed;
  }

  get paused() {
    return this.#state !== "live";
  }

  /** While true, what the feed brings is not applied. */
  get kept() {
    return this.#state === "kept";
  }

  /** The last picture is on its way; `frameArrived` keeps it. */
  begin() {
    this.#state = "taking";
    this.atUnixMs = Date.now();
    this.#timer = setTimeout(() => this.#keep(), ANSWER_MS);
    void this.#fetch();
  }

  end() {
    clearTimeout(this.#timer);
    this.#state = "live";
    this.atUnixMs = this.serverUnixMs = NaN;
    this.#clients.clear();
  }

  /** @param {import("./messages.js").Frame} frame */
  frameArrived(frame) {
    if (this.#state === "taking" && frame.rows.length > 0) this.#keep();
  }

  #keep() {
    clearTimeout(this.#timer);
    if (this.#state !== "taking") return;
    this.#state = "kept";
    this.serverUnixMs = this.#world.frame?.unixMs ?? this.atUnixMs;
    this.#changed();
  }

  async #fetch() {
    const began = this.atUnixMs;
    try {
      const [clients, sessions] = await Promise.all([api.listClients(), api.listSessions()]);
      if (this.atUnixMs !== began) return;
      for (const client of clients) this.#clients.set(client.id, client);
      Object.assign(this.#world, { sessions: sessions.sessions, sessionsTotal: sessions.total, left: sessions.left, sessionsFind: "" });
      this.#changed();
    } catch (error) {
      // Without an answer the pause has what the page had.
      if (!(error instanceof Problem)) throw error;
    }
  }

  /** Puts the body of what is open into the world, as it was. @param {string} clientId @param {string} sessionId */
  show(clientId, sessionId) {
    if (!this.paused) return;
    const world = this.#world;
    if (world.client?.id !== clientId) world.client = this.#clients.get(clientId) ?? null;
    world.clientGone = null;
    if (world.session?.id !== sessionId) world.session = [...world.sessions, ...world.left].find(({ id }) => id === sessionId) ?? null;
    world.sessionGone = null;
  }

  /** Whether this client's figures were kept. @param {string} clientId */
  has(clientId) {
    return !this.paused || this.#world.client?.id === clientId || this.#clients.has(clientId);
  }
}
