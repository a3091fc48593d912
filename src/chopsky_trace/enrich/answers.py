"""What a model call's end says of the answering model, its response and its usage, as LangChain carries it.

The caller only snapshots it; it is read here, in the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from chopsky_trace.enrich.usage_names import STATED

_STATED_USAGE = frozenset(STATED)
MODEL = ("model_name", "model", "model_id")
RESPONSE_ID = ("id", "response_id")
REASON = ("finish_reason", "stop_reason", "done_reason")
"""What providers call these."""
NOT_RESPONSE_METADATA = frozenset(("headers", "token_usage", "usage"))
"""Told elsewhere, or none of the database's business."""
TOLD_OF_USAGE = ("usage_metadata", "generations", "last_chunk", "partial")
QUERIES = ("web_search_queries", "image_search_queries")
"""What Gemini looked up: distinct, because merged stream chunks may repeat them."""


def facts_of(said: Mapping[str, Any], span: str) -> dict[str, Any]:
    """The fields of an end that follow from what a model's answer said.

    Args:
        said: any of `usage_metadata`, `response_metadata`, `generation_info`, `llm_output`, `message_id`,
            `generations` (how many), each as LangChain has it; `server_tools` (how often each was used),
            `last_chunk` (the last usage of a stream whose first chunk had one), `partial` (it did not complete).
        span: the call's own id, 32 hex digits.

    Returns:
        `usage` (as reported, not normalised), and, where they are told, `model`, `response_id`, `finish_reason`,
        `cached`, `metadata`.
    """
    response = _mapping(said.get("response_metadata")) or _mapping(said.get("generation_info"))
    overall = _mapping(said.get("llm_output"))
    facts: dict[str, Any] = {}
    model = _first(response, MODEL) or _first(overall, MODEL)
    if model:
        facts["model"] = model
    message_id = said.get("message_id")
    if not isinstance(message_id, str):
        message_id = ""
    response_id = _first(response, RESPONSE_ID) or _first(overall, ("id",))
    if response_id:
        facts["response_id"] = response_id
    elif message_id and not message_id.startswith(("lc_run--", "run-")):
        # Some integrations give the provider's id to the message only.
        facts["response_id"] = message_id
    reason = _first(response, REASON) or _first(_mapping(said.get("generation_info")), ("finish_reason",))
    if reason:
        facts["finish_reason"] = reason
    if _is_cache_hit(said, message_id, span):
        facts["cached"] = True
    facts["usage"] = _usage(said, response, overall)
    kept = {k: v for k, v in response.items() if k not in NOT_RESPONSE_METADATA}
    if kept:
        facts["metadata"] = {"response": kept}
    return facts


def _usage(said: Mapping[str, Any], response: Mapping[str, Any], overall: Mapping[str, Any]) -> dict[str, Any]:
    """All that was reported of tokens, not yet normalised."""
    usage: dict[str, Any] = {}
    for name in TOLD_OF_USAGE:
        if said.get(name) is not None:
            usage[name] = said[name]
    native = overall.get("token_usage") or overall.get("usage")
    if native:
        usage["token_usage"] = native
    if not _STATED_USAGE.isdisjoint(response):
        stated = {k: response[k] for k in STATED if response.get(k) is not None}
        if stated:
            usage["response_metadata"] = stated
        if stated.get("service_tier"):
            usage["service_tier"] = stated["service_tier"]
    tools = said.get("server_tools") or _grounding(response.get("grounding_metadata"))
    if tools:
        usage["server_tools"] = tools
    return usage


def _grounding(told: Any) -> dict[str, int]:
    found = _mapping(told)
    if not found:
        return {}
    asked = {query for name in QUERIES for query in found.get(name) or () if isinstance(query, str)}
    return {"web_searches": len(asked)} if asked else {}


def _is_cache_hit(said: Mapping[str, Any], message_id: str, span: str) -> bool:
    """LangChain answered from its cache: the usage has a total cost of 0, or the message another run's id."""
    if _mapping(said.get("usage_metadata")).get("total_cost") == 0:
        return True
    if message_id.startswith("lc_run--"):
        told = message_id.removeprefix("lc_run--")[:36].replace("-", "")
        return len(told) == 32 and told != span
    return False


def _mapping(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _first(mapping: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    """The first text under any of these keys."""
    if mapping:
        for key in keys:
            value = mapping.get(key)
            if isinstance(value, str) and value:
                return value
    return None
