// Client libraries of others against a SERVICE and a SIMULATOR that run already.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import * as oauth from "oauth4webapi";
import { AuthorizationCode, ClientCredentials } from "simple-oauth2";

const { SERVICE, SIMULATOR } = process.env;
const ID = "simulator-client-id";
const REDIRECT = "http://127.0.0.1:8888/callback";

/** The person agrees; return where the browser is sent. */
async function agree(url) {
  const answer = await fetch(url, {
    method: "POST",
    body: new URLSearchParams({ decision: "allow" }),
    redirect: "manual",
  });
  return new URL(answer.headers.get("location"));
}

async function grants() {
  const entries = await (await fetch(`${SIMULATOR}/admin/requests`)).json();
  return entries.map(({ form }) => Object.fromEntries(form).grant_type);
}

beforeEach(async () => {
  await fetch(`${SIMULATOR}/admin/reset`, { method: "POST" });
});

test("oauth4webapi logs in with PKCE and refreshes: server metadata for each step", async () => {
  const step = (name) => ({
    issuer: "https://accounts.spotify.com",
    token_endpoint: `${SERVICE}/authorization-code-flow-pkce/${name}-tokens`,
  });
  const client = { client_id: ID };
  const insecure = { [oauth.allowInsecureRequests]: true }; // loopback
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const query = new URLSearchParams({
    client_id: ID,
    response_type: "code",
    redirect_uri: REDIRECT,
    state,
    code_challenge_method: "S256",
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  });
  const came = await agree(`${SIMULATOR}/authorize?${query}`);
  const code = oauth.validateAuthResponse(step("retrieve"), client, came, state);
  const first = await oauth.processAuthorizationCodeResponse(
    step("retrieve"),
    client,
    await oauth.authorizationCodeGrantRequest(
      ...[step("retrieve"), client, oauth.None(), code, REDIRECT, verifier, insecure],
    ),
  );
  const refreshed = async (token) =>
    oauth.processRefreshTokenResponse(
      step("refresh"),
      client,
      await oauth.refreshTokenGrantRequest(step("refresh"), client, oauth.None(), token, insecure),
    );
  const second = await refreshed(first.refresh_token);
  const third = await refreshed(second.refresh_token);
  assert.equal(new Set([first, second, third].map((answer) => answer.access_token)).size, 3);
  await assert.rejects(refreshed(first.refresh_token), { error: "invalid_grant", status: 400 });
  const asked = await grants();
  assert.deepEqual(asked.slice(0, 3), ["authorization_code", "refresh_token", "refresh_token"]);
});

test("simple-oauth2 logs in and refreshes: tokenPath and refreshPath", async () => {
  const flow = "/authorization-code-flow";
  const client = new AuthorizationCode({
    client: { id: ID, secret: "unused" },
    auth: {
      tokenHost: SERVICE,
      tokenPath: `${flow}/retrieve-tokens`,
      refreshPath: `${flow}/refresh-tokens`,
      authorizeHost: SIMULATOR,
      authorizePath: "/authorize",
    },
  });
  const url = client.authorizeURL({ redirect_uri: REDIRECT, state: "random" });
  const code = (await agree(url)).searchParams.get("code");
  const first = await client.getToken({ code, redirect_uri: REDIRECT });
  const second = await first.refresh();
  assert.notEqual(second.token.access_token, first.token.access_token);
  assert.equal(second.token.refresh_token, undefined); // the first one is good still: keep it
  assert.deepEqual(await grants(), ["authorization_code", "refresh_token"]);
});

test("simple-oauth2 gets the app's own token", async () => {
  const client = new ClientCredentials({
    client: { id: ID, secret: "unused" },
    auth: { tokenHost: SERVICE, tokenPath: "/client-credentials-flow/retrieve-tokens" },
  });
  assert.match((await client.getToken({})).token.access_token, /^BQ/);
});
