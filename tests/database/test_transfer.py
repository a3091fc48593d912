"""Export and import by command: filters, CSV, and a file that is not what it should be."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from read_rows import ident
from retained import left, turn

from chopsky_trace.cli import main
from chopsky_trace.database.connect import Connection

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(database_url: str) -> Invoke:
    def run_command(*arguments: str, given: str | None = None) -> Result:
        return CliRunner().invoke(main, arguments, given, env={"CHOPSKY_TRACE_DATABASE_URL": database_url})

    return run_command


def exported(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()][1:]


def test_what_is_asked_for_is_exported(connection: Connection, invoke: Invoke):
    for number in range(120):
        scope = {"user_id": f"u{number % 3}", "tenant_id": "acme" if number % 2 else None, "project": "p"}
        turn(connection, f"r{number}", number, session_id=f"s{number % 5}", **scope)
    assert len(exported(invoke("export"))) == 120, "more than a page"
    for arguments, count in (
        (["--user", "u1"], 40),
        (["--tenant", "acme"], 60),
        (["--session", "s4"], 24),
        (["--project", "q"], 0),
        (["--status", "failed"], 0),
        (["--since", "2026-03-01T12:01:00Z"], 60),
        (["--until", "2026-03-01T12:01:00Z"], 60),
    ):
        assert len(exported(invoke("export", *arguments))) == count, arguments
    [one] = exported(invoke("export", "--user", "u1", "--session", "s4", "--until", "2026-03-01T12:00:10Z"))
    assert (one["run"]["user_id"], one["session"]["session_id"], len(one["spans"])) == ("u1", "s4", 2)


def test_csv_is_for_people(connection: Connection, invoke: Invoke, tmp_path: Path):
    turn(connection, 'a "quoted", run', user_id="ann")
    rows = list(csv.DictReader(io.StringIO(invoke("export", "--format", "csv").stdout)))
    assert [(row["role"], row["content"]) for row in rows] == [
        ("user", 'a "quoted", run asks'),
        ("assistant", 'a "quoted", run hears'),
    ]
    assert all("E" not in row["cost"] for row in rows)
    file = tmp_path / "runs.csv"
    assert json.loads(invoke("export", str(file), "--rows", "runs", "--json").stdout)["lines"] == 1
    assert file.stat().st_mode & 0o777 == 0o600
    assert next(csv.DictReader(io.StringIO(file.read_text("utf-8"))))["user_id"] == "ann"
    refused = invoke("export", "--rows", "runs")
    assert (refused.exit_code, "--rows is for CSV" in refused.stderr) == (2, True)


def test_a_line_that_is_none_is_named_and_those_before_it_are_in(connection: Connection, invoke: Invoke):
    for name in ("a", "b", "c"):
        turn(connection, name)
    lines = invoke("export").stdout.splitlines()
    for bad, told in (
        ("{", "Line 3 is no JSON"),
        ("[]", "Line 3 is neither a run, a session nor feedback"),
        ('{"run": 5}', "Line 3 is neither a run, a session nor feedback"),
        ('{"run": {"id": "x"}}', "refuses line 3"),
        (lines[2].replace('"status":"completed"', '"status":"odd"'), "refuses line 3"),
        ('{"chopsky_trace_export": 1, "schema": 999}', "Line 3: the file is of a newer release"),
        ("{", "Mend it and run the command again"),
    ):
        connection.execute("delete from conversation_runs")
        done = invoke("import", "-", given="\n".join([*lines[:2], bad, lines[3]]) + "\n")
        assert done.exit_code == 1
        assert told in done.stderr
        assert "Traceback" not in done.output
        assert done.stderr.count("run the command again") == (0 if "newer" in told else 1), "the remedy, once"
        # A file is read ahead: what is no line at all is found before the batch is written.
        assert len(left(connection)) == (1 if "refuses" in told else 0)
        assert json.loads(invoke("import", "-", "--json", given="\n".join(lines)).stdout)["present"] < 3
        assert len(left(connection)) == 3


def test_who_was_erased_is_not_imported_again(connection: Connection, invoke: Invoke):
    turn(connection, "a", session_id="s", user_id="ann")
    turn(connection, "b", user_id="ben")
    text = invoke("export").stdout
    connection.execute("select erase_user('ann')")
    counts = json.loads(invoke("import", "-", "--json", given=text).stdout)
    assert (counts["runs"], counts["present"], counts["refused"]) == (0, 1, 1)
    assert connection.execute("select user_id from conversation_sessions").fetchall() == []
    assert len(left(connection)) == 1


def rows_of(connection: Connection, user: str) -> dict[str, int]:
    """How many rows each table has of a person."""
    found: dict[str, int] = {}
    for table in ("conversation_runs", "conversation_sessions", "conversation_messages", "conversation_feedback"):
        row = connection.execute(f"select count(*) from {table} where user_id = %s".encode(), [user]).fetchone()
        assert row is not None
        found[table] = row[0]
    return found


def test_nothing_of_who_was_erased_is_imported_again(connection: Connection, invoke: Invoke):
    for user in ("ann", "ben"):
        turn(connection, user, session_id="s", user_id=user)
        connection.execute(
            "update conversation_sessions set title = 'Soup', legal_hold = true where user_id = %s", [user]
        )
        connection.execute("insert into conversation_sessions (user_id, title) values (%s, 'Salad')", [user])
        connection.execute(
            "insert into conversation_messages (session_id, user_id, role, content) values ('h', %s, 'user', 'Hi')",
            [user],
        )
        connection.execute(
            "insert into conversation_feedback (message_id, user_id, score)"
            " select id, user_id, 5 from conversation_messages where content = 'Hi' and user_id = %s",
            [user],
        )
    connection.execute(
        "insert into conversation_feedback (conversation_run_id, user_id, score) values (%s, 'ann', 1)",
        [UUID(ident("ben"))],
    )
    before, text = rows_of(connection, "ben"), invoke("export").stdout
    connection.execute("update conversation_sessions set legal_hold = false")
    connection.execute("select erase_user('ann')")
    for table in ("conversation_runs", "conversation_sessions", "conversation_messages", "conversation_feedback"):
        connection.execute(f"delete from {table} where user_id = 'ben'".encode())
    connection.execute("delete from conversation_tombstones where kind = 'run'")
    told = invoke("import", "-", given=text)
    assert told.exit_code == 0, told.output
    assert set(rows_of(connection, "ann").values()) == {0}
    assert rows_of(connection, "ben") == before
    # Her run; two sessions that came alone and the message in one; what she said of that, and of another's run.
    assert "6  refused: erased here" in told.stdout
    counts = json.loads(invoke("import", "-", "--json", given=text).stdout)
    assert (counts.pop("present"), counts.pop("refused")) == (1, 5), "of a run that is here nothing is looked at"
    assert set(counts.values()) == {0}
    # Where nobody erased her she is as she was.
    connection.execute("delete from conversation_tombstones")
    connection.execute("delete from conversation_runs")
    assert json.loads(invoke("import", "-", "--json", given=text).stdout)["refused"] == 0
    assert rows_of(connection, "ann")["conversation_sessions"] == 3


def test_an_erasure_in_one_tenant_or_under_a_hold_refuses_no_more(connection: Connection, invoke: Invoke):
    for tenant in ("acme", "bolt"):
        connection.execute(
            "insert into conversation_sessions (session_id, user_id, tenant_id) values ('s', 'ann', %s)", [tenant]
        )
        connection.execute(
            "insert into conversation_messages (session_id, user_id, tenant_id, role, content)"
            " values ('s', 'ann', %s, 'user', 'Hi')",
            [tenant],
        )
    text = invoke("export").stdout
    connection.execute("select erase_user('ann', 'acme')")
    connection.execute("delete from conversation_messages")
    counts = json.loads(invoke("import", "-", "--json", given=text).stdout)
    assert (counts["sessions"], counts["messages"], counts["refused"]) == (0, 1, 2)
    connection.execute("update conversation_sessions set legal_hold = true")
    connection.execute("select erase_user('ann')")
    connection.execute("delete from conversation_messages")
    counts = json.loads(invoke("import", "-", "--json", given=text).stdout)
    assert (counts["sessions"], counts["messages"], counts["refused"]) == (0, 1, 2), "what is held stays whole"


def test_what_is_counted_was_made(connection: Connection, invoke: Invoke):
    """Also of a session that its user removed: its row, and all that its runs bring, is neither stored nor counted."""
    for name in ("a", "b", "c"):
        turn(connection, name, session_id=name, user_id="ann")
    connection.execute("update conversation_sessions set title = 'Soup'")
    text = invoke("export").stdout
    tables = ("runs", "sessions", "spans", "messages", "contents", "prefixes")

    def stored() -> dict[str, int]:
        found: dict[str, int] = {}
        for table in tables:
            row = connection.execute(f"select count(*) from conversation_{table}".encode()).fetchone()
            assert row is not None
            found[table] = row[0]
        return found

    whole = stored()
    connection.execute("delete from conversation_sessions where session_id in ('a', 'b')")
    connection.execute("delete from conversation_tombstones where hash = chopsky_tombstone('run', %s)", [ident("a")])
    connection.execute("delete from conversation_runs where session_id = 'c'")
    before = stored()
    for refused, present in ((1, 0), (1, 2)):
        counts = json.loads(invoke("import", "-", "--json", given=text).stdout)
        assert (counts["refused"], counts["present"]) == (refused, present)
        after = stored()
        assert {name: counts[name] for name in tables} == {name: after[name] - before[name] for name in tables}
        before = after
    assert before["runs"] == before["sessions"] == whole["runs"] - 1
    assert connection.execute("select 1 from conversation_sessions where session_id = 'b'").fetchone() is None


def test_import_without_tables_says_so(fresh_database: str):
    for given in ('{"chopsky_trace_export": 1, "schema": 20}\n', ""):
        done = CliRunner().invoke(main, ["import", "-", "--database-url", fresh_database], given)
        assert done.exit_code == 1
        assert "no schema" in done.stderr
        assert done.stderr.count("chopsky-trace migrate") == 1


def test_messages_of_no_session_and_profiles_come_along(connection: Connection, invoke: Invoke):
    for user, tenant in (("ann", "acme"), ("ben", None)):
        connection.execute(
            "insert into conversation_messages (role, content, user_id, tenant_id, token_count, model)"
            " values ('assistant', 'Hi', %s, %s, 3, 'm')",
            [user, tenant],
        )
        connection.execute(
            "insert into user_profiles (user_id, tenant_id, email) values (%s, %s, %s)",
            [user, tenant, f"{user}@example.com"],
        )
    every = (
        "select to_jsonb(m), null from conversation_messages m union all select null, to_jsonb(p) from user_profiles p"
        " union all select null, to_jsonb(u) from usage_metrics u order by 1, 2"
    )
    before, text = connection.execute(every).fetchall(), invoke("export").stdout

    def kinds(*filters: str) -> list[str]:
        return [name for line in exported(invoke("export", *filters)) for name in line]

    assert kinds() == ["messages"] * 2 + ["profiles"] * 2
    assert kinds("--tenant", "acme") == kinds("--user", "ben") == ["messages", "profiles"]
    assert kinds("--since", "1h") == ["messages"] * 2
    assert kinds("--project", "p") == kinds("--status", "completed") == kinds("--session", "s") == []
    for table in ("conversation_messages", "user_profiles"):
        connection.execute(f"delete from {table}".encode())
    assert connection.execute("select count(*) from usage_metrics").fetchone() == (0,)
    counts = json.loads(invoke("import", "-", "--json", given=text).stdout)
    assert (counts["messages"], counts["profiles"]) == (2, 2)
    assert connection.execute(every).fetchall() == before
    again = json.loads(invoke("import", "-", "--json", given=text).stdout)
    assert (again["messages"], again["profiles"], again["refused"]) == (0, 0, 0)
    connection.execute("select erase_user('ann', 'acme')")
    erased = json.loads(invoke("import", "-", "--json", given=text).stdout)
    assert (erased["messages"], erased["profiles"], erased["refused"]) == (0, 0, 2)


def test_feedback_without_a_run_comes_along(connection: Connection, invoke: Invoke):
    turn(connection, "a", user_id="ann")
    connection.execute(
        "insert into conversation_feedback (conversation_run_id, user_id, tenant_id, score, created_at) values"
        " (%s, 'ann', null, 5, now()), (gen_random_uuid(), 'ann', null, 4, '2026-01-01'),"
        " (gen_random_uuid(), 'ben', 'acme', 3, '2026-02-01')",
        [UUID(ident("a"))],
    )
    connection.execute("insert into conversation_messages (session_id, role, content) values ('h', 'user', 'Hi')")
    connection.execute(
        "insert into conversation_feedback (message_id, user_id, comment)"
        " select id, 'cid', 'well' from conversation_messages where conversation_run_id is null"
    )
    every = "select to_jsonb(f) from conversation_feedback f order by id"
    before, text = connection.execute(every).fetchall(), invoke("export").stdout

    def alone(*filters: str) -> list[str]:
        lines = exported(invoke("export", *filters))
        return sorted(one["feedback"][0]["user_id"] for one in lines if not {"run", "session"} & set(one))

    assert alone() == ["ann", "ben", "cid"]
    assert alone("--tenant", "acme") == alone("--since", "2026-01-15", "--until", "2026-03-01") == ["ben"]
    assert (alone("--user", "ann"), alone("--session", "h"), alone("--status", "completed")) == (["ann"], ["cid"], [])
    for table in ("conversation_feedback", "conversation_runs", "conversation_sessions", "conversation_messages"):
        connection.execute(f"delete from {table}".encode())
    assert json.loads(invoke("import", "-", "--json", given=text).stdout)["feedback"] == 4
    assert connection.execute(every).fetchall() == before
    assert json.loads(invoke("import", "-", "--json", given=text).stdout)["feedback"] == 0
    # A run that comes later is rated by what waited for it; who was erased gives none again.
    waiting = connection.execute("select about_id from conversation_feedback where user_id = 'ben'").fetchone()
    assert waiting is not None
    connection.execute("insert into conversation_runs (id, user_id) values (%s, 'ben')", waiting)
    assert connection.execute(
        "select user_satisfaction_score from conversation_runs where id = %s", waiting
    ).fetchone() == (3,)
    connection.execute("select erase_user('cid')")
    assert json.loads(invoke("import", "-", "--json", given=text).stdout)["feedback"] == 0
    assert connection.execute("select count(*) from conversation_feedback where user_id = 'cid'").fetchone() == (0,)
