"""Sessions: whose they are, their transcript over REST, and pages that cost what they show, however long they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner, Result
from fix_postgres import as_user
from read_rows import at, ident, ingest, message, run, span

from chopsky_trace.cli import main
from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.read import Reader
from chopsky_trace.errors import AmbiguousError

TRANSCRIPT = "select conversation_run_id, sequence, content, message_id from conversation_session_transcript"
LONG_RUNS = 2_500
"""Of two messages that were said and one internal."""


def show(database_url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["show", *arguments], env={"CHOPSKY_TRACE_DATABASE_URL": database_url})


def turn(connection: Connection, name: str, second: float, **scope: Any) -> None:
    ingest(
        connection,
        span(name, name, second=second),
        message(name, f"{name} asks", "user", second),
        message(name, f"{name} thinks", "assistant", second + 0.5, is_internal=True),
        message(name, f"{name} hears", "assistant", second + 1),
        runs=[run(name, started_at=at(second), **scope)],
    )


def told(connection: Connection, **arguments: Any) -> list[str]:
    named = ", ".join(f"{name} => %({name})s" for name in arguments)
    rows = connection.execute(f"{TRANSCRIPT}({named})".encode(), arguments).fetchall()
    return [row[2] for row in rows]


@pytest.fixture
def three_sessions(connection: Connection) -> dict[str, UUID]:
    """Thread "1" of two users of a tenant and of one without; the key of each."""
    for number, (user, tenant) in enumerate((("ann", "acme"), ("ben", "acme"), ("cleo", None))):
        for part in (1, 0):
            turn(connection, f"{user} {part}", 100 * part + number, session_id="1", user_id=user, tenant_id=tenant)
    rows = connection.execute("select distinct user_id, session_key from conversation_runs").fetchall()
    return dict(rows)


def of(user: str) -> list[str]:
    return [f"{user} {part} {does}" for part in (0, 1) for does in ("asks", "hears")]


def test_a_sessions_transcript_is_in_order_and_nobody_elses(connection: Connection, three_sessions: dict[str, UUID]):
    assert told(connection, session_id="1", user_id="ann", tenant_id="acme") == of("ann")
    assert told(connection, session_id="1", user_id="cleo") == of("cleo")
    assert told(connection, session_key=three_sessions["ben"]) == of("ben")
    assert told(connection, session_id="2") == []
    assert told(connection) == []


@pytest.mark.parametrize("arguments", [{}, {"tenant_id": "acme"}])
def test_sessions_of_one_name_are_not_mixed(
    connection: Connection, three_sessions: dict[str, UUID], arguments: dict[str, str]
):
    with pytest.raises(psycopg.errors.RaiseException, match="Several sessions are named '1'"):
        told(connection, session_id="1", **arguments)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_a_sessions_transcript_comes_in_pages(connection: Connection, three_sessions: dict[str, UUID], size: int):
    pages: list[str] = []
    after: UUID | None = None
    while True:
        rows = connection.execute(
            f"{TRANSCRIPT}(session_key => %s, after => %s, at_most => %s)".encode(),
            [three_sessions["ann"], after, size],
        ).fetchall()
        assert len(rows) <= size
        if not rows:
            break
        pages += [row[2] for row in rows]
        after = rows[-1][3]
    assert pages == of("ann")
    with pytest.raises(psycopg.errors.RaiseException, match="not stored"):
        told(connection, session_key=three_sessions["ann"], after=ident("gone"))


def test_a_user_reads_the_own_session_only(connection: Connection, database_url: str, three_sessions: dict[str, UUID]):
    """As PostgREST calls it: the name alone is enough, for only the own sessions are seen."""
    with psycopg.connect(as_user(database_url, "authenticator"), autocommit=True) as api:
        api.execute("set role authenticated")
        claims = {"sub": "ben", "app_metadata": {"tenant_id": "acme"}}
        api.execute("select set_config('request.jwt.claims', %s, false)", [json.dumps(claims)])
        assert told(api, session_id="1") == of("ben")
        assert told(api, session_key=three_sessions["ann"]) == []
        api.execute("reset role; set role anon")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            told(api, session_id="1")


def test_a_run_seen_twice_is_told_once(connection: Connection, three_sessions: dict[str, UUID], admin: Connection):
    admin.execute("update conversation_runs set merged = true where id = %s", [ident("ann 0")])
    assert told(connection, session_key=three_sessions["ann"]) == of("ann")[2:]


def test_a_name_of_several_sessions_shows_none_of_them(
    connection: Connection, database_url: str, three_sessions: dict[str, UUID]
):
    with pytest.raises(AmbiguousError) as raised:
        Reader(connection).find("1")
    assert all(f"{key} (project None" in str(raised.value) for key in three_sessions.values())
    assert show(database_url, "1").exit_code == 1
    for user, key in three_sessions.items():
        page = json.loads(show(database_url, str(key), "--json").stdout)
        assert (page["session_id"], page["session_key"]) == ("1", str(key))
        assert [one["content"] for entry in page["runs"] for one in entry["messages"]] == of(user)
    text = show(database_url, str(three_sessions["ann"]), "--limit", "2").stdout
    assert f"chopsky-trace show {three_sessions['ann']} --after" in text


# -- a long session, among others of the same name


@pytest.fixture
def long_session(connection: Connection, admin: Connection) -> Iterator[UUID]:
    """2,500 runs of two messages and an internal one, beside 300 other tenants' sessions of the same name."""
    # Ingesting them one by one takes a minute; here only reading is looked at.
    admin.execute("set session_replication_role = replica")
    admin.execute(
        "insert into conversation_runs (id, tenant_id, session_id, started_at, status)"
        " select md5('run' || n)::uuid, 't', 'thread', timestamptz '2026-01-01' + n * interval '1 minute', 'completed'"
        " from generate_series(1, %s) n"
        " union all"
        " select md5('other' || n)::uuid, 'other ' || n %% 300, 'thread',"
        " timestamptz '2026-01-01' + n * interval '1 minute', 'completed' from generate_series(1, 3000) n"
        " union all"
        " select md5('more' || n)::uuid, 't', 'thread ' || n, timestamptz '2026-01-01', 'completed'"
        " from generate_series(1, 20000) n",
        [LONG_RUNS],
    )
    admin.execute(
        "insert into conversation_messages (conversation_run_id, session_key, session_id, tenant_id, sequence, role,"
        " content, is_internal, created_at)"
        " select r.id, r.session_key, r.session_id, r.tenant_id, m, 'user', m || ' of ' || r.started_at, m = 2,"
        " r.started_at from conversation_runs r, generate_series(1, 3) m"
        " where r.session_id = 'thread'"
    )
    admin.execute("set session_replication_role = origin")
    admin.execute("vacuum analyze conversation_runs")
    admin.execute("vacuum analyze conversation_messages")
    row = connection.execute("select session_key from conversation_runs where tenant_id = 't' limit 1").fetchone()
    assert row is not None
    yield row[0]
    # Later tests' plans are not to be those for so many rows.
    for table in ("conversation_messages", "conversation_runs"):
        admin.execute(f"delete from {table}".encode())
        admin.execute(f"vacuum analyze {table}".encode())


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def rows_read(connection: Connection, name: str, **parameters: object) -> float:
    """Rows that a statement's scans came upon, kept or not; no table may be read as a whole."""
    query = "explain (analyze, format json) " + statements.load("read.sql")[name]
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    seen = 0.0
    for node in nodes(row[0][0]["Plan"]):
        assert node["Node Type"] != "Seq Scan", (name, node)
        if "Relation Name" in node:
            removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            seen += (node["Actual Rows"] + removed) * node["Actual Loops"]
    return seen


