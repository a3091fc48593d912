"""The public price list, genai-prices: found by the names frameworks report, resolved once per model."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, cast

from chopsky_trace.enrich.pricing.doubts import days_of, doubt
from chopsky_trace.enrich.pricing.model_names import candidates, provider_id
from chopsky_trace.enrich.pricing.rates import PriceError, Rates, compiled, stored

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

MAX_MODELS = 4_096
"""Names (of models found, or not) remembered at once; beyond it the oldest are forgotten."""
MAX_CONTEXTS = 64
"""Service tiers and speeds remembered of a model."""

STANDARD = frozenset(("default", "standard", "auto", "on_demand", "on-demand", "ondemand", "serverless"))
"""Service tiers and speeds that cost the ordinary price. Any other has a price only where the list says so."""
SAME_TIERS = frozenset((("groq", "flex"),))
"""(provider, tier) that cost the ordinary price by the provider's own word."""

Pairs = tuple[tuple[str, str], ...]

GROUNDED = frozenset(("web_searches",))


class _Found:
    """A model of the price list, with its rates by time and tier."""

    def __init__(self, provider: Provider, model: ModelInfo, name: str, origin: str, version: str) -> None:
        self.origin = origin
        self.only: tuple[Rates, str, Pairs] | None = None
        """The rates of a call of no particular tier, where they are the same at any time."""
        self._name = name
        self._provider, self._model, self._version = provider, model, version
        # As in genai-prices: another provider's model, borrowed, has no tiers here.
        owned = any(model is one for one in provider.models)
        self._variants = variants = (model.price_variants or []) if owned else []
        self._pairs: dict[tuple[str | None, str | None], Pairs] = {}
        self._kept: dict[Any, Rates | str | None] = {}
        self._dates: list[date] = days_of(provider.id, name)
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

    def rates(self, at: datetime, tier: str | None, speed: str | None) -> tuple[Rates | None, Pairs]:
        """The rates at a time, and what of the call selected them; None where the list has no price for the model.

        Raises:
            PriceError: the list does not know what this tier costs.
        """
        pairs = self._chosen(tier, speed) if tier or speed else ()
        if self._dates or self._times:
            moment = at if at.tzinfo is UTC else at.astimezone(UTC)
            key = bisect_right(self._dates, moment.date()), bisect_right(self._times, moment.time()), pairs
        else:
            key = pairs
        try:
            rates = self._kept[key]
        except KeyError:
            rates = self._compile(at, pairs)
            if self._stable:
                self._kept[key] = rates
                if key == () and isinstance(rates, Rates):
                    self.only = (rates, self.origin, ())
        if rates.__class__ is str:
            raise PriceError(rates)
        return cast("Rates | None", rates), pairs

    def _compile(self, at: datetime, pairs: Pairs) -> Rates | str | None:
        context = dict(pairs)
        for name, value in pairs:
            # The tier had a price, but not then.
            if self._is_special(value) and not any(
                (name, value) in variant.when.items()
                and variant.when.items() <= context.items()
                and (variant.constraint is None or variant.constraint.active(at))
                for variant in self._variants
            ):
                return _no_tier(name, value)
        prices = self._model.get_prices(at, context or None)
        doubted = doubt(self._provider.id, self._name, at, stored(prices))
        if doubted is not None:
            return doubted
        if not stored(prices) and not self._model.id.endswith(":free"):
            # An empty price is a gap in the list, not a gift, unless the name says so.
            return None
        provider, model = self._provider.id, self._model.id
        origin = f"genai-prices {self._version}"
        return compiled(
            prices,
            origin=origin,
            provider=provider,
            model=model,
            as_text=_as_text(provider, model),
            once=_once(provider, model),
        )

    def _chosen(self, tier: str | None, speed: str | None) -> Pairs:
        """What of a tier and a speed the list has prices for.

        Raises:
            PriceError: it does not know one that is not the ordinary.
        """
        known = self._pairs.get((tier, speed))
        if known is not None:
            return known
        context = {name: value for name, value in (("service_tier", tier), ("speed", speed)) if value}
        if tier == "batch":
            # Anthropic calls batches a tier.
            context["processing"] = "batch"
        listed = {pair for variant in self._variants for pair in variant.when.items()}
        chosen = tuple(sorted(pair for pair in context.items() if pair in listed))
        for name, value in context.items():
            batched = value == "batch" and ("processing", "batch") in chosen
            if self._is_special(value) and (name, value) not in chosen and not batched:
                raise PriceError(_no_tier(name, value))
        if len(self._pairs) < MAX_CONTEXTS:
            self._pairs[tier, speed] = chosen
        return chosen

    def _is_special(self, value: str) -> bool:
        return value not in STANDARD and (self._provider.id, value) not in SAME_TIERS


def _no_tier(name: str, value: str) -> str:
    return f"no price for the {'speed' if name == 'speed' else 'service tier'} {value[:40]}"


def _once(provider: str, model: str) -> frozenset[str]:
    """Google's Gemini before 3 is charged for the grounded prompt, not for each search; from 3 on for each."""
    return GROUNDED if provider == "google" and model.startswith(("gemini-1", "gemini-2")) else frozenset()


def _as_text(provider: str, model: str) -> frozenset[str]:
    """What of a call costs as much as text, although the list does not say so: where a page has one price for all, or
    a model puts out nothing else."""
    same: set[str] = set()
    # Its audio had another price, which the list lacks.
    if provider == "google" and model != "gemini-2.5-flash-preview":
        same.add("input_audio_tokens")
    if provider in ("google", "openai") and "-tts" in model:
        same.add("output_audio_tokens")
    if provider == "openai" and model.startswith("gpt-image-"):
        same.add("output_image_tokens")
    return frozenset(same)


def _utc(value: time) -> time:
    if value.tzinfo is None:
        return value
    return datetime.combine(date(1970, 1, 1), value).astimezone(UTC).time()


class PriceList:
    """genai-prices with its models' rates remembered. Safe to share between threads."""

    def __init__(self) -> None:
        self._current: Callable[[], Any] | None = None
        self._snapshot: Any = None
        self._version = ""
        self._found: dict[tuple[str | None, ...], _Found | None] = {}

    def find(
        self,
        provider: str | None,
        model: str | None,
        model_requested: str | None,
        gateway: str | None,
        at: datetime,
        tier: str | None = None,
        speed: str | None = None,
    ) -> tuple[Rates, str, Pairs] | None:
        """The rates of a call, which name found them (`model` or `model_requested`) and what else selected them.

        None: the list has no price for the model.

        Raises:
            PriceError: the list does not know what this service tier costs.
        """
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
        if found is None:
            return None
        if found.only is not None and tier is None and speed is None:
            return found.only
        rates, pairs = found.rates(at, tier, speed)
        return (rates, found.origin, pairs) if rates else None

    def names(self, provider: str | None) -> list[str]:
        """The names of a provider's models (None: of all), to find the nearest to one that is not known."""
        seat = provider_id(provider)
        known = (self._current or self._load())().providers
        chosen = [one for one in known if one.id == seat] or list(known)
        return sorted({model.id for one in chosen for model in one.models})

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
                return _Found(home, info, lowered, origin, self._version)
        return None


PRICE_LIST = PriceList()
