"""The journal: what is appended is read back, in order, whole, bounded, and only by its owner."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer import Writer, journals, segments
from chopsky_trace.writer.journal import Journal
from chopsky_trace.writer.losses import Losses
from chopsky_trace.writer.segments import HEADER, Segment, framed

TARGET = Target("postgresql://reader:s3cret@db.example/app", "test")
BIG = 2**60


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def make(configured: Settings) -> Journal:
    folder = configured.data_path() / "journal" / TARGET.folder(configured)
    return Journal(folder, TARGET.shown, configured, Losses())


def lost(journal: Journal) -> dict[str, int]:
    return journal._losses.counts()


def take_all(journal: Journal, at_most: int = 1_000) -> list[bytes]:
    """Reads and commits everything, as the worker does."""
    records: list[bytes] = []
    while (found := journal.next_segment()) is not None:
        segment, end = found
        chunk = segment.read(end, at_most, BIG)
        if chunk.corrupt_until is not None:
            journal.commit(segment, chunk.corrupt_until, 0)
            continue
        if not chunk.records:
            break
        records += chunk.records
        journal.commit(segment, chunk.ends[-1], len(chunk.records))
    return records


def only_file(journal: Journal, ending: str = ".journal") -> Path:
    [path] = journal.folder.glob(f"*{ending}")
    return path


def abandon(journal: Journal) -> None:
    """Lets go of the files as the death of the process does."""
    for segment in journal._own:
        segment.release()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(st.binary(max_size=300), max_size=40),
    segment_bytes=st.integers(min_value=20, max_value=2_000),
    at_most=st.integers(min_value=1, max_value=7),
    max_bytes=st.integers(min_value=1, max_value=1_000),
    block_bytes=st.integers(min_value=1, max_value=1_000),
)
def test_what_is_appended_is_read_back_in_order(
    tmp_path: Path, records: list[bytes], segment_bytes: int, at_most: int, max_bytes: int, block_bytes: int
) -> None:
    journal = make(Settings(data_dir=tmp_path, segment_bytes=segment_bytes))
    assert all(journal.append(record) for record in records)
    read: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "BLOCK_BYTES", block_bytes)
        while (found := journal.next_segment()) is not None:
            chunk = found[0].read(found[1], at_most, max_bytes)
            assert 1 <= len(chunk.records) <= at_most
            read += chunk.records
            journal.commit(found[0], chunk.ends[-1], len(chunk.records))
    assert read == records
    journal.release()
    assert not list(journal.folder.glob("*.journal"))


def test_a_record_larger_than_a_segment_or_a_batch_goes_through(configured: Settings) -> None:
    journal = make(replace(configured, segment_bytes=1_000))
    big = os.urandom(300_000)
    assert journal.append(b"before")
    assert journal.append(big)
    assert journal.append(b"after")
    found = journal.next_segment()
    assert found is not None
    assert take_all(journal) == [b"before", big, b"after"]


def test_only_the_owner_may_look(configured: Settings) -> None:
    old = os.umask(0)
    try:
        journal = make(configured)
        journal.append(b"x")
        segment, end = journal.next_segment() or pytest.fail("nothing to read")
        segment.commit(end)
    finally:
        os.umask(old)
    assert stat.S_IMODE(journal.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(journal.folder.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in journal.folder.iterdir()} == {0o600}
    assert {path.suffix for path in journal.folder.iterdir()} == {".journal", ".offset", ""}


def test_a_folder_made_too_wide_is_narrowed(configured: Settings) -> None:
    journal = make(configured)
    journal.folder.mkdir(parents=True, mode=0o777)
    journal.folder.chmod(0o777)
    journal.append(b"x")
    assert stat.S_IMODE(journal.folder.stat().st_mode) == 0o700


def test_the_dead_owners_records_are_adopted_in_order_from_where_they_were_committed(configured: Settings) -> None:
    dead = make(replace(configured, segment_bytes=60))
    for number in range(20):
        dead.append(b"record %d" % number)
    segment, end = dead.next_segment() or pytest.fail("nothing to read")
    chunk = segment.read(end, 1, BIG)
    segment.commit(chunk.ends[0])
    abandon(dead)

    heir = make(configured)
    heir.append(b"own")
    assert heir.adopt() > 1
    assert heir.adopt() == 0
    records = take_all(heir)
    assert [r for r in records if r != b"own"] == [b"record %d" % number for number in range(1, 20)]
    assert b"own" in records
    heir.release()
    assert {path.name for path in heir.folder.iterdir()} == {"destination"}


def test_a_living_owners_records_are_not_adopted(configured: Settings) -> None:
    living = make(replace(configured, segment_bytes=40))
    for number in range(5):
        living.append(b"record %d" % number)
    other = make(configured)
    assert other.adopt() == 0
    assert len(take_all(living)) == 5


def test_a_torn_tail_costs_only_itself(configured: Settings) -> None:
    dead = make(configured)
    for number in range(3):
        dead.append(b"record %d" % number)
    path = only_file(dead)
    abandon(dead)
    with path.open("ab") as file:
        file.write(framed(b"x" * 100)[:50])
    heir = make(configured)
    assert heir.adopt() == 1
    assert take_all(heir) == [b"record 0", b"record 1", b"record 2"]
    assert not list(heir.folder.glob("*.journal"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 5 * (HEADER.size + 8) - 1), value=st.integers(1, 255))
def test_a_damaged_byte_costs_its_record_and_nothing_before_it(tmp_path: Path, place: int, value: int) -> None:
    dead = make(Settings(data_dir=tmp_path))
    sent = [b"record %d" % number for number in range(5)]
    for record in sent:
        dead.append(record)
    path = only_file(dead)
    abandon(dead)
    data = bytearray(path.read_bytes())
    data[place] ^= value
    path.write_bytes(data)
    heir = make(Settings(data_dir=tmp_path))
    heir.adopt()
    records = take_all(heir)
    hit = place // (HEADER.size + 8)
    assert records[:hit] == sent[:hit]
    assert sent[hit] not in records
    assert set(records) < set(sent)
    if place % (HEADER.size + 8) >= HEADER.size:
        assert len(records) == 4


def test_the_journal_is_bounded_and_counts_what_it_refuses(configured: Settings) -> None:
    journal = make(replace(configured, journal_max_bytes=5_000, segment_bytes=1_000))
    results = [journal.append(b"x" * 100) for _ in range(100)]
    accepted = sum(results)
    assert 40 <= accepted <= 45
    assert lost(journal) == {"journal_full": 100 - accepted}
    assert sum(path.stat().st_size for path in journal.folder.glob("*.journal")) <= 5_000
    assert len(take_all(journal)) == accepted
    time.sleep(0.06)
    assert journal.append(b"room again")


def test_where_no_file_can_be_written_bounded_memory_takes_over(configured: Settings) -> None:
    configured.data_path().write_text("not a folder")
    journal = make(replace(configured, memory_max_bytes=1_000))
    results = [journal.append(b"x" * 100) for _ in range(20)]
    assert results == [True] * 10 + [False] * 10
    assert lost(journal) == {"memory_full": 10}
    assert journal.in_memory() == 10

    configured.data_path().unlink()
    journal._memory_until = 0.0
    assert journal.append(b"on disk again")
    assert take_all(journal, 3) == [b"x" * 100] * 10 + [b"on disk again"]


def test_what_memory_holds_goes_to_disk_at_the_end_if_it_can(configured: Settings) -> None:
    configured.data_path().write_text("not a folder")
    journal = make(configured)
    assert journal.append(b"kept")
    configured.data_path().unlink()
    journal.release()
    assert lost(journal) == {}
    heir = make(configured)
    heir.adopt()
    assert take_all(heir) == [b"kept"]


def test_a_short_write_is_taken_back(configured: Settings) -> None:
    journal = make(configured)
    assert journal.append(b"first")
    path = only_file(journal)
    size = path.stat().st_size
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # The kernel writes what fits and no more, as a full disk does.
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
        assert journal.append(b"y" * 500)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.stat().st_size == size
    assert journal.in_memory() == 1
    assert take_all(journal) == [b"first", b"y" * 500]


def test_an_append_may_interrupt_an_append(configured: Settings) -> None:
    """As a finaliser or a signal's handler does: no deadlock, nothing lost, also while a new file is opened."""
    journal = make(replace(configured, segment_bytes=500))
    inner: list[bool] = []

    def interrupt(*_: object) -> None:
        inner.append(journal.append(b"inner"))

    old = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        outer = 0
        while len(inner) < 50:
            outer += journal.append(b"outer")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    records = take_all(journal)
    assert records.count(b"outer") == outer
    assert records.count(b"inner") == sum(inner)


