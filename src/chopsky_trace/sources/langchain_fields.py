"""What LangChain's callbacks carry, read field by field."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from chopsky_trace.records import Kind, Scope, Status

# First found wins; LangChain's, LangSmith's and Langfuse's spellings.
SCOPE_KEYS: dict[str, tuple[str, ...]] = {
    "session_id": (
        "thread_id",
        "session_id",
        "conversation_id",
        "langfuse_session_id",
        "ls_thread_id",
        "langsmith_thread_id",
    ),
    "user_id": ("user_id", "langfuse_user_id", "ls_user_id", "langsmith_user_id"),
    "tenant_id": ("tenant_id", "langfuse_tenant_id", "ls_tenant_id"),
}
SCOPE_NAMES = frozenset(key for keys in SCOPE_KEYS.values() for key in keys)
MAX_ID_CHARS = 512
# In columns of their own, or the same in every span of a process.
NOT_METADATA = frozenset(("ls_provider", "ls_model_name", "ls_model_type", "lc_versions", "ls_integration"))
# LangGraph's and LangChain's own keys never hold a secret: no need to look at them one by one.
OWN_KEYS = frozenset(
    (
        "langgraph_step",
        "langgraph_node",
        "langgraph_triggers",
        "langgraph_path",
        "langgraph_checkpoint_ns",
        "checkpoint_ns",
        "ls_temperature",
        "ls_max_tokens",
        "ls_stop",
        "ls_retriever_name",
        "ls_vector_store_provider",
        "ls_embedding_provider",
        "lc_agent_name",
        "ls_agent_type",
        *SCOPE_NAMES,
    )
)
CHAIN_KINDS: dict[str, Kind] = {
    "prompt": "prompt",
    "parser": "parser",
    "tool": "tool",
    "retriever": "retriever",
    "llm": "llm",
}
# Told elsewhere in the record, or none of the database's business.
STATED_USAGE = (
    "token_usage",
    "usage",
    "usage_metadata",
    "token_count",
    "amazon-bedrock-invocationMetrics",
    "prompt_eval_count",
    "eval_count",
    "service_tier",
    "serviceTier",
    "speed",
)
"""Where providers state usage, and what changes its price, in a message's response metadata."""
NOT_RESPONSE_METADATA = frozenset(("headers", "token_usage", "usage"))


def identifier(value: Any) -> str | None:
    """A user, session or tenant id as text; a UUID in lower case; a very long one shortened, still unique."""
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else str(value)
    if len(text) == 36 and text.count("-") == 4:
        try:
            return str(UUID(text))
        except ValueError:
            return text
    if len(text) > MAX_ID_CHARS or "\x00" in text or not text.isprintable():
        return _short_identifier(text)
    return text


def _short_identifier(text: str) -> str:
    import hashlib

    clean = text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
    if len(clean) <= MAX_ID_CHARS:
        return clean
    return f"{clean[: MAX_ID_CHARS - 40]}\u2026{hashlib.sha256(clean.encode()).hexdigest()[:32]}"


def scope_in(values: Mapping[str, Any]) -> Scope:
    """User, session and tenant that a metadata or `configurable` mapping names."""
    found: dict[str, str] = {}
    for name, keys in SCOPE_KEYS.items():
        for key in keys:
            if key in values:
                text = identifier(values[key])
                if text is not None:
                    found[name] = text
                    break
    return cast("Scope", found)


def name_of(name: str | None, serialized: Mapping[str, Any] | None) -> str | None:
    """The run's name; models and tools have it in `serialized` only."""
    if name:
        return name
    if serialized:
        found = serialized.get("name")
        if found:
            return str(found)
        path = serialized.get("id")
        if isinstance(path, list) and path:
            return str(cast("list[Any]", path)[-1])
    return None


def chain_kind(run_type: str | None, metadata: Mapping[str, Any] | None, is_root: bool) -> Kind:
    if run_type:
        return CHAIN_KINDS.get(run_type, "chain")
    if (
        is_root
        and type(metadata) is dict
        and cast("dict[str, Any]", metadata).get("ls_integration") == "langchain_create_agent"
    ):
        return "agent"
    return "chain"


def error_of(error: BaseException) -> tuple[Status, str | None, bool]:
    """(status, text, is an interrupt). Control flow and cancellation are not failures."""
    names = {c.__name__ for c in type(error).__mro__}
    if "GraphInterrupt" in names:
        return "interrupted", None, True
    if "GraphBubbleUp" in names:
        return "completed", None, False
    if names & {"GeneratorExit", "CancelledError"}:
        return "abandoned", type(error).__name__, False
    try:
        text = str(error)
    except Exception:
        text = "(the error's own text could not be read)"
    return "failed", f"{type(error).__name__}: {text}" if text else type(error).__name__, False


