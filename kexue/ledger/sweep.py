"""Mutation of premises: every proved equation must fall with what it claims to rest on.

A derivation that starts from its premises is refuted when a premise is wrong. A formula compared
with itself (the same object, retyped, or led through a helper) survives every wrong premise, and
is thereby found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from kexue.ledger.premises import faults
from kexue.ledger.runner import Run, remembering, run, run_honest


@dataclasses.dataclass
class Rests:
    """What one proved equation was found to rest on."""

    label: str
    kind: str
    killed_by: list[tuple[str, str]]  # (premise, what was done to it)
    idle: list[str]  # declared, has a value, and no wrong version of it refutes the check
    through: dict[str, list[str]]  # declared, itself proved: the premises both rest on
    wordless: list[str]  # declared, but said in words only: nothing to get wrong
    undeclared: list[str]  # refutes the check, and is neither declared nor behind what is

    @property
    def sound(self) -> bool:
        """Killed by a wrong premise, and by each declared premise that can be wrong."""
        return bool(self.killed_by) and not self.idle


class Sweep:
    """Runs a notebook's ledger cells under wrong premises and remembers what fell."""

    def __init__(self, code: list[Any]) -> None:
        self.code = code
        self.memory: dict[Any, Any] = {}
        with remembering(self.memory):
            self.honest = run_honest(code)
        self.fallen: dict[tuple[str, int], set[str]] = {}

    def faults(self, premise: str) -> list[str]:
        """The ways ``premise`` can be wrong, in words; empty if it has no value."""
        value = self.honest.outcomes[premise].value
        return [] if value is None else [name for name, _ in faults(value)]

    def fall(self, premise: str, k: int) -> set[str]:
        """The checks that fail when ``premise`` is handed out wrong in its ``k``-th way."""
        if (premise, k) not in self.fallen:
            with remembering(self.memory):
                result = run(self.code, (premise, k), self.honest.outcomes)
            self.fallen[premise, k] = _fallen(self.honest, result) - {premise}
        return self.fallen[premise, k]

    def killers(self, label: str, premise: str) -> list[tuple[str, str]]:
        """The wrong versions of ``premise`` under which ``label`` fails, among those tried."""
        names = self.faults(premise)
        return [(premise, name) for k, name in enumerate(names) if label in self._tried(premise, k)]

    def _tried(self, premise: str, k: int) -> set[str]:
        return self.fallen.get((premise, k), set())

    def report(self) -> list[Rests]:
        """Try every premise and return what each checked equation rests on."""
        outcomes = self.honest.outcomes
        kinds = {label: o.record.kind for label, o in outcomes.items()}
        checked = [label for label, kind in kinds.items() if kind in ("proved", "measured")]
        roots = [r for r in outcomes if r not in checked and self.faults(r)]
        for root in roots:  # first every part times 3/2
            for k, name in enumerate(self.faults(root)):
                if name.endswith("times 3/2"):
                    self.fall(root, k)
        return [self._rests(label, kinds, roots) for label in checked]

    def _rests(self, label: str, kinds: Mapping[str, str], roots: list[str]) -> Rests:
        given = self.honest.outcomes[label].record.given
        found = Rests(label, kinds[label], [], [], {}, [], [])
        for premise in given:
            if premise in roots:
                if not self._insist(label, premise):
                    found.idle.append(premise)
            elif kinds.get(premise) == "proved":  # what refutes both is what they share
                shared = [r for r in roots if self.killers(label, r) and self.killers(premise, r)]
                found.through[premise] = shared
                found.idle += [] if shared else [premise]
            else:
                found.wordless.append(premise)
        behind = self._closure(given)
        for premise in kinds:
            killers = self.killers(label, premise)
            found.killed_by += killers
            if killers and premise in roots and premise not in behind:
                found.undeclared.append(premise)
        return found

    def _insist(self, label: str, premise: str) -> bool:
        """Try the ways to get ``premise`` wrong until one refutes ``label``."""
        if self.killers(label, premise):
            return True
        return any(label in self.fall(premise, k) for k in range(len(self.faults(premise))))

    def _closure(self, given: tuple[str, ...]) -> set[str]:
        """The declared premises and what those declare in turn."""
        seen, todo = set(), list(given)
        while todo:
            label = todo.pop()
            if label not in seen:
                seen.add(label)
                outcome = self.honest.outcomes.get(label)
                todo += outcome.record.given if outcome else ()
        return seen


def _fallen(honest: Run, result: Run) -> set[str]:
    """Labels refuted in ``result``, or whose derivation broke down before the comparison."""
    fallen = {label for label, outcome in result.outcomes.items() if outcome.refuted}
    for label, number in honest.statements.items():
        if label not in result.outcomes and number in result.raised:
            fallen.add(label)
    return fallen
