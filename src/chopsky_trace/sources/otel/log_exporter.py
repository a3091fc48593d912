"""`SupabaseLogExporter`: messages that instrumentors tell as OpenTelemetry log records -> records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

try:
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
except ImportError:
    # Older ones have them under other names.
    raise ImportError("SupabaseLogExporter needs opentelemetry-sdk 1.39 or newer") from None

from chopsky_trace.sources.destination import Destination
from chopsky_trace.sources.otel.exporter import SHUTDOWN_S
from chopsky_trace.sources.otel.intake import Intake
from chopsky_trace.telemetry.conventions.native import NativeLog


class SupabaseLogExporter(LogRecordExporter):
    """Adds the messages that travel as log records to the model calls that they belong to.

    Beside a SupabaseSpanExporter, in the same process, for instrumentors that put no messages on their spans:
    `logger_provider.add_log_record_processor(BatchLogRecordProcessor(SupabaseLogExporter()))`, or
    `OTEL_LOGS_EXPORTER=chopsky`. Log records that are no messages are counted and left.

    Args: all optional, as SupabaseSpanExporter's.
    """

    def __init__(self, database_url: str | None = None, **options: Any) -> None:
        self._intake = Intake(Destination(database_url, **options))
        self._is_shut_down = False

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Accept log records; SUCCESS: every message among them is in the journal. Never raises."""
        if self._is_shut_down:
            return LogRecordExportResult.FAILURE
        taken = self._intake.logs([native for record in batch if (native := native_log(record)) is not None])
        return LogRecordExportResult.SUCCESS if taken else LogRecordExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until all that was accepted is in the database; whether it is in time."""
        return self._intake.flush(timeout_millis / 1_000)

    def shutdown(self) -> None:
        """Flush, for a bounded time; what is not stored then stays in the journal."""
        if not self._is_shut_down:
            self._is_shut_down = True
            self._intake.flush(SHUTDOWN_S)

    def stats(self) -> dict[str, Any]:
        """As SupabaseSpanExporter's."""
        return self._intake.stats()


def native_log(record: ReadableLogRecord) -> NativeLog | None:
    """The log record as plain values; None of one that belongs to no span."""
    log = record.log_record
    if not log.trace_id or not log.span_id:
        return None
    scope = record.instrumentation_scope
    attributes = log.attributes or {}
    return NativeLog(
        trace_id=format(log.trace_id, "032x"),
        span_id=format(log.span_id, "016x"),
        name=log.event_name or str(attributes.get("event.name") or ""),
        at=log.timestamp or log.observed_timestamp or 0,
        body=log.body,
        attributes=attributes,
        scope=scope.name if scope is not None else "",
        resource=record.resource.attributes,
    )
