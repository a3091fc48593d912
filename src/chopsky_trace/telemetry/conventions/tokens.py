"""What a call's span says of tokens -> what `enrich.usage.normalise` takes: wholes including their parts.

What nobody stated is not there: a failed call, or a stream without usage, has none, which is not 0.
"""

from __future__ import annotations

from typing import Any

from chopsky_trace.telemetry.conventions import table
from chopsky_trace.telemetry.conventions.native import Attributes, NativeSpan
from chopsky_trace.telemetry.conventions.payloads import NOTHING, Answer
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.conventions.values import as_dict, as_float, as_int, parsed, word

Fields = dict[str, Any]
_INPUT, _OUTPUT, _TOTAL = "input_tokens", "output_tokens", "total_tokens"
_IN, _OUT = "input_token_details", "output_token_details"
# Flat names in a usage object -> which details they belong to, and under which name.
_FLAT = {
    "cache_read_input_tokens": (_IN, "cache_read"),
    "cache_creation_input_tokens": (_IN, "cache_creation"),
    "cache_creation_input_tokens_above_1hr": (_IN, "ephemeral_1h_input_tokens"),
    "cache_creation_ephemeral_5m_input_tokens": (_IN, "ephemeral_5m_input_tokens"),
    "cache_creation_ephemeral_1h_input_tokens": (_IN, "ephemeral_1h_input_tokens"),
    "input_cache_read": (_IN, "cache_read"),
    "input_cached_tokens": (_IN, "cache_read"),
    "input_cache_creation": (_IN, "cache_creation"),
    "input_ephemeral_5m_input_tokens": (_IN, "ephemeral_5m_input_tokens"),
    "input_ephemeral_1h_input_tokens": (_IN, "ephemeral_1h_input_tokens"),
    "input_audio": (_IN, "audio"),
    "input_image": (_IN, "image"),
    "output_reasoning": (_OUT, "reasoning"),
    "output_reasoning_tokens": (_OUT, "reasoning"),
    "output_audio": (_OUT, "audio"),
    "output_image": (_OUT, "image"),
    "reasoning_tokens": (_OUT, "reasoning"),
}


_GOOGLES = ("google_genai", "google_vertexai")


def read_usage(span: NativeSpan, reading: Reading, answer: Answer) -> None:
    """Read `usage` and `cached`; only of a call."""
    if answer[1] and as_dict(answer[1].get("usage_metadata")).get("total_cost") == 0:
        # LangChain's cache answered: it says so by this.
        reading.cached = True
    if _is_estimate(span):
        return
    stated = _stated(span, reading, answer)
    native = _native(span, reading, answer)
    usage: Fields = {}
    if any(stated.get(name) for name in (_INPUT, _OUTPUT, _TOTAL)):
        usage["usage_metadata"] = stated
    if native and _says_any(native):
        usage["token_usage"] = native
    if not usage:
        return
    beside: Fields = {}
    cost = _cost(span, reading)
    if cost:
        beside["cost"] = cost
    tier = next((found for name in table.SERVICE_TIER if (found := word(span.attributes.get(name)))), None)
    if tier:
        beside["service_tier"] = usage["service_tier"] = tier
    if beside:
        usage["response_metadata"] = beside
    if reading.status != "completed":
        usage["partial"] = True
    reading.usage = usage


def _is_estimate(span: NativeSpan) -> bool:
    """OpenLIT counts a stream's words itself where no chunk had a usage; only usage that came has a cache's counts."""
    if not span.scope.startswith("openlit") or span.attributes.get("gen_ai.request.stream") is not True:
        return False
    return span.scope.endswith(".openai") and "gen_ai.usage.cache_read.input_tokens" not in span.attributes


def _stated(span: NativeSpan, reading: Reading, answer: Answer) -> Fields:
    attributes = span.attributes
    for name in table.USAGE_OBJECTS:
        if name in attributes:
            told = _object(as_dict(parsed(span, reading, name)))
            if told:
                if told.get("total_cost") == 0:
                    reading.cached = True
                return told
    if table.LANGFUSE_USAGE in attributes:
        told = as_dict(parsed(span, reading, table.LANGFUSE_USAGE))
        return _langfuse(told) if "input" in told or "output" in told else {}
    told = _flat(attributes)
    if _is_unread(span, told):
        del told[_IN]["cache_creation"]
    if not told and answer[1]:
        told = _object(as_dict(answer[1].get("usage_metadata")))
    if told and reading.kind == "embedding" and _INPUT not in told and _TOTAL in told:
        told[_INPUT] = told[_TOTAL]
    if reading.provider in _GOOGLES:
        _add_thoughts(told)
    return _inclusive(span, told)


def _add_thoughts(told: Fields) -> None:
    """Google's total has the thoughts, which its candidates have not: some hand on both as they are."""
    details: Fields = told.get(_OUT, {})
    if not {_INPUT, _OUTPUT, _TOTAL} <= told.keys() or details.get("reasoning"):
        return
    output: int = told[_OUTPUT]
    thoughts: int = told[_TOTAL] - told[_INPUT] - output
    if thoughts > 0:
        told[_OUTPUT] = output + thoughts
        told[_OUT] = {**details, "reasoning": thoughts}


