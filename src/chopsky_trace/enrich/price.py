"""What one call cost: genai-prices' rates at the time of the call, and the rates kept beside the amount.

The only importer of genai_prices, on first use: it takes half a second. Amounts are what genai_prices.calc_price would
say; the rates of a model are resolved once and kept, which makes a call some microseconds instead of some hundred.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from chopsky_trace.enrich.model_names import candidates
from chopsky_trace.enrich.overrides import Overrides
from chopsky_trace.records import Cost, Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

MAX_MODELS = 4_096
"""Names (of models found, or not) remembered at once; beyond it the oldest are forgotten."""

EXACT = Context(prec=60)
"""Wide enough that no product or sum of ours is rounded."""

# Usage's fields -> genai-prices' usage keys. A count that is None is not passed on.
_FIELDS = (
    ("input_tokens", "input_tokens"),
    ("output_tokens", "output_tokens"),
    ("cache_read_tokens", "cache_read_tokens"),
    ("cache_write_tokens", "cache_write_tokens"),
    ("cache_write_5m_tokens", "cache_write_5m_tokens"),
    ("cache_write_1h_tokens", "cache_write_1h_tokens"),
    ("reasoning_tokens", "output_reasoning_tokens"),
)
_DETAILS = frozenset(
    (
        "input_audio_tokens",
        "output_audio_tokens",
        "input_image_tokens",
        "output_image_tokens",
        "input_video_tokens",
        "output_video_tokens",
        "cache_audio_read_tokens",
        "cache_image_read_tokens",
        "cache_video_read_tokens",
        "output_citation_tokens",
        "web_searches",
        "social_searches",
        "storage_searches",
        "code_executions",
        "rerank_searches",
    )
)
KNOWN_COUNTS = frozenset((*(key for _, key in _FIELDS), *_DETAILS))
"""The usage keys that `counts_of` can give."""


class Rate(NamedTuple):
    """The price of one billable unit."""

    usage_key: str
    price_key: str
    """Ends with its unit: `_mtok` USD per million tokens, `_kcount` per thousand."""
    each: Decimal
    """USD for one."""
    shown: str
    """USD for as many as the price key says."""
    tiers: tuple[tuple[int, Decimal, str], ...]
    """(input tokens, each, shown): above so many, the price holds for all; ascending."""
    parts: tuple[int, ...]
    """Indexes of the rates whose units are parts of this one; they are charged on their own."""
    needed_by: tuple[frozenset[str], ...]
    """If one of these sets is reported while this unit is not, its count cannot be told."""


@dataclass(frozen=True, slots=True)
class Rates:
    """All prices of one model at one time, ready to charge."""

    origin: str
    provider: str
    model: str
    rates: tuple[Rate, ...]
    needs_input: bool
    needs_output: bool

    def charge(self, counts: Mapping[str, int]) -> tuple[Decimal, dict[str, str], dict[str, int]]:
        """(USD, the unit prices applied, the quantities they were applied to), the last two by price key.

        Raises:
            ValueError: the parts exceed their whole, or a count that decides the price is missing.
        """
        amount = Decimal(0)
        prices: dict[str, str] = {}
        quantities: dict[str, int] = {}
        own: list[int] = []
        for rate in self.rates:
            count = counts.get(rate.usage_key)
            if count is None:
                if rate.needed_by:
                    _check_missing(rate, counts)
                count = 1 if rate.usage_key == "requests" else 0
            if rate.parts:
                for part in rate.parts:
                    count -= own[part]
                if count < 0:
                    raise ValueError(f"the parts of {rate.usage_key} exceed it")
            own.append(count)
            if count:
                each, shown = _tier(rate, counts) if rate.tiers else (rate.each, rate.shown)
                amount = EXACT.fma(each, count, amount)
                prices[rate.price_key] = shown
                quantities[rate.price_key] = count
        return amount, prices, quantities


def _check_missing(rate: Rate, counts: Mapping[str, int]) -> None:
    for keys in rate.needed_by:
        if all(counts.get(key) for key in keys):
            raise ValueError(f"{rate.usage_key} is not reported, but {' and '.join(sorted(keys))}")


def _tier(rate: Rate, counts: Mapping[str, int]) -> tuple[Decimal, str]:
    size = counts.get("input_tokens", 0)
    for start, each, shown in reversed(rate.tiers):
        if size > start:
            return each, shown
    return rate.each, rate.shown


def plain(amount: Decimal) -> str:
    """A decimal without exponent or trailing zeros."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def counts_of(usage: Usage) -> dict[str, int]:
    """Usage as genai-prices' keys. Where the provider says what it billed (Cohere), that is what is charged."""
    fields = cast("Mapping[str, Any]", usage)
    counts: dict[str, int] = {}
    for name, key in _FIELDS:
        count = fields.get(name)
        if count is not None:
            counts[key] = count
    details = usage.get("details")
    if details:
        for key, count in details.items():
            if key in _DETAILS:
                counts[key] = count
        for key in ("input_tokens", "output_tokens"):
            billed = details.get("billed_" + key)
            if billed is not None and billed <= counts.get(key, billed):
                counts[key] = billed
        if details.get("cache_text_read_tokens") == counts.get("cache_read_tokens", 0):
            # All that was cached is text.
            for key in ("cache_audio_read_tokens", "cache_image_read_tokens", "cache_video_read_tokens"):
                counts.setdefault(key, 0)
    return counts


