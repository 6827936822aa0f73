// @ts-check
// What a login without a secret is made of: RFC 7636, and RFC 6749's state.

/** Bytes of randomness in a verifier and a state: 43 characters of base64url. */
const BYTES = 32;

/**
 * Returns bytes as base64url without padding (RFC 7636, appendix A).
 *
 * @param {Uint8Array} bytes
 */
export function base64url(bytes) {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Returns a new text that nobody can guess: a verifier, or a state. */
export function newSecret() {
  return base64url(crypto.getRandomValues(new Uint8Array(BYTES)));
}

/**
 * Returns the challenge of a verifier by the method S256 (RFC 7636, section 4.2).
 *
 * @param {string} verifier
 */
export async function challengeOf(verifier) {
  return base64url(await sha256(verifier));
}

/**
 * Returns the SHA-256 of a text in hexadecimal digits.
 *
 * @param {string} text
 */
export async function digest(text) {
  return Array.from(await sha256(text), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} text */
async function sha256(text) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}
