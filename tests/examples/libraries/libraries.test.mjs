// OAuth client libraries for JavaScript, unmodified, pointed at SERVICE by their own options.
//
// Each entry of LIBRARIES shows how a library is configured. `login` returns an access and a refresh
// token, `refresh` takes the latter and returns both. `lost` is what the library reports for a refresh
// token that the service cannot decrypt, `down` what it reports while Spotify answers 503 as text.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Auth, skipCSRFCheck } from "@auth/core";
import AuthSpotify from "@auth/core/providers/spotify";
import * as arctic from "arctic";
import * as expo from "expo-auth-session/build/TokenRequest.js";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";
import { Authenticator } from "passport";
import refreshing from "passport-oauth2-refresh";
import { Strategy as PassportSpotify } from "passport-spotify";
import { AuthorizationCode, ClientCredentials } from "simple-oauth2";

const { SERVICE, SIMULATOR, LOST_TOKEN } = process.env;
const ID = "simulator-client-id";
const REDIRECT = "http://127.0.0.1:8888/callback";
const TOKEN_URL = `${SERVICE}/api/token`;
const AUTHORIZE_URL = `${SERVICE}/authorize`;

/** Agree on Spotify's page, to which the service redirects; return where the browser is sent. */
async function agree(url) {
  const redirect = await fetch(url, { redirect: "manual" });
  const consent = await fetch(redirect.headers.get("location"), {
    method: "POST",
    body: new URLSearchParams({ decision: "allow" }),
    redirect: "manual",
  });
  return new URL(consent.headers.get("location"));
}

async function admin(path, body) {
  const response = await fetch(`${SIMULATOR}/admin/${path}`, { method: "POST", body });
  assert.ok(response.ok);
}

