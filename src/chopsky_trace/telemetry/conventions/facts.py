"""Reads all of a span but its messages and payloads: what it is, which model, what it used, how and when it ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from chopsky_trace.telemetry.conventions import table
from chopsky_trace.telemetry.conventions.failures import read_end
from chopsky_trace.telemetry.conventions.instrumentors import instrumentor, provider, provider_at
from chopsky_trace.telemetry.conventions.kinds import CALLS, read_kind
from chopsky_trace.telemetry.conventions.native import Attributes, NativeSpan
from chopsky_trace.telemetry.conventions.params import read_params
from chopsky_trace.telemetry.conventions.payloads import NOTHING, Answer, answer_of, reason_of
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.conventions.scopes import read_scope, read_tags
from chopsky_trace.telemetry.conventions.tokens import read_usage
from chopsky_trace.telemetry.conventions.values import as_dict, as_float, as_list, loose, note, parsed, scalar, word

MAX_NAME_CHARS = 500
_MADE_UP = re.compile("(?:chatcmpl-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What LiteLLM makes up where a provider gave an answer no id of OpenAI's form."""
LANGCHAIN_IDS = ("run-", "lc_run-", "lc_")
"""What LangChain makes up where a provider gave an answer no id."""

Step = Callable[[NativeSpan, Reading], None]


def facts(span: NativeSpan, reading: Reading) -> None:
    """Fill every field of a reading but those of messages and payloads. Never raises: what fails is in `partial`."""
    if span.dropped:
        note(reading, "attributes")
    _do(_OF_ANY, span, reading)
    if reading.is_genai:
        _do(_OF_GENAI, span, reading)
        if reading.kind in CALLS:
            _do(_OF_CALLS, span, reading)


def _do(steps: tuple[tuple[str, Step], ...], span: NativeSpan, reading: Reading) -> None:
    for name, step in steps:
        try:
            step(span, reading)
        except Exception:  # Whatever an attribute holds, it costs this field, not the span.
            note(reading, name)


def _read_maker(span: NativeSpan, reading: Reading) -> None:
    name, is_provider, _ = instrumentor(span.scope)
    attributes = span.attributes
    if not is_provider and span.scope.startswith("langfuse"):
        # One scope for the wrapper of OpenAI's SDK and for LangChain's callbacks.
        is_provider = span.name.startswith(table.LANGFUSE_OPENAI)
    elif "mlflow.message.format" in attributes:
        told = scalar(attributes["mlflow.message.format"])
        is_provider = told.__class__ is str and instrumentor(told)[1]
    elif span.scope == "opentelemetry.util.genai.handler":
        # Shared by OpenTelemetry's instrumentors; those of SDKs know the server.
        is_provider = "server.address" in attributes
    reading.instrumentor, reading.is_provider = name, is_provider


def _read_times(span: NativeSpan, reading: Reading) -> None:
    reading.name = _name(span)
    reading.ended = span.end
    reading.started = span.start
    if span.scope.startswith("logfire") and span.attributes.get("logfire.span_type") == "log":
        # The second half of a stream is told when it is over.
        duration = as_float(span.attributes.get("duration"))
        if duration is not None and 0 < duration < 86_400 and span.end - span.start < duration * 1e9:
            reading.started = span.end - int(duration * 1e9)


def _name(span: NativeSpan) -> str:
    shown = span.attributes.get("logfire.msg") if "logfire.msg_template" in span.attributes else None
    return (word(shown) or span.name)[:MAX_NAME_CHARS]


def _read_name(span: NativeSpan, reading: Reading) -> None:
    """A tool's and an agent's own name, which tells more than what is done with it."""
    names = table.TOOL_NAME if reading.kind == "tool" else table.AGENT_NAME if reading.kind == "agent" else ()
    for name in names:
        found = word(span.attributes.get(name))
        if found:
            reading.name = found[:MAX_NAME_CHARS]
            return


def _read_model(span: NativeSpan, reading: Reading) -> None:
    attributes = span.attributes
    reading.provider = _provider(attributes) or instrumentor(span.scope)[2]
    if reading.provider is None and span.name.startswith(table.LANGFUSE_OPENAI) and reading.is_provider:
        reading.provider = "openai"
    requested = _requested(span, reading) if reading.kind in CALLS else None
    is_litellm = span.scope.startswith(table.LITELLM)
    if requested and is_litellm:
        if reading.provider is None and "/" in (whole := word(attributes.get("litellm.provider.model")) or ""):
            reading.provider = provider(whole.partition("/")[0])
        requested, reading.provider = _unprefixed(requested, reading.provider)
    answered = None
    if reading.kind in CALLS:
        for name in table.MODEL:
            answered = _word(attributes.get(name))
            if answered:
                break
        if answered and is_litellm:
            answered, reading.provider = _unprefixed(answered, reading.provider)
        if answered and reading.status == "failed" and answered == (requested or answered):
            # Nobody answered: instrumentors put the model that was asked in its place.
            requested, answered = answered, None
    reading.model_requested = requested
    reading.model = answered


