// @ts-check
// The errors that can be had on demand. Pure.

import { CLIENT_FLOW, CODE_FLOW } from "./calls.js";

/** @typedef {import("./calls.js").Call} Call */
/**
 * `missing` tells why it can't be had here; `hint` what is special about it.
 *
 * @typedef {{name: string, status: number, call: Call, hint?: string, missing?: string}} Provocation
 */

const RETRIEVE = `${CODE_FLOW}/retrieve-tokens`;
const REFRESH = `${CODE_FLOW}/refresh-tokens`;
const TOO_MUCH = 16 * 1024;

/**
 * Returns those that this server makes by itself.
 *
 * @param {{hasRedirectUri: boolean}} known
 * @returns {Provocation[]}
 */
export function ours({ hasRedirectUri }) {
  return [
    { name: "Missing field", status: 400, call: post(RETRIEVE, {}) },
    {
      name: "Token that can’t be opened",
      status: 400,
      call: post(REFRESH, { refresh_token: "not-a-sealed-token" }),
    },
    {
      name: "No redirect URI",
      status: 400,
      call: post(RETRIEVE, { code: "any" }),
      missing: hasRedirectUri ? "REDIRECT_URI is set on this server, and stands in." : undefined,
    },
    { name: "Unknown path", status: 404, call: post(`${CODE_FLOW}/tokens`, {}) },
    { name: "Wrong method", status: 405, call: { method: "GET", path: RETRIEVE } },
    {
      name: "Body too large",
      status: 413,
      call: { method: "POST", path: RETRIEVE, body: "x".repeat(TOO_MUCH) },
    },
    {
      name: "Wrong media type",
      status: 415,
      call: { method: "POST", path: RETRIEVE, body: "code=any", type: "text/plain" },
    },
  ];
}

/**
 * Returns the one that Spotify makes, whoever stands for it.
 *
 * @param {Record<string, string>} redirect the field `redirect_uri`, if it is needed
 * @returns {Provocation[]}
 */
export function spotifys(redirect) {
  return [
    {
      name: "Code that is no good",
      status: 400,
      call: post(RETRIEVE, { code: "used-up", ...redirect }),
      hint: "invalid_grant, passed on as it is",
    },
  ];
}

/**
 * Returns those that a simulator of Spotify makes on demand, by the code it is sent.
 *
 * @param {Record<string, string>} redirect
 * @param {number} timeout UPSTREAM_TIMEOUT, in seconds
 * @returns {Provocation[]}
 */
export function faults(redirect, timeout) {
  const fault = (/** @type {string} */ code) => post(RETRIEVE, { code, ...redirect });
  return [
    {
      name: "Spotify wants fewer requests",
      status: 429,
      call: fault("fault-ratelimit-5"),
      hint: "then this server refuses by itself for 5 s",
    },
    {
      name: "Spotify fails with a page",
      status: 503,
      call: fault("fault-html-503"),
      hint: "HTML, passed on as it is",
    },
    { name: "Spotify answers nonsense", status: 502, call: fault("fault-garbage") },
    {
      name: "Spotify is silent",
      status: 504,
      call: fault("fault-silence"),
      hint: `takes ${timeout} s`,
    },
  ];
}

/** The call for the app's own token. */
export const APP_TOKEN = post(`${CLIENT_FLOW}/retrieve-tokens`, {
  grant_type: "client_credentials",
});

/**
 * @param {string} path
 * @param {Record<string, string>} fields
 * @returns {Call}
 */
function post(path, fields) {
  return { method: "POST", path, fields };
}
