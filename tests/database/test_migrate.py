"""Migrations: whole or not at all, once however many apply them, on Supabase and on plain PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from chopsky_trace.database import catalogue, migrate
from chopsky_trace.errors import MigrationError, SchemaError

MIGRATE = """
import sys, psycopg
from chopsky_trace.database import migrate
with psycopg.connect(sys.argv[1], autocommit=True, prepare_threshold=None) as connection:
    print(len(migrate.migrate(connection)))
"""
ALL = len(migrate.steps())


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


def start_migrating(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MIGRATE, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("regime", ["shim", "legacy", "plain"])
def test_migrations_make_the_same_schema_everywhere(make_database: Callable[..., str], regime: str):
    with connect(make_database(regime)) as connection:
        applied = migrate.migrate(connection)
        assert [step.number for step in applied] == list(range(ALL))
        assert catalogue.dump(connection) == catalogue.snapshot(), "the migrations changed: run `make schema`"


def test_the_role_that_migrates_is_no_superuser(fresh_database: str):
    with connect(fresh_database) as connection:
        assert connection.execute(
            "select current_user, rolsuper from pg_roles where rolname = current_user"
        ).fetchone() == (
            "postgres",
            False,
        )


def test_the_snapshot_itself_makes_the_schema(fresh_database: str):
    with connect(fresh_database) as connection:
        connection.execute(catalogue.snapshot().encode())
        # What default privileges granted is the shim's; the rest comes from the file alone.
        there, wanted = catalogue.objects(catalogue.dump(connection)), catalogue.objects(catalogue.snapshot())
        assert {k: v for k, v in there.items() if not k.startswith("grant")} == {
            k: v for k, v in wanted.items() if not k.startswith("grant")
        }


def test_migrating_again_changes_nothing(fresh_database: str):
    with connect(fresh_database) as connection:
        migrate.migrate(connection)
        assert migrate.migrate(connection) == []
        assert migrate.migrate(connection, verify=True) == []
        assert migrate.current_number(connection) == migrate.known_number()


def test_verify_applies_nothing_and_names_what_is_missing(fresh_database: str):
    with connect(fresh_database) as connection:
        assert len(migrate.migrate(connection, verify=True)) == ALL
        assert migrate.current_number(connection) is None
        migrate.migrate(connection)
        connection.execute("drop index public.idx_conversation_spans_open")
        connection.execute("alter table public.conversation_messages disable row level security")
        with pytest.raises(MigrationError) as caught:
            migrate.migrate(connection, verify=True)
        assert "index idx_conversation_spans_open" in str(caught.value)
        assert "row level security public.conversation_messages" in str(caught.value)


def test_verify_allows_what_is_made_to_be_replaced(fresh_database: str):
    with connect(fresh_database) as connection:
        migrate.migrate(connection)
        connection.execute(
            "create or replace function public.chopsky_tenant_id() returns text language sql stable set"
            " search_path = '' as $$select 'mine'$$"
        )
        connection.execute("create index users_own on public.conversation_runs (name)")
        connection.execute("grant select on public.conversation_spans to authenticated")
        assert migrate.migrate(connection, verify=True) == []


@pytest.mark.parametrize("regime", ["shim", "plain"])
def test_eight_processes_at_once_make_one_schema(make_database: Callable[..., str], regime: str):
    url = make_database(regime)
    processes = [start_migrating(url) for _ in range(8)]
    results = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert [code for *_, code in results] == [0] * 8, results
    assert sum(int(out) for out, *_ in results) == ALL
    with connect(url) as connection:
        assert catalogue.dump(connection) == catalogue.snapshot()


def test_who_waited_for_another_migrator_sees_what_it_made(fresh_database: str):
    done: list[int] = []
    with connect(fresh_database) as first, connect(fresh_database) as second:
        # It knows from now on that nothing is there.
        assert migrate.current_number(second) is None
        waiting = threading.Thread(target=lambda: done.append(len(migrate.migrate(second))))
        with first.transaction():
            first.execute("select pg_advisory_xact_lock(%s)", [migrate.LOCK])
            waiting.start()
            while not first.execute("select 1 from pg_locks where locktype = 'advisory' and not granted").fetchone():
                time.sleep(0.01)
            assert migrate._apply_next(first) is not None
        waiting.join(60)
    assert done == [ALL - 1]


@pytest.mark.crash
def test_a_kill_in_the_middle_leaves_whole_steps(make_database: Callable[..., str]):
    url = make_database("shim")
    seen: set[int] = set()
    for target in (0, 1, 3, 6):
        process = start_migrating(url)
        with connect(url) as connection:
            while process.poll() is None and (
                not is_migrating(connection) or (migrate.current_number(connection) or -1) < target - 1
            ):
                pass
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            while is_migrating(connection):
                time.sleep(0.01)
            state = migrate.status(connection)
            seen.add(len(state.applied))
            assert state.applied == tuple(range(len(state.applied)))
            assert_only_whole_steps(connection, state)
            migrate.rollback(connection, -1)
    assert len(seen) > 1, "every kill came at the same step: it was not in the middle"


def is_migrating(connection: psycopg.Connection) -> bool:
    query = (
        "select exists (select 1 from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid()"
        " and database = (select oid from pg_database where datname = current_database()))"
    )
    return connection.execute(query).fetchone() == (True,)


def assert_only_whole_steps(connection: psycopg.Connection, state: migrate.Status) -> None:
    before: set[str] = set()
    for step in migrate.steps():
        # What a step makes anew may be there from one before it.
        made = set(step.creates) - before
        before |= made
        exist = connection.execute(
            "select count(*) from (select relname from pg_class where relnamespace = 'public'::regnamespace and"
            " relkind = 'r'"
            " union select proname from pg_proc where pronamespace = 'public'::regnamespace) o where relname ="
            " any (%s)",
            [list(made)],
        ).fetchone()
        assert exist == (len(made) if step.number in state.applied else 0,), step.file


def test_a_changed_file_is_refused(fresh_database: str):
    with connect(fresh_database) as connection:
        migrate.migrate(connection)
        connection.execute("update public.chopsky_migrations set sha256 = 'otherwise' where number = 3")
        assert migrate.status(connection).changed == ("003_create_conversation_analytics.sql",)
        for verify in (False, True):
            with pytest.raises(
                MigrationError, match=r"003_create_conversation_analytics\.sql was changed after it was applied"
            ):
                migrate.migrate(connection, verify=verify)


def test_objects_that_are_not_ours_are_listed_and_left(fresh_database: str):
    with connect(fresh_database) as connection:
        connection.execute("create table public.conversation_runs (mine integer)")
        connection.execute("create function public.recompute_runs() returns integer language sql as 'select 1'")
        with pytest.raises(MigrationError) as caught:
            migrate.migrate(connection)
        assert "table public.conversation_runs" in str(caught.value)
        assert "function public.recompute_runs" in str(caught.value)
        assert connection.execute(
            "select count(*) from pg_class where relnamespace = 'public'::regnamespace"
        ).fetchone() == (1,)
        assert migrate.current_number(connection) is None


def test_each_step_goes_back_and_comes_again(fresh_database: str):
    with connect(fresh_database) as connection:
        states = [catalogue.dump(connection)]
        for step in migrate.steps():
            applied = migrate._apply_next(connection)
            assert applied == step
            states.append(catalogue.dump(connection))
        for step in reversed(migrate.steps()):
            states.pop()
            assert migrate.rollback(connection) == [step]
            assert catalogue.dump(connection) == states[-1], step.file
            if step.number:
                assert migrate._apply_next(connection) == step
                assert migrate.rollback(connection, step.number - 1) == [step]


def test_functions_go_back_and_come_again_on_a_filled_database(fresh_database: str):
    with connect(fresh_database) as connection:
        migrate.migrate(connection)
        connection.execute("insert into public.conversation_runs (id, name) values (gen_random_uuid(), 'kept')")
        connection.execute(
            "insert into public.conversation_messages (conversation_run_id, role, content, token_count)"
            " select id, 'user', 'Hello', 3 from public.conversation_runs"
        )
        tables = max(step.number for step in migrate.steps() if "create table" in step.sql)
        back = migrate.rollback(connection, tables)
        assert [step.number for step in migrate.migrate(connection)] == sorted(step.number for step in back)
        assert connection.execute(
            "select name, total_messages, total_tokens_used from public.conversation_runs"
        ).fetchone() == (
            "kept",
            1,
            3,
        )
        assert catalogue.dump(connection) == catalogue.snapshot()
        assert len(migrate.rollback(connection, -1)) == ALL
        assert connection.execute(
            "select count(*) from pg_class where relnamespace = 'public'::regnamespace"
        ).fetchone() == (0,)


def test_a_failing_step_leaves_nothing_and_says_where(fresh_database: str, monkeypatch: pytest.MonkeyPatch):
    broken = migrate.Step(ALL, "broken", "create table public.half (id integer);\nselect no_such_function();", "")
    known = migrate.steps()
    monkeypatch.setattr(migrate, "steps", lambda: (*known, broken))
    with connect(fresh_database) as connection:
        with pytest.raises(
            MigrationError, match=rf"{ALL:03d}_broken\.sql:2: function no_such_function\(\) does not exist"
        ):
            migrate.migrate(connection)
        assert migrate.current_number(connection) == ALL - 1
        assert connection.execute("select to_regclass('public.half')").fetchone() == (None,)


def test_a_newer_schema_is_a_warning(database_url: str, fresh_database: str, caplog: pytest.LogCaptureFixture):
    with connect(fresh_database) as connection:
        with pytest.raises(SchemaError, match="chopsky-trace migrate"):
            migrate.ensure(connection)
        migrate.ensure(connection, auto=True)
        migrate.ensure(connection)
        assert caplog.records == [record for record in caplog.records if record.levelname == "INFO"]
        connection.execute(
            "insert into public.chopsky_migrations (number, name, sha256) values (%s, 'of_tomorrow', '0')", [ALL]
        )
        migrate.ensure(connection)
        assert "upgrade chopsky-trace" in caplog.text
        assert migrate.status(connection).is_newer
        with pytest.raises(MigrationError, match="newer version"):
            migrate.rollback(connection)


def test_an_older_schema_is_refused_unless_it_is_the_last_release(fresh_database: str, monkeypatch: pytest.MonkeyPatch):
    with connect(fresh_database) as connection:
        migrate.migrate(connection)
        migrate.rollback(connection)
        with pytest.raises(SchemaError, match=f"at step {ALL - 2}"):
            migrate.ensure(connection)
        monkeypatch.setattr(migrate, "PREVIOUS_RELEASE", ALL - 2)
        migrate.ensure(connection)


def test_where_there_is_no_schema_there_is_nothing_to_take_back(fresh_database: str):
    with connect(fresh_database) as connection:
        assert migrate.rollback(connection) == []
        assert migrate.rollback(connection, -1) == []
