"""What the tables say of a call, beside what its answer says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from conformance import clients
from conformance.exchanges import Exchange, Request, mapping, number
from conformance.gaps import Gap, gap_of
from psycopg.rows import dict_row

from chopsky_trace.enrich.pricing.model_names import provider_id, tidy

Span = Mapping[str, Any]
CALL_KINDS = ("llm", "embedding")

# What the rows call these providers -> what a price list does.
PROVIDERS = {"vertex": "google", "bedrock": "aws", "xai": "x-ai"}


@dataclass(frozen=True)
class Field:
    """One number or name, as the answer states it and as the tables have it."""

    name: str
    true: Callable[[Request], Any]
    ours: Callable[[Span], Any]
    if_stated: bool = False
    """Compared only where the answer states it."""


@dataclass(frozen=True)
class Finding:
    """A field of a call compared."""

    field: str
    true: Any
    ours: Any
    gap: Gap | None
    is_right: bool

    def __str__(self) -> str:
        because = f" (not passed on: {self.gap.why})" if self.gap else ""
        return f"{self.field}: the answer says {self.true!r}, the tables {self.ours!r}{because}"


def _cell(name: str) -> Callable[[Request], Any]:
    return lambda request: number(request.row[name])


def _column(name: str) -> Callable[[Span], Any]:
    return lambda span: span[name]


def _detail(name: str) -> Callable[[Span], Any]:
    return lambda span: (span["usage_details"] or {}).get(name)


def _written(name: str) -> Callable[[Span], Any]:
    def ours(span: Span) -> Any:
        # Where nothing was written, nothing was written for so long.
        return 0 if span["cache_write_tokens"] == 0 else _detail(name)(span)

    return ours


def _status(request: Request) -> str:
    return "failed" if request.failed else "completed"


def _answering(request: Request) -> str | None:
    return tidy(request.answering_model) or None


def _server_tools(request: Request) -> dict[str, int]:
    """As the usage counts them, else as they stand in the answer: only what costs something."""
    told = mapping(request.row["server_tool_use"])
    if told:
        names = {"web_search_requests": "web_searches", "web_fetch_requests": "web_fetches"}
        return {names.get(name, name): count for name, count in told.items() if count}
    searches = 0
    for item in request.output_items:
        if item.get("type") == "web_search_call" and (item.get("action") or {}).get("type", "search") == "search":
            searches += 1
    queries = {query for found in request.grounding for query in found.get("webSearchQueries", ())}
    return {"web_searches": searches + len(queries)} if searches or queries else {}


def _our_server_tools(span: Span) -> dict[str, int]:
    details = span["usage_details"] or {}
    return {name: details[name] for name in ("web_searches", "web_fetches") if name in details}


def _billed(request: Request) -> tuple[int, int] | None:
    """Input and output of all steps of a call, where the row has them as a list of usages."""
    told = json.loads(request.row["billed_iterations"] or "null")
    if not isinstance(told, list) or not all(isinstance(step, dict) for step in told) or len(told) < 2:
        return None
    cached = ("cache_read_input_tokens", "cache_creation_input_tokens")
    return (
        sum(step["input_tokens"] + sum(step.get(name) or 0 for name in cached) for step in told),
        sum(step["output_tokens"] for step in told),
    )


def _our_billed(span: Span) -> tuple[int, int] | None:
    details = span["usage_details"] or {}
    if "iterations" not in details:
        return None
    return details["billed_input_tokens"], details["billed_output_tokens"]


def _tier(request: Request) -> str | None:
    """A stream of the Responses interface names the tier asked for first, and at its end the one that served."""
    served = [
        answer["response"]["service_tier"]
        for answer in request.answers
        if isinstance(answer, dict)
        and isinstance(answer.get("response"), dict)
        and "service_tier" in answer["response"]
    ]
    return served[-1] if served else request.row["service_tier"] or None


def _cost(request: Request) -> Decimal | None:
    text = request.row["cost_reported_usd"]
    return Decimal(text) if text else None


def _our_cost(span: Span) -> Decimal | None:
    told = (span["usage_details"] or {}).get("reported_cost_usd")
    return None if told is None else Decimal(told)


FIELDS = (
    Field("status", _status, _column("status")),
    Field("error", lambda request: request.failed, lambda span: bool(span["error"])),
    Field(
        "provider",
        lambda request: provider_id(PROVIDERS.get(request.provider, request.provider)),
        lambda span: provider_id(span["provider"]),
    ),
    Field("model requested", lambda request: tidy(request.model), lambda span: tidy(span["model_requested"])),
    # Bedrock's answers name none.
    Field("model", _answering, lambda span: tidy(span["model"]) or None, if_stated=True),
    # The whole includes its parts here, whatever the provider's own convention.
    Field("input", _cell("lc_input_tokens"), _column("input_tokens")),
    Field("output", _cell("lc_output_tokens"), _column("output_tokens")),
    Field("total", _cell("lc_total_tokens"), _column("total_tokens")),
    Field("cache read", _cell("cache_read"), _column("cache_read_tokens")),
    Field("cache write", _cell("cache_write"), _column("cache_write_tokens")),
    Field("cache write 5m", _cell("cache_write_5m"), _written("cache_write_5m_tokens"), if_stated=True),
    Field("cache write 1h", _cell("cache_write_1h"), _written("cache_write_1h_tokens"), if_stated=True),
    Field("reasoning", _cell("reasoning"), _column("reasoning_tokens")),
    Field("audio", _cell("audio"), _column("audio_tokens")),
    Field("tool use prompt", _cell("tool_use_prompt"), _detail("tool_use_prompt_tokens")),
    Field("server tools", _server_tools, _our_server_tools),
    Field("service tier", _tier, _detail("service_tier")),
    Field("billed by step", _billed, _our_billed, if_stated=True),
    Field("reported cost", _cost, _our_cost),
    Field(
        "usage source",
        lambda request: "reported" if request.row["lc_input_tokens"] else "unknown",
        _column("usage_source"),
    ),
)


def compare(request: Request, span: Span) -> list[Finding]:
    """Every field of the call; what the framework does not pass on has to be exactly as its gap says."""
    return [_finding(field, request, span) for field in FIELDS if not (field.if_stated and field.true(request) is None)]


def _finding(field: Field, request: Request, span: Span) -> Finding:
    true, ours = field.true(request), field.ours(span)
    gap = gap_of(field.name, request)
    # A gap that is none here, because the truth is just what is left without it, needs no excuse.
    left = None if gap is None else gap.left(request)
    if gap is None or left == true:
        return Finding(field.name, true, ours, None, ours == true)
    return Finding(field.name, true, ours, gap, ours == left)


@dataclass(frozen=True)
class Outcome:
    """A request of an exchange, replayed."""

    request: Request
    calls: int
    calls_due: int
    findings: list[Finding]

    @property
    def problems(self) -> list[str]:
        told = [str(finding) for finding in self.findings if not finding.is_right]
        if self.calls != self.calls_due:
            told.insert(0, f"calls: {self.calls_due} made, the tables have {self.calls}")
        return told

    @property
    def gaps(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.is_right and finding.gap is not None]


def outcomes(exchange: Exchange, runs: Mapping[int, UUID | None], database_url: str, seen: set[UUID]) -> list[Outcome]:
    """What the tables say of each request.

    Args:
        runs: as `replay` returns it.
        database_url: the database that the tracer wrote to, with nothing else in it.
        seen: calls that were looked at before; those of this exchange are added.
    """
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        spans = connection.execute(
            "select * from conversation_spans where kind = any(%s) and id <> all(%s) order by started_at, id",
            [list(CALL_KINDS), list(seen)],
        ).fetchall()
    seen.update(span["id"] for span in spans)
    unnamed = [span for span in spans if span["conversation_run_id"] not in runs.values()]
    found: list[Outcome] = []
    for place, request in enumerate(exchange.requests):
        run = runs.get(place)
        if place not in runs:
            own: list[Any] = []
        elif run is None:
            own, unnamed = unnamed[:1], unnamed[1:]
        else:
            own = [span for span in spans if span["conversation_run_id"] == run]
        due = int(place in runs)
        found.append(Outcome(request, len(own), due, compare(request, own[0]) if due and own else []))
    assert not unnamed, f"{len(unnamed)} calls that nobody made"
    return found


def is_unseen(outcome: Outcome) -> bool:
    """Whether a call was made that nothing records: embeddings without a wrapper."""
    return clients.is_embeddings(outcome.request) and not outcome.calls_due
