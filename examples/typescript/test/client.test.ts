/**
 * The example against a server and its simulator of Spotify: how an app's own tests can do it, too.
 *
 *     SERVICE=http://127.0.0.1:7000 SIMULATOR=http://127.0.0.1:7001 npm test
 *
 * They steer that simulator, and reset it before each test and at the end.
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
  LoginFailed,
  LoginNeeded,
  ServerRefused,
  SpotifyRefused,
  type Tokens,
  TryLater,
} from "../src/swap.js";
import { SwapStrategy } from "../src/web-api-sdk.js";

const SERVICE = given("SERVICE");
const SIMULATOR = given("SIMULATOR");
const APP = {
  clientId: "simulator-client-id",
  scope: "user-read-email",
  authorizeUrl: `${SIMULATOR}/authorize`,
};

function given(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} names no URL`);
  return value;
}

/** Steer the simulator. */
async function admin(method: string, path: string, body?: object): Promise<unknown> {
  const request = body === undefined ? { method } : { method, body: JSON.stringify(body) };
  const response = await fetch(`${SIMULATOR}/admin/${path}`, request);
  assert.ok(response.ok, await response.clone().text());
  return response.status === 204 ? undefined : response.json();
}

async function requests(): Promise<number> {
  return ((await admin("GET", "requests")) as unknown[]).length;
}

/** The person at the consent page, whose browser follows where the answer leads. */
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

/** Return a session of somebody whose tokens last so many seconds. */
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

test("nobody is logged in at first", async () => {
  const session = await Session.open(swap, store);
  await assert.rejects(session.accessToken(), LoginNeeded);
});

test("a login gives a token that is used until its time is up, also after a restart", async () => {
  const session = await loggedIn();
  const token = await session.accessToken();
  assert.equal(await (await Session.open(swap, store)).accessToken(), token);
  assert.equal(await requests(), 1);
});

test("a token is refreshed before its end, each time with the newest refresh token", async () => {
  const session = await loggedIn(30);
  const seen = new Set<string>();
  for (let turn = 0; turn < 3; turn++) {
    seen.add(await session.accessToken());
    seen.add(store.tokens?.refreshToken ?? "");
  }
  assert.equal(seen.size, 6);
});

test("an expired token is refreshed, and once for all who ask at the same time", async () => {
  const session = await loggedIn(0);
  await admin("PATCH", "settings", { expires_in: 3600 });
  await admin("POST", "faults", { kind: "delay", seconds: 0.3 });
  const callers = Array.from({ length: 8 }, () => session.accessToken());
  assert.equal(new Set(await Promise.all(callers)).size, 1);
  assert.equal(await requests(), 2);
});

test("who logs out during a refresh stays logged out", async () => {
  const session = await loggedIn(0);
  await admin("POST", "faults", { kind: "delay", seconds: 0.3 });
  const refreshed = session.accessToken();
  await session.logOut();
  await refreshed;
  assert.equal(store.tokens, undefined);
  await assert.rejects(session.accessToken(), LoginNeeded);
});

test("a login during a refresh stands, however that ends", async () => {
  const session = await loggedIn(0);
  const anew = { accessToken: "BQ", refreshToken: "nonsense", expiresAt: 0, scope: "" };
  const refreshed = session.accessToken();
  await session.keep(anew);
  await refreshed;
  assert.equal(store.tokens, anew);

  const refused = session.accessToken();
  await session.keep({ ...anew });
  await assert.rejects(refused, LoginNeeded);
  assert.deepEqual(store.tokens, anew);
});

test("a token that the API rejects is refreshed once", async () => {
  const session = await loggedIn();
  const me = async (token: string): Promise<number> =>
    (await fetch(`${SIMULATOR}/v1/me`, { headers: { Authorization: `Bearer ${token}` } })).status;
  const rejected = await session.accessToken();
  assert.equal(await me(rejected), 200);
  await admin("POST", "clock", { seconds: 3600 }); // Spotify's clock, not ours
  assert.equal(await me(await session.accessToken()), 401);
  const fresh = await session.accessToken(rejected);
  assert.notEqual(fresh, rejected);
  assert.equal(await session.accessToken(rejected), fresh);
  assert.equal(await me(fresh), 200);
});

