"""From drafts to the journal: what every source does with a record in the making."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from orjson import Fragment, dumps

from chopsky_trace.enrich.secrets import without_secrets
from chopsky_trace.records import LONG_CHARS
from chopsky_trace.telling.bodies import OPTIONS, Bodies
from chopsky_trace.telling.memory import Draft, Root
from chopsky_trace.telling.options import LostField, Options

TOLD = frozenset(("bodies", "messages", "contents"))
HELD_BYTES = 2_000_000
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
        "question_keys",
        "answer_keys",
        "metadata",
        "events",
        "tags",
        "error",
        "params",
    )
)


class Sink(Protocol):
    """Where records go: a writer."""

    @property
    def epoch(self) -> int:
        """Changes when what was put before can no longer be referred to."""
        ...

    def put(self, record: bytes, /) -> bool: ...


class Outlet:
    """Encodes records and puts them; what could not be read costs its field only."""

    def __init__(self, sink: Sink, options: Options, bodies: Bodies, lost_field: LostField) -> None:
        self.sink = sink
        self.put = sink.put
        self.options = options
        self.bodies = bodies
        self.max_string = options.max_string
        self.short = min(options.max_string, LONG_CHARS)
        self.with_inputs = options.with_inputs
        self.with_outputs = options.with_outputs
        self.estimates = options.estimates
        self.tags_as_given = options.with_content and options.redactor is None
        self.lost_field = lost_field

    def _without_secrets(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return without_secrets(values)
        except Exception:
            # Something in it cannot be looked into as it stands.
            return without_secrets(self.bodies.plain(values))

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
        plain = self.bodies.plain
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
