"""Messages, from any form of them: OpenTelemetry's parts, the providers' requests and answers, LangChain's dumps.

The same message is the same value wherever it is seen: as an answer, in the next prompt, by another instrumentor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from orjson import dumps

from chopsky_trace.records import Role
from chopsky_trace.telemetry.conventions.media import Fields, kind_of
from chopsky_trace.telemetry.conventions.parts import Content, call_of, plainly, result_of
from chopsky_trace.telemetry.conventions.reading import Message, Part, ToolCall
from chopsky_trace.telemetry.conventions.shapes import (
    ITEM_RESULTS,
    ITEMS,
    LANGCHAIN_TYPES,
    SERVER_ITEMS,
    TELLING,
    is_pair,
    unwrapped,
)
from chopsky_trace.telemetry.conventions.values import as_dict, loose, word
from chopsky_trace.telling.turns import ROLES

REMEMBERED = 1_000
REMEMBERED_BYTES = 8_000
"""Most items, each at most so long, that are known again; what they hold is nobody's to change."""
_read_before: dict[tuple[Role, bytes], tuple[Message, ...]] = {}
_OTHERS = frozenset(("parts", "contents"))
"""Where a message's content may be, beside `content`."""


def conversation(items: Iterable[Any], *, role: Role = "user", turn: bool = False) -> list[Message]:
    """The messages that the items are, in order; what is no message is left out.

    Args:
        role: whose an item is that does not say.
        turn: whether the items are one turn: all that its assistant said is then one message.
    """
    found: list[Message] = []
    before_typed = False
    for item in items:
        start = len(found)
        typed = item.__class__ is dict and kind_of(item) in ITEMS
        read(item, role, found)
        if start and start < len(found):
            last, message = found[start - 1], found[start]
            if message.role == last.role == "assistant" and (
                turn or (typed and before_typed) or _continues(last, message, item)
            ):
                found[start - 1 : start + 1] = [_joined(last, message)]
        before_typed = typed
    return found


def blank(messages: list[Message]) -> bool:
    """Whether nothing is told of the messages but that there were some: contents were not captured."""
    return not any(m.content or m.calls or m.call_id or m.reasoning for m in messages)


def without_repeats(instructions: Message, messages: list[Message]) -> list[Message]:
    """The messages with the instructions first, which some tell among the messages, too."""
    told = [m.content for m in messages if m.role == "system"]
    if not told:
        return [instructions, *messages]
    content = instructions.content
    if content in told:
        return messages
    if content.__class__ is list:
        rest: list[Part] = [p for p in cast("list[Part]", content) if p.get("text") not in told]
        content = plainly(rest)
        return [instructions._replace(content=content), *messages] if content else messages
    return [instructions, *(m for m in messages if not _is_begun(m, cast("str", content)))]


def _is_begun(message: Message, instructions: str) -> bool:
    """Whether it is the first of the instructions: all that a request which was cut off has of them."""
    told = message.content
    return message.role == "system" and told.__class__ is str and instructions.startswith(cast("str", told))


def _continues(last: Message, message: Message, item: Any) -> bool:
    """Whether an assistant's message is the rest of the one before it: a turn is split where it has several calls."""
    if not last.content and not last.calls:
        return True
    if message.content or not message.calls or item.__class__ is not dict:
        return False
    if "lc" in item or kind_of(item) in LANGCHAIN_TYPES:
        return False
    # Who asked for tools waits for their results; so more calls are the same turn's.
    return bool(last.calls) or not last.name or not message.name or last.name == message.name


def _joined(first: Message, second: Message) -> Message:
    content = second.content or first.content
    if first.content and second.content:
        content = [*_as_parts(first.content), *_as_parts(second.content)]
    return Message(
        role="assistant",
        content=content,
        calls=first.calls + second.calls,
        name=first.name or second.name,
        reasoning="\n".join(text for text in (first.reasoning, second.reasoning) if text),
    )


def _as_parts(content: str | list[Part]) -> list[Part]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def read(item: Any, role: Role, found: list[Message]) -> None:
    """Add the messages that one item is: usually one; more where it holds several tools' results."""
    if item.__class__ is str:
        found.append(Message(role, item))
    elif item.__class__ is dict:
        found += _known(cast("Fields", item), role)
    elif isinstance(item, Message):
        found.append(item)
    elif item.__class__ is list or item.__class__ is tuple:
        pair = cast("list[Any]", item)
        if is_pair(pair):
            _message({"content": pair[1]}, ROLES[pair[0]], found)


def _known(item: Fields, role: Role) -> tuple[Message, ...]:
    """The messages that an object is. Every call and every step of a graph tells the whole history again: to encode an
    item costs a tenth of reading it."""
    try:
        key = role, dumps(item)
    except (TypeError, ValueError, RecursionError):
        return _read(item, role)
    known = _read_before.get(key)
    if known is None:
        known = _read(item, role)
        if len(key[1]) <= REMEMBERED_BYTES:
            if len(_read_before) >= REMEMBERED:
                _read_before.clear()
            _read_before[key] = known
    return known


