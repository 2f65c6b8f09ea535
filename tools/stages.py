"""Run make targets, three at a time on two cores, time each, stop at the first failure.

``python tools/stages.py unit nbval lint`` is what ``make test`` calls. Stages start in the order
given (the longest first keeps both cores busy to the end), one more than there are cores, because
browsers, kernels and servers are often waited for; what a stage prints comes in one piece when it
is done. The last line adds up what the stages' pytest runs reported. ``JOBS=1`` runs them one after
the other.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

SUMMARY = re.compile(r"\d+ (?:passed|failed|skipped|error).* in [\d.]+s")
COUNT = re.compile(r"(\d+) (passed|failed|skipped|xfailed|xpassed|errors?)\b")


def run(stage: str) -> tuple[str, int, str, float]:
    """Run one make target; return its name, exit status, what it printed and the seconds."""
    start = time.monotonic()
    done = subprocess.run(
        [os.environ.get("MAKE", "make"), "--no-print-directory", stage],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return stage, done.returncode, done.stdout, time.monotonic() - start


def jobs() -> int:
    """How many stages run at a time: ``JOBS``, or else one more than there are cores, at most 3."""
    asked = os.environ.get("JOBS", "")
    if asked and not (asked.isdecimal() and int(asked) > 0):
        raise SystemExit(f"JOBS: got {asked!r}, needs a number of stages to run at a time")
    return int(asked) if asked else min(3, (os.cpu_count() or 1) + 1)


def main(stages: list[str]) -> int:
    """Run the stages; print a line that sums up; return the first exit status that is not 0."""
    counts: Counter[str] = Counter()
    times, failed, status, begin = [], "", 0, time.monotonic()
    waiting, running, lanes = list(stages), set[Future](), jobs()
    with ThreadPoolExecutor(lanes) as pool:
        while running or (waiting and not failed):
            while waiting and not failed and len(running) < lanes:
                print(f"==== {waiting[0]}: started", flush=True)
                running.add(pool.submit(run, waiting.pop(0)))
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for stage, code, text, seconds in (future.result() for future in finished):
                print(f"\n==== {stage}\n{text}", end="", flush=True)
                times.append(f"{stage} {seconds:.0f} s")
                for line in filter(SUMMARY.search, text.splitlines()):
                    counts.update({kind: int(n) for n, kind in COUNT.findall(line)})
                if code and not failed:
                    failed, status = stage, code
    total = ", ".join(f"{number} {kind}" for kind, number in counts.items()) or "no tests"
    verdict = f"FAILED in {failed}" if failed else f"All {len(stages)} stages passed"
    print(f"\n{verdict} ({', '.join(times)}).")
    failed = f"stage {failed} failed, " if failed else ""
    print(f"{failed}{total} in {time.monotonic() - begin:.2f}s", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
