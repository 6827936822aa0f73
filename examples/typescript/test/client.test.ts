/**
 * The example against a server and the simulator; the tests of your app can do the same.
 *
 *     SERVICE=http://127.0.0.1:7000 SIMULATOR=http://127.0.0.1:7001 npm test
 *
 * They reset the simulator before each test and at the end.
 */

import assert from "node:assert/strict";
import { mkdtemp, readFile, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, beforeEach, test } from "node:test";

import { SpotifyApi } from "@spotify/web-api-ts-sdk";

import { FileStore, logIn } from "../src/native.js";
import { codeFrom, prepareLogin, Session, Swap } from "../src/swap.js";
import {
  LoginFailedError,
  LoginRequiredError,
  RetryLaterError,
  ServerError,
  SpotifyError,
  type Tokens,
} from "../src/swap.js";
import { SwapStrategy } from "../src/web-api-sdk.js";

const SERVICE = variable("SERVICE");
const SIMULATOR = variable("SIMULATOR");
const APP = {
  clientId: "simulator-client-id",
  scope: "user-read-email",
  authorizeUrl: `${SIMULATOR}/authorize`,
};

function variable(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}

/** Call the simulator's admin interface. */
async function admin(method: string, path: string, body?: object): Promise<unknown> {
  const request = body === undefined ? { method } : { method, body: JSON.stringify(body) };
  const response = await fetch(`${SIMULATOR}/admin/${path}`, request);
  assert.ok(response.ok, await response.clone().text());
  return response.status === 204 ? undefined : response.json();
}

async function requests(): Promise<number> {
  return ((await admin("GET", "requests")) as unknown[]).length;
}

/** Decide on the login page as a user does; fetch follows the redirect to the app. */
function decide(url: string, decision = "allow"): void {
  void fetch(url, { method: "POST", body: new URLSearchParams({ decision }) });
}

class Memory {
  tokens: Tokens | undefined;
  load = (): Promise<Tokens | undefined> => Promise.resolve(this.tokens);
  save = (tokens: Tokens): Promise<void> => Promise.resolve(void (this.tokens = tokens));
  clear = (): Promise<void> => Promise.resolve(void (this.tokens = undefined));
}

let store: Memory;
const swap = new Swap(SERVICE);

/** Return a session whose access tokens expire after this many seconds. */
async function loggedIn(seconds = 3600): Promise<Session> {
  const session = await Session.open(swap, store);
  await admin("PATCH", "settings", { expires_in: seconds });
  await logIn(session, swap, APP, { openBrowser: decide, timeout: 20_000 });
  return session;
}

beforeEach(async () => {
  store = new Memory();
  await admin("POST", "reset");
});

after(() => admin("POST", "reset"));

test("a new session requires a login", async () => {
  const session = await Session.open(swap, store);
  await assert.rejects(session.accessToken(), LoginRequiredError);
});

test("an access token is used until it expires, also after a restart", async () => {
  const session = await loggedIn();
  const token = await session.accessToken();
  assert.equal(await (await Session.open(swap, store)).accessToken(), token);
  assert.equal(await requests(), 1);
});

test("a refresh before the expiry uses the newest refresh token", async () => {
  const session = await loggedIn(30);
  const seen = new Set<string>();
  for (let turn = 0; turn < 3; turn++) {
    seen.add(await session.accessToken());
    seen.add(store.tokens?.refreshToken ?? "");
  }
  assert.equal(seen.size, 6);
});

test("concurrent callers share one refresh of an expired token", async () => {
  const session = await loggedIn(0);
  await admin("PATCH", "settings", { expires_in: 3600 });
  await admin("POST", "faults", { kind: "delay", seconds: 0.3 });
  const callers = Array.from({ length: 8 }, () => session.accessToken());
  assert.equal(new Set(await Promise.all(callers)).size, 1);
  assert.equal(await requests(), 2);
});

test("a logout during a refresh takes precedence", async () => {
  const session = await loggedIn(0);
  await admin("POST", "faults", { kind: "delay", seconds: 0.3 });
  const refreshed = session.accessToken();
  await session.logOut();
  await refreshed;
  assert.equal(store.tokens, undefined);
  await assert.rejects(session.accessToken(), LoginRequiredError);
});

test("a login during a refresh takes precedence, also if the refresh fails", async () => {
  const session = await loggedIn(0);
  const newLogin = { accessToken: "BQ", refreshToken: "nonsense", expiresAt: 0, scope: "" };
  const refreshed = session.accessToken();
  await session.keep(newLogin);
  await refreshed;
  assert.equal(store.tokens, newLogin);

  const refused = session.accessToken();
  await session.keep({ ...newLogin });
  await assert.rejects(refused, LoginRequiredError);
  assert.deepEqual(store.tokens, newLogin);
});

test("a token that the Web API rejects is refreshed once", async () => {
  const session = await loggedIn();
  const me = async (token: string): Promise<number> =>
    (await fetch(`${SIMULATOR}/v1/me`, { headers: { Authorization: `Bearer ${token}` } })).status;
  const rejected = await session.accessToken();
  assert.equal(await me(rejected), 200);
  await admin("POST", "clock", { seconds: 3600 }); // the simulator's clock only
  assert.equal(await me(await session.accessToken()), 401);
  const fresh = await session.accessToken(rejected);
  assert.notEqual(fresh, rejected);
  assert.equal(await session.accessToken(rejected), fresh);
  assert.equal(await me(fresh), 200);
});

