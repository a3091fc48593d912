"""Erasing a person: from every table, and whatever comes late, in whatever order, is refused; what is new is not."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import writer_records as records
from click.testing import CliRunner
from read_rows import at, call, ident, ingest, message, run, span
from retained import findings, left, turn

from chopsky_trace.cli import main
from chopsky_trace.database.connect import Connection
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer import Writer

KNOWN = {
    ("conversation_messages", "user_id"),
    ("conversation_runs", "user_id"),
    ("conversation_sessions", "user_id"),
    # Made nobody's, or moved with their runs.
    ("usage_contributions", "user_id"),
    ("usage_kept", "user_id"),
    ("usage_metrics", "user_id"),
}
"""What erase_user looks after itself."""


USAGE = (
    "select day, tenant_id, provider, model, calls, total_tokens, total_cost, messages from usage_totals order by key"
)
SUMS = "day, tenant_id, user_id, provider, model, contributions, known, calls, total_tokens, total_cost, messages"
WRONG = (
    f"(select {SUMS} from usage_metrics except select {SUMS} from usage_sums)"
    f" union all (select {SUMS} from usage_sums except select {SUMS} from usage_metrics)"
)


def erase(connection: Connection, user: str, tenant: str | None = None) -> dict[str, Any]:
    row = connection.execute("select erase_user(%s, %s)", [user, tenant]).fetchone()
    assert row is not None
    return row[0]


def refused(connection: Connection) -> int:
    row = connection.execute("select coalesce(sum(refused_runs), 0) from conversation_tombstones").fetchone()
    assert row is not None
    return int(row[0])


def everything(connection: Connection) -> str:
    """Every row of every table, as text."""
    tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    return "\n".join(
        str(connection.execute(f"select coalesce(json_agg(t)::text, '') from \"{name}\" t".encode()).fetchone())
        for (name,) in tables
    )


def test_every_column_that_names_a_person_is_known(connection: Connection):
    columns = connection.execute(
        "select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not a.attisdropped"
        " and (a.attname ~ '(^|_)(user|person|owner)(_id)?$' or a.attname in ('given_by', 'created_by', 'updated_by'))"
        " and a.atttypid in ('text'::regtype, 'uuid'::regtype)"
    ).fetchall()
    listed = set(connection.execute("select * from chopsky_person_columns()").fetchall())
    # An owner of usage is a run or message.
    named = {(table, column) for table, column in columns if (table, column) != ("usage_contributions", "owner_id")}
    assert named - KNOWN <= listed, "chopsky_person_columns() lacks a table that says of whom a row is"


def test_a_person_is_gone_from_every_table(connection: Connection):
    turn(connection, "a1", session_id="s", user_id="ann@x", tenant_id="acme")
    turn(connection, "a2", user_id="ann@x")
    turn(connection, "b1", session_id="s", user_id="ben", tenant_id="acme")
    connection.execute("insert into conversation_sessions (user_id, title) values ('ann@x', 'Soup')")
    connection.execute("insert into conversation_messages (session_id, user_id, role) values ('h', 'ann@x', 'user')")
    kept = connection.execute("select * from conversation_messages where user_id = 'ben' order by id").fetchall()
    totals = connection.execute(USAGE).fetchall()
    receipt = erase(connection, "ann@x")
    assert receipt["usage_rows_made_nobodys"] > 0
    assert connection.execute(USAGE).fetchall() == totals
    assert connection.execute(WRONG).fetchall() == [], "the roll-up is still what its parts sum up to"
    assert receipt["rows"]["conversation_runs"] == 2
    assert receipt["rows"]["conversation_messages"] == 5
    assert "LangSmith" in receipt["out_of_reach"][0]
    assert "ann@x" not in everything(connection)
    assert left(connection) == {UUID(ident("b1"))}
    assert connection.execute("select * from conversation_messages order by id").fetchall() == kept
    [(stored,)] = connection.execute("select receipt from conversation_erasures").fetchall()
    assert stored == receipt
    assert findings(connection) == []
    assert erase(connection, "ann@x")["rows"]["conversation_runs"] == 0, "once more is fine"


def test_only_in_one_tenant(connection: Connection):
    for tenant in ("acme", "bolt"):
        turn(connection, tenant, session_id="s", user_id="ann", tenant_id=tenant)
    erase(connection, "ann", "acme")
    assert left(connection) == {UUID(ident("bolt"))}
    turn(connection, "bolt 2", user_id="ann", tenant_id="bolt")
    turn(connection, "acme 2", user_id="ann", tenant_id="acme")
    assert left(connection) == {UUID(ident("bolt")), UUID(ident("bolt 2"))}


def test_a_uuid_is_known_however_it_is_written(connection: Connection):
    user = str(uuid4())
    turn(connection, "a", user_id=user)
    assert erase(connection, user.upper())["rows"]["conversation_runs"] == 1


def test_long_prompts_leave_no_beginnings(connection: Connection):
    for name, user in (("a", "ann"), ("b", "ben")):
        first, second = ident("prefix", name), ident("prefix", name, 2)
        ingest(
            connection,
            {"id": first, "extends": None, "length": 1, "bodies": [ident("body", name)]},
            {"id": second, "extends": first, "length": 2, "bodies": [ident("body", name)]},
            span(name, name),
            call(name, "call", parent=name, prompt_prefix=second, prompt_bodies=[]),
            message(name, name, "user", 0),
            runs=[run(name, user_id=user)],
        )
    erase(connection, "ann")
    ids = connection.execute("select id::text from conversation_prefixes order by length").fetchall()
    assert ids == [(ident("prefix", "b"),), (ident("prefix", "b", 2),)]


def pieces(name: str, user: str | None, seconds: float = 0) -> list[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """A run's records as they may come: its root's start, the end alone, a call, a message."""
    began = {"start_version", "started_at", "parent_span_id", "name"}
    ends = ("status", "ended_at", "response_time_ms", "end_version")
    whole = span(name, name, second=seconds)
    scope = {"user_id": user} if user else {}
    start = {key: value for key, value in whole.items() if key not in ends} | {"scope": scope}
    end = {key: value for key, value in whole.items() if key not in began} | {"outputs": "late"}
    stub = {"id": ident(name)}
    return [
        ([start], stub | scope | {"started_at": at(seconds)}),
        ([end], stub),
        ([call(name, "call", parent=name, second=seconds + 0.1)], stub),
        ([message(name, f"{name} asks", "user", seconds)], stub),
    ]


def send(connection: Connection, rows: list[dict[str, Any]], stub: dict[str, Any]) -> None:
    payload = {
        "runs": [stub],
        "spans": [row for row in rows if "kind" in row],
        "messages": [row for row in rows if "role" in row],
        "scoped": True,
    }
    connection.execute("select chopsky_ingest(%s::json)", [json.dumps(payload)])


@pytest.mark.parametrize("known", [True, False], ids=["of a run that was stored", "of one that was not"])
def test_late_records_are_refused_in_every_order(connection: Connection, known: bool):
    if known:
        for piece in pieces("a", "ann"):
            send(connection, *piece)
    else:
        turn(connection, "other", user_id="ann")
    erase(connection, "ann")
    for order in permutations(pieces("a", "ann")):
        before = refused(connection)
        for piece in order:
            send(connection, *piece)
        assert left(connection) == set()
        assert refused(connection) > before
        counts = "select (select count(*) from conversation_spans) + (select count(*) from conversation_messages)"
        assert connection.execute(counts).fetchone() == (0,)
        if not known:
            # As if nothing had told of it yet: the next order is not refused by the run's own tombstone.
            connection.execute("delete from conversation_tombstones where kind = 'run'")


def test_what_begins_after_the_erasure_is_new(connection: Connection):
    turn(connection, "a", user_id="ann")
    erase(connection, "ann")
    later = (datetime.now(UTC) + timedelta(seconds=1) - datetime(2026, 3, 1, 12, tzinfo=UTC)).total_seconds()
    for number, order in enumerate(permutations(pieces("x", "ann", later))):
        for rows, stub in order:
            text = json.dumps([rows, stub]).replace(ident("x"), ident(f"x{number}"))
            send(connection, *json.loads(text.replace(ident("x", "call"), ident(f"x{number}", "call"))))
    assert len(left(connection)) == 24
    assert refused(connection) == 0


@pytest.fixture
def writer(tracer_settings: Settings, database_url: str) -> Iterator[Writer]:
    made = Writer(Target(database_url, "test"), replace(tracer_settings, flush_interval_s=0.5))
    yield made
    made.close(1)


def test_late_records_are_refused_by_copy_too(connection: Connection, writer: Writer):
    erase(connection, "ann")
    # A connection first: only then is a batch made for COPY.
    assert writer.put(records.start("before"))
    assert writer.flush(20)
    old, new = 1_600_000_000_000_000, 4_000_000_000_000_000
    for number in range(80):
        for kind, when, user in (("old", old, "ann"), ("new", new, "ann"), ("other", old, "ben")):
            line = records.start(f"{kind} {number}", at=when + number, scope={"user_id": user})
            assert writer.put(line)
            assert writer.put(records.end(f"{kind} {number}", at=when + number + 5))
    assert writer.flush(30)
    rows = connection.execute("select split_part(name, ' ', 1), count(*) from conversation_runs group by 1").fetchall()
    assert dict(rows) == {"before": 1, "new": 80, "other": 80}
    assert refused(connection) > 0
    assert writer.stats()["losses"] == {}


def test_erasing_waits_for_what_is_being_written(connection: Connection, database_url: str):
    """A batch that has not committed is not missed, and one behind the erasure sees it."""
    done = threading.Event()
    with psycopg.connect(database_url) as slow, psycopg.connect(database_url, autocommit=True) as eraser:
        ingest(slow, span("a", "a"), runs=[run("a", user_id="ann")])

        def remove() -> None:
            erase(eraser, "ann")
            done.set()

        thread = threading.Thread(target=remove)
        thread.start()
        pid = eraser.info.backend_pid
        while not connection.execute("select 1 from pg_locks where pid = %s and not granted", [pid]).fetchone():
            assert thread.is_alive()
        assert not done.is_set()
        slow.commit()
        thread.join(30)
        assert done.is_set()
    assert left(connection) == set()


def test_what_is_held_stays_and_goes_on(connection: Connection):
    turn(connection, "a", session_id="s", user_id="ann")
    turn(connection, "b", user_id="ann")
    connection.execute("update conversation_sessions set legal_hold = true")
    assert erase(connection, "ann")["held_sessions"] == 1
    assert left(connection) == {UUID(ident("a"))}
    turn(connection, "a", session_id="s", user_id="ann")
    assert left(connection) == {UUID(ident("a"))}


def test_what_saw_the_same_calls_without_a_user_goes_too(connection: Connection):
    same = {"response_id": "one", "started_at": at(0.1), "ended_at": at(0.9)}
    for name, source, user in (("a", "langchain", "ann"), ("b", "otel", None)):
        ingest(
            connection,
            span(name, name, source=source),
            call(name, "call", parent=name, source=source, **same),
            message(name, f"{name} asks", "user", 0),
            runs=[run(name, user_id=user)],
        )
    assert erase(connection, "ann")["rows"]["conversation_runs"] == 2
    assert left(connection) == set()


def test_a_conversation_that_its_user_removed_does_not_come_back(connection: Connection):
    turn(connection, "a", session_id="s", user_id="ann")
    with connection.transaction():
        connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": "ann"})])
        connection.execute("set local role authenticated")
        connection.execute("delete from conversation_sessions where true")
    for piece in pieces("a", "ann"):
        send(connection, *piece)
    assert left(connection) == set()
    turn(connection, "b", session_id="s", user_id="ann")
    assert left(connection) == {UUID(ident("b"))}


def test_a_conversation_that_was_cleared_does_not_come_back(connection: Connection):
    turn(connection, "a", session_id="s", user_id="ann")
    connection.execute("select clear_conversation_session(id) from conversation_sessions")
    for piece in pieces("a", "ann"):
        send(connection, *piece)
    assert left(connection) == set()
    assert connection.execute("select session_id from conversation_sessions").fetchall() == [("s",)]


@pytest.fixture
def invoke(database_url: str) -> Callable[..., Any]:
    return lambda *arguments: CliRunner().invoke(main, arguments, env={"CHOPSKY_TRACE_DATABASE_URL": database_url})


def test_who_is_deleted_in_auth_is_erased(connection: Connection, admin: Connection, invoke: Callable[..., Any]):
    users = [uuid4(), uuid4()]
    for user in users:
        turn(connection, str(user), user_id=str(user))
        connection.execute("insert into auth.users (id) values (%s)", [user])
    assert invoke("erase-user", "--on-auth-delete", "on", "--json").exit_code == 0
    try:
        # As Supabase's own role, which has no rights on our tables.
        admin.execute("set role supabase_auth_admin")
        admin.execute("delete from auth.users where id = %s", [users[0]])
        assert left(connection) == {UUID(ident(str(users[1])))}
    finally:
        admin.execute("reset role")
        assert invoke("erase-user", "--on-auth-delete", "off", "--json").exit_code == 0
    connection.execute("delete from auth.users")
    assert left(connection) == {UUID(ident(str(users[1])))}


def test_erasing_by_command(connection: Connection, invoke: Callable[..., Any]):
    turn(connection, "a", user_id="ann")
    assert invoke("erase-user", "ann").exit_code == 2
    assert invoke("erase-user").exit_code == 2
    assert invoke("erase-user", "ann", "--on-auth-delete", "on").exit_code == 2
    told = invoke("erase-user", "ann", "--yes")
    assert told.exit_code == 0
    assert "Out of reach" in told.stdout
    assert json.loads(invoke("erase-user", "ann", "--yes", "--json").stdout)["rows"]["conversation_runs"] == 0
    assert left(connection) == set()


def test_the_receipt_says_what_was_and_what_was_not_erased(connection: Connection, invoke: Callable[..., Any]):
    for name, session in (("a", "1"), ("b", "2"), ("c", "3")):
        turn(connection, name, session_id=session, user_id="ann")
    connection.execute("insert into conversation_sessions (session_id, user_id) values ('by hand', 'ann')")
    connection.execute("update conversation_sessions set legal_hold = true where session_id in ('1', '2')")
    told = invoke("erase-user", "ann", "--yes").stdout
    assert "2  conversation_sessions" in told
    assert "2 sessions stay: they are under a legal hold" in told
    assert "The rest is erased. Not complete" in told
    kept = connection.execute("select receipt -> 'rows' ->> 'conversation_sessions' from conversation_erasures")
    assert kept.fetchall() == [("2",)]
    connection.execute("update conversation_sessions set legal_hold = false where session_id = '1'")
    assert "1 session stays: it is under a legal hold" in invoke("erase-user", "ann", "--yes").stdout
    connection.execute("update conversation_sessions set legal_hold = false")
    told = invoke("erase-user", "ann", "--yes").stdout
    assert "1  conversation_sessions" in told
    assert "Erased." in told
    told = invoke("erase-user", "nobody we know", "--yes").stdout
    assert "Nothing of this user was found. A tombstone is left all the same" in told
    assert "Erased" not in told
    tombstones = connection.execute("select count(*) from conversation_tombstones where kind = 'person'")
    assert tombstones.fetchone() == (2,)
