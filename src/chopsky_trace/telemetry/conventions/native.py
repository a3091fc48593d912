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
EARLIEST, LATEST = 10**18, 4 * 10**18
"""Of September 2001 and October 2096: what is beyond them, a clock that was never set or nobody said."""
LONGEST = 10**17
"""Three years: nothing took longer."""
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

    @property
    def is_first(self) -> bool:
        """Whether nothing above it is of this process: what holds for all of a trace stands there."""
        return self.parent_id is None or self.remote_parent


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


def in_time(span: NativeSpan) -> NativeSpan:
    """The span, an impossible time of it replaced by the nearest that it tells; both 0 where it tells none."""
    start, end = _moment(span.start), _moment(span.end)
    if not start or not end or end - start >= LONGEST:
        told = [at for event in span.events if (at := _moment(event.at))]
        start = start or min(told, default=end)
        end = end or max(told, default=start)
        if end - start >= LONGEST:
            start = end
    return span if start is span.start and end is span.end else span._replace(start=start, end=end)


def _moment(value: Any) -> int:
    """The value, where it can be a time; else 0. The SDKs take what they are given, fractions too."""
    if (value.__class__ is int or value.__class__ is float) and EARLIEST < value < LATEST:
        return int(value)
    return 0
