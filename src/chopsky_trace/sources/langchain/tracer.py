"""`SupabaseTracer`: LangChain's and LangGraph's callbacks -> records.

Runs on the caller's thread, so it only snapshots, encodes and appends to the journal. Nothing escapes a callback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, cast
from uuid import UUID

from chopsky_trace.errors import NoDatabaseError
from chopsky_trace.settings import CaptureLevel, FlushOn
from chopsky_trace.sources import feedback
from chopsky_trace.sources.destination import Destination
from chopsky_trace.sources.langchain.callbacks import Callbacks
from chopsky_trace.sources.langchain.events import Recorder
from chopsky_trace.sources.langchain.runs import Runs

_runs: dict[str, Runs] = {}


class SupabaseTracer(Callbacks):
    """Mirrors every LangChain and LangGraph run into your own Postgres: `config={"callbacks": [SupabaseTracer()]}`.

    Args:
        database_url: Postgres URL or `embedded`; None: CHOPSKY_TRACE_DATABASE_URL, SUPABASE_DB_URL, DATABASE_URL, else
            embedded at a terminal.
        user_id: Who the runs belong to, where the run itself or `chopsky_trace.context` does not say.
        session_id: The session (thread) of the runs, likewise.
        tenant_id: The tenant, likewise.
        project: Where runs are filed; default CHOPSKY_TRACE_PROJECT, then LANGSMITH_PROJECT.
        environment: For example production.
        tags: Added to each conversation run.
        metadata: Added to each conversation run.
        capture: `full`; `masked` (documented patterns replaced); `metadata` (roles, sizes and numbers only).
        redact: Applied to each text before it touches the disk; a text it fails on is left out.
        sample_rate: Share of runs kept with content, by LangSmith's function of the trace id. Failed runs are always
            kept; of the others the numbers are.
        flush_on: `run_end`: a run is stored before its last callback returns, which waits for that at most 2 seconds,
            and never on a running event loop; `interval`: in the background. Default CHOPSKY_TRACE_FLUSH_ON, then
            `run_end` on AWS Lambda, which freezes the process between requests, else `interval`.

    Any number of tracers share one writer per destination; making one costs microseconds.

    Raises:
        SettingsError: an argument is not of its kind.
    """

    def __new__(cls, *_args: Any, **_kwargs: Any) -> SupabaseTracer:
        # LangGraph tells of interrupts only to its own kind of handler; it need not be installed.
        return object.__new__(_graph_class(cls))

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
        flush_on: FlushOn | None = None,
    ) -> None:
        super().__init__()
        self._destination = Destination(
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
            flush_on=flush_on,
        )
        self._recorder: Recorder | None = None

    def _events(self) -> Recorder | None:
        if self._recorder is None:
            opened = self._destination.opened()
            if opened is not None:
                runs = _runs.setdefault(
                    opened.folder, Runs(opened.settings.max_open_roots, opened.settings.abandon_after_s)
                )
                recorder = Recorder(runs, opened.writer, opened.options, self._destination.lost_field)
                recorder.run_ended = opened.run_ended if opened.flushes else None
                self._recorder = recorder
        return self._recorder

    def recorder(self) -> Recorder | None:
        """What makes the records, for what is traced without callbacks; None while tracing is off."""
        return self._recorder or self._events()

    def lost(self, where: str, error: Exception) -> None:
        """Count something that could not be recorded, for what is traced without callbacks."""
        self._failed(where, error)

    def feedback(
        self,
        run_id: UUID | str | None = None,
        key: str = feedback.SATISFACTION,
        score: float | None = None,
        *,
        value: Any = None,
        comment: str | None = None,
        correction: Any = None,
        message_id: UUID | str | None = None,
        thumbs: feedback.Thumbs | None = None,
        user_id: object = None,
        source: str = "api",
        metadata: Mapping[str, Any] | None = None,
    ) -> bool:
        """Store what somebody says of a run, span or message; even before that is stored, or with the database down.

        Args:
            run_id: A run's or a span's id, which are LangSmith's too; or what `message_id` may be.
            key: What is rated. `user_satisfaction` makes the run's `user_satisfaction_score`; other keys are free.
            score: Any number; from 1 to 5 with the key `user_satisfaction`, where another one is kept as `value`.
            value: Where it is no number: a text, a bool or an object.
            comment: In words.
            correction: What would have been right; kept in `metadata`.
            message_id: The id of a row of `conversation_messages`, or LangChain's of an answer (`lc_run--...`).
            thumbs: `up` or `down`, or a bool.
            user_id: Who gave it; default that of `chopsky_trace.context` or of the tracer, else whose conversation it
                is. With the source `model` it is by default `model`.
            source: For example api, app or model.
            metadata: Anything else.

        Returns:
            Whether it was accepted. Nothing is raised: an id that is none, or thumbs that are neither, is counted in
            `stats()` and warned about. The last word of one user on one thing under one key stands.
        """
        return feedback.give(
            self._destination, run_id, key, score,
            value=value, comment=comment, correction=correction, message_id=message_id, thumbs=thumbs, user_id=user_id,
            source=source, metadata=metadata,
        )  # fmt: skip

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until all that was accepted is in the database, at most `timeout_s` seconds; whether it is."""
        return self._destination.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Flush, then stop this destination's writer, which all its tracers share; a new event starts it again."""
        return self._destination.close(timeout_s)

    def stats(self) -> dict[str, Any]:
        """Records accepted and stored, backlog, and losses by reason."""
        return self._destination.stats()

    def _failed(self, where: str, error: Exception) -> None:
        self._destination.failed(where, error)


_graph_classes: dict[type, type] = {}


def _graph_class(cls: type[SupabaseTracer]) -> type[SupabaseTracer]:
    if not any(name == "langgraph" or name.startswith("langgraph.") for name in tuple(sys.modules)):
        return cls
    if cls not in _graph_classes:
        try:
            from langgraph.callbacks import GraphCallbackHandler
        except ImportError:
            return cls
        _graph_classes[cls] = (
            cls
            if issubclass(cls, GraphCallbackHandler)
            else type(cls.__name__, (cls, GraphCallbackHandler), {"__module__": cls.__module__, "__doc__": cls.__doc__})
        )
    return cast("type[SupabaseTracer]", _graph_classes[cls])


_process_tracer: ContextVar[SupabaseTracer | None]


def switch_on() -> SupabaseTracer:
    """Trace every LangChain run of this process without a handler in `callbacks`; an explicit one takes its place."""
    from langchain_core.tracers.context import register_configure_hook

    global _process_tracer
    if "_process_tracer" not in globals():
        # A default is seen in every thread and task, and costs no construction per run.
        tracer = SupabaseTracer()
        _process_tracer = ContextVar("chopsky_trace_process", default=tracer)
        register_configure_hook(cast("ContextVar[Any]", _process_tracer), True, SupabaseTracer)
    tracer = _process_tracer.get()
    if tracer is None:
        raise NoDatabaseError("The process switch was taken away")
    return tracer
