"""LangChain runs under way in this process."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from time import monotonic_ns
from typing import Any

from chopsky_trace.records import Kind
from chopsky_trace.telling.memory import Came, Draft, Node, Root

SOURCE = "langchain"
ENDS_AT_ONCE = 512
REMEMBERED_ENDS = 4_096
"""Ended spans that a second end is recognised by: one handler given twice is called twice."""
MAX_OPEN_SPANS = 10_000
"""Spans of one run that may be under way; beyond it the older half is forgotten."""
LOOKS = 4
"""How often runs without news are looked for in the time after which they are forgotten."""


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
    interrupted = False
    deferred: Draft | None = None
    events: list[tuple[bytes, Draft]] | None = None
    noted_by: Any = None
    """Whose events these are."""
    provider: str | None = None
    model: str | None = None
    tools: Any = None
    sizes: Came | None = None
    asked: tuple[Any, Any] | None = None
    """The prompt and the tools, where tokens may have to be estimated."""


class Runs:
    """Runs under way of one destination, shared by its tracers: whichever sees a parent, all do."""

    def __init__(self, max_open_roots: int, abandon_after_s: float = 3_600.0) -> None:
        self.open: dict[int, OpenSpan] = {}
        self.roots: dict[str, Root] = {}
        self.ended: dict[int, str] = {}
        """Span -> its run, of the latest ended spans."""
        self.max_open_roots = max_open_roots
        self.waiting: set[int] = set()
        """Model calls that have not given a token yet, or whose every chunk may state usage."""
        self._abandon_after_ns = round(abandon_after_s * 1e9)
        self._look_at = monotonic_ns() + self._abandon_after_ns // LOOKS
        self._news: dict[str, tuple[int, int, int]] = {}
        """Of each run at the last look: how many of its spans had ended, when its latest open one began, and since
        when both are so."""

    def new_root(self, root_hex: str, started: int, epoch: int) -> Root:
        root = Root(root_hex, started, epoch)
        if len(self.roots) >= self.max_open_roots:
            # Runs that never end: forget the oldest. Its late events still make records, only less linked.
            for old in _oldest(self.roots, 1):
                self._forget(old)
        if (now := monotonic_ns()) >= self._look_at:
            self.forget_quiet(now)
        self.roots[root_hex] = root
        return root

    def forget_quiet(self, now: int) -> None:
        """Forgets the runs of which nothing began or ended for `abandon_after_s`: they hold their messages in memory.

        Args:
            now: the monotonic clock's nanoseconds.
        """
        self._look_at = now + self._abandon_after_ns // LOOKS
        before, self._news = self._news, {}
        for root_id in _oldest(self.roots, len(self.roots)):
            root = self.roots.get(root_id)
            if root is None:
                continue
            began = max((span.mono for key in tuple(root.open) if (span := self.open.get(key))), default=0)
            ended, latest, since = before.get(root_id, (-1, 0, now))
            if (ended, latest) != (root.ends, began):
                since = now
            if now - since >= self._abandon_after_ns:
                self._forget(root_id)
            else:
                self._news[root_id] = root.ends, began, since

    def thin(self, root: Root) -> None:
        """Forgets the older half of a run's open spans: of so many most were left, and will never end."""
        keys = sorted((span.mono, key) for key in tuple(root.open) if (span := self.open.get(key)) and not span.is_top)
        for _, key in keys[: len(keys) // 2]:
            root.open.discard(key)
            self.open.pop(key, None)
            self.waiting.discard(key)

    def _forget(self, root_id: str) -> None:
        root = self.roots.pop(root_id, None)
        for key in tuple(root.open) if root is not None else ():
            self.open.pop(key, None)
            self.waiting.discard(key)

    def closed(self, key: int, root: Root) -> None:
        root.open.discard(key)
        root.ends += 1
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
