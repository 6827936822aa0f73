// @ts-check
// Long texts that nobody reads, such as tokens, as the eye wants them. Pure.

const KEPT = 10;

/**
 * Returns the first and the last characters of a text, if there are more than that.
 *
 * @param {string} text
 */
export function shortened(text) {
  return text.length <= 4 * KEPT ? text : `${text.slice(0, KEPT)}…${text.slice(-KEPT)}`;
}
