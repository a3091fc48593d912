"""Who answers at an address of OpenAI's form."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

# LangChain's ChatOpenAI speaks to all of these, and calls each of them openai.
HOSTS = {
    "openrouter.ai": "openrouter",
    "api.x.ai": "xai",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistralai",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "api.perplexity.ai": "perplexity",
    "api.cerebras.ai": "cerebras",
    "api.anthropic.com": "anthropic",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.moonshot.ai": "moonshotai",
    "api.moonshot.cn": "moonshotai",
    "generativelanguage.googleapis.com": "google",
}
HOST_ENDINGS = {
    ".openai.azure.com": "azure",
    ".services.ai.azure.com": "azure",
    ".cognitiveservices.azure.com": "azure",
    ".models.ai.azure.com": "azure",
    "aiplatform.googleapis.com": "google",
    ".amazonaws.com": "amazon_bedrock",
}


@lru_cache(256)
def provider_of(base: str) -> str:
    """The provider at an address; `openai` where it is nobody's that is known."""
    try:
        host = urlsplit(base).hostname or ""
    except ValueError:
        return "openai"
    if host in HOSTS:
        return HOSTS[host]
    return next((name for ending, name in HOST_ENDINGS.items() if host.endswith(ending)), "openai")
