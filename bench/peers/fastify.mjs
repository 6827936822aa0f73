// The least that Node.js can do: Fastify over an undici Pool, no log, no validation, no timeouts.
import formbody from "@fastify/formbody";
import Fastify from "fastify";
import { Pool } from "undici";

import { open, seal } from "./sealing.mjs";

const { CLIENT_ID, CLIENT_SECRET, PORT, SPOTIFY_TOKEN_URL } = process.env;
const upstream = new URL(SPOTIFY_TOKEN_URL);
const pool = new Pool(upstream.origin, { connections: 256 });
const headers = {
  "content-type": "application/x-www-form-urlencoded",
  authorization: `Basic ${Buffer.from(`${CLIENT_ID}:${CLIENT_SECRET}`).toString("base64")}`,
};

const server = Fastify();
server.register(formbody);
server.post("/authorization-code-flow-pkce/refresh-tokens", async (request) => {
  const form = new URLSearchParams({
    grant_type: "refresh_token",
    refresh_token: open(request.body.refresh_token),
    client_id: CLIENT_ID,
  });
  const { body } = await pool.request({
    path: upstream.pathname,
    method: "POST",
    headers,
    body: form.toString(),
  });
  const tokens = await body.json();
  tokens.refresh_token = seal(tokens.refresh_token);
  return tokens;
});
await server.listen({ host: "127.0.0.1", port: Number(PORT) });
