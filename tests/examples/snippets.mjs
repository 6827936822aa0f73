// Prints what service/try/snippets.js gives for its argument, which is an About in JSON, as JSON.

import { LANGUAGES, snippet, STEPS } from "../../service/try/snippets.js";

const about = JSON.parse(process.argv[2]);
const given = [];
for (const { id: language } of LANGUAGES) {
  for (const step of STEPS) {
    for (const flow of ["pkce", "code"]) {
      const text = snippet(language, step, { ...about, flow });
      if (text !== null) given.push({ language, step, flow, text });
    }
  }
}
process.stdout.write(JSON.stringify(given));
