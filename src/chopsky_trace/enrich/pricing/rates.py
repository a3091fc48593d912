"""A model's prices, made ready to charge: what is charged apart from what, in whole numbers.

A price list, ours or the public one, is compiled once per model; a call is then some multiplications.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from chopsky_trace.records import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

EXACT = Context(prec=60)
"""Wide enough that no product or sum of ours is rounded."""
MAX_PLACES = 30
"""Digits after the point of the price of one unit. Only a price by the hour has more."""
NOISE = 10
"""How many of them are rounded away, where there are so many."""
MAX_PLANS = 256
"""Shapes of usage that a model's rates remember."""

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
APART = frozenset(
    (
        "input_audio_tokens",
        "output_audio_tokens",
        "output_image_tokens",
        "output_video_tokens",
        "web_searches",
        "social_searches",
        "storage_searches",
        "code_executions",
        "rerank_searches",
        "images_generated",
    )
)
"""What is never charged like text: without a rate of its own, a call that has some of it has no known price."""
_DETAILS = APART | frozenset(
    (
        "input_image_tokens",
        "input_video_tokens",
        "cache_audio_read_tokens",
        "cache_image_read_tokens",
        "cache_video_read_tokens",
        "output_citation_tokens",
    )
)
_SECONDS = ("audio_seconds", "input_audio_seconds")
KNOWN_COUNTS = frozenset((*(key for _, key in _FIELDS), *_DETAILS, *_SECONDS))
"""The usage keys that `counts_of` can give."""


class PriceError(ValueError):
    """Why the price of a call cannot be told."""


class Rate(NamedTuple):
    """The price of one billable unit."""

    usage_key: str
    price_key: str
    """Ends with its unit: `_mtok` USD per million tokens, `_kcount` per thousand."""
    each: int
    """USD for one, in units of `Rates.unit`."""
    shown: str
    """USD for as many as the price key says."""
    tiers: tuple[tuple[int, int, str], ...]
    """(input tokens, each, shown): above so many, the price holds for all; ascending."""
    parts: tuple[int, ...]
    """Indexes of the rates whose units are parts of this one; they are charged on their own."""
    needed_by: tuple[frozenset[str], ...]
    """If one of these sets is reported while this unit is not, its count cannot be told."""


class _Plan(NamedTuple):
    """The rates that matter where certain counts are reported."""

    rows: tuple[tuple[str, str, int, tuple[int, ...]], ...]
    """(usage key, price key, USD for one, indexes of its parts). Plain tuples: named ones are slow to take apart."""
    shown: dict[str, str]
    """Unit prices by price key."""
    tiers: tuple[tuple[tuple[int, int, str], ...], ...]
    below: float
    """Up to so many input tokens no tier matters."""


