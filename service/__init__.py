"""spotify-api-server: a token-swap backend that keeps a Spotify app's client secret out of the app.

The path of one request, POST /authorization-code-flow-pkce/refresh-tokens for example:

    server          bytes → ASGI                               deadlines, limits
    middleware      request id, server span; the log line and metrics at the end
    rate_limit      guard, where RATE_LIMIT is set             429
    routes          the handler of the grant
    forms           body → PKCERefreshForm                     400 / 408 / 413 / 415
    grants          form → TokenRequest; sealing opens the token   400
    app_token       upstream chain: cached app token (client credentials only)
    singleflight    upstream chain: one call for the same token at the same time
    backoff         upstream chain: no call while Spotify wants a pause   429
    upstream        TokenRequest → POST to Spotify → TokenResponse            502 / 503 / 504
    responses       TokenResponse → our response, the refresh token sealed

`oauth` has the RFC 6749 endpoint on the same grants. `app` joins the parts. `errors` is the tree of
local errors and writes them, `settings` are what an operator sets, `health` the probes. `logs`,
`metrics` and `tracing` are what an operator sees. `openapi` serves openapi.yaml and renders /docs.
`cli` is the command line, with `hints` about the settings.
"""

__version__ = "1.0.0"
