// @ts-check
// Errors on demand: a button for each, and a place for the answer.

import { asCurl, shown } from "./answers.js";
import { waiting } from "./asking.js";
import { button, element, find } from "./elements.js";
import * as provocations from "./provocations.js";

/** How many were asked for. */
let turns = 0;

/**
 * Offers those that can be had here.
 *
 * @param {import("./known.js").Known} known
 * @param {string | null} redirectUri the page's own, if the server lets it in
 */
export function offer(known, redirectUri) {
  const redirect = { ...(redirectUri && { redirect_uri: redirectUri }) };
  const place = find("provocations", HTMLElement);
  place.append(...offered("By this server", provocations.ours(known)));
  if (!redirectUri && !known.hasRedirectUri) return; // none of these would get as far as Spotify
  place.append(...offered("By Spotify", provocations.spotifys(redirect)));
  if (known.isSpotify) return;
  const faults = provocations.faults(redirect, known.upstreamTimeout);
  place.append(...offered("By Spotify in trouble", faults));
}

/**
 * @param {string} title
 * @param {provocations.Provocation[]} list
 */
function offered(title, list) {
  const items = list.map((each) => {
    const hint = each.missing ?? each.hint;
    const id = hint && each.name.replaceAll(/\W+/g, "-");
    const attributes = {
      class: "provoke",
      disabled: Boolean(each.missing),
      "aria-describedby": id,
    };
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
  const turn = ++turns;
  const answer = await waiting(by, call);
  if (turn !== turns) return; // another was asked for meanwhile: one is slow on purpose
  place.replaceChildren(shown(answer), asCurl(call));
  if (place.getBoundingClientRect().top > innerHeight / 2) place.scrollIntoView();
}
