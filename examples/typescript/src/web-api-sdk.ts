/**
 * `@spotify/web-api-ts-sdk` with tokens from the server:
 *
 *     const sdk = new SpotifyApi(new SwapStrategy(session));
 *     const me = await sdk.currentUser.profile();
 *
 * The SDK (1.2.0) has no option for the token URL: accounts.spotify.com is fixed in its strategies.
 * This strategy replaces them.
 */

import type { AccessToken, IAuthStrategy } from "@spotify/web-api-ts-sdk";

import type { Session } from "./swap.js";

export class SwapStrategy implements IAuthStrategy {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Ignores the SDK's cache: the session stores the tokens. */
  setConfiguration(): void {
    // There is nothing to configure.
  }

  async getOrCreateAccessToken(): Promise<AccessToken> {
    return wrapped(await this.#session.accessToken());
  }

  async getAccessToken(): Promise<AccessToken | null> {
    return this.getOrCreateAccessToken().catch(() => null);
  }

  removeAccessToken(): void {
    void this.#session.logOut();
  }
}

/** The SDK reads only `access_token`: it requests a token before each call. */
function wrapped(accessToken: string): AccessToken {
  return { access_token: accessToken, token_type: "Bearer", expires_in: 0, refresh_token: "" };
}
