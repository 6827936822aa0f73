/**
 * Log a user in to Spotify through spotify-api-server, and keep the access token fresh.
 *
 * For browsers and Node.js 20 or newer, without packages: it uses `fetch` and Web Crypto. The login
 * uses PKCE (RFC 7636); the client secret stays on the server. Copy the file into your app.
 *
 *     const login = await prepareLogin(app, redirectUri);    // send the user to login.url
 *     const code = codeFrom(new URL(location.href), login);  // at the redirect URI
 *     await session.keep(await swap.retrieve(code, login.verifier, login.redirectUri));
 *     const token = await session.accessToken();             // before each call of the Web API
 *
 * Every error is a SwapError:
 *
 *     LoginRequiredError  no user is logged in, or the login is no longer valid
 *     LoginFailedError    the user declined, or did not finish the login
 *     RetryLaterError     no token is available for `retryAfter` seconds
 *     ServerError         the server rejected the request: `status`, `reason`
 *     SpotifyError        Spotify rejected the request: `status`, `error`
 */

/** An access token is refreshed this many milliseconds before it expires. */
export const MARGIN = 60_000;

const TIMEOUT = 30_000;
const DEFAULT_WAIT = 5; // seconds, if the response has no Retry-After
const MAX_WAIT = 24 * 3600;

export abstract class SwapError extends Error {}

export class LoginRequiredError extends SwapError {
  override readonly name = "LoginRequiredError";
}

export class LoginFailedError extends SwapError {
  override readonly name = "LoginFailedError";
}

/** No token is available now. If the server cannot be reached, `cause` is the network error. */
export class RetryLaterError extends SwapError {
  override readonly name = "RetryLaterError";

  /** @param retryAfter seconds to wait before the next request */
  constructor(
    reason: string,
    readonly retryAfter: number,
    options?: ErrorOptions,
  ) {
    super(`${reason}; retry in ${retryAfter.toFixed()} s`, options);
  }
}

/** The server rejected the request: `{"error": true, "reason": "…"}`. */
export class ServerError extends SwapError {
  override readonly name = "ServerError";

  constructor(
    readonly status: number,
    readonly reason: string,
  ) {
    super(`the server responded with ${status.toString()}: ${reason}`);
  }
}

/**
 * Spotify rejected the request; the server passed its response on.
 *
 * `error` is the code of RFC 6749, section 5.2, such as invalid_grant, or "unknown" if the response
 * has none: Spotify also sends an object there, or a body that is not JSON.
 */
export class SpotifyError extends SwapError {
  override readonly name = "SpotifyError";

  constructor(
    readonly status: number,
    readonly error: string,
  ) {
    super(`Spotify responded with ${status.toString()}: ${error}`);
  }
}

export interface Tokens {
  readonly accessToken: string;
  /** Encrypted: only the server can decrypt it. */
  readonly refreshToken: string;
  /** When the access token expires, in milliseconds since 1970. */
  readonly expiresAt: number;
  readonly scope: string;
}

/** Stores the tokens between two runs of the app, for example in a keychain or a file. */
export interface TokenStore {
  load(): Promise<Tokens | undefined>;
  save(tokens: Tokens): Promise<void>;
  clear(): Promise<void>;
}

/** An app in Spotify's dashboard. */
export interface App {
  readonly clientId: string;
  /** Scopes, separated by spaces. */
  readonly scope?: string;
  /** The login page, if it is not Spotify's. */
  readonly authorizeUrl?: string;
}

/** A login that is not finished. Store it, hidden from others, until the user is back. */
export interface Login {
  readonly url: string;
  readonly state: string;
  readonly verifier: string;
  readonly redirectUri: string;
}

/** Prepare a login: send the user to its `url` (RFC 6749, section 4.1.1; RFC 7636, section 4.3). */
export async function prepareLogin(app: App, redirectUri: string): Promise<Login> {
  const [state, verifier] = [random(32), random(64)];
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const url = new URL(app.authorizeUrl ?? "https://accounts.spotify.com/authorize");
  url.search = new URLSearchParams({
    client_id: app.clientId,
    response_type: "code",
    redirect_uri: redirectUri,
    state,
    scope: app.scope ?? "",
    code_challenge_method: "S256",
    code_challenge: base64url(new Uint8Array(digest)),
  }).toString();
  return { url: url.href, state, verifier, redirectUri };
}

