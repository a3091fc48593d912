"""A call priced again from its row costs what it did, and what differs is seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from genai_prices import data_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from chopsky_trace.enrich.pricing.overrides import Overrides
from chopsky_trace.enrich.pricing.repricing import edition, reprice, stored
from chopsky_trace.enrich.registers import COUNTS, NOBODY, call_numbers

NAMES = sorted(
    {(provider.id, model.id) for provider in data_snapshot.get_snapshot().providers for model in provider.models}
)
COLUMNS = (*COUNTS, "usage_details", "usage_source", "cost", "cost_source", "price_rates")

counts = st.integers(0, 400_000)
few = st.integers(0, 900)
names = st.one_of(
    # Prices by time, size, tier and how long a cache is written for.
    st.sampled_from([("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5"), ("google_genai", "gemini-2.5-pro")]),
    st.sampled_from(NAMES),
    st.tuples(st.sampled_from([None, "openai", "azure", "nobody"]), st.sampled_from([None, "gpt-4o-mini", "no-such"])),
)
parts = st.fixed_dictionaries(
    {},
    optional={
        "cache_read": few | counts,
        "cache_creation": few,
        "ephemeral_5m_input_tokens": few,
        "ephemeral_1h_input_tokens": few,
        "audio": few,
        "image": few,
        "flex": few,
        "priority_cache_read": few,
    },
)
stated = st.fixed_dictionaries(
    {},
    optional={
        "input_tokens": counts,
        "output_tokens": counts,
        "total_tokens": counts,
        "input_token_details": parts,
        "output_token_details": st.fixed_dictionaries({}, optional={"reasoning": counts, "audio": counts}),
    },
)
native = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": counts,
        "completion_tokens": counts,
        "cache_read_input_tokens": counts,
        "cache_hit": st.integers(0, 2),
        "cache_write_5m": counts,
        "cache_write_1h_tokens": counts,
        "cost": st.sampled_from([0, 0.00123, "0.5", {"total_cost": 1e-7}]),
        "server_tool_use": st.fixed_dictionaries({"web_search_requests": st.integers(0, 9)}),
        "billed_units": st.fixed_dictionaries(
            {"input_tokens": counts, "output_tokens": counts, "search_units": counts}
        ),
        "service_tier": st.sampled_from(["default", "Flex", "batch", "prioritypriority"]),
    },
)
plausible = st.fixed_dictionaries(
    {
        "input_tokens": st.integers(5_000, 400_000),
        "output_tokens": st.integers(5_000, 10_000),
        "input_token_details": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("cache_read", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"), few)
        ),
    }
)
tiers = st.sampled_from(["flex", "priority", "batch", "default", "Standard", "defaultdefault"])
usages = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "usage_metadata": plausible | stated,
        "token_usage": native,
        "response_metadata": native,
        "service_tier": tiers,
    },
)
# In microseconds. Prices by tier begin in October 2026.
moments = st.integers(1_792_500_000_000_000, 1_798_700_000_000_000) | st.integers(
    1_704_067_200_000_000, 1_798_700_000_000_000
)


def stored_call(numbers: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """The call's row as it comes back from the database: through JSON, and the cost's ten places."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | orjson.loads(orjson.dumps(numbers))
    row["cost"] = None if row["cost"] is None else stored(Decimal(row["cost"]))
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=record["started"])
    asked = {name: record.get(name) for name in ("provider", "model", "model_requested")}
    return row | asked | {"at": at, "tenant_id": None, "kind": record["kind"]}


def call(provider: str | None, model: str | None, **more: Any) -> dict[str, Any]:
    """A stored call of a model that has a price, unless another is named."""
    usage = {"usage_metadata": {"input_tokens": 1_000, "output_tokens": 100, "total_tokens": 1_100}}
    record = {
        "kind": "llm",
        "provider": provider,
        "model": model,
        "usage": usage,
        "started": 1_795_000_000_000_000,
    } | more
    return stored_call(call_numbers(record, NOBODY), record)


@settings(max_examples=400, deadline=None)
@given(names, names, usages, moments, st.booleans(), st.sampled_from(["llm", "embedding"]))
def test_a_call_priced_again_by_the_same_prices_is_the_same(
    seat: tuple[str | None, str | None],
    other: tuple[str | None, str | None],
    usage: dict[str, Any] | None,
    started: int,
    cached: bool,
    kind: str,
):
    record: dict[str, Any] = {"kind": kind, "usage": usage, "started": started, "cached": cached, "provider": seat[0]}
    record |= {"model": seat[1], "model_requested": other[1]}
    numbers = call_numbers(record, NOBODY)
    assert reprice(stored_call(numbers, record), None) is None


