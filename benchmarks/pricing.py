"""What it costs the worker to price a call."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from timeit import repeat
from typing import Any
from uuid import UUID

from benchmarks import machine
from chopsky_trace.enrich.pricing.overrides import Overrides
from chopsky_trace.enrich.pricing.price import price
from chopsky_trace.records import Cost, Usage

CALLS = 200
"""Of one sample, after the names have been met once."""
AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
USAGE: Usage = {
    "input_tokens": 1_000,
    "output_tokens": 100,
    "total_tokens": 1_100,
    "cache_read_tokens": 200,
    "reasoning_tokens": 10,
    "source": "reported",
}
MODELS = (
    ("openai", "gpt-4o-2024-08-06"),
    ("anthropic", "claude-sonnet-4-5-20250929"),
    ("google_genai", "gemini-2.5-pro"),
    ("ollama", "unheard-of"),
)
OWN = {
    "id": UUID(int=1), "tenant_id": None, "provider": None, "model": None, "valid_from": None, "valid_until": None,
    "input_mtok": Decimal(1), "output_mtok": Decimal(2), "other_rates": {}, "tiers": [], "request_usd": None,
}  # fmt: skip
PATTERNS = Overrides.from_rows(
    {**OWN, "id": UUID(int=number), "model_pattern": f"own-{number}-.*"} for number in range(1, 101)
)


@dataclass(frozen=True, slots=True)
class PriceCost:
    """Least CPU of a call, in microseconds, by model; the machine being shared, the least is the truest."""

    public_us: dict[str, float]
    own_us: float
    rounds: int


def _least_us(call: Callable[[], Cost], rounds: int) -> float:
    call()
    return min(repeat(call, number=CALLS, repeat=rounds, timer=time.thread_time)) / CALLS * 1e6


def measure(rounds: int) -> PriceCost:
    """Price calls of known models, beside a hundred patterns of one's own that match none, and one that matches."""

    def call(provider: str, model: str) -> Callable[[], Cost]:
        named: dict[str, Any] = {"provider": provider, "model": model, "model_requested": model, "at": AT}
        rest: dict[str, Any] = {"cached": False, "service_tier": None, "tenant_id": "acme", "overrides": PATTERNS}
        return lambda: price(USAGE, **named, **rest)

    public = {f"{provider} {model}": _least_us(call(provider, model), rounds) for provider, model in MODELS}
    return PriceCost(public, _least_us(call("openai", "own-7-model"), rounds), rounds)


def sentence(cost: PriceCost) -> str:
    """The measurement, for people."""
    public = ", ".join(f"{model} {machine.figure(us)}" for model, us in cost.public_us.items())
    return (
        f"Pricing a call, least CPU of {cost.rounds} samples of {CALLS:,} calls, in microseconds, with 100 patterns of "
        f"one's own: {public}; by one of the patterns {machine.figure(cost.own_us)}."
    )
