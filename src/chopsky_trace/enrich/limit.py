"""The slow path of the snapshot: any Python object -> data that JSON can carry, whatever the object does.

Used where orjson refuses, or where NaN may be inside. Strings stay strings; what JSON cannot say becomes a marker:

| it was | it becomes |
|---|---|
| a string too long | its beginning, then `… [cut: 31457280 characters in all]` |
| media too long (base64) | whole, while the object has room for it; else `data:image/png;base64,… [cut: ...]` |
| NUL or a lone surrogate in a string | U+FFFD |
| NaN, Infinity | `{"$float": "NaN"}` |
| an integer beyond 64 bits | `{"$int": "..."}` |
| bytes | `{"$bytes": length, "sha256": "..."}` |
| a container inside itself | `{"$cycle": "dict"}` |
| what lies too deep, or beyond the count | `{"$cut": "list of 12"}`, at the end of a container `"… [cut: 90 of 100]"` |
| an iterator, generator, coroutine (not consumed) | `{"$iterator": "generator"}` |
| an open file | `{"$file": "name", "mode": "r"}` |
| a class, function, module | `{"$class": "..."}`, `{"$function": "..."}`, `{"$module": "..."}` |
| an exception | `{"$error": "ValueError", "message": "..."}` |
| an array or tensor | `{"$array": "ndarray", "shape": [...], "dtype": "...", "data": [...]}`; data of small ones only |
| any other object | `{"$object": "module.Class", "repr": "..."}`, or `"failed": "ValueError"` where it raised |
"""

from __future__ import annotations

import datetime
import enum
import hashlib
import io
import math
import re
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

from chopsky_trace.records import storable

MAX_DEPTH = 100
"""Levels kept; orjson writes 254, and a record needs some for itself."""
MAX_VALUES = 200_000
"""Values kept of one object, over all its levels."""
MAX_STRINGS = 16
"""Characters kept of one object, over all its strings, in lengths of `max_string`."""
MAX_REPR = 2_000
"""Characters kept of an object's repr, and of a key."""
MAX_DIGEST_BYTES = 8_000_000
"""Longest bytes whose digest is worth the caller's time."""
MAX_ARRAY = 1_000
"""Most elements of an array that are kept."""

MEDIA_KEYS = frozenset(("data", "base64", "bytes", "file_data", "b64_json", "image", "audio", "image_data"))
"""Where content blocks carry base64; providers agree on little else."""
DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*;base64,")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_TIMES = (datetime.datetime, datetime.date, datetime.time)
_AS_TEXT = (UUID, Decimal, Fraction, PurePath, datetime.timedelta, datetime.tzinfo, complex, range, re.Pattern)
_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
)

# Not the object's own `items`, which a subclass may have overridden.
_ITEMS: Callable[[Any], Iterable[tuple[Any, Any]]] = cast("Any", dict).items

Hook = Callable[[object], object | None]


def clean(value: object, max_string: int, hook: Hook | None = None) -> Any:
    """JSON-able data of any object; never raises an Exception, never consumes an iterator, ends after a bounded time.

    Args:
        max_string: longest single string kept, in characters.
        hook: asked first for each object that is no builtin value; None from it means "not mine", anything else is
            cleaned in the object's place.
    """
    try:
        return _Cleaner(max_string, hook).value(value, 0)
    except Exception as error:
        # For example the caller's own stack is almost full.
        return {"$object": _type_name(value), "failed": type(error).__name__}


