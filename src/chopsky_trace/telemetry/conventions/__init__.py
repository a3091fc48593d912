"""Reads what OpenTelemetry instrumentors write, by attributes: one value for all of their conventions."""

from __future__ import annotations

from chopsky_trace.telemetry.conventions.events import heard
from chopsky_trace.telemetry.conventions.facts import facts
from chopsky_trace.telemetry.conventions.messages import contents
from chopsky_trace.telemetry.conventions.native import NativeSpan
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.conventions.values import note

__all__ = ["heard", "read"]


def read(span: NativeSpan) -> Reading:
    """What a span says. Never raises: a field that cannot be read is named in the reading's `partial`."""
    if span.attributes.__class__ is not dict:
        span = span._replace(attributes=dict(span.attributes))
    reading = Reading()
    facts(span, reading)
    try:
        contents(span, reading)
    except Exception:  # It costs the messages, not the rest.
        note(reading, "content")
    reading.parsed = {}
    return reading
