/** Which node is looked at: the one that serves this page, or another one that it asks. */

/** @typedef {{id: string, name: string | null, is_this: boolean, state: string, as_of_ms: number, clients: {total: number} | null, remote: string | null,
 *   clock: {ahead_ms: number, bound_ms: number} | null}} Node */
/** @typedef {{nodes: Node[], total: number, cut_off_s: number | null}} Nodes */

/** Its name or id; "" for the one that serves this page. */
export const node = new URLSearchParams(globalThis.location?.search ?? "").get("node")?.slice(0, 200) ?? "";

/** The same path, asked of the node that is looked at. @param {string} path @param {string} [of] */
export const atNode = (path, of = node) => (of ? `${path}${path.includes("?") ? "&" : "?"}node=${encodeURIComponent(of)}` : path);
