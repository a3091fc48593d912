"""From events to the journal: what starts and ends have in common."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic_ns
from typing import Any, Protocol
from uuid import UUID

from orjson import Fragment, dumps

from chopsky_trace.enrich.secrets import is_open, without_secrets
from chopsky_trace.records import LONG_CHARS
from chopsky_trace.sources.langchain_messages import OPTIONS, Snapshot
from chopsky_trace.sources.langchain_runs import LostField, OpenSpan, Options, Runs
from chopsky_trace.sources.langchain_streams import chunk_says
from chopsky_trace.sources.langchain_turns import question_of
from chopsky_trace.sources.memory import Draft, Root, question_refs

TOLD = frozenset(("bodies", "messages", "contents"))
HELD_BYTES = 2_000_000
EVENTS_KEPT = 100
OWN_SUMS = frozenset(("google_genai", "google_vertexai", "anthropic-bedrock"))
"""Providers whose packages state usage from the first chunk on, each chunk its own part: nothing to look into."""
CONTENT_FIELDS = frozenset(
    (
        "inputs",
        "outputs",
        "bodies",
        "messages",
        "sizes",
        "contents",
        "prompt",
        "output_bodies",
        "metadata",
        "events",
        "tags",
        "error",
        "params",
    )
)


class Sink(Protocol):
    """Where records go: a writer."""

    epoch: int
    """Changes when what was put before can no longer be referred to."""

    def put(self, record: bytes, /) -> bool: ...


class Out:
    """Encodes records and puts them; what could not be read costs its field only."""

    def __init__(self, runs: Runs, sink: Sink, options: Options, lost_field: LostField) -> None:
        self.runs = runs
        self.sink = sink
        self.put = sink.put
        self.options = options
        self.max_string = options.max_string
        self.short = min(options.max_string, LONG_CHARS)
        self.with_inputs = options.with_inputs
        self.with_outputs = options.with_outputs
        self.estimates = options.estimates
        self.tags_as_given = options.with_content and options.redactor is None
        self.lost_field = lost_field
        self.full = Snapshot(options.redactor, max_string=options.max_string)

    def token(self, run_id: UUID) -> None:
        """The first token of a call came."""
        span = self.runs.open.get(run_id.int)
        if span is not None and span.first_token is None:
            span.first_token = monotonic_ns()
        self.runs.waiting.discard(run_id.int)

    def chunk(self, run_id: UUID, token: Any, chunk: Any) -> None:
        """A chunk of a call that has not said anything yet, or whose first chunks stated usage."""
        span = self.runs.open.get(run_id.int)
        if span is not None:
            # LangChain adds the chunks' usages up. Wrong where each repeats the whole: then the last one has it.
            usage = getattr(getattr(chunk, "message", None), "usage_metadata", None)
            if usage is not None and span.provider not in OWN_SUMS:
                span.last_chunk = usage
            if span.first_token is None:
                if not chunk_says(token, chunk):
                    return
                span.first_token = monotonic_ns()
            if span.last_chunk is not None:
                return
        self.runs.waiting.discard(run_id.int)

    @staticmethod
    def _asked(draft: Draft, span: OpenSpan) -> None:
        """Whom and whose a call was: an end says it too, so that its price follows from it alone."""
        if span.provider:
            draft["provider"] = span.provider
        if span.model:
            draft["model_requested"] = span.model
        tenant = span.root.scope.get("tenant_id")
        if tenant:
            draft["tenant"] = tenant

    def note(self, run_id: UUID, name: str, data: Any) -> None:
        """A custom event: kept with the span's end."""
        span = self.runs.open.get(run_id.int)
        if span is None or not self.options.with_content:
            return
        if span.events is None:
            span.events = []
        if len(span.events) < EVENTS_KEPT:
            with span.root.lock:
                draft: Draft = {"bodies": [], "messages": []}
                encoded = self.full.slow_json(span.root, draft, {"name": name, "data": data})
                # Told with the end: nothing of it is in the journal yet.
                span.events.append((encoded, draft))

    def interrupted(self, run_id: UUID | None) -> None:
        span = self.runs.open.get(run_id.int) if run_id is not None else None
        if span is not None:
            span.root.interrupted = True

    def _inputs(self, draft: Draft, span: OpenSpan, inputs: Any) -> None:
        root = span.root
        if span.is_top:
            said = getattr(inputs, "resume", None) if draft.get("resume") else inputs
            question = question_of(self.full, root, draft, said)
            if question:
                root.question_known = True
                question_refs(root, draft, question)
            elif span.deferred is not None:
                # It was to come, and did not: then what the first call was asked.
                for told in root.first_tail:
                    root.own(draft, *told, internal=False, at=root.started)
        draft["inputs"] = self.full.payload(root, draft, inputs)

    def _without_secrets(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return without_secrets(values)
        except Exception:
            # Something in it cannot be looked into as it stands.
            return without_secrets(self.full.plain(values))

    def _open_payload(self, root: Root, draft: Draft, values: Mapping[str, Any]) -> Any:
        """A payload without secrets. Of one whose names are known and open, only the encoded text is looked through."""
        try:
            if self.options.redactor is None and is_open(values):
                encoded = dumps(values)
                if len(encoded) < self.short and b"://" not in encoded and b" " not in encoded:
                    return Fragment(encoded)
        except (TypeError, ValueError, RecursionError):
            pass
        return self.full.payload(root, draft, self._without_secrets(values))

    def _unreadable(self, draft: Draft, name: str, error: Exception) -> None:
        draft[name] = {"$unreadable": type(error).__name__}
        self.lost_field(name, error)

    def _emit(self, root: Root, draft: Draft) -> None:
        if not (root.sampled or root.failed):
            self._hold(root, draft)
            return
        try:
            line = dumps(draft)
            if len(line) > self.max_string:
                line = self._encoded(draft)
        except (TypeError, ValueError, RecursionError):
            line = self._encoded(draft)
        if not self.put(line):
            # What this record was to carry is lost; what follows must not rely on it.
            root.forget()

    def _encoded(self, draft: Draft) -> bytes:
        try:
            # Keys that are no text are rare, and looking for them is not free.
            line = dumps(draft, None, OPTIONS)
            if len(line) <= self.max_string:
                return line
        except (TypeError, ValueError, RecursionError):
            pass
        # Payloads are encoded already; what is left is ours and small, but for texts, names and ids of somebody else's.
        plain = self.full.plain
        kept = {k: v if v.__class__ is Fragment or k in TOLD else plain(v) for k, v in draft.items()}
        return dumps(kept, None, OPTIONS)

    def _hold(self, root: Root, draft: Draft) -> None:
        """Sampled out: numbers only are put, the content waits in memory in case the run fails."""
        self.put(self._encoded({k: v for k, v in draft.items() if k not in CONTENT_FIELDS}))
        if root.held_bytes < HELD_BYTES:
            line = self._encoded({**draft, "seen": draft["seen"] + 1})
            root.held.append(line)
            root.held_bytes += len(line)

    def _release(self, root: Root) -> None:
        """Something failed: what was held back is told, and all that follows."""
        root.failed = True
        for line in root.held:
            self.put(line)
        root.held.clear()
