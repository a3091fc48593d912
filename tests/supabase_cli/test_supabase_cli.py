"""Supabase's own tools accept the schema: push, advisors, types."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from fix_postgres import Server
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from supabase_cli.program import LANGUAGES, TYPES, Project

from chopsky_trace.database import catalogue, migrate, supabase_files, supabase_ledger
from chopsky_trace.database.connect import Connection

FILES = list(supabase_files.all_files())
# What the advisors say and we mean, by cache_key, each with its reason. One that is not said any more fails too.
ALLOWED: dict[str, str] = {}
# Hints below a warning, by name: said of any database like this one.
ALLOWED_NAMES = {"unused_index": "nothing has read a database that was just made"}
REGIMES = ("shim", "legacy")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def make_project(
    make_database: Callable[..., str], postgres_server: Server, tmp_path: Path
) -> Callable[[str], Project]:
    def make(regime: str) -> Project:
        database = conninfo_to_dict(make_database(regime))["dbname"]
        folder = tmp_path / f"project_{database}"
        folder.mkdir()
        return Project(folder, f"{postgres_server.url(database, tcp=True)}?sslmode=disable")

    return make


def connect(project: Project) -> Connection:
    return psycopg.connect(project.url, autocommit=True, prepare_threshold=None)


def push(project: Project, *flags: str) -> list[str]:
    """The files that the CLI applied."""
    return project.ask("db", "push", *flags)["migrations"]


@pytest.mark.parametrize("regime", REGIMES)
def test_the_cli_pushes_them_and_its_advisors_find_nothing(make_project: Callable[[str], Project], regime: str):
    project = make_project(regime)
    supabase_files.write(project.migrations)
    assert push(project) == FILES
    listed = project.ask("migration", "list")["migrations"]
    assert [(entry["local"], entry["remote"]) for entry in listed] == [(file[:14], file[:14]) for file in FILES]
    with connect(project) as connection:
        assert catalogue.dump(connection) == catalogue.snapshot()
        assert migrate.migrate(connection) == []
        assert supabase_ledger.look(connection).versions == tuple(file[:14] for file in FILES)

    advise = ("db", "advisors", "--level", "info", "--fail-on", "warn")
    found = project.ask(*advise, code=1 if ALLOWED else 0)["results"]
    assert {finding["cache_key"] for finding in found if finding["level"] != "INFO"} == set(ALLOWED)
    assert {finding["name"] for finding in found if finding["level"] == "INFO"} == set(ALLOWED_NAMES)


def test_the_advisors_do_find_what_is_wrong(make_project: Callable[[str], Project]):
    project = make_project("legacy")
    with connect(project) as connection:
        connection.execute("create table public.open_to_all (id integer primary key)")
    found = project.ask("db", "advisors", "--level", "warn", "--fail-on", "warn", code=1)["results"]
    assert "rls_disabled_in_public" in {finding["name"] for finding in found}


def test_the_cli_and_migrate_apply_nothing_twice(make_project: Callable[[str], Project]):
    project = make_project("shim")
    project.migrations.mkdir(parents=True)
    (project.migrations / "20250101000000_of_the_project.sql").write_text("create table public.mine (id integer);\n")
    with connect(project) as connection:
        # Migrated before the CLI was ever here, and without our files in the project's folder.
        migrate.migrate(connection)
        assert push(project) == ["20250101000000_of_the_project.sql"]
        migrate.migrate(connection)
        assert push(project) == []
        applied = connection.execute("select number, applied_at from public.chopsky_migrations").fetchall()

        supabase_files.write(project.migrations)
        assert push(project) == FILES, "each is entered, and does nothing"
        assert connection.execute("select number, applied_at from public.chopsky_migrations").fetchall() == applied

        migrate.rollback(connection, len(FILES) - 3)
        assert push(project) == FILES[-2:]
        migrate.rollback(connection, len(FILES) - 3)
        migrate.migrate(connection)
        assert push(project) == []
        assert catalogue.objects(catalogue.snapshot()).items() <= catalogue.objects(catalogue.dump(connection)).items()


def test_a_project_with_newer_migrations_pushes_all(make_project: Callable[[str], Project]):
    project = make_project("shim")
    project.migrations.mkdir(parents=True)
    (project.migrations / "20991231000000_later.sql").write_text("create table public.mine (id integer);\n")
    push(project)
    supabase_files.write(project.migrations)
    refused = project.ask("db", "push", code=1)
    assert "--include-all" in refused["error"]["suggestion"]
    assert push(project, "--include-all") == FILES


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_shipped_types_are_current(make_project: Callable[[str], Project], language: str):
    project = make_project("shim")
    with connect(project) as connection:
        migrate.migrate(connection)
    assert (TYPES / LANGUAGES[language]).read_text("utf-8") == project.types(language), "run `make types`"


def shipped_models(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The shipped Python file, as a module of a user's project."""
    module = ModuleType("database_types")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile((TYPES / "database.types.py").read_text("utf-8"), "database.types.py", "exec"), module.__dict__)
    return module


def test_the_shipped_python_models_take_our_rows(connection: Connection, monkeypatch: pytest.MonkeyPatch):
    models: Any = shipped_models(monkeypatch)
    run = uuid4()
    connection.execute("insert into public.conversation_runs (id, user_id, tags) values (%s, 'ann', '{a,b}')", [run])
    connection.execute(
        "insert into public.conversation_messages (conversation_run_id, role, content, token_count)"
        " values (%s, 'user', 'Hello', 3)",
        [run],
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        stored = cursor.execute("select * from public.conversation_runs").fetchone()
        message = cursor.execute("select * from public.conversation_messages").fetchone()
    read = models.PublicConversationRuns.model_validate(stored)
    assert (read.id, read.user_id, read.total_tokens_used) == (run, "ann", 3)
    assert models.PublicConversationMessages.model_validate(message).conversation_run_id == run
