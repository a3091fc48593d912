"""What LangChain does not pass on: each with a reason, and with what is left without it.

A call's field to which an entry applies has to be exactly what the entry says, so that an entry which is no longer
needed, because a package has begun to pass the number on, fails like a wrong number does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from conformance.exchanges import Request


@dataclass(frozen=True)
class Gap:
    """Fields of some requests that the framework does not pass on."""

    fields: tuple[str, ...]
    applies: Callable[[Request], bool]
    why: str
    value: Any = None
    """What the tables have instead, or what says it: NULL, if nothing does."""

    def left(self, request: Request) -> Any:
        return self.value(request) if callable(self.value) else self.value

    def is_of(self, field: str, request: Request) -> bool:
        return field in self.fields and not request.failed and self.applies(request)


def _usages(request: Request) -> Iterator[dict[str, Any]]:
    """Every usage that the answer, or an event of it, states."""
    for answer in request.answers:
        for place in (answer, answer.get("message"), answer.get("response"), answer.get("delta")):
            for name in ("usage", "usageMetadata"):
                if isinstance(place, dict) and isinstance(place.get(name), dict):
                    yield place[name]


def _final(request: Request) -> dict[str, Any]:
    return (list(_usages(request)) or [{}])[-1]


def _is_gemini(request: Request) -> bool:
    return request.api == "generateContent"


def _is_converse(request: Request) -> bool:
    return request.api == "converse"


def _claude_stream(request: Request) -> bool:
    return request.api == "messages" and request.is_stream


def _wrote(request: Request) -> bool:
    return any(usage.get("cache_creation_input_tokens") for usage in _usages(request))


def _billed(request: Request) -> tuple[int, int]:
    units = _final(request)["billed_units"]
    return units["input_tokens"], units["output_tokens"]


def _asked(request: Request) -> str:
    return unquote(request.model)


def _cohere_stream(request: Request) -> bool:
    return request.driver == "ChatCohere" and request.is_stream


def _chat_stream(request: Request) -> bool:
    return request.api == "chat" and request.is_stream


def _cached_outside(request: Request) -> bool:
    """Whether a stream states what was cached only where OpenAI has no such field."""
    final = _final(request)
    told = {"cached_tokens", "num_cached_tokens", "prompt_cache_hit_tokens"} & final.keys()
    return bool(told) and "cached_tokens" not in (final.get("prompt_tokens_details") or {})


GAPS: tuple[Gap, ...] = (
    Gap(("service tier",), _is_gemini, "langchain-google-genai drops serviceTier"),
    Gap(("audio",), _is_gemini, "langchain-google-genai drops the counts by modality"),
    Gap(("tool use prompt",), _is_gemini, "langchain-google-genai adds it to the input and does not name it"),
    Gap(
        ("cache read",),
        lambda request: _is_gemini(request) and "cachedContentTokenCount" not in _final(request),
        "langchain-google-genai says 0 where nothing is said",
        value=0,
    ),
    Gap(
        ("cache read",),
        lambda request: _is_converse(request) and "cacheReadInputTokens" not in _final(request),
        "langchain-aws says 0 where nothing is said",
        value=0,
    ),
    Gap(
        ("cache write",),
        lambda request: _is_converse(request) and "cacheWriteInputTokens" not in _final(request),
        "langchain-aws says 0 where nothing is said",
        value=0,
    ),
    Gap(
        ("reasoning",),
        lambda request: request.driver == "ChatBedrock",
        "langchain-aws counts an invocation by its headers, which have no reasoning",
    ),
    Gap(
        ("model",),
        lambda request: request.driver == "ChatBedrock",
        "langchain-aws gives the name that was asked for as the answering model's",
        value=_asked,
    ),
    Gap(
        ("input", "total", "cache read", "cache write", "cache write 5m", "cache write 1h"),
        lambda request: _claude_stream(request) and "input_tokens" not in _final(request),
        "langchain-anthropic drops message_start's usage, and this stream states its input nowhere else",
    ),
    Gap(
        ("cache write 5m", "cache write 1h"),
        lambda request: _claude_stream(request) and "cache_creation" not in _final(request) and _wrote(request),
        "langchain-anthropic drops message_start's usage, which alone tells lifetimes apart",
    ),
    Gap(
        ("service tier",),
        _claude_stream,
        "langchain-anthropic drops message_start's usage, which alone names the tier",
    ),
    Gap(
        ("reported cost",),
        lambda request: _chat_stream(request) and request.driver != "ChatOpenRouter",
        "langchain-openai and those built on it take only tokens from a stream's usage",
    ),
    Gap(
        ("cache read",),
        lambda request: _chat_stream(request) and request.driver != "ChatDeepSeek" and _cached_outside(request),
        "langchain-openai and those built on it read only OpenAI's own fields of a stream's usage",
    ),
    Gap(
        ("cache read",),
        lambda request: _chat_stream(request) and request.driver == "ChatMistralAI",
        "langchain-mistralai takes only input, output and total from a stream's usage",
    ),
    Gap(
        ("service tier",),
        lambda request: _chat_stream(request) and "service_tier" in _final(request),
        "only tokens are taken from a stream's usage",
    ),
    Gap(
        ("service tier",),
        lambda request: request.driver == "ChatGroq" and not request.row["service_tier"],
        "langchain-groq says the tier it asked for",
        value="on_demand",
    ),
    Gap(
        ("reported cost",),
        lambda request: request.api == "responses" or request.driver == "ChatPerplexity",
        "langchain-openai (Responses) and langchain-perplexity take only tokens from the usage",
    ),
    Gap(
        ("model",),
        lambda request: request.api == "completions" or (request.driver == "ChatMistralAI" and not request.is_stream),
        "langchain-openai (completions) and langchain-mistralai give the name that was asked for",
        value=_asked,
    ),
    Gap(("cache read",), lambda request: request.driver == "ChatCohere", "langchain-cohere drops cached_tokens"),
    Gap(
        ("input",),
        _cohere_stream,
        "langchain-cohere tells of a stream what was billed",
        value=lambda request: _billed(request)[0],
    ),
    Gap(
        ("output",),
        _cohere_stream,
        "langchain-cohere tells of a stream what was billed",
        value=lambda request: _billed(request)[1],
    ),
    Gap(
        ("total",),
        _cohere_stream,
        "langchain-cohere tells of a stream what was billed",
        value=lambda request: sum(_billed(request)),
    ),
)


def gap_of(field: str, request: Request) -> Gap | None:
    """The entry for a field of a request."""
    return next((gap for gap in GAPS if gap.is_of(field, request)), None)
