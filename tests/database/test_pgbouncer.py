"""Through a real PgBouncer: nothing of ours needs a session, and nothing of ours is left behind in one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
import writer_records as records
from click.testing import CliRunner
from read_rows import ingest, run, span

from chopsky_trace import ConversationStore
from chopsky_trace.cli import main
from chopsky_trace.database.connect import Connection
from chopsky_trace.server import Access, api_app
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer import Writer

Pooled = Callable[..., str]
LEFT = "select name, setting from pg_settings where source = 'session' and name not in ('application_name')"


def left_behind(url: str) -> list[Any]:
    """What whoever is lent the server connection next finds in it."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        settings = connection.execute(LEFT).fetchall()
        role = connection.execute(
            "select current_user, nullif(current_setting('request.jwt.claims', true), '')"
        ).fetchone()
        prepared = connection.execute("select name from pg_prepared_statements").fetchall()
        locks = connection.execute(
            "select 1 from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
        ).fetchall()
    return [settings, role, prepared, locks]


CLEAN = [[], ("postgres", None), [], []]


def test_what_is_left_in_a_session_would_be_seen(database_url: str, pooled: Pooled):
    url = pooled(database_url, size=1)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set statement_timeout = '5s'; set role authenticated; select pg_advisory_lock(1)")
    assert left_behind(url) != CLEAN


def test_more_writers_than_connections(
    database_url: str, pooled: Pooled, tracer_settings: Settings, tmp_path: Path, connection: Connection
):
    url = pooled(database_url, size=2)
    writers = [
        Writer(Target(url, "test"), replace(tracer_settings, data_dir=tmp_path / str(number))) for number in range(6)
    ]
    for number in range(150):
        for each, writer in enumerate(writers):
            # One run of all of them, and one of each, so that they wait for one another.
            assert writer.put(records.start(f"{each} {number}"))
            assert writer.put(records.end(f"{each} {number}"))
    assert all([writer.flush(120) for writer in writers])
    for writer in writers:
        assert writer.close(30)
        assert writer.stats()["losses"] == {}
    assert connection.execute("select count(*), count(ended_at) from public.conversation_spans").fetchone() == (
        900,
        900,
    )
    assert left_behind(url) == CLEAN


def test_the_command_line_and_the_store(fresh_database: str, pooled: Pooled, tmp_path: Path):
    url = pooled(fresh_database, size=1)

    def invoke(*arguments: str, code: int = 0) -> Any:
        environment = {"CHOPSKY_TRACE_DATABASE_URL": url, "CHOPSKY_TRACE_DATA_DIR": str(tmp_path)}
        result = CliRunner().invoke(main, [*arguments, "--json"], env=environment)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    invoke("migrate")
    assert left_behind(url) == CLEAN
    steps = {step["step"]: step for step in invoke("doctor")["steps"]}
    assert {step["state"] for step in steps.values()} == {"ok"}
    assert steps["pooler"]["detail"].startswith("transaction mode")
    invoke("seed")
    with ConversationStore(url) as store:
        made = store.create_conversation("ann", title="Dinner")
        store.add_message(made, "user", "Soup?")
        assert [row["content"] for row in store.get_messages(made)] == ["Soup?"]
    assert len(invoke("runs")["runs"]) == 6
    for command in (["check"], ["prune"], ["db", "stats"], ["costs", "on"], ["costs", "off"], ["realtime", "status"]):
        CliRunner().invoke(main, [*command, "--database-url", url])
    assert invoke("check")["exceptions"] == []
    exported = tmp_path / "all.jsonl"
    assert invoke("export", str(exported))["lines"]
    invoke("reprice", "--from", "1d", "--yes")
    invoke("erase-user", "ann", "--yes")
    invoke("unseed")
    assert left_behind(url) == CLEAN


def test_a_users_claims_end_with_the_request(
    database_url: str, pooled: Pooled, tracer_settings: Settings, connection: Connection
):
    for name in ("ann", "ben"):
        ingest(connection, span(name, name), runs=[run(name, user_id=name)])
    url = pooled(database_url, size=1)
    app = api_app(
        lambda request: Access.user({"sub": request.headers["x-user"]}), database_url=url, settings=tracer_settings
    )

    async def ask() -> list[list[str]]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            # At once, over one server connection.
            answers = await asyncio.gather(*(client.get("/runs", headers={"x-user": n}) for n in ("ann", "ben") * 10))
        assert {answer.status_code for answer in answers} == {200}
        return [[found["user_id"] for found in answer.json()["runs"]] for answer in answers]

    try:
        assert asyncio.run(ask()) == [["ann"], ["ben"]] * 10
    finally:
        app.close()
    assert left_behind(url) == CLEAN


def test_a_pooler_that_drops_everybody_loses_nothing(
    database_url: str, pooled: Pooled, tracer_settings: Settings, connection: Connection
):
    url = pooled(database_url, size=2)
    console = urlunsplit(urlsplit(url)._replace(path="/pgbouncer"))
    database = urlsplit(url).path[1:]
    writer = Writer(Target(url, "test"), replace(tracer_settings, flush_interval_s=0.0, batch_records=20))
    with psycopg.connect(console, autocommit=True) as pgbouncer:
        for number in range(400):
            assert writer.put(records.start(str(number)))
            if number % 100 == 50:
                # Whatever is under way there ends.
                pgbouncer.execute(f"kill {database}")
                pgbouncer.execute(f"resume {database}")
        assert writer.flush(120)
    assert writer.close(30)
    assert writer.stats()["losses"] == {}
    assert connection.execute("select count(*) from public.conversation_spans").fetchone() == (400,)


@pytest.mark.parametrize("size", [1, 3])
def test_doctor_tells_a_session_pooler(database_url: str, pooled: Pooled, tmp_path: Path, size: int):
    url = pooled(database_url, mode="session", size=size)
    result = CliRunner().invoke(
        main, ["doctor", "--json", "--database-url", url], env={"CHOPSKY_TRACE_DATA_DIR": str(tmp_path)}
    )
    steps = {step["step"]: step["detail"] for step in json.loads(result.stdout)["steps"]}
    assert steps["pooler"].startswith("session mode"), result.stdout
