/** Log in if necessary, and print the beginning of the access token. */

import { parseArgs } from "node:util";

import { FileStore, logIn } from "./native.js";
import { LoginRequiredError, Session, Swap, SwapError } from "./swap.js";

const SIMULATOR_CLIENT_ID = "simulator-client-id";
const SPOTIFY_LOGIN_PAGE = "https://accounts.spotify.com/authorize";

const HELP = `Log in to Spotify through spotify-api-server.

  --server URL         URL of the server, default http://127.0.0.1:7000
  --client-id ID       client id of the app, default ${SIMULATOR_CLIENT_ID}
  --scope SCOPES       scopes, separated by spaces, default none
  --authorize-url URL  login page of Spotify or of a simulator, default ${SPOTIFY_LOGIN_PAGE}
  --tokens FILE        file that stores the tokens, default spotify-tokens.json
  --refresh            refresh the tokens now
  --log-out            delete the tokens
`;

const { values: flags } = parseArgs({
  options: {
    server: { type: "string", default: "http://127.0.0.1:7000" },
    "client-id": { type: "string", default: SIMULATOR_CLIENT_ID },
    scope: { type: "string", default: "" },
    "authorize-url": { type: "string", default: SPOTIFY_LOGIN_PAGE },
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
  } catch (error) {
    if (error instanceof LoginRequiredError) {
      throw new LoginRequiredError(`${error.message}: log in first`, { cause: error });
    }
    throw error;
  }
}

async function accessToken(session: Session, swap: Swap): Promise<string> {
  try {
    return await session.accessToken();
  } catch (error) {
    if (!(error instanceof LoginRequiredError)) {
      throw error;
    }
    if (flags["client-id"] === SIMULATOR_CLIENT_ID && flags["authorize-url"] === SPOTIFY_LOGIN_PAGE) {
      const hint = "pass --client-id, or --authorize-url for a simulator";
      throw new LoginRequiredError(`${error.message}: ${hint}`, { cause: error });
    }
    process.stderr.write(`${error.message}: opening the browser\n`);
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
  } catch (error) {
    if (!(error instanceof SwapError)) {
      throw error;
    }
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
