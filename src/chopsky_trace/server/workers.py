"""Several processes that serve one port: what one can store a second is bounded by one core.

They share nothing but the port and the journal's folder, as several commands on one machine would. A connection stays
with the process that took it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chopsky_trace.errors import ServeError

ENDS = (signal.SIGTERM, signal.SIGINT)
SHORT_LIFE_S = 5.0
"""A process that ends sooner than this after it was begun is begun again only after as long."""
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Life:
    """What a process knows of the others."""

    ready: Callable[[], None]
    """To be called once it answers requests."""
    is_left: Callable[[], bool]
    """Whether the process that began it is gone, so that it should end, too."""


@dataclass
class _Worker:
    socket: socket.socket
    pid: int = 0
    life: int = -1
    """The end to read of a pipe whose other end only the process has: a byte once it is ready, and its end."""
    began: float = 0.0
    is_ready: bool = False


class Workers:
    """Begins a process for each socket, and again where one ends that was not told to.

    Args:
        sockets: that listen, one for each process; the kernel shares connections out among them.
        ready: called once all of them answer requests.
    """

    def __init__(self, sockets: Sequence[socket.socket], ready: Callable[[], None]) -> None:
        self._workers = [_Worker(one) for one in sockets]
        self._ready = ready
        self._is_told = False
        self._is_leaving = False
        self._has_failed = False
        # Its other end is only here: where it closes, this process is gone.
        self._here, self._there = os.pipe()

    def run(self, serve: Callable[[socket.socket, Life], None]) -> None:
        """Returns once all have ended after SIGTERM or SIGINT; and in each of the processes, when `serve` has.

        Raises:
            ServeError: one ended before all of them answered requests.
        """
        before = {number: signal.signal(number, self._leave) for number in ENDS}
        try:
            for worker in self._workers:
                if self._is_child(worker, serve):
                    return
            while any(worker.pid for worker in self._workers):
                ended = self._watch()
                for worker in ended:
                    if self._begin_again(worker) and self._is_child(worker, serve):
                        return
            if self._has_failed:
                raise ServeError("A process of the server ended before all of them answered requests")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _is_child(self, worker: _Worker, serve: Callable[[socket.socket, Life], None]) -> bool:
        """Begins a process; True in that process, once it has served."""
        life, told = os.pipe()
        # Until the child has handlers of its own, a signal would be passed on to its elders.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
        pid = os.fork()
        if pid:
            worker.pid, worker.life, worker.began, worker.is_ready = pid, life, time.monotonic(), False
            os.close(told)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
            return False
        # A terminal's Ctrl-C is for who began it, who passes it on.
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
        os.close(self._there)
        os.close(life)
        for other in self._workers:
            if other.life >= 0:
                os.close(other.life)
            if other is not worker:
                other.socket.close()
        os.set_blocking(self._here, False)
        serve(worker.socket, Life(lambda: _tell(told), self._is_left))
        return True

    def _watch(self) -> list[_Worker]:
        """Waits until something happens; the processes that ended."""
        lives = {worker.life: worker for worker in self._workers if worker.pid}
        ended: list[_Worker] = []
        for life in select.select(list(lives), [], [])[0]:
            worker = lives[life]
            if os.read(life, 1):
                worker.is_ready = True
                continue
            os.close(life)
            os.waitpid(worker.pid, 0)
            worker.pid, worker.life = 0, -1
            ended.append(worker)
        if not self._is_told and all(worker.is_ready for worker in self._workers):
            self._is_told = True
            self._ready()
        return ended

    def _begin_again(self, worker: _Worker) -> bool:
        if self._is_leaving:
            return False
        if not self._is_told:
            self._has_failed = self._is_leaving = True
            self._pass_on(signal.SIGTERM)
            return False
        # Its connections wait meanwhile: its socket is open here.
        while not self._is_leaving and time.monotonic() - worker.began < SHORT_LIFE_S:
            time.sleep(LOOK_S)
        return not self._is_leaving

    def _leave(self, number: int, frame: object) -> None:
        self._is_leaving = True
        self._pass_on(signal.SIGTERM)

    def _pass_on(self, number: int) -> None:
        for worker in self._workers:
            # Not waited for yet, so that nobody else has its number.
            if worker.pid:
                os.kill(worker.pid, number)

    def _is_left(self) -> bool:
        try:
            return os.read(self._here, 1) == b""
        except BlockingIOError:
            return False


def _tell(told: int) -> None:
    os.write(told, b"r")
