"""Messages told by their parts: each body once per root, its id a pure function of what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from orjson import OPT_NON_STR_KEYS, Fragment, dumps

from chopsky_trace.enrich.limit import clean
from chopsky_trace.records import LONG_CHARS, Role, content_id, parts_id, text_of
from chopsky_trace.telling.memory import Draft, Entry, Root

if TYPE_CHECKING:
    from chopsky_trace.enrich.redact import Redactor

OPTIONS = OPT_NON_STR_KEYS
_new_entry = Entry.__new__
MAX_RECENT = 256
RECENT_CHARS = 4_000
"""Texts this long are not kept for the next run."""
LONG_JSON = 20_000
FEW_VALUES = 300
LEVELS = 50
MANY_VALUES = 100_000
NEVER_ODD: frozenset[type] = frozenset((str, int, bool, type(None)))


class Bodies:
    """Turns messages into JSON, telling each once per root."""

    __slots__ = ("max_string", "recent", "redactor")

    def __init__(self, redactor: Redactor | None, *, max_string: int) -> None:
        self.redactor = redactor
        """None where nothing has to be redacted."""
        self.max_string = max_string
        self.recent: dict[Any, tuple[str, Any]] = {}
        """(role, text) -> body id and core of some texts: system prompts, a question and its message, an answer."""

    def body(
        self,
        root: Root,
        draft: Draft,
        role: Role,
        content: Any,
        calls: Sequence[Any] = (),
        call_id: str | None = None,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        name_apart: bool = False,
    ) -> Entry:
        """Tell a message by its parts; `name_apart`: its name is no part of what it is, as an assistant's never is."""
        name_apart = name_apart or role == "assistant"
        if self.redactor is None:
            if content.__class__ is str and not calls and not metadata and not (name and name_apart):
                entry = self._text_body(root, draft, role, content, call_id, name)
                if entry is not None:
                    return entry
        else:
            content = self.redactor.value(self.plain(content))
            calls = self.redactor.value(self.plain(list(calls))) if calls else ()
            metadata = self.redactor.value(self.plain(metadata)) if metadata else None
        core = [role, content, calls or [], call_id or "", "" if name_apart else name or ""]
        is_text = content.__class__ is str
        try:
            encoded = dumps(core, None, OPTIONS)
            odd = len(encoded) > self.max_string or (not (is_text and not calls) and hides_float(encoded, core))
        except (TypeError, ValueError, RecursionError):
            encoded = b""
            odd = True
        if odd:
            core = self.plain(core)
            encoded = dumps(core, None, OPTIONS)
            content = core[1]
        extra = Fragment(dumps(self.plain(metadata), None, OPTIONS)) if metadata else None
        body_id = content_id(encoded) if content.__class__ is str and not calls else parts_id(encoded)
        root.tell(body_id, Fragment(encoded), draft, name if name_apart else None, extra)
        if is_text and len(content) >= LONG_CHARS and self.redactor is None and not odd:
            root.refer(content, None, {"$content": body_id})
        entry = Entry(body_id, role, content if is_text else text_of(content), bool(calls))
        if calls:
            entry.calls_chars = max(0, len(encoded) - len(entry.text))
        return entry

    def _text_body(
        self,
        root: Root,
        draft: Draft,
        role: Role,
        text: str,
        call_id: str | None = None,
        name: str | None = None,
        message: Any = None,
        calls: Any = None,
    ) -> Entry | None:
        """As `body`, in fewer steps, for what most messages are: a text and no more. None if it is not that simple."""
        key = None if call_id or name else (role, text)
        known = self.recent.get(key)
        if known is not None:
            body_id, core = known
        else:
            try:
                encoded = dumps([role, text, [], call_id or "", "" if role == "assistant" else name or ""])
            except TypeError:
                return None
            if len(encoded) > self.max_string:
                return None
            body_id = content_id(encoded)
            core = Fragment(encoded)
            if key is not None and len(text) < RECENT_CHARS:
                if len(self.recent) >= MAX_RECENT:
                    self.recent.clear()
                self.recent[key] = body_id, core
        if body_id not in root.sent:
            root.tell(body_id, core, draft, name if role == "assistant" else None)
        if len(text) >= LONG_CHARS:
            root.refer(text, None, {"$content": body_id})
        entry = _new_entry(Entry)
        entry.id = body_id
        entry.role = role
        entry.text = entry.content = text
        entry.calls = calls
        if message is not None:
            entry.message = message
            root.entries[id(message)] = entry
        return entry

    def plain(self, value: Any) -> Any:
        """Plain data without messages in it."""
        return clean(value, self.max_string, lambda obj: None)

    def message_shape(self, value: Any) -> dict[str, Any] | None:
        """Role and size of a message; None of anything else."""
        raise NotImplementedError

    def shape(self, value: Any) -> Any:
        """What may be kept where content may not: types and sizes."""
        if isinstance(value, str):
            return {"type": "text", "chars": len(value)}
        message = self.message_shape(value)
        if message is not None:
            return message
        if isinstance(value, Mapping):
            return {"type": "object", "fields": len(cast("Mapping[Any, Any]", value))}
        if isinstance(value, (list, tuple)):
            items = cast("Sequence[Any]", value)
            if items and self.message_shape(items[0]) is not None:
                return {"type": "messages", "messages": [self.shape(m) for m in items[:200]], "count": len(items)}
            return {"type": "list", "count": len(items)}
        return {"type": type(value).__name__}


def hides_float(encoded: bytes, value: Any) -> bool:
    """Whether a NaN or infinity hides in what orjson has encoded of a value: it writes them as null."""
    if len(encoded) > LONG_JSON:
        # A photograph is one value of many: looking at each costs less than a search through its text.
        values = [value]
        for one in values:
            kind = one.__class__
            if kind is dict:
                values += one.values()
            elif kind is list:
                values += one
            elif kind is float:
                if one - one != 0:
                    return True
            elif kind not in NEVER_ODD:
                break
            if len(values) > FEW_VALUES:
                break
        else:
            return False
    return b"null" in encoded and odd_float(value)


def odd_float(value: Any) -> bool:
    """Whether a NaN or infinity is in a value; True where it is too deep, or too much, to tell."""
    level: list[Any] = [value]
    for _ in range(LEVELS):
        below: list[Any] = []
        for one in level:
            kind = one.__class__
            if kind in NEVER_ODD:
                continue
            if kind is dict:
                below += one.values()
            elif kind is list or kind is tuple:
                below += one
            elif isinstance(one, float):
                if one - one != 0:
                    return True
            elif not isinstance(one, (str, int)):
                below += _within(one)
        if not below:
            return False
        if len(below) > MANY_VALUES:
            return True
        level = below
    return True


def _within(value: Any) -> Iterable[Any]:
    """The values that a container, or an object that is told by its fields, holds."""
    if isinstance(value, Mapping):
        return cast("Mapping[Any, Any]", value).values()
    if isinstance(value, (list, tuple)):
        return cast("Sequence[Any]", value)
    kind = value.__class__
    fields = getattr(kind, "model_fields", None) or getattr(kind, "__dataclass_fields__", None)
    # A message within is told apart.
    if not fields or "additional_kwargs" in fields:
        return ()
    return [getattr(value, name, None) for name in fields]
