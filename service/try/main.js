// @ts-check
// The page: what a person does here, and what comes of it. Tokens live in `held` and nowhere else.

import { asCurl, isSuccess, shown, statusOf } from "./answers.js";
import { ask, pathOf } from "./calls.js";
import { showAll, Tabs } from "./code.js";
import { announcement, clock, inWords, secondsLeft } from "./countdown.js";
import { button, copies, element, find, say } from "./elements.js";
import { refused } from "./explained.js";
import { read } from "./known.js";
import { arrival, begin } from "./login.js";
import { digest } from "./pkce.js";
import * as provocations from "./provocations.js";
import { warnings } from "./warnings.js";

/** @typedef {import("./calls.js").Answer} Answer */
/** @typedef {import("./snippets.js").Flow} Flow */

const known = read(document.body);
const redirectUri = `${location.origin}/try`;
const spotify = known.isSpotify ? "Spotify" : "the simulator";

/** @type {{flow: Flow, refreshToken: string, end: number, lifetime: number} | null} */
let held = null;
let left = 0;

// Log in ------------------------------------------------------------------------------------------

const logIn = find("log-in", HTMLButtonElement);
const scopes = find("scopes", HTMLInputElement);
const flows = /** @type {NodeListOf<HTMLInputElement>} */ (document.getElementsByName("flow"));

/** @returns {Flow} */
function flow() {
  return [...flows].find(({ checked }) => checked)?.value === "code" ? "code" : "pkce";
}

function wantedScopes() {
  return scopes.value.split(/[\s,]+/).filter(Boolean);
}

async function goToLogin() {
  logIn.disabled = true;
  const { authorizeUrl, clientId } = known;
  const wanted = { authorizeUrl, clientId, redirectUri, flow: flow(), scopes: wantedScopes().join(" ") };
  location.assign(await begin(wanted, sessionStorage));
}

/** Takes up what the page was opened with, and leaves nothing of it in the address. */
async function arrive() {
  const came = arrival(location.search, sessionStorage);
  if (location.search) history.replaceState(null, "", location.pathname);
  switch (came.kind) {
    case "code":
      for (const input of flows) input.checked = input.value === came.flow;
      return swap(came.code, came.flow, came.verifier);
    case "refused":
      return tellLogin(refused(came.error));
    case "mismatch":
      return tellLogin("A code or an error came with a state that this page did not send, so it was thrown away: somebody else may have begun that login. Log in from here.");
    case "unanswered":
      return tellLogin(unanswered());
  }
}

function unanswered() {
  const host = new URL(known.authorizeUrl).host;
  const nowhere = known.isSpotify ? "" : ` If the browser found nobody at ${host}, set SPOTIFY_AUTHORIZE_URL to where it reaches the simulator.`;
  return `You went to log in and came back without an answer. If ${spotify} showed “INVALID_CLIENT: Invalid redirect URI”, the redirect URI below is not registered, to the letter; with “INVALID_CLIENT: Invalid client”, CLIENT_ID is wrong.${nowhere}`;
}

/** @param {string} text */
function tellLogin(text) {
  find("login-outcome", HTMLElement).replaceChildren(element("p", { class: "warning" }, text));
  find("login-title", HTMLElement).focus();
  say(text);
}

/**
 * @param {string} code
 * @param {Flow} by
 * @param {string | null} verifier
 */
async function swap(code, by, verifier) {
  const fields = { code, redirect_uri: redirectUri, ...(verifier && { code_verifier: verifier }) };
  const answer = await ask({ method: "POST", path: pathOf(by, "retrieve"), fields });
  if (isSuccess(answer)) {
    hold(answer, by);
    find("tokens-title", HTMLElement).focus();
  } else {
    find("login-outcome", HTMLElement).replaceChildren(shown(answer));
    find("login-title", HTMLElement).focus();
  }
  say(isSuccess(answer) ? "You are logged in: tokens have come." : `The swap failed: ${statusOf(answer)}.`);
}

// Tokens ------------------------------------------------------------------------------------------

const refresh = find("refresh", HTMLButtonElement);
const forget = find("forget", HTMLButtonElement);
const timeLeft = find("time-left", HTMLElement);
const timeBar = find("time-bar", HTMLProgressElement);

