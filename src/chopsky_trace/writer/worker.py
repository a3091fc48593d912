"""The one thread of a writer: reads the journal back, builds batches, writes them, commits the journal."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chopsky_trace.errors import TraceError, described
from chopsky_trace.settings import Settings
from chopsky_trace.writer import loading
from chopsky_trace.writer.batches import Builder, Built
from chopsky_trace.writer.deadletters import DEAD_LETTER, bury
from chopsky_trace.writer.delivery import Delivery, Standing, trouble
from chopsky_trace.writer.journal import Journal
from chopsky_trace.writer.losses import Losses, logger
from chopsky_trace.writer.segments import Chunk, Segment

HOUSEKEEPING_S = 5.0
"""How often dead processes are looked for."""
STATUS_S = 10.0
REAP_S = 180.0
PRUNE_S = 3_600.0
"""How often a writer removes what retention policies say, where nothing else does it more often."""
BACKOFF_CAP_S = 30.0
IMPATIENT_S = 0.25
"""Longest pause between tries while somebody waits in flush."""
PATIENCE = 3
"""Tries before an error that may be the server's own is held against the records; and again, once one stands alone."""
SMALLER = 4
"""A batch that takes longer than a statement may comes again as so many."""
GIVE_WAY = 8
"""How often a batch that gave way to somebody comes again before it is called trouble."""
GIVE_WAY_S = 0.2
HELD_S = 5.0
"""Who has held a lock for so long is not done in a moment: that is told at once."""
POISON_RUN = 10
"""Refused records in a row, after which the database rather than the records is suspected, and a pause is made."""


class Sent(NamedTuple):
    """What is on its way to the database and not yet committed to the journal."""

    segment: Segment
    chunk: Chunk


@dataclass(slots=True)
class Tried:
    """A record that stood alone and was refused for a reason that may be the server's."""

    segment: Segment | None
    end: int
    times: int = 0
    others_pass: bool = False
    """Whether the database took another record after its last try."""