/** Return the authorization code in the URL that the user was redirected to. */
export function codeFrom(address: URL, login: Login): string {
  if (address.searchParams.get("state") !== login.state) {
    throw new LoginFailedError("the state belongs to another login");
  }
  const code = address.searchParams.get("code");
  if (code === null) {
    throw new LoginFailedError(
      `Spotify responded with ${address.searchParams.get("error") ?? "no code"}`,
    );
  }
  return code;
}

/** The server's PKCE endpoints. */
export class Swap {
  readonly #base: string;

  /**
   * @param server its URL, such as https://swap.example.com
   * @throws TypeError if that is not an http or https URL
   */
  constructor(server: string) {
    if (!/^https?:\/\/[^/?#]/.test(server)) {
      throw new TypeError(`"${server}" is not a URL such as https://swap.example.com`);
    }
    this.#base = `${server.replace(/\/+$/, "")}/authorization-code-flow-pkce`;
  }

  /** Exchange a code for tokens. There is no retry: a code can be used once. */
  retrieve(code: string, verifier: string, redirectUri: string): Promise<Tokens> {
    const fields = { code, code_verifier: verifier, redirect_uri: redirectUri };
    return this.#post("retrieve-tokens", fields);
  }

  /** Return new tokens. Their refresh token replaces the one passed in. */
  refresh(refreshToken: string): Promise<Tokens> {
    return this.#post("refresh-tokens", { refresh_token: refreshToken });
  }

  async #post(path: string, fields: Record<string, string>): Promise<Tokens> {
    const sentAt = Date.now();
    const response = await send(`${this.#base}/${path}`, {
      method: "POST",
      body: new URLSearchParams(fields),
      cache: "no-store",
      credentials: "omit",
      redirect: "error", // codes and tokens must not reach another server
      signal: AbortSignal.timeout(TIMEOUT),
    });
    if (!response.ok) {
      throw errorOf(response);
    }
    return tokensOf(response.fields, sentAt);
  }
}

/** The tokens of one user, shared by all callers in a page or process. */
export class Session {
  readonly #swap: Swap;
  readonly #store: TokenStore;
  #tokens: Tokens | undefined;
  #refreshing: Promise<Tokens> | undefined; // shared by concurrent callers
  #notBefore = 0;

  private constructor(swap: Swap, store: TokenStore, stored: Tokens | undefined) {
    this.#swap = swap;
    this.#store = store;
    this.#tokens = stored;
  }

  /** Return a session with the stored tokens. */
  static async open(swap: Swap, store: TokenStore): Promise<Session> {
    return new Session(swap, store, await store.load());
  }