def _unprefixed(model: str, named: str | None) -> tuple[str, str | None]:
    """The model's name without LiteLLM's own prefix, which says whom to ask; and whom.

    What is left may begin with a vendor, and is the model's name.
    """
    prefix, _, rest = model.partition("/")
    return (rest, provider(prefix)) if rest and named in (None, provider(prefix)) else (model, named)


def _requested(span: NativeSpan, reading: Reading) -> str | None:
    attributes = span.attributes
    found = _first(attributes, table.MODEL_REQUESTED)
    if found:
        return found
    for name in table.PARAM_OBJECTS:
        if name in attributes:
            told = as_dict(parsed(span, reading, name))
            found = word(told.get("model")) or word(told.get("model_name"))
            if found:
                return found
    for name in table.REQUEST_PAYLOADS:
        told = as_dict(parsed(span, reading, name)) if name in attributes else {}
        found = word(told.get("model")) or word(told.get("modelId"))
        if found:
            return found
    # Some spans of failed calls have their name only: "chat gpt-4o".
    operation, _, rest = span.name.partition(" ")
    return rest if rest and " " not in rest and operation in table.NAMED_WITH_MODEL else None


def _provider(attributes: Attributes) -> str | None:
    found: str | None = None
    for name in table.PROVIDER:
        if name in attributes:
            told = _word(attributes[name])
            found = provider(told) if told else None
            if found is not None:
                break
    if found in ("openai", None):
        for name in table.ADDRESS:
            address = word(attributes.get(name)) if name in attributes else None
            known = provider_at(address) if address else None
            if known is not None:
                return known
    return found


def _first(attributes: Attributes, names: table.Names) -> str | None:
    for name in names:
        if name in attributes:
            found = _word(attributes[name])
            if found:
                return found
    return None


def _word(value: Any) -> str | None:
    """MLflow and Langfuse write texts as JSON, in quotes."""
    return word(scalar(value)) if value.__class__ is str and value[:1] == '"' else word(value)


def _read_answer(span: NativeSpan, reading: Reading) -> None:
    """What may be inside the whole answer only: its id, its usage, its finish reason."""
    # An embedding's answer is long, and has no id.
    answer = answer_of(span, reading) if reading.kind == "llm" else NOTHING
    for name, step in _OF_ANSWERS:
        try:
            step(span, reading, answer)
        except Exception:  # As in `_do`.
            note(reading, name)
    if reading.usage is None and reading.kind == "embedding":
        read_usage(span, reading, answer_of(span, reading))
    if reading.model is None and reading.status != "failed":
        reading.model = word(answer[2].get("model_name")) or word(answer[0].get("model"))
    if reading.model is None:
        reading.model = word(_first_chunk(span).get("model"))


def _read_response_id(span: NativeSpan, reading: Reading, answer: Answer) -> None:
    attributes = span.attributes
    own = word(attributes.get("litellm.call_id"))
    for name in table.RESPONSE_ID:
        found = word(attributes.get(name)) if name in attributes else None
        if found and found != own and not found.startswith(LANGCHAIN_IDS) and not (own and _MADE_UP.fullmatch(found)):
            reading.response_id = found
            return
    if answer is NOTHING:
        reading.response_id = word(_first_chunk(span).get("id"))
        return
    whole, message, metadata = answer
    overall = whole.get("llm_output")
    for place in (whole if not message else {}, as_dict(overall), metadata, message):
        found = word(place.get("id")) or word(place.get("response_id"))
        # LangGraph gives messages random UUIDs, LangChain its runs'.
        if found and not found.startswith(LANGCHAIN_IDS) and not _is_uuid(found):
            reading.response_id = found
            return
    reading.response_id = word(_first_chunk(span).get("id"))


def _first_chunk(span: NativeSpan) -> dict[str, Any]:
    """What MLflow tells of a stream that broke off: its first chunk."""
    if not span.events or span.events[0].name != table.CHUNK_EVENT:
        return {}
    return as_dict(loose(span.events[0].attributes.get(table.CHUNK)))


