"""What the user said and was answered, as inputs and outputs have it: where it is looked for, whatever their source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

from chopsky_trace.records import Role

ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "AIMessageChunk": "assistant",
    "HumanMessageChunk": "user",
    "SystemMessageChunk": "system",
    "ToolMessageChunk": "tool",
    "FunctionMessageChunk": "tool",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "model": "assistant",
    "tool-call": "assistant",
}
"""What a message's role or type is called -> its role."""
INPUT_KEYS = (
    "messages",
    "input",
    "question",
    "query",
    "prompt",
    "text",
    "message",
    "content",
    "user_input",
    "human_input",
)
OUTPUT_KEYS = (
    "messages",
    "output",
    "answer",
    "result",
    "response",
    "text",
    "content",
    "message",
    "reply",
    "final_answer",
    "generation",
)
INPUT_ORDER = {key: place for place, key in enumerate(INPUT_KEYS)}
OUTPUT_ORDER = {key: place for place, key in enumerate(OUTPUT_KEYS)}
"""Where a root's question and answer are looked for, in this order."""


class _HasRole(Protocol):
    @property
    def role(self) -> Any: ...


T = TypeVar("T")
M = TypeVar("M", bound=_HasRole)


def told_in(
    value: Any, order: Mapping[str, int], messages: Callable[[Any], list[T] | None]
) -> tuple[str | None, list[T] | None]:
    """(the text, or else the messages) that inputs or outputs have under the names in `order`.

    Args:
        messages: the messages that a value is; None if it is none.
    """
    if isinstance(value, str):
        return value, None
    if not isinstance(value, Mapping):
        return None, messages(value)
    fields = cast("Mapping[str, Any]", value)
    named = [key for key in fields if key in order]
    if len(named) > 1:
        named.sort(key=order.__getitem__)
    for key in named:
        if fields[key].__class__ is not str:
            found = messages(fields[key])
            if found:
                return None, found
    for key in named:
        if isinstance(fields[key], str) and fields[key]:
            return fields[key], None
    texts = [v for v in fields.values() if isinstance(v, str) and v]
    return (texts[0], None) if len(texts) == 1 else (None, None)


def closing(messages: Sequence[M], is_said: Callable[[M], bool]) -> list[M] | None:
    """What the assistant said after the user's last message, calls for tools aside; None if nothing."""
    start = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1) + 1
    return [m for m in messages[start:] if m.role == "assistant" and is_said(m)] or None
