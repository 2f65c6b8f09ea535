"""mutmut as ``mutate_core`` runs it: arithmetic only, and the fastest tests of a mutant first.

``python -P mutate_core_run.py [--all] run ...`` in a room's folder; with ``--all`` mutmut makes all
the mutants it knows. mutmut has no setting for either, so that its tables are changed here.
"""

import sys

from mutmut.__main__ import cli
from mutmut.mutation import mutators
from mutmut.runners.harness import PytestRunner
from mutmut.state import state

ARITHMETIC = ("operator_number", "operator_swap_op", "operator_remove_unary_ops")


def arithmetic_only() -> None:
    """Make mutants of numbers, operators and signs only."""
    kept = [pair for pair in mutators.mutation_operators if pair[1].__name__ in ARITHMETIC]
    if len(kept) != len(ARITHMETIC):
        raise SystemExit(f"mutmut: got the operators {kept}, needs {', '.join(ARITHMETIC)}")
    mutators.mutation_operators[:] = kept


def fastest_first() -> None:
    """Run the tests of a mutant in the order of their time: most mutants die in the first."""
    arguments = PytestRunner._pytest_args_regular_run

    def ordered(self: PytestRunner, tests: list[str]) -> list[str]:
        return arguments(self, sorted(tests, key=lambda t: state().duration_by_test.get(t, 0.0)))

    PytestRunner._pytest_args_regular_run = ordered


if __name__ == "__main__":
    if "--all" in sys.argv:
        sys.argv.remove("--all")
    else:
        arithmetic_only()
    fastest_first()
    cli()
