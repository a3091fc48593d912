"""The receiver over real HTTP: status codes, encodings, limits, and that 200 means: in the journal."""

from __future__ import annotations

import gc
import gzip
import http.client
import json
import socket
import tracemalloc
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import hypothesis
import pytest
from google.rpc.status_pb2 import Status
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from server.otlp_requests import log_request, request
from server.serving import JSON, LIMITS, PROTOBUF, Running, running

from chopsky_trace.server import listening
from chopsky_trace.server.bodies import GZIP, inflated
from chopsky_trace.server.refusals import NotTakenError
from chopsky_trace.settings import Settings

TOKEN = "correct-horse-battery"
SPAN = {"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174", "name": "chat"}
PATHS = ("/v1/traces", "/v1/logs", "/v1/metrics")


def in_json(*spans: object) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as found:
        yield found


def told(response: httpx.Response) -> Status:
    """The Status of a refusal, in whichever encoding it is."""
    if response.headers["content-type"] == PROTOBUF:
        return Status.FromString(response.content)
    found = response.json()
    return Status(code=found["code"], message=found["message"])


def test_accepted_means_in_the_journal(receiver: Running) -> None:
    response = receiver.post("/v1/traces", request(3).SerializeToString())
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == PROTOBUF
    assert receiver.journalled() == 3
    response = receiver.post("/v1/logs", log_request(2).SerializeToString())
    assert (response.status_code, response.content) == (200, b"")
    assert receiver.journalled() == 5


def test_an_answer_does_not_wait_for_the_client_to_acknowledge_its_head() -> None:
    with listening.listen("127.0.0.1", 0) as socket_, socket.create_connection(socket_.getsockname()):
        accepted, _ = socket_.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_json_is_answered_with_json(receiver: Running) -> None:
    response = receiver.post("/v1/traces", in_json(SPAN), "application/json; charset=utf-8")
    assert (response.status_code, response.json()) == (200, {})
    assert response.headers["content-type"] == JSON
    assert receiver.journalled() == 1


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_request_is_fine(receiver: Running, path: str) -> None:
    assert receiver.post(path, b"").status_code == 200
    assert receiver.post(path, b"{}", JSON).json() == {}
    assert receiver.journalled() == 0


def test_metrics_are_accepted_and_counted(receiver: Running) -> None:
    assert receiver.post("/v1/metrics", b"whatever").content == b""
    assert receiver.client.get("/health").json()["received"]["metrics_requests"] == 1


@pytest.mark.parametrize("name", ["gzip", "GZIP", "x-gzip"])
def test_gzip_is_inflated(receiver: Running, name: str) -> None:
    body = gzip.compress(request(2).SerializeToString())
    assert receiver.post("/v1/traces", body, Content_Encoding=name).status_code == 200
    halves = gzip.compress(in_json(SPAN)[:20]) + gzip.compress(in_json(SPAN)[20:])
    assert receiver.post("/v1/traces", halves, JSON, Content_Encoding=name).status_code == 200
    assert receiver.journalled() == 3


@pytest.mark.parametrize("name", ["zstd", "deflate", "br", "gzip, gzip"])
def test_other_compressions_are_refused(receiver: Running, name: str) -> None:
    response = receiver.post("/v1/traces", b"x", Content_Encoding=name)
    assert response.status_code == 415
    assert response.headers["accept-encoding"] == "gzip"
    assert "gzip" in told(response).message


@pytest.mark.parametrize("damage", ["none of it", "cut off", "more behind", "begun"])
def test_broken_gzip_is_refused(receiver: Running, damage: str) -> None:
    whole = gzip.compress(b"{}")
    body = {"none of it": b"{}", "cut off": whole[:-4], "more behind": whole + b"more", "begun": whole[:2]}[damage]
    assert receiver.post("/v1/traces", body, JSON, Content_Encoding="gzip").status_code == 400


def test_gzip_of_very_many_parts_is_refused(receiver: Running) -> None:
    response = receiver.post("/v1/traces", gzip.compress(b"") * 1_000, Content_Encoding="gzip")
    assert response.status_code == 400


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
@pytest.mark.parametrize(("kind", "body"), [(PROTOBUF, b"\xff\xff secret"), (JSON, b'{"secret": '), (JSON, b"[1]")])
def test_what_cannot_be_decoded_is_400_and_not_quoted(receiver: Running, path: str, kind: str, body: bytes) -> None:
    response = receiver.post(path, body, kind)
    assert response.status_code == 400
    assert response.headers["content-type"] == kind
    assert told(response).code == 3
    assert "secret" not in told(response).message
    assert receiver.journalled() == 0


