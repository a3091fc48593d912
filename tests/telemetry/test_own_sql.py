"""Our own statements are traced by nobody, the application's are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otel_spans import ask, rows

from chopsky_trace import SupabaseSpanExporter, SupabaseSpanProcessor, SupabaseTracer


@pytest.fixture
def instrumented() -> Iterator[tuple[TracerProvider, InMemorySpanExporter]]:
    """psycopg instrumented for the whole process; what it told."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    instrumentor = PsycopgInstrumentor()
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    yield provider, kept
    instrumentor.uninstrument()


def names(kept: InMemorySpanExporter) -> list[str]:
    return [span.name for span in kept.get_finished_spans()]


def check_only_the_applications(database_url: str, kept: InMemorySpanExporter) -> None:
    """The instrumentor works, and told nothing so far but the call."""
    assert names(kept) == ["chat gpt-4o-mini"]
    with psycopg.connect(database_url) as connection:
        connection.execute("select 1")
    assert "select" in [name.lower() for name in names(kept)]


WAYS: dict[str, Callable[[TracerProvider, SupabaseSpanExporter], None]] = {
    "batches": lambda provider, exporter: provider.add_span_processor(BatchSpanProcessor(exporter)),
    "each at once": lambda provider, exporter: provider.add_span_processor(SimpleSpanProcessor(exporter)),
    "shown as active": lambda provider, exporter: provider.add_span_processor(SupabaseSpanProcessor(exporter)),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_exporters_writer_makes_no_spans(
    way: str, database_url: str, instrumented: tuple[TracerProvider, InMemorySpanExporter]
) -> None:
    provider, kept = instrumented
    exporter = SupabaseSpanExporter(database_url)
    WAYS[way](provider, exporter)
    # The writer begins in the context of whoever wakes it.
    with trace.use_span(provider.get_tracer("app").start_span("under way")):
        ask(provider.get_tracer("test.genai"), "Hi", "Hello")
        assert provider.force_flush()
        assert exporter.force_flush()
    check_only_the_applications(database_url, kept)
    provider.shutdown()
    exporter.shutdown()

    # The statement above is of another trace.
    assert [row["name"] for row in rows(database_url, "select name from conversation_spans")] == ["chat gpt-4o-mini"]


def test_the_callbacks_writer_makes_no_spans(
    database_url: str, instrumented: tuple[TracerProvider, InMemorySpanExporter]
) -> None:
    from langchain_core.runnables import RunnableLambda

    provider, kept = instrumented
    tracer = SupabaseTracer(database_url)
    with provider.get_tracer("app").start_as_current_span("chat gpt-4o-mini"):
        RunnableLambda(lambda value: value).invoke("x", {"callbacks": [tracer]})
        assert tracer.flush(10)

    check_only_the_applications(database_url, kept)
