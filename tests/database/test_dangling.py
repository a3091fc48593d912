"""Whatever is deleted or cleared, and however: what referred to it is counted, by kind."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from read_rows import at, call, content, ident, ingest, message, run, span

from chopsky_trace.cli import main
from chopsky_trace.database import check as checks
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.payloads import raw_spans
from chopsky_trace.database.read import Reader

TURNS = 3
Q = "where conversation_run_id = %s"


@pytest.fixture
def reader(connection: Connection) -> Reader:
    return Reader(connection)


def findings(reader: Reader) -> list[checks.Finding]:
    return [one for batch in checks.check(reader, patience_s=100_000) for one in batch.findings]


def dangling(reader: Reader) -> dict[str, int]:
    """How many references of each kind check counts; an end of a chain of prompts as `prompts`."""
    found = findings(reader)
    assert {one.check for one in found} <= {"prompts", "references"}, found
    return dict(Counter(one.reference or one.check for one in found))


def body(turn: int, name: str) -> str:
    return ident("body", f"{turn} {name}")


def turn(connection: Connection, number: int) -> None:
    """A turn of a session: its first call is sent all that was said before; a node's state is a stretch of the last."""
    name, start = f"t{number}", number * 100
    said = [body(n, part) for n in range(number) for part in ("ask", "plan", "tool", "answer")]
    asked, planned, told, answered = (body(number, part) for part in ("ask", "plan", "tool", "answer"))
    refs = {kind: {f"${kind}": ident("content", f"{number} {kind}")} for kind in ("text", "document", "media")}
    one, two = ident(name, "one"), ident(name, "two")
    state = {"$messages": [], "$of": [two, 0, len(said) + 4]}
    ingest(
        connection,
        span(name, name, second=start, inputs={"question": {"$message": asked}}, outputs={"messages": state}),
        call(name, "one", parent=name, second=start + 1, prompt_bodies=[*said, asked], output_bodies=[planned],
             invocation_params={"tools": [refs["document"]]}),
        span(name, "tool", parent=name, second=start + 2, kind="tool", inputs={"a": [refs["text"]]},
             outputs={"$messages": [told, told.replace("-", "")]}, metadata={"page": refs["document"]},
             end_metadata={"events": [refs["media"]]}),
        call(name, "two", parent=name, second=start + 3, prompt_extends=one, prompt_take=len(said) + 2,
             prompt_bodies=[told], output_bodies=[answered]),
        message(name, f"{number} ask", "user", start, parts=[{"image": refs["media"]}]),
        message(name, f"{number} plan", "assistant", start + 1, content=None, span_id=one, cost="0.000123",
                token_count=20, tool_calls=[{"name": "f", "args": refs["text"]}]),
        message(name, f"{number} tool", "tool", start + 2),
        message(name, f"{number} answer", "assistant", start + 3, span_id=two, token_count=20, cost="0.000123"),
        content(name, f"{number} text", "text", f"a text of turn {number}"),
        content(name, f"{number} document", "document", {"page_content": refs["text"]}),
        content(name, f"{number} media", "media", b"bytes", media_type="image/png"),
        # The bytes of this one were not kept: no exception.
        content(name, f"{number} unkept", "media", None, size_bytes=5),
        span(name, "unkept", parent=name, second=start + 4, inputs=[{"$media": ident("content", f"{number} unkept")}]),
        runs=[run(name, started_at=at(start), session_id="thread", user_id="ann")],
    )  # fmt: skip


@pytest.fixture
def session(connection: Connection) -> Connection:
    for number in range(TURNS):
        turn(connection, number)
    return connection


def test_nothing_dangles_in_a_healthy_session(session: Connection, reader: Reader):
    batches = list(checks.check(reader, patience_s=100_000))
    assert [one for batch in batches for one in batch.findings] == []
    assert sum(batch.prompts for batch in batches) == 2 * TURNS


