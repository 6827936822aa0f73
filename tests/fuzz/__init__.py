"""What must hold whatever comes in, tried with many inputs: `make fuzz`.

`properties` has them as functions of bytes; `guided` lets atheris look for bytes that break one,
`wire` sends bytes at a running service, `life` plays a client's life, `__main__` runs them all for
a while and tells what came of it. tests/test_fuzz.py is the same in short.
"""
