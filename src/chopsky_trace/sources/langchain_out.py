"""From events to the journal: what starts and ends have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any
from uuid import UUID

import orjson

from chopsky_trace.enrich.secrets import without_secrets
from chopsky_trace.sources.langchain_messages import OPTIONS, Snapshot, odd_float, question_of
from chopsky_trace.sources.langchain_runs import OpenSpan, Options, Runs
from chopsky_trace.sources.memory import Root, Told, question_refs

HELD_BYTES = 2_000_000
EVENTS_KEPT = 100
PAYLOADS = ("inputs", "outputs", "metadata", "params", "usage")
CONTENT_FIELDS = frozenset(
    (
        "inputs",
        "outputs",
        "bodies",
        "messages",
        "prompt",
        "output_bodies",
        "metadata",
        "events",
        "tags",
        "error",
        "params",
    )
)


class Out:
    """Encodes records and puts them; what could not be read costs its field only."""

    def __init__(
        self,
        runs: Runs,
        put: Callable[[bytes], bool],
        epoch: Callable[[], int],
        options: Options,
        lost_field: Callable[[str, Exception], None],
    ) -> None:
        self.runs = runs
        self.put = put
        self.epoch = epoch
        self.options = options
        self.lost_field = lost_field
        """Told of a field that could not be read: the span goes on without it."""
        self.full = Snapshot(options.redactor, max_string=options.max_string)

    def token(self, run_id: UUID) -> None:
        self.runs.waiting.discard(run_id.int)
        span = self.runs.open.get(run_id.int)
        if span is not None and span.first_token is None:
            span.first_token = monotonic_ns()

    def note(self, run_id: UUID, name: str, data: Any) -> None:
        """A custom event: kept with the span's end."""
        span = self.runs.open.get(run_id.int)
        if span is None or not self.options.with_content:
            return
        if span.events is None:
            span.events = []
        if len(span.events) < EVENTS_KEPT:
            with span.root.lock:
                told = Told()
                encoded = self.full.slow_json(span.root, told, {"name": name, "data": data})
                # Told with the end: nothing of it is in the journal yet.
                span.events.append((encoded, told))

    def interrupted(self, run_id: UUID | None) -> None:
        span = self.runs.open.get(run_id.int) if run_id is not None else None
        if span is not None:
            span.root.interrupted = True

    def _inputs(self, record: dict[str, Any], span: OpenSpan, told: Told, inputs: Any) -> None:
        root = span.root
        if span.is_top:
            said = getattr(inputs, "resume", None) if record.get("resume") else inputs
            question = question_of(self.full, root, told, said)
            if question:
                root.question_known = True
                question_refs(root, told, question)
            elif span.deferred is not None:
                # It was to come, and did not: then what the first call was asked.
                for entry_id, n, position in root.first_tail:
                    root.own(told, entry_id, n, position, internal=False, at=root.started)
        record["inputs"] = self.full.payload(root, told, inputs)

    def _without_secrets(self, values: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return without_secrets(values)
        except Exception:
            # Something in it cannot be looked into as it stands.
            return without_secrets(self.full.plain(values))

    def _unreadable(self, record: dict[str, Any], name: str, error: Exception) -> None:
        record[name] = {"$unreadable": type(error).__name__}
        self.lost_field(name, error)

    def _emit(self, root: Root, record: dict[str, Any], told: Told) -> None:
        if not root.sampled and not root.failed:
            self._hold(root, record, told)
            return
        if not self.put(self._encode(root, record, told)):
            # What this record was to carry is lost; what follows must not rely on it.
            root.forget()

    def _encode(self, root: Root, record: dict[str, Any], told: Told) -> bytes:
        """The record's bytes. Messages inside payloads are told while these are encoded: bodies and rows come last."""
        record["bodies"] = told.bodies
        record["messages"] = told.refs
        try:
            line = orjson.dumps(record, default=self.full.hook(root, told), option=OPTIONS)
            if len(line) <= self.options.max_string and not (told.floats and b"null" in line and _odd(record)):
                return line
        except (TypeError, ValueError, RecursionError):
            pass
        for name in PAYLOADS:
            value = record.get(name)
            if value is not None and not isinstance(value, orjson.Fragment):
                record[name] = orjson.Fragment(self.full.slow_json(root, told, value))
        # What is left is ours and small, but for names and ids that somebody else chose.
        kept = {k: v if k in PAYLOADS or k in ("bodies", "messages") else self.full.plain(v) for k, v in record.items()}
        return orjson.dumps(kept, option=OPTIONS)

    def _hold(self, root: Root, record: dict[str, Any], told: Told) -> None:
        """Sampled out: numbers only are put, the content waits in memory in case the run fails."""
        light = {k: v for k, v in record.items() if k not in CONTENT_FIELDS}
        self.put(self._encode(root, light, Told()))
        if root.held_bytes < HELD_BYTES:
            line = self._encode(root, {**record, "seen": record["seen"] + 1}, told)
            root.held.append(line)
            root.held_bytes += len(line)

    def _release(self, root: Root) -> None:
        for line in root.held:
            self.put(line)
        root.held.clear()


def _odd(record: Mapping[str, Any]) -> bool:
    """Whether a payload of the record holds a NaN or infinity, which orjson writes as null."""
    return any(odd_float(record[name]) for name in PAYLOADS if name in record)