test("Retry-After is honoured", async () => {
  const session = await loggedIn(0);
  await admin("POST", "faults", { kind: "ratelimit", retry_after: 1 });
  await assert.rejects(session.accessToken(), { constructor: TryLater, retryAfter: 1 });
  const asked = await requests();
  await assert.rejects(session.accessToken(), TryLater);
  assert.equal(await requests(), asked);
  await sleep(1100);
  assert.ok(await session.accessToken());
});

test("what is left of a token is used while it cannot be refreshed", async () => {
  const session = await loggedIn(30);
  await admin("POST", "faults", { kind: "status", status: 503 });
  assert.equal(await session.accessToken(), store.tokens?.accessToken);
  const nowhere = await Session.open(new Swap("http://127.0.0.1:1"), store);
  assert.equal(await nowhere.accessToken(), store.tokens?.accessToken);
});

test("an invalid grant, and a token that does not open, need a new login", async () => {
  const session = await loggedIn();
  const rejected = await session.accessToken();
  await admin("POST", "reset");
  await assert.rejects(session.accessToken(rejected), (problem: Error) => {
    return problem instanceof LoginNeeded && problem.cause instanceof SpotifyRefused;
  });
  assert.equal(store.tokens, undefined);

  await session.keep({ accessToken: "BQ", refreshToken: "nonsense", expiresAt: 0, scope: "" });
  await assert.rejects(session.accessToken(), (problem: Error) => {
    return problem instanceof LoginNeeded && problem.cause instanceof ServerRefused;
  });

  await logIn(session, swap, APP, { openBrowser: decide });
  assert.notEqual(await session.accessToken(), rejected);
});

test("errors of the server and of Spotify are told apart", async () => {
  const uri = "http://127.0.0.1/callback";
  await assert.rejects(swap.retrieve("", "v".repeat(43), uri), ServerRefused);
  const refused = { constructor: SpotifyRefused, status: 400, error: "invalid_grant" };
  await assert.rejects(swap.retrieve("no-such-code", "v".repeat(43), uri), refused);
});

test("an error of Spotify's may have any form", async () => {
  for (const [status, body, error] of [
    [400, '{"error": "invalid_client"}', "invalid_client"],
    [401, '{"error": {"status": 401, "message": "No"}}', "unknown"],
    [403, "Forbidden", "unknown"],
    [400, '{"error": "true", "reason": "not ours"}', "true"],
  ] as const) {
    await admin("POST", "faults", { kind: "status", status, body });
    const refused = { constructor: SpotifyRefused, status, error };
    await assert.rejects(swap.retrieve("a-code", "v".repeat(43), "http://127.0.0.1/callback"), refused);
  }
});

test("a code is tried once", async () => {
  await admin("POST", "faults", { kind: "status", status: 503 });
  await assert.rejects(loggedIn(), TryLater);
  assert.equal(await requests(), 1);
});

test("a person can say no, or never come back", async () => {
  const session = await Session.open(swap, store);
  const no = (url: string): void => {
    decide(url, "deny");
  };
  await assert.rejects(logIn(session, swap, APP, { openBrowser: no }), /access_denied/);
  const nobody = (): void => undefined;
  await assert.rejects(
    logIn(session, swap, APP, { openBrowser: nobody, timeout: 100 }),
    LoginFailed,
  );
});

test("a forged answer changes nothing", async () => {
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
  assert.throws(() => codeFrom(forged, login), LoginFailed);
});

test("tokens are kept in a file for their owner alone", async () => {
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

test("Spotify's SDK calls its API with tokens from the server, also when they end", async () => {
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
