"""The journal's folders as anybody sees them: what is in them, and whether somebody serves them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from chopsky_trace.settings import Settings
from chopsky_trace.writer.segments import HEADER, OFFSET_SUFFIX, SUFFIX, committed_position

DESTINATION = "destination"
"""A small file that says what a folder is for; a living writer holds a shared lock on it."""


@dataclass(frozen=True, slots=True)
class JournalInfo:
    """What a destination's journal folder holds."""

    folder: Path
    destination: str
    """The database it is for, without a password."""
    records: int
    """Records not yet stored."""
    bytes: int
    """Their size on disk."""
    served: bool
    """Whether a living process has this destination open."""


def journals(settings: Settings) -> list[JournalInfo]:
    """Every journal folder under the data directory, served or not."""
    root = settings.data_path() / "journal"
    found: list[JournalInfo] = []
    with contextlib.suppress(OSError):
        for folder in sorted(root.iterdir()):
            if folder.is_dir():
                found.append(_info(folder))
    return found


def _info(folder: Path) -> JournalInfo:
    destination, served = "unknown", False
    with contextlib.suppress(OSError), (folder / DESTINATION).open("rb") as file:
        destination = file.read().decode(errors="replace").strip()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            served = True
    records = size = 0
    for path in segment_files(folder):
        with contextlib.suppress(OSError):
            waiting, held = _count(path)
            records += waiting
            size += held
    return JournalInfo(folder, destination, records, size, served)


def _count(path: Path) -> tuple[int, int]:
    """(records, bytes) of a segment file that are not committed, by its headers alone."""
    records = 0
    start = position = committed_position(path)
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        while position + HEADER.size <= end:
            _, size, _ = HEADER.unpack(os.pread(file.fileno(), HEADER.size, position))
            position += HEADER.size + size
            records += position <= end
    return records, max(0, end - start)


def make_folder(folder: Path) -> None:
    """Makes the journal folder, for its owner's eyes only.

    Raises:
        OSError: it cannot be made, or belongs to somebody else.
    """
    if not folder.is_dir():
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def segment_files(folder: Path) -> list[Path]:
    """Segment files by owner, then number; offsets whose segment is gone are removed on the way."""
    names = {entry.name for entry in os.scandir(folder)}
    for name in names:
        if name.endswith(OFFSET_SUFFIX) and name[: -len(OFFSET_SUFFIX)] + SUFFIX not in names:
            with contextlib.suppress(OSError):
                (folder / name).unlink()
    return [folder / name for name in sorted(names) if name.endswith(SUFFIX)]


def folder_bytes(folder: Path) -> int:
    """Bytes of all segments in the folder, of whatever process."""
    total = 0
    for entry in os.scandir(folder):
        if entry.name.endswith(SUFFIX):
            with contextlib.suppress(OSError):
                total += entry.stat().st_size
    return total


def attend(folder: Path, destination: str) -> int:
    """Writes what the folder is for, and locks that file, which tells that somebody serves it; the file, or -1.

    Raises:
        OSError: the file cannot be written.
    """
    fd = os.open(folder / DESTINATION, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        text = f"{destination}\n".encode()
        if os.pread(fd, len(text) + 1, 0) != text:
            os.ftruncate(fd, 0)
            os.pwrite(fd, text, 0)
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        # Somebody is just looking whether the folder is served: there is a next time.
        os.close(fd)
        return -1
    return fd
