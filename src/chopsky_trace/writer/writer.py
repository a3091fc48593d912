"""The writer of one destination: put, flush, close, stats. Callers only ever put."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

from chopsky_trace.errors import described
from chopsky_trace.records import iso_time
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer.batches import BUSY_S, Breather, Builder
from chopsky_trace.writer.delivery import Delivery
from chopsky_trace.writer.journal import Journal
from chopsky_trace.writer.losses import Losses, logger, show_steps
from chopsky_trace.writer.worker import IMPATIENT_S, Worker

if TYPE_CHECKING:
    from chopsky_trace.telemetry.unfold import Unfolder

NATIVE = b'{"v":1,"t":"otel_'
"""How records begin that are OpenTelemetry's spans and log records as they came."""


class Writer:
    """Takes records into the journal and has one thread store them.

    Args:
        target: the database.
        settings: bounds and intervals.
        make_builder: what turns records into a batch; called on the worker's thread.
    """

    def __init__(self, target: Target, settings: Settings, make_builder: Callable[[], Builder] | None = None) -> None:
        self.target = target
        self.epoch = 0
        """Changes when what was put before can no longer be referred to: after a fork, after a refused record."""
        self.shutdown_timeout_s = settings.shutdown_timeout_s
        self.busy_s = BUSY_S
        """How long the worker computes before it lets the process's other threads go first; set before it starts."""
        self.on_start: Callable[[], object] = lambda: None
        """Called when a process begins to write."""
        self._settings = settings
        self._make_builder = make_builder or self._default_builder
        self._losses = Losses()
        folder = settings.data_path() / "journal" / target.folder(settings)
        self._journal = Journal(folder, target.shown, settings, self._losses, self._rouse)
        self.put: Callable[[bytes], bool] = self._journal.append
        """Accepts a record. Never raises, never waits for the network; False: it is lost and counted."""
        self.put_all: Callable[[Sequence[bytes]], bool] = self._journal.append_all
        """Accepts many records at once; whether every one of them is."""
        self._delivery = Delivery(target, settings)
        if settings.debug:
            show_steps()
            logger.debug("Records for %s (%s) go through %s", target.shown, target.origin, folder)
        self._life = threading.RLock()
        self._worker: Worker | None = None
        self._stored = 0
        self._may_start = True
        self._is_closed = False
        """Whether nothing was started since it was closed."""
        self._inherited: list[object] = []
        self._unfolder: Unfolder | None = None

    @property
    def unfolder(self) -> Unfolder:
        """What makes records of OpenTelemetry's spans: one, so that all that is known of a trace is in one place."""
        if self._unfolder is None:
            # Not before the first span: it brings all the conventions.
            from chopsky_trace.telemetry.unfold import Unfolder as TelemetryUnfolder

            with self._life:
                if self._unfolder is None:
                    self._unfolder = TelemetryUnfolder(self._settings, lambda: self.epoch)
        return self._unfolder

    def _unfold(self, lines: Sequence[bytes], pause: Callable[[], None]) -> Sequence[bytes]:
        if self._unfolder is None and not any(line.startswith(NATIVE) for line in lines):
            return lines
        return self.unfolder.unfolded(lines, pause)

    def _late(self, traces_with_run: Callable[[Sequence[str]], Container[str]]) -> list[bytes]:
        """Records that follow from traces having had no news for a while."""
        unfolder = self._unfolder
        if unfolder is None:
            return []
        late = unfolder.quiet()
        if overdue := unfolder.overdue():
            try:
                late += unfolder.found(overdue, traces_with_run(overdue))
            except Exception as error:
                # They wait until the database can be asked, within the bound of those that may wait.
                logger.debug("Spans that wait for a GenAI span wait on: %s", described(error))
        return late

    def lost(self, reason: str, count: int = 1) -> None:
        """Counts records that a source could not make."""
        self._losses.count(reason, count)

    def _rouse(self) -> None:
        worker = self._worker
        if worker is None:
            self.start()
        else:
            worker.wake()

    def start(self) -> None:
        """Starts the thread, which also stores what dead processes left for this destination."""
        with self._life:
            if self._worker is not None or not self._may_start:
                return
            self._delivery.target = self.target
            worker = Worker(
                self._journal,
                self._losses,
                self._delivery,
                self._settings,
                self._make_builder,
                self._next_epoch,
                self._late,
            )
            try:
                worker.start()
            except RuntimeError:
                # The interpreter is ending: the journal keeps the record for the next process.
                self._may_start = False
                return
            self._worker = self._journal.reader = worker
            self._is_closed = False
            with contextlib.suppress(Exception):
                self.on_start()

    def flush(self, timeout_s: float = 5.0, *, leftovers: bool = False) -> bool:
        """Whether everything this process put before this call is in the database; waits so long for it.

        Args:
            timeout_s: longest wait, in seconds.
            leftovers: use what is left of the time to store what dead processes left, too. The answer is not about it.
        """
        deadline = time.monotonic() + timeout_s
        mark = self._journal.mark()
        stored = self._settle(lambda: self._journal.settled_to(mark), timeout_s)
        if leftovers and (left := deadline - time.monotonic()) > 0:
            # Processes may all be too short-lived for the worker's own looks to come to it.
            self._journal.adopt()
            self._settle(lambda: not self._journal.leftovers(), left)
        return stored

    async def aflush(self, timeout_s: float = 5.0) -> bool:
        """`flush` on an event loop, which goes on meanwhile; it takes no thread."""
        mark = self._journal.mark()
        if self._journal.settled_to(mark):
            return True
        if self._worker is None:
            import asyncio

            await asyncio.to_thread(self.start)
        worker = self._worker
        if worker is None:
            return False
        set_aside = worker.set_aside
        finished = await worker.await_for(lambda: self._journal.settled_to(mark), timeout_s)
        return finished and worker.set_aside == set_aside

    def patience(self, timeout_s: float) -> float:
        """How long somebody who answers a request should wait, in seconds: not long while the database fails."""
        worker = self._worker
        return min(timeout_s, IMPATIENT_S) if worker is not None and worker.is_failing else timeout_s

    def settle(self, timeout_s: float = 5.0) -> bool:
        """As `flush`; and what follows from nothing more coming to the traces under way is told, and stored too."""
        deadline = time.monotonic() + timeout_s
        stored = self.flush(timeout_s)
        unfolder = self._unfolder
        if unfolder is None:
            return stored
        late = unfolder.finish()
        if late:
            self.put_all(late)
        if unfolder.all_overdue:
            self.start()
            if (worker := self._worker) is not None:
                worker.look_late = True
                worker.wait_for(lambda: not unfolder.all_overdue, deadline - time.monotonic())
        elif not late:
            return stored
        return self.flush(max(0.0, deadline - time.monotonic())) and stored

    def _settle(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Waits until something is settled; whether it is, and none of our records had to be set aside for it."""
        if done():
            return True
        self.start()
        worker = self._worker
        if worker is None:
            return False
        set_aside = worker.set_aside
        finished = worker.wait_for(done, timeout_s)
        return finished and worker.set_aside == set_aside

    def close(self, timeout_s: float = 5.0) -> bool:
        """Flushes, ends the thread, and leaves what is not stored to the next process of this destination.

        What dead processes left is stored as far as there is time. A later put starts everything again.
        """
        if self._is_closed and self._journal.accepted == self._journal.settled:
            # What was left then is nobody's who closes it again.
            return True
        deadline = time.monotonic() + timeout_s
        self.settle(timeout_s)
        if (unfolder := self._unfolder) is not None and unfolder.all_overdue:
            # Nobody could be asked in time: counted as spans without a run.
            unfolder.found(unfolder.overdue(), ())
        stored = self.flush(max(0.0, deadline - time.monotonic()), leftovers=True)
        with self._life:
            worker, self._worker = self._worker, None
            self._journal.reader = None
            if worker is not None:
                if not worker.stop(max(0.1, deadline - time.monotonic())):
                    # It waits for a server that does not answer: the connection is its own from now on.
                    self._delivery = Delivery(self.target, self._settings)
                self._stored += worker.stored
            waiting = self._journal.accepted - self._journal.settled
            if waiting:
                self._losses.note(
                    "left",
                    (
                        f"{waiting} records are not yet in {self.target.shown}; they wait in {self._journal.folder} "
                        "for the next process that writes there."
                    ),
                )
            self._journal.release()
            self._journal.settled = self._journal.accepted
            self._is_closed = True
        self._losses.tell()
        return stored

    def end(self, timeout_s: float) -> bool:
        """Closes for good, at the interpreter's exit: a later put goes to the journal only."""
        self._may_start = False
        return self.close(timeout_s)

    def stats(self) -> dict[str, Any]:
        """Counts since this process began to write; sizes in bytes, times as ISO 8601 in UTC."""
        worker = self._worker
        return {
            "destination": self.target.shown,
            "journal": str(self._journal.folder),
            "accepted_records": self._journal.accepted,
            "stored_records": self._stored + (worker.stored if worker else 0),
            "backlog_records": self._journal.accepted - self._journal.settled,
            "backlog_bytes": self._journal.backlog_bytes(),
            "journal_max_bytes": self._journal.max_bytes,
            "memory_records": self._journal.in_memory(),
            "losses": self._losses.counts(),
            "prices": self._delivery.prices.stats(),
            "last_write_at": iso_time(worker.last_write_at if worker else None),
            "last_error": worker.last_error if worker else None,
            "epoch": self.epoch,
            **(self._unfolder.stats() if self._unfolder is not None else {}),
        }

    def before_fork(self) -> None:
        self._journal.before_fork()

    def after_fork_in_parent(self) -> None:
        self._journal.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Nothing of the parent's is used: files, connection, thread and locks are made anew on the first put."""
        self._journal.after_fork_in_child()
        self._losses.renew_lock()
        self._life = threading.RLock()
        # Kept, so that its finaliser does not speak on the parent's connection or warn about it.
        self._inherited.append((self._worker, self._delivery.after_fork_in_child()))
        self._worker = self._journal.reader = None
        # What a parent waits for, the parent will see.
        self._unfolder = None
        self._stored = 0
        self._next_epoch()

    def _next_epoch(self) -> None:
        self.epoch += 1

    def _default_builder(self) -> Builder:
        # Brings the prices with it: not for the application's thread.
        from chopsky_trace.enrich.batch import Builder as BatchBuilder

        return BatchBuilder(
            Breather(self._delivery.advance, self.busy_s),
            keep_media=self._settings.keep_media,
            overrides=lambda: self._delivery.prices.overrides,
            unfold=self._unfold,
        )