def test_a_body_that_is_refused_is_let_go_of_at_once(receiver: Running) -> None:
    body = b'{"resourceSpans": "' + b"x" * 900_000
    assert receiver.post("/v1/traces", body, JSON).status_code == 400
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(10):
            assert receiver.post("/v1/traces", body, JSON).status_code == 400
        assert tracemalloc.get_traced_memory()[0] < 2 * LIMITS.body_bytes
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("kind", ["text/plain", "application/grpc", "", "application/x-www-form-urlencoded"])
def test_other_content_types_are_refused(receiver: Running, kind: str) -> None:
    response = receiver.post("/v1/traces", b"{}", kind)
    assert response.status_code == 415
    assert "application/x-protobuf" in told(response).message


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(receiver: Running, method: str) -> None:
    response = receiver.client.request(method, "/v1/traces")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert receiver.client.get("/").status_code == 404
    assert receiver.post("/v1/elsewhere", b"").headers["content-type"] == PROTOBUF


def test_health_tells_how_it_is(receiver: Running) -> None:
    response = receiver.client.get("/health")
    assert response.status_code == 200
    assert response.json()["status"] == "ok"
    assert response.json()["journal"]["writable"] is True
    assert receiver.client.head("/health").status_code == 200
    assert receiver.client.post("/health").status_code == 405
    assert "nobody" not in response.text
    assert str(receiver.settings.data_dir) not in response.text


# -- refused one by one


def test_what_can_never_be_accepted_is_partial_success(receiver: Running) -> None:
    made = request(2)
    made.resource_spans[0].scope_spans[0].spans.add(name="no ids")
    made.resource_spans[0].scope_spans[0].spans.add(trace_id=bytes(16), span_id=b"s" * 8)
    response = receiver.post("/v1/traces", made.SerializeToString())
    assert response.status_code == 200
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert partial.rejected_spans == 2
    assert "trace id" in partial.error_message
    response = receiver.post("/v1/traces", in_json(SPAN, SPAN | {"spanId": "abc"}), JSON)
    assert response.json()["partialSuccess"]["rejectedSpans"] == "1"
    logs = log_request(1)
    logs.resource_logs[0].scope_logs[0].log_records.add(trace_id=b"short", span_id=b"s" * 8)
    response = receiver.post("/v1/logs", logs.SerializeToString())
    assert ExportLogsServiceResponse.FromString(response.content).partial_success.rejected_log_records == 1
    assert receiver.journalled() == 4


def test_log_records_of_no_span_are_nobodys_fault(receiver: Running) -> None:
    logs = log_request(1)
    logs.resource_logs[0].scope_logs[0].log_records.add(event_name="started")
    assert receiver.post("/v1/logs", logs.SerializeToString()).content == b""
    record = {"body": {"stringValue": "started"}, "traceId": "", "spanId": ""}
    body = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode()
    assert receiver.post("/v1/logs", body, JSON).json() == {}
    assert receiver.journalled() == 1
    assert receiver.client.get("/health").json()["received"]["logs_aside"] == 2


# -- limits


def test_a_body_is_limited_before_and_after_inflating(receiver: Running) -> None:
    def of(length: int) -> bytes:
        return request(1, name="x" * length).SerializeToString()

    assert receiver.post("/v1/traces", of(LIMITS.body_bytes - 100)).status_code == 200
    response = receiver.post("/v1/traces", of(LIMITS.body_bytes))
    assert response.status_code == 413
    assert str(LIMITS.body_bytes) in told(response).message
    zipped = {"Content_Encoding": "gzip"}
    assert receiver.post("/v1/traces", gzip.compress(of(LIMITS.inflated_bytes - 100)), **zipped).status_code == 200
    assert receiver.post("/v1/traces", gzip.compress(of(LIMITS.inflated_bytes)), **zipped).status_code == 413
    # In pieces, without a length.
    pieces = (b"x" * 60_000 for _ in range(20))
    response = receiver.client.post("/v1/traces", content=pieces, headers={"Content-Type": PROTOBUF})
    assert response.status_code == 413
    assert receiver.journalled() == 2
    assert receiver.client.get("/health").status_code == 200


