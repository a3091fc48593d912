"""What attributes hold, read tolerantly: JSON in text (cut off by a length limit, too), Python's reprs, numbers."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping
from typing import Any, cast

import orjson

from chopsky_trace.telemetry.conventions.native import NativeSpan
from chopsky_trace.telemetry.conventions.reading import Reading

MAX_REPAIRED_CHARS = 4_000_000
"""Longest text that is read on after its JSON was found to be cut off."""
MAX_LITERAL_CHARS = 200_000
"""Longest repr that is read."""
REMEMBERED_TEXTS = 200
SHORT_CHARS, LONG_CHARS = 200, 100_000
"""Texts between these lengths are known again."""
_texts: dict[str, tuple[Any, bool]] = {}
MAX_DEPTH = 200
"""Deepest nesting of a text that is repaired."""

_JSON_LIKE = re.compile(r'\s*(?:\{\s*["}]|\[\s*(?:[\[{"\]\-0-9]|true|false|null))')
# A cut-off text is taken for JSON only where it could hardly be anything else: "[1" begins a footnote.
_CUT_LIKE = re.compile(r'\s*(?:\{|\[[\[\s]*\{?)\s*"')
_REPR_LIKE = re.compile(r"\s*[\[{][\[{\s]*'")
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|["{}\[\],:]', re.DOTALL)
_CUT_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?$")
_CLOSER = {"{": "}", "[": "]"}


def loose(value: Any) -> Any:
    """A text that is an object or a list in JSON (or in Python's repr) as data; anything else as it is."""
    return loosely(value)[0]


def loosely(value: Any) -> tuple[Any, bool]:
    """The same, and whether the text was cut off: the data is then what came before the cut."""
    if value.__class__ is not str:
        return value, False
    text = cast("str", value)
    # Most texts are no JSON: told by their first character.
    if text[:1] not in "{[ \n\t\r":
        return text, False
    if _JSON_LIKE.match(text):
        try:
            return orjson.loads(text), False
        except ValueError:
            return _damaged(text)
    if _REPR_LIKE.match(text):
        return _literal(text), False
    return text, False


def scalar(value: Any) -> Any:
    """The data of a text whose convention writes everything as JSON: '"gpt"', '0.2', 'null'; else as `loose`."""
    if value.__class__ is str:
        text = cast("str", value)
        if text[:1] in "{[":
            return loose(text)
        if len(text) <= MAX_REPAIRED_CHARS:
            try:
                return orjson.loads(text)
            except ValueError:
                return text
    return value


def parsed(span: NativeSpan, reading: Reading, name: str) -> Any:
    """An attribute as data, its text parsed once per span; None where there is none.

    That it was cut off is noted in `reading.partial`.
    """
    known = reading.parsed
    if name in known:
        return known[name]
    value = span.attributes.get(name)
    if value is not None:
        value, cut = _loosely_again(value) if value.__class__ is str and len(value) > SHORT_CHARS else loosely(value)
        if cut:
            note(reading, "content")
    known[name] = value
    return value


def _loosely_again(text: str) -> tuple[Any, bool]:
    """A graph's spans repeat one another's payloads: the same text gives the same object, which nobody changes."""
    found = _texts.get(text)
    if found is None:
        found = loosely(text)
        if len(text) <= LONG_CHARS:
            if len(_texts) >= REMEMBERED_TEXTS:
                _texts.clear()
            _texts[text] = found
    return found


def note(reading: Reading, missing: str) -> None:
    """Note what is missing or damaged, once."""
    if missing not in reading.partial:
        reading.partial = (*reading.partial, missing)


def as_text(value: Any) -> str:
    """Anything as a text: a text as it is, nothing as "", data as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError, RecursionError):
        try:
            return str(value)
        except Exception:  # An object's own __str__ may raise anything.
            return ""


def word(value: Any) -> str | None:
    """A name or an id: a text that is not blank, or a number's digits; else None."""
    kind = value.__class__
    if kind is str:
        text = cast("str", value).strip()
        return text or None
    if kind is int:
        return as_text(value) or None
    if isinstance(value, str):
        return value.strip() or None
    return None


def as_int(value: Any) -> int | None:
    """A count: a whole number, also as a float or in digits; else None."""
    kind = value.__class__
    if kind is int:
        return cast("int", value)
    number = as_float(value)
    return int(number) if number is not None and number.is_integer() else None


def as_float(value: Any) -> float | None:
    """A finite number, also in digits; else None."""
    kind = value.__class__
    if kind is bool or not isinstance(value, int | float | str) or (kind is str and len(cast("str", value)) > 40):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_dict(value: Any) -> dict[str, Any]:
    """An object's fields; {} of anything else."""
    if value.__class__ is dict:
        return cast("dict[str, Any]", value)
    if value is None or value.__class__ is str:
        # Mostly, and to ask for a Mapping is slow.
        return {}
    return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else {}


def as_list(value: Any) -> list[Any]:
    """A list's items; [] of anything else."""
    if value.__class__ is list:
        return cast("list[Any]", value)
    if value is None:
        return []
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple | list) else []


def _damaged(text: str) -> tuple[Any, bool]:
    """What can be had of a text that begins as JSON does: NaN, a cut-off end, or nothing."""
    try:
        return json.loads(text, strict=False), False
    except (ValueError, RecursionError):
        pass
    if len(text) <= MAX_REPAIRED_CHARS and _CUT_LIKE.match(text):
        for candidate in _closed(text):
            try:
                return json.loads(candidate, strict=False), True
            except (ValueError, RecursionError):
                continue
    return (_literal(text) if _REPR_LIKE.match(text) else text), False


def _closed(text: str) -> list[str]:
    """The text made whole: its end completed; or, if that is within a word or a number, without its last item."""
    closers: list[str] = []
    before: tuple[int, str] | None = None
    value_next = False
    for found in _TOKEN.finditer(text):
        token = found.group()
        if token == '"':
            # A string without an end. As a key it says nothing; as a value, what there is of it does.
            if not value_next and closers[-1:] == ["}"]:
                break
            tail = '"' + "".join(reversed(closers))
            return [_CUT_ESCAPE.sub("", text) + tail, text + tail]
        if token in "{[":
            closers.append(_CLOSER[token])
            if len(closers) > MAX_DEPTH:
                return []
            before = found.end(), "".join(reversed(closers))
        elif token in "}]":
            if not closers or closers.pop() != token:
                return []
            if not closers:
                # It ended, and something else follows: that is no cut-off JSON.
                return []
        elif token == ",":
            before = found.start(), "".join(reversed(closers))
        value_next = token == ":"
    whole = text + "".join(reversed(closers))
    return [whole] if before is None else [whole, text[: before[0]] + before[1]]


def _literal(text: str) -> Any:
    if len(text) > MAX_LITERAL_CHARS:
        return text
    try:
        found = ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text
    return cast("Any", found) if isinstance(found, dict | list) else text
