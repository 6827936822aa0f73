"""Where each block runs.

What is in none of these tables, or no longer in the documents, fails test_guides.
"""

from typing import Final

from tests.guides.terminals import Terminal
from tests.running import CLIENT_ID, CLIENT_SECRET

SECRETS: Final = {
    "CLIENT_ID": "0123456789abcdef0123456789abcdef",
    "CLIENT_SECRET": "fedcba9876543210fedcba9876543210",
}
_IMAGE: Final = "docs/deploy.md#image-and-secrets"
_SECRETS: Final = "docs/deploy.md#image-and-secrets/2"
_FILL_SECRETS: Final = {
    f"printf %s … >secrets/{n}": f"printf %s {v} >secrets/{n}" for n, v in SECRETS.items()
}
_TRIAL: Final = "docs/migrate.md#try-it-beside-the-old-one"

SIMULATOR: Final = "docs/simulator.md"
"""The guide whose commands run in order and print what it shows."""

# Against service and simulator: test_guides fills in where they are.
TRIAL: Final = Terminal(
    (_TRIAL, f"{_TRIAL}/3", f"{_TRIAL}/4", "docs/migrate.md#go-back", f"{_TRIAL}/5")
)
SWAP: Final = Terminal(("docs/http.md#requests",))
SEAL: Final = Terminal(("docs/migrate.md#from-your-own-backend",))

CLONE: Final = Terminal(("README.md#quick-start",))
OWN_APP: Final = Terminal(
    ("README.md#with-your-own-spotify-app",),
    {"CLIENT_ID=… CLIENT_SECRET=…": f"CLIENT_ID={CLIENT_ID} CLIENT_SECRET={CLIENT_SECRET}"},
)

HOSTS: Final = {
    "docker": Terminal(
        ("README.md#docker",),
        variables=SECRETS | {"SECRET_KEY": "0123456789abcdef0123"},
        stand_ins=("docker", "curl"),
    ),
    "jaeger": Terminal(("README.md#skaffold-and-jaeger",), stand_ins=("kind", "skaffold")),
    "release": Terminal(("docs/deploy.md#releases",), stand_ins=("cosign", "docker")),
    "heroku": Terminal(
        (_IMAGE, _SECRETS, "docs/deploy.md#heroku"),
        _FILL_SECRETS,
        stand_ins=("docker", "heroku", "git"),
    ),
    "heroku-moved": Terminal(
        (f"{_TRIAL}/2", "docs/migrate.md#heroku", "docs/migrate.md#go-back/2"),
        variables={"APP": "swap-of-old"},
        stand_ins=("heroku", "git"),
    ),
    "cloud-run": Terminal(
        (_IMAGE, _SECRETS, "docs/deploy.md#google-cloud-run"),
        _FILL_SECRETS,
        {"PROJECT": "swap-1234"},
        ("docker", "gcloud"),
    ),
    "fly": Terminal((_SECRETS, "docs/deploy.md#flyio"), _FILL_SECRETS, stand_ins=("fly",)),
    "kind": Terminal(("docs/development.md#with-skaffold",), stand_ins=("kind", "skaffold")),
    "minikube": Terminal(
        ("docs/development.md#with-skaffold/2",), stand_ins=("minikube", "skaffold")
    ),
    "spotify": Terminal(("docs/development.md#spotify-itself",), stand_ins=("skaffold",)),
}
"""With stand-ins for what needs an account or a cluster."""

# With the AWS CLI against a local endpoint, and with containers: real.py.
AWS: Final = Terminal(
    (
        _IMAGE,
        _SECRETS,
        "docs/deploy.md#aws",
        "docs/deploy.md#aws/2",
        "docs/migrate.md#aws-app-runner",
    ),
    _FILL_SECRETS,
    stand_ins=("docker",),
)
DOCKER: Final = Terminal(
    (
        _SECRETS,
        "docs/migrate.md#docker",
        "docs/deploy.md#docker",
        "docs/migrate.md#go-back/3",
    ),
    _FILL_SECRETS,
)
TERMINALS: Final = (CLONE, OWN_APP, TRIAL, SWAP, SEAL, *HOSTS.values(), AWS, DOCKER)

ELSEWHERE: Final = {
    "README.md#quick-start/2": ".ci/paste-lines",
    "README.md#helm": "tests/guides/cluster",
    "docs/development.md#with-skaffold": "tests/skaffold/dev.py",
    "docs/development.md#with-skaffold/2": "tests/skaffold/dev.py",
    "docs/development.md#where-there-is-no-docker/2": "tests/skaffold/dev.py",
    "docs/development.md#without-skaffold": "tests/guides/cluster",
    "docs/development.md#a-trace": "tests/guides/cluster",
    "docs/operations.md#command-line": "tests/guides/cluster",
    "docs/operations.md#logs": "tests/guides/cluster",
    "docs/operations.md#logs/2": "tests/guides/cluster",
    "docs/runbooks.md#runbooks": "tests/guides/cluster",
    "docs/operations.md#rotate": "tests/guides/cluster",
    "docs/operations.md#rotate/2": "tests/guides/cluster",
    "docs/operations.md#rotate/3": "tests/guides/cluster",
    "docs/operations.md#rotate/4": "tests/guides/cluster",
    "docs/operations.md#rotate/5": "tests/guides/cluster",
    "docs/operations.md#when-to-remove-an-old-key": "tests/guides/cluster",
    "docs/operations.md#upgrade": "tests/guides/cluster",
    "docs/operations.md#upgrade/2": "tests/guides/cluster",
    "docs/deploy.md#kubernetes": "tests/guides/cluster",
    "charts/spotify-api-server/README.md#install": "tests/guides/cluster",
    "docs/simulator.md#start": "tests/compose/checks.py",
    "docs/simulator.md#log-in-without-a-browser": "tests/compose/checks.py",
    "docs/simulator.md#log-in-without-a-browser/2": "tests/compose/checks.py",
    "docs/simulator.md#log-in-without-a-browser/3": "tests/compose/checks.py",
    "docs/simulator.md#users-and-scopes": "tests/compose/checks.py",
    "docs/simulator.md#when-a-login-ends": "tests/compose/checks.py",
    "docs/simulator.md#when-a-login-ends/2": "tests/compose/checks.py",
    "docs/simulator.md#errors": "tests/compose/checks.py",
    "docs/simulator.md#errors/2": "tests/compose/checks.py",
}
"""By block, the test that reads it from its document and runs it."""
RUN_BY: Final = {
    ".ci/paste-lines": ".ci/paste-lines",
    "tests/skaffold/dev.py": "PATH=$tools make skaffold-dev",
    "tests/guides/cluster": "make guides-cluster",
    "tests/compose/checks.py": "make compose-test",
}
"""By reader, the line of .ci/run that runs it."""

STAGES: Final = {
    "docs/development.md#where-there-is-no-docker",
    "docs/operations.md#rolling-updates",
    "docs/performance.md#performance",
    "docs/reliability.md#tests",
    "docs/security.md#fuzzing",
}
"""Those whose lines are lines of .ci/run, which may give a variable of make another value."""
