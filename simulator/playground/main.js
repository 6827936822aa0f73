// @ts-check
// The page: connects the login, the app token and the errors with the document.

import { codeBlock, copyButton, element, find, say } from "./dom.js";
import * as errors from "./errors.js";
import { show, statusOf } from "./exchange.js";
import { explainRefusal } from "./explain.js";
import { curlOf, isSuccess, pathOf, send } from "./http.js";
import { arrival, begin } from "./login.js";
import * as session from "./session.js";

/** @typedef {import("./http.js").Flow} Flow */
/**
 * /playground.json; `authorize_url` and `web_api_url` may be relative to the page.
 *
 * @typedef {{service_url: string, client_id: string, authorize_url: string, web_api_url: string,
 *   simulated: boolean, scopes: Record<string, string>}} Config
 */

/** Spotify refuses redirect URIs with the name localhost, and it is another origin. */
if (location.hostname === "localhost")
  location.replace(`http://127.0.0.1${location.port && `:${location.port}`}/`);

const redirectUri = `${location.origin}/`;
const config = /** @type {Config} */ (await (await fetch("/playground.json")).json());
const service = config.service_url;
const authorizeUrl = new URL(config.authorize_url, redirectUri).href;
const SELECTED = ["user-read-private", "user-read-email"];

// Log in --------------------------------------------------------------------------------------

const logIn = find("log-in", HTMLButtonElement);
const form = find("login-form", HTMLFormElement);

/** @returns {Flow} */
function flow() {
  return new FormData(form).get("flow") === "code" ? "code" : "pkce";
}

function scope() {
  return new FormData(form).getAll("scope").join(" ");
}

/** @param {Event} event */
async function goToLogin(event) {
  event.preventDefault();
  logIn.disabled = true;
  const { client_id: clientId } = config;
  const login = { authorizeUrl, clientId, redirectUri, flow: flow(), scope: scope() };
  try {
    location.assign(await begin(login, sessionStorage));
  } catch (error) {
    logIn.disabled = false;
    report(
      `The login cannot start (${error}). Open this page on http://127.0.0.1 or over https, and allow it to store data.`,
    );
  }
}

/** Shows the requests of a login before there is one. */
function preview() {
  const isPkce = flow() === "pkce";
  const parameters = {
    client_id: config.client_id,
    response_type: "code",
    redirect_uri: redirectUri,
    ...(scope() && { scope: scope() }),
    ...(isPkce && { code_challenge_method: "S256", code_challenge: "…" }),
    state: "…",
  };
  const url = new URL(authorizeUrl);
  url.search = new URLSearchParams(parameters).toString();
  const lines = Object.entries(parameters).map(([name, value]) => `${name}=${value}`);
  const fields = {
    code: "…",
    ...(isPkce && { code_verifier: "…" }),
    redirect_uri: redirectUri,
  };
  const call = { method: "POST", url: service + pathOf(flow(), "retrieve"), fields };
  const old = find("login-output", HTMLElement).querySelector(".preview");
  old?.replaceChildren(
    codeBlock(
      "1. Your app opens the login page",
      "Copy the URL of the login page",
      () => url.href,
      `${authorizeUrl}\n  ?${lines.join("\n  &")}`,
    ),
    codeBlock(
      "2. Your app exchanges the code here",
      "Copy the code exchange",
      () => curlOf(call),
      curlOf(call),
    ),
  );
  const count = new FormData(form).getAll("scope").length;
  find("scope-count", HTMLElement).textContent = String(count || "none");
}

/** Reads the query that the page was opened with, and removes it from the address. */
function arrived() {
  const { search } = location;
  history.replaceState(null, "", "/");
  try {
    return arrival(search, sessionStorage);
  } catch {
    return /** @type {const} */ ({ kind: "fresh" }); // storage is not allowed
  }
}

