"""Anthropic, and its models on Bedrock."""

from __future__ import annotations

import json

from conformance.made import (
    Made,
    claude,
    claude_stream,
    frames,
    named,
)

CLAUDE = "https://api.anthropic.com/v1/messages"
AWS = "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-sonnet-4-20250514-v1%3A0"
TIMED = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 70}
CLAUDE_USAGE = {
    "input_tokens": 11,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 400,
    "cache_creation": TIMED,
    "output_tokens": 60,
    "output_tokens_details": {"thinking_tokens": 25},
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
    "service_tier": "batch",
    "inference_geo": "us",
}
SEARCH_TOOL = {"type": "web_search_20250305", "name": "web_search"}
WEB = [
    {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "ramen"}},
    {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []},
    {"type": "server_tool_use", "id": "srv_2", "name": "web_search", "input": {"query": "broth"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srv_2",
        "content": {"type": "web_search_tool_result_error", "error_code": "unavailable"},
    },
]
STEPS = [
    {"type": "compaction", "input_tokens": 900, "output_tokens": 80},
    {"type": "message", "input_tokens": 40, "output_tokens": 9, "cache_read_input_tokens": 5},
]
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Ramen."}]}},
    "stopReason": "end_turn",
    "metrics": {"latencyMs": 10},
    "usage": {
        "inputTokens": 11,
        "outputTokens": 60,
        "totalTokens": 571,
        "cacheReadInputTokens": 400,
        "cacheWriteInputTokens": 100,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 30}, {"ttl": "1h", "inputTokens": 70}],
    },
    "serviceTier": {"type": "flex"},
}
SPLIT = {"cache_read": 400, "cache_write": 100, "cache_write_5m": 30, "cache_write_1h": 70}
METRICS = {
    "inputTokenCount": 11,
    "outputTokenCount": 60,
    "cacheReadInputTokenCount": 400,
    "cacheWriteInputTokenCount": 100,
    "invocationLatency": 5,
    "firstByteLatency": 2,
}
COUNTED = {
    "x-amzn-bedrock-input-token-count": "11",
    "x-amzn-bedrock-output-token-count": "60",
    "x-amzn-bedrock-cache-read-input-token-count": "400",
    "x-amzn-bedrock-cache-write-input-token-count": "100",
}

LATE = {"output_tokens": 60}
FULL = {name: CLAUDE_USAGE[name] for name in CLAUDE_USAGE if name not in ("service_tier", "inference_geo")}
UNSPLIT = {name: FULL[name] for name in FULL if name not in ("cache_creation", "server_tool_use")}
WHOLE = (511, 60, 571)
CASES = [
    Made(
        "claude",
        "ChatAnthropic",
        "anthropic",
        "messages",
        CLAUDE,
        "claude-sonnet-4-5",
        [claude(CLAUDE_USAGE)],
        WHOLE,
        {
            **SPLIT,
            "reasoning": 25,
            "service_tier": "batch",
            "server_tool_use": json.dumps(CLAUDE_USAGE["server_tool_use"]),
        },
    ),
    Made(
        "claude_compacted",
        "ChatAnthropic",
        "anthropic",
        "messages",
        CLAUDE,
        "claude-opus-4-6",
        [claude({"input_tokens": 40, "cache_read_input_tokens": 5, "output_tokens": 9, "iterations": STEPS})],
        (45, 9, 54),
        {"cache_read": 5, "billed_iterations": json.dumps(STEPS)},
    ),
    Made(
        "claude_stream_input_first",
        "ChatAnthropic",
        "anthropic",
        "messages",
        CLAUDE,
        "claude-sonnet-4-5",
        claude_stream(CLAUDE_USAGE, LATE),
        WHOLE,
        {**SPLIT, "service_tier": "batch"},
        stream=named,
    ),
    Made(
        "claude_stream_web",
        "ChatAnthropic",
        "anthropic",
        "messages",
        CLAUDE,
        "claude-sonnet-4-5",
        claude_stream(CLAUDE_USAGE, UNSPLIT | {"server_tool_use": {"web_search_requests": 1}}, WEB),
        WHOLE,
        {**SPLIT, "reasoning": 25, "service_tier": "batch", "server_tool_use": '{"web_search_requests": 1}'},
        body={"tools": [SEARCH_TOOL]},
        stream=named,
    ),
    Made(
        "converse",
        "ChatBedrockConverse",
        "bedrock",
        "converse",
        f"{AWS}/converse",
        "anthropic.claude-sonnet-4-20250514-v1:0",
        [CONVERSED],
        WHOLE,
        {**SPLIT, "service_tier": "flex"},
    ),
    Made(
        "invoke",
        "ChatBedrock",
        "bedrock",
        "invoke",
        f"{AWS}/invoke",
        "anthropic.claude-sonnet-4-20250514-v1:0",
        [claude(UNSPLIT)],
        WHOLE,
        {"cache_read": 400, "cache_write": 100, "reasoning": 25},
        headers=COUNTED,
    ),
    Made(
        "invoke_stream",
        "ChatBedrock",
        "bedrock",
        "invoke",
        f"{AWS}/invoke-with-response-stream",
        "anthropic.claude-sonnet-4-20250514-v1:0",
        [*claude_stream(UNSPLIT, LATE)[:-1], {"type": "message_stop", "amazon-bedrock-invocationMetrics": METRICS}],
        WHOLE,
        {"cache_read": 400, "cache_write": 100, "reasoning": 25},
        stream=frames,
    ),
]
