"""What the tables say of a scenario, in the truth's terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import psycopg
from conformance.spans.corpus import Scenario
from conformance.spans.provider import Asked, fits
from psycopg.rows import dict_row

TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
PARTS = TOKENS[2:]
ROLES = ("system", "user", "assistant", "tool")
Row = dict[str, Any]

CALLS = """
select s.id, s.kind, s.status, s.input_tokens, s.output_tokens, s.cache_read_tokens, s.cache_write_tokens,
    s.reasoning_tokens, s.finish_reason, s.response_id, s.model, s.model_requested,
    s.time_to_first_token_ms::float as first_token_ms, s.output_bodies
from conversation_spans s
where s.conversation_run_id = any (%s) and s.duplicate_of is null and s.kind in ('llm', 'embedding', 'image')
order by s.started_at, s.id
"""
MESSAGES = """
select m.role, m.content, m.parts::text as parts, m.tool_call_id, m.tool_calls::text as calls,
    array(select c ->> 'id' from jsonb_array_elements(m.tool_calls) c) as call_ids, r.session_key, m.body_id,
    m.role = 'assistant' and s.kind is not distinct from 'llm' as is_answer
from conversation_messages m join conversation_runs r on r.id = m.conversation_run_id
left join conversation_spans s on s.id = m.span_id
where r.id = any (%s) and not r.merged
"""
RUNS = "select r.status, r.session_id, r.user_id from conversation_runs r where r.id = any (%s) and not r.merged"
# A call's prompt and, after it, what it answered. Of a call that two told of, whoever tells of the messages.
PROMPTS = """
select coalesce(s.duplicate_of, s.id) as call, s.id, p.role, p.content, p.parts, p.tool_calls, p.tool_call_id,
    false as is_answer, p.position as place
