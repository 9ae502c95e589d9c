/** The REST API, as far as the page uses it. Every refusal is a Problem (RFC 9457) that names the field at fault. */

import { atNode } from "./node.js";

export class Problem extends Error {
  /** @param {string} detail @param {string} field "" where no field is at fault @param {number} status 0 where no answer came */
  constructor(detail, field, status) {
    super(detail);
    this.field = field;
    this.status = status;
  }
}

/**
 * @param {"GET" | "POST" | "PUT" | "PATCH" | "DELETE"} method
 * @param {string} path relative to the page, which a proxy may serve below a path of its own
 * @param {object} [body]
 * @returns {Promise<any>} the answer's JSON; null for 204
 * @throws {Problem}
 */
export async function ask(method, path, body) {
  let response;
  try {
    response = await fetch(path === "api/nodes" ? path : atNode(path), {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body ? JSON.stringify(body) : null,
    });
  } catch {
    throw new Problem("the server does not answer", "", 0);
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  throw new Problem(answer?.detail ?? answer?.title ?? `the server answered ${response.status}`, answer?.field ?? "", response.status);
}

/** @typedef {{id: string, name: string, target: string, state: string}} MadeClient */

export const api = {
  /** @param {object} definition @returns {Promise<MadeClient[]>} */
  addClients: async (definition) => (await ask("POST", "api/clients", definition)).clients,
  /** @param {string} id @returns {Promise<any>} a ClientBody of feed/messages */
  getClient: (id) => ask("GET", `api/clients/${encodeURIComponent(id)}`),
  /** The first thousand, which is as many as one answer holds. @returns {Promise<any[]>} ClientBody of feed/messages */
  listClients: async () => (await ask("GET", "api/clients?limit=1000")).clients,
  /** @returns {Promise<{sessions: any[], total: number, left: any[]}>} SessionBody of feed/messages */
  listSessions: () => ask("GET", "api/sessions?limit=1000"),
  /** @param {string} id @param {object} changes */
  changeClient: (id, changes) => ask("PATCH", `api/clients/${encodeURIComponent(id)}`, changes),
  /** @param {string} id */
  removeClient: (id) => ask("DELETE", `api/clients/${encodeURIComponent(id)}`),
  /** @param {string[]} ids @returns {Promise<number>} how many there were */
  removeClients: async (ids) => {
    let removed = 0;
    // URLs have a maximum length; a hundred ids always fit.
    for (let at = 0; at < ids.length; at += 100) {
      removed += (await ask("DELETE", `api/clients?${ids.slice(at, at + 100).map((id) => `id=${encodeURIComponent(id)}`).join("&")}`)).removed;
    }
    return removed;
  },
  /** @returns {Promise<number>} how many there were */
  removeAllClients: async () => (await ask("DELETE", "api/clients")).removed,
  /** @param {string} id @param {number} limit */
  datagrams: async (id, limit) => (await ask("GET", `api/clients/${encodeURIComponent(id)}/datagrams?limit=${limit}`)).datagrams,
  /** @param {string} id */
  endSession: (id) => ask("DELETE", `api/sessions/${encodeURIComponent(id)}`),
  /** @returns {Promise<{scenarios: any[], shipped: {name: string, title: string, text: string}[]}>} RunBody of views/run */
  scenarios: () => ask("GET", "api/scenarios"),
  /** @param {string} id */
  getScenario: (id) => ask("GET", `api/scenarios/${encodeURIComponent(id)}`),
  /** @param {string} text TOML */
  startScenario: (text) => ask("POST", "api/scenarios", { text }),
  /** @param {string} id */
  stopScenario: (id) => ask("POST", `api/scenarios/${encodeURIComponent(id)}/stop`),
  /** @param {string} id */
  removeScenario: (id) => ask("DELETE", `api/scenarios/${encodeURIComponent(id)}`),
  /** @param {string} kind a resource, such as receivers @returns {Promise<any[]>} */
  endpoints: async (kind) => (await ask("GET", `api/${kind}`))[kind],
  /** @param {string} kind @param {object} definition */
  begin: (kind, definition) => ask("POST", `api/${kind}`, definition),
  /** @param {string} kind @param {string} id */
  end: (kind, id) => ask("DELETE", `api/${kind}/${encodeURIComponent(id)}`),
  links: () => ask("GET", "api/links"),
  /** @param {string} owner a client's or session's id, or "default" */
  getLink: (owner) => ask("GET", `api/links/${encodeURIComponent(owner)}`),
  /** @param {string} owner @param {object} link */
  putLink: (owner, link) => ask("PUT", `api/links/${encodeURIComponent(owner)}`, link),
  /** @param {string} owner */
  clearLink: (owner) => ask("DELETE", `api/links/${encodeURIComponent(owner)}`),
  clearAllLinks: () => ask("DELETE", "api/links"),
  profiles: () => ask("GET", "api/profiles"),
  /** @returns {Promise<import("./node.js").Nodes>} */
  nodes: () => ask("GET", "api/nodes"),
  definitions: () => ask("GET", "api/definitions"),
};
