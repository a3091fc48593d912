"""Processes of crash_child.py as the tests see them, and what the database has of their work."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from chopsky_trace.database import check as checks
from chopsky_trace.database.read import Reader
from chopsky_trace.settings import Settings
from chopsky_trace.writer import journals

HERE = Path(__file__).parent
PATHS = os.pathsep.join([str(HERE.parent.parent / "src"), str(HERE.parent)])
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
COST = Decimal("0.0000045")
RUN = ("completed", 15, 0, COST, 0, 0)
"""What a run that records tell comes to: status, tokens, messages, cost, unpriced and unmeasured calls."""
CHAIN = ("completed", 15, 2, COST, 0, 0)
"""The same of a run of the chain, whose question and answer are messages."""
RUN_SPANS, CHAIN_SPANS = 2, 4
"""Root and model; sequence, prompt, model and parser."""


class Child:
    """A process of crash_child.py; keywords are its settings."""

    def __init__(self, scenario: str, url: str, data: Path, name: str, count: int, **settings: object) -> None:
        given = {f"CHOPSKY_TRACE_{key.upper()}": str(value) for key, value in settings.items() if key.islower()}
        given |= {key: str(value) for key, value in settings.items() if key.isupper()}
        given |= {"CHOPSKY_TRACE_DATABASE_URL": url, "CHOPSKY_TRACE_DATA_DIR": str(data), "PYTHONPATH": PATHS}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(HERE / "crash_child.py"), scenario, url, str(data), name, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | given,
        )

    def finish(self, status: int = 0, *, loud: bool = False) -> str:
        """Waits for its end; what it said. Where it may be loud, Python may show tracebacks of the application's."""
        out, err = self.process.communicate(timeout=120)
        assert self.process.returncode == status, f"{self.process.returncode}: {err.decode()}"
        assert loud or b"Traceback" not in err, err.decode()
        self.errors = err.decode()
        return out.decode()

    def accepted(self) -> int:
        return sum(map(int, re.findall(r"accepted (\d+)", self.finish())))

    def wait_for(self, accepted: int) -> int:
        """Waits until at least so many are accepted; tells how many."""
        assert self.process.stdout is not None
        seen = 0
        while seen < accepted:
            got = os.read(self.process.stdout.fileno(), 65_536)
            assert got, self.process.communicate()[1].decode()
            seen += len(got)
        return seen

    def kill_after(self, accepted: int, number: int = signal.SIGKILL) -> int:
        """Kills it once so many records are accepted; tells how many were in the end."""
        seen = self.wait_for(accepted)
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == -number
        return seen + len(out)

    def do(self, *words: object) -> Any:
        """Has it do something, in the scenario `obey`; its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([words[0], *map(str, words[1:])]).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.process.communicate()[1].decode()
        return json.loads(answer)

    def leave(self) -> None:
        """Has it come to its end, in the scenario `obey`."""
        self.finish()


def obedient(url: str, data: Path, **settings: object) -> Child:
    return Child("obey", url, data, "-", 0, **settings)


def names(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("select name from public.conversation_spans")]


def numbered(name: str, count: int, first: int = 0) -> set[str]:
    return {f"{name} {number}" for number in range(first, first + count)}


def waiting(data: Path) -> int:
    return sum(info.records for info in journals(Settings(data_dir=data)))


def soon(done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def findings(url: str) -> list[checks.Finding]:
    with psycopg.connect(url, autocommit=True) as connection:
        return [one for batch in checks.check(Reader(connection), patience_s=100_000) for one in batch.findings]


def runs(url: str) -> dict[str, tuple[Any, ...]]:
    """What each run comes to, by its name; no two have the same."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select name, status, total_tokens_used, total_messages, total_cost, unpriced_calls, unmeasured_calls"
            " from public.conversation_runs"
        ).fetchall()
    found = {row[0]: tuple(row[1:]) for row in rows}
    assert len(found) == len(rows), "a run is stored twice"
    return found


def assert_whole(url: str, told: Iterable[str] = (), chains: Iterable[str] = ()) -> None:
    """Exactly these runs are there, each whole and once, and everything that is derived agrees."""
    expected = dict.fromkeys(told, RUN) | dict.fromkeys(chains, CHAIN)
    stored = runs(url)
    assert stored.keys() == expected.keys()
    assert {name: totals for name, totals in stored.items() if totals != expected[name]} == {}
    by_chain = sum(totals == CHAIN for totals in expected.values())
    with psycopg.connect(url) as connection:
        spans = connection.execute(
            "select count(*), count(start_version), count(end_version) from public.conversation_spans"
        ).fetchone()
        used = connection.execute("select sum(total_tokens), sum(total_cost) from public.usage_metrics").fetchone()
    assert spans == (RUN_SPANS * (len(expected) - by_chain) + CHAIN_SPANS * by_chain,) * 3
    assert used == (15 * len(expected), COST * len(expected))
    assert findings(url) == []
