"""Several writers at once, all of them in the same sessions: rows per second with totals and roll-ups, and without.

python -m benchmarks.sharing                       four writers, half a minute
python -m benchmarks.sharing --writers 8           more
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg

from benchmarks.server import Server
from chopsky_trace.database.migrate import migrate
from chopsky_trace.database.write import write_batch

SESSIONS = 20
"""That all writers write to."""
RUNS = 25
"""Of a batch: each is another session's, in an order of the batch's own."""
BATCHES = 8
"""Of a writer."""
ROUNDS = 3
CALL = {"input_tokens": 120, "output_tokens": 30, "total_tokens": 150, "cost": "0.0025", "response_time_ms": 900}
# What derives totals, and what adds them to the roll-ups, doing nothing.
WITHOUT = """
create or replace function public.chopsky_recompute(run_ids uuid[], unordered uuid[]) returns void
language plpgsql set search_path = '' as $$ begin end $$;
create or replace function public.chopsky_count_usage(owner_ids uuid[]) returns void
language plpgsql set search_path = '' as $$ begin end $$;
"""


def turn(session: int) -> dict[str, list[dict[str, Any]]]:
    """A run of a session: a chain with one call, a question and its answer."""
    run, call = uuid4(), uuid4()
    scope = {"session_id": f"session {session}", "user_id": f"user {session}", "tenant_id": "one", "project": "bench"}
    told = {
        "conversation_run_id": str(run),
        "source": "langchain",
        "status": "completed",
        "start_version": "1",
        "end_version": "1",
        "started_at": "2026-01-01T10:00:00Z",
        "ended_at": "2026-01-01T10:00:01Z",
    }
    asked = {
        "conversation_run_id": str(run),
        "span_id": str(call),
        "version": "1",
        "created_at": "2026-01-01T10:00:00Z",
    }
    return {
        "runs": [{"id": str(run), **scope}],
        "spans": [
            {"id": str(run), "kind": "chain", "name": "chat", **told},
            {
                "id": str(call),
                "parent_span_id": str(run),
                "kind": "llm",
                "provider": "openai",
                "model": "gpt-4o",
                **told,
            }
            | CALL,
        ],
        "messages": [
            {"id": str(uuid4()), "body_id": str(uuid4()), "role": role, "content": "words " * 40, "position": place}
            | asked
            for place, role in enumerate(("user", "assistant"))
        ],
    }


def batch(chance: random.Random) -> bytes:
    """As `chopsky_ingest` takes it."""
    made = [turn(chance.randrange(SESSIONS)) for _ in range(RUNS)]
    return json.dumps({part: [row for one in made for row in one[part]] for part in made[0]}).encode()


def write(url: str, work: Sequence[Sequence[bytes]]) -> float:
    """Seconds that it took, each writer on a connection and a thread of its own."""
    together = threading.Barrier(len(work) + 1)

    def drive(batches: Sequence[bytes]) -> None:
        with closing(psycopg.connect(url, autocommit=True, prepare_threshold=None)) as connection:
            together.wait()
            for one in batches:
                write_batch(connection, one)

    with ThreadPoolExecutor(len(work)) as pool:
        going = [pool.submit(drive, batches) for batches in work]
        together.wait()
        began = time.perf_counter()
        for done in going:
            done.result()
    return time.perf_counter() - began


def verify(connection: psycopg.Connection[tuple[Any, ...]], runs: int) -> None:
    """Nothing lost, nothing twice, no deadlock."""
    found = connection.execute(
        "select count(*), sum(total_input_tokens), sum(total_cost), sum(total_messages),"
        " (select sum(calls) from usage_metrics), (select sum(total_cost) from usage_totals),"
        " (select sum(messages) from usage_totals), (select count(*) from conversation_sessions)"
        " from conversation_runs"
    ).fetchone()
    cost = runs * 25 / 10_000
    assert found is not None
    assert tuple(map(float, found)) == (runs, runs * 120, cost, runs * 2, runs, cost, runs * 2, SESSIONS), found
    assert connection.execute("select rebuild_usage()").fetchone() == (0,), "the roll-ups are what a rebuild makes"


def main() -> None:
    """Write with totals and without, in turns; print rows per second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=4)
    writers: int = parser.parse_args().writers
    rates: dict[str, list[float]] = {"with totals": [], "without totals": []}
    with Server() as server:
        with psycopg.connect(server.create("migrated"), autocommit=True) as connection:
            migrate(connection)
        for number in range(ROUNDS):
            for name, taken in rates.items():
                url = server.create("shared", template="migrated")
                work = [
                    [batch(random.Random(f"{number} {writer} {one}")) for one in range(BATCHES)]
                    for writer in range(writers)
                ]
                with psycopg.connect(url, autocommit=True) as connection:
                    if name == "without totals":
                        connection.execute(WITHOUT)
                    server.checkpoint()
                    rows = writers * BATCHES * RUNS * 5
                    taken.append(rows / write(url, work))
                    if name == "with totals":
                        verify(connection, writers * BATCHES * RUNS)
                    found = connection.execute(
                        "select deadlocks from pg_stat_database where datname = current_database()"
                    ).fetchone()
                    assert found == (0,), "a deadlock"
        print(f"PostgreSQL {server.version}; {writers} writers in {SESSIONS} sessions")
        print(f"rows per second, median of {ROUNDS}\n")
        for name, taken in rates.items():
            print(f"{name}: {statistics.median(taken):.0f} ({', '.join(f'{rate:.0f}' for rate in taken)})")
        share = statistics.median(rates["with totals"]) / statistics.median(rates["without totals"])
        print(f"share: {share:.2f}")


if __name__ == "__main__":
    main()
