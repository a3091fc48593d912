"""One process of a contender: what is done to it, and what it has stored afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

from benchmarks.durability.backends import Backend
from benchmarks.durability.cases import Case
from benchmarks.durability.collector import Arrived
from benchmarks.overhead import child_environment

EXIT_S = 240.0
"""A process that has not ended so long after the last thing that was done to it is killed, and the table says so."""
QUIET_S = 15.0
"""Nothing has come for so long from a process that lives: nothing will. The slowest contender sends every 5 seconds."""
IN_FLIGHT_S = 1.0
"""The same, from one that has ended."""
KEEP_ON_DISK = frozenset({"ours"})
"""Only who keeps something on disk has a use for the next process."""
CHAIN_RUNS = 4
"""Sequence, prompt, model, parser."""


@dataclass(slots=True)
class Outcome:
    """What one process of a contender made, and what of it is stored."""

    made: int = 0
    stored: int = 0
    doubled: int = 0
    by_later: int = 0
    """Of those stored: by the next process."""
    notes: list[str] = field(default_factory=list[str])
    lost: dict[str, int] = field(default_factory=dict[str, int])
    """By mark."""
    told: dict[str, Any] = field(default_factory=dict[str, Any])


class Process:
    """A process of work.py."""

    def __init__(self, contender: str, scenario: str, count: int, folder: Path, url: str) -> None:
        environment = {"BENCH_SINK_URL": url, "BENCH_DATABASE_URL": url, "CHOPSKY_TRACE_DATA_DIR": str(folder / "data")}
        environment = child_environment(environment)
        arguments = [contender, scenario, str(count), str(folder / f"made-{scenario}"), str(folder / "told")]
        self.contender = contender
        self._log = folder / f"log-{scenario}"
        with self._log.open("wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.durability.work", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env={key: value for key, value in environment.items() if not key.startswith("OTEL_")},
            )

    def wait_until_ready(self) -> None:
        """Until it says so.

        Raises:
            RuntimeError: it ended instead.
        """
        assert self.popen.stdout is not None
        if not self.popen.stdout.readline():
            raise RuntimeError(f"the process of {self.contender} ended: {self._log.read_text()[-2_000:]}")

    def go(self) -> None:
        """Let it begin."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(b"go\n")
        self.popen.stdin.flush()

    def end(self, timeout_s: float) -> bool:
        """No more input; whether it ends by itself."""
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.close()
        try:
            self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            return False
        finally:
            self.popen.stdout.close()
        return True


class Trial:
    """One contender in one case."""

    def __init__(self, case: Case, contender: str, backend: Backend) -> None:
        self.case = case
        self.contender = contender
        self.backend = backend
        self._folder = Path()

    def run(self) -> Outcome:
        """Do it, let a later process of the same application have its turn where something is missing, and count.

        Raises:
            RuntimeError: the process did not start, or what was stored is wrong in itself.
        """
        with ExitStack() as stack:
            stack.callback(self.backend.close)
            temporary = tempfile.TemporaryDirectory(prefix="chopsky-bench-", ignore_cleanup_errors=True)
            self._folder = Path(stack.enter_context(temporary))
            outcome = Outcome()
            if not self._work():
                outcome.notes.append("did not end")
            self.backend.hurt("fine")
            made, told = self._made(), self._folder / "told"
            for line in told.read_text().splitlines() if told.exists() else ():
                for key, value in json.loads(line).items():
                    outcome.told.setdefault(key, []).append(value)
            found = self._settled(made, IN_FLIGHT_S)
            first = _stored(made, found)
            if first != made.total() and (self.contender in KEEP_ON_DISK or self.case.later_for_all):
                found = self._later(made)
            self._count(outcome, made, found, first)
            return outcome

    def _work(self) -> bool:
        process = Process(self.contender, self.case.scenario, self.case.count, self._folder, self.backend.url)
        try:
            process.wait_until_ready()
            for after, how in self.case.hurts:
                if not after:
                    self.backend.hurt(how)
            process.go()
            began = time.monotonic()
            for after, how in self.case.hurts:
                if after:
                    time.sleep(max(0.0, began + after - time.monotonic()))
                    self._hurt(process, how)
        except BaseException:
            process.end(0.0)
            raise
        return process.end(EXIT_S)

    def _hurt(self, process: Process, how: str) -> None:
        if how in ("SIGKILL", "SIGTERM"):
            process.popen.send_signal({"SIGKILL": SIGKILL, "SIGTERM": SIGTERM}[how])
        else:
            self.backend.hurt(how)

    def _made(self) -> Counter[str]:
        lines = (self._folder / f"made-{self.case.scenario}").read_text().splitlines()
        return Counter(line for line in lines if not line.startswith("warm"))

    def _settled(self, made: Counter[str], quiet_s: float) -> Arrived:
        """What has arrived once all has, or nothing has come for a while."""
        found = self.backend.arrived()
        last, since = _stored(made, found), time.monotonic()
        while last != made.total() and time.monotonic() - since < quiet_s:
            time.sleep(0.5)
            found = self.backend.arrived()
            if (now := _stored(made, found)) != last:
                last, since = now, time.monotonic()
        return found

    def _later(self, made: Counter[str]) -> Arrived:
        process = Process(self.contender, "later", 1, self._folder, self.backend.url)
        try:
            process.wait_until_ready()
            process.go()
            self._settled(made, QUIET_S)
        finally:
            process.end(EXIT_S)
        return self._settled(made, IN_FLIGHT_S)

    def _count(self, outcome: Outcome, made: Counter[str], found: Arrived, first: int) -> None:
        outcome.by_later = _stored(made, found) - first
        outcome.lost = dict(made - found.runs)
        made = Counter({mark: number for mark, number in made.items() if mark.startswith(self.case.marks)})
        if self.case.roots:
            expected = Counter({mark: self.case.count if mark.startswith("batch") else 1 for mark in made})
            outcome.made, outcome.stored = expected.total(), (expected & found.roots).total()
            outcome.doubled = sum(max(0, found.roots[mark] - number) for mark, number in expected.items())
            return
        outcome.made, outcome.stored = made.total(), _stored(made, found)
        # One that was under way when its process was killed may be stored though nobody wrote down that it was made.
        whole = Counter({mark: _whole(mark, self.case.count) for mark in found.runs})
        outcome.doubled = found.again + (found.runs - whole).total()


def _stored(made: Counter[str], found: Arrived) -> int:
    return (made & found.runs).total()


def _whole(mark: str, batched: int) -> int:
    """How many runs an invocation has, at most."""
    if mark.startswith(("odd", "good")):
        return 1
    return CHAIN_RUNS * batched if mark.startswith("batch") else CHAIN_RUNS
