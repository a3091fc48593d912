"""What people and pages ask of the tables, each as a signed-in user under row level security, at a busy year's size.

python -m benchmarks.reading                       5 million messages in 500,000 runs of 100,000 sessions: 15 GB of disk
python -m benchmarks.reading --messages 100000     smaller
python -m benchmarks.reading --database-url URL    in a database of your own (empty; superuser), of any version
python -m benchmarks.reading --database-url URL --filled                             the same one once more
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import nullcontext
from typing import Any, LiteralString, cast

import psycopg

from benchmarks.questions import QUESTIONS, Connection, Question, asking, fill, look, pick
from benchmarks.server import Server
from chopsky_trace.database import costs
from chopsky_trace.database.migrate import migrate

TIMES = 200


def measure(connection: Connection, question: Question, picked: list[dict[str, Any]], times: int) -> list[float]:
    """Milliseconds of each asking, round trip included, each about another user."""
    taken: list[float] = []
    for number in range(times):
        values = picked[number % len(picked)]
        with asking(connection, question, values):
            began = time.perf_counter()
            cursor = connection.execute(cast("LiteralString", question.statement), values)
            if cursor.description is not None:
                cursor.fetchall()
            taken.append((time.perf_counter() - began) * 1000)
    return taken


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5_000_000)
    parser.add_argument("--times", type=int, default=TIMES, help="how often each is asked")
    parser.add_argument("--database-url")
    parser.add_argument("--filled", action="store_true", help="the database is one that was filled before")
    asked = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with Server() if asked.database_url is None else nullcontext() as server:
        url = asked.database_url or cast("Server", server).create("reading")
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            if not asked.filled:
                migrate(connection)
                costs.show(connection, shown=True)
                fill(connection, asked.messages, say)
            version = connection.info.parameter_status("server_version")
            print(f"PostgreSQL {version}, {asked.messages} messages; milliseconds, round trip included.\n")
            print("| question | aim | median | 95 % | pages | read from end to end |\n|---|---|---|---|---|---|")
            picked = pick(connection)
            for question in QUESTIONS:
                taken = sorted(measure(connection, question, picked, asked.times))
                seen = look(connection, question, picked[0])
                print(
                    f"| {question.name} ({question.reader}) | < {question.limit_ms:g} | {statistics.median(taken):.2f}"
                    f" | {taken[int(len(taken) * 0.95)]:.2f} | {seen.pages} | {', '.join(seen.whole) or '-'} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
