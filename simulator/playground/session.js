// @ts-check
// The tokens of the last login. They are in `held` and nowhere else.

import { announcement, clock, inWords, lifetimeOf, secondsLeft } from "./countdown.js";
import { copyButton, element, find, say } from "./dom.js";
import { show, statusOf } from "./exchange.js";
import { curlOf, isSuccess, masked, pathOf, send } from "./http.js";

/** @typedef {import("./http.js").Exchange} Exchange */
/** @typedef {import("./http.js").Flow} Flow */
/**
 * `end` is in milliseconds since the epoch; `lifetime`, in seconds, is null without an expiry.
 *
 * @typedef {{flow: Flow, accessToken: string, refreshToken: string, scope: string, end: number,
 *   lifetime: number | null, refreshes: number}} Held
 */

/** @type {Held | null} */
let held = null;
/** Seconds left at the last tick. */
let left = 0;
let service = "";
let webApi = "";

const output = find("session-output", HTMLElement);
const refreshButton = find("refresh", HTMLButtonElement);
const title = find("session-title", HTMLElement);
const timer = find("time-left", HTMLElement);

/**
 * Connects the buttons and starts the clock.
 * @param {string} serviceUrl
 * @param {string} webApiUrl
 */
export function start(serviceUrl, webApiUrl) {
  service = serviceUrl;
  webApi = webApiUrl;
  refreshButton.addEventListener("click", refresh);
  find("copy-refresh", HTMLElement).append(
    copyButton("Copy as curl", "Copy as curl: refresh", () => (held ? curlOf(call(held)) : "")),
  );
  find("forget", HTMLButtonElement).addEventListener("click", () => {
    forget();
    find("login-title", HTMLElement).focus();
    say("The tokens are forgotten.");
  });
  for (const path of ["/me", "/me/tracks"]) {
    const button = element("button", { type: "button" }, `GET /v1${path}`);
    button.addEventListener("click", async () => {
      const exchange = await callApi(path);
      if (exchange) say(`The response is ${statusOf(exchange)}.`);
    });
    find("api-calls", HTMLElement).append(button);
  }
  setInterval(tick, 1000);
  // A page that the browser keeps for its back button must not keep tokens.
  addEventListener("pagehide", forget);
}

/**
 * Starts a session with the response of a code exchange.
 * @param {Exchange} exchange
 * @param {Flow} flow
 */
export async function open(exchange, flow) {
  take(exchange, flow, 0);
  title.textContent = "You are logged in";
  find("profile", HTMLElement).textContent = "";
  find("login", HTMLElement).hidden = true;
  find("session", HTMLElement).hidden = false;
  title.focus();
  output.replaceChildren();
  await callApi("/me");
  if (held) show(output, exchange);
  say(`You are logged in. ${title.textContent}.`);
}

/**
 * @param {Exchange} exchange
 * @param {Flow} flow
 * @param {number} refreshes
 */
function take({ json, at }, flow, refreshes) {
  const lifetime = lifetimeOf(json?.expires_in);
  left = lifetime ?? 0;
  held = {
    flow,
    accessToken: string(json?.access_token),
    // Spotify may leave it out of a refresh: the old one stays valid.
    refreshToken: string(json?.refresh_token) || (held?.refreshToken ?? ""),
    scope: string(json?.scope) || (held?.scope ?? ""),
    end: at + left * 1000,
    lifetime,
    refreshes,
  };
  find("tokens", HTMLElement).replaceChildren(
    ...row("access_token", held.accessToken, "For the Web API, until it expires."),
    ...row(
      "refresh_token",
      held.refreshToken,
      "Encrypted by this server: only it can use the token. Store it like a password.",
    ),
    element("dt", {}, element("code", {}, "scope")),
    element("dd", {}, held.scope ? element("code", {}, held.scope) : "none: public data only"),
  );
  find("expiry", HTMLElement).hidden = lifetime === null;
  find("expiry-none", HTMLElement).hidden = lifetime !== null;
  find("refreshed", HTMLElement).textContent =
    refreshes === 0 ? "" : `Refreshed ${refreshes === 1 ? "once" : `${refreshes} times`}`;
  tick();
}

/** @param {unknown} value */
function string(value) {
  return typeof value === "string" ? value : "";
}

/**
 * @param {string} name
 * @param {string} token
 * @param {string} hint
 */
function row(name, token, hint) {
  const copy = copyButton("Copy", `Copy ${name}`, () => token);
  return [
    element("dt", {}, element("code", {}, name)),
    element(
      "dd",
      {},
      element("code", {}, masked(name, token) || "(none)"),
      " ",
      ...(token ? [copy] : []),
      element("small", {}, hint),
    ),
  ];
}

/** Returns the request that refreshes the tokens. @param {Held} tokens */
function call({ flow, refreshToken }) {
  const url = service + pathOf(flow, "refresh");
  return { method: "POST", url, fields: { refresh_token: refreshToken } };
}

async function refresh() {
  if (held === null) return;
  const { flow, refreshes } = held;
  refreshButton.disabled = true;
  const exchange = await send(call(held));
  refreshButton.disabled = false;
  if (held === null) return; // forgotten meanwhile
  show(output, exchange);
  if (isSuccess(exchange)) take(exchange, flow, refreshes + 1);
  refreshButton.focus();
  if (!isSuccess(exchange)) say(`The refresh failed: ${statusOf(exchange)}.`);
  else if (held.lifetime === null) say("Refreshed. The response has no expiry.");
  else say(`Refreshed. The new access token expires in ${inWords(left)}.`);
}

/**
 * Calls the Web API with the access token; greets the user with the response of /v1/me.
 * @param {string} path
 */
async function callApi(path) {
  if (held === null) return null;
  const exchange = await send({ method: "GET", url: webApi + path, token: held.accessToken });
  if (held === null) return null;
  show(output, exchange);
  if (path === "/me" && isSuccess(exchange)) {
    const { display_name: name, id, email, product, country } = exchange.json ?? {};
    title.textContent = `Hello, ${string(name) || string(id)}`;
    const profile = [email, product, country].map(string).filter(Boolean).join(" · ");
    find("profile", HTMLElement).textContent = profile;
  }
  return exchange;
}

function tick() {
  if (held === null || held.lifetime === null) return;
  const now = secondsLeft(held.end, Date.now());
  timer.textContent = now ? clock(now) : "Expired";
  find("expiry", HTMLElement).classList.toggle("over", now === 0);
  const bar = find("time-bar", HTMLProgressElement);
  bar.max = held.lifetime || 1;
  bar.value = now;
  const text = announcement(left, now);
  if (text) say(text);
  left = now;
}

function forget() {
  held = null;
  title.textContent = "You are logged in";
  for (const id of ["tokens", "profile", "session-output"]) find(id, HTMLElement).replaceChildren();
  find("session", HTMLElement).hidden = true;
  find("login", HTMLElement).hidden = false;
}
