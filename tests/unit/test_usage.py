"""Usage: counted once, whole including parts, unknown never 0."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chopsky_trace.enrich.usage import normalise, once

WHOLES = ("input_tokens", "output_tokens", "total_tokens")


def told(metadata: Any = None, token_usage: Any = None, response: Any = None) -> dict[str, Any]:
    return {"usage_metadata": metadata, "token_usage": token_usage, "response_metadata": response, "generations": 1}


def usage_of(*args: Any, cached: bool = False, **kwargs: Any) -> dict[str, Any]:
    return dict(normalise(told(*args, **kwargs), provider=None, cached=cached))


def langchain(
    whole: int, output: int, total: int | None = None, inputs: Any = None, outputs: Any = None
) -> dict[str, Any]:
    return {
        "input_tokens": whole,
        "output_tokens": output,
        "total_tokens": whole + output if total is None else total,
        "input_token_details": inputs or {},
        "output_token_details": outputs or {},
    }


@pytest.mark.parametrize(
    "reported", [None, {}, [], "x", 3, told(), told({}), told([1]), told("x", "y", "z"), told({"input_tokens": None})]
)
def test_nothing_reported_is_unknown_and_never_zero(reported: Any) -> None:
    usage = normalise(reported, provider="openai", cached=False)
    assert usage["source"] == "unknown"
    assert all(value is None for name, value in usage.items() if name.endswith("_tokens"))


def test_ordinary_call() -> None:
    copy = {
        "prompt_tokens": 11,
        "completion_tokens": 6,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    usage = usage_of(
        langchain(11, 6, inputs={"audio": 0, "cache_read": 0}, outputs={"audio": 0, "reasoning": 0}),
        copy,
        {"token_usage": dict(copy)},
    )
    assert usage == {
        "input_tokens": 11,
        "output_tokens": 6,
        "total_tokens": 17,
        "cache_read_tokens": 0,
        "cache_write_tokens": None,
        "cache_write_5m_tokens": None,
        "cache_write_1h_tokens": None,
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "source": "reported",
    }


@pytest.mark.parametrize("tier", ["priority", "flex"])
def test_tier_prefix_is_stripped_and_the_remainder_is_no_part(tier: str) -> None:
    usage = usage_of(
        langchain(100, 20, inputs={tier: 60, f"{tier}_cache_read": 40}, outputs={tier: 15, f"{tier}_reasoning": 5})
    )
    assert (usage["cache_read_tokens"], usage["reasoning_tokens"], usage["details"]) == (40, 5, {"service_tier": tier})


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"cache_creation": 0, "ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 30}, (37, 7, 30)),
        ({"cache_creation": 37, "ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 30}, (37, 7, 30)),
        ({"cache_creation": 37}, (37, None, None)),
        ({"cache_creation": 0, "ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, (0, 0, 0)),
        ({"ephemeral_1h_input_tokens": 30}, (30, None, 30)),
    ],
)
def test_cache_write_is_the_sum_of_its_lifetimes(details: dict[str, int], expected: tuple[Any, ...]) -> None:
    usage = usage_of(langchain(50, 2, inputs=details))
    assert tuple(usage[f"cache_write{name}_tokens"] for name in ("", "_5m", "_1h")) == expected
    assert "details" not in usage


def test_input_lost_by_the_framework_is_unknown() -> None:
    usage = usage_of(langchain(0, 55, inputs={"cache_read": 0, "cache_creation": 0}))
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (None, 55, None)
    assert (usage["cache_read_tokens"], usage["cache_write_tokens"]) == (None, None)
    assert usage["details"]["violations"]


def test_input_lost_by_the_framework_is_recovered_from_the_response() -> None:
    early = {"input_tokens": 4, "cache_creation_input_tokens": 90, "cache_read_input_tokens": 6, "output_tokens": 1}
    usage = usage_of(langchain(0, 55, inputs={"cache_read": 0, "cache_creation": 0}), response={"usage": early})
    assert tuple(usage[name] for name in WHOLES) == (100, 55, 155)
    assert (usage["cache_read_tokens"], usage["cache_write_tokens"]) == (6, 90)


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}, (7, 2, 9, None, None)),
        ({"prompt_tokens": 11, "total_tokens": 11}, (11, 0, 11, None, None)),
        ({"total_tokens": 11}, (None, None, 11, None, None)),
        (
            {
                "prompt_tokens": 50,
                "completion_tokens": 9,
                "total_tokens": 59,
                "prompt_cache_hit_tokens": 40,
                "prompt_cache_miss_tokens": 10,
            },
            (50, 9, 59, 40, None),
        ),
        (
            {
                "prompt_tokens": 50,
                "completion_tokens": 9,
                "total_tokens": 59,
                "prompt_tokens_details": {"cached_tokens": 30},
                "completion_tokens_details": {"reasoning_tokens": 4},
            },
            (50, 9, 59, 30, 4),
        ),
        # Counted beside, as Anthropic and Bedrock do; and copied names counted within, as gateways do.
        (
            {"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 0},
            (23, 5, 28, 20, None),
        ),
        ({"inputTokens": 3, "outputTokens": 5, "totalTokens": 28, "cacheReadInputTokens": 20}, (23, 5, 28, 20, None)),
        (
            {"prompt_tokens": 23, "completion_tokens": 5, "total_tokens": 28, "cache_read_input_tokens": 20},
            (23, 5, 28, 20, None),
        ),
        (
            {
                "prompt_token_count": 10,
                "candidates_token_count": 4,
                "thoughts_token_count": 6,
                "total_token_count": 20,
                "cached_content_token_count": 8,
            },
            (10, 10, 20, 8, 6),
        ),
        (
            {"promptTokenCount": 10, "thoughtsTokenCount": 6, "toolUsePromptTokenCount": 30, "totalTokenCount": 46},
            (40, 6, 46, None, 6),
        ),
        # Reasoning counted beside the output.
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 215,
                "completion_tokens_details": {"reasoning_tokens": 200},
            },
            (10, 205, 215, None, 200),
        ),
        (
            {
                "tokens": {"input_tokens": 90, "output_tokens": 7},
                "billed_units": {"input_tokens": 20, "output_tokens": 6},
            },
            (90, 7, 97, None, None),
        ),
        ({"prompt_tokens": 12.0, "completion_tokens": 3.0}, (12, 3, 15, None, None)),
    ],
)
def test_providers_own_shapes(native: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    for usage in (usage_of(None, native), usage_of(None, None, {"token_usage": native})):
        assert (*(usage[name] for name in WHOLES), usage["cache_read_tokens"], usage["reasoning_tokens"]) == expected
        assert usage["source"] == "reported"
        assert "violations" not in usage.get("details", {})


def test_modalities_cost_and_tools_are_kept() -> None:
    google = {
        "prompt_token_count": 145,
        "candidates_token_count": 10,
        "total_token_count": 155,
        "prompt_tokens_details": [
            {"modality": "TEXT", "token_count": 5},
            {"modality": "Modality.AUDIO", "token_count": 140},
        ],
    }
    assert usage_of(langchain(145, 10), google)["audio_tokens"] == 140
    assert (
        usage_of(None, {"prompt_tokens": 9, "completion_tokens": 1, "cost": 0.00012})["details"]["reported_cost_usd"]
        == "0.00012"
    )
    assert (
        usage_of(None, {"prompt_tokens": 9, "cost_in_usd_ticks": 12_345})["details"]["reported_cost_usd"]
        == "0.0000012345"
    )
    searched = usage_of(
        langchain(9, 1),
        None,
        {
            "usage": {"input_tokens": 9, "server_tool_use": {"web_search_requests": 2}},
            "service_tier": "standardstandard",
        },
    )
    assert searched["details"] == {"web_searches": 2, "service_tier": "standard"}


def test_first_statement_of_a_number_is_believed_once() -> None:
    usage = usage_of(
        langchain(100, 20),
        {"prompt_tokens": 200, "completion_tokens": 40, "total_tokens": 240},
        {"usage": {"input_tokens": 7}},
    )
    assert tuple(usage[name] for name in WHOLES) == (100, 20, 120)


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        (langchain(10, 5, inputs={"cache_read": 11}), "cache_read"),
        (langchain(10, 5, inputs={"cache_read": 6, "cache_creation": 6}), "cache_write"),
        (langchain(10, 5, outputs={"reasoning": 6}), "reasoning"),
        (langchain(10, 5, inputs={"audio": 11}), "input_audio"),
        (langchain(10, 5, outputs={"audio": 6}), "output_audio"),
        (langchain(10, 5, total=14), "total_tokens"),
        (langchain(-1, 5), "input_tokens"),
    ],
)
def test_violation_is_stored_as_reported_and_flagged(metadata: dict[str, Any], word: str) -> None:
    usage = usage_of(metadata)
    assert any(word in said for said in usage["details"]["violations"])
    assert usage["output_tokens"] == 5
    if metadata["input_tokens"] < 0:
        assert (usage["input_tokens"], usage["details"]["reported"]) == (None, {"input_tokens": "-1"})
    else:
        assert usage["input_tokens"] == 10
        assert usage["total_tokens"] == metadata["total_tokens"]


def test_cached_result_keeps_the_reported_usage() -> None:
    usage = usage_of({**langchain(10, 5), "total_cost": 0}, cached=True)
    assert (usage["input_tokens"], usage["source"], usage["details"]) == (10, "reported", {"cache_hit": True})


@pytest.mark.parametrize(
    ("text", "expected"), [("defaultdefault", "default"), ("aaaa", "aaaa"), ("gpt-4", "gpt-4"), ("", "")]
)
def test_repetition(text: str, expected: str) -> None:
    assert once(text) == expected


@given(st.integers(1, 10**9), st.integers(0, 10**9), st.data())
def test_any_spelling_of_one_call_gives_one_usage(whole: int, output: int, data: st.DataObject) -> None:
    read = data.draw(st.integers(0, whole))
    write = data.draw(st.integers(0, whole - read))
    reasoning = data.draw(st.integers(0, output))
    own = {
        "langchain": usage_of(
            langchain(
                whole, output, inputs={"cache_read": read, "cache_creation": write}, outputs={"reasoning": reasoning}
            )
        ),
        "openai": usage_of(
            None,
            {
                "prompt_tokens": whole,
                "completion_tokens": output,
                "total_tokens": whole + output,
                "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": write},
                "completion_tokens_details": {"reasoning_tokens": reasoning},
            },
        ),
        "anthropic": usage_of(
            None,
            None,
            {
                "usage": {
                    "input_tokens": whole - read - write,
                    "output_tokens": output,
                    "cache_read_input_tokens": read,
                    "cache_creation_input_tokens": write,
                    "output_tokens_details": {"thinking_tokens": reasoning},
                }
            },
        ),
    }
    for usage in own.values():
        assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (whole, output, whole + output)
        assert (usage["cache_read_tokens"], usage["cache_write_tokens"], usage["reasoning_tokens"]) == (
            read,
            write,
            reasoning,
        )
        assert "details" not in usage


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "input_tokens",
                    "output_tokens",
                    "total_tokens",
                    "usage",
                    "token_usage",
                    "tokens",
                    "prompt_tokens_details",
                    "input_token_details",
                    "cost",
                    "service_tier",
                    "cache_creation",
                    "modality",
                    "token_count",
                    "priority_",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(json, json, json, st.booleans())
def test_anything_reported_gives_counts_or_none(metadata: Any, token_usage: Any, response: Any, cached: bool) -> None:
    usage = usage_of(metadata, token_usage, response, cached=cached)
    for name, value in usage.items():
        if name.endswith("_tokens"):
            assert value is None or (type(value) is int and value >= 0)
    broken = "violations" in usage.get("details", {})
    whole, read, total = (usage[name] for name in ("input_tokens", "cache_read_tokens", "total_tokens"))
    assert broken or whole is None or read is None or read <= whole
    assert broken or total is None or total >= (whole or 0) + (usage["output_tokens"] or 0)
