"""What a call was asked with besides its messages: temperature, limits, tools; named as LangChain names them."""

from __future__ import annotations

from typing import Any

from chopsky_trace.telemetry.conventions import table
from chopsky_trace.telemetry.conventions.native import Attributes, NativeSpan
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.conventions.scopes import STATED
from chopsky_trace.telemetry.conventions.values import as_dict, as_list, loose, parsed, scalar, word
from chopsky_trace.telling.identifiers import identifier

MAX_TOOLS = 500
_NAMES = frozenset(table.PARAMS)
_STREAM_WORDS = {"true": True, "false": False}


def read_params(span: NativeSpan, reading: Reading) -> None:
    """Read `params`, of a call."""
    attributes = span.attributes
    found = _objects(span, reading)
    for name in _NAMES & attributes.keys():
        value = attributes[name]
        if value is not None and value != "":
            found[table.PARAMS[name]] = _value(value)
    for name in table.REQUEST_PAYLOADS:
        if name in attributes:
            _take(as_dict(parsed(span, reading, name)), found)
    if "mlflow.spanType" in attributes:
        _take({name: scalar(attributes[name]) for name in table.REQUEST_PARAMS & attributes.keys()}, found)
    if span.scope.startswith("openlit"):
        found = {name: value for name, value in found.items() if table.OPENLIT_DEFAULTS.get(name, found) != value}
    tools = _tools(span, reading)
    if tools:
        found["tools"] = tools
    if found.get("stream") is False:
        del found["stream"]
    _take_conversation(found.pop("conversation", None), reading)
    if found:
        reading.params = found


def _take_conversation(told: Any, reading: Reading) -> None:
    """OpenAI's Responses keep a conversation, if asked to: that is the session, where the application names none."""
    if told is not None and "session_id" not in reading.scope:
        session = identifier(word(told) or word(as_dict(told).get("id")))
        if session is not None:
            reading.scope["session_id"] = session
            reading.session_rank = STATED


def _objects(span: NativeSpan, reading: Reading) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in table.PARAM_OBJECTS:
        if name in span.attributes:
            for key, value in as_dict(parsed(span, reading, name)).items():
                if value is not None and key not in table.NOT_PARAMS:
                    found[str(key)] = value
    return found


def _take(request: dict[str, Any], found: dict[str, Any]) -> None:
    for name in table.REQUEST_PARAMS & request.keys():
        if request[name] is not None:
            found.setdefault(name, request[name])


def _value(value: Any) -> Any:
    if value.__class__ is str:
        # LiteLLM writes booleans, and all write limits that are no numbers, as words.
        return _STREAM_WORDS.get(value.lower(), loose(value))
    return value


def _tools(span: NativeSpan, reading: Reading) -> list[Any]:
    attributes = span.attributes
    for name in table.TOOLS:
        if name in attributes:
            found = [loose(tool) for tool in as_list(parsed(span, reading, name))[:MAX_TOOLS]]
            if found:
                return found
    before, after = table.TOOL_SCHEMA
    if f"{before}0{after}" in attributes:
        return _numbered(attributes, before, after)
    before, fields = table.TOOL_FUNCTION
    if f"{before}0.{fields[0]}" in attributes:
        return _functions(attributes, before, fields)
    return []


def _numbered(attributes: Attributes, before: str, after: str) -> list[Any]:
    found: list[Any] = []
    while len(found) < MAX_TOOLS and (name := f"{before}{len(found)}{after}") in attributes:
        found.append(loose(attributes[name]))
    return found


def _functions(attributes: Attributes, before: str, fields: tuple[str, ...]) -> list[Any]:
    found: list[Any] = []
    while len(found) < MAX_TOOLS and word(attributes.get(f"{before}{len(found)}.{fields[0]}")):
        told = {field: loose(attributes.get(f"{before}{len(found)}.{field}")) for field in fields}
        found.append({"type": "function", "function": {k: v for k, v in told.items() if v is not None}})
    return found
