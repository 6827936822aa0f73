// @ts-check
// Shows requests with their responses, the newest first.

import { codeBlock, element } from "./dom.js";
import { explain } from "./explain.js";
import { curlOf, isSuccess, masked, shortened } from "./http.js";

/** @typedef {import("./http.js").Exchange} Exchange */

/** The reason phrases of RFC 9110, which HTTP/2 does not send. @type {Record<number, string>} */
const REASONS = {
  200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
  405: "Method Not Allowed", 408: "Request Timeout", 413: "Content Too Large",
  415: "Unsupported Media Type", 429: "Too Many Requests", 500: "Internal Server Error",
  502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
};
const HEADERS = ["content-type", "retry-after", "x-request-id"];
/** How many earlier exchanges stay on the page. */
const KEPT = 4;

/** Formats the status of a response. @param {Exchange} exchange */
export function statusOf({ status }) {
  return status ? `${status} ${REASONS[status] ?? ""}`.trim() : "No response";
}

/**
 * Shows an exchange above the earlier ones, which are folded.
 * @param {HTMLElement} place
 * @param {Exchange} exchange
 */
export function show(place, exchange) {
  place.querySelector(".preview")?.remove();
  for (const [number, earlier] of place.querySelectorAll("details").entries()) {
    earlier.open = false;
    if (number > KEPT) earlier.remove();
  }
  place.prepend(rendered(exchange));
}

/** @param {Exchange} exchange */
function rendered(exchange) {
  const { call, status, text } = exchange;
  const kind = isSuccess(exchange) ? "good" : "bad";
  const { pathname } = new URL(call.url);
  return element(
    "details",
    { class: "exchange", open: true },
    element(
      "summary",
      {},
      element("span", { class: `badge ${kind}` }, statusOf(exchange)),
      " ",
      element("code", {}, `${call.method} ${pathname}`),
    ),
    ...(kind === "bad" ? [explanation(exchange)] : []),
    codeBlock("Request", "Copy the request", () => curlOf(call), curlOf(call, shortened)),
    ...(status
      ? [codeBlock("Response", "Copy the response", () => text, ...response(exchange))]
      : []),
  );
}

/** @param {Exchange} exchange */
function explanation(exchange) {
  const { source, means, todo } = explain(exchange);
  return element(
    "div",
    { class: "explanation" },
    element("p", {}, element("strong", {}, source), ` ${means}`),
    element("p", {}, element("strong", {}, "What to do: "), todo),
  );
}

/** @param {Exchange} exchange */
function* response({ headers, json, text }) {
  for (const name of HEADERS.filter((each) => each in headers))
    yield element("span", { class: "header" }, `${name}: ${headers[name]}\n`);
  yield "\n";
  if (json === null) {
    yield text;
    return;
  }
  const mask = (/** @type {string} */ name, /** @type {unknown} */ value) =>
    typeof value === "string" ? masked(name, value) : value;
  // Every second part is the name of a field.
  const parts = JSON.stringify(json, mask, 2).split(/("(?:[^"\\]|\\.)*"(?=:))/);
  for (const [number, part] of parts.entries())
    yield number % 2 ? element("span", { class: "name" }, part) : part;
}
