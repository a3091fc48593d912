"""What a process holds in memory after many runs through one tracer, those that never end among them.

python -m benchmarks.memory                  100,000 runs, about ten minutes
python -m benchmarks.memory --runs 10000     one minute
python -m benchmarks.memory --tracemalloc    with the bytes that Python's objects take; three times as long
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

from benchmarks import machine
from benchmarks.overhead import child_environment
from benchmarks.server import Server
from benchmarks.soak import Look
from chopsky_trace.database.connect import connect
from chopsky_trace.database.migrate import migrate
from chopsky_trace.settings import Settings, Target

RUNS = 100_000
DATABASE = "bench_memory"
MAX_OPEN_ROOTS = 1_000
"""Lower than the default, so that it is reached: every twentieth run never ends."""

HOW = f"""Memory: one process, one tracer, one database. Of twenty runs eight are `invoke`, five `ainvoke`, two streamed
to their end, two streams left after their first chunk (one of them asynchronous); one fails, one begins and never ends,
one is a child of a run that never ends. Every run has a user, a thread, a name of its metadata and a model that no
other has. At most {MAX_OPEN_ROOTS:,} runs under way are remembered. Before each look everything is flushed and garbage
is collected. Blocks are Python's, of all code; resident is the process's."""


def measure(server: Server, runs: int, say: Callable[[str], None], *, traced: bool = False) -> list[Look]:
    """The looks at a process of its own."""
    url = server.create(DATABASE)
    settings = Settings()
    with connect(Target(url, "benchmark"), settings, application_name="benchmark") as connection:
        migrate(connection)
    with tempfile.TemporaryDirectory() as data:
        environment = child_environment(
            {"CHOPSKY_TRACE_DATA_DIR": data, "CHOPSKY_TRACE_MAX_OPEN_ROOTS": str(MAX_OPEN_ROOTS)}
        )
        command = [sys.executable, "-m", "benchmarks.soak", url, str(runs), *(["traced"] if traced else [])]
        looks: list[Look] = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                looks.append(Look(**json.loads(line)))
                say(f"memory: {looks[-1]}")
        if child.returncode:
            raise RuntimeError(f"the soak ended with {child.returncode}")
    server.drop(DATABASE)
    return looks


def table(looks: Sequence[Look]) -> str:
    """As Markdown."""
    return machine.table(
        ("runs", "resident, MB", "Python's blocks", "their MB", "objects of ours", "entries of their containers"),
        [
            (
                f"{look.runs:,}",
                f"{look.resident_mb:.1f}",
                f"{look.blocks:,}",
                machine.figure(look.python_mb, 1),
                f"{look.objects:,}",
                f"{look.contained:,}",
            )
            for look in looks
        ],
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--tracemalloc", action="store_true")
    asked = parser.parse_args()
    with Server() as server:
        print("\n".join(f"- {fact}" for fact in machine.facts(server.version)), end="\n\n")
        looks = measure(
            server, asked.runs, lambda text: print(text, file=sys.stderr, flush=True), traced=asked.tracemalloc
        )
        print(table(looks), HOW, sep="\n\n")


if __name__ == "__main__":
    main()
