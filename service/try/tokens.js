// @ts-check
// The tokens of the last login: they live in `held`, and nowhere else.

import { field, isSuccess, shown, statusOf } from "./answers.js";
import { ask, pathOf } from "./calls.js";
import { showAll } from "./code.js";
import { announcement, clock, inWords, lifetimeOf, secondsLeft } from "./countdown.js";
import { element, find, say } from "./elements.js";

/** @typedef {import("./calls.js").Answer} Answer */
/** @typedef {import("./snippets.js").Flow} Flow */

/**
 * `lifetime` is in seconds; null is that the answer told none.
 *
 * @type {{flow: Flow, refreshToken: string, end: number, lifetime: number | null} | null}
 */
let held = null;
/** Seconds left when they were last looked at. */
let left = 0;

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
export function hold(answer, by) {
  const { expires_in: expiresIn, refresh_token: token } = answer.json ?? {};
  const lifetime = lifetimeOf(expiresIn);
  const refreshToken = typeof token === "string" ? token : (held?.refreshToken ?? "");
  left = lifetime ?? 0;
  held = { flow: by, refreshToken, end: answer.at + left * 1000, lifetime };
  const same =
    typeof token === "string"
      ? []
      : [
          element("p", { class: "hint" }, "No refresh_token came: the one you have stays good."),
          element("dl", { class: "answer" }, field("refresh_token", refreshToken)),
        ];
  find("tokens-answer", HTMLElement).replaceChildren(shown(answer), ...same);
  find("refresh-outcome", HTMLElement).replaceChildren();
  showHeld();
}

function showHeld() {
  find("tokens-none", HTMLElement).hidden = held !== null;
  find("tokens-held", HTMLElement).hidden = held === null;
  refresh.disabled = forget.disabled = held === null;
  find("expiry", HTMLElement).hidden = held?.lifetime === null;
  find("expiry-none", HTMLElement).hidden = held?.lifetime !== null;
  tick();
  showAll();
}

/** Shows the time that is left; the seconds are for the eye, and few of them are said. */
function tick() {
  if (held === null || held.lifetime === null) return;
  const now = secondsLeft(held.end, Date.now());
  timeLeft.textContent = now ? clock(now) : "Expired";
  find("expiry-words", HTMLElement).textContent = now
    ? "until the access token expires"
    : "Refresh to get a new access token.";
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
  const answer = await ask({
    method: "POST",
    path: pathOf(by, "refresh"),
    fields: { refresh_token: refreshToken },
  });
  refresh.disabled = held === null;
  if (held === null) return;
  if (isSuccess(answer)) hold(answer, by);
  else find("refresh-outcome", HTMLElement).replaceChildren(shown(answer));
  refresh.focus();
  say(
    isSuccess(answer)
      ? `Refreshed: ${goodFor()}.`
      : `The refresh failed: ${statusOf(answer)}.`,
  );
}

function goodFor() {
  return held?.lifetime === null
    ? "no expiry came"
    : `the new access token is good for ${inWords(left)}`;
}

/** Forgets them, and takes them off the page. */
function drop() {
  held = null;
  for (const id of ["tokens-answer", "refresh-outcome"]) find(id, HTMLElement).replaceChildren();
  showHeld();
}

function forgetTokens() {
  drop();
  find("tokens-title", HTMLElement).focus();
  say("The tokens are forgotten.");
}

/** The flow that the tokens came by, if there are any. */
export function heldFlow() {
  return held?.flow;
}

/** Puts the buttons and the clock to work. */
export function start() {
  refresh.addEventListener("click", refreshTokens);
  forget.addEventListener("click", forgetTokens);
  setInterval(tick, 1000);
  // A browser may keep the page to show it again; the tokens are gone all the same, as it says.
  addEventListener("pagehide", drop);
}
