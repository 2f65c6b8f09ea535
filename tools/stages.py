"""Run make targets one after the other, time each, stop at the first failure.

``python tools/stages.py lint unit`` is what ``make test`` calls. The last line adds up what the
stages' pytest runs reported.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter

SUMMARY = re.compile(r"\d+ (?:passed|failed|skipped|error).* in [\d.]+s")
COUNT = re.compile(r"(\d+) (passed|failed|skipped|xfailed|xpassed|errors?)\b")


def run(stage: str, counts: Counter[str]) -> int:
    """Run one make target, pass on what it prints, add to ``counts``; return its exit status."""
    command = [os.environ.get("MAKE", "make"), "--no-print-directory", stage]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if SUMMARY.search(line):
                for number, kind in COUNT.findall(line):
                    counts[kind] += int(number)
    return process.returncode


def main(stages: list[str]) -> int:
    """Run each stage; print a line that sums up; return the first exit status that is not 0."""
    counts: Counter[str] = Counter()
    times, begin, status, last = [], time.monotonic(), 0, ""
    for last in stages:
        print(f"\n==== {last}", flush=True)
        start = time.monotonic()
        status = run(last, counts)
        times.append(f"{last} {time.monotonic() - start:.0f} s")
        if status:
            break
    total = ", ".join(f"{number} {kind}" for kind, number in counts.items()) or "no tests"
    verdict = f"FAILED in {last}" if status else f"All {len(stages)} stages passed"
    print(f"\n{verdict} ({', '.join(times)}).")
    failed = f"stage {last} failed, " if status else ""
    print(f"{failed}{total} in {time.monotonic() - begin:.2f}s", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
