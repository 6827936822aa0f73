// @ts-check
// What an answer means, and what an app does with it. Pure.

/** @typedef {import("./calls.js").Answer} Answer */
/**
 * `whose` error it is, what it `means` and what an app should `do`.
 *
 * @typedef {{whose: "ours" | "spotify" | "nobody", means: string, do: string}} Explanation
 */

const LATER = "Try again later, with growing pauses. Keep the refresh token.";
const USED_UP = "A code may be used up by then: if it is refused, log in again.";
const MEND = "Mend the request: asking again the same way is of no use.";
const LOG_IN =
  "Forget the tokens and have the person log in again. Never ask again with the same one.";

/** Ours by the beginning of their reason, where a status has several. */
const REASONS = /** @type {const} */ ([
  [
    "could not decrypt",
    "The refresh token was not sealed with SECRET_KEY or one of SECRET_KEYS_PREVIOUS, or it was changed on its way.",
    LOG_IN,
  ],
  [
    "Value of type",
    "A field that the request must have is missing, empty, or in JSON not a string.",
    MEND,
  ],
  [
    "the redirect URI must",
    "Neither the request nor the server’s REDIRECT_URI has a redirect URI.",
    "Send redirect_uri, the same that the login had; or set REDIRECT_URI, as the iOS SDK needs.",
  ],
  [
    "the redirect URI is not",
    "The server has ALLOWED_REDIRECT_URIS, and this redirect URI is not among them.",
    "Add it there, to the letter, if it is yours.",
  ],
  [
    "too many requests; see",
    "This client asks more often than the server’s RATE_LIMIT lets it.",
    "Wait for the seconds in Retry-After. Refresh when a token is about to expire, not before each call.",
  ],
  [
    "Spotify wants fewer",
    "Spotify answered 429 a moment ago; until its Retry-After is over the server asks it nothing of this kind.",
    "Wait for the seconds in Retry-After.",
  ],
  [
    "this server is stopping",
    "The server is stopping, and finishes what it has. Another replica, or the next process, takes this.",
    "Wait for the seconds in Retry-After.",
  ],
]);

/** Ours by status. @type {Record<number, [string, string]>} */
const STATUSES = {
  400: ["The request can’t be understood.", MEND],
  404: [
    "There is nothing at this path; or the flow is switched off, as CLIENT_CREDENTIALS_ENABLED=false does.",
    "Look at the URL in the app. It has to be one of those that /docs lists, and the flow has to be on.",
  ],
  405: ["The path takes another method, the one in Allow.", "Post: tokens never come by GET."],
  408: ["The request’s body did not arrive in time.", LATER],
  413: ["The body has 16 KiB or more. It was not read to its end.", MEND],
  415: [
    "The body’s media type holds no form.",
    "Send Content-Type: application/x-www-form-urlencoded, or JSON as application/json.",
  ],
  500: [
    "A defect of this server. Its log has the cause, under this X-Request-ID.",
    "Don’t ask again: tell the operator that id.",
  ],
  502: [
    "Spotify could not be reached, or what it answered can’t be handed on.",
    `${LATER} ${USED_UP}`,
  ],
  503: [
    "The server has too many calls to Spotify under way.",
    "Wait for the seconds in Retry-After.",
  ],
  504: ["Spotify did not answer within UPSTREAM_TIMEOUT.", `${LATER} ${USED_UP}`],
};

/** Spotify's by their code (RFC 6749, section 5.2). @type {Record<string, [string, string]>} */
const CODES = {
  invalid_grant: [
    "Spotify doesn’t take this code or refresh token: it is used up, too old, revoked, or belongs to another verifier or redirect URI.",
    LOG_IN,
  ],
  invalid_client: [
    "Spotify doesn’t know CLIENT_ID, or CLIENT_SECRET is wrong.",
    "Nothing an app can do: the operator copies both anew from Spotify’s dashboard; python -m service check --upstream tries them.",
  ],
  invalid_request: ["Spotify misses a field, or can’t read one.", MEND],
  invalid_scope: ["Spotify doesn’t know one of the scopes.", MEND],
  unauthorized_client: [
    "The app may not use this flow.",
    "Look at the app’s settings in Spotify’s dashboard.",
  ],
  server_error: ["Spotify failed.", LATER],
  temporarily_unavailable: ["Spotify is too busy.", LATER],
};

/**
 * Explains an answer that is no success.
 *
 * @param {Answer} answer
 * @returns {Explanation}
 */
export function explained(answer) {
  const { status, json } = answer;
  if (status === 0) {
    return {
      whose: "nobody",
      means: "This server can’t be reached: it has stopped, or the network is down.",
      do: LATER,
    };
  }
  if (json?.error === true) {
    const [means, todo] = ours(status, String(json.reason));
    return { whose: "ours", means, do: todo };
  }
  const [means, todo] = known(String(json?.error)) ?? spotifys(status);
  return { whose: "spotify", means, do: todo };
}

/**
 * @param {number} status
 * @param {string} reason
 * @returns {readonly [string, string]}
 */
function ours(status, reason) {
  const found = REASONS.find(([beginning]) => reason.startsWith(beginning));
  if (found) return [found[1], found[2]];
  return STATUSES[status] ?? ["The server refused.", MEND];
}

/**
 * What is told of a code of Spotify's, if it is one; "constructor" is none.
 *
 * @param {string} code
 */
function known(code) {
  return Object.hasOwn(CODES, code) ? CODES[code] : undefined;
}

/**
 * @param {number} status
 * @returns {readonly [string, string]}
 */
function spotifys(status) {
  if (status === 429)
    return [
      "Spotify wants fewer requests.",
      "Wait for the seconds in Retry-After, or for a growing time if there is none.",
    ];
  if (status >= 500)
    return [
      "Spotify failed, and what it sent is passed on as it is; it need not be JSON.",
      `Go by the status, not by the body. ${LATER}`,
    ];
  return ["Spotify refused.", MEND];
}

/**
 * Explains how a login ended without a code.
 *
 * @param {string} error RFC 6749, section 4.1.2.1
 */
export function refused(error) {
  if (error === "access_denied")
    return "The person said no (access_denied). An app takes that for an answer: it goes on without Spotify, and asks again only when the person wants to.";
  const [means] = known(error) ?? [];
  return `The login ended without a code: ${error || "no reason was given"}.${means ? ` ${means}` : ""}`;
}
