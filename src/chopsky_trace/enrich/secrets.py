"""Takes out secrets by name, whatever the capture level: metadata, `configurable`, headers and parameters pass here.

On the caller's thread for every span that has metadata, so it is small and its verdicts on names are remembered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

SECRET = "[secret]"
TOO_DEEP = "[too deep]"
MAX_VERDICTS = 4_096
MAX_MAPPINGS = 32
"""Most mappings within one that `is_open` looks at."""
MAX_NODES = 20_000
"""Most values that `without_secrets` looks at in one mapping."""

URL_CREDENTIALS = re.compile(r"(?<=://)[^\s/?#@\"'<>]++(?:@[^\s/?#@\"'<>]*+(?=@))*+@")
_URL_PARAMETER = re.compile(r"(?<=[?&;])([A-Za-z0-9_.\-]{1,64}+)=([^\s&#;\"'<>]++)")
BEARER = re.compile(r"(?i)(?<![\w\-])(bearer|basic)[ \t]++[\w\-.~+/]{8,}+=*+")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS = frozenset(
    (
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "passcode",
        "secret",
        "secrets",
        "credential",
        "credentials",
        "authorization",
        "auth",
        "bearer",
        "cookie",
        "cookies",
        "jwt",
        "dsn",
        "apikey",
        "apikeys",
        "accesskey",
        "secretkey",
        "privatekey",
    )
)
_SECRET_ENDS = ("password", "passwd", "passphrase", "secret", "credentials", "cookie")
_OPEN_WORDS = frozenset(("monkey", "turkey", "whiskey", "hockey", "donkey", "jockey", "hotkey"))
_OPEN_KEYS = frozenset(
    (
        "input_key",
        "output_key",
        "memory_key",
        "history_key",
        "input_messages_key",
        "output_messages_key",
        "history_messages_key",
        "messages_key",
        "primary_key",
        "foreign_key",
        "partition_key",
        "sort_key",
        "public_key",
        "cache_key",
        "prompt_cache_key",
        "idempotency_key",
        "dedup_key",
        "group_key",
        "pad_token",
        "eos_token",
        "bos_token",
        "stop_token",
        "first_token",
        "next_page_token",
        "end_token",
        "start_token",
        "unk_token",
        "mask_token",
        "sep_token",
        "cls_token",
    )
)
_BEARERS = frozenset(("access", "refresh", "auth", "api", "bearer", "id", "session", "secret"))

_verdicts: dict[str, int] = {}
_open_shapes: dict[tuple[tuple[Any, ...], tuple[type, ...]], tuple[str, ...]] = {}
"""Names and types of mappings met before without a secret's name: the names of their values to be looked into."""
_SCALARS = frozenset((int, float, bool, type(None)))
_PLAIN = _SCALARS | {str, dict}
_OPEN, _SECRET_TEXT, _SECRET_ANY = 0, 1, 2


def _verdict(key: str) -> int:
    """What a key's name says of its value: open, secret unless it is a number, or secret whatever it is."""
    words = [word.lower() for word in _WORDS.findall(key[:256])]
    name = "_".join(words)
    verdict = _OPEN
    if not words or name in _OPEN_KEYS or words[-1] in _OPEN_WORDS:
        verdict = _OPEN
    elif (
        not _SECRET_WORDS.isdisjoint(words)
        or any(word.endswith(_SECRET_ENDS) for word in words)
        or name in ("connection_string", "conn_str")
    ):
        verdict = _SECRET_ANY
    elif words[-1].endswith(("key", "token")) or words[-1] == "keys":
        verdict = _SECRET_TEXT
    elif words[-1] == "tokens" and len(words) > 1 and words[-2] in _BEARERS:
        # access_tokens are secrets, input_tokens are a count.
        verdict = _SECRET_TEXT
    if len(_verdicts) >= MAX_VERDICTS:
        _verdicts.clear()
    if len(key) <= 256:
        _verdicts[key] = verdict
    return verdict


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name is a secret, unless it is a number."""
    verdict = _verdicts.get(name)
    return bool(_verdict(name) if verdict is None else verdict)


def without_secrets(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping, the value of every secret-looking key `[secret]`, at any depth, and no credentials in URLs.

    It is the very mapping that was given where there is nothing of the kind in it, else a copy.

    Secret are authorization, cookies, passwords, secrets, credentials, and what ends with `key` or `token`, but for
    numbers, known names that are none (`input_key`, `prompt_cache_key`, `eos_token`), and empty values.
    """
    return mapping if is_open(mapping) and _texts_open(mapping) else _strip(mapping, 32, [MAX_NODES])


