"""What frameworks and providers call the counts of a call."""

from __future__ import annotations

from collections.abc import Mapping

TIERS = ("priority", "flex")
"""Service tiers that LangChain writes as prefixes of its detail keys."""

# LangChain's UsageMetadata: input_token_details and output_token_details.
INPUT_PARTS = {
    "cache_read": "cache_read",
    "cache_creation": "cache_write",
    "ephemeral_5m_input_tokens": "cache_write_5m",
    "ephemeral_1h_input_tokens": "cache_write_1h",
    "audio": "input_audio_tokens",
    "image": "input_image_tokens",
    "video": "input_video_tokens",
    "text": "input_text_tokens",
}
OUTPUT_PARTS = {
    "reasoning": "reasoning",
    "audio": "output_audio_tokens",
    "image": "output_image_tokens",
    "video": "output_video_tokens",
    "text": "output_text_tokens",
}

# What providers call the same. A slot that ends in "_beside" is not part of the whole that stands next to it.
NATIVE = {
    **dict.fromkeys(
        (
            "prompt_tokens",
            "input_tokens",
            "inputTokens",
            "inputTokenCount",
            "prompt_token_count",
            "promptTokenCount",
            "prompt_eval_count",
            "promptTokens",
            "input_token_count",
            "totalInputTokens",
        ),
        "input",
    ),
    **dict.fromkeys(
        (
            "completion_tokens",
            "output_tokens",
            "outputTokens",
            "outputTokenCount",
            "candidates_token_count",
            "candidatesTokenCount",
            "eval_count",
            "generated_tokens",
            "generation_token_count",
            "generated_token_count",
            "completionTokens",
            "response_tokens",
            "totalOutputTokens",
        ),
        "output",
    ),
    **dict.fromkeys(("total_tokens", "totalTokens", "total_token_count", "totalTokenCount"), "total"),
    **dict.fromkeys(
        (
            "cached_tokens",
            "num_cached_tokens",
            "prompt_cache_hit_tokens",
            "cached_content_token_count",
            "cachedContentTokenCount",
        ),
        "cache_read",
    ),
    **dict.fromkeys(
        ("cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount"), "cache_read_beside"
    ),
    **dict.fromkeys(
        (
            "cache_creation_input_tokens",
            "cache_write_input_tokens",
            "cacheWriteInputTokens",
            "cacheWriteInputTokenCount",
        ),
        "cache_write_beside",
    ),
    **dict.fromkeys(("thoughts_token_count", "thoughtsTokenCount"), "reasoning_beside"),
    **dict.fromkeys(("tool_use_prompt_token_count", "toolUsePromptTokenCount"), "tool_use_prompt_tokens"),
    "reasoning_tokens": "reasoning",
    "num_search_queries": "web_searches",
    # Says again what the difference of two others says.
    "prompt_cache_miss_tokens": "",
}
SPLIT_WRITES = {
    "cache_write_5m_tokens": "cache_write_5m",
    "cache_write_1h_tokens": "cache_write_1h",
}
"""Fields of a usage that have no columns: they stand in `usage_details`. Wherever a count of such a name stands, it is
this part, so that the name is given to nothing else."""
NATIVE_INPUT = {
    "cached_tokens": "cache_read",
    "cache_write_tokens": "cache_write",
    "cache_creation_tokens": "cache_write",
    "audio_tokens": "input_audio_tokens",
    "image_tokens": "input_image_tokens",
    "video_tokens": "input_video_tokens",
    "text_tokens": "input_text_tokens",
}
NATIVE_OUTPUT = {
    "reasoning_tokens": "reasoning",
    "thinking_tokens": "reasoning",
    "audio_tokens": "output_audio_tokens",
    "image_tokens": "output_image_tokens",
    "video_tokens": "output_video_tokens",
    "text_tokens": "output_text_tokens",
}
NESTED: dict[str, Mapping[str, str]] = {
    **dict.fromkeys(("prompt_tokens_details", "input_tokens_details", "prompt_token_details"), NATIVE_INPUT),
    **dict.fromkeys(("completion_tokens_details", "output_tokens_details", "completion_token_details"), NATIVE_OUTPUT),
    # OpenAI's images and audio, and LangChain's own shape where an integration puts it elsewhere.
    "input_token_details": {**NATIVE_INPUT, **INPUT_PARTS},
    "output_token_details": {**NATIVE_OUTPUT, **OUTPUT_PARTS},
    "cache_creation": {"ephemeral_5m_input_tokens": "cache_write_5m", "ephemeral_1h_input_tokens": "cache_write_1h"},
    "server_tool_use": {
        "web_search_requests": "web_searches",
        "web_fetch_requests": "web_fetches",
        "code_execution_requests": "code_executions",
    },
    "billed_units": {
        "input_tokens": "billed_input_tokens",
        "output_tokens": "billed_output_tokens",
        "search_units": "rerank_searches",
    },
    "tokens": NATIVE,
}
MODALITIES = {
    "prompt_tokens_details": "input_{}_tokens",
    "promptTokensDetails": "input_{}_tokens",
    "candidates_tokens_details": "output_{}_tokens",
    "candidatesTokensDetails": "output_{}_tokens",
    "cache_tokens_details": "cache_{}_read_tokens",
    "cacheTokensDetails": "cache_{}_read_tokens",
}
MODALITY_NUMBERS = {1: "text", 2: "image", 3: "video", 4: "audio", 5: "document"}
"""Google's, where its client does not spell them."""
# Where the callback carries a provider's own numbers inside response_metadata.
CONTAINERS = ("token_usage", "usage", "usage_metadata", "token_count", "amazon-bedrock-invocationMetrics")
BARE = (
    "prompt_eval_count",
    "eval_count",
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "prompt_token_count",
    "generation_token_count",
    "generated_token_count",
    "input_token_count",
    "num_search_queries",
    "cost",
    "cost_details",
)
"""What some integrations (Ollama, Databricks, Perplexity, OpenRouter) state in the response metadata itself."""
STATED_BARE = frozenset(BARE)
WHOLE = frozenset(
    ("input", "output", "total", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "reasoning")
)
ORDINARY_DETAILS = ("prompt_tokens_details", "completion_tokens_details")
ORDINARY = frozenset(("prompt_tokens", "completion_tokens", "total_tokens", *ORDINARY_DETAILS))
AUDIO = ("input_audio_tokens", "output_audio_tokens")
INPUT_MODALITIES = tuple(dict.fromkeys(name for name in INPUT_PARTS.values() if name.startswith("input_")))
OUTPUT_MODALITIES = tuple(dict.fromkeys(name for name in OUTPUT_PARTS.values() if name.startswith("output_")))
"""Parts that do not overlap: together no more than their whole."""
PRICED_BY = {
    "service_tier": "service_tier",
    "serviceTier": "service_tier",
    "speed": "speed",
    "inference_geo": "inference_geo",
}
"""What a price depends on besides counts."""
NOWHERE = frozenset(("not_available", "global"))
"""Places that change no price."""
STATED = (*CONTAINERS, *BARE, *PRICED_BY)
"""All of a message's response metadata that says something of usage, or of what changes its price."""