@dataclass(slots=True)
class _Cleaner:
    max_string: int
    hook: Hook | None
    values: int = MAX_VALUES
    characters: int = field(init=False)
    above: set[int] = field(default_factory=set[int])
    """Ids of the containers around the current value."""

    def __post_init__(self) -> None:
        self.characters = self.max_string * MAX_STRINGS

    def value(self, value: object, depth: int) -> Any:
        """One value, as JSON can carry it."""
        self.values -= 1
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return self.text(cast("str", value))
        if kind is int:
            return self._integer(cast("int", value))
        if kind is float:
            return _float(cast("float", value))
        if depth > MAX_DEPTH or self.values < 0:
            return {"$cut": _outline(value)}
        if id(value) in self.above:
            return {"$cycle": kind.__name__}
        self.above.add(id(value))
        try:
            if kind is dict:
                return self._mapping(cast("dict[Any, Any]", value).items(), len(cast("dict[Any, Any]", value)), depth)
            if kind is list or kind is tuple:
                return self._sequence(cast("list[Any]", value), len(cast("list[Any]", value)), depth)
            return self._object(value, depth)
        except Exception as error:
            return {"$object": _type_name(value), "failed": type(error).__name__}
        finally:
            self.above.discard(id(value))

    def text(self, text: str) -> str:
        """A string that Postgres takes, cut where it is too long."""
        whole = len(text)
        room = min(self.max_string, max(self.characters, 0))
        if whole > room:
            text = text[:room]
        self.characters -= len(text)
        text = storable(text)
        return text if whole <= room else f"{text}… [cut: {whole} characters in all]"

    def _long(self, text: str, key: str) -> str:
        """A string that is too long. Of media half is worth nothing, and the worker takes it out anyway."""
        url = DATA_URL.match(text)
        begins = url.end() if url else 0
        if (url is None and key not in MEDIA_KEYS) or not _BASE64.fullmatch(text, begins):
            return self.text(text)
        if len(text) > self.characters:
            return f"{text[:begins]}… [cut: {len(text)} characters in all]"
        self.characters -= len(text)
        return text

    def _integer(self, value: int) -> Any:
        if -(2**63) <= value < 2**64:
            return value
        # Python refuses to write more than 4,300 decimal digits.
        return {"$int": self.text(str(value) if value.bit_length() < 14_000 else hex(value))}

    def _mapping(self, items: Iterable[tuple[Any, Any]], size: int, depth: int) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        # A snapshot first: another thread may change the dict meanwhile.
        taken = list(islice(items, max(self.values, 0)))
        for key, value in taken:
            if self.values <= 0:
                break
            name = self._key(key)
            if name in kept:
                # 1 and "1" are two keys; neither may swallow the other.
                others = (f"{name} ({type(key).__name__} {n})" for n in range(len(kept) + 1))
                name = next(other for other in others if other not in kept)
            if type(value) is str and len(value) > self.max_string:
                self.values -= 1
                kept[name] = self._long(value, name)
            else:
                kept[name] = self.value(value, depth + 1)
        if len(kept) < size:
            kept["$cut"] = f"{size - len(kept)} of {size} keys"
        return kept

    def _key(self, key: object) -> str:
        if type(key) is str:
            if len(key) > MAX_REPR:
                return f"{storable(key[:MAX_REPR])}… [cut: {len(key)} characters in all]"
            return storable(key)
        try:
            text = str(key)
        except Exception as error:
            text = f"[{_type_name(key)}: {type(error).__name__}]"
        return storable(_ADDRESS.sub("", str.__str__(text)[:MAX_REPR]))

    def _sequence(self, items: Iterable[Any], size: int, depth: int) -> list[Any]:
        kept: list[Any] = []
        for item in list(islice(items, max(self.values, 0))):
            if self.values <= 0:
                break
            kept.append(self.value(item, depth + 1))
        if len(kept) < size:
            kept.append(f"… [cut: {size - len(kept)} of {size}]")
        return kept

    def _object(self, value: object, depth: int) -> Any:
        if self.hook is not None:
            mine = self._ask_hook(value)
            if mine is not None:
                return self.value(mine, depth + 1)
        for convert in (self._builtin, self._opaque, self._structured):
            result = convert(value, depth)
            if result is not None:
                return result
        return self._unknown(value)

    def _ask_hook(self, value: object) -> object | None:
        try:
            mine = self.hook(value) if self.hook is not None else None
        except Exception:
            # Then the object is described as any other.
            return None
        return None if mine is value else mine

    def _builtin(self, value: object, depth: int) -> Any:
        """Subclasses of JSON's own types (what they override is not called), and the standard library's values."""
        kind = type(value)
        if issubclass(kind, enum.Enum):
            return self.value(cast("Any", value)._value_, depth + 1)
        if issubclass(kind, str):
            return self.text(str.__str__(cast("str", value)))
        if issubclass(kind, int):
            return self._integer(int.__int__(cast("int", value)))
        if issubclass(kind, float):
            return _float(float.__float__(cast("float", value)))
        for base in (dict, list, tuple, set, frozenset, deque):
            if issubclass(kind, base):
                return self._container(base, value, depth)
        if issubclass(kind, bytes | bytearray | memoryview):
            return _bytes(cast("bytes", value))
        if issubclass(kind, _TIMES):
            return self.text(cast("datetime.date", value).isoformat())
        return self.text(str(value)) if issubclass(kind, _AS_TEXT) else None

    def _container(self, base: Any, value: object, depth: int) -> Any:
        size = base.__len__(value)
        if base is dict:
            return self._mapping(_ITEMS(value), size, depth)
        members = base.__iter__(value)
        return self._sequence(_ordered(members) if base in (set, frozenset) else members, size, depth)

    def _opaque(self, value: object, depth: int) -> Any:
        """What is named, but never opened."""
        kind = type(value)
        if issubclass(kind, type):
            return {"$class": _qualified(value)}
        if issubclass(kind, _FUNCTIONS):
            return {"$function": _qualified(value)}
        if issubclass(kind, types.ModuleType):
            return {"$module": self.text(str(getattr(value, "__name__", "?")))}
        if issubclass(kind, BaseException):
            return {"$error": kind.__name__, "message": self._said(value, str)}
        if issubclass(kind, io.IOBase):
            name, mode = (_attribute(value, attribute) for attribute in ("name", "mode"))
            return {"$file": self.value(name, depth + 1), "mode": self.value(mode, depth + 1)}
        if any(hasattr(kind, method) for method in ("__next__", "__anext__", "__await__", "send")):
            return {"$iterator": kind.__name__}
        if hasattr(kind, "shape") and hasattr(kind, "dtype"):
            return self._array(value, depth)
        return None

    def _structured(self, value: object, depth: int) -> Any:
        """What has fields: pydantic models, dataclasses, mappings."""
        kind = type(value)
        for method in ("model_dump", "dict"):
            # pydantic; version 1 is told by its fields.
            if hasattr(kind, method) and (method == "model_dump" or hasattr(kind, "__fields__")):
                return self.value(getattr(value, method)(), depth + 1)
        names = getattr(kind, "__dataclass_fields__", None)
        if isinstance(names, dict):
            fields = [(name, _attribute(value, name)) for name in cast("dict[str, Any]", names)]
            return self._mapping(fields, len(fields), depth)
        if issubclass(kind, Mapping):
            table = cast("Mapping[Any, Any]", value)
            return self._mapping(table.items(), len(table), depth)
        return None

    def _array(self, value: Any, depth: int) -> Any:
        marker: dict[str, Any] = {
            "$array": type(value).__name__,
            "shape": [int(side) for side in value.shape],
            "dtype": self._said(value.dtype, str),
        }
        if math.prod(marker["shape"]) <= MAX_ARRAY:
            data = value.tolist()
            if not marker["shape"]:
                # numpy's scalars are just numbers.
                return self.value(data, depth + 1)
            marker["data"] = self.value(data, depth + 1)
        return marker

    def _unknown(self, value: object) -> Any:
        marker: dict[str, Any] = {"$object": _type_name(value)}
        if type(value).__repr__ is not object.__repr__:
            try:
                marker["repr"] = self._limited(repr(value))
            except Exception as error:
                marker["failed"] = type(error).__name__
        return marker

    def _said(self, value: object, speak: Callable[[object], str]) -> str:
        try:
            return self._limited(speak(value))
        except Exception as error:
            return f"[{type(error).__name__}]"

    def _limited(self, text: str) -> str:
        # Addresses differ from run to run; equal objects should be equal data.
        whole = len(text)
        text = _ADDRESS.sub("", str.__str__(text)[:MAX_REPR])
        return self.text(text if whole <= MAX_REPR else f"{text}… [cut: {whole} characters in all]")


