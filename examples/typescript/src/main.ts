/** Log in if need be, and show that there is a token: node dist/src/main.js --help */

import { parseArgs } from "node:util";

import { FileStore, logIn } from "./native.js";
import { LoginNeeded, Session, Swap, SwapError } from "./swap.js";

const HELP = `Log in to Spotify by way of spotify-api-server.

  --server URL         default http://127.0.0.1:7000
  --client-id ID       default simulator-client-id
  --scope SCOPES       separated by spaces
  --authorize-url URL  Spotify's unless given: a simulator's
  --tokens FILE        the file they are kept in, default spotify-tokens.json
  --refresh            refresh now
  --log-out            forget the tokens
`;

const { values: flags } = parseArgs({
  options: {
    server: { type: "string", default: "http://127.0.0.1:7000" },
    "client-id": { type: "string", default: "simulator-client-id" },
    scope: { type: "string", default: "" },
    "authorize-url": { type: "string", default: "https://accounts.spotify.com/authorize" },
    tokens: { type: "string", default: "spotify-tokens.json" },
    refresh: { type: "boolean", default: false },
    "log-out": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

async function main(): Promise<void> {
  const swap = new Swap(flags.server);
  const session = await Session.open(swap, new FileStore(flags.tokens));
  if (flags["log-out"]) {
    await session.logOut();
    return;
  }
  let token = await accessToken(session, swap);
  if (flags.refresh) {
    token = await session.accessToken(token);
  }
  const shown = `${token.slice(0, 6)}… of ${token.length.toString()} characters`;
  process.stdout.write(`access token ${shown}\n`);
}

async function accessToken(session: Session, swap: Swap): Promise<string> {
  try {
    return await session.accessToken();
  } catch (problem) {
    if (!(problem instanceof LoginNeeded)) {
      throw problem;
    }
    process.stderr.write(`${problem.message}: opening the browser\n`);
    await logIn(session, swap, {
      clientId: flags["client-id"],
      scope: flags.scope,
      authorizeUrl: flags["authorize-url"],
    });
    return session.accessToken();
  }
}

if (flags.help) {
  process.stdout.write(HELP);
} else {
  try {
    await main();
  } catch (problem) {
    if (!(problem instanceof SwapError)) {
      throw problem;
    }
    process.stderr.write(`${problem.message}\n`);
    process.exitCode = 1;
  }
}
