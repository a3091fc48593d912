"""Spans as frameworks' instrumentors make them, through the SDK and its exporter: what the tables say of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode, Tracer
from otel_spans import Row, rows, transcript

from chopsky_trace import SupabaseSpanExporter

Tracing = Callable[[str], Tracer]
CALLS = "select * from conversation_spans where kind in ('llm', 'embedding') order by started_at, id"
ADK, OPENINFERENCE = "gcp.vertex.agent", "openinference.instrumentation."


@pytest.fixture
def tracing(exporter: SupabaseSpanExporter) -> Tracing:
    """Makes the tracer of an instrumentation scope."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer


@pytest.fixture
def calls(database_url: str, exporter: SupabaseSpanExporter) -> Callable[[], list[Row]]:
    """Ends the export; the rows of the calls."""

    def ended() -> list[Row]:
        exporter.shutdown()
        return rows(database_url, CALLS)

    return ended


Calls = Callable[[], list[Row]]


def prompt_of(database_url: str, call: Row) -> list[tuple[str, str]]:
    """Roles and texts of a call's prompt."""
    found = rows(database_url, "select role, content from conversation_prompt(%s) order by position", call["id"])
    return [(row["role"], row["content"]) for row in found]


def llm(**more: Any) -> Row:
    """The attributes of OpenInference's spans of calls."""
    return {"openinference.span.kind": "LLM"} | {name.replace("__", "."): value for name, value in more.items()}


def said(at: str, place: int, role: str, content: str) -> Row:
    """A message as OpenInference spells it out."""
    start = f"llm.{at}_messages.{place}.message"
    return {f"{start}.role": role, f"{start}.content": content}


def test_google_adk_tells_requests_and_answers_in_googles_form(
    database_url: str, tracing: Tracing, calls: Calls
) -> None:
    tracer = tracing(ADK)
    request = {
        "model": "gemini-2.5-flash",
        "config": {"system_instruction": "Be brief."},
        "contents": [{"parts": [{"text": "And in Oslo?"}], "role": "user"}],
    }
    usage = {
        "prompt_token_count": 1044,
        "cached_content_token_count": 1024,
        "candidates_token_count": 19,
        "thoughts_token_count": 64,
        "total_token_count": 1127,
    }
    answer = {
        "content": {"parts": [{"text": "Rain."}], "role": "model"},
        "finish_reason": "STOP",
        "usage_metadata": usage,
        "response_id": "gem-1",
    }
    told = {
        "gcp.vertex.agent.session_id": "s-1",
        "gcp.vertex.agent.llm_request": json.dumps(request),
        "gcp.vertex.agent.llm_response": json.dumps(answer),
        "gen_ai.system": "gcp.vertex.agent",
        "gen_ai.request.model": "gemini-2.5-flash",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 1044,
        "gen_ai.usage.output_tokens": 19,
    }
    with (
        tracer.start_as_current_span("invocation"),
        tracer.start_as_current_span("agent_run [weather]"),
        tracer.start_as_current_span("call_llm", attributes=told),
    ):
        pass

    (call,) = calls()
    assert prompt_of(database_url, call) == [("system", "Be brief."), ("user", "And in Oslo?")]
    assert transcript(database_url) == [("user", "And in Oslo?"), ("assistant", "Rain.")]
    assert (call["input_tokens"], call["output_tokens"], call["cache_read_tokens"]) == (1044, 83, 1024)
    assert (call["reasoning_tokens"], call["response_id"]) == (64, "gem-1")
    assert [run["session_id"] for run in rows(database_url, "select session_id from conversation_runs")] == ["s-1"]


def test_a_call_that_failed_before_anything_was_told_is_a_call(tracing: Tracing, calls: Calls) -> None:
    for scope, name in ((ADK, "call_llm"), ("openlit.instrumentation.google_ai_studio", "chat gemini-2.5-flash")):
        with tracing(scope).start_as_current_span(name) as span:
            span.set_status(Status(StatusCode.ERROR, "429: quota"))

    assert [(call["status"], call["error"]) for call in calls()] == [("failed", "429: quota")] * 2


def test_logfire_lists_an_agents_answer_among_its_prompt(database_url: str, tracing: Tracing, calls: Calls) -> None:
    response = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "output": [{"type": "function_call", "call_id": "c-1", "name": "weather", "arguments": '{"city":"Oslo"}'}],
    }
    call_part = {"id": "c-1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    events = [
        {"event.name": "gen_ai.system.message", "role": "system", "content": "Be brief."},
        {"event.name": "gen_ai.user.message", "role": "user", "content": "And in Oslo?"},
        {"event.name": "gen_ai.assistant.message", "role": "assistant", "tool_calls": [call_part]},
    ]
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "events": json.dumps(events),
        "response": json.dumps(response),
        "response_id": "resp_1",
    }
    with tracing("logfire.openai_agents").start_as_current_span("Responses API with 'gpt-4o-mini'", attributes=told):
        pass

    (call,) = calls()
    assert prompt_of(database_url, call) == [("system", "Be brief."), ("user", "And in Oslo?")]
    assert call["finish_reason"] == "tool_calls"


