"""What an OpenTelemetry exporter or receiver was given, as plain values: nothing of it is interpreted yet.

Attributes are Python values as OTLP has them (text, bool, int, float, bytes, None, lists and dicts of these), whatever
their instrumentor meant by them; times are nanoseconds since 1970; ids are lower-case hex.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Attributes = Mapping[str, Any]

NO_STATUS, OK, ERROR = 0, 1, 2
"""OTLP's status codes."""
INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = 1, 2, 3, 4, 5
"""OTLP's span kinds."""


class NativeEvent(NamedTuple):
    """An event on a span."""

    name: str
    at: int
    attributes: Attributes


class NativeSpan(NamedTuple):
    """A span as its instrumentor made it."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    parent_id: str | None
    name: str
    kind: int
    start: int
    end: int
    """0: it has not ended."""
    status: int
    message: str
    """The status' description."""
    attributes: Attributes
    events: Sequence[NativeEvent]
    scope: str
    """The instrumentation scope's name: which instrumentor it is."""
    resource: Attributes
    dropped: int = 0
    """How many attributes the SDK's limits cut off."""
    remote_parent: bool = False
    """Whether the parent is known to be in another process."""


class NativeLog(NamedTuple):
    """A log record that belongs to a span."""

    trace_id: str
    span_id: str
    name: str
    """The event's name, "" if it has none."""
    at: int
    body: Any
    attributes: Attributes
    scope: str
    resource: Attributes
