"""What the user said and was answered, as a root's inputs and outputs have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import BaseMessage
from orjson import loads

from chopsky_trace.sources.langchain.messages import Snapshot
from chopsky_trace.telling.memory import Draft, Entry, Root
from chopsky_trace.telling.turns import INPUT_ORDER, OUTPUT_ORDER, ROLES, closing, told_in

INTERRUPT_ID = 32
HEX = frozenset("0123456789abcdef")


def question_of(snapshot: Snapshot, root: Root, draft: Draft, inputs: Any) -> list[Entry] | None:
    """What the user said, as a root's inputs have it; None where that cannot be told."""
    text, entries = _told_in(snapshot, root, draft, inputs, INPUT_ORDER)
    return [snapshot.body(root, draft, "user", text)] if text else entries


def resumed_with(value: Any) -> list[Any]:
    """What a graph is resumed with: of several interrupts, the answer to each."""
    if value.__class__ is dict and len(value) > 1 and all(map(_is_interrupt_id, value)):
        return [*value.values()]
    return [value]


def _is_interrupt_id(key: Any) -> bool:
    return key.__class__ is str and len(key) == INTERRUPT_ID and HEX.issuperset(key)


def answer_of(
    snapshot: Snapshot, root: Root, draft: Draft, outputs: Any, *, texts: bool = True
) -> tuple[list[Entry] | None, list[str]]:
    """What the user was answered, as a root's outputs have it, and the bodies of all messages that are in these.

    Args:
        texts: a text may be the answer; otherwise only messages are.

    Returns:
        None in the place of the answer where that cannot be told.
    """
    if isinstance(outputs, dict):
        outputs = _new_in(root, cast("dict[Any, Any]", outputs))
    text, entries = _told_in(snapshot, root, draft, outputs, OUTPUT_ORDER)
    if text and texts:
        return [snapshot.body(root, draft, "assistant", text)], []
    if not entries:
        return None, []
    return closing(entries, lambda e: bool(e.text) and not e.has_calls), [entry.id for entry in entries]


def texts_of(inputs: Any) -> dict[Any, str]:
    """The texts that a root is given by name."""
    if not isinstance(inputs, dict):
        return {}
    return {name: value for name, value in cast("dict[Any, Any]", inputs).items() if value.__class__ is str}


def _new_in(root: Root, outputs: dict[Any, Any]) -> dict[Any, Any]:
    """What of a root's outputs is not as it came in: what only passes through is no answer.

    Of a resumed graph nobody knows what came in: there only what is called an answer is one.
    """
    passed = root.given
    return {
        name: value
        for name, value in outputs.items()
        if not (value.__class__ is str and passed.get(name) == value) and (name in OUTPUT_ORDER or not root.resumed)
    }


def _told_in(
    snapshot: Snapshot, root: Root, draft: Draft, value: Any, order: Mapping[str, int]
) -> tuple[str | None, list[Entry] | None]:
    """(the text, or else the messages) that a root was given or gave back."""
    if value.__class__ is str:
        return value, None
    if value.__class__ is dict and len(value) == 1:
        # One text: it is the one, whatever its name.
        (text,) = value.values()
        if text.__class__ is str and text:
            return text, None
    if not isinstance(value, (str, Mapping)):
        value = getattr(value, "messages", value)
    return told_in(value, order, lambda v: _as_entries(snapshot, root, draft, v))


def _as_entries(snapshot: Snapshot, root: Root, draft: Draft, value: Any) -> list[Entry] | None:
    if isinstance(value, BaseMessage):
        return [snapshot.entry(root, draft, value)]
    if not isinstance(value, (list, tuple)) or not value:
        return None
    items = cast("Sequence[Any]", value)
    if isinstance(value, tuple) and _is_said(items):
        return [snapshot.body(root, draft, ROLES[items[0]], items[1])]
    found: list[Entry] = []
    for item in items:
        if isinstance(item, BaseMessage):
            if item.type != "remove":
                found.append(snapshot.entry(root, draft, item))
        elif isinstance(item, Mapping):
            fields = cast("Mapping[str, Any]", item)
            role = ROLES.get(str(fields.get("role") or fields.get("type")))
            # Beside tool calls OpenAI has null.
            content: Any = fields.get("content", 0)
            if role is None or not (content is None or isinstance(content, (str, list))):
                return None
            found.append(
                snapshot.body(
                    root,
                    draft,
                    role,
                    "" if content is None else content,
                    calls=_plain_calls(fields.get("tool_calls")),
                    call_id=fields.get("tool_call_id"),
                    name=fields.get("name"),
                )
            )
        elif isinstance(item, (list, tuple)) and _is_said(cast("Sequence[Any]", item)):
            found.append(snapshot.body(root, draft, ROLES[item[0]], item[1]))
        else:
            return None
    return found


def _is_said(pair: Sequence[Any]) -> bool:
    """Whether it is a role and a content."""
    return len(pair) == 2 and isinstance(pair[0], str) and pair[0] in ROLES and isinstance(pair[1], (str, list))


def _plain_calls(calls: Any) -> list[Any]:
    """OpenAI's form of tool calls, in LangChain's form, so that a re-sent history is the same body."""
    found: list[Any] = []
    listed = cast("Sequence[Any]", calls) if isinstance(calls, (list, tuple)) else ()
    for item in listed:
        call = cast("dict[str, Any]", item if isinstance(item, dict) else {})
        told: Any = call.get("function")
        if not isinstance(told, dict):
            found.append(item)
            continue
        function = cast("dict[str, Any]", told)
        try:
            args = loads(function.get("arguments") or "{}")
        except ValueError:
            args = function.get("arguments")
        found.append({"name": function.get("name"), "args": args, "id": call.get("id"), "type": "tool_call"})
    return found
