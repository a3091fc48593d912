"""How many spans `chopsky-trace serve` takes a second, and how many of them become rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from benchmarks import machine
from benchmarks.server import Server
from chopsky_trace.database.migrate import migrate

BATCH = 512
"""Spans of one request, as the SDK's batch processor sends them."""
BATCHES = 60
CONNECTIONS = 8
WARM = CONNECTIONS
"""Requests before it counts: what is loaded and opened once is not what it sustains."""
WORKERS = 2, 1
DATABASE = "bench_receiver"
PATIENCE_S = 120.0
SERVE = [sys.executable, "-c", "from chopsky_trace.cli import main; main()", "serve", "--port", "0", "--json"]


@dataclass(frozen=True, slots=True)
class Trial:
    """The same spans, posted and stored once."""

    workers: int
    """Processes of the receiver."""
    spans: int
    accepted_s: float
    """From the first byte sent to the last answer."""
    stored_s: float
    """From there to the last row committed."""
    rows: int
    """Spans in the table at the end."""
    sent_again: int
    """Requests that were answered with 503 first."""
    receiver_cpu_s: float
    postgres_cpu_s: float


def spans(batches: int) -> list[ReadableSpan]:
    """Spans of agents as the SDK makes them: a root, two model calls with their messages, a tool."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(span_limits=SpanLimits())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("opentelemetry.instrumentation.genai.openai")
    for number in range(batches * BATCH // 4):
        with tracer.start_as_current_span("invoke_agent chef", attributes={"gen_ai.operation.name": "invoke_agent"}):
            for turn in range(2):
                with tracer.start_as_current_span("chat gpt-4o-mini", attributes=_call(number, turn)):
                    pass
            with tracer.start_as_current_span(
                "execute_tool pantry", attributes={"gen_ai.operation.name": "execute_tool"}
            ):
                pass
    return list(exporter.get_finished_spans())


def _call(number: int, turn: int) -> dict[str, str | int]:
    asked = f"What can I cook with {number} chickpeas and spinach? " * 4
    said = [{"role": "user", "parts": [{"type": "text", "content": f"{asked} Turn {turn}."}]}]
    answer = [{"role": "assistant", "parts": [{"type": "text", "content": f"Stew number {number}. " * 8}]}]
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.id": f"chatcmpl-{number}-{turn}",
        "gen_ai.usage.input_tokens": 90 + turn,
        "gen_ai.usage.output_tokens": 40,
        "gen_ai.input.messages": json.dumps(said),
        "gen_ai.output.messages": json.dumps(answer),
    }


def bodies(made: list[ReadableSpan]) -> list[bytes]:
    """Export requests of them."""
    return [encode_spans(made[start : start + BATCH]).SerializeToString() for start in range(0, len(made), BATCH)]


@contextmanager
def serving(url: str, folder: Path, workers: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`chopsky-trace serve` for a database, and where it listens."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHOPSKY_TRACE_")}
    environment = kept | {"CHOPSKY_TRACE_DATABASE_URL": url, "CHOPSKY_TRACE_DATA_DIR": str(folder)}
    with subprocess.Popen(
        [*SERVE, "--workers", str(workers)], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            lines = []
            while not lines or lines[-1] != "}\n":
                lines.append(process.stdout.readline())
                if not lines[-1]:
                    raise RuntimeError("serve ended before it was ready")
            yield process, json.loads("".join(lines))["listening"]
        finally:
            process.send_signal(signal.SIGTERM)


def trial(server: Server, posted: list[bytes], count: int, workers: int) -> Trial:
    """Post everything to a receiver with an empty database, and wait for the rows."""
    url = server.create(DATABASE)
    with psycopg.connect(url, autocommit=True) as connection, tempfile.TemporaryDirectory() as folder:
        migrate(connection)
        with serving(url, Path(folder), workers) as (process, address):
            _post(address, posted[:WARM])
            _wait(connection, WARM * BATCH)
            cpu, postgres = machine.tree_cpu_s(process.pid), server.cpu_s()
            told = _post(address, posted[WARM:])
            began = time.perf_counter()
            rows = _wait(connection, count)
            stored_s = time.perf_counter() - began
            found = Trial(
                workers=workers,
                spans=count - WARM * BATCH,
                accepted_s=told["seconds"],
                stored_s=stored_s,
                rows=rows - WARM * BATCH,
                sent_again=told["answered"].get("503", 0),
                receiver_cpu_s=machine.tree_cpu_s(process.pid) - cpu,
                postgres_cpu_s=server.cpu_s() - postgres,
            )
    server.drop(DATABASE)
    return found


def _post(address: str, posted: list[bytes]) -> dict[str, Any]:
    poster = subprocess.run(
        [sys.executable, "-m", "benchmarks.poster", address, str(CONNECTIONS)],
        input=b"".join(len(body).to_bytes(8, "big") + body for body in posted),
        capture_output=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(poster.stdout)
    refused = {status: number for status, number in told["answered"].items() if status not in ("200", "503")}
    if refused:
        raise RuntimeError(f"requests were refused: {refused}")
    return told


def _wait(connection: psycopg.Connection, wanted: int) -> int:
    """How many rows there are when there are as many as wanted, or patience is at its end."""
    began = time.perf_counter()
    rows = _rows(connection)
    while rows < wanted and time.perf_counter() - began < PATIENCE_S:
        # To count them costs the server what it needs for the rows.
        time.sleep(0.2)
        rows = _rows(connection)
    return rows


def _rows(connection: psycopg.Connection) -> int:
    row = connection.execute("select count(*) from conversation_spans where ended_at is not null").fetchone()
    return row[0] if row else 0


def measure(server: Server, rounds: int, share: float, say: Callable[[str], None]) -> list[Trial]:
    """The same spans, `rounds` times into an empty database."""
    say("receiver: making the spans")
    made = spans(WARM + max(WARM, round(BATCHES * share)))
    posted = bodies(made)
    trials: list[Trial] = []
    for number in range(rounds):
        say(f"receiver: round {number + 1} of {rounds}")
        trials += [trial(server, posted, len(made), workers) for workers in WORKERS]
    return trials


def sentence(trials: list[Trial]) -> str:
    """The measurement, for people."""
    return "\n\n".join(_sentence([each for each in trials if each.workers == workers]) for workers in WORKERS)


def _sentence(trials: list[Trial]) -> str:
    def median(value: Callable[[Trial], float]) -> str:
        return machine.figure(machine.median(value(each) for each in trials), 0)

    accepted = median(lambda each: each.spans / each.accepted_s)
    stored = median(lambda each: each.spans / (each.accepted_s + each.stored_s))
    receiver = median(lambda each: each.receiver_cpu_s / each.spans * 1e6)
    postgres = median(lambda each: each.postgres_cpu_s / each.spans * 1e6)
    lost = sum(each.spans - each.rows for each in trials)
    again = sum(each.sent_again for each in trials)
    serve = f"`chopsky-trace serve --workers {trials[0].workers}`"
    how = f"posted by another process over {CONNECTIONS} connections to {serve}"
    return (
        f"Receiver: {trials[0].spans:,} spans of agents (a root, two model calls with messages, a tool) in requests "
        f"of {BATCH}, {how}: {accepted} spans a second accepted, {stored} a second from the first byte to the last "
        f"committed row; of all rounds {lost} spans lost, {again} requests sent again. CPU for a span: {receiver} us "
        f"in the receiver (with its writer), {postgres} us in PostgreSQL, which shares the machine. "
        f"Median of {len(trials)} rounds."
    )
