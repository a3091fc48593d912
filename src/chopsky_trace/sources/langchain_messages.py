"""LangChain's messages and payloads, snapshotted as plain data on the caller's thread.

Objects change after their callback, so what is kept is copied in it. A message already told costs identity checks only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import orjson
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage

from chopsky_trace.enrich.limit import clean
from chopsky_trace.records import Role, text_of
from chopsky_trace.sources.memory import Entry, Root, Told

if TYPE_CHECKING:
    from chopsky_trace.enrich.redact import Redactor

ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "AIMessageChunk": "assistant",
    "HumanMessageChunk": "user",
    "SystemMessageChunk": "system",
    "ToolMessageChunk": "tool",
    "FunctionMessageChunk": "tool",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "model": "assistant",
}
OPTIONS = orjson.OPT_NON_STR_KEYS
TEXT_KEYS = ("input", "question", "query", "prompt", "text", "message", "content", "user_input", "human_input")
ANSWER_KEYS = (
    "output",
    "answer",
    "result",
    "response",
    "text",
    "content",
    "message",
    "reply",
    "final_answer",
    "generation",
)


class Snapshot:
    """Turns one event's objects into JSON, telling each message once per root."""

    __slots__ = ("max_string", "redactor")

    def __init__(self, redactor: Redactor | None, *, max_string: int) -> None:
        self.redactor = redactor
        """None where nothing has to be redacted."""
        self.max_string = max_string

    # -- messages

    def entry(self, root: Root, told: Told, message: Any) -> Entry:
        """The message as told; known again by identity, never by `id()` alone."""
        known = root.entries.get(id(message))
        if (
            known is not None
            and known.message is message
            and known.content is message.content
            and known.calls is message.__dict__.get("tool_calls")
            and (known.blocks is None or _same_blocks(known.blocks, message.content))
        ):
            return known
        entry = self._tell(root, told, message)
        entry.message = message
        entry.content = message.content
        entry.calls = message.__dict__.get("tool_calls")
        if isinstance(entry.content, list):
            entry.blocks = _copy_blocks(cast("list[Any]", entry.content))
        root.entries[id(message)] = entry
        return entry

    def _tell(self, root: Root, told: Told, message: Any) -> Entry:
        # Through the instance's own dict: a missing attribute costs pydantic microseconds.
        held: dict[str, Any] = message.__dict__
        kind: str = held["type"]
        role: Role = ROLES.get(kind) or ROLES.get(held.get("role", ""), "user")
        calls: Sequence[Any] = ()
        if role == "assistant":
            calls = held.get("tool_calls") or ()
            if held.get("invalid_tool_calls"):
                calls = [*calls, *held["invalid_tool_calls"]]
        extra: dict[str, Any] = {}
        kwargs = held["additional_kwargs"]
        if kwargs:
            extra = {k: v for k, v in kwargs.items() if k not in ("tool_calls", "parsed")}
        status = held.get("status")
        if status == "error":
            extra["status"] = status
        if kind == "chat" and held["role"] not in ROLES:
            extra["role"] = held["role"]
        return self.body(
            root,
            told,
            role,
            message.content,
            calls=calls,
            call_id=held.get("tool_call_id"),
            name=message.name,
            metadata=extra,
        )

    def body(
        self,
        root: Root,
        told: Told,
        role: Role,
        content: Any,
        *,
        calls: Sequence[Any] = (),
        call_id: str | None = None,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Tell a message by its parts."""
        if self.redactor is not None:
            content = self.redactor.value(self.plain(content))
            calls = self.redactor.value(self.plain(list(calls))) if calls else ()
            metadata = self.redactor.value(self.plain(metadata)) if metadata else None
        core = [role, content, calls or [], call_id or "", "" if role == "assistant" else name or ""]
        encoded = b""
        try:
            encoded = orjson.dumps(core, option=OPTIONS)
            odd = len(encoded) > self.max_string or (
                not isinstance(content, str) and b"null" in encoded and odd_float(core)
            )
        except (TypeError, ValueError, RecursionError):
            odd = True
        if odd:
            core = self.plain(core)
            encoded = orjson.dumps(core, option=OPTIONS)
        extra = orjson.Fragment(orjson.dumps(self.plain(metadata), option=OPTIONS)) if metadata else None
        body_id = root.tell(encoded, told, name if role == "assistant" else None, extra)
        return Entry(body_id, role, text_of(core[1]), bool(calls))

    def entries(self, root: Root, told: Told, messages: Sequence[Any]) -> list[Entry]:
        """A whole prompt. The loop is the hot path of long histories: known messages cost identity checks only."""
        known = root.entries
        found: list[Entry] = []
        add = found.append
        for message in messages:
            entry = known.get(id(message))
            if entry is not None and entry.message is message and entry.blocks is None:
                held = message.__dict__
                if entry.content is held["content"] and entry.calls is held.get("tool_calls"):
                    add(entry)
                    continue
            add(self.entry(root, told, message))
        return found

    # -- payloads

    def hook(self, root: Root, told: Told) -> Callable[[Any], Any]:
        """What orjson calls for an object it does not know."""
        return partial(self._object, root, told)

    def payload(self, root: Root, told: Told, value: Any) -> Any:
        """A payload that the record's own encoding will finish: its lists of messages become references here."""
        if self.redactor is not None:
            return orjson.Fragment(self.slow_json(root, told, value))
        return self._compact(root, told, value)

    def slow_json(self, root: Root, told: Told, value: Any) -> bytes:
        """A payload as JSON, whatever is in it: what cannot be said becomes a marker, its neighbours stay whole."""
        plain = clean(self._compact(root, told, value), self.max_string, partial(self._object, root, told))
        if self.redactor is not None:
            plain = self.redactor.value(plain)
        return orjson.dumps(plain, option=OPTIONS)

    def plain(self, value: Any) -> Any:
        """Plain data without messages in it."""
        return clean(value, self.max_string, lambda obj: None)

    def shape(self, value: Any) -> Any:
        """What may be kept where content may not: types and sizes."""
        if isinstance(value, str):
            return {"type": "text", "chars": len(value)}
        if isinstance(value, BaseMessage):
            return {"role": ROLES.get(value.type, "user"), "chars": len(text_of(value.content))}
        if isinstance(value, Mapping):
            return {"type": "object", "fields": len(cast("Mapping[Any, Any]", value))}
        if isinstance(value, (list, tuple)):
            items = cast("Sequence[Any]", value)
            if items and isinstance(items[0], BaseMessage):
                return {"type": "messages", "messages": [self.shape(m) for m in items[:200]], "count": len(items)}
            return {"type": "list", "count": len(items)}
        return {"type": type(value).__name__}

    def _compact(self, root: Root, told: Told, value: Any) -> Any:
        kind = cast("type[Any]", value.__class__)
        if kind is dict:
            fields = cast("dict[Any, Any]", value)
            listed = False
            for item in fields.values():
                of = cast("type[Any]", item.__class__)
                if of is list:
                    listed = True
                elif of is not str:
                    told.floats = True
            if listed:
                return {
                    k: self._list(root, told, cast("list[Any]", v)) if type(v) is list else v for k, v in fields.items()
                }
            return fields
        if kind is list:
            return self._list(root, told, cast("list[Any]", value))
        if kind is not str and not isinstance(value, BaseMessage):
            told.floats = True
        return value

    def _list(self, root: Root, told: Told, items: list[Any]) -> Any:
        if not items or not isinstance(items[0], BaseMessage):
            if items and not isinstance(items[0], (str, Document)):
                told.floats = True
            return items
        known = root.entries
        if not all(id(m) in known or (isinstance(m, BaseMessage) and m.type != "remove") for m in items):
            told.floats = True
            return items
        ids: list[str] = []
        placed = root.placed
        for entry in self.entries(root, told, items):
            if entry.id not in placed:
                root.mention(told, entry.id)
            ids.append(entry.id)
        return root.compact(ids)

    def _object(self, root: Root, told: Told, obj: Any) -> Any:
        if isinstance(obj, BaseMessage):
            if obj.type == "remove":
                return {"$remove": obj.id}
            entry = self.entry(root, told, obj)
            root.mention(told, entry.id)
            return {"$message": entry.id}
        if isinstance(obj, Document):
            metadata: dict[str, Any] = obj.metadata
            if metadata:
                told.floats = True
            document: dict[str, Any] = {"page_content": obj.page_content, "metadata": metadata, "type": "Document"}
            if obj.id:
                document["id"] = obj.id
            return document
        fields = getattr(obj.__class__, "model_fields", None)
        told.floats = True
        if fields is not None:
            # The fields as they stand: a model's own serialiser may be slow, may raise, may leave things out.
            values = cast("dict[str, Any]", obj.__dict__)
            messages: Any = values.get("messages")
            if isinstance(messages, (list, tuple)):
                listed = [*cast("Sequence[Any]", messages)]
                return {**values, "messages": self._list(root, told, listed)}
            return dict(values)
        return clean(obj, self.max_string, lambda inner: self._object(root, told, inner) if inner is not obj else None)


def question_of(snapshot: Snapshot, root: Root, told: Told, inputs: Any) -> list[Entry] | None:
    """What the user said, as a root's inputs have it; None where that cannot be told."""
    found = _messages_in(snapshot, root, told, inputs)
    if found is not None:
        return found or None
    text = _text_field(inputs, TEXT_KEYS)
    return [snapshot.body(root, told, "user", text)] if text else None


def answer_of(snapshot: Snapshot, root: Root, told: Told, outputs: Any) -> list[Entry] | None:
    """What the user was answered, as a root's outputs have it; None where that cannot be told."""
    found = _messages_in(snapshot, root, told, outputs, ANSWER_KEYS)
    if found is not None:
        start = max((i for i, e in enumerate(found) if e.role == "user"), default=-1) + 1
        spoken = [e for e in found[start:] if e.role == "assistant" and e.text and not e.has_calls]
        return spoken or None
    text = _text_field(outputs, ANSWER_KEYS)
    return [snapshot.body(root, told, "assistant", text)] if text else None


def _messages_in(
    snapshot: Snapshot, root: Root, told: Told, value: Any, keys: Sequence[str] = TEXT_KEYS
) -> list[Entry] | None:
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        for key in ("messages", *keys):
            entries = _as_entries(snapshot, root, told, fields.get(key))
            if entries:
                return entries
        return None
    if hasattr(value, "messages"):
        return _as_entries(snapshot, root, told, value.messages)
    return _as_entries(snapshot, root, told, value)


def _as_entries(snapshot: Snapshot, root: Root, told: Told, value: Any) -> list[Entry] | None:
    if isinstance(value, BaseMessage):
        return [snapshot.entry(root, told, value)]
    if not isinstance(value, (list, tuple)) or not value:
        return None
    items = cast("Sequence[Any]", value)
    if isinstance(items[0], str) and len(items) == 2 and isinstance(value, tuple) and items[0] in ROLES:
        return [snapshot.body(root, told, ROLES[items[0]], items[1])]
    found: list[Entry] = []
    for item in items:
        if isinstance(item, BaseMessage):
            if item.type != "remove":
                found.append(snapshot.entry(root, told, item))
        elif isinstance(item, Mapping):
            fields = cast("Mapping[str, Any]", item)
            role = ROLES.get(str(fields.get("role") or fields.get("type")))
            if role is None or not isinstance(fields.get("content"), (str, list)):
                return None
            found.append(
                snapshot.body(
                    root,
                    told,
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
            found.append(snapshot.body(root, told, ROLES[item[0]], item[1]))
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
            args = orjson.loads(function.get("arguments") or "{}")
        except ValueError:
            args = function.get("arguments")
        found.append({"name": function.get("name"), "args": args, "id": call.get("id"), "type": "tool_call"})
    return found


def _text_field(value: Any, keys: Sequence[str]) -> str | None:
    if isinstance(value, str):
        return value or None
    if not isinstance(value, Mapping):
        return None
    fields = cast("Mapping[str, Any]", value)
    for key in keys:
        if isinstance(fields.get(key), str) and fields[key]:
            return fields[key]
    texts = [v for v in fields.values() if isinstance(v, str) and v]
    return texts[0] if len(texts) == 1 else None


def _copy_blocks(blocks: list[Any]) -> list[Any]:
    return [dict(cast("dict[Any, Any]", b)) if isinstance(b, dict) else b for b in blocks]


def _same_blocks(copies: list[Any], blocks: Any) -> bool:
    if len(copies) != len(blocks):
        return False
    for copy, block in zip(copies, blocks, strict=True):
        if isinstance(copy, dict):
            fields = cast("dict[Any, Any]", copy)
            if not isinstance(block, dict):
                return False
            other = cast("dict[Any, Any]", block)
            if len(fields) != len(other) or any(other.get(k) is not v for k, v in fields.items()):
                return False
        elif copy is not block:
            return False
    return True


def odd_float(value: Any, depth: int = 0) -> bool:
    """Whether a NaN or infinity hides in plain containers (orjson writes it as null)."""
    if isinstance(value, float):
        return value != value or value in (float("inf"), float("-inf"))
    if depth > 50:
        return True
    if isinstance(value, dict):
        return any(odd_float(v, depth + 1) for v in cast("dict[Any, Any]", value).values())
    if isinstance(value, (list, tuple)):
        return any(odd_float(v, depth + 1) for v in cast("Sequence[Any]", value))
    return False
