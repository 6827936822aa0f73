// The refresh as usually written: Express, axios over a keep-alive agent, one JSON line per request by pino.
import http from "node:http";

import axios from "axios";
import express from "express";
import pino from "pino";

import { open, seal } from "./sealing.mjs";

const { CLIENT_ID, CLIENT_SECRET, PORT, SPOTIFY_TOKEN_URL } = process.env;
const logger = pino();
const spotify = axios.create({
  auth: { username: CLIENT_ID, password: CLIENT_SECRET },
  httpAgent: new http.Agent({ keepAlive: true }),
  timeout: 10_000,
});

const app = express();
app.use(express.urlencoded({ extended: false }));

app.use((request, response, next) => {
  const start = process.hrtime.bigint();
  response.on("finish", () => {
    logger.info({
      method: request.method,
      path: request.path,
      status: response.statusCode,
      duration_ms: Number(process.hrtime.bigint() - start) / 1e6,
    });
  });
  next();
});

app.post("/authorization-code-flow-pkce/refresh-tokens", async (request, response) => {
  if (!request.body?.refresh_token) {
    return response.status(400).json({ error: true, reason: "refresh_token is required" });
  }
  const form = new URLSearchParams({
    grant_type: "refresh_token",
    refresh_token: open(request.body.refresh_token),
    client_id: CLIENT_ID,
  });
  const { data } = await spotify.post(SPOTIFY_TOKEN_URL, form);
  return response.json({ ...data, refresh_token: seal(data.refresh_token) });
});

app.use((error, _request, response, _next) => {
  logger.error({ message: error.message });
  const status = error.response?.status ?? 500;
  response.status(status).json(error.response?.data ?? { error: true, reason: "failed" });
});

app.listen(Number(PORT), "127.0.0.1");
