"""Payloads put back together, and prompts: texts, documents, media, messages, and what is no longer stored."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from read_rows import call, content, ident, ingest, message, run, span

from chopsky_trace.cli import main
from chopsky_trace.database import payloads
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.payloads import RawSpan, raw_spans, reference_in
from chopsky_trace.database.read import Reader

PNG = bytes(range(256)) * 3
URL = "data:image/png;base64,"
IMAGE = URL + b64encode(PNG).decode()
LONG = 'a "long" text with {"$text": "' + ident("content", "other") + '"} in it, \\ and\nlines é'


def text(name: str) -> dict[str, Any]:
    return {"$text": ident("content", name)}


def document(name: str) -> dict[str, Any]:
    return {"$document": ident("content", name)}


def media(name: str, prefix: str | None = URL) -> dict[str, Any]:
    told = {"$media": ident("content", name), "media_type": "image/png", "size_bytes": len(PNG)}
    return told if prefix is None else told | {"prefix": prefix}


def hexed(name: str) -> str:
    """A body's id as sources write it into payloads: without hyphens."""
    return ident("body", name).replace("-", "")


@pytest.fixture
def reader(connection: Connection) -> Reader:
    return Reader(connection)


def raw(reader: Reader, run_name: str, name: str) -> RawSpan:
    span_id = ident(run_name) if name == run_name else ident(run_name, name)
    return next(raw_spans(reader, [UUID(span_id)]))


def show(database_url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["show", *arguments], env={"CHOPSKY_TRACE_DATABASE_URL": database_url})


def stored(connection: Connection, **payload: Any) -> None:
    """A run `r` with a span `s` that has this payload, and contents of every kind."""
    ingest(
        connection,
        span("r", "r"),
        span("r", "s", parent="r", **payload),
        content("r", "long", "text", LONG),
        content("r", "other", "text", "must not stand anywhere"),
        content("r", "page", "document", {"page_content": text("long"), "metadata": {"at": [text("long"), 1]}}),
        content("r", "picture", "media", PNG, media_type="image/png"),
        content("r", "not kept", "media", None, media_type="image/png", size_bytes=9),
        message("r", "hello", "user", 0),
        message("r", "call", "assistant", 1, content=None, name="bot",
                tool_calls=[{"name": "read", "args": {"page": text("long")}, "id": "c1"}]),
        message("r", "result", "tool", 2, content="seen", tool_call_id="c1",
                parts=[{"type": "text", "text": text("long")},
                       {"type": "image_url", "image_url": {"url": media("picture")}},
                       {"type": "file", "source": document("page")}]),
        runs=[run("r")],
    )  # fmt: skip


HELLO = {"role": "user", "content": "hello"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"name": "read", "args": {"page": LONG}, "id": "c1"}],
    "name": "bot",
}
PAGE = {"page_content": LONG, "metadata": {"at": [LONG, 1]}}
RESULT = {
    "role": "tool",
    "content": [
        {"type": "text", "text": LONG},
        {"type": "image_url", "image_url": {"url": IMAGE}},
        {"type": "file", "source": PAGE},
    ],
    "tool_call_id": "c1",
}


