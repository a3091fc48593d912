"""Measure chopsky-trace: what it adds to the application, how fast rows land, what importing costs, what is lost.

python -m benchmarks              everything, about ten minutes, half of them for durability
python -m benchmarks --quick      about three minutes; good for a look, too noisy to quote
python -m benchmarks --markdown   the tables alone, as the README has them
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import growth, importing, landed, machine, overhead, pricing, receiver, storage, telemetry
from benchmarks.durability import measure as durability
from benchmarks.server import Server
from benchmarks.workloads import WORKLOADS

ROUNDS = 5
PARTS = ("overhead", "landed", "receiver", "storage", "import", "pricing", "telemetry", "durability")

HOW = """How it was measured: models, tools and retrievers answer at once, so overhead is all there is. Each contender
is a process of its own, all alive throughout; in each round every workload is run by every contender, in random order.
The caller's CPU is `time.thread_time()`; net wall is wall time less the time that the calling thread waited for a core.
Additions and ratios are made within a round, then the median over rounds is taken; `noise` is the floor against itself.
LangSmith's tracer posts to a process on loopback that answers as the hosted service does; ours writes into an embedded
PostgreSQL with its default settings. Both must have delivered every run, or the benchmark fails."""

HOW_LANDED = """Rows landed: records of real runs (3-step chains, and agents of 10 model calls) go through what the
worker does (decode, messages, usage, price, one transaction a batch, the next batch being built meanwhile); the
reference is `COPY` of those finished rows into the same tables with the same indexes, triggers and foreign keys off, in
one transaction. All write into fresh copies of one database, in turns; net wall is without the time that client or
server waited for a core (where both work at once, without the longer of the two)."""


HOW_STORED = """Storage: {} conversations each, in an embedded PostgreSQL: heap, TOAST and indexes of all our tables
after the last write, without a vacuum. Distinct messages: LangChain's own JSON of each message once; sent to the model:
of each call's whole prompt and answer."""


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, few iterations")
    parser.add_argument("--markdown", action="store_true", help="print only the tables and how they were made")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every single measurement")
    parser.add_argument("--only", choices=PARTS, action="append", help="leave the other parts out")
    parser.add_argument("--workload", choices=list(WORKLOADS), action="append", help="leave the other workloads out")
    parser.add_argument("--rounds", type=int, help="rounds of each part")
    return parser.parse_args()


def without_database(parts: Sequence[str], quick: bool, every: dict[str, object], show: Callable[[str], None]) -> None:
    """Measure what needs none."""
    if "import" in parts:
        cost = importing.measure(3 if quick else 10)
        every["import"] = asdict(cost)
        show(importing.sentence(cost))
    if "pricing" in parts:
        priced = pricing.measure(100 if quick else 500)
        every["pricing"] = asdict(priced)
        show(pricing.sentence(priced))


def main() -> None:
    """Measure and print."""
    asked = arguments()
    parts = asked.only or PARTS

    def say(text: str) -> None:
        if not asked.markdown:
            print(text, file=sys.stderr, flush=True)

    def show(*sections: str) -> None:
        print("\n\n".join(sections), end="\n\n", flush=True)

    every: dict[str, object] = {}
    share = 0.3 if asked.quick else 1.0
    rounds = asked.rounds or (2 if asked.quick else ROUNDS)
    began = machine.core_ticks()
    with Server() as server:
        show("\n".join(f"- {fact}" for fact in machine.facts(server.version)))
        if "overhead" in parts:
            samples = overhead.measure(server, asked.workload or list(WORKLOADS), rounds, share, say)
            every["overhead"] = overhead.raw(samples)
            tables = (overhead.caller_table, overhead.process_table, overhead.wall_table)
            show(*(table(samples) for table in tables), f"{HOW} Rounds: {rounds}.")
        if "landed" in parts:
            trials = landed.measure(server, rounds, share, say)
            every["landed"] = [{name: asdict(trial) for name, trial in each.items()} for each in trials]
            show(landed.table(trials), f"{HOW_LANDED} Rounds: {rounds}.")
        if "receiver" in parts:
            received = receiver.measure(server, rounds, share, say)
            every["receiver"] = [asdict(each) for each in received]
            show(receiver.sentence(received))
        if "storage" in parts:
            stored = storage.measure(server, share, say)
            every["storage"] = [asdict(each) for each in stored]
            caller, worker = growth.caller_us(), growth.worker_ms(server)
            every["growth"] = {"caller_us": caller, "worker_ms": worker}
            how = HOW_STORED.format(storage.CONVERSATIONS)
            show(storage.table(stored), how, growth.sentence(caller, worker))
        if "telemetry" in parts:
            exported = telemetry.measure(server, max(rounds, 3))
            every["telemetry"] = {name: [asdict(each) for each in batches] for name, batches in exported.items()}
            show(telemetry.table(exported), telemetry.HOW)
        without_database(parts, asked.quick, every, show)
        if "durability" in parts:
            results = durability.measure(server, share, say)
            every["durability"] = [asdict(each) for each in results]
            show(*durability.tables(results))
    show(machine.stolen(began))
    if asked.json:
        asked.json.write_text(json.dumps(every, indent=1))


if __name__ == "__main__":
    main()
