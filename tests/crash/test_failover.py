"""Another server takes over: a URL with several hosts goes on at the one that can be written to."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from crash.children import assert_whole, numbered, obedient, soon, waiting
from crash.proxy import free_port
from fix_postgres import Server, ensure_template, run_folder, start_server, worker_name

from chopsky_trace.database.embedded import Cluster

pytestmark = pytest.mark.crash


@dataclass(frozen=True)
class Pair:
    """A primary and its standby, which has whatever the primary says is committed."""

    primary: Server
    standby: Server

    @property
    def url(self) -> str:
        places = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://postgres@{places}/app?target_session_attrs=read-write"

    def promote(self) -> None:
        with self.standby.admin() as admin:
            assert admin.execute("select pg_promote(wait_seconds => 60)").fetchone() == (True,)
            # Nobody stands by for it.
            admin.execute("alter system reset synchronous_standby_names")
            admin.execute("select pg_reload_conf()")


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    name = f"crash-{worker_name()}-{request.node.callspec.id.replace(' ', '-')}"
    primary = start_server(name)
    primary.create("app", "shim", ensure_template(primary))
    standby = stand_by(primary, f"{name}-standby")
    with primary.admin() as admin:
        # What is committed is there, too: a failover that loses commits is not for a client to mend.
        admin.execute("alter system set synchronous_standby_names = '*'")
        admin.execute("select pg_reload_conf()")
        assert soon(lambda: admin.execute("select sync_state from pg_stat_replication").fetchall() == [("sync",)]), (
            "the standby does not follow"
        )
    yield Pair(primary, standby)
    standby.cluster.stop()
    primary.cluster.stop()


def stand_by(primary: Server, name: str) -> Server:
    """A copy of the primary that follows it."""
    cluster = Cluster(primary.cluster.programs, run_folder() / name, primary.cluster.user)
    cluster.data.mkdir(mode=0o700)
    if cluster.user is not None:
        shutil.chown(cluster.data, cluster.user, cluster.user)
    found = primary.cluster.running()
    assert found is not None
    source = ["-h", str(found[0]), "-p", str(found[1]), "-U", primary.superuser]
    cluster._run("pg_basebackup", *source, "-D", str(cluster.data), "-R", "-c", "fast", "--no-sync")
    port = free_port()
    with (cluster.data / "postgresql.auto.conf").open("a") as file:
        file.write(f"port = '{port}'\n")
    cluster.start()
    return Server(cluster, primary.superuser, port)


def kill(server: Server) -> None:
    pid = int((server.cluster.data / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    assert soon(lambda: server.cluster.running() is None)


def turn_read_only(server: Server) -> None:
    """As a primary does that has been told to step down, and stays up."""
    with server.admin() as admin:
        admin.execute("alter system set default_transaction_read_only = on")
        admin.execute("select pg_reload_conf()")
        url = server.url("app")
        assert soon(lambda: is_read_only(url))


def is_read_only(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("show default_transaction_read_only").fetchone() == ("on",)


@pytest.mark.parametrize("way", ["gone", "read only"])
def test_a_standby_that_takes_over(pair: Pair, tmp_path: Path, way: str) -> None:
    child = obedient(pair.url, tmp_path)
    child.do("chain", "before", 3)
    assert child.do("flush", 60)
    child.do("chain", "under way", 20)
    (kill if way == "gone" else turn_read_only)(pair.primary)
    child.do("chain", "nobody", 3)
    assert not child.do("flush", 0.5)
    pair.promote()
    child.do("chain", "after", 3)
    assert child.do("flush", 60)
    assert child.do("stats")["losses"] == {}
    child.leave()
    expected = {"before": 3, "under way": 20, "nobody": 3, "after": 3}
    assert_whole(
        pair.standby.url("app"), chains={name for part, count in expected.items() for name in numbered(part, count)}
    )
    assert waiting(tmp_path) == 0
