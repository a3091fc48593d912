"""What tracing adds to the application: each contender in a process of its own, all alive throughout, taking turns."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from benchmarks import machine
from benchmarks.contenders import CONTENDERS
from benchmarks.server import Server
from benchmarks.workloads import IN_POOL, WORKLOADS
from chopsky_trace.database.migrate import migrate

ROOT = str(Path(__file__).resolve().parents[1])
NAMED_ELSEWHERE = ("CHOPSKY_TRACE_", "LANGSMITH_", "LANGCHAIN_", "SUPABASE_DB_URL", "DATABASE_URL")
EMPTY_TABLES = "truncate public.conversation_runs, public.conversation_spans cascade"
DELIVERED = "select count(*) from public.conversation_spans where ended_at is not null"
TRACED = ("empty", "langsmith", "ours")
FLOOR_AGAIN = "none again"
"""The floor measured a second time in each turn: what differs from the first is noise."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement, per callback run."""

    caller_us: float
    net_wall_us: float
    process_us: float
    server_us: float
    flush_s: float


Samples = dict[str, list[dict[str, Sample]]]
"""Workload: rounds, each {contender: sample}."""


def child_environment(more: dict[str, str]) -> dict[str, str]:
    """An environment in which these modules are found, and nobody's own settings of a tracer are."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(NAMED_ELSEWHERE)}
    # Absolute, for the child has a folder of its own.
    given = [os.path.abspath(place) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    path = os.pathsep.join([ROOT, *given])
    return {**inherited, "PYTHONPATH": path, "PYTHONHASHSEED": "0", "LANGSMITH_TRACING": "false", **more}


class Measured:
    """A measured process, and where what it traces arrives."""

    def __init__(self, name: str, environment: dict[str, str], folder: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.measured", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=child_environment(environment),
        )

    def ask(self, **command: object) -> dict[str, float]:
        """Send a command and wait for its answer.

        Raises:
            RuntimeError: the process ended; its error is on stderr.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the measured process of {self.name!r} ended with {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """End it as an application ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()


@contextmanager
def running_sink() -> Iterator[str]:
    """The address of a sink for LangSmith's client."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sink"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment({}),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.wait(10)


class Overhead:
    """The contenders, ready to be measured."""

    def __init__(self, server: Server, sink: str, folder: str) -> None:
        self.server = server
        self.sink = sink
        self.url = server.create("bench_overhead")
        with psycopg.connect(self.url, autocommit=True) as connection:
            migrate(connection)
        environment = {"BENCH_SINK_URL": sink, "BENCH_DATABASE_URL": self.url, "CHOPSKY_TRACE_DATA_DIR": folder}
        self.measured = {name: Measured(name, environment, folder) for name in CONTENDERS}
        self.runs: dict[str, int] = {}

    def close(self) -> None:
        """End all measured processes."""
        for measured in self.measured.values():
            measured.close()
        self.server.drop("bench_overhead")

    def warm(self, workload: str) -> None:
        """Import, build and run once, and count the workload's callback runs."""
        self.runs[workload] = int(self.measured["none"].ask(do="count", workload=workload)["runs"])
        for name in self.measured:
            self.sample(name, workload, 1, 0)

    def sample(self, name: str, workload: str, iterations: int, first: int) -> Sample:
        """Measure one contender, and see that it delivered what it was given.

        Raises:
            RuntimeError: runs were lost, so that the measurement says nothing.
        """
        runs = iterations * self.runs[workload]
        server_before = self.server.cpu_s() if name == "ours" else 0.0
        answer = self.measured[name].ask(do="measure", workload=workload, iterations=iterations, first=first)
        server_cpu = self.server.cpu_s() - server_before if name == "ours" else 0.0
        arrived = self.arrived(name)
        if arrived is not None and arrived != runs:
            raise RuntimeError(f"{name} delivered {arrived} of {runs} runs of {workload!r}")
        return Sample(
            caller_us=answer["caller_cpu_s"] / runs * 1e6,
            net_wall_us=answer["net_wall_s"] / runs * 1e6,
            process_us=answer["process_cpu_s"] / runs * 1e6,
            server_us=server_cpu / runs * 1e6,
            flush_s=answer["flush_s"],
        )

    def arrived(self, name: str) -> int | None:
        """Callback runs that arrived since last asked; None for a contender that sends nothing."""
        if name == "langsmith":
            with urllib.request.urlopen(f"{self.sink}/counts", timeout=60) as reply:
                return json.load(reply)["runs"]
        if name == "ours":
            with psycopg.connect(self.url, autocommit=True) as connection:
                row = connection.execute(
                    "select count(*) from public.conversation_spans where ended_at is not null"
                ).fetchone()
                connection.execute(EMPTY_TABLES)
            return int(row[0]) if row else 0
        return None


def measure(server: Server, workloads: list[str], rounds: int, share: float, say: Callable[[str], None]) -> Samples:
    """Measure all contenders in all workloads, `rounds` times, with `share` of the usual iterations."""
    order = random.Random(7)
    samples: Samples = defaultdict(list)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="chopsky-bench-"))
        overhead = Overhead(server, stack.enter_context(running_sink()), folder)
        stack.callback(overhead.close)
        for workload in workloads:
            overhead.warm(workload)
        for number in range(rounds):
            say(f"caller overhead: round {number + 1} of {rounds}")
            for workload in workloads:
                iterations = max(1, round(WORKLOADS[workload][2] * share))
                turns = [*CONTENDERS, FLOOR_AGAIN]
                order.shuffle(turns)
                taken: dict[str, Sample] = {}
                for turn in turns:
                    name = "none" if turn == FLOOR_AGAIN else turn
                    taken[turn] = overhead.sample(name, workload, iterations, 1 + number * iterations)
                samples[workload].append(taken)
    return samples


