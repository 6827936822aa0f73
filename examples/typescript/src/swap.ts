/**
 * Log a person in to Spotify by way of spotify-api-server, and keep the access token fresh.
 *
 * For browsers and Node.js 20 or newer: `fetch`, Web Crypto and no package. The login is
 * PKCE (RFC 7636); the client secret stays on the server. Take the file as it is.
 *
 *     const login = await prepareLogin(app, redirectUri);    // then send the person to login.url
 *     const code = codeFrom(new URL(location.href), login);  // where the person comes back
 *     await session.keep(await swap.retrieve(code, login.verifier, login.redirectUri));
 *     const token = await session.accessToken();             // from now on
 *
 * What can go wrong, all of it a SwapError:
 *
 *     LoginNeeded     nobody is logged in, or what was kept is good no more: log in again
 *     LoginFailed     the person said no, or never came back
 *     TryLater        no token for `retryAfter` seconds
 *     ServerRefused   an error of the server's own: `status`, `reason`
 *     SpotifyRefused  an error of Spotify's, as the server passed it on: `status`, `error`
 */

/** Milliseconds before its end at which an access token is refreshed. */
export const MARGIN = 60_000;

const TIMEOUT = 30_000;
const DEFAULT_WAIT = 5; // seconds, where an answer that asks for patience names no time
const MOST_WAIT = 24 * 3600;

export abstract class SwapError extends Error {}

export class LoginNeeded extends SwapError {}

export class LoginFailed extends SwapError {}

export class TryLater extends SwapError {
  /** @param retryAfter seconds before which it is no use to ask again */
  constructor(
    why: string,
    readonly retryAfter: number,
  ) {
    super(`${why}; try again in ${retryAfter.toFixed()} s`);
  }
}

/** The server's own error: `error` in it is the boolean true, `reason` a fixed text. */
export class ServerRefused extends SwapError {
  constructor(
    readonly status: number,
    readonly reason: string,
  ) {
    super(`the server refused with ${status.toString()}: ${reason}`);
  }
}

/**
 * Spotify's error, passed on as it came.
 *
 * `error` is the string in it that RFC 6749 section 5.2 asks for, such as invalid_grant. Spotify
 * also answers an object there, or no JSON at all: then it is "unknown".
 */
export class SpotifyRefused extends SwapError {
  constructor(
    readonly status: number,
    readonly error: string,
  ) {
    super(`Spotify refused with ${status.toString()}: ${error}`);
  }
}

export interface Tokens {
  readonly accessToken: string;
  /** Sealed: only the server can open it. */
  readonly refreshToken: string;
  /** When the access token ends, in milliseconds since 1970. */
  readonly expiresAt: number;
  readonly scope: string;
}

/** Where tokens are kept between two starts of the app, such as a keychain or a file. */
export interface TokenStore {
  load(): Promise<Tokens | undefined>;
  save(tokens: Tokens): Promise<void>;
  clear(): Promise<void>;
}

/** The app as Spotify's dashboard knows it. */
export interface App {
  readonly clientId: string;
  /** Scopes, separated by spaces. */
  readonly scope?: string;
  /** Spotify's page unless given: a simulator's. */
  readonly authorizeUrl?: string;
}

/** One login under way: keep it, where nobody else can read it, until the person comes back. */
export interface Login {
  readonly url: string;
  readonly state: string;
  readonly verifier: string;
  readonly redirectUri: string;
}

/** Return a new login; the person agrees at its `url` (RFC 6749 section 4.1.1, RFC 7636 4.3). */
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

/** Return the authorization code from the address that the browser came back to. */
export function codeFrom(address: URL, login: Login): string {
  if (address.searchParams.get("state") !== login.state) {
    throw new LoginFailed("this is not the answer to this login");
  }
  const code = address.searchParams.get("code");
  if (code === null) {
    throw new LoginFailed(`Spotify says ${address.searchParams.get("error") ?? "nothing"}`);
  }
  return code;
}

/** The server's two PKCE endpoints. */
export class Swap {
  readonly #base: string;

  /** @param server its URL, such as https://swap.example.com */
  constructor(server: string) {
    this.#base = `${server.replace(/\/+$/, "")}/authorization-code-flow-pkce`;
  }

  /** Return tokens for a code. It is asked once: a code that may have been used is spent. */
  retrieve(code: string, verifier: string, redirectUri: string): Promise<Tokens> {
    const fields = { code, code_verifier: verifier, redirect_uri: redirectUri };
    return this.#post("retrieve-tokens", fields);
  }

  /** Return new tokens, whose refresh token takes the place of the one given. */
  refresh(refreshToken: string): Promise<Tokens> {
    return this.#post("refresh-tokens", { refresh_token: refreshToken });
  }

  async #post(path: string, fields: Record<string, string>): Promise<Tokens> {
    const askedAt = Date.now();
    const answer = await answered(`${this.#base}/${path}`, {
      method: "POST",
      body: new URLSearchParams(fields),
      cache: "no-store",
      credentials: "omit",
      redirect: "error", // a code or a token goes to the server and nowhere else
      signal: AbortSignal.timeout(TIMEOUT),
    });
    if (!answer.ok) {
      throw refusal(answer);
    }
    return tokens(answer.body, askedAt);
  }
}

