"""The team's own prices: which row holds for a call, and what it then costs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chopsky_trace.enrich.pricing.overrides import MAX_NAMES, Overrides
from chopsky_trace.enrich.pricing.patterns import Pattern
from chopsky_trace.enrich.pricing.price import price
from chopsky_trace.enrich.registers import NOBODY, call_numbers
from chopsky_trace.records import Cost, Usage

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
EMPTY = dict.fromkeys(
    (
        "tenant_id", "provider", "model", "model_pattern", "valid_from", "valid_until", "input_mtok", "output_mtok",
        "cache_read_mtok", "cache_write_mtok", "cache_write_5m_mtok", "cache_write_1h_mtok", "flex_factor",
        "priority_factor", "batch_factor", "request_usd", "note", "source",
    )
) | {"other_rates": {}, "tiers": []}  # fmt: skip


def row(number: int = 1, **columns: Any) -> dict[str, Any]:
    """A row as the database gives it."""
    made = {"id": UUID(int=number), "model": "own-model", "input_mtok": Decimal(number), "output_mtok": Decimal(0)}
    if "model_pattern" in columns:
        made["model"] = None
    return EMPTY | made | columns


def cost_of(
    *rows: dict[str, Any],
    usage: dict[str, Any] | None = None,
    provider: str | None = "openai",
    model: str | None = "own-model",
    requested: str | None = None,
    tenant: str | None = None,
    at: datetime = AT,
    tier: str | None = None,
) -> Cost:
    whole: Usage = {"input_tokens": 1_000_000, "output_tokens": 0, "source": "reported", **(usage or {})}  # pyright: ignore[reportAssignmentType]
    return price(
        whole, provider=provider, model=model, model_requested=requested, at=at, cached=False, service_tier=tier,
        tenant_id=tenant, overrides=Overrides.from_rows(rows),
    )  # fmt: skip


def days(count: int) -> datetime:
    return AT + timedelta(days=count)


ROWS = st.builds(
    lambda tenant, provider, name, since, until: {
        "tenant_id": tenant, "provider": provider, "valid_from": since, "valid_until": until, **name,
    },
    st.sampled_from([None, None, "acme", "other"]),
    st.sampled_from([None, None, "openai", "azure", "azure_openai"]),
    st.sampled_from([
        {"model": "own-model"}, {"model": "Own-Model"}, {"model": "another"}, {"model_pattern": "own-.*"},
        {"model_pattern": "(own|x)-model"}, {"model_pattern": "another.*"},
    ]),
    st.sampled_from([None, days(-9), days(-3), AT, days(2)]),
    st.sampled_from([None, days(-1), AT, days(1), days(9)]),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.lists(ROWS, min_size=1, max_size=12),
    st.sampled_from([None, "acme", "nobody"]),
    st.sampled_from(["openai", "azure", "azure_openai", "mistralai"]),
    st.randoms(use_true_random=False),
)
def test_the_order_of_precedence_is_total(
    columns: list[dict[str, Any]], tenant: str | None, provider: str, random: Any
) -> None:
    rows = [row(number, **one) for number, one in enumerate(columns, 1)]
    seat = provider.removesuffix("_openai")

    def holds(one: dict[str, Any]) -> bool:
        named = (one["model"] or "").lower() == "own-model" or bool(
            one["model_pattern"] and re.fullmatch(one["model_pattern"], "own-model")
        )
        return (
            named
            and one["tenant_id"] in (None, tenant)
            and (one["provider"] is None or one["provider"].removesuffix("_openai") == seat)
            and (one["valid_from"] is None or one["valid_from"] <= AT)
            and (one["valid_until"] is None or one["valid_until"] > AT)
        )

    def beats(one: dict[str, Any], other: dict[str, Any]) -> bool:
        """The rules, one after the other."""
        for better in (
            lambda r: r["tenant_id"] is not None,
            lambda r: r["model"] is not None,
            lambda r: r["provider"] is not None,
            lambda r: r["valid_from"] or datetime.min.replace(tzinfo=UTC),
        ):
            if better(one) != better(other):
                return better(one) > better(other)
        return one["id"] < other["id"]

    holding = [one for one in rows if holds(one)]
    best = [one for one in holding if all(one is other or beats(one, other) for other in holding)]
    assert len(best) == (1 if holding else 0)
    random.shuffle(rows)
    cost = cost_of(*rows, tenant=tenant, provider=provider)
    assert cost == cost_of(*rows[::-1], tenant=tenant, provider=provider)
    assert cost["rates"] is not None
    assert cost["rates"].get("source") == (f"model_prices {best[0]['id']}" if best else None)
    assert cost["amount"] == (str(best[0]["input_mtok"]) if best else None)


def test_a_range_ends_before_its_end() -> None:
    one = row(valid_from=days(0), valid_until=days(1))
    amounts = [cost_of(one, at=at)["amount"] for at in (days(0) - timedelta(microseconds=1), days(0), days(1))]
    assert amounts == [None, "1", None]
    assert cost_of(one, at=days(1) - timedelta(microseconds=1))["amount"] == "1"


def test_own_prices_go_before_the_public_ones_and_say_so() -> None:
    usage = {"input_tokens": 1_000, "output_tokens": 500, "cache_read_tokens": 400}
    cost = cost_of(row(model="gpt-4o", cache_read_mtok=Decimal("0.1")), model="gpt-4o", usage=usage)
    assert cost == {
        "amount": "0.00064",
        "source": "computed",
        "rates": {
            "source": f"model_prices {UUID(int=1)}",
            "model": "gpt-4o",
            "unit_prices": {"cache_read_mtok": "0.1", "input_mtok": "1", "output_mtok": "0"},
            "quantities": {"cache_read_mtok": 400, "input_mtok": 600, "output_mtok": 500},
        },
    }


def test_what_a_row_does_not_name_is_charged_as_its_whole_or_not_at_all() -> None:
    assert cost_of(row(), usage={"cache_read_tokens": 500_000})["amount"] == "1"
    assert cost_of(row(), usage={"details": {"input_audio_tokens": 1}})["rates"] == {
        "reason": "no price for input audio tokens"
    }
    audio = row(other_rates={"input_audio_mtok": Decimal(41), "web_searches_kcount": Decimal(10)})
    usage = {"details": {"input_audio_tokens": 500_000, "web_searches": 3}}
    assert cost_of(audio, usage=usage)["amount"] == "21.03"


def test_tiers_hold_for_the_whole_call() -> None:
    tiered = row(tiers=[{"above_input_tokens": Decimal(200_000), "input_mtok": Decimal(6)}])
    small, large = (cost_of(tiered, usage={"input_tokens": size}) for size in (200_000, 200_001))
    assert (small["amount"], large["amount"]) == ("0.2", "1.200006")
    assert large["rates"] is not None
    assert large["rates"]["above_input_tokens"] == 200_000


@pytest.mark.parametrize(("tier", "amount"), [("flex", "0.6"), ("batch", "0.35"), ("default", "1.1"), (None, "1.1")])
def test_factors_are_of_tokens_not_of_fees(tier: str | None, amount: str) -> None:
    factors = {"flex_factor": Decimal("0.5"), "batch_factor": Decimal("0.25"), "request_usd": Decimal("0.1")}
    cost = cost_of(row(**factors), tier=tier)
    assert cost["amount"] == amount
    assert cost["rates"] is not None
    assert cost["rates"].get("factor") == ({tier: {"flex": "0.5", "batch": "0.25"}[tier]} if amount != "1.1" else None)
    assert cost["rates"]["unit_prices"]["requests_kcount"] == "100"


def test_a_tier_without_a_factor_has_no_price() -> None:
    cost = cost_of(row(), tier="priority")
    assert cost["rates"] == {"reason": f"model_prices {UUID(int=1)}: it has no priority_factor"}
    assert cost["amount"] is None


def test_a_free_model_costs_nothing_and_is_known() -> None:
    assert cost_of(row(0), model="own-model")["amount"] == "0"


@pytest.mark.parametrize(
    ("columns", "provider", "model", "requested", "applied"),
    [
        # Deployments and profiles are names of one's own.
        ({"model": "prod-chat"}, "azure", "gpt-4o-2024-08-06", "prod-chat", True),
        ({"model": "prod-chat"}, "openai", "gpt-4o-2024-08-06", "prod-chat", False),
        ({"model_pattern": "arn:aws:bedrock:.*/abcd"}, "bedrock_converse", "arn:aws:bedrock:us:1:x/abcd", None, True),
        ({"model": "gpt-4o"}, "openai", "gpt-4o-2024-08-06", "gpt-4o", True),
        ({"model": "gpt-4o"}, "openai", "gpt-4o-mini-2024-07-18", "gpt-4o", False),
        ({"model": "gpt-4o"}, "openai", None, "gpt-4o", True),
        ({"model": "gemini-2.5-flash", "provider": "google"}, "google_genai", "models/gemini-2.5-flash", None, True),
        ({"model": "qwen3:32b", "provider": "ollama"}, "ollama", "qwen3:32b", None, True),
        ({"model": "qwen3:32b", "provider": "ollama"}, "openai", "qwen3:32b", None, False),
        ({"model": "my-model", "provider": "litellm"}, "litellm", "my-model", None, True),
        ({"model": "llama-3.3-70b", "provider": "groq"}, "litellm", "groq/llama-3.3-70b", None, True),
    ],
)
def test_names(columns: dict[str, Any], provider: str, model: str, requested: str | None, applied: bool) -> None:
    rates = cost_of(row(**columns), provider=provider, model=model, requested=requested)["rates"]
    assert rates is not None
    assert str(rates.get("source", "")).startswith("model_prices") is applied


def test_a_row_that_cannot_be_read_is_told_and_holds_up_no_other() -> None:
    overrides = Overrides.from_rows([row(1, model_pattern="(?=x)"), row(2)])
    assert (len(overrides), list(overrides.unusable)) == (1, [str(UUID(int=1))])
    cost = cost_of(row(1, other_rates={"input_lightyears": Decimal(1)}))
    assert cost["rates"] is not None
    assert cost["rates"]["reason"].startswith(f"model_prices {UUID(int=1)}: input_lightyears is no price key")


def test_names_are_remembered_within_a_bound() -> None:
    overrides = Overrides.from_rows([row()])
    for number in range(MAX_NAMES + 50):
        assert overrides.find(f"t{number}", "openai", f"m{number}", None, None, AT, None) is None
    assert len(overrides._found) == MAX_NAMES


def test_the_calls_own_record_says_whose_it_was_and_what_it_is_said_to_cost() -> None:
    record: dict[str, Any] = {
        "kind": "llm", "provider": "openai", "model": "own-model", "at": 1_780_000_000_000_000, "tenant": "acme",
        "usage": {"token_usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0, "cost": "0.25"}},
    }  # fmt: skip
    overrides = Overrides.from_rows([row(7), row(5, tenant_id="acme")])
    numbers = call_numbers(record, NOBODY, overrides)
    assert (numbers["cost"], numbers["reported_cost"]) == ("5", "0.25")
    assert call_numbers(record | {"tenant": "other"}, NOBODY, overrides)["cost"] == "7"
    assert "reported_cost" not in call_numbers(record | {"cached": True}, NOBODY, overrides)


def test_an_embedding_needs_no_output() -> None:
    record: dict[str, Any] = {
        "kind": "embedding", "provider": "mistralai", "model": "mistral-embed", "at": 1_780_000_000_000_000,
        "usage": {"token_usage": {"prompt_tokens": 1_000_000}},
    }  # fmt: skip
    numbers = call_numbers(record, NOBODY)
    assert (numbers["cost"], "output_tokens" in numbers) == ("0.1", False)


PARTS = st.recursive(
    st.sampled_from(["a", "b", "-", ".", "[ab]", "[^a]", "\\d", "\\.", "1"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}"])).map(lambda p: f"(?:{p[0]}){p[1]}"),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(PARTS, st.lists(st.text(alphabet="abAB-.1", max_size=8), min_size=1, max_size=6))
def test_a_pattern_matches_as_pythons_own(text: str, names: list[str]) -> None:
    own = re.compile(text, re.IGNORECASE | re.DOTALL)
    try:
        pattern = Pattern(text)
    except ValueError:
        # Too long, written out.
        assert len(text) > 50
        return
    for name in names:
        assert pattern.matches(name) is (own.fullmatch(name) is not None)


@pytest.mark.parametrize("text", ["(a*)*b", "(a|a)*b", "(a?){60}a{60}b", "(.*)*(.*)*(.*)*b", "(a+)+(a+)+b"])
def test_an_unlucky_name_takes_no_longer_than_any(text: str) -> None:
    # Python's own would take longer than the test may.
    assert not Pattern(text).matches("a" * 250)


@pytest.mark.parametrize(
    "text",
    ["", "(", ")", "a)", "[", "[]", "a**", "*a", "a{2", "{2}", "a{3,2}", "(?=a)", "(?i)a", r"(a)\1", r"\ba", "a\\",
     "a^b", "a$b", "[a--b]", "[[:alpha:]]", "a*?", "x" * 201, "((a{50}){50}){50}", "(" * 30 + "a" + ")" * 30],
)  # fmt: skip
def test_other_patterns_are_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Pattern(text)