@pytest.mark.parametrize(
    ("query", "parameters", "expected"),
    [
        # By hand, row by row.
        ("delete from conversation_contents where id = %s", [ident("content", "1 text")], {"$text": 3}),
        ("delete from conversation_contents where id = %s", [ident("content", "1 document")], {"$document": 2}),
        ("delete from conversation_contents where id = %s", [ident("content", "1 media")], {"$media": 2}),
        ("delete from conversation_contents where id = %s", [ident("content", "1 unkept")], {"$media": 1}),
        # A message: the call that said it or was asked it, every later prompt that begins with it, and the payloads.
        ("delete from conversation_messages where body_id = %s", [body(2, "ask")], {"prompt": 1, "$message": 1}),
        ("delete from conversation_messages where body_id = %s", [body(0, "ask")], {"prompt": 3, "$message": 1}),
        ("delete from conversation_messages where body_id = %s", [body(2, "tool")], {"prompt": 1, "$messages": 1}),
        ("delete from conversation_messages where body_id = %s", [body(2, "answer")], {"output": 1}),
        ("delete from conversation_messages where body_id = %s", [body(1, "plan")], {"prompt": 1, "output": 1}),
        # A call that another extends and a state is a stretch of.
        ("delete from conversation_spans where id = %s", [ident("t1", "one")], {"prompts": 1, "$of": 1}),
        ("delete from conversation_spans where id = %s", [ident("t1", "two")], {"$of": 1}),
        ("update conversation_spans set output_bodies = null where id = %s", [ident("t1", "two")], {"$of": 1}),
        ("update conversation_spans set output_bodies = null where id = %s", [ident("t1", "one")],
         {"prompts": 1, "$of": 1}),
        # A run, with all that is its own: the later prompts held it.
        ("delete from conversation_runs where id = %s", [ident("t2")], {}),
        ("delete from conversation_runs where id = %s", [ident("t1")], {"prompt": 4}),
        # A session's older runs.
        ("delete from conversation_runs where started_at < %s", [at(150)], {"prompt": 8}),
        # Cleared of what was said, the rows left.
        (f"update conversation_messages set content = null, parts = null, tool_calls = null {Q}", [ident("t2")],
         {"prompt": 2, "output": 2, "$message": 1, "$messages": 1}),
        (f"update conversation_contents set text = null, document = null, data = null {Q}", [ident("t2")],
         {"$text": 2, "$document": 2}),
        (f"update conversation_contents set kind = 'text', text = 'x' {Q}", [ident("t2")],
         {"$document": 2, "$media": 3}),
        # A person erased, everything deleted.
        ("delete from conversation_runs where user_id = %s", ["ann"], {}),
    ],
)  # fmt: skip
def test_what_is_deleted_or_cleared_is_counted(
    session: Connection, reader: Reader, query: str, parameters: list[str], expected: dict[str, int]
):
    deleted = session.execute(query.encode(), parameters).rowcount
    assert deleted > 0
    assert dangling(reader) == expected


def test_the_cause_and_the_place_are_told(session: Connection, reader: Reader):
    session.execute("delete from conversation_contents where id = %s", [ident("content", "1 text")])
    session.execute("update conversation_messages set content = null where body_id = %s", [body(2, "tool")])
    by_field = {(one.field, one.reference): one for one in findings(reader)}
    page = by_field["document " + ident("content", "1 document"), "$text"]
    assert (page.conversation_run_id, page.span_id, page.message_id) == (UUID(ident("t1")), None, None)
    called = by_field["tool_calls", "$text"]
    assert called.message_id == UUID(ident("t1", "message", "1 plan"))
    assert (called.stored, called.cause) == (ident("content", "1 text"), "$text: its run has no content with this id")
    prompt = by_field["prompt", "prompt"]
    assert prompt.span_id == UUID(ident("t2", "two"))
    assert prompt.cause == "the message with this body_id has no content any more"


def test_what_only_looks_like_a_reference_is_none(session: Connection, reader: Reader):
    gone = ident("gone")
    told: list[Any] = [
        {"$text": gone, "a": 1}, {"$text": "x"}, {"$text": None}, {"$text": [gone]}, {"$message": 7},
        {"$of": [gone, 0, 1]}, {"$messages": gone}, {"$messages": {"a": gone}}, {"$messages": []},
        {"$messages": [], "$of": gone}, {"$messages": [], "$of": [gone, 1e300, 2]}, {"$messages": [], "$of": [gone, 0]},
        "$text", [["$text", gone]],
    ]  # fmt: skip
    ingest(
        session, span("t0", "odd", parent="t0", inputs=told, outputs="$text", metadata={"$text": 1}), runs=[run("t0")]
    )
    assert findings(reader) == []


def test_runs_under_way_may_still_get_what_they_refer_to(connection: Connection, reader: Reader):
    root = span("r", "r", status="active", ended_at=None, end_version=None, inputs={"$text": ident("late")})
    ingest(connection, root, runs=[run("r")])
    assert findings(reader) == []
    assert [
        one.reference for batch in checks.check(reader, patience_s=0) for one in batch.findings if one.reference
    ] == ["$text"]


def test_a_payload_as_deep_as_the_server_takes_is_looked_through(connection: Connection, reader: Reader):
    ingest(connection, span("r", "r"), runs=[run("r")])
    reference = json.dumps({"$text": ident("gone")})
    connection.execute("update conversation_spans set inputs = %s::jsonb", ["[" * 3_000 + reference + "]" * 3_000])
    assert dangling(reader) == {"$text": 1}


