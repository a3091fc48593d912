"""LangChain runs under way in this process."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from chopsky_trace.records import Kind
from chopsky_trace.telling.memory import Came, Draft, Node, Root

SOURCE = "langchain"
ENDS_AT_ONCE = 512
REMEMBERED_ENDS = 4_096
"""Ended spans that a second end is recognised by: one handler given twice is called twice."""


class OpenSpan:
    """A span under way; whoever makes it sets the fields that have no default."""

    # No constructor, and defaults on the class: every span is made on the caller's time.
    hex: str
    root: Root
    kind: Kind
    parent: str | None
    is_top: bool
    seen: int
    """Nanoseconds since 1970 at the start; 0 where the start was not seen."""
    mono: int
    """The monotonic clock's nanoseconds at the start."""
    metadata: Mapping[str, Any] | None = None
    above: Mapping[str, Any] | None = None
    """The parent span's metadata."""
    first_token: int | None = None
    last_chunk: Mapping[str, Any] | None = None
    """The latest usage of a stream whose first chunk had one already."""
    node: Node | None = None
    shown = False
    deferred: Draft | None = None
    events: list[tuple[bytes, Draft]] | None = None
    provider: str | None = None
    model: str | None = None
    tools: Any = None
    sizes: Came | None = None
    asked: tuple[Any, Any] | None = None
    """The prompt and the tools, where tokens may have to be estimated."""


class Runs:
    """Runs under way of one destination, shared by its tracers: whichever sees a parent, all do."""

    def __init__(self, max_open_roots: int) -> None:
        self.open: dict[int, OpenSpan] = {}
        self.roots: dict[str, Root] = {}
        self.ended: dict[int, str] = {}
        """Span -> its run, of the latest ended spans."""
        self.max_open_roots = max_open_roots
        self.waiting: set[int] = set()
        """Model calls that have not given a token yet, or whose every chunk may state usage."""

    def new_root(self, root_hex: str, started: int, epoch: int) -> Root:
        root = Root(root_hex, started, epoch)
        if len(self.roots) >= self.max_open_roots:
            # Runs that never end: forget the oldest. Its late events still make records, only less linked.
            for old in _oldest(self.roots, 1):
                oldest = self.roots.pop(old, None)
                for key in tuple(oldest.open) if oldest is not None else ():
                    self.open.pop(key, None)
                    self.waiting.discard(key)
        self.roots[root_hex] = root
        return root

    def closed(self, key: int, root: Root) -> None:
        root.open.discard(key)
        if not root.open:
            self.roots.pop(root.id, None)
        ended = self.ended
        ended[key] = root.id
        if len(ended) > REMEMBERED_ENDS + ENDS_AT_ONCE:
            # Many at once: a dict whose first entries are gone is slow to tell its first.
            for old in _oldest(ended, ENDS_AT_ONCE):
                ended.pop(old, None)


def _oldest(mapping: dict[Any, Any], count: int) -> list[Any]:
    """The keys put first; none where another thread changes the mapping just now: the next call sees to it."""
    try:
        return list(islice(mapping, count))
    except RuntimeError:
        return []
