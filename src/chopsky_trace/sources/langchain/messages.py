"""LangChain's messages and payloads, snapshotted as plain data on the caller's thread.

Objects change after their callback, so what is kept is copied in it. A message already told costs identity checks only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompt_values import ChatPromptValue
from orjson import OPT_SORT_KEYS, Fragment, dumps

from chopsky_trace.enrich.limit import clean
from chopsky_trace.records import DOCUMENT_CHARS, LONG_CHARS, Role, content_id, text_of
from chopsky_trace.sources.langchain.blocks import as_traced, copy_blocks, same_blocks
from chopsky_trace.telling.bodies import NEVER_ODD, OPTIONS, Bodies, hides_float
from chopsky_trace.telling.memory import PREFIX_MESSAGES, Draft, Entry, Root, chars_of
from chopsky_trace.telling.turns import ROLES

# What a class is in: asking pydantic whether an object is an instance takes a microsecond.
MESSAGES: frozenset[type] = frozenset((AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage))


PLAIN_ROLES: dict[type, Role] = {HumanMessage: "user", SystemMessage: "system"}
"""Messages that have no calls, no status and no role of their own."""
PLAIN = NEVER_ODD | {list}
"""What a payload's own fields may be without being encoded apart, as far as they are short, or empty."""


class Snapshot(Bodies):
    """Turns one event's objects into JSON, telling each message once per root."""

    __slots__ = ()

    # -- messages

    def entry(self, root: Root, draft: Draft, message: Any) -> Entry:
        """The message as told; known again by identity, never by `id()` alone."""
        # Through the instance's own dict: a missing attribute costs pydantic microseconds.
        held: dict[str, Any] = message.__dict__
        content = held["content"]
        calls = held.get("tool_calls")
        name = held.get("name")
        known = root.entries.get(id(message))
        if (
            known is not None
            and known.message is message
            and known.content is content
            and known.calls is calls
            and (known.blocks is None or same_blocks(known.blocks, content))
            and (known.name is name or known.role == "assistant")
        ):
            if known.name is not name:
                # Frameworks name an assistant's message after its call.
                known.name = name
                root.named = True
            return known
        role = PLAIN_ROLES.get(message.__class__)
        if (
            content.__class__ is str
            and not held["additional_kwargs"]
            and self.redactor is None
            and (role is not None or _is_text_only(held, calls))
        ):
            role = role or _role(held)
            entry = self._text_body(root, draft, role, content, held.get("tool_call_id"), name, message, calls)
            if entry is not None:
                if name:
                    entry.name = name
                    root.named = root.named or role == "assistant"
                return entry
        role = role or _role(held)
        told: Sequence[Any] = ()
        if role == "assistant":
            told = calls or ()
            if held.get("invalid_tool_calls"):
                told = [*told, *held["invalid_tool_calls"]]
        extra = _extra(held) if held["additional_kwargs"] or held.get("status") == "error" or "role" in held else None
        shown = content if content.__class__ is str else as_traced(content)
        entry = self.body(root, draft, role, shown, told, held.get("tool_call_id"), name, extra)
        entry.message = message
        entry.content = content
        entry.calls = calls
        entry.name = name
        if name and role == "assistant":
            root.named = True
        if content.__class__ is not str:
            entry.blocks = copy_blocks(content)
        root.entries[id(message)] = entry
        return entry

    def entries(self, root: Root, draft: Draft, messages: Sequence[Any]) -> list[Entry]:
        """A whole prompt. The loop is the hot path of long histories: known messages cost identity checks only."""
        known = root.entries
        found: list[Entry] = []
        add = found.append
        for message in messages:
            entry = known.get(id(message))
            if entry is not None and entry.message is message and entry.blocks is None:
                held = message.__dict__
                if (
                    entry.content is held["content"]
                    and entry.calls is held.get("tool_calls")
                    and entry.name is held.get("name")
                ):
                    add(entry)
                    continue
            add(self.entry(root, draft, message))
        return found

    # -- payloads

    def payload(self, root: Root, draft: Draft, value: Any) -> Any:
        """A payload as the record takes it: what is plain as it is, the rest encoded; messages become references."""
        if self.redactor is None:
            kind = value.__class__
            if kind is str and len(value) < LONG_CHARS:
                return value
            try:
                if kind is dict:
                    found, plain = self._fields(root, draft, value)
                elif kind in MESSAGES:
                    return self._reference(root, draft, value)
                elif kind is ChatPromptValue:
                    found = self._prompt_value(root, draft, value.__dict__)
                    plain = found["messages"].__class__ is dict
                else:
                    found = self._compact_one(root, draft, value)
                    plain = found is not value
                if plain:
                    return found
                encoded = dumps(found, partial(self._object, root, draft), OPTIONS)
                if len(encoded) <= self.max_string and not hides_float(encoded, value):
                    return Fragment(encoded)
            except (TypeError, ValueError, RecursionError, LookupError, AttributeError):
                pass
        return Fragment(self.slow_json(root, draft, value))

    def _fields(self, root: Root, draft: Draft, values: dict[Any, Any]) -> tuple[dict[Any, Any], bool]:
        """The dict with references in the place of what is long; whether the record's own encoding does the rest.

        Copied only where there are such: it is encoded before this event is over.
        """
        found = values
        plain = True
        for key, item in values.items():
            kind = item.__class__
            if (kind is str and len(item) >= LONG_CHARS) or (kind is list and item):
                told = self._text(root, draft, item) if kind is str else self._list(root, draft, item)
                if told is not item:
                    if found is values:
                        found = {**values}
                    found[key] = told
                plain = plain and told.__class__ is dict
            elif kind not in PLAIN:
                plain = False
        return found, plain

    def _reference(self, root: Root, draft: Draft, message: Any) -> dict[str, str]:
        entry = self.entry(root, draft, message)
        if entry.id not in root.placed:
            root.mention(draft, entry.id, chars_of(entry))
        return {"$message": entry.id}

    def _prompt_value(self, root: Root, draft: Draft, values: Mapping[str, Any]) -> dict[str, Any]:
        return {**values, "messages": self._list(root, draft, [*values["messages"]])}

    def slow_json(self, root: Root, draft: Draft, value: Any) -> bytes:
        """A payload as JSON, whatever is in it: what cannot be said becomes a marker, its neighbours stay whole."""
        plain = clean(self._compact(root, draft, value), self.max_string, partial(self._object, root, draft))
        if self.redactor is not None:
            plain = self.redactor.value(plain)
        return dumps(plain, None, OPTIONS)

    def message_shape(self, value: Any) -> dict[str, Any] | None:
        """Role and size of a message; None of anything else."""
        if isinstance(value, BaseMessage):
            return {"role": ROLES.get(value.type, "user"), "chars": len(text_of(value.content))}
        return None

    def _compact(self, root: Root, draft: Draft, value: Any) -> Any:
        """The same value, its lists of messages and its long texts as references."""
        kind = value.__class__
        if kind is dict:
            fields = cast("dict[Any, Any]", value)
            return {k: self._compact_one(root, draft, v) for k, v in fields.items()}
        return self._compact_one(root, draft, value)

    def _compact_one(self, root: Root, draft: Draft, value: Any) -> Any:
        if value.__class__ is list:
            return self._list(root, draft, value)
        return self._text(root, draft, value) if value.__class__ is str and len(value) >= LONG_CHARS else value

    def _text(self, root: Root, draft: Draft, text: str) -> Any:
        """The reference that stands for a long text; its own text where it has to be looked into first."""
        known = root.texts.get(id(text))
        if known is not None and known[0] is text:
            reference = known[2]
            if "$content" in reference and reference["$content"] not in root.placed:
                root.mention(draft, reference["$content"], len(text))
            return reference
        if self.redactor is not None or len(text) > self.max_string:
            return text
        try:
            content = content_id(text.encode())
        except UnicodeEncodeError:
            return text
        if content not in root.sent:
            root.sent.add(content)
            draft.setdefault("contents", []).append({"id": content, "text": text})
        return root.refer(text, None, {"$text": content})

    def _document(self, root: Root, draft: Draft, source: Document) -> Any:
        known = root.texts.get(id(source))
        page, metadata = source.page_content, source.metadata
        if known is not None and known[0] is source and known[1][0] is page and known[1][1] == metadata:
            return known[2]
        document: dict[str, Any] = {"page_content": page, "metadata": metadata, "type": "Document"}
        if source.id:
            document["id"] = source.id
        if self.redactor is not None or len(page) < DOCUMENT_CHARS:
            return document
        try:
            encoded = dumps(document, None, OPTIONS | OPT_SORT_KEYS)
        except (TypeError, ValueError, RecursionError):
            return document
        if len(encoded) > self.max_string or b"null" in encoded:
            return document
        content = content_id(encoded)
        if content not in root.sent:
            root.sent.add(content)
            draft.setdefault("contents", []).append({"id": content, "document": Fragment(encoded)})
        return root.refer(source, (page, dict(metadata)), {"$document": content})

    def _list(self, root: Root, draft: Draft, items: list[Any]) -> Any:
        if not items or not (items[0].__class__ in MESSAGES or isinstance(items[0], BaseMessage)):
            return items
        # Graphs give every node the whole conversation.
        many = len(items) >= PREFIX_MESSAGES and not root.named
        begin = root.prefix(root.lists, items) if many else None
        fresh = items if begin is None else items[len(begin.ids) :]
        known = root.entries
        for item in fresh:
            if item.__class__ in MESSAGES or id(item) in known:
                continue
            if not isinstance(item, BaseMessage) or item.type == "remove":
                return items
        entries = self.entries(root, draft, fresh)
        ids = [entry.id for entry in entries]
        if begin is not None:
            entries = begin.entries + entries
            ids = begin.ids + ids
        if not root.placed.issuperset(ids):
            for position, entry in enumerate(entries):
                root.mention(draft, entry.id, chars_of(entry), position)
        found, node = root.compact(ids, begin)
        if many and node is not None and (begin is None or fresh):
            root.keep(root.lists, begin, items, entries, ids, node)
        return found

    def _object(self, root: Root, draft: Draft, obj: Any) -> Any:
        """What stands for an object that JSON does not know."""
        if obj.__class__ in MESSAGES or isinstance(obj, BaseMessage):
            if obj.type == "remove":
                return {"$remove": obj.id}
            return self._reference(root, draft, obj)
        if isinstance(obj, Document):
            return self._document(root, draft, obj)
        if getattr(obj.__class__, "model_fields", None) is not None:
            # The fields as they stand: a model's own serialiser may be slow, may raise, may leave things out.
            values = cast("dict[str, Any]", obj.__dict__)
            messages: Any = values.get("messages")
            if isinstance(messages, (list, tuple)):
                return self._prompt_value(root, draft, values)
            return dict(values)
        return clean(obj, self.max_string, lambda inner: self._object(root, draft, inner) if inner is not obj else None)


