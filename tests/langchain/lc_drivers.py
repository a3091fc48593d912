"""Which LangChain model makes the requests of a recorded exchange, and what it has to be told."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from langchain_core.messages import HumanMessage

PACKAGES = {
    "google": "langchain_google_genai",
    "mistral": "langchain_mistralai",
    "groq": "langchain_groq",
    "cohere": "langchain_cohere",
    "bedrock": "langchain_aws",
    "deepseek": "langchain_deepseek",
    "xai": "langchain_xai",
    "anthropic": "langchain_anthropic",
}


def base_of(uri: str, ending: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix(ending)}"


def openai_model(uri: str, request: dict[str, Any], model: str) -> Any:
    from langchain_openai import AzureChatOpenAI, ChatOpenAI, OpenAI

    path = urlsplit(uri).path
    if "/deployments/" in path:
        deployment = path.split("/deployments/")[1].split("/")[0]
        version = parse_qs(urlsplit(uri).query)["api-version"][0]
        return AzureChatOpenAI(
            azure_endpoint=base_of(uri, path),
            azure_deployment=deployment,
            api_version=version,
            api_key="none",
            max_retries=0,
        )
    if path.endswith("/responses"):
        return ChatOpenAI(
            model=model, base_url=base_of(uri, "/responses"), api_key="none", max_retries=0, use_responses_api=True
        )
    if path.endswith("/chat/completions"):
        wants_usage = bool((request.get("stream_options") or {}).get("include_usage"))
        return ChatOpenAI(
            model=model,
            base_url=base_of(uri, "/chat/completions"),
            api_key="none",
            max_retries=0,
            use_responses_api=False,
            stream_usage=wants_usage,
            n=request.get("n"),
        )
    return OpenAI(model=model, base_url=base_of(uri, "/completions"), api_key="none", max_retries=0)


def make_model(provider: str, uri: str, request: dict[str, Any], model: str) -> Any:
    """The chat model that makes this request; None where LangChain reports no event for it (embeddings, raw calls)."""
    path = urlsplit(uri).path
    if path.endswith("/embeddings") or "cachedContents" in path:
        return None
    package = PACKAGES.get(provider)
    module: Any = pytest.importorskip(package) if package else None
    if provider == "anthropic":
        return module.ChatAnthropic(
            model=model, api_key="none", max_retries=0, base_url=base_of(uri, "/v1/messages"), max_tokens=1024
        )
    if provider == "google":
        return module.ChatGoogleGenerativeAI(
            model=model.removeprefix("models/"), api_key="none", max_retries=1, transport="rest"
        )
    if provider == "mistral":
        return module.ChatMistralAI(model=model, api_key="none", max_retries=1)
    if provider == "groq":
        return module.ChatGroq(model=model, api_key="none", max_retries=0)
    if provider == "cohere":
        return module.ChatCohere(model=model, cohere_api_key="none", base_url=None)
    if provider == "bedrock":
        from botocore.config import Config

        return module.ChatBedrockConverse(
            model=model.replace("%3A", ":"),
            provider="anthropic",
            region_name=urlsplit(uri).netloc.split(".")[1],
            aws_access_key_id="none",
            aws_secret_access_key="none",
            config=Config(retries={"total_max_attempts": 1}),
        )
    if provider == "deepseek":
        return module.ChatDeepSeek(
            model=model, api_base=base_of(uri, "/chat/completions"), api_key="none", max_retries=0
        )
    if provider == "xai":
        return module.ChatXAI(model=model, api_key="none", max_retries=0, use_responses_api=True)
    return openai_model(uri, request, model)


def question_of(request: dict[str, Any]) -> list[Any]:
    """A question about as long as the recorded one; what is replayed is the answer."""
    return [
        HumanMessage(
            json.dumps(request.get("messages") or request.get("input") or request.get("contents") or request)[:20_000]
        )
    ]
