"""The way in for OpenTelemetry: spans and log records, in whatever order they come, into the journal."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

from chopsky_trace.sources.destination import Destination, Opened
from chopsky_trace.telemetry.conventions import heard, read
from chopsky_trace.telemetry.conventions.native import ERROR, NativeLog, NativeSpan
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.records import Records
from chopsky_trace.telemetry.traces import Gathered, Trace, Traces, traces_of
from chopsky_trace.telling.sampling import is_sampled

MAX_WAITING = 10_000
"""Most spans, of all traces, that wait for a GenAI span."""
QUIET_S = 60.0
"""A trace without news for so long, and without a root, is settled as it is."""
ROOTED_S = 10.0
"""A trace whose root came and then nothing more for so long is forgotten: what is late is recognised all the same."""
LOOKS_S = 5.0
"""How often that is looked after, while anything waits."""


class _Open:
    """What an intake has while its destination is open."""

    def __init__(self, opened: Opened, destination: Destination) -> None:
        self.opened = opened
        self.traces: Traces = traces_of(opened.folder)
        self.records = Records(opened.writer, opened.options, destination.lost_field)


class Intake:
    """Takes spans and log records; one for each exporter or receiver. Safe to be called from any thread.

    Args:
        destination: where records go, and how they are made.
    """

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.renew()
        _intakes.add(self)

    def renew(self) -> None:
        """Begin anew, in a forked child."""
        self._open: _Open | None = None
        self._timer: threading.Timer | None = None
        self._closed = False
        self._counts: dict[str, int] = {}

    # -- in

    def spans(self, spans: Sequence[NativeSpan]) -> bool:
        """Take custody of spans that have ended.

        Returns:
            Whether each is in the journal, or waits for a GenAI span of its trace. If not, the same spans may be given
            again: what was taken already changes nothing.
        """
        way = self._way()
        if way is None:
            return False
        with way.traces.lock:
            rooted: dict[str, Trace] = {}
            for native in spans:
                try:
                    trace = self._span(way, native)
                except Exception as error:
                    self.destination.failed("export", error)
                    continue
                if trace.rooted:
                    rooted[native.trace_id] = trace
            for trace in rooted.values():
                self._settle(way, trace)
            self._look_after(way)
            taken = way.records.handed_over()
            if not taken:
                self._untell(way, spans)
            return taken

    @staticmethod
    def _untell(way: _Open, spans: Sequence[NativeSpan]) -> None:
        """They will be given again, and are no repetition then."""
        for native in spans:
            trace = way.traces.open.get(native.trace_id)
            if trace is not None:
                trace.spans.pop(native.span_id, None)
                # What they were to carry is not in the journal: nothing may refer to it.
                trace.root.forget()

    def began(self, span: NativeSpan) -> None:
        """A span is under way: if it is a GenAI one, it is shown as active."""
        way = self._way()
        if way is None:
            return
        try:
            reading = read(span)
            if reading.is_genai:
                with way.traces.lock:
                    trace = self._trace(way, span.trace_id)
                    trace.told_by = way.records
                    self._turned_out(way, trace)
                    way.records.began(trace, span, reading)
                    way.records.handed_over()
        except Exception as error:
            self.destination.failed("on_start", error)

    def logs(self, logs: Sequence[NativeLog]) -> bool:
        """Take custody of log records: those that are messages of a call; others are counted. Returns: as `spans`."""
        way = self._way()
        if way is None:
            return False
        with way.traces.lock:
            news: dict[tuple[str, str], int] = {}
            for log in logs:
                try:
                    self._log(way, log, news)
                except Exception as error:
                    self.destination.failed("export", error)
            for (trace_id, span_id), at in news.items():
                try:
                    way.records.heard(way.traces.open[trace_id], span_id, at)
                except Exception as error:
                    self.destination.failed("export", error)
            self._look_after(way)
            taken = way.records.handed_over()
            for trace_id, span_id in news:
                trace = way.traces.open[trace_id]
                trace.gathered[span_id].refused = not taken
                if not taken:
                    trace.root.forget()
            return taken

    def _way(self) -> _Open | None:
        self._closed = False
        if self._open is None:
            opened = self.destination.opened()
            if opened is not None:
                self._open = _Open(opened, self.destination)
        return self._open

    def _trace(self, way: _Open, trace_id: str) -> Trace:
        traces, opened = way.traces, way.opened
        epoch, now = opened.writer.epoch, time.monotonic()
        trace = traces.get(trace_id, epoch, now)
        if trace is None:
            while len(traces.open) >= opened.settings.max_open_roots:
                self._forget(way, next(iter(traces.open)))
            sampled = is_sampled(trace_id, opened.options.sample_rate)
            trace = traces.add(trace_id, epoch, now, sampled=sampled)
        return trace

    def _span(self, way: _Open, native: NativeSpan) -> Trace:
        trace = self._trace(way, native.trace_id)
        if native.span_id in trace.spans:
            # Delivered again.
            self._count("repeated_spans")
            return trace
        reading = read(native)
        trace.rooted = trace.rooted or native.parent_id is None
        trace.told_by = way.records
        if reading.is_genai:
            self._turned_out(way, trace)
            way.records.genai(trace, native, reading)
        elif not way.opened.settings.other_spans:
            self._count("other_spans_left_out")
        elif trace.is_genai:
            way.records.other(trace, native, as_other(native, reading))
        else:
            if way.traces.waiting >= MAX_WAITING:
                self._give_up(way.traces, next(t for t in way.traces.open.values() if t.waiting))
            way.traces.wait(trace, native)
        return trace

    def _log(self, way: _Open, log: NativeLog, news: dict[tuple[str, str], int]) -> None:
        said = heard(log)
        if not said:
            self._count("other_logs")
            return
        trace = self._trace(way, log.trace_id)
        self._turned_out(way, trace)
        gathered = trace.gathered.setdefault(log.span_id, Gathered())
        if gathered.add(log, said) or gathered.refused:
            news.setdefault((log.trace_id, log.span_id), log.at)
        else:
            self._count("repeated_logs")

    def _turned_out(self, way: _Open, trace: Trace) -> None:
        """The trace is about a model: what waited for that is told."""
        way.traces.is_genai(trace)
        records = trace.told_by or way.records
        for native in way.traces.released(trace):
            records.other(trace, native, as_other(native, read(native)))

    # -- traces that come to their end

    def _settle(self, way: _Open, trace: Trace) -> None:
        records = trace.told_by
        if records is None:
            return
        try:
            records.settle(trace)
            if records is not way.records:
                # Another exporter's, which may not come to it for a while.
                records.handed_over()
        except Exception as error:
            self.destination.failed("export", error)

    def _forget(self, way: _Open, trace_id: str) -> None:
        trace = way.traces.open.pop(trace_id)
        self._give_up(way.traces, trace)
        self._settle(way, trace)

    def _give_up(self, traces: Traces, trace: Trace) -> None:
        """No GenAI span came: there is no run for these."""
        self._count("other_spans_without_run", len(traces.released(trace)))

    def _look_after(self, way: _Open) -> None:
        """Sees to it that what waits is looked after even when nothing more comes."""
        if self._timer is None and way.traces.open and not self._closed:
            self._timer = threading.Timer(LOOKS_S, self._look, (way,))
            self._timer.daemon = True
            try:
                self._timer.start()
            except RuntimeError:
                # The interpreter is ending.
                self._timer = None

    def _look(self, way: _Open) -> None:
        with way.traces.lock:
            self._timer = None
            now = time.monotonic()
            for trace_id, trace in list(way.traces.open.items()):
                quiet = now - trace.touched
                if quiet > (ROOTED_S if trace.rooted and trace.is_genai else way.opened.settings.other_wait_s):
                    self._forget(way, trace_id)
                elif quiet > QUIET_S and trace.unsettled:
                    self._settle(way, trace)
            way.records.handed_over()
            self._look_after(way)

    # -- out

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until what was accepted is in the database, at most `timeout_s` seconds; whether it is."""
        return self.destination.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Settle every trace as it is, and flush; whether all that was accepted is in the database."""
        way = self._open
        if way is not None:
            with way.traces.lock:
                self._closed = True
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                for trace_id in list(way.traces.open):
                    self._forget(way, trace_id)
                way.records.handed_over()
        return self.destination.flush(timeout_s)

    def stats(self) -> dict[str, Any]:
        """The writer's counts; and of spans that wait, came twice, or belong to no GenAI trace."""
        found = self.destination.stats()
        if self._open is not None:
            traces = self._open.traces
            found |= {"traces": len(traces.open), "other_spans_waiting": traces.waiting}
        return found | self._counts

    def _count(self, name: str, count: int = 1) -> None:
        if count:
            self._counts[name] = self._counts.get(name, 0) + count


_intakes: weakref.WeakSet[Intake] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for intake in list(_intakes):
        intake.renew()


os.register_at_fork(after_in_child=_after_fork_in_child)


def as_other(native: NativeSpan, reading: Reading) -> Reading:
    """The reading of a span that is about no model: what every span has."""
    reading.kind = "other"
    reading.name = native.name
    reading.instrumentor = reading.instrumentor or native.scope
    reading.started, reading.ended = native.start, native.end
    if native.status == ERROR:
        reading.status = "failed"
        reading.error = native.message or "failed"
    return reading
