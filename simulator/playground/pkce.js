// @ts-check
// PKCE (RFC 7636) and the state parameter of RFC 6749.

/** Random bytes of a verifier and of a state: 43 characters of base64url. */
const BYTES = 32;

/** Encodes bytes as base64url without padding (RFC 7636, appendix A). @param {Uint8Array} bytes */
export function base64url(bytes) {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Returns a new random string, for a verifier or a state. */
export function randomString() {
  return base64url(crypto.getRandomValues(new Uint8Array(BYTES)));
}

/** Returns the S256 challenge of a verifier (RFC 7636, section 4.2). @param {string} verifier */
export async function challengeOf(verifier) {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  return base64url(new Uint8Array(hash));
}
