// @ts-check
// What an error response means and what an app should do about it. Pure functions.

/**
 * Whose error it is, what it `means`, and what an app has `todo`.
 *
 * @typedef {{source: string, means: string, todo: string}} Explanation
 */

const LOCAL = "Error from this server.";
const SPOTIFY = "Error from Spotify, passed on unchanged.";
const RETRY = "Retry later with increasing pauses. Keep the refresh token.";
const RETRY_CODE = `${RETRY} The code may be used up by then; if Spotify rejects it, start a new login.`;
const FIX = "Fix the request; retrying it unchanged won’t help.";
const WAIT = "Wait for the number of seconds in Retry-After.";
const LOG_IN = "Discard the refresh token and let the user log in again. Never retry with it.";

/** Local errors by the beginning of their reason. @type {[string, string, string][]} */
const REASONS = [
  [
    "could not decrypt",
    "The refresh token was not encrypted with SECRET_KEY or one of SECRET_KEYS_PREVIOUS, or it was altered.",
    LOG_IN,
  ],
  ["Value of type", "A required field is missing, empty or not a string.", FIX],
  [
    "the redirect URI must",
    "Neither the request nor the server’s REDIRECT_URI has a redirect URI.",
    "Send redirect_uri, the same as in the login; or set REDIRECT_URI, which the iOS SDK needs.",
  ],
  [
    "the redirect URI is not",
    "The server’s ALLOWED_REDIRECT_URIS does not list this redirect URI.",
    "Add it there exactly as sent.",
  ],
];

/** Local errors by status. @type {Record<number, [string, string]>} */
const STATUSES = {
  400: ["The server cannot read the request.", FIX],
  404: [
    "The server has no such path, or the flow is disabled (CLIENT_CREDENTIALS_ENABLED=false).",
    "Compare the URL with those in the API reference.",
  ],
  405: ["The path does not support this method.", "Use POST for tokens."],
  408: ["The body did not arrive in time.", RETRY],
  413: ["The body is 16 KiB or larger; the rest was not read.", FIX],
  415: [
    "The server does not support the body’s media type.",
    "Send application/x-www-form-urlencoded or application/json.",
  ],
  429: [
    "Too many requests: Spotify asked for a pause, or this client exceeded RATE_LIMIT.",
    WAIT,
  ],
  500: [
    "A bug in this server. Its log has the cause under the same X-Request-ID.",
    "Don’t retry; report the id to the operator.",
  ],
  502: ["Spotify cannot be reached, or its response is not usable.", RETRY_CODE],
  503: ["The server has too many requests in flight, or it is stopping.", WAIT],
  504: ["Spotify did not respond within UPSTREAM_TIMEOUT.", RETRY_CODE],
};

/** Spotify’s errors by their code (RFC 6749, section 5.2). @type {Record<string, [string, string]>} */
const CODES = {
  invalid_client: [
    "Spotify does not accept CLIENT_ID or CLIENT_SECRET.",
    "The app cannot fix this. The operator must copy both from Spotify’s dashboard again.",
  ],
  invalid_request: ["Spotify says that a field is missing or invalid.", FIX],
  invalid_scope: ["One of the scopes does not exist.", FIX],
  unauthorized_client: [
    "The app may not use this flow.",
    "Check the app’s settings in Spotify’s dashboard.",
  ],
  server_error: ["Spotify is failing.", RETRY],
  temporarily_unavailable: ["Spotify is too busy.", RETRY],
};

/**
 * Explains a response that is not a success.
 * @param {import("./http.js").Exchange} exchange
 * @returns {Explanation}
 */
export function explain({ call, status, json }) {
  if (status === 0) {
    return {
      source: "No response.",
      means: "The server is not running, the network is down, or the browser blocked the response.",
      todo: RETRY,
    };
  }
  if (call.token) return { source: "Error from the Web API.", ...webApi(status) };
  const [source, [means, todo]] =
    json?.error === true
      ? [LOCAL, local(status, String(json.reason))]
      : [SPOTIFY, spotify(status, String(json?.error), "refresh_token" in (call.fields ?? {}))];
  return { source, means, todo };
}

/** @param {number} status @param {string} reason */
function local(status, reason) {
  const [, means, todo] = REASONS.find(([beginning]) => reason.startsWith(beginning)) ?? [];
  return means && todo ? [means, todo] : (STATUSES[status] ?? ["The server rejected the request.", FIX]);
}

/**
 * @param {number} status
 * @param {string} code
 * @param {boolean} isRefresh
 */
function spotify(status, code, isRefresh) {
  if (code === "invalid_grant") {
    return isRefresh
      ? ["Spotify does not accept the refresh token: it is expired, revoked or replaced.", LOG_IN]
      : [
          "Spotify does not accept the code: it is used, expired, or belongs to another verifier or redirect URI.",
          "Start a new login. A code can be used once.",
        ];
  }
  if (Object.hasOwn(CODES, code)) return CODES[code];
  if (status === 429) return ["Spotify asks for fewer requests.", WAIT];
  if (status >= 500)
    return ["Spotify is failing. The body may not be JSON.", `Use only the status. ${RETRY}`];
  return ["Spotify rejected the request.", FIX];
}

/** @param {number} status */
function webApi(status) {
  if (status === 401)
    return { means: "The access token is expired or not valid.", todo: "Refresh it, then retry." };
  if (status === 403) {
    return {
      means: "A scope is missing, or the user is not on the app’s user list (development mode).",
      todo: "Log in with the scope, or add the user in Spotify’s dashboard.",
    };
  }
  return { means: "The Web API rejected the request.", todo: FIX };
}

/** Explains a login that ended without a code. @param {string} error RFC 6749, section 4.1.2.1 */
export function explainRefusal(error) {
  if (error === "access_denied")
    return "The user declined (access_denied). Continue without Spotify; start a new login only when the user wants to.";
  const means = Object.hasOwn(CODES, error) ? ` ${CODES[error][0]}` : "";
  return `The login ended without a code: ${error || "unknown error"}.${means}`;
}