def test_threads_lose_and_double_nothing(configured: Settings) -> None:
    journal = make(replace(configured, segment_bytes=20_000))

    def work(name: int) -> None:
        for number in range(2_000):
            assert journal.append(b"%d %d" % (name, number))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    seen: list[bytes] = []
    while any(thread.is_alive() for thread in threads):
        seen += take_all(journal)
    seen += take_all(journal)
    for name in range(4):
        assert [r for r in seen if r.startswith(b"%d " % name)] == [b"%d %d" % (name, n) for n in range(2_000)]


def test_the_settled_mark_counts_what_was_before_it_only(configured: Settings) -> None:
    journal = make(replace(configured, segment_bytes=50))
    assert journal.settled_to(journal.mark())
    for number in range(5):
        journal.append(b"record %d" % number)
    mark = journal.mark()
    journal.append(b"later")
    for left in range(5, 0, -1):
        assert not journal.settled_to(mark), left
        segment, end = journal.next_segment() or pytest.fail("nothing to read")
        chunk = segment.read(end, 1, BIG)
        journal.commit(segment, chunk.ends[0], 1)
    assert journal.settled_to(mark)
    assert not journal.settled_to(journal.mark())


def test_an_idle_journal_keeps_no_content(configured: Settings) -> None:
    journal = make(configured)
    journal.append(b"content")
    journal.retire()
    assert only_file(journal).stat().st_size > 0
    take_all(journal)
    journal.retire()
    assert {path.name for path in journal.folder.iterdir()} == {"destination"}
    assert journal.append(b"more")
    assert take_all(journal) == [b"more"]


