"""A reading's messages and payloads as records take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from orjson import Fragment, dumps

from chopsky_trace.records import text_of
from chopsky_trace.sources.bodies import OPTIONS, Bodies, odd_float
from chopsky_trace.sources.conventions.reading import Message
from chopsky_trace.sources.memory import Draft, Entry, Root, chars_of

MAX_DEPTH = 6
"""How deep in a payload messages are looked for."""


class MessageBodies(Bodies):
    """Tells messages that were read from attributes; each once per trace."""

    __slots__ = ()

    def entry(self, root: Root, draft: Draft, message: Message) -> Entry:
        """The message, told."""
        content = message.content
        # Every call and every step of a graph says the whole history again: to know it is cheaper than to encode it.
        key = (content, message.role, message.call_id, *[call.id for call in message.calls])
        known = root.entries.get(key) if content.__class__ is str else None
        if known is not None and known.message == message:
            return known
        calls = [{"name": c.name, "args": c.args, "id": c.id, "type": "tool_call"} for c in message.calls]
        entry = self.body(root, draft, message.role, content, calls, message.call_id, message.name)
        if message.name and message.role == "assistant":
            entry.name = message.name
            root.named = True
        if content.__class__ is str:
            entry.message = message
            root.entries[key] = entry
        return entry

    def entries(self, root: Root, draft: Draft, messages: Sequence[Message]) -> list[Entry]:
        """All of a list, in order."""
        return [self.entry(root, draft, message) for message in messages]

    def payload(self, root: Root, draft: Draft, value: Any) -> Fragment:
        """Plain data with references in the place of the messages in it."""
        found = self._referring(root, draft, value, 0)
        if self.redactor is None:
            try:
                encoded = dumps(found, None, OPTIONS)
                if len(encoded) <= self.max_string and (b"null" not in encoded or not odd_float(found)):
                    return Fragment(encoded)
            except (TypeError, ValueError, RecursionError):
                pass
        plain = self.plain(found)
        if self.redactor is not None:
            plain = self.redactor.value(plain)
        return Fragment(dumps(plain, None, OPTIONS))

    def _referring(self, root: Root, draft: Draft, value: Any, depth: int) -> Any:
        if isinstance(value, Message):
            entry = self.entry(root, draft, value)
            root.mention(draft, entry.id, chars_of(entry))
            return {"$message": entry.id}
        if depth > MAX_DEPTH:
            return value
        if isinstance(value, dict):
            fields = cast("dict[Any, Any]", value)
            return {key: self._referring(root, draft, item, depth + 1) for key, item in fields.items()}
        if isinstance(value, list):
            items = cast("list[Any]", value)
            if items and isinstance(items[0], Message) and all(isinstance(item, Message) for item in items):
                return self._references(root, draft, cast("list[Message]", items))
            return [self._referring(root, draft, item, depth + 1) for item in items]
        return value

    def _references(self, root: Root, draft: Draft, messages: list[Message]) -> dict[str, Any]:
        entries = self.entries(root, draft, messages)
        for position, entry in enumerate(entries):
            root.mention(draft, entry.id, chars_of(entry), position)
        return root.compact([entry.id for entry in entries])[0]

    def message_shape(self, value: Any) -> dict[str, Any] | None:
        """Role and size of a message; None of anything else."""
        if isinstance(value, Message):
            return {"role": value.role, "chars": len(text_of(value.content))}
        return None
