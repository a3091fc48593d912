"""What exporting spans costs: ours against OpenTelemetry's OTLP/HTTP exporter, span for span, in turns."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from benchmarks import machine
from benchmarks.overhead import child_environment, running_sink
from benchmarks.server import Server
from chopsky_trace.database.connect import connect
from chopsky_trace.database.migrate import migrate
from chopsky_trace.settings import Settings, Target

BATCH = 512
"""What the SDK's batch processor hands over at once."""
DATABASE = "bench_telemetry"

HOW = f"""Telemetry: real spans of OpenInference's LangChain instrumentation (agents of 10 model calls, chains, RAG) are
exported {BATCH} at a time, by ours and by the OTLP/HTTP exporter (protobuf, to a process on loopback
that reads and answers), in turns, each time with new ids. Thread: CPU of the thread that calls `export`. Process: until
everything is delivered, our worker that writes it into PostgreSQL included."""


@dataclass(frozen=True, slots=True)
class Exported:
    """CPU of one batch."""

    thread_s: float
    process_s: float


def instrumented(spans: int) -> list[ReadableSpan]:
    """At least so many spans, as the instrumentation made them; whole traces."""
    from openinference.instrumentation.langchain import LangChainInstrumentor

    from benchmarks.workloads import agent, chain, rag

    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    LangChainInstrumentor().instrument(tracer_provider=provider)
    works = agent(10), chain(), rag()
    number = 0
    while len(kept.get_finished_spans()) < spans:
        for work in works:
            work(number, {"metadata": {"session_id": f"session-{number % 5}", "user_id": f"user-{number % 3}"}})
            number += 1
    LangChainInstrumentor().uninstrument()
    return list(kept.get_finished_spans())


def with_new_ids(spans: Iterable[ReadableSpan]) -> list[ReadableSpan]:
    """The same spans as if they had happened again."""
    traces: dict[int, int] = {}
    ids: dict[int, int] = {}

    def renewed(context: SpanContext) -> SpanContext:
        trace = traces.setdefault(context.trace_id, secrets.randbits(128) | 1)
        span = ids.setdefault(context.span_id, secrets.randbits(64) | 1)
        return SpanContext(trace, span, context.is_remote, context.trace_flags)

    return [
        ReadableSpan(
            span.name,
            context=renewed(span.context),
            parent=renewed(span.parent) if span.parent is not None else None,
            resource=span.resource,
            attributes=span.attributes,
            events=span.events,
            kind=span.kind,
            status=span.status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )
        for span in spans
        if span.context is not None
    ]


def export(exporter: SpanExporter, spans: Sequence[ReadableSpan]) -> Exported:
    """One batch, and everything delivered."""
    process, thread = time.process_time(), time.thread_time()
    result = exporter.export(spans)
    thread = time.thread_time() - thread
    if result is not SpanExportResult.SUCCESS or not exporter.force_flush(60_000):
        raise RuntimeError(f"{type(exporter).__name__} did not deliver")
    return Exported(thread, time.process_time() - process)


def main(url: str, sink: str, rounds: int) -> None:
    """In a process of its own: the instrumentation changes LangChain for good."""
    from chopsky_trace import SupabaseSpanExporter

    spans = instrumented(BATCH)[:BATCH]
    exporters = {"ours": SupabaseSpanExporter(url), "OTLP/HTTP": OTLPSpanExporter(endpoint=f"{sink}/v1/traces")}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in exporters}
    for turn in range(rounds + 1):
        for name in sorted(exporters, reverse=bool(turn % 2)):
            taken = export(exporters[name], with_new_ids(spans))
            # The first opens connections and loads modules.
            if turn:
                found[name].append(asdict(taken))
    print(json.dumps(found))


def measure(server: Server, rounds: int) -> dict[str, list[Exported]]:
    """Batches exported by each, in turns."""
    url = server.create(DATABASE)
    settings = Settings(database_url=url)
    with connect(Target(url, "benchmark"), settings, application_name="benchmark") as connection:
        migrate(connection)
    with tempfile.TemporaryDirectory(prefix="chopsky-bench-") as folder, running_sink() as sink:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.telemetry", url, sink, str(rounds)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment({"CHOPSKY_TRACE_DATA_DIR": folder}),
        )
    told = json.loads(done.stdout.splitlines()[-1])
    return {name: [Exported(**each) for each in batches] for name, batches in told.items()}


def table(found: dict[str, list[Exported]]) -> str:
    """Medians per span, and ratios made within a round."""
    rows: list[list[str]] = []
    other = found["OTLP/HTTP"]
    for name, batches in found.items():
        thread = machine.median(1e6 * each.thread_s / BATCH for each in batches)
        process = machine.median(1e6 * each.process_s / BATCH for each in batches)
        ratio = machine.median(a.thread_s / b.thread_s for a, b in zip(batches, other, strict=True))
        rows.append([name, machine.figure(thread), machine.figure(ratio), machine.figure(process)])
    return machine.table(["exporter", "thread, us a span", "to OTLP/HTTP", "process, us a span"], rows)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    # Without the drain at exit: everything is delivered.
    sys.stdout.flush()
    os._exit(0)