def as_returned(root: Root, output: Any) -> Any:
    """What a tool returned. New messages in a command of its are told as values: the graph names them, and only then
    are they what the conversation has."""
    if output.__class__ is list:
        items = cast("list[Any]", output)
        return [as_returned(root, item) for item in items] if any(map(is_command, items)) else items
    if not is_command(output):
        return output
    fields = {name: getattr(output, name, None) for name in ("goto", "graph", "resume", "update")}
    update: Any = fields["update"]
    if update.__class__ is dict:
        fields["update"] = {name: _as_values(root, item) for name, item in cast("dict[Any, Any]", update).items()}
    else:
        fields["update"] = _as_values(root, update)
    return fields


def is_command(value: Any) -> bool:
    """Whether it is LangGraph's, which need not be installed."""
    return value.__class__.__name__ == "Command"


def _as_values(root: Root, value: Any) -> Any:
    if value.__class__ is list:
        return [_as_values(root, item) for item in cast("list[Any]", value)]
    if value.__class__ is not ToolMessage or id(value) in root.entries:
        return value
    return {name: item for name, item in value.__dict__.items() if item}


def _role(held: Mapping[str, Any]) -> Role:
    return ROLES.get(held["type"]) or ROLES.get(held.get("role", ""), "user")


def _is_text_only(held: Mapping[str, Any], calls: Any) -> bool:
    """Whether a message has nothing beside its content that its body tells."""
    return not calls and not held.get("invalid_tool_calls") and held.get("status") != "error" and "role" not in held


def _extra(held: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a message says beside its content, as far as it is kept."""
    extra = {k: v for k, v in held["additional_kwargs"].items() if k not in ("tool_calls", "parsed")}
    if held.get("status") == "error":
        extra["status"] = "error"
    if held["type"] == "chat" and held["role"] not in ROLES:
        extra["role"] = held["role"]
    return extra
