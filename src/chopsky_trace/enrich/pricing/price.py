"""What one call cost: the team's own price or the public one at the time of the call, and the rates beside the amount.

Rates are resolved once per model and kept, which makes a call some microseconds.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from chopsky_trace.enrich.pricing.overrides import Overrides
from chopsky_trace.enrich.pricing.price_list import PRICE_LIST, Pairs
from chopsky_trace.enrich.pricing.rates import PriceError, Rates, counts_of
from chopsky_trace.records import Cost, Usage

NO_PRICE = "no price for this model"
"""The reason where no list knows the name."""


def price(
    usage: Usage,
    *,
    provider: str | None,
    model: str | None,
    model_requested: str | None,
    at: datetime,
    cached: bool,
    service_tier: str | None,
    tenant_id: str | None = None,
    overrides: Overrides | None = None,
) -> Cost:
    """The cost of one call in USD, computed from its usage; unknown where a price or a deciding count is missing.

    What the provider itself reported is never the amount. Usage that contradicts itself (more cached than input) has no
    honest price, and what is charged apart (audio, web searches, a service tier) has none without a rate of its own:
    then the amount is unknown, with the reason.

    Args:
        provider: LangChain's `ls_provider` (or OpenTelemetry's name); None where nobody was named.
        model: the model that answered. `model_requested`: the one asked for.
        at: when the call was made; aware.
        cached: LangChain's own cache answered, so nothing was charged.
        service_tier: as the response says; else what `usage` has.
        tenant_id: whose call it was, for prices that hold for one tenant.
        overrides: the team's own prices, which go before the public ones; None where there are none.
    """
    if cached:
        return {"amount": "0", "source": "computed", "rates": {"cache_hit": True}}
    get = usage.get
    source = get("source")
    if source is None or source == "unknown":
        return _unknown("usage unknown")
    if not model and not model_requested:
        return _unknown("no model name")
    tier, gateway, speed, place = service_tier, None, None, None
    details = get("details")
    if details:
        tier, gateway, speed, place = _decisive(details, tier)
    try:
        own = None
        if overrides:
            own = overrides.find(tenant_id, provider, model, model_requested, gateway, at, tier)
        if own is not None:
            rates, applied = own
        else:
            found = PRICE_LIST.find(provider, model, model_requested, gateway, at, tier, speed)
            if found is None or place:
                # At some places it costs more, and the list does not say how much.
                return _unknown(f"no price for inference in {place}" if found else NO_PRICE)
            rates, origin, pairs = found
            applied = rates.told if origin == "model" and not pairs else _told(rates, origin, pairs)
        amount, prices, quantities, above = rates.charge(counts_of(usage))
    except PriceError as error:
        return _unknown(str(error))
    applied = {**applied, "unit_prices": prices, "quantities": quantities}
    if above:
        applied["above_input_tokens"] = above
    return {"amount": amount, "source": "estimated" if source == "estimated" else "computed", "rates": applied}


def _told(rates: Rates, origin: str, pairs: Pairs) -> dict[str, Any]:
    """What to say of where the rates are from, and how they were found."""
    told = dict(rates.told)
    if origin != "model":
        told["found_by"] = origin
    if pairs:
        told["context"] = dict(pairs)
    return told


def _decisive(details: dict[str, Any], tier: str | None) -> tuple[str | None, ...]:
    """What decides a price besides counts: service tier, gateway, speed, and where the model ran."""
    told = details.get
    return tier or told("service_tier"), told("gateway"), told("speed"), told("inference_geo")


def _unknown(reason: str) -> Cost:
    return {"amount": None, "source": "unknown", "rates": {"reason": reason}}