test("Retry-After is honoured", async () => {
  const session = await loggedIn(0);
  await admin("POST", "faults", { kind: "ratelimit", retry_after: 1 });
  await assert.rejects(session.accessToken(), { constructor: RetryLaterError, retryAfter: 1 });
  const sent = await requests();
  await assert.rejects(session.accessToken(), RetryLaterError);
  assert.equal(await requests(), sent);
  await sleep(1100);
  assert.ok(await session.accessToken());
});

test("a token that cannot be refreshed is used until it expires", async () => {
  const session = await loggedIn(30);
  await admin("POST", "faults", { kind: "status", status: 503 });
  assert.equal(await session.accessToken(), store.tokens?.accessToken);
  const nowhere = await Session.open(new Swap("http://127.0.0.1:1"), store);
  assert.equal(await nowhere.accessToken(), store.tokens?.accessToken);
});

test("an invalid grant and an undecryptable refresh token require a login", async () => {
  const session = await loggedIn();
  const rejected = await session.accessToken();
  await admin("POST", "reset");
  await assert.rejects(session.accessToken(rejected), (error: Error) => {
    return error instanceof LoginRequiredError && error.cause instanceof SpotifyError;
  });
  assert.equal(store.tokens, undefined);

  await session.keep({ accessToken: "BQ", refreshToken: "nonsense", expiresAt: 0, scope: "" });
  await assert.rejects(session.accessToken(), (error: Error) => {
    return error instanceof LoginRequiredError && error.cause instanceof ServerError;
  });

  await logIn(session, swap, APP, { openBrowser: decide });
  assert.notEqual(await session.accessToken(), rejected);
});

test("errors of the server differ from errors of Spotify", async () => {
  const uri = "http://127.0.0.1/callback";
  await assert.rejects(swap.retrieve("", "v".repeat(43), uri), ServerError);
  const expected = { name: "SpotifyError", status: 400, error: "invalid_grant" };
  await assert.rejects(swap.retrieve("no-such-code", "v".repeat(43), uri), expected);
});

test("an error of Spotify can have any body", async () => {
  for (const [status, body, error] of [
    [400, '{"error": "invalid_client"}', "invalid_client"],
    [401, '{"error": {"status": 401, "message": "No"}}', "unknown"],
    [403, "Forbidden", "unknown"],
    [400, '{"error": "true", "reason": "from Spotify"}', "true"],
  ] as const) {
    await admin("POST", "faults", { kind: "status", status, body });
    const expected = { name: "SpotifyError", status, error };
    const retrieved = swap.retrieve("a-code", "v".repeat(43), "http://127.0.0.1/callback");
    await assert.rejects(retrieved, expected);
  }
});

test("a network error is the cause of the error", async () => {
  await assert.rejects(new Swap("http://127.0.0.1:2").refresh("token"), (error: Error) => {
    const isNamed = error.name === "RetryLaterError" && error.message.includes("ECONNREFUSED");
    return isNamed && error.cause instanceof TypeError;
  });
});

test("a server URL without a scheme is rejected", () => {
  for (const server of ["127.0.0.1:7000", "localhost:7000", "ftp://127.0.0.1", "https://", ""]) {
    assert.throws(() => new Swap(server), { name: "TypeError", message: /is not a URL such as/ });
  }
});

test("a code is sent once", async () => {
  await admin("POST", "faults", { kind: "status", status: 503 });
  await assert.rejects(loggedIn(), RetryLaterError);
  assert.equal(await requests(), 1);
});

test("a user can decline or leave the login page", async () => {
  const session = await Session.open(swap, store);
  const decline = (url: string): void => {
    decide(url, "deny");
  };
  await assert.rejects(logIn(session, swap, APP, { openBrowser: decline }), /access_denied/);
  const leave = (): void => undefined;
  await assert.rejects(
    logIn(session, swap, APP, { openBrowser: leave, timeout: 100 }),
    LoginFailedError,
  );
});

test("a redirect with another state has no effect", async () => {
  const session = await Session.open(swap, store);
  let status = 0;
  const forge = (url: string): void => {
    const callback = new URL(url).searchParams.get("redirect_uri") ?? "";
    void fetch(`${callback}?code=stolen&state=guessed`).then((response) => {
      status = response.status;
      decide(url);
    });
  };
  await logIn(session, swap, APP, { openBrowser: forge });
  assert.equal(status, 404);
  const login = await prepareLogin(APP, "https://app.example.com/callback");
  const forged = new URL("https://app.example.com/callback?code=stolen&state=guessed");
  assert.throws(() => codeFrom(forged, login), LoginFailedError);
});

test("only its owner can read the token file", async () => {
  const path = join(await mkdtemp(join(tmpdir(), "swap-")), "tokens.json");
  const file = new FileStore(path);
  assert.equal(await file.load(), undefined);
  const tokens = { accessToken: "BQ", refreshToken: "sealed", expiresAt: 1, scope: "" };
  await file.save(tokens);
  assert.deepEqual(await file.load(), tokens);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.ok((await readFile(path, "utf8")).includes("sealed"));
  await file.clear();
  assert.equal(await file.load(), undefined);
});

test("Spotify's SDK uses tokens from the server, also when they expire", async () => {
  const session = await loggedIn(30);
  const sdk = new SpotifyApi(new SwapStrategy(session), {
    fetch: (address, init) =>
      fetch(new Request(address).url.replace("https://api.spotify.com", SIMULATOR), init),
  });
  const first = store.tokens;
  const { id, email } = await sdk.currentUser.profile();
  assert.deepEqual([id, email], ["alice", "alice@example.com"]);
  assert.notEqual(store.tokens?.accessToken, first?.accessToken);
  assert.equal((await sdk.getAccessToken())?.access_token, store.tokens?.accessToken);
  sdk.logOut();
  assert.equal(await sdk.getAccessToken(), null);
});
