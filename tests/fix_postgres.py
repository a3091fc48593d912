"""A real PostgreSQL for the tests, started by the tests.

One server serves all xdist workers of a run. It looks like Supabase (the `shim`): the superuser is supabase_admin,
`postgres` is not one, and the API's roles, the schema auth with its functions and the default privileges are there.
A second, plain server is started only for tests that ask for it.

CHOPSKY_TEST_POSTGRES_BIN=/usr/lib/postgresql/15/bin takes other server programs than the embedded wheel's.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from chopsky_trace.database import migrate
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.embedded import Cluster, ensure_server_user, find_programs, reachable_programs

RUN_FOLDER = "CHOPSKY_TEST_RUN_FOLDER"
PROGRAMS = "CHOPSKY_TEST_POSTGRES_BIN"
Regime = Literal["shim", "legacy", "plain"]
"""shim: Supabase as it is today. legacy: as it was before its default privileges were withdrawn. plain: no Supabase."""

CONFIG = {
    # Nothing here outlives the run: durability would only cost time.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "120",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    "timezone": "UTC",
}

# Run once in a new server, as the superuser.
ROLES = """
create role postgres login createdb createrole replication bypassrls;
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
create role supabase_auth_admin nologin noinherit createrole;
create role supabase_realtime_admin nologin noinherit;
grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to postgres with admin option;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role postgres set search_path = '"\\$user"', 'public', 'extensions';
"""

# Run in each database that is to look like Supabase, as the superuser.
SHIM = """
grant usage, create on schema public to postgres;
grant usage on schema public to anon, authenticated, service_role;
create schema extensions;
grant usage on schema extensions to postgres, anon, authenticated, service_role;
create schema auth;
grant usage on schema auth to postgres, anon, authenticated, service_role, supabase_auth_admin;
create table auth.users (
    id uuid primary key, aud text, role text, email text, is_anonymous boolean not null default false,
    is_sso_user boolean not null default false, raw_app_meta_data jsonb, raw_user_meta_data jsonb,
    deleted_at timestamptz, created_at timestamptz, updated_at timestamptz
);
alter table auth.users owner to supabase_auth_admin;
alter table auth.users enable row level security;
grant all on table auth.users to postgres;
create function auth.jwt() returns jsonb language sql stable as $$
    select coalesce(nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), ''))::jsonb
$$;
create function auth.uid() returns uuid language sql stable as $$
    select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid
$$;
create function auth.role() returns text language sql stable as $$
    select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'))::text
