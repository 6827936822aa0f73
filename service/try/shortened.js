// @ts-check
// Long texts that nobody reads, such as tokens, as the eye wants them. Pure.

const KEPT = 10;

/**
 * Returns what is shown of a field: of a token never more than half, however short it is.
 *
 * @param {string} name
 * @param {string} text
 */
export function abridged(name, text) {
  if (!/_token$/i.test(name)) return shortened(text);
  const kept = Math.min(KEPT, Math.floor(text.length / 4));
  return text && `${text.slice(0, kept)}…${text.slice(text.length - kept)}`;
}

/**
 * Returns the first and the last characters of a text, if there are more than that.
 *
 * @param {string} text
 */
export function shortened(text) {
  return text.length <= 4 * KEPT ? text : `${text.slice(0, KEPT)}…${text.slice(-KEPT)}`;
}
