"""The network is cut, falls silent, forgets: what was accepted is stored, once, when it is there again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from crash.children import assert_whole, numbered, obedient, waiting
from crash.proxy import Moment, Proxy

pytestmark = pytest.mark.crash


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with Proxy(database_url) as made:
        yield made


@pytest.mark.parametrize("moment", ["request", "half a request", "answer"])
@pytest.mark.parametrize("count", [3, 60], ids=["as JSON", "by COPY"])
def test_a_connection_cut_in_a_transaction(
    proxy: Proxy, database_url: str, tmp_path: Path, moment: Moment, count: int
) -> None:
    """Where the answer is cut off the batch is stored already, and sent again."""
    child = obedient(proxy.url, tmp_path, flush_interval_s=0.5)
    child.do("run", "before", 2)
    assert child.do("flush", 60)
    proxy.cut_batch(moment)
    child.do("run", "cut", count)
    assert proxy.was_cut.wait(60)
    assert child.do("flush", 60)
    assert child.do("stats")["losses"] == {}
    child.leave()
    assert_whole(database_url, numbered("before", 2) | numbered("cut", count))
    assert waiting(tmp_path) == 0


def test_a_network_that_falls_silent(proxy: Proxy, database_url: str, tmp_path: Path) -> None:
    """No end, no reset: nothing comes back, as behind a firewall that forgot. The chain does not wait for it."""
    child = obedient(proxy.url, tmp_path, statement_timeout_s=1)
    child.do("chain", "before", 3)
    assert child.do("flush", 60)
    proxy.swallow()
    child.do("chain", "silence", 3)
    assert not child.do("flush", 0.5)
    proxy.forward()
    assert child.do("flush", 60)
    child.leave()
    assert_whole(database_url, chains=numbered("before", 3) | numbered("silence", 3))


def test_a_connection_forgotten_in_a_transaction(proxy: Proxy, database_url: str, tmp_path: Path) -> None:
    """Nobody tells the server that its client is gone; it lets go what that held locked all the same."""
    child = obedient(proxy.url, tmp_path, statement_timeout_s=1, flush_interval_s=0.5)
    child.do("run", "before", 2)
    assert child.do("flush", 60)
    proxy.forget_batch()
    child.do("run", "forgotten", 60)
    assert proxy.was_cut.wait(60)
    assert child.do("flush", 60)
    assert child.do("stats")["losses"] == {}
    child.leave()
    assert_whole(database_url, numbered("before", 2) | numbered("forgotten", 60))
    assert waiting(tmp_path) == 0


def test_a_network_that_is_silent_from_the_beginning(proxy: Proxy, database_url: str, tmp_path: Path) -> None:
    proxy.swallow()
    child = obedient(proxy.url, tmp_path)
    child.do("run", "silence", 3)
    assert not child.do("flush", 0.5)
    proxy.forward()
    assert child.do("flush", 60)
    child.leave()
    assert_whole(database_url, numbered("silence", 3))


def test_answers_that_take_longer_than_a_statement_may(proxy: Proxy, database_url: str, tmp_path: Path) -> None:
    child = obedient(proxy.url, tmp_path, statement_timeout_s=1)
    child.do("run", "before", 1)
    assert child.do("flush", 60)
    proxy.delay(1.5)
    for part in ("one", "two"):
        child.do("run", part, 3)
        assert child.do("flush", 60)
    proxy.delay(0)
    child.leave()
    assert_whole(database_url, numbered("before", 1) | numbered("one", 3) | numbered("two", 3))


def test_a_connection_that_only_the_server_has_closed(proxy: Proxy, database_url: str, tmp_path: Path) -> None:
    child = obedient(proxy.url, tmp_path, statement_timeout_s=1)
    child.do("chain", "before", 3)
    assert child.do("flush", 60)
    proxy.half_open()
    child.do("chain", "after", 3)
    assert child.do("flush", 60)
    child.leave()
    assert_whole(database_url, chains=numbered("before", 3) | numbered("after", 3))


def test_a_writer_closed_in_the_silence_begins_again(proxy: Proxy, database_url: str, tmp_path: Path) -> None:
    """Its thread still waits for an answer, and keeps the connection that it waits on."""
    child = obedient(proxy.url, tmp_path)
    child.do("run", "before", 3)
    assert child.do("flush", 60)
    proxy.swallow()
    child.do("run", "silence", 3)
    assert not child.do("close", 0.5)
    proxy.forward()
    child.do("run", "again", 3)
    assert child.do("flush", 60)
    stats = child.do("stats")
    assert (stats["backlog_records"], stats["losses"]) == (0, {})
    child.leave()
    assert_whole(database_url, numbered("before", 3) | numbered("silence", 3) | numbered("again", 3))
    assert waiting(tmp_path) == 0


@pytest.mark.parametrize("way", ["refuse", "swallow"])
def test_an_exit_without_a_database_leaves_all_to_the_next_process(
    proxy: Proxy, database_url: str, tmp_path: Path, way: str
) -> None:
    child = obedient(proxy.url, tmp_path, shutdown_timeout_s=0.5)
    child.do("run", "before", 2)
    assert child.do("flush", 60)
    getattr(proxy, way)()
    child.do("run", "down", 3)
    child.leave()
    assert "12 records are not yet in" in child.errors
    assert waiting(tmp_path) == 12
    {"refuse": proxy.accept, "swallow": proxy.forward}[way]()
    heir = obedient(proxy.url, tmp_path)
    heir.do("run", "heir", 1)
    heir.leave()
    assert_whole(database_url, numbered("before", 2) | numbered("down", 3) | numbered("heir", 1))
    assert waiting(tmp_path) == 0
