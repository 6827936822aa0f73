// @ts-check
// What the server wrote into the page about its settings: Known in trying.py.

/**
 * @typedef {{version: string, clientId: string, authorizeUrl: string, isSpotify: boolean,
 *   hasRedirectUri: boolean, allowedRedirectUris: string[] | null, clientCredentials: boolean,
 *   upstreamTimeout: number, docs: boolean}} Known
 */

/**
 * Reads it.
 *
 * @param {HTMLElement} body
 * @returns {Known}
 */
export function read(body) {
  return JSON.parse(body.dataset.known ?? "");
}