def llm_result(response: Any) -> tuple[list[Any], dict[str, Any]]:
    """(messages or texts of every generation, what it says of usage and model)."""
    outputs: list[Any] = []
    facts: dict[str, Any] = {}
    generations: Any = response.generations
    first: list[Any] = list(generations[0]) if generations else []
    for generation in first:
        message = getattr(generation, "message", None)
        outputs.append(generation.text if message is None else message)
    facts["generations"] = len(first)
    llm_output = getattr(response, "llm_output", None)
    if isinstance(llm_output, Mapping):
        facts.update(_of_llm_output(cast("Mapping[str, Any]", llm_output)))
    if first:
        info = getattr(first[0], "generation_info", None)
        message = getattr(first[0], "message", None)
        if message is not None:
            facts["usage_metadata"] = getattr(message, "usage_metadata", None)
            facts["response_metadata"] = getattr(message, "response_metadata", None)
            facts["message_id"] = getattr(message, "id", None)
        if info:
            facts["generation_info"] = info
    return outputs, facts


def _of_llm_output(llm_output: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in ("token_usage", "usage"):
        if llm_output.get(key):
            found["token_usage"] = llm_output[key]
            break
    for key in ("model_name", "model", "model_id"):
        if llm_output.get(key):
            found["model_name"] = llm_output[key]
            break
    if llm_output.get("id"):
        found["id"] = llm_output["id"]
    return found


def first_of(*pairs: tuple[Mapping[str, Any] | None, tuple[str, ...]]) -> str | None:
    """The first text under any of these keys."""
    for mapping, keys in pairs:
        if mapping:
            for key in keys:
                value = mapping.get(key)
                if isinstance(value, str) and value:
                    return value
    return None


def is_cache_hit(facts: Mapping[str, Any], run_hex: str) -> bool:
    """LangChain answered from its cache: the usage has a total cost of 0, or the message another run's id."""
    usage = facts.get("usage_metadata")
    if isinstance(usage, Mapping) and cast("Mapping[str, Any]", usage).get("total_cost") == 0:
        return True
    message_id = facts.get("message_id")
    if isinstance(message_id, str) and message_id.startswith("lc_run--"):
        told = message_id.removeprefix("lc_run--")[:36].replace("-", "")
        return len(told) == 32 and told != run_hex
    return False


def langsmith_trace(parent: UUID) -> str | None:
    """The trace that LangSmith files this parent under, where its SDK is at work here."""
    module = sys.modules.get("langsmith.run_helpers")
    if module is None:
        return None
    tree = module.get_current_run_tree()
    if tree is None:
        return None
    # Only if the tree is about this parent: what surrounds us may be somebody else's work.
    if tree.id == parent or parent.hex in tree.dotted_order.replace("-", ""):
        return tree.trace_id.hex
    return None


def response_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the provider said about its answer: the message's response metadata, or a completion's generation info."""
    found: Any = facts.get("response_metadata") or facts.get("generation_info")
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def answer_facts(facts: Mapping[str, Any], response: Mapping[str, Any]) -> dict[str, str]:
    """The answering model, the response's id and why it stopped, as far as they are told."""
    found = {
        "model": first_of((response, ("model_name", "model", "model_id")), (facts, ("model_name",))),
        "response_id": first_of((response, ("id", "response_id")), (facts, ("id",))),
        "finish_reason": first_of(
            (response, ("finish_reason", "stop_reason", "done_reason")),
            (facts.get("generation_info"), ("finish_reason",)),
        ),
    }
    message_id = facts.get("message_id")
    if found["response_id"] is None and isinstance(message_id, str) and not message_id.startswith(("lc_run--", "run-")):
        # Some integrations give the provider's id to the message only.
        found["response_id"] = message_id
    return {name: value for name, value in found.items() if value}


def usage_of(facts: Mapping[str, Any], response: Mapping[str, Any]) -> dict[str, Any]:
    """All that was reported of tokens, not yet normalised."""
    usage = {k: facts[k] for k in ("usage_metadata", "token_usage", "generations") if facts.get(k) is not None}
    stated = {k: response[k] for k in STATED_USAGE if response.get(k) is not None}
    if stated:
        usage["response_metadata"] = stated
    if stated.get("service_tier"):
        usage["service_tier"] = stated["service_tier"]
    return usage
