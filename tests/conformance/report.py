"""The report that `make conformance` prints: a line for each request and mode, the gaps met, totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from conformance.compare import Outcome, is_unseen
from conformance.exchanges import Exchange
from conformance.gaps import GAPS
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


class Replayed(NamedTuple):
    """An exchange replayed in one mode."""

    exchange: Exchange
    mode: str
    outcomes: list[Outcome]


REPLAYED = pytest.StashKey[list[Replayed]]()


@dataclass
class Totals:
    requests: int = 0
    calls: int = 0
    fields: int = 0
    equal: int = 0
    left_out: int = 0
    different: int = 0
    unseen: int = 0


def show(replayed: Sequence[Replayed], console: Console) -> None:
    """Print the tables."""
    totals = Totals()
    met: Counter[str] = Counter()
    table = Table("exchange", "#", "mode", "client", "interface", "calls", "equal", "not passed on", "different")
    table.box = SIMPLE_HEAD
    told: dict[tuple[str, ...], list[str]] = {}
    for exchange, mode, found in sorted(replayed, key=lambda one: one.exchange.name):
        for place, outcome in enumerate(found, 1):
            _add(totals, outcome)
            met.update(finding.gap.why for finding in outcome.gaps if finding.gap)
            told.setdefault((exchange.name, str(place), *_cells(outcome)), []).append(mode)
    # What came out alike in both modes is one line.
    for (name, place, *cells), modes in told.items():
        table.add_row(name, place, ", ".join(modes), *cells)
    console.print(table)
    _gaps(met, console)
    console.print(
        f"{totals.requests} requests, {totals.calls} calls; {totals.fields} fields compared:"
        f" {totals.equal} equal, {totals.left_out} not passed on by the framework, {totals.different} different"
        + (f"; {totals.unseen} embeddings requests that nothing records" if totals.unseen else "")
    )


def _cells(outcome: Outcome) -> list[str]:
    request = outcome.request
    right = sum(finding.is_right and finding.gap is None for finding in outcome.findings)
    made = f"{outcome.calls}" if outcome.calls == outcome.calls_due else f"{outcome.calls} of {outcome.calls_due}"
    if is_unseen(outcome):
        made = "unseen"
    kind = request.api + (" stream" if request.is_stream else "") + (" refused" if request.failed else "")
    return [
        request.driver,
        kind if outcome.calls_due or is_unseen(outcome) else "no model call",
        made,
        str(right or ""),
        ", ".join(finding.field for finding in outcome.gaps),
        "; ".join(outcome.problems),
    ]


def _add(totals: Totals, outcome: Outcome) -> None:
    totals.requests += 1
    totals.calls += outcome.calls
    totals.fields += len(outcome.findings)
    totals.left_out += len(outcome.gaps)
    totals.different += len(outcome.problems)
    totals.unseen += is_unseen(outcome)
    totals.equal += sum(finding.is_right and finding.gap is None for finding in outcome.findings)


def _gaps(met: Counter[str], console: Console) -> None:
    table = Table("not passed on by the framework", "why", "times met", box=SIMPLE_HEAD)
    told: dict[str, list[str]] = {}
    for gap in GAPS:
        told.setdefault(gap.why, []).extend(gap.fields)
    for why, fields in told.items():
        table.add_row(", ".join(dict.fromkeys(fields)), why, str(met[why] or "never"))
    console.print(table)
