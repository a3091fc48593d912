"""Usage in the shapes that providers' own packages leave it, and what holds for any of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chopsky_trace.enrich.answers import facts_of
from chopsky_trace.enrich.server_tools import server_tools
from chopsky_trace.enrich.usage import normalise
from chopsky_trace.enrich.usage_names import NATIVE, NESTED
from chopsky_trace.records import Usage
from chopsky_trace.telling.hosts import provider_of

SPAN = "0" * 32


def said(provider: str | None = None, **told: Any) -> Usage:
    """Usage of an answer, as the worker makes it."""
    return normalise(facts_of(told, SPAN)["usage"], provider=provider, cached=False)


def wholes(usage: Usage) -> tuple[int | None, ...]:
    return usage.get("input_tokens"), usage.get("output_tokens"), usage.get("total_tokens")


def langchain(whole: int, output: int, **more: Any) -> dict[str, Any]:
    return {"input_tokens": whole, "output_tokens": output, "total_tokens": whole + output, **more}


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        # Databricks and others state the counts in the response metadata itself.
        ({"prompt_tokens": 10, "completion_tokens": 94, "total_tokens": 104}, (10, 94, 104)),
        ({"prompt_token_count": 11, "generation_token_count": 4}, (11, 4, 15)),
        ({"token_usage": {"generated_token_count": 4, "input_token_count": 9}}, (9, 4, 13)),
        ({"token_count": {"prompt_tokens": 8, "response_tokens": 3, "total_tokens": 11}}, (8, 3, 11)),
        ({"usage": {"promptTokens": 5, "completionTokens": 6, "totalTokens": 11}}, (5, 6, 11)),
        # Ollama counts no prompt that it still had.
        ({"eval_count": 29}, (None, 29, None)),
    ],
)
def test_counts_in_other_places(response: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    assert wholes(said(response_metadata=response)) == expected
    assert wholes(said(generation_info=response)) == expected


def test_langchain_shape_inside_the_response_keeps_its_parts() -> None:
    usage = said(
        generation_info={
            "usage_metadata": langchain(511, 60, input_token_details={"cache_read": 400, "cache_creation": 100})
        }
    )
    assert wholes(usage) == (511, 60, 571)
    assert (usage.get("cache_read_tokens"), usage.get("cache_write_tokens")) == (400, 100)


def test_cost_that_a_gateway_states_beside_the_usage() -> None:
    usage = said(usage_metadata=langchain(50, 9), response_metadata={"cost": 0.00042, "cost_details": {}})
    assert usage.get("details") == {"reported_cost_usd": "0.00042", "gateway": "openrouter"}


@pytest.mark.parametrize("whole", [langchain(0, 0), langchain(0, 0, input_token_details={"cache_read": 0, "audio": 0})])
def test_all_zero_is_a_stand_in_for_what_was_not_told(whole: dict[str, Any]) -> None:
    usage = said(usage_metadata=whole)
    assert wholes(usage) == (None, None, None)
    assert usage.get("cache_read_tokens") is None
    assert usage.get("source") == "unknown"
    assert "all counts are 0" in usage.get("details", {})["violations"][0]


def test_a_call_cut_short_has_no_output_yet() -> None:
    # Bedrock's streams of Claude state the input first.
    usage = said(usage_metadata=langchain(40, 0), partial=True)
    assert wholes(usage) == (40, None, None)
    assert usage.get("details") == {"partial": True}
    assert wholes(said(usage_metadata=langchain(40, 3), partial=True)) == (40, 3, 43)
    assert "details" not in said(partial=True)


def test_a_stream_that_repeats_its_usage_is_counted_by_its_last_chunk() -> None:
    summed, last = langchain(80, 6), langchain(20, 3)
    assert wholes(said(usage_metadata=summed, last_chunk=last)) == (20, 3, 23)
    # Where each chunk has its own part, the last one's input is 0.
    assert wholes(said(usage_metadata=langchain(20, 6), last_chunk=langchain(0, 3))) == (20, 6, 26)
    assert wholes(said(usage_metadata=langchain(20, 6), last_chunk=langchain(20, 6))) == (20, 6, 26)


@pytest.mark.parametrize(("total", "output"), [(135, 103), (229, 197)])
def test_reasoning_that_the_xai_package_adds_once_too_often(total: int, output: int) -> None:
    told = {"input_tokens": 32, "output_tokens": 197, "total_tokens": total, "output_token_details": {"reasoning": 94}}
    usage = said("xai", usage_metadata=told)
    assert wholes(usage) == (32, output, total)
    assert "details" not in usage
    assert "details" not in said("openai", usage_metadata=told) or total == 135


def test_steps_of_a_compacted_call() -> None:
    steps = [
        {"type": "compaction", "input_tokens": 900, "output_tokens": 80},
        {"type": "message", "input_tokens": 40, "output_tokens": 9, "cache_read_input_tokens": 5},
    ]
    usage = said(
        usage_metadata=langchain(45, 9),
        response_metadata={
            "usage": {"input_tokens": 40, "cache_read_input_tokens": 5, "output_tokens": 9, "iterations": steps}
        },
    )
    assert wholes(usage) == (45, 9, 54)
    details = usage.get("details", {})
    assert (details["billed_input_tokens"], details["billed_output_tokens"]) == (945, 89)
    assert details["iterations"] == [
        {"type": "compaction", "input_tokens": 900, "output_tokens": 80},
        {"type": "message", "input_tokens": 45, "output_tokens": 9, "cache_read_tokens": 5},
    ]


@pytest.mark.parametrize(
    ("reported", "flagged"),
    [
        ({"cache_creation": 40, "ephemeral_5m_input_tokens": 30}, None),
        ({"cache_creation": 20, "ephemeral_5m_input_tokens": 30}, "cache_write_5m"),
        ({"audio": 40, "image": 20}, "input_audio_tokens + input_image_tokens > input_tokens"),
    ],
)
def test_parts_against_their_wholes(reported: dict[str, int], flagged: str | None) -> None:
    usage = said(usage_metadata=langchain(50, 2, input_token_details=reported))
    violations = usage.get("details", {}).get("violations", [])
    assert [flagged in said for said in violations] == ([True] if flagged else [])
    if "cache_creation" in reported:
        assert usage.get("cache_write_tokens") == reported["cache_creation"]


def test_numbered_modalities_and_searches_of_gemini() -> None:
    usage = said(
        usage_metadata=langchain(145, 10),
        response_metadata={
            "usage_metadata": {
                "prompt_tokens_details": [{"modality": 1, "token_count": 6}, {"modality": 4, "token_count": 139}]
            },
            "grounding_metadata": {"web_search_queries": ["ramen", "ramen", "broth"], "grounding_chunks": []},
        },
    )
    assert usage.get("audio_tokens") == 139
    assert usage.get("details", {})["web_searches"] == 2


def test_what_changes_a_price_is_kept() -> None:
    told = {"input_tokens": 9, "output_tokens": 1, "service_tier": "batch", "speed": "fast", "inference_geo": "us"}
    details = said(usage_metadata=langchain(9, 1), response_metadata={"usage": told}).get("details")
    assert details == {"service_tier": "batch", "speed": "fast", "inference_geo": "us"}
    ordinary = {**told, "service_tier": "standard", "inference_geo": "not_available"}
    del ordinary["speed"]
    assert said(response_metadata={"usage": ordinary}).get("details") == {"service_tier": "standard"}


def test_server_tools_of_an_answer() -> None:
    failed = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    assert server_tools(
        [
            "text",
            {"type": "text", "text": "x"},
            {"type": ["odd"]},
            {"type": "server_tool_use", "id": "1", "name": "web_search"},
            {"type": "web_search_tool_result", "tool_use_id": "1", "content": [{"type": "web_search_result"}]},
            {"type": "server_tool_use", "id": "2", "name": "web_search"},
            {"type": "web_search_tool_result", "tool_use_id": "2", "content": failed},
            {"type": "server_tool_use", "id": "3", "name": "code_execution"},
            {"type": "server_tool_call", "id": "4", "name": "web_search"},
            {"type": "server_tool_call", "id": "5", "name": "web_fetch"},
            {"type": "server_tool_result", "tool_call_id": "5", "status": "error"},
            {"type": "server_tool_use", "id": "6", "name": "tool_of_tomorrow"},
            {"type": "web_search_call", "action": {"type": "search"}},
            {"type": "web_search_call", "action": {"type": "open_page"}},
            {"type": "web_search_call"},
            {"type": "image_generation_call"},
            {"type": "tool_use", "name": "web_search"},
        ]
    ) == {"web_searches": 4, "code_executions": 1, "images_generated": 1}
    assert server_tools([{"type": "tool_use", "name": "web_search"}]) == {}


def test_stated_searches_are_not_counted_again() -> None:
    usage = said(
        usage_metadata=langchain(9, 1),
        response_metadata={"usage": {"input_tokens": 9, "server_tool_use": {"web_search_requests": 2}}},
        server_tools={"web_searches": 3},
    )
    assert usage.get("details") == {"web_searches": 2}


@pytest.mark.parametrize(
    ("base", "provider"),
    [
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://mine.services.ai.azure.com/openai/v1/", "azure"),
        ("https://API.X.AI/v1", "xai"),
        ("http://localhost:11434/v1", "openai"),
        ("https://api.openai.com/v1", "openai"),
        ("https://openrouter.ai.example.com/v1", "openai"),
        ("not an address", "openai"),
        ("https://[broken", "openai"),
        ("", "openai"),
    ],
)
def test_the_host_says_who_answers(base: str, provider: str) -> None:
    assert provider_of(base) == provider


counts = st.integers(0, 10**6) | st.none()
native = st.dictionaries(st.sampled_from(sorted(NATIVE)), counts, max_size=8).flatmap(
    lambda flat: st.fixed_dictionaries(
        {},
        optional={
            name: st.dictionaries(st.sampled_from(sorted(parts)), counts, max_size=4) for name, parts in NESTED.items()
        },
    ).map(lambda nested: flat | nested)
)
shapes = st.fixed_dictionaries(
    {},
    optional={
        "usage_metadata": native,
        "llm_output": st.fixed_dictionaries({}, optional={"token_usage": native, "usage": native}),
        "response_metadata": st.fixed_dictionaries({}, optional={"usage": native, "token_count": native}) | native,
        "server_tools": st.dictionaries(st.sampled_from(("web_searches", "code_executions")), st.integers(1, 9)),
        "last_chunk": native,
        "partial": st.booleans(),
    },
)


@given(shapes, st.sampled_from(("openai", "anthropic", "xai", "cohere", None)))
def test_any_shape_adds_up_or_is_flagged(told: dict[str, Any], provider: str | None) -> None:
    usage = said(provider, **told)
    details = usage.get("details", {})
    whole, output, total = wholes(usage)
    for value in (*(value for name, value in usage.items() if name.endswith("_tokens")), *details.values()):
        assert not isinstance(value, int) or value >= 0
    if "violations" not in details:
        parts = [usage.get("cache_read_tokens"), usage.get("cache_write_tokens")]
        assert whole is None or sum(part or 0 for part in parts) <= whole
        assert output is None or (usage.get("reasoning_tokens") or 0) <= output
        if None not in (whole, output, total) and "unattributed_tokens" not in details:
            assert total == (whole or 0) + (output or 0)
    assert (usage.get("source") == "reported") == ((whole, output, total) != (None, None, None))
    # The same answer told again says the same; and what came of it, told as LangChain would, comes out again.
    assert said(provider, **told) == usage
    if "violations" not in details and "unattributed_tokens" not in details and None not in (whole, output):
        again = {
            "input_tokens": whole,
            "output_tokens": output,
            "total_tokens": total,
            "input_token_details": {
                "cache_read": usage.get("cache_read_tokens"),
                "cache_creation": usage.get("cache_write_tokens"),
            },
            "output_token_details": {"reasoning": usage.get("reasoning_tokens")},
        }
        assert wholes(said(usage_metadata=again)) == (whole, output, total)
