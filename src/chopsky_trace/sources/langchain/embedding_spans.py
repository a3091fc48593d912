"""Spans of embedding calls, for which LangChain has no callbacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from chopsky_trace.records import Status
from chopsky_trace.sources.langchain.ends import Ends
from chopsky_trace.sources.langchain.fields import langsmith_trace
from chopsky_trace.sources.langchain.starts import Starts, begun, running_config
from chopsky_trace.telling.memory import Draft


class Embedding(NamedTuple):
    """What an embedding call is asked."""

    name: str
    texts: Sequence[Any]
    provider: str | None
    model: str | None
    params: Mapping[str, Any]


class Embedded(NamedTuple):
    """What it answered."""

    vectors: int | None = None
    dimensions: int | None = None
    requests: int | None = None
    """To the provider; None where nobody counted them."""
    usage: Mapping[str, int] | None = None
    """As the provider stated it."""
    model: str | None = None


class EmbeddingSpans(Starts, Ends):
    """Makes the records of embedding calls."""

    def around(self, candidates: Iterable[UUID]) -> UUID | None:
        """The run that the current code is in: of these the one that began last; None where none is recorded."""
        known = list(candidates)
        spans = [(span.mono, run) for run in known if (span := self.runs.open.get(run.int)) is not None]
        if spans:
            return max(spans, key=lambda s: s[0])[1]
        # Others may record it, or it has ended, and this is work that outlives it.
        return next((run for run in known if run.int in self.runs.ended or langsmith_trace(run)), None)

    def start_embedding(self, run_id: UUID, parent_id: UUID | None, asked: Embedding) -> None:
        """An embedding call began."""
        # Its parent is known: nothing around it has to be asked.
        span = self._opened("embedding", run_id.int, parent_id, None)
        if span is None:
            return
        root = span.root
        with root.lock:
            draft = begun(span, asked.name)
            if asked.provider:
                draft["provider"] = span.provider = asked.provider
            if asked.model:
                draft["model"] = span.model = asked.model
            if self.estimates:
                span.asked = None, asked.texts
            try:
                self._describe(draft, span, None, None, running_config())
                self._params(draft, root, asked.params)
            except Exception as error:
                self._unreadable(draft, "metadata", error)
            try:
                if self.with_inputs:
                    draft["inputs"] = self.full.payload(root, draft, self._texts(asked.texts))
                elif self.options.with_shapes:
                    draft["inputs"] = {"texts": len(asked.texts), "chars": _chars(asked.texts)}
            except Exception as error:
                self._unreadable(draft, "inputs", error)
            self._emit(root, draft)

    def end_embedding(self, run_id: UUID, status: Status, found: Embedded, error: str | None = None) -> None:
        """It ended; its vectors are never kept, only how many and how long they are."""
        key = run_id.int
        span = self.runs.open.pop(key, None)
        if span is None:
            return
        root = span.root
        with root.lock:
            try:
                draft = self._ended(span, status, error)
                self._asked(draft, span)
                if found.model:
                    draft["model"] = found.model
                if found.usage is not None:
                    draft["usage"] = {"token_usage": dict(found.usage)}
                elif span.asked is not None:
                    draft["lengths"] = {"input_chars": _chars(span.asked[1])}
                counted = {"vectors": found.vectors, "dimensions": found.dimensions, "requests": found.requests}
                draft["outputs"] = {name: count for name, count in counted.items() if count is not None}
                self._finish(draft, span, status)
            finally:
                self.runs.closed(key, root)

    def _texts(self, texts: Sequence[Any]) -> Draft:
        """As many of the texts as one record may hold."""
        size = 0
        for place, text in enumerate(texts):
            size += len(text) if isinstance(text, str) else 0
            # One text is cut like any other string.
            if place and size > self.max_string:
                return {"texts": list(texts[:place]), "left_out": len(texts) - place}
        return {"texts": list(texts)}


def _chars(texts: Sequence[Any]) -> int:
    return sum(len(text) for text in texts if isinstance(text, str))
