"""Ids of users, sessions and tenants, which are any text."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from chopsky_trace.records import storable

MAX_ID_CHARS = 512


def identifier(value: Any) -> str | None:
    """A user, session or tenant id as text; a UUID in lower case; a very long one shortened, still unique."""
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else str(value)
    if len(text) == 36 and text.count("-") == 4:
        try:
            return str(UUID(text))
        except ValueError:
            return text
    if len(text) > MAX_ID_CHARS or "\x00" in text or not text.isprintable():
        return _short_identifier(text)
    return text


def _short_identifier(text: str) -> str:
    clean = storable(text)
    if len(clean) <= MAX_ID_CHARS:
        return clean
    return f"{clean[: MAX_ID_CHARS - 40]}\u2026{hashlib.sha256(clean.encode()).hexdigest()[:32]}"
