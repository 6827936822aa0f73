// @ts-check
// Finding and creating elements. All text is set as text: nothing here parses HTML.

/**
 * Returns the element with this id, which must be of this type.
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
 * Creates an element; attributes that are false or undefined are left out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | boolean | undefined>} attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes, ...children) {
  const created = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false)
      created.setAttribute(name, value === true ? "" : value);
  }
  created.append(...children);
  return created;
}

/** Announces a text to screen readers (the page's role="status" element). @param {string} text */
export function say(text) {
  const status = find("status", HTMLElement);
  // Setting the same text again would not be announced.
  status.textContent = status.textContent === text ? `${text}\u00a0` : text;
}

/**
 * Creates a button that copies a text and confirms it.
 * @param {string} label what the button shows
 * @param {string} name its accessible name
 * @param {() => string} text
 */
export function copyButton(label, name, text) {
  const button = element("button", { type: "button", class: "small", "aria-label": name }, label);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
      say("Copied.");
    } catch {
      button.textContent = "Can’t copy";
      say("The browser does not allow copying. Select the text instead.");
    }
    setTimeout(() => {
      button.textContent = label;
    }, 2000);
  });
  return button;
}

/**
 * Creates a code block that scrolls sideways, with a caption and a copy button.
 * @param {string} caption
 * @param {string} copyName the accessible name of the copy button
 * @param {() => string} copied the text to copy, which may be longer than the text shown
 * @param {...(Node | string)} shown
 */
export function codeBlock(caption, copyName, copied, ...shown) {
  return element(
    "figure",
    { class: "code" },
    element(
      "figcaption",
      {},
      element("span", {}, caption),
      copyButton("Copy", copyName, copied),
    ),
    // Keyboard users can scroll only what can have the focus.
    element(
      "pre",
      { tabindex: "0", role: "group", "aria-label": caption },
      element("code", {}, ...shown),
    ),
  );
}
