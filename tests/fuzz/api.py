"""Test the service against its OpenAPI document: `python -m tests.fuzz.api SECONDS`.

It needs `schemathesis` on PATH, and a service that serves /openapi.json.
"""

import subprocess
import sys

from tests.fuzz.running import Service, defects, simulated, tapped

DOCUMENT = "/openapi.json"
# A string that matches the schema need not be a valid token, and is refused.
CHECKS = ("--checks=all", "--exclude-checks=positive_data_acceptance")


def main(seconds: str) -> int:
    """Return schemathesis's exit status, or 1 if the service logged a defect."""
    settings = {"DOCS": "true", "PUBLIC_URL": "https://tokens.example"}
    with simulated() as simulator, tapped() as tap, Service(simulator, **settings) as service:
        url = str(service.client.base_url.join(DOCUMENT))
        service.client.get(DOCUMENT).raise_for_status()
        command = ["schemathesis", "run", url, f"--max-time={seconds}", *CHECKS]
        status = subprocess.run(command, check=False).returncode
        log_defects = defects(tap.new_lines())
    for line in log_defects:
        sys.stdout.write(f"{line}\n")
    return status or bool(log_defects)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