def _flat(attributes: Attributes) -> Fields:
    """Each count in an attribute of its own: most conventions."""
    told: Fields = {}
    for whole, names in table.WHOLES:
        for name in names:
            if name in attributes:
                count = as_int(attributes[name])
                if count is not None:
                    told[whole] = count
                    break
    if told:
        for side, parts in ((_IN, table.INPUT_PARTS), (_OUT, table.OUTPUT_PARTS)):
            details: Fields = {}
            for part, names in parts:
                for name in names:
                    if name in attributes:
                        count = as_int(attributes[name])
                        if count is not None:
                            details[part] = count
                            break
            if details:
                told[side] = details
    return told


def _is_unread(span: NativeSpan, told: Fields) -> bool:
    """LangChain tells of Anthropic's cache writes by their lifetime: OpenLLMetry looks elsewhere, and says 0."""
    return span.scope == table.OPENLLMETRY_LANGCHAIN and told.get(_IN, {}).get("cache_creation") == 0


def _object(told: Fields) -> Fields:
    """LangChain's shape as it is; a flat one put into it."""
    if not told or _IN in told or _OUT in told:
        return told
    return _nested(told)


def _nested(told: Fields) -> Fields:
    found: Fields = {}
    for name, value in told.items():
        count = as_int(value)
        if count is None:
            continue
        place = _FLAT.get(name)
        if place is None:
            found[name] = count
        else:
            details = found.setdefault(place[0], {})
            details[place[1]] = max(count, details.get(place[1], 0))
    return found


def _langfuse(told: Fields) -> Fields:
    """Langfuse's short names, which count each part beside its whole, unless their sum says otherwise."""
    found = _nested(told)
    whole, output, total = (as_int(told.get(name)) for name in ("input", "output", "total"))
    counts = {name: count for name, value in told.items() if (count := as_int(value))}
    cached = ("cache_read_input_tokens", "cache_creation_input_tokens")
    read = sum(count for name, count in counts.items() if name.startswith("input_") or name in cached)
    written = sum(count for name, count in counts.items() if name.startswith("output_"))
    if total is not None and (read or written) and (whole or 0) + (output or 0) == total:
        read = written = 0
    for name in ("input", "output", "total"):
        found.pop(name, None)
    if whole is not None:
        found[_INPUT] = whole + read
    if output is not None:
        found[_OUTPUT] = output + written
    if total is not None:
        found[_TOTAL] = total
    return found


def _inclusive(span: NativeSpan, told: Fields) -> Fields:
    """Put cached and reasoning tokens into their wholes where they were counted beside them."""
    details, thought = told.get(_IN), told.get(_OUT)
    whole, output = told.get(_INPUT), told.get(_OUTPUT)
    if details and whole is not None:
        cache = details.get("cache_read", 0) + details.get("cache_creation", 0)
        if cache and (cache > whole or _is_beside(span, whole)):
            told[_INPUT] = whole + cache
            told.pop(_TOTAL, None)
    if thought and output is not None and thought.get("reasoning", 0) > output:
        told[_OUTPUT] = output + thought["reasoning"]
        told.pop(_TOTAL, None)
    return told


def _is_beside(span: NativeSpan, whole: int) -> bool:
    """Anthropic counts cached tokens beside the input: OpenLIT hands that on, as the AI SDK did once."""
    if span.scope.startswith("openlit"):
        return span.scope.endswith(".anthropic")
    return span.attributes.get("ai.usage.inputTokenDetails.noCacheTokens") == whole


def _native(span: NativeSpan, reading: Reading, answer: Answer) -> Fields:
    """The provider's own numbers, where a convention keeps them, too."""
    for name in table.PROVIDER_USAGE:
        if name in span.attributes:
            told = as_dict(parsed(span, reading, name))
            if told:
                return _numbers(told)
    if table.LANGFUSE_USAGE in span.attributes:
        told = as_dict(parsed(span, reading, table.LANGFUSE_USAGE))
        if told and "input" not in told and "output" not in told:
            return _numbers(told)
    if answer is NOTHING:
        return {}
    whole, message, metadata = answer
    for told in (
        as_dict(whole.get("usage")),
        # Google's; LangChain's of this name is read above.
        as_dict(whole.get("usage_metadata")) if "total_token_count" in as_dict(whole.get("usage_metadata")) else {},
        as_dict(as_dict(whole.get("llm_output")).get("token_usage")),
        as_dict(metadata.get("token_usage") or metadata.get("usage")),
        as_dict(message.get("usage")),
    ):
        if told:
            return _numbers(told)
    return {}


def _says_any(told: Fields) -> bool:
    """Whether there is a count in it that is not 0, in the parts also."""
    return any(_says_any(as_dict(value)) if isinstance(value, dict) else as_int(value) for value in told.values())


def _numbers(told: Fields) -> Fields:
    """Without what is not told: a native object lists all that it could have said."""
    return {name: value for name, value in told.items() if value is not None}


def _cost(span: NativeSpan, reading: Reading) -> float | None:
    """What somebody reckoned that the call cost, in USD; 0 is what is reckoned of an unknown price."""
    attributes = span.attributes
    for name in table.COST:
        if name in attributes:
            return as_float(attributes[name])
    for name in table.COST_OBJECTS:
        if name in attributes:
            told = as_dict(parsed(span, reading, name))
            return as_float(told.get("total", told.get("total_cost")))
    return None
