// Node.js stand-ins for the two names that expo-auth-session's token requests import from React Native
// and Expo, which only run on a phone: `node --import ./react-native.mjs`. Its own files are unmodified.

import { register } from "node:module";

const MODULES = {
  "react-native": 'export const Platform = { OS: "web", select: (by) => by.web ?? by.default };',
  "expo-modules-core": `export class CodedError extends Error {
    constructor(code, message) { super(message); this.code = code; }
  }`,
};
const hooks = `
const modules = ${JSON.stringify(MODULES)};
export async function resolve(name, context, next) {
  if (name in modules) {
    return { url: "data:text/javascript," + encodeURIComponent(modules[name]), shortCircuit: true };
  }
  // Its files import each other without an extension, for a bundler.
  const isExpo = context.parentURL?.includes("/expo-auth-session/build/") && name.startsWith("./");
  return next(isExpo ? name + ".js" : name, context);
}
export async function load(url, context, next) {
  const isExpo = url.includes("/expo-auth-session/build/");
  return next(url, isExpo ? { ...context, format: "module" } : context);
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
