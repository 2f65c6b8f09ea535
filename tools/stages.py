"""Run make targets one after the other, time each, stop at the first failure.

``python tools/stages.py lint unit`` is what ``make test`` calls.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time


def main(stages: list[str]) -> int:
    """Run each stage; print a line with the times; return the first failing exit status."""
    times = []
    for stage in stages:
        print(f"\n==== {stage}", flush=True)
        start = time.monotonic()
        command = [os.environ.get("MAKE", "make"), "--no-print-directory", stage]
        status = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
        times.append(f"{stage} {time.monotonic() - start:.0f} s")
        if status:
            print(f"\nFAILED in {stage}. Stages: {', '.join(times)}.", flush=True)
            return status
    print(f"\nAll {len(stages)} stages passed: {', '.join(times)}.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
