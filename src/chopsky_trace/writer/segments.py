"""One piece of a journal: a file that outlives the process, or memory where no file can be written."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import zlib
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

FORMAT = 1
"""Version of the frame around each record."""
HEADER = struct.Struct("<BII")
"""Format version, record length in bytes, checksum."""
CHECKED_BYTES = 65_536
"""The checksum covers this much of a record: more would cost the caller more than the write itself."""
BLOCK_BYTES = 1_000_000
"""Read at once."""
OFFSET = struct.Struct("<QI")
SUFFIX = ".journal"
OFFSET_SUFFIX = ".offset"


def framed(record: bytes) -> bytes:
    """The record as a segment file has it."""
    size = len(record)
    checked = record if size <= CHECKED_BYTES else record[:CHECKED_BYTES]
    # Seeded with the length, so that a damaged length does not pass either.
    return HEADER.pack(FORMAT, size, zlib.crc32(checked, size)) + record


@dataclass(slots=True)
class Chunk:
    """Records read from a segment, in order, and the position after each."""

    records: list[bytes] = field(default_factory=list[bytes])
    ends: list[int] = field(default_factory=list[int])
    corrupt_until: int | None = None
    """Where reading can go on, when the next record is not readable."""


class Segment(Protocol):
    """An append-only run of records, read from the last committed position."""

    number: int
    committed: int

    def end(self) -> int: ...
    def read(self, end: int, max_records: int, max_bytes: int, start: int | None = None) -> Chunk: ...
    def commit(self, position: int) -> None: ...
    def remove(self) -> None: ...
    def release(self) -> None: ...


class FileSegment:
    """A segment file. Who holds the lock on it owns it; the kernel lets go of the lock when the owner dies."""

    def __init__(self, path: Path, fd: int, number: int, committed: int = 0) -> None:
        self.path = path
        self.fd = fd
        self.number = number
        self.committed = committed
        self._offset_fd = -1

    @classmethod
    def create(cls, path: Path, number: int) -> FileSegment | None:
        """A new segment, locked; None where another process took it for an abandoned one in that instant.

        Raises:
            OSError: the file cannot be made.
        """
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, 0o600)
        if not _locked(fd):
            os.close(fd)
            return None
        return cls(path, fd, number)

    @classmethod
    def adopt(cls, path: Path, number: int) -> FileSegment | None:
        """An existing segment, if its owner is dead.

        Raises:
            OSError: the file is gone or cannot be opened.
        """
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        if not _locked(fd):
            os.close(fd)
            return None
        return cls(path, fd, number, min(committed_position(path), os.fstat(fd).st_size))

    def end(self) -> int:
        return os.fstat(self.fd).st_size

    def read(self, end: int, max_records: int, max_bytes: int, start: int | None = None) -> Chunk:
        """Whole records from `start` (else the committed position) on, at least one where there is one."""
        chunk = Chunk()
        base = position = self.committed if start is None else start
        limit = base + min(end - base, max_bytes)
        data = b""
        while position + HEADER.size <= end and len(chunk.records) < max_records:
            if position + HEADER.size > base + len(data):
                if chunk.records and position + HEADER.size > limit:
                    break
                base, data = position, self._block(position, limit, HEADER.size)
            version, size, checksum = HEADER.unpack_from(data, position - base)
            after = position + HEADER.size + size
            if version != FORMAT or after > end:
                return self._unreadable(chunk, position, end)
            if after > base + len(data):
                if chunk.records and after > limit:
                    break
                base, data = position, self._block(position, limit, after - position)
            record = data[position - base + HEADER.size : after - base]
            if len(record) < size or zlib.crc32(record[:CHECKED_BYTES], size) != checksum:
                return self._unreadable(chunk, position, end)
            chunk.records.append(record)
            chunk.ends.append(after)
            position = after
        if not chunk.records and position < end:
            chunk.corrupt_until = end
        return chunk

    def _block(self, position: int, limit: int, least: int) -> bytes:
        # Not all up to the limit at once: a batch mostly ends at its number of records, long before.
        return os.pread(self.fd, max(least, min(limit - position, BLOCK_BYTES)), position)

    def _unreadable(self, chunk: Chunk, position: int, end: int) -> Chunk:
        # What was readable before it goes first; then the unreadable stands alone and can be counted once.
        if not chunk.records:
            after = self._frame_end(position, end)
            is_whole = after == end or (after is not None and self._frame_end(after, end) is not None)
            chunk.corrupt_until = after if is_whole else self._next_sound(position + 1, end)
        return chunk

    def _frame_end(self, position: int, end: int) -> int | None:
        """Where a frame that begins here ends by its own words; None where they cannot be true."""
        header = os.pread(self.fd, HEADER.size, position)
        if len(header) < HEADER.size:
            return None
        version, size, _ = HEADER.unpack(header)
        after = position + HEADER.size + size
        return after if version == FORMAT and size > 0 and after <= end else None

    def _next_sound(self, position: int, end: int) -> int:
        """Where the next readable record begins, if any does: a damaged header does not tell."""
        while position + HEADER.size < end:
            data = os.pread(self.fd, min(BLOCK_BYTES, end - position), position)
            # No JSON has this byte: but for damage it is found in headers only.
            at = data.find(FORMAT)
            while at >= 0:
                if (after := self._frame_end(position + at, end)) is not None:
                    _, size, checksum = HEADER.unpack(os.pread(self.fd, HEADER.size, position + at))
                    if zlib.crc32(os.pread(self.fd, min(size, CHECKED_BYTES), after - size), size) == checksum:
                        return position + at
                at = data.find(FORMAT, at + 1)
            position += len(data)
        return end

    def commit(self, position: int) -> None:
        """Remembers on disk how far the database has it. A commit that is lost only sends records again."""
        self.committed = position
        with contextlib.suppress(OSError):
            if self._offset_fd < 0:
                flags = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
                self._offset_fd = os.open(_offset_path(self.path), flags, 0o600)
            number = position.to_bytes(8, "little")
            os.pwrite(self._offset_fd, OFFSET.pack(position, zlib.crc32(number)), 0)

    def remove(self) -> None:
        """Deletes the files: everything in them is committed."""
        for path in (self.path, _offset_path(self.path)):
            with contextlib.suppress(OSError):
                path.unlink()
        self.release()

    def release(self) -> None:
        """Closes the files; unless a forked child does it, that gives up ownership."""
        for fd in (self.fd, self._offset_fd):
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self.fd = self._offset_fd = -1


class MemorySegment:
    """Records in memory, for as long as the folder cannot be written. Positions count records."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.committed = 0
        self.bytes = 0
        self._appended = 0
        self._records: deque[bytes] = deque()

    def append(self, record: bytes) -> None:
        """Adds one record; the journal has seen to the bound."""
        self._records.append(record)
        self.bytes += len(record)
        self._appended += 1

    def end(self) -> int:
        return self._appended

    def read(self, end: int, max_records: int, max_bytes: int, start: int | None = None) -> Chunk:
        """Records from `start` (else the committed position) on, at least one where there is one."""
        chunk = Chunk()
        total = 0
        start = self.committed if start is None else start
        for position in range(start, min(end, start + max_records)):
            record = self._records[position - self.committed]
            total += len(record)
            if chunk.records and total > max_bytes:
                break
            chunk.records.append(record)
            chunk.ends.append(position + 1)
        return chunk

    def commit(self, position: int) -> None:
        while self.committed < position:
            self.bytes -= len(self._records.popleft())
            self.committed += 1

    def remove(self) -> None:
        self._records.clear()

    def release(self) -> None:
        """Nothing to give back."""


def committed_position(path: Path) -> int:
    """How far a segment file is committed, in bytes; 0 where nothing sound says so."""
    try:
        position, checksum = OFFSET.unpack(_offset_path(path).read_bytes()[: OFFSET.size])
    except (OSError, struct.error):
        return 0
    return position if zlib.crc32(position.to_bytes(8, "little")) == checksum else 0


def _offset_path(path: Path) -> Path:
    return path.with_suffix(OFFSET_SUFFIX)


def _locked(fd: int) -> bool:
    """Whether the lock is ours now and the file still has its name."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(fd).st_nlink > 0
