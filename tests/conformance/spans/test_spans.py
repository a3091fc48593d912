"""Real spans of real instrumentors, by every way in: the tables say what the provider knows of them."""

from __future__ import annotations

import pytest
from conformance.spans.corpus import Scenario, scenarios
from conformance.spans.deliver import Delivered
from conformance.spans.gaps import GAPS, NOTHING, Gap, gap_of
from conformance.spans.measure import agree, measured, true
from conformance.spans.report import COMPARED, Compared

from chopsky_trace.database import check as checks
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.read import Reader

INSTRUMENTORS = sorted({scenario.instrumentor for scenario in scenarios()}) or ["none"]


def differences(connection: Connection, scenario: Scenario) -> list[Compared]:
    """Each field of a scenario, with what explains that it differs."""
    ours, truth = measured(connection, scenario), true(scenario)
    return [Compared(scenario, name, ours[name], truth[name], gap_of(scenario, name)) for name in truth]


@pytest.mark.parametrize("instrumentor", INSTRUMENTORS)
def test_the_tables_say_what_the_provider_knows(
    instrumentor: str, delivered: Delivered, request: pytest.FixtureRequest
) -> None:
    found = [
        one
        for scenario in scenarios()
        if scenario.instrumentor == instrumentor
        for one in differences(delivered.connection, scenario)
    ]
    request.config.stash[COMPARED].append((delivered.way, found))
    problems = [problem for one in found if (problem := one.problem())]
    assert not problems, "\n".join(problems)


def test_the_tables_agree_with_themselves(delivered: Delivered) -> None:
    reader = Reader(delivered.connection)
    assert [found for batch in checks.check(reader, patience_s=0) for found in batch.findings] == []
    lost = delivered.connection.execute("select losses from writer_status where losses <> '{}'").fetchall()
    assert lost == []


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.why[:60])
def test_every_gap_is_there(gap: Gap) -> None:
    # What it says is compared above; here, that there is anything that it says it of.
    concerned = [scenario for scenario in scenarios() if gap.is_of(scenario)]
    if not concerned:
        pytest.skip("none of the scenarios at hand is of this kind")
    truths = [(scenario, true(scenario)) for scenario in concerned]
    met = {
        field
        for field in gap.said
        if any(not agree(field, gap.left(scenario, field), truth[field]) for scenario, truth in truths)
    }
    assert met == gap.said.keys() or gap.said is NOTHING
