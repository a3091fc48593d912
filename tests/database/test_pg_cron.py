"""The schedule with the real pg_cron, where a PostgreSQL on this machine has it (Debian's postgresql-15-cron)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from fix_postgres import ROLES, run_folder
from retained import left, turn

from chopsky_trace.database import migrate, retention
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.embedded import Cluster, ensure_server_user

PROGRAMS = [path.parent.parent / "bin" for path in Path("/usr/lib/postgresql").glob("*/lib/pg_cron.so")]


@pytest.fixture
def cron_database() -> Iterator[Connection]:
    if not PROGRAMS:
        pytest.skip("no PostgreSQL with pg_cron on this machine")
    user = ensure_server_user() if os.geteuid() == 0 else None
    cluster = Cluster(PROGRAMS[0], run_folder() / "cron", user)
    config = {
        "shared_preload_libraries": "pg_cron",
        "cron.database_name": "postgres",
        "cron.use_background_workers": "on",
        "listen_addresses": "",
        "fsync": "off",
    }
    cluster.create("supabase_admin", options=["--locale=C.UTF-8", "--no-sync"], config=config)
    cluster.start()
    try:
        url = cluster.url(user="supabase_admin")
        assert url is not None
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(ROLES.encode())
            admin.execute("create extension pg_cron; grant usage on schema cron to postgres")
            admin.execute("grant create on schema public to postgres; grant create on database postgres to postgres")
        own = cluster.url(user="postgres")
        assert own is not None
        with psycopg.connect(own, autocommit=True) as connection:
            migrate.migrate(connection)
            yield connection
    finally:
        cluster.stop()


def test_the_real_pg_cron_prunes(cron_database: Connection) -> None:
    old = turn(cron_database, "old")
    cron_database.execute("update conversation_runs set created_at = now() - interval '50 days' where id = %s", [old])
    young = turn(cron_database, "young")
    cron_database.execute("insert into retention_policies (what, keep_for) values ('runs', '30 days')")
    assert retention.schedule(cron_database, wanted=True)
    assert retention.schedule(cron_database, wanted=True)
    [(schedule, command)] = cron_database.execute("select schedule, command from cron.job").fetchall()
    assert schedule == "* * * * *"
    assert command.startswith("select public.chopsky_prune(")
    # At the next full minute.
    while not (done := cron_database.execute("select status, return_message from cron.job_run_details"
                                             " where status in ('succeeded', 'failed')").fetchall()):  # fmt: skip
        cron_database.execute("select pg_sleep(0.2)")
    assert done[0][0] == "succeeded", done
    assert left(cron_database) == {young}
    assert retention.schedule(cron_database, wanted=False)
    assert cron_database.execute("select * from cron.job").fetchall() == []
