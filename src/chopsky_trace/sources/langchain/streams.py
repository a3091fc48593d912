"""The first token: which of the chunks and events of a stream is the first that carries anything of the answer.

Content, reasoning and data of a tool call do. The empty chunk that only tells the role, a block that is only opened,
usage and the empty chunk at the end do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

CALLS = ("args", "arguments", "input")
"""Of a tool call: any value but an empty one says something."""
SAYS = frozenset(
    (
        "text",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "thinking",
        "summary",
        "content",
        "refusal",
        "name",
        "partial_json",
        "function",
        "function_call",
        "tool_calls",
        "executable_code",
        "code",
        "query",
        "output",
        "result",
        "audio",
        "transcript",
        "data",
        "base64",
        "image_url",
        "url",
        "fields",
        *CALLS,
    )
)
"""Where a block of content, or a delta of one, holds what the model said."""
EVENTS = frozenset(("content-block-start", "content-block-delta", "content-block-finish"))
BLOCKS = ("delta", "content", "content_block")
"""Where these events hold their block."""


def says(value: Any) -> bool:
    """Whether a content, a block or a delta holds anything that the model said."""
    if isinstance(value, str):
        return value != ""
    if isinstance(value, (list, tuple)):
        return any(says(item) for item in cast("list[Any]", value))
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        return any(bool(item) if key in CALLS else says(item) for key, item in fields.items() if key in SAYS)
    return False


def chunk_says(token: Any, chunk: Any) -> bool:
    """Whether a streamed chunk is more than an opening; `token` is its text, or its content.

    Args:
        token: what the callback calls the token.
        chunk: LangChain's chunk of a generation; None where the model's integration passes none.
    """
    if token.__class__ is str and token:
        return True
    message = getattr(chunk, "message", None)
    if message is None:
        return says(token) or says(getattr(chunk, "text", ""))
    held: dict[str, Any] = message.__dict__
    return (
        says(held.get("content"))
        or any(call.get("name") or call.get("args") for call in held.get("tool_call_chunks") or ())
        or says(held.get("additional_kwargs"))
    )


def event_says(event: Mapping[str, Any]) -> bool:
    """The same of an event of the newer streaming protocol."""
    return event["event"] in EVENTS and any(says(event.get(name)) for name in BLOCKS)
