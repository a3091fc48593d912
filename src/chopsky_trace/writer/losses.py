"""What was not stored, counted by reason, and the few warnings about it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TextIO

logger = logging.getLogger("chopsky_trace")

REPEAT_S = 300.0
"""The same warning comes again no sooner than this."""


def show_steps() -> None:
    """CHOPSKY_TRACE_DEBUG: each step of the writer, to stderr."""
    logger.setLevel(logging.DEBUG)
    if not any(isinstance(handler, _Steps) for handler in logger.handlers):
        logger.addHandler(_Steps())


class _Steps(logging.StreamHandler[TextIO]):
    """To stderr, apart from whatever the application does with its own logs."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("chopsky-trace %(asctime)s %(levelname)s %(message)s"))


class Losses:
    """Counts and warnings of one writer.

    Callers of `put` only leave a note here, the worker logs it: a logging handler may be slow, hold locks of its own,
    or be traced itself.
    """

    def __init__(self) -> None:
        # Re-entrant: a finaliser may count a loss while this thread is counting one.
        self._lock = threading.RLock()
        self._counts: dict[str, int] = {}
        self._notes: deque[tuple[str, str]] = deque(maxlen=100)
        self._told: dict[str, float] = {}

    def count(self, reason: str, count: int = 1, remedy: str = "") -> None:
        """Adds lost records; the first loss of a reason is worth a warning, with its remedy."""
        with self._lock:
            self._counts[reason] = self._counts.get(reason, 0) + count
        self.note(f"lost {reason}", f"Records are lost ({reason}). {remedy}".rstrip())

    def note(self, key: str, message: str) -> None:
        """Leaves a warning for the worker to log, unless this one was logged lately."""
        told = self._told.get(key)
        if told is None or time.monotonic() - told >= REPEAT_S:
            self._told[key] = time.monotonic()
            self._notes.append((key, message))

    def forget(self, key: str) -> None:
        """The trouble has passed: should it come back, it is told at once."""
        self._told.pop(key, None)

    def tell(self) -> None:
        """Logs what was noted. Never raises: a broken logging handler must not stop the worker."""
        while self._notes:
            try:
                _, message = self._notes.popleft()
            except IndexError:
                return
            try:
                logger.warning("%s", message)
            except Exception:
                # Whatever a handler raises is not ours to pass on.
                return

    def counts(self) -> dict[str, int]:
        """Lost records by reason."""
        with self._lock:
            return dict(self._counts)

    def renew_lock(self) -> None:
        """After a fork: another thread of the parent may have held the lock."""
        self._lock = threading.RLock()
