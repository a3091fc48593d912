"""What the tables say of a scenario, in the truth's terms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg
from conformance.spans.corpus import Scenario

TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
ROLES = ("system", "user", "assistant", "tool")
FIELDS = (
    "llm_calls",
    "llm_calls_failed",
    *TOKENS,
    "embedding_tokens",
    *(f"{role}_messages" for role in ROLES),
    "tool_calls",
    "error",
    "session",
    "user",
)
"""What is compared."""

CALLS = """
select s.kind, s.status, s.input_tokens, s.output_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens
from conversation_spans s join conversation_runs r on r.id = s.conversation_run_id
where r.id = any (%s) and s.duplicate_of is null and s.kind in ('llm', 'embedding', 'image')
"""
MESSAGES = """
select distinct m.role, m.content, m.parts::text, m.tool_call_id,
    array(select c ->> 'id' from jsonb_array_elements(m.tool_calls) c) as calls, m.tool_calls::text
from conversation_messages m join conversation_runs r on r.id = m.conversation_run_id
where r.id = any (%s) and not r.merged
"""
RUNS = "select r.status, r.session_id, r.user_id from conversation_runs r where r.id = any (%s) and not r.merged"


def measured(connection: psycopg.Connection[Any], scenario: Scenario) -> dict[str, Any]:
    """Every field, as the tables have it; None: nothing is known of it."""
    traces = list(scenario.traces())
    calls = connection.execute(CALLS, (traces,)).fetchall()
    models = [call for call in calls if call[0] == "llm"]
    found: dict[str, Any] = {
        "llm_calls": len(models),
        "llm_calls_failed": sum(call[1] == "failed" for call in models),
        "embedding_tokens": _sum(call[2] for call in calls if call[0] == "embedding"),
    }
    for place, name in enumerate(TOKENS, 2):
        found[name] = _sum(call[place] for call in models)
    messages = connection.execute(MESSAGES, (traces,)).fetchall()
    for role in ROLES:
        found[f"{role}_messages"] = sum(message[0] == role for message in messages)
    found["tool_calls"] = len({call or message[5] for message in messages for call in message[4] or ()})
    runs = connection.execute(RUNS, (traces,)).fetchall()
    found["error"] = any(run[0] == "failed" for run in runs)
    found["session"] = _only(run[1] for run in runs)
    found["user"] = _only(run[2] for run in runs)
    return found


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _only(values: Iterable[str | None]) -> str | None:
    """The one value that all agree on, else all of them."""
    distinct = sorted({value or "" for value in values})
    return " | ".join(distinct) or None


def true(scenario: Scenario) -> dict[str, Any]:
    """Every field, as the provider knows it."""
    found: dict[str, Any] = {
        "llm_calls": scenario.count("llm_calls"),
        "llm_calls_failed": scenario.count("llm_calls_failed"),
        "embedding_tokens": scenario.count("embedding_tokens") or None,
        "tool_calls": scenario.count("tool_calls"),
        # Whether the application's call failed: a refused try that was made good did not.
        "error": bool(scenario.truth["client_error"]),
        "session": scenario.truth["conversation_id"] or None,
        "user": scenario.truth["user_id"] or None,
    }
    answered = (
        scenario.count("llm_calls") > scenario.count("llm_calls_failed")
        and scenario.truth["usage_sent_to_client"] == "yes"
    )
    for name in TOKENS:
        found[name] = scenario.count(name) if answered else None
    for role in ROLES:
        found[f"{role}_messages"] = scenario.count(f"{role}_messages")
    return found


def agree(name: str, ours: Any, truth: Any) -> bool:
    """Whether we say what the provider knows; that there were none of a part of the tokens need not be said."""
    return ours == truth or (name in TOKENS and (ours or 0) == (truth or 0) and not truth)
