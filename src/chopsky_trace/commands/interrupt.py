"""Ctrl-C: where nothing is under way it ends the process at once, as the shell expects it of any program.

Python's own answer, an exception in whatever line it comes to, is for commands that have something to put in order.
While modules are loaded it becomes a traceback, or another error.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

INTERRUPTED = 128 + signal.SIGINT
"""The exit code of a command that Ctrl-C ended: the same that a shell gives for one that died of it."""


def end_at_once() -> None:
    """From now on Ctrl-C ends the process, unless somebody has said what else it does."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        _set(signal.SIG_DFL)


@contextmanager
def raising() -> Generator[None]:
    """Within, Ctrl-C is Python's KeyboardInterrupt, unless somebody has said what else it does."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_DFL:
        _set(signal.default_int_handler)
    try:
        yield
    finally:
        if before is signal.SIG_DFL or before is signal.default_int_handler:
            _set(before)


def is_behind(error: BaseException) -> bool:
    """Whether Ctrl-C is what became this error: C code that calls back into Python has errors of its own for it."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, KeyboardInterrupt):
        seen = seen.__cause__ or seen.__context__
    return seen is not None


def _set(handler: Any) -> None:
    # In any other thread Python refuses, and Ctrl-C is not for it.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)