@pytest.mark.parametrize(
    "usage",
    [
        {"input_token_details": {"ephemeral_5m_input_tokens": 600, "ephemeral_1h_input_tokens": 300}},
        {"input_token_details": {"ephemeral_1h_input_tokens": 900}},
        {"input_token_details": {"cache_creation": 900}},
    ],
)
def test_how_long_a_cache_was_written_for_is_kept(usage: dict[str, Any]):
    whole = {"input_tokens": 1_000, "output_tokens": 100, "total_tokens": 1_100}
    made = call("anthropic", "claude-sonnet-4-5", usage={"usage_metadata": whole | usage})
    cost = made["cost"]
    assert cost > 0
    again = reprice(made | {"cost": None, "cost_source": "unknown"}, None)
    assert again is not None
    assert again.cost == cost


def test_a_tier_that_only_the_response_names_is_kept_for_models_without_a_price_yet():
    usage = {"usage_metadata": {"input_tokens": 1_000, "output_tokens": 100}, "service_tier": "flex"}
    assert call("openai", "gpt-next", usage=usage)["usage_details"] == {"service_tier": "flex"}
    made = {
        flex: call("openai", "gpt-5", usage=usage if flex else {**usage, "service_tier": "default"}) for flex in (0, 1)
    }
    assert made[1]["cost"] < made[0]["cost"]
    again = reprice(made[1] | {"cost": made[0]["cost"]}, None)
    assert again is not None
    assert again.cost == made[1]["cost"]


def test_another_cost_source_or_rate_is_a_change_another_edition_of_the_list_is_none():
    made = call("openai", "gpt-4o-mini")
    rates = made["price_rates"]
    assert reprice(made | {"price_rates": rates | {"source": "genai-prices 0.0.1"}}, None) is None
    changes: list[dict[str, Any]] = [
        {"cost": None},
        {"cost": made["cost"] + Decimal("1e-10")},
        {"cost_source": "estimated"},
        {"price_rates": None},
        {"price_rates": rates | {"source": "a price of one's own"}},
        {"price_rates": rates | {"unit_prices": {}}},
    ]
    for change in changes:
        again = reprice(made | change, None)
        assert again is not None
        assert (again.cost, again.source, again.rates) == (made["cost"], "computed", rates)


def test_estimated_usage_makes_an_estimated_cost():
    made = call("openai", "gpt-4o-mini") | {"usage_source": "estimated"}
    again = reprice(made, None)
    assert again is not None
    assert (again.cost, again.source) == (made["cost"], "estimated")
    assert reprice(made | {"cost_source": "estimated"}, None) is None


def test_a_cache_hit_stays_free_and_what_is_unknown_stays_unknown():
    for made in (call("openai", "gpt-4o-mini", cached=True), call("openai", "gpt-4o-mini", usage=None), call("x", "y")):
        assert made["cost"] == (0 if made["usage_details"] else None)
        assert reprice(made, None) is None


def test_an_amount_is_compared_as_it_is_stored():
    assert stored(Decimal("0.00000000005")) == Decimal("0.0000000001")
    assert stored(Decimal("0.00000000004999")) == 0


def test_an_amount_that_no_column_holds_is_unknown():
    row = {"id": 1, "tenant_id": None, "provider": None, "model": "gpt-4o-mini", "model_pattern": None}
    dear = row | {"valid_from": None, "valid_until": None, "input_mtok": Decimal(10**9), "output_mtok": Decimal(0)}
    made = call("openai", "gpt-4o-mini") | {"input_tokens": 2**53, "total_tokens": 2**53}
    again = reprice(made, Overrides.from_rows([dear]))
    assert again is not None
    assert (again.cost, again.source, again.rates) == (None, "unknown", {"reason": "no such amount can be stored"})


def test_the_edition_of_the_prices_tells_one_set_of_own_prices_from_another():
    one, other = edition([{"id": 1, "price": Decimal("0.5")}]), edition([{"id": 1, "price": Decimal("0.6")}])
    assert one["overrides"] == other["overrides"] == 1
    assert one["overrides_sha256"] != other["overrides_sha256"]
    assert one == edition([{"price": Decimal("0.5"), "id": 1}])
    assert edition([])["overrides_sha256"] is None
    assert one["genai_prices"]
