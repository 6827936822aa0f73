/** Log in if need be, and show that there is a token: node dist/src/main.js --help */

import { parseArgs } from "node:util";

import { FileStore, logIn } from "./native.js";
import { LoginNeeded, Session, Swap, SwapError } from "./swap.js";

const SIMULATORS_ID = "simulator-client-id";
const SPOTIFYS_PAGE = "https://accounts.spotify.com/authorize";

const HELP = `Log in to Spotify by way of spotify-api-server.

  --server URL         its URL, default http://127.0.0.1:7000
  --client-id ID       the app's, default ${SIMULATORS_ID}
  --scope SCOPES       separated by spaces, default none
  --authorize-url URL  Spotify's page, or a simulator's, default ${SPOTIFYS_PAGE}
  --tokens FILE        the file they are kept in, default spotify-tokens.json
  --refresh            refresh now
  --log-out            forget the tokens
`;

const { values: flags } = parseArgs({
  options: {
    server: { type: "string", default: "http://127.0.0.1:7000" },
    "client-id": { type: "string", default: SIMULATORS_ID },
    scope: { type: "string", default: "" },
    "authorize-url": { type: "string", default: SPOTIFYS_PAGE },
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
  const token = await (flags.refresh ? refreshed(session) : accessToken(session, swap));
  const shown = `${token.slice(0, 6)}… of ${token.length.toString()} characters`;
  process.stdout.write(`access token ${shown}\n`);
}

async function refreshed(session: Session): Promise<string> {
  try {
    return await session.accessToken(await session.accessToken());
  } catch (problem) {
    if (problem instanceof LoginNeeded) {
      throw new LoginNeeded(`${problem.message}: log in first`, { cause: problem });
    }
    throw problem;
  }
}

async function accessToken(session: Session, swap: Swap): Promise<string> {
  try {
    return await session.accessToken();
  } catch (problem) {
    if (!(problem instanceof LoginNeeded)) {
      throw problem;
    }
    if (flags["client-id"] === SIMULATORS_ID && flags["authorize-url"] === SPOTIFYS_PAGE) {
      const hint = "give --client-id, or --authorize-url of a simulator";
      throw new LoginNeeded(`${problem.message}: ${hint}`, { cause: problem });
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
