"""All the fuzzers, one after another: `python -m tests.fuzz SECONDS [NAME...]`.

Ends with status 1 if one found something; the input that did it is kept, and how to repeat it told.
What was worth keeping of the inputs stays in .fuzz/, so that the next run begins where this ended.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.properties import PROPERTIES, SEEDS, WORDS

KEPT = Path(".fuzz")


class Outcome(NamedTuple):
    """What came of one fuzzer; `seen` is how much of the code it knows to have reached."""

    runs: int
    seen: str
    finding: str | None


def guided(name: str, seconds: float) -> Outcome:
    """Let atheris look for bytes that break the property `name`."""
    corpus, words = KEPT / name, KEPT / f"{name}.dict"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS[name]))
    command = [sys.executable, "-m", "tests.fuzz.guided", name, f"-max_total_time={seconds:.0f}"]
    command += ["-timeout=5", "-rss_limit_mb=1024", "-print_final_stats=1", f"-dict={words}"]
    command += [f"-artifact_prefix={KEPT}/{name}-", str(corpus)]
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    finding = None
    if ran.returncode:
        finding = "\n".join([*ran.stderr.splitlines()[-40:], *ran.stdout.splitlines()[-40:]])
    runs = re.search(r"number_of_executed_units: (\d+)", ran.stderr)
    seen = re.findall(r"cov: (\d+)", ran.stderr)
    return Outcome(int(runs[1]) if runs else 0, f"{seen[-1] if seen else 0} edges", finding)


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


FUZZERS: dict[str, Callable[[str, float], Outcome]] = dict.fromkeys(PROPERTIES, guided)


def main(seconds: float, names: list[str]) -> int:
    """Give each of `names` its share of `seconds`; return how many found something."""
    findings = 0
    for name in names:
        started = time.monotonic()
        outcome = FUZZERS[name](name, seconds / len(names))
        took = time.monotonic() - started
        found = "nothing found" if outcome.finding is None else "FOUND"
        print(f"{name:8} {outcome.runs:10,} runs {took:6.0f} s  {outcome.seen:>12}  {found}")
        if outcome.finding is not None:
            findings += 1
            print(outcome.finding)
    return findings


if __name__ == "__main__":
    sys.exit(bool(main(float(sys.argv[1]), sys.argv[2:] or list(FUZZERS))))
