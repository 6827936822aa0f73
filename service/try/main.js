// @ts-check
// The page: what a person does here, and what comes of it.

import { isSuccess, shown, statusOf } from "./answers.js";
import { waiting } from "./asking.js";
import { ask, pathOf } from "./calls.js";
import { showAll, Tabs } from "./code.js";
import { copies, element, find, say } from "./elements.js";
import * as errors from "./errors.js";
import { refused } from "./explained.js";
import { read } from "./known.js";
import { arrival, begin } from "./login.js";
import { digest } from "./pkce.js";
import { APP_TOKEN } from "./provocations.js";
import * as tokens from "./tokens.js";
import { warnings } from "./warnings.js";

/** @typedef {import("./snippets.js").Flow} Flow */

const known = read(document.body);
const redirectUri = `${location.origin}/try`;
const spotify = known.isSpotify ? "Spotify" : "the simulator";
const leadsSomewhere = URL.canParse(known.authorizeUrl);

// Log in ------------------------------------------------------------------------------------------

/** Whether a login from here can't come back: the page has to be opened elsewhere first. */
let isElsewhere = false;
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
  const wanted = {
    authorizeUrl,
    clientId,
    redirectUri,
    flow: flow(),
    scopes: wantedScopes().join(" "),
  };
  try {
    location.assign(await begin(wanted, sessionStorage));
  } catch {
    logIn.disabled = false;
    tellLogin(
      `The browser lets this page keep nothing, not even on the way to the login and back. Allow ${location.origin} to store data.`,
    );
  }
}

/** Reads what the page was opened with, and leaves nothing of it in the address. */
function arrived() {
  const { search, hash } = location;
  const step = document.getElementById(hash.slice(1)) ? hash : "";
  // NOTE: the path is not the address's own: //try would be read as a host, and be refused.
  history.replaceState(null, "", `/try${step}`);
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
      for (const input of flows) input.checked = input.value === came.flow;
      return swap(came.code, came.flow, came.verifier);
    case "refused":
      return tellLogin(refused(came.error));
    case "mismatch":
      return tellLogin(
        "A code or an error came with a state that this page did not send, so it was thrown away: somebody else may have begun that login. Log in from here.",
      );
    case "unanswered":
      return tellLogin(unanswered());
  }
}

function unanswered() {
  const host = leadsSomewhere && new URL(known.authorizeUrl).host;
  const nowhere = known.isSpotify || !host
    ? ""
    : ` If the browser found nobody at ${host}, set SPOTIFY_AUTHORIZE_URL to where it reaches the simulator.`;
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
    tokens.hold(answer, by);
    find("tokens-title", HTMLElement).focus();
  } else {
    find("login-outcome", HTMLElement).replaceChildren(shown(answer));
    find("login-title", HTMLElement).focus();
  }
  say(
    isSuccess(answer)
      ? "You are logged in: tokens have come."
      : `The swap failed: ${statusOf(answer)}.`,
  );
}

// The app's own token ------------------------------------------------------------------------------

const getClient = find("get-client", HTMLButtonElement);

async function getClientToken() {
  const answer = await waiting(getClient, APP_TOKEN);
  find("client-answer", HTMLElement).replaceChildren(shown(answer));
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
  const found = warnings(location, redirectUri, allowed, leadsSomewhere);
  isElsewhere = found.some(({ link }) => link);
  logIn.disabled = isElsewhere || !leadsSomewhere;
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
  find("upstream", HTMLElement).textContent = known.isSpotify
    ? "With Spotify"
    : "With a simulator of Spotify";
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
  find("pkce-hint", HTMLElement).textContent =
    "Not here: a browser hashes only for pages that came by https or from this machine.";
}

/** @returns {import("./snippets.js").About} */
function about() {
  const { clientId, authorizeUrl } = known;
  return { origin: location.origin, clientId, authorizeUrl, flow: flow(), scopes: wantedScopes() };
}

async function start() {
  const came = arrived();
  describe();
  copies(find("copy-redirect-uri", HTMLButtonElement), () => redirectUri);
  if (leadsSomewhere) new Tabs(find("login-code", HTMLElement), "login", "Code to log in", about);
  const asHeld = () => ({ ...about(), flow: tokens.heldFlow() ?? flow() });
  new Tabs(find("refresh-code", HTMLElement), "refresh", "Code to refresh", asHeld);
  new Tabs(find("client-code", HTMLElement), "client", "Code for the app’s own token", about);
  logIn.addEventListener("click", goToLogin);
  getClient.addEventListener("click", getClientToken);
  for (const input of [...flows, scopes]) input.addEventListener("input", showAll);
  tokens.start();
  const allowed = await isAllowed();
  warn(allowed);
  errors.offer(known, allowed ? redirectUri : null);
  await take(came);
}

// A page that the browser kept and shows again, as its button "back" does, was left by "Log in".
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  logIn.disabled = isElsewhere || !leadsSomewhere;
  take(arrived());
});
addEventListener("pagehide", () => find("client-answer", HTMLElement).replaceChildren());

await start();