def test_a_page_of_a_long_session_reads_what_it_shows(connection: Connection, long_session: UUID):
    limit = 201
    runs = [row["id"] for row in Reader(connection).session_runs(long_session, limit=LONG_RUNS + 1)]
    assert len(runs) == LONG_RUNS
    for from_run in (None, runs[1_000], runs[-150]):
        where = {"session_key": long_session, "limit": limit, "from_run": from_run}
        assert rows_read(connection, "session_runs", **where) <= limit + 2
        for internal in (True, False):
            # A run for each two or three messages, the internal ones passed over, a run begun that is cut off.
            read = rows_read(connection, "session_messages", **where, after=0, internal=internal)
            assert read <= 2.2 * limit


def test_finding_a_session_by_its_name_reads_few_runs(connection: Connection, long_session: UUID):
    assert len(Reader(connection).rows("sessions", session_id="thread", limit=4)) == 4
    # Its own runs at most: they come first, and the next session is looked for past them.
    assert rows_read(connection, "sessions", session_id="thread", limit=4) <= 3 * LONG_RUNS + 3_100


def test_the_whole_of_a_long_session_is_told_in_pages(connection: Connection, database_url: str, long_session: UUID):
    seen: list[tuple[str, int]] = []
    cursor: list[str] = []
    while True:
        page = json.loads(show(database_url, str(long_session), "--limit", "1000", *cursor, "--json").stdout)
        for entry in page["runs"]:
            seen += [(one["content"], one["sequence"]) for one in entry["messages"]]
        if page["next"] is None:
            break
        cursor = ["--after", page["next"]]
    assert len(seen) == len(set(seen)) == 2 * LONG_RUNS
    assert [sequence for _, sequence in seen] == [1, 3] * LONG_RUNS
    rest: list[str] = []
    after: UUID | None = None
    while rows := connection.execute(
        f"{TRANSCRIPT}(session_key => %s, after => %s)".encode(), [long_session, after]
    ).fetchall():
        rest += [row[2] for row in rows]
        after = rows[-1][3]
    assert rest == [content for content, _ in seen]


def test_a_page_of_the_function_reads_what_it_returns(connection: Connection, long_session: UUID):
    """Counted by the server's statistics, for the plan of what a function runs is not told."""
    after: UUID | None = None
    for _ in range(9):
        with connection.transaction():
            before = fetched(connection)
            rows = connection.execute(
                f"{TRANSCRIPT}(session_key => %s, after => %s, at_most => 100)".encode(), [long_session, after]
            ).fetchall()
            # Internal messages are passed over; sorting reads some runs ahead.
            assert 100 <= fetched(connection) - before <= 400
        after = rows[-1][3]


def fetched(connection: Connection) -> int:
    row = connection.execute(
        "select sum(coalesce(idx_tup_fetch, 0) + seq_tup_read)::bigint from pg_stat_xact_user_tables"
        " where relname in ('conversation_runs', 'conversation_messages')"
    ).fetchone()
    assert row is not None
    return row[0]
