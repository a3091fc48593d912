"""A reading's messages and payloads as records take them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from orjson import Fragment, dumps

from chopsky_trace.enrich.limit import clean
from chopsky_trace.records import content_id, storable, text_of
from chopsky_trace.telemetry.conventions.reading import Message
from chopsky_trace.telling.bodies import OPTIONS, Bodies, hides_float
from chopsky_trace.telling.memory import Draft, Entry, Root, chars_of, tail_of

LISTS_DEPTH = 4
"""How deep in a payload a list of messages becomes one reference."""
HOLDERS: frozenset[type] = frozenset((dict, list))


class MessageBodies(Bodies):
    """Tells messages that were read from attributes; each once per trace."""

    __slots__ = ()

    def entry(self, root: Root, draft: Draft, message: Message) -> Entry:
        """The message, told."""
        # Every call and every step of a graph says the whole history again: to know it is cheaper than to encode it.
        # What was read before is mostly the same object.
        known = root.entries.get(id(message))
        if known is not None and known.message is message:
            return known
        content = message.content
        key = (content, message.role, message.call_id, *[call.id for call in message.calls])
        known = root.entries.get(key) if content.__class__ is str else None
        if known is not None and known.message == message:
            root.entries.pop(id(known.message), None)
            known.message = message
            root.entries[id(message)] = known
            return known
        calls = [{"name": c.name, "args": c.args, "id": c.id, "type": "tool_call"} for c in message.calls]
        extra = {"reasoning": message.reasoning} if message.reasoning else None
        entry = self.body(
            root,
            draft,
            message.role,
            content,
            calls,
            message.call_id,
            message.name,
            extra,
            # A tool's result is told with and without its tool's name; the call that it answers names it.
            name_apart=message.call_id is not None,
        )
        if message.name and message.role == "assistant":
            entry.name = message.name
            root.named = True
        if content.__class__ is str:
            entry.message = message
            root.entries[key] = root.entries[id(message)] = entry
        return entry

    def entries(self, root: Root, draft: Draft, messages: Sequence[Message]) -> list[Entry]:
        """All of a list, in order."""
        return [self.entry(root, draft, message) for message in messages]

    def question_keys(self, messages: Sequence[Message]) -> list[str]:
        """The bodies of what the user says with these, as `question_refs` has it."""
        entries = self.entries(Root("", 0, 0), Draft(bodies=[]), messages)
        new = entries if len(entries) == 1 else entries[tail_of(entries) :]
        return [entry.id for entry in new if entry.role == "user"][-1:]

    def answer_keys(self, messages: Sequence[Message]) -> list[str]:
        """What answers are known by, whoever tells of them: half of the SHA-256 of the text, or else their body."""
        # Nothing is told here: whether they are the user's answers turns out later.
        nowhere, draft = Root("", 0, 0), Draft(bodies=[])
        keys: list[str] = []
        for entry in self.entries(nowhere, draft, messages):
            if entry.text and not entry.has_calls:
                keys.append(content_id(storable(entry.text).encode()))
            else:
                keys.append(entry.id)
        return keys

    def payload(self, root: Root, draft: Draft, value: Any) -> Fragment:
        """Plain data with references in the place of the messages in it."""
        known = root.texts.get(id(value))
        if known is not None and known[0] is value:
            # A step's output is the next one's input.
            return known[2]
        made = self._payload(root, draft, value)
        if value.__class__ in HOLDERS:
            root.refer(value, None, made)
        return made

    def _payload(self, root: Root, draft: Draft, value: Any) -> Fragment:
        found = self._referring(root, draft, value, LISTS_DEPTH)
        hook = partial(self._reference, root, draft)
        if self.redactor is None:
            try:
                encoded = dumps(found, hook, OPTIONS)
                if len(encoded) <= self.max_string and not hides_float(encoded, found):
                    return Fragment(encoded)
            except (TypeError, ValueError, RecursionError):
                pass
        plain = clean(found, self.max_string, hook)
        if self.redactor is not None:
            plain = self.redactor.value(plain)
        return Fragment(dumps(plain, None, OPTIONS))

    def _referring(self, root: Root, draft: Draft, value: Any, depth: int) -> Any:
        """Lists of messages as one reference each: where they mostly stand; deeper down each message is its own."""
        if value.__class__ is dict:
            fields = cast("dict[Any, Any]", value)
            return {
                key: self._referring(root, draft, item, depth - 1) if depth and item.__class__ in HOLDERS else item
                for key, item in fields.items()
            }
        if value.__class__ is list:
            items = cast("list[Any]", value)
            if items and items[0].__class__ is Message and all(item.__class__ is Message for item in items):
                return self._references(root, draft, cast("list[Message]", items))
            if depth:
                return [
                    self._referring(root, draft, item, depth - 1) if item.__class__ in HOLDERS else item
                    for item in items
                ]
        return value

    def _reference(self, root: Root, draft: Draft, value: object) -> Any:
        if not isinstance(value, Message):
            return None
        entry = self.entry(root, draft, value)
        root.mention(draft, entry.id, chars_of(entry))
        return {"$message": entry.id}

    def _references(self, root: Root, draft: Draft, messages: list[Message]) -> dict[str, Any]:
        entries = self.entries(root, draft, messages)
        ids = [entry.id for entry in entries]
        if not root.placed.issuperset(ids):
            for position, entry in enumerate(entries):
                root.mention(draft, entry.id, chars_of(entry), position)
        return root.compact(ids)[0]

    def message_shape(self, value: Any) -> dict[str, Any] | None:
        """Role and size of a message; None of anything else."""
        if isinstance(value, Message):
            return {"role": value.role, "chars": len(text_of(value.content))}
        return None
