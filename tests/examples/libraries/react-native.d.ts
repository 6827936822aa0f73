// The type that expo-auth-session imports from expo-modules-core, as react-native.mjs declares it.

declare module "expo-modules-core" {
  export class CodedError extends Error {
    code: string;
  }
}
