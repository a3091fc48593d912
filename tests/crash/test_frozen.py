"""A platform stops the process for a while, or gives it little time: what was accepted is stored, once."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from crash.children import Child, assert_whole, names, numbered, obedient, soon, waiting

from chopsky_trace.database.connect import Connection

pytestmark = pytest.mark.crash
RUNS_S, STANDS_S = 0.02, 0.06
WRITERS = "select pid from pg_stat_activity where datname = %s and application_name = 'chopsky-trace writer'"


@contextmanager
def throttled(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """A quarter of the time is the process's."""
    over = threading.Event()

    def stop_and_go() -> None:
        while not over.wait(RUNS_S) and process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            over.wait(STANDS_S)
            process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=stop_and_go)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("under_way", [False, True], ids=["idle", "with records under way"])
def test_frozen_until_the_server_has_closed_the_connection(
    database_url: str, admin: Connection, tmp_path: Path, under_way: bool
) -> None:
    """As Lambda does between two requests; a pooler or firewall closes what is silent for long."""
    database = admin.info.dbname
    child = obedient(database_url, tmp_path)
    child.do("run", "before", 3)
    assert child.do("flush", 60)
    if under_way:
        child.do("run", "frozen", 60)
    child.process.send_signal(signal.SIGSTOP)
    admin.execute(f"select pg_terminate_backend(pid) from ({WRITERS}) w".encode(), [database])
    assert soon(lambda: admin.execute(WRITERS.encode(), [database]).fetchone() is None)
    child.process.send_signal(signal.SIGCONT)
    child.do("run", "thawed", 3)
    assert child.do("flush", 60)
    assert child.do("stats")["losses"] == {}
    child.leave()
    frozen = numbered("frozen", 60) if under_way else set[str]()
    assert_whole(database_url, numbered("before", 3) | frozen | numbered("thawed", 3))
    assert waiting(tmp_path) == 0


def test_throttled_to_a_quarter_and_told_to_end(database_url: str, tmp_path: Path) -> None:
    child = Child("until_killed", database_url, tmp_path, "run", 1_000, K_SERVICE="kitchen")
    with throttled(child.process):
        accepted = child.kill_after(1_000, signal.SIGTERM)
    # What the platform leaves no time for is in the journal.
    Child("store_leftovers", database_url, tmp_path, "heir", 1).finish()
    assert accepted == 1_000
    assert sorted(names(database_url)) == sorted(numbered("run", 1_000) | numbered("heir", 1))
    assert waiting(tmp_path) == 0
