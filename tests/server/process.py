"""`chopsky-trace serve` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from chopsky_trace.cli import main; main()"]


@dataclass
class Serving:
    """A running `serve`."""

    address: str
    process: subprocess.Popen[str]
    log: Path
    told: dict[str, object]

    def end(self, number: int = signal.SIGTERM) -> str:
        """Ends it; what it had to say on stderr."""
        self.process.send_signal(number)
        assert self.process.wait(60) == 0, self.log.read_text()
        return self.log.read_text()


@contextmanager
def serving(data_dir: Path, database_url: str, *arguments: str, **more: str) -> Iterator[Serving]:
    """`chopsky-trace serve` on a free port."""
    data_dir.mkdir(exist_ok=True)
    log = data_dir / f"serve-{len(list(data_dir.glob('serve-*')))}.log"
    environment = {
        **os.environ,
        "CHOPSKY_TRACE_DATABASE_URL": database_url,
        "CHOPSKY_TRACE_DATA_DIR": str(data_dir),
        "PYTHONPATH": str(ROOT / "src"),
        **more,
    }
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", "--json", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    try:
        lines: list[str] = []
        while not lines or lines[-1] != "}\n":
            lines.append(process.stdout.readline())
            assert lines[-1], log.read_text()
        told = json.loads("".join(lines))
        yield Serving(told["listening"], process, log, told)
        if process.poll() is None:
            process.terminate()
            assert process.wait(60) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


def run_ids(database_url: str) -> set[UUID]:
    with psycopg.connect(database_url) as connection:
        return {row[0] for row in connection.execute("select id from conversation_runs").fetchall()}
