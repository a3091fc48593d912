"""Prompts and payloads that begin with rows of conversation_prefixes: put back, and counted where a row is gone."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from read_rows import call, ident, ingest, message, run, span

from chopsky_trace.database import check as checks
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.payloads import raw_spans, reference_in
from chopsky_trace.database.read import Reader
from chopsky_trace.enrich.prefixes import Prefixes

NAMES = [f"m{number}" for number in range(200)]
IDS = [ident("body", name).replace("-", "") for name in NAMES]


@pytest.fixture
def reader(connection: Connection) -> Reader:
    return Reader(connection)


@pytest.fixture
def session(connection: Connection) -> Connection:
    """A call with a long prompt, one that extends it, and a node whose state is a stretch, a prefix and the rest."""
    prefixes = Prefixes()
    prefix, rest = prefixes.shorten(IDS)
    ingest(
        connection,
        *(message("r", name, "user", number, content=name) for number, name in enumerate([*NAMES, "out", "end"])),
        *prefixes.rows(),
        call("r", "one", parent="r", second=1, prompt_prefix=prefix, prompt_bodies=rest, output_bodies=[body("out")]),
        call("r", "two", parent="r", second=2, prompt_extends=ident("r", "one"), prompt_take=150,
             prompt_bodies=[body("end")]),
        span("r", "node", parent="r", second=3, inputs={
            "state": {"$messages": rest, "$prefix": prefix, "$of": [ident("r", "one"), 199, 201]}
        }),
        span("r", "r"),
        runs=[run("r")],
    )  # fmt: skip
    return connection


def body(name: str) -> str:
    return ident("body", name)


def said(reader: Reader, name: str) -> list[str]:
    return [row["content"] for row in reader.prompt(UUID(ident("r", name)))]


def counted(reader: Reader) -> dict[str, int]:
    found = [one for batch in checks.check(reader, patience_s=100_000) for one in batch.findings]
    assert {one.check for one in found} <= {"prompts", "references"}, found
    return dict(Counter(one.reference or one.check for one in found))


def raw(reader: Reader, name: str) -> Any:
    return next(raw_spans(reader, [UUID(ident("r", name))]))


def test_prompts_and_payloads_are_put_back(session: Connection, reader: Reader):
    assert session.execute("select length from conversation_prefixes order by 1").fetchall() == [(64,), (128,), (192,)]
    assert said(reader, "one") == NAMES
    assert said(reader, "two") == [*NAMES[:150], "end"]
    assert [m["content"] for m in raw(reader, "node").row["inputs"]["state"]] == ["m199", "out", *NAMES]
    one = raw(reader, "one").row
    assert [m["content"] for m in one["prompt_messages"]] == NAMES
    assert "prompt_prefix" not in one
    assert counted(reader) == {}


@pytest.mark.parametrize("length", [64, 128, 192])
def test_a_row_that_is_gone_is_counted(session: Connection, reader: Reader, length: int):
    session.execute("delete from conversation_prefixes where length = %s", [length])
    # Both prompts cannot be rebuilt; what the first and the state begin with is gone, and the stretch with it.
    assert counted(reader) == {"prompts": 2, "$prefix": 2, "$of": 1}
    assert said(reader, "one") == []
    node = raw(reader, "node")
    assert (node.tally.missing, list(node.row["inputs"]["state"])) == (1, ["$of", "$prefix", "$messages"])
    one = raw(reader, "one")
    assert (one.tally.missing, one.row["prompt_messages"].keys()) == (1, {"$prefix", "$messages"})


def test_the_row_is_written_again_with_the_next_list(session: Connection, reader: Reader):
    session.execute("delete from conversation_prefixes where length = 128")
    prefixes = Prefixes()
    prefixes.shorten(IDS)
    for _ in range(2):
        ingest(session, *prefixes.rows(), runs=[])
    assert counted(reader) == {}
    assert said(reader, "one") == NAMES


def test_a_message_that_is_gone_is_counted_wherever_a_list_has_it(session: Connection, reader: Reader):
    session.execute("delete from conversation_messages where body_id = any (%s::uuid[])", [[body("m3"), body("m199")]])
    assert counted(reader) == {"prompt": 2, "$messages": 2}
    session.execute("update conversation_messages set content = null where body_id = %s", [body("m100")])
    assert counted(reader) == {"prompt": 3, "$messages": 3}


def test_more_messages_than_a_call_has_cannot_be_taken_of_it(session: Connection, reader: Reader):
    session.execute("update conversation_spans set prompt_take = 202 where id = %s", [ident("r", "two")])
    assert counted(reader) == {"prompts": 1}
    session.execute("update conversation_spans set prompt_take = 201 where id = %s", [ident("r", "two")])
    assert counted(reader) == {}
    assert said(reader, "two") == [*NAMES, "out", "end"]


def test_rows_that_extend_each_other_in_a_ring_end(session: Connection, reader: Reader):
    session.execute(
        "update conversation_prefixes set extends = (select id from conversation_prefixes where length = 192)"
    )
    assert counted(reader) == {"prompts": 2, "$prefix": 2, "$of": 1}
    assert said(reader, "one") == []


def test_a_reference_with_a_prefix_is_known_by_its_keys():
    begun = reference_in({"$messages": [], "$prefix": "1" * 32})
    assert begun is not None
    assert (begun.kind, begun.ids, begun.of, begun.begins) == ("messages", (), None, UUID("1" * 32))
    assert reference_in({"$messages": [], "$prefix": "x"}) is None
    assert reference_in({"$messages": ["1" * 32], "$prefix": None}) is None
    assert reference_in({"$messages": ["1" * 32], "$prefix": "1" * 32, "$of": 1}) is None
    assert reference_in({"$prefix": "1" * 32}) is None
