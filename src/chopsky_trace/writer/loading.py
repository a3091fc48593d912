"""What the worker needs, loaded in one go: a process that forked meanwhile would give its child half of it."""

from __future__ import annotations

import importlib
import threading

MODULES = ("enrich.batch", "database.connect", "database.migrate", "database.write")

lock = threading.RLock()
"""Held while modules are loaded; a fork waits for it."""


def load() -> None:
    """Load them; on the worker's thread, when it begins."""
    with lock:
        for name in MODULES:
            importlib.import_module(f"chopsky_trace.{name}")


def renew() -> None:
    """In a forked child: the lock is its parent's."""
    global lock
    lock = threading.RLock()
