"""What a model was asked and what it answered, out of requests and responses in their providers' own form."""

from __future__ import annotations

import re
from typing import Any, cast

from chopsky_trace.telemetry.conventions.dialogue import blank, conversation, without_repeats
from chopsky_trace.telemetry.conventions.media import Fields, kind_of
from chopsky_trace.telemetry.conventions.parts import Content
from chopsky_trace.telemetry.conventions.reading import Message
from chopsky_trace.telemetry.conventions.shapes import ITEMS, are_messages, is_item, is_message, unwrapped

_PROMPTS = ("messages", "input", "contents", "prompt", "prompts", "inputs", "input_messages")
_INSTRUCTIONS = ("system", "instructions", "system_instruction", "systemInstruction", "systemPrompt")
_TEXTS = ("output_text", "combined_chunk_content", "text", "content", "output", "response", "completion", "generation")
_EVENT_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
CHOICE = "gen_ai.choice"
_OBJECT = re.compile(r"<[\w.]+ object at 0x[0-9a-f]+>")
"""What a program shows of a stream that it has not read: no answer."""


def instructions_of(value: Any) -> Message | None:
    """System instructions, in any form, as a message; None if there are none."""
    content = Content()
    if value.__class__ is dict and value.get("parts").__class__ is list:
        value = value["parts"]
    content.add(value)
    return Message("system", content.plain()) if content.parts else None


def asked(data: Any) -> list[Message] | None:
    """The messages of a request; None if it has none."""
    if data.__class__ is str:
        return [Message("user", data)] if data else None
    if data.__class__ is list:
        return _asked_in_list(cast("list[Any]", data))
    if data.__class__ is not dict:
        return None
    fields = cast("Fields", data)
    if is_message(fields):
        return conversation([fields])
    fields, _ = unwrapped(fields)
    found: list[Message] | None = None
    for key in _PROMPTS:
        if fields.get(key):
            found = asked(fields[key])
            if found:
                break
    holders: list[Any] = [fields, fields.get("config")]
    for holder in holders:
        for key in _INSTRUCTIONS if holder.__class__ is dict else ():
            instructions = instructions_of(holder.get(key)) if holder.get(key) else None
            if instructions is not None:
                return without_repeats(instructions, found or [])
    return found


def _asked_in_list(items: list[Any]) -> list[Message] | None:
    if not items:
        return None
    first = items[0]
    if first.__class__ is list and not are_messages(items):
        # LangChain gives a list for each prompt of a batch, of which every call has one.
        return asked(first)
    if first.__class__ is dict and ("event.name" in first or "event_name" in first):
        return _events(items)
    found = conversation(items)
    return found if found and not blank(found) else None


def _events(items: list[Any]) -> list[Message] | None:
    """A prompt told as a list of events."""
    told: list[Fields] = []
    for item in items:
        if item.__class__ is not dict:
            continue
        fields = cast("Fields", item)
        name: Any = fields.get("event.name") or fields.get("event_name")
        if name.__class__ is str and name in _EVENT_ROLES:
            told.append({"role": _EVENT_ROLES[name], **fields})
    found = conversation(told)
    return found if found and not blank(found) else None


def answered(data: Any, *, turn: bool = False) -> list[Message] | None:
    """The answers of a response, a message each; None if it has none.

    Args:
        turn: whether a list of messages is one answer in several items, not several answers.
    """
    found = _answered(data, turn)
    if not found:
        return None
    said = [m for m in found if m.role == "assistant"]
    return None if blank(said) else said


def _answered(data: Any, turn: bool) -> list[Message] | None:
    if data.__class__ is str:
        return [Message("assistant", data)] if data and not _OBJECT.fullmatch(data) else None
    if data.__class__ is list:
        return _answers_in_list(cast("list[Any]", data), turn)
    if data.__class__ is not dict:
        return None
    fields = cast("Fields", data)
    if is_message(fields) or is_item(fields):
        return conversation([fields], role="assistant")
    fields, _ = unwrapped(fields)
    return _in_response(fields, turn)


def _in_response(fields: Fields, turn: bool) -> list[Message] | None:
    for key in ("choices", "generations", "candidates"):
        if fields.get(key).__class__ is list:
            return _choices(fields[key])
    output: Any = fields.get("output")
    if output.__class__ is list:
        # The Responses API: what it lists is one answer, in items.
        found = _answers_in_list(cast("list[Any]", output), True)
        if found:
            return found
    for key in ("message", "output", "response", "messages", "generated", "output_messages"):
        if fields.get(key).__class__ in (dict, list):
            found = _answered(fields[key], turn)
            if found:
                return found
    if fields.get("content").__class__ is dict:
        # One of Google's candidates by itself.
        return conversation([fields["content"]], role="assistant")
    if fields.get("content").__class__ is list or "tool_calls" in fields:
        return conversation([{**fields, "role": "assistant"}])
    text = next((fields[key] for key in _TEXTS if fields.get(key).__class__ is str and fields[key]), None)
    return [Message("assistant", text)] if text else None


def _answers_in_list(items: list[Any], turn: bool) -> list[Message] | None:
    if not items:
        return None
    first = items[0]
    if first.__class__ is dict and ("event.name" in first or "event_name" in first):
        chosen = [i for i in items if i.__class__ is dict and CHOICE in (i.get("event.name"), i.get("event_name"))]
        # With one place for all of them, they are one answer's items.
        same = turn or (len(chosen) > 1 and len({i.get("index") for i in chosen}) == 1)
        return conversation([i.get("message", i) for i in chosen], role="assistant", turn=same)
    if turn or _are_items(items):
        return conversation(items, role="assistant", turn=True)
    found: list[Message] = []
    for item in items:
        found.extend(conversation([item], role="assistant"))
    return found


def _are_items(items: list[Any]) -> bool:
    """Whether they are what the Responses API makes of one turn."""
    return all(item.__class__ is dict and kind_of(cast("Fields", item)) in ITEMS for item in items)


def _choices(choices: list[Any]) -> list[Message]:
    found: list[Message] = []
    for choice in choices:
        if choice.__class__ is list:
            found.extend(_choices(cast("list[Any]", choice)))
        elif choice.__class__ is dict:
            fields = cast("Fields", choice)
            inner: Any = next((fields[k] for k in ("message", "delta", "content") if fields.get(k)), None)
            if inner is None:
                inner = fields.get("text") or ""
            found.extend(conversation([inner], role="assistant"))
    return found
