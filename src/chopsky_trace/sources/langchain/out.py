"""From events to the journal: what starts and ends have in common."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic_ns
from typing import Any
from uuid import UUID

from orjson import Fragment, dumps

from chopsky_trace.enrich.secrets import is_open
from chopsky_trace.sources.langchain.messages import Snapshot
from chopsky_trace.sources.langchain.runs import OpenSpan, Runs
from chopsky_trace.sources.langchain.streams import chunk_says
from chopsky_trace.sources.langchain.turns import question_of, resumed_with, texts_of
from chopsky_trace.telling.memory import Draft, Root, question_refs, spoken_refs
from chopsky_trace.telling.options import LostField, Options
from chopsky_trace.telling.outlet import Outlet, Sink
from chopsky_trace.telling.sampling import is_sampled

EVENTS_KEPT = 100
OWN_SUMS = frozenset(("google_genai", "google_vertexai", "anthropic-bedrock"))
"""Providers whose packages state usage from the first chunk on, each chunk its own part: nothing to look into."""


class Out(Outlet):
    """What is told of a span while it is open."""

    def __init__(self, runs: Runs, sink: Sink, options: Options, lost_field: LostField) -> None:
        self.full = Snapshot(options.redactor, max_string=options.max_string)
        super().__init__(sink, options, self.full, lost_field)
        self.runs = runs

    def _new_root(self, run: str, started: int) -> Root:
        """A run of which nothing is remembered here; whether its content is kept follows from its id alone."""
        root = self.runs.new_root(run, started, self.sink.epoch)
        root.sampled = is_sampled(run, self.options.sample_rate)
        return root

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
            span.noted_by = self
        # Of several tracers for one destination each is told every event.
        if span.noted_by is self and len(span.events) < EVENTS_KEPT:
            with span.root.lock:
                draft: Draft = {"bodies": [], "messages": []}
                encoded = self.full.slow_json(span.root, draft, {"name": name, "data": data})
                # Told with the end: nothing of it is in the journal yet.
                span.events.append((encoded, draft))

    def interrupted(self, run_id: UUID | None) -> None:
        """A graph, or a node of it, stopped to ask."""
        span = self.runs.open.get(run_id.int) if run_id is not None else None
        if span is not None:
            span.interrupted = span.root.interrupted = True

    def went_on(self, run_id: UUID | None) -> None:
        """A graph goes on: a run that answers what its own graph asked is not the one that stopped."""
        span = self.runs.open.get(run_id.int) if run_id is not None else None
        if span is not None:
            span.root.interrupted = False

    def _inputs(self, draft: Draft, span: OpenSpan, inputs: Any) -> None:
        root = span.root
        if span.is_top:
            said = resumed_with(inputs.resume) if draft.get("resume") else [inputs]
            root.given = texts_of(inputs)
            questions = [q for q in [question_of(self.full, root, draft, one) for one in said] if q]
            if len(questions) == 1:
                root.question_known = True
                question_refs(root, draft, questions[0])
            elif questions:
                root.question_known = True
                spoken_refs(root, draft, [entry for question in questions for entry in question])
            elif span.deferred is not None:
                # It was to come, and did not: then what the first call was asked.
                for told in root.first_tail:
                    root.own(draft, *told, internal=False, at=root.started)
        draft["inputs"] = self.full.payload(root, draft, inputs)

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
