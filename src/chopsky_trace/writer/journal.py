"""The on-disk queue of one destination: what is in it survives the process.

A folder per destination, append-only segment files of each process's own in it. The journal is the queue: the worker
reads records back from the files, there is no second copy in memory.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from os import write
from pathlib import Path
from typing import Protocol
from zlib import crc32

from chopsky_trace.settings import Settings
from chopsky_trace.writer.bounds import journal_bytes
from chopsky_trace.writer.folders import attend, folder_bytes, make_folder, segment_files
from chopsky_trace.writer.losses import Losses
from chopsky_trace.writer.segments import (
    CHECKED_BYTES,
    FORMAT,
    HEADER,
    SUFFIX,
    FileSegment,
    MemorySegment,
    Segment,
    framed,
)

HEADER_BYTES = HEADER.size
pack = HEADER.pack

RETRY_FILES_S = 5.0
"""How long memory is used before the folder is tried again."""
RETRY_FULL_S = 0.05
"""How long a full journal is taken to be full: looking costs more than losing a record should."""
ROLL_TRIES = 20


class Reader(Protocol):
    """Who takes the records out again."""

    idle: bool
    """Whether the next record must wake it."""


class Journal:
    """Records of one process for one destination, and those that dead processes left for it."""

    def __init__(
        self,
        folder: Path,
        destination: str,
        settings: Settings,
        losses: Losses,
        rouse: Callable[[], None] = lambda: None,
    ) -> None:
        """`rouse` is called after each record that finds no reader, or an idle one."""
        self.reader: Reader | None = None
        self._rouse = rouse
        self.folder = folder
        self.destination = destination
        self.accepted = 0
        self.settled = 0
        self.max_bytes = journal_bytes(folder, settings.journal_max_bytes)
        """Most bytes on disk; less than what is set where the disk is memory."""
        self._settings = settings
        self._losses = losses
        self._presence = -1
        self._write = self._write_through if settings.journal_fsync else write
        self._forget()

    def _forget(self) -> None:
        # Re-entrant: a finaliser or signal handler may append while this thread is appending.
        self._lock = threading.RLock()
        self._owner = _new_owner()
        self._number = 0
        self._fd = -1
        # Bytes that the open file may still take; below 0 also where no file is open, so that one comparison tells.
        self._room = -1
        self._busy = False
        self._nested: list[bytes] = []
        self._catches_up = False
        self._memory: MemorySegment | None = None
        self._memory_until = 0.0
        self._full_until = 0.0
        self._own: list[Segment] = []
        self._adopted: list[FileSegment] = []
        self._adopted_turn = False

    # On the application's thread.

    def append(self, record: bytes) -> bool:
        """Accepts a record (one JSON object, redacted and limited). Never raises, never waits for the network.

        True: it is in the file by one write, or in bounded memory where that cannot be written. False: every bound is
        reached; the loss is counted.
        """
        # `framed`, without the call, and everything in this one function: it runs twice for every callback run.
        try:
            size = len(record)
            frame = (
                pack(FORMAT, size, crc32(record if size <= CHECKED_BYTES else record[:CHECKED_BYTES], size)) + record
            )
            size += HEADER_BYTES
            with self._lock:
                room = self._room - size
                if room < 0:
                    accepted = self._append_slowly(record, frame)
                else:
                    self._room = room
                    try:
                        written = self._write(self._fd, frame)
                        if written == size:
                            self.accepted += 1
                            accepted = True
                        else:
                            accepted = self._refused(record, OSError("the disk is full"), written)
                    except OSError as error:
                        accepted = self._refused(record, error, 0)
            reader = self.reader
            if (reader is None or reader.idle) and not self._catches_up:
                self._rouse()
            return accepted
        except Exception:
            self._losses.count("put_failed")
            return False

    def append_all(self, records: Sequence[bytes]) -> bool:
        """Accepts many records, by one write where the open file has room for them. Never raises.

        Whether each is accepted, as `append` says of one.
        """
        try:
            frames = b"".join([framed(record) for record in records])
            with self._lock:
                if len(frames) <= self._room:
                    self._room -= len(frames)
                    written = 0
                    with contextlib.suppress(OSError):
                        written = self._write(self._fd, frames)
                    if written == len(frames):
                        self.accepted += len(records)
                        records = ()
                    elif written:
                        os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
                # What is left goes one by one, to wherever there is room.
                accepted = all([self.append(record) for record in records])
            reader = self.reader
            if reader is None or reader.idle:
                self._rouse()
            return accepted
        except Exception:
            self._losses.count("put_failed", len(records))
            return False

    def _write_through(self, fd: int, frame: bytes) -> int:
        """Writes to the disk itself, not only to the system's cache."""
        written = write(fd, frame)
        try:
            os.fsync(fd)
        except OSError as error:
            self._losses.note("fsync", f"The journal {self.folder} cannot be synced to disk: {error.strerror}")
        return written

    def _append_slowly(self, record: bytes, frame: bytes) -> bool:
        if self._busy:
            # Called by a finaliser out of this very method: its turn comes when the outer call is done.
            self._nested.append(record)
            return True
        self._busy = True
        try:
            accepted = self._append_elsewhere(record, frame)
        finally:
            self._busy = False
        while self._nested:
            # The outer call wakes the reader, when it has let go of the lock.
            self._catches_up = True
            try:
                self.append(self._nested.pop(0))
            finally:
                self._catches_up = False
        return accepted

    def _append_elsewhere(self, record: bytes, frame: bytes) -> bool:
        now = time.monotonic()
        if self._memory is not None and now < self._memory_until:
            return self._append_to_memory(record)
        if now < self._full_until:
            return self._lost_to_bound()
        self._close_active()
        try:
            room = self._open_segment(len(frame))
            if room < len(frame):
                self._full_until = now + RETRY_FULL_S
                return self._lost_to_bound()
            written = self._write(self._fd, frame)
        except OSError as error:
            return self._refused(record, error, 0)
        if written != len(frame):
            return self._refused(record, OSError("the disk is full"), written)
        self._room = room - written
        self._losses.forget("memory")
        self.accepted += 1
        return True

    def _lost_to_bound(self) -> bool:
        self._losses.count(
            "journal_full",
            remedy=(
                f"The journal {self.folder} has reached journal_max_bytes: is the database reachable? "
                "Raise CHOPSKY_TRACE_JOURNAL_MAX_BYTES to keep more."
            ),
        )
        return False

    def _refused(self, record: bytes, error: OSError, written: int) -> bool:
        """The file does not take a record: memory does, for a while."""
        if written and self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
        self._close_active()
        self._memory_until = time.monotonic() + RETRY_FILES_S
        self._losses.note(
            "memory",
            (
                f"The journal {self.folder} cannot be written ({error.strerror or error}): records are kept in memory "
                "and are lost with the process. Make it writable, free some disk, or set CHOPSKY_TRACE_DATA_DIR."
            ),
        )
        return self._append_to_memory(record)

    def _append_to_memory(self, record: bytes) -> bool:
        memory = self._memory
        if memory is None:
            self._number += 1
            self._memory = memory = MemorySegment(self._number)
            self._own.append(memory)
        held = sum(s.bytes for s in self._own if isinstance(s, MemorySegment))
        if held + len(record) > self._settings.memory_max_bytes:
            self._losses.count(
                "memory_full",
                remedy=(
                    f"The journal {self.folder} cannot be written and memory_max_bytes is reached: make it writable."
                ),
            )
            return False
        memory.append(record)
        self.accepted += 1
        return True

    def _close_active(self) -> None:
        # The segment stays in the queue until it is committed; only nothing more is appended to it.
        self._fd = -1
        self._room = -1
        self._memory = None

    def _open_segment(self, wanted: int) -> int:
        """Opens the next segment file and tells how many bytes it may take; opens none where that is too few."""
        make_folder(self.folder)
        self._attend()
        # What was active until now, and is stored, makes room.
        self._next_own()
        left = self.max_bytes - folder_bytes(self.folder)
        room = min(max(self._settings.segment_bytes, wanted), left)
        if room < wanted:
            return room
        for _ in range(ROLL_TRIES):
            self._number += 1
            path = self.folder / f"{self._owner}-{self._number:08d}{SUFFIX}"
            segment = FileSegment.create(path, self._number)
            if segment is not None:
                self._own.append(segment)
                self._fd = segment.fd
                return room
        raise OSError("other processes keep taking new journal files for abandoned ones")

    # On the worker's thread.

    def next_segment(self, sent: tuple[Segment, int] | None = None) -> tuple[Segment, int] | None:
        """The segment to read from and how far, or None: its own and adopted ones take turns.

        Args:
            sent: a segment and how far it is on its way to the database, but not committed.
        """
        with self._lock:
            own = self._next_own(sent)
            adopted = next((s for s in self._adopted if _start(s, sent) < s.end()), None)
            if adopted is None or (own is not None and not self._adopted_turn):
                self._adopted_turn = True
                return own
            self._adopted_turn = False
            return adopted, adopted.end()

    def _next_own(self, sent: tuple[Segment, int] | None = None) -> tuple[Segment, int] | None:
        for segment in list(self._own):
            end = segment.end()
            if _start(segment, sent) < end:
                return segment, end
            if segment.committed >= end and not self.is_active(segment):
                self._drop(segment)
        return None

    def _drop(self, segment: Segment) -> None:
        self._own.remove(segment)
        segment.remove()
        # There is room again.
        self._full_until = 0.0

    def is_active(self, segment: Segment) -> bool:
        """Whether more may be appended to it."""
        return segment is self._memory or (isinstance(segment, FileSegment) and segment.fd == self._fd)

    def is_own(self, segment: Segment) -> bool:
        """Whether this process wrote it, rather than a dead one."""
        with self._lock:
            return segment in self._own

    def commit(self, segment: Segment, position: int, records: int) -> None:
        """The database has the segment's records up to this position (or they are counted as lost)."""
        with self._lock:
            if segment not in self._own and segment not in self._adopted:
                # Given back meanwhile: whoever takes it stores the same again, which changes nothing.
                return
            segment.commit(position)
            if isinstance(segment, FileSegment) and segment in self._adopted:
                if position >= segment.end():
                    self._adopted.remove(segment)
                    segment.remove()
            else:
                self.settled += records
                # At once, so that who waited for it finds the room that it took.
                if position >= segment.end() and not self.is_active(segment):
                    self._drop(segment)

    def adopt(self) -> int:
        """Takes over the segments of dead processes for this destination, in order; tells how many."""
        taken = 0
        blocked = ""
        with contextlib.suppress(OSError):
            if not self.folder.is_dir():
                return 0
            with self._lock:
                self._attend()
            for path in segment_files(self.folder):
                owner = path.name[: -len(SUFFIX)].rsplit("-", 1)[0]
                if owner in (blocked, self._owner):
                    continue
                # Under the lock, so that a fork never copies a file that the child would not know of.
                with self._lock:
                    if any(s.path == path for s in self._adopted):
                        continue
                    segment = _adopted(path)
                    if segment is None:
                        # Its owner lives, or another process has just adopted it: its later ones are not ours either.
                        blocked = owner
                    elif segment.committed >= segment.end():
                        segment.remove()
                    else:
                        self._adopted.append(segment)
                        taken += 1
        return taken

    def retire(self) -> None:
        """Removes a file that is all committed: an idle process keeps no content on disk."""
        with self._lock:
            if self._next_own() is None and self._own:
                self._close_active()
                self._next_own()

    def mark(self) -> tuple[int, int]:
        """Up to where records are accepted now."""
        with self._lock:
            last = self._own[-1] if self._own else None
            return (last.number, last.end()) if last else (0, 0)

    def settled_to(self, mark: tuple[int, int]) -> bool:
        """Whether everything accepted before the mark is committed."""
        number, end = mark
        with self._lock:
            return all(s.committed >= (end if s.number == number else s.end()) for s in self._own if s.number <= number)

    def leftovers(self) -> int:
        """How many segments of dead processes are adopted and not yet stored."""
        with self._lock:
            return len(self._adopted)

    def backlog_bytes(self) -> int:
        """Accepted and adopted bytes that are not committed."""
        with self._lock:
            return sum(
                s.bytes if isinstance(s, MemorySegment) else s.end() - s.committed for s in (*self._own, *self._adopted)
            )

    def in_memory(self) -> int:
        """Records that only memory holds."""
        with self._lock:
            return sum(s.end() - s.committed for s in self._own if isinstance(s, MemorySegment))

    # Life and death.

    def release(self) -> None:
        """Gives everything back; what is not committed waits on disk for the next process of this destination."""
        with self._lock:
            self._next_own()
            self._close_active()
            self._next_own()
            self._save_memory()
            for segment in (*self._own, *self._adopted):
                segment.release()
            if self._presence >= 0:
                os.close(self._presence)
                self._presence = -1
            self._own = []
            self._adopted = []
            # Should this process write again, what it leaves now is a dead one's, which it adopts.
            self._owner = _new_owner()

    def _save_memory(self) -> None:
        """A last try to bring to disk what only memory holds."""
        for segment in [s for s in self._own if isinstance(s, MemorySegment)]:
            end = segment.end()
            records = segment.read(end, end, self._settings.memory_max_bytes).records
            self._own.remove(segment)
            try:
                frames = b"".join(map(framed, records))
                fits = bool(records) and self._open_segment(len(frames)) >= len(frames)
                if fits and write(self._fd, frames) == len(frames):
                    records = []
            except OSError as error:
                self._losses.note("memory", f"The journal {self.folder} cannot be written: {error.strerror or error}")
            self._close_active()
            if records:
                self._losses.count("memory_at_exit", len(records), "Make the journal's folder writable.")

    def before_fork(self) -> None:
        """Nobody appends or opens a file while the process is copied."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """The child's copies of the files would keep the parent's locks alive when the parent is dead."""
        for segment in (*self._own, *self._adopted):
            segment.release()
        if self._presence >= 0:
            with contextlib.suppress(OSError):
                os.close(self._presence)
            self._presence = -1
        self.accepted = self.settled = 0
        self._forget()

    def _attend(self) -> None:
        if self._presence < 0:
            self._presence = attend(self.folder, self.destination)


def _new_owner() -> str:
    return f"{time.time_ns():020d}-{secrets.token_hex(4)}"


def _start(segment: Segment, sent: tuple[Segment, int] | None) -> int:
    return sent[1] if sent is not None and segment is sent[0] else segment.committed


def _adopted(path: Path) -> FileSegment | None:
    try:
        return FileSegment.adopt(path, 0)
    except OSError:
        return None
