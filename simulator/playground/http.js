// @ts-check
// HTTP requests as an app sends them, and as curl commands.

/**
 * A request: `fields` are sent as a form, or `body` as it is with the media type `type`.
 *
 * @typedef {{method: string, url: string, fields?: Record<string, string>, body?: string,
 *   type?: string, token?: string}} Call
 */
/**
 * A request with its response; status 0 means that there was no response.
 *
 * @typedef {{call: Call, status: number, headers: Record<string, string>, text: string,
 *   json: Record<string, unknown> | null, at: number}} Exchange
 */
/** @typedef {"pkce" | "code"} Flow */

export const FORM = "application/x-www-form-urlencoded";
const FLOWS = { pkce: "/authorization-code-flow-pkce", code: "/authorization-code-flow" };

/** Longer strings, such as tokens and codes, are shortened on screen. */
const LONG = 40;
/** What stays of them at either end. */
const KEPT = 10;

/**
 * Returns the path of a flow's endpoint.
 * @param {Flow} flow
 * @param {"retrieve" | "refresh"} step
 */
export function pathOf(flow, step) {
  return `${FLOWS[flow]}/${step}-tokens`;
}

/**
 * Sends a request.
 * @param {Call} call
 * @returns {Promise<Exchange>}
 */
export async function send(call) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (call.method === "POST") headers["Content-Type"] = call.type ?? FORM;
  if (call.token) headers.Authorization = `Bearer ${call.token}`;
  try {
    const response = await fetch(call.url, {
      method: call.method,
      headers,
      body: call.fields ? new URLSearchParams(call.fields) : call.body,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
    const text = await response.text();
    return {
      call,
      status: response.status,
      headers: Object.fromEntries(response.headers),
      text,
      json: parsed(text),
      at: Date.now(),
    };
  } catch {
    return { call, status: 0, headers: {}, text: "", json: null, at: Date.now() };
  }
}

/** Returns whether a response is a 2xx with a JSON object. @param {Exchange} exchange */
export function isSuccess({ status, json }) {
  return status >= 200 && status < 300 && json !== null;
}

/**
 * Returns the call as a curl command.
 * @param {Call} call
 * @param {(text: string) => string} [show] shortens values for the screen
 */
export function curlOf({ method, url, fields, body, type, token }, show = (text) => text) {
  const lines = [method === "POST" ? "curl -i" : `curl -i -X ${method}`, quoted(url)];
  if (body && body.length > 5 * LONG)
    return `head -c ${body.length} /dev/zero |\n  ${lines.join(" ")} --data-binary @-`;
  if (token) lines.push(`-H ${quoted(`Authorization: Bearer ${show(token)}`)}`);
  if (type) lines.push(`-H ${quoted(`Content-Type: ${type}`)}`);
  if (body !== undefined) lines.push(`-d ${quoted(body)}`);
  for (const [name, value] of Object.entries(fields ?? {}))
    lines.push(`--data-urlencode ${quoted(`${name}=${show(value)}`)}`);
  if (method === "POST" && lines.length === 2) lines.push("-d ''");
  return lines.join(" \\\n  ");
}

/**
 * Returns the first and the last characters of a long text, a short one as it is.
 * @param {string} text
 */
export function shortened(text) {
  return text.length <= LONG ? text : `${text.slice(0, KEPT)}…${text.slice(-KEPT)}`;
}

/**
 * Returns what is shown of a response's field: never more than half of a token.
 * @param {string} name
 * @param {string} text
 */
export function masked(name, text) {
  if (!/_token$/i.test(name)) return text;
  const kept = Math.min(KEPT, Math.floor(text.length / 4));
  return text && `${text.slice(0, kept)}…${text.slice(text.length - kept)}`;
}

/** Quotes a text for a POSIX shell. @param {string} text */
function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * Returns the object that a text is in JSON, else null.
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
