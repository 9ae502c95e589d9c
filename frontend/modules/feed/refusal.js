/** Why the live feed was refused. A browser hides that from the page, so the server is asked once more, over HTTP. */

/** @typedef {{needsToken: boolean, reason: string}} Refusal */

const PATIENCE_MS = 4000;
/** @type {Readonly<Refusal>} */
export const NO_ANSWER = Object.freeze({ needsToken: false, reason: "" });

/**
 * A POST sends Origin, as the handshake did; the server checks both alike.
 * @param {string} url the websocket's
 * @returns {Promise<Refusal>}
 */
export async function whyRefused(url) {
  try {
    const response = await fetch(url.replace(/^ws/, "http"), { method: "POST", signal: AbortSignal.timeout(PATIENCE_MS) });
    const isOurs = response.headers.get("Content-Type") === "application/problem+json";
    return refusalOf(response.status, isOurs ? await response.json() : null);
  } catch {
    return NO_ANSWER;
  }
}

/**
 * Pure.
 * @param {number} status
 * @param {{type: string, detail: string} | null} problem what udprism said; null where it was another that answered
 * @returns {Refusal}
 */
export function refusalOf(status, problem) {
  if (!problem) return { needsToken: false, reason: `a proxy in between responds with HTTP ${status}` };
  if (problem.type.endsWith(":token")) return { needsToken: true, reason: "the server requires its token, and a restart creates a new one" };
  if (status === 426) return { needsToken: false, reason: "the server responds, but the websocket does not get through: the proxy must forward Upgrade and Connection" };
  return { needsToken: false, reason: problem.detail };
}