from conversation_spans s cross join lateral conversation_prompt(s.id) p
where s.conversation_run_id = any (%(traces)s) and s.kind = 'llm'
union all
select coalesce(s.duplicate_of, s.id), s.id, m.role, m.content, m.parts, m.tool_calls, m.tool_call_id, true, b.place
from conversation_spans s
cross join lateral unnest(s.output_bodies) with ordinality b (id, place)
cross join lateral (select * from conversation_messages m where m.body_id = b.id limit 1) m
where s.conversation_run_id = any (%(traces)s) and s.kind = 'llm'
order by is_answer, place
"""


def measured(connection: psycopg.Connection[Any], scenario: Scenario) -> Row:
    """Every field, as the tables have it; None: nothing is known of it."""
    traces = list(scenario.traces)
    with connection.cursor(row_factory=dict_row) as cursor:
        calls = cursor.execute(CALLS, (traces,)).fetchall()
        messages = cursor.execute(MESSAGES, (traces,)).fetchall()
        runs = cursor.execute(RUNS, (traces,)).fetchall()
        prompts = cursor.execute(PROMPTS, {"traces": traces}).fetchall()
    models = [call for call in calls if call["kind"] == "llm"]
    found = {
        "llm_calls": len(models),
        "llm_calls_failed": sum(call["status"] == "failed" for call in models),
        "embedding_tokens": _sum(call["input_tokens"] for call in calls if call["kind"] == "embedding"),
        "error": any(run["status"] == "failed" for run in runs),
        "session": _only(run["session_id"] for run in runs),
        "user": _only(run["user_id"] for run in runs),
        "finish_reasons": sorted(call["finish_reason"] for call in models if call["finish_reason"]),
        "response_ids": sorted(call["response_id"] for call in models if call["response_id"]),
        "models_requested": sorted({call["model_requested"] for call in calls if call["model_requested"]}),
        "models": sorted({call["model"] for call in calls if call["model"]}),
        "first_token_ms": [call["first_token_ms"] for call in models if call["first_token_ms"] is not None],
        "prompts": fits(asked_of(models, prompts)),
    }
    for name in TOKENS:
        found[name] = _sum(call[name] for call in models)
    return found | _counted(messages)


def asked_of(calls: Sequence[Row], rows: Sequence[Row]) -> list[Asked]:
    """Each call that was answered, with its prompt and its answer."""
    told: dict[Any, dict[Any, Asked]] = {}
    for row in rows:
        asked = told.setdefault(row["call"], {}).setdefault(row["id"], Asked([], []))
        (asked.answers if row["is_answer"] else asked.prompt).append(row)
    whole = [max(told.get(call["id"], {0: Asked([], [])}).values(), key=lambda one: len(one.prompt)) for call in calls]
    return [asked for asked in whole if asked.prompt and asked.answers]


def _counted(messages: Sequence[Row]) -> Row:
    said = ("role", "content", "parts", "tool_call_id", "calls")
    unlike = {tuple(message[name] for name in said): message for message in messages}
    found: Row = {f"{role}_messages": sum(key[0] == role for key in unlike) for role in ROLES}
    found["tool_calls"] = len({call or key[4] for key, message in unlike.items() for call in message["call_ids"]})
    # In one session a message is there once, unless several calls gave the same answer.
    answered = {(message["session_key"], message["body_id"]) for message in messages if message["is_answer"]}
    others = [(message["session_key"], message["body_id"]) for message in messages if not message["is_answer"]]
    found["repeated_messages"] = len(others) - len({*others} - answered)
    return found


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _only(values: Iterable[str | None]) -> str | None:
    """The one value that all agree on, else all of them."""
    distinct = sorted({value or "" for value in values})
    return " | ".join(distinct) or None


REASONS = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length"}
"""What Anthropic calls them -> the vocabulary of the tables."""


def true(scenario: Scenario) -> Row:
    """Every field, as the provider knows it."""
    truth = scenario.truth
    answered = scenario.count("llm_calls") - scenario.count("llm_calls_failed")
    counted = answered > 0 and truth["usage_sent_to_client"] == "yes"
    found: Row = {
        "llm_calls": scenario.count("llm_calls"),
        "llm_calls_failed": scenario.count("llm_calls_failed"),
        "embedding_tokens": scenario.count("embedding_tokens") or None,
        "tool_calls": scenario.count("tool_calls"),
        # Whether the application's call failed: a refused try that was made good did not.
        "error": bool(truth["client_error"]),
        "session": truth["conversation_id"] or None,
        "user": truth["user_id"] or None,
        "finish_reasons": sorted(REASONS.get(reason, reason) for reason in scenario.values("finish_reasons")),
        "response_ids": sorted(scenario.values("response_ids")),
        "models_requested": sorted(scenario.values("request_models")),
        "models": sorted(scenario.values("response_models")),
        "first_token_ms": [float(value) for value in scenario.values("ttft_ms")],
        "prompts": answered,
        "repeated_messages": 0,
    }
    for name in TOKENS:
        found[name] = scenario.count(name) if counted else None
    for role in ROLES:
        found[f"{role}_messages"] = scenario.count(f"{role}_messages")
    return found


EARLIER_MS, LATER_MS = 5.0, 2_500.0
"""How much sooner or later than its provider a client may see the first token: it reckons with what it had to load."""


def _near(ours: Sequence[float], truth: Sequence[float]) -> bool:
    return len(ours) == len(truth) and all(
        -EARLIER_MS <= seen - sent <= LATER_MS for seen, sent in zip(ours, truth, strict=True)
    )


def _part(ours: int | None, truth: int | None) -> bool:
    """That there were none of a part of the tokens need not be said."""
    return ours == truth or (ours is None and truth == 0)


ALIKE: dict[str, Callable[[Any, Any], bool]] = {"first_token_ms": _near, **dict.fromkeys(PARTS, _part)}
"""Fields that agree where they are not equal."""


def agree(name: str, ours: Any, truth: Any) -> bool:
    """Whether we say what the provider knows."""
    return ALIKE[name](ours, truth) if name in ALIKE else bool(ours == truth)
