"""The table that `make conformance` prints of recorded telemetry: what of the truth is in the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from conformance.spans.corpus import Scenario
from conformance.spans.gaps import Gap
from conformance.spans.measure import TOKENS, agree
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


class Compared(NamedTuple):
    """A field of a scenario: what the tables say, what is true, and the gap that is of it."""

    scenario: Scenario
    field: str
    ours: Any
    truth: Any
    gap: Gap | None

    @property
    def is_equal(self) -> bool:
        return agree(self.field, self.ours, self.truth)

    def problem(self) -> str:
        """What is wrong with it: "" where it is equal, or different as a gap says it."""
        if self.gap is None:
            said = "" if self.is_equal else f"{self.ours!r}, and {self.truth!r} is true"
        else:
            left = self.gap.left(self.scenario, self.field)
            said = "" if self.ours == left else f"{self.ours!r}, and {left!r} is expected: {self.gap.why}"
        return said and f"{self.scenario.id}: {self.field} is {said}"

    @property
    def outcome(self) -> str:
        """equal, not told, or different."""
        if self.problem():
            return "different"
        return "equal" if self.gap is None else "not told"


COMPARED = pytest.StashKey[list[tuple[str, list[Compared]]]]()
"""By way in."""
OUTCOMES = ("equal", "not told", "different")


def show(told: Sequence[tuple[str, list[Compared]]], console: Console) -> None:
    """Print by instrumentor, by field and by reason what came in one way, and how the other ways compare."""
    ways: dict[str, list[Compared]] = {}
    for way, compared in told:
        ways.setdefault(way, []).extend(compared)
    first = next(iter(ways))
    console.print(f"Recorded telemetry, by {first}")
    for table in (_instrumentors, _fields, _gaps):
        table(ways[first], console)
    for way, compared in ways.items():
        totals = _totals(compared)
        counts = Counter(one.outcome for one in compared)
        console.print(
            f"by {way}: {len({one.scenario.id for one in compared})} scenarios, {len(compared)} fields compared:"
            f" {counts['equal']} equal, {counts['not told']} not in the telemetry or wrong there,"
            f" {counts['different']} different; token totals exact: {sum(totals)} of {len(totals)} with spans"
        )


def _totals(compared: Sequence[Compared]) -> list[bool]:
    """Of each scenario that has spans, whether input and output tokens, embeddings' too, are what its provider counted.

    Also where the provider did not tell its client: that is not in the telemetry.
    """
    exact: dict[str, bool] = {}
    for one in compared:
        if one.field in (*TOKENS[:2], "embedding_tokens") and one.scenario.traces:
            due = one.scenario.count(one.field)
            exact[one.scenario.id] = exact.get(one.scenario.id, True) and (one.ours or 0) == due
    return list(exact.values())


def _instrumentors(compared: Sequence[Compared], console: Console) -> None:
    table = Table("instrumentor", "scenarios", "fields", *OUTCOMES, box=SIMPLE_HEAD)
    for name in sorted({one.scenario.instrumentor for one in compared}):
        mine = [one for one in compared if one.scenario.instrumentor == name]
        counts = Counter(one.outcome for one in mine)
        scenarios = len({one.scenario.id for one in mine})
        table.add_row(name, str(scenarios), str(len(mine)), *(str(counts[outcome] or "") for outcome in OUTCOMES))
    console.print(table)


def _fields(compared: Sequence[Compared], console: Console) -> None:
    table = Table("field", "scenarios", *OUTCOMES, box=SIMPLE_HEAD)
    for name in dict.fromkeys(one.field for one in compared):
        counts = Counter(one.outcome for one in compared if one.field == name)
        table.add_row(name, str(counts.total()), *(str(counts[outcome] or "") for outcome in OUTCOMES))
    console.print(table)


def _gaps(compared: Sequence[Compared], console: Console) -> None:
    table = Table("not in the telemetry, or wrong there", "fields", "times met", box=SIMPLE_HEAD)
    met: dict[str, Counter[str]] = {}
    for one in compared:
        if one.gap is not None and not one.problem():
            met.setdefault(one.gap.why, Counter())[one.field] += 1
    for why, fields in met.items():
        table.add_row(why, ", ".join(fields), str(fields.total()))
    console.print(table)
