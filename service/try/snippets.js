// @ts-check
// The lines to paste into an app. Pure, and without a browser: Node can import this module, and the
// project's checks compile what it gives.

import { CLIENT_FLOW, pathOf } from "./calls.js";

/** @typedef {"curl" | "swift" | "ios" | "kotlin" | "typescript"} Language */
/** @typedef {"pkce" | "code"} Flow */
/** @typedef {"login" | "refresh" | "client"} Step */
/**
 * What the lines are about: `origin` is this server's, `redirectUri` the app's own (by default one
 * that suits the language), `scopes` what the app wants to do.
 *
 * @typedef {{origin: string, clientId: string, authorizeUrl: string, flow: Flow, scopes: string[],
 *   redirectUri?: string}} About
 */

/** @type {readonly {id: Language, name: string}[]} */
export const LANGUAGES = [
  { id: "curl", name: "curl" },
  { id: "swift", name: "Swift" },
  { id: "ios", name: "iOS SDK" },
  { id: "kotlin", name: "Kotlin" },
  { id: "typescript", name: "TypeScript" },
];

/** @type {readonly Step[]} */
export const STEPS = ["login", "refresh", "client"];

/** What an app's redirect URI may look like: a scheme of its own, or a page on this machine. */
const REDIRECT_URIS = {
  curl: "http://127.0.0.1:8888/callback",
  swift: "my-app://callback",
  ios: "my-app://callback",
  kotlin: "my-app://callback",
  typescript: "http://127.0.0.1:8888/callback",
};

/**
 * Returns the lines of a step in a language, each ending in a newline; null where there are none.
 *
 * @param {Language} language
 * @param {Step} step
 * @param {About} about
 */
export function snippet(language, step, about) {
  const write = WRITERS[language][step];
  return write ? write({ redirectUri: REDIRECT_URIS[language], ...about }) : null;
}

/** Characters of a body above which a line would be nothing to read. */
const LONG = 200;

/**
 * Returns the call as a line for a shell. A long body is so many zeros: its length is what matters.
 *
 * @param {import("./calls.js").Call} call
 * @param {string} origin
 */
export function curlOf({ method, path, fields, body, type }, origin) {
  const curl = `curl -sS -i ${method === "POST" ? "" : `-X ${method} `}${shell(origin + path)}`;
  if (body && body.length > LONG)
    return `head -c ${body.length} /dev/zero |\n  ${curl} --data-binary @-\n`;
  const lines = [curl];
  if (type) lines.push(`-H ${shell(`Content-Type: ${type}`)}`);
  if (body !== undefined) lines.push(`-d ${shell(body)}`);
  for (const [name, value] of Object.entries(fields ?? {}))
    lines.push(`--data-urlencode ${shell(`${name}=${value}`)}`);
  if (method === "POST" && lines.length === 1) lines.push("-d ''");
  return `${lines.join(" \\\n  ")}\n`;
}

// Texts in each language --------------------------------------------------------------------------

/**
 * A text for a POSIX shell.
 *
 * @param {string} text
 */
