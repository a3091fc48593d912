"""put / flush / close / stats: one writer for each destination in a process."""

from __future__ import annotations

import atexit
import os
import threading
import time
from pathlib import Path

from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer import loading, sigterm
from chopsky_trace.writer.children import PoolEnd
from chopsky_trace.writer.folders import JournalInfo, journals
from chopsky_trace.writer.writer import Writer

__all__ = ["JournalInfo", "Writer", "aflush_all", "all_writers", "flush_all", "journals", "writer_for"]

_lock = threading.RLock()
_writers: dict[Path, Writer] = {}
_known: dict[tuple[Target, Settings], Writer] = {}
_KNOWN_MAX = 1_000


def writer_for(target: Target, settings: Settings) -> Writer:
    """The process's writer for a destination; the settings of the first caller hold."""
    known = _known.get((target, settings))
    if known is not None:
        return known
    folder = settings.data_path() / "journal" / target.folder(settings)
    with _lock:
        writer = _writers.get(folder)
        if writer is None:
            writer = _writers[folder] = Writer(target, settings)
            writer.on_start = _pool_end.arrange
            if sigterm.is_wanted(settings.drain_on_sigterm, os.environ):
                sigterm.drain_first(_end)
        else:
            # Perhaps with the right password, this time.
            writer.target = target
        if len(_known) >= _KNOWN_MAX:
            _known.clear()
        _known[target, settings] = writer
        return writer


def all_writers() -> list[Writer]:
    """Every writer of this process."""
    with _lock:
        return list(_writers.values())


def flush_all(timeout_s: float = 5.0) -> bool:
    """Whether everything accepted before this call, for whatever destination, is in its database."""
    deadline = time.monotonic() + timeout_s
    return all([writer.flush(max(0.0, deadline - time.monotonic())) for writer in all_writers()])


async def aflush_all(timeout_s: float = 5.0) -> bool:
    """`flush_all` without blocking the event loop, and without a thread that others may need."""
    import asyncio

    return all(await asyncio.gather(*(writer.aflush(timeout_s) for writer in all_writers())))


def _end(timeout_s: float | None = None) -> None:
    """Writes as much as there is time for, each writer's own where none is given."""
    now = time.monotonic()
    deadlines = [
        (writer, now + (writer.shutdown_timeout_s if timeout_s is None else timeout_s)) for writer in all_writers()
    ]
    # Before anybody's leftovers: one destination's may take all the time there is.
    flush_all(max(0.0, max((deadline for _, deadline in deadlines), default=0.0) - time.monotonic()))
    for writer, deadline in deadlines:
        writer.end(max(0.1, deadline - time.monotonic()))


def _before_fork() -> None:
    loading.lock.acquire()
    _lock.acquire()
    for writer in _writers.values():
        writer.before_fork()


def _after_fork_in_parent() -> None:
    for writer in _writers.values():
        writer.after_fork_in_parent()
    _lock.release()
    loading.lock.release()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()
    loading.renew()
    for writer in _writers.values():
        writer.after_fork_in_child()


_pool_end = PoolEnd(_end)
atexit.register(_end)
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
