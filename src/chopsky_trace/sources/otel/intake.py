"""The way in for OpenTelemetry: native spans and log records into the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from chopsky_trace.sources.destination import Destination, Opened
from chopsky_trace.telemetry.conventions.native import NativeLog, NativeSpan
from chopsky_trace.telemetry.raw import log_record, safe_log, safe_span, span_record

Native = TypeVar("Native", NativeSpan, NativeLog)


class Intake:
    """Takes spans and log records; one for each exporter or receiver. Safe to be called from any thread.

    They are journaled as they came, and interpreted in the worker: that takes several times as long. Only where not all
    of their content may touch the disk (masked, metadata only, hidden, sampled) it is done before.

    Args:
        destination: where records go, and how they are made.
    """

    def __init__(self, destination: Destination) -> None:
        self.destination = destination

    def spans(self, spans: Sequence[NativeSpan]) -> bool:
        """Take custody of spans that have ended.

        Returns:
            Whether each is in the journal. If not, the same spans may be given again: what was taken already changes
            nothing.
        """
        opened = self.destination.opened()
        if opened is None:
            return False
        told = opened.told
        if told is not None:
            return self._put(opened, spans, lambda span: span_record(span, told, opened.options.max_string))
        unfolder = opened.writer.unfolder
        made = unfolder.spans([safe_span(span) for span in spans], opened.options, self.destination.failed)
        taken = opened.writer.put_all(made)
        if not taken:
            unfolder.untell(spans)
        return taken

    def logs(self, logs: Sequence[NativeLog]) -> bool:
        """Take custody of log records. Returns: as `spans`."""
        opened = self.destination.opened()
        if opened is None:
            return False
        told = opened.told
        if told is not None:
            return self._put(opened, logs, lambda log: log_record(log, told, opened.options.max_string))
        made = opened.writer.unfolder.logs([safe_log(log) for log in logs], opened.options, self.destination.failed)
        return opened.writer.put_all(made)

    def began(self, span: NativeSpan) -> None:
        """A span is under way: if it is a GenAI one, it is shown as active."""
        opened = self.destination.opened()
        if opened is None:
            return
        try:
            opened.writer.put_all(opened.writer.unfolder.began(safe_span(span), opened.options))
        except Exception as error:
            self.destination.failed("on_start", error)

    def _put(self, opened: Opened, natives: Sequence[Native], record: Callable[[Native], bytes]) -> bool:
        made: list[bytes] = []
        for native in natives:
            try:
                made.append(record(native))
            except Exception as error:
                self.destination.failed("export", error)
        return opened.writer.put_all(made)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until what was accepted is in the database, at most `timeout_s` seconds; whether it is."""
        return self.destination.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Flush, with every trace settled as it is; whether all that was accepted is in the database."""
        opened = self.destination.opened() if self.destination.is_open else None
        return opened.writer.settle(timeout_s) if opened is not None else True

    def stats(self) -> dict[str, Any]:
        """The writer's counts; and of spans that wait, came twice, or belong to no GenAI trace."""
        return self.destination.stats()
