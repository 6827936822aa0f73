// @ts-check
// Errors on demand: a button for each, and a place for the response.

import { element, find, say } from "./dom.js";
import { show, statusOf } from "./exchange.js";
import { pathOf, send } from "./http.js";

/** @typedef {import("./http.js").Call} Call */
/** @typedef {{status: number, name: string, call: Call, hint?: string}} Provocation */

const TOO_LARGE = 16 * 1024;
/** Seconds for which the provoked 429 pauses the PKCE flow. */
const PAUSE = 3;

/**
 * Adds the buttons.
 * @param {string} service the service's URL
 * @param {string} redirectUri
 * @param {boolean} simulated whether Spotify is the simulator, which can fail on demand
 */
export function offer(service, redirectUri, simulated) {
  const retrieve = service + pathOf("code", "retrieve");
  const refresh = service + pathOf("code", "refresh");
  /** @type {(url: string, fields: Record<string, string>) => Call} */
  const post = (url, fields) => ({ method: "POST", url, fields });
  /** @type {(code: string) => Call} */
  const exchangeOf = (code) => post(retrieve, { code, redirect_uri: redirectUri });
  addGroup("From this server", [
    { status: 400, name: "Missing field", call: post(retrieve, {}) },
    {
      status: 400,
      name: "Refresh token that cannot be decrypted",
      call: post(refresh, { refresh_token: "not-a-sealed-token" }),
    },
    {
      status: 400,
      name: "No redirect URI",
      call: post(retrieve, { code: "any" }),
      hint: "if the server has a REDIRECT_URI: invalid_grant from Spotify",
    },
    { status: 404, name: "Unknown path", call: post(`${service}/tokens`, {}) },
    { status: 405, name: "Wrong method", call: { method: "GET", url: retrieve } },
    {
      status: 413,
      name: "Body too large",
      call: { method: "POST", url: retrieve, body: "x".repeat(TOO_LARGE) },
    },
    {
      status: 415,
      name: "Wrong media type",
      call: { method: "POST", url: retrieve, body: "code=any", type: "text/plain" },
    },
  ]);
  addGroup("From Spotify", [
    { status: 400, name: "Invalid or used code", call: exchangeOf("used-up") },
  ]);
  if (!simulated) return;
  addGroup("When Spotify fails", [
    {
      status: 429,
      name: "Spotify asks for fewer requests",
      // The server pauses each flow by itself: this must not affect the other buttons.
      call: post(service + pathOf("pkce", "retrieve"), {
        code: `fault-ratelimit-${PAUSE}`,
        code_verifier: "v".repeat(43),
        redirect_uri: redirectUri,
      }),
      hint: `a second click within ${PAUSE} s: 429 from this server`,
    },
    { status: 503, name: "Spotify returns an HTML error", call: exchangeOf("fault-html-503") },
    { status: 502, name: "Invalid response from Spotify", call: exchangeOf("fault-garbage") },
    {
      status: 504,
      name: "Spotify times out",
      call: exchangeOf("fault-silence"),
      hint: "after UPSTREAM_TIMEOUT, 10 s by default",
    },
  ]);
}

/** @param {string} title @param {Provocation[]} provocations */
function addGroup(title, provocations) {
  const items = provocations.map((provocation) => {
    const { status, name, hint } = provocation;
    const button = element(
      "button",
      { type: "button", class: "provoke" },
      element("span", { class: "number" }, String(status)),
      element("span", {}, name, ...(hint ? [element("small", {}, hint)] : [])),
    );
    button.addEventListener("click", () => provoke(button, provocation));
    return element("li", {}, button);
  });
  find("provocations", HTMLElement).append(
    element("h3", {}, title),
    element("ul", { class: "provocations" }, ...items),
  );
}

/** @param {HTMLButtonElement} button @param {Provocation} provocation */
async function provoke(button, { call }) {
  const place = find("errors-output", HTMLElement);
  button.setAttribute("aria-busy", "true");
  const exchange = await send(call);
  button.removeAttribute("aria-busy");
  show(place, exchange);
  say(`The response is ${statusOf(exchange)}.`);
  if (place.getBoundingClientRect().top > innerHeight / 2) place.scrollIntoView();
}