@pytest.mark.parametrize(
    ("told", "whole"),
    [
        (text("long"), LONG),
        ([1, {"a": [text("long"), text("long")]}], [1, {"a": [LONG, LONG]}]),
        (document("page"), PAGE),
        ({"documents": [document("page"), document("page")]}, {"documents": [PAGE, PAGE]}),
        (media("picture"), IMAGE),
        (media("picture", None), b64encode(PNG).decode()),
        ({"$message": hexed("hello")}, HELLO),
        ({"$message": ident("body", "hello")}, HELLO),
        ({"m": {"$messages": [hexed("hello"), hexed("call"), hexed("result")]}}, {"m": [HELLO, CALL, RESULT]}),
        ({"$messages": [hexed("hello"), hexed("hello")]}, [HELLO, HELLO]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("column", payloads.PAYLOADS)
def test_a_reference_gives_what_it_stands_for(
    connection: Connection, reader: Reader, column: str, told: Any, whole: Any
):
    stored(connection, **{column: {"here": told}})
    found = raw(reader, "r", "s")
    assert found.row[column] == {"here": whole}
    assert found.tally.counts() == {"missing": 0, "not_kept": 0, "too_large": 0}


def test_a_payload_may_itself_be_a_reference(connection: Connection, reader: Reader):
    stored(connection, inputs=text("long"), outputs=document("page"))
    found = raw(reader, "r", "s")
    assert (found.row["inputs"], found.row["outputs"]) == (LONG, PAGE)


@pytest.mark.parametrize(
    ("told", "counts"),
    [
        (text("nothing"), {"missing": 1}),
        (text("page"), {"missing": 1}),
        (document("long"), {"missing": 1}),
        (media("nothing"), {"missing": 1}),
        (media("not kept"), {"not_kept": 1}),
        ({"$message": hexed("nothing")}, {"missing": 1}),
        ({"$messages": [], "$of": [ident("r", "gone"), 0, 3]}, {"missing": 1}),
        ({"$messages": [hexed("hello")], "$of": [ident("r", "s"), 0, 3]}, {"missing": 1}),
        # What only looks like a reference is no exception.
        ({"$text": ident("content", "long"), "mine": 1}, {}),
        ({"$text": "not an id"}, {}),
        ({"$text": 7}, {}),
        ({"$text": text("long"), "b": 1} | {"$text": "x"}, {}),
        ({"$document": None}, {}),
        ({"$media": ident("content", "picture"), "type": "image"}, {}),
        ({"$message": [hexed("hello")]}, {}),
        ({"$messages": hexed("hello")}, {}),
        ({"$messages": [hexed("hello"), "hello"]}, {}),
        ({"$messages": [hexed("hello")], "$of": [1, 2, 3]}, {}),
        ({"$messages": [hexed("hello")], "$of": [ident("r", "s"), 2, 1]}, {}),
        ({"$messages": [hexed("hello")], "$of": [ident("r", "s"), True, 1]}, {}),
        ({"$messages": []}, {}),
    ],
)
def test_what_cannot_be_put_back_stays_and_is_counted(
    connection: Connection, reader: Reader, told: Any, counts: dict[str, int]
):
    stored(connection, inputs={"here": [told]})
    found = raw(reader, "r", "s")
    assert found.row["inputs"] == {"here": [told]}
    assert found.tally.counts() == {"missing": 0, "not_kept": 0, "too_large": 0} | counts


def test_beside_a_missing_message_the_others_are_shown(connection: Connection, reader: Reader):
    stored(connection, inputs={"$messages": [hexed("hello"), hexed("nothing")]})
    found = raw(reader, "r", "s")
    assert found.row["inputs"] == [HELLO, {"$message": hexed("nothing")}]
    assert found.tally.missing == 1


def test_what_is_missing_inside_a_message_or_document_counts_wherever_it_is_shown(
    connection: Connection, reader: Reader
):
    stored(connection, inputs=[{"$message": hexed("result")}, document("page"), document("page")])
    connection.execute("delete from conversation_contents where id = %s", [ident("content", "long")])
    found = raw(reader, "r", "s")
    assert found.tally.missing == (1 + 2) + 2 + 2
    assert found.row["inputs"][1] == {"page_content": text("long"), "metadata": {"at": [text("long"), 1]}}
    assert found.row["inputs"][0]["content"][0] == {"type": "text", "text": text("long")}


def test_documents_that_hold_each_other_do_not_go_round_in_circles(connection: Connection, reader: Reader):
    stored(connection, inputs=[document("a"), {"$message": hexed("ring")}])
    ingest(
        connection,
        content("r", "a", "document", {"b": document("b"), "long": text("long")}),
        content("r", "b", "document", {"a": document("a"), "m": {"$message": hexed("ring")}}),
        message("r", "ring", "user", 3, parts=[{"m": {"$message": hexed("ring")}, "a": document("a")}]),
        call("r", "c", parent="r", prompt_bodies=[ident("body", "ring")]),
        runs=[run("r")],
    )
    inside = {"b": document("b"), "long": LONG}
    assert raw(reader, "r", "s").row["inputs"] == [
        inside,
        {"role": "user", "content": [{"m": {"$message": hexed("ring")}, "a": inside}]},
    ]
    prompt = reader.prompt(UUID(ident("r", "c")))
    assert [row["parts"] for row in prompt] == [[{"m": {"$message": hexed("ring")}, "a": inside}]]


def test_no_more_is_put_back_than_there_is_room_for(
    connection: Connection, reader: Reader, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(payloads, "RESTORED_MAX_BYTES", 2 * len(LONG) + 5)
    stored(connection, inputs=[text("long")] * 4)
    found = raw(reader, "r", "s")
    assert found.row["inputs"] == [LONG, LONG, text("long"), text("long")]
    assert found.tally.too_large == 2


def test_contents_are_of_their_own_run(connection: Connection, reader: Reader):
    """Two tenants' runs: an id that one guesses gives nothing of the other."""
    stored(connection)
    ingest(connection, span("q", "q", inputs=text("long")), runs=[run("q")])
    found = raw(reader, "q", "q")
    assert (found.row["inputs"], found.tally.missing) == (text("long"), 1)


def test_the_sessions_own_message_comes_first_and_a_row_without_content_never(connection: Connection, reader: Reader):
    """Bodies are equal wherever they are; what they refer to is of their own run."""
    parts = [{"type": "text", "text": text("long")}]
    for name, session in (("here", "1"), ("there", "2")):
        ingest(
            connection,
            span(name, name, inputs={"$message": hexed("m")}),
            call(name, "c", parent=name, prompt_bodies=[ident("body", "m")]),
            content(name, "long", "text", f"{name}"),
            message(name, "m", "user", 0, content="m", parts=parts),
            runs=[run(name, session_id=session)],
        )
    for name in ("here", "there"):
        whole = [{"type": "text", "text": name}]
        assert raw(reader, name, name).row["inputs"] == {"role": "user", "content": whole}
        assert [row["parts"] for row in reader.prompt(UUID(ident(name, "c")))] == [whole]
    connection.execute(
        "update conversation_messages set content = null, parts = null where conversation_run_id = %s", [ident("here")]
    )
    assert raw(reader, "here", "here").row["inputs"]["content"] == [{"type": "text", "text": "there"}]
    assert [row["parts"] for row in reader.prompt(UUID(ident("here", "c")))] == [[{"type": "text", "text": "there"}]]


def agent(connection: Connection) -> None:
    """Two calls, the second of which extends the first; a node's state is a stretch of them."""
    stored(connection)
    bodies = {name: ident("body", name) for name in ("hello", "call", "result", "end")}
    ingest(
        connection,
        call("r", "one", parent="r", second=1, prompt_bodies=[bodies["hello"]], output_bodies=[bodies["call"]]),
        call("r", "two", parent="r", second=2, prompt_extends=ident("r", "one"), prompt_take=2,
             prompt_bodies=[bodies["result"]], prompt_names={"1": "bot"}, output_bodies=[bodies["end"]]),
        span("r", "node", parent="r", second=3,
             inputs={"messages": {"$messages": [], "$of": [ident("r", "two"), 1, 3]}},
             outputs={"messages": {"$messages": [hexed("hello")], "$of": [ident("r", "two").replace("-", ""), 0, 4]}}),
        message("r", "end", "assistant", 4),
        runs=[run("r")],
    )  # fmt: skip


END = {"role": "assistant", "content": "end"}


def test_a_stretch_of_a_calls_messages_is_put_back(connection: Connection, reader: Reader):
    agent(connection)
    found = raw(reader, "r", "node")
    assert found.row["inputs"] == {"messages": [CALL, RESULT]}
    assert found.row["outputs"] == {"messages": [HELLO, CALL, RESULT, END, HELLO]}


def test_a_call_has_its_prompt_and_output_as_messages(connection: Connection, reader: Reader):
    agent(connection)
    two = raw(reader, "r", "two").row
    assert (two["prompt_messages"], two["output_messages"]) == ([HELLO, CALL, RESULT], [END])
    assert (
        not {"prompt_bodies", "prompt_extends", "prompt_take", "prompt_names", "output_bodies", "session_key"}
        & two.keys()
    )
    assert "prompt_messages" not in raw(reader, "r", "node").row


def test_a_prompt_that_cannot_be_rebuilt_stays_and_is_counted(connection: Connection, reader: Reader):
    agent(connection)
    connection.execute("delete from conversation_spans where id = %s", [ident("r", "one")])
    found = raw(reader, "r", "two")
    assert found.tally.missing == 1
    assert found.row["prompt_messages"]["$of"] == [ident("r", "one").replace("-", ""), 0, 2]
    assert found.row["output_messages"] == [END]


def test_conversation_prompt_agrees_with_the_raw_payload(connection: Connection, reader: Reader):
    agent(connection)
    rows = reader.prompt(UUID(ident("r", "two")))
    assert [
        {"role": row["role"], "content": row["content"] if row["parts"] is None else row["parts"]}
        | {name: row[name] for name in ("tool_calls", "tool_call_id", "name") if row[name] is not None}
        for row in rows
    ] == raw(reader, "r", "two").row["prompt_messages"]


@pytest.mark.parametrize(
    "value",
    [
        [{"$text": ident("content", "nothing")}],
        [{"$text": ident("content", "long"), "media_type": "x"}],
        [{"$media": ident("content", "not kept"), "prefix": None, "media_type": 'a"}', "size_bytes": 9}],
        [{"$text": "short"}, '{"$text": "' + ident("content", "long") + '"}', "{", {"{": '{"$text": "'}],
        {"a": [[], {}, None, True, 1.5, "é\u2028\\u0000"]},
        [],
        "x",
    ],
)
def test_the_database_leaves_what_is_no_reference(connection: Connection, value: Any):
    stored(connection)
    row = connection.execute("select chopsky_restore(%s::jsonb, %s)", [json.dumps(value), ident("r")]).fetchone()
    assert row == (value,)


@pytest.mark.parametrize("value", [text("long"), document("page"), media("picture"), media("picture", 'p"\\}')])
def test_the_database_puts_back_what_the_reader_does(connection: Connection, reader: Reader, value: Any):
    told = {"a": [value, {"b": value}], "c": "{", "d": "plain"}
    stored(connection, inputs=told)
    row = connection.execute("select chopsky_restore(%s::jsonb, %s)", [json.dumps(told), ident("r")]).fetchone()
    assert row == (raw(reader, "r", "s").row["inputs"],)


def test_a_prompt_too_large_for_a_value_keeps_its_references(connection: Connection, reader: Reader):
    """Ten thousand references to a megabyte: ten gigabytes."""
    stored(connection)
    parts = [text("large")] * 10_000
    ingest(
        connection,
        content("r", "large", "text", "x" * 1_000_000),
        message("r", "bomb", "user", 5, parts=parts),
        call("r", "c", parent="r", prompt_bodies=[ident("body", "bomb")]),
        runs=[run("r")],
    )
    assert reader.prompt(UUID(ident("r", "c")))[0]["parts"] == parts
    found = raw(reader, "r", "c")
    assert found.tally.size_bytes <= payloads.RESTORED_MAX_BYTES
    assert found.tally.too_large > 9_000


def test_deep_payloads_are_looked_through(connection: Connection, reader: Reader):
    told: Any = text("long")
    whole: Any = LONG
    for _ in range(300):
        told, whole = {"a": [told]}, {"a": [whole]}
    stored(connection, inputs=told)
    assert raw(reader, "r", "s").row["inputs"] == whole


def test_a_reference_is_known_by_its_keys():
    found = reference_in({"$messages": ["0" * 32], "$of": ["1" * 32, 2, 3]})
    assert found is not None
    assert (found.kind, found.ids, found.of) == ("messages", (UUID(int=0),), (UUID("1" * 32), 2, 3))
    assert reference_in({}) is None
    assert reference_in({"text": "0" * 32}) is None


def test_show_raw_gives_a_line_a_span(connection: Connection, database_url: str):
    agent(connection)
    result = show(database_url, ident("r"), "--raw")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["name"] for line in lines] == ["r", "s", "one", "two", "node"]
    assert lines[3]["prompt_messages"] == [HELLO, CALL, RESULT]
    assert result.exit_code == 0
    one = show(database_url, ident("r", "node"), "--raw")
    assert json.loads(one.stdout)["inputs"] == {"messages": [CALL, RESULT]}


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 9])
def test_show_raw_pages(connection: Connection, database_url: str, limit: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(payloads, "SPANS_AT_ONCE", 2)
    agent(connection)
    names: list[str] = []
    cursor: list[str] = []
    while True:
        result = show(database_url, ident("r"), "--raw", "--json", "--limit", str(limit), *cursor)
        page = json.loads(result.stdout)
        names += [one["name"] for one in page["spans"]]
        assert len(page["spans"]) <= limit
        if page["next"] is None:
            break
        assert (
            "--after " + page["next"] in show(database_url, ident("r"), "--raw", "--limit", str(limit), *cursor).stderr
        )
        cursor = ["--after", page["next"]]
    assert names == ["r", "s", "one", "two", "node"]
    assert show(database_url, ident("r"), "--raw", "--after", "7").exit_code == 2


def test_show_raw_tells_what_is_missing(connection: Connection, database_url: str):
    stored(connection, inputs=[text("nothing"), media("not kept")])
    result = show(database_url, ident("r"), "--raw", "--json")
    page = json.loads(result.stdout)
    assert (page["missing"], page["not_kept"], page["too_large"]) == (1, 1, 0)
    assert [one["missing"] for one in page["spans"]] == [0, 1]
    assert page["spans"][1]["inputs"] == [text("nothing"), media("not kept")]
    assert result.exit_code == 1
    lines = show(database_url, ident("r"), "--raw")
    assert lines.exit_code == 1
    assert "1 missing, 1 not kept" in lines.stderr


def test_show_raw_is_of_a_run_or_a_span(connection: Connection, database_url: str):
    ingest(connection, span("r", "r"), runs=[run("r", session_id="thread")])
    result = show(database_url, "thread", "--raw")
    assert (result.exit_code, result.stdout) == (2, "")
