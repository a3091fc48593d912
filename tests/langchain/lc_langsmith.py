"""A loopback server that takes what LangSmith's SDK posts: /info, /runs/multipart (plain or zstd)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import zstandard

INFO = {
    "version": "0.16.20",
    "instance_flags": {"zstd_compression_enabled": True},
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "size_limit": 100,
        "size_limit_bytes": 20971520,
        "scale_up_nthreads_limit": 16,
        "scale_up_qsize_trigger": 1000,
        "scale_down_nempty_trigger": 4,
    },
}


def parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each part of a multipart body."""
    for piece in body.split(b"--" + boundary):
        head, found, content = piece.partition(b"\r\n\r\n")
        if found:
            name = head.split(b'name="', 1)[1].split(b'"', 1)[0]
            yield name.decode(), content.removesuffix(b"\r\n")


class LangSmith:
    """What arrived, merged by run id."""

    def __init__(self) -> None:
        self.url = ""
        self.runs: dict[UUID, dict[str, Any]] = {}
        self.encodings: set[str | None] = set()
        self.lock = threading.Lock()

    def take(self, body: bytes, content_type: str, encoding: str | None) -> None:
        if encoding == "zstd":
            body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        boundary = content_type.split("boundary=", 1)[1].strip('"').encode()
        with self.lock:
            self.encodings.add(encoding)
            for name, content in parts(body, boundary):
                verb, run_id, *field = name.split(".", 2)
                if verb not in ("post", "patch"):
                    continue
                run = self.runs.setdefault(UUID(run_id), {})
                value = json.loads(content)
                if field:
                    run[field[0]] = value
                else:
                    run.update({key: item for key, item in value.items() if item is not None})

    def parents(self) -> dict[UUID, UUID | None]:
        return {
            run_id: UUID(run["parent_run_id"]) if run.get("parent_run_id") else None
            for run_id, run in self.runs.items()
        }

    def traces(self) -> dict[UUID, UUID]:
        return {run_id: UUID(run["trace_id"]) for run_id, run in self.runs.items()}


@contextmanager
def langsmith_server() -> Iterator[LangSmith]:
    """Serve on a free loopback port while the block runs."""
    service = LangSmith()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self, status: int, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer(200, INFO)

        def do_POST(self) -> None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                pieces = []
                while size := int(self.rfile.readline().strip(), 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                body = b"".join(pieces)
            else:
                body = self.rfile.read(int(self.headers["Content-Length"]))
            service.take(body, self.headers["Content-Type"], self.headers.get("Content-Encoding"))
            self._answer(202, {"message": "ok"})

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
