"""One record -> the columns that its register of the span owns. Times stay microseconds since 1970."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from chopsky_trace.enrich.estimate import estimated
from chopsky_trace.enrich.pricing.overrides import Overrides
from chopsky_trace.enrich.pricing.price import price
from chopsky_trace.enrich.usage import normalise
from chopsky_trace.enrich.usage_names import SPLIT_WRITES
from chopsky_trace.records import RETRY_TAG, Usage, timestamp

Row = dict[str, Any]
new_tuple: Callable[[Any, tuple[Any, ...]], Any] = cast("Any", tuple).__new__
"""Makes a named tuple of its fields: its own constructor, which takes names, is several times as slow."""

CALL_KINDS = frozenset(("llm", "embedding", "image"))
COUNTS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_tokens",
)
START_FIELDS = {
    "at": "started_at",
    "source": "source",
    "instrumentor": "instrumentor",
    "is_provider": "is_provider",
    "is_entry": "is_entry",
    "native_id": "native_id",
    "kind": "kind",
    "parent": "parent_span_id",
    "name": "name",
    "provider": "provider",
    "model": "model_requested",
    "params": "invocation_params",
    "inputs": "inputs",
    "question_keys": "question_keys",
    "scope": "scope",
}
"""Fields of a start that are columns as they are."""
END_FIELDS = {
    "at": "ended_at",
    "status": "status",
    "error": "error",
    "model": "model",
    "response_id": "response_id",
    "duration_ms": "response_time_ms",
    "first_token_ms": "time_to_first_token_ms",
    "finish_reason": "finish_reason",
    "outputs": "outputs",
    "output_bodies": "output_bodies",
    "answer_keys": "answer_keys",
    "metadata": "end_metadata",
}
"""Fields of an end that are columns as they are."""


class Asked(NamedTuple):
    """What a call's start knows of it, where its end does not say."""

    provider: str | None = None
    model: str | None = None


NOBODY = Asked()


def start_row(record: dict[str, Any], stamp: str) -> Row:
    """The columns of a start."""
    return _told(record, START_FIELDS) | {"start_version": stamp} | start_derived(record)


def end_row(record: dict[str, Any], stamp: str, numbers: Row | None) -> Row:
    """The columns of an end, `numbers` among them."""
    return _told(record, END_FIELDS) | {"end_version": stamp} | end_derived(record, numbers)


def _told(record: Mapping[str, Any], fields: Mapping[str, str]) -> Row:
    return {column: record[field] for field, column in fields.items() if field in record}


def start_derived(record: dict[str, Any]) -> Row:
    """The start-owned columns that are not fields of the record, but its version."""
    row: Row = {}
    metadata: dict[str, Any] = record.get("metadata") or {}
    tags = record.get("tags")
    if tags:
        row["tags"] = tags
        for tag in tags:
            if tag.startswith(RETRY_TAG):
                metadata = {**metadata, "retry_attempt": tag.removeprefix(RETRY_TAG)}
    if record.get("resume"):
        metadata = {**metadata, "resume": True}
    if metadata:
        row["metadata"] = metadata
    prompt = record.get("prompt")
    if prompt is not None:
        row["prompt_extends"] = prompt.get("extends")
        row["prompt_take"] = prompt.get("take", 0)
        row["prompt_prefix"] = prompt.get("prefix")
        row["prompt_bodies"] = prompt["bodies"]
        row["prompt_names"] = prompt.get("names")
    return row


def end_derived(record: dict[str, Any], numbers: Row | None) -> Row:
    """The end-owned columns that are not fields of the record, but its version; `numbers` among them."""
    if "events" not in record:
        return numbers or {}
    return {"end_metadata": {**(record.get("metadata") or {}), "events": record["events"]}, **(numbers or {})}


def needs_start(record: dict[str, Any]) -> bool:
    """Whether an end leaves to its call's start what its numbers depend on."""
    return not (record.get("provider") and record.get("model_requested"))


def call_numbers(record: dict[str, Any], asked: Asked, overrides: Overrides | None = None) -> Row:
    """Usage and cost of a model call, once, at the call itself; `overrides`: the team's own prices."""
    provider = record.get("provider") or asked.provider
    requested = record.get("model_requested") or asked.model
    cached = bool(record.get("cached"))
    reported: dict[str, Any] = record.get("usage") or {}
    usage: Usage = normalise(reported, provider=provider, cached=cached)
    if "lengths" in record:
        usage = estimated(usage, record)
    row: Row = {"usage_source": usage.get("source", "unknown")}
    get = usage.get
    for name in COUNTS:
        value = get(name)
        if value is not None:
            row[name] = value
    details = _kept(usage, reported.get("service_tier"))
    if details:
        row["usage_details"] = details
        if not cached and "reported_cost_usd" in details:
            row["reported_cost"] = details["reported_cost_usd"]
    cost = price(
        charged(usage, record["kind"]),
        provider=provider,
        model=record.get("model"),
        model_requested=requested,
        at=timestamp(record.get("started") or record["at"]),
        cached=cached,
        service_tier=reported.get("service_tier"),
        tenant_id=record.get("tenant"),
        overrides=overrides,
    )
    row["cost"] = cost["amount"]
    row["cost_source"] = cost["source"]
    if cost["rates"]:
        row["price_rates"] = cost["rates"]
    return row


def charged(usage: Usage, kind: str) -> Usage:
    """What is to be paid for: an embedding has no output, whose tokens some price lists want to know."""
    if kind == "embedding" and usage.get("output_tokens") is None:
        return {**usage, "output_tokens": 0}
    return usage


def _kept(usage: Usage, service_tier: Any) -> dict[str, Any] | None:
    """What no column has and a price may depend on, so that the call can be priced again from its row alone."""
    details = usage.get("details")
    beside: dict[str, Any] = {}
    told = cast("Mapping[str, Any]", usage)
    for name in SPLIT_WRITES:
        count = told.get(name)
        if count is not None:
            beside[name] = count
    if service_tier:
        beside["service_tier"] = service_tier
    return {**(details or {}), **beside} if beside else details