def test_a_bomb_is_not_inflated(receiver: Running) -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, GZIP)
    bomb = b"".join([*(squeeze.compress(bytes(1_000_000)) for _ in range(200)), squeeze.flush()])
    assert len(bomb) < LIMITS.body_bytes
    response = receiver.post("/v1/traces", bomb, Content_Encoding="gzip")
    assert response.status_code == 413
    assert str(LIMITS.inflated_bytes) in told(response).message
    tracemalloc.start()
    try:
        with pytest.raises(NotTakenError):
            inflated(bomb, 1_000_000)
        # 200 MB are in it.
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_too_many_bytes_at_once_come_back_later(tmp_path: Path) -> None:
    limits = LIMITS._replace(buffer_bytes=1_000)
    with running(tmp_path, limits) as receiver:
        response = receiver.post("/v1/traces", request(1, name="x" * 1_001).SerializeToString())
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert told(response).code == 14
        assert receiver.post("/v1/traces", request(1).SerializeToString()).status_code == 200


def test_too_many_requests_at_once_come_back_later(tmp_path: Path) -> None:
    with running(tmp_path, LIMITS._replace(requests=1)) as receiver, Upload(receiver) as upload:
        response = receiver.post("/v1/traces", request(1).SerializeToString())
        assert response.status_code == 503
        upload.finish()
        assert upload.status() == 200
        assert receiver.post("/v1/traces", request(1).SerializeToString()).status_code == 200


class Upload:
    """A request whose body comes slowly."""

    def __init__(self, receiver: Running) -> None:
        self.body = request(1).SerializeToString()
        host, port = receiver.address.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nExpect: 100-continue\r\n"
        self.socket.sendall(f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode())
        # The server has begun to wait for the body once it asks for it.
        assert self.socket.recv(1_000).startswith(b"HTTP/1.1 100")
        self.socket.sendall(self.body[:1])

    def finish(self) -> None:
        self.socket.sendall(self.body[1:])

    def status(self) -> int:
        response = http.client.HTTPResponse(self.socket)
        response.begin()
        return response.status

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()


def test_slow_bodies_hold_up_nobody(receiver: Running) -> None:
    with Upload(receiver) as one, Upload(receiver) as other:
        assert receiver.post("/v1/traces", request(1).SerializeToString()).status_code == 200
        other.finish()
        assert other.status() == 200
        one.finish()
        assert one.status() == 200
    assert receiver.journalled() == 3


def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    with running(tmp_path, LIMITS._replace(body_s=0.1)) as receiver, Upload(receiver) as upload:
        assert upload.status() == 408
        assert receiver.post("/v1/traces", request(1).SerializeToString()).status_code == 200


def test_a_client_that_goes_away_leaves_nothing(receiver: Running) -> None:
    with Upload(receiver):
        pass
    assert receiver.post("/v1/traces", request(1).SerializeToString()).status_code == 200
    assert receiver.journalled() == 1


def test_many_at_once_on_connections_that_stay(receiver: Running) -> None:
    body = request(5).SerializeToString()

    def post(number: int) -> int:
        if number % 2:
            return receiver.post("/v1/traces", gzip.compress(body), Content_Encoding="gzip").status_code
        return receiver.post("/v1/traces", body).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(post, range(100)))
    assert statuses == [200] * 100
    assert receiver.journalled() == 500


def test_a_connection_is_kept(receiver: Running) -> None:
    host, port = receiver.address.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    sockets = set()
    # A refused one does not end it either, though its body was not read.
    for body, status in ((request(1).SerializeToString(), 200), (b"x" * 1_200_000, 413), (b"\xff", 400), (b"", 200)):
        connection.request("POST", "/v1/traces", body, {"Content-Type": PROTOBUF})
        response = connection.getresponse()
        response.read()
        assert response.status == status
        sockets.add(connection.sock)
    assert len(sockets) == 1
    connection.close()


# -- who may


def test_a_token_is_required_where_there_is_one(tmp_path: Path) -> None:
    with running(tmp_path, token=TOKEN) as receiver:
        for given in (
            None,
            "",
            TOKEN,
            "Bearer",
            f"Bearer {TOKEN}x",
            f"Basic {TOKEN}",
            "Bearer \xe9t\xe9",
            "Bearer \xff",
        ):
            headers = {} if given is None else {"Authorization": given.encode("latin-1")}
            response = receiver.client.post(
                "/v1/traces", content=request(1).SerializeToString(), headers={"Content-Type": PROTOBUF} | headers
            )
            assert response.status_code == 401, given
            assert response.headers["www-authenticate"] == "Bearer"
            assert TOKEN not in response.text
        assert receiver.journalled() == 0
        assert receiver.client.get("/health").json() == {"status": "ok"}
        allowed = {"Authorization": f"bearer  {TOKEN}"}
        assert receiver.post("/v1/traces", request(1).SerializeToString(), **allowed).status_code == 200
        assert receiver.client.get("/health", headers=allowed).json()["received"]["answered_401"] == 8
        assert receiver.journalled() == 1


