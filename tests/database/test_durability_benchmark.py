"""The benchmark of durability sees what is lost, what comes twice, and what the next process stores."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from benchmarks.durability import MARK, TRACES
from benchmarks.durability.backends import Database, Service
from benchmarks.durability.cases import Case
from benchmarks.durability.gate import Loop
from benchmarks.durability.trial import Trial
from fix_postgres import Server
from langsmith import Client
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as loop:
        yield loop


def test_spans_that_come_again_are_counted(loop: Loop):
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with provider.get_tracer("test").start_as_current_span("root", attributes={"metadata": f'{{"{MARK}": "chain-0"}}'}):
        pass
    body = encode_spans(kept.get_finished_spans()).SerializeToString()
    service = Service(loop)
    for _ in range(2):
        with urlopen(Request(service.url + TRACES, body), timeout=60):
            pass
    found = service.arrived()
    service.close()
    assert (found.runs, found.roots, found.again) == ({"chain-0": 1}, {"chain-0": 1}, 1)


def test_a_run_without_its_end_is_not_stored(loop: Loop):
    service = Service(loop)
    client = Client(api_url=service.url, api_key="not-a-key")
    ids = [uuid.uuid4() for _ in range(2)]
    for number, run in enumerate(ids):
        about = {"id": run, "trace_id": run, "dotted_order": f"20260101T000000000000Z{run}"}
        about |= {"start_time": datetime.now(UTC), "extra": {"metadata": {MARK: f"chain-{number}"}}}
        client.create_run("run", {"question": "?"}, "chain", **about)
    about = {"trace_id": ids[1], "dotted_order": f"20260101T000000000000Z{ids[1]}", "end_time": datetime.now(UTC)}
    client.update_run(ids[1], outputs={"answer": "!"}, **about)
    client.cleanup()
    found = service.arrived()
    service.close()
    assert (found.runs, found.roots, found.again) == ({"chain-1": 1}, {"chain-1": 1}, 0)


@pytest.mark.slow
def test_a_process_that_leaves_without_a_database(loop: Loop, database_url: str, postgres_server: Server):
    """Nothing of it is stored by the process itself, everything by the next."""
    case = Case("`os._exit` while the backend is down", "os_exit", 3, ((0, "down"),))
    name = urlsplit(database_url).path.removeprefix("/")
    database = Database(loop, postgres_server.url(name, postgres_server.superuser), "postgres")
    outcome = Trial(case, "ours", database).run()
    assert (outcome.made, outcome.stored, outcome.doubled, outcome.by_later) == (12, 12, 0, 12)
    assert outcome.notes == []
