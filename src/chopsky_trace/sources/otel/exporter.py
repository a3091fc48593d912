"""`SupabaseSpanExporter`, `SupabaseSpanProcessor`: an OpenTelemetry SDK's spans -> records.

Runs on the SDK's export thread (with a SimpleSpanProcessor, on the application's): it reads, encodes and appends to the
journal, and never waits for the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from orjson import dumps

from chopsky_trace.enrich.limit import clean
from chopsky_trace.scope import current
from chopsky_trace.settings import CaptureLevel
from chopsky_trace.sources.destination import Destination
from chopsky_trace.sources.otel.intake import Intake
from chopsky_trace.telemetry.conventions.native import NativeEvent, NativeSpan

ATTRIBUTES = {"user_id": "user.id", "session_id": "session.id", "tenant_id": "tenant.id"}
"""What a process's first span of a trace is given of the context around it."""
TAGS, METADATA = "tag.tags", "metadata"
"""The same, under OpenInference's names."""
LONG_CHARS = 10_000
"""Longest text kept of such metadata."""
SHUTDOWN_S = 5.0
"""Longest wait for the database at shutdown; the rest stays in the journal."""


class SupabaseSpanExporter(SpanExporter):
    """Mirrors the GenAI traces of any OpenTelemetry instrumentation into your own Postgres.

    `provider.add_span_processor(BatchSpanProcessor(SupabaseSpanExporter()))`, or `OTEL_TRACES_EXPORTER=chopsky`.

    Args: all optional, as SupabaseTracer's. `user_id`, `session_id`, `tenant_id`, `tags` and `metadata` are those of
        traces whose root does not say.

    Raises:
        SettingsError: an argument is not of its kind.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        user_id: object = None,
        session_id: object = None,
        tenant_id: object = None,
        project: str | None = None,
        environment: str | None = None,
        tags: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
        capture: CaptureLevel | None = "full",
        redact: Callable[[str], str] | None = None,
        sample_rate: float = 1.0,
    ) -> None:
        self._intake = Intake(
            Destination(
                database_url,
                user_id=user_id,
                session_id=session_id,
                tenant_id=tenant_id,
                project=project,
                environment=environment,
                tags=tags,
                metadata=metadata,
                capture=capture,
                redact=redact,
                sample_rate=sample_rate,
            )
        )
        self._is_shut_down = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Accept spans; SUCCESS: all are in the journal, or wait for a GenAI span of their trace. Never raises."""
        if self._is_shut_down:
            return SpanExportResult.FAILURE
        taken = self._intake.spans([native for span in spans if (native := native_span(span)) is not None])
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def began(self, span: ReadableSpan) -> None:
        """Show a GenAI span as active; its end replaces what is told of it now. Never raises."""
        native = native_span(span)
        if native is not None and not self._is_shut_down:
            self._intake.began(native)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until all that was accepted is in the database; whether it is in time."""
        return self._intake.flush(timeout_millis / 1_000)

    def shutdown(self, timeout_millis: int = int(SHUTDOWN_S * 1_000)) -> None:
        """Settle every trace as it is and flush, at most so long; what is not stored then stays in the journal."""
        if not self._is_shut_down:
            self._is_shut_down = True
            self._intake.close(min(timeout_millis / 1_000, SHUTDOWN_S))

    def stats(self) -> dict[str, Any]:
        """Records accepted and stored, backlog, losses by reason, and spans that wait or belong to no GenAI trace."""
        return self._intake.stats()


class SupabaseSpanProcessor(BatchSpanProcessor):
    """A BatchSpanProcessor that also shows GenAI spans while they are under way.

    `provider.add_span_processor(SupabaseSpanProcessor())` in the place of a BatchSpanProcessor. It costs the
    application's thread one record for each GenAI span that starts.

    Args:
        exporter: where all else is set: `SupabaseSpanProcessor(SupabaseSpanExporter(tags=["beta"]))`. None: one of the
            environment's settings.
        options: BatchSpanProcessor's.
    """

    def __init__(self, exporter: SupabaseSpanExporter | None = None, **options: Any) -> None:
        self._exporter = exporter or SupabaseSpanExporter()
        super().__init__(self._exporter, **options)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """The span is shown as active, if it is a GenAI span as far as it says at its start.

        A process's first span of a trace is given what `chopsky_trace.context` says.
        """
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        if span.parent is None or span.parent.is_remote:
            # Known here only: the export has another thread, and comes later.
            around = current()
            for name, value in around.scope.items():
                span.set_attribute(ATTRIBUTES[name], value)
            if around.tags:
                span.set_attribute(TAGS, around.tags)
            if around.metadata:
                span.set_attribute(METADATA, dumps(clean(around.metadata, LONG_CHARS)).decode())
        self._exporter.began(span)


def native_span(span: ReadableSpan) -> NativeSpan | None:
    """The span as plain values; None of one without a context, which nobody can refer to."""
    context = span.context
    if context is None:
        return None
    parent = span.parent
    scope = span.instrumentation_scope
    return NativeSpan(
        trace_id=format(context.trace_id, "032x"),
        span_id=format(context.span_id, "016x"),
        parent_id=format(parent.span_id, "016x") if parent is not None else None,
        name=span.name,
        # OTLP's kinds begin with "unspecified".
        kind=span.kind.value + 1,
        start=span.start_time or 0,
        end=span.end_time or 0,
        status=span.status.status_code.value,
        message=span.status.description or "",
        # Its own copy is made at once; through the mapping, attribute by attribute.
        attributes=dict(cast("Any", span.attributes).copy()),
        events=[NativeEvent(event.name, event.timestamp, event.attributes or {}) for event in span.events],
        scope=scope.name if scope is not None else "",
        resource=span.resource.attributes,
        dropped=span.dropped_attributes,
        remote_parent=parent is not None and parent.is_remote,
    )
