"""Connections: their settings, and errors that help and never tell a password."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import psycopg
import pytest

from chopsky_trace.database.connect import connect, is_local, parameters
from chopsky_trace.database.pool import Pool
from chopsky_trace.errors import BusyError, ConnectError, SettingsError
from chopsky_trace.settings import Settings, Target, destination_key

SECRET = "hunter-22"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken and refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_connection_suits_a_transaction_pooler(database_url: str):
    with connect(Target(database_url, "test"), Settings(), application_name="chopsky-trace test") as connection:
        assert connection.autocommit
        assert connection.prepare_threshold is None
        assert connection.info.get_parameters()["application_name"] == "chopsky-trace test"
        assert connection.execute(
            "select application_name from pg_stat_activity where pid = pg_backend_pid()"
        ).fetchone() == ("chopsky-trace test",)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("postgresql://u@h/d", "h:5432/d/u"),
        ("postgresql://u:p@H:1/d", "h:1/d/u"),
        ("postgresql://u@/d?host=/run/sock&port=7", "/run/sock:7/d/u"),
        ("postgresql://u@[::1]:9/d", "::1:9/d/u"),
        ("postgresql://u:p@a:1,b:2/d?target_session_attrs=read-write", "a:1,b:2/d/u"),
        ("postgresql://u@a,b/d", "a:5432,b:5432/d/u"),
        ("postgresql://u@/d?host=a,b&port=1,2", "a:1,b:2/d/u"),
        ("postgresql://u@/d?host=a,b&port=3", "a:3,b:3/d/u"),
        ("postgresql://postgres@db.abc.supabase.co/postgres", "supabase:abc/postgres/postgres"),
        (
            "postgresql://postgres.abc:p@aws-0-eu-west-1.pooler.supabase.com:6543/postgres",
            "supabase:abc/postgres/postgres",
        ),
    ],
)
def test_what_makes_a_destination(url: str, key: str):
    """Of several hosts one serves at a time: together they are one destination."""
    assert destination_key(url) == key


def test_a_port_that_is_none():
    with pytest.raises(SettingsError, match="port is not a number"):
        destination_key("postgresql://u@a:1,b:x/d")


def test_what_the_url_says_goes_first(database_url: str):
    target = Target(database_url + "&connect_timeout=33&keepalives_idle=7", "test")
    with connect(target, Settings(connect_timeout_s=5), application_name="x") as connection:
        given = connection.info.get_parameters()
        assert given["connect_timeout"] == "33"
        assert given["keepalives_idle"] == "7"


def test_beyond_this_machine_a_connection_is_encrypted(monkeypatch: pytest.MonkeyPatch):
    asked: list[dict[str, object]] = []

    def refuse(url: str, **arguments: object) -> None:
        import psycopg

        asked.append(arguments)
        raise psycopg.OperationalError("refused")

    # The only way to see what libpq is asked for without a server that is elsewhere.
    monkeypatch.setattr("chopsky_trace.database.connect.Impatient.connect", refuse)
    for url in (
        "postgresql://u@db.example.com/x",
        "postgresql://u@127.0.0.1/x",
        "postgresql:///x?host=/run/sock",
        "postgresql://u@db.example.com/x?sslmode=verify-full",
    ):
        with pytest.raises(ConnectError):
            connect(Target(url, "test"), Settings(), application_name="x")
    assert [given.get("sslmode") for given in asked] == ["require", None, None, None]


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("", True),
        ("localhost", True),
        ("127.0.0.9", True),
        ("::1", True),
        ("/run/x", True),
        ("db.example.com", False),
        ("localhost,db.example.com", False),
    ],
)
def test_which_hosts_are_this_machine(host: str, local: bool):
    assert is_local(host) == local


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}@127.0.0.1:CLOSED/x",
        f"postgresql://u:{SECRET}%40@127.0.0.1:CLOSED/x",
        f"postgresql://u:p@{SECRET}@127.0.0.1/x",
        f"postgresql://u:p/{SECRET}@127.0.0.1/x",
        f"postgresql://u:p#{SECRET}@127.0.0.1/x",
        f"postgresql://u:p?{SECRET}@127.0.0.1/x",
        f"postgresql://u:{SECRET}%zz@127.0.0.1/x",
        f"postgresql://u:1 {SECRET}@127.0.0.1:CLOSED/x",
        f"postgresql://u@127.0.0.1:CLOSED/x?password={SECRET}",
        f"postgresql://u@127.0.0.1:CLOSED/x?sslpassword={SECRET}",
        f"postgresql://u@127.0.0.1:CLOSED/x?nonsense={SECRET}",
    ],
)
def test_no_error_tells_the_password(url: str, closed_port: int):
    with pytest.raises(ConnectError) as caught:
        connect(Target(url.replace("CLOSED", str(closed_port)), "test"), Settings(), application_name="x")
    error: BaseException | None = caught.value
    assert "chopsky-trace doctor" in str(error)
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ if error.__suppress_context__ else error.__cause__ or error.__context__


def test_an_error_says_what_it_means(closed_port: int, postgres_server: object):
    with pytest.raises(ConnectError, match="Nothing listens at that address"):
        connect(Target(f"postgresql://u@127.0.0.1:{closed_port}/x", "test"), Settings(), application_name="x")
    with pytest.raises(ConnectError, match=r"No connection to postgresql://u:\*\*\*@127.0.0.1"):
        connect(Target(f"postgresql://u:{SECRET}@127.0.0.1:{closed_port}/x", "test"), Settings(), application_name="x")
    with pytest.raises(ConnectError, match="percent-encoded"):
        parameters("postgresql://u:p@ss@db.example.com/x")


def test_a_pool_has_no_more_than_its_places(database_url: str):
    opened: list[int] = []
    pool = Pool(
        Target(database_url, "test"), Settings(), size=1, application_name="chopsky-trace test", wait_s=0.0,
        opened=lambda connection: opened.append(connection.info.backend_pid),
    )  # fmt: skip
    with pool.connection() as first, pytest.raises(BusyError, match="All 1"), pool.connection():
        pass
    with pool.connection() as second:
        assert second is first
    assert opened == [first.info.backend_pid]
    pool.close()
    assert first.closed
    with pool.connection() as third:
        assert third is not first
    pool.close()


def test_a_pool_waits_for_a_place(database_url: str):
    pool = Pool(Target(database_url, "test"), Settings(), size=1, application_name="chopsky-trace test", wait_s=60.0)
    asking = threading.Event()
    found: list[object] = []

    def ask() -> None:
        asking.set()
        with pool.connection() as connection:
            found.append(connection)

    with pool.connection() as first:
        waiting = threading.Thread(target=ask)
        waiting.start()
        assert asking.wait(60)
        assert found == []
    waiting.join(60)
    assert found == [first]
    pool.close()


def test_a_pool_hangs_up_on_what_hangs(database_url: str, admin: psycopg.Connection):
    pool = Pool(Target(database_url, "test"), Settings(), size=2, application_name="chopsky-trace test", wait_s=0.0)
    begun = threading.Event()
    errors: list[Exception] = []
    servers: list[int] = []

    def hang() -> None:
        try:
            with pool.connection() as connection:
                servers.append(connection.info.backend_pid)
                begun.set()
                connection.execute("select pg_sleep(600)")
        except psycopg.OperationalError as error:
            errors.append(error)

    hanging = threading.Thread(target=hang)
    hanging.start()
    assert begun.wait(60)
    pool.hang_up(older_s=3600.0)
    assert hanging.is_alive()
    pool.hang_up()
    hanging.join(60)
    assert len(errors) == 1
    # The server notices only when it has something to say; until then its snapshot would keep vacuum from every table.
    admin.execute("select pg_terminate_backend(%s)", servers)
    with pool.connection() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    pool.close()
