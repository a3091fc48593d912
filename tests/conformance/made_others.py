"""All the others, and what is said where little is."""

from __future__ import annotations

from conformance.made import (
    Made,
    chat,
    chat_stream,
    done,
    gemini,
    lines,
    named,
    rows,
    usage,
)
from conformance.made_claude import CONVERSED

OPENAI = "https://api.openai.com/v1"
GOOGLE = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash"
AWS = "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-sonnet-4-20250514-v1%3A0"
GEMINI_USAGE = {
    "promptTokenCount": 200,
    "candidatesTokenCount": 10,
    "thoughtsTokenCount": 24,
    "toolUsePromptTokenCount": 30,
    "cachedContentTokenCount": 50,
    "totalTokenCount": 264,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 20},
        {"modality": "AUDIO", "tokenCount": 100},
        {"modality": "IMAGE", "tokenCount": 80},
    ],
    "serviceTier": "standard",
}
GEMINI_SAYS = {
    "cache_read": 50,
    "reasoning": 24,
    "audio": 100,
    "tool_use_prompt": 30,
    "service_tier": "standard",
}
GROUNDED = {"finishReason": "STOP", "groundingMetadata": {"webSearchQueries": ["ramen", "broth"]}}
COHERE_USAGE = {
    "billed_units": {"input_tokens": 20, "output_tokens": 6},
    "tokens": {"input_tokens": 90, "output_tokens": 7},
}
COHERE_SAID = {"role": "assistant", "content": [{"type": "text", "text": "Ramen."}]}
SONAR = usage(9, 40, citation_tokens=300, num_search_queries=3, reasoning_tokens=12)
CREATED = "2026-01-01T00:00:00Z"