/** @param {import("./login.js").Arrival} came */
async function take(came) {
  switch (came.kind) {
    case "code":
      return exchangeCode(came.code, came.flow, came.verifier);
    case "refused":
      return report(explainRefusal(came.error));
    case "mismatch":
      return report(
        "A code or an error arrived with a state that this page did not send, so it was discarded. Start the login from this page.",
      );
    case "unfinished":
      return report(
        `The login was not finished. If ${spotify()} showed “INVALID_CLIENT: Invalid redirect URI”, register ${redirectUri} exactly; for “INVALID_CLIENT: Invalid client”, correct CLIENT_ID.`,
      );
  }
}

/**
 * @param {string} code
 * @param {Flow} by
 * @param {string | null} verifier
 */
async function exchangeCode(code, by, verifier) {
  const fields = { code, ...(verifier && { code_verifier: verifier }), redirect_uri: redirectUri };
  const exchange = await send({ method: "POST", url: service + pathOf(by, "retrieve"), fields });
  if (isSuccess(exchange)) return session.open(exchange, by);
  show(find("login-output", HTMLElement), exchange);
  report(`The code exchange failed: ${statusOf(exchange)}.`);
}

/** @param {string} text */
function report(text) {
  find("login-message", HTMLElement).replaceChildren(element("p", { class: "notice" }, text));
  find("login-title", HTMLElement).focus();
  say(text);
}

function spotify() {
  return config.simulated ? "the simulator" : "Spotify";
}

// App access token ----------------------------------------------------------------------------

async function getAppToken() {
  const url = `${service}/client-credentials-flow/retrieve-tokens`;
  const fields = { grant_type: "client_credentials" };
  const exchange = await send({ method: "POST", url, fields });
  show(find("app-token-output", HTMLElement), exchange);
  say(`The response is ${statusOf(exchange)}.`);
}

// The page ------------------------------------------------------------------------------------

function describe() {
  find("mode", HTMLElement).textContent = config.simulated ? "Simulated Spotify" : "Real Spotify";
  find("docs", HTMLAnchorElement).href = `${service}/docs`;
  find("service-url", HTMLElement).textContent = service;
  logIn.textContent = `Log in with ${spotify()}`;
  find("redirect-uri", HTMLElement).append(
    element("code", {}, redirectUri),
    " ",
    copyButton("Copy", "Copy the redirect URI", () => redirectUri),
  );
  find("register", HTMLElement).textContent = config.simulated
    ? "The simulator accepts any redirect URI. With Spotify, register this one exactly."
    : "Register it exactly: developer.spotify.com/dashboard, your app, Settings, Redirect URIs.";
  find("scopes", HTMLElement).append(
    ...Object.entries(config.scopes).map(([name, meaning]) => {
      const checked = SELECTED.includes(name);
      const box = element("input", { type: "checkbox", name: "scope", value: name, checked });
      return element(
        "label",
        {},
        box,
        element("span", {}, element("code", {}, name), element("small", {}, meaning)),
      );
    }),
  );
}

/** Warns if the service cannot be called from this page. */
async function checkService() {
  const { status } = await send({ method: "GET", url: new URL("/healthz", service).href });
  const problem = find("problem", HTMLElement);
  problem.hidden = status !== 0;
  if (status === 0)
    problem.textContent = `This page cannot call the service at ${service}. Check that it is running, and that its CORS_ALLOW_ORIGINS contains ${location.origin}.`;
}

// A page that the browser kept for its back button was left by the login.
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  logIn.disabled = false;
  take(arrived());
});
addEventListener("pagehide", () => find("app-token-output", HTMLElement).replaceChildren());

const came = arrived();
describe();
preview();
form.addEventListener("input", preview);
form.addEventListener("submit", goToLogin);
find("get-app-token", HTMLButtonElement).addEventListener("click", getAppToken);
session.start(service, new URL(config.web_api_url, redirectUri).href);
errors.offer(service, redirectUri, config.simulated);
await Promise.all([take(came), checkService()]);
