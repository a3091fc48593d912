"""Rows by COPY: the columns are the tables', every value arrives as it is, and what goes wrong costs nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import orjson
import psycopg
import pytest
import writer_records as records
from psycopg.rows import dict_row

from chopsky_trace.database import write
from chopsky_trace.database.connect import Connection
from chopsky_trace.enrich import columns
from chopsky_trace.enrich.batch import Batch, Builder
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer import Writer
from chopsky_trace.writer.batches import Breather
from chopsky_trace.writer.delivery import COPY_RECORDS, Delivery, trouble

ODD = (
    "\\ \\N \\. \\t",
    "tab\there, line\nbreak, return\rand both\r\n",
    "quotes ' \" ` $$ $1 %s",
    "é 漢 🍲 \u200b \u2028 \ud7ff \ue000",
    "\x01\x02\x1f\x7f\x80\x9f",
    "NUL \x00 within, and spelled \\u0000",
    "{}",
    "null",
    "",
    " ",
    "x" * 70_000,
)
NUMBERS = (
    0,
    1,
    0.001,
    0.0005,
    0.5,
    1.0,
    9_999.0,
    10_000.0,
    12_345.678,
    3.177569,
    99_999_999.999,
    123_456_789.25,
    1e-05,
)
TYPES = {
    columns.word: "text",
    columns.text: "text",
    columns.jsonb: "jsonb",
    columns.uuid: "uuid",
    columns.integer: "integer",
    columns.size: "integer",
    columns.bigint: "bigint",
    columns.moment: "timestamp with time zone",
    columns.boolean: "boolean",
    columns.number: "numeric",
    columns.decimal: "numeric",
    columns.texts: "text[]",
    columns.uuids: "uuid[]",
}
UNTOLD = {
    "conversation_spans": {
        "duplicate_of": "uuid",
        "told": "jsonb",
        "abandoned_at": "timestamp with time zone",
        "created_at": "timestamp with time zone",
    },
    "conversation_messages": {
        "action_taken": "text",
        "questions_asked": "jsonb",
        "delegation_plan": "jsonb",
        "said": "jsonb",
    },
}


@pytest.fixture
def delivery(database_url: str) -> Iterator[Delivery]:
    made = Delivery(Target(database_url, "test"), Settings())
    yield made
    made.disconnect()


def table(connection: Connection, name: str, hidden: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        key = "conversation_run_id" if name == "conversation_analytics" else "id"
        found = cursor.execute(f"select * from public.{name} order by {key}".encode()).fetchall()
    return [{key: value for key, value in row.items() if key not in hidden} for row in found]


def everything(connection: Connection) -> list[list[dict[str, Any]]]:
    clocks = ("created_at", "updated_at")
    return [
        table(connection, "conversation_runs", clocks),
        table(connection, "conversation_spans", clocks[:1]),
        table(connection, "conversation_messages"),
        table(connection, "conversation_analytics", ("id", *clocks)),
        table(connection, "conversation_prefixes", clocks[:1]),
    ]


def clear(connection: Connection) -> None:
    for name in ("messages", "spans", "runs", "prefixes"):
        connection.execute(f"delete from public.conversation_{name}".encode())


def by_copy(delivery: Delivery, lines: list[bytes]) -> Batch:
    """Stores the lines by COPY; that it was COPY which did, the caller sees in `delivery`."""
    batch = Builder().build(lines, packed=True)
    delivery.send(batch)
    delivery.collect()
    return batch


def conversation(name: str, text: str, number: float) -> list[bytes]:
    """A run whose texts are all the given one."""
    run, call = uuid4().hex, uuid4().hex
    calls = [{"name": text, "args": {text: text}}]
    asked, said = ({"id": uuid4().hex, "core": [role, text, calls, text, text]} for role in ("user", "assistant"))
    common = {"v": 1, "run": run, "source": "langchain", "seen": 5, "at": 1_790_000_000_000_001}
    payload = {text: [text, number, None, True]}
    ref = {"n": 0, "position": 0, "internal": False}
    names = {"provider": text, "model": text}
    scope = dict.fromkeys(("environment", "tenant_id", "user_id"), text) | {"project": name, "session_id": name + text}
    root = common | {"t": "start", "id": run, "parent": None, "kind": "chain", "name": text, "inputs": text}
    root |= {"metadata": payload, "tags": [text, name], "scope": scope, "bodies": [asked]}
    root |= {"messages": [{**ref, "body": asked["id"], "place": "own"}]}
    begun = common | names | {"t": "start", "id": call, "parent": run, "kind": "llm", "name": text, "params": payload}
    begun |= {"inputs": payload, "prompt": {"bodies": [asked["id"]]}}
    ended = common | names | {"t": "end", "id": call, "kind": "llm", "status": "completed", "model_requested": text}
    ended |= {"response_id": text, "finish_reason": text, "duration_ms": number, "first_token_ms": number}
    ended |= {"outputs": text, "output_bodies": [said["id"]], "events": [payload], "bodies": [said]}
    ended |= {"usage": {"usage_metadata": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}}}
    ended |= {"messages": [{**ref, "body": said["id"], "place": "out"}]}
    last = common | {"t": "end", "id": run, "kind": "chain", "status": "failed", "error": text, "outputs": payload}
    return [orjson.dumps(each) for each in (root, begun, ended, last | {"duration_ms": number})]


def test_the_columns_are_the_tables(connection: Connection) -> None:
    given = {
        "conversation_spans": {"id": columns.uuid, "conversation_run_id": columns.uuid},
        "conversation_messages": {"id": columns.uuid, "body_id": columns.uuid},
    }
    groups = {
        "conversation_spans": (columns.START, columns.END),
        "conversation_messages": (columns.RUN, columns.MESSAGE, columns.BODY),
    }
    for name, parts in groups.items():
        encoders = given[name] | {column.name: column.encode for part in parts for column in part}
        rows = connection.execute(
            "select attname, regexp_replace(format_type(atttypid, null), '^_', '') from pg_attribute"
            " where attrelid = %s::regclass and attnum > 0 and not attisdropped",
            (f"public.{name}",),
        ).fetchall()
        assert dict(rows) == {column: TYPES[encode] for column, encode in encoders.items()} | UNTOLD[name]
    assert len(set(columns.SPAN_COLUMNS)) == len(columns.SPAN_COLUMNS)
    assert len(set(columns.MESSAGE_COLUMNS)) == len(columns.MESSAGE_COLUMNS)


def test_every_text_and_number_arrives_as_by_json(connection: Connection, delivery: Delivery) -> None:
    texts = [line for number, text in enumerate(ODD) for line in conversation(f"t{number}", text, 1.5)]
    numbers = [line for number, value in enumerate(NUMBERS) for line in conversation(f"n{number}", "soup", value)]
    write.write_batch(connection, Builder().build(texts + numbers).payload)
    expected = everything(connection)
    assert len(expected[1]) == 2 * (len(ODD) + len(NUMBERS))
    clear(connection)
    by_copy(delivery, texts + numbers)
    assert delivery._wary == 0, "it was COPY that did it"
    assert everything(connection) == expected
    assert {row["content"] for row in expected[2]} == {text.replace("\x00", "\ufffd") for text in (*ODD, "soup")}


@pytest.mark.parametrize(
    "field",
    [
        {"provider": 5},
        {"model": {"x": 1}},
        {"provider": True},
        {"parent": "11111111-1111-1111-1111-111111111111"},
    ],
)
def test_what_is_not_plainly_of_its_type_goes_as_json_beside_the_rest(
    connection: Connection, delivery: Delivery, field: dict[str, Any]
) -> None:
    lines = [records.start("odd", **field), records.end("odd"), *(records.start(f"plain {n}") for n in range(3))]
    write.write_batch(connection, Builder().build(lines).payload)
    expected = everything(connection)
    clear(connection)
    by_copy(delivery, lines)
    assert delivery._wary == 0
    assert everything(connection) == expected
    assert len(expected[1]) == 4


def test_a_row_that_is_there_already_is_merged_and_nothing_is_lost(connection: Connection, delivery: Delivery) -> None:
    lines = [line for n in range(5) for line in conversation(f"s{n}", "soup", 1.0)]
    by_copy(delivery, lines[:3])
    assert delivery._wary == 0
    by_copy(delivery, lines)
    assert delivery._wary > 0, "the first of them was there"
    stored = everything(connection)
    assert len(stored[1]) == 10
    assert not delivery.copies(10 * COPY_RECORDS), "a replay is likely to go on"
    clear(connection)
    write.write_batch(connection, Builder().build(lines).payload)
    assert everything(connection) == stored


def test_a_role_that_may_not_copy_still_writes(connection: Connection, admin: Connection, delivery: Delivery) -> None:
    """Where row level security applies to the writer, COPY is refused and INSERT is not."""
    admin.execute(
        "alter table public.conversation_spans force row level security;"
        " create policy writers on public.conversation_spans for all to postgres using (true) with check (true)"
    )
    admin.execute("alter role postgres nobypassrls")
    try:
        by_copy(delivery, conversation("s", "soup", 1.0))
    finally:
        admin.execute("alter role postgres bypassrls")
        admin.execute(
            "drop policy writers on public.conversation_spans;"
            " alter table public.conversation_spans no force row level security"
        )
    assert delivery._wary > 0
    assert len(table(connection, "conversation_spans")) == 2


def test_a_connection_serves_again_after_every_kind_of_failure(connection: Connection, delivery: Delivery) -> None:
    good = conversation("good", "soup", 1.0)
    by_copy(delivery, good)
    used = delivery.connected()
    with pytest.raises(psycopg.Error):
        by_copy(delivery, [*conversation("bad", "soup", 1.0), records.refused("bad")])
    by_copy(delivery, good)
    assert delivery.connected() is used
    assert not used.closed
    assert len(table(connection, "conversation_spans")) == 2


@contextmanager
def locked(connection: Connection) -> Iterator[None]:
    with psycopg.connect(connection.info.dsn) as blocker:
        blocker.execute("lock table public.conversation_spans in access exclusive mode")
        yield
        blocker.rollback()


def soon(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Watched:
    """The real builder, which says when it begins a batch."""

    def __init__(self) -> None:
        self.inner = Builder()
        self.batches = 0
        self.packed = 0
        self.second = threading.Event()

    def build(self, lines: Any, *, packed: bool = False) -> Batch:
        self.batches += 1
        self.packed += packed
        batch = self.inner.build(lines, packed=packed)
        if self.batches > 1:
            self.second.set()
        return batch


def put_runs(writer: Writer, first: int, count: int) -> None:
    for number in range(first, first + count):
        assert writer.put(records.start(f"run {number}"))
        assert writer.put(records.end(f"run {number}"))


def stored(connection: Connection) -> list[tuple[str, str]]:
    return [(row["name"], row["status"]) for row in table(connection, "conversation_spans")]


def end_waiting(admin: Connection, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Ends the writer's session once it waits for a lock."""
    soon(
        lambda: (
            meanwhile()
            or admin.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database()"
                " and application_name = 'chopsky-trace writer' and wait_event_type = 'Lock'"
            ).fetchall()
        )
    )


