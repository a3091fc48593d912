"""What a stored call costs by the prices as they are known now: from its row alone, as when it was first written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from importlib.metadata import version
from typing import Any, NamedTuple, cast

import orjson

from chopsky_trace.enrich.pricing.overrides import Overrides
from chopsky_trace.enrich.pricing.price import price
from chopsky_trace.enrich.registers import COUNTS, charged
from chopsky_trace.enrich.usage_names import SPLIT_WRITES
from chopsky_trace.records import Cost, Usage

Row = dict[str, Any]

STORED = Decimal("1e-10")
"""The last digit of a stored cost."""
MAX_COST = Decimal(10) ** 14
"""What no cost's column holds."""
EDITION = "genai-prices "
"""How the origin of rates from the public list begins; its version follows."""


class Repriced(NamedTuple):
    """A call's cost now, as it would be stored."""

    cost: Decimal | None
    source: str
    rates: Mapping[str, Any] | None


def reprice(call: Mapping[str, Any], overrides: Overrides | None) -> Repriced | None:
    """The cost of a stored call now; None where what is stored still says it.

    Args:
        call: the call's columns by name; `at`, when it was made; its run's `tenant_id`.
        overrides: the team's own prices.
    """
    usage = usage_of(call)
    cost = price(
        charged(usage, call["kind"]),
        provider=call["provider"],
        model=call["model"],
        model_requested=call["model_requested"],
        at=call["at"],
        cached=(usage.get("details") or {}).get("cache_hit") is True,
        service_tier=None,
        tenant_id=call["tenant_id"],
        overrides=overrides,
    )
    amount = None if cost["amount"] is None else Decimal(cost["amount"])
    if amount is not None and amount >= MAX_COST:
        amount, cost = None, Cost(amount=None, source="unknown", rates={"reason": "no such amount can be stored"})
    elif amount is not None:
        amount = stored(amount)
    is_same = call["cost"] == amount and call["cost_source"] == cost["source"]
    if is_same and _is_same_price(call["price_rates"], cost["rates"]):
        return None
    return Repriced(amount, cost["source"], cost["rates"])


def usage_of(call: Mapping[str, Any]) -> Usage:
    """The normalised usage that the columns of a call were made of."""
    details: dict[str, Any] = call["usage_details"] or {}
    usage: dict[str, Any] = {name: call[name] for name in COUNTS}
    for name in SPLIT_WRITES:
        usage[name] = details.get(name)
    usage["source"] = call["usage_source"] or "unknown"
    if details:
        usage["details"] = details
    return cast("Usage", usage)


def stored(amount: Decimal) -> Decimal:
    """An amount as its column keeps it."""
    return amount.quantize(STORED, ROUND_HALF_UP)


def _is_same_price(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> bool:
    """Whether two calls were priced alike. That a newer edition of the list says the same is no change."""
    if old == new:
        return True
    if not old or not new or old.keys() != new.keys():
        return False
    editions = (str(rates.get("source", "")).startswith(EDITION) for rates in (old, new))
    return all(editions) and all(old[name] == new[name] for name in new if name != "source")


def edition(rows: Iterable[Mapping[str, Any]]) -> Row:
    """What tells the prices of one day from those of another.

    Args:
        rows: of the table `model_prices`, in a fixed order.
    """
    digest = hashlib.sha256()
    count = 0
    for row in rows:
        digest.update(orjson.dumps(row, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS) + b"\n")
        count += 1
    return {
        "genai_prices": version("genai-prices"),
        "overrides": count,
        "overrides_sha256": digest.hexdigest() if count else None,
    }
