"""Test the guides: every shell block of the documents runs somewhere.

- ``blocks``     finds them; each has a key, such as ``docs/deploy.md#docker``
- ``accounts``   says for each where it runs; a block that is not there fails the tests
- ``terminals``  runs blocks, one after the other, in one shell as a reader has it
- ``stand_in``   stands in for commands of hosts that can't be had, and knows their options alone

`make test` runs what needs nothing else, `make guides-test` what needs containers and the AWS
CLI, `make guides-cluster` what needs a cluster. ``python -m tests.guides KEY...`` prints blocks,
for scripts that run them.
"""
