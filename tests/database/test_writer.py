"""The writer against a real database: refused records, missing schema, dead connections, what it says of itself."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import orjson
import psycopg
import pytest
import writer_records as records
from fix_postgres import run_folder, worker_name

from chopsky_trace import writer as writers
from chopsky_trace.database import migrate
from chopsky_trace.database.connect import Connection
from chopsky_trace.enrich.batch import Batch
from chopsky_trace.enrich.batch import Builder as BatchBuilder
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer import Writer
from chopsky_trace.writer.batches import Builder

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
Make = Callable[..., Writer]


@pytest.fixture
def make(tracer_settings: Settings, database_url: str) -> Iterator[Make]:
    made: list[Writer] = []

    def make(url: str = database_url, make_builder: Callable[[], Builder] | None = None, **changes: object) -> Writer:
        writer = Writer(Target(url, "test"), replace(tracer_settings, **changes), make_builder)
        made.append(writer)
        return writer

    yield make
    for writer in made:
        writer.close(0.5)


def names(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute("select name from public.conversation_spans")}


def dead_letters(writer: Writer) -> list[dict[str, str]]:
    path = Path(writer.stats()["journal"]) / "dead-letter.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return [json.loads(line) for line in path.read_text().splitlines()]


def put_all(writer: Writer, *lines: bytes) -> None:
    assert all([writer.put(line) for line in lines])


def test_a_start_and_its_end_are_one_row(make: Make, connection: Connection) -> None:
    writer = make()
    put_all(writer, records.start("a"), records.end("a"))
    assert writer.flush(30)
    rows = connection.execute("select id::text, status, inputs, outputs from public.conversation_spans").fetchall()
    assert rows == [(records.span_id("a"), "completed", {"question": "What is for dinner?"}, {"answer": "Soup."})]
    stats = writer.stats()
    counts = [stats[name] for name in ("accepted_records", "stored_records", "backlog_records", "losses")]
    assert counts == [2, 2, 0, {}]


def test_the_first_record_after_a_rest_waits_for_those_that_follow_it(make: Make, connection: Connection) -> None:
    writer = make(flush_interval_s=1.0)
    put_all(writer, records.start("before"))
    assert writer.flush(30)
    # Until it rests.
    time.sleep(0.3)
    put_all(writer, records.start("first"))
    time.sleep(0.1)
    put_all(writer, records.start("second"))
    deadline = time.monotonic() + 30
    while len(names(connection)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    found = connection.execute(
        "select name, xmin::text from public.conversation_spans where name <> 'before' order by name"
    ).fetchall()
    assert [name for name, _ in found] == ["first", "second"]
    assert found[0][1] == found[1][1], "each in a transaction of its own"


@pytest.mark.parametrize("place", [0, 137, 299])
def test_a_refused_record_stands_alone_and_costs_no_other(
    make: Make, connection: Connection, caplog: pytest.LogCaptureFixture, place: int
) -> None:
    writer = make(flush_interval_s=0.3)
    epoch = writer.epoch
    lines = [records.start(f"good {number}") for number in range(299)]
    lines.insert(place, records.refused("bad"))
    put_all(writer, *lines)
    assert not writer.flush(30), "one record is not in the database"
    assert names(connection) == {f"good {number}" for number in range(299)}
    [letter] = dead_letters(writer)
    assert orjson.loads(letter["record"])["name"] == "bad"
    assert "22003" in letter["error"]
    assert writer.stats()["losses"] == {"poison": 1}
    assert writer.epoch > epoch
    put_all(writer, records.start("afterwards"))
    assert writer.flush(30)
    assert len([r for r in caplog.records if "poison" in r.getMessage()]) == 1


def test_what_is_no_record_is_set_aside(make: Make, connection: Connection) -> None:
    writer = make()
    put_all(writer, records.start("a"), b"\xff\xfe", records.start("b"), b"{}", b"[" * 5_000, records.start("c"))
    assert not writer.flush(30)
    assert names(connection) == {"a", "b", "c"}
    assert [letter.get("record") for letter in dead_letters(writer)] == [None, "{}", "[" * 5_000]
    assert writer.stats()["losses"] == {"poison": 3}


def test_many_refused_records_in_a_row_do_not_stop_the_rest(make: Make, connection: Connection) -> None:
    writer = make(flush_interval_s=0.3)
    put_all(writer, *(records.refused(f"bad {n}") for n in range(25)), records.start("good"))
    assert not writer.flush(60)
    assert names(connection) == {"good"}
    assert writer.stats()["losses"] == {"poison": 25}


def test_without_a_schema_records_wait_and_the_remedy_is_named_once(
    make: Make, fresh_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    writer = make(fresh_database)
    put_all(writer, records.start("early"))
    assert not writer.flush(2.0)
    assert [r.levelno for r in caplog.records if "chopsky-trace migrate" in r.getMessage()] == [logging.WARNING]
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        migrate.migrate(connection)
        assert writer.flush(30)
        assert names(connection) == {"early"}
    assert writer.stats()["losses"] == {}


def test_the_embedded_database_needs_no_migration_by_hand(make: Make) -> None:
    from chopsky_trace.database import embedded
    from chopsky_trace.database.connect import connect

    # As root the server runs as another user, who may not enter pytest's own folders.
    writer = make("embedded", data_dir=run_folder() / f"embedded-{worker_name()}")
    settings = writer._settings
    try:
        put_all(writer, records.start("local"))
        assert writer.flush(60)
        with connect(Target("embedded", "test"), settings, application_name="test") as connection:
            assert names(connection) == {"local"}
    finally:
        writer.close(5)
        embedded.stop(settings)


def test_a_connection_that_died_idle_is_no_trouble(
    make: Make, connection: Connection, admin: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    writer = make()
    put_all(writer, records.start("a"))
    assert writer.flush(30)
    killed = admin.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where application_name = 'chopsky-trace writer' and datname = current_database()"
    ).fetchall()
    assert killed == [(True,)]
    put_all(writer, records.start("b"))
    assert writer.flush(30)
    assert names(connection) == {"a", "b"}
    assert caplog.records == []


def test_a_connection_that_dies_in_a_batch_is_told_by_nobody_but_the_writer(
    make: Make, connection: Connection, admin: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    writer = make()
    put_all(writer, records.start("a"))
    assert writer.flush(30)
    with psycopg.connect(connection.info.dsn) as blocker:
        blocker.execute("lock table public.conversation_spans in access exclusive mode")
        put_all(writer, records.start("b"))
        waiting = (
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name ="
            " 'chopsky-trace writer' and datname = current_database() and wait_event_type = 'Lock'"
        )
        deadline = time.monotonic() + 30
        while not admin.execute(waiting).fetchall():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        blocker.rollback()
    assert writer.flush(30)
    assert names(connection) == {"a", "b"}
    assert [record.getMessage() for record in caplog.records if record.name.startswith("psycopg")] == []


def test_psycopg_is_heard_elsewhere(database_url: str, admin: Connection, caplog: pytest.LogCaptureFixture) -> None:
    with psycopg.connect(database_url, autocommit=True) as dying:

        def use() -> None:
            with dying.pipeline(), dying.transaction():
                dying.execute("select 1").fetchone()
                admin.execute("select pg_terminate_backend(%s, 5000)", [dying.info.backend_pid])
                dying.execute("select 1").fetchone()

        with pytest.raises(psycopg.OperationalError):
            use()
    assert any("error ignored" in record.getMessage() for record in caplog.records)


def test_a_batch_that_takes_too_long_is_halved(make: Make, connection: Connection, admin: Connection) -> None:
    """A statement timeout is held against the batch's size, not against a record."""
    admin.execute(
        "create function public.slow() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(0.02); return new; end $$;"
        " create trigger slow before insert on public.conversation_spans for each row execute function public.slow()"
    )
    try:
        writer = make(statement_timeout_s=0.8, flush_interval_s=0.2)
        put_all(writer, *(records.start(f"s {n}") for n in range(60)))
        assert writer.flush(60)
    finally:
        admin.execute("drop trigger slow on public.conversation_spans; drop function public.slow()")
    assert len(names(connection)) == 60
    assert writer.stats()["losses"] == {}


