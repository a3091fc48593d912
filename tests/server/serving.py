"""A receiver that runs, in front of a real journal."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson

from chopsky_trace.server import app, custody, listening
from chopsky_trace.server.access import Tokens
from chopsky_trace.server.refusals import Limits
from chopsky_trace.settings import Settings, Target
from chopsky_trace.telemetry.conventions.native import NativeLog, NativeSpan
from chopsky_trace.writer import Writer, journals, writer_for

PROTOBUF, JSON = "application/x-protobuf", "application/json"
LIMITS = Limits(body_bytes=1_000_000, inflated_bytes=2_000_000, buffer_bytes=4_000_000, body_s=20.0)
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
"""No database listens on port 1: what is accepted stays in the journal, and can be counted there."""


class Journalled:
    """Puts a span's and a log record's names into the journal, one record each."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def spans(self, spans: Sequence[NativeSpan]) -> bool:
        return all([self.writer.put(orjson.dumps({"span": span.span_id, "name": span.name})) for span in spans])

    def logs(self, logs: Sequence[NativeLog]) -> bool:
        return all([self.writer.put(orjson.dumps({"log": log.span_id, "name": log.name})) for log in logs])


@dataclass(frozen=True)
class Running:
    """A receiver under uvicorn on a free loopback port."""

    address: str
    client: httpx.Client
    writer: Writer
    settings: Settings
    server: listening.Server

    def post(self, path: str, content: bytes, kind: str = PROTOBUF, **headers: str) -> httpx.Response:
        """One request; keyword arguments are headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, content=content, headers={"Content-Type": kind} | named)

    def journalled(self) -> int:
        """How many records the journal's files hold."""
        return sum(journal.records for journal in journals(self.settings))


@contextmanager
def running(
    data_dir: Path,
    limits: Limits = LIMITS,
    token: str | None = None,
    settings: Settings | None = None,
    database_url: str = NOWHERE,
) -> Iterator[Running]:
    """A receiver in a thread of this process."""
    settings = settings or Settings(data_dir=data_dir)
    writer = writer_for(Target(database_url, "test"), settings)
    keeper = custody.Keeper(Journalled(writer), writer)
    ready = threading.Event()
    with listening.listen("127.0.0.1", 0) as socket:
        server = listening.make_server(
            app.application(keeper, limits, Tokens({token: {"ingest"}} if token else None)), ready.set, grace_s=5.0
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            assert ready.wait(30)
            address = listening.address(socket)
            with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
                yield Running(address, client, writer, settings, server)
        finally:
            server.should_exit = True
            thread.join(30)
            writer.close(0.1)
    assert not thread.is_alive()
