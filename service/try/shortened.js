// @ts-check
// Long texts that nobody reads, such as tokens, as the eye wants them. Pure.

const KEPT = 10;

/**
 * Returns the first and the last characters of a secret: of a short one, half at most.
 *
 * @param {string} text
 */
export function concealed(text) {
  const kept = Math.min(KEPT, Math.floor(text.length / 4));
  return `${text.slice(0, kept)}…${text.slice(text.length - kept)}`;
}

/**
 * Returns the first and the last characters of a text, if there are more than that.
 *
 * @param {string} text
 */
export function shortened(text) {
  return text.length <= 4 * KEPT ? text : `${text.slice(0, KEPT)}…${text.slice(-KEPT)}`;
}
