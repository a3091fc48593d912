"""Model names as LangChain reports them, and the price that each must get: the providers' own, or none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from chopsky_trace.enrich.pricing.model_names import is_same
from chopsky_trace.enrich.pricing.price import price
from chopsky_trace.records import Cost

AT = datetime(2026, 1, 15, 12, tzinfo=UTC)
BEDROCK = "arn:aws:bedrock:us-east-1:123456789012"
VERTEX = "projects/p/locations/us-central1"


def cost_of(provider: str | None, model: str | None, requested: str | None = None, at: datetime = AT) -> Cost:
    return price(
        {"input_tokens": 1_000_000, "output_tokens": 0, "source": "reported"},
        provider=provider, model=model, model_requested=requested, at=at, cached=False, service_tier=None,
    )  # fmt: skip


# USD per million tokens, input and output, from the providers' own pages in January 2026.
PRICED = """
openai           gpt-4o-2024-08-06                              2.5    10
openai           gpt-4o-2024-05-13                              5      15
openai           gpt-4o-2024-11-20                              2.5    10
openai           chatgpt-4o-latest                              5      15
openai           gpt-4o-mini-2024-07-18                         0.15   0.6
openai           gpt-4.1-2025-04-14                             2      8
openai           gpt-4.1-mini-2025-04-14                        0.4    1.6
openai           gpt-4.1-nano-2025-04-14                        0.1    0.4
openai           gpt-5-2025-08-07                               1.25   10
openai           gpt-5-mini-2025-08-07                          0.25   2
openai           gpt-5-nano-2025-08-07                          0.05   0.4
openai           gpt-5-chat-latest                              1.25   10
openai           o1-2024-12-17                                  15     60
openai           o3-2025-04-16                                  2      8
openai           o3-mini-2025-01-31                             1.1    4.4
openai           o4-mini-2025-04-16                             1.1    4.4
openai           gpt-3.5-turbo-0125                             0.5    1.5
openai           gpt-3.5-turbo-1106                             1      2
openai           gpt-3.5-turbo-0613                             1.5    2
openai           gpt-3.5-turbo-instruct                         1.5    2
openai           gpt-4-0613                                     30     60
openai           gpt-4-turbo-2024-04-09                         10     30
openai           gpt-4-0125-preview                             10     30
openai           ft:gpt-4o-2024-08-06:acme::AbCd1234            3.75   15
openai           ft:gpt-4o-mini-2024-07-18:acme::AbCd1234       0.3    1.2
openai           ft:gpt-3.5-turbo-0125:acme::AbCd1234           3      6
openai           text-embedding-3-small                         0.02   -
openai           text-embedding-3-large                         0.13   -
openai           text-embedding-ada-002                         0.1    -
azure            gpt-4o-2024-08-06                              2.5    10
azure            gpt-35-turbo                                   0.5    1.5
azure            gpt-4o-mini-2024-07-18                         0.15   0.6
azure_openai     gpt-4.1-2025-04-14                             2      8
anthropic        claude-3-5-sonnet-20241022                     3      15
anthropic        claude-3-5-haiku-20241022                      0.8    4
anthropic        claude-3-7-sonnet-20250219                     3      15
anthropic        claude-3-haiku-20240307                        0.25   1.25
anthropic        claude-3-opus-20240229                         15     75
anthropic        claude-sonnet-4-20250514                       3      15
anthropic        claude-opus-4-1-20250805                       15     75
anthropic        claude-haiku-4-5-20251001                      1      5
anthropic        claude-opus-4-5-20251101                       5      25
amazon_bedrock   anthropic.claude-3-5-sonnet-20240620-v1:0      3      15
amazon_bedrock   us.anthropic.claude-3-7-sonnet-20250219-v1:0   3      15
amazon_bedrock   eu.anthropic.claude-3-haiku-20240307-v1:0      0.25   1.25
amazon_bedrock   apac.anthropic.claude-3-5-sonnet-20241022-v2:0 3      15
bedrock_converse global.anthropic.claude-haiku-4-5-20251001-v1:0 1     5
bedrock_converse us.anthropic.claude-haiku-4-5-20251001-v1:0    1.1    5.5
bedrock_converse {BEDROCK}:inference-profile/us.anthropic.claude-3-5-haiku-20241022-v1:0 0.8 4
bedrock_converse arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0 0.25 1.25
amazon_bedrock   amazon.nova-lite-v1:0                          0.06   0.24
amazon_bedrock   us.amazon.nova-pro-v1:0                        0.8    3.2
amazon_bedrock   us.amazon.nova-micro-v1:0                      0.035  0.14
amazon_bedrock   us.meta.llama3-3-70b-instruct-v1:0             0.72   0.72
amazon_bedrock   us.deepseek.r1-v1:0                            1.35   5.4
amazon_bedrock   amazon.titan-embed-text-v2:0                   0.02   -
google_genai     gemini-2.0-flash-001                           0.1    0.4
google_genai     gemini-2.5-flash-lite                          0.1    0.4
google_genai     models/gemini-embedding-001                    0.15   -
google_vertexai  gemini-2.0-flash-lite-001                      0.075  0.3
google_vertexai  claude-sonnet-4@20250514                       3      15
google_vertexai  {VERTEX}/publishers/google/models/gemini-2.0-flash 0.1 0.4
google_anthropic_vertex claude-3-5-haiku@20241022               0.8    4
openrouter       openai/gpt-4o-mini                             0.15   0.6
openrouter       meta-llama/llama-3.3-70b-instruct:free         -      -
openai           anthropic/claude-haiku-4.5                     1      5
litellm          anthropic/claude-3-5-sonnet-20241022           3      15
litellm          groq/llama-3.3-70b-versatile                   0.59   0.79
litellm          bedrock/anthropic.claude-3-haiku-20240307-v1:0 0.25   1.25
fireworks        accounts/fireworks/models/llama-v3p1-8b-instruct 0.2  0.2
fireworks        accounts/fireworks/models/gpt-oss-120b         0.15   0.6
groq             llama-3.1-8b-instant                           0.05   0.08
groq             meta-llama/llama-4-scout-17b-16e-instruct      0.11   0.34
groq             moonshotai/kimi-k2-instruct-0905               1      3
together         meta-llama/Llama-3.3-70B-Instruct-Turbo        0.88   0.88
together         meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo    0.18   0.18
cerebras         llama3.1-8b                                    0.1    0.1
cerebras         llama-3.3-70b                                  0.85   1.2
xai              grok-3                                         3      15
xai              grok-3-mini                                    0.3    0.5
xai              grok-code-fast-1                               0.2    1.5
mistralai        mistral-large-2411                             2      6
mistralai        open-mistral-nemo                              0.15   0.15
mistralai        mistral-medium-2505                            0.4    2
mistralai        mistral-embed                                  0.1    -
cohere           command-r-08-2024                              0.15   0.6
cohere           command-r-plus-08-2024                         2.5    10
cohere           command-a-03-2025                              2.5    10
voyageai         voyage-3.5                                     0.06   -
None             gpt-4o-2024-08-06                              2.5    10
None             claude-3-5-haiku-20241022                      0.8    4
"""

# Whose price nobody can know from the name, or of which the public list has a wrong one.
UNKNOWN = """
openai           ft:gpt-4.1-mini-2025-04-14:acme::AbCd1234
openai           gpt-oss-120b
openai           my-vllm-model
openai           meta-llama/Llama-3.1-8B-Instruct
openai           gpt-4o-mini-super
azure            my-gpt4o-deployment
azure            gpt-4o-mini-prod
anthropic        claude-sonnet-99
bedrock_converse {BEDROCK}:application-inference-profile/abcd1234
bedrock_converse {BEDROCK}:provisioned-model/abcd1234
amazon_bedrock   cohere.command-r-plus-v1:0
google_genai     gemma-3-27b-it
google_genai     gemini-flash-latest
google_genai     gemini-1.0-pro
google_genai     gemini-2.0-flash-exp
google_vertexai  {VERTEX}/endpoints/456
openrouter       openrouter/auto
openrouter       some/unknown-model
litellm          azure/my-deployment
litellm          ollama/llama3.2
fireworks        accounts/my-team/models/my-finetune
fireworks        accounts/my-team/models/llama-v3p1-8b-instruct
groq             compound-beta
together         acme/my-model
together         mistralai/Mixtral-8x7B-Instruct-v0.1
perplexity       sonar-pro
deepseek         deepseek-chat
deepseek         deepseek-reasoner
mistralai        mistral-large-latest
cohere           command-r-plus-04-2024
ollama           llama3.2
ollama           gpt-oss:20b
huggingface      meta-llama/Llama-3.3-70B-Instruct
nvidia           meta/llama-3.1-70b-instruct
None             llama3.2
"""


def lines(table: str) -> list[list[str]]:
    return [line.split() for line in table.format(BEDROCK=BEDROCK, VERTEX=VERTEX).strip().splitlines()]


@pytest.mark.parametrize(("provider", "model", "read", "written"), lines(PRICED))
def test_a_name_has_its_providers_price(provider: str, model: str, read: str, written: str) -> None:
    cost = price(
        {"input_tokens": 1_000, "output_tokens": 1_000, "source": "reported"},
        provider=None if provider == "None" else provider, model=model, model_requested=None,
        at=AT, cached=False, service_tier=None,
    )  # fmt: skip
    assert cost["amount"] is not None, cost
    assert cost["rates"] is not None
    prices = cost["rates"]["unit_prices"]
    expected = {"input_mtok": read, "output_mtok": written}
    embeds = "embed" in model
    assert {key: value for key, value in prices.items() if not (embeds and key == "output_mtok")} == {
        key: value for key, value in expected.items() if value != "-"
    }


@pytest.mark.parametrize(("provider", "model"), lines(UNKNOWN))
def test_a_name_without_a_certain_price_has_none(provider: str, model: str) -> None:
    cost = cost_of(None if provider == "None" else provider, model)
    assert (cost["amount"], cost["source"]) == (None, "unknown")
    assert cost["rates"]


@pytest.mark.parametrize(
    ("provider", "model", "before", "price_before"),
    [
        ("deepseek", "deepseek-chat", datetime(2025, 8, 1, 12, tzinfo=UTC), "0.27"),
        ("mistralai", "mistral-large-latest", datetime(2025, 12, 1, 23, 59, tzinfo=UTC), "2"),
    ],
)
def test_a_price_of_the_list_is_doubted_only_since_it_is_wrong(
    provider: str, model: str, before: datetime, price_before: str
) -> None:
    assert cost_of(provider, model, at=before)["amount"] == price_before
    rates = cost_of(provider, model)["rates"]
    assert rates is not None
    assert rates["reason"].startswith("the public price is wrong: ")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5", True),
        ("us.anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku-20240307-v1:0", True),
        ("gemini-2.5-flash", "models/gemini-2.5-flash", True),
        ("gpt-3.5-turbo", "gpt-3.5-turbo-0125", True),
        ("command-r", "command-r-08-2024", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o", "gpt-4o-audio-preview", False),
        ("gpt-4", "gpt-4.1", False),
        ("gpt-4", "gpt-4o", False),
        ("o1", "o1-mini", False),
        ("claude-3-opus", "claude-3-opus-99", False),
    ],
)
def test_the_model_asked_for_stands_in_only_for_itself(one: str, other: str, same: bool) -> None:
    assert is_same(one, other) is is_same(other, one) is same


@pytest.mark.parametrize("answered", ["gpt-4o-super", "gpt-9", "router/of-our-own"])
def test_an_answering_model_nobody_knows_is_not_priced_as_the_one_asked_for(answered: str) -> None:
    assert cost_of("openai", answered, "gpt-4o")["amount"] is None
    assert cost_of("openai", None, "gpt-4o")["amount"] == "2.5"