def is_open(mapping: Mapping[str, Any]) -> bool:
    """Whether its names are known to be open and its values plain, in at most MAX_MAPPINGS mappings within it.

    Of its texts that says nothing: credentials in one have `://` or a space in them.
    """
    shapes = _open_shapes.get
    left = MAX_MAPPINGS
    todo = [mapping]
    for one in todo:
        shape = (tuple(one), tuple(map(type, one.values())))
        inner = shapes(shape)
        if inner is None:
            inner = _shaped(shape)
            if inner is None:
                return False
        for name in inner:
            value = one[name]
            if value.__class__ is not float:
                todo.append(value)
                left -= 1
                if not left:
                    return False
            elif value - value != 0:
                # NaN and infinities are no JSON.
                return False
    return True


def _shaped(shape: tuple[tuple[Any, ...], tuple[type, ...]]) -> tuple[str, ...] | None:
    """The names of an open shape's values that have to be looked at; None where it is not open."""
    names, kinds = shape
    if any(type(name) is not str or _verdict(name) for name in names) or not _PLAIN.issuperset(kinds):
        return None
    if len(_open_shapes) >= MAX_VERDICTS:
        _open_shapes.clear()
    found = _open_shapes[shape] = tuple(n for n, kind in zip(names, kinds, strict=True) if kind in (dict, float))
    return found


def _texts_open(mapping: Mapping[str, Any]) -> bool:
    for value in mapping.values():
        kind = value.__class__
        if kind is str:
            if _may_hide(value):
                return False
        elif kind is dict and not _texts_open(value):
            return False
    return True


def _may_hide(text: str) -> bool:
    """Whether credentials could be in it: of a URL, or after `bearer`."""
    return len(text) > 10 and ("://" in text or " " in text)


def _strip(mapping: Mapping[str, Any], depth: int, budget: list[int]) -> dict[str, Any]:
    clean: dict[str, Any] = {}
    seen = _verdicts.get
    for key, value in mapping.items():
        verdict = seen(key)
        if verdict is None:
            verdict = _verdict(key if type(key) is str else str(key))
        if verdict and _is_secret(value, verdict):
            clean[key] = SECRET
            continue
        kind: Any = value.__class__
        if kind is str:
            clean[key] = _open_text(value) if _may_hide(value) else value
        elif kind in _SCALARS:
            clean[key] = value
        else:
            clean[key] = _inner(value, depth, budget)
    return clean


def _is_secret(value: Any, verdict: int) -> bool:
    if verdict == _OPEN or value is None or value is True or value is False or value in ("", [], {}):
        return False
    return verdict == _SECRET_ANY or not isinstance(value, int | float)


def _inner(value: Any, depth: int, budget: list[int]) -> Any:
    budget[0] -= 1
    if isinstance(value, str):
        return _open_text(value)
    if isinstance(value, Mapping):
        return _strip(cast("Mapping[str, Any]", value), depth - 1, budget) if depth and budget[0] > 0 else TOO_DEEP
    if isinstance(value, list | tuple):
        if not depth or budget[0] <= 0:
            return TOO_DEEP
        items = cast("list[Any]", value)
        # Headers also come as (name, value) pairs.
        if len(items) == 2 and type(items[0]) is str and _is_secret(items[1], _verdict(items[0])):
            return [items[0], SECRET]
        return [_inner(item, depth - 1, budget) for item in items]
    return value


def _open_text(text: str) -> str:
    if "://" in text:
        text = URL_CREDENTIALS.sub(SECRET + "@", text)
        text = _URL_PARAMETER.sub(_parameter, text)
    if text[:6].lower() in ("bearer", "basic "):
        text = BEARER.sub(r"\1 " + SECRET, text)
    return text


def _parameter(match: re.Match[str]) -> str:
    return f"{match[1]}={SECRET}" if _verdict(match[1]) or match[1].lower() in ("sig", "signature") else match[0]
