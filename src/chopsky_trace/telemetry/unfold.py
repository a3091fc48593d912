"""Spans and log records, in whatever order they come -> records. The one place that remembers traces."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from typing import NamedTuple

from orjson import loads

from chopsky_trace.settings import Settings
from chopsky_trace.telemetry.conventions import heard, read
from chopsky_trace.telemetry.conventions.native import ERROR, NativeLog, NativeSpan, in_time
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.conventions.scopes import read_tags
from chopsky_trace.telemetry.raw import HEADS, decoded
from chopsky_trace.telemetry.records import Records
from chopsky_trace.telemetry.traces import Gathered, Known, Trace, Traces
from chopsky_trace.telling.options import LostField, Options, options_told
from chopsky_trace.telling.sampling import is_sampled

MAX_WAITING = 10_000
"""Most spans, of all traces, that wait for a GenAI span; the oldest beyond it are asked after at the next look.

Never kept are twice as many."""
MAX_WAITING_CHARS = 100_000_000
"""Most text in the attributes of all spans that wait; the oldest beyond it are given up."""
QUIET_S = 60.0
"""A trace without news for so long, and without a root, is settled as it is."""
ROOTED_S = 10.0
"""A trace whose root came and then nothing more for so long is forgotten: what is late is recognised all the same."""
MAX_TRACE = 10_000
"""Most spans and log records remembered of one trace; one that goes on and on is settled as it is and begun anew."""
MAX_RECORDS = 256
"""Most ways to record (users, sessions, tags that exporters were given) remembered at once."""
REMEMBERED_BYTES = 40_000_000
"""Of lines whose records are remembered, in case their batch is built again: several batches."""


def _go_on() -> None:
    """No pause."""


class Late(NamedTuple):
    """What is told when all of some lines have been looked at, each with the records of the line that it goes with."""

    rooted: dict[str, tuple[Trace, list[bytes]]]
    """Traces whose root came."""
    heard: dict[tuple[str, str], tuple[Records, int, list[bytes]]]
    """Trace and span of the calls of which messages came, with the time of the first."""
    large: dict[str, list[bytes]]
    """Traces of which more is remembered than is good."""


class Unfolder:
    """Makes records of what the journal holds of OpenTelemetry, or of what is given directly. Safe in any thread.

    Args:
        settings: bounds.
        epoch: changes when what was made before can no longer be referred to.
    """

    def __init__(self, settings: Settings, epoch: Callable[[], int]) -> None:
        self.counts: Counter[str] = Counter()
        """Spans and log records that make no record, by reason."""
        self._settings = settings
        self._epoch = epoch
        self._lock = threading.RLock()
        self._traces = Traces()
        self._records: dict[bytes | int, Records] = {}
        self._made: list[bytes] = []
        self._unfolded: dict[bytes, tuple[int, list[bytes]]] = {}
        """By line: the how manieth it was, and its records."""
        self._unfoldings = 0
        self._unfolded_bytes = 0
        self._all_overdue = False

    # -- where the records go that are made here

    @property
    def epoch(self) -> int:
        """As a writer has it."""
        return self._epoch()

    def put(self, record: bytes) -> bool:
        """Keeps a record for whoever asked for it."""
        self._made.append(record)
        return True

    def _lost_field(self, name: str, error: Exception) -> None:
        self.counts[f"unreadable_{name}"] += 1

    def _taken(self) -> list[bytes]:
        made, self._made = self._made, []
        return made

    # -- in

    def unfolded(self, lines: Sequence[bytes], pause: Callable[[], None] = _go_on) -> Sequence[bytes]:
        """The lines, records in the place of those that are spans and log records as they came.

        The same lines give the same records again while they are remembered, so that a batch may be built twice.

        Args:
            lines: of the journal.
            pause: called between them, as by the builder of batches.

        Raises:
            ValueError, KeyError, TypeError: a line is no such record.
        """
        if not any(line.startswith(HEADS) for line in lines):
            return lines
        with self._lock:
            found = [line for line in lines if not line.startswith(HEADS)]
            raw = dict.fromkeys(line for line in lines if line.startswith(HEADS))
            late = Late({}, {}, {})
            # What was unfolded before is told in the order of then: some of it refers to what stands before it.
            for _, made in sorted(self._unfolded[line] for line in raw if line in self._unfolded):
                found += made
            for line, (native, told) in _in_order([line for line in raw if line not in self._unfolded], pause):
                pause()
                found += self._remembered(line, self._unfold(native, told, late))
            # All of a call's messages at once, and a trace when all of it that is here has been looked at.
            for (trace_id, span_id), (records, at, made) in late.heard.items():
                trace = self._traces.open.get(trace_id)
                if trace is None or span_id not in trace.gathered:
                    # There were more traces at once than are remembered.
                    continue
                records.heard(trace, span_id, at)
                found += self._add(made)
                if trace.rooted:
                    late.rooted[trace_id] = trace, made
            for trace, made in late.rooted.values():
                self._settle(trace)
                self._traces.forget_complete(trace)
                found += self._add(made)
            for trace_id, made in late.large.items():
                self._forget_large((trace_id,))
                found += self._add(made)
            return found

    def _unfold(self, native: NativeSpan | NativeLog, told: bytes, late: Late) -> list[bytes]:
        records = self._records_of(told)
        if isinstance(native, NativeLog):
            made: list[bytes] = []
            if self._log(records, native):
                known = late.heard.get((native.trace_id, native.span_id))
                at = native.at if known is None else known[1]
                late.heard[native.trace_id, native.span_id] = records, at, made
                if self._traces.open[native.trace_id].size > MAX_TRACE:
                    late.large[native.trace_id] = made
            made += self._taken()
            return made
        trace = self._span(records, native)
        made = self._taken()
        if trace.size > MAX_TRACE:
            late.large[native.trace_id] = made
        if trace.rooted:
            late.rooted[native.trace_id] = trace, made
        return made

    def _add(self, made: list[bytes]) -> list[bytes]:
        """Adds what was made since to what a line gives."""
        more = self._taken()
        made += more
        return more

    def _remembered(self, line: bytes, made: list[bytes]) -> list[bytes]:
        self._unfoldings += 1
        self._unfolded[line] = self._unfoldings, made
        self._unfolded_bytes += len(line)
        while self._unfolded_bytes > REMEMBERED_BYTES:
            oldest = next(iter(self._unfolded))
            del self._unfolded[oldest]
            self._unfolded_bytes -= len(oldest)
        return made

    def spans(self, spans: Sequence[NativeSpan], options: Options, failed: LostField) -> list[bytes]:
        """The records of spans that have ended; `failed` is told of one that none could be made of."""
        with self._lock:
            records = self._of(options)
            rooted: dict[str, Trace] = {}
            for native in sorted(spans, key=_place):
                try:
                    trace = self._span(records, native)
                except Exception as error:
                    failed("export", error)
                    continue
                if trace.rooted:
                    rooted[native.trace_id] = trace
            for trace in rooted.values():
                self._settle(trace)
                self._traces.forget_complete(trace)
            self._forget_large({native.trace_id for native in spans})
            return self._taken()

    def logs(self, logs: Sequence[NativeLog], options: Options, failed: LostField) -> list[bytes]:
        """The records of log records: of those that are messages of a call; others are counted."""
        with self._lock:
            records = self._of(options)
            news: dict[tuple[str, str], int] = {}
            for log in logs:
                try:
                    if self._log(records, log):
                        news.setdefault((log.trace_id, log.span_id), log.at)
                except Exception as error:
                    failed("export", error)
            for (trace_id, span_id), at in news.items():
                trace = self._traces.open.get(trace_id)
                if trace is None or span_id not in trace.gathered:
                    continue
                records.heard(trace, span_id, at)
                if trace.rooted:
                    self._settle(trace)
            self._forget_large({trace_id for trace_id, _ in news})
            return self._taken()

    def began(self, span: NativeSpan, options: Options) -> list[bytes]:
        """The record of a GenAI span that is under way; none of others."""
        reading = read(span)
        if not reading.is_genai:
            return []
        with self._lock:
            # Its end may be unfolded elsewhere: nothing is remembered of it.
            self._of(options).began(Trace(span.trace_id, self.epoch), span, reading)
            return self._taken()

    def untell(self, spans: Sequence[NativeSpan]) -> None:
        """What was made of these spans is not in the journal: they will be given again, and are no repetition then."""
        with self._lock:
            for native in spans:
                trace = self._traces.open.get(native.trace_id)
                if trace is not None:
                    trace.spans.pop(native.span_id, None)
                    trace.root.forget()

    def _records_of(self, told: bytes) -> Records:
        return self._records.get(told) or self._new_records(told, options_told(loads(told), self._settings))

    def _of(self, options: Options) -> Records:
        # Kept with the options, so that no other can come to have their id.
        return self._records.get(id(options)) or self._new_records(id(options), options)

    def _new_records(self, key: bytes | int, options: Options) -> Records:
        if len(self._records) >= MAX_RECORDS:
            self._records.clear()
        records = self._records[key] = Records(self, options, self._lost_field)
        return records

    def _trace(self, records: Records, trace_id: str) -> Trace:
        epoch, now = self.epoch, time.monotonic()
        trace = self._traces.get(trace_id, epoch, now)
        if trace is None:
            while len(self._traces.open) >= self._settings.max_open_roots:
                self._forget(next(iter(self._traces.open)))
            sampled = is_sampled(trace_id, records.options.sample_rate)
            trace = self._traces.add(trace_id, epoch, now, sampled=sampled)
        return trace

    def _span(self, records: Records, native: NativeSpan) -> Trace:
        trace = self._trace(records, native.trace_id)
        if native.span_id in trace.spans:
            # Delivered again.
            self.counts["repeated_spans"] += 1
            return trace
        native = in_time(native)
        reading = read(native)
        trace.rooted = trace.rooted or native.is_first
        trace.told_by = records
        if reading.is_genai:
            self._turned_out(records, trace)
            records.genai(trace, native, reading)
        elif not self._settings.other_spans:
            self.counts["other_spans_left_out"] += 1
            # What is beneath it has its place all the same.
            trace.spans[native.span_id] = Known(trace.id_of(native.span_id), native, None)
        elif trace.is_genai:
            records.other(trace, native, as_other(native, reading))
        else:
            if self._traces.waiting >= 2 * MAX_WAITING or self._traces.waiting_chars > MAX_WAITING_CHARS:
                self._give_up(next(t for t in self._traces.open.values() if t.waiting))
            self._traces.wait(trace, native)
        return trace

    def _log(self, records: Records, log: NativeLog) -> bool:
        """Whether it is a message of a call, and news."""
        said = heard(log)
        if not said:
            self.counts["other_logs"] += 1
            return False
        trace = self._trace(records, log.trace_id)
        self._turned_out(records, trace)
        is_news = trace.gathered.setdefault(log.span_id, Gathered()).add(log, said)
        trace.logs += is_news
        self.counts["repeated_logs"] += not is_news
        return is_news

    def _turned_out(self, records: Records, trace: Trace) -> None:
        """The trace is about a model: what waited for that is told."""
        self._traces.is_genai(trace)
        for native in self._traces.released(trace):
            (trace.told_by or records).other(trace, native, as_other(native, read(native)))

    # -- traces that come to their end

    def quiet(self) -> list[bytes]:
        """The records that follow from some traces having had no news for a while."""
        with self._lock:
            now = time.monotonic()
            for trace_id, trace in list(self._traces.open.items()):
                for_s = now - trace.touched
                if trace.waiting:
                    # Another process may have seen a GenAI span of it: see `overdue`.
                    continue
                if for_s > (ROOTED_S if trace.rooted and trace.is_genai else self._settings.other_wait_s):
                    self._forget(trace_id)
                elif for_s > QUIET_S and trace.unsettled:
                    self._settle(trace, ended=True)
            return self._taken()

    def finish(self) -> list[bytes]:
        """The records that follow from nothing more coming: every trace is settled as it is.

        Those with calls whose messages may still come as log records are not forgotten yet; those that wait for a GenAI
        span are overdue.
        """
        with self._lock:
            self._all_overdue = self._traces.waiting > 0
            for trace_id, trace in list(self._traces.open.items()):
                if trace.untold:
                    self._settle(trace, ended=True)
                elif not trace.waiting:
                    self._forget(trace_id)
            return self._taken()

    @property
    def all_overdue(self) -> bool:
        """Whether no trace is to wait any longer for a GenAI span."""
        return self._all_overdue

    def overdue(self) -> list[str]:
        """Trace ids, 32 hexadecimal digits, of spans that have waited long enough for a GenAI span of their trace.

        Whether another process saw one, the database knows: `found` wants to be told.
        """
        with self._lock:
            over = self._traces.waiting if self._all_overdue else self._traces.waiting - MAX_WAITING
            now = time.monotonic()
            overdue: list[str] = []
            for trace_id, trace in self._traces.open.items():
                if trace.waiting and (over > 0 or now - trace.touched > self._settings.other_wait_s):
                    over -= len(trace.waiting)
                    overdue.append(trace_id)
            return overdue

    def found(self, asked: Iterable[str], with_run: Container[str]) -> list[bytes]:
        """The records of the spans of those traces that have a run; of the others none are made, which is counted."""
        with self._lock:
            for trace_id in asked:
                trace = self._traces.open.get(trace_id)
                if trace is None or not trace.waiting:
                    continue
                if trace_id in with_run and trace.told_by is not None:
                    self._turned_out(trace.told_by, trace)
                else:
                    self._forget(trace_id)
            self._all_overdue = self._all_overdue and self._traces.waiting > 0
            return self._taken()

    def stats(self) -> dict[str, int]:
        """What waits, came twice, or makes no record."""
        return {"traces": len(self._traces.open), "other_spans_waiting": self._traces.waiting, **self.counts}

    def _settle(self, trace: Trace, *, ended: bool = False) -> None:
        if trace.told_by is not None:
            trace.told_by.settle(trace, ended=ended)

    def _forget(self, trace_id: str) -> None:
        trace = self._traces.open.pop(trace_id)
        self._give_up(trace)
        self._settle(trace, ended=True)

    def _forget_large(self, trace_ids: Iterable[str]) -> None:
        for trace_id in trace_ids:
            trace = self._traces.open.get(trace_id)
            if trace is not None and trace.size > MAX_TRACE:
                self._forget(trace_id)

    def _give_up(self, trace: Trace) -> None:
        """No GenAI span came: there is no run for these."""
        given_up = len(self._traces.released(trace))
        if given_up:
            self.counts["other_spans_without_run"] += given_up


def _in_order(
    lines: Iterable[bytes], pause: Callable[[], None]
) -> list[tuple[bytes, tuple[NativeSpan | NativeLog, bytes]]]:
    """Lines with what they hold: log records as they came, then spans as they began, roots last.

    Exporters may hand a root over before its last call; what the root says is that call's answer.
    """
    found: list[tuple[bytes, tuple[NativeSpan | NativeLog, bytes]]] = []
    for line in lines:
        pause()
        found.append((line, decoded(line)))
    found.sort(key=lambda one: _place(one[1][0]))
    return found


def _place(native: NativeSpan | NativeLog) -> tuple[int, int, str]:
    if isinstance(native, NativeLog):
        return 0, 0, ""
    return 1 + (native.parent_id is None), native.start, native.span_id


def as_other(native: NativeSpan, reading: Reading) -> Reading:
    """The reading of a span that is about no model: what every span has."""
    reading.kind = "other"
    reading.name = native.name
    read_tags(native, reading)
    reading.instrumentor = reading.instrumentor or native.scope
    reading.started, reading.ended = native.start, native.end
    if native.status == ERROR:
        reading.status = "failed"
        reading.error = native.message or "failed"
    return reading