/** One person's tokens, for all callers of one page or process. */
export class Session {
  readonly #swap: Swap;
  readonly #store: TokenStore;
  #tokens: Tokens | undefined;
  #refreshing: Promise<Tokens> | undefined; // one refresh for all who ask meanwhile
  #notBefore = 0;

  private constructor(swap: Swap, store: TokenStore, kept: Tokens | undefined) {
    this.#swap = swap;
    this.#store = store;
    this.#tokens = kept;
  }

  /** Return a session that goes on with what the store kept. */
  static async open(swap: Swap, store: TokenStore): Promise<Session> {
    return new Session(swap, store, await store.load());
  }

  /**
   * Return an access token that is good for a while, refreshed if need be.
   *
   * @param rejected one that Spotify's API answered with 401, although its time isn't up
   * @throws LoginNeeded, TryLater or another SwapError if there is none
   */
  async accessToken(rejected?: string): Promise<string> {
    const held = this.#tokens;
    if (held === undefined) {
      throw new LoginNeeded("nobody is logged in");
    }
    const isRejected = held.accessToken === rejected;
    if (!isRejected && Date.now() < held.expiresAt - MARGIN) {
      return held.accessToken;
    }
    try {
      this.#refreshing ??= this.#refresh(held).finally(() => (this.#refreshing = undefined));
      return (await this.#refreshing).accessToken;
    } catch (problem) {
      const isOfUse = !isRejected && Date.now() < held.expiresAt;
      if (problem instanceof TryLater && isOfUse) {
        return held.accessToken; // there is some of its time left
      }
      throw problem;
    }
  }

  /** Keep the tokens of a login, or of any answer of the server. */
  async keep(fresh: Tokens): Promise<void> {
    this.#tokens = fresh;
    this.#notBefore = 0;
    await this.#store.save(fresh);
  }

  /** Forget the tokens here; the person can revoke the app on Spotify's account page. */
  async logOut(): Promise<void> {
    this.#tokens = undefined;
    await this.#store.clear();
  }

  /**
   * Refresh once; while a Retry-After lasts, don't even ask. Who logs out or in meanwhile has the
   * last word.
   */
  async #refresh(held: Tokens): Promise<Tokens> {
    const left = this.#notBefore - performance.now();
    if (left > 0) {
      throw new TryLater("the server asked for patience", left / 1000);
    }
    try {
      const fresh = await this.#swap.refresh(held.refreshToken);
      if (this.#tokens === held) {
        await this.keep(fresh);
      }
      return fresh;
    } catch (problem) {
      if (problem instanceof TryLater) {
        this.#notBefore = performance.now() + problem.retryAfter * 1000;
      } else if (isFinal(problem)) {
        if (this.#tokens === held) {
          await this.logOut();
        }
        throw new LoginNeeded("the login is good no more", { cause: problem });
      }
      throw problem;
    }
  }
}

/** Tell whether a refresh token will never be good again. */
function isFinal(problem: unknown): boolean {
  return (
    (problem instanceof SpotifyRefused && problem.error === "invalid_grant") ||
    (problem instanceof ServerRefused && problem.reason === "could not decrypt refresh token")
  );
}

interface Answer {
  readonly ok: boolean;
  readonly status: number;
  readonly retryAfter: string | null;
  readonly body: Record<string, unknown>;
}

async function answered(url: string, request: RequestInit): Promise<Answer> {
  try {
    const response = await fetch(url, request);
    const body = parsed(await response.text());
    const retryAfter = response.headers.get("Retry-After");
    return { ok: response.ok, status: response.status, retryAfter, body };
  } catch {
    throw new TryLater("the server can't be reached", DEFAULT_WAIT);
  }
}

/** Return the object that a body is; an empty one if it is none. */
function parsed(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

/** Return what an answer that is no success means. */
function refusal({ status, retryAfter, body }: Answer): SwapError {
  const { error, reason } = body;
  if (status === 429 || status >= 500) {
    return new TryLater(`the server answered ${status.toString()}`, seconds(retryAfter));
  }
  if (error === true) {
    return new ServerRefused(status, typeof reason === "string" ? reason : "");
  }
  return new SpotifyRefused(status, typeof error === "string" ? error : "unknown");
}

/** Return what Retry-After says (RFC 9110 section 10.2.3); the server sends seconds. */
function seconds(retryAfter: string | null): number {
  const isNumber = retryAfter !== null && /^\d+$/.test(retryAfter);
  return isNumber ? Math.min(Number(retryAfter), MOST_WAIT) : DEFAULT_WAIT;
}

/** Return the tokens of a success; their time counts from the moment of the request. */
function tokens(body: Record<string, unknown>, askedAt: number): Tokens {
  const { access_token, refresh_token, expires_in, scope } = body;
  if (
    typeof access_token !== "string" ||
    typeof refresh_token !== "string" ||
    typeof expires_in !== "number"
  ) {
    throw new ServerRefused(200, "its answer has no tokens");
  }
  return {
    accessToken: access_token,
    refreshToken: refresh_token,
    expiresAt: askedAt + expires_in * 1000,
    scope: typeof scope === "string" ? scope : "",
  };
}

/** Return so many random bytes as text that a URL takes as it is. */
function random(bytes: number): string {
  return base64url(crypto.getRandomValues(new Uint8Array(bytes)));
}

function base64url(bytes: Uint8Array): string {
  const base64 = btoa(String.fromCharCode(...bytes));
  return base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