def test_what_llama_index_prepares_is_no_call(database_url: str, tracing: Tracing, calls: Calls) -> None:
    tracer = tracing(OPENINFERENCE + "llama_index")
    shown = llm(llm__model_name="gpt-4o-mini", input__value='{"tools": []}', output__value='{"messages": ["x"]}')
    asked = llm(llm__model_name="gpt-4o-mini", llm__prompts=["And in Oslo?"], output__value="Rain.")
    with tracer.start_as_current_span("Agent.run", attributes={"openinference.span.kind": "AGENT"}):
        with tracer.start_as_current_span("OpenAI._prepare_chat_with_tools", attributes=shown):
            pass
        with tracer.start_as_current_span("OpenAI.complete", attributes=asked):
            pass
        # What has tokens is a call, whatever it is called.
        with tracer.start_as_current_span("OpenAI._chat", attributes=asked | {"llm.token_count.prompt": 5}):
            pass

    first, second = calls()
    assert (first["name"], second["name"]) == ("OpenAI.complete", "OpenAI._chat")
    # A completion's prompts are one list of texts.
    assert prompt_of(database_url, first) == [("user", "And in Oslo?")]


def test_litellm_names_whom_to_ask_before_the_model(tracing: Tracing, calls: Calls) -> None:
    tracer = tracing(OPENINFERENCE + "litellm")
    for name, provider in (("anthropic/claude-sonnet-4-5", "anthropic"), ("openrouter/openai/gpt-4o", "openrouter")):
        counts = llm(llm__model_name=name, llm__provider=provider, llm__token_count__prompt=5)
        with tracer.start_as_current_span("completion", attributes=counts):
            pass
    embedded = {"openinference.span.kind": "EMBEDDING", "embedding.model_name": "openai/text-embedding-3-small"}
    with tracer.start_as_current_span("CreateEmbeddings", attributes=embedded):
        pass

    assert [(call["provider"], call["model"]) for call in calls()] == [
        ("anthropic", "claude-sonnet-4-5"),
        ("openrouter", "openai/gpt-4o"),
        ("openai", "text-embedding-3-small"),
    ]


def test_googles_total_has_thoughts_that_its_candidates_have_not(tracing: Tracing, calls: Calls) -> None:
    told = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "gcp.gen_ai",
        "gen_ai.request.model": "gemini-2.5-flash",
        "gen_ai.usage.input_tokens": 1046,
        "gen_ai.usage.output_tokens": 19,
    }
    tracer = tracing("opentelemetry.instrumentation.google_generativeai")
    for total in (1129, 1065):
        with tracer.start_as_current_span("generate_content", attributes=told | {"gen_ai.usage.total_tokens": total}):
            pass
    with tracer.start_as_current_span(
        "generate_content",
        attributes=told
        | {
            "gen_ai.usage.output_tokens": 83,
            "gen_ai.usage.reasoning.output_tokens": 64,
            "gen_ai.usage.total_tokens": 1129,
        },
    ):
        pass

    assert [(call["output_tokens"], call["reasoning_tokens"]) for call in calls()] == [(83, 64), (19, None), (83, 64)]


def test_a_response_ends_as_its_items_say(tracing: Tracing, calls: Calls) -> None:
    item = {"type": "function_call", "call_id": "c-1", "name": "weather", "arguments": "{}"}
    response = {"id": "resp_1", "object": "response", "status": "completed", "output": [item]}
    tracer = tracing(OPENINFERENCE + "openai_agents")
    stops = llm(llm__finish_reason="stop", llm__model_name="gpt-4o-mini", output__value=json.dumps(response))
    with tracer.start_as_current_span("response", attributes=stops):
        pass
    calls_tools = llm(llm__finish_reason="function_calls", llm__model_name="gpt-4o-mini")
    with tracing(OPENINFERENCE + "autogen_agentchat").start_as_current_span("create", attributes=calls_tools):
        pass

    assert [call["finish_reason"] for call in calls()] == ["tool_calls", "tool_calls"]


def test_an_event_with_the_answer_tells_how_it_ended(database_url: str, tracing: Tracing, calls: Calls) -> None:
    answer = {"role": "assistant", "parts": [{"type": "text", "content": "Rain."}], "finish_reason": "end_turn"}
    told = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini"}
    with tracing("strands.telemetry.tracer").start_as_current_span("chat", attributes=told) as span:
        span.add_event("gen_ai.client.inference.operation.details", {"gen_ai.output.messages": json.dumps([answer])})

    (call,) = calls()
    assert call["finish_reason"] == "stop"
    assert transcript(database_url) == [("assistant", "Rain.")]


def test_a_message_that_calls_a_tool_is_the_assistants(database_url: str, tracing: Tracing, calls: Calls) -> None:
    told = llm(llm__model_name="gpt-4o-mini") | said("input", 0, "user", "And in Oslo?")
    told |= said("input", 1, "tool-call", "Calling weather.") | said("input", 2, "tool-response", "Observation: rain")
    with tracing(OPENINFERENCE + "smolagents").start_as_current_span("generate", attributes=told):
        pass

    (call,) = calls()
    assert [role for role, _ in prompt_of(database_url, call)] == ["user", "assistant", "user"]


def test_where_amazon_answers_is_no_provider(tracing: Tracing, calls: Calls) -> None:
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    told = {
        "mlflow.spanType": '"CHAT_MODEL"',
        "mlflow.llm.provider": '"us"',
        "mlflow.message.format": '"bedrock"',
        "mlflow.spanInputs": json.dumps({"modelId": model, "messages": []}),
    }
    with tracing("mlflow.tracing.provider").start_as_current_span("BedrockRuntime.converse", attributes=told):
        pass

    (call,) = calls()
    assert (call["provider"], call["model_requested"]) == ("amazon_bedrock", model)
