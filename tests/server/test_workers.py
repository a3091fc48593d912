"""`chopsky-trace serve --workers`: processes that share a port, one of them dying, the one that began them dying."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest
from server.process import ROOT, run_ids, serving
from server.serving import PROTOBUF
from server.test_serve import genai_request, refused

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux tells a process's children so simply"),
]


def children(pid: int) -> set[int]:
    told = Path(f"/proc/{pid}/task/{pid}/children")
    return {int(one) for one in told.read_text().split()} if told.exists() else set()


def stored(database_url: str, traces: set[UUID], seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while run_ids(database_url) != traces and time.monotonic() < until:
        time.sleep(0.05)
    return run_ids(database_url) == traces


def post(address: str, body: bytes) -> int:
    """By a connection of its own."""
    connection = http.client.HTTPConnection(*_place(address), timeout=30)
    connection.request("POST", "/v1/traces", body, {"Content-Type": PROTOBUF})
    status = connection.getresponse().status
    connection.close()
    return status


def traces_of(numbers: range) -> set[UUID]:
    return {UUID(bytes=bytes([number]) * 16) for number in numbers}


def test_they_share_the_work_and_end_together(database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, database_url, "--workers", "2") as server:
        begun = children(server.process.pid)
        assert len(begun) == 2
        for one in range(1, 41):
            assert post(server.address, genai_request(bytes([one]) * 16)) == 200
        said = server.end(signal.SIGINT)
    counts = [int(count) for count in re.findall(r"Ended: (\d+) records stored", said)]
    assert (len(counts), sum(counts)) == (2, 40)
    assert all(counts)
    assert run_ids(database_url) == traces_of(range(1, 41))
    assert not any(Path(f"/proc/{pid}").exists() for pid in begun)


def test_one_that_dies_is_begun_again_and_nothing_is_lost(database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, database_url, "--workers", "2") as server:
        before = children(server.process.pid)
        for one in range(1, 21):
            assert post(server.address, genai_request(bytes([one]) * 16)) == 200
        os.kill(min(before), signal.SIGKILL)
        while len(now := children(server.process.pid)) != 2 or now == before:
            assert server.process.poll() is None
            time.sleep(0.02)
        assert len(now & before) == 1
        # Those for the new process wait in its socket until it answers.
        for one in range(21, 41):
            assert post(server.address, genai_request(bytes([one]) * 16)) == 200
        server.end()
    assert stored(database_url, traces_of(range(1, 41)))


def test_without_the_process_that_began_them_they_end_too(database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, database_url, "--workers", "2") as server:
        begun = children(server.process.pid)
        assert post(server.address, genai_request(b"x" * 16)) == 200
        server.process.kill()
        server.process.wait()
        while any(Path(f"/proc/{pid}").exists() for pid in begun):
            time.sleep(0.05)
        with pytest.raises(ConnectionRefusedError), socket.create_connection(_place(server.address), timeout=5):
            pass
    assert run_ids(database_url) == {UUID(bytes=b"x" * 16)}


def test_a_port_that_others_share_is_taken(database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, database_url, "--workers", "2") as server:
        for workers in ("1", "2"):
            port = str(_place(server.address)[1])
            assert "another --port" in refused(tmp_path / workers, "--port", port, "--workers", workers)


ENDS_AT_ONCE = """
import os, time
from chopsky_trace.server import listening, workers

def serve(socket, life):
    # The second ends; the first would go on, and is told to end.
    if socket is sockets[1]:
        os._exit(3)
    life.ready()
    while True:
        time.sleep(60)

sockets = listening.listen_together("127.0.0.1", 0, 2)
workers.Workers(sockets, lambda: print("ready")).run(serve)
"""


def test_one_that_cannot_begin_ends_all() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", ENDS_AT_ONCE], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "ServeError: A process of the server ended before all of them answered requests" in done.stderr


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    return host, int(port)
