"""The records that the events of LangChain runs make."""

from __future__ import annotations

from chopsky_trace.sources.langchain_ends import MISSING, Ends
from chopsky_trace.sources.langchain_starts import Starts

__all__ = ["MISSING", "Recorder"]


class Recorder(Starts, Ends):
    """Makes records of events and puts them. One per tracer; the runs are shared."""
