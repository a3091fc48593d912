"""What a filled database goes through: each rollback and the way up again, a backup and its restoration."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from filled import contents, fill
from fix_postgres import Server, ensure_template, worker_name
from read_rows import agent_turn

from chopsky_trace.cli import main
from chopsky_trace.database import catalogue, migrate
from chopsky_trace.database.connect import Connection

ROOT = Path(__file__).parents[2]
DEFAULTS = "select defaclrole::regrole::text, defaclobjtype::text, defaclacl::text from pg_default_acl order by 1, 2"


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


@pytest.fixture
def filled_url(postgres_server: Server) -> Iterator[str]:
    name = f"filled_{worker_name()}"
    postgres_server.create(name, "shim", ensure_template(postgres_server))
    try:
        url = postgres_server.url(name)
        fill(url)
        yield url
    finally:
        postgres_server.drop(name)


def assert_kept(before: dict[str, dict[str, list[str]]], after: dict[str, dict[str, list[str]]], what: str) -> None:
    """What is there after has the rows that it had before."""
    for table, columns in after.items():
        for column, values in columns.items():
            assert values == before[table][column], f"{what}: {table}.{column}"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_step_goes_back_and_up_again_with_rows_in_the_tables(filled_url: str):
    with connect(filled_url) as connection:
        assert all(contents(connection)[table] for table in ("conversation_runs", "conversation_spans"))
        for step in reversed(migrate.steps()):
            before = contents(connection)
            back = migrate.rollback(connection, step.number - 1)
            assert back[-1] == step
            left = contents(connection)
            assert_kept(before, left, f"rollback/{step.file}")
            assert [applied.number for applied in migrate.migrate(connection)] == [one.number for one in reversed(back)]
            assert catalogue.dump(connection) == catalogue.snapshot(), step.file
            # Writers go on where they were.
            run = agent_turn(connection, f"after {step.number}", user_id="ann", session_id="s")
            totals = "select total_messages, total_tokens_used from public.conversation_runs where id = %s"
            assert connection.execute(totals, [run]).fetchone() == (2, 300), step.file
        assert len(migrate.rollback(connection, -1)) == len(migrate.steps())
        assert contents(connection) == {}
        migrate.migrate(connection)
    fill(filled_url, "again")
    assert_clean(filled_url)


def test_sessions_are_made_of_runs_that_were_there_before_their_table(filled_url: str):
    columns = "session_key, session_id, project, tenant_id, user_id, by_hand, created_at, last_activity_at"
    query = f"select {columns} from public.conversation_sessions order by session_key".encode()
    with connect(filled_url) as connection:
        before = connection.execute(query).fetchall()
        assert len(before) == 2
        migrate.rollback(connection, 13)
        migrate.migrate(connection)
        assert connection.execute(query).fetchall() == before
        assert_clean(filled_url)
        connection.execute("set chopsky_trace.recompute = on")
        connection.execute("delete from public.conversation_sessions")
    found = json.loads(CliRunner().invoke(main, ["check", "--json", "--database-url", filled_url]).stdout)
    missing = [one["stored"] for one in found["exceptions"] if one["check"] == "sessions"]
    assert set(missing) == {str(row[0]) for row in before}, "of each run whose session has no row"


def test_sessions_are_made_of_messages_that_were_there_before_their_table(filled_url: str):
    columns = "session_id, tenant_id, user_id, by_hand, last_activity_at"
    sessions = f"select {columns} from public.conversation_sessions order by 1, 2, 3".encode()
    with connect(filled_url) as connection:
        # Two of one name; one that has runs, too; and one that an application had put into a project.
        scopes = [("1", None, None), ("1", "acme", "ann"), ("session filled", None, "user filled"), ("2", None, "ben")]
        for scope in scopes:
            connection.execute(
                "insert into public.conversation_messages (session_id, tenant_id, user_id, role, content)"
                " values (%s, %s, %s, 'user', 'Hi')",
                scope,
            )
        connection.execute("update public.conversation_sessions set project = 'p' where session_id = '2'")
        before = connection.execute(sessions).fetchall()
        assert len(before) == 5
        migrate.rollback(connection, 13)
        migrate.migrate(connection)
        assert connection.execute(sessions).fetchall() == before
        found = connection.execute(
            "select m.session_id, m.tenant_id, m.user_id from public.conversation_messages m"
            " join public.conversation_sessions s using (session_key, session_id) where m.conversation_run_id is null"
        ).fetchall()
        assert sorted(found, key=str) == sorted(scopes, key=str)
    assert_clean(filled_url)


def assert_clean(url: str) -> None:
    result = CliRunner().invoke(main, ["check", "--json", "--database-url", url])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["checked"]["runs"] >= 4


def commands() -> list[str]:
    """The page's commands, in order."""
    page = (ROOT / "docs" / "backup.md").read_text("utf-8")
    blocks = page.split("```bash\n")[1:]
    return [block.partition("```")[0] for block in blocks]


@pytest.mark.parametrize("regime", ["shim", "legacy", "plain"])
def test_a_backup_is_restored_as_the_page_says(
    filled_url: str,
    postgres_server: Server,
    make_database: Callable[..., str],
    tmp_path: Path,
    regime: str,
):
    dump, prepare, restore = commands()
    target = make_database(regime)
    environment = os.environ | {
        "PATH": os.pathsep.join([str(postgres_server.cluster.programs), os.environ["PATH"]]),
        "SOURCE_URL": filled_url,
        "TARGET_URL": target,
    }

    def run(command: str) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    run(dump)
    assert (tmp_path / "public.dump").stat().st_mode & 0o077 == 0
    if regime == "plain":
        for line in prepare.strip().splitlines():
            words = line.split()
            assert words.pop(0) == "chopsky-trace"
            arguments = [target if word == '"${TARGET_URL:?}"' else word for word in words]
            assert CliRunner().invoke(main, arguments).exit_code == 0, line
    run(restore)
    with connect(filled_url) as source, connect(target) as restored:
        assert contents(restored) == contents(source)
        assert schema(restored) == schema(source)
        if regime == "shim":
            assert restored.execute(DEFAULTS).fetchall() == source.execute(DEFAULTS).fetchall()
        assert migrate.migrate(restored, verify=True) == []
        visible(restored)
        agent_turn(restored, "after", user_id="ann")
    assert_clean(target)


def schema(connection: Connection) -> dict[str, str]:
    """Tables, functions, triggers, policies and grants, as the catalogue has them."""
    found = catalogue.objects(catalogue.dump(connection))
    assert {"policy", "trigger", "grant", "grant of columns", "row level security"} <= {
        heading.rpartition(" public.")[0].partition(" public.")[0] for heading in found
    }
    return found


def visible(connection: Connection) -> None:
    """Row level security and grants hold: one's own rows, no cost, nothing for strangers."""
    for user, expected in (("user filled", 3), ("nobody", 0)):
        with connection.transaction(force_rollback=True):
            connection.execute("select set_config('role', 'authenticated', true)")
            connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": user})])
            count = connection.execute("select count(*) from public.conversation_runs").fetchone()
            assert count == (expected,), user
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select total_cost from public.conversation_runs")
