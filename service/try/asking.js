// @ts-check
// Asks on behalf of a button.

import { statusOf } from "./answers.js";
import { ask } from "./calls.js";
import { say } from "./elements.js";

/**
 * Makes a call while its button waits; says what came of it.
 *
 * @param {HTMLButtonElement} by
 * @param {import("./calls.js").Call} call
 */
export async function waiting(by, call) {
  by.setAttribute("aria-busy", "true");
  const answer = await ask(call);
  by.removeAttribute("aria-busy");
  say(`The answer is ${statusOf(answer)}.`);
  return answer;
}