def _float(value: float) -> Any:
    if math.isfinite(value):
        return value
    return {"$float": "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"}


def _bytes(value: bytes | bytearray | memoryview) -> dict[str, Any]:
    size = value.nbytes if isinstance(value, memoryview) else len(value)
    marker: dict[str, Any] = {"$bytes": size}
    if size <= MAX_DIGEST_BYTES:
        marker["sha256"] = hashlib.sha256(bytes(value)).hexdigest()
    return marker


def _ordered(values: Iterable[Any]) -> list[Any]:
    """A set in an order that does not change from process to process, where its members allow."""
    members = list(values)
    try:
        return sorted(members)
    except Exception:
        try:
            return sorted(members, key=lambda member: (type(member).__name__, str(member)))
        except Exception:
            return members


def _attribute(value: object, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception as error:
        return {"$object": name, "failed": type(error).__name__}


def _outline(value: object) -> str:
    """What was cut away: its type, and its length where counting calls none of the object's own code."""
    kind = type(value)
    sized = kind in (dict, list, tuple, set, frozenset, bytes, bytearray)
    return f"{kind.__name__} of {len(cast('list[Any]', value))}" if sized else _type_name(value)


def _qualified(value: object) -> str:
    module, name = _attribute(value, "__module__"), _attribute(value, "__qualname__")
    return storable(f"{module}.{name}" if isinstance(module, str) else str(name))[:MAX_REPR]


def _type_name(value: object) -> str:
    return _qualified(type(value))