class _Found:
    """A model of the price list, with its rates by time and tier."""

    __slots__ = ("_context_pairs", "_dates", "_kept", "_model", "_provider", "_stable", "_times", "_version", "origin")

    def __init__(self, provider: Provider, model: ModelInfo, origin: str, version: str) -> None:
        self.origin = origin
        self._provider, self._model, self._version = provider, model, version
        # As in genai-prices: another provider's model, borrowed, has no tiers here.
        owned = any(model is one for one in provider.models)
        variants = (model.price_variants or []) if owned else []
        self._context_pairs = frozenset(pair for variant in variants for pair in variant.when.items())
        self._kept: dict[Any, Rates | None] = {}
        self._dates: list[date] = []
        self._times: list[time] = []
        self._stable = True
        conditions = model.prices if isinstance(model.prices, list) else []
        for constraint in (one.constraint for one in (*conditions, *variants)):
            if hasattr(constraint, "start_date"):
                self._dates.append(cast("Any", constraint).start_date)
            elif hasattr(constraint, "start_time"):
                self._times += [_utc(cast("Any", constraint).start_time), _utc(cast("Any", constraint).end_time)]
            elif constraint is not None:
                self._stable = False
        self._dates.sort()
        self._times.sort()

    def rates(self, at: datetime, context: Mapping[str, str]) -> Rates | None:
        """The rates at a time; None where the list has the model but no price for it."""
        pairs = tuple([pair for pair in context.items() if pair in self._context_pairs]) if context else ()
        if self._dates or self._times:
            moment = at.astimezone(UTC)
            key = bisect_right(self._dates, moment.date()), bisect_right(self._times, moment.time()), pairs
        else:
            key = pairs
        try:
            return self._kept[key]
        except KeyError:
            prices = self._model.get_prices(at, dict(pairs) or None)
            rates = _compile(self._provider, self._model, prices, self._version)
            if self._stable:
                self._kept[key] = rates
            return rates


def _utc(value: time) -> time:
    if value.tzinfo is None:
        return value
    return datetime.combine(date(1970, 1, 1), value).astimezone(UTC).time()


def _compile(provider: Provider, model: ModelInfo, prices: ModelPrice, version: str) -> Rates | None:
    from genai_prices import Usage as PricedUsage
    from genai_prices.data_units import unit_data

    stored = {key: value for key, value in vars(prices).items() if value is not None and not key.startswith("_")}
    if not stored and not model.id.endswith(":free"):
        # An empty price is a gap in the list, not a gift, unless the name says so.
        return None
    # Lets genai-prices check that the prices fit together.
    prices.calc_price(PricedUsage())
    units = cast("Mapping[str, Mapping[str, Any]]", unit_data)
    priced = [
        (key, unit)
        for key, unit in units.items()
        if unit.get("price_key", key) in stored and (key in KNOWN_COUNTS or key == "requests" or _needed_by(key, units))
    ]
    priced.sort(key=lambda item: (-len(item[1]["dimensions"]), item[0]))
    rates: list[Rate] = []
    for key, unit in priced:
        dimensions = unit["dimensions"].items()
        value = stored[unit.get("price_key", key)]
        base = value if isinstance(value, Decimal) else value.base
        tiers = [] if isinstance(value, Decimal) else [(tier.start, tier.price) for tier in value.tiers]
        rates.append(
            Rate(
                usage_key=key,
                price_key=unit.get("price_key", key),
                each=_each(base, unit),
                shown=plain(base),
                tiers=tuple((start, _each(price, unit), plain(price)) for start, price in tiers),
                parts=tuple(
                    index
                    for index, (_, other) in enumerate(priced[: len(rates)])
                    if dimensions <= other["dimensions"].items()
                ),
                needed_by=() if key == "requests" else _needed_by(key, units),
            )
        )
    tiered = any(rate.tiers for rate in rates)
    directions = {unit["dimensions"].get("direction") for _, unit in priced}
    return Rates(
        origin=f"genai-prices {version}",
        provider=provider.id,
        model=model.id,
        rates=tuple(rates),
        needs_input=tiered or "input" in directions,
        needs_output="output" in directions,
    )


def _each(price: Decimal, unit: Mapping[str, Any]) -> Decimal:
    return EXACT.divide(price, Decimal(unit["per"]))


