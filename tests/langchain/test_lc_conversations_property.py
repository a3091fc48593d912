"""Generated conversations: whatever is said, sent again, cut, changed, lost or late, each message is there once.

CHOPSKY_TEST_EXAMPLES=2000 tries more of them than a run of all tests does.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lc_conversations import Talk, batches, clear, tables
from lc_generated import PROCESSES, TURNS, Held, Turn
from lc_listening import chat
from lc_listening import given as received

from chopsky_trace.database import check as checks
from chopsky_trace.database.read import Reader
from chopsky_trace.database.write import write_batch
from chopsky_trace.enrich.batch import Builder
from chopsky_trace.records import derived_id

EXAMPLES = int(os.environ.get("CHOPSKY_TEST_EXAMPLES", "25"))


def write(talk: Talk, lines: list[bytes], seed: int | None) -> None:
    clear(talk.connection)
    chance = random.Random(seed)
    for batch in [lines] if seed is None else batches(lines, chance, chance.choice([1, 3, None])):
        write_batch(talk.connection, Builder().build(batch).payload)


def conversations(check: Any, talk: Talk, examples: int = EXAMPLES) -> None:
    """Hold generated conversations with the talk's tracers and check each."""
    tracers = [talk.process(stores=False) for _ in range(PROCESSES)]
    for n, tracer in enumerate(tracers):
        # Each is bound to its own folder with its first event.
        talk.set_variable("CHOPSKY_TRACE_DATA_DIR", str(talk.folder / f"process {n}"))
        chat("hello").invoke("hello", {"callbacks": [tracer]})

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=EXAMPLES <= 25,
        database=None,
    )
    @given(turns=st.lists(TURNS, min_size=1, max_size=7), seed=st.integers(0, 2**32))
    def hold(turns: list[Turn], seed: int) -> None:
        held = Held(talk, tracers)
        for turn in turns:
            held.hold(turn)
        check(held, seed)

    hold()


# Long only where it fails: the example is then made small.
@pytest.mark.timeout(900)
def test_every_prompt_rebuilds_and_each_message_is_there_once(talk: Talk) -> None:
    def check(held: Held, seed: int) -> None:
        write(talk, talk.lines, None)
        held.all_is_there()
        rows = tables(talk.connection)
        write(talk, talk.lines, seed)
        held.all_is_there()
        assert tables(talk.connection) == rows

    conversations(check, talk)


def chain_of(talk: Talk) -> dict[str, set[str]]:
    """Each call and those its prompt extends, directly or not."""
    found: dict[str, set[str]] = {}
    for row in talk.rows(
        """with recursive chain as (
            select id, id as through from conversation_spans where kind = 'llm'
            union select c.id, s.prompt_extends from chain c join conversation_spans s on s.id = c.through
            where s.prompt_extends is not null
        ) select * from chain"""
    ):
        found.setdefault(str(row["id"]), set()).add(str(row["through"]))
    return found


def no_message_of_these_is_missing(talk: Talk, records: list[dict[str, Any]]) -> None:
    """Whatever a record brought into the conversation has its row, once, even where its body was lost."""
    brought = {
        derived_id(
            ref.get("span", record["id"]) if ref["place"] == "out" else record["run"], ref["body"], str(ref["n"])
        )
        for record in records
        for ref in record.get("messages", ())
        if ref["place"] != "history"
    } | {
        derived_id(record["run"], body, str(n))
        for record in records
        for body, place, n, _ in record.get("sizes", {"rows": ()})["rows"]
        if place == "own"
    }
    found = talk.rows("select id from conversation_messages where not is_history")
    assert {row["id"].hex for row in found} == brought


@pytest.mark.timeout(900)
def test_what_lost_records_take_along_is_counted_and_never_wrong(talk: Talk) -> None:
    def check(held: Held, seed: int) -> None:
        chance = random.Random(seed)
        share = chance.choice([0.05, 0.3])
        kept = [line for line in talk.lines if chance.random() > share]
        write(talk, kept, seed)
        counted: dict[str, set[str]] = {}
        for batch in checks.check(Reader(talk.connection), patience_s=0):
            for finding in batch.findings:
                counted.setdefault(finding.check, set()).add(str(finding.span_id))
        records = [orjson.loads(line) for line in kept]
        arrived = {(record["t"], record["id"]) for record in records}
        no_message_of_these_is_missing(talk, records)
        prompts, chains = talk.prompts(), chain_of(talk)
        for run_id, messages in received.items():
            if ("start", run_id.hex) in arrived:
                rebuilt = prompts[run_id]
                if not rebuilt:
                    assert str(run_id) in counted["prompts"]
                elif rebuilt != messages:
                    # Gaps, at the right places, and the missing bodies counted where they are referred to.
                    assert all(
                        row == message or set(row.values()) == {None}
                        for row, message in zip(rebuilt, messages, strict=True)
                    )
                    assert chains[str(run_id)] & counted["references"]
            elif ("end", run_id.hex) in arrived:
                assert str(run_id) in counted["ends_without_start"]
        stored = talk.said()
        for n, thread in enumerate(held.threads):
            found = Counter(line for line in stored.get(held.key(n), ()) if line not in thread.known)
            bodiless = Counter(line for line in found.elements() if line.endswith(": None"))
            # Of a lost turn there is what later prompts tell: perhaps less, never more than was said.
            assert not found - bodiless - Counter(thread.said)
            assert found.total() <= len(thread.said)

    conversations(check, talk)
