"""What a span is: a call, or something that may repeat its calls' tokens."""

from __future__ import annotations

import re

from chopsky_trace.records import Kind
from chopsky_trace.telemetry.conventions import table
from chopsky_trace.telemetry.conventions.instrumentors import instrumentor
from chopsky_trace.telemetry.conventions.native import ERROR, Attributes, NativeSpan
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.conventions.values import as_int

CALLS = frozenset(("llm", "embedding", "image"))
"""Kinds whose usage counts."""
LOGFIRE_ERROR = 17
"""From this level on, Logfire means an error."""
_LIMIT = 60
_EMBEDDING = re.compile("embed", re.IGNORECASE)
_CALL = re.compile(
    r"chat\b|text_completion\b|generate_content\b|messages\b|response|completion|.*\.(?:chat|completions?|responses?)$|"
    r"(?:async)?(?:chat ?completions?|completions?|messages|responses?)\b",
    re.IGNORECASE,
)
_A_CALL_HAS = (
    "gen_ai.response.id",
    "gen_ai.response.model",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.prompt_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.usage.total_tokens",
    "llm.model_name",
    "llm.token_count.prompt",
    "llm.token_count.completion",
)


def read_kind(span: NativeSpan, reading: Reading) -> None:
    """Read `kind` and `is_genai`."""
    attributes = span.attributes
    kind = _stated(attributes)
    if kind is None:
        if attributes.get("gen_ai.operation.name") == table.MAKES_AN_AGENT:
            return
        if not _is_genai(span.scope, attributes):
            return
        kind = _guessed(span)
    elif kind in CALLS and _is_no_call(span):
        kind = "chain"
    elif kind == "chain" and span.parent_id is None and attributes.get(table.INTEGRATION) == table.LANGCHAIN_AGENT:
        kind = "agent"
    reading.is_genai = True
    reading.kind = kind


def _stated(attributes: Attributes) -> Kind | None:
    found: Kind | None = None
    for name, kinds in table.KINDS:
        value = attributes.get(name)
        if isinstance(value, str) and len(value) <= _LIMIT:
            kind = kinds.get(value.strip('"').lower())
            if kind is not None:
                if kind != "other":
                    return kind
                found = kind
    return found


def _is_genai(scope: str, attributes: Attributes) -> bool:
    prefixes, about_the_trace = table.GENAI_PREFIXES, table.ABOUT_THE_TRACE
    if scope.startswith(table.GENAI_SCOPES):
        return True
    return any(name.startswith(prefixes) and name not in about_the_trace for name in attributes)


def _guessed(span: NativeSpan) -> Kind:
    """Of a span that does not say it in a known word: an odd operation, or an attribute limit cut it off."""
    attributes = span.attributes
    if span.name == table.RAW_REQUEST:
        return "other"
    operation = attributes.get("gen_ai.operation.name")
    if isinstance(operation, str) and operation and not _is_answered(operation, attributes):
        return "other"
    if any(name in attributes for name in table.AN_AGENT):
        return "agent"
    if "gen_ai.tool.name" in attributes or "gen_ai.tool.call.id" in attributes or "tool.name" in attributes:
        return "tool"
    if not _has_call(span):
        return "chain" if "gen_ai.agent.name" not in attributes else "agent"
    model = attributes.get("gen_ai.request.model")
    names = f"{span.name[:_LIMIT]} {model[:_LIMIT] if isinstance(model, str) else ''}"
    return "embedding" if _EMBEDDING.search(names) else "llm"


def _is_answered(operation: str, attributes: Attributes) -> bool:
    """Whether a new kind of operation is a call nevertheless: a response of its own, with the tokens it took."""
    if "memory" in operation or "gen_ai.usage.output_tokens" not in attributes:
        return False
    return "gen_ai.response.id" in attributes or "gen_ai.response.model" in attributes


def _has_call(span: NativeSpan) -> bool:
    attributes = span.attributes
    if any(name in attributes for name in _A_CALL_HAS):
        return True
    if span.name == table.ADK_CALL and span.scope == table.ADK_SCOPE:
        return True
    asks = (
        instrumentor(span.scope)[1]
        or "gen_ai.request.model" in attributes
        or any(
            name.startswith(("gen_ai.prompt.", "gen_ai.completion.", "llm.input_messages.", "llm.output_messages."))
            for name in attributes
        )
    )
    return asks and (_CALL.match(span.name[:_LIMIT]) or _EMBEDDING.search(span.name[:_LIMIT])) is not None


def _is_no_call(span: NativeSpan) -> bool:
    """Whether it only opened a stream, or asked nothing."""
    return _only_prepares(span) or _only_opens(span)


def _only_prepares(span: NativeSpan) -> bool:
    """LlamaIndex' instrumentor takes every method of a model for a call, those that it uses itself, too."""
    if span.scope != table.LLAMA_INDEX or not span.name.partition(".")[2].startswith("_"):
        return False
    # A call has messages, or a prompt, or tokens, whatever of it is hidden.
    calls = ("llm.input_messages.", "llm.output_messages.", "llm.prompts", "llm.token_count.")
    return not any(name.startswith(calls) for name in span.attributes)


def _only_opens(span: NativeSpan) -> bool:
    """Logfire tells what was answered in a second span."""
    if not span.scope.startswith("logfire") or "agents" in span.scope or span.end == 0:
        return False
    attributes = span.attributes
    if span.status == ERROR or span.events or (as_int(attributes.get("logfire.level_num")) or 0) >= LOGFIRE_ERROR:
        return False
    return not any(
        name in attributes
        for name in ("gen_ai.usage.input_tokens", "gen_ai.output.messages", "gen_ai.response.id", "response_data")
    )
