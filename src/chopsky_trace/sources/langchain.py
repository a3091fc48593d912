"""`SupabaseTracer`: LangChain's and LangGraph's callbacks -> records.

Runs on the caller's thread, so it only snapshots, encodes and appends to the journal. Nothing escapes a callback.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from chopsky_trace.errors import NoDatabaseError, SettingsError, TraceError
from chopsky_trace.records import Scope
from chopsky_trace.settings import CAPTURE_LEVELS, CaptureLevel, Settings, resolve_target
from chopsky_trace.sources.langchain_callbacks import Callbacks
from chopsky_trace.sources.langchain_events import Recorder
from chopsky_trace.sources.langchain_runs import Options, Runs
from chopsky_trace.writer import Writer, writer_for

if TYPE_CHECKING:
    pass

logger = logging.getLogger("chopsky_trace")
WARN_EVERY_S = 60.0

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
    ) -> None:
        super().__init__()
        if capture is not None and capture not in CAPTURE_LEVELS:
            raise SettingsError(f"capture is {capture!r}, but must be one of {', '.join(CAPTURE_LEVELS)}")
        if not isinstance(cast("object", sample_rate), (int, float)) or not 0 <= sample_rate <= 1:
            raise SettingsError(f"sample_rate is {sample_rate!r}, but must be a number from 0 to 1")
        if redact is not None and not callable(redact):
            raise SettingsError("redact must be a function from text to text")
        if database_url is not None:
            resolve_target(Settings(), database_url)
        self._database_url = database_url
        self._given: dict[str, object] = {
            "user_id": user_id,
            "session_id": session_id,
            "tenant_id": tenant_id,
            "project": project,
            "environment": environment,
        }
        self._tags = (tags,) if isinstance(tags, str) else tuple(tags)
        self._metadata = dict(metadata or {})
        self._capture: CaptureLevel = capture or "full"
        self._redact = redact
        self._sample_rate = float(sample_rate)
        self._writer: Writer | None = None
        self._recorder: Recorder | None = None
        self._off = False
        self._troubles: dict[str, int] = {}
        self._warned_at = 0.0

    # -- the writer

    def _events(self) -> Recorder | None:
        recorder = self._recorder
        if recorder is not None:
            return recorder
        if self._off:
            return None
        try:
            self._recorder = self._connect()
        except TraceError as error:
            # Once: an application without a database runs on, untraced, and says so.
            self._off = True
            logger.warning("chopsky-trace is off: %s", error)
        return self._recorder

    def _connect(self) -> Recorder:
        settings = Settings.from_env()
        target = resolve_target(settings, self._database_url)
        writer = writer_for(target, settings)
        self._writer = writer
        given = {k: v if v is not None else getattr(settings, k) for k, v in self._given.items()}
        capture = settings.capture if self._capture == "full" else self._capture
        rate = settings.sample_rate if self._sample_rate == 1.0 else self._sample_rate
        redactor = None
        if capture == "masked" or self._redact is not None:
            # Its patterns take a while to compile: only for those who use them.
            from chopsky_trace.enrich.redact import Redactor

            redactor = Redactor(capture, self._redact)
        hide = settings.honour_langsmith_hide
        options = Options(
            scope=cast("Scope", {k: str(v) for k, v in given.items() if v is not None}),
            tags=self._tags,
            metadata=self._metadata,
            redactor=redactor,
            with_content=capture != "metadata",
            hide_inputs=hide and _says_true("LANGSMITH_HIDE_INPUTS", "LANGCHAIN_HIDE_INPUTS"),
            hide_outputs=hide and _says_true("LANGSMITH_HIDE_OUTPUTS", "LANGCHAIN_HIDE_OUTPUTS"),
            sample_rate=rate,
            max_string=settings.max_field_bytes,
            estimates=settings.estimate_usage,
        )
        runs = _runs.setdefault(target.folder(settings), Runs(settings.max_open_roots))
        return Recorder(runs, writer, options, self._lost_field)

    def recorder(self) -> Recorder | None:
        """What makes the records, for what is traced without callbacks; None while tracing is off."""
        return self._recorder or self._events()

    def lost(self, where: str, error: Exception) -> None:
        """Count something that could not be recorded, for what is traced without callbacks."""
        self._failed(where, error)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until all that was accepted is in the database, at most `timeout_s` seconds; whether it is."""
        return self._writer.flush(timeout_s) if self._writer is not None else not self._off

    def close(self, timeout_s: float = 5.0) -> bool:
        """Flush, then stop this destination's writer, which all its tracers share; a new event starts it again."""
        return self._writer.close(timeout_s) if self._writer is not None else True

    def stats(self) -> dict[str, Any]:
        """Records accepted and stored, backlog, and losses by reason."""
        found: dict[str, Any] = dict(self._writer.stats()) if self._writer is not None else {}
        if self._recorder is not None and self._recorder.options.redactor is not None:
            found["redaction_failures"] = self._recorder.options.redactor.failures
        if self._troubles:
            found["callback_errors"] = dict(self._troubles)
        if self._off:
            found["off"] = True
        return found

    def _failed(self, where: str, error: Exception) -> None:
        if self._writer is not None:
            self._writer.lost("callback_error")
        self._count(where, f"could not record an event in {where}", error)

    def _lost_field(self, name: str, error: Exception) -> None:
        self._count(name, f"could not read the {name} of a span", error)

    def _count(self, where: str, what: str, error: Exception) -> None:
        self._troubles[where] = self._troubles.get(where, 0) + 1
        now = time.monotonic()
        if not self._warned_at or now - self._warned_at > WARN_EVERY_S:
            self._warned_at = now
            # Never the error's text: it may quote the payload.
            logger.warning("chopsky-trace %s (%s); it is counted in stats()", what, type(error).__name__)


def _says_true(*names: str) -> bool:
    return any(os.environ.get(name, "").lower() == "true" for name in names)


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
