// @ts-check
// The redirect to the login page and back. The redirect ends this page, so sessionStorage keeps the
// state and the verifier until the user is back, and no longer.

import { challengeOf, randomString } from "./pkce.js";

/** @typedef {import("./http.js").Flow} Flow */
/** @typedef {{flow: Flow, state: string, verifier: string | null}} Pending */
/**
 * How the page was opened: not from a login, from one that was not finished, with a code, or with an
 * error; `mismatch` is a code or an error with another state.
 *
 * @typedef {{kind: "fresh"}
 *   | {kind: "unfinished"}
 *   | {kind: "code", code: string, flow: Flow, verifier: string | null}
 *   | {kind: "refused", error: string}
 *   | {kind: "mismatch"}} Arrival
 */

const KEY = "playground.login";

/**
 * Returns the URL of the login page, and keeps what is needed when the user comes back.
 * @param {{authorizeUrl: string, clientId: string, redirectUri: string, flow: Flow,
 *   scope: string}} login
 * @param {Storage} storage
 */
export async function begin({ authorizeUrl, clientId, redirectUri, flow, scope }, storage) {
  const state = randomString();
  const verifier = flow === "pkce" ? randomString() : null;
  const url = new URL(authorizeUrl);
  const query = url.searchParams;
  query.set("client_id", clientId);
  query.set("response_type", "code");
  query.set("redirect_uri", redirectUri);
  if (scope) query.set("scope", scope);
  if (verifier) {
    query.set("code_challenge_method", "S256");
    query.set("code_challenge", await challengeOf(verifier));
  }
  query.set("state", state);
  storage.setItem(KEY, JSON.stringify({ flow, state, verifier }));
  return url.href;
}

/**
 * Returns how the page was opened, and forgets the login that was pending.
 * @param {string} search the page's query
 * @param {Storage} storage
 * @returns {Arrival}
 */
export function arrival(search, storage) {
  const stored = storage.getItem(KEY);
  storage.removeItem(KEY);
  const pending = /** @type {Pending | null} */ (JSON.parse(stored ?? "null"));
  const query = new URLSearchParams(search);
  const code = query.get("code");
  const error = query.get("error");
  if (code === null && error === null) return { kind: pending ? "unfinished" : "fresh" };
  if (pending === null || query.get("state") !== pending.state) return { kind: "mismatch" };
  if (code === null) return { kind: "refused", error: error ?? "" };
  return { kind: "code", code, flow: pending.flow, verifier: pending.verifier };
}
