"""Processes are killed, forked, starved: what was accepted is stored, once, in the database it was meant for."""

from __future__ import annotations

import random
import re
import signal
from pathlib import Path

import psycopg
import pytest
import writer_records as records
from crash.children import NOWHERE, Child, names, numbered, waiting
from crash.proxy import Proxy, free_port

from chopsky_trace.database import migrate
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer import Writer, journals

pytestmark = pytest.mark.crash


@pytest.fixture
def second_url(fresh_database: str) -> str:
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        migrate.migrate(connection)
    return fresh_database


@pytest.mark.parametrize("scenario", ["until_killed", "paced_until_killed"])
def test_what_was_accepted_survives_sigkill(database_url: str, tmp_path: Path, scenario: str) -> None:
    accepted = 0
    for attempt in range(4):
        child = Child(scenario, database_url, tmp_path, f"kill {attempt}", 3_000)
        got = child.kill_after(random.randint(1, 1_500))
        accepted += got
        child = Child("store_leftovers", database_url, tmp_path, f"heir {attempt}", 5)
        assert child.accepted() == 5
        stored = names(database_url)
        assert numbered(f"kill {attempt}", got) <= set(stored)
        assert len(stored) == len(set(stored))
        # One record may have been in the journal when the kill came between its write and its acknowledgement.
        assert accepted + 5 * (attempt + 1) <= len(stored) <= accepted + 6 * (attempt + 1)
    assert waiting(tmp_path) == 0


def test_sigterm_loses_nothing(database_url: str, tmp_path: Path) -> None:
    got = Child("paced_until_killed", database_url, tmp_path, "term", 5_000).kill_after(700, signal.SIGTERM)
    Child("store_leftovers", database_url, tmp_path, "heir", 1).finish()
    assert numbered("term", got) <= set(names(database_url))


def test_where_the_disk_goes_with_the_process_sigterm_waits_for_the_database(database_url: str, tmp_path: Path) -> None:
    accepted = Child("until_killed", database_url, tmp_path, "run", 3_000, K_SERVICE="kitchen").kill_after(
        3_000, signal.SIGTERM
    )
    assert accepted == 3_000
    assert sorted(names(database_url)) == sorted(numbered("run", 3_000))
    assert waiting(tmp_path) == 0


def test_two_destinations_never_mix(database_url: str, second_url: str, tmp_path: Path) -> None:
    """Both die with records in the journal; the heir of one stores its own and leaves the other's alone."""
    first = Child("until_killed", database_url, tmp_path, "first", 500).kill_after(500)
    second = Child("until_killed", second_url, tmp_path, "second", 500).kill_after(500)
    nowhere = Child("until_killed", NOWHERE, tmp_path, "nowhere", 500).kill_after(500)
    Child("store_leftovers", database_url, tmp_path, "heir", 1).finish()
    assert set(names(database_url)) == numbered("first", first) | {"heir 0"}
    assert not {name for name in names(second_url) if not name.startswith("second")}
    Child("store_leftovers", second_url, tmp_path, "heir", 1).finish()
    assert set(names(second_url)) == numbered("second", second) | {"heir 0"}
    assert [(info.records, info.served) for info in journals(Settings(data_dir=tmp_path)) if info.records] == [
        (nowhere, False)
    ]


def test_fork_after_use_delivers_all_once(database_url: str, tmp_path: Path) -> None:
    out = Child("fork", database_url, tmp_path, "f", 300).finish()
    assert sum(map(int, re.findall(r"accepted (\d+)", out))) == 5 * 300
    assert re.findall(r"(?:epoch|flushed) (\w+)", out) == ["True"] * 3
    stored = names(database_url)
    parts = ("before", "between", "after", "child 0", "child 1")
    assert set(stored) == {name for part in parts for name in numbered(f"f {part}", 300)}
    assert len(stored) == 5 * 300
    assert waiting(tmp_path) == 0


def test_a_living_child_does_not_hold_its_dead_parents_journal(database_url: str, tmp_path: Path) -> None:
    child = Child("orphan", NOWHERE, tmp_path, "o", 200)
    child.process.wait(60)
    writer = Writer(Target(NOWHERE, "test"), Settings(data_dir=tmp_path))
    try:
        assert writer._journal.adopt() == 1
        [segment] = writer._journal._adopted
        assert len(segment.read(segment.end(), 10_000, 10**9).records) == 200
    finally:
        writer._journal.release()
        child.process.communicate(timeout=60)