def _is_uuid(text: str) -> bool:
    return len(text) == 36 and text[8] == text[13] == text[18] == text[23] == "-"


def _read_reason(span: NativeSpan, reading: Reading, answer: Answer) -> None:
    for told in _reasons(span, reading):
        found = reason_of(told)
        if found == "error" and reading.status == "completed":
            # What is written where a provider gave no reason.
            return
        if found == "completed":
            found = "tool_calls" if "gen_ai.tool.call.id" in span.attributes else "stop"
        if found == "stop" and answer is not NOTHING:
            # OpenAI's Responses have no reason: what an instrumentor makes of their status is no more than that.
            found = _of_responses(answer) or found
        if found:
            reading.finish_reason = found
            return
    if answer is NOTHING:
        return
    reading.finish_reason = next((found for place in _ends(answer) if (found := reason_of(place))), None)
    if reading.finish_reason is None:
        reading.finish_reason = _of_responses(answer)


def _reasons(span: NativeSpan, reading: Reading) -> Iterator[Any]:
    """What the span's attributes say of how the call ended, its first choice."""
    for name in table.FINISH_REASON:
        if name in span.attributes:
            told = loose(span.attributes[name])
            yield as_list(told)[0] if as_list(told) else told
    # Deprecated, and all that some say of streams.
    for message in as_list(parsed(span, reading, table.OUTPUT_MESSAGES))[:1]:
        yield as_dict(message).get("finish_reason")


def _ends(answer: Answer) -> list[Any]:
    """Where an answer says how it ended."""
    whole, _, metadata = answer
    choices, generations = as_list(whole.get("choices")), as_list(whole.get("generations"))
    inner = as_list(generations[0]) if generations else []
    info = as_dict(as_dict(inner[0]).get("generation_info")) if inner else {}
    places = [metadata, whole, as_dict(choices[0]) if choices else {}, info]
    return [place.get("finish_reason") or place.get("stop_reason") for place in places]


def _of_responses(answer: Answer) -> str | None:
    """OpenAI's Responses have a status, and no reason."""
    whole, message, metadata = answer
    told = metadata if metadata else whole
    status = told.get("status")
    if status == "incomplete":
        return reason_of(as_dict(told.get("incomplete_details")).get("reason"))
    if status != "completed":
        return None
    called = message.get("tool_calls") or any(
        as_dict(item).get("type") == "function_call" for item in as_list(whole.get("output"))
    )
    return "tool_calls" if called else "stop"


def _read_first_token(span: NativeSpan, reading: Reading) -> None:
    attributes = span.attributes
    for name, milliseconds in table.FIRST_TOKEN:
        # OpenLIT's is the time between two chunks, or of the whole answer.
        if name in attributes and not (name.startswith("gen_ai.server.") and span.scope.startswith("openlit")):
            found = as_float(attributes[name])
            if found is not None and found > 0 and _take_first_token(found * milliseconds, reading):
                return
    for name in table.FIRST_TOKEN_TIME:
        if name in attributes:
            at = _nanoseconds(scalar(attributes[name]))
            if at is not None and _take_first_token((at - span.start) / 1e6, reading):
                return
    for event in span.events:
        if event.name in table.FIRST_TOKEN_EVENTS:
            _take_first_token((event.at - span.start) / 1e6, reading)
            return


def _take_first_token(milliseconds: float, reading: Reading) -> bool:
    """Only where it can be: within the call."""
    if milliseconds <= 0 or (reading.ended and milliseconds * 1e6 > (reading.ended - reading.started) * 1.01 + 1e6):
        return False
    reading.first_token_ms = milliseconds
    return True


def _nanoseconds(value: Any) -> int | None:
    if value.__class__ is not str:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1e6) * 1000


_OF_ANSWERS: tuple[tuple[str, Callable[[NativeSpan, Reading, Answer], None]], ...] = (
    ("response_id", _read_response_id),
    ("finish_reason", _read_reason),
    ("usage", read_usage),
)
_OF_ANY: tuple[tuple[str, Step], ...] = (
    ("instrumentor", _read_maker),
    ("times", _read_times),
    ("status", read_end),
    ("scope", read_scope),
    ("kind", read_kind),
)
_OF_GENAI: tuple[tuple[str, Step], ...] = (("name", _read_name), ("model", _read_model), ("tags", read_tags))
_OF_CALLS: tuple[tuple[str, Step], ...] = (
    ("answer", _read_answer),
    ("params", read_params),
    ("first_token_ms", _read_first_token),
)
