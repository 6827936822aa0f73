// @ts-check
// How long a token is good for, as eyes and ears want to know it. Pure: seconds in, words out.

/** Seconds before the end at which it is said aloud; every second would be a nuisance. */
const SPOKEN = [300, 60, 0];

/** Seconds of a leap year: nobody waits for the end of what is good for longer. */
const LONGEST = 366 * 24 * 3600;

/**
 * Returns `expires_in` if it is a time to count down, else null.
 *
 * @param {unknown} expiresIn as it came, in seconds if it is any good
 * @returns {number | null}
 */
export function lifetimeOf(expiresIn) {
  const number = typeof expiresIn === "number" && Number.isInteger(expiresIn) ? expiresIn : -1;
  return number >= 0 && number <= LONGEST ? number : null;
}

/**
 * Returns the whole seconds from `now` to `end`, both in milliseconds; never less than 0.
 *
 * @param {number} end
 * @param {number} now
 */
export function secondsLeft(end, now) {
  return Math.max(0, Math.ceil((end - now) / 1000));
}

/**
 * Returns seconds as a clock shows them: 59:07, 1:00:00.
 *
 * @param {number} seconds
 */
export function clock(seconds) {
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(seconds % 60)}`;
}

/**
 * Returns seconds in words: 1 hour, 59 minutes, 7 seconds.
 *
 * @param {number} seconds
 */
export function inWords(seconds) {
  const [size, unit] =
    seconds >= 3600 ? [3600, "hour"] : seconds >= 60 ? [60, "minute"] : [1, "second"];
  const count = Math.round(seconds / Number(size));
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

/**
 * Returns what is to be said aloud when the time left falls from `before` to `after`, if anything.
 *
 * @param {number} before
 * @param {number} after
 */
export function announcement(before, after) {
  const passed = SPOKEN.findLast((mark) => before > mark && after <= mark);
  if (passed === undefined) return null;
  return passed
    ? `The access token expires in ${inWords(after)}.`
    : "The access token has expired. Refresh it.";
}