/**
 * Keeps what an answer holds, and shows it.
 *
 * @param {Answer} answer
 * @param {Flow} by
 */
function hold(answer, by) {
  const { expires_in: lifetime, refresh_token: token } = answer.json ?? {};
  const seconds = typeof lifetime === "number" ? lifetime : 0;
  const refreshToken = typeof token === "string" ? token : (held?.refreshToken ?? "");
  held = { flow: by, refreshToken, end: answer.at + seconds * 1000, lifetime: seconds };
  left = seconds;
  const same = typeof token === "string" ? [] : [element("p", { class: "hint" }, "No refresh_token came: the one you have stays good.")];
  find("tokens-answer", HTMLElement).replaceChildren(shown(answer), ...same);
  find("refresh-outcome", HTMLElement).replaceChildren();
  showHeld();
}

function showHeld() {
  find("tokens-none", HTMLElement).hidden = held !== null;
  find("tokens-held", HTMLElement).hidden = held === null;
  refresh.disabled = forget.disabled = held === null;
  tick();
  showAll();
}

/** Shows the time that is left; the seconds are for the eye, and few of them are said. */
function tick() {
  if (held === null) return;
  const now = secondsLeft(held.end, Date.now());
  timeLeft.textContent = now ? clock(now) : "Expired";
  find("expiry-words", HTMLElement).textContent = now ? "until the access token expires" : "Refresh to get a new access token.";
  find("expiry", HTMLElement).classList.toggle("over", now === 0);
  timeBar.max = held.lifetime || 1;
  timeBar.value = now;
  const text = announcement(left, now);
  if (text) say(text);
  left = now;
}

async function refreshTokens() {
  if (held === null) return;
  const { flow: by, refreshToken } = held;
  refresh.disabled = true;
  const answer = await ask({ method: "POST", path: pathOf(by, "refresh"), fields: { refresh_token: refreshToken } });
  refresh.disabled = held === null;
  if (held === null) return;
  if (isSuccess(answer)) hold(answer, by);
  else find("refresh-outcome", HTMLElement).replaceChildren(shown(answer));
  refresh.focus();
  say(isSuccess(answer) ? `Refreshed: the new access token is good for ${inWords(left)}.` : `The refresh failed: ${statusOf(answer)}.`);
}

function drop() {
  held = null;
  for (const id of ["tokens-answer", "refresh-outcome", "client-answer"]) find(id, HTMLElement).replaceChildren();
  showHeld();
}

function forgetTokens() {
  drop();
  find("tokens-title", HTMLElement).focus();
  say("The tokens are forgotten.");
}

// The app's own token, and errors -----------------------------------------------------------------

const getClient = find("get-client", HTMLButtonElement);

async function getClientToken() {
  const answer = await waiting(getClient, provocations.APP_TOKEN);
  find("client-answer", HTMLElement).replaceChildren(shown(answer));
}

/**
 * Makes a call while its button waits; says what came of it.
 *
 * @param {HTMLButtonElement} by
 * @param {import("./calls.js").Call} call
 */
async function waiting(by, call) {
  by.setAttribute("aria-busy", "true");
  const answer = await ask(call);
  by.removeAttribute("aria-busy");
  say(`The answer is ${statusOf(answer)}.`);
  return answer;
}

/** @param {boolean} allowed whether this page's redirect URI is */
function offerErrors(allowed) {
  const redirect = { ...(allowed && { redirect_uri: redirectUri }) };
  const place = find("provocations", HTMLElement);
  place.append(...offered("By this server", provocations.ours(known)));
  if (allowed || known.hasRedirectUri) {
    place.append(...offered("By Spotify", provocations.spotifys(redirect)));
    if (!known.isSpotify) place.append(...offered("By Spotify in trouble", provocations.faults(redirect, known.upstreamTimeout)));
  }
}

/**
 * @param {string} title
 * @param {provocations.Provocation[]} list
 */
