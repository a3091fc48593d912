"""What is remembered of traces is bounded, and forgetting changes nothing that is stored."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.trace import Tracer
from otel_spans import ask, made, rows

from chopsky_trace import SupabaseSpanExporter
from chopsky_trace.settings import Settings, resolve_target
from chopsky_trace.telemetry import unfold
from chopsky_trace.telemetry.unfold import Unfolder
from chopsky_trace.writer import writer_for


def endless(tracer: Tracer) -> None:
    with tracer.start_as_current_span("kitchen"):
        for number in range(60):
            ask(tracer, f"Course {number}?", f"Soup {number}.")


def unfolder(database_url: str) -> Unfolder:
    settings = Settings.from_env()
    return writer_for(resolve_target(settings, database_url), settings).unfolder


def test_a_trace_that_goes_on_and_on(
    database_url: str, exporter: SupabaseSpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its root has not come: all that was said is there, and memory holds the latest of it."""
    monkeypatch.setattr(unfold, "MAX_TRACE", 10)
    for span in made(endless)[:-1]:
        exporter.export([span])
        assert exporter.force_flush(10_000)
        assert max((trace.size for trace in unfolder(database_url)._traces.open.values()), default=0) <= 10
    said = rows(database_url, "select role, content, count(*) from conversation_messages group by 1, 2")
    assert len(said) == 120
    assert {row["count"] for row in said} == {1}
    assert rows(
        database_url, "select count(*) as spans, count(distinct conversation_run_id) as runs from conversation_spans"
    ) == [{"spans": 60, "runs": 1}]


def test_spans_that_wait_are_bounded_by_their_text(
    database_url: str, exporter: SupabaseSpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No span about a model has come of their traces: the oldest are given up, and counted."""
    monkeypatch.setattr(unfold, "MAX_WAITING_CHARS", 100_000)

    def query(tracer: Tracer) -> None:
        with tracer.start_as_current_span("SELECT", attributes={"db.statement": "x" * 10_000}):
            pass

    for _ in range(30):
        exporter.export(made(query))
    assert exporter.force_flush(10_000)
    stats: dict[str, Any] = exporter.stats()
    assert stats["other_spans_waiting"] == 11
    assert stats["other_spans_without_run"] == 19
    assert unfolder(database_url)._traces.waiting_chars == 110_000


def test_ways_to_record_are_bounded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter for each user, say."""
    monkeypatch.setattr(unfold, "MAX_RECORDS", 5)
    for number in range(20):
        exporter = SupabaseSpanExporter(database_url, user_id=f"user {number}")
        exporter.export(made(lambda tracer: ask(tracer, "Soup?", "Soup.")))
        assert exporter.force_flush(10_000)
        assert len(unfolder(database_url)._records) <= 5
    found = rows(database_url, "select user_id from conversation_runs")
    assert {row["user_id"] for row in found} == {f"user {number}" for number in range(20)}