@dataclass(frozen=True)
class Rates:
    """All prices of one model at one time, ready to charge."""

    origin: str
    provider: str | None
    model: str
    rates: tuple[Rate, ...]
    places: int
    """How many digits after the point the rates' whole numbers stand for: 1 or more."""
    needs_input: bool
    needs_output: bool
    unpriced: frozenset[str]
    """Of APART what has no rate here."""
    uncounted: tuple[str, ...] = ()
    """Price keys whose unit (hours, characters, pages) no usage of a call says."""
    factor: str | None = None
    """What the listed prices were multiplied by."""
    once: frozenset[str] = frozenset()
    """What is charged once a call, however often it was used."""
    _plans: dict[tuple[str, ...], _Plan] = field(default_factory=dict[tuple[str, ...], "_Plan"])

    @cached_property
    def told(self) -> dict[str, Any]:
        """What to say of a price of the public list."""
        return {"source": self.origin, "provider": self.provider, "model": self.model}

    def charge(self, counts: Mapping[str, int]) -> tuple[str, dict[str, str], dict[str, int], int]:
        """(USD, the unit prices applied, the quantities they were applied to, above how many input tokens they hold).

        The two in the middle are by price key, and not to be changed.

        Raises:
            PriceError: the parts exceed their whole, or a count that decides the price is missing.
        """
        if self.once:
            counts = {key: min(count, 1) if key in self.once else count for key, count in counts.items()}
        keys = tuple(counts)
        plan = self._plans.get(keys)
        if plan is None:
            plan = self._planned(keys, counts)
        amount = 0
        quantities: dict[str, int] = {}
        own: list[int] = []
        for key, price_key, each, parts in plan.rows:
            # Only the request itself is not counted: it is one.
            count = counts.get(key, 1)
            for part in parts:
                count -= own[part]
            own.append(count)
            if count > 0:
                amount += each * count
                quantities[price_key] = count
        size = counts.get("input_tokens", 0)
        if len(quantities) == len(own) > 0 and size <= plan.below:
            return self._money(amount), plan.shown, quantities, 0
        return self._charge_each(plan, own, size, counts)

    def _charge_each(
        self, plan: _Plan, own: list[int], size: int, counts: Mapping[str, int]
    ) -> tuple[str, dict[str, str], dict[str, int], int]:
        """As `charge`, where something was not used at all, or the call is so long that its price is another."""
        amount = above = 0
        prices: dict[str, str] = {}
        quantities: dict[str, int] = {}
        for count, (key, price_key, each, _), tiers in zip(own, plan.rows, plan.tiers, strict=True):
            if count < 0:
                raise PriceError(f"usage contradicts itself: the parts of {key} exceed it")
            if count:
                shown = plan.shown[price_key]
                for start, tier_each, tier_shown in tiers:
                    if size <= start:
                        break
                    above, each, shown = start, tier_each, tier_shown
                amount += each * count
                prices[price_key] = shown
                quantities[price_key] = count
        if not quantities:
            self._check_nothing(counts)
        return self._money(amount), prices, quantities, above

    def _money(self, amount: int) -> str:
        """The amount with its point where it belongs."""
        places = self.places
        if places == MAX_PLACES:
            # A price by the hour is not exact by the second: its last digits are noise.
            places -= NOISE
            amount = (amount + 5 * 10 ** (NOISE - 1)) // 10**NOISE
        digits = str(amount).rjust(places + 1, "0")
        return (digits[:-places] + "." + digits[-places:]).rstrip("0").rstrip(".")

    def _planned(self, keys: tuple[str, ...], counts: Mapping[str, int]) -> _Plan:
        """The rates that matter where these are the counts; usage comes in few shapes.

        Raises:
            PriceError: a count that decides the price is missing.
        """
        if (self.needs_input and "input_tokens" not in counts) or (self.needs_output and "output_tokens" not in counts):
            raise PriceError("usage incomplete")
        for key in sorted(self.unpriced.intersection(keys)):
            if counts[key]:
                raise PriceError(f"no price for {key.replace('_', ' ')}")
        told = {"requests", *keys}
        lacking = [rate for rate in self.rates if rate.usage_key not in told]
        for rate in lacking:
            _check_missing(rate, counts)
        kept = [index for index, rate in enumerate(self.rates) if rate.usage_key in told]
        rates = [self.rates[index] for index in kept]
        parts = [tuple([kept.index(part) for part in rate.parts if part in kept]) for rate in rates]
        plan = _Plan(
            rows=tuple(
                [(rate.usage_key, rate.price_key, rate.each, within) for rate, within in zip(rates, parts, strict=True)]
            ),
            shown={rate.price_key: rate.shown for rate in rates},
            tiers=tuple([rate.tiers for rate in rates]),
            below=min((rate.tiers[0][0] for rate in rates if rate.tiers), default=float("inf")),
        )
        # Where a count that is 0 now would matter if it were not, each call is looked at.
        decided = self.unpriced.isdisjoint(keys) and not any(
            needed <= told for rate in lacking for needed in rate.needed_by
        )
        if decided and len(self._plans) < MAX_PLANS:
            self._plans[keys] = plan
        return plan

    def _check_nothing(self, counts: Mapping[str, int]) -> None:
        """A call of no tokens costs nothing; one of which nobody told what it is charged by has no known price."""
        keys = [rate.usage_key for rate in self.rates]
        if (keys or self.uncounted) and not any(key in counts for key in keys):
            raise PriceError(f"usage incomplete: the price is by {', '.join(sorted([*self.uncounted, *keys]))}")


def _check_missing(rate: Rate, counts: Mapping[str, int]) -> None:
    for keys in rate.needed_by:
        if all(counts.get(key) for key in keys):
            raise PriceError(
                f"usage contradicts itself: {rate.usage_key} is not reported, but {' and '.join(sorted(keys))}"
            )


def plain(amount: Decimal) -> str:
    """A decimal without exponent or trailing zeros."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def counts_of(usage: Usage) -> dict[str, int]:
    """Usage as genai-prices' keys. Where the provider says what it billed (Cohere), that is what is charged."""
    get = cast("Mapping[str, Any]", usage).get
    counts: dict[str, int] = {}
    # A comprehension would take half as long again.
    for name, key in _FIELDS:
        count = get(name)
        if count is not None:
            counts[key] = count
    details = get("details")
    if details:
        _add_details(counts, details)
    return counts


def _add_details(counts: dict[str, int], details: Mapping[str, Any]) -> None:
    for key, count in details.items():
        if key in _DETAILS:
            counts[key] = count
    seconds = details.get("prompt_audio_seconds")
    if seconds:
        # Mistral's: what it hears is billed by time, and is none of its tokens.
        for key in _SECONDS:
            counts[key] = seconds
    steps = details.get("iterations")
    if steps:
        # A call that compacted its conversation: the steps are billed, the whole leaves some of them out.
        for name, key in _FIELDS:
            if any(name in step for step in steps):
                counts[key] = sum(step.get(name, 0) for step in steps)
    else:
        for key in ("input_tokens", "output_tokens"):
            billed = details.get("billed_" + key)
            if billed is not None and billed <= counts.get(key, billed):
                counts[key] = billed
    if details.get("cache_text_read_tokens") == counts.get("cache_read_tokens", 0):
        # All that was cached is text.
        for key in ("cache_audio_read_tokens", "cache_image_read_tokens", "cache_video_read_tokens"):
            counts.setdefault(key, 0)


