// @ts-check
// The way to Spotify's login and back. Between both, and no longer, sessionStorage holds the state
// and the verifier: the redirect ends this page, and nothing else outlives it.

import { challengeOf, newSecret } from "./pkce.js";

/** @typedef {import("./snippets.js").Flow} Flow */
/** @typedef {{flow: Flow, state: string, verifier: string | null}} Pending */
/**
 * How somebody comes to the page: as at any time, back without an answer, with a code that is ours,
 * or with a problem.
 *
 * @typedef {{kind: "fresh"}
 *   | {kind: "unanswered"}
 *   | {kind: "code", code: string, flow: Flow, verifier: string | null}
 *   | {kind: "refused", error: string}
 *   | {kind: "mismatch"}} Arrival
 */

const KEY = "spotify-api-server.login";

/**
 * Returns where to send a person, having put aside what is needed when they come back.
 *
 * @param {{authorizeUrl: string, clientId: string, redirectUri: string, flow: Flow,
 *   scopes: string}} wanted
 * @param {Storage} storage
 */
export async function begin({ authorizeUrl, clientId, redirectUri, flow, scopes }, storage) {
  const state = newSecret();
  const verifier = flow === "pkce" ? newSecret() : null;
  const url = new URL(authorizeUrl);
  const query = url.searchParams;
  query.set("client_id", clientId);
  query.set("response_type", "code");
  query.set("redirect_uri", redirectUri);
  query.set("state", state);
  if (scopes) query.set("scope", scopes);
  if (verifier) {
    query.set("code_challenge_method", "S256");
    query.set("code_challenge", await challengeOf(verifier));
  }
  storage.setItem(KEY, JSON.stringify({ flow, state, verifier }));
  return url.href;
}

/**
 * Tells how somebody came, and forgets what was put aside.
 *
 * @param {string} search the page's query
 * @param {Storage} storage
 * @returns {Arrival}
 */
export function arrival(search, storage) {
  const pending = taken(storage);
  const query = new URLSearchParams(search);
  const code = query.get("code");
  const error = query.get("error");
  if (code === null && error === null) return { kind: pending ? "unanswered" : "fresh" };
  if (pending === null || query.get("state") !== pending.state) return { kind: "mismatch" };
  if (code === null) return { kind: "refused", error: error ?? "" };
  return { kind: "code", code, flow: pending.flow, verifier: pending.verifier };
}

/**
 * @param {Storage} storage
 * @returns {Pending | null}
 */
function taken(storage) {
  const kept = storage.getItem(KEY);
  storage.removeItem(KEY);
  return kept === null ? null : JSON.parse(kept);
}