def _needed_by(key: str, units: Mapping[str, Mapping[str, Any]]) -> tuple[frozenset[str], ...]:
    wanted = dict(units[key]["dimensions"])
    needed: list[frozenset[str]] = []
    known = {name: dict(units[name]["dimensions"]) for name in sorted(KNOWN_COUNTS) if name in units and name != key}
    for name, dimensions in known.items():
        if wanted.items() <= dimensions.items():
            needed.append(frozenset((name,)))
        for other, more in known.items():
            # Two kinds that can be one token (cached and audio, not input and output) meet in the wanted one.
            overlap = name < other and all(more.get(axis, value) == value for axis, value in dimensions.items())
            nested = dimensions.items() <= more.items() or more.items() <= dimensions.items()
            if overlap and not nested and {**dimensions, **more} == wanted:
                needed.append(frozenset((name, other)))
    return tuple(needed)


class PriceList:
    """genai-prices with its models' rates remembered. Safe to share between threads."""

    def __init__(self) -> None:
        self._current: Callable[[], Any] | None = None
        self._snapshot: Any = None
        self._version = ""
        self._found: dict[tuple[str | None, ...], _Found | None] = {}

    def find(
        self,
        *,
        provider: str | None,
        model: str | None,
        model_requested: str | None,
        gateway: str | None,
        at: datetime,
        context: Mapping[str, str],
    ) -> tuple[Rates, str] | None:
        """The rates of a call and which name found them (`model` or `model_requested`); None: no price is known."""
        snapshot = (self._current or self._load())()
        if snapshot is not self._snapshot:
            # The application has updated the prices (genai_prices.UpdatePrices).
            self._snapshot, self._found = snapshot, {}
        key = (provider, model, model_requested, gateway)
        try:
            found = self._found[key]
        except KeyError:
            found = self._look_up(snapshot.providers, *key)
            while len(self._found) >= MAX_MODELS:
                self._found.pop(next(iter(self._found)), None)
            self._found[key] = found
        rates = found.rates(at, context) if found else None
        return (rates, found.origin) if rates and found else None

    def _load(self) -> Callable[[], Any]:
        from genai_prices import __version__, data_snapshot

        self._version = __version__
        current: Callable[[], Any] = data_snapshot.get_snapshot
        self._current = current
        return current

    def _look_up(
        self,
        providers: list[Provider],
        provider: str | None,
        model: str | None,
        model_requested: str | None,
        gateway: str | None,
    ) -> _Found | None:
        # Not through the snapshot's own search: it remembers every name it is asked for, without bound.
        for seat, name, origin in candidates(provider, model, model_requested, gateway):
            lowered = name.lower()
            if seat is None:
                home = next((one for one in providers if one.model_match and one.model_match.is_match(lowered)), None)
            else:
                home = next((one for one in providers if one.id == seat), None)
            info = home.find_model(lowered, all_providers=providers) if home else None
            if home and info:
                return _Found(home, info, origin, self._version)
        return None


_LIST = PriceList()


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

    A cost the provider itself reported stands in `rates` for comparison; it is never the amount. Usage that contradicts
    itself (more cached than input) has no honest price: genai-prices refuses it, so the amount is unknown, with the
    reason.

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
    details = usage.get("details") or {}
    reported = details.get("reported_cost_usd")
    extra: dict[str, Any] = {} if reported is None else {"reported_cost_usd": reported}
    if usage.get("source", "unknown") == "unknown":
        return _unknown("usage unknown", extra)
    if not model and not model_requested:
        return _unknown("no model name", extra)
    context = _context(details, service_tier)
    try:
        found = _LIST.find(
            provider=provider,
            model=model,
            model_requested=model_requested,
            gateway=details.get("gateway"),
            at=at,
            context=context,
        )
        if found is None:
            return _unknown("no price for this model", extra)
        rates, origin = found
        counts = counts_of(usage)
        if (rates.needs_input and "input_tokens" not in counts) or (
            rates.needs_output and "output_tokens" not in counts
        ):
            return _unknown("usage incomplete", extra)
        amount, prices, quantities = rates.charge(counts)
    except ValueError as error:
        return _unknown(f"usage contradicts itself: {error}", extra)
    applied: dict[str, Any] = {
        "source": rates.origin,
        "provider": rates.provider,
        "model": rates.model,
        "unit_prices": prices,
        "quantities": quantities,
    }
    if origin != "model":
        applied["found_by"] = origin
    if context:
        applied["context"] = context
    if extra:
        applied.update(extra)
    source = "estimated" if usage.get("source") == "estimated" else "computed"
    return {"amount": plain(amount), "source": source, "rates": applied}


def _unknown(reason: str, extra: dict[str, Any]) -> Cost:
    return {"amount": None, "source": "unknown", "rates": {"reason": reason, **extra}}


def _context(details: Mapping[str, Any], service_tier: str | None) -> dict[str, str]:
    """What selects a price variant: service tier, Anthropic's speed, and batches, which Anthropic calls a tier."""
    context: dict[str, str] = {}
    tier = service_tier or details.get("service_tier")
    if tier:
        context["service_tier"] = tier
        if tier == "batch":
            context["processing"] = "batch"
    speed = details.get("speed")
    if speed:
        context["speed"] = speed
    return context