$$;
create function auth.email() returns text language sql stable as $$
    select coalesce(nullif(current_setting('request.jwt.claim.email', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'))::text
$$;
alter function auth.jwt() owner to supabase_auth_admin;
alter function auth.uid() owner to supabase_auth_admin;
alter function auth.role() owner to supabase_auth_admin;
alter function auth.email() owner to supabase_auth_admin;
alter default privileges for role postgres in schema public
    grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on functions to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on sequences to postgres, anon, authenticated, service_role;
create publication supabase_realtime;
alter publication supabase_realtime owner to postgres;
"""
# Supabase's own SQL of 2026: it leaves TRUNCATE and more on tables, and functions to PUBLIC.
WITHDRAWN = """
alter default privileges for role postgres in schema public
    revoke select, insert, update, delete on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    revoke usage, select on sequences from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    revoke execute on functions from anon, authenticated, service_role;
"""


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL of the tests."""

    cluster: Cluster
    superuser: str
    port: int

    def url(self, database: str, user: str = "postgres", *, tcp: bool = False) -> str:
        """A URL over the socket, or over TCP on the loopback address (for what stands between client and server)."""
        if tcp:
            return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"
        url = self.cluster.url(database, user)
        assert url is not None, f"the tests' server ended; its log is {self.cluster.data}/server.log"
        return url

    def admin(self, database: str = "postgres") -> Connection:
        """A superuser's connection."""
        return psycopg.connect(self.url(database, self.superuser), autocommit=True)

    def create(self, name: str, regime: Regime, template: str | None = None) -> None:
        """Make a database that the role postgres owns: empty, or a copy of a template."""
        with self.admin() as admin:
            admin.execute(
                sql.SQL("create database {} owner postgres template {} strategy wal_log").format(
                    sql.Identifier(name), sql.Identifier(template or "template1")
                )
            )
        if template is None and regime != "plain":
            with self.admin(name) as admin:
                admin.execute((SHIM + ("" if regime == "legacy" else WITHDRAWN)).encode())

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected."""
        with self.admin() as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def pytest_configure(config: pytest.Config) -> None:
    # The first process of a run makes the folder that its workers share.
    if os.environ.get("PYTEST_XDIST_WORKER") is None:
        folder = Path(tempfile.mkdtemp(prefix="chopsky-test-"))
        folder.chmod(0o711)
        os.environ[RUN_FOLDER] = str(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    if os.environ.get("PYTEST_XDIST_WORKER") is None and (text := os.environ.pop(RUN_FOLDER, None)):
        folder = Path(text)
        for data in folder.glob("*/PG_VERSION"):
            _cluster(folder, data.parent.name).stop()
        shutil.rmtree(folder, ignore_errors=True)


def run_folder() -> Path:
    """The folder that the workers of this run share."""
    return Path(os.environ[RUN_FOLDER])


def _cluster(folder: Path, name: str) -> Cluster:
    given = os.environ.get(PROGRAMS)
    programs, user = Path(given) if given else find_programs(), None
    if os.geteuid() == 0:
        user = ensure_server_user()
        if not given:
            programs = reachable_programs(programs, folder)
    return Cluster(programs, folder / name, user)


def start_server(name: str) -> Server:
    """The run's server of that name, started by whichever worker needs it first.

    Args:
        name: supabase, or any other that looks like it; plain; logical. One called crash-... commits durably.
    """
    folder = run_folder()
    superuser = "postgres" if name == "plain" else "supabase_admin"
    with locked(folder / "lock"):
        cluster = _cluster(folder, name)
        port_file = folder / f"{name}.port"
        if cluster.running() is None:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            config = CONFIG | {"listen_addresses": "127.0.0.1", "port": str(port)}
            if name == "logical":
                # What is committed is in the stream at once.
                config |= {"wal_level": "logical", "synchronous_commit": "on"}
                config["shared_preload_libraries"] = "pg_stat_statements"
            elif name.startswith("crash-"):
                # What it has said is stored is stored when it is killed.
                config |= {"synchronous_commit": "on"}
            cluster.create(superuser, options=["--locale=C.UTF-8", "--no-sync"], config=config)
            cluster.start()
            port_file.write_text(str(port))
            if name != "plain":
                with psycopg.connect(cluster.url(user=superuser) or "", autocommit=True) as admin:
                    admin.execute(ROLES.encode())
        return Server(cluster, superuser, int(port_file.read_text()))


def ensure_template(server: Server) -> str:
    """A database of the shim that `postgres` migrated, to be copied."""
    with locked(run_folder() / "template-lock"):
        with server.admin() as admin:
            found = admin.execute("select 1 from pg_database where datname = 'migrated'").fetchone()
        if not found:
            server.create("migrating", "shim")
            with psycopg.connect(server.url("migrating"), autocommit=True) as connection:
                migrate.migrate(connection)
            with server.admin() as admin:
                admin.execute("alter database migrating rename to migrated")
    return "migrated"


def worker_name() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


@pytest.fixture(scope="session")
def postgres_server() -> Server:
    """The server that looks like Supabase."""
    return start_server("supabase")


@pytest.fixture(scope="session")
def plain_server() -> Server:
    """A server without anything of Supabase's; its superuser is postgres."""
    return start_server("plain")


@pytest.fixture(scope="session")
def logical_server() -> Server:
    """One that looks like Supabase, counts statements and can be read from as a stream.

    A server of its own, for a slot waits for every transaction that is under way anywhere in it.
    """
    return start_server("logical")


@pytest.fixture(scope="session")
def worker_database(postgres_server: Server) -> str:
    """Name of this worker's own migrated database."""
    name = f"worker_{worker_name()}"
    postgres_server.create(name, "shim", ensure_template(postgres_server))
    return name


@pytest.fixture
def database_url(postgres_server: Server, worker_database: str) -> str:
    """A migrated, empty database that looks like Supabase, as its role postgres (not a superuser)."""
    with postgres_server.admin(worker_database) as admin:
        tables = admin.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname in ('public', 'auth') and tablename <> 'chopsky_migrations'"
        ).fetchall()
        # Without triggers and foreign keys: any order will do.
        admin.execute(
            f"set session_replication_role = replica; {' '.join(f'delete from {name};' for (name,) in tables)}".encode()
        )
    return postgres_server.url(worker_database)


@pytest.fixture
def database_tcp_url(database_url: str, postgres_server: Server, worker_database: str) -> str:
    """The same database over TCP."""
    return postgres_server.url(worker_database, tcp=True)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A connection to `database_url`, in autocommit mode."""
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as connected:
        yield connected


@pytest.fixture
def admin(database_url: str, postgres_server: Server, worker_database: str) -> Iterator[Connection]:
    """A superuser's connection to the same database."""
    with postgres_server.admin(worker_database) as connected:
        yield connected


@pytest.fixture
def make_database(request: pytest.FixtureRequest) -> Iterator[Callable[[Regime], str]]:
    """Makes empty databases without our schema, in any regime; returns the URL of the role postgres."""
    made: list[tuple[Server, str]] = []

    def make(regime: Regime = "shim") -> str:
        server: Server = request.getfixturevalue("plain_server" if regime == "plain" else "postgres_server")
        name = f"fresh_{worker_name()}_{len(made)}"
        server.drop(name)
        server.create(name, regime)
        made.append((server, name))
        return server.url(name)

    yield make
    for server, name in made:
        server.drop(name)


@pytest.fixture
def fresh_database(make_database: Callable[[Regime], str]) -> str:
    """An empty database that looks like Supabase, without our schema."""
    return make_database("shim")


def as_user(url: str, user: str) -> str:
    """The same address for another role."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}"))
