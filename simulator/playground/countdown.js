// @ts-check
// The lifetime of an access token, for eyes and for screen readers. Pure functions.

/** Remaining seconds at which the time is announced; announcing every second would be a nuisance. */
const ANNOUNCED = [300, 60, 0];

/** Seconds of a leap year, the longest lifetime that is counted down. */
const LONGEST = 366 * 24 * 3600;

/**
 * Returns `expires_in` if it is a lifetime in whole seconds, else null.
 * @param {unknown} expiresIn
 * @returns {number | null}
 */
export function lifetimeOf(expiresIn) {
  if (typeof expiresIn !== "number" || !Number.isInteger(expiresIn)) return null;
  return expiresIn >= 0 && expiresIn <= LONGEST ? expiresIn : null;
}

/**
 * Returns the whole seconds from `now` to `end`, both in milliseconds; never less than 0.
 * @param {number} end
 * @param {number} now
 */
export function secondsLeft(end, now) {
  return Math.max(0, Math.ceil((end - now) / 1000));
}

/** Formats seconds as a clock: 59:07, 1:00:00. @param {number} seconds */
export function clock(seconds) {
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(seconds % 60)}`;
}

/** Formats seconds in words: 1 hour, 59 minutes, 7 seconds. @param {number} seconds */
export function inWords(seconds) {
  const [size, unit] =
    seconds >= 3600 ? [3600, "hour"] : seconds >= 60 ? [60, "minute"] : [1, "second"];
  const count = Math.round(seconds / Number(size));
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

/**
 * Returns the announcement for a time left that falls from `before` to `after`, or null.
 * @param {number} before
 * @param {number} after
 */
export function announcement(before, after) {
  const passed = ANNOUNCED.findLast((mark) => before > mark && after <= mark);
  if (passed === undefined) return null;
  return passed
    ? `The access token expires in ${inWords(after)}.`
    : "The access token has expired. Refresh it.";
}
