"""spotify-api-server: a token-swap backend that keeps a Spotify app's client secret out of the app.

The path of one request, POST /authorization-code-flow-pkce/refresh-tokens for example:

    server          bytes → ASGI; deadlines, limits of head and connections
    middleware      request id and server span; level, event and fields of the log line; metrics
    routes          the handler of the grant                        503 while stopping
    forms           body → PKCERefreshForm; its limit               400 / 408 / 413 / 415
    grants          form → TokenRequest: what Spotify gets, and the key for singleflight
    sealing         opens the refresh token for grants, seals the one of the response
    upstream        Upstream: the chain of the flow                 503 if too many requests wait
    singleflight    one call for requests with the same key at the same time
    backoff         no call while Spotify asked for a pause         429
    upstream        Spotify: TokenRequest → POST → TokenResponse    502 / 503 / 504
    responses       TokenResponse → our response: token sealed, expiry added, headers that may pass

With RATE_LIMIT set, `rate_limit` guards the handlers; it also finds a client's address behind
trusted proxies. Client credentials have `app_token`, a cache, in place of singleflight. `oauth` has
the RFC 6749 endpoint, on the same grants.

`app` joins the parts, CORS included. `errors` has the status and text of every local error, also
of those that other modules raise. `settings` are what an operator sets; `hints` explains them, and
what is odd about them, for `cli`, the command line with its exit statuses. `logs` and `metrics` set
their libraries up, `tracing` has the spans, `health` the probes. `openapi` serves openapi.yaml,
which describes the interface by hand (tests compare it with the code), and renders /docs.
"""

__version__ = "1.0.0"
