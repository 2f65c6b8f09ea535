"""Runs the checks of a notebook: only the cells tagged ``ledger``, statement by statement."""

from __future__ import annotations

import ast
import contextlib
import copy
import dataclasses
import functools
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sympy as sp

from kexue.ledger.checks import Outcome, listening
from kexue.ledger.premises import mutating

TAG = "ledger"
SLOW = "diff", "dsolve", "factor", "integrate", "limit", "series", "simplify", "solve", "summation"


@dataclasses.dataclass
class Run:
    """What a run gave: the outcome of each check, in order, and the statements that raised."""

    outcomes: dict[str, Outcome]
    statements: dict[str, int]  # label -> the statement that checked it
    raised: dict[int, str]  # statement -> error


def ledger_cells(path: str | Path) -> list[str]:
    """Return the source of the notebook's code cells tagged ``ledger``, in order."""
    notebook = json.loads(Path(path).read_text(encoding="utf-8"))
    return [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and TAG in cell.get("metadata", {}).get("tags", [])
    ]


def statements(cells: list[str], name: str = "notebook") -> list[Any]:
    """Return the top-level statements of ``cells``, compiled.

    One at a time, a statement that breaks under a wrong premise takes down only what needs it.
    """
    compiled = []
    for number, source in enumerate(cells, 1):
        tree = ast.parse(source, filename=f"{name}, ledger cell {number}")
        for node in tree.body:
            module = ast.Module(body=[node], type_ignores=[])
            compiled.append(compile(module, f"{name}, ledger cell {number}", "exec"))
    return compiled


def run(
    code: list[Any],
    premise: tuple[str, int] | None = None,
    known: Mapping[str, Outcome] | None = None,
) -> Run:
    """Run compiled statements in one fresh namespace, with ``premise`` handed out wrong if given.

    Nothing is displayed and no failing check raises; a statement that raises is noted and the
    next one runs, in the namespace as it then is. ``known``: outcomes that need no second proof.
    """
    space: dict[str, Any] = {"__name__": "__ledger__"}
    result = Run({}, {}, {})
    wrong = mutating(*premise) if premise else contextlib.nullcontext()
    with wrong, listening(known) as heard, contextlib.redirect_stdout(io.StringIO()):
        for number, statement in enumerate(code):
            before = len(heard)
            try:
                exec(statement, space)
            except Exception as error:
                result.raised[number] = f"{type(error).__name__}: {error}"
            for outcome in heard[before:]:
                label = outcome.record.label
                if label in result.outcomes:
                    raise ValueError(f"label: got {label!r} twice in the notebook, needs it once")
                result.outcomes[label], result.statements[label] = outcome, number
    return result


@contextlib.contextmanager
def remembering(memory: dict[Any, Any]) -> Iterator[None]:
    """Within this context SymPy's slow functions take from ``memory`` what they answered before.

    A wrong premise leaves most of a notebook as it was: what is asked with the very same arguments
    has the same answer, and what the premise changed is asked with others.
    """

    def remembered(name: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def answer(*args: Any, **options: Any) -> Any:
            key = (name, args, tuple(options.items()), *map(type, args))  # 1 is not True here
            try:
                known = key in memory
            except TypeError:  # a list or a dictionary among the arguments
                return function(*args, **options)
            if not known:
                memory[key] = function(*args, **options)
            return copy.copy(memory[key])  # the caller may change a list

        return answer

    originals = {name: getattr(sp, name) for name in SLOW}
    try:
        for name, function in originals.items():
            setattr(sp, name, remembered(name, function))
        yield
    finally:
        for name, function in originals.items():
            setattr(sp, name, function)


def run_honest(code: list[Any]) -> Run:
    """Run with true premises; raise ``AssertionError`` if a check fails or a statement raises."""
    result = run(code)
    wrong = [f"{k}: {o.refuted}" for k, o in result.outcomes.items() if o.refuted]
    wrong += [f"statement {k + 1}: {error}" for k, error in result.raised.items()]
    if wrong:
        raise AssertionError("the checks fail as they stand:\n  " + "\n  ".join(wrong))
    if not result.outcomes:
        raise AssertionError(f"no check ran: are the cells tagged {TAG!r}?")
    return result
