"""`chopsky-trace serve` as a process of its own: real exporters, signals, and what is in the tables afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from uuid import UUID

import httpx
import psycopg
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from server.otlp_requests import request
from server.process import COMMAND, ROOT, run_ids, serving
from server.serving import PROTOBUF

from chopsky_trace.sources.otlp.parts import MOST_ATTRIBUTES

TOKEN = "a-token-for-tests-only"
GENAI = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 5,
}


def genai_request(trace_id: bytes) -> bytes:
    """One finished call, alone in its trace."""
    made = request(1, trace_id=trace_id)
    span = made.resource_spans[0].scope_spans[0].spans[0]
    span.start_time_unix_nano, span.end_time_unix_nano = 1_700_000_000_000_000_000, 1_700_000_001_000_000_000
    for key, value in GENAI.items():
        kind = "string_value" if isinstance(value, str) else "int_value"
        setattr(span.attributes.add(key=key).value, kind, value)
    return made.SerializeToString()


def post(address: str, body: bytes, **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=30) as client:
        return client.post(f"{address}/v1/traces", content=body, headers={"Content-Type": PROTOBUF} | headers)


def export(address: str, count: int, compression: Compression, headers: dict[str, str] | None = None) -> set[UUID]:
    """Real spans through the SDK's own exporter; the ids of their traces."""
    exporter = OTLPSpanExporter(f"{address}/v1/traces", headers=headers, compression=compression, timeout=30)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("opentelemetry.instrumentation.genai.openai")
    made: set[UUID] = set()
    for _ in range(count):
        with tracer.start_as_current_span("chat gpt-4o-mini", attributes=GENAI) as span:
            made.add(UUID(int=span.get_span_context().trace_id))
    assert provider.force_flush(30_000)
    provider.shutdown()
    return made


@pytest.mark.slow
@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_sdks_exporter_lands_in_the_tables(database_url: str, tmp_path: Path, compression: Compression) -> None:
    with serving(tmp_path, database_url, CHOPSKY_TRACE_SERVER_TOKEN=TOKEN) as server:
        assert server.told["token"] is True
        export(server.address, 1, compression, {"Authorization": "Bearer wrong"})
        made = export(server.address, 600, compression, {"Authorization": f"Bearer {TOKEN}"})
        said = server.end()
    assert len(made) == 600
    assert run_ids(database_url) == made
    assert TOKEN not in said + json.dumps(server.told)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells how much memory a process had")
def test_a_span_of_very_many_attributes_takes_little_memory(database_url: str, tmp_path: Path) -> None:
    def peak_bytes(pid: int) -> int:
        (told,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(told.split()[1]) * 1024

    trace_id = b"m" * 16
    made = ExportTraceServiceRequest.FromString(genai_request(trace_id))
    attributes = made.resource_spans[0].scope_spans[0].spans[0].attributes
    for number in range(700_000):
        attributes.add(key=f"key {number}").value.string_value = f"value {number}"
    with serving(tmp_path, database_url) as server:
        assert post(server.address, genai_request(b"f" * 16)).content == b""
        before = peak_bytes(server.process.pid)
        answer = post(server.address, made.SerializeToString())
        partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
        left_out = 700_000 + len(GENAI) - MOST_ATTRIBUTES
        assert (answer.status_code, partial.rejected_spans) == (200, 0)
        assert partial.error_message.startswith(f"{left_out} attributes")
        while UUID(bytes=trace_id) not in run_ids(database_url):
            assert server.process.poll() is None
            time.sleep(0.05)
        # Without bounds it takes about a gigabyte.
        assert peak_bytes(server.process.pid) - before < 300_000_000
    with psycopg.connect(database_url) as connection:
        query = "select metadata from conversation_spans where conversation_run_id = %s"
        (kept,) = connection.execute(query, [UUID(bytes=trace_id)]).fetchone() or ({},)
    assert kept["partial"] == ["attributes"]


@pytest.mark.slow
def test_several_serve_one_database(database_url: str, tmp_path: Path) -> None:
    # Two that share a journal's folder, as on one machine, and one that has its own.
    with (
        serving(tmp_path / "shared", database_url) as one,
        serving(tmp_path / "shared", database_url) as other,
        serving(tmp_path / "own", database_url) as third,
    ):
        addresses = [one.address, other.address, third.address]
        traces = [bytes([number]) * 16 for number in range(1, 31)]
        for number, trace_id in enumerate(traces):
            assert post(addresses[number % 3], genai_request(trace_id)).status_code == 200
    assert run_ids(database_url) == {UUID(bytes=trace_id) for trace_id in traces}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_that_has_begun_is_finished(database_url: str, tmp_path: Path, number: int) -> None:
    body = genai_request(b"x" * 16)
    with serving(tmp_path, database_url) as server:
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nExpect: 100-continue\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            assert connection.recv(1_000).startswith(b"HTTP/1.1 100")
            server.process.send_signal(number)
            connection.sendall(body)
            assert connection.recv(1_000).startswith(b"HTTP/1.1 200")
        assert server.process.wait(60) == 0
    assert run_ids(database_url) == {UUID(bytes=b"x" * 16)}


@pytest.mark.slow
def test_without_tables_what_is_accepted_waits(fresh_database: str, tmp_path: Path) -> None:
    from chopsky_trace.database import migrate

    with serving(tmp_path, fresh_database, CHOPSKY_TRACE_SHUTDOWN_TIMEOUT_S="0.5") as server:
        assert post(server.address, genai_request(b"w" * 16)).status_code == 200
        said = server.end()
    assert "chopsky-trace migrate" in said
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        migrate.migrate(connection)
    with serving(tmp_path, fresh_database) as server:
        pass
    assert run_ids(fresh_database) == {UUID(bytes=b"w" * 16)}


def refused(tmp_path: Path, *arguments: str, **more: str) -> str:
    done = subprocess.run(
        [*COMMAND, "serve", "--database-url", "postgresql://nobody@127.0.0.1:1/none", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "CHOPSKY_TRACE_DATA_DIR": str(tmp_path), **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_other_interfaces_need_a_token(tmp_path: Path, host: str) -> None:
    assert "CHOPSKY_TRACE_SERVER_TOKEN" in refused(tmp_path, "--host", host)


def test_a_token_must_be_one(tmp_path: Path) -> None:
    empty = tmp_path / "token"
    empty.write_text("\n")
    assert "must hold the token" in refused(tmp_path, "--token-file", str(empty))
    said = refused(tmp_path, CHOPSKY_TRACE_SERVER_TOKEN="sh0rt")
    assert "characters or more" in said
    assert "sh0rt" not in said


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "another --port" in refused(tmp_path, "--port", str(taken.getsockname()[1]))
