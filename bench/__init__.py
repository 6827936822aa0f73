"""Measures what a request costs our server, beside peers that do the same work.

    python -m bench              our service in its modes, Fastify, Express, plain Litestar; nginx
                                 for latency; thresholds
    python -m bench.candidates   one small app in all pairings of ASGI server and HTTP client

    __main__, candidates   the two measurements: whom, against what
    └── command            their options, the report's frame, the exit code
        ├── latency        ours beside a bare proxy's, at one rate
        │   └── pace           requests when they are due, whatever the server does
        ├── rounds         who goes when; one sample per turn and number of connections
        │   ├── contenders     the table of servers
        │   ├── load           one request looked at, many counted; load.lua drives wrk
        │   ├── upstream       nginx in Spotify's place and as a proxy; upstream.conf, proxy.conf
        │   ├── receiver       of spans, which it counts
        │   ├── processes      CPU and memory of a process tree, from /proc
        │   ├── rig            cores, ports, processes that end with their context
        │   └── tokens         the tokens, and the sealed format
        ├── report         medians, ratios, thresholds, Markdown
        ├── machine        the facts that head a report
        └── tools          programs and packages, and what to install when one is missing

`peers/` has the servers that we brought ourselves.
"""
