"""`OTEL_TRACES_EXPORTER=chopsky opentelemetry-instrument ...`: no line of code in the application."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otel_spans import rows, transcript

INSTRUMENT = Path(sys.executable).with_name("opentelemetry-instrument")
APPLICATION = """
import sys
from openai import OpenAI

with OpenAI(base_url=sys.argv[1], api_key="none") as client:
    client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "system", "content": "You are a cook."}, {"role": "user", "content": "Ramen?"}],
    )
"""
SAID = [("user", "Ramen?"), ("assistant", "Boil the noodles, then season.")]


class Sink:
    """What arrived at an OTLP endpoint."""

    def __init__(self) -> None:
        self.url = ""
        self.spans = 0
        self.log_records = 0

    def take(self, path: str, body: bytes) -> None:
        """Count what a request brings."""
        if path == "/v1/traces":
            request = ExportTraceServiceRequest.FromString(body)
            self.spans += sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)
        elif path == "/v1/logs":
            told = ExportLogsServiceRequest.FromString(body)
            self.log_records += sum(len(s.log_records) for r in told.resource_logs for s in r.scope_logs)


@contextmanager
def otlp_sink() -> Iterator[Sink]:
    """Serve on a free loopback port while the block runs."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sink.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    sink.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run_application(database_url: str, data_dir: Path, provider_url: str, **variables: str) -> None:
    """Run the application under OpenTelemetry's own launcher."""
    done = subprocess.run(
        [str(INSTRUMENT), sys.executable, "-c", APPLICATION, provider_url],
        env={
            **os.environ,
            "CHOPSKY_TRACE_DATABASE_URL": database_url,
            "CHOPSKY_TRACE_DATA_DIR": str(data_dir),
            "OTEL_METRICS_EXPORTER": "none",
            "PYTHONPATH": os.pathsep.join(sys.path),
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr


def check_one_call(database_url: str) -> None:
    """Two instrumentors are installed for OpenAI's SDK: both told the one call."""
    calls = rows(
        database_url, "select kind, total_tokens, finish_reason from conversation_spans where duplicate_of is null"
    )
    assert [tuple(call.values()) for call in calls] == [("llm", 75, "stop")]
    assert len(rows(database_url, "select 1 from conversation_spans")) == 2
    assert transcript(database_url) == SAID


@pytest.mark.parametrize("content", ["span_only", "event_only", "span_and_event"])
def test_spans_and_log_records_arrive(content: str, database_url: str, tmp_path: Path, openai_url: str) -> None:
    run_application(
        database_url,
        tmp_path / "child",
        openai_url,
        OTEL_TRACES_EXPORTER="chopsky",
        OTEL_LOGS_EXPORTER="chopsky",
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=content,
        OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT="true",
    )

    check_one_call(database_url)


def test_beside_otlp(database_url: str, tmp_path: Path, openai_url: str) -> None:
    with otlp_sink() as sink:
        run_application(
            database_url,
            tmp_path / "child",
            openai_url,
            OTEL_TRACES_EXPORTER="otlp,chopsky",
            OTEL_LOGS_EXPORTER="otlp,chopsky",
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.url,
            OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="event_only",
            OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT="true",
        )

    assert (sink.spans, sink.log_records) == (2, 1)
    check_one_call(database_url)
