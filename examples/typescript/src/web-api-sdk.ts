/**
 * `@spotify/web-api-ts-sdk` with tokens from the server:
 *
 *     const sdk = new SpotifyApi(new SwapStrategy(session));
 *     const me = await sdk.currentUser.profile();
 *
 * The SDK (1.2.0) has no option for the token URL: its own strategies have accounts.spotify.com in
 * their code. This takes their place.
 */

import type { AccessToken, IAuthStrategy } from "@spotify/web-api-ts-sdk";

import type { Session } from "./swap.js";

export class SwapStrategy implements IAuthStrategy {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  /** The SDK's cache isn't used: the session's store keeps the tokens. */
  setConfiguration(): void {
    // Nothing to configure.
  }

  async getOrCreateAccessToken(): Promise<AccessToken> {
    return held(await this.#session.accessToken());
  }

  async getAccessToken(): Promise<AccessToken | null> {
    return this.getOrCreateAccessToken().catch(() => null);
  }

  removeAccessToken(): void {
    void this.#session.logOut();
  }
}

/** What the SDK reads of a token is its text: it asks for one anew before every request. */
function held(accessToken: string): AccessToken {
  return { access_token: accessToken, token_type: "Bearer", expires_in: 0, refresh_token: "" };
}