def units() -> Mapping[str, Mapping[str, Any]]:
    """genai-prices' units by usage key."""
    from genai_prices.data_units import unit_data

    return cast("Mapping[str, Mapping[str, Any]]", unit_data)


def stored(prices: ModelPrice) -> dict[str, Any]:
    """The prices by price key; decimals, or with tiers."""
    return {key: value for key, value in vars(prices).items() if value is not None and not key.startswith("_")}


def compiled(
    prices: ModelPrice,
    *,
    origin: str,
    provider: str | None,
    model: str,
    factor: Decimal | None = None,
    as_text: frozenset[str] = frozenset(),
    once: frozenset[str] = frozenset(),
) -> Rates:
    """Prices of a model, ready to charge.

    Args:
        prices: as genai-prices has them.
        factor: what is charged by the token costs so many times its price.
        as_text: of APART what costs as much as text here.
        once: what is charged once a call.

    Raises:
        ValueError: the prices do not fit together.
    """
    from genai_prices import Usage as PricedUsage

    # Lets genai-prices check that the prices fit together.
    prices.calc_price(PricedUsage())
    values, known = stored(prices), units()
    priced = [
        (key, unit)
        for key, unit in known.items()
        if unit.get("price_key", key) in values and (key == "requests" or is_charged(key, known))
    ]
    priced.sort(key=lambda item: (-len(item[1]["dimensions"]), item[0]))
    each = {key: _each(values[unit.get("price_key", key)], unit, factor) for key, unit in priced}
    places = max((-_exponent(price) for listed in each.values() for _, price, _ in listed), default=1) or 1
    rates: list[Rate] = []
    for key, unit in priced:
        dimensions = unit["dimensions"].items()
        scaled = [(start, int(price.scaleb(places, EXACT)), shown) for start, price, shown in each[key]]
        rates.append(
            Rate(
                usage_key=key,
                price_key=unit.get("price_key", key),
                each=scaled[0][1],
                shown=scaled[0][2],
                tiers=tuple(scaled[1:]),
                parts=tuple(
                    index
                    for index, (_, other) in enumerate(priced[: len(rates)])
                    if dimensions <= other["dimensions"].items()
                ),
                needed_by=() if key == "requests" else _needed_by(key, known),
            )
        )
    directions = {unit["dimensions"].get("direction") for _, unit in priced if unit["dimensions"]["family"] == "tokens"}
    return Rates(
        origin=origin,
        provider=provider,
        model=model,
        rates=tuple(rates),
        places=places,
        needs_input=any(rate.tiers for rate in rates) or "input" in directions,
        needs_output="output" in directions,
        unpriced=APART - as_text - {key for key, _ in priced},
        uncounted=tuple(sorted(values.keys() - {unit.get("price_key", key) for key, unit in priced})),
        factor=None if factor is None else plain(factor),
        once=once,
    )


def _each(value: Any, unit: Mapping[str, Any], factor: Decimal | None) -> list[tuple[int, Decimal, str]]:
    """(above so many input tokens, USD for one, USD as listed), the base first."""
    base = value if isinstance(value, Decimal) else value.base
    tiers = [] if isinstance(value, Decimal) else [(tier.start, tier.price) for tier in value.tiers]
    of_tokens = factor is not None and unit["dimensions"]["family"] == "tokens"
    times = factor if of_tokens and factor is not None else Decimal(1)
    one = Decimal(unit["per"])
    return [
        (start, EXACT.divide(EXACT.multiply(price, times), one), plain(EXACT.multiply(price, times)))
        for start, price in [(0, base), *tiers]
    ]


def _exponent(price: Decimal) -> int:
    """Of its last digit that counts: 0 or less."""
    exponent = price.normalize(EXACT).as_tuple().exponent
    return max(-MAX_PLACES, min(0, exponent)) if isinstance(exponent, int) else 0


def is_charged(key: str, known: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a unit can be counted, or is where two that can be counted meet."""
    return key in KNOWN_COUNTS or bool(_needed_by(key, known))


def _needed_by(key: str, known: Mapping[str, Mapping[str, Any]]) -> tuple[frozenset[str], ...]:
    wanted = dict(known[key]["dimensions"])
    needed: list[frozenset[str]] = []
    counted = {name: dict(known[name]["dimensions"]) for name in sorted(KNOWN_COUNTS) if name in known and name != key}
    for name, dimensions in counted.items():
        if wanted.items() <= dimensions.items():
            needed.append(frozenset((name,)))
        for other, more in counted.items():
            # Two kinds that can be one token (cached and audio, not input and output) meet in the wanted one.
            overlap = name < other and all(more.get(axis, value) == value for axis, value in dimensions.items())
            nested = dimensions.items() <= more.items() or more.items() <= dimensions.items()
            if overlap and not nested and {**dimensions, **more} == wanted:
                needed.append(frozenset((name, other)))
    return tuple(needed)
