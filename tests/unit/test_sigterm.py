"""SIGTERM where it would lose what is accepted: caught only where nobody else does, and only once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chopsky_trace.writer import sigterm

BEGIN = "import os, signal, time\nfrom chopsky_trace.writer import sigterm\n"
FOR_EVER = "os.write(1, b'ready')\ntime.sleep(3_000)\n"


@contextmanager
def started(code: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN + code + FOR_EVER],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 5) == b"ready"
        try:
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[bytes], told: bytes) -> int:
    assert process.stdout is not None
    process.send_signal(signal.SIGTERM)
    assert os.read(process.stdout.fileno(), 100) == told
    return process.wait(60)


def test_what_is_to_be_done_is_done_and_the_process_ends_by_sigterm():
    with started("assert sigterm.drain_first(lambda seconds: os.write(1, b'%d s' % seconds))\n") as process:
        assert end(process, b"7 s") == -signal.SIGTERM


def test_it_ends_even_if_that_fails():
    code = "def fail(_):\n  os.write(1, b'no')\n  raise SystemExit(3)\nassert sigterm.drain_first(fail)\n"
    with started(code) as process:
        assert end(process, b"no") == -signal.SIGTERM


def test_a_second_one_ends_it_at_once():
    with started("assert sigterm.drain_first(lambda _: [os.write(1, b'on it'), time.sleep(3_000)])\n") as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGTERM)
        assert os.read(process.stdout.fileno(), 5) == b"on it"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM


def test_who_catches_it_already_is_left_alone():
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        kept = signal.getsignal(signal.SIGTERM)
        assert not sigterm.drain_first(lambda _: None)
        assert signal.getsignal(signal.SIGTERM) is kept
    finally:
        signal.signal(signal.SIGTERM, before)


def test_only_the_main_thread_may_say_so():
    said: list[bool] = []
    thread = threading.Thread(target=lambda: said.append(sigterm.drain_first(lambda _: None)))
    thread.start()
    thread.join()
    assert said == [False]


@pytest.mark.parametrize(
    ("chosen", "env", "wanted"),
    [
        (None, {}, False),
        (None, {"K_SERVICE": "kitchen"}, True),
        (None, {"CLOUD_RUN_JOB": "dinner"}, True),
        (False, {"K_SERVICE": "kitchen"}, False),
        (True, {}, True),
    ],
)
def test_cloud_run_is_where_it_is_caught(chosen: bool | None, env: dict[str, str], wanted: bool):
    assert sigterm.is_wanted(chosen, env) is wanted
