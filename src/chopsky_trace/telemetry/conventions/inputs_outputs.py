"""What anything but a model call was given and gave back, and what the user said and was answered in it."""

from __future__ import annotations

from typing import Any, cast

from chopsky_trace.records import text_of
from chopsky_trace.telemetry.conventions import flat
from chopsky_trace.telemetry.conventions.dialogue import conversation
from chopsky_trace.telemetry.conventions.embedded import embedding
from chopsky_trace.telemetry.conventions.exchanges import instructions_of
from chopsky_trace.telemetry.conventions.media import Fields
from chopsky_trace.telemetry.conventions.native import NativeSpan
from chopsky_trace.telemetry.conventions.plain import INPUTS, OUTPUTS, payload, told
from chopsky_trace.telemetry.conventions.reading import Message, Reading
from chopsky_trace.telemetry.conventions.retrieved import retriever
from chopsky_trace.telemetry.conventions.values import as_dict, as_int, parsed
from chopsky_trace.telling.turns import INPUT_ORDER, OUTPUT_ORDER, closing, told_in


def fill(span: NativeSpan, reading: Reading) -> None:
    """Inputs and outputs of a span that is no model call; for an agent and a chain, what was said in them."""
    if reading.kind == "embedding":
        embedding(span, reading)
    elif reading.kind == "retriever":
        retriever(span, reading)
    else:
        reading.inputs = payload(told(span, reading, INPUTS))
        reading.outputs = payload(told(span, reading, OUTPUTS))
        if span.scope == "litellm" and reading.inputs is None:
            reading.inputs = payload(flat.litellm(span.attributes, ".messages"))
            reading.outputs = payload(flat.litellm(span.attributes, ".choices"))
        if reading.kind in ("agent", "chain"):
            _history(span, reading)
            _instructions(span, reading)
            turns(reading)


def turns(reading: Reading) -> None:
    """What the user said and was answered, as the inputs and outputs have it."""
    text, messages = told_in(reading.inputs, INPUT_ORDER, as_messages)
    reading.question = [Message("user", text)] if text else messages
    if reading.reply is None:
        text, messages = told_in(reading.outputs, OUTPUT_ORDER, as_messages)
        if text:
            reading.reply = [Message("assistant", text)]
        elif messages:
            reading.reply = closing(messages, _is_said)


def _is_said(message: Message) -> bool:
    return not message.calls and bool(text_of(message.content))


def as_messages(value: Any) -> list[Message] | None:
    """The messages that a part of a payload is; None if it is none."""
    if isinstance(value, Message):
        return [value]
    if value.__class__ is list and value and all(isinstance(item, Message) for item in cast("list[Any]", value)):
        return cast("list[Message]", value)
    return None


def _instructions(span: NativeSpan, reading: Reading) -> None:
    """Put the system instructions beside the rest of the inputs: they are no part of what the user said."""
    instructions = instructions_of(parsed(span, reading, "gen_ai.system_instructions"))
    if instructions is None:
        return
    inputs: Any = reading.inputs
    messages = as_messages(inputs)
    fields: Fields = as_dict(inputs) if messages is None else {"messages": messages}
    if inputs is None or fields:
        reading.inputs = {**fields, "system_instructions": [instructions]}


def _history(span: NativeSpan, reading: Reading) -> None:
    """pydantic-ai tells an agent's whole history in one list: what it was given, and what it made of it."""
    items = parsed(span, reading, "pydantic_ai.all_messages")
    as_events = items.__class__ is not list
    if as_events:
        items = parsed(span, reading, "all_messages_events")
    if items.__class__ is not list or not items or reading.inputs is not None:
        return
    messages = conversation(_without_events(items) if as_events else items)
    if as_events:
        old = max((n for n, m in enumerate(messages) if m.role == "user"), default=0)
    else:
        fresh = as_int(span.attributes.get("pydantic_ai.new_message_index")) or 0
        old = len(conversation(items[:fresh]))
    end = next((n for n, m in enumerate(messages[old:], old) if m.role == "assistant"), len(messages))
    reading.inputs = {"messages": messages[:end]}
    made = messages[end:]
    if closing(made, _is_said):
        reading.outputs = {"messages": made}
        return
    result: Any = reading.outputs
    reading.outputs = {"messages": made} if result is None else {"messages": made, "output": result}
    final: Any = span.attributes.get("final_result")
    reading.reply = [Message("assistant", final)] if final.__class__ is str and final else None


def _without_events(items: list[Any]) -> list[Any]:
    """Older versions tell them as events, an answer's message within its event."""
    found: list[Any] = []
    for item in items:
        inner: Any = item.get("message") if item.__class__ is dict else None
        found.append({"role": "assistant", **inner} if inner.__class__ is dict and "role" not in item else item)
    return found
