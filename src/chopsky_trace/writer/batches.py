"""What the worker hands to the builder of batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

BUSY_S = 0.001
"""How long the worker computes before it lets the application's threads go first."""
YIELD_S = 0.00005


class Built(Protocol):
    """A batch ready to be sent."""

    @property
    def payload(self) -> bytes: ...


class Builder(Protocol):
    """Turns records into one payload; raises on a record that cannot be decoded."""

    def build(self, lines: Sequence[bytes]) -> Built: ...


class Breather:
    """Called often while a batch is built; every millisecond it really sleeps for a moment.

    A thread of the application that returns from a system call needs the interpreter, which the worker holds: without
    this it would wait for the switch interval, 5 ms, at every call of `write()` or `select()`.
    """

    def __init__(self) -> None:
        self._since = 0.0

    def __call__(self) -> None:
        if time.perf_counter() - self._since > BUSY_S:
            time.sleep(YIELD_S)
            self._since = time.perf_counter()
