"""Messages that travel as events of their own: log records, or events on the span."""

from __future__ import annotations

from typing import Any, cast

from chopsky_trace.records import Role
from chopsky_trace.telemetry.conventions.dialogue import conversation, without_repeats
from chopsky_trace.telemetry.conventions.exchanges import CHOICE, answered, asked, instructions_of
from chopsky_trace.telemetry.conventions.native import Attributes, NativeLog, NativeSpan
from chopsky_trace.telemetry.conventions.parts import Fields
from chopsky_trace.telemetry.conventions.payloads import reason_of
from chopsky_trace.telemetry.conventions.reading import Heard, Message
from chopsky_trace.telemetry.conventions.values import as_dict, as_int, loose, word

DETAILS = "gen_ai.client.inference.operation.details"
_ROLES: dict[str, Role] = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
_CONTENT_PROMPT, _CONTENT_COMPLETION = "gen_ai.content.prompt", "gen_ai.content.completion"
NAMES = frozenset((*_ROLES, CHOICE, DETAILS, _CONTENT_PROMPT, _CONTENT_COMPLETION))
_EMBEDDING = frozenset(("embeddings", "embedding", "aembedding"))


def heard(log: NativeLog) -> list[Heard] | None:
    """The messages that a log record brings, in order; None if it is no record of messages.

    Where contents are not captured, such records come without any, and there is none.
    """
    try:
        name = log.name or word(log.attributes.get("event.name")) or ""
        return _heard(name, log.body, log.attributes) if name in NAMES else None
    except Exception:  # Whatever it is in a record that nobody thought of: it costs that record.
        return None


def heard_on(span: NativeSpan) -> list[Heard]:
    """The messages that are events on the span."""
    found: list[Heard] = []
    for event in span.events:
        if event.name in NAMES:
            found.extend(_heard(event.name, None, event.attributes))
    return found


def _heard(name: str, body: Any, attributes: Attributes) -> list[Heard]:
    data = loose(body)
    fields: Fields = {**attributes, **as_dict(data)}
    if data is not None and data.__class__ is not dict and "content" not in fields:
        fields["content"] = data
    if name == DETAILS:
        return _details(fields)
    if name == CHOICE:
        return _choice(fields)
    if name == _CONTENT_PROMPT:
        return [Heard("prompt", m) for m in asked(loose(fields.get("gen_ai.prompt"))) or ()]
    if name == _CONTENT_COMPLETION:
        told = answered(loose(fields.get("gen_ai.completion"))) or ()
        return [Heard("answer", m, None, n) for n, m in enumerate(told)]
    role = _ROLES[name]
    told = conversation([{**_read(fields), "role": word(fields.get("role")) or role}], role=role)
    return [Heard("prompt", m) for m in told if _says(m)]


def _choice(fields: Fields) -> list[Heard]:
    message = loose(fields.get("message"))
    if message.__class__ is str:
        message = {"content": message}
    told = conversation([{**_read(as_dict(message) or fields), "role": "assistant"}], role="assistant")
    reason = word(fields.get("finish_reason"))
    if reason == "error":
        # What came of an answer before the call failed is no answer.
        return []
    index = as_int(fields.get("index")) or 0
    return [Heard("answer", m, reason_of(reason), index) for m in told if _says(m)]


def _read(fields: Fields) -> Fields:
    """The fields, JSON in text as data: attributes cannot nest everywhere."""
    read = dict(fields)
    for key in ("content", "tool_calls", "parts"):
        value: Any = read.get(key)
        if value.__class__ is str and value[:1] in ("[", "{"):
            data = loose(value)
            if data.__class__ is list:
                read[key] = data
    return read


def _says(message: Message) -> bool:
    return bool(message.content or message.calls or message.call_id or message.reasoning)


def _details(fields: Fields) -> list[Heard]:
    if word(fields.get("gen_ai.operation.name")) in _EMBEDDING:
        return []
    prompt = asked(loose(fields.get("gen_ai.input.messages"))) or []
    instructions = instructions_of(loose(fields.get("gen_ai.system_instructions")))
    if instructions is not None:
        prompt = without_repeats(instructions, prompt)
    found = [Heard("prompt", m) for m in prompt]
    if word(fields.get("error.type")):
        return found
    output = loose(fields.get("gen_ai.output.messages"))
    responses = fields.get("openai.api.type") == "responses"
    reasons: list[str | None] = []
    if output.__class__ is list:
        reasons = [
            word(as_dict(item).get("finish_reason")) for item in cast("list[Any]", output) if item.__class__ is dict
        ]
    for n, message in enumerate(answered(output, turn=responses) or ()):
        reason = reasons[n] if n < len(reasons) else None
        if reason != "error":
            found.append(Heard("answer", message, reason_of(reason), n))
    return found
