"""Every exchange at hand, replayed sync and async: the tables say what its answers say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

pytest.importorskip("vcr")
pytest.importorskip("langchain_openai")

from conformance.compare import FIELDS, outcomes
from conformance.exchanges import Exchange, recorded, recorded_names
from conformance.gaps import GAPS, gap_of
from conformance.made import Made
from conformance.made_cases import CASES
from conformance.replay import MODES, replay
from conformance.report import REPLAYED, Replayed

from chopsky_trace import SupabaseTracer

NAMES = recorded_names()
Prove = Callable[[Exchange], None]


@pytest.fixture
def prove(database_url: str, request: pytest.FixtureRequest) -> Prove:
    """Replays an exchange both ways: nothing is lost, and nothing differs."""

    def replay_and_compare(exchange: Exchange) -> None:
        tracer = SupabaseTracer(database_url)
        seen: set[UUID] = set()
        problems: list[str] = []
        for mode in MODES:
            runs = replay(exchange, tracer, mode)
            assert tracer.flush(20)
            found = outcomes(exchange, runs, database_url, seen)
            request.config.stash[REPLAYED].append(Replayed(exchange, mode, found))
            for place, outcome in enumerate(found, 1):
                problems += [f"{mode}, request {place}: {problem}" for problem in outcome.problems]
        stats = tracer.stats()
        assert stats.get("callback_errors") is None
        assert sum(stats.get("losses", {}).values()) == 0
        assert not problems, "\n".join(problems)

    return replay_and_compare


@pytest.mark.skipif(not NAMES, reason="the recorded exchanges are not at hand (CHOPSKY_TEST_CASSETTES)")
@pytest.mark.parametrize("name", NAMES or ["none"])
def test_recorded_exchange(name: str, prove: Prove) -> None:
    prove(recorded(name))


@pytest.mark.parametrize("made", CASES, ids=lambda made: made.name)
def test_made_exchange(made: Made, prove: Prove, tmp_path: Path) -> None:
    prove(made.exchange(tmp_path))


def test_every_gap_is_met_by_a_made_exchange(tmp_path: Path) -> None:
    requests = [made.exchange(tmp_path).requests[0] for made in CASES]
    met = {
        (field.name, gap.why)
        for request in requests
        for field in FIELDS
        if (gap := gap_of(field.name, request)) is not None and gap.left(request) != field.true(request)
    }
    assert met == {(name, gap.why) for gap in GAPS for name in gap.fields}
