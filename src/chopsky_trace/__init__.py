"""Mirror every LangChain, LangGraph and OpenTelemetry GenAI trace into your own Postgres. See README.md."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

if sys.platform == "win32":
    # A dead process's journal is known by its lock, which the system lets go of: fcntl's.
    raise ImportError("chopsky-trace runs on Linux and macOS. On Windows, run your application in WSL.")

if TYPE_CHECKING:
    from chopsky_trace.database.conversations import AsyncConversationStore, ConversationStore
    from chopsky_trace.errors import TraceError
    from chopsky_trace.scope import context
    from chopsky_trace.settings import Settings
    from chopsky_trace.sources.feedback import feedback
    from chopsky_trace.sources.langchain.embeddings import traced_embeddings
    from chopsky_trace.sources.langchain.history import SupabaseChatMessageHistory
    from chopsky_trace.sources.langchain.tracer import SupabaseTracer
    from chopsky_trace.sources.otel.exporter import SupabaseSpanExporter, SupabaseSpanProcessor
    from chopsky_trace.sources.otel.log_exporter import SupabaseLogExporter
    from chopsky_trace.writer import aflush_all as aflush
    from chopsky_trace.writer import flush_all as flush

__version__ = "0.1.0"
__all__ = [
    "AsyncConversationStore",
    "ConversationStore",
    "Settings",
    "SupabaseChatMessageHistory",
    "SupabaseLogExporter",
    "SupabaseSpanExporter",
    "SupabaseSpanProcessor",
    "SupabaseTracer",
    "TraceError",
    "__version__",
    "aflush",
    "context",
    "feedback",
    "flush",
    "traced_embeddings",
]

_HOMES = {
    "AsyncConversationStore": ("chopsky_trace.database.conversations", "AsyncConversationStore"),
    "ConversationStore": ("chopsky_trace.database.conversations", "ConversationStore"),
    "SupabaseChatMessageHistory": ("chopsky_trace.sources.langchain.history", "SupabaseChatMessageHistory"),
    "SupabaseTracer": ("chopsky_trace.sources.langchain.tracer", "SupabaseTracer"),
    "SupabaseSpanExporter": ("chopsky_trace.sources.otel.exporter", "SupabaseSpanExporter"),
    "SupabaseSpanProcessor": ("chopsky_trace.sources.otel.exporter", "SupabaseSpanProcessor"),
    "SupabaseLogExporter": ("chopsky_trace.sources.otel.log_exporter", "SupabaseLogExporter"),
    "traced_embeddings": ("chopsky_trace.sources.langchain.embeddings", "traced_embeddings"),
    "feedback": ("chopsky_trace.sources.feedback", "feedback"),
    "Settings": ("chopsky_trace.settings", "Settings"),
    "TraceError": ("chopsky_trace.errors", "TraceError"),
    "context": ("chopsky_trace.scope", "context"),
    "flush": ("chopsky_trace.writer", "flush_all"),
    "aflush": ("chopsky_trace.writer", "aflush_all"),
}


def __getattr__(name: str) -> Any:
    # Lazy: an application that only imports us pays for what it uses.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _switch_on() -> None:
    if importlib.util.find_spec("langchain_core") is None:
        # Nothing to trace in this process.
        return
    try:
        importlib.import_module("chopsky_trace.sources.langchain.tracer").switch_on()
    except Exception as error:
        # The application runs on, untraced, and hears why.
        logging.getLogger("chopsky_trace").warning("chopsky-trace could not be switched on: %s", error)


if os.environ.get("CHOPSKY_TRACE_ENABLED", "").lower() in ("1", "true", "yes", "on"):
    _switch_on()