function offered(title, list) {
  const items = list.map((each) => {
    const hint = each.missing ?? each.hint;
    const id = hint && each.name.replaceAll(/\W+/g, "-");
    const attributes = { class: "provoke", disabled: Boolean(each.missing), "aria-describedby": id };
    const act = button(each.name, attributes, (by) => provoke(by, each));
    act.prepend(element("span", { class: "number" }, String(each.status)), " ");
    return element("li", {}, act, ...(hint ? [element("p", { class: "hint", id }, hint)] : []));
  });
  return [element("h3", {}, title), element("ul", { class: "provocations" }, ...items)];
}

/**
 * @param {HTMLButtonElement} by
 * @param {provocations.Provocation} provocation
 */
async function provoke(by, { call }) {
  const place = find("error-answer", HTMLElement);
  place.replaceChildren(element("p", { class: "hint" }, "Asking…"), asCurl(call));
  const answer = await waiting(by, call);
  place.replaceChildren(shown(answer), asCurl(call));
  if (place.getBoundingClientRect().top > innerHeight / 2) place.scrollIntoView();
}

// What is true of this place ----------------------------------------------------------------------

async function isAllowed() {
  const { allowedRedirectUris: digests } = known;
  if (digests === null) return true;
  // Without crypto.subtle nothing works here, which is told by itself.
  return !crypto.subtle || digests.includes(await digest(redirectUri));
}

/** @param {boolean} allowed */
function warn(allowed) {
  const found = warnings(location, redirectUri, allowed);
  const shownWarnings = found.map(({ title, text, link }) =>
    element(
      "div",
      { class: "warning" },
      element("h3", {}, title),
      element("p", {}, text, ...(link ? [" ", element("a", { href: link }, link)] : [])),
    ),
  );
  find("warnings-list", HTMLElement).replaceChildren(...shownWarnings);
  find("warnings", HTMLElement).hidden = found.length === 0;
}

function describe() {
  find("version", HTMLElement).textContent = known.version;
  find("docs-link", HTMLElement).hidden = !known.docs;
  find("client-off", HTMLElement).hidden = known.clientCredentials;
  find("redirect-uri", HTMLElement).textContent = redirectUri;
  find("upstream", HTMLElement).textContent = known.isSpotify ? "With Spotify" : "With a simulator of Spotify";
  logIn.textContent = `Log in with ${spotify}`;
  find("register", HTMLElement).textContent = known.isSpotify
    ? "To the letter: on developer.spotify.com/dashboard, in your app’s Settings, under Redirect URIs. Spotify takes http on 127.0.0.1 only, and never the name localhost."
    : "The simulator takes any; for Spotify it is registered to the letter: on developer.spotify.com/dashboard, in your app’s Settings, under Redirect URIs.";
  if (!crypto.subtle) noSubtle();
}

/** A browser has no SHA-256 for a page that came by plain http from elsewhere. */
function noSubtle() {
  for (const input of flows) {
    input.disabled = input.value === "pkce";
    input.checked = input.value === "code";
  }
  find("pkce-hint", HTMLElement).textContent = "Not here: a browser hashes only for pages that came by https or from this machine.";
}

/** @returns {import("./snippets.js").About} */
function about() {
  const { clientId, authorizeUrl } = known;
  return { origin: location.origin, clientId, authorizeUrl, flow: flow(), scopes: wantedScopes() };
}

async function start() {
  describe();
  copies(find("copy-redirect-uri", HTMLButtonElement), () => redirectUri);
  new Tabs(find("login-code", HTMLElement), "login", "Code to log in", about);
  const asHeld = () => ({ ...about(), flow: held?.flow ?? flow() });
  new Tabs(find("refresh-code", HTMLElement), "refresh", "Code to refresh", asHeld);
  new Tabs(find("client-code", HTMLElement), "client", "Code for the app’s own token", about);
  logIn.addEventListener("click", goToLogin);
  refresh.addEventListener("click", refreshTokens);
  forget.addEventListener("click", forgetTokens);
  getClient.addEventListener("click", getClientToken);
  for (const input of [...flows, scopes]) input.addEventListener("input", showAll);
  setInterval(tick, 1000);
  const allowed = await isAllowed();
  warn(allowed);
  offerErrors(allowed);
  await arrive();
}

// A page that the browser kept and shows again, as its button "back" does, was left by "Log in".
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  logIn.disabled = false;
  arrive();
});
// Its tokens are gone all the same, as it says.
addEventListener("pagehide", drop);

await start();
