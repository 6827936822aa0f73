"""spotify-api-server: a token-swap backend that keeps a Spotify app's client secret out of the app.

The path of one request, POST /authorization-code-flow-pkce/refresh-tokens for example:

    server          bytes → ASGI                               deadlines, limits
    middleware      request id, server span; at the end the log line (by logs) and metrics
    routes          the handler of the grant                   503 while stopping
    forms           body → PKCERefreshForm                     400 / 408 / 413 / 415
    grants          form → TokenRequest; sealing opens the token    400
    upstream        Upstream: the chain of the flow            503 if too many requests wait
    singleflight    one call for the same token at the same time
    backoff         no call while Spotify asked for a pause    429
    upstream        Spotify: TokenRequest → POST → TokenResponse    502 / 503 / 504
    responses       TokenResponse → our response, the refresh token sealed

With RATE_LIMIT set, `rate_limit` guards the handlers; it also finds a client's address behind
trusted proxies. Client credentials have `app_token`, a cache, in place of singleflight. `oauth` has
the RFC 6749 endpoint, on the same grants.

`app` joins the parts, CORS included. `errors` has every local error with its status and text, and
writes it. `settings` are what an operator sets; `hints` explains them, and what is odd about them,
for `cli`, the command line. `health` has the probes, `tracing` the spans. `openapi` serves
openapi.yaml, which describes the interface by hand (tests compare it with the code), and renders
/docs.
"""

__version__ = "1.0.0"
