// @ts-check
// The lines to paste, in a tab for each language (WAI-ARIA, pattern "Tabs"). All tabs of the page
// show the same language, which is kept for the next time.

import { button, copies, element } from "./elements.js";
import { LANGUAGES, snippet } from "./snippets.js";

/** @typedef {import("./snippets.js").About} About */
/** @typedef {import("./snippets.js").Language} Language */
/** @typedef {import("./snippets.js").Step} Step */

const KEY = "spotify-api-server.language";
const NONE = "Spotify’s iOS SDK has no such flow. Ask this server as the tab curl does.";

/** @type {Tabs[]} */
const all = [];
/** @type {Language} */
let chosen = kept();

/** The tabs of one step. */
export class Tabs {
  /**
   * @param {HTMLElement} place
   * @param {Step} step
   * @param {string} name what screen readers call it
   * @param {() => About} about
   */
  constructor(place, step, name, about) {
    this.step = step;
    this.about = about;
    this.tabs = LANGUAGES.map(({ id, name: language }) => this.tab(id, language));
    const list = element("div", { role: "tablist", "aria-label": name }, ...this.tabs);
    list.addEventListener("keydown", (event) => this.key(event));
    this.code = element("code", {});
    this.copy = element("button", { type: "button", class: "quiet" }, "Copy code");
    copies(this.copy, () => this.code.textContent ?? "");
    this.panel = element(
      "pre",
      { role: "tabpanel", id: `${step}-panel`, tabindex: "0" },
      this.code,
    );
    place.append(element("div", { class: "tabs" }, list, this.copy), this.panel);
    all.push(this);
    this.show();
  }

  /**
   * @param {Language} id
   * @param {string} name
   */
  tab(id, name) {
    const attributes = {
      role: "tab",
      id: `${this.step}-${id}`,
      "aria-controls": `${this.step}-panel`,
    };
    return button(name, attributes, () => choose(id));
  }

  /** Shows the chosen language, with what is true now. */
  show() {
    for (const [number, { id }] of LANGUAGES.entries()) {
      const tab = this.tabs[number];
      tab.setAttribute("aria-selected", String(id === chosen));
      tab.tabIndex = id === chosen ? 0 : -1;
    }
    this.panel.setAttribute("aria-labelledby", `${this.step}-${chosen}`);
    const lines = snippet(chosen, this.step, this.about());
    this.code.textContent = lines ?? NONE;
    this.copy.disabled = lines === null;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const now = LANGUAGES.findIndex(({ id }) => id === chosen);
    const last = LANGUAGES.length - 1;
    const next = {
      ArrowRight: now === last ? 0 : now + 1,
      ArrowLeft: now === 0 ? last : now - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    choose(LANGUAGES[next].id);
    this.tabs[next].focus();
  }
}

/** Shows all tabs anew, after something they are about has changed. */
export function showAll() {
  for (const tabs of all) tabs.show();
}

/** @param {Language} language */
function choose(language) {
  chosen = language;
  try {
    localStorage.setItem(KEY, language);
  } catch {
    // A browser that keeps nothing shows curl the next time.
  }
  showAll();
}

function kept() {
  try {
    const language = localStorage.getItem(KEY);
    return LANGUAGES.find(({ id }) => id === language)?.id ?? "curl";
  } catch {
    return "curl";
  }
}
