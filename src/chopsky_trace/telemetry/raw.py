"""Native spans and log records as the journal holds them: what was given, without secrets, not yet interpreted.

To interpret them takes several times as long as to write them down, so that is the worker's work, which lets the
application's threads go first; an exporter only encodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from orjson import OPT_NON_STR_KEYS, Fragment, dumps, loads

from chopsky_trace.enrich.limit import clean
from chopsky_trace.enrich.secrets import is_secret_name, without_secrets
from chopsky_trace.records import FORMAT
from chopsky_trace.telemetry.conventions import table
from chopsky_trace.telemetry.conventions.native import Attributes, NativeEvent, NativeLog, NativeSpan
from chopsky_trace.telemetry.conventions.values import loose
from chopsky_trace.telling.bodies import hides_float

SPAN_HEAD = b'{"v":%d,"t":"otel_span",' % FORMAT
LOG_HEAD = b'{"v":%d,"t":"otel_log",' % FORMAT
HEADS = (SPAN_HEAD, LOG_HEAD)
"""How such records begin, and no others."""
MAX_PLANNED_NAMES = 200_000
"""Most attributes' names of all shapes remembered: in flat conventions each length of a history is one more."""
HOLDERS: frozenset[type] = frozenset((dict, list, tuple))
LONG_CHARS = 4_000
"""A longer text is content, not an address."""
_RESOURCE = frozenset((*table.ENVIRONMENT, *table.RESOURCE_PROJECT))

