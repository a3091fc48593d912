"""Where a source's records go, and how it was told to record them: the one place where sources meet writers."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

from chopsky_trace.errors import SettingsError, TraceError
from chopsky_trace.records import Scope
from chopsky_trace.settings import CAPTURE_LEVELS, FLUSH_ON, CaptureLevel, FlushOn, Settings, resolve_target
from chopsky_trace.telling.options import Options
from chopsky_trace.writer import Writer, writer_for

logger = logging.getLogger("chopsky_trace")
WARN_EVERY_S = 60.0
RUN_END_S = 2.0
"""Longest that a callback waits for its run to be stored, where it waits for that at all."""


class Opened(NamedTuple):
    """A destination in use."""

    writer: Writer
    options: Options
    settings: Settings
    folder: str
    """The destination's own name: sources that share it share what they remember of runs."""
    told: bytes | None
    """The options as `Options.told` has them."""
    flushes: bool
    """Whether a run is to be stored when it ends, because the process may be frozen then."""

    def run_ended(self) -> None:
        """Waits until all is stored, for a short while, unless an event loop would have to wait."""
        if self.flushes and not _on_event_loop():
            self.writer.flush(self.writer.patience(RUN_END_S))


class Destination:
    """Opened with the first event; an application without a database runs on, untraced, and is told so once.

    Args: as SupabaseTracer's.

    Raises:
        SettingsError: an argument is not of its kind.
    """

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
        if flush_on is not None and flush_on not in FLUSH_ON:
            raise SettingsError(f"flush_on is {flush_on!r}, but must be one of {', '.join(FLUSH_ON)}")
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
        self._flush_on: FlushOn | None = flush_on
        self._opened: Opened | None = None
        self.off = False
        self._troubles: dict[str, int] = {}
        self._warned_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether an event has opened it."""
        return self._opened is not None

    def opened(self) -> Opened | None:
        """The destination; None while tracing is off."""
        if self._opened is None and not self.off:
            try:
                self._opened = self._open()
            except TraceError as error:
                # Once: an application without a database runs on, untraced, and says so.
                self.off = True
                logger.warning("chopsky-trace is off: %s", error)
        return self._opened

    def _open(self) -> Opened:
        settings = Settings.from_env()
        target = resolve_target(settings, self._database_url)
        writer = writer_for(target, settings)
        given = {k: v if v is not None else getattr(settings, k) for k, v in self._given.items()}
        capture = settings.capture if self._capture == "full" else self._capture
        rate = settings.sample_rate if self._sample_rate == 1.0 else self._sample_rate
        options = options_of(
            settings, scope=cast("Scope", {k: str(v) for k, v in given.items() if v is not None}), tags=self._tags,
            metadata=self._metadata, capture=capture, redact=self._redact, sample_rate=rate,
        )  # fmt: skip
        flush_on = (
            self._flush_on or settings.flush_on or ("run_end" if "AWS_LAMBDA_FUNCTION_NAME" in os.environ else None)
        )
        return Opened(writer, options, settings, target.folder(settings), options.told(), flush_on == "run_end")

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until all that was accepted is in the database, at most `timeout_s` seconds; whether it is."""
        return self._opened.writer.flush(timeout_s) if self._opened is not None else not self.off

    def close(self, timeout_s: float = 5.0) -> bool:
        """Flush, then stop this destination's writer, which all its sources share; a new event starts it again."""
        return self._opened.writer.close(timeout_s) if self._opened is not None else True

    def stats(self) -> dict[str, Any]:
        """Records accepted and stored, backlog, and losses by reason."""
        found: dict[str, Any] = {}
        if self._opened is not None:
            found.update(self._opened.writer.stats())
            redactor = self._opened.options.redactor
            if redactor is not None:
                found["redaction_failures"] = redactor.failures
        if self._troubles:
            found["callback_errors"] = dict(self._troubles)
        if self.off:
            found["off"] = True
        return found

    def failed(self, where: str, error: Exception) -> None:
        """Count an event that no record could be made of."""
        if self._opened is not None:
            self._opened.writer.lost("callback_error")
        self._count(where, f"could not record an event in {where}", error)

    def lost_field(self, name: str, error: Exception) -> None:
        """Count a field that could not be read: the span goes on without it."""
        self._count(name, f"could not read the {name} of a span", error)

    def _count(self, where: str, what: str, error: Exception) -> None:
        self._troubles[where] = self._troubles.get(where, 0) + 1
        now = time.monotonic()
        if not self._warned_at or now - self._warned_at > WARN_EVERY_S:
            self._warned_at = now
            # Never the text of an error that is not ours: it may quote the payload.
            why = error.detail if isinstance(error, TraceError) else type(error).__name__
            logger.warning("chopsky-trace %s (%s); it is counted in stats()", what, why)


def _on_event_loop() -> bool:
    """Whether this code was called by an event loop, which has others to serve."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def options_of(
    settings: Settings,
    *,
    capture: CaptureLevel | None = None,
    scope: Scope | None = None,
    tags: tuple[str, ...] = (),
    metadata: Mapping[str, Any] | None = None,
    redact: Callable[[str], str] | None = None,
    sample_rate: float = 1.0,
) -> Options:
    """What may be recorded, by settings, environment and what a source was given."""
    capture = capture or settings.capture
    redactor = None
    if capture == "masked" or redact is not None:
        # Its patterns take a while to compile: only for those who use them.
        from chopsky_trace.enrich.redact import Redactor

        redactor = Redactor(capture, redact)
    hide = settings.honour_langsmith_hide
    return Options(
        scope=scope or {},
        tags=tags,
        metadata=metadata or {},
        redactor=redactor,
        with_content=capture != "metadata",
        hide_inputs=hide and _says_true("LANGSMITH_HIDE_INPUTS", "LANGCHAIN_HIDE_INPUTS"),
        hide_outputs=hide and _says_true("LANGSMITH_HIDE_OUTPUTS", "LANGCHAIN_HIDE_OUTPUTS"),
        sample_rate=sample_rate,
        max_string=settings.max_field_bytes,
        estimates=settings.estimate_usage,
    )


def _says_true(*names: str) -> bool:
    return any(os.environ.get(name, "").lower() == "true" for name in names)
