"""A LangSmith service that keeps nothing: answers /info as the hosted one does, swallows runs, counts them when asked.

It swallows OTLP traces, too.

Loopback only. `GET /counts` returns {"requests", "bytes", "runs"} received since it was last asked; bodies are only
looked into then, so that the sink costs the measured process as little as possible. It ends when its stdin does.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from http import HTTPStatus

import zstandard

INFO = {
    "version": "0.13.0",
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
        "scale_up_qsize_trigger": 1_000,
        "scale_up_nthreads_limit": 16,
        "scale_down_nempty_trigger": 4,
    },
    "instance_flags": {"zstd_compression_enabled": True, "blob_storage_enabled": True},
}
PART = re.compile(rb'name="(?:post|patch)\.([0-9a-f-]{36})')
Headers = dict[str, str]


class Sink:
    """Bodies received and not yet counted."""

    def __init__(self) -> None:
        self.received: list[tuple[bool, bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = {
                    key.lower(): value.strip() for key, _, value in (line.partition(":") for line in head[1:] if line)
                }
                if headers.get("expect", "").lower() == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await _body(reader, headers)
                status, reply = self.answer(method, path, headers, body)
                content = json.dumps(reply).encode()
                first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
                about = f"content-type: application/json\r\ncontent-length: {len(content)}"
                writer.write(f"{first}\r\n{about}\r\n\r\n".encode() + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, method: str, path: str, headers: Headers, body: bytes) -> tuple[int, object]:
        """The status and reply for one request."""
        if path == "/info":
            return 200, INFO
        if path == "/counts":
            return 200, self.counts()
        if method == "POST" and path.startswith("/runs/"):
            self.received.append((headers.get("content-encoding") == "zstd", body))
            return 202, {"message": "Runs batch ingested"}
        if method == "POST" and path == "/v1/traces":
            return 200, {}
        return 404, {"detail": f"{method} {path} is not played by this sink"}

    def counts(self) -> dict[str, int]:
        """What has come since the last time."""
        received, self.received = self.received, []
        runs: set[bytes] = set()
        for compressed, body in received:
            runs.update(
                PART.findall(zstandard.ZstdDecompressor().decompressobj().decompress(body) if compressed else body)
            )
        return {"requests": len(received), "bytes": sum(len(body) for _, body in received), "runs": len(runs)}


async def _body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    chunks: list[bytes] = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readline()
    return b"".join(chunks)


async def main() -> None:
    """Listen, say where, and stay until stdin closes."""
    server = await asyncio.start_server(Sink().serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
