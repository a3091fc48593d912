"""How long a call's texts are: what its tokens can be estimated from where its provider states none.

Lengths only, so that nothing is tokenised on the caller's time; and only of calls whose answer stated no usage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from orjson import OPT_NON_STR_KEYS, dumps

TEXTS = frozenset(
    (
        "text",
        "reasoning",
        "reasoning_content",
        "thinking",
        "summary",
        "content",
        "refusal",
        "name",
        "arguments",
        "partial_json",
        "code",
        "query",
        "transcript",
    )
)
"""Where a block of content holds text."""
IMAGES = frozenset(("image", "image_url", "input_image"))
Lengths = dict[str, int]


def lengths_of(asked: tuple[Any, Any], results: Sequence[Any]) -> Lengths:
    """The lengths of a call's prompt and answer.

    Args:
        asked: the prompt (messages, or its text), and the tools that were offered.
        results: the answer's messages or texts.

    Returns:
        `messages` of the prompt, `input_chars` with the tools' schemas, `images`, and `output_chars`.
    """
    prompt, tools = asked
    found = {"messages": 0, "images": 0, "input_chars": _json_chars(tools) if tools else 0, "output_chars": 0}
    if isinstance(prompt, str):
        found["input_chars"] += len(prompt)
    else:
        found["messages"] = len(prompt)
        for message in prompt:
            found["input_chars"] += _message_chars(message, found)
    for result in results:
        # An image of the answer has no length that anybody could count tokens of.
        found["output_chars"] += len(result) if isinstance(result, str) else _message_chars(result, {"images": 0})
    return found


def _message_chars(message: Any, found: Lengths) -> int:
    held: dict[str, Any] = message.__dict__
    content = held.get("content")
    if isinstance(content, str):
        chars = len(content)
        # A content of blocks holds its calls itself.
        for call in held.get("tool_calls") or held.get("tool_call_chunks") or ():
            chars += len(call.get("name") or "") + _json_chars(call.get("args"))
    else:
        chars = _chars(content, found)
    extra = held.get("additional_kwargs")
    return chars + len(extra.get("reasoning_content") or "") if extra else chars


def _chars(value: Any, found: Lengths) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, (list, tuple)):
        return sum(_chars(item, found) for item in cast("Sequence[Any]", value))
    if not isinstance(value, Mapping):
        return 0
    block = cast("Mapping[str, Any]", value)
    if block.get("type") in IMAGES:
        found["images"] += 1
        return 0
    chars = sum(_chars(item, found) for key, item in block.items() if key in TEXTS)
    return chars + sum(_json_chars(block[key]) for key in ("args", "input") if block.get(key))


def _json_chars(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    try:
        return len(dumps(value, None, OPT_NON_STR_KEYS))
    except (TypeError, ValueError, RecursionError):
        return len(str(value))
