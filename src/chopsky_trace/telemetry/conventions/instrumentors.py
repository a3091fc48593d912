"""Who made a span, and who answered the call: names as the rest of the package knows them."""

from __future__ import annotations

import re
from functools import lru_cache

from chopsky_trace.telling.hosts import provider_of

_VERSION = re.compile(r"[./]v\d+$|-\d+(?:\.\d+)+$")
_WORD = re.compile(r"[a-z0-9]+")
_NUMBER = re.compile(r"v?\d+|v\d+beta\d*")
# Words of an instrumentation scope that do not say whose SDK it wraps.
_NEUTRAL = frozenset(
    (
        *("opentelemetry", "openinference", "openllmetry", "openlit", "logfire", "traceloop", "arizeai", "langfuse"),
        *(
            "otel",
            "instrumentation",
            "instrumentations",
            "instrumentor",
            "genai",
            "util",
            "contrib",
            "io",
            "com",
            "org",
        ),
        *("sdk", "client", "chatclient", "api", "python", "js", "node", "java", "go", "net", "rb", "github", "ai"),
        *(
            "inference",
            "runtime",
            "generative",
            "generativeai",
            "chat",
            "native",
            "tracer",
            "tracing",
            "core",
            "studio",
        ),
    )
)
_SDKS = frozenset(
    (
        *("openai", "anthropic", "groq", "mistral", "mistralai", "cohere", "google", "gemini", "vertex", "vertexai"),
        *("bedrock", "botocore", "aws", "azure", "ollama", "together", "togetherai", "replicate", "alephalpha"),
        *("watsonx", "ibm", "sagemaker", "huggingface", "transformers", "deepseek", "xai", "voyageai", "voyage"),
        *("perplexity", "fireworks", "cerebras", "ai21", "vllm", "reka", "premai", "elevenlabs", "assemblyai"),
        *("writer", "writerai", "sarvam", "gpt4all", "portkey", "claude", "jina", "nvidia", "moonshot"),
    )
)

PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "claude": "anthropic",
    **dict.fromkeys(
        ("azure", "azure_openai", "azure-openai", "azure.ai.openai", "az.ai.openai", "azureopenai"), "azure"
    ),
    **dict.fromkeys(("azure_ai", "azure.ai.inference", "az.ai.inference", "azure-ai-inference"), "azure_ai"),
    **dict.fromkeys(
        ("google", "google_genai", "google-genai", "gemini", "gcp.gemini", "gcp.gen_ai", "google.generative-ai"),
        "google_genai",
    ),
    **dict.fromkeys(("google_generativeai", "googlegenerativeai", "google_ai_studio", "google_ai"), "google_genai"),
    **dict.fromkeys(
        ("google_vertexai", "vertexai", "vertex_ai", "vertex-ai", "gcp.vertex_ai", "google.vertex", "google-vertex"),
        "google_vertexai",
    ),
    **dict.fromkeys(("vertex", "google_vertex", "vertex.anthropic"), "google_vertexai"),
    **dict.fromkeys(
        ("aws", "aws.bedrock", "aws_bedrock", "amazon_bedrock", "amazon-bedrock", "bedrock", "amazonbedrock"),
        "amazon_bedrock",
    ),
    **dict.fromkeys(("bedrock_converse", "amazon_bedrock_converse"), "bedrock_converse"),
    **dict.fromkeys(("mistral", "mistralai", "mistral_ai"), "mistralai"),
    **dict.fromkeys(("xai", "x_ai", "x-ai", "grok"), "xai"),
    **dict.fromkeys(("together", "togetherai", "together_ai"), "together"),
    **dict.fromkeys(("fireworks", "fireworks_ai"), "fireworks"),
    **dict.fromkeys(("ibm", "watsonx", "ibm.watsonx.ai"), "ibm"),
    **dict.fromkeys(("huggingface", "hugging_face", "hf"), "huggingface"),
    **dict.fromkeys(("moonshot", "moonshotai", "moonshot_ai"), "moonshotai"),
    **{
        name: name
        for name in ("groq", "cohere", "deepseek", "perplexity", "ollama", "openrouter", "cerebras", "replicate")
    },
}
"""What conventions call a provider, in lower case -> LangChain's `ls_provider`."""
FRAMEWORKS = frozenset(
    (
        *("langchain", "langgraph", "llamaindex", "llama_index", "haystack", "crewai", "autogen", "litellm", "dspy"),
        *("openai_agents", "openai-agents", "pydantic_ai", "pydantic-ai", "smolagents", "agno", "semantic_kernel"),
        *("vercel", "ai", "unknown", "none", "null", "other", "_other", "custom", "traceloop", "strands", "mlflow"),
        # Where Amazon answers, in the place of a model's vendor.
        *("us", "eu", "apac", "global", "jp", "au", "ca", "us-gov"),
        *("strands-agents", "google_adk", "gcp.vertex.agent", "microsoft.extensions.ai", "openinference"),
    )
)
"""What stands in a provider's place and is none."""
MAX_NAME_CHARS = 200


@lru_cache(512)
def instrumentor(scope: str) -> tuple[str, bool, str | None]:
    """An instrumentation scope's name as it is in every version; whether it wraps a provider's SDK, or is one; whose.

    It does where all that its name says, beside words that every instrumentor's name has, are names of providers:
    `openinference.instrumentation.openai`, `com.anthropic.sdk.python`; not `logfire.openai_agents`, `pydantic-ai`.
    """
    name = _VERSION.sub("", scope.strip()[:MAX_NAME_CHARS])
    words = {word for word in _WORD.findall(name.lower()) if not _NUMBER.fullmatch(word)}
    told = words - _NEUTRAL
    is_provider = bool(told) and told <= _SDKS
    return name, is_provider, provider(told.pop()) if is_provider and len(told) == 1 else None


@lru_cache(1024)
def provider(name: str) -> str | None:
    """A provider's canonical name; None of a framework's."""
    told = name.strip().strip('"').lower()[:MAX_NAME_CHARS]
    if not told or told in FRAMEWORKS:
        return None
    found = PROVIDERS.get(told)
    while found is None and "." in told:
        # The AI SDK says which of a provider's interfaces: openai.chat, google.vertex.chat.
        told = told.rpartition(".")[0]
        found = PROVIDERS.get(told)
    return found or name.strip().strip('"').lower()[:MAX_NAME_CHARS]


@lru_cache(512)
def provider_at(address: str) -> str | None:
    """Who answers at an address, with or without its scheme; None where that is nobody's that is known."""
    found = provider_of(address if "://" in address else f"//{address}")
    return None if found == "openai" else PROVIDERS.get(found, found)
