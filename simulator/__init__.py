"""A simulator of accounts.spotify.com, for tests, benchmarks and local development.

docs/simulator.md describes how to use it. Start it with ``python -m simulator``, or serve it in a
test::

    with running(create_app(Accounts())) as url:
        ...

The modules, from the rules to the server:

- ``jsontext``   decodes JSON that users write, with clear errors
- ``pkce``       code verifiers and challenges (RFC 7636)
- ``redirects``  which redirect URIs Spotify accepts; adds parameters to one
- ``scopes``     the scopes and their descriptions
- ``users``      the users who can log in
- ``accounts``   the registered app, codes, tokens, rotation: state and rules, no HTTP
- ``forms``      decodes urlencoded forms and query strings
- ``responses``  responses: status, headers, body
- ``record``     the requests received, for tests to read
- ``exchange``   one request with its response, down to the TCP connection
- ``faults``     the faults, and the queue of those to apply
- ``token``      POST /api/token, and /trap, which records requests that were redirected
- ``webapi``     /v1/me and /v1/me/tracks of the Web API
- ``pages``      the HTML of the login page and its errors
- ``authorize``  GET and POST /authorize
- ``playground_page``  the playground at /, with its files in playground/
- ``admin``      the endpoints that control the simulator: /admin/... and /healthz
- ``app``        the Litestar application
- ``server``     serves the application with uvicorn
- ``demo``       `make run`: the service, the playground, and the simulator or the real Spotify

The simulator does not depend on the service, and is not part of its image.
"""
