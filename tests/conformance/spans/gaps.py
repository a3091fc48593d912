"""What of the truth the telemetry does not hold, or holds wrong: each with what we then say, and why.

Strict both ways: what differs without a gap fails, and so does a gap that is no longer met: whoever mends one takes it
out. A gap counts only where what it says is not the truth; there it has to be exactly what the tables have.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from conformance.spans.corpus import Scenario
from conformance.spans.measure import ROLES, TOKENS, agree, true

MESSAGES = tuple(f"{role}_messages" for role in ROLES)
NOTHING: dict[str, Any] = {
    **dict.fromkeys(("llm_calls", "llm_calls_failed", "tool_calls", "prompts", *MESSAGES), 0),
    **dict.fromkeys(("embedding_tokens", "session", "user", *TOKENS)),
    **{name: [] for name in ("finish_reasons", "response_ids", "models_requested", "models", "first_token_ms")},
    "error": False,
}
"""What is said of a scenario without telemetry."""


class Gap(NamedTuple):
    """Scenarios in which fields are not what the provider knows."""

    where: tuple[str, ...]
    """Patterns of instrumentor/scenario."""
    said: dict[str, Any]
    """What we say of these fields instead; a function says it of the scenario."""
    why: str
    when: Callable[[Scenario], bool] = lambda _: True
    """Of which of the scenarios it is to be expected, where their files themselves can say so."""

    def is_of(self, scenario: Scenario) -> bool:
        return any(fnmatchcase(scenario.id, pattern) for pattern in self.where) and self.when(scenario)

    def left(self, scenario: Scenario, field: str) -> Any:
        """What the tables say of the field."""
        said = self.said[field]
        return said(scenario) if callable(said) else said


def _is_silent(scenario: Scenario) -> bool:
    return not scenario.traces


def _is_alone(scenario: Scenario) -> bool:
    """Whether no spans of Anthropic's SDK itself, which tell more, are beside the instrumentor's."""
    return not scenario.name.endswith(".native")


def _ids_told(scenario: Scenario) -> list[str]:
    """The response ids that are somewhere in the telemetry."""
    return [found for found in true(scenario)["response_ids"] if scenario.tells(found)]


def _requested(scenario: Scenario) -> list[str]:
    """The models that were asked for, in the place of those that answered."""
    return true(scenario)["models_requested"]


def _without_embeddings(field: str) -> Callable[[Scenario], list[str]]:
    return lambda scenario: [name for name in true(scenario)[field] if "embedding" not in name]


def _asked_once(scenario: Scenario) -> int:
    """How many prompts are whole where each call is sent what is new only: the first."""
    return 1


def _unless(field: str) -> Callable[[Scenario], bool]:
    """Where what is true of a field is nowhere in the telemetry."""
    return lambda scenario: bool(true(scenario)[field]) and not scenario.tells(true(scenario)[field])


GAPS: tuple[Gap, ...] = (
    Gap(("*",), NOTHING, "The instrumentor exports nothing of such a call", _is_silent),
    Gap(("*",), {"session": None}, "No span says which session it was", _unless("session")),
    Gap(("*",), {"user": None}, "No span says who the user was", _unless("user")),
    # -- Messages
    Gap(
        ("otel-openai-v2-nocontent/*",),
        {
            "system_messages": 0,
            "user_messages": 0,
            # That tools were called is told, with the calls' ids.
            "assistant_messages": lambda scenario: (
                len(scenario.values("finish_reasons")) - scenario.values("finish_reasons").count("stop")
            ),
            "prompts": 0,
        },
        "Told not to capture content, the instrumentor exports only that tools were called",
    ),
    Gap(
        ("*/chain_lcel",),
        {"user_messages": 2},
        "The user's word, of which the program made the prompt, is told beside the prompt",
    ),
    Gap(
        ("langfuse-langchain/structured", "openinference-langchain/structured", "openllmetry-langchain/structured"),
        {"assistant_messages": 2},
        "What the program made of the model's tool call, and gave the user, is told beside the call",
    ),
    Gap(
        ("pydantic-ai*/structured",),
        {"assistant_messages": 2, "tool_messages": 1},
        "pydantic-ai makes a result for the tool that stands for the final answer, and tells that answer",
    ),
    Gap(
        ("openlit*/error_429", "openlit*/error_500", "openlit*/error_529", "openlit*/responses_error"),
        {"system_messages": 0, "user_messages": 0},
        "OpenLIT says nothing of the prompt of a call that failed",
    ),
    Gap(
        ("openlit/error_midstream",),
        {
            name: NOTHING[name]
            for name in ("llm_calls", "llm_calls_failed", "system_messages", "user_messages", "error")
        },
        "OpenLIT ends no span of a stream that broke off",
    ),
    Gap(
        ("openlit/error_midstream",),
        {"models_requested": [], "models": [], "response_ids": []},
        "OpenLIT ends no span of a stream that broke off",
    ),
    Gap(
        ("openlit/n2",),
        {"assistant_messages": 1, "prompts": 0},
        "OpenLIT joins the choices of an answer into one",
    ),
    Gap(
        ("openlit/responses_tools",),
        {"tool_messages": 0, "prompts": 1},
        "OpenLIT leaves calls of tools and their results out of the Responses API's prompts",
    ),
    Gap(
        ("litellm-otel/tools_seq",),
        {"assistant_messages": 5, "tool_calls": 4},
        "LiteLLM leaves the ids of tool calls out of answers and not out of prompts",
    ),
    Gap(
        ("openllmetry-openai/responses_tools",),
        {"assistant_messages": 5, "tool_calls": 4},
        "OpenLLMetry gives a tool call the item's id in the answer, and the call's in prompts",
    ),
    Gap(
        ("openllmetry-openai/image",),
        {"system_messages": 0, "user_messages": 0, "prompts": 0},
        "OpenLLMetry leaves a prompt with an image out",
    ),
    Gap(
        ("openllmetry-legacy-openai/image", "otel-openai-v2-latest/image"),
        {"prompts": 0},
        "The instrumentor leaves the text beside an image out",
    ),
    Gap(
        ("logfire-openai/error_midstream", "openllmetry-openai/error_midstream"),
        {"llm_calls_failed": 0, "error": False, "assistant_messages": 1},
        "The instrumentor takes a stream that broke off for one that ended, with what had come of the answer",
    ),
    Gap(
        ("anthropic-sdk-native/stream_raw_cache", "mlflow-anthropic/stream_raw_cache"),
        {"assistant_messages": 0, "prompts": 0},
        "Nothing of the answer is told where the application reads the stream's events itself",
    ),
    Gap(
        ("mlflow-anthropic/stream_raw_cache",),
        {**dict.fromkeys(TOKENS[:4]), "finish_reasons": [], "response_ids": []},
        "Nothing of the answer is told where the application reads the stream's events itself",
    ),
    Gap(
        ("mlflow/tools_stream",),
        {"prompts": 1, "finish_reasons": ["stop", "stop"]},
        "MLflow leaves tool calls out of the answers of streams, and says of each that it stopped",
    ),
    Gap(
        ("*/responses_multi_turn", "*/responses_conversation"),
        {"prompts": _asked_once},
        "A request of the Responses API has only what is new; its server knows the rest",
    ),
    # -- Limits
    Gap(
        ("openinference-openai/long_conversation",),
        {
            "system_messages": 0,
            "user_messages": 29,
            "assistant_messages": 30,
            "prompts": 0,
            "models_requested": [],
            "response_ids": [],
        },
        "The SDK keeps a span's last 128 attributes, and here each message takes two",
    ),
    Gap(
        ("openllmetry-legacy-openai/long_conversation",),
        {"system_messages": 0, "user_messages": 30, "assistant_messages": 30, "prompts": 0, "models_requested": []},
        "The SDK keeps a span's last 128 attributes, and here each message takes two",
    ),
    Gap(
        ("openinference-langchain/agent_seq.truncated",),
        {"assistant_messages": 4, "response_ids": []},
        "Attributes were cut after 400 characters: in the agent's payloads a message lost its end",
    ),
    Gap(
        ("otel-genai-openai/tools_seq.truncated",),
        {"tool_messages": 1, "prompts": 2},
        "Attributes were cut after 400 characters: the prompt ends within its first tool result",
    ),
    # -- Which calls there were
    Gap(
        ("openinference-langchain+providers/error_429",),
        {"llm_calls": 2, "llm_calls_failed": 2},
        "Both tell of one failed call, which has neither a response id nor tokens to know it again by",
    ),
    Gap(
        ("vercel-ai-sdk-v6/retry_flaky",),
        {"llm_calls": 2, "llm_calls_failed": 1},
        "The AI SDK has a span for each try, of which the truth counts the last",
    ),
    # -- Tokens
    Gap(
        ("*langchain/rag", "langsmith-otel/rag"),
        {
            "embedding_tokens": None,
            "models": _without_embeddings("models"),
            "models_requested": _without_embeddings("models_requested"),
        },
        "LangChain has no callbacks for embeddings",
    ),
    Gap(
        ("openlit*/c*", "openllmetry-legacy-openai/*"),
        {"reasoning_tokens": None},
        "The instrumentor does not say how many tokens were reasoning",
    ),
    Gap(
        ("otel-openai-v2-*",),
        {"cache_read_tokens": None, "reasoning_tokens": None},
        "The instrumentor says input and output, not what was cached or reasoning",
    ),
    Gap(
        ("openllmetry-legacy-openai/stream",),
        {"input_tokens": None, "output_tokens": None},
        "This version of OpenLLMetry does not read a stream's usage",
    ),
    Gap(
        ("openllmetry-langchain/anthropic_chat_cache",),
        {"cache_write_tokens": None},
        "LangChain tells of cache writes by their lifetime, which OpenLLMetry does not read: it says 0",
    ),
    # -- Models, ids, ends
    Gap(
        ("langfuse-langchain/*",),
        {"response_ids": [], "finish_reasons": []},
        "Langfuse keeps of LangChain's answers neither the id nor the reason of their end",
        _is_alone,
    ),
    Gap(
        (
            "langfuse-langchain/stream*",
            "langfuse-langchain/responses_api",
            "openinference-langchain/stream*",
            "openinference-langchain/responses_api",
            "openllmetry-langchain/*stream*",
            "litellm-otel/stream*",
            "logfire-openai/*stream*",
        ),
        {"models": _requested},
        "The instrumentor knows the name that was asked for, and says it for the answering model's, too",
    ),
    Gap(("vercel-ai-sdk-v6/embeddings",), {"models": []}, "The AI SDK does not say which model answered"),
    Gap(
        ("litellm-otel/anthropic_cache",),
        {"response_ids": []},
        "LiteLLM makes up an id; the answer's own is told in a second span only",
    ),
    Gap(("*",), {"response_ids": _ids_told}, "No span has the answer's id"),
    Gap(
        ("logfire-openai/responses*",),
        {"finish_reasons": []},
        "Logfire does not say why an answer of the Responses API ended",
    ),
    Gap(
        ("openllmetry-langchain/anthropic*", "otel-genai-langchain/responses_api"),
        {"finish_reasons": []},
        "The instrumentor looks for the reason where OpenAI's chat completions have it, and says none",
        _is_alone,
    ),
    Gap(
        ("otel-genai-openai/error_midstream", "otel-openai-v2-latest/error_midstream"),
        {"finish_reasons": ["error"]},
        "What OpenTelemetry says of an answer that did not end",
    ),
    Gap(
        (
            "langsmith-otel/*",
            "litellm-otel/*",
            "logfire-openai/*",
            "mlflow-anthropic/*",
            "openinference-anthropic/*",
            "openinference-langchain/*",
            "openlit*",
            "openllmetry-langchain/*",
            "openllmetry-*/responses_stream",
            "otel-openai-v2-*",
            "pydantic-ai*/anthropic*",
        ),
        {"first_token_ms": []},
        "The instrumentor does not say, or says it wrong, when the first token came",
        _is_alone,
    ),
)


def gap_of(scenario: Scenario, field: str) -> Gap | None:
    """The first gap that is of a scenario's field; none where what it says is the truth."""
    for gap in GAPS:
        if field in gap.said and gap.is_of(scenario):
            return None if agree(field, gap.left(scenario, field), true(scenario)[field]) else gap
    return None
