"""What LangChain's callbacks carry, read field by field."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from chopsky_trace.enrich.server_tools import server_tools
from chopsky_trace.records import Kind, Scope, Status
from chopsky_trace.telling.hosts import provider_of
from chopsky_trace.telling.identifiers import identifier

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
# In columns of their own, or the same in every span of a process.
NOT_METADATA = frozenset(("ls_provider", "ls_model_name", "ls_model_type", "lc_versions", "ls_integration"))
# Where LangGraph put the node: what runs inside it is in the same place, and says so once.
PLACEMENT = frozenset(("langgraph_path", "langgraph_triggers", "langgraph_checkpoint_ns", "checkpoint_ns"))
TOLD_ABOVE = NOT_METADATA | PLACEMENT
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


@lru_cache(1_024)
def own_names(names: tuple[str, ...], is_placed: bool) -> tuple[str, ...]:
    """Of the names in a span's metadata those that may be its own; `is_placed`: it is where the span above it is."""
    told = TOLD_ABOVE if is_placed else NOT_METADATA
    return tuple(name for name in names if name not in told)


def name_of(serialized: Mapping[str, Any] | None) -> str | None:
    """The run's name where the event does not say it; models and tools have it in `serialized` only."""
    if serialized:
        found = serialized.get("name")
        if found:
            return str(found)
        path = serialized.get("id")
        if isinstance(path, list) and path:
            return str(cast("list[Any]", path)[-1])
    return None


def provider_at(serialized: Mapping[str, Any] | None) -> str:
    """Who answers a call of OpenAI's form; `openai` where the address does not tell."""
    arguments = serialized.get("kwargs") if serialized else None
    base = cast("dict[str, Any]", arguments).get("openai_api_base") if arguments.__class__ is dict else None
    return provider_of(base) if base.__class__ is str else "openai"


def model_in(params: Mapping[str, Any] | None) -> str | None:
    """The model that the call's parameters name."""
    for key in ("model", "model_name", "model_id") if params else ():
        value = cast("Mapping[str, Any]", params).get(key)
        if isinstance(value, str) and value:
            return value
    return None


def root_kind(metadata: Mapping[str, Any] | None) -> Kind:
    """A root is an agent where LangChain says that it made one."""
    return "agent" if metadata and metadata.get("ls_integration") == "langchain_create_agent" else "chain"


def is_empty(value: Any) -> bool:
    """Whether it is the empty text, without asking an object of somebody else's whether it equals one."""
    return value.__class__ is str and not value


def error_of(error: BaseException) -> tuple[Status, str | None, bool]:
    """(status, text, is an interrupt). Control flow and cancellation are not failures."""
    names = {c.__name__ for c in type(error).__mro__}
    # A drained graph stopped between two steps, and can be resumed like one that was interrupted.
    if names & {"GraphInterrupt", "GraphDrained"}:
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


def answered(response: Any) -> tuple[list[Any], dict[str, Any]]:
    """(messages or texts of every generation, what it says of usage and model, as it says it)."""
    generations: Any = response.generations
    first: list[Any] = generations[0] if generations else []
    results: list[Any] = []
    for generation in first:
        message = getattr(generation, "message", None)
        results.append(generation.text if message is None else message)
    said: dict[str, Any] = {"generations": len(first)}
    overall = getattr(response, "llm_output", None)
    if overall:
        said["llm_output"] = overall
    if first:
        message = getattr(first[0], "message", None)
        reason_told = False
        if message is not None:
            held: dict[str, Any] = message.__dict__
            said["usage_metadata"] = held.get("usage_metadata")
            metadata: dict[str, Any] = held.get("response_metadata") or {}
            said["response_metadata"] = metadata
            said["message_id"] = held.get("id")
            reason_told = "finish_reason" in metadata
            # Most answers are a text: what the provider's own tools did stands in blocks.
            content: Any = held.get("content")
            if content.__class__ is list:
                tools = server_tools(content)
                if tools:
                    said["server_tools"] = tools
        info = getattr(first[0], "generation_info", None)
        if info and not reason_told:
            said["generation_info"] = info
    return results, said


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
