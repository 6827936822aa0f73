// @ts-check
// Asks this server as an app does.

/**
 * A request: `fields` go as a form, or `body` goes as it is.
 *
 * @typedef {{method: string, path: string, fields?: Record<string, string>, body?: string,
 *   type?: string}} Call
 */
/**
 * What came of a call; status 0 is no answer at all, and then `text` is empty.
 *
 * @typedef {{call: Call, status: number, headers: Record<string, string>, text: string,
 *   json: Record<string, unknown> | null, at: number}} Answer
 */

export const FORM = "application/x-www-form-urlencoded";
export const CLIENT_FLOW = "/client-credentials-flow";
export const CODE_FLOW = "/authorization-code-flow";
export const PKCE_FLOW = "/authorization-code-flow-pkce";

/**
 * Returns the path of a flow.
 *
 * @param {import("./snippets.js").Flow} flow
 * @param {"retrieve" | "refresh"} what
 */
export function pathOf(flow, what) {
  return `${flow === "pkce" ? PKCE_FLOW : CODE_FLOW}/${what}-tokens`;
}

/**
 * Makes a call.
 *
 * @param {Call} call
 * @returns {Promise<Answer>}
 */
export async function ask(call) {
  const headers = call.method === "POST" ? { "Content-Type": call.type ?? FORM } : undefined;
  try {
    const answer = await fetch(call.path, {
      method: call.method,
      headers,
      body: call.fields ? new URLSearchParams(call.fields) : call.body,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
    const text = await answer.text();
    const { status } = answer;
    const at = Date.now();
    return {
      call,
      status,
      headers: Object.fromEntries(answer.headers),
      text,
      json: parsed(text),
      at,
    };
  } catch {
    return { call, status: 0, headers: {}, text: "", json: null, at: Date.now() };
  }
}

/**
 * Returns the object that a text is in JSON, else null.
 *
 * @param {string} text
 * @returns {Record<string, unknown> | null}
 */
function parsed(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
