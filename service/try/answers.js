// @ts-check
// An answer of the server, as the page shows it.

import { copies, element } from "./elements.js";
import { explained } from "./explained.js";
import { abridged } from "./shortened.js";
import { curlOf } from "./snippets.js";

/** @typedef {import("./calls.js").Answer} Answer */

const REASONS = /** @type {Record<number, string>} */ ({
  0: "No answer",
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  429: "Too Many Requests",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
});
const HEADERS = ["retry-after", "allow", "content-type", "x-request-id"];
const WHOSE = {
  ours: "This server’s error.",
  spotify: "Spotify’s error, passed on.",
  nobody: "Nobody answered.",
};

/**
 * Tells whether an answer holds tokens.
 *
 * @param {Answer} answer
 */
export function isSuccess({ status, json }) {
  return status >= 200 && status < 300 && json !== null;
}

/**
 * Returns an answer's status as a text.
 *
 * @param {Answer} answer
 */
export function statusOf({ status }) {
  return status ? `${status} ${REASONS[status] ?? ""}`.trim() : REASONS[0];
}

/**
 * Shows an answer, whatever it is.
 *
 * @param {Answer} answer
 */
export function shown(answer) {
  return isSuccess(answer) ? success(answer) : failure(answer);
}

/** @param {Answer} answer */
function head(answer) {
  const kind = isSuccess(answer) ? "good" : "bad";
  return element(
    "p",
    { class: "status" },
    element("span", { class: `badge ${kind}` }, statusOf(answer)),
    " ",
    element("code", {}, `${answer.call.method} ${answer.call.path}`),
  );
}

/** @param {Answer} answer */
function success(answer) {
  const fields = Object.entries(answer.json ?? {}).map(([name, value]) => field(name, value));
  return element("div", { class: "answer" }, head(answer), element("dl", {}, ...fields));
}

/**
 * Shows a field of an answer.
 *
 * @param {string} name
 * @param {unknown} value
 */
export function field(name, value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const short = abridged(name, text);
  const told = element("dd", {}, element("code", {}, short || "(empty)"));
  if (short !== text) {
    const copy = element(
      "button",
      { type: "button", class: "quiet small", "aria-label": `Copy ${name}` },
      "Copy",
    );
    told.append(
      element("span", { class: "hint" }, ` ${text.length} characters `),
      copies(copy, () => text),
    );
  }
  const term = element("dt", {}, element("code", {}, name));
  if (name === "refresh_token") {
    term.append(" ", element("span", { class: "badge sealed" }, "sealed"));
    told.append(
      element(
        "p",
        { class: "hint" },
        "Encrypted with the server’s SECRET_KEY: only this server opens it, and Spotify doesn’t take it. Whoever has it can refresh here, so your app keeps it like a password.",
      ),
    );
  }
  return element("div", {}, term, told);
}

/** @param {Answer} answer */
function failure(answer) {
  const told = explained(answer);
  const headers = HEADERS.filter((name) => name in answer.headers).map(
    (name) => `${name}: ${answer.headers[name]}`,
  );
  const raw = [...headers, "", answer.text].join("\n");
  return element(
    "div",
    { class: "answer" },
    head(answer),
    element("p", { class: "whose" }, element("strong", {}, WHOSE[told.whose]), ` ${told.means}`),
    ...(answer.status
      ? [element("pre", { tabindex: "0", "aria-label": "Answer" }, element("code", {}, raw))]
      : []),
    element("p", {}, element("strong", {}, "What to do: "), told.do),
  );
}

/**
 * Shows how a call is made with curl.
 *
 * @param {import("./calls.js").Call} call
 */
export function asCurl(call) {
  const line = curlOf(call, location.origin);
  const copy = element("button", { type: "button", class: "quiet" }, "Copy code");
  return element(
    "div",
    {},
    element(
      "div",
      { class: "tabs" },
      element("span", { class: "hint" }, "curl"),
      copies(copy, () => line),
    ),
    element(
      "pre",
      { tabindex: "0", "aria-label": "The call with curl" },
      element("code", {}, line),
    ),
  );
}
