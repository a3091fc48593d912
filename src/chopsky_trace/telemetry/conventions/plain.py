"""Payloads as plain data, with messages where they have messages."""

from __future__ import annotations

from typing import Any, cast

from chopsky_trace.telemetry.conventions.dialogue import conversation
from chopsky_trace.telemetry.conventions.media import Fields
from chopsky_trace.telemetry.conventions.native import NativeSpan
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.conventions.shapes import are_messages, is_message
from chopsky_trace.telemetry.conventions.values import loose, parsed, scalar

MAX_DEPTH = 60
"""Deeper levels of a payload stay as they are."""
MESSAGES_DEPTH = 6
"""How deep in a payload messages are looked for."""
VECTOR_NUMBERS = 8
"""A list under a vector's name is one from so many numbers on."""
_VECTOR_NAMES = frozenset(("embedding", "embeddings", "vector", "vectors", "ai.embedding", "ai.embeddings"))
_WRAPPERS = frozenset(("tags", "metadata", "kwargs", "input_str", "inputs", "input", "query", "outputs", "output"))

INPUTS = (
    "gen_ai.tool.call.arguments",
    "ai.toolCall.args",
    "input.value",
    "mlflow.spanInputs",
    "langfuse.observation.input",
    "gen_ai.prompt",
    "traceloop.entity.input",
    "gen_ai.task.input",
    "gen_ai.input.messages",
    "ai.prompt",
    "tool_arguments",
    "gen_ai.tool.args",
    "tool.parameters",
    "gcp.vertex.agent.tool_call_args",
    "raw_input",
    "input",
)
OUTPUTS = (
    "gen_ai.tool.call.result",
    "ai.toolCall.result",
    "output.value",
    "mlflow.spanOutputs",
    "langfuse.observation.output",
    "gen_ai.completion",
    "traceloop.entity.output",
    "gen_ai.task.output",
    "gen_ai.output.messages",
    "ai.response.text",
    "ai.response.object",
    "tool_response",
    "gcp.vertex.agent.tool_response",
    "final_result",
    "response",
    "output",
)
"""Where inputs and outputs stand, the surest first."""
_AS_JSON = frozenset(("ai.toolCall.result", "mlflow.spanInputs", "mlflow.spanOutputs"))
"""Whose texts are JSON, too."""


_latest: dict[int, tuple[Any, Any]] = {}
REMEMBERED = 64


def payload(value: Any) -> Any:
    """The same data: lists of messages as lists of `Message`, a message alone as one, vectors as their length."""
    known = _latest.get(id(value))
    if known is not None and known[0] is value:
        return known[1]
    found = _payload(value, 0)
    if value.__class__ in (dict, list):
        if len(_latest) >= REMEMBERED:
            _latest.clear()
        _latest[id(value)] = value, found
    return found


def _payload(value: Any, depth: int) -> Any:
    if value.__class__ is list:
        items = cast("list[Any]", value)
        if depth > MAX_DEPTH:
            return items
        if depth <= MESSAGES_DEPTH and are_messages(items):
            return conversation(items)
        return [_payload(item, depth + 1) for item in items]
    if value.__class__ is not dict or depth > MAX_DEPTH:
        return value
    fields = cast("Fields", value)
    if depth <= MESSAGES_DEPTH and is_message(fields):
        found = conversation([fields])
        if found:
            return found[0] if len(found) == 1 else found
    if "lc" in fields and fields.get("kwargs").__class__ is dict:
        # LangChain's constructor of a document, a prompt value, and such.
        return _payload(fields["kwargs"], depth + 1)
    return {
        key: _vector(item) if key in _VECTOR_NAMES and _is_vector(item) else _payload(item, depth + 1)
        for key, item in fields.items()
    }


def _is_vector(value: Any) -> bool:
    if value.__class__ is not list or not value:
        return False
    items = cast("list[Any]", value)
    if items[0].__class__ is list:
        return _is_vector(items[0])
    return len(items) >= VECTOR_NUMBERS and all(item.__class__ in (float, int) for item in items)


def _vector(value: list[Any]) -> Fields:
    if value[0].__class__ is list:
        return {"vectors": len(value), "dimensions": len(value[0])}
    return {"dimensions": len(value)}


def told(span: NativeSpan, reading: Reading, names: tuple[str, ...]) -> Any:
    """The data of the first of the attributes that is there."""
    attributes = span.attributes
    for name in names:
        if name in attributes and attributes[name] is not None:
            found = scalar(attributes[name]) if name in _AS_JSON else parsed(span, reading, name)
            return found if name.startswith(("ai.", "mlflow.")) else _unpacked(found)
    return None


def _unpacked(value: Any) -> Any:
    """What OpenLLMetry wraps with LangChain's tags, metadata and arguments of a callback."""
    if value.__class__ is not dict or "kwargs" not in value:
        return value
    fields = cast("Fields", value)
    if not _WRAPPERS.issuperset(fields):
        return value
    for key in ("inputs", "outputs", "input", "output", "input_str"):
        if key in fields:
            return loose(fields[key])
    return {"query": fields["query"]} if "query" in fields else value
