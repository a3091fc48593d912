"""What the worker hands to the builder of batches."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from chopsky_trace.database.write import Rows

# Only Linux and the BSDs have it.
RUSAGE_THREAD: int | None = getattr(resource, "RUSAGE_THREAD", None)
BUSY_S = 0.001
"""How long the worker computes before it lets the application's threads go first."""
YIELD_S = 0.000_001
"""Longer in truth: Linux adds its timer slack, 50 microseconds, in which a waiting thread takes the interpreter."""
ALERT_S = 0.02
"""How long after others have run the worker still makes way for them every time."""
LOOK_S = 0.0002
"""How long the worker computes before it looks whether the server waits for the next part of the batch before."""


class Built(Protocol):
    """A batch ready to be sent."""

    @property
    def payload(self) -> bytes:
        """All of it as JSON; made when first asked for, where there are rows."""
        ...

    @property
    def packed(self) -> Rows | None:
        """Its rows for COPY, if they were asked for."""
        ...


class Builder(Protocol):
    """Turns records into one batch; raises on a record that cannot be decoded."""

    def build(self, lines: Sequence[bytes], *, packed: bool = False) -> Built: ...


class Breather:
    """Called often while a batch is built; every millisecond it really sleeps for a moment, if others may be waiting.

    A thread of the application that returns from a system call needs the interpreter, which the worker holds: without
    this it would wait for the switch interval, 5 ms, at every call of `write()` or `select()`. To wait is to give up
    the processor, and the system counts how often each thread has: where no other has of late, nobody waits.

    Args:
        look: called more often still, to keep the batch before on its way.
        busy_s: how long the worker computes before it lets others go first.
    """

    def __init__(self, look: Callable[[], object] | None = None, busy_s: float = BUSY_S) -> None:
        self._look = look
        self._busy_s = busy_s
        self._looked = 0.0
        self._since = 0.0
        self._others_waits = -1
        self._others_ran = 0.0

    def __call__(self) -> None:
        now = time.perf_counter()
        if now - self._looked <= LOOK_S:
            return
        self._looked = now
        if self._look is not None:
            self._look()
        if now - self._since <= self._busy_s:
            return
        self._since = now
        if self._others_may_wait(now):
            time.sleep(YIELD_S)
            self._since = time.perf_counter()

    def _others_may_wait(self, now: float) -> bool:
        waits = _others_waits()
        if waits is None:
            return True
        if waits != self._others_waits:
            self._others_waits, self._others_ran = waits, now
        return now - self._others_ran < ALERT_S


def _others_waits() -> int | None:
    """How often the process's other threads have given up the processor by themselves; None where nobody counts it."""
    if RUSAGE_THREAD is None:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - resource.getrusage(RUSAGE_THREAD).ru_nvcsw