def test_the_command_counts_by_kind(session: Connection, database_url: str):
    def check(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["check", *arguments], env={"CHOPSKY_TRACE_DATABASE_URL": database_url})

    healthy = json.loads(check("--json").stdout)
    assert (healthy["total"], healthy["checked"]["prompts"]) == (0, 2 * TURNS)
    assert set(healthy["dangling"]) == set(checks.REFERENCES)
    assert not any(healthy["dangling"].values())
    session.execute("delete from conversation_runs where id = %s", [ident("t1")])
    session.execute("delete from conversation_contents where id = %s", [ident("content", "2 text")])
    told = check("--json", "--limit", "0")
    assert told.exit_code == 1
    assert {k: v for k, v in json.loads(told.stdout)["dangling"].items() if v} == {"prompt": 4, "$text": 3}
    assert "prompt 4, $text 3" in check().stdout


# -- the same, derived without SQL


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


def derived(reader: Reader, connection: Connection) -> Counter[str]:
    """Counts by kind, from all rows at once."""

    def rows(table: str) -> list[dict[str, Any]]:
        found = connection.execute(f"select to_jsonb(t) from conversation_{table} t".encode()).fetchall()
        return [row for (row,) in found]

    spans, messages, contents = rows("spans"), rows("messages"), rows("contents")
    said = {m["body_id"] for m in messages if m["content"] is not None or m["parts"] or m["tool_calls"]}
    have = {(c["conversation_run_id"], c["id"], c["kind"]) for c in contents}
    calls = {s["id"]: s for s in spans if s["prompt_bodies"] is not None}
    places = [
        (s, (s["id"], name), s[name])
        for s in spans
        for name in ("inputs", "outputs", "invocation_params", "metadata", "end_metadata")
    ]
    places += [(m, (m["id"], name), m[name]) for m in messages for name in ("parts", "tool_calls")]
    places += [(c, (c["conversation_run_id"], c["id"]), c["document"]) for c in contents]
    found: set[tuple[Any, ...]] = set()
    for row, place, value in places:
        for one in objects(value):
            for kind in ("text", "document", "media"):
                if f"${kind}" in one and (row["conversation_run_id"], one[f"${kind}"], kind) not in have:
                    found.add((f"${kind}", place, one[f"${kind}"]))
            for body_id in [*one.get("$messages", ()), *([one["$message"]] if "$message" in one else ())]:
                body_id = str(UUID(body_id))
                if body_id not in said:
                    found.add(("$message" if "$message" in one else "$messages", place, body_id))
            if "$of" in one and (length(calls, one["$of"][0]) or -1) < one["$of"][2]:
                found.add(("$of", place, tuple(one["$of"])))
    for one in calls.values():
        found |= {("prompt", one["id"], body_id) for body_id in one["prompt_bodies"] if body_id not in said}
        found |= {("output", one["id"], body_id) for body_id in one["output_bodies"] or () if body_id not in said}
        if length(calls, one["id"]) is None:
            found.add(("prompts", one["id"]))
    return Counter(kind for kind, *_ in found)


def length(calls: dict[str, dict[str, Any]], span_id: str) -> int | None:
    """Of a call's prompt and output; None where a link is missing."""
    one = calls.get(span_id)
    if one is None:
        return None
    own = len(one["prompt_bodies"]) + len(one["output_bodies"] or ())
    if one["prompt_extends"] is None:
        return own
    before = length(calls, one["prompt_extends"])
    return None if before is None or before < one["prompt_take"] else one["prompt_take"] + own


@pytest.mark.parametrize("seed", range(12))
def test_whatever_goes_the_count_is_that_of_the_rows_left(session: Connection, reader: Reader, seed: int):
    """And where nothing is counted, every payload and prompt can be put back; where something is, some cannot."""
    chance = random.Random(seed)
    tables = ("contents", "messages", "spans", "runs")
    for _ in range(chance.randint(1, 5)):
        table = chance.choice(tables[: 4 if chance.random() < 0.3 else 3])
        order = "id" if table != "contents" else "conversation_run_id, id"
        rows = session.execute(f"select ctid::text from conversation_{table} order by {order}".encode()).fetchall()
        if rows:
            session.execute(f"delete from conversation_{table} where ctid = %s::tid".encode(), [chance.choice(rows)[0]])
    found = Counter(one.reference or one.check for one in findings(reader) if one.check in ("prompts", "references"))
    assert found == derived(reader, session)
    ids = [row[0] for row in session.execute("select id from conversation_spans").fetchall()]
    missing = sum(raw.tally.missing for raw in raw_spans(reader, ids))
    inside = {kind for kind in found if found[kind]}
    # A document that no payload refers to any more is counted where it stands only.
    assert not missing or inside
    prompts = [reader.prompt(one) for one in ids]
    complete = all(row["role"] for prompt in prompts for row in prompt)
    assert complete or found["prompt"] + found["output"] > 0


def test_references_are_named_in_the_statement():
    from chopsky_trace.database import statements

    sql = statements.load("check.sql")["references"]
    assert all(re.search(re.escape(f"'{name}'"), sql) for name in checks.REFERENCES)
