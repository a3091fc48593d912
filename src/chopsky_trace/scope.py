"""Who the current work is for, where the code around it knows: a context variable, right in threads and tasks."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NamedTuple


class Context(NamedTuple):
    """What `context()` set, outer values included."""

    scope: dict[str, str]
    """user_id, session_id, tenant_id."""
    tags: tuple[str, ...]
    metadata: dict[str, Any]


_EMPTY = Context({}, (), {})
_current: ContextVar[Context] = ContextVar("chopsky_trace_context", default=_EMPTY)


traced: ContextVar[set[Any] | None] = ContextVar("chopsky_trace_traced", default=None)
"""Where somebody asks: the writers that runs which began here are given to."""


def current() -> Context:
    """What holds here."""
    return _current.get()


@contextmanager
def context(
    *,
    user_id: object = None,
    session_id: object = None,
    tenant_id: object = None,
    tags: Iterable[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Generator[None]:
    """Conversation runs that start inside belong to this user, session and tenant, and carry these tags and metadata.

    Inner values win over outer ones; tags add up. Works in threads started through `contextvars`, in asyncio tasks,
    with a handler in `callbacks` and with the process switch. Ids may be any text, or a UUID.
    """
    outer = _current.get()
    scope = dict(outer.scope)
    for name, value in (("user_id", user_id), ("session_id", session_id), ("tenant_id", tenant_id)):
        if value is not None:
            scope[name] = str(value)
    merged = {**outer.metadata, **(metadata or {})}
    token = _current.set(Context(scope, (*outer.tags, *(tags or ())), merged))
    try:
        yield
    finally:
        # A generator closed in another context (an abandoned async stream): there is nothing to restore there.
        with suppress(ValueError):
            _current.reset(token)
