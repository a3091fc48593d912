"""The worker makes way for the application's threads while it computes."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from chopsky_trace.writer.batches import ALERT_S, Breather

TURNS = 20


@pytest.fixture
def never_switching() -> Iterator[None]:
    """An interpreter that is only ever given away, never taken."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1_000)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("never_switching")
def test_a_thread_that_comes_back_from_a_system_call_is_let_in() -> None:
    asked, ask = os.pipe()
    answers: list[bytes] = []

    def answer() -> None:
        for _ in range(TURNS):
            answers.append(os.read(asked, 1))

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    breathe = Breather()
    patience = time.monotonic() + 60
    for turn in range(1, TURNS + 1):
        # Long enough for it to be taken as gone to sleep.
        quiet = time.perf_counter() + 2 * ALERT_S
        while time.perf_counter() < quiet:
            breathe()
        os.write(ask, b"x")
        while len(answers) < turn:
            assert time.monotonic() < patience, "the thread was never let in"
            breathe()
    thread.join()
    os.close(asked)
    os.close(ask)