function shell(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * A text for TypeScript and Swift: JSON's escapes but for control characters, which no setting has.
 *
 * @param {string} text
 */
function quoted(text) {
  return JSON.stringify(text);
}

/**
 * A text for Kotlin, in which a dollar begins a template.
 *
 * @param {string} text
 */
function kotlin(text) {
  return quoted(text).replaceAll("$", "\\$");
}

/** @typedef {Required<About>} Told */

/**
 * @param {Told} told
 * @param {"retrieve" | "refresh"} what
 */
function urlOf(told, what) {
  return told.origin + pathOf(told.flow, what);
}

/** @param {Told} told */
function clientUrl(told) {
  return `${told.origin}${CLIENT_FLOW}/retrieve-tokens`;
}

/**
 * The login's URL, without what is new each time.
 *
 * @param {Told} told
 */
function loginUrl({ authorizeUrl, clientId, redirectUri, scopes }) {
  const url = new URL(authorizeUrl);
  url.searchParams.set("client_id", clientId);
  url.searchParams.set("response_type", "code");
  url.searchParams.set("redirect_uri", redirectUri);
  if (scopes.length) url.searchParams.set("scope", scopes.join(" "));
  return url.href;
}

/** @param {Told} told */
function isSpotify({ authorizeUrl }) {
  return new URL(authorizeUrl).hostname === "accounts.spotify.com";
}

// curl --------------------------------------------------------------------------------------------

/** @param {Told} told */
function curlLogin(told) {
  const [verifier, challenge, proof] =
    told.flow === "pkce"
      ? [
          `VERIFIER=$(openssl rand -hex 32)
CHALLENGE=$(printf %s "$VERIFIER" | openssl dgst -sha256 -binary |
  openssl base64 | tr '+/' '-_' | tr -d '=')
`,
          '"&code_challenge_method=S256&code_challenge=$CHALLENGE"',
          ` \\
  --data-urlencode "code_verifier=$VERIFIER"`,
        ]
      : ["", "", ""];
  return `# Open what this prints in a browser and agree. The address where it ends has the code,
# though no page is there: that redirect URI is your app's.
${verifier}echo ${shell(loginUrl(told))}${challenge}

# Put the code in here, then swap it for tokens.
CODE=''
curl -sS ${shell(urlOf(told, "retrieve"))} \\
  --data-urlencode "code=$CODE"${proof} \\
  --data-urlencode ${shell(`redirect_uri=${told.redirectUri}`)}
`;
}

/** @param {Told} told */
function curlRefresh(told) {
  const once = told.flow === "pkce" ? "# It is good once: whoever had it before logs in again.\n" : "";
  return `# The sealed refresh token of the last answer that had one goes in here.
${once}REFRESH_TOKEN=''
curl -sS ${shell(urlOf(told, "refresh"))} \\
  --data-urlencode "refresh_token=$REFRESH_TOKEN"
`;
}

/** @param {Told} told */
function curlClient(told) {
  return `curl -sS ${shell(clientUrl(told))} \\
  -d grant_type=client_credentials
`;
}

// Swift, with SpotifyAPI --------------------------------------------------------------------------

/** @param {string} text */
function swiftUrl(text) {
  return `URL(string: ${quoted(text)})!`;
}

/** @param {string[]} scopes */
function swiftScopes(scopes) {
  const name = (/** @type {string} */ scope) =>
    scope.replaceAll(/-(.)/g, (_, letter) => letter.toUpperCase());
  return `[${scopes
    .filter((scope) => /^[a-z]+(-[a-z]+)*$/.test(scope))
    .map((scope) => `.${name(scope)}`)
    .join(", ")}]`;
}

/** @param {Flow} flow */
function swiftTypes(flow) {
  const name = `AuthorizationCodeFlow${flow === "pkce" ? "PKCE" : ""}`;
  return { manager: `${name}BackendManager`, backend: `${name}ProxyBackend` };
}

/** @param {Told} told */
function swiftLogin(told) {
  const { manager, backend } = swiftTypes(told.flow);
  const pkce = told.flow === "pkce";
  const elsewhere = isSpotify(told)
    ? ""
    : "// NOTE: this server asks a simulator, but SpotifyAPI's login leads to Spotify itself.\n";
  return `import Combine
import Foundation
import SpotifyWebAPI

${elsewhere}let spotify = SpotifyAPI(
    authorizationManager: ${manager}(
        backend: ${backend}(
            clientId: ${quoted(told.clientId)},
            tokensURL: ${swiftUrl(urlOf(told, "retrieve"))},
            tokenRefreshURL: ${swiftUrl(urlOf(told, "refresh"))}
        )
    )
)

// Open this URL; keep ${pkce ? "verifier and state" : "the state"} until your app is called back.
let state = String.randomURLSafe(length: 64)
${pkce ? "let verifier = String.randomURLSafe(length: 128)\n" : ""}let loginURL = spotify.authorizationManager.makeAuthorizationURL(
    redirectURI: ${swiftUrl(told.redirectUri)},
    ${pkce ? "codeChallenge: String.makeCodeChallenge(codeVerifier: verifier)" : "showDialog: false"},
    state: state,
    scopes: ${swiftScopes(told.scopes)}
)!

// With the URL that your app is called back with:
func calledBack(with url: URL) -> AnyPublisher<Void, Error> {
    spotify.authorizationManager.requestAccessAndRefreshTokens(
        redirectURIWithQuery: url,
${pkce ? "        codeVerifier: verifier,\n" : ""}        state: state
    )
}
`;
}

/** @param {Told} told */
function swiftRefresh(told) {
  const { manager, backend } = swiftTypes(told.flow);
  return `import Combine
import SpotifyWebAPI

// SpotifyAPI does this by itself before a call, when the token is about to expire.
func refresh(
    _ manager: ${manager}<${backend}>
) -> AnyPublisher<Void, Error> {
    manager.refreshTokens(onlyIfExpired: false)
}
`;
}

/** @param {Told} told */
function swiftClient(told) {
  return `import Combine
import Foundation
import SpotifyWebAPI

let catalog = SpotifyAPI(
    authorizationManager: ClientCredentialsFlowBackendManager(
        backend: ClientCredentialsFlowProxyBackend(
            tokensURL: ${swiftUrl(clientUrl(told))}
        )
    )
)

func authorize() -> AnyPublisher<Void, Error> {
    catalog.authorizationManager.authorize()
}
`;
}

// Spotify's iOS SDK -------------------------------------------------------------------------------

/** @param {Told} told */
function iosLogin(told) {
  const code = { ...told, flow: /** @type {const} */ ("code") };
  const why =
    told.flow === "pkce"
      ? "// With these two URLs the SDK leaves PKCE alone: the server has the secret.\n"
      : "";
  return `import SpotifyiOS

final class SpotifyLogin: NSObject, SPTSessionManagerDelegate {
    lazy var configuration: SPTConfiguration = {
        let configuration = SPTConfiguration(
            clientID: ${quoted(told.clientId)},
            redirectURL: ${swiftUrl(told.redirectUri)}
        )
        ${why ? `${why}        ` : ""}configuration.tokenSwapURL = ${swiftUrl(urlOf(code, "retrieve"))}
        configuration.tokenRefreshURL = ${swiftUrl(urlOf(code, "refresh"))}
        return configuration
    }()
    lazy var manager = SPTSessionManager(configuration: configuration, delegate: self)

    // The SDK sends no redirect URI: the server has to be set to it,
    // REDIRECT_URI=${told.redirectUri.replaceAll(/[\r\n]/g, "")}
    func logIn() {
        manager.initiateSession(with: ${swiftScopes(told.scopes)}, options: .default, campaign: nil)
    }

    func sessionManager(manager: SPTSessionManager, didInitiate session: SPTSession) {
        print("expires", session.expirationDate)
    }

    func sessionManager(manager: SPTSessionManager, didFailWith error: Error) {
        print(error)
    }
}
`;
}

function iosRefresh() {
  return `import SpotifyiOS

// Asks tokenRefreshURL; the delegate hears of it by sessionManager(manager:didRenew:).
func renew(_ manager: SPTSessionManager) {
    manager.renewSession()
}
`;
}

// Kotlin ------------------------------------------------------------------------------------------

/**
 * A program that posts a form, with `calls` of its own and what they import.
 *
 * @param {string} calls
 * @param {string} imports
 */
function kotlinProgram(calls, imports = "") {
  return `${imports}import java.net.HttpURLConnection
import java.net.URI
import java.net.URLEncoder

${calls}
/** Posts a form, on a thread that may wait; returns the answer's JSON. */
fun post(url: String, vararg fields: Pair<String, String>): String {
    val body = fields.joinToString("&") { (name, value) -> name + "=" + URLEncoder.encode(value, "UTF-8") }
    val connection = URI(url).toURL().openConnection() as HttpURLConnection
    connection.requestMethod = "POST"
    connection.doOutput = true
    connection.setRequestProperty("Content-Type", "application/x-www-form-urlencoded")
    connection.outputStream.use { it.write(body.toByteArray()) }
    val status = connection.responseCode
    if (status !in 200..299) {
        val reason = connection.errorStream?.use { it.reader().readText() }
        throw IllegalStateException("$status $reason")
    }
    return connection.inputStream.use { it.reader().readText() }
}
`;
}

/** @param {Told} told */
function kotlinLogin(told) {
  const pkce = told.flow === "pkce";
  const scopes = told.scopes.map(kotlin).join(", ");
  const library = (/** @type {string} */ name) => `import com.spotify.sdk.android.auth.${name}\n`;
  return kotlinProgram(
    `const val CLIENT_ID = ${kotlin(told.clientId)}
const val REDIRECT_URI = ${kotlin(told.redirectUri)}

/** For AuthorizationClient.openLoginActivity, of Spotify's library com.spotify.android:auth. */
fun loginRequest(state: String${pkce ? ", pkce: PKCEInformation" : ""}): AuthorizationRequest =
    AuthorizationRequest.Builder(CLIENT_ID, AuthorizationResponse.Type.CODE, REDIRECT_URI)
        .setState(state)
${scopes && `        .setScopes(arrayOf(${scopes}))\n`}${pkce ? "        .setPkceInformation(pkce) // PKCEInformationFactory.create(); keep it for its verifier\n" : ""}        .build()

/** With the code of AuthorizationClient.getResponse, if its state is the same. */
fun retrieveTokens(code: String${pkce ? ", verifier: String" : ""}): String =
    post(
        ${kotlin(urlOf(told, "retrieve"))},
        "code" to code,
${pkce ? '        "code_verifier" to verifier,\n' : ""}        "redirect_uri" to REDIRECT_URI,
    )
`,
    ["AuthorizationRequest", "AuthorizationResponse", ...(pkce ? ["PKCEInformation"] : [])].map(library).join(""),
  );
}

/** @param {Told} told */
function kotlinRefresh(told) {
  return kotlinProgram(
    `fun refreshTokens(refreshToken: String): String =
    post(${kotlin(urlOf(told, "refresh"))}, "refresh_token" to refreshToken)
`,
  );
}

/** @param {Told} told */
function kotlinClient(told) {
  return kotlinProgram(
    `fun retrieveAppToken(): String =
    post(${kotlin(clientUrl(told))}, "grant_type" to "client_credentials")
`,
  );
}

// TypeScript --------------------------------------------------------------------------------------

const TYPESCRIPT_POST = `export interface Tokens {
  access_token: string;
  expires_in: number;
  refresh_token?: string;
}

async function post(url: string, fields: Record<string, string>): Promise<Tokens> {
  const answer = await fetch(url, { method: "POST", body: new URLSearchParams(fields) });
  if (!answer.ok) throw new Error(\`\${answer.status} \${await answer.text()}\`);
  return (await answer.json()) as Tokens;
}
`;

/** @param {Told} told */
function typescriptLogin(told) {
  const pkce = told.flow === "pkce";
  const challenge = `
async function challengeOf(verifier: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  return btoa(String.fromCharCode(...new Uint8Array(hash)))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
`;
  return `${TYPESCRIPT_POST}
const REDIRECT_URI = ${quoted(told.redirectUri)};
${pkce ? challenge : ""}
/** Where to send a person; keep ${pkce ? "state and verifier" : "the state"} until they are back. */
export ${pkce ? "async " : ""}function loginUrl(${pkce ? "state: string, verifier: string): Promise<string>" : "state: string): string"} {
  const url = new URL(${quoted(loginUrl(told))});
  url.searchParams.set("state", state);
${
  pkce
    ? `  url.searchParams.set("code_challenge_method", "S256");
  url.searchParams.set("code_challenge", await challengeOf(verifier));
`
    : ""
}  return url.href;
}

/** A page needs its origin in the server's CORS_ALLOW_ORIGINS. */
export function retrieveTokens(code: string${pkce ? ", verifier: string" : ""}): Promise<Tokens> {
  return post(${quoted(urlOf(told, "retrieve"))}, {
    code,
${pkce ? "    code_verifier: verifier,\n" : ""}    redirect_uri: REDIRECT_URI,
  });
}
`;
}

/** @param {Told} told */
function typescriptRefresh(told) {
  return `/** Keep the answer's refresh token in place of the old one, if it has one. */
export function refreshTokens(refreshToken: string): Promise<Tokens> {
  return post(${quoted(urlOf(told, "refresh"))}, {
    refresh_token: refreshToken,
  });
}

${TYPESCRIPT_POST}`;
}

/** @param {Told} told */
function typescriptClient(told) {
  return `export function retrieveAppToken(): Promise<Tokens> {
  return post(${quoted(clientUrl(told))}, {
    grant_type: "client_credentials",
  });
}

${TYPESCRIPT_POST}`;
}

/** @type {Record<Language, Partial<Record<Step, (told: Told) => string>>>} */
const WRITERS = {
  curl: { login: curlLogin, refresh: curlRefresh, client: curlClient },
  swift: { login: swiftLogin, refresh: swiftRefresh, client: swiftClient },
  ios: { login: iosLogin, refresh: iosRefresh },
  kotlin: { login: kotlinLogin, refresh: kotlinRefresh, client: kotlinClient },
  typescript: { login: typescriptLogin, refresh: typescriptRefresh, client: typescriptClient },
};
