"""What Supabase Realtime sends: the rows that row level security shows, the columns that were granted, nothing more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pgoutput
import psycopg
import pytest
from click.testing import CliRunner, Result
from fix_postgres import Server, as_user, ensure_template, worker_name
from psycopg import sql

from chopsky_trace.cli import main
from chopsky_trace.database import migrate, realtime
from chopsky_trace.database.connect import Connection
from chopsky_trace.errors import RealtimeError, SchemaError

SECRET = "not for a subscriber"
Changes = list[tuple[str, str, dict[str, str | None]]]


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


@pytest.fixture
def migrated_url(postgres_server: Server) -> Iterator[str]:
    """A migrated database for one test."""
    name = f"realtime_{worker_name()}"
    postgres_server.create(name, "shim", ensure_template(postgres_server))
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture
def migrated(migrated_url: str) -> Iterator[Connection]:
    with connect(migrated_url) as connection:
        yield connection


@pytest.fixture
def streamed(logical_server: Server) -> Iterator[Connection]:
    """A migrated database whose changes a slot keeps."""
    name = f"streamed_{worker_name()}"
    logical_server.create(name, "shim")
    with connect(logical_server.url(name)) as connection:
        migrate.migrate(connection)
        connection.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
        yield connection
        connection.execute("select pg_drop_replication_slot(%s)", [name])
    logical_server.drop(name)


def sent(connection: Connection) -> tuple[pgoutput.Stream, bytes]:
    """What came since the last time, read and raw."""
    rows = connection.execute(
        "select data from pg_logical_slot_get_binary_changes(%s, null, null, 'proto_version', '1',"
        " 'publication_names', 'supabase_realtime')",
        [connection.info.dbname],
    ).fetchall()
    messages = [bytes(data) for (data,) in rows]
    return pgoutput.read(messages), b"".join(messages)


def readable(connection: Connection, table: str) -> set[str]:
    rows = connection.execute(
        "select attname from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
        " and attgenerated = '' and has_column_privilege('authenticated', attrelid, attnum, 'select')",
        [f"public.{table}"],
    )
    return {name for (name,) in rows.fetchall()}


def fill(connection: Connection, user: str, tenant: str | None = None) -> tuple[UUID, list[UUID]]:
    """A run with a message to show, an internal one and a system prompt; what is not granted holds the secret."""
    run, messages = uuid4(), [uuid4() for _ in range(3)]
    connection.execute(
        "insert into public.conversation_runs (id, user_id, tenant_id, error, metadata, total_cost)"
        " values (%s, %s, %s, %s, %s, 4242.4242)",
        [run, user, tenant, SECRET, json.dumps({"why": SECRET})],
    )
    for identifier, (role, is_internal) in zip(
        messages, [("user", False), ("assistant", True), ("system", False)], strict=True
    ):
        connection.execute(
            "insert into public.conversation_messages (id, conversation_run_id, user_id, tenant_id, role, is_internal,"
            " content, metadata, tool_calls, cost) values (%s, %s, %s, %s, %s, %s, 'Hello', %s, %s, 4242.4242)",
            [identifier, run, user, tenant, role, is_internal, json.dumps({"why": SECRET}), json.dumps([SECRET])],
        )
    return run, messages


def delivered(connection: Connection, changes: Changes, claims: dict[str, Any]) -> Changes:
    """The changes that Realtime would pass on to a subscriber: as the role, with the claims, by primary key."""
    found: Changes = []
    for change, table, row in changes:
        with connection.transaction(force_rollback=True):
            connection.execute("select set_config('role', 'authenticated', true)")
            connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
            query = sql.SQL("select {} from public.{} where id = %s").format(
                sql.SQL(", ").join(map(sql.Identifier, row)), sql.Identifier(table)
            )
            if change == "delete" or connection.execute(query, [row["id"]]).fetchone():
                found.append((change, table, row))
    return found


def test_a_subscriber_sees_what_was_granted_of_the_rows_that_are_shown(streamed: Connection):
    realtime.turn_on(streamed)
    ann, (question, *hidden) = fill(streamed, "ann", "one")
    fill(streamed, "ben", "one")
    streamed.execute("update public.conversation_messages set content = 'Good day' where id = %s", [question])
    stream, raw = sent(streamed)
    assert {table for _, table, _ in stream.changes} == {"conversation_runs", "conversation_messages"}
    for table, columns in stream.columns.items():
        assert set(columns) == readable(streamed, table)
        assert not {"cost", "total_cost", "metadata", "error", "tool_calls", "token_count"} & set(columns)
    assert SECRET.encode() not in raw
    assert b"4242.4242" not in raw
    assert b"Good day" in raw

    claims = {"sub": "ann", "role": "authenticated", "app_metadata": {"tenant_id": "one"}}
    seen = delivered(streamed, stream.changes, claims)
    assert {row["id"] for _, table, row in seen if table == "conversation_runs"} == {str(ann)}
    assert {row["id"] for _, table, row in seen if table == "conversation_messages"} == {str(question)}
    assert ("update", "Good day") in {(change, row.get("content")) for change, _, row in seen}
    both = delivered(streamed, stream.changes, claims | {"app_metadata": {"tenant_id": "one", "chopsky_role": "admin"}})
    assert {row["user_id"] for _, _, row in both} == {"ann", "ben"}
    assert delivered(streamed, stream.changes, {"sub": "eve", "role": "authenticated"}) == []
    assert hidden


def test_of_a_deleted_row_everybody_is_sent_the_id_alone(streamed: Connection):
    realtime.turn_on(streamed)
    run, messages = fill(streamed, "ann")
    sent(streamed)
    streamed.execute("delete from public.conversation_runs where id = %s", [run])
    stream, _ = sent(streamed)
    gone = [(table, row) for change, table, row in stream.changes if change == "delete"]
    assert ("conversation_runs", {"id": str(run)}) in gone
    assert {row["id"] for table, row in gone if table == "conversation_messages"} == {str(one) for one in messages}
    assert all(set(row) == {"id"} for _, row in gone)


def test_off_sends_nothing_and_leaves_what_is_not_ours(streamed: Connection):
    streamed.execute("create table public.mine (id integer primary key)")
    streamed.execute("alter publication supabase_realtime add table public.mine")
    realtime.turn_on(streamed)
    assert {table.state for table in realtime.turn_off(streamed).tables} == {"off"}
    assert realtime.turn_off(streamed) == realtime.status(streamed)
    fill(streamed, "ann")
    streamed.execute("insert into public.mine values (1)")
    stream, _ = sent(streamed)
    assert stream.changes == [("insert", "mine", {"id": "1"})]


def test_on_again_follows_the_grants(migrated: Connection):
    assert {table.state for table in realtime.turn_on(migrated).tables} == {"on"}
    migrated.execute("grant select (total_cost) on public.conversation_runs to authenticated")
    before = {table.table: table for table in realtime.status(migrated).tables}
    assert before["conversation_runs"].state == "outdated"
    assert before["conversation_messages"].state == "on"
    after = {table.table: table for table in realtime.turn_on(migrated).tables}
    assert set(after["conversation_runs"].columns) - set(before["conversation_runs"].columns) == {"total_cost"}
    # Added by hand or in the dashboard: whole.
    realtime.turn_off(migrated)
    migrated.execute("alter publication supabase_realtime add table public.conversation_messages")
    assert [table.state for table in realtime.status(migrated).tables][:2] == ["off", "outdated"]
    assert {table.state for table in realtime.turn_on(migrated).tables} == {"on"}


def test_every_table_there_is_of_the_three_is_sent(migrated: Connection):
    there = [
        name
        for name in realtime.TABLES
        if migrated.execute("select to_regclass(%s)", [f"public.{name}"]).fetchone() != (None,)
    ]
    assert [table.table for table in realtime.turn_on(migrated).tables] == there
    published = migrated.execute(
        "select tablename, attnames from pg_publication_tables where pubname = 'supabase_realtime'"
    ).fetchall()
    assert {name: set(columns) for name, columns in published} == {name: readable(migrated, name) for name in there}


def test_plain_postgres_gets_a_publication_and_hears_of_wal_level(make_database: Callable[..., str]):
    url = make_database("plain")
    with connect(url) as connection:
        with pytest.raises(SchemaError):
            realtime.turn_on(connection)
        migrate.migrate(connection)
        assert not realtime.status(connection).is_there
        assert not realtime.turn_off(connection).is_there
    result = run(url, "on")
    assert json.loads(result.stdout)["wal_level"] == "replica"
    assert "wal_level = logical" in CliRunner().invoke(main, ["realtime", "status", "--database-url", url]).stdout


def run(url: str, name: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["realtime", name, "--json", "--database-url", url])
    assert result.exit_code == code, result.output
    return result


def test_the_commands_say_what_is_sent_and_fail_where_it_is_too_much(migrated: Connection, migrated_url: str):
    tables = json.loads(run(migrated_url, "on").stdout)["tables"]
    assert {table["state"] for table in tables} == {"on"}
    assert all("metadata" not in table["columns"] for table in tables)
    assert json.loads(run(migrated_url, "status").stdout)["tables"] == tables
    migrated.execute("alter table public.conversation_runs disable row level security")
    assert json.loads(run(migrated_url, "status", code=1).stdout)["tables"][0]["state"] == "unsafe"
    assert "enable row level security" in run(migrated_url, "on", code=1).stderr
    assert {table["state"] for table in json.loads(run(migrated_url, "off").stdout)["tables"]} == {"off"}


@pytest.mark.parametrize("kind", ["for all tables", "for tables in schema public"])
def test_a_publication_that_sends_everything_is_named(migrated: Connection, postgres_server: Server, kind: str):
    with postgres_server.admin(migrated.info.dbname) as admin:
        admin.execute("drop publication supabase_realtime")
        admin.execute(f"create publication supabase_realtime {kind}".encode())
    found = realtime.status(migrated)
    assert found.sends_everything
    assert {table.state for table in found.tables} == {"outdated"}
    for turn in (realtime.turn_on, realtime.turn_off):
        with pytest.raises(RealtimeError, match=kind.upper().replace("PUBLIC", "public")):
            turn(migrated)


def test_a_role_without_the_rights_is_told_whose_they_are(
    migrated: Connection, postgres_server: Server, migrated_url: str
):
    not_its_owner = pytest.raises(RealtimeError, match=r"may not change the publication supabase_realtime: .* postgres")
    with connect(as_user(migrated_url, "authenticator")) as stranger, not_its_owner:
        realtime.turn_on(stranger)
    with postgres_server.admin(migrated.info.dbname) as admin:
        admin.execute("drop publication supabase_realtime")
        may_not = pytest.raises(RealtimeError, match="may not create one")
        with connect(as_user(migrated_url, "authenticator")) as stranger, may_not:
            realtime.turn_on(stranger)
        admin.execute("create publication supabase_realtime; alter publication supabase_realtime owner to postgres")
        admin.execute("alter table public.conversation_messages owner to supabase_auth_admin")
    with pytest.raises(RealtimeError, match="does not own conversation_messages"):
        realtime.turn_on(migrated)
    assert {table.state for table in realtime.status(migrated).tables} == {"off"}


@pytest.mark.parametrize("identity", ["full", "nothing"])
def test_a_replica_identity_under_which_updates_would_fail_is_refused(migrated: Connection, identity: str):
    migrated.execute(f"alter table public.conversation_messages replica identity {identity}".encode())
    with pytest.raises(RealtimeError, match="conversation_messages replica identity default"):
        realtime.turn_on(migrated)
    assert {table.state for table in realtime.status(migrated).tables} == {"off"}
    migrated.execute("alter table public.conversation_messages replica identity default")
    realtime.turn_on(migrated)
    migrated.execute(f"alter table public.conversation_messages replica identity {identity}".encode())
    assert [table.state for table in realtime.status(migrated).tables][:2] == ["on", "unsafe"]


def test_a_key_that_may_not_be_read_is_refused(migrated: Connection):
    migrated.execute("revoke select (id) on public.conversation_runs from authenticated")
    with pytest.raises(RealtimeError, match=r"grant select \(id\) on public\.conversation_runs to authenticated"):
        realtime.turn_on(migrated)


def test_a_rollback_may_drop_what_is_sent(migrated: Connection, monkeypatch: pytest.MonkeyPatch):
    known = migrate.steps()
    column = migrate.Step(
        len(known),
        "add_mood",
        "alter table public.conversation_runs add column mood text;"
        "grant select (mood) on public.conversation_runs to authenticated;",
        "alter table public.conversation_runs drop column mood;",
    )
    before = realtime.turn_on(migrated)
    monkeypatch.setattr(migrate, "steps", lambda: (*known, column))
    migrate.migrate(migrated)
    assert "mood" in realtime.turn_on(migrated).tables[0].columns
    migrate.rollback(migrated)
    assert realtime.status(migrated) == before
    assert len(migrate.rollback(migrated, -1)) == len(known)
    assert migrated.execute("select count(*) from pg_publication_tables").fetchone() == (0,)
