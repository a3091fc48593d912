"""What removing costs at a busy year's size, and what a writer notices of it.

python -m benchmarks.retention                       2 million messages in 200,000 runs: 6 GB of disk, 20 minutes
python -m benchmarks.retention --messages 200000     smaller
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg

from benchmarks.questions import fill
from benchmarks.server import Server
from chopsky_trace.database import retention, write
from chopsky_trace.database.migrate import migrate

BATCH = 100
"""Runs of a transaction: what `chopsky-trace prune` takes."""
LOCKS = "select count(*) from pg_locks where pid = %s"


class Writing:
    """A writer on a thread, which stores a batch of ten turns again and again; how long each took, in ms."""

    def __init__(self, url: str) -> None:
        self.taken: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, args=[url])

    def __enter__(self) -> Writing:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self, url: str) -> None:
        with closing(psycopg.connect(url, autocommit=True, prepare_threshold=None)) as connection:
            while not self._stop.is_set():
                payload = turns(10)
                began = time.perf_counter()
                write.write_batch(connection, payload)
                self.taken.append((time.perf_counter() - began) * 1000)

    def told(self) -> str:
        """How many batches, and their times."""
        if not self.taken:
            return "no batch"
        middle = statistics.median(self.taken)
        return f"{len(self.taken)} batches, median {middle:.0f} ms, longest {max(self.taken):.0f} ms"


def turns(count: int) -> bytes:
    """A batch of so many runs of sessions that stay, with a call and two messages each."""
    runs, spans, messages = [], [], []
    for number in range(count):
        run, at = str(uuid4()), "2026-11-01T12:00:00Z"
        scope = {"session_id": f"live {number}", "user_id": f"user-{number}", "tenant_id": f"tenant-{number}"}
        runs.append({"id": run, "project": "bench", "started_at": at, **scope})
        made = {
            "conversation_run_id": run,
            "source": "langchain",
            "started_at": at,
            "ended_at": at,
            "status": "completed",
        }
        call = {"id": str(uuid4()), "kind": "llm", "parent_span_id": run, "provider": "openai", "model": "gpt-4o"}
        usage = {
            "input_tokens": 100,
            "output_tokens": 20,
            "total_tokens": 120,
            "usage_source": "reported",
            "cost": "0.001",
        }
        versions = {"start_version": "1", "end_version": "1"}
        spans += [
            {"id": run, "kind": "chain", "name": "chat", **made, **versions},
            {**call, **usage, **made, **versions},
        ]
        for role in ("user", "assistant"):
            said = {"id": str(uuid4()), "body_id": str(uuid4()), "conversation_run_id": run, "role": role}
            messages.append({**said, "content": "Words.", "position": 0, "created_at": at})
    return json.dumps({"runs": runs, "spans": spans, "messages": messages}).encode()


def prune(url: str, older_than: timedelta) -> str:
    """Prune by batches as the command does; their times, the locks of the largest, and what a writer noticed."""
    taken: list[float] = []
    removed = locks = 0
    with (
        closing(psycopg.connect(url, autocommit=True)) as connection,
        closing(psycopg.connect(url, autocommit=True)) as watcher,
        Writing(url) as writing,
    ):
        done, ended = retention.prune(connection, BATCH, older_than, None), threading.Event()

        def watch() -> None:
            nonlocal locks
            while not ended.wait(0.05):
                row = watcher.execute(LOCKS, [connection.info.backend_pid]).fetchone()
                locks = max(locks, row[0] if row else 0)

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            while True:
                began = time.perf_counter()
                counts = next(done, None)
                if counts is None:
                    break
                taken.append((time.perf_counter() - began) * 1000)
                removed += counts["runs"]
        finally:
            ended.set()
            watching.join()
    tenth = max(1, len(taken) // 10)
    first, last = statistics.mean(taken[:tenth]), statistics.mean(taken[-tenth:])
    return (
        f"{removed} runs in {sum(taken) / 1000:.0f} s, {len(taken)} transactions: median"
        f" {statistics.median(taken):.0f} ms, longest {max(taken):.0f} ms, first tenth {first:.0f} ms,"
        f" last {last:.0f} ms; at most {locks} entries in pg_locks. Writer: {writing.told()}"
    )


def erase(url: str, user: str) -> str:
    """Erase a person; how long it took, and what a writer noticed."""
    with closing(psycopg.connect(url, autocommit=True)) as connection, Writing(url) as writing:
        began = time.perf_counter()
        receipt = retention.erase_user(connection, user, None)
        taken = time.perf_counter() - began
    return f"{receipt['rows']['conversation_runs']} runs in {taken:.1f} s. Writer: {writing.told()}"


def export(url: str, *chosen: str) -> str:
    """Export by command, in a process of its own; its time, its size, the memory it took."""
    began = time.perf_counter()
    command = [
        sys.executable,
        "-c",
        "from chopsky_trace.cli import main; main()",
        "export",
        "--database-url",
        url,
        *chosen,
    ]
    size = lines = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            size, lines = size + len(line), lines + 1
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return f"{lines} lines, {size / 1e6:.0f} MB in {time.perf_counter() - began:.0f} s; at most {peak:.0f} MB of memory"


def main() -> None:
    """Fill, remove, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2_000_000)
    asked = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with Server() as server:
        url = server.create("retention")
        with closing(psycopg.connect(url, autocommit=True, prepare_threshold=None)) as connection:
            connection.execute("set application_name = 'benchmark'")
            migrate(connection)
            fill(connection, asked.messages, say, users=100)
        steps: list[tuple[str, Any]] = [
            ("export of a hundredth", lambda: export(url, "--since", "43h")),
            ("export of a tenth", lambda: export(url, "--since", "18d")),
            ("erasing one of a hundred users", lambda: erase(url, "user-7")),
            ("pruning what is older than 150 days", lambda: prune(url, timedelta(days=150))),
        ]
        for name, step in steps:
            print(f"{name}: {step()}", flush=True)
        print(f"this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB of memory")


if __name__ == "__main__":
    main()
