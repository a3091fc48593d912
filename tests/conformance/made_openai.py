"""OpenAI, and everybody who speaks as OpenAI does."""

from __future__ import annotations

from typing import Any

from conformance.made import (
    ASKED_USAGE,
    Made,
    chat,
    chat_stream,
    done,
    named,
    respond,
    respond_stream,
    usage,
)

OPENAI = "https://api.openai.com/v1"
CHAT = f"{OPENAI}/chat/completions"
RESPONSES = f"{OPENAI}/responses"


def response_usage(whole: int, output: int, cached: int, reasoning: int, **more: Any) -> dict[str, Any]:
    return {
        "input_tokens": whole,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": whole + output,
        **more,
    }


SEARCHED = [
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "ramen"}},
    {"type": "web_search_call", "id": "ws_2", "status": "completed", "action": {"type": "open_page", "url": "u"}},
    {"type": "web_search_call", "id": "ws_3", "status": "completed", "action": {"type": "search", "query": "broth"}},
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk="},
]
ROUTED = usage(
    50,
    9,
    {"cached_tokens": 30},
    {"reasoning_tokens": 4},
    cost=0.00042,
    is_byok=False,
    cost_details={"upstream_inference_cost": 0.0004},
)

AUDIO = usage(30, 50, {"audio_tokens": 8, "text_tokens": 22}, {"audio_tokens": 33, "text_tokens": 17})
FLEX = usage(100, 20, {"cached_tokens": 40}, {"reasoning_tokens": 5})
PRICED = response_usage(300, 80, 128, 64)
CASES = [
    Made(
        "n2_stream",
        "ChatOpenAI",
        "openai",
        "chat",
        CHAT,
        "gpt-4o",
        chat_stream([usage(12, 24)], choices=2),
        (12, 24, 36),
        body={"n": 2, **ASKED_USAGE},
        stream=done,
    ),
    Made("audio_out", "ChatOpenAI", "openai", "chat", CHAT, "gpt-audio", [chat(AUDIO)], (30, 50, 80), {"audio": 41}),
    Made(
        "flex",
        "ChatOpenAI",
        "openai",
        "chat",
        CHAT,
        "o3",
        [chat(FLEX, service_tier="flex")],
        (100, 20, 120),
        {"cache_read": 40, "reasoning": 5, "service_tier": "flex"},
    ),
    Made(
        "predicted",
        "ChatOpenAI",
        "openai",
        "chat",
        CHAT,
        "gpt-4o",
        [chat(usage(9, 30, None, {"accepted_prediction_tokens": 8, "rejected_prediction_tokens": 3}))],
        (9, 30, 39),
    ),
    Made(
        "responses_tools",
        "ChatOpenAI",
        "openai",
        "responses",
        RESPONSES,
        "gpt-5",
        [respond(PRICED, SEARCHED, service_tier="priority")],
        (300, 80, 380),
        {"cache_read": 128, "reasoning": 64, "service_tier": "priority"},
    ),
    Made(
        "responses_tools_stream",
        "ChatOpenAI",
        "openai",
        "responses",
        RESPONSES,
        "gpt-5",
        respond_stream(respond(PRICED, SEARCHED, service_tier="flex")),
        (300, 80, 380),
        {"cache_read": 128, "reasoning": 64, "service_tier": "flex"},
        stream=named,
    ),
    Made(
        "azure",
        "AzureChatOpenAI",
        "azure",
        "chat",
        "https://x.openai.azure.com/openai/deployments/mine/chat/completions?api-version=2024-10-21",
        "mine",
        [chat(FLEX)],
        (100, 20, 120),
        {"cache_read": 40, "reasoning": 5},
    ),
    Made(
        "together",
        "ChatOpenAI",
        "together",
        "chat",
        "https://api.together.xyz/v1/chat/completions",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        [chat(usage(70, 8, cached_tokens=64), "meta-llama/Llama-3.3-70B-Instruct-Turbo")],
        (70, 8, 78),
        {"cache_read": 64},
    ),
    Made(
        "fireworks",
        "ChatOpenAI",
        "fireworks",
        "chat",
        "https://api.fireworks.ai/inference/v1/chat/completions",
        "accounts/fireworks/models/deepseek-v3",
        chat_stream([usage(70, 8, {"cached_tokens": 64})], "accounts/fireworks/models/deepseek-v3"),
        (70, 8, 78),
        {"cache_read": 64},
        body=ASKED_USAGE,
        stream=done,
    ),
    Made(
        "together_stream",
        "ChatOpenAI",
        "together",
        "chat",
        "https://api.together.xyz/v1/chat/completions",
        "openai/gpt-oss-20b",
        chat_stream([usage(70, 8, cached_tokens=64, service_tier="flex", cost=0.001)], "openai/gpt-oss-20b"),
        (70, 8, 78),
        {"cache_read": 64, "service_tier": "flex", "cost_reported_usd": "0.001"},
        body=ASKED_USAGE,
        stream=done,
    ),
    # Usage with every chunk, each time of all so far.
    Made(
        "cumulative",
        "ChatOpenAI",
        "openai",
        "chat",
        "http://vllm.internal:8000/v1/chat/completions",
        "gpt-oss",
        chat_stream([usage(20, 0), usage(20, 1), usage(20, 2), usage(20, 3)], "gpt-oss"),
        (20, 3, 23),
        body=ASKED_USAGE,
        stream=done,
    ),
    Made(
        "perplexity_cumulative",
        "ChatOpenAI",
        "perplexity",
        "chat",
        "https://api.perplexity.ai/chat/completions",
        "sonar",
        chat_stream([usage(9, 1), usage(9, 20), usage(9, 40)], "sonar"),
        (9, 40, 49),
        body=ASKED_USAGE,
        stream=done,
    ),
    Made(
        "openrouter",
        "ChatOpenAI",
        "openrouter",
        "chat",
        "https://openrouter.ai/api/v1/chat/completions",
        "openai/gpt-4o",
        [chat(ROUTED, "openai/gpt-4o")],
        (50, 9, 59),
        {"cache_read": 30, "reasoning": 4, "cost_reported_usd": "0.00042"},
    ),
    Made(
        "openrouter_stream",
        "ChatOpenRouter",
        "openrouter",
        "chat",
        "https://openrouter.ai/api/v1/chat/completions",
        "openai/gpt-4o",
        chat_stream([ROUTED], "openai/gpt-4o"),
        (50, 9, 59),
        {"cache_read": 30, "reasoning": 4, "cost_reported_usd": "0.00042"},
        stream=done,
    ),
]
