"""What the records of every span have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chopsky_trace.records import FORMAT
from chopsky_trace.telemetry.bodies import MessageBodies
from chopsky_trace.telemetry.conventions.native import NativeEvent, NativeSpan
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.traces import Trace
from chopsky_trace.telling.memory import (
    Draft,
    Root,
)
from chopsky_trace.telling.options import LostField, Options
from chopsky_trace.telling.outlet import Outlet, Sink

SOURCE = "otel"
CALL_KINDS = ("llm", "embedding", "image")
EVENTS_KEPT = 100
MADE_UP = 1
"""The rank of a session that a framework made up for want of one."""
OWN_EVENTS = ("gen_ai.", "exception", "ai.", "llm.", "mlflow.", "First Token", "pydantic_ai.")
"""How events begin that instrumentors make themselves: what they say is read elsewhere."""
PLAIN_PARAMS = frozenset(("temperature", "top_p", "top_k", "max_tokens", "n", "seed", "stream", "reasoning_effort"))
"""Parameters that are no content."""


class Spans(Outlet):
    """Starts and ends in the making."""

    def __init__(self, sink: Sink, options: Options, lost_field: LostField) -> None:
        self.full = MessageBodies(options.redactor, max_string=options.max_string)
        super().__init__(sink, options, self.full, lost_field)

    def _begun(self, trace: Trace, native: NativeSpan, reading: Reading, span_id: str) -> Draft:
        run = trace.root.id
        draft: Draft = {
            "v": FORMAT,
            "t": "start",
            "id": span_id,
            "run": run,
            "parent": trace.id_of(native.parent_id) if native.parent_id else None,
            # Nothing of our own clock: a delivery that is repeated is the same record.
            "seen": reading.ended or reading.started,
            "at": reading.started // 1000,
            "source": SOURCE,
            "instrumentor": reading.instrumentor or native.scope,
            "is_provider": reading.is_provider,
            "native_id": native.span_id,
            "kind": reading.kind,
            "name": self._word(reading.name or native.name),
            "bodies": [],
            "messages": [],
        }
        if native.remote_parent:
            draft["is_entry"] = True
        if reading.provider:
            draft["provider"] = self._word(reading.provider)
        if reading.model_requested:
            draft["model"] = self._word(reading.model_requested)
        scope: dict[str, Any] = dict(reading.scope)
        if reading.session_rank == MADE_UP:
            # One for each run would make a session of every turn.
            made_up = scope.pop("session_id", None)
            reading.metadata = {**(reading.metadata or {}), "conversation_id": made_up}
        if native.is_first:
            scope = {**self.options.scope, **scope}
        if scope:
            draft["scope"] = scope
        return draft

    def _ended(self, trace: Trace, native: NativeSpan, reading: Reading, span_id: str) -> Draft:
        draft: Draft = {
            "v": FORMAT,
            "t": "end",
            "id": span_id,
            "run": trace.root.id,
            "seen": reading.ended,
            "at": reading.ended // 1000,
            "started": reading.started // 1000,
            "duration_ms": max(0, reading.ended - reading.started) / 1e6,
            "source": SOURCE,
            "kind": reading.kind,
            "status": reading.status,
            "bodies": [],
            "messages": [],
        }
        if reading.first_token_ms is not None:
            draft["first_token_ms"] = reading.first_token_ms
        if reading.error:
            draft["error"] = self._error(reading.error)
        events = [event for event in native.events if not event.name.startswith(OWN_EVENTS)]
        if events and self.options.with_content:
            self._field(draft, "events", lambda: self._events(trace.root, draft, events))
        return draft

    def _events(self, root: Root, draft: Draft, events: Sequence[NativeEvent]) -> Any:
        told = [{"name": event.name, "data": dict(event.attributes)} for event in events[:EVENTS_KEPT]]
        return [self._plain(root, draft, event) for event in told]

    def _error(self, error: str) -> Any:
        if not self.options.with_content:
            # Where no type stands before the text, the text is all there is.
            kind = error.split(":", 1)[0]
            return self.full.plain(kind) if kind.replace(".", "").isidentifier() else "failed"
        if self.options.redactor is not None:
            error = self.options.redactor.text(error)
        return self.full.plain(error)

    def _describe(self, draft: Draft, root: Root, native: NativeSpan, reading: Reading) -> None:
        options = self.options
        is_top = native.is_first
        tags = [*options.tags, *reading.tags] if is_top else list(reading.tags)
        metadata: dict[str, Any] = {**(options.metadata if is_top else {}), **(reading.metadata or {})}
        if reading.partial:
            metadata["partial"] = list(reading.partial)
        params = reading.params
        if not options.with_content:
            tags = []
            metadata = {k: v for k, v in metadata.items() if k == "partial"}
            params = {k: v for k, v in (params or {}).items() if k in PLAIN_PARAMS and not isinstance(v, (dict, list))}
        elif options.redactor is not None:
            tags = [options.redactor.text(str(tag)) for tag in tags]
        if tags:
            draft["tags"] = [self._word(str(tag)) for tag in dict.fromkeys(tags)]
        if metadata:
            self._field(draft, "metadata", lambda: self._plain(root, draft, metadata))
        if params:
            self._field(draft, "params", lambda: self._plain(root, draft, params))

    def _word(self, value: Any) -> Any:
        """A name, or whatever stands in the place of one, as a record takes it."""
        if value.__class__ is str and len(value) < self.short and value.isprintable():
            return value
        return self.full.plain(value)

    def _plain(self, root: Root, draft: Draft, values: Mapping[str, Any]) -> Any:
        return self.full.payload(root, draft, self._without_secrets(values))

    def _field(self, draft: Draft, name: str, made: Any) -> None:
        try:
            draft[name] = made()
        except Exception as error:
            self._unreadable(draft, name, error)

    def _says(self, end: Draft, trace: Trace, reading: Reading) -> None:
        """Whom and whose a call was, and what it says of itself: its numbers follow from its end alone."""
        for name, value in (
            ("provider", reading.provider),
            ("model_requested", reading.model_requested),
            ("model", reading.model),
            ("response_id", reading.response_id),
            ("finish_reason", reading.finish_reason),
            ("tenant", reading.scope.get("tenant_id") or self.options.scope.get("tenant_id")),
            ("usage", reading.usage),
        ):
            if value:
                # Usage holds numbers that were read as such.
                end[name] = self._word(value) if value.__class__ is str else value
        if reading.cached:
            end["cached"] = True

    def _payloads(self, start: Draft, end: Draft, root: Root, reading: Reading) -> None:
        self._payload(start, "inputs", root, reading.inputs, whole=self.with_inputs)
        self._payload(end, "outputs", root, reading.outputs, whole=self.with_outputs)

    def _payload(self, draft: Draft, name: str, root: Root, value: Any, *, whole: bool) -> None:
        if value is None:
            return
        if whole:
            self._field(draft, name, lambda: self.full.payload(root, draft, value))
        elif self.options.with_shapes:
            draft[name] = self.full.shape(value)
