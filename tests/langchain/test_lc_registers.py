"""Two registers a span: any order, any batching, any duplication of the same records gives the same rows."""

from __future__ import annotations

import random
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lc_conversations import tables
from lc_records import MOMENT, body, hexid, store_all
from psycopg.rows import dict_row

from chopsky_trace.database.write import write_batch
from chopsky_trace.enrich.batch import Builder
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer.delivery import Delivery

SOURCES = st.sampled_from(["langchain", "langsmith", "otel"])
TEXTS = st.sampled_from(["yes", "no", "cook", "serve"])
USAGES = st.sampled_from(
    [
        None,
        {"usage_metadata": {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}},
        {"usage_metadata": {"input_tokens": 90, "output_tokens": 7, "total_tokens": 97}},
    ]
)
SCOPES = st.fixed_dictionaries(
    {},
    optional={
        "user_id": st.sampled_from(["ada", "bob"]),
        "session_id": st.sampled_from(["s1", "s2"]),
        "environment": st.sampled_from(["test", "live"]),
    },
)


@st.composite
def record_sets(draw: st.DrawFn) -> list[bytes]:
    """Starts and ends of one or two small trees, some told several times, differently, late, or by several sources."""
    records: list[dict[str, Any]] = []
    seen = 0
    for tree in range(draw(st.integers(1, 2))):
        root = hexid(f"root {tree}")
        spans: list[tuple[str, str | None, str]] = [(root, None, "chain")]
        for place in range(draw(st.integers(0, 3))):
            parent = draw(st.sampled_from([span for span, _, kind in spans if kind == "chain"]))
            spans.append(
                (hexid(f"span {tree} {place}"), parent, draw(st.sampled_from(["llm", "chain", "tool", "llm"])))
            )
        for place, (span, parent, kind) in enumerate(spans):
            for _ in range(draw(st.integers(0 if place else 1, 3))):
                seen += 1
                records.append(start(draw, span, parent, root, kind, tree, place, seen))
            for _ in range(draw(st.integers(0, 2))):
                seen += 1
                records.append(end(draw, span, root, kind, tree, place, seen))
                add_sizes(draw, records, root)
    return [orjson.dumps(record) for record in records]


def start(
    draw: st.DrawFn, span: str, parent: str | None, root: str, kind: str, tree: int, place: int, seen: int
) -> dict[str, Any]:
    # `seen` may tie between two tellings: then the digest decides.
    record: dict[str, Any] = {
        "v": 1,
        "t": "start",
        "id": span,
        "run": root,
        "parent": parent,
        "seen": 1_000 + seen // draw(st.integers(1, 2)),
        "source": draw(SOURCES),
        "at": MOMENT + tree * 1_000_000 + place * 1_000 + draw(st.integers(0, 2)),
        "kind": kind,
        "name": draw(st.sampled_from(["n1", "n2"])),
        "inputs": {"value": draw(st.integers(0, 9))},
    }
    scope = draw(SCOPES)
    if scope:
        record["scope"] = scope
    if draw(st.booleans()):
        record["tags"] = [draw(st.sampled_from(["a", "b", "retry:attempt:2"]))]
        record["metadata"] = {"k": draw(st.integers(0, 3))}
    if kind == "llm":
        told = [
            body(draw(TEXTS), role)
            for role in draw(st.sampled_from([("user",), ("system", "user"), ("user", "assistant", "user")]))
        ]
        tail = len(told) - 1
        record |= {
            "provider": "openai",
            "model": "gpt-4o-mini",
            "bodies": told,
            "prompt": {"bodies": [item["id"] for item in told]},
            "messages": [
                {
                    "body": item["id"],
                    "place": "own" if at == tail else "history",
                    "n": 0,
                    "position": at,
                    "internal": draw(st.booleans()),
                }
                for at, item in enumerate(told)
            ],
        }
    return record


def end(draw: st.DrawFn, span: str, root: str, kind: str, tree: int, place: int, seen: int) -> dict[str, Any]:
    record: dict[str, Any] = {
        "v": 1,
        "t": "end",
        "id": span,
        "run": root,
        "seen": 1_000 + seen,
        "source": draw(SOURCES),
        "kind": kind,
        "at": MOMENT + tree * 1_000_000 + place * 1_000 + 500 + draw(st.integers(0, 2)),
        "duration_ms": 1.5 + draw(st.integers(0, 3)),
        "started": MOMENT,
        "status": draw(st.sampled_from(["completed", "completed", "failed", "interrupted"])),
    }
    if record["status"] == "failed":
        record["error"] = draw(st.sampled_from(["burnt", "spilt"]))
    if kind == "llm":
        said = body(draw(TEXTS), "assistant")
        record |= {
            "provider": "openai",
            "model": "gpt-4o-mini",
            "outputs": {"generations": 1},
            "output_bodies": [said["id"]],
            "bodies": [said],
            "usage": draw(USAGES),
            "messages": [{"body": said["id"], "place": "out", "n": 0, "position": 0, "internal": draw(st.booleans())}],
        }
    else:
        record["outputs"] = {"value": draw(st.integers(0, 9))}
    return record