  /**
   * Return a valid access token, refreshed if necessary.
   *
   * @param rejected a token to which the Web API responded with 401: it is not used again
   * @throws LoginRequiredError, RetryLaterError or another SwapError
   */
  async accessToken(rejected?: string): Promise<string> {
    const held = this.#tokens;
    if (held === undefined) {
      throw new LoginRequiredError("not logged in");
    }
    const isRejected = held.accessToken === rejected;
    if (!isRejected && Date.now() < held.expiresAt - MARGIN) {
      return held.accessToken;
    }
    try {
      this.#refreshing ??= this.#refresh(held).finally(() => (this.#refreshing = undefined));
      return (await this.#refreshing).accessToken;
    } catch (error) {
      const isUsable = !isRejected && Date.now() < held.expiresAt;
      if (error instanceof RetryLaterError && isUsable) {
        return held.accessToken; // not expired yet
      }
      throw error;
    }
  }

  /** Use and store the tokens of a response. */
  async keep(fresh: Tokens): Promise<void> {
    this.#tokens = fresh;
    this.#notBefore = 0;
    await this.#store.save(fresh);
  }

  /** Delete the tokens. Users revoke the app's access on their Spotify account page. */
  async logOut(): Promise<void> {
    this.#tokens = undefined;
    await this.#store.clear();
  }

  /**
   * Refresh the tokens, unless an earlier response asked for a pause (Retry-After).
   *
   * A login or a logout during the refresh takes precedence over its result.
   */
  async #refresh(held: Tokens): Promise<Tokens> {
    const left = this.#notBefore - performance.now();
    if (left > 0) {
      throw new RetryLaterError("the server asked for a pause", left / 1000);
    }
    try {
      const fresh = await this.#swap.refresh(held.refreshToken);
      if (this.#tokens === held) {
        await this.keep(fresh);
      }
      return fresh;
    } catch (error) {
      if (error instanceof RetryLaterError) {
        this.#notBefore = performance.now() + error.retryAfter * 1000;
      } else if (needsLogin(error)) {
        if (this.#tokens === held) {
          await this.logOut();
        }
        throw new LoginRequiredError("the login is no longer valid", { cause: error });
      }
      throw error;
    }
  }
}

/** Return whether the refresh token is permanently invalid. */
function needsLogin(error: unknown): boolean {
  return (
    (error instanceof SpotifyError && error.error === "invalid_grant") ||
    (error instanceof ServerError && error.reason === "could not decrypt refresh token")
  );
}

interface ServerResponse {
  readonly ok: boolean;
  readonly status: number;
  readonly retryAfter: string | null;
  readonly fields: Record<string, unknown>;
}

async function send(url: string, request: RequestInit): Promise<ServerResponse> {
  try {
    const response = await fetch(url, request);
    const fields = parsed(await response.text());
    const retryAfter = response.headers.get("Retry-After");
    return { ok: response.ok, status: response.status, retryAfter, fields };
  } catch (error) {
    const reason = `cannot reach the server (${messageOf(error)})`;
    throw new RetryLaterError(reason, DEFAULT_WAIT, { cause: error });
  }
}

/** Return the message of an error, or of its cause: Node.js wraps network errors. */
function messageOf(error: unknown): string {
  const { cause, message } = error as Error;
  return cause instanceof Error && cause.message !== "" ? cause.message : message;
}

/** Parse a JSON object; return an empty one if the body is not one. */
function parsed(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

/** Return the error for a response that is not a success. */
function errorOf({ status, retryAfter, fields }: ServerResponse): SwapError {
  const { error, reason } = fields;
  if (status === 429 || status >= 500) {
    return new RetryLaterError(`the server responded with ${status.toString()}`, wait(retryAfter));
  }
  if (error === true) {
    return new ServerError(status, typeof reason === "string" ? reason : "");
  }
  return new SpotifyError(status, typeof error === "string" ? error : "unknown");
}

/** Return the seconds in Retry-After (RFC 9110, section 10.2.3); the server sends no dates. */
function wait(retryAfter: string | null): number {
  const isNumber = retryAfter !== null && /^\d+$/.test(retryAfter);
  return isNumber ? Math.min(Number(retryAfter), MAX_WAIT) : DEFAULT_WAIT;
}

/** Parse a success. The lifetime counts from the time of the request. */
function tokensOf(fields: Record<string, unknown>, sentAt: number): Tokens {
  const { access_token, refresh_token, expires_in, scope } = fields;
  if (
    typeof access_token !== "string" ||
    typeof refresh_token !== "string" ||
    typeof expires_in !== "number"
  ) {
    throw new ServerError(200, "the response has no tokens");
  }
  return {
    accessToken: access_token,
    refreshToken: refresh_token,
    expiresAt: sentAt + expires_in * 1000,
    scope: typeof scope === "string" ? scope : "",
  };
}

/** Return random bytes in base64url. */
function random(bytes: number): string {
  return base64url(crypto.getRandomValues(new Uint8Array(bytes)));
}

function base64url(bytes: Uint8Array): string {
  const base64 = btoa(String.fromCharCode(...bytes));
  return base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
