"""The team's own prices, from the table `model_prices`: they go before the public price list.

Of the rows that hold for a call, the first in this order is applied: one of its tenant before one for all; an exact
name before a pattern; one that names the provider before one for any; the name as reported before a part of it; the
latest `valid_from`; the lowest id. No two rows are equal in it, so the order in which they are read does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

from chopsky_trace.enrich.pricing.model_names import names_of, provider_id
from chopsky_trace.enrich.pricing.patterns import Pattern
from chopsky_trace.enrich.pricing.price_list import STANDARD
from chopsky_trace.enrich.pricing.rates import PriceError, Rates, compiled, is_charged, units

MAX_NAMES = 4_096
"""Calls' names whose rows are remembered at once; beyond it the oldest are forgotten."""
MAX_MATCHED = 256
"""A longer name is matched by no pattern."""

RATE_COLUMNS = (
    "input_mtok",
    "output_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_5m_mtok",
    "cache_write_1h_mtok",
)
"""Columns that are prices, by genai-prices' key. Further keys are in `other_rates`."""
FACTORS = {"flex": "flex_factor", "priority": "priority_factor", "batch": "batch_factor"}
"""Service tier -> the column of what it multiplies the prices of tokens by."""
_WITHIN = (
    ("cache_read_mtok", "input_mtok"),
    ("cache_write_mtok", "input_mtok"),
    ("cache_write_5m_mtok", "cache_write_mtok"),
    ("cache_write_1h_mtok", "cache_write_mtok"),
)
_LACKING = re.compile(r"Missing \w+ price for (.+): (\w+)")
"""How genai-prices says that prices do not fit together."""
ABOVE = "above_input_tokens"
"""Of a tier: its prices hold for the whole call above so many input tokens."""

Row = Mapping[str, Any]


@lru_cache(1)
def other_keys() -> list[str]:
    """The price keys that `other_rates` may have."""
    known = units()
    keys = {str(unit.get("price_key", key)) for key, unit in known.items() if is_charged(key, known)}
    # For the request there is a column.
    return sorted(keys.difference((*RATE_COLUMNS, "requests_kcount")))


def rates_of(row: Row, *, origin: str, factor: Decimal | None = None) -> Rates:
    """A row's prices, ready to charge.

    Raises:
        ValueError: they do not fit together, and why.
    """
    from genai_prices.types import ModelPrice, Tier, TieredPrices

    values: dict[str, Any] = {key: row[key] for key in RATE_COLUMNS if row.get(key) is not None}
    allowed = other_keys()
    others = cast("Mapping[str, Any]", row.get("other_rates") or {})
    for key, value in others.items():
        if key not in allowed:
            raise ValueError(f"{str(key)[:60]} is no price key for other_rates; these are: {', '.join(allowed)}")
        values[key] = value
    values = {key: Decimal(value) for key, value in values.items()}
    for key, found in _tiers(row, values).items():
        values[key] = TieredPrices(base=values[key], tiers=[Tier(start=above, price=price) for above, price in found])
    if row.get("request_usd") is not None:
        values["requests_kcount"] = Decimal(row["request_usd"]) * 1000
    for part, whole in _WITHIN:
        if part in values and whole not in values:
            raise ValueError(f"{part} needs {whole} beside it: what is not {part} is charged so")
    model = row["model"] or row["model_pattern"]
    try:
        return compiled(ModelPrice(**values), origin=origin, provider=row["provider"], model=model, factor=factor)
    except ValueError as error:
        lacking = _LACKING.search(str(error))
        if lacking is None:
            raise
        raise ValueError(f"a price of {lacking[1]} needs one of {lacking[2]} beside it, in other_rates") from None


def _tiers(row: Row, values: Mapping[str, Any]) -> dict[str, list[tuple[int, Decimal]]]:
    """(above so many input tokens, price) by price key."""
    tiers: dict[str, list[tuple[int, Decimal]]] = {}
    last = 0
    for entry in cast("Sequence[Mapping[str, Any]]", row.get("tiers") or ()):
        above = int(entry[ABOVE])
        if above <= last:
            raise ValueError(f"each tier's {ABOVE} is above the last one's, and above 0")
        last = above
        for key, value in entry.items():
            if key != ABOVE:
                if key not in values:
                    raise ValueError(f"a tier has {str(key)[:60]}, which has no price below it")
                tiers.setdefault(key, []).append((above, Decimal(value)))
    return tiers


