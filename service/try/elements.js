// @ts-check
// Elements of the page, found and made. Texts go in as texts: nothing here reads HTML.

/**
 * Returns the element of the page with this id, which must be of this type.
 *
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function find(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`no ${type.name} #${id}`);
  return found;
}

/**
 * Returns a new element with attributes and children; false and undefined leave an attribute out.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | boolean | undefined>} attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false)
      made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/**
 * Returns a button that does something.
 *
 * @param {string} name
 * @param {Record<string, string | boolean | undefined>} attributes
 * @param {(button: HTMLButtonElement) => void} act
 */
export function button(name, attributes, act) {
  const made = element("button", { type: "button", ...attributes }, name);
  made.addEventListener("click", () => act(made));
  return made;
}

/**
 * Says something to screen readers, when they have said what they are at.
 *
 * @param {string} text
 */
export function say(text) {
  const said = find("said", HTMLElement);
  // The same text again is no change, and would not be said.
  said.textContent = said.textContent === text ? `${text}\u00a0` : text;
}

/**
 * Has a button copy a text, and tell that it did.
 *
 * @param {HTMLButtonElement} copying
 * @param {() => string} text
 */
export function copies(copying, text) {
  const name = copying.textContent ?? "";
  copying.addEventListener("click", async () => {
    const done = await copied(text());
    copying.textContent = done ? "Copied" : "Can’t copy";
    say(done ? "Copied." : "The browser does not let this page copy: select the text.");
    setTimeout(() => {
      copying.textContent = name;
    }, 2000);
  });
  return copying;
}

/** @param {string} text */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // no clipboard on plain http, or not allowed
  }
}
