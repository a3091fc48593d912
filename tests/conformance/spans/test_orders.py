"""However real spans are delivered - in any order, cut up, twice, in several processes - the rows are the same."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import psycopg
import pytest
from conformance.spans.corpus import Hostile, Scenario, hostile, scenarios
from conformance.spans.deliver import Exporters, readable_spans, way_in
from conformance.spans.gaps import gap_of
from conformance.spans.measure import agree, measured, true
from conformance.spans.tables import Rows, clear, conversation, firm, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan

from chopsky_trace.writer import all_writers

EXAMPLES = int(os.environ.get("CHOPSKY_TEST_EXAMPLES", "12"))
HOSTILE = list(hostile())
Set = Callable[[str, str], None]
Check = Callable[[Rows, Rows, int], None]


@pytest.fixture(autouse=True)
def one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker reads at once what a test delivers, unless it asks for more: sizes follow from what came before."""
    monkeypatch.setenv("CHOPSKY_TRACE_FLUSH_INTERVAL_S", "30")


def in_order(one: Hostile, order: str) -> list[tuple[str, Path]]:
    """Its requests: as they are told, or each once or twice, in some other order."""
    told = [(delivery.signal, delivery.path) for delivery in one.deliveries]
    if order == "as told":
        return told
    chance = random.Random(order)
    told += [delivery for delivery in told if chance.random() < 0.5]
    chance.shuffle(told)
    return told


@pytest.mark.parametrize(
    ("way", "order"),
    [("exporter", "as told"), *(("exporter", f"shuffled {n}") for n in range(3)), ("protobuf", "shuffled 3")],
)
@pytest.mark.parametrize("one", HOSTILE, ids=lambda one: one.name)
def test_a_hostile_delivery_is_its_source(
    one: Hostile, way: str, order: str, database_url: str, tmp_path: Path
) -> None:
    with way_in(way, database_url, tmp_path / "receiver") as sender:
        for signal, path in in_order(one, order):
            sender.send(signal, path)

    problems: list[str] = []
    with psycopg.connect(database_url) as connection:
        for scenario in one.sources:
            ours, truth = measured(connection, scenario), true(scenario)
            for name in truth:
                gap = gap_of(scenario, name)
                due = truth[name] if gap is None else gap.left(scenario, name)
                if not agree(name, ours[name], due):
                    problems.append(f"{scenario.id}: {name} is {ours[name]!r}, not {due!r}")
    assert not problems, "\n".join(problems)


def recorded_spans(scenario: Scenario) -> list[ReadableSpan]:
    """A scenario's spans in the order of the recording."""
    path = scenario.file(".pb")
    assert path is not None
    return list(readable_spans(ExportTraceServiceRequest.FromString(path.read_bytes())))


def batches(spans: Sequence[ReadableSpan], chance: random.Random) -> Iterator[list[ReadableSpan]]:
    """All of them, some twice, in any order, some at a time."""
    told = [*spans, *(span for span in spans if chance.random() < 0.3)]
    chance.shuffle(told)
    while told:
        size = chance.randint(1, len(told))
        yield told[:size]
        told = told[size:]


class Delivering:
    """Exports into one database, emptied before each delivery."""

    def __init__(self, database_url: str, folder: Path, set_variable: Set) -> None:
        self.database_url = database_url
        self.folder = folder
        self.set_variable = set_variable
        self.processes = 0
        self.known: dict[str, Rows] = {}

    def in_one_go(self, scenario: Scenario) -> Rows:
        """The rows of all its spans, the root last."""
        if scenario.id not in self.known:
            spans = sorted(recorded_spans(scenario), key=lambda span: (span.end_time or 0, span.parent is None))
            self.known[scenario.id] = self.delivered([[spans]])
        return self.known[scenario.id]

    def delivered(self, processes: Sequence[Sequence[list[ReadableSpan]]], *, flushed: bool = False) -> Rows:
        """The rows after each process exported its batches.

        Args:
            flushed: each batch is in the database before the next comes.
        """
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            clear(connection)
            for told in processes:
                # Its own are the journal's folder, and with it all that a process remembers.
                self.processes += 1
                self.set_variable("CHOPSKY_TRACE_DATA_DIR", str(self.folder / f"process {self.processes}"))
                exporters = Exporters(self.database_url)
                for batch in told:
                    exporters.export(batch)
                    assert not flushed or exporters.spans.force_flush(30_000)
                assert exporters.end() == []
                for writer in all_writers():
                    writer.close(5.0)
            return rows(connection)


