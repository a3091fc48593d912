"""What the user said and was answered, as a root's inputs and outputs have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import BaseMessage
from orjson import loads

from chopsky_trace.sources.langchain.messages import Snapshot
from chopsky_trace.telling.memory import Draft, Entry, Root
from chopsky_trace.telling.turns import INPUT_ORDER, OUTPUT_ORDER, ROLES, closing, told_in


def question_of(snapshot: Snapshot, root: Root, draft: Draft, inputs: Any) -> list[Entry] | None:
    """What the user said, as a root's inputs have it; None where that cannot be told."""
    text, entries = _told_in(snapshot, root, draft, inputs, INPUT_ORDER)
    return [snapshot.body(root, draft, "user", text)] if text else entries


def answer_of(snapshot: Snapshot, root: Root, draft: Draft, outputs: Any) -> list[Entry] | None:
    """What the user was answered, as a root's outputs have it; None where that cannot be told."""
    text, entries = _told_in(snapshot, root, draft, outputs, OUTPUT_ORDER)
    if text:
        return [snapshot.body(root, draft, "assistant", text)]
    if not entries:
        return None
    return closing(entries, lambda e: bool(e.text) and not e.has_calls)


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
    if isinstance(items[0], str) and len(items) == 2 and isinstance(value, tuple) and items[0] in ROLES:
        return [snapshot.body(root, draft, ROLES[items[0]], items[1])]
    found: list[Entry] = []
    for item in items:
        if isinstance(item, BaseMessage):
            if item.type != "remove":
                found.append(snapshot.entry(root, draft, item))
        elif isinstance(item, Mapping):
            fields = cast("Mapping[str, Any]", item)
            role = ROLES.get(str(fields.get("role") or fields.get("type")))
            if role is None or not isinstance(fields.get("content"), (str, list)):
                return None
            found.append(
                snapshot.body(
                    root,
                    draft,
                    role,
                    fields["content"],
                    calls=_plain_calls(fields.get("tool_calls")),
                    call_id=fields.get("tool_call_id"),
                    name=fields.get("name"),
                )
            )
        elif (
            isinstance(item, (list, tuple))
            and len(cast("Sequence[Any]", item)) == 2
            and item[0] in ROLES
            and isinstance(item[1], (str, list))
        ):
            found.append(snapshot.body(root, draft, ROLES[item[0]], item[1]))
        else:
            return None
    return found


def _plain_calls(calls: Any) -> list[Any]:
    """OpenAI's form of tool calls, in LangChain's form, so that a re-sent history is the same body."""
    found: list[Any] = []
    for call in cast("list[dict[str, Any]]", calls or ()):
        function: dict[str, Any] | None = call.get("function")
        if function is None:
            found.append(call)
            continue
        try:
            args = loads(function.get("arguments") or "{}")
        except ValueError:
            args = function.get("arguments")
        found.append({"name": function.get("name"), "args": args, "id": call.get("id"), "type": "tool_call"})
    return found
