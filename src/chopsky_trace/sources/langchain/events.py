"""The records that the events of LangChain runs make."""

from __future__ import annotations

from chopsky_trace.sources.langchain.embedding_spans import EmbeddingSpans
from chopsky_trace.sources.langchain.ends import MISSING

__all__ = ["MISSING", "Recorder"]


class Recorder(EmbeddingSpans):
    """Makes records of events, and of embedding calls, and puts them. One per tracer; the runs are shared."""