def test_the_server_dies_while_the_next_batch_is_built(
    database_url: str, tracer_settings: Settings, connection: Connection, admin: Connection
) -> None:
    builder = Watched()
    small = replace(tracer_settings, batch_records=2 * COPY_RECORDS)
    writer = Writer(Target(database_url, "test"), small, lambda: builder)
    writer._may_start = False
    put_runs(writer, 0, 4 * COPY_RECORDS)
    try:
        with locked(connection):
            writer._may_start = True
            writer.start()
            # The first batch waits for the lock; the second is built meanwhile.
            assert builder.second.wait(30)
            end_waiting(admin)
        assert writer.flush(60)
        assert builder.packed
        assert sorted(stored(connection)) == sorted((f"run {n}", "completed") for n in range(4 * COPY_RECORDS))
        assert writer.stats()["losses"] == {}
    finally:
        writer.close(5)


def test_the_server_dies_in_copy_while_the_next_batch_is_built(
    connection: Connection, admin: Connection, delivery: Delivery
) -> None:
    lines = [line for n in range(300) for line in (records.start(f"run {n}"), records.end(f"run {n}"))]
    builder = Builder(Breather(delivery.advance))
    first, rest = lines[:200], lines[200:]
    with locked(connection):
        delivery.send(builder.build(first, packed=True))
        end_waiting(admin, delivery.advance)
        second = builder.build(rest, packed=True)
    with pytest.raises(psycopg.OperationalError) as cut:
        delivery.collect()
    assert trouble(cut.value) == "transient"
    assert stored(connection) == []
    delivery.disconnect()
    by_copy(delivery, first)
    delivery.send(second)
    delivery.collect()
    assert delivery._wary == 0
    assert sorted(stored(connection)) == sorted((f"run {n}", "completed") for n in range(300))


def test_a_replay_after_the_database_committed_and_the_journal_did_not(
    database_url: str, tracer_settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the two: the same records come again, in other batches, and change nothing."""
    # However far the server seems to be on a busy machine.
    monkeypatch.setattr("chopsky_trace.writer.delivery.COPY_ROUND_TRIPS", 0)
    lines = [line for n in range(COPY_RECORDS) for line in conversation(f"s{n % 7}", f"soup {n}", 1.0)]
    shots = []
    for size in (len(lines), COPY_RECORDS + 10, len(lines)):
        settings = replace(tracer_settings, data_dir=tracer_settings.data_path() / str(len(shots)), batch_records=size)
        builder = Watched()
        writer = Writer(Target(database_url, "test"), settings, lambda builder=builder: builder)
        with closing(psycopg.connect(database_url)):
            assert writer.put(records.start("first"))
            assert writer.flush(30)
            assert all([writer.put(line) for line in lines])
            assert writer.flush(60)
        assert builder.packed
        assert writer.stats()["losses"] == {}
        writer.close(5)
        connection.execute("delete from public.conversation_runs where name = 'first'")
        shots.append(json.dumps(everything(connection), default=str))
    assert shots[0] == shots[1] == shots[2]
