"""The parts of a message's content, in any form: texts, calls, results, reasoning, media."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from chopsky_trace.telemetry.conventions.media import Fields, kind_of, media
from chopsky_trace.telemetry.conventions.reading import Part, ToolCall
from chopsky_trace.telemetry.conventions.values import as_dict, as_text, loose, word

MAX_DEPTH = 40
"""Deeper contents are kept as they are."""


class Content:
    """A message's content while it is being read, part by part."""

    __slots__ = ("calls", "parts", "results", "thoughts", "told")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.calls: list[ToolCall] = []
        self.results: list[tuple[int, str | None, str | None, Any]] = []
        """(how many parts came before, call, tool, content) of each tool's result."""
        self.thoughts: list[str] = []
        self.told = False
        """Whether a text is given at all, be it empty."""

    def plain(self) -> str | list[Part]:
        """The content: a text where there is no more than one text."""
        return plainly(self.parts)

    def text(self, text: Any) -> None:
        """Add a text; an empty one says nothing."""
        self.told = True
        if text:
            self.parts.append({"type": "text", "text": text if text.__class__ is str else as_text(text)})

    def add(self, value: Any, depth: int = 0) -> None:
        """Add content as it comes: a text, a part, or a list of these."""
        if value.__class__ is str:
            self.text(value)
        elif value is None:
            pass
        elif value.__class__ is list and depth < MAX_DEPTH:
            for item in cast("list[Any]", value):
                self.add(item, depth + 1)
        elif value.__class__ is dict and depth < MAX_DEPTH:
            self._part(cast("Fields", value), depth)
        elif isinstance(value, bytes | bytearray) or value.__class__ in (bool, int, float):
            self.text(as_text(value))
        else:
            self.parts.append({"type": "non_standard", "value": value})

    def _part(self, part: Fields, depth: int) -> None:
        read = _READERS.get(kind_of(part))
        if read is None:
            read = next((_BY_KEY[key] for key in part if key in _BY_KEY), None)
        if read is not None:
            read(self, part, depth)
        elif part:
            self.parts.append({"type": "non_standard", "value": part})


def plainly(parts: list[Part]) -> str | list[Part]:
    """The content that the parts make: a text where there is no more than one text."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts


_CALL_HOLDERS = ("tool_call", "toolUse", "functionCall", "function_call")
_RESULT_HOLDERS = ("functionResponse", "toolResult", "function_response")


def call_of(fields: Fields, *, call_id: str | None = None) -> ToolCall | None:
    """A tool call in any form; None where neither its name nor its id is told."""
    inner: Any = next((fields[key] for key in _CALL_HOLDERS if fields.get(key).__class__ is dict), None)
    if inner is not None:
        fields = inner
    function: Any = fields.get("function")
    named: Fields = function if function.__class__ is dict else fields
    name = word(named.get("name") or named.get("toolName") or named.get("tool_name"))
    # The Responses API has an id of the item beside the call's: results refer to the call's.
    found = fields.get("call_id") or fields.get("id") or fields.get("toolCallId") or fields.get("tool_call_id")
    call_id = word(found or fields.get("toolUseId") or call_id)
    if name is None and call_id is None:
        return None
    return ToolCall(name or "", _args(named), call_id)


def _args(fields: Fields) -> Any:
    """The arguments as an object wherever they can be read as one; None where they are not told."""
    for key in ("arguments", "args", "input"):
        if key not in fields:
            continue
        raw: Any = fields[key]
        if raw.__class__ is str:
            text = cast("str", raw).strip()
            data: Any = loose(text) if text else {}
            return data if data.__class__ is dict else raw
        if raw:
            return raw
        # Streamed calls of Anthropic, as LangChain puts them together.
        partial: Any = fields.get("partial_json")
        return as_dict(loose(partial))
    return None


# -- readers of one kind of part each


def _text(content: Content, part: Fields, depth: int) -> None:
    value: Any = part.get("text")
    if value is None:
        value = part.get("content")
    if value.__class__ is dict and "value" in value:
        value = value["value"]
    if part.get("thought") is True:
        _reasoning(content, part, depth)
    elif value.__class__ is list:
        content.add(value, depth + 1)
    else:
        content.text("" if value is None else value)


def _refusal(content: Content, part: Fields, depth: int) -> None:
    content.text(part.get("refusal") or part.get("content") or "")


def _call(content: Content, part: Fields, depth: int) -> None:
    call = call_of(part)
    if call is not None:
        content.calls.append(call)


def _result(content: Content, part: Fields, depth: int) -> None:
    part = next((part[key] for key in _RESULT_HOLDERS if part.get(key).__class__ is dict), part)
    call_id = word(
        part.get("call_id")
        or part.get("tool_use_id")
        or part.get("toolCallId")
        or part.get("tool_call_id")
        or part.get("toolUseId")
        or part.get("id")
    )
    name = word(part.get("name") or part.get("toolName"))
    for key in ("response", "result", "output", "content"):
        if part.get(key) is not None:
            content.results.append((len(content.parts), call_id, name, result_of(part[key])))
            return
    content.results.append((len(content.parts), call_id, name, ""))


def result_of(value: Any) -> str | list[Part]:
    """A tool's result as content: texts and media as such, other data as JSON."""
    if value.__class__ is str:
        # Some instrumentors write the list of a result's parts as Python shows it.
        if not value.startswith("[{"):
            return value
        data = loose(value)
        return result_of(data) if data.__class__ is list and _are_parts(data) else value
    if value.__class__ is dict:
        fields = cast("Fields", value)
        if kind_of(fields) in ("text", "json", "content", "error-text", "error-json") and "value" in fields:
            return result_of(fields["value"])
        if not _are_parts([fields]):
            return as_text(fields)
        value = [fields]
    if value.__class__ is list and _are_parts(cast("list[Any]", value)):
        inner = Content()
        inner.add(value)
        return inner.plain()
    return as_text(value)


