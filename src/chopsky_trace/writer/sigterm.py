"""SIGTERM where the journal's disk goes with the process: what is accepted is stored before the process ends by it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType

from chopsky_trace.writer.bounds import MEMORY_DISKS

DRAIN_S = 7.0
"""Cloud Run gives ten seconds, of which the application has the rest."""


def is_wanted(chosen: bool | None, env: Mapping[str, str]) -> bool:
    """Whether to catch SIGTERM: as it was chosen, else on Cloud Run."""
    return any(env.get(name) for name in MEMORY_DISKS) if chosen is None else chosen


def drain_first(drain: Callable[[float], object]) -> bool:
    """Has `drain` called with the seconds it may take when SIGTERM comes, and the process end by SIGTERM after that.

    Only where SIGTERM would end the process at once: who catches it already ends in order, by our exit handler. And
    only on the main thread, which alone may say so. Whether it is set up.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return False

    def drain_and_end(number: int, _frame: FrameType | None) -> None:
        # A second one ends it at once.
        signal.signal(number, signal.SIG_DFL)
        try:
            drain(DRAIN_S)
        finally:
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, drain_and_end)
    return True
