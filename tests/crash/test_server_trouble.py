"""The server restarts, refuses, locks, runs out of things: what was accepted is stored, once, when it serves again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import writer_records as records
from crash.children import assert_whole, findings, names, numbered, obedient, soon, waiting
from fix_postgres import Server, ensure_template, start_server, worker_name

from chopsky_trace.database.connect import Connection

pytestmark = pytest.mark.crash


@pytest.fixture(scope="module")
def own_server() -> Server:
    """A server that nobody else uses, whose commits are durable: what it loses is not for us to answer."""
    return start_server(f"crash-{worker_name()}")


@pytest.fixture
def own_url(own_server: Server) -> Iterator[str]:
    own_server.create("app", "shim", ensure_template(own_server))
    yield own_server.url("app")
    own_server.drop("app")


def stop(server: Server, *, immediately: bool) -> None:
    if not immediately:
        server.cluster.stop()
        return
    pid = int((server.cluster.data / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    assert soon(lambda: server.cluster.running() is None)


@pytest.mark.parametrize("immediately", [False, True], ids=["fast", "immediate"])
def test_a_server_that_restarts(own_server: Server, own_url: str, tmp_path: Path, immediately: bool) -> None:
    child = obedient(own_url, tmp_path)
    child.do("chain", "before", 3)
    assert child.do("flush", 60)
    # What is under way when it goes may be stored or not.
    child.do("chain", "under way", 10)
    stop(own_server, immediately=immediately)
    try:
        child.do("chain", "down", 3)
        assert not child.do("flush", 0.3)
    finally:
        own_server.cluster.start()
    child.do("chain", "up", 3)
    assert child.do("flush", 60)
    child.leave()
    expected = {"before": 3, "under way": 10, "down": 3, "up": 3}
    assert_whole(own_url, chains={name for part, count in expected.items() for name in numbered(part, count)})
    assert waiting(tmp_path) == 0


def test_a_server_that_is_read_only_for_a_while(own_server: Server, own_url: str, tmp_path: Path) -> None:
    """As a replica is before it is promoted."""
    child = obedient(own_url, tmp_path)
    child.do("run", "before", 3)
    assert child.do("flush", 60)
    with own_server.admin() as admin:
        admin.execute("alter system set default_transaction_read_only = on")
        admin.execute("select pg_reload_conf()")
        try:
            assert soon(lambda: is_read_only(own_url))
            child.do("run", "meanwhile", 3)
            assert not child.do("flush", 0.5)
            assert "read-only" in child.do("stats")["last_error"]
        finally:
            admin.execute("alter system reset default_transaction_read_only")
            admin.execute("select pg_reload_conf()")
    assert child.do("flush", 60)
    assert child.do("stats")["losses"] == {}
    child.leave()
    assert_whole(own_url, numbered("before", 3) | numbered("meanwhile", 3))


def is_read_only(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("show default_transaction_read_only").fetchone() == ("on",)


def test_too_many_connections(database_url: str, admin: Connection, tmp_path: Path) -> None:
    name = admin.info.dbname
    child = obedient(database_url, tmp_path)
    child.do("run", "before", 3)
    assert child.do("flush", 60)
    admin.execute(f'alter database "{name}" connection limit 0'.encode())
    try:
        admin.execute(
            "select pg_terminate_backend(pid, 60000) from pg_stat_activity"
            " where datname = current_database() and application_name = 'chopsky-trace writer'"
        )
        child.do("run", "meanwhile", 3)
        assert not child.do("flush", 0.5)
        assert "too many connections" in child.do("stats")["last_error"]
    finally:
        admin.execute(f'alter database "{name}" connection limit -1'.encode())
    assert child.do("flush", 60)
    child.leave()
    assert_whole(database_url, numbered("before", 3) | numbered("meanwhile", 3))


def test_a_lock_that_somebody_keeps(database_url: str, tmp_path: Path) -> None:
    """It stops every batch, and is held against no record, however often it was tried."""
    child = obedient(database_url, tmp_path, statement_timeout_s=0.5)
    with psycopg.connect(database_url) as blocker:
        blocker.execute("lock table public.conversation_spans in access exclusive mode")
        child.do("run", "locked", 2)
        assert soon(lambda: "lock timeout" in (child.do("stats")["last_error"] or ""))
        assert not child.do("flush", 5)
        blocker.rollback()
    assert child.do("flush", 60)
    assert child.do("stats")["losses"] == {}
    child.leave()
    assert_whole(database_url, numbered("locked", 2))


HURT = {"too slow": "perform pg_sleep(20)", "corrupted": "raise exception 'invalid page' using errcode = 'XX001'"}
"""What happens to a record: longer than a statement may take; an error of the server's own."""


@pytest.fixture
def hurt(admin: Connection) -> Iterator[Callable[[str, str], None]]:
    """Has something happen to the spans that fulfil a condition, or no longer."""

    def heal() -> None:
        admin.execute("drop trigger if exists hurt on public.conversation_spans; drop function if exists public.hurt()")

    def install(way: str, condition: str) -> None:
        heal()
        admin.execute(
            f"create function public.hurt() returns trigger language plpgsql as"
            f" $$ begin if {condition} then {HURT[way]}; end if; return new; end $$;"
            " create trigger hurt before insert on public.conversation_spans for each row execute function"
            " public.hurt()".encode()
        )

    yield install
    heal()