def _are_parts(items: list[Any]) -> bool:
    if not items:
        return False
    for item in items:
        if item.__class__ is not dict:
            return False
        fields = cast("Fields", item)
        kind = kind_of(fields)
        if kind not in _CONTENT_TYPES and not (
            not kind and len(fields) == 1 and next(iter(fields)) in ("text", "image")
        ):
            return False
    return True


def is_parts(items: list[Any]) -> bool:
    """Whether all of them are parts of a kind that is known."""
    return bool(items) and all(item.__class__ is dict and kind_of(item) in _READERS for item in items)


def _reasoning(content: Content, part: Fields, depth: int) -> None:
    found: Any = None
    for key in ("reasoning", "thinking", "content", "text", "summary", "reasoning_content"):
        found = part.get(key)
        if found:
            break
    for item in cast("list[Any]", found) if found.__class__ is list else [found]:
        text: Any = item.get("text") if item.__class__ is dict else item
        if text.__class__ is str and text:
            content.thoughts.append(text)


def _inner_reasoning(content: Content, part: Fields, depth: int) -> None:
    inner: Any = part.get("reasoningContent")
    text: Any = inner.get("reasoningText") if inner.__class__ is dict else None
    _reasoning(content, cast("Fields", text) if text.__class__ is dict else {}, depth)


def _media(content: Content, part: Fields, depth: int) -> None:
    content.parts.append(media(part) or {"type": "non_standard", "value": part})


Reader = Callable[[Content, Fields, int], None]

_READERS: dict[str, Reader] = {
    **dict.fromkeys(("text", "input_text", "output_text", "summary_text", "text-plain"), _text),
    "refusal": _refusal,
    **dict.fromkeys(("tool_call", "tool_use", "tool-call", "function_call", "custom_tool_call"), _call),
    **dict.fromkeys(
        ("tool_call_response", "tool_result", "tool-result", "function_call_output", "custom_tool_call_output"),
        _result,
    ),
    **dict.fromkeys(
        ("reasoning", "thinking", "redacted_thinking", "redacted-reasoning", "reasoning_content"),
        _reasoning,
    ),
    **dict.fromkeys(
        ("image", "image_url", "input_image", "image-url", "audio", "input_audio", "audio-url", "video", "video-url"),
        _media,
    ),
    **dict.fromkeys(
        ("file", "input_file", "document", "document-url", "blob", "uri", "binary", "media", "file_data"), _media
    ),
}
"""By a part's `type`."""
_CONTENT_TYPES = frozenset(kind for kind, reader in _READERS.items() if reader in (_text, _media))
_BY_KEY: dict[str, Reader] = {
    "functionCall": _call,
    "function_call": _call,
    "toolUse": _call,
    "tool_call": _call,
    "functionResponse": _result,
    "function_response": _result,
    "toolResult": _result,
    "inlineData": _media,
    "inline_data": _media,
    "fileData": _media,
    "file_data": _media,
    "reasoningContent": _inner_reasoning,
    "image": _media,
    "image_url": _media,
    "video": _media,
    "document": _media,
    "text": _text,
    "refusal": _refusal,
    # Of a part that was cut off before its type.
    "response": _result,
    "modality": _media,
    "content": _text,
}
"""By the one key that tells it, where a part has no type."""
