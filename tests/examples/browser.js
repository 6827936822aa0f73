// What a web page does with examples/typescript/src/swap.ts; the page's server plays the person.

import { codeFrom, prepareLogin, ServerRefused, Session, Swap, TryLater } from "./swap.js";

async function post(path, body) {
  return (await fetch(path, { method: "POST", body })).text();
}

async function caught(promise) {
  return promise.then(() => null, (problem) => problem);
}

const { server, authorizeUrl } = Object.fromEntries(new URLSearchParams(location.search));
const nothing = async () => undefined;
const store = { load: nothing, save: nothing, clear: nothing };
const swap = new Swap(server);
const session = await Session.open(swap, store);
const app = { clientId: "simulator-client-id", authorizeUrl };
const login = await prepareLogin(app, `${location.origin}/callback`);
const code = codeFrom(new URL(await post("/person", login.url)), login);
await session.keep(await swap.retrieve(code, login.verifier, login.redirectUri));
const first = await session.accessToken();
const second = await session.accessToken(first);
const ours = await caught(swap.refresh("sealed-by-somebody-else"));
await post("/limit");
const later = await caught(session.accessToken(second));
await post(
  "/result",
  JSON.stringify({
    refreshed: first !== second,
    ours: ours instanceof ServerRefused && ours.reason,
    retryAfter: later instanceof TryLater && later.retryAfter,
  }),
);
