"""Records as the real tracer journals them: run by a process of its own, read back from its journal."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

from benchmarks.overhead import child_environment
from chopsky_trace.writer.segments import SUFFIX, FileSegment

CHAINS_PER_AGENT = 10
CALLS = 10
READ_RECORDS, READ_BYTES = 10_000, 16_000_000


def records(agents: int) -> list[bytes]:
    """Records of `agents` runs of an agent with 10 model calls, and of 10 runs of a 3-step chain after each.

    The database they are meant for does not exist, so they stay in the journal.
    """
    with tempfile.TemporaryDirectory(prefix="chopsky-bench-") as folder:
        environment = {
            "CHOPSKY_TRACE_DATA_DIR": folder,
            "BENCH_DATABASE_URL": f"postgresql:///nowhere?host={folder}/no-server",
        }
        subprocess.run(
            [sys.executable, "-m", "benchmarks.traced", str(agents)],
            check=True,
            capture_output=True,
            cwd=folder,
            env=child_environment(environment),
        )
        found: list[bytes] = []
        for path in sorted(Path(folder).rglob(f"*{SUFFIX}")):
            found += _read(path)
    return found


def _read(path: Path) -> list[bytes]:
    segment = FileSegment.adopt(path, 0)
    if segment is None:
        raise RuntimeError("the journal is still in use, though its process has ended")
    found: list[bytes] = []
    while segment.committed < segment.end():
        chunk = segment.read(segment.end(), READ_RECORDS, READ_BYTES)
        if not chunk.records:
            raise RuntimeError("the journal cannot be read")
        found += chunk.records
        segment.committed = chunk.ends[-1]
    segment.release()
    return found


def trace(agents: int) -> None:
    """Run the traced work."""
    from benchmarks.contenders import Ours
    from benchmarks.workloads import agent, chain

    ask, invoke = agent(CALLS), chain()
    tracer = Ours()
    for number in range(agents):
        # Each agent answers a user in a session; the chains are nobody's, as jobs in the background are.
        who = {"user_id": f"user-{number % 20}", "session_id": str(uuid4())}
        ask(number, {"callbacks": tracer.callbacks(), "metadata": who})
        for each in range(CHAINS_PER_AGENT):
            invoke(number + each, {"callbacks": tracer.callbacks()})


if __name__ == "__main__":
    trace(int(sys.argv[1]))
    # Without the drain at exit: there is no database to drain into.
    os._exit(0)
