"""A process that writes records, to be killed, forked or starved by the tests.

Usage: crash_child.py SCENARIO URL DATA_DIR NAME COUNT. Prints `accepted N` when it comes to it; where it is to be
killed, one byte for each accepted record.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import writer_records as records

from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer import Writer, writer_for


def put_all(writer: Writer, name: str, count: int, first: int = 0) -> int:
    return sum(writer.put(records.start(f"{name} {number}")) for number in range(first, first + count))


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def until_killed(writer: Writer, name: str, count: int) -> None:
    for number in range(count):
        if writer.put(records.start(f"{name} {number}")):
            os.write(1, b"+")
    signal.pause()


def paced_until_killed(writer: Writer, name: str, count: int) -> None:
    for number in range(count):
        if writer.put(records.start(f"{name} {number}")):
            os.write(1, b"+")
        time.sleep(0.0005)
    signal.pause()


def flush(writer: Writer, name: str, count: int) -> None:
    accepted = put_all(writer, name, count)
    say("accepted", accepted, "flushed", writer.flush(60.0))


def leave(writer: Writer, name: str, count: int) -> None:
    say("accepted", put_all(writer, name, count))


def os_exit(writer: Writer, name: str, count: int) -> None:
    say("accepted", put_all(writer, name, count))
    os._exit(0)


def store_leftovers(writer: Writer, name: str, count: int) -> None:
    say("accepted", put_all(writer, name, count), "flushed", writer.flush(60.0, leftovers=True))


def fork(writer: Writer, name: str, count: int) -> None:
    """Two children after first use: one exits as a program does, one as multiprocessing does."""
    accepted = put_all(writer, f"{name} before", count)
    epoch = writer.epoch
    writer.flush(30.0)
    accepted += put_all(writer, f"{name} between", count)
    children: list[int] = []
    for child in range(2):
        pid = os.fork()
        if pid == 0:
            done = put_all(writer, f"{name} child {child}", count)
            say("accepted", done, "epoch", writer.epoch != epoch)
            if child:
                os._exit(0)
            sys.exit(0)
        children.append(pid)
    accepted += put_all(writer, f"{name} after", count)
    for pid in children:
        os.waitpid(pid, 0)
    say("accepted", accepted, "flushed", writer.flush(30.0))


def orphan(writer: Writer, name: str, count: int) -> None:
    """The parent dies of SIGKILL while its forked child lives on: the child must not hold on to the parent's files."""
    accepted = put_all(writer, name, count)
    if os.fork() == 0:
        # It never writes: else its own thread would be the heir.
        sys.stdin.read()
        os._exit(0)
    say("accepted", accepted)
    os.kill(os.getpid(), signal.SIGKILL)


SCENARIOS = {
    function.__name__: function
    for function in (
        until_killed,
        paced_until_killed,
        flush,
        leave,
        os_exit,
        store_leftovers,
        fork,
        orphan,
    )
}

if __name__ == "__main__":
    scenario, url, data_dir, name, count = sys.argv[1:]
    settings = Settings(
        data_dir=Path(data_dir),
        flush_interval_s=0.05,
        segment_bytes=200_000,
        connect_timeout_s=2.0,
        shutdown_timeout_s=float(os.environ.get("SHUTDOWN_S", "20")),
    )
    SCENARIOS[scenario](writer_for(Target(url, "test"), settings), name, int(count))