def added(rounds: list[dict[str, Sample]], name: str, value: Callable[[Sample], float]) -> list[float]:
    """What a contender adds to the floor, round by round."""
    return [value(each[name]) - (value(each["none"]) + value(each[FLOOR_AGAIN])) / 2 for each in rounds]


def ratio(ours: list[float], theirs: list[float]) -> float | None:
    """Median over rounds of our addition to theirs; None where theirs drowns in noise."""
    return machine.median(mine / other if other > 0 else None for mine, other in zip(ours, theirs, strict=True))


def caller_table(samples: Samples) -> str:
    """CPU of the thread that calls, per callback run."""
    head = ["caller's CPU, us a callback run", "without", "empty handler", "LangSmith", "ours"]
    head += ["ours / LangSmith", "ours / empty", "noise"]
    rows = []
    for workload, rounds in samples.items():
        if workload in IN_POOL:
            continue
        extra = {name: added(rounds, name, lambda each: each.caller_us) for name in TRACED}
        noise = [abs(each[FLOOR_AGAIN].caller_us - each["none"].caller_us) for each in rounds]
        share = ratio(extra["ours"], extra["langsmith"])
        rows.append(
            [
                WORKLOADS[workload][0],
                machine.figure(machine.median(each["none"].caller_us for each in rounds)),
                *(machine.figure(machine.median(extra[name]), sign=True) for name in TRACED),
                f"1/{1 / share:.1f}" if share and share > 0 else "-",
                machine.figure(ratio(extra["ours"], extra["empty"])),
                machine.figure(machine.median(noise)),
            ]
        )
    return machine.table(head, rows)


def process_table(samples: Samples) -> str:
    """CPU of the whole process until all is delivered, seconds per 1000 callback runs."""
    head = ["process CPU, s per 1000 callback runs", "without", "empty handler", "LangSmith", "ours", "+ PostgreSQL"]
    rows = []
    for workload, rounds in samples.items():
        cpu = [machine.median(each[name].process_us / 1e3 for each in rounds) for name in CONTENDERS]
        cpu.append(machine.median(each["ours"].server_us / 1e3 for each in rounds))
        rows.append([WORKLOADS[workload][0], *(machine.figure(value) for value in cpu)])
    return machine.table(head, rows)


def wall_table(samples: Samples) -> str:
    """Time that the caller waits, and how long all takes to be delivered after the last call."""
    head = ["net wall added, us a callback run", "empty handler", "LangSmith", "ours", "flush, ms: LangSmith", "ours"]
    rows = []
    for workload, rounds in samples.items():
        wall = [machine.median(added(rounds, name, lambda each: each.net_wall_us)) for name in TRACED]
        flush = [machine.median(each[name].flush_s * 1e3 for each in rounds) for name in ("langsmith", "ours")]
        rows.append(
            [
                WORKLOADS[workload][0],
                *(machine.figure(value, sign=True) for value in wall),
                *(machine.figure(value, 0) for value in flush),
            ]
        )
    return machine.table(head, rows)


def raw(samples: Samples) -> dict[str, list[dict[str, dict[str, float]]]]:
    """Every single measurement."""
    return {
        workload: [{name: asdict(sample) for name, sample in taken.items()} for taken in rounds]
        for workload, rounds in samples.items()
    }
