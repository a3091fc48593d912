"""The names frameworks report for providers and models -> the names a price list knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from chopsky_trace.enrich.usage import once

MAX_NAME = 512
"""A longer model name is not looked up."""

# LangChain's ls_provider, OpenTelemetry's gen_ai.provider.name and LiteLLM's prefixes -> genai-prices' provider.
# A provider that is not here and is none of genai-prices' own ids has no price: whoever serves a model sets its price.
PROVIDERS = {
    "azure_openai": "azure",
    "azure-openai": "azure",
    "azure.ai.openai": "azure",
    "az.ai.openai": "azure",
    "azure_ai": "azure",
    "azure.ai.inference": "azure",
    "google_genai": "google",
    "google-genai": "google",
    "google_vertexai": "google",
    "google_anthropic_vertex": "google",
    "vertexai": "google",
    "vertex_ai": "google",
    "gemini": "google",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google",
    "amazon_bedrock": "aws",
    "amazon_bedrock_converse": "aws",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "aws.bedrock": "aws",
    "aws_bedrock": "aws",
    "anthropic_bedrock": "aws",
    "anthropic-bedrock": "aws",
    "mistralai": "mistral",
    "mistral_ai": "mistral",
    "fireworks_ai": "fireworks",
    "togetherai": "together",
    "together_ai": "together",
    "xai": "x-ai",
    "x_ai": "x-ai",
    "moonshot": "moonshotai",
    "moonshot_ai": "moonshotai",
}
_SUFFIX = re.compile(
    r"(?:[-@](?:\d{4}-\d{2}-\d{2}|\d{2}-\d{2,4}|\d{3,8}|latest|default)|[-.]v\d+(?:\.\d+)?|:\d+(?:k|m)?)+"
)
"""What names a version of a model: -2024-08-06, @20250929, -0125, -latest, -v1:0."""
_PREFIX = re.compile(r"(?:[\w.@:-]+/)+|(?:(?:us|eu|apac|au|jp|in|ca|sa|global|us-gov)\.)?(?:[a-z0-9]+\.)?")
"""What says where it is: models/, us.anthropic."""
GATEWAYS = frozenset(("litellm", "litellm_proxy"))
"""Names that say how a call went, not who answered it: the model's prefix says that."""
CLOSED = frozenset(("openai", "anthropic", "google", "x-ai"))
"""Providers whose models nobody else sets a list price for: a prefix that names one of them is enough to price a call
that went through an OpenAI-compatible address. Open-weight models are priced only by the host that was reported."""


def candidates(
    provider: str | None, model: str | None, model_requested: str | None, gateway: str | None = None
) -> Iterator[tuple[str | None, str, str]]:
    """(provider id or None, model name, which of the two names) to look up, the likeliest first.

    The model that answered decides. The one asked for stands in only where no other answered, or the two are one name
    with and without its date, version or region: an unknown answering model is not priced as another.
    """
    seat = provider_id(provider)
    answered, asked = tidy(model), tidy(model_requested)
    if answered:
        yield from _forms(seat, answered, "model", gateway)
    if asked and asked != answered and (not answered or is_same(asked, answered)):
        yield from _forms(seat, asked, "model_requested", gateway)


def names_of(
    provider: str | None, model: str | None, model_requested: str | None, gateway: str | None = None
) -> tuple[tuple[str | None, str], ...]:
    """(provider id or None, model name) that a call goes by, in lower case: as reported first, then parts of it.

    An Azure deployment or a Bedrock profile is a name of one's own, and comes before the model that answered for it.
    """
    reported = (provider or "").strip().lower() or None
    seat = provider_id(provider)
    answered, asked = tidy(model), tidy(model_requested)
    names: dict[tuple[str | None, str], None] = {}
    whole = [asked] if asked and (not answered or seat in ("azure", "aws")) else []
    for name in [*whole, *([answered] if answered else [])]:
        names[reported, name.lower()] = names[seat, name.lower()] = None
    for found_seat, name, _ in candidates(provider, model, model_requested, gateway):
        names[found_seat, name.lower()] = None
    return tuple(names)


def is_same(one: str, other: str) -> bool:
    """Whether two names are of one model: one has a date, version, region or folder that the other lacks."""
    one, other = one.lower(), other.lower()
    short, long = sorted((one, other), key=len)
    if long.startswith(short):
        return _SUFFIX.fullmatch(long, len(short)) is not None
    return long.endswith(short) and _PREFIX.fullmatch(long, 0, len(long) - len(short)) is not None


def provider_id(provider: str | None) -> str | None:
    """genai-prices' id of a provider; None where nobody in particular was named."""
    name = (provider or "").strip().lower()
    if not name or name in GATEWAYS:
        return None
    return PROVIDERS.get(name, name)


def tidy(model: str | None) -> str:
    """A model name without percent-encoding and without the repetitions of merged stream chunks."""
    name = (model or "").strip()
    if not name or len(name) > MAX_NAME:
        return ""
    return once(unquote(name) if "%" in name else name)


def _forms(seat: str | None, name: str, origin: str, gateway: str | None) -> Iterator[tuple[str | None, str, str]]:
    if name.startswith("arn:"):
        resource, _, last = name.rpartition("/")
        # An application profile or provisioned model hides which model it is, and may have a price of its own.
        if resource.endswith((":inference-profile", ":foundation-model")):
            yield seat or "aws", last, origin
        return
    if gateway:
        yield gateway, name, origin
    prefix, slash, rest = name.partition("/")
    vendor = provider_id(prefix) if slash else None
    if seat is not None or not slash:
        yield seat, name, origin
    if not slash:
        return
    last = name.rpartition("/")[2]
    if prefix in ("models", "publishers", "projects", "accounts", "endpoints"):
        yield seat, last, origin
    elif vendor == seat or (vendor in CLOSED and seat in (None, "openai")):
        yield vendor, rest, origin
    elif seat is None and vendor is not None:
        # LiteLLM's prefix names the host itself; the host's own list knows the name without it or with it.
        yield vendor, rest, origin
