"""Our migrations as the Supabase CLI's files: whoever applies a step first, nobody applies it twice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from chopsky_trace.cli import main
from chopsky_trace.database import catalogue, migrate, supabase_files, supabase_ledger
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.steps import steps

# As the CLI makes it, with its first push.
CLI_LEDGER = """
create schema supabase_migrations;
create table supabase_migrations.schema_migrations (version text not null primary key, statements text[], name text);
insert into supabase_migrations.schema_migrations (version, name) values ('20250101000000', 'of_the_project');
"""
FILES = supabase_files.all_files()
ALL = len(steps())


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


def push(connection: Connection, *, record: bool = False) -> None:
    """Each file as one transaction, as the CLI does it, which then enters it into its ledger."""
    for step, text in zip(steps(), FILES.values(), strict=True):
        with connection.transaction():
            connection.execute(text.encode())
            if record:
                connection.execute(
                    "insert into supabase_migrations.schema_migrations values (%s, '{}', %s) on conflict do nothing",
                    [supabase_files.version(step), supabase_files.name(step)],
                )


def ledger(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute("select number, name, sha256 from public.chopsky_migrations order by number").fetchall()


def cli_versions(connection: Connection) -> list[str]:
    found = connection.execute("select version from supabase_migrations.schema_migrations order by version")
    return [version for (version,) in found.fetchall()]


def test_names_are_the_clis_and_follow_from_the_numbers_alone():
    matches = [re.fullmatch(r"([0-9]{14})_(.*)\.sql", file) for file in FILES]
    versions = [match[1] for match in matches if match]
    assert len(versions) == ALL
    assert versions == sorted(set(versions))
    times = [datetime.strptime(version, "%Y%m%d%H%M%S").replace(tzinfo=UTC) for version in versions]
    assert [(time - times[0]).total_seconds() for time in times] == [60 * step.number for step in steps()]
    # Released names are for ever: these stand in other people's ledgers.
    assert list(FILES)[:2] == [
        "20261101000000_chopsky_000_prepare_database.sql",
        "20261101000100_chopsky_001_create_conversation_runs.sql",
    ]


@pytest.mark.parametrize("step", steps(), ids=lambda step: step.file)
def test_no_step_ends_the_quotes_that_it_is_put_in(step: migrate.Step):
    assert "$chopsky_" not in step.sql


@pytest.mark.parametrize("regime", ["shim", "legacy", "plain"])
def test_the_files_make_the_same_schema_and_migrate_has_nothing_left(make_database: Callable[..., str], regime: str):
    with connect(make_database(regime)) as connection:
        push(connection)
        assert catalogue.dump(connection) == catalogue.snapshot()
        assert ledger(connection) == [(step.number, step.name, step.sha256) for step in steps()]
        assert migrate.migrate(connection) == []
        assert migrate.migrate(connection, verify=True) == []


def test_the_single_file_does_in_one_go(fresh_database: str):
    with connect(fresh_database) as connection:
        connection.execute(supabase_files.single_file().encode())
        assert catalogue.dump(connection) == catalogue.snapshot()
        assert migrate.migrate(connection) == []
        connection.execute(supabase_files.single_file().encode())
        assert ledger(connection) == [(step.number, step.name, step.sha256) for step in steps()]


def test_files_pushed_after_migrate_do_nothing(fresh_database: str):
    with connect(fresh_database) as connection:
        half = ALL // 2
        for _ in range(half):
            migrate._apply_next(connection)
        applied = connection.execute("select number, applied_at from public.chopsky_migrations").fetchall()
        push(connection)
        assert catalogue.dump(connection) == catalogue.snapshot()
        again = connection.execute(
            "select number, applied_at from public.chopsky_migrations where number < %s order by number", [half]
        )
        assert again.fetchall() == applied
        push(connection)
        assert len(ledger(connection)) == ALL


def test_a_file_that_cannot_be_applied_says_why_and_leaves_nothing(fresh_database: str):
    texts = list(FILES.values())
    with connect(fresh_database) as connection:
        with pytest.raises(psycopg.errors.RaiseException, match=r"001_create_conversation_runs\.sql needs the files"):
            connection.execute(texts[1].encode())
        connection.execute(texts[0].encode())
        with pytest.raises(psycopg.errors.RaiseException, match=r"002_.*\.sql needs the files before it"):
            connection.execute(texts[2].encode())
        connection.execute("create table public.conversation_runs (mine integer)")
        with pytest.raises(psycopg.errors.RaiseException, match="that are not ours: conversation_runs"):
            connection.execute(texts[1].encode())
        assert [number for number, *_ in ledger(connection)] == [0]
        connection.execute("update public.chopsky_migrations set sha256 = 'otherwise'")
        with pytest.raises(psycopg.errors.RaiseException, match=r"000_prepare_database\.sql was applied in another"):
            connection.execute(texts[0].encode())


def test_the_clis_ledger_is_followed_once_it_has_ours(fresh_database: str):
    with connect(fresh_database) as connection:
        assert supabase_ledger.look(connection).state == "absent"
        connection.execute(CLI_LEDGER)
        migrate.migrate(connection)
        # A push refuses to go on when its ledger names files that the project has not.
        assert supabase_ledger.look(connection) == supabase_ledger.LedgerState("without ours")
        assert cli_versions(connection) == ["20250101000000"]
        push(connection, record=True)
        versions = tuple(supabase_files.version(step) for step in steps())
        assert supabase_ledger.look(connection) == supabase_ledger.LedgerState("followed", versions)
        migrate.rollback(connection, ALL - 3)
        assert cli_versions(connection) == ["20250101000000", *versions[:-2]]
        migrate.migrate(connection)
        assert supabase_ledger.look(connection).versions == versions
        name, statements = connection.execute(
            "select name, statements from supabase_migrations.schema_migrations where version = %s", [versions[-1]]
        ).fetchone() or ("", [])
        assert f"{versions[-1]}_{name}.sql" == list(FILES)[-1]
        assert "".join(f"{statement};\n" for statement in statements) == list(FILES.values())[-1]
        migrate.rollback(connection, -1)
        assert cli_versions(connection) == ["20250101000000"]


def test_a_ledger_that_this_role_may_not_write_is_left(fresh_database: str, postgres_server: Any):
    with postgres_server.admin(psycopg.conninfo.conninfo_to_dict(fresh_database)["dbname"]) as admin:
        admin.execute(CLI_LEDGER)
    with connect(fresh_database) as connection:
        assert len(migrate.migrate(connection)) == ALL
        assert supabase_ledger.look(connection).state == "denied"
        assert len(migrate.rollback(connection, -1)) == ALL


def run(*arguments: str, url: str | None = None, code: int = 0) -> Any:
    environment = {"CHOPSKY_TRACE_DATABASE_URL": url or ""}
    result = CliRunner().invoke(main, [*arguments, "--json"], env=environment)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_migrate_and_rollback_say_what_the_clis_ledger_has(fresh_database: str):
    found = {"state": "absent", "versions": []}
    assert run("migrate", url=fresh_database)["supabase_ledger"] == found
    with connect(fresh_database) as connection:
        connection.execute(CLI_LEDGER)
        push(connection, record=True)
    found = run("migrate", url=fresh_database)["supabase_ledger"]
    assert (found["state"], len(found["versions"])) == ("followed", ALL)
    assert len(run("rollback", "--yes", url=fresh_database)["supabase_ledger"]["versions"]) == ALL - 1


def test_export_writes_what_is_missing_and_check_finds_it(tmp_path: Path):
    folder = tmp_path / "supabase" / "migrations"
    at = ("migrations", "export", "--to", str(folder))
    assert run(*at, "--check", code=1)["missing"] == list(FILES)
    assert not folder.exists()
    assert run(*at)["missing"] == list(FILES)
    assert {path.name: path.read_text("utf-8") for path in folder.iterdir()} == FILES
    assert run(*at, "--check")["current"] == list(FILES)

    first, second, *_ = FILES
    (folder / first).unlink()
    (folder / second).write_text("select 1;", "utf-8")
    newer = folder / f"20261231235900_chopsky_{ALL:03d}_of_tomorrow.sql"
    own = folder / "20250101000000_of_the_project.sql"
    for path in (newer, own):
        path.write_text("select 2;", "utf-8")
    found = run(*at, "--check", code=1)
    assert (found["missing"], found["changed"], found["unknown"]) == ([first], [second], [newer.name])
    run(*at)
    found = run(*at, "--check", code=1)
    assert (found["missing"], found["changed"], found["unknown"]) == ([], [], [newer.name])
    assert own.read_text("utf-8") == "select 2;"
    newer.unlink()
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    run(*at)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps


def test_export_to_a_single_file(tmp_path: Path):
    file = tmp_path / "all.sql"
    at = ("migrations", "export", "--single-file", "--to", str(file))
    assert run(*at, "--check", code=1)["state"] == "missing"
    run(*at)
    assert file.read_text("utf-8") == supabase_files.single_file()
    assert run(*at, "--check")["state"] == "current"
    file.write_text("select 1;", "utf-8")
    assert run(*at, "--check", code=1)["state"] == "changed"
    assert CliRunner().invoke(main, [*at[:-1], "-"]).stdout == supabase_files.single_file()
    assert CliRunner().invoke(main, [*at[:-1], str(tmp_path)]).exit_code == 2
