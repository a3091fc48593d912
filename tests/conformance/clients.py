"""Which LangChain client makes a request, and what it has to be told."""

from __future__ import annotations

import importlib
import json
import warnings
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from conformance.exchanges import Request
from langchain_core.messages import HumanMessage


def base_of(uri: str, ending: str = "") -> str:
    """The address that the client adds its path to."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix(ending)}"


def _package(name: str) -> ModuleType:
    with warnings.catch_warnings():
        # What the providers' own packages warn of is not ours.
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, exc_type=ImportError)


def _openai(request: Request) -> Any:
    from langchain_openai import AzureChatOpenAI, ChatOpenAI, OpenAI

    path = urlsplit(request.uri).path
    common: dict[str, Any] = {"api_key": "none", "max_retries": 0}
    if "/deployments/" in path:
        return AzureChatOpenAI(
            azure_endpoint=base_of(request.uri, path),
            azure_deployment=path.split("/deployments/")[1].split("/")[0],
            api_version=parse_qs(urlsplit(request.uri).query)["api-version"][0],
            stream_usage=_wants_usage(request),
            **common,
        )
    if path.endswith("/responses"):
        return ChatOpenAI(
            model=request.model, base_url=base_of(request.uri, "/responses"), use_responses_api=True, **common
        )
    if path.endswith("/chat/completions"):
        return ChatOpenAI(
            model=request.model,
            base_url=base_of(request.uri, "/chat/completions"),
            use_responses_api=False,
            stream_usage=_wants_usage(request),
            n=request.body.get("n"),
            **common,
        )
    return OpenAI(model=request.model, base_url=base_of(request.uri, "/completions"), **common)


def _wants_usage(request: Request) -> bool:
    return bool((request.body.get("stream_options") or {}).get("include_usage"))


def _anthropic(request: Request) -> Any:
    return _package("langchain_anthropic").ChatAnthropic(
        model=request.model,
        api_key="none",
        max_retries=0,
        base_url=base_of(request.uri, "/v1/messages"),
        max_tokens=4096,
    )


def _google(request: Request) -> Any:
    return _package("langchain_google_genai").ChatGoogleGenerativeAI(
        model=request.model.removeprefix("models/"), api_key="none", max_retries=1, transport="rest"
    )


def _mistral(request: Request) -> Any:
    return _package("langchain_mistralai").ChatMistralAI(model=request.model, api_key="none", max_retries=1)


def _groq(request: Request) -> Any:
    return _package("langchain_groq").ChatGroq(model=request.model, api_key="none", max_retries=0)


def _cohere(request: Request) -> Any:
    return _package("langchain_cohere").ChatCohere(model=request.model, cohere_api_key="none", base_url=None)


def _aws(request: Request) -> dict[str, Any]:
    from botocore.config import Config

    return {
        "region_name": urlsplit(request.uri).netloc.split(".")[1],
        "aws_access_key_id": "none",
        "aws_secret_access_key": "none",
        "config": Config(retries={"total_max_attempts": 1}),
    }


def _maker(model: str) -> str:
    """The vendor that a Bedrock model's name begins with, after its region."""
    return next((part for part in model.split(".") if len(part) > 3), model)


def _converse(request: Request) -> Any:
    model = unquote(request.model)
    module = _package("langchain_aws")
    return module.ChatBedrockConverse(model=model, provider=_maker(model), **_aws(request))


def _bedrock(request: Request) -> Any:
    if "/converse" in request.uri:
        return _converse(request)
    model = unquote(request.model)
    return _package("langchain_aws").ChatBedrock(model=model, provider=_maker(model), **_aws(request))


def _deepseek(request: Request) -> Any:
    base = base_of(request.uri, "/chat/completions")
    return _package("langchain_deepseek").ChatDeepSeek(
        model=request.model, api_base=base, api_key="none", max_retries=0
    )


def _xai(request: Request) -> Any:
    responses = urlsplit(request.uri).path.endswith("/responses")
    return _package("langchain_xai").ChatXAI(
        model=request.model, api_key="none", max_retries=0, use_responses_api=responses
    )


def _openrouter(request: Request) -> Any:
    return _package("langchain_openrouter").ChatOpenRouter(model=request.model, api_key="none", max_retries=0)


def _perplexity(request: Request) -> Any:
    return _package("langchain_perplexity").ChatPerplexity(model=request.model, api_key="none", max_retries=0)


def _together(request: Request) -> Any:
    return _package("langchain_together").ChatTogether(
        model=request.model, api_key="none", max_retries=0, stream_usage=_wants_usage(request)
    )


def _fireworks(request: Request) -> Any:
    return _package("langchain_fireworks").ChatFireworks(model=request.model, api_key="none", max_retries=1)


def _ollama(request: Request) -> Any:
    return _package("langchain_ollama").ChatOllama(model=request.model, base_url=base_of(request.uri, "/api/chat"))


DRIVERS = {
    "ChatOpenAI": _openai,
    "AzureChatOpenAI": _openai,
    "OpenAI(LLM)": _openai,
    "ChatAnthropic": _anthropic,
    "ChatGoogleGenerativeAI": _google,
    "ChatMistralAI": _mistral,
    "ChatGroq": _groq,
    "ChatCohere": _cohere,
    "ChatBedrockConverse": _converse,
    "ChatBedrock": _bedrock,
    "ChatDeepSeek": _deepseek,
    "ChatXAI": _xai,
    "ChatOpenRouter": _openrouter,
    "ChatPerplexity": _perplexity,
    "ChatTogether": _together,
    "ChatFireworks": _fireworks,
    "ChatOllama": _ollama,
}
CALLS = frozenset(("chat", "responses", "messages", "generateContent", "converse", "invoke", "completions"))
"""The interfaces of models."""


def is_model_call(request: Request) -> bool:
    """Whether a LangChain model makes this request; others (caches, files, batches) are no calls of a model."""
    return request.api in CALLS


def is_embeddings(request: Request) -> bool:
    return request.api == "embeddings"


def client_of(request: Request) -> Any:
    """The model that makes this request; skips the test where its package is not installed.

    Raises:
        LookupError: nothing here knows such a client.
    """
    make = DRIVERS.get(request.driver)
    if make is None:
        raise LookupError(f"no client is known for {request.driver} ({request.uri})")
    return make(request)


def embeddings_of(request: Request) -> Any:
    """The embeddings that make this request."""
    from langchain_openai import OpenAIEmbeddings

    return OpenAIEmbeddings(
        model=request.model,
        base_url=base_of(request.uri, "/embeddings"),
        api_key="none",
        max_retries=0,
        # Texts as they are: no tokeniser has to be fetched.
        check_embedding_ctx_length=False,
    )  # type: ignore[arg-type]  # its own Secret type


def traced(embeddings: Any, tracer: Any) -> Any:
    """The embeddings with their calls recorded; None where this package cannot do that."""
    package = importlib.import_module("chopsky_trace")
    wrap = getattr(package, "traced_embeddings", None)
    return None if wrap is None else wrap(embeddings, tracer)


def question_of(request: Request) -> list[Any]:
    """A question about as long as the recorded one; what is replayed is the answer."""
    body = request.body
    asked = body.get("messages") or body.get("input") or body.get("contents") or body
    return [HumanMessage(json.dumps(asked)[:20_000])]


def told(request: Request) -> dict[str, Any]:
    """What decides how the client reads the answer: with tools it keeps the blocks of an answer, without only text."""
    if request.driver == "ChatAnthropic" or request.api == "responses":
        return {name: request.body[name] for name in ("tools", "thinking") if request.body.get(name)}
    return {}