def add_sizes(draw: st.DrawFn, records: list[dict[str, Any]], root: str) -> None:
    """The last record tells sizes of messages that others of its run have told."""
    told = {
        (ref["body"], ref["place"], ref["n"])
        for record in records
        if record["run"] == root
        for ref in record.get("messages", ())
        if ref["place"] != "out" and record["t"] == "start"
    }
    sized = draw(st.lists(st.sampled_from(sorted(told)), max_size=2, unique=True)) if told else []
    if not sized:
        return
    last = records[-1]
    # Told after what it is about.
    last["at"] += 10_000_000
    last["sizes"] = {"rows": [[*key, draw(st.integers(0, 20))] for key in sized], "chars": 50}
    if draw(st.booleans()):
        last["sizes"]["before"] = draw(st.integers(0, 100))


# Long only where it fails: the example is then made small.
@pytest.mark.timeout(400)
def test_order_batching_and_duplication_do_not_matter(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None, row_factory=dict_row) as connection:

        @settings(
            max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
        )
        @given(lines=record_sets(), seed=st.integers(0, 2**32))
        def same_rows(lines: list[bytes], seed: int) -> None:
            expected = store_all(connection, lines, None, 1)
            assert expected["conversation_spans"]
            assert store_all(connection, lines, random.Random(seed), 2) == expected

        same_rows()


# As above.
@pytest.mark.timeout(400)
def test_copy_and_json_write_the_same_rows(database_url: str) -> None:
    """Each batch by COPY where its rows are new; where one is not, or may not be, by JSON: beside it or instead."""
    delivery = Delivery(Target(database_url, "test"), Settings())
    fallen_back = whole = 0
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None, row_factory=dict_row) as connection:

        @settings(
            max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
        )
        @given(lines=record_sets(), seed=st.integers(0, 2**32))
        def same_rows(lines: list[bytes], seed: int) -> None:
            nonlocal fallen_back, whole
            expected = store_all(connection, lines, None, 1)
            delivery._wary = 0
            assert store_all(connection, lines, None, 1, delivery) == expected
            assert delivery._wary == 0, "the rows were all new"
            whole += 1
            assert store_all(connection, lines, random.Random(seed), 2, delivery) == expected
            fallen_back += delivery._wary > 0

        try:
            same_rows()
        finally:
            delivery.disconnect()
    assert whole
    assert fallen_back, "no batch had to be written again as JSON"


def test_a_later_record_replaces_the_register_as_a_whole(database_url: str) -> None:
    first = {
        "v": 1,
        "t": "start",
        "id": hexid("root"),
        "run": hexid("root"),
        "parent": None,
        "seen": 10,
        "source": "langchain",
        "at": MOMENT,
        "kind": "chain",
        "name": "first",
        "tags": ["a"],
        "inputs": {"x": 1},
    }
    later = {
        "v": 1,
        "t": "start",
        "id": hexid("root"),
        "run": hexid("root"),
        "parent": None,
        "seen": 11,
        "source": "langchain",
        "at": MOMENT + 5,
        "kind": "chain",
        "name": "later",
    }
    other = {**first, "seen": 99, "source": "otel", "name": "other"}
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None, row_factory=dict_row) as connection:
        for line in (later, first, other, first):
            write_batch(connection, Builder().build([orjson.dumps(line)]).payload)
        (span,) = tables(connection)["conversation_spans"]
    # The lower-ranked source does not win by being later, and nothing of the earlier telling is left.
    assert (span["name"], span["tags"], span["inputs"], span["source"]) == ("later", [], None, "langchain")


def test_a_line_that_cannot_be_read_is_poison() -> None:
    from chopsky_trace.enrich.batch import PoisonError

    for line in (
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"v":1}',
        b'{"v":1,"t":"start","id":"x","run":"y","seen":1,"source":"langchain"}',
    ):
        with pytest.raises(PoisonError):
            Builder().build([line])