@pytest.mark.parametrize("way", HURT)
def test_a_record_that_hurts_the_server_is_set_aside(
    database_url: str, hurt: Callable[[str, str], None], tmp_path: Path, way: str
) -> None:
    """The error does not say whose fault it is; but it comes with this record alone, and other records are taken."""
    hurt(way, "new.name = 'bad 0'")
    child = obedient(database_url, tmp_path, statement_timeout_s=0.5, flush_interval_s=0.5)
    child.do("run", "before", 5)
    assert child.do("put", "bad", 1) == 1
    child.do("run", "after", 5)
    assert not child.do("flush", 60), "one was set aside"
    assert child.do("flush", 60)
    assert child.do("stats")["losses"] == {"poison": 1}
    child.leave()
    (letters,) = tmp_path.glob("journal/*/dead-letter.jsonl")
    assert '"bad 0\\"' in letters.read_text()
    assert_whole(database_url, numbered("before", 5) | numbered("after", 5))
    assert waiting(tmp_path) == 0


@pytest.mark.parametrize("way", HURT)
def test_a_server_that_is_hurt_by_every_record_costs_none(
    database_url: str, hurt: Callable[[str, str], None], tmp_path: Path, way: str
) -> None:
    hurt(way, "true")
    child = obedient(database_url, tmp_path, statement_timeout_s=0.5)
    child.do("run", "run", 3)
    # Every record could have been tried many times by then.
    assert not child.do("flush", 8)
    assert child.do("stats")["losses"] == {}
    hurt(way, "false")
    assert child.do("flush", 60)
    assert child.do("stats")["losses"] == {}
    child.leave()
    assert_whole(database_url, numbered("run", 3))


def blocked_by(admin: Connection, blocker: Connection) -> Callable[[], bool]:
    return lambda: bool(
        admin.execute(
            "select 1 from pg_stat_activity where %s = any (pg_blocking_pids(pid))"
            " and application_name = 'chopsky-trace writer'",
            [blocker.info.backend_pid],
        ).fetchone()
    )


@pytest.fixture
def configured(admin: Connection) -> Iterator[Callable[[str, str], None]]:
    """Settings of the test's database, for new connections."""
    changed: list[str] = []

    def configure(name: str, value: str) -> None:
        changed.append(name)
        admin.execute(f"alter database \"{admin.info.dbname}\" set {name} = '{value}'".encode())

    yield configure
    for name in changed:
        admin.execute(f'alter database "{admin.info.dbname}" reset {name}'.encode())


def test_a_deadlock(
    database_url: str,
    postgres_server: Server,
    admin: Connection,
    configured: Callable[[str, str], None],
    tmp_path: Path,
) -> None:
    """Somebody takes two runs in the other order: the writer is the victim, and tries again."""
    configured("deadlock_timeout", "3s")
    first, last = sorted(records.span_id(f"run {number}") for number in range(2))
    child = obedient(database_url, tmp_path, debug="1")
    assert child.do("put", "run", 2) == 2
    assert child.do("flush", 60)
    lock = "select 1 from public.conversation_runs where id = %s for update"
    with postgres_server.admin(admin.info.dbname) as other:
        other.execute("set deadlock_timeout = '1h'")
        with other.transaction(force_rollback=True):
            other.execute(lock, [last])
            assert child.do("end", "run", 2) == 2
            assert soon(blocked_by(admin, other))
            other.execute(lock, [first])
    assert child.do("flush", 60)
    assert child.do("stats")["losses"] == {}
    child.leave()
    assert "(contended): DeadlockDetected" in child.errors
    assert sorted(names(database_url)) == sorted(numbered("run", 2))
    assert findings(database_url) == []


def test_a_serialization_failure(
    database_url: str, admin: Connection, configured: Callable[[str, str], None], tmp_path: Path
) -> None:
    """The database's default is repeatable read, and somebody else changes a run first."""
    configured("default_transaction_isolation", "repeatable read")
    child = obedient(database_url, tmp_path, debug="1")
    assert child.do("put", "run", 2) == 2
    assert child.do("flush", 60)
    with psycopg.connect(database_url) as other:
        other.execute("update public.conversation_runs set environment = 'kitchen'")
        assert child.do("end", "run", 2) == 2
        assert soon(blocked_by(admin, other))
        other.commit()
    assert child.do("flush", 60)
    assert child.do("stats")["losses"] == {}
    child.leave()
    assert "(contended): SerializationFailure" in child.errors
    assert sorted(names(database_url)) == sorted(numbered("run", 2))
    assert findings(database_url) == []


def test_a_poisonous_record_in_the_middle_of_a_batch(database_url: str, tmp_path: Path) -> None:
    child = obedient(database_url, tmp_path, flush_interval_s=0.5)
    child.do("run", "before", 5)
    assert child.do("poison", "poison")
    child.do("run", "after", 5)
    assert not child.do("flush", 60), "one was refused"
    assert child.do("flush", 60)
    assert child.do("stats")["losses"] == {"poison": 1}
    child.leave()
    assert_whole(database_url, numbered("before", 5) | numbered("after", 5))
    assert waiting(tmp_path) == 0
