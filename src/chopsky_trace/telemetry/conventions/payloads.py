"""What a call's whole answer, as the provider or LangChain has it, says of the response: id, usage, finish reason."""

from __future__ import annotations

from typing import Any

from chopsky_trace.telemetry.conventions import table
from chopsky_trace.telemetry.conventions.native import NativeSpan
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.conventions.values import as_dict, as_list, parsed, word

Answer = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
NOTHING: Answer = ({}, {}, {})


def answer_of(span: NativeSpan, reading: Reading) -> Answer:
    """(the answer, its message if it is LangChain's, that message's response metadata); {} where there is none."""
    attributes = span.attributes
    for name in table.OUTPUT_PAYLOADS:
        if name in attributes:
            answer = as_dict(parsed(span, reading, name))
            if answer:
                message = _message(answer)
                return answer, message, as_dict(message.get("response_metadata"))
    return NOTHING


def _message(answer: dict[str, Any]) -> dict[str, Any]:
    """LangChain's message in an LLMResult, or the message itself; its fields."""
    found: Any = answer
    generations = as_list(answer.get("generations"))
    if generations:
        first = as_list(generations[0])
        found = as_dict(first[0] if first else generations[0]).get("message")
    elif "output" in answer and answer["output"].__class__ is dict:
        found = answer["output"]
    told = as_dict(found)
    for wrapper in ("kwargs", "data"):
        inner = told.get(wrapper)
        if inner.__class__ is dict:
            return as_dict(inner)
    return told if "response_metadata" in told or "usage_metadata" in told else {}


def reason_of(value: Any) -> str | None:
    """How a call ended, in the one vocabulary, whatever its provider or its instrumentor calls it."""
    told = word(value)
    if not told:
        return None
    plain = told.rpartition(".")[2].removeprefix("FINISH_REASON_").replace("-", "_").lower()
    return table.FINISH_REASONS.get(plain, told)