class Worker:
    """Drains one journal. Started and woken by the writer; everything else happens on its own thread."""

    def __init__(
        self,
        journal: Journal,
        losses: Losses,
        delivery: Delivery,
        settings: Settings,
        make_builder: Callable[[], Builder],
        poisoned: Callable[[], None],
        late: Callable[[Callable[[Sequence[str]], Container[str]]], Sequence[bytes]],
    ) -> None:
        self.idle = False
        """Whether the next record must wake the thread: the only thing a caller looks at."""
        self.settled = threading.Condition()
        self.stored = 0
        self.set_aside = 0
        """This process's records that were refused or unreadable."""
        self.last_write_at: float | None = None
        self.last_error: str | None = None
        self.look_late = False
        """Set to have the worker look at once for what follows from no news."""
        self._journal = journal
        self._losses = losses
        self._delivery = delivery
        self._settings = settings
        self._make_builder = make_builder
        self._poisoned = poisoned
        self._late = late
        self._builder: Builder | None = None
        self._sent: Sent | None = None
        self._wake = threading.Event()
        self._waiting = 0
        self._listeners: list[Callable[[], None]] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="chopsky-trace writer", daemon=True)
        self._limit = settings.batch_records
        self._failures = 0
        self._refusals = 0
        self._tried = Tried(None, 0)
        self._sent_at = 0.0
        self._due: dict[str, float] = {}
        self._quiet = False

    # From other threads.

    def start(self) -> None:
        """Starts the thread.

        Raises:
            RuntimeError: the interpreter is shutting down.
        """
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def wake(self) -> None:
        self.idle = False
        self._wake.set()

    def wait_for(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Hurries the thread until something is done, or the time is up."""
        deadline = time.monotonic() + timeout_s
        with self.settled:
            self._waiting += 1
        try:
            self.wake()
            with self.settled:
                while not done():
                    left = deadline - time.monotonic()
                    if left <= 0 or not self.alive:
                        return done()
                    self.settled.wait(min(left, 0.5))
            return True
        finally:
            with self.settled:
                self._waiting -= 1

    async def await_for(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """`wait_for` on an event loop: no thread waits, so any number of requests may."""
        import asyncio

        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        news = asyncio.Event()

        def tell() -> None:
            # A loop that is closed has nobody waiting.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(news.set)

        with self.settled:
            self._waiting += 1
            self._listeners.append(tell)
        try:
            self.wake()
            while True:
                # Before looking: what settles while we look is told again.
                news.clear()
                left = deadline - loop.time()
                if done() or left <= 0 or not self.alive:
                    return done()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(news.wait(), min(left, 0.5))
        finally:
            with self.settled:
                self._waiting -= 1
                self._listeners.remove(tell)

    @property
    def is_failing(self) -> bool:
        """Whether the last try to reach the database failed."""
        return self._failures > 0

    def stop(self, timeout_s: float) -> bool:
        """Asks the thread to end after what it is doing; tells whether it has ended."""
        self._stopping = True
        self.wake()
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    # On the worker's thread.

    def _run(self) -> None:
        with contextlib.suppress(Exception):
            # What cannot be loaded is told where it is needed.
            loading.load()
        while not self._stopping:
            try:
                self._cycle()
            except Exception as error:
                self._stumbled(error)
        with contextlib.suppress(Exception):
            if self.stored:
                self._delivery.report(self._standing())
            self._delivery.disconnect()
        self._notify()

    def _cycle(self) -> None:
        # Before looking: a wake-up that comes while we drain is for the next cycle.
        self._wake.clear()
        self._keep_house()
        if self._rest():
            return
        # The record that ended the rest is no reason to hurry: a run's records go together. Who waits is counted
        # before they wake us.
        self._wake.clear()
        if not self._waiting and not self._stopping:
            self._wake.wait(self._settings.flush_interval_s)
        while not self._stopping and self._store_next():
            pass
        self._collect()
        self._losses.tell()

    def _rest(self) -> bool:
        """Waits for a first record; True when there is still none."""
        self.idle = True
        if self._journal.next_segment() is None and not self._stopping:
            self._notify()
            self._wake.wait(HOUSEKEEPING_S)
        self.idle = False
        return self._journal.next_segment() is None

    def _store_next(self) -> bool:
        """Reads and builds a batch while the one before is on its way, sees that one home, and sends the new one.

        False when there was nothing more, or too little to be worth another transaction now: nothing is under way then.
        """
        sent = self._sent
        found = self._journal.next_segment((sent.segment, sent.chunk.ends[-1]) if sent else None)
        if found is None:
            return self._settle()
        segment, end = found
        start = sent.chunk.ends[-1] if sent and sent.segment is segment else None
        chunk = segment.read(end, self._limit, self._settings.batch_bytes, start)
        if not chunk.records:
            return self._settle(more=chunk.corrupt_until is not None) if sent else self._pass_over(segment, chunk)
        self._suppress_tracing()
        if sent is None and (unready := self._prepare(segment, chunk)) is not None:
            return unready
        batch = error = None
        try:
            batch = self._build(chunk.records)
        except Exception as failure:
            error = failure
        # Only now, so that the server had something to do meanwhile; and if it failed, it is read again first.
        failed = self._collect()
        if failed is not None:
            return failed
        if batch is not None:
            return self._send(segment, chunk, batch, end)
        if isinstance(error, MemoryError) and len(chunk.records) == 1:
            raise error
        return self._refuse(segment, chunk, error or RuntimeError())

    def _is_to_blame(self, segment: Segment, chunk: Chunk) -> bool:
        """Whether it is the record that stands alone, where the error does not say so.

        It was tried often enough, and the database takes another one, before its last try and after it: what takes
        none is broken, and nothing is held against any record.
        """
        tried = self._tried
        if tried.segment is not segment or tried.end != chunk.ends[0]:
            tried = self._tried = Tried(segment, chunk.ends[0])
        tried.times += 1
        # Where one was set aside just now, the next is likely to be of the same run.
        if tried.times < (1 if self._refusals else PATIENCE):
            return False
        before, tried.others_pass = tried.others_pass, self._delivery.takes_others()
        return before and tried.others_pass

    def _prepare(self, segment: Segment, chunk: Chunk) -> bool | None:
        """None: a batch can be built. Else that failed, and this is whether to go on at once."""
        try:
            self._delivery.prepare()
        except Exception as error:
            return self._failed(segment, chunk, error)
        trouble = self._delivery.prices.error
        if trouble is None:
            self._losses.forget("prices")
        else:
            self._losses.note(
                "prices",
                (
                    f"The team's own prices (table model_prices) cannot be read, costs may lack them: {trouble}. "
                    "Run `chopsky-trace doctor`."
                ),
            )
        # Whoever stopped it meanwhile has given the records back.
        return False if self._stopping else None

    def _pass_over(self, segment: Segment, chunk: Chunk) -> bool:
        """Counts a record that cannot be read as lost; False where there is none."""
        if chunk.corrupt_until is None:
            return False
        self._losses.count("journal_corrupt", remedy=f"A record in {self._journal.folder} could not be read back.")
        self._count_set_aside(segment)
        self._commit(segment, chunk.corrupt_until, 1)
        return True

    def _send(self, segment: Segment, chunk: Chunk, batch: Built, end: int) -> bool:
        self._sent_at = time.monotonic()
        try:
            self._delivery.send(batch)
        except Exception as error:
            return self._failed(segment, chunk, error)
        self._sent = Sent(segment, chunk)
        # What an active segment got since is left to grow into a batch, unless somebody waits.
        if self._waiting > 0 or chunk.ends[-1] < end or not self._journal.is_active(segment):
            return True
        return self._settle()

    def _settle(self, *, more: bool = False) -> bool:
        """Sees home what is under way, where nothing follows it now; whether to go on, which somebody may wait for."""
        if self._sent is None:
            return False
        failed = self._collect()
        return more or self._waiting > 0 if failed is None else failed

    def _collect(self) -> bool | None:
        """Waits for the batch that is under way and commits it to the journal.

        None: it is stored, or there was none. Else it failed, and this is whether to go on at once.
        """
        sent, self._sent = self._sent, None
        if sent is None:
            return None
        try:
            self._delivery.collect()
        except Exception as error:
            return self._failed(sent.segment, sent.chunk, error)
        self._succeeded(sent.segment, sent.chunk)
        return None

    def _build(self, records: Sequence[bytes]) -> Built:
        if self._builder is None:
            self._builder = self._make_builder()
        return self._builder.build(records, packed=self._delivery.copies(len(records)))

    def _succeeded(self, segment: Segment, chunk: Chunk) -> None:
        self.stored += len(chunk.records)
        logger.debug("Stored %d records; %d wait", len(chunk.records), self._journal.accepted - self._journal.settled)
        self.last_write_at = time.time()
        self.last_error = None
        self._failures = self._refusals = 0
        self._limit = min(self._limit * 2, self._settings.batch_records)
        self._losses.forget("write")
        self._commit(segment, chunk.ends[-1], len(chunk.records))
        if self._delivery.prices.is_due:
            # Nothing is under way now; while batches follow one another there is no other time for it.
            self._aside(self._delivery.prepare)
        if self._is_due("status", STATUS_S):
            self._aside(lambda: self._delivery.report(self._standing()))

    def _failed(self, segment: Segment, chunk: Chunk, error: Exception) -> bool:
        kind = trouble(error)
        self.last_error = described(error)
        logger.debug("A batch of %d records was not stored (%s): %s", len(chunk.records), kind, self.last_error)
        alone = len(chunk.records) == 1
        if kind == "size" and not alone:
            self._limit = max(1, len(chunk.records) // SMALLER)
            return True
        if kind == "record" or (kind == "unknown" and not alone and self._failures >= PATIENCE):
            return self._refuse(segment, chunk, error)
        if alone and kind in ("size", "unknown") and self._is_to_blame(segment, chunk):
            return self._refuse(segment, chunk, error)
        is_brief = time.monotonic() - self._sent_at < HELD_S
        if kind == "contended" and is_brief and self._failures < GIVE_WAY and not self._stopping:
            # Somebody removes or rates what the batch is about: they are done in a moment.
            self._failures += 1
            self._wake.wait(random.uniform(0.0, GIVE_WAY_S))
            return True
        with contextlib.suppress(Exception):
            self._delivery.disconnect()
        if kind == "transient" and self._delivery.reused and self._failures == 0:
            # A connection that lay idle dies of it; that is no trouble yet.
            self._failures = 1
            return True
        remedy = "" if isinstance(error, TraceError) else "Run `chopsky-trace doctor`. "
        self._losses.note(
            "write",
            (
                f"Nothing can be written to {self._delivery.target.shown}: "
                f"{self.last_error.rstrip('.')}. {remedy}"
                f"{self._journal.accepted - self._journal.settled} records wait in "
                f"{self._journal.folder}, none is lost."
            ),
        )
        self._back_off()
        return False

    def _refuse(self, segment: Segment, chunk: Chunk, error: Exception) -> bool:
        """A record of this batch is refused: halve the batch until it stands alone, then set it aside."""
        self.last_error = described(error)
        if len(chunk.records) > 1:
            self._limit = max(1, len(chunk.records) // 2)
            return True
        self._bury(chunk.records[0], error)
        self._count_set_aside(segment)
        self._losses.count(
            "poison",
            remedy=(f"The last was refused with {self.last_error}; they are in {self._journal.folder / DEAD_LETTER}."),
        )
        self._commit(segment, chunk.ends[0], 1)
        self._poisoned()
        self._failures = 0
        self._refusals += 1
        if self._refusals % POISON_RUN == 0:
            self._back_off()
        return True

    def _count_set_aside(self, segment: Segment) -> None:
        # A dead process's record is not what somebody who flushes here asks about.
        if self._journal.is_own(segment):
            self.set_aside += 1

    def _bury(self, record: bytes, error: Exception) -> None:
        try:
            bury(self._journal.folder, record, described(error))
        except OSError as failure:
            self._losses.note("dead letter", f"A refused record could not be set aside: {failure.strerror or failure}")

    def _commit(self, segment: Segment, position: int, records: int) -> None:
        self._journal.commit(segment, position, records)
        self._notify()

    def _notify(self) -> None:
        with self.settled:
            self.settled.notify_all()
            for tell in self._listeners:
                tell()

    def _stumbled(self, error: Exception) -> None:
        if self._sent is not None:
            self._sent = None
            with contextlib.suppress(Exception):
                self._delivery.disconnect()
        self.last_error = described(error)
        self._losses.note(
            "worker",
            (f"The writer stumbled and goes on: {self.last_error}. The records stay in {self._journal.folder}."),
        )
        logger.debug("The writer stumbled", exc_info=error)
        self._back_off()

    def _back_off(self) -> None:
        self._losses.tell()
        self._notify()
        self._failures += 1
        delay = min(BACKOFF_CAP_S, 0.25 * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)
        self._wake.clear()
        if not self._stopping:
            self._wake.wait(min(delay, IMPATIENT_S) if self._waiting else delay)

    def _keep_house(self) -> None:
        self._losses.tell()
        if self._is_due("adopt", HOUSEKEEPING_S):
            if self._journal.adopt() == 0 and self._due.get("seen") == self._journal.accepted:
                self._journal.retire()
            self._due["seen"] = self._journal.accepted
        if self._is_due("late", HOUSEKEEPING_S) or self.look_late:
            self._aside(self._look_late)
        if self.stored and self._is_due("reap", REAP_S):
            self._aside(self._delivery.reap)
        if self.stored and self._is_due("prune", PRUNE_S):
            self._aside(self._delivery.prune)

    def _look_late(self) -> None:
        for record in self._late(self._delivery.traces_with_run):
            self._journal.append(record)
        self.look_late = False

    @staticmethod
    def _aside(task: Callable[[], None]) -> None:
        """What the records do not depend on may fail."""
        try:
            task()
        except Exception as error:
            logger.debug("Beside the records: %s", described(error))

    def _is_due(self, task: str, interval_s: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(task, 0.0):
            return False
        self._due[task] = now + interval_s
        return True

    def _standing(self) -> Standing:
        waiting = self._journal.accepted - self._journal.settled
        prices = self._delivery.prices.stats()
        return Standing(waiting, self._journal.backlog_bytes(), self.stored, self._losses.counts(), prices)

    def _suppress_tracing(self) -> None:
        """Our own SQL is not to be traced by an instrumented driver; for the life of this thread, once is enough."""
        # Not imported: where OpenTelemetry is not loaded, nothing is instrumented.
        context = sys.modules.get("opentelemetry.context")
        if self._quiet or context is None:
            return
        self._quiet = True
        with contextlib.suppress(AttributeError):
            current = context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True)
            context.attach(context.set_value("suppress_instrumentation", True, current))
