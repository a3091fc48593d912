"""What a source reported about tokens -> one Usage in which each whole includes its parts."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from chopsky_trace.enrich import usage_names as names
from chopsky_trace.records import Usage

MAX_COUNT = 2**53
"""A count above this is not believed: no provider bills so many tokens for a call, and JSON readers would round it."""
MAX_DETAILS = 40
"""Most further counts kept of one call."""

# A record comes from JSON, so `__class__ is dict` is enough, and the fastest of tests.
Counts = dict[str, int]
Details = dict[str, Any]


def normalise(reported: Any, *, provider: str | None, cached: bool) -> Usage:
    """The usage of one call, counted once, whole including parts; what nobody reported is None.

    Args:
        reported: `usage_metadata` (LangChain's convention), `token_usage` (the provider's own, from `llm_output`) and a
            subset of `response_metadata`, each a dict or None. The first that states a number is believed. Beside
            them `server_tools` (counts), `last_chunk` (the usage of a stream's last chunk, where its first had one
            already) and `partial` (the call did not complete).
        provider: LangChain's `ls_provider`. The known shapes tell themselves apart; it decides only what LangChain's
            package for that provider is known to add wrongly.
        cached: LangChain's own cache answered; the numbers of the first call stay as reported.
    """
    counts: Counts = {}
    details: Details = {}
    if reported.__class__ is dict:
        told: dict[str, Any] = reported
        stated = told.get("usage_metadata")
        if stated:
            _read_langchain(whole_stream(stated, told.get("last_chunk")), counts, details)
            _drop_placeholder(counts, details)
        native = told.get("token_usage")
        if native and not (stated and _adds_nothing(native)):
            _merge(counts, details, native)
        response = told.get("response_metadata")
        if response:
            _read_response(response, counts, details, same_as=native)
        tools = told.get("server_tools")
        if tools:
            _merge(counts, details, tools)
        if told.get("partial"):
            _cut_short(counts, details)
    if not counts:
        return _result(counts, details, cached)
    _drop_placeholder(counts, details)
    if provider == "xai":
        _take_added_reasoning_out(counts)
    elif provider == "cohere" and _is_billed_only(reported.get("response_metadata")):
        details["counted"] = "billed units"
    _complete(counts, details)
    broken = _violations(counts)
    if broken:
        details.setdefault("violations", []).extend(broken)
    return _result(counts, details, cached)


def _adds_nothing(native: Any) -> bool:
    """Whether OpenAI's ordinary shape says no more than LangChain has already taken from it: most calls, so it pays."""
    if native.__class__ is not dict or not native.keys() <= names.ORDINARY:
        return False
    for name in names.ORDINARY_DETAILS:
        parts = native.get(name)
        if parts and (parts.__class__ is not dict or any(parts.values())):
            return False
    return True


def _result(counts: Counts, details: Details, cached: bool) -> Usage:
    get = counts.get
    heard, spoken = get(names.AUDIO[0]), get(names.AUDIO[1])
    audio = None if heard is None and spoken is None else (heard or 0) + (spoken or 0)
    if not counts.keys() <= names.WHOLE:
        for name, count in counts.items():
            # Zero of a further count says nothing.
            if count and name not in names.WHOLE and len(details) < MAX_DETAILS:
                details[name] = count
    if cached:
        details["cache_hit"] = True
    known = "input" in counts or "output" in counts or "total" in counts
    usage: Usage = {
        "input_tokens": get("input"),
        "output_tokens": get("output"),
        "total_tokens": get("total"),
        "cache_read_tokens": get("cache_read"),
        "cache_write_tokens": get("cache_write"),
        "cache_write_5m_tokens": get("cache_write_5m"),
        "cache_write_1h_tokens": get("cache_write_1h"),
        "reasoning_tokens": get("reasoning"),
        "audio_tokens": audio,
        "source": "reported" if known else "unknown",
    }
    if details:
        usage["details"] = details
    return usage


def _read_langchain(stated: Any, counts: Counts, details: Details) -> None:
    if stated.__class__ is not dict:
        return
    metadata: dict[str, Any] = stated
    for name, slot in (("input_tokens", "input"), ("output_tokens", "output"), ("total_tokens", "total")):
        value = metadata.get(name)
        if type(value) is int and 0 <= value <= MAX_COUNT:
            counts[slot] = value
        elif value is not None:
            _take(counts, details, slot, name, value)
    parts = metadata.get("input_token_details")
    if parts:
        _read_parts(parts, names.INPUT_PARTS, "input", counts, details)
    parts = metadata.get("output_token_details")
    if parts:
        _read_parts(parts, names.OUTPUT_PARTS, "output", counts, details)