def test_flush_keeps_its_timeout_and_tells_the_truth(make: Make, connection: Connection, database_url: str) -> None:
    writer = make()
    assert writer.flush(0), "nothing was accepted"
    with psycopg.connect(database_url) as blocker:
        blocker.execute("lock table public.conversation_spans in access exclusive mode")
        put_all(writer, records.start("held"))
        began = time.monotonic()
        assert not writer.flush(0.3)
        assert time.monotonic() - began >= 0.3
        assert not writer.flush(0)
        blocker.rollback()
    assert writer.flush(30)
    assert names(connection) == {"held"}


def test_aflush_leaves_the_event_loop_free(
    database_url: str, tracer_settings: Settings, connection: Connection
) -> None:
    writer = writers.writer_for(Target(database_url, "test"), tracer_settings)
    turns = 0

    async def main() -> bool:
        nonlocal turns
        with psycopg.connect(database_url) as blocker:
            blocker.execute("lock table public.conversation_spans in access exclusive mode")
            put_all(writer, records.start("async"))
            flushing = asyncio.create_task(writers.aflush_all(30))
            while turns < 50:
                turns += 1
                await asyncio.sleep(0.005)
            assert not flushing.done()
            blocker.rollback()
        return await flushing

    assert asyncio.run(main())
    assert names(connection) == {"async"}
    assert writers.flush_all(0)


def test_one_writer_for_one_destination(database_url: str, tracer_settings: Settings) -> None:
    one = writers.writer_for(Target(database_url, "argument"), tracer_settings)
    assert writers.writer_for(Target(database_url, "DATABASE_URL"), replace(tracer_settings, capture="masked")) is one
    assert writers.writer_for(Target(NOWHERE, "argument"), tracer_settings) is not one
    assert {one} <= set(writers.all_writers())