def test_folders_tell_what_they_are_for_and_whether_somebody_serves_them(configured: Settings) -> None:
    assert journals(configured) == []
    journal = make(configured)
    for _ in range(3):
        journal.append(b"x" * 10)
    [info] = journals(configured)
    assert (info.folder, info.records, info.bytes, info.served) == (journal.folder, 3, 3 * (HEADER.size + 10), True)
    assert "db.example" in info.destination
    assert "s3cret" not in info.destination
    journal.release()
    [info] = journals(configured)
    assert (info.records, info.served) == (3, False)


def test_put_never_raises(configured: Settings, caplog: pytest.LogCaptureFixture) -> None:
    writer = Writer(TARGET, configured)
    writer.put("text, not bytes")  # type: ignore[arg-type]  # what a broken source might do
    assert writer.stats()["losses"] == {"put_failed": 1}
    writer.lost("unreadable", 3)
    assert writer.close(0.1)
    assert writer.stats()["losses"] == {"put_failed": 1, "unreadable": 3}
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_two_destinations_have_two_folders(configured: Settings) -> None:
    one = Writer(Target("postgresql://reader:a@db.example/app", "x"), configured)
    same = Writer(Target("postgresql://reader:b@db.example/app", "y"), configured)
    other = Writer(Target("postgresql://reader:a@db.example/app2", "x"), configured)
    folders = [Path(writer.stats()["journal"]) for writer in (one, same, other)]
    assert folders[0] == folders[1] != folders[2]


def test_a_segment_is_a_segment(configured: Settings) -> None:
    """Memory and file segments keep the same contract."""
    for broken in (False, True):
        if broken:
            (configured.data_path().parent / "file").write_text("")
            configured = replace(configured, data_dir=configured.data_path().parent / "file")
        journal = make(configured)
        for number in range(4):
            assert journal.append(b"%d" % number)
        segment: Segment
        segment, end = journal.next_segment() or pytest.fail("nothing to read")
        chunk = segment.read(end, 3, BIG)
        assert chunk.records == [b"0", b"1", b"2"]
        journal.commit(segment, chunk.ends[1], 2)
        assert segment.read(end, 3, BIG).records == [b"2", b"3"]
        assert len(segment.read(end, 3, 1).records) == 1
