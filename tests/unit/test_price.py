"""Prices: what genai_prices says, at the call's time, or unknown; never a float."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any

import pytest
from genai_prices import Usage as PricedUsage
from genai_prices import calc_price, data_snapshot
from genai_prices.types import ModelPrice
from hypothesis import given, settings
from hypothesis import strategies as st

from chopsky_trace.enrich.pricing import price as module
from chopsky_trace.enrich.pricing import price_list
from chopsky_trace.enrich.pricing.price import price
from chopsky_trace.enrich.pricing.price_list import MAX_MODELS, PriceList
from chopsky_trace.enrich.pricing.rates import APART, counts_of
from chopsky_trace.records import Cost, Usage

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
SNAPSHOT = data_snapshot.get_snapshot()
# Some ids (`ft:gpt-4o-mini`) are no name of a model, only the beginning of such.
MODELS = [
    (provider.id, model.id)
    for provider in SNAPSHOT.providers
    for model in provider.models
    if provider.find_model(model.id)
]
KNOWN = frozenset(MODELS)
# Those whose price depends on the time, the size or the tier, so that each is met often.
SPECIAL = [
    (provider.id, model.id)
    for provider in SNAPSHOT.providers
    for model in provider.models
    if (provider.id, model.id) in KNOWN
    and (
        isinstance(model.prices, list)
        or model.price_variants
        or any(hasattr(value, "tiers") for value in vars(model.prices).values())
    )
]


def usage_of(whole: int | None = 1_000, output: int | None = 100, **more: Any) -> Usage:
    return {"input_tokens": whole, "output_tokens": output, "source": "reported", **more}  # pyright: ignore[reportReturnType]


def cost_of(
    provider: str | None,
    model: str | None,
    usage: Usage | None = None,
    *,
    requested: str | None = None,
    at: datetime = AT,
    cached: bool = False,
    tier: str | None = None,
) -> Cost:
    return price(
        usage or usage_of(),
        provider=provider,
        model=model,
        model_requested=requested,
        at=at,
        cached=cached,
        service_tier=tier,
    )


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    whole, output = draw(st.integers(0, 2_000_000)), draw(st.integers(0, 200_000))
    usage: dict[str, Any] = {"input_tokens": whole, "output_tokens": output, "source": "reported"}
    details: dict[str, int] = {}
    # Sometimes more than the whole: genai_prices then refuses, and so must we.
    part = st.integers(0, max(whole // 2, 1))
    if draw(st.booleans()):
        usage["cache_read_tokens"] = draw(part)
    if draw(st.booleans()):
        short, long = draw(part), draw(part)
        usage |= {"cache_write_tokens": short + long, "cache_write_5m_tokens": short, "cache_write_1h_tokens": long}
    if draw(st.booleans()):
        usage["reasoning_tokens"] = draw(st.integers(0, output))
    for name in (
        "input_audio_tokens",
        "output_audio_tokens",
        "input_image_tokens",
        "cache_audio_read_tokens",
        "web_searches",
    ):
        if draw(st.integers(0, 3)) == 0:
            details[name] = draw(st.integers(0, max(whole // 3, 1)))
    if details:
        usage["details"] = details
    return usage  # pyright: ignore[reportReturnType]


# Hypothesis wants bounds without a zone.
TIMES = st.datetimes(AT.replace(tzinfo=None, year=2023), AT.replace(tzinfo=None, year=2027))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(MODELS) | st.sampled_from(SPECIAL),
    usages(),
    TIMES,
    st.sampled_from([None, "default", "priority", "flex", "batch", "on_demand"]),
    st.integers(-12, 12),
)
def test_the_amount_is_genai_prices_own(
    named: tuple[str, str], usage: Usage, at: datetime, tier: str | None, zone: int
) -> None:
    provider, model = named
    at = at.replace(tzinfo=timezone(timedelta(hours=zone)))
    context = {"service_tier": tier, **({"processing": "batch"} if tier == "batch" else {})} if tier else None
    found = SNAPSHOT.find_provider_model(model, None, provider, None)[1]
    cost = cost_of(provider, model, usage, at=at, tier=tier)
    with warnings.catch_warnings(), localcontext() as wide:
        warnings.simplefilter("ignore")
        wide.prec = 60
        try:
            expected = calc_price(
                PricedUsage(**counts_of(usage)),
                model,
                provider_id=provider,
                genai_request_timestamp=at,
                price_context=context,
            )
        except ValueError:
            assert cost["amount"] is None
            return
    listed = {key: value for key, value in vars(expected.model_price).items() if value is not None}
    if not listed and not found.id.endswith(":free"):
        assert cost["amount"] is None
        return
    if cost["amount"] is None:
        assert_rightly_unknown(cost, usage, tier, listed, found.get_prices(at))
        return
    assert Decimal(cost["amount"]) == expected.total_price
    assert cost["source"] == "computed"
    assert cost["rates"] is not None
    assert (cost["rates"]["provider"], cost["rates"]["model"]) == (expected.provider.id, expected.model.id)
    per = {"mtok": 1_000_000, "kcount": 1_000}
    prices, quantities = cost["rates"]["unit_prices"], cost["rates"]["quantities"]
    with localcontext() as wide:
        wide.prec = 60
        assert (
            sum(Decimal(prices[key]) * quantities[key] / per[key.rpartition("_")[2]] for key in prices)
            == expected.total_price
        )


def assert_rightly_unknown(
    cost: Cost, usage: Usage, tier: str | None, listed: dict[str, Any], ordinary: ModelPrice
) -> None:
    """genai_prices has an amount, and it would be wrong."""
    assert cost["rates"] is not None
    reason = cost["rates"]["reason"]
    if reason.startswith("the public price is wrong"):
        return  # Each has a case of its own.
    if reason.startswith("no price for the request"):
        assert "requests_kcount" in listed
    elif reason.startswith("usage incomplete"):
        assert not any(key.endswith("_mtok") for key in listed)
    elif reason.startswith("no price for the service tier"):
        assert tier in ("priority", "flex", "batch")
        assert listed == {key: value for key, value in vars(ordinary).items() if value is not None}
    else:
        key = reason.removeprefix("no price for ").replace(" ", "_")
        assert key in APART
        assert usage.get("details", {})[key] > 0
        assert not any(one.startswith(key.replace("_tokens", "_mtok")) for one in listed)


@pytest.mark.parametrize(
    ("provider", "model", "requested", "expected"),
    [
        ("openai", "gpt-4o-2024-08-06", "gpt-4o", ("openai", "gpt-4o")),
        ("openai", "gpt-4o-mini-2024-07-18", None, ("openai", "gpt-4o-mini")),
        ("openai", None, "gpt-4o-mini", ("openai", "gpt-4o-mini")),
        ("openai", "ft:gpt-4o-2024-08-06:org::abc", None, ("openai", "ft:gpt-4o")),
        ("openai", "openai/gpt-4o", None, ("openai", "gpt-4o")),
        ("openai", "anthropic/claude-haiku-4.5", None, ("anthropic", "claude-haiku-4-5")),
        ("openai", "anthropic/claude-haiku-4.5anthropic/claude-haiku-4.5", None, ("anthropic", "claude-haiku-4-5")),
        ("openrouter", "anthropic/claude-haiku-4.5", None, ("openrouter", "anthropic/claude-haiku-4.5")),
        ("azure", "gpt-35-turbo", "my-deployment", ("azure", "gpt-3.5-turbo")),
        ("azure_openai", "gpt-4o-2024-08-06", "my-deployment", ("openai", "gpt-4o")),
        ("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("google_genai", "models/gemini-2.5-flash", None, ("google", "gemini-2.5-flash")),
        ("google_vertexai", "publishers/google/models/gemini-2.5-flash", None, ("google", "gemini-2.5-flash")),
        ("google_vertexai", "claude-sonnet-4-5@20250929", None, ("google", "claude-sonnet-4-5")),
        (
            "amazon_bedrock",
            "us.anthropic.claude-3-7-sonnet-20250219-v1%3A0",
            None,
            ("aws", "regional.anthropic.claude-3-7-sonnet-20250219-v1:0"),
        ),
        (
            "bedrock_converse",
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-3-7-sonnet-20250219-v1:0",
            None,
            ("aws", "regional.anthropic.claude-3-7-sonnet-20250219-v1:0"),
        ),
        ("groq", "openai/gpt-oss-120b", None, ("groq", "openai/gpt-oss-120b")),
        ("litellm", "groq/openai/gpt-oss-120b", None, ("groq", "openai/gpt-oss-120b")),
        ("litellm", "gpt-4o", None, ("openai", "gpt-4o")),
        (None, "claude-sonnet-4-5", None, ("anthropic", "claude-sonnet-4-5")),
        ("mistralai", "mistral-tiny", None, ("mistral", "mistral-tiny")),
        ("xai", "grok-4.3", None, ("x-ai", "grok-4.3")),
    ],
)
def test_names(provider: str | None, model: str | None, requested: str | None, expected: tuple[str, str]) -> None:
    rates = cost_of(provider, model, requested=requested)["rates"]
    assert rates is not None
    assert (rates.get("provider"), rates.get("model")) == expected or (
        provider == "azure_openai" and rates.get("provider") == "azure" and rates.get("model") == expected[1]
    )


@pytest.mark.parametrize(
    ("provider", "model", "requested"),
    [
        ("openai", "gpt-99-turbo", None),
        ("openai", "gpt-99-turbo", "gpt-4o"),
        ("ollama", "llama3.2", None),
        ("ollama", "gpt-4o", None),
        ("huggingface", "meta-llama/Llama-3.3-70B-Instruct", None),
        ("openai", "meta-llama/Llama-3.3-70B-Instruct", None),
        ("azure", "my-gpt4o-deployment", None),
        ("amazon_bedrock", "arn:aws:bedrock:us-east-1:1:application-inference-profile/abcd", None),
        ("my-openai-proxy", "gpt-4o", None),
        ("openai", "", None),
        (None, None, None),
        ("openai", "x" * 10_000, None),
        ("openai", "gpt-4o\x00", None),
        ("google", "gemma-3", None),
    ],
)
def test_unknown_stays_unknown(provider: str | None, model: str | None, requested: str | None) -> None:
    cost = cost_of(provider, model, requested=requested)
    assert (cost["amount"], cost["source"]) == (None, "unknown")
    assert cost["rates"] is not None
    assert cost["rates"]["reason"]


def test_the_time_of_the_call_decides() -> None:
    old, new = (cost_of("openai", "o3", at=datetime(2025, month, 1, tzinfo=UTC)) for month in (5, 7))
    assert old["rates"] is not None
    assert new["rates"] is not None
    assert (old["rates"]["unit_prices"]["input_mtok"], new["rates"]["unit_prices"]["input_mtok"]) == ("10", "2")


def test_the_size_and_the_tier_of_the_call_decide() -> None:
    small, large = (cost_of("anthropic", "claude-sonnet-4-5", usage_of(size)) for size in (200_000, 200_001))
    assert small["rates"] is not None
    assert large["rates"] is not None
    assert (small["rates"]["unit_prices"]["output_mtok"], large["rates"]["unit_prices"]["output_mtok"]) == (
        "15",
        "22.5",
    )
    plain, tiered = (
        cost_of("openai", "gpt-4.1"),
        cost_of("openai", "gpt-4.1", usage_of(details={"service_tier": "priority"})),
    )
    assert Decimal(tiered["amount"] or 0) > Decimal(plain["amount"] or 0) > 0


def test_a_cache_hit_costs_nothing_and_says_so() -> None:
    assert cost_of("openai", "gpt-4o", cached=True) == {
        "amount": "0",
        "source": "computed",
        "rates": {"cache_hit": True},
    }


@pytest.mark.parametrize(
    "usage",
    [
        {"source": "unknown"},
        usage_of(None),
        usage_of(1_000, None),
        usage_of(10, 1, cache_read_tokens=11),
    ],
)
def test_missing_or_contradicting_usage_has_no_price(usage: Usage) -> None:
    cost = cost_of("openai", "gpt-4o", usage)
    assert (cost["amount"], cost["source"]) == (None, "unknown")


def test_embeddings_need_no_output() -> None:
    assert cost_of("openai", "text-embedding-3-small", usage_of(1_000_000, None))["amount"] == "0.02"


@pytest.mark.parametrize(
    ("provider", "model", "details", "reason"),
    [
        ("openai", "gpt-4o-audio-preview", {"input_audio_tokens": 40}, "no price for input audio tokens"),
        ("openai", "gpt-4o-audio-preview", {"output_audio_tokens": 40}, "no price for output audio tokens"),
        ("google", "gemini-2.5-flash-preview", {"input_audio_tokens": 40}, "no price for input audio tokens"),
        ("openrouter", "google/gemini-2.5-flash-image", {"output_image_tokens": 4}, "no price for output image tokens"),
        ("groq", "llama-3.3-70b-versatile", {"web_searches": 1}, "no price for web searches"),
        ("openai", "gpt-5", {"images_generated": 1}, "no price for images generated"),
        ("anthropic", "claude-opus-4-6", {"inference_geo": "us"}, "no price for inference in us"),
        ("openai", "gpt-4o", {"service_tier": "scale"}, "no price for the service tier scale"),
        ("azure", "gpt-4.1", {"service_tier": "priority"}, "no price for the service tier priority"),
        ("aws", "amazon.nova-lite-v1:0", {"service_tier": "flex"}, "no price for the service tier flex"),
        ("anthropic", "claude-3-haiku-20240307", {"speed": "fast"}, "no price for the speed fast"),
        ("openai", "whisper-1", {}, "usage incomplete: the price is by audio_seconds, input_audio_seconds"),
    ],
)
def test_what_is_charged_apart_has_no_price_without_a_rate_of_its_own(
    provider: str, model: str, details: dict[str, Any], reason: str
) -> None:
    cost = cost_of(provider, model, usage_of(details=details))
    assert (cost["amount"], cost["rates"]) == (None, {"reason": reason})
    if details and model != "whisper-1":
        assert cost_of(provider, model)["amount"] is not None


@pytest.mark.parametrize(
    ("provider", "model", "usage", "expected"),
    [
        # Google: one price for text and audio; or one of its own.
        ("google_genai", "gemini-2.5-pro", usage_of(1_000, 0, details={"input_audio_tokens": 400}), "0.00125"),
        ("google_genai", "gemini-2.5-flash", usage_of(1_000, 0, details={"input_audio_tokens": 400}), "0.00058"),
        ("openai", "gpt-realtime", usage_of(1_000, 0, details={"input_audio_tokens": 400}), "0.0152"),
        ("anthropic", "claude-sonnet-4-5", usage_of(1_000, 0, details={"web_searches": 3}), "0.033"),
        ("openai", "gpt-4.1", usage_of(0, 0, details={"storage_searches": 2}), "0.005"),
        # Gemini before 3 is charged for the grounded prompt, from 3 on for each search.
        ("google_genai", "gemini-2.5-flash", usage_of(0, 0, details={"web_searches": 3}), "0.035"),
        ("google_genai", "gemini-3-flash-preview", usage_of(0, 0, details={"web_searches": 3}), "0.042"),
        ("groq", "llama-3.3-70b-versatile", usage_of(1_000_000, 0, details={"service_tier": "flex"}), "0.59"),
        # Mistral: what it hears is charged by time.
        ("mistralai", "voxtral-small-2507", usage_of(0, 0, details={"prompt_audio_seconds": 3_600}), "0.24"),
        ("cohere", "embed-v4.0", usage_of(1_000_000, None), "0.12"),
        ("google_genai", "models/gemini-embedding-001", usage_of(1_000_000, None), "0.15"),
        ("google_genai", "gemini-2.5-flash-image", usage_of(0, 100, details={"output_image_tokens": 100}), "0.003"),
    ],
)
def test_sound_pictures_searches_and_embeddings(provider: str, model: str, usage: Usage, expected: str) -> None:
    assert cost_of(provider, model, usage)["amount"] == expected


def test_billed_units_are_what_is_charged() -> None:
    billed = usage_of(900, 70, details={"billed_input_tokens": 20, "billed_output_tokens": 40})
    assert (
        cost_of("cohere", "command-r", billed)["amount"] == cost_of("cohere", "command-r", usage_of(20, 40))["amount"]
    )


def test_all_steps_of_a_compacted_call_are_charged() -> None:
    steps = [
        {"type": "compaction", "input_tokens": 900, "output_tokens": 80},
        {"type": "message", "input_tokens": 45, "output_tokens": 9, "cache_read_tokens": 5},
    ]
    compacted = usage_of(45, 9, cache_read_tokens=5, details={"iterations": steps, "billed_input_tokens": 945})
    assert (
        cost_of("anthropic", "claude-opus-4-6", compacted)["amount"]
        == cost_of("anthropic", "claude-opus-4-6", usage_of(945, 89, cache_read_tokens=5))["amount"]
    )


def test_names_are_remembered_within_a_bound() -> None:
    prices = PriceList()
    for n in range(MAX_MODELS + 50):
        assert prices.find("nobody", f"m{n}", None, None, AT) is None
    assert len(prices._found) == MAX_MODELS


def test_updated_prices_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cost_of("openai", "gpt-4o")["amount"]
    monkeypatch.setattr(
        data_snapshot, "_custom_snapshot", data_snapshot.DataSnapshot(providers=[], from_auto_update=True)
    )
    assert cost_of("openai", "gpt-4o")["amount"] is None
    monkeypatch.undo()
    assert cost_of("openai", "gpt-4o")["amount"]


def test_a_known_model_is_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []
    real = price_list.compiled
    monkeypatch.setattr(price_list, "compiled", lambda *args, **more: compiled.append(args) or real(*args, **more))
    monkeypatch.setattr(module, "PRICE_LIST", PriceList())
    for day in range(1, 29):
        for hour in range(24):
            assert cost_of("deepseek", "deepseek-v4-flash", at=datetime(2026, 9, day, hour, tzinfo=UTC))["amount"]
    # Two dates and four times of day matter, so at most three by five cases.
    assert 1 < len(compiled) <= 15