STREAMED = dict(GEMINI_USAGE, candidatesTokenCount=4, thoughtsTokenCount=24, totalTokenCount=258)
ANSWERED = {"id": "c1", "finish_reason": "COMPLETE", "message": COHERE_SAID}
COHERE_STREAM = [
    {"type": "message-start", "id": "c1", "delta": {"message": {"role": "assistant"}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Ramen."}}}},
    {"type": "content-end", "index": 0},
    {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": COHERE_USAGE}},
]
OLLAMA_ANSWER = [
    {
        "model": "llama3.2",
        "created_at": CREATED,
        "message": {"role": "assistant", "content": "Ramen."},
        "done": False,
    },
    {
        "model": "llama3.2",
        "created_at": CREATED,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        "total_duration": 9,
        "load_duration": 1,
        "prompt_eval_count": 26,
        "prompt_eval_duration": 4,
        "eval_count": 29,
        "eval_duration": 4,
    },
]
MISTRAL_ANSWER = usage(50, 9, {"cached_tokens": 30}, num_cached_tokens=30, service_tier="standard")
GROQ_ANSWER = usage(50, 9, {"cached_tokens": 30}, {"reasoning_tokens": 4}, queue_time=0.1)
GROQ_STREAM = chat_stream([None], "openai/gpt-oss-120b")[:-1]
GROQ_STREAM[-1]["x_groq"] = {"id": "q1", "usage": GROQ_ANSWER}
OTHERS = [
    Made(
        "gemini",
        "ChatGoogleGenerativeAI",
        "google",
        "generateContent",
        f"{GOOGLE}:generateContent",
        "gemini-2.5-flash",
        [gemini(GEMINI_USAGE, **GROUNDED)],
        (230, 34, 264),
        GEMINI_SAYS,
    ),
    Made(
        "gemini_stream",
        "ChatGoogleGenerativeAI",
        "google",
        "generateContent",
        f"{GOOGLE}:streamGenerateContent",
        "gemini-2.5-flash",
        [gemini(STREAMED), gemini(GEMINI_USAGE, **GROUNDED)],
        (230, 34, 264),
        GEMINI_SAYS,
        stream=lines,
    ),
    Made(
        "mistral",
        "ChatMistralAI",
        "mistral",
        "chat",
        "https://api.mistral.ai/v1/chat/completions",
        "mistral-large-latest",
        [chat(MISTRAL_ANSWER, "mistral-large-2411")],
        (50, 9, 59),
        {"cache_read": 30, "service_tier": "standard"},
    ),
    Made(
        "mistral_stream",
        "ChatMistralAI",
        "mistral",
        "chat",
        "https://api.mistral.ai/v1/chat/completions",
        "mistral-large-latest",
        [
            *chat_stream([None], "mistral-large-2411")[:-2],
            chat_stream([None], "mistral-large-2411")[-2] | {"usage": MISTRAL_ANSWER},
        ],
        (50, 9, 59),
        {"cache_read": 30, "service_tier": "standard"},
        stream=done,
    ),
    Made(
        "groq_stream",
        "ChatGroq",
        "groq",
        "chat",
        "https://api.groq.com/openai/v1/chat/completions",
        "openai/gpt-oss-120b",
        GROQ_STREAM,
        (50, 9, 59),
        {"cache_read": 30, "reasoning": 4},
        stream=done,
    ),
    Made(
        "cohere",
        "ChatCohere",
        "cohere",
        "chat",
        "https://api.cohere.com/v2/chat",
        "command-a-03-2025",
        [ANSWERED | {"usage": COHERE_USAGE | {"cached_tokens": 16}}],
        (90, 7, 97),
        {"cache_read": 16},
    ),
    Made(
        "cohere_stream",
        "ChatCohere",
        "cohere",
        "chat",
        "https://api.cohere.com/v2/chat",
        "command-a-03-2025",
        COHERE_STREAM,
        (90, 7, 97),
        stream=named,
    ),
    Made(
        "deepseek_stream",
        "ChatDeepSeek",
        "deepseek",
        "chat",
        "https://api.deepseek.com/chat/completions",
        "deepseek-chat",
        chat_stream([usage(50, 9, prompt_cache_hit_tokens=40, prompt_cache_miss_tokens=10)], "deepseek-chat"),
        (50, 9, 59),
        {"cache_read": 40},
        stream=done,
    ),
    Made(
        "xai_beside",
        "ChatXAI",
        "xai",
        "chat",
        "https://api.x.ai/v1/chat/completions",
        "grok-4",
        [
            chat(
                {
                    "prompt_tokens": 32,
                    "completion_tokens": 9,
                    "total_tokens": 135,
                    "num_sources_used": 2,
                    "completion_tokens_details": {"reasoning_tokens": 94},
                },
                "grok-4",
            )
        ],
        (32, 103, 135),
        {"reasoning": 94},
    ),
    Made(
        "xai_within",
        "ChatXAI",
        "xai",
        "chat",
        "https://api.x.ai/v1/chat/completions",
        "grok-4",
        chat_stream([usage(32, 103, None, {"reasoning_tokens": 94})], "grok-4"),
        (32, 103, 135),
        {"reasoning": 94},
        stream=done,
    ),
    Made(
        "perplexity",
        "ChatPerplexity",
        "perplexity",
        "chat",
        "https://api.perplexity.ai/chat/completions",
        "sonar-deep-research",
        [chat(SONAR, "sonar-deep-research")],
        (9, 40, 49),
        {"reasoning": 12, "server_tool_use": '{"web_search_requests": 3}'},
    ),
    Made(
        "perplexity_stream",
        "ChatPerplexity",
        "perplexity",
        "chat",
        "https://api.perplexity.ai/chat/completions",
        "sonar",
        chat_stream([usage(9, 1), usage(9, 20), usage(9, 40)], "sonar"),
        (9, 40, 49),
        stream=done,
    ),
    Made(
        "ollama",
        "ChatOllama",
        "ollama",
        "chat",
        "http://ollama.test:11434/api/chat",
        "llama3.2",
        OLLAMA_ANSWER,
        (26, 29, 55),
        stream=rows,
    ),
]

COMPLETION = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1_760_000_000,
    "model": "gpt-3.5-turbo-instruct:20230824-v2",
    "choices": [{"index": 0, "text": "Ramen.", "finish_reason": "stop", "logprobs": None}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
}
CONVERSED_BARE = {name: CONVERSED[name] for name in CONVERSED if name != "serviceTier"} | {
    "usage": {"inputTokens": 11, "outputTokens": 6, "totalTokens": 17}
}
BARE = {"promptTokenCount": 5, "candidatesTokenCount": 1, "totalTokenCount": 6}
PLAIN = [
    Made(
        "completion",
        "OpenAI(LLM)",
        "openai",
        "completions",
        f"{OPENAI}/completions",
        "gpt-3.5-turbo-instruct",
        [COMPLETION],
        (7, 2, 9),
    ),
    Made(
        "converse_plain",
        "ChatBedrockConverse",
        "bedrock",
        "converse",
        f"{AWS}/converse",
        "anthropic.claude-sonnet-4-20250514-v1:0",
        [CONVERSED_BARE],
        (11, 6, 17),
    ),
    Made(
        "gemini_plain",
        "ChatGoogleGenerativeAI",
        "google",
        "generateContent",
        f"{GOOGLE}:generateContent",
        "gemini-2.5-flash",
        [gemini(BARE, finishReason="STOP")],
        (5, 1, 6),
    ),
    Made(
        "sonar_cost",
        "ChatPerplexity",
        "perplexity",
        "chat",
        "https://api.perplexity.ai/chat/completions",
        "sonar",
        [chat(usage(9, 4, cost={"total_cost": 0.005}), "sonar")],
        (9, 4, 13),
        {"cost_reported_usd": "0.005"},
    ),
]

CASES = [*OTHERS, *PLAIN]