def test_the_database_goes_and_comes_back(database_url: str, tmp_path: Path) -> None:
    port = free_port()
    writer = Writer(Target(Proxy(database_url, port).url, "test"), Settings(data_dir=tmp_path, flush_interval_s=0.02))
    try:
        for phase in range(2):
            assert all(writer.put(records.start(f"down {phase} {n}")) for n in range(300))
            assert not writer.flush(0.5)
            assert writer.stats()["backlog_records"] == 300
            with Proxy(database_url, port):
                assert all(writer.put(records.start(f"up {phase} {n}")) for n in range(300))
                assert writer.flush(60.0)
        assert writer.stats()["losses"] == {}
    finally:
        writer.close(0.1)
    assert sorted(names(database_url)) == sorted(
        f"{state} {phase} {n}" for state in ("down", "up") for phase in range(2) for n in range(300)
    )


def test_returning_from_main_stores_everything(database_url: str, tmp_path: Path) -> None:
    child = Child("leave", database_url, tmp_path, "main", 2_000)
    assert child.accepted() == 2_000
    assert child.errors == ""
    assert set(names(database_url)) == numbered("main", 2_000)
    assert waiting(tmp_path) == 0


def test_exit_without_a_database_is_bounded_and_says_what_is_left(tmp_path: Path) -> None:
    child = Child("leave", NOWHERE, tmp_path, "main", 50, shutdown_timeout_s=0.5)
    assert child.accepted() == 50
    assert "50 records are not yet in" in child.errors
    assert waiting(tmp_path) == 50


def test_os_exit_leaves_everything_to_the_next_process(database_url: str, tmp_path: Path) -> None:
    assert Child("os_exit", database_url, tmp_path, "gone", 1_000).accepted() == 1_000
    Child("store_leftovers", database_url, tmp_path, "heir", 0).finish()
    assert set(names(database_url)) == numbered("gone", 1_000)
    assert waiting(tmp_path) == 0


def test_a_short_lived_process_stores_what_a_killed_one_left(fresh_database: str, tmp_path: Path) -> None:
    """Put before the tables were there, by a process that was killed; the next one lives for a moment only."""
    left = Child("until_killed", fresh_database, tmp_path, "left", 900).kill_after(900)
    assert waiting(tmp_path) == left
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        migrate.migrate(connection)
    assert Child("leave", fresh_database, tmp_path, "heir", 1).accepted() == 1
    assert sorted(names(fresh_database)) == sorted(numbered("left", left) | {"heir 0"})
    assert waiting(tmp_path) == 0


def test_leftovers_do_not_hold_up_an_exit_without_a_database(tmp_path: Path) -> None:
    left = Child("until_killed", NOWHERE, tmp_path, "left", 50).kill_after(50)
    child = Child("leave", NOWHERE, tmp_path, "heir", 5, shutdown_timeout_s=0.5)
    assert child.accepted() == 5
    assert "5 records are not yet in" in child.errors
    assert waiting(tmp_path) == left + 5


def test_a_folder_that_cannot_be_written_costs_nothing_but_durability(database_url: str, tmp_path: Path) -> None:
    data = tmp_path / "file"
    data.write_text("")
    child = Child("flush", database_url, data, "memory", 500)
    assert child.finish() == "accepted 500 flushed True\n"
    assert child.errors.count("cannot be written") == 1
    assert "CHOPSKY_TRACE_DATA_DIR" in child.errors
    assert set(names(database_url)) == numbered("memory", 500)


def test_eight_processes_at_once(database_url: str, tmp_path: Path) -> None:
    children = [Child("flush", database_url, tmp_path, f"p{number}", 400) for number in range(8)]
    assert [child.finish() for child in children] == ["accepted 400 flushed True\n"] * 8
    stored = names(database_url)
    assert set(stored) == {name for number in range(8) for name in numbered(f"p{number}", 400)}
    assert len(stored) == 3_200
    assert waiting(tmp_path) == 0