def test_a_closed_writer_starts_again(make: Make, connection: Connection) -> None:
    writer = make()
    put_all(writer, records.start("a"))
    assert writer.close(30)
    assert [path.name for path in Path(writer.stats()["journal"]).iterdir()] == ["destination"]
    assert not [t for t in threading.enumerate() if t.name == "chopsky-trace writer"]
    put_all(writer, records.start("b"))
    assert writer.flush(30)
    assert names(connection) == {"a", "b"}
    assert writer.stats()["stored_records"] == 2


def test_flush_stores_leftovers_and_speaks_of_its_own_records(make: Make, connection: Connection) -> None:
    dead = make()
    dead._may_start = False
    put_all(dead, records.start("left"), records.refused("bad"), records.start("left too"))
    assert not dead.close(0)
    heir = make()
    put_all(heir, records.start("own"))
    assert heir.flush(30, leftovers=True), "the refused record is not its own"
    assert names(connection) == {"left", "left too", "own"}
    assert heir.stats()["losses"] == {"poison": 1}


def test_leftovers_are_served_without_a_record_of_ones_own(make: Make, connection: Connection) -> None:
    dead = make()
    dead._may_start = False
    put_all(dead, records.start("left"))
    assert not dead.close(0)
    heir = make()
    assert heir.flush(0), "nothing was accepted"
    assert names(connection) == set()
    assert heir.close(30)
    assert names(connection) == {"left"}


def test_flush_all_is_true_although_another_destinations_leftovers_cannot_be_stored(
    database_url: str, tracer_settings: Settings, connection: Connection
) -> None:
    nowhere = writers.writer_for(Target(NOWHERE, "test"), tracer_settings)
    nowhere._may_start = False
    put_all(nowhere, records.start("left"))
    nowhere.close(0)
    nowhere._may_start = True
    writer = writers.writer_for(Target(database_url, "test"), tracer_settings)
    put_all(writer, records.start("own"))
    try:
        assert writers.flush_all(3.0)
        assert names(connection) == {"own"}
    finally:
        nowhere._may_start = False
        nowhere.close(0)


def test_it_says_of_itself_what_it_did(make: Make, connection: Connection) -> None:
    writer = make()
    put_all(writer, records.start("a"), records.refused("b"))
    writer.lost("unreadable", 4)
    writer.flush(30)
    assert writer.stats()["last_write_at"].endswith("Z")
    writer.close(30)
    [row] = connection.execute(
        "select stored_records, backlog_records, losses, schema_number, last_write_at >= started_at"
        " from public.writer_status"
    ).fetchall()
    assert row == (1, 0, {"poison": 1, "unreadable": 4}, migrate.known_number(), True)


def test_what_has_no_end_is_marked_in_time(make: Make, connection: Connection) -> None:
    writer = make(abandon_after_s=0.0)
    put_all(writer, records.start("lost"))
    assert writer.flush(30)
    deadline = time.monotonic() + 30
    while connection.execute("select status from public.conversation_spans").fetchall() != [("abandoned",)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Stumbling:
    """The real builder, which fails for want of memory a few times."""

    def __init__(self, failures: int) -> None:
        self.inner = BatchBuilder()
        self.failures = failures

    def build(self, lines: Sequence[bytes], *, packed: bool = False) -> Batch:
        if self.failures:
            self.failures -= 1
            raise MemoryError
        return self.inner.build(lines, packed=packed)


def test_the_thread_outlives_an_unforeseen_error(
    make: Make, connection: Connection, tracer_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    builder = Stumbling(2)
    writer = make(make_builder=lambda: builder)
    put_all(writer, records.start("a"))
    assert writer.flush(30)
    assert names(connection) == {"a"}
    assert writer.stats()["losses"] == {}
    assert len([r for r in caplog.records if "stumbled" in r.getMessage()]) == 1


def test_no_password_is_ever_logged(make: Make, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    writer = make("postgresql://nobody:hunter2@127.0.0.1:1/nothing")
    put_all(writer, records.start("a"))
    assert not writer.flush(1.0)
    writer.close(0.1)
    assert any("records wait" in r.getMessage() for r in caplog.records)
    told = caplog.text + repr(writer.stats())
    told += "".join(p.read_text("latin-1") for p in Path(writer.stats()["journal"]).iterdir())
    assert "hunter2" not in told


def test_debug_shows_each_step(
    make: Make, connection: Connection, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("chopsky_trace")
    monkeypatch.setattr(logger, "handlers", [])
    level = logger.level
    try:
        writer = make(debug=True)
        put_all(writer, records.start("a"), records.refused("b"))
        writer.flush(30)
    finally:
        logger.setLevel(level)
    shown = capsys.readouterr().err
    assert names(connection) == {"a"}
    for step in ("go through", "Connected to", "Stored 1 records", "was not stored (record)"):
        assert step in shown


def test_a_writer_that_is_closed_already_has_nothing_to_wait_for(make: Make) -> None:
    writer = make(NOWHERE, connect_timeout_s=2.0)
    put_all(writer, records.start("left"))
    assert not writer.close(0.1)
    # What was left is for the next who writes there: a second close that waited for it would fail the test by its time.
    assert writer.close(3_000.0)
    put_all(writer, records.start("again"))
    assert not writer.close(0.1)
