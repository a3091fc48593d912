"""The journal's disk is full, bounded, damaged: what is readable is stored, and every other record is counted."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crash.children import Child, findings, names, numbered, obedient, waiting
from crash.proxy import Proxy

pytestmark = pytest.mark.crash


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_files_that_may_not_grow(database_url: str, tmp_path: Path) -> None:
    """The record that no longer fits is taken back out of the file, and goes to memory whole."""
    out = Child("full_disk", database_url, tmp_path, "full", 500, segment_bytes=30_000, flush_interval_s=30).finish()
    accepted, in_memory = map(int, re.findall(r"\d+", out))
    assert accepted == 500
    assert in_memory > 0
    assert sorted(names(database_url)) == sorted(numbered("full", 500))
    assert waiting(tmp_path) == 0


def test_a_disk_that_is_full(database_url: str, small_disk: Path) -> None:
    """First the disk, then memory; at the end all of it is in the database."""
    with Proxy(database_url) as proxy:
        proxy.refuse()
        child = obedient(proxy.url, small_disk)
        assert child.do("put", "full", 3_000) == 3_000
        assert child.do("stats")["memory_records"] > 0
        proxy.accept()
        assert child.do("flush", 60)
        assert child.do("stats")["losses"] == {}
        child.leave()
        assert "cannot be written" in child.errors
    assert sorted(names(database_url)) == sorted(numbered("full", 3_000))
    assert waiting(small_disk) == 0


@pytest.mark.parametrize("bound", ["journal", "memory"])
def test_a_database_that_is_down_for_long_costs_what_is_over_the_bounds(
    database_url: str, tmp_path: Path, bound: str
) -> None:
    """Accepted and lost make up all; what is accepted is stored; neither disk nor memory grows beyond its bound."""
    data = tmp_path / "data"
    if bound == "memory":
        data.write_text("not a folder")
    with Proxy(database_url) as proxy:
        proxy.refuse()
        child = obedient(proxy.url, data, **{f"{bound}_max_bytes": 150_000})
        accepted, lost = 0, f"{bound}_full"
        for part in range(4):
            accepted += child.do("put", f"down {part}", 1_500)
        resident = child.do("memory")
        assert child.do("put", "more", 30_000) == 0
        assert child.do("memory") - resident < 30_000, "kilobytes"
        stats = child.do("stats")
        assert 0 < accepted == stats["backlog_records"]
        assert stats["losses"] == {lost: 36_000 - accepted}
        held = sum(path.stat().st_size for path in data.rglob("*.journal")) if data.is_dir() else 0
        assert held <= 150_000
        proxy.accept()
        assert child.do("flush", 60)
        # There is room again.
        assert child.do("put", "up", 10) == 10
        assert child.do("flush", 60)
        assert child.do("stats")["losses"] == {lost: 36_000 - accepted}
        child.leave()
    assert f"({lost})" in child.errors
    stored = names(database_url)
    assert len(stored) == len(set(stored)) == accepted + 10
    assert set(stored) >= numbered("up", 10)
    assert findings(database_url) == []


def flip(data: bytearray) -> int:
    """A byte in the middle of a record: that record is lost."""
    data[data.index(b"run 50") + 4] ^= 0xFF
    return 1


def flip_two(data: bytearray) -> int:
    """Two records that follow one another."""
    for name in (b"run 50", b"run 51"):
        data[data.index(name) + 4] ^= 0xFF
    return 2


def flip_length(data: bytearray) -> int:
    """A byte of a record's length: where the next one begins must be found out."""
    data[data.rindex(b"\x01", 0, data.index(b"run 50")) + 2] ^= 0xFF
    return 1


def cut(data: bytearray) -> int:
    """The last record is cut off in its middle."""
    del data[-50:]
    return 1


def zero(data: bytearray) -> int:
    """A block of the disk reads as zeros: how many records it held, nothing tells any more."""
    middle = data.index(b"run 50")
    data[middle : middle + 4_096] = bytes(4_096)
    return -1


@pytest.mark.parametrize("damage", [flip, flip_two, flip_length, cut, zero], ids=lambda damage: damage.__name__)
def test_a_damaged_journal(database_url: str, tmp_path: Path, damage: Callable[[bytearray], int]) -> None:
    """Left by a killed process, damaged, adopted by the next one."""
    with Proxy(database_url) as proxy:
        proxy.refuse()
        assert Child("until_killed", proxy.url, tmp_path, "run", 200).kill_after(200) == 200
        proxy.accept()
        [path] = tmp_path.rglob("*.journal")
        data = bytearray(path.read_bytes())
        lost = damage(data)
        path.write_bytes(data)
        heir = obedient(proxy.url, tmp_path)
        assert heir.do("put", "heir", 1) == 1
        heir.do("store_all")
        losses = heir.do("stats")["losses"]
        heir.leave()
    stored = names(database_url)
    assert len(stored) == len(set(stored))
    assert set(stored) <= numbered("run", 200) | {"heir 0"}
    if lost > 0:
        assert losses == {"journal_corrupt": lost}
        assert len(stored) == 201 - lost
    else:
        # The block held a dozen records at most; the rest is there, before it and after it.
        assert losses["journal_corrupt"] >= 1
        assert {"run 0", "run 49", "run 199", "heir 0"} <= set(stored)
        assert len(stored) > 201 - 4_096 // 200
    assert "journal_corrupt" in heir.errors
    assert waiting(tmp_path) == 0