const LIBRARIES = {
  "openid-client": async () => {
    const config = await openid.discovery(new URL(SERVICE), ID, undefined, openid.None(), {
      algorithm: "oauth2",
      execute: [openid.allowInsecureRequests], // http on loopback
    });
    return {
      login: async () => {
        const pkceCodeVerifier = openid.randomPKCECodeVerifier();
        const url = openid.buildAuthorizationUrl(config, {
          redirect_uri: REDIRECT,
          code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
          code_challenge_method: "S256",
        });
        return openid.authorizationCodeGrant(config, await agree(url), { pkceCodeVerifier });
      },
      refresh: (token) => openid.refreshTokenGrant(config, token),
      clientCredentials: () => openid.clientCredentialsGrant(config),
      lost: { error: "invalid_grant", status: 400 },
      down: ({ code, cause }) =>
        code === "OAUTH_RESPONSE_IS_NOT_CONFORM" && cause.status === 503,
    };
  },

  oauth4webapi: async () => {
    const insecure = { [oauth.allowInsecureRequests]: true }; // http on loopback
    const issuer = new URL(SERVICE);
    const server = await oauth.processDiscoveryResponse(
      issuer,
      await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...insecure }),
    );
    const client = { client_id: ID };
    const about = [server, client, oauth.None()];
    return {
      login: async () => {
        const verifier = oauth.generateRandomCodeVerifier();
        const state = oauth.generateRandomState();
        const url = new URL(server.authorization_endpoint);
        url.search = new URLSearchParams({
          client_id: ID,
          response_type: "code",
          redirect_uri: REDIRECT,
          state,
          code_challenge_method: "S256",
          code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
        });
        const code = oauth.validateAuthResponse(server, client, await agree(url), state);
        return oauth.processAuthorizationCodeResponse(
          server,
          client,
          await oauth.authorizationCodeGrantRequest(...about, code, REDIRECT, verifier, insecure),
        );
      },
      refresh: async (token) =>
        oauth.processRefreshTokenResponse(
          server,
          client,
          await oauth.refreshTokenGrantRequest(...about, token, insecure),
        ),
      clientCredentials: async () =>
        oauth.processClientCredentialsResponse(
          server,
          client,
          await oauth.clientCredentialsGrantRequest(...about, {}, insecure),
        ),
      lost: { error: "invalid_grant", status: 400 },
      down: ({ code, cause }) =>
        code === "OAUTH_RESPONSE_IS_NOT_CONFORM" && cause.status === 503,
    };
  },

  arctic: async () => {
    const client = new arctic.OAuth2Client(ID, null, REDIRECT);
    const both = (tokens) => ({
      access_token: tokens.accessToken(),
      refresh_token: tokens.refreshToken(),
    });
    return {
      login: async () => {
        const verifier = arctic.generateCodeVerifier();
        const url = client.createAuthorizationURLWithPKCE(
          ...[AUTHORIZE_URL, arctic.generateState(), arctic.CodeChallengeMethod.S256, verifier, []],
        );
        const code = (await agree(url)).searchParams.get("code");
        return both(await client.validateAuthorizationCode(TOKEN_URL, code, verifier));
      },
      refresh: async (token) => both(await client.refreshAccessToken(TOKEN_URL, token, [])),
      lost: { constructor: arctic.OAuth2RequestError, code: "invalid_grant" },
      down: { constructor: arctic.UnexpectedResponseError, status: 503 },
    };
  },

  "simple-oauth2": async () => {
    const client = { id: ID, secret: "unused" };
    const auth = { tokenHost: SERVICE, tokenPath: "/api/token" };
    const codes = new AuthorizationCode({ client, auth: { ...auth, authorizePath: "/authorize" } });
    return {
      login: async () => {
        const url = codes.authorizeURL({ redirect_uri: REDIRECT, state: "random" });
        const code = (await agree(url)).searchParams.get("code");
        return (await codes.getToken({ code, redirect_uri: REDIRECT })).token;
      },
      refresh: async (token) =>
        (await codes.createToken({ refresh_token: token }).refresh()).token,
      clientCredentials: async () => (await new ClientCredentials({ client, auth }).getToken({})).token,
      lost: (problem) => problem.data.payload.error === "invalid_grant",
      down: (problem) =>
        problem.output.statusCode === 503 &&
        problem.data.payload.error === "temporarily_unavailable",
    };
  },

  "passport-spotify": async () => {
    const passport = new Authenticator();
    const strategy = new PassportSpotify(
      {
        clientID: ID,
        clientSecret: "unused",
        callbackURL: REDIRECT,
        authorizationURL: AUTHORIZE_URL,
        tokenURL: TOKEN_URL,
        userProfileURL: `${SIMULATOR}/v1/me`,
      },
      (access_token, refresh_token, expires_in, profile, done) =>
        done(null, { id: profile.id, access_token, refresh_token }),
    );
    passport.use(strategy);
    refreshing.use(strategy);
    /** Run passport's middleware; return the user that it sets, or the URL of its redirect. */
    const middleware = (query) =>
      new Promise((resolve, reject) => {
        const request = { query, headers: {}, url: "/", method: "GET" };
        const response = {
          setHeader: (_, url) => resolve(url),
          end: () => undefined,
        };
        const next = (problem) => (problem ? reject(problem) : resolve(request.user));
        passport.authenticate("spotify", { session: false })(request, response, next);
      });
    return {
      login: async () => {
        const url = await middleware({});
        const user = await middleware(Object.fromEntries((await agree(url)).searchParams));
        assert.equal(user.id, "alice");
        return user;
      },
      refresh: (token) =>
        new Promise((resolve, reject) =>
          refreshing.requestNewAccessToken("spotify", token, (problem, access, refresh) =>
            problem ? reject(problem) : resolve({ access_token: access, refresh_token: refresh }),
          ),
        ),
      lost: ({ statusCode, data }) =>
        statusCode === 400 && JSON.parse(data).error === "invalid_grant",
      down: ({ statusCode, data }) =>
        statusCode === 503 && JSON.parse(data).error === "temporarily_unavailable",
    };
  },

  "expo-auth-session": async () => {
    const discovery = { tokenEndpoint: TOKEN_URL };
    const both = ({ accessToken, refreshToken }) => ({
      access_token: accessToken,
      refresh_token: refreshToken,
    });
    return {
      login: async () => {
        // AuthRequest opens a phone's browser. It sends the verifier like this.
        const verifier = oauth.generateRandomCodeVerifier();
        const query = new URLSearchParams({
          client_id: ID,
          response_type: "code",
          redirect_uri: REDIRECT,
          code_challenge_method: "S256",
          code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
        });
        const code = (await agree(`${AUTHORIZE_URL}?${query}`)).searchParams.get("code");
        const extraParams = { code_verifier: verifier };
        const request = { clientId: ID, code, redirectUri: REDIRECT, extraParams };
        return both(await expo.exchangeCodeAsync(request, discovery));
      },
      refresh: async (token) =>
        both(await expo.refreshAsync({ clientId: ID, refreshToken: token }, discovery)),
      lost: { code: "invalid_grant" },
      down: { code: "temporarily_unavailable" },
    };
  },

  "@auth/core": async () => {
    let tokens;
    const config = {
      basePath: "/auth",
      secret: "any",
      trustHost: true,
      skipCSRFCheck,
      providers: [
        AuthSpotify({
          clientId: ID,
          clientSecret: "unused",
          authorization: `${AUTHORIZE_URL}?scope=user-read-email`,
          token: TOKEN_URL,
          userinfo: `${SIMULATOR}/v1/me`,
        }),
      ],
      callbacks: { jwt: ({ token, account }) => ((tokens = account ?? tokens), token) },
      logger: { error: () => undefined },
    };
    const site = "http://127.0.0.1:8888/auth";
    return {
      login: async () => {
        const signIn = new Request(`${site}/signin/spotify`, {
          method: "POST",
          body: new URLSearchParams(),
        });
        const redirect = await Auth(signIn, config);
        const cookies = redirect.headers.getSetCookie().map((cookie) => cookie.split(";")[0]);
        const callback = await agree(redirect.headers.get("location"));
        await Auth(new Request(callback, { headers: { Cookie: cookies.join("; ") } }), config);
        return tokens;
      },
    };
  },
};

beforeEach(() => admin("reset"));

for (const [name, configure] of Object.entries(LIBRARIES)) {
  const library = await configure();

  test(`${name}: login`, async () => {
    const tokens = await library.login();
    assert.match(tokens.access_token, /^BQ/);
    assert.ok(tokens.refresh_token);
  });

  if (library.refresh) {
    test(`${name}: refresh twice`, async () => {
      const first = await library.login();
      const second = await library.refresh(first.refresh_token);
      const third = await library.refresh(second.refresh_token);
      const tokens = [first, second, third].map(({ access_token }) => access_token);
      assert.equal(new Set(tokens).size, 3);
    });

    test(`${name}: lost key`, () => assert.rejects(library.refresh(LOST_TOKEN), library.lost));

    test(`${name}: Spotify down`, async () => {
      const { refresh_token } = await library.login();
      const fault = { kind: "answer", status: 503, body: "no healthy upstream" };
      await admin("faults", JSON.stringify(fault));
      await assert.rejects(library.refresh(refresh_token), library.down);
      assert.match((await library.refresh(refresh_token)).access_token, /^BQ/);
    });
  }

  if (library.clientCredentials) {
    test(`${name}: client credentials`, async () => {
      assert.match((await library.clientCredentials()).access_token, /^BQ/);
    });
  }
}
