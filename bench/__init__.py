"""CPU per request of the service, beside peers that do the same work: `python -m bench`.

    __main__           command line and bounds
    ├── servers        the table of servers
    ├── rounds         each server in turn: one sample per round and number of connections
    │   ├── load       one request that is checked, many that are counted; load.lua drives wrk
    │   ├── upstream   nginx in the place of Spotify, and as a bare proxy
    │   ├── receiver   OTLP receiver that counts spans
    │   ├── processes  CPU and memory of a process tree, from /proc
    │   ├── rig        cores, ports, processes that end with their context
    │   └── tokens     tokens of the load, and the sealed format
    ├── latency        requests at a fixed rate, beside a bare proxy
    ├── report         medians, ratios, bounds, Markdown
    ├── machine        machine and versions, at the head of a report
    └── tools          programs and packages, and how to install them

`peers/` has the other servers.
"""