class _Override:
    """One row, its prices made ready when a call first needs them."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self.row_id = str(row["id"])
        self.origin = f"model_prices {self.row_id}"
        self.tenant: str | None = row["tenant_id"]
        provider: str | None = row["provider"]
        self.seat = None if provider is None else provider_id(provider) or provider.strip().lower()
        self.model = None if row["model"] is None else str(row["model"]).strip().lower()
        self.pattern = None if self.model is not None else Pattern(row["model_pattern"])
        self.since: datetime | None = row["valid_from"]
        self.until: datetime | None = row["valid_until"]
        self._kept: dict[str | None, Rates | str] = {}

    def rank(self, place: int) -> tuple[bool, bool, bool, int, float, str]:
        """Where it stands among those that hold for a call, whose names' `place`th is its own; lowest first."""
        age = float("inf") if self.since is None else -self.since.timestamp()
        return self.tenant is None, self.pattern is not None, self.seat is None, place, age, self.row_id

    def place(self, names: Sequence[tuple[str | None, str]]) -> int | None:
        """Which of a call's names is this row's."""
        for place, (seat, name) in enumerate(names):
            if self.seat is not None and seat != self.seat:
                continue
            if self.pattern is None:
                matched = name == self.model
            else:
                matched = len(name) <= MAX_MATCHED and self.pattern.matches(name)
            if matched:
                return place
        return None

    def rates(self, tier: str | None) -> Rates:
        """The prices of a service tier.

        Raises:
            PriceError: the row does not say what this tier costs, or says nothing that fits together.
        """
        try:
            kept = self._kept[tier]
        except KeyError:
            kept = self._made(tier)
            if len(self._kept) < len(FACTORS) + len(STANDARD):
                self._kept[tier] = kept
        if isinstance(kept, str):
            raise PriceError(f"{self.origin}: {kept}")
        return kept

    def _made(self, tier: str | None) -> Rates | str:
        factor = None
        if tier and tier not in STANDARD:
            column = FACTORS.get(tier)
            factor = self._row.get(column) if column else None
            if factor is None:
                return f"it has no {column}" if column else f"it has no price for the service tier {tier[:40]}"
        try:
            return rates_of(self._row, origin=self.origin, factor=factor)
        except (ValueError, TypeError, ArithmeticError, KeyError) as error:
            return str(error) or type(error).__name__


class Overrides:
    """The rows of `model_prices`, ready to be asked. Safe to share between threads."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.unusable: dict[str, str] = {}
        """Ids of rows that are not applied, because their pattern cannot be read; and why."""
        self._exact: dict[str, list[_Override]] = {}
        self._patterns: list[_Override] = []
        self._tenants: set[str | None] = set()
        self._count = 0
        self._found: dict[tuple[str | None, ...], tuple[_Override, ...]] = {}
        for row in rows:
            try:
                made = _Override(row)
            except ValueError as error:
                self.unusable[str(row["id"])] = str(error)
                continue
            self._count += 1
            self._tenants.add(made.tenant)
            (self._patterns if made.model is None else self._exact.setdefault(made.model, [])).append(made)

    @classmethod
    def from_rows(cls, rows: Iterable[Row]) -> Overrides:
        """From rows as `database.prices.read_overrides` gives them, in any order."""
        return cls(rows)

    def __len__(self) -> int:
        return self._count

    def find(
        self,
        tenant_id: str | None,
        provider: str | None,
        model: str | None,
        model_requested: str | None,
        gateway: str | None,
        at: datetime,
        tier: str | None,
    ) -> tuple[Rates, dict[str, Any]] | None:
        """The rates of the row that holds for a call, and what to say of their origin; None: no row does.

        Raises:
            PriceError: the row has no price for this service tier, or none that fits together.
        """
        key = (tenant_id if tenant_id in self._tenants else None, provider, model, model_requested, gateway)
        found = self._found.get(key)
        if found is None:
            found = self._look_up(*key)
            while len(self._found) >= MAX_NAMES:
                self._found.pop(next(iter(self._found)), None)
            self._found[key] = found
        for one in found:
            if (one.since is None or one.since <= at) and (one.until is None or at < one.until):
                rates = one.rates(tier)
                said: dict[str, Any] = {"source": one.origin, "model": rates.model}
                if rates.provider is not None:
                    said["provider"] = rates.provider
                if rates.factor is not None:
                    said["factor"] = {tier: rates.factor}
                return rates, said
        return None

    def _look_up(
        self,
        tenant_id: str | None,
        provider: str | None,
        model: str | None,
        model_requested: str | None,
        gateway: str | None,
    ) -> tuple[_Override, ...]:
        names = names_of(provider, model, model_requested, gateway)
        possible = {id(one): one for _, name in names for one in self._exact.get(name, ())}
        ranked = [
            (one.rank(place), one)
            for one in [*possible.values(), *self._patterns]
            if one.tenant in (None, tenant_id) and (place := one.place(names)) is not None
        ]
        return tuple([one for _, one in sorted(ranked, key=lambda pair: pair[0])])
