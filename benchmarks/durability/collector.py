"""A service that runs are posted to: it plays LangSmith's and an OTLP endpoint, and knows afterwards what has come."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from requests_toolbelt import MultipartDecoder

from benchmarks.durability import MARK, TRACES
from benchmarks.sink import Headers, Sink


@dataclass
class Arrived:
    """What a backend has, by mark."""

    runs: Counter[str] = field(default_factory=Counter[str])
    """Runs with their end."""
    roots: Counter[str] = field(default_factory=Counter[str])
    """Runs without a parent."""
    again: int = 0
    """Times that a run came which was there already."""


@dataclass
class _Run:
    mark: str | None = None
    is_root: bool = False
    starts: int = 0
    ends: int = 0


class Collector(Sink):
    """Keeps what is posted, and answers with an error for as long as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.refusal: int | None = None
        """An HTTP status that everything is answered with."""
        self.unknown: list[str] = []
        """Requests that are not played here: a contender which makes them is not measured fairly."""
        self._posted: deque[tuple[str, Headers, bytes]] = deque()
        self._runs: dict[str, _Run] = {}

    def answer(self, method: str, path: str, headers: Headers, body: bytes) -> tuple[int, object]:
        if self.refusal is not None:
            return self.refusal, {"detail": "not now"}
        if method == "POST" and path in ("/runs/multipart", TRACES):
            self._posted.append((path, headers, body))
            return (202, {"message": "Runs batch ingested"}) if path != TRACES else (200, {})
        status, reply = super().answer(method, path, headers, body)
        if path != "/info":
            self.unknown.append(f"{method} {path}")
        return status, reply

    def arrived(self) -> Arrived:
        """What has come so far; for one thread only, which need not be the server's."""
        while self._posted:
            path, headers, body = self._posted.popleft()
            if headers.get("content-encoding") == "zstd":
                body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
            if path == TRACES:
                self._spans(body)
            else:
                self._parts(body, headers["content-type"])
        found = Arrived()
        for run in self._runs.values():
            # A run whose start is lost has no name in LangSmith, and one without its end no outcome.
            if run.mark is not None and run.starts and run.ends:
                found.runs[run.mark] += 1
                found.roots[run.mark] += run.is_root
                found.again += max(run.starts, run.ends) - 1
        return found

    def _run(self, run_id: str) -> _Run:
        return self._runs.setdefault(run_id, _Run())

    def _spans(self, body: bytes) -> None:
        """Spans of an OTLP request: a start and an end at once."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    run = self._run((span.trace_id + span.span_id).hex())
                    run.is_root = not span.parent_span_id
                    run.starts += 1
                    run.ends += 1
                    for attribute in span.attributes:
                        if attribute.key == "metadata":
                            run.mark = json.loads(attribute.value.string_value).get(MARK)

    def _parts(self, body: bytes, content_type: str) -> None:
        """Parts of a request of LangSmith's client: `post.ID`, `patch.ID`, and their fields in parts of their own."""
        for kind, run_id, part, content in _named(body, content_type):
            run = self._run(run_id)
            if part == "extra":
                run.mark = (json.loads(content).get("metadata") or {}).get(MARK) or run.mark
            elif part == "":
                told: dict[str, Any] = json.loads(content)
                if kind == "post":
                    run.starts += 1
                    run.is_root = told.get("parent_run_id") is None
                run.ends += told.get("end_time") is not None


def _named(body: bytes, content_type: str) -> Iterator[tuple[str, str, str, bytes]]:
    for part in MultipartDecoder(body, content_type).parts:
        name = part.headers[b"Content-Disposition"].decode().partition('name="')[2].partition('"')[0]
        kind, run_id, *rest = name.split(".")
        if kind in ("post", "patch"):
            yield kind, run_id, rest[0] if rest else "", part.content
