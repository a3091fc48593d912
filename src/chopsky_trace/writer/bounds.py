"""How large a journal may become where its disk is memory, as in Cloud Run, and so the application's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

MEMORY_SHARE = 8
"""A journal in memory may take this part of it: one eighth."""
IN_MEMORY = frozenset(("tmpfs", "ramfs"))
MEMORY_DISKS = ("K_SERVICE", "CLOUD_RUN_JOB")
"""Where all that is not a mounted volume is memory, whatever the file system says of itself."""
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
MOUNTS = Path("/proc/self/mounts")


def journal_bytes(folder: Path, wanted: int) -> int:
    """Most bytes that the journal in this folder may take: what is set, or less where they are memory."""
    if not is_memory(folder):
        return wanted
    limit = memory_bytes()
    return wanted if limit is None else min(wanted, limit // MEMORY_SHARE)


def is_memory(folder: Path, mounts: Path = MOUNTS) -> bool:
    """Whether what is written there is held in memory."""
    place, kind = "/", ""
    with contextlib.suppress(OSError, ValueError):
        path = os.path.realpath(folder)
        for line in mounts.read_text(errors="surrogateescape").splitlines():
            _, mounted, system, *_ = line.split(" ")
            mounted = mounted.encode().decode("unicode_escape")
            # The last one that holds it: later mounts hide earlier ones.
            if len(mounted) >= len(place) and os.path.commonpath((mounted, path)) == mounted:
                place, kind = mounted, system
    return kind in IN_MEMORY or (place == "/" and any(os.environ.get(name) for name in MEMORY_DISKS))


def memory_bytes(limits: Iterable[Path] = LIMITS) -> int | None:
    """The memory that this process may use: its container's, or else the machine's; None where neither is known."""
    found: list[int] = []
    for limit in limits:
        with contextlib.suppress(OSError, ValueError):
            found.append(int(limit.read_text()))
    with contextlib.suppress(OSError, ValueError):
        # A container without a limit says one that no machine has.
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found, default=None)