Plan = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Of a shape of attributes: the names that are secrets, those whose text is data with names of its own, and those whose
text may hold an address."""
_plans: dict[tuple[str, ...], Plan] = {}
_planned_names = 0


def span_record(span: NativeSpan, told: bytes, max_string: int) -> bytes:
    """The span as a record.

    Args:
        span: as it came.
        told: what its source was told beside, as JSON.
        max_string: longest text kept, in bytes.
    """
    span = safe_span(span)
    events = [(e.name, e.at, _plain(e.attributes, max_string)) for e in span.events]
    fields = (
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.name,
        span.kind,
        span.start,
        span.end,
        span.status,
        span.message,
        _plain(span.attributes, max_string),
        events,
        span.scope,
        _resource(span.resource),
        span.dropped,
        span.remote_parent,
    )
    return b"".join((SPAN_HEAD, b'"told":', told, b',"span":', _encoded(fields, max_string), b"}"))


def log_record(log: NativeLog, told: bytes, max_string: int) -> bytes:
    """The log record as a record; as `span_record`."""
    log = safe_log(log)
    fields = (
        log.trace_id,
        log.span_id,
        log.name,
        log.at,
        _plain(log.body, max_string),
        _plain(log.attributes, max_string),
        log.scope,
        _resource(log.resource),
    )
    return b"".join((LOG_HEAD, b'"told":', told, b',"log":', _encoded(fields, max_string), b"}"))


def decoded(line: bytes) -> tuple[NativeSpan | NativeLog, bytes]:
    """What a record holds, and what its source was told beside, as JSON.

    Raises:
        ValueError, KeyError, TypeError: it is no such record.
    """
    record: dict[str, Any] = loads(line)
    if "log" in record:
        return NativeLog(*record["log"]), told_in(line, LOG_HEAD, b',"log":')
    fields: list[Any] = record["span"]
    if fields[10]:
        fields[10] = [NativeEvent(*event) for event in fields[10]]
    return NativeSpan(*fields), told_in(line, SPAN_HEAD, b',"span":')


def told_in(line: bytes, head: bytes, end: bytes) -> bytes:
    """The part of a record between these: within JSON a quote of a text would be escaped."""
    start = len(head) + len(b'"told":')
    return line[start : line.index(end, start)]


def safe_span(span: NativeSpan) -> NativeSpan:
    """The span without secrets."""
    attributes = safe(span.attributes)
    events = [event._replace(attributes=safe(event.attributes)) for event in span.events]
    return span if attributes is span.attributes and not events else span._replace(attributes=attributes, events=events)


def safe_log(log: NativeLog) -> NativeLog:
    """The log record without secrets."""
    body = safe(cast("Attributes", log.body)) if isinstance(log.body, Mapping) else log.body
    return log._replace(body=body, attributes=safe(log.attributes))


def safe(attributes: Attributes) -> Attributes:
    """The attributes without secrets: by their names, by the names in their data, and in addresses. Not of content."""
    shape = tuple(attributes)
    plan = _plans.get(shape)
    if plan is None:
        plan = _planned(shape)
    secret, data, texts = plan
    found: dict[str, Any] | None = None
    for name in secret:
        found = found or dict(attributes)
        found.update(without_secrets({name: attributes[name]}))
    for name in data:
        value: Any = loose(attributes[name])
        if isinstance(value, dict):
            stripped = without_secrets(cast("dict[str, Any]", value))
            if stripped is not value:
                found = found or dict(attributes)
                found[name] = stripped
    for name in texts:
        value = attributes[name]
        if value.__class__ in HOLDERS:
            found = found or dict(attributes)
            found[name] = without_secrets({name: value})[name]
        elif value.__class__ is str and "://" in value and len(value) <= LONG_CHARS:
            stripped = without_secrets({name: value})[name]
            if stripped != value:
                found = found or dict(attributes)
                found[name] = stripped
    return attributes if found is None else found


def _planned(shape: tuple[Any, ...]) -> Plan:
    names = [name for name in shape if name.__class__ is str]
    plan = (
        tuple(name for name in names if is_secret_name(name) and is_secret_name(name.rpartition(".")[2] or name)),
        tuple(n for n in names if n in table.DATA_ATTRIBUTES or n.startswith(table.JSON_METADATA)),
        tuple(name for name in names if not name.startswith(table.CONTENT_PREFIXES)),
    )
    global _planned_names
    if _planned_names + len(shape) > MAX_PLANNED_NAMES:
        _plans.clear()
        _planned_names = 0
    if len(shape) < MAX_PLANNED_NAMES:
        _plans[shape] = plan
        # One for its own sake: a shape may have no names.
        _planned_names += len(shape) + 1
    return plan


_latest: tuple[Any, dict[str, Any]] = (None, {})


def _resource(resource: Attributes) -> dict[str, Any]:
    """What is read of a resource; a process has one, so that of the span before is mostly this one."""
    global _latest
    known, found = _latest
    if known is not resource:
        found = {name: str(resource[name]) for name in _RESOURCE if name in resource}
        _latest = resource, found
    return found


def _plain(value: Any, max_string: int) -> Any:
    """The value encoded by itself, so that one that is odd costs only its own way round."""
    try:
        encoded = dumps(value, None, OPT_NON_STR_KEYS)
        if len(encoded) <= max_string and not hides_float(encoded, value):
            return Fragment(encoded)
    except (TypeError, ValueError, RecursionError):
        pass
    # NaN and infinities would be null; bytes, odd objects and lone surrogates are no JSON at all.
    return Fragment(dumps(clean(_apart(value, max_string), max_string), None, OPT_NON_STR_KEYS))


def _apart(value: Any, max_string: int) -> Any:
    """Attributes whose long texts are data given as data: so the bound is on each text in it, not on a whole prompt."""
    if not isinstance(value, Mapping):
        return value
    found = cast("Attributes", value)
    return {
        name: loose(text) if text.__class__ is str and len(text) > max_string else text for name, text in found.items()
    }


def _encoded(fields: tuple[Any, ...], max_string: int) -> bytes:
    try:
        return dumps(fields)
    except (TypeError, ValueError, RecursionError):
        return dumps([f if f.__class__ is Fragment else clean(f, max_string) for f in fields], None, OPT_NON_STR_KEYS)
