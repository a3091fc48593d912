"""The provider's own tools, as they stand in an answer's blocks: web searches and the like, which cost something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

# Kinds of block (OpenAI), and names of the tools (Anthropic, LangChain's own blocks) -> what a price list calls it.
CALLS = {
    "web_search_call": "web_searches",
    "file_search_call": "storage_searches",
    "code_interpreter_call": "code_executions",
    "image_generation_call": "images_generated",
}
TOOLS = {
    "web_search": "web_searches",
    "web_fetch": "web_fetches",
    "file_search": "storage_searches",
    "code_execution": "code_executions",
    "code_interpreter": "code_executions",
    "bash_code_execution": "code_executions",
    "text_editor_code_execution": "code_executions",
    "image_generation": "images_generated",
}
_USES = ("server_tool_use", "server_tool_call")


def server_tools(blocks: Sequence[Any]) -> dict[str, int]:
    """How often each was used; a use that failed is not billed, and does not count."""
    uses: list[tuple[str, Any]] = []
    failed: set[Any] = set()
    for block in blocks:
        if block.__class__ is not dict:
            continue
        told: dict[str, Any] = block
        kind = told.get("type")
        if kind.__class__ is not str:
            continue
        name = TOOLS.get(str(told.get("name"))) if kind in _USES else CALLS.get(cast("str", kind))
        if name:
            if _is_billed(told):
                uses.append((name, told.get("id")))
        elif cast("str", kind).endswith("tool_result") and _is_error(told):
            failed.add(str(told.get("tool_use_id") or told.get("tool_call_id")))
    counts: dict[str, int] = {}
    for name, use in uses:
        if str(use) not in failed:
            counts[name] = counts.get(name, 0) + 1
    return counts


def _is_billed(use: Mapping[str, Any]) -> bool:
    """A web search's later steps, opening a page or looking into it, are calls of the same name and cost nothing."""
    action = use.get("action")
    return action.__class__ is not dict or cast("dict[str, Any]", action).get("type") in (None, "search")


def _is_error(result: Mapping[str, Any]) -> bool:
    content = result.get("content")
    told = cast("dict[str, Any]", content).get("type") if content.__class__ is dict else None
    return result.get("status") == "error" or str(told).endswith("_error")
