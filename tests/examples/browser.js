// A web page that uses examples/typescript/src/swap.ts; its server acts as the user and collects the result.

import { codeFrom, prepareLogin, RetryLaterError, ServerError, Session, Swap } from "./swap.js";

async function post(path, body) {
  return (await fetch(path, { method: "POST", body })).text();
}

async function caught(promise) {
  return promise.then(() => null, (error) => error);
}

const { server, authorizeUrl } = Object.fromEntries(new URLSearchParams(location.search));
const nothing = async () => undefined;
const store = { load: nothing, save: nothing, clear: nothing };
const swap = new Swap(server);
const session = await Session.open(swap, store);
const app = { clientId: "simulator-client-id", authorizeUrl };
const login = await prepareLogin(app, `${location.origin}/callback`);
const code = codeFrom(new URL(await post("/agree", login.url)), login);
await session.keep(await swap.retrieve(code, login.verifier, login.redirectUri));
const first = await session.accessToken();
const second = await session.accessToken(first);
const localError = await caught(swap.refresh("sealed-with-another-key"));
await post("/limit");
const later = await caught(session.accessToken(second));
await post(
  "/result",
  JSON.stringify({
    refreshed: first !== second,
    localError: localError instanceof ServerError && localError.reason,
    retryAfter: later instanceof RetryLaterError && later.retryAfter,
  }),
);
