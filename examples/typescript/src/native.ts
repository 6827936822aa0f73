/** The part for native apps on Node.js: the browser, a loopback port, tokens in a file. */

import { spawn } from "node:child_process";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { codeFrom, LoginFailedError, prepareLogin } from "./swap.js";
import type { App, Login, Session, Swap, Tokens, TokenStore } from "./swap.js";

const LOGIN_TIMEOUT = 300_000;

export interface LoginOptions {
  readonly openBrowser?: (url: string) => void;
  readonly timeout?: number;
}

/**
 * Log the user in with the browser, and store the tokens. The login ends at a free loopback port
 * (RFC 8252, section 7.3).
 *
 * Register `http://127.0.0.1/callback` in Spotify's dashboard. Spotify accepts every port if a
 * loopback address is registered without one; it rejects the name localhost.
 */
export async function logIn(
  session: Session,
  swap: Swap,
  app: App,
  { openBrowser = openInBrowser, timeout = LOGIN_TIMEOUT }: LoginOptions = {},
): Promise<void> {
  const server = createServer();
  try {
    const port = await listen(server);
    const login = await prepareLogin(app, `http://127.0.0.1:${port.toString()}/callback`);
    const address = await callback(server, login, timeout, openBrowser);
    const code = codeFrom(address, login);
    await session.keep(await swap.retrieve(code, login.verifier, login.redirectUri));
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** Stores tokens in a file that only its owner can read, and replaces it atomically. */
export class FileStore implements TokenStore {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async load(): Promise<Tokens | undefined> {
    try {
      const stored: unknown = JSON.parse(await readFile(this.#path, "utf8"));
      return isTokens(stored) ? stored : undefined;
    } catch {
      return undefined;
    }
  }

  async save(tokens: Tokens): Promise<void> {
    const temporary = `${this.#path}.new`;
    await rm(temporary, { force: true });
    await writeFile(temporary, JSON.stringify(tokens), { mode: 0o600, flag: "wx" });
    await rename(temporary, this.#path);
  }

  async clear(): Promise<void> {
    await rm(this.#path, { force: true });
  }
}

function isTokens(value: unknown): value is Tokens {
  const { accessToken, refreshToken, expiresAt, scope } = new Object(value) as Partial<Tokens>;
  const strings = [accessToken, refreshToken, scope];
  return typeof expiresAt === "number" && strings.every((value) => typeof value === "string");
}

/** Listen on a free loopback port; return its number. */
function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** Open the browser; return the URL of the redirect with the state of this login. */
function callback(
  server: Server,
  login: Login,
  timeout: number,
  openBrowser: (url: string) => void,
): Promise<URL> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new LoginFailedError("the login was not finished in time"));
    }, timeout).unref();
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      const address = new URL(request.url ?? "/", login.redirectUri);
      // Any page can send a browser here; without the right state, it has no effect.
      if (address.pathname !== "/callback" || address.searchParams.get("state") !== login.state) {
        say(response, 404, "This is not the login that the app is waiting for.");
        return;
      }
      clearTimeout(timer);
      say(response, 200, "You can close this window and return to the app.");
      response.once("close", () => {
        resolve(address);
      });
    });
    openBrowser(login.url);
  });
}

function say(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    Connection: "close",
  });
  response.end(text);
}

/** Open the browser in the variable BROWSER, or the system's; print the URL if that fails. */
function openInBrowser(url: string): void {
  const [command, ...flags] = browser();
  const started = spawn(command, [...flags, url], { stdio: "ignore", detached: true });
  started.on("error", () => {
    process.stderr.write(`Open this URL in a browser: ${url}\n`);
  });
  started.unref();
}

function browser(): [string, ...string[]] {
  const named = process.env["BROWSER"];
  if (named !== undefined && named !== "") {
    return [named];
  }
  switch (process.platform) {
    case "darwin":
      return ["open"];
    case "win32":
      return ["rundll32", "url.dll,FileProtocolHandler"];
    default:
      return ["xdg-open"];
  }
}
