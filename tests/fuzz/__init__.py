"""Properties of the service, tested with generated inputs: `make fuzz`.

`properties` has them as functions of bytes; `guided` lets atheris look for bytes that break one,
`wire` sends bytes at a running service, `life` plays a client's life, and `sockets` lets Hypothesis
think of them; `running` is the service they need. `api` holds the service to its OpenAPI document.
`__main__` runs them for a while and tells what came of it. In short they are in `make test`.
"""