def _read_parts(parts: Any, slots: Mapping[str, str], side: str, counts: Counts, details: Details) -> None:
    if parts.__class__ is not dict:
        return
    for name, value in parts.items():
        slot = slots.get(name)
        if slot is None:
            tier, _, part = name.partition("_")
            if tier in names.TIERS:
                details["service_tier"] = tier
                if not part:
                    # `priority: 60` is the remainder that is not cached or reasoned, not one more part.
                    continue
                slot = slots.get(part)
        if type(value) is int and 0 <= value <= MAX_COUNT:
            counts[slot or f"{side}_{name}"] = value
        elif value is not None:
            _take(counts, details, slot or f"{side}_{name}", name, value)


def _take(counts: Counts, details: Details, slot: str, name: str, value: Any) -> None:
    """Put a value that is not a plain count: a whole float is one, anything else is kept as reported and flagged."""
    if type(value) is float and value.is_integer() and 0 <= value <= MAX_COUNT:
        counts[slot] = int(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        details.setdefault("reported", {})[name] = str(value)[:40]
        details.setdefault("violations", []).append(f"{name} is not a count")


def _merge(counts: Counts, details: Details, native: Any) -> None:
    """Fill what is still unknown with a provider's own numbers, once a whole includes its parts in them too."""
    if native.__class__ is not dict:
        return
    own: Counts = {}
    _read_native(native, names.NATIVE, own, details, depth=0)
    if "cache_read_beside" in own or "cache_write_beside" in own:
        _include_cache(own)
    thoughts = own.pop("reasoning_beside", None)
    if thoughts is not None:
        own.setdefault("reasoning", thoughts)
        own["output"] = own.get("output", 0) + thoughts
    if "tool_use_prompt_tokens" in own and "input" in own:
        own["input"] += own["tool_use_prompt_tokens"]
    if "input" not in counts and "output" in counts and "output" in own and own["output"] < counts["output"]:
        # An early count of a stream: its input holds, the rest was overtaken.
        own.pop("total", None)
    for slot, value in own.items():
        if slot not in counts:
            counts[slot] = value


def _include_cache(own: Counts) -> None:
    """Anthropic and Bedrock count cached tokens beside the input; gateways that copy their names count them within."""
    read = own.pop("cache_read_beside", None)
    write = own.pop("cache_write_beside", None)
    if read is not None:
        own.setdefault("cache_read", read)
    if write is not None:
        own.setdefault("cache_write", write)
    whole, output, total = own.get("input"), own.get("output"), own.get("total")
    if whole is not None and not (total is not None and output is not None and whole + output == total):
        own["input"] = whole + (read or 0) + (write or 0)


def _read_native(
    native: Mapping[str, Any], slots: Mapping[str, str], own: Counts, details: Details, depth: int
) -> None:
    for name, value in native.items():
        slot = slots.get(name)
        kind = value.__class__
        if kind is int and 0 <= value <= MAX_COUNT:
            if slot:
                own[slot] = value
            elif slot is None:
                _read_other(name, value, own, details)
        elif kind is dict:
            inner = names.NESTED.get(name)
            if inner is not None and depth < 2:
                _read_native(value, inner, own, details, depth + 1)
            elif name in ("cost", "cost_details"):
                _read_other(name, value, own, details)
        elif kind is list:
            if name == "iterations":
                _read_iterations(value, own, details)
            else:
                _read_modalities(name, value, own)
        elif slot and value is not None:
            _take(own, details, slot, name, value)
        elif value is not None:
            _read_other(name, value, own, details)


def _read_other(name: str, value: Any, own: Counts, details: Details) -> None:
    """Costs, tiers, and counts we have no name for."""
    if name == "cost_in_usd_ticks":
        # xAI's ten-billionths of a dollar.
        _reported_cost(details, value, Decimal(10) ** -10)
    elif name in ("cost", "total_cost"):
        amount = value.get("total_cost") if value.__class__ is dict else value
        _reported_cost(details, amount, Decimal(1))
    elif name in ("is_byok", "cost_details"):
        details.setdefault("gateway", "openrouter")
    elif name in names.PRICED_BY:
        _word(details, names.PRICED_BY[name], value)
    elif type(value) is int and value and len(name) <= 64 and len(own) < MAX_DETAILS and not name.endswith("_time"):
        own.setdefault(names.SPLIT_WRITES.get(name, name), value)


def _word(details: Details, name: str, value: Any) -> None:
    """What a price depends on besides counts: a tier, a speed, a place."""
    if value.__class__ is dict:
        value = value.get("type")
    if isinstance(value, str) and 0 < len(value) <= 64 and value not in names.NOWHERE:
        # Merged stream chunks repeat it: "defaultdefault".
        details.setdefault(name, once(value).lower())


@lru_cache(256)
def once(text: str) -> str:
    """The text that this one repeats: merged stream chunks join equal strings end to end."""
    period = (text + text).find(text, 1)
    return text[:period] if period >= 4 else text


def _reported_cost(details: Details, amount: Any, scale: Decimal) -> None:
    if isinstance(amount, int | float | str | Decimal) and not isinstance(amount, bool):
        try:
            cost = Decimal(str(amount)) * scale
        except InvalidOperation:
            return
        if cost.is_finite() and 0 <= cost < 10**9:
            details.setdefault("reported_cost_usd", format(cost.normalize(), "f"))


def _read_modalities(name: str, entries: list[Any], own: Counts) -> None:
    """Google's [{modality, token_count}, ...]."""
    pattern = names.MODALITIES.get(name)
    if pattern is None:
        return
    for entry in entries[:16]:
        if entry.__class__ is dict:
            told: dict[str, Any] = entry
            count = told.get("token_count", told.get("tokenCount"))
            named = told.get("modality", "")
            modality = names.MODALITY_NUMBERS.get(named) if type(named) is int else str(named)
            modality = (modality or "").rpartition(".")[2].lower()
            if type(count) is int and 0 <= count <= MAX_COUNT and modality.isalpha() and len(modality) <= 16:
                own[pattern.format(modality)] = count


def _read_iterations(entries: list[Any], own: Counts, details: Details) -> None:
    """Anthropic's steps of one call: its top-level counts leave out those that compacted the conversation."""
    told: list[dict[str, Any]] = []
    sums = {"billed_input_tokens": 0, "billed_output_tokens": 0}
    for entry in entries[:16]:
        if entry.__class__ is dict:
            step: Counts = {}
            _read_native(entry, names.NATIVE, step, {}, depth=2)
            _include_cache(step)
            sums["billed_input_tokens"] += step.get("input", 0)
            sums["billed_output_tokens"] += step.get("output", 0)
            kind = entry.get("type")
            shown: dict[str, Any] = {"type": kind} if isinstance(kind, str) and len(kind) <= 64 else {}
            told.append(shown | {f"{name}_tokens": count for name, count in step.items() if name in names.WHOLE})
    if len(told) > 1:
        details["iterations"] = told
        own.update(sums)


def _read_response(response: Any, counts: Counts, details: Details, *, same_as: Any) -> None:
    if response.__class__ is not dict:
        return
    told: dict[str, Any] = response
    for name in names.CONTAINERS:
        if name in told:
            native = told[name]
            # llm_output and response_metadata carry one dict, or equal ones.
            if native and native is not same_as and native != same_as:
                _merge(counts, details, native)
    if not names.STATED_BARE.isdisjoint(told):
        _merge(counts, details, {name: told[name] for name in names.BARE if name in told})
    for name, key in names.PRICED_BY.items():
        if name in told:
            _word(details, key, told[name])


def whole_stream(stated: Any, last: Any) -> Any:
    """The usage of a stream, of which LangChain adds up the chunks'.

    Some gateways (vLLM's continuous usage, Perplexity's and older xAI interfaces) repeat with every chunk what was used
    so far: the last chunk then has all of it. Where each chunk has its own part, the last one's input is 0.
    """
    if last.__class__ is dict and stated.__class__ is dict:
        whole, summed = last.get("input_tokens"), stated.get("input_tokens")
        if type(whole) is int and type(summed) is int and 0 < whole < summed:
            return last
    return stated


def _cut_short(counts: Counts, details: Details) -> None:
    """A call that failed or was left: what it had said so far. Output 0 is then what is not yet known."""
    if counts.get("output") == 0:
        del counts["output"]
        counts.pop("total", None)
    if counts:
        details["partial"] = True


def _take_added_reasoning_out(counts: Counts) -> None:
    """LangChain's xAI package adds the reasoning to the output, also where the output included it."""
    whole, output, total, reasoning = (counts.get(name, 0) for name in ("input", "output", "total", "reasoning"))
    if reasoning and total and whole + output == total + reasoning and reasoning <= output - reasoning:
        counts["output"] = output - reasoning


def _is_billed_only(response: Any) -> bool:
    """Of Cohere's streams LangChain tells what was billed, in a shape of its own, not what was read and written."""
    counted: Any = response.get("token_count") if response.__class__ is dict else None
    return counted.__class__ is dict and "total_tokens" in counted


def _drop_placeholder(counts: Counts, details: Details) -> None:
    """No model answers an empty prompt: input 0 is a framework's stand-in for a number it lost, or never had."""
    if counts.get("input") != 0:
        return
    output = counts.get("output")
    if output:
        said = "input_tokens is 0 beside an output: taken as not reported"
    elif output == 0 and not counts.get("total"):
        said = "all counts are 0: taken as not reported"
        del counts["output"]
    else:
        return
    if counts.get("total", 0) == (output or 0):
        counts.pop("total", None)
    del counts["input"]
    for part in ("cache_read", "cache_write", "cache_write_5m", "cache_write_1h", *names.AUDIO):
        if counts.get(part) == 0:
            del counts[part]
    if output == 0 and counts.get("reasoning") == 0:
        del counts["reasoning"]
    violations: list[str] = details.setdefault("violations", [])
    if said not in violations:
        violations.append(said)


def _complete(counts: Counts, details: Details) -> None:
    """Derive what follows from what is known, and put parts into their wholes."""
    get = counts.get
    short, long = get("cache_write_5m"), get("cache_write_1h")
    if short is not None or long is not None:
        split = (short or 0) + (long or 0)
        # LangChain sets the whole to 0 when it has the split; Anthropic itself states both.
        if not get("cache_write"):
            counts["cache_write"] = split
    whole, output, total = get("input"), get("output"), get("total")
    if total is None:
        if whole is not None and output is not None:
            counts["total"] = whole + output
    elif whole is not None and output is not None:
        if total > whole + output:
            _place_surplus(counts, details, total - whole - output)
    elif whole is not None and total >= whole:
        counts["output"] = total - whole
    elif output is not None and total >= output:
        counts["input"] = total - output


def _place_surplus(counts: Counts, details: Details, surplus: int) -> None:
    """A total above input plus output tells that cached or reasoning tokens were counted beside them."""
    cache = counts.get("cache_read", 0) + counts.get("cache_write", 0)
    reasoning = counts.get("reasoning", 0)
    if cache and surplus in (cache, cache + reasoning):
        counts["input"] += cache
        surplus -= cache
    if reasoning and surplus == reasoning:
        counts["output"] += reasoning
        surplus = 0
    if surplus:
        details["unattributed_tokens"] = surplus


def _violations(counts: Counts) -> list[str]:
    broken: list[str] = []
    get = counts.get
    whole, output, total = get("input"), get("output"), get("total")
    has_more = not counts.keys() <= names.WHOLE
    if whole is not None:
        if get("cache_read", 0) + get("cache_write", 0) > whole:
            broken.append("cache_read_tokens + cache_write_tokens > input_tokens")
        if has_more:
            _check_parts(counts, names.INPUT_MODALITIES, whole, "input_tokens", broken)
    if output is not None:
        if get("reasoning", 0) > output:
            broken.append("reasoning_tokens > output_tokens")
        if has_more:
            _check_parts(counts, names.OUTPUT_MODALITIES, output, "output_tokens", broken)
    if get("cache_write_5m", 0) + get("cache_write_1h", 0) > get("cache_write", 0):
        broken.append("cache_write_5m_tokens + cache_write_1h_tokens > cache_write_tokens")
    if total is not None and total < (whole or 0) + (output or 0):
        broken.append("total_tokens < input_tokens + output_tokens")
    return broken


def _check_parts(counts: Counts, parts: tuple[str, ...], whole: int, name: str, broken: list[str]) -> None:
    held = [part for part in parts if counts.get(part)]
    if held and sum(counts[part] for part in held) > whole:
        broken.append(f"{' + '.join(held)} > {name}")