# -- a journal that takes nothing


def test_a_full_journal_sends_clients_away_for_a_while(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, journal_max_bytes=2_000, segment_bytes=1_000)
    with running(tmp_path, settings=settings) as receiver:
        statuses = [receiver.post("/v1/traces", request(5).SerializeToString()).status_code for _ in range(20)]
        response = receiver.post("/v1/traces", request(5).SerializeToString())
        assert statuses[0] == 200
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        # What was answered with 200 is there, whole.
        assert receiver.journalled() >= 5 * statuses.count(200)
        assert set(statuses) == {200, 503}


def test_a_journal_that_cannot_be_written_takes_no_custody(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("no folder")
    with running(tmp_path) as receiver:
        for _ in range(3):
            response = receiver.post("/v1/traces", request(1).SerializeToString())
            assert response.status_code == 503
            assert told(response).code == 14
        health = receiver.client.get("/health")
        assert health.status_code == 503
        assert health.json()["journal"]["writable"] is False
        # Nor is it taken once the folder is fine, as long as memory alone holds what may be the same.
        (tmp_path / "journal").unlink()
        assert receiver.post("/v1/traces", request(1).SerializeToString()).status_code == 503
        assert receiver.client.get("/health").status_code == 503
        # Only the first try went to memory.
        assert receiver.writer.stats()["accepted_records"] == 1


def test_a_journal_that_can_be_written_again_takes_custody(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chopsky_trace.writer.journal.RETRY_FILES_S", 0.0)
    (tmp_path / "journal").write_text("no folder")
    with running(tmp_path, database_url=database_url) as receiver:
        assert receiver.post("/v1/traces", request(1).SerializeToString()).status_code == 503
        (tmp_path / "journal").unlink()
        # Until the database has what memory held.
        receiver.writer.flush(30)
        assert receiver.post("/v1/traces", request(1).SerializeToString()).status_code == 200
        assert receiver.client.get("/health").status_code == 200


# -- anything at all


@pytest.mark.slow
def test_whatever_is_asked_is_answered(receiver: Running) -> None:
    body = request(2).SerializeToString()
    damaged = st.tuples(st.integers(0, len(body) - 1), st.integers(0, 255)).map(
        lambda change: body[: change[0]] + bytes([change[1]]) + body[change[0] + 1 :]
    )
    bodies = st.binary(max_size=200) | damaged | st.sampled_from([in_json(SPAN), in_json(SPAN, 5), b"{}", b"[" * 5_000])

    @hypothesis.settings(max_examples=150, deadline=None)
    @hypothesis.given(
        path=st.sampled_from([*PATHS, "/health", "/v1/traces/", "/\u2603"]),
        method=st.sampled_from(["POST", "POST", "POST", "GET", "PATCH"]),
        kind=st.sampled_from([PROTOBUF, JSON, "application/json; charset=\u00e9", "x"]),
        encoding=st.sampled_from(["", "identity", "gzip", "zstd"]),
        content=bodies | bodies.map(gzip.compress),
        announced=st.sampled_from([None, None, None, "gzip", "Bearer x"]),
    )
    def ask(path: str, method: str, kind: str, encoding: str, content: bytes, announced: str | None) -> None:
        headers = {"Content-Type": kind.encode("latin-1"), "Content-Encoding": encoding.encode()}
        if announced is not None:
            headers["Authorization"] = announced.encode()
        response = receiver.client.request(method, path, content=content, headers=headers)
        assert response.status_code < 500 or response.status_code == 503
        assert len(response.content) < 10_000

    ask()


def test_what_is_no_http_is_refused(receiver: Running) -> None:
    host, port = receiver.address.removeprefix("http://").split(":")
    for sent in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"POST /v1/traces HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(sent)
            assert connection.recv(1_000).startswith(b"HTTP/1.1 400")
    assert receiver.client.get("/health").status_code == 200