def deliver_awkwardly(check: Check, delivering: Delivering, most_processes: int) -> None:
    """Generated deliveries of recorded spans, each checked against the rows of all in one go."""
    several = [scenario for scenario in scenarios() if 1 < scenario.count("spans") < 40]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=EXAMPLES <= 12,
        database=None,
    )
    @given(scenario=st.sampled_from(several), seed=st.integers(0, 2**32), processes=st.integers(1, most_processes))
    def deliver(scenario: Scenario, seed: int, processes: int) -> None:
        chance = random.Random(seed)
        told: list[list[list[ReadableSpan]]] = [[] for _ in range(processes)]
        for batch in batches(recorded_spans(scenario), chance):
            chance.choice(told).append(batch)
        check(delivering.delivered(told), delivering.in_one_go(scenario), processes)

    deliver()


# Long only where it fails: the example is then made small.
@pytest.mark.timeout(600)
def test_any_order_gives_the_same_calls_and_prompts(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(found: Rows, due: Rows, processes: int) -> None:
        assert firm(found, processes) == firm(due, processes)

    deliver_awkwardly(check, Delivering(database_url, tmp_path, monkeypatch.setenv), 2)


@pytest.mark.timeout(600)
def test_any_order_in_one_process_gives_the_same_rows(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(found: Rows, due: Rows, processes: int) -> None:
        assert found == due

    deliver_awkwardly(check, Delivering(database_url, tmp_path, monkeypatch.setenv), 1)


TWO_PROJECTS = "special-multiprocess*"
"""The first process to come says which project a run is of."""
BESIDE_A_MODEL = ("openlit*", "*_parent", "*_concurrent")
"""With spans about no model, which a process that sees nothing else has no run for."""


def several_spans(processes: int) -> list[Scenario]:
    """Scenarios that can come in parts from so many processes."""
    left_out = (TWO_PROJECTS, *(BESIDE_A_MODEL if processes > 1 else ()))
    return [
        one
        for one in scenarios()
        if 1 < one.count("spans") < 20 and not any(fnmatchcase(one.id, pattern) for pattern in left_out)
    ]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_batch_at_a_time_tells_the_same_conversation(
    processes: int, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = several_spans(processes)
    chance = random.Random(processes)
    delivering = Delivering(database_url, tmp_path, monkeypatch.setenv)
    for scenario in chance.sample(several, min(EXAMPLES, len(several))):
        told: list[list[list[ReadableSpan]]] = [[] for _ in range(processes)]
        for batch in batches(recorded_spans(scenario), chance):
            chance.choice(told).append(batch)
        found = conversation(delivering.delivered(told, flushed=True), processes)
        due = conversation(delivering.in_one_go(scenario), processes)
        assert found == due, (scenario, [[[span.name for span in batch] for batch in own] for own in told])


ROOT_FIRST = ("vercel-ai-sdk-v6/chat", "pydantic-ai/multi_turn", "langfuse-langchain/chain_lcel")


@pytest.mark.parametrize("scenario", [one for one in scenarios() if one.id in ROOT_FIRST], ids=lambda one: one.id)
@pytest.mark.parametrize("processes", [1, 2])
def test_an_answer_that_comes_before_its_call_is_told_once(
    scenario: Scenario, processes: int, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivering = Delivering(database_url, tmp_path, monkeypatch.setenv)
    spans = sorted(recorded_spans(scenario), key=lambda span: (span.parent is not None, span.start_time or 0))
    told = [[[span] for span in spans]] if processes == 1 else [[[span]] for span in spans]
    found = conversation(delivering.delivered(told, flushed=True), processes)
    assert found == conversation(delivering.in_one_go(scenario), processes)
