"""A stand-in for accounts.spotify.com, for tests, benchmarks and local development.

docs/simulator.md tells how to use it. Start it with ``python -m simulator``, or serve it inside a
test::

    with running(create_app(Accounts())) as url:
        ...

The modules, from the rules outwards:

- ``jsontext``   JSON that somebody wrote, who is told what is wrong with it
- ``pkce``       code verifiers and challenges (RFC 7636)
- ``redirects``  which redirect URIs are legal, and adding parameters to one
- ``scopes``     what an app can ask for, and what that means
- ``users``      the people who can let it in
- ``accounts``   the registered app, codes, tokens, rotation: state and rules, no HTTP
- ``forms``      urlencoded text as pairs and as fields
- ``answers``    what is sent back: status, headers, body
- ``record``     what was received, kept for tests to read
- ``exchange``   one request being answered, down to its TCP connection
- ``faults``     what can go wrong on demand, and the queue of what will
- ``token``      POST /api/token, and /trap where redirected requests end up
- ``webapi``     /v1/me, the Web API as far as a login needs it
- ``pages``      the HTML of the login page and its errors
- ``authorize``  GET and POST /authorize
- ``playground_page``  the playground at /, with its files in playground/
- ``admin``      the endpoints that steer the simulator: /admin/... and /healthz
- ``app``        all of that as one Litestar application
- ``server``     that application on a socket
- ``demo``       `make run`: the service, with the simulator or with Spotify, and the playground

It knows nothing of the service it stands beside, and is not part of its image.
"""
