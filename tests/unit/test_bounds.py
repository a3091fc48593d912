"""Where a journal's disk is memory, it may take only a share of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chopsky_trace.writer import bounds

MOUNTS = r"""
overlay / overlay rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
/dev/vdb /data ext4 rw 0 0
tmpfs /data/with\040space tmpfs rw 0 0
/dev/vdc /data/with\040space/disk xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "memory"),
    [
        ("/", False),
        ("/var/lib/chopsky-trace/journal", False),
        ("/dev/shm/journal", True),
        ("/dev/shmoo", False),
        ("/data/journal", False),
        ("/data/with space/journal", True),
        ("/data/with space/disk/journal", False),
    ],
)
def test_memory_is_told_by_the_mount(tmp_path: Path, folder: str, memory: bool):
    (tmp_path / "mounts").write_text(MOUNTS.lstrip())
    assert bounds.is_memory(Path(folder), tmp_path / "mounts") is memory


def test_on_cloud_run_only_a_volume_is_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("K_SERVICE", "kitchen")
    (tmp_path / "mounts").write_text(MOUNTS.lstrip())
    assert bounds.is_memory(Path("/tmp/journal"), tmp_path / "mounts")
    assert not bounds.is_memory(Path("/data/journal"), tmp_path / "mounts")


def test_the_smaller_limit_holds(tmp_path: Path):
    machine = bounds.memory_bytes([])
    assert machine is not None
    assert machine > 512 * 2**20
    for name, text in (("none", "max\n"), ("huge", "9223372036854771712\n"), ("small", "536870912\n")):
        (tmp_path / name).write_text(text)
    assert bounds.memory_bytes([tmp_path / "none", tmp_path / "missing"]) == machine
    assert bounds.memory_bytes([tmp_path / "huge"]) == machine
    assert bounds.memory_bytes([tmp_path / "none", tmp_path / "small"]) == 536_870_912


def test_a_journal_in_memory_is_bounded_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bounds, "memory_bytes", lambda: 64_000_000)
    monkeypatch.setattr(bounds, "is_memory", lambda folder: folder.name == "here")
    assert bounds.journal_bytes(tmp_path / "here", 1_000_000_000) == 8_000_000
    assert bounds.journal_bytes(tmp_path / "here", 5_000_000) == 5_000_000
    assert bounds.journal_bytes(tmp_path / "there", 1_000_000_000) == 1_000_000_000
