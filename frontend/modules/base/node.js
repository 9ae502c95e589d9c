/** Which node is looked at: the one that serves this page, or another one that it asks. */

/** Its name or id; "" for the one that serves this page. */
export const node = new URLSearchParams(globalThis.location?.search ?? "").get("node")?.slice(0, 200) ?? "";

/** The same path, asked of the node that is looked at. @param {string} path @param {string} [of] */
export const atNode = (path, of = node) => (of ? `${path}${path.includes("?") ? "&" : "?"}node=${encodeURIComponent(of)}` : path);
