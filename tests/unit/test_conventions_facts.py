"""What each convention says of a span: kind, model, usage, end, scope. The spans are made up after real ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chopsky_trace.enrich.usage import normalise
from chopsky_trace.telemetry.conventions import read, table
from chopsky_trace.telemetry.conventions.instrumentors import instrumentor, provider
from chopsky_trace.telemetry.conventions.native import CLIENT, ERROR, INTERNAL, NO_STATUS, NativeEvent, NativeSpan
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.conventions.values import loose, loosely, scalar

TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
BEGAN, SECOND = 1_795_310_000_000_000_000, 1_000_000_000


def span(
    attributes: dict[str, Any],
    *,
    scope: str = "opentelemetry.instrumentation.genai.openai",
    name: str = "chat gpt-4o-mini",
    kind: int = CLIENT,
    status: int = NO_STATUS,
    message: str = "",
    events: tuple[NativeEvent, ...] = (),
    resource: dict[str, Any] | None = None,
    took: int = SECOND,
    dropped: int = 0,
) -> NativeSpan:
    return NativeSpan(
        TRACE,
        SPAN,
        None,
        name,
        kind,
        BEGAN,
        BEGAN + took,
        status,
        message,
        attributes,
        events,
        scope,
        resource or {},
        dropped,
    )


def counted(reading: Reading) -> dict[str, Any]:
    """The counts that the usage comes to."""
    assert reading.usage is not None
    usage = normalise(reading.usage, provider=reading.provider, cached=reading.cached)
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    assert "violations" not in usage.get("details", {})
    return {name.removesuffix("_tokens"): usage[name] for name in names if usage[name] is not None}


GENAI = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-5-mini",
    "gen_ai.response.model": "gpt-5-mini-2025-08-07",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.response.time_to_first_chunk": 0.25,
    "gen_ai.usage.input_tokens": 1050,
    "gen_ai.usage.output_tokens": 87,
    "gen_ai.usage.cache_read.input_tokens": 1024,
    "gen_ai.usage.reasoning.output_tokens": 64,
}
WHOLE = {"input": 1050, "output": 87, "cache_read": 1024, "reasoning": 64}
ANTHROPIC = {"input": 2587, "output": 24, "cache_read": 2048, "cache_write": 512}


def test_the_current_convention_is_read_in_full() -> None:
    found = read(span({**GENAI, "gen_ai.request.temperature": 0.2, "gen_ai.request.stop_sequences": ["\n"]}))

    assert (found.is_genai, found.kind, found.status, found.is_provider) == (True, "llm", "completed", True)
    assert (found.provider, found.model_requested, found.model) == ("openai", "gpt-5-mini", "gpt-5-mini-2025-08-07")
    assert (found.response_id, found.finish_reason, found.first_token_ms) == ("chatcmpl-1", "stop", 250.0)
    assert counted(found) == WHOLE
    assert found.params == {"temperature": 0.2, "stop": ["\n"]}
    assert (found.started, found.ended, found.partial, found.parsed) == (BEGAN, BEGAN + SECOND, (), {})


@pytest.mark.parametrize(
    "written", ["gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"]
)
def test_cache_writes_have_two_names(written: str) -> None:
    found = read(
        span(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.usage.input_tokens": 2587,
                "gen_ai.usage.output_tokens": 24,
                "gen_ai.usage.cache_read.input_tokens": 2048,
                written: 512,
            }
        )
    )
    assert counted(found) == ANTHROPIC


USAGES: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "openinference": (
        "openinference.instrumentation.openai",
        {
            "openinference.span.kind": "LLM",
            "llm.token_count.prompt": 1050,
            "llm.token_count.completion": 87,
            "llm.token_count.total": 1137,
            "llm.token_count.prompt_details.cache_read": 1024,
            "llm.token_count.completion_details.reasoning": 64,
        },
        WHOLE,
    ),
    "openllmetry, old": (
        "opentelemetry.instrumentation.openai.v1",
        {
            "llm.request.type": "chat",
            "gen_ai.usage.prompt_tokens": 1050,
            "gen_ai.usage.completion_tokens": 87,
            "llm.usage.total_tokens": 1137,
            "gen_ai.usage.cache_read_input_tokens": 1024,
            "gen_ai.usage.reasoning_tokens": 64,
        },
        WHOLE,
    ),
    "langsmith": (
        "langsmith",
        {
            "langsmith.span.kind": "llm",
            "gen_ai.usage.input_tokens": 1050,
            "langsmith.metadata.usage_metadata": json.dumps(
                {
                    "input_tokens": 1050,
                    "output_tokens": 87,
                    "total_tokens": 1137,
                    "input_token_details": {"cache_read": 1024},
                    "output_token_details": {"reasoning": 64},
                }
            ),
        },
        WHOLE,
    ),
    "logfire": (
        "logfire.openai",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": 1050,
            "gen_ai.usage.output_tokens": 87,
            "gen_ai.usage.raw": json.dumps(
                {
                    "prompt_tokens": 1050,
                    "completion_tokens": 87,
                    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": None},
                    "completion_tokens_details": {"reasoning_tokens": 64},
                }
            ),
        },
        WHOLE,
    ),
    "logfire, anthropic's own numbers beside": (
        "logfire.anthropic",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": 2587,
            "gen_ai.usage.output_tokens": 24,
            "gen_ai.usage.raw": json.dumps(
                {
                    "input_tokens": 27,
                    "output_tokens": 24,
                    "cache_read_input_tokens": 2048,
                    "cache_creation_input_tokens": 512,
                }
            ),
        },
        ANTHROPIC,
    ),
    "mlflow": (
        "mlflow.tracing.provider",
        {
            "mlflow.spanType": '"CHAT_MODEL"',
            "mlflow.chat.tokenUsage": '{"input_tokens": 1050, "output_tokens": 87, "cache_read_input_tokens": 1024}',
            "mlflow.spanOutputs": '{"usage": {"completion_tokens_details": {"reasoning_tokens": 64}}}',
        },
        WHOLE,
    ),
    "langfuse, parts beside": (
        "langfuse-sdk",
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.usage_details": json.dumps(
                {"input": 26, "output": 23, "total": 1137, "input_cache_read": 1024, "output_reasoning": 64}
            ),
        },
        WHOLE,
    ),
    "langfuse, anthropic": (
        "langfuse-sdk",
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.usage_details": json.dumps(
                {"input": 27, "output": 24, "cache_read_input_tokens": 2048, "cache_creation_input_tokens": 512}
            ),
        },
        ANTHROPIC,
    ),
    "langfuse, openai's own object": (
        "langfuse-sdk",
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.usage_details": json.dumps(
                {
                    "prompt_tokens": 1050,
                    "completion_tokens": 87,
                    "prompt_tokens_details": {"cached_tokens": 1024},
                    "completion_tokens_details": {"reasoning_tokens": 64},
                }
            ),
        },
        WHOLE,
    ),
    "openlit, anthropic's input beside": (
        "openlit.instrumentation.anthropic",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": 3000,
            "gen_ai.usage.output_tokens": 24,
            "gen_ai.usage.cache_read.input_tokens": 2048,
            "gen_ai.usage.cache_creation.input_tokens": 512,
        },
        {"input": 5560, "output": 24, "cache_read": 2048, "cache_write": 512},
    ),
    "anybody's input beside, as it is less than its parts": (
        "somebody",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": 27,
            "gen_ai.usage.output_tokens": 24,
            "gen_ai.usage.total_tokens": 51,
            "gen_ai.usage.cache_read.input_tokens": 2048,
            "gen_ai.usage.cache_creation.input_tokens": 512,
        },
        ANTHROPIC,
    ),
    "ai sdk": (
        "ai",
        {
            "ai.operationId": "ai.streamText.doStream",
            "ai.usage.inputTokens": 1050,
            "ai.usage.outputTokens": 87,
            "ai.usage.inputTokenDetails.cacheReadTokens": 1024,
            "ai.usage.inputTokenDetails.noCacheTokens": 26,
            "ai.usage.reasoningTokens": 64,
        },
        WHOLE,
    ),
    "litellm, with its provider's object as Python writes it": (
        "litellm",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": 1050,
            "gen_ai.usage.output_tokens": 87,
            "metadata.usage_object": str(
                {
                    "prompt_tokens": 1050,
                    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": None},
                    "completion_tokens_details": {"reasoning_tokens": 64},
                }
            ),
        },
        WHOLE,
    ),
    "numbers as text": (
        "somebody",
        {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": "12", "gen_ai.usage.output_tokens": 3.0},
        {"input": 12, "output": 3},
    ),
    "langchain's message, where no attribute says it": (
        "openinference.instrumentation.langchain",
        {
            "openinference.span.kind": "LLM",
            "output.value": json.dumps(
                {
                    "generations": [
                        [{"message": {"kwargs": {"usage_metadata": {"input_tokens": 12, "output_tokens": 3}}}}],
                    ]
                }
            ),
        },
        {"input": 12, "output": 3},
    ),
}


@pytest.mark.parametrize("case", USAGES)
def test_usage_is_whole_whoever_reports_it(case: str) -> None:
    scope, attributes, expected = USAGES[case]
    assert counted(read(span(attributes, scope=scope))) == expected


EMBEDDINGS: list[tuple[str, dict[str, Any]]] = [
    (
        "opentelemetry.instrumentation.genai.openai",
        {"gen_ai.operation.name": "embeddings", "gen_ai.usage.input_tokens": 7},
    ),
    (
        "litellm",
        {"gen_ai.operation.name": "embedding", "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 0},
    ),
    ("ai", {"ai.operationId": "ai.embedMany.doEmbed", "ai.usage.tokens": 7}),
    ("mlflow", {"mlflow.spanType": '"EMBEDDING"', "mlflow.spanOutputs": '{"data": [], "usage": {"prompt_tokens": 7}}'}),
    ("openinference.instrumentation.openai", {"openinference.span.kind": "EMBEDDING", "llm.token_count.prompt": 7}),
    ("langfuse-sdk", {"langfuse.observation.type": "embedding", "langfuse.observation.usage_details": '{"input": 7}'}),
]


@pytest.mark.parametrize(("scope", "attributes"), EMBEDDINGS)
def test_embeddings_are_calls(scope: str, attributes: dict[str, Any]) -> None:
    found = read(span(attributes, scope=scope, name="embeddings"))
    assert found.kind == "embedding"
    assert counted(found)["input"] == 7


USED = {"gen_ai.usage.input_tokens": 26, "gen_ai.usage.output_tokens": 24}
ROLLUPS: list[tuple[str, str, dict[str, Any], str]] = [
    ("ai", "ai.generateText", {"ai.operationId": "ai.generateText", "ai.usage.inputTokens": 26}, "agent"),
    ("ai", "ai.embedMany", {"ai.operationId": "ai.embedMany", "ai.usage.tokens": 7}, "chain"),
    ("ai", "invoke_agent", {"gen_ai.operation.name": "invoke_agent", **USED}, "agent"),
    ("ai", "step 1", {"gen_ai.operation.name": "agent_step", **USED}, "chain"),
    (
        "pydantic-ai",
        "agent run",
        {"agent_name": "a", "model_name": "gpt-4o", "all_messages_events": "[]", **USED},
        "agent",
    ),
    (
        "litellm",
        "raw_gen_ai_request",
        {"llm.openai.usage": "{'prompt_tokens': 1}", "llm.openai.model": "gpt-4o"},
        "other",
    ),
    ("somebody", "fetch_response", {"gen_ai.operation.name": "fetch_response", **USED}, "other"),
    ("somebody", "search_memory", {"gen_ai.operation.name": "search_memory", **USED}, "other"),
    (
        "langsmith",
        "Retriever",
        {"langsmith.span.kind": "retriever", "gen_ai.operation.name": "embeddings"},
        "retriever",
    ),
    ("langsmith", "Prompt", {"langsmith.span.kind": "prompt", "gen_ai.operation.name": "chat"}, "prompt"),
    ("langsmith", "WithFallbacks", {"langsmith.span.kind": "chain", "gen_ai.operation.name": "chain", **USED}, "chain"),
    ("openlit.instrumentation.langchain", "workflow", {"gen_ai.operation.name": "invoke_workflow", **USED}, "chain"),
    ("logfire.openai_agents", "Turn", {"usage": '{"input_tokens": 26}', "gen_ai.agent.name": "a"}, "agent"),
    ("logfire.openai", "Chat Completion", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}, "chain"),
]


@pytest.mark.parametrize(("scope", "name", "attributes", "kind"), ROLLUPS)
def test_what_repeats_its_calls_is_no_call(scope: str, name: str, attributes: dict[str, Any], kind: str) -> None:
    found = read(span(attributes, scope=scope, name=name))
    assert (found.kind, found.usage, found.is_genai) == (kind, None, True)


def test_a_cache_write_that_was_looked_for_elsewhere_is_not_0() -> None:
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.usage.input_tokens": 2587,
        "gen_ai.usage.output_tokens": 24,
        "gen_ai.usage.cache_read.input_tokens": 2048,
        "gen_ai.usage.cache_creation.input_tokens": 0,
    }
    scope = "opentelemetry.instrumentation.langchain"
    assert counted(read(span(told, scope=scope))) == {"input": 2587, "output": 24, "cache_read": 2048}
    told["gen_ai.usage.cache_creation.input_tokens"] = 512
    assert counted(read(span(told, scope=scope))) == ANTHROPIC
    told["gen_ai.usage.cache_creation.input_tokens"] = 0
    other = "opentelemetry.instrumentation.anthropic"
    assert counted(read(span(told, scope=other)))["cache_write"] == 0


def test_the_request_as_a_whole_names_the_model_and_the_user() -> None:
    request = {"model": "claude-sonnet-4-5", "messages": [], "metadata": {"user_id": "ada", "tier": None}}
    told = {
        "mlflow.spanType": '"CHAT_MODEL"',
        "mlflow.message.format": '"anthropic"',
        "mlflow.llm.model": '"claude-sonnet-4-5-20250929"',
        "mlflow.spanInputs": json.dumps(request),
    }
    found = read(span(told, scope="mlflow.tracing.provider", name="Messages.create"))
    assert (found.model_requested, found.model) == ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929")
    assert found.scope["user_id"] == "ada"


def test_how_an_answer_ended_may_stand_in_its_messages() -> None:
    said = [{"role": "assistant", "parts": [], "finish_reason": "tool_call"}]
    told = {"gen_ai.operation.name": "chat", "gen_ai.output.messages": json.dumps(said)}
    assert read(span(told)).finish_reason == "tool_calls"
    assert read(span({**told, "gen_ai.response.finish_reasons": ["length"]})).finish_reason == "length"
    told["gen_ai.output.messages"] = json.dumps([{"role": "assistant", "parts": [], "finish_reason": ""}])
    assert read(span(told)).finish_reason is None


def test_to_make_an_agent_is_no_work_of_it() -> None:
    # OpenLLMetry has it in a trace of its own, which must make no run.
    attributes = {
        "gen_ai.operation.name": "create_agent",
        "gen_ai.agent.name": "cook",
        "gen_ai.system_instructions": "Be",
    }
    found = read(span(attributes, scope="opentelemetry.instrumentation.langchain", name="create_agent cook"))
    assert (found.is_genai, found.kind) == (False, "other")


def test_calls_without_an_operation_are_known() -> None:
    agents = read(
        span({"gen_ai.request.model": "gpt-4o", **USED}, scope="logfire.openai_agents", name="Chat completion with")
    )
    cut = read(
        span({"gen_ai.prompt.80.role": "user", **USED}, scope="opentelemetry.instrumentation.openai.v1", dropped=59)
    )
    bare = read(span({}, scope="openlit.instrumentation.anthropic", name="chat claude-sonnet-4-5", status=ERROR))

    assert (agents.kind, counted(agents)) == ("llm", {"input": 26, "output": 24})
    assert (cut.kind, cut.provider, "attributes" in cut.partial) == ("llm", "openai", True)
    assert (bare.kind, bare.is_genai, bare.model_requested, bare.provider) == (
        "llm",
        True,
        "claude-sonnet-4-5",
        "anthropic",
    )


def test_an_operation_of_a_new_name_is_a_call_if_it_was_answered() -> None:
    told = {"gen_ai.operation.name": "converse", "gen_ai.response.id": "r", **USED}
    assert read(span(told)).kind == "llm"
    assert read(span({"gen_ai.operation.name": "converse", **USED})).kind == "other"


def test_logfires_second_half_of_a_stream_is_the_call() -> None:
    attributes = {
        "gen_ai.operation.name": "chat",
        "logfire.span_type": "log",
        "logfire.level_num": 9,
        "duration": 0.5,
        "logfire.msg_template": "streaming response from {request_data[model]!r} took {duration:.2f}s",
        "logfire.msg": "streaming response from 'gpt-4o' took 0.50s",
        "gen_ai.output.messages": "[]",
        **USED,
    }
    found = read(span(attributes, scope="logfire.openai", took=0))
    assert (found.kind, found.ended - found.started) == ("llm", SECOND // 2)
    assert found.name == "streaming response from 'gpt-4o' took 0.50s"


def test_a_failed_opening_of_a_stream_is_a_call() -> None:
    found = read(span({"gen_ai.operation.name": "chat", "logfire.level_num": 17}, scope="logfire.openai", status=ERROR))
    assert (found.kind, found.status, found.usage) == ("llm", "failed", None)


def test_other_spans_only_say_whose_trace_it_is() -> None:
    found = read(
        span(
            {"http.route": "/chat", "session.id": "s", "user.id": "u", "gen_ai.conversation.id": "c"},
            scope="my.web",
            resource={"service.name": "shop", "deployment.environment": "test"},
        )
    )
    assert (found.is_genai, found.kind, found.model, found.session_rank) == (False, "other", None, 2)
    assert found.scope == {"session_id": "s", "user_id": "u", "project": "shop", "environment": "test"}


def test_no_usage_is_unknown_never_zero() -> None:
    placeholder = {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}
    assert read(span({"gen_ai.operation.name": "chat"})).usage is None
    assert read(span({"gen_ai.operation.name": "chat", **placeholder})).usage is None
    assert read(span({"gen_ai.operation.name": "chat", **placeholder}, status=ERROR)).usage is None


def test_openlits_own_count_of_a_stream_is_no_usage() -> None:
    stream = {"gen_ai.operation.name": "chat", "gen_ai.request.stream": True, **USED}
    scope = "openlit.instrumentation.openai"
    assert read(span(stream, scope=scope)).usage is None
    assert counted(read(span({**stream, "gen_ai.usage.cache_read.input_tokens": 0}, scope=scope)))["input"] == 26


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("operation.cost", 1.83e-05),
        ("gen_ai.cost.total_cost", 1.83e-05),
        ("gen_ai.usage.cost", "0.0000183"),
        ("langfuse.observation.cost_details", '{"total": 0.0000183}'),
    ],
)
def test_a_reported_cost_stands_beside_the_usage(name: str, value: object) -> None:
    found = read(span({**GENAI, name: value, "openai.response.service_tier": "flex"}))
    usage = normalise(found.usage, provider="openai", cached=False)
    assert usage.get("details") == {"service_tier": "flex", "reported_cost_usd": "0.0000183"}


PROVIDERS = [
    ({"gen_ai.system": "openai.chat"}, "openai"),
    ({"gen_ai.system": "OpenAI"}, "openai"),
    ({"gen_ai.provider.name": "", "gen_ai.system": "Anthropic"}, "anthropic"),
    ({"gen_ai.provider.name": "langchain"}, None),
    ({"gen_ai.system": "langchain", "langsmith.metadata.ls_provider": "google_genai"}, "google_genai"),
    ({"gen_ai.provider.name": "aws.bedrock"}, "amazon_bedrock"),
    ({"gen_ai.provider.name": "azure.ai.openai"}, "azure"),
    ({"gen_ai.provider.name": "gcp.vertex_ai"}, "google_vertexai"),
    ({"ai.model.provider": "google.vertex.chat"}, "google_vertexai"),
    ({"ai.model.provider": "mistral.chat"}, "mistralai"),
    ({"mlflow.llm.provider": '"anthropic"'}, "anthropic"),
    ({"gen_ai.provider.name": "openai", "server.address": "api.deepseek.com"}, "deepseek"),
    ({"gen_ai.system": "OpenAI", "gen_ai.openai.api_base": "https://openrouter.ai/api/v1/"}, "openrouter"),
    ({"gen_ai.provider.name": "openai", "server.address": "127.0.0.1"}, "openai"),
    ({"gen_ai.provider.name": "Some New One"}, "some new one"),
]


@pytest.mark.parametrize(("attributes", "expected"), PROVIDERS)
def test_providers_have_one_name(attributes: dict[str, Any], expected: str | None) -> None:
    assert read(span({"gen_ai.operation.name": "chat", **attributes}, scope="somebody")).provider == expected


SCOPES = [
    ("opentelemetry.instrumentation.openai.v1", True),
    ("opentelemetry.instrumentation.openai_v2", True),
    ("opentelemetry.instrumentation.genai.anthropic", True),
    ("openinference.instrumentation.groq", True),
    ("@arizeai/openinference-instrumentation-openai", True),
    ("openlit.instrumentation.mistral", True),
    ("logfire.anthropic", True),
    ("com.anthropic.sdk.python", True),
    ("openinference.instrumentation.google_genai", True),
    ("opentelemetry.instrumentation.botocore", True),
    ("openinference.instrumentation.openai_agents", False),
    ("logfire.openai_agents", False),
    ("openinference.instrumentation.langchain", False),
    ("pydantic-ai", False),
    ("ai", False),
    ("litellm", False),
    ("langsmith", False),
    ("google.adk", False),
    ("Microsoft.Extensions.AI", False),
    ("opentelemetry.instrumentation.httpx", False),
    ("my.app", False),
    ("", False),
]


@pytest.mark.parametrize(("scope", "expected"), SCOPES)
def test_a_providers_instrumentor_is_told_by_its_name(scope: str, expected: bool) -> None:
    assert instrumentor(scope)[1] is expected


def test_an_instrumentors_name_is_the_same_in_every_version() -> None:
    assert (
        instrumentor("opentelemetry.instrumentation.openai.v1")[0]
        == instrumentor("opentelemetry.instrumentation.openai.v0")[0]
    )
    # Two that are not the same.
    assert (
        instrumentor("opentelemetry.instrumentation.openai_v2")[0]
        != instrumentor("opentelemetry.instrumentation.openai.v1")[0]
    )


def test_wrappers_in_one_scope_with_frameworks() -> None:
    generation = {"langfuse.observation.type": "generation"}
    wrapper = read(span(generation, scope="langfuse-sdk", name="OpenAI-generation"))
    assert (wrapper.is_provider, wrapper.provider) == (True, "openai")
    assert not read(span(generation, scope="langfuse-sdk", name="ChatOpenAI")).is_provider
    model = {"mlflow.spanType": '"CHAT_MODEL"'}
    assert read(span({**model, "mlflow.message.format": '"openai"'}, scope="mlflow.tracing.provider")).is_provider
    assert not read(
        span({**model, "mlflow.message.format": '"langchain"'}, scope="mlflow.tracing.provider")
    ).is_provider


def test_a_gateways_own_prefix_is_no_part_of_the_model() -> None:
    chat = {"gen_ai.operation.name": "chat"}
    asked = read(
        span(
            {**chat, "gen_ai.system": "openrouter", "gen_ai.request.model": "openrouter/openai/gpt-4o"}, scope="litellm"
        )
    )
    other = read(span({**chat, "gen_ai.system": "openrouter", "gen_ai.request.model": "openai/gpt-4o"}))
    assert asked.model_requested == "openai/gpt-4o"
    assert other.model_requested == "openai/gpt-4o"


def test_a_failed_call_was_answered_by_nobody() -> None:
    attributes = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o"}
    failed = read(span(attributes, scope="openinference.instrumentation.openai", name="ChatCompletion", status=ERROR))
    done = read(span(attributes, scope="openinference.instrumentation.openai", name="ChatCompletion"))
    assert (failed.model_requested, failed.model) == ("gpt-4o", None)
    assert (done.model_requested, done.model) == (None, "gpt-4o")


def lc_result(message: dict[str, Any], **more: Any) -> str:
    return json.dumps({"generations": [[{"message": {"lc": 1, "kwargs": message}, **more}]]})


RESPONSE_IDS: list[tuple[dict[str, Any], str | None]] = [
    ({"gen_ai.response.id": "msg_1"}, "msg_1"),
    ({"output.value": '{"id": "chatcmpl-1", "choices": [{"finish_reason": "length"}]}'}, "chatcmpl-1"),
    ({"mlflow.spanOutputs": '{"id": "resp_1", "output": []}'}, "resp_1"),
    ({"gen_ai.completion": lc_result({"response_metadata": {"id": "chatcmpl-1"}, "id": "lc_run--01a2"})}, "chatcmpl-1"),
    ({"gen_ai.completion": lc_result({"response_metadata": {}, "id": "msg_1"})}, "msg_1"),
    ({"gen_ai.completion": lc_result({"response_metadata": {}, "id": "run--5b8efff7"})}, None),
    ({"gen_ai.completion": lc_result({"response_metadata": {}, "id": "32eb4ff1-d234-48c1-b4ed-3dbae2fdac60"})}, None),
    ({"gen_ai.response.id": "930c60df-bf64-41c9-a88e-3ec75f81e00e"}, "930c60df-bf64-41c9-a88e-3ec75f81e00e"),
    ({"gen_ai.response.id": "a-b", "litellm.call_id": "a-b"}, None),
    ({"gen_ai.response.id": "chatcmpl-930c60df-bf64-41c9-a88e-3ec75f81e00e", "litellm.call_id": "x"}, None),
    ({"output.value": "no json"}, None),
]


@pytest.mark.parametrize(("attributes", "expected"), RESPONSE_IDS)
def test_response_ids_are_the_providers(attributes: dict[str, Any], expected: str | None) -> None:
    assert read(span({"gen_ai.operation.name": "chat", **attributes}, scope="somebody")).response_id == expected


REASONS: list[tuple[dict[str, Any], str | None]] = [
    ({"gen_ai.response.finish_reasons": ["tool_call"]}, "tool_calls"),
    ({"gen_ai.response.finish_reasons": '["tool_use"]'}, "tool_calls"),
    ({"ai.response.finishReason": "tool-calls"}, "tool_calls"),
    ({"llm.finish_reason": "end_turn"}, "stop"),
    ({"anthropic.message.stop_reason": "max_tokens"}, "length"),
    ({"gen_ai.completion.0.finish_reason": "content_filter"}, "content_filter"),
    ({"gen_ai.response.finish_reasons": ["FinishReason.MAX_TOKENS"]}, "length"),
    ({"gen_ai.response.finish_reasons": ["pause_turn"]}, "pause_turn"),
    ({"gen_ai.response.finish_reasons": ["error"]}, None),
    ({"output.value": '{"choices": [{"finish_reason": "tool_calls"}]}'}, "tool_calls"),
    ({"output.value": '{"status": "completed", "output": [{"type": "message"}]}'}, "stop"),
    ({"output.value": '{"status": "completed", "output": [{"type": "function_call"}]}'}, "tool_calls"),
    (
        {"output.value": '{"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}'},
        "length",
    ),
    ({"gen_ai.completion": lc_result({}, generation_info={"finish_reason": "stop"})}, "stop"),
]


@pytest.mark.parametrize(("attributes", "expected"), REASONS)
def test_finish_reasons_are_one_vocabulary(attributes: dict[str, Any], expected: str | None) -> None:
    assert read(span({"gen_ai.operation.name": "chat", **attributes}, scope="somebody")).finish_reason == expected


FIRST_TOKENS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"gen_ai.response.time_to_first_chunk": 0.25}, ()),
    ({"gen_ai.client.operation.time_to_first_chunk": 0.25}, ()),
    ({"ai.response.msToFirstChunk": 250.0}, ()),
    ({"langfuse.observation.completion_start_time": '"2026-11-22T01:13:20.250000Z"'}, ()),
    ({}, ("First Token Stream Event",)),
    ({}, ("mlflow.chunk.item.0", "mlflow.chunk.item.1")),
    ({}, ("gen_ai.content.completion.chunk",) * 3),
]


@pytest.mark.parametrize(("attributes", "names"), FIRST_TOKENS)
def test_first_tokens_are_in_milliseconds(attributes: dict[str, Any], names: tuple[str, ...]) -> None:
    events = tuple(NativeEvent(name, BEGAN + SECOND * (i + 1) // 4, {}) for i, name in enumerate(names))
    assert read(span({"gen_ai.operation.name": "chat", **attributes}, events=events)).first_token_ms == 250.0


def test_first_tokens_that_cannot_be_are_left_out() -> None:
    wrong = {"gen_ai.operation.name": "chat", "gen_ai.server.time_to_first_token": 0.003}
    late = {"gen_ai.operation.name": "chat", "gen_ai.response.time_to_first_chunk": 5.0}
    assert read(span(wrong, scope="openlit.instrumentation.openai")).first_token_ms is None
    assert read(span(late)).first_token_ms is None


TRACEBACK = (
    "Traceback (most recent call last):\n\n  File \"a.py\", line 1, in f\n    raise ValueError('x')\n\n"
    "app.errors.WeatherError: service down\nDuring task with name 'tools' and id '1'\n"
)


def raised(kind: str, message: str) -> tuple[NativeEvent, ...]:
    return (NativeEvent("exception", BEGAN, {"exception.type": kind, "exception.message": message}),)


ERRORS: list[tuple[dict[str, Any], str, tuple[NativeEvent, ...], str | None]] = [
    ({"error.type": "openai.RateLimitError"}, "Error code: 429", (), "RateLimitError: Error code: 429"),
    ({}, "", raised("openai.RateLimitError", "Error code: 429"), "RateLimitError: Error code: 429"),
    ({}, "RateLimitError: Error code: 429", (), "RateLimitError: Error code: 429"),
    ({}, TRACEBACK, (), "WeatherError: service down"),
    ({}, "ValueError('no weather')" + TRACEBACK, (), "ValueError: no weather"),
    ({}, "", raised("Exception", "ValueError('no weather')" + TRACEBACK), "ValueError: no weather"),
    (
        {"error.type": "RateLimitError", "error.message": "litellm.RateLimitError: RateLimitError: 429"},
        "",
        (),
        "RateLimitError: 429",
    ),
    ({"langfuse.observation.status_message": "service down"}, "", (), "service down"),
    ({"error.type": "429"}, "Too many", (), "Too many"),
    ({}, "", (), None),
]


@pytest.mark.parametrize(("attributes", "message", "events", "expected"), ERRORS)
def test_an_error_is_its_type_and_message(
    attributes: dict[str, Any], message: str, events: tuple[NativeEvent, ...], expected: str | None
) -> None:
    found = read(span({"gen_ai.operation.name": "chat", **attributes}, status=ERROR, message=message, events=events))
    assert (found.status, found.error) == ("failed", expected)


def test_failures_are_told_in_other_ways_too() -> None:
    assert read(span({"langfuse.observation.type": "tool", "langfuse.observation.level": "ERROR"})).status == "failed"
    # An exception that was dealt with.
    assert read(span(GENAI, events=raised("ValueError", "x"))).status == "completed"


def test_interrupts_and_control_flow_are_no_failures() -> None:
    chain = {"openinference.span.kind": "CHAIN"}
    interrupt = raised("langgraph.errors.GraphInterrupt", "(Interrupt(value='ok?'),)")
    assert read(span(chain, status=ERROR, events=interrupt)).status == "interrupted"
    wrapped = raised("Exception", "GraphInterrupt((Interrupt(value='ok?'),))")
    assert read(span(chain, status=ERROR, events=wrapped)).status == "interrupted"
    assert read(span(chain, status=ERROR, events=raised("langgraph.errors.ParentCommand", "x"))).status == "completed"
    assert read(span(chain, status=ERROR, events=raised("asyncio.CancelledError", ""))).status == "abandoned"
    assert read(span(chain)._replace(end=0)).status == "active"


SESSIONS: list[tuple[str, dict[str, Any], str | None, int]] = [
    ("somebody", {"gen_ai.conversation.id": "c-1"}, "c-1", 2),
    (
        "pydantic-ai",
        {"gen_ai.conversation.id": "01a200c6-0f78-7491-af1f-1fcb27b53175"},
        "01a200c6-0f78-7491-af1f-1fcb27b53175",
        1,
    ),
    ("pydantic-ai", {"gen_ai.conversation.id": "c-1"}, "c-1", 2),
    ("somebody", {"gen_ai.conversation.id": TRACE}, None, 0),
    ("langsmith", {"langsmith.trace.session_name": "my-project"}, None, 0),
    ("langsmith", {"langsmith.metadata.thread_id": "c-1"}, "c-1", 2),
    ("somebody", {"traceloop.association.properties.session_id": "c-1"}, "c-1", 2),
    ("ai", {"ai.telemetry.metadata.sessionId": "c-1"}, "c-1", 2),
    ("ai", {"ai.settings.context.sessionId": "c-1"}, "c-1", 2),
    ("langfuse-sdk", {"langfuse.trace.metadata.thread_id": '"c-1"'}, "c-1", 2),
    ("openinference.instrumentation.openai", {"metadata": '{"session_id": "c-1"}'}, "c-1", 2),
    ("mlflow", {"gen_ai.operation.name": "chat", "mlflow.spanType": '"LLM"', "conversation": '"c-1"'}, "c-1", 2),
    (
        "openinference.instrumentation.openai",
        {"openinference.span.kind": "LLM", "llm.invocation_parameters": '{"conversation": {"id": "c-1"}}'},
        "c-1",
        2,
    ),
]


@pytest.mark.parametrize(("scope", "attributes", "session", "rank"), SESSIONS)
def test_sessions_are_the_applications(scope: str, attributes: dict[str, Any], session: str | None, rank: int) -> None:
    found = read(span(attributes, scope=scope))
    assert (found.scope.get("session_id"), found.session_rank) == (session, rank)


@pytest.mark.parametrize(
    "attributes",
    [
        {"user.id": "u"},
        {"enduser.id": "u"},
        {"gen_ai.user": "u"},
        {"gen_ai.request.user": "u"},
        {"llm.user": "u"},
        {"user": '"u"'},
        {"langsmith.metadata.user_id": "u"},
        {"metadata": '{"user_id":"u"}'},
        {"ai.telemetry.metadata.userId": "u"},
    ],
)
def test_users_are_found_anywhere(attributes: dict[str, Any]) -> None:
    assert read(span(attributes)).scope.get("user_id") == "u"


def test_what_langchain_made_as_an_agent_is_one_at_its_root() -> None:
    made = {"langsmith.span.kind": "chain", "langsmith.metadata.ls_integration": "langchain_create_agent"}
    root = span(made, scope="langsmith")
    assert (read(root).kind, read(root._replace(parent_id=SPAN)).kind) == ("agent", "chain")


def test_metadata_that_nobody_gave_is_none() -> None:
    given = {"gen_ai.operation.name": "chat", "metadata.user_agent": "", "metadata.applied_guardrails": "[]"}
    assert read(span(given, scope="litellm")).metadata is None


def test_metadata_and_tags_are_the_applications_own() -> None:
    found = read(
        span(
            {
                "langsmith.span.kind": "llm",
                "langsmith.trace.session_name": "my-project",
                "langsmith.metadata.LANGSMITH_API_KEY": "lsv2_secret",
                "langsmith.metadata.LANGSMITH_ENDPOINT": "http://somewhere",
                "langsmith.metadata.ls_provider": "openai",
                "langsmith.metadata.tier": "gold",
                "langsmith.span.tags": "seq:step:1, prod",
            },
            scope="langsmith",
            resource={"service.name": "unknown_service:python"},
        )
    )
    assert (found.metadata, found.tags) == ({"tier": "gold"}, ("seq:step:1", "prod"))
    assert found.scope == {"project": "my-project"}
    assert read(span({}, resource={"service.name": "unknown_service:python"})).scope == {}


PARAMS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "openinference.instrumentation.openai",
        {
            "llm.invocation_parameters": '{"model": "gpt-4o", "temperature": 0.2, "stop": null}',
            "llm.tools.0.tool.json_schema": '{"type": "function"}',
        },
        {"temperature": 0.2, "tools": [{"type": "function"}]},
    ),
    (
        "opentelemetry.instrumentation.openai.v1",
        {"llm.request.functions.0.name": "f", "llm.request.functions.0.parameters": '{"type": "object"}'},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
    ),
    (
        "ai",
        {"ai.settings.maxOutputTokens": 200, "ai.prompt.tools": ['{"name": "f"}']},
        {"max_tokens": 200, "tools": [{"name": "f"}]},
    ),
    (
        "mlflow",
        {"mlflow.spanType": '"LLM"', "temperature": "0.2", "mlflow.spanInputs": '{"messages": [], "n": 2}'},
        {"temperature": 0.2, "n": 2},
    ),
    (
        "openlit.instrumentation.openai",
        {"gen_ai.request.temperature": 1.0, "gen_ai.request.seed": 0, "gen_ai.request.top_p": 0.5},
        {"top_p": 0.5},
    ),
    (
        "litellm",
        {"llm.is_streaming": "True", "gen_ai.request.max_tokens": "Infinity"},
        {"stream": True, "max_tokens": "Infinity"},
    ),
]


@pytest.mark.parametrize(("scope", "attributes", "expected"), PARAMS)
def test_parameters_are_named_as_langchain_does(
    scope: str, attributes: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert read(span({"gen_ai.operation.name": "chat", **attributes}, scope=scope)).params == expected


def test_a_cut_off_payload_keeps_what_came_before_the_cut() -> None:
    found = read(
        span(
            {"openinference.span.kind": "LLM", "output.value": '{"id": "chatcmpl-1", "choices": [{"finish_reason": "st'}
        )
    )
    assert (found.response_id, found.partial) == ("chatcmpl-1", ("content",))


def test_a_tool_and_an_agent_go_by_their_own_names() -> None:
    tool = read(
        span(
            {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "get_weather"},
            name="execute_tool get_weather",
        )
    )
    agent = read(span({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper"}, name="agent run"))
    assert (tool.kind, tool.name, agent.kind, agent.name) == ("tool", "get_weather", "agent", "helper")


LOOSE: list[tuple[Any, Any]] = [
    ('{"a": [1, {"b": "hey', {"a": [1, {"b": "hey"}]}),
    ('{"a": "x\\u12', {"a": "x"}),
    ('{"a": 1, "b": tru', {"a": 1}),
    ('{"a": 1, "bc', {"a": 1}),
    ("{'a': None, 'b': [1]}", {"a": None, "b": [1]}),
    ("{'a': Foo()}", "{'a': Foo()}"),
    ("[1] a footnote", "[1] a footnote"),
    ("{name} said", "{name} said"),
    ("[1, 2", "[1, 2"),
    ('{"a": 1} and more', '{"a": 1} and more'),
    ("plain", "plain"),
    ({"a": 1}, {"a": 1}),
    (None, None),
]


@pytest.mark.parametrize(("value", "expected"), LOOSE)
def test_texts_are_data_only_where_they_can_be_nothing_else(value: Any, expected: Any) -> None:
    assert loose(value) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
        lambda i: st.lists(i) | st.dictionaries(st.text(), i),
    )
)
def test_whole_json_is_never_taken_for_cut_off(value: Any) -> None:
    text = json.dumps(value)
    assert scalar(text) == value
    assert loosely(text)[1] is False


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=40)
    | st.binary(max_size=20)
)
JSON_TEXTS = st.recursive(
    SCALARS.filter(lambda v: not isinstance(v, bytes)),
    lambda i: st.lists(i, max_size=3) | st.dictionaries(st.text(max_size=9), i, max_size=3),
).map(json.dumps)
DEEP = st.sampled_from(
    ["[" * 3000, '{"a":' * 3000, "[" * 600 + "]" * 600, "{'a':" * 500, '{"generations":[[{"message":']
)
CUT = JSON_TEXTS.flatmap(lambda text: st.integers(0, len(text)).map(lambda n: text[:n]))
VALUES = st.recursive(
    SCALARS | JSON_TEXTS | DEEP | CUT,
    lambda i: st.lists(i, max_size=3) | st.dictionaries(st.text(max_size=9), i, max_size=3),
)
NAMES = sorted(
    {
        *(name for name, _ in table.KINDS),
        *(
            name
            for names in vars(table).values()
            if isinstance(names, tuple)
            for name in names
            if isinstance(name, str)
        ),
        *(name for _, names in (*table.WHOLES, *table.INPUT_PARTS, *table.OUTPUT_PARTS) for name in names),
        *table.PARAMS,
        *table.REQUEST_PARAMS,
        *(f"{prefix}thread_id" for prefix in table.METADATA_PREFIXES),
        *(
            "logfire.span_type",
            "duration",
            "logfire.level_num",
            "llm.tools.0.tool.json_schema",
            "langfuse.observation.level",
        ),
    }
)
KIND_VALUES = st.sampled_from(
    [{"gen_ai.operation.name": "chat"}, {"langsmith.span.kind": "llm"}, {"mlflow.spanType": '"EMBEDDING"'}, {}]
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=20), VALUES, max_size=12),
    KIND_VALUES,
    st.sampled_from(
        ["litellm", "langfuse-sdk", "logfire.openai", "openlit.instrumentation.openai", "pydantic-ai", "\x00", ""]
    ),
    st.dictionaries(st.sampled_from(["exception.type", "exception.message", "mlflow.chunk.value"]), VALUES),
    st.sampled_from([INTERNAL, CLIENT]),
    st.integers(0, 2),
)
def test_nothing_that_attributes_hold_raises(
    attributes: dict[str, Any], kind: dict[str, Any], scope: str, said: dict[str, Any], client: int, status: int
) -> None:
    event = NativeEvent("mlflow.chunk.item.0" if client == CLIENT else "exception", BEGAN + 5, said)
    found = read(
        span({**attributes, **kind}, scope=scope, kind=client, status=status, events=(event,), resource=attributes)
    )

    if found.usage is not None:
        normalise(found.usage, provider=found.provider, cached=found.cached)
    assert all(isinstance(value, str) for value in found.scope.values())
    texts = (found.name, found.error, found.provider, found.model, found.response_id, found.finish_reason)
    assert all(text is None or isinstance(text, str) for text in texts)


@settings(max_examples=50)
@given(st.text(max_size=300))
def test_any_name_is_a_provider_or_none(name: str) -> None:
    found = provider(name)
    assert found is None or (found and len(found) <= 200)
