"""All the fuzzers, one after another: `python -m tests.fuzz SECONDS [NAME...]`.

Ends with status 1 if one found something; its input is stored and printed. What was worth
keeping of atheris's inputs stays in .fuzz/, so that the next run begins where this ended.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.properties import PROPERTIES, SEEDS, WORDS
from tests.fuzz.sockets import NAMES as SOCKETS

KEPT = Path(".fuzz")
SHOWN = 60
"""Lines of output to print for a fuzzer that found a failure."""


class Outcome(NamedTuple):
    """The result of one fuzzer; `seen` is the code coverage that it reports."""

    runs: str
    seen: str
    finding: str | None


def guided(name: str, seconds: int) -> Outcome:
    """Fuzz the property `name` with atheris."""
    corpus, words = KEPT / name, KEPT / f"{name}.dict"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS[name]))
    limits = ("-timeout=5", "-rss_limit_mb=1024", "-max_len=4096", f"-max_total_time={seconds}")
    options = (f"-dict={words}", f"-artifact_prefix={KEPT}/{name}-", str(corpus))
    ran = _run("-m", "tests.fuzz.guided", name, "-print_final_stats=1", *limits, *options)
    edges = re.findall(r"cov: (\d+)", ran.stdout)
    return _outcome(ran, r"number_of_executed_units: (\d+)", f"{edges[-1] if edges else 0} edges")


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def on_sockets(name: str, seconds: int) -> Outcome:
    """Run a Hypothesis fuzzer over sockets, and measure its coverage of the service."""
    data = f"--data-file={KEPT}/coverage"
    ran = _run(
        *("-m", "coverage", "run", "--rcfile=/dev/null", data, "--source=service"),
        *("-m", "tests.fuzz.sockets", name, str(seconds)),
    )
    total = _run("-m", "coverage", "report", "--rcfile=/dev/null", data, "--format=total")
    return _outcome(ran, r"^runs: (\d+)", f"{total.stdout.strip()} % of lines")


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    KEPT.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _outcome(ran: subprocess.CompletedProcess[str], runs: str, seen: str) -> Outcome:
    counted = re.search(runs, ran.stdout, re.MULTILINE)
    output = "\n".join(ran.stdout.splitlines()[-SHOWN:])
    failed = ran.returncode or counted is None
    return Outcome(counted[1] if counted else "?", seen, output if failed else None)


FUZZERS: dict[str, Callable[[str, int], Outcome]] = {
    **dict.fromkeys(PROPERTIES, guided),
    **dict.fromkeys(SOCKETS, on_sockets),
}


def main(seconds: int, names: list[str]) -> bool:
    """Give each of `names` its share of `seconds`; return whether one found a failure."""
    findings = []
    for name in names:
        started = time.monotonic()
        runs, seen, finding = FUZZERS[name](name, max(1, seconds // len(names)))
        verdict = "FOUND" if finding else "nothing found"
        took = time.monotonic() - started
        sys.stdout.write(f"{name:8} {runs:>10} runs {took:6.0f} s  {seen:>14}  {verdict}\n")
        sys.stdout.flush()
        findings += [f"\n=== {name}\n{finding}\n"] if finding else []
    sys.stdout.write("".join(findings))
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:] or list(FUZZERS)))
