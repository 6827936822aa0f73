"""spotify-api-server: swaps authorization codes and sealed refresh tokens for Spotify's tokens.

The way of one request, POST /authorization-code-flow-pkce/refresh-tokens for example:

    protocol     bytes → ASGI                          deadlines, bounds
    observation  request id, span; the line at the end
    limiting     too often from this client?           429, where RATE_LIMIT is set
    routes       the path's handler
    forms        bytes → PKCERefreshForm               400 / 413 / 415
    flows        Sealer.open (sealing), → Grant        400
    coalescing   the same token at the same time: one call
    backoff      nothing while Spotify says so         429
    spotify      Grant → POST /api/token               502 / 503 / 504; Spotify's own errors pass
    answers      sealed token, headers that may pass   no-store

For the app's own token, `app_token` stands before coalescing: its answer is kept and handed to all.
`app` joins these, `settings` is what an operator says, `errors` the tree of what can go wrong,
`probes` what Kubernetes asks, `telemetry`, `tracing`, `export`, `metrics` and `logs` what an
operator sees, `cors` what a browser asks, `addresses` who a client is for `limiting`, `command`,
`check` and `keys` what a person asks at a terminal, which `console` writes to, `openapi` serves
openapi.yaml, which describes the HTTP interface, and renders it at /docs,
`connections` the HTTP/1.1 below `spotify`, `names` where it leads, `deadlines` how long it may
take, `server` the process that listens and drains, `cycle` an answer as `protocol` writes it,
`asgi` the types.
"""

__version__ = "1.0.0"
