"""Falsify the checked equations of notebooks: every mutant must be noticed.

``python tools/mutate.py`` takes every notebook of the book with cells tagged ``ledger`` and runs
only those cells. Two tests:

* stated: change what is printed (signs, terms, factors, powers, indices), run the check again;
* premises: hand out each premise wrong and derive again: every proved equation must fall.

``--sample 20`` draws 20 stated mutants an equation (0: all), ``--stated`` and ``--premises`` limit
it to one test. The exit status is 1 if a mutant that is no equivalent survives, if a proved
equation survives every wrong premise, or if a declared premise does not matter. Of notebooks that
are named it also says which share of the printed TeX could be read and compared with the records
(``tests/test_ledger.py`` does that for all, and fails if they differ).
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path

from kexue.ledger import tex
from kexue.ledger.printed import read_notebook
from kexue.ledger.runner import ledger_cells, statements
from kexue.ledger.stated import Score, score_stated
from kexue.ledger.sweep import Rests, Sweep
from kexue.ledger.values import flatten

ROOT = Path(__file__).resolve().parent.parent
GOAL = 98  # percent of stated mutants that must be killed


def main(arguments: list[str] | None = None) -> int:
    """Test the notebooks named on the command line, or all; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--sample", type=int, default=0, help="stated mutants an equation, 0: all")
    parser.add_argument("--stated", action="store_true", help="only mutate what is stated")
    parser.add_argument("--premises", action="store_true", help="only mutate premises")
    options = parser.parse_args(arguments)
    if options.sample < 0:
        parser.error(f"--sample: got {options.sample}, needs a number >= 0")
    both = options.stated == options.premises
    paths = options.notebooks or sorted((ROOT / "book").rglob("*.ipynb"))
    failures: list[str] = []
    tested = 0
    for path in paths:
        cells = ledger_cells(path)
        if not cells:
            if options.notebooks:
                failures.append(f"{path}: no cell is tagged 'ledger'")
            continue
        tested += 1
        print(f"== {path}", flush=True)
        start = time.monotonic()
        try:
            sweep = Sweep(statements(cells, path.name))
        except (AssertionError, ValueError, SyntaxError) as error:
            failures.append(f"{path}: {error}")
            continue
        print(f"   {len(sweep.honest.outcomes)} records in {time.monotonic() - start:.1f} s")
        if both or options.stated:
            failures += stated(sweep, options.sample)
        if both or options.premises:
            failures += premises(sweep)
        if options.notebooks:
            printed(path)
    if not tested:
        print("no notebook has cells tagged 'ledger': nothing was tested")
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


def stated(sweep: Sweep, sample: int) -> list[str]:
    """Print the fate of the stated mutants, equation by equation; return what failed."""
    start = time.monotonic()
    proved = [o for o in sweep.honest.outcomes.values() if o.derived is not None]
    parts = [e for o in proved for e in flatten(o.stated)[0]]
    table = [s for s in tex.symbol_table(parts).values() if hasattr(s, "name")]
    scores = [score_stated(o, sample or None, table=table) for o in proved]
    print("   stated expressions (killed / mutants)")
    for score in scores:
        print(f"     {score.label:40s} {score.killed:4d} / {score.total}", flush=True)
        for name, reason in score.equivalent:
            print(f"        equivalent given the premises: {name} ({reason})")
        for part in score.flat:
            print(f"        bad statement: {part} is 0 under the premises, state it otherwise")
        for name in score.survived:
            print(f"        SURVIVED: {name}")
    return _judge(scores, time.monotonic() - start)


def _judge(scores: list[Score], seconds: float) -> list[str]:
    killed, total = sum(s.killed for s in scores), sum(s.total for s in scores)
    share = 100 * killed / total if total else 0.0
    print(f"     total {killed} / {total} killed, {share:.1f} %, {seconds:.1f} s")
    failures = [f"{s.label}: survives {name}" for s in scores for name in s.survived]
    failures += [f"{s.label}: has no mutant, states nothing" for s in scores if not s.total]
    if total and share < GOAL:
        failures.append(f"stated mutants: {share:.1f} % killed, needs {GOAL} %")
    return failures


def premises(sweep: Sweep) -> list[str]:
    """Print what each checked equation rests on; return what failed."""
    start = time.monotonic()
    reports = sweep.report()
    print("   premises (equation: wrong premises that refute it)")
    for rests in reports:
        killers = dict.fromkeys(premise for premise, _ in rests.killed_by)
        print(f"     {rests.label:40s} {', '.join(killers) or 'none'}")
        if rests.wordless:
            print(f"        in words, nothing to get wrong: {', '.join(rests.wordless)}")
        if rests.undeclared:
            print(f"        undeclared: {', '.join(rests.undeclared)}")
    fallen = sum(bool(r.killed_by) for r in reports if r.kind == "proved")
    total = sum(r.kind == "proved" for r in reports)
    print(
        f"     {fallen} of {total} proved equations fall with a wrong premise, "
        f"{len(sweep.fallen)} wrong premises, {time.monotonic() - start:.1f} s"
    )
    return [failure for rests in reports for failure in _unsound(rests)]


def printed(path: Path) -> None:
    """Print which share of the labeled TeX was read and is what the stored records state."""
    found = read_notebook(path)
    stated = [m for m in found if m.status != "none"]
    equal = [m for m in stated if m.status == "equal"]
    share = [f"{len(equal) / max(len(all_), 1):.0%}" for all_ in (stated, found)]
    print(
        f"   printed = checked: read and equal {len(equal)} of {len(stated)} equations that state "
        f"an expression ({share[0]}), of {len(found)} numbered in all ({share[1]})"
    )
    for match in stated:
        if match.status != "equal":
            print(f"     {match.label:40s} {match.status}: {match.detail}")


def _unsound(rests: Rests) -> list[str]:
    if rests.kind != "proved":
        return []
    found = [f"{rests.label}: declares {p}, which does not matter to it" for p in rests.idle]
    if not rests.killed_by:
        found.insert(
            0, f"{rests.label}: no wrong premise refutes it, so it does not derive from any"
        )
    return found


if __name__ == "__main__":
    gc.disable()  # SymPy makes little garbage, and to look for it takes a tenth of the time
    sys.exit(main())