def _read(item: Fields, role: Role) -> tuple[Message, ...]:
    found: list[Message] = []
    fields, told_role = unwrapped(item)
    kind = kind_of(fields)
    if kind in ITEMS and kind != "message":
        _item(fields, kind, found)
    elif not TELLING.isdisjoint(fields) or "role" in fields:
        _message(fields, told_role or role, found)
    return tuple(found)


def _item(fields: Fields, kind: str, found: list[Message]) -> None:
    """An item of the Responses API that is no message by itself."""
    content = Content()
    if kind in SERVER_ITEMS:
        content.parts.append({"type": "non_standard", "value": fields})
    else:
        content.add(fields)
    if kind in ITEM_RESULTS:
        for _, call_id, name, result in content.results:
            found.append(Message("tool", result, call_id=call_id, name=name))
    elif content.parts or content.calls or content.thoughts:
        found.append(Message("assistant", content.plain(), tuple(content.calls), reasoning="\n".join(content.thoughts)))


def _message(fields: Fields, role: Role, found: list[Message]) -> None:
    if role == "user" or role == "system":
        # What most messages are: a text and no more.
        simple = _only_text(fields)
        if simple is not None:
            found.append(Message(role, simple, name=word(fields.get("name"))))
            return
    content = Content()
    for key in ("parts", "contents", "content"):
        told: Any = fields.get(key)
        if told is None or not (told or key == "content"):
            continue
        if told.__class__ is dict and role == "tool":
            if _is_definition(cast("Fields", told)):
                return
            told = result_of(told)
        content.add(told)
        break
    name = word(fields.get("name"))
    if role == "tool" and not content.results:
        call_id = word(fields.get("tool_call_id") or fields.get("call_id") or fields.get("id"))
        found.append(Message("tool", content.plain(), call_id=call_id, name=name))
        return
    if role == "assistant":
        _said(fields, content)
    _assemble(fields, role, name, content, found)


def _only_text(fields: Fields) -> str | None:
    """The text that is all the message has; None if it may have anything else."""
    parts: Any = fields.get("parts")
    text: Any = None
    if parts.__class__ is list and len(parts) == 1 and parts[0].__class__ is dict:
        part = cast("Fields", parts[0])
        if part.get("type") == "text" and len(part) == 2:
            text = part.get("content")
    elif _OTHERS.isdisjoint(fields):
        text = fields.get("content")
    return text if text.__class__ is str else None


def _is_definition(fields: Fields) -> bool:
    """Whether it is a tool, not what a tool returned: Langfuse lists the tools as if they were messages."""
    return fields.get("type") == "function" and fields.get("function").__class__ is dict


def _said(fields: Fields, content: Content) -> None:
    """What an assistant's message says beside its content: calls, reasoning, a refusal."""
    calls = _calls_of(fields)
    if calls:
        known = {call.id for call in calls}
        content.calls = calls + [c for c in content.calls if c.id not in known and (c.id or c not in calls)]
    if len(content.parts) > 1 or content.calls:
        content.parts = [part for part in content.parts if not _is_block(part, content)]
    for key in ("reasoning_content", "reasoning"):
        thought: Any = fields.get(key)
        if thought.__class__ is str and thought and not content.thoughts:
            content.thoughts.append(thought)
    refusal: Any = fields.get("refusal")
    if refusal.__class__ is str and refusal and not content.parts:
        content.text(refusal)


def _is_block(part: Part, content: Content) -> bool:
    """Whether a text is a block that OpenLLMetry writes as JSON: a call told beside it, or reasoning, which it adds."""
    text: Any = part.get("text")
    if text.__class__ is not str or not text.startswith('{"'):
        return False
    block = as_dict(loose(text))
    if kind_of(block) in ("tool_use", "input_json_delta"):
        return any(call.id == block.get("id") for call in content.calls)
    if kind_of(block) in ("thinking", "reasoning", "redacted_thinking"):
        content.add(block)
        return True
    return False


def _calls_of(fields: Fields) -> list[ToolCall]:
    extra: Any = fields.get("additional_kwargs")
    told: list[Any] = []
    for holder in (fields, extra):
        if holder.__class__ is not dict:
            continue
        for key in ("tool_calls", "invalid_tool_calls", "toolCalls"):
            if holder.get(key).__class__ is list:
                told.extend(holder[key])
        if holder.get("function_call").__class__ is dict:
            told.append(holder["function_call"])
        if told:
            break
    calls = [call_of(cast("Fields", call)) for call in told if call.__class__ is dict]
    return [call for call in calls if call is not None]


def _assemble(fields: Fields, role: Role, name: str | None, content: Content, found: list[Message]) -> None:
    """The message, and each tool's result that it holds as a message of its own, in their order."""
    start = 0
    for place, call_id, tool, result in content.results:
        if place > start:
            found.append(Message(role, plainly(content.parts[start:place]), name=name))
            start = place
        if not call_id and role == "tool":
            call_id = word(fields.get("tool_call_id"))
        found.append(Message("tool", result, call_id=call_id, name=tool or (name if role == "tool" else None)))
    rest = content.parts[start:]
    if rest or content.calls or content.thoughts or not content.results:
        calls = tuple(content.calls)
        said: Role = "assistant" if calls else role
        found.append(Message(said, plainly(rest), calls, name=name, reasoning="\n".join(content.thoughts)))
