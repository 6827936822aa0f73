/** What a native app on Node.js adds to swap.ts: the browser, a loopback port, a file. */

import { spawn } from "node:child_process";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { codeFrom, LoginFailed, prepareLogin } from "./swap.js";
import type { App, Login, Session, Swap, Tokens, TokenStore } from "./swap.js";

const LOGIN_TIMEOUT = 300_000;

export interface LoginOptions {
  readonly openBrowser?: (url: string) => void;
  readonly timeout?: number;
}

/**
 * Have the person agree in the browser, which comes back to a free port of this machine (RFC 8252
 * section 7.3), and keep the tokens.
 *
 * Register `http://127.0.0.1/callback` in Spotify's dashboard: with the loopback address and no
 * port, Spotify takes any port. The name localhost is refused.
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

/** Keeps tokens in a file that only its owner may read, whole at any moment. */
export class FileStore implements TokenStore {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async load(): Promise<Tokens | undefined> {
    try {
      const kept: unknown = JSON.parse(await readFile(this.#path, "utf8"));
      return isTokens(kept) ? kept : undefined;
    } catch {
      return undefined;
    }
  }

  async save(tokens: Tokens): Promise<void> {
    const beside = `${this.#path}.new`;
    await rm(beside, { force: true });
    await writeFile(beside, JSON.stringify(tokens), { mode: 0o600, flag: "wx" });
    await rename(beside, this.#path);
  }

  async clear(): Promise<void> {
    await rm(this.#path, { force: true });
  }
}

function isTokens(value: unknown): value is Tokens {
  const { accessToken, refreshToken, expiresAt, scope } = new Object(value) as Partial<Tokens>;
  const texts = [accessToken, refreshToken, scope];
  return typeof expiresAt === "number" && texts.every((text) => typeof text === "string");
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

/** Open the browser; return where it comes to with this login's state. Others change nothing. */
function callback(
  server: Server,
  login: Login,
  timeout: number,
  openBrowser: (url: string) => void,
): Promise<URL> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new LoginFailed("nobody came back from the browser"));
    }, timeout).unref();
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      const address = new URL(request.url ?? "/", login.redirectUri);
      // Any page can send a browser here: only this login's state counts.
      if (address.pathname !== "/callback" || address.searchParams.get("state") !== login.state) {
        say(response, 404, "This is not the answer that the app waits for.");
        return;
      }
      clearTimeout(timer);
      say(response, 200, "You can close this window and go back to the app.");
      response.once("close", () => {
        resolve(address);
      });
    });
    openBrowser(login.url);
  });
}

function say(response: ServerResponse, status: number, words: string): void {
  response.writeHead(status, {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    Connection: "close",
  });
  response.end(words);
}

/** Open the person's browser: the one that BROWSER names, or else the system's. */
function openInBrowser(url: string): void {
  const [command, ...flags] = browser();
  const started = spawn(command, [...flags, url], { stdio: "ignore", detached: true });
  started.on("error", () => {
    process.stderr.write(`Open this in a browser: ${url}\n`);
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
