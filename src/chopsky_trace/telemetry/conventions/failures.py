"""How a span ended: completed, failed, interrupted, abandoned; and the error in a line."""

from __future__ import annotations

import re

from chopsky_trace.telemetry.conventions import table
from chopsky_trace.telemetry.conventions.kinds import LOGFIRE_ERROR
from chopsky_trace.telemetry.conventions.native import ERROR, NativeEvent, NativeSpan
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.conventions.values import as_int, as_text, word

MAX_MESSAGE_CHARS = 4_000
_NAMED = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Z]\w*)(?:: |:?$)(.*)", re.DOTALL)
"""module.Type: message"""
_RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:: .*|)$", re.MULTILINE)
_REPR = re.compile(r"([A-Z]\w*)\((.*)\)\s*$", re.DOTALL)
_GENERAL = frozenset(("Exception", "Error", "BaseException", "error", "_OTHER", "exception"))
"""Types that say nothing: the message may begin with a better one."""
_TRACEBACK = "Traceback (most recent call last)"


def read_end(span: NativeSpan, reading: Reading) -> None:
    """Read `status` and `error`."""
    if span.end == 0:
        reading.status = "active"
        return
    attributes = span.attributes
    raised = (
        next((event for event in reversed(span.events) if event.name == "exception"), None) if span.events else None
    )
    failed = (
        span.status == ERROR
        or "error.type" in attributes
        or attributes.get("langfuse.observation.level") == "ERROR"
        or ("logfire.level_num" in attributes and (as_int(attributes["logfire.level_num"]) or 0) >= LOGFIRE_ERROR)
    )
    if not failed:
        return
    raised = next((event for event in reversed(span.events) if event.name == "exception"), None)
    kind, message = _told(span, raised)
    if kind in ("GraphInterrupt", "NodeInterrupt") or message.startswith("GraphInterrupt("):
        reading.status = "interrupted"
    elif kind in ("ParentCommand", "GraphBubbleUp"):
        # Control flow, which only looks like an error.
        reading.status = "completed"
    elif kind in ("CancelledError", "GeneratorExit"):
        reading.status, reading.error = "abandoned", kind
    else:
        reading.status = "failed"
        reading.error = f"{kind}: {message}" if kind and message else kind or message or None


def _told(span: NativeSpan, raised: NativeEvent | None) -> tuple[str, str]:
    """(type, message), either may be ""."""
    said = raised.attributes if raised is not None else span.attributes
    kind = word(said.get("exception.type")) or word(span.attributes.get("error.type")) or ""
    text = _line(as_text(said.get("exception.message"))) if raised is not None else ""
    if not text:
        text = next((t for n in table.ERROR_MESSAGE if (t := _line(as_text(span.attributes.get(n))))), "")
    if not text:
        text = _line(span.message)
    if kind.isdecimal():
        kind = ""
    kind = kind.rpartition(".")[2]
    return _named(kind, text)


def _named(kind: str, text: str) -> tuple[str, str]:
    """The message may begin with its type, with or without its module, or be the error's repr."""
    for _ in range(2):
        found = _NAMED.match(text)
        if found is None or not (not kind or kind in _GENERAL or found[1] == kind):
            break
        kind, text = found[1], found[2].strip()
    found = _REPR.match(text)
    if found is not None and (not kind or kind in _GENERAL or found[1] == kind):
        return found[1], found[2].strip("'\"")
    return kind, text


def _line(text: str) -> str:
    """The error's own line of a traceback; any other text as it is."""
    if len(text) > MAX_MESSAGE_CHARS and _TRACEBACK not in text[:MAX_MESSAGE_CHARS]:
        text = text[:MAX_MESSAGE_CHARS]
    at = text.find(_TRACEBACK)
    if at < 0:
        return text.strip()
    if at > 0 and text[:at].strip():
        # LangChain's callbacks put the error's repr before its traceback.
        return text[:at].strip()[:MAX_MESSAGE_CHARS]
    # What follows the error's line was added to it: "During task with name ...".
    lines = _RAISED.findall(text[-20_000:])
    return (lines[-1] if lines else text.strip().rpartition("\n")[2])[:MAX_MESSAGE_CHARS]
