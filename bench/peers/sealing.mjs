// The sealed format, for both Node peers: base64url(nonce12 ‖ AES-256-GCM ciphertext ‖ tag16).
import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";

const key = createHash("sha256").update(process.env.SECRET_KEY).digest();

export function seal(token) {
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  const text = Buffer.concat([cipher.update(token, "utf8"), cipher.final()]);
  return Buffer.concat([nonce, text, cipher.getAuthTag()]).toString("base64url");
}

export function open(sealed) {
  const raw = Buffer.from(sealed, "base64url");
  const decipher = createDecipheriv("aes-256-gcm", key, raw.subarray(0, 12));
  decipher.setAuthTag(raw.subarray(-16));
  return decipher.update(raw.subarray(12, -16), undefined, "utf8") + decipher.final("utf8");
}
