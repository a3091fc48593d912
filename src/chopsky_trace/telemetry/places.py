"""A trace's message rows: told again where what comes later stood earlier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chopsky_trace.telling.memory import Draft, Key, Root, ordinals


class TraceRoot(Root):
    """A run whose spans come in any order: each row is told to stand where the earliest of them has it."""

    in_order = False
    latest = 0
    """When the latest of its spans began that were told, in microseconds since 1970."""

    def forget(self) -> None:
        """As Root's."""
        super().forget()
        self.told_at: dict[Key, tuple[int, int]] = {}
        """Message rows told: since when they stand, and at which position."""

    def own(
        self, draft: Draft, entry_id: str, n: int, position: int, chars: int, *, internal: bool, at: int | None = None
    ) -> bool:
        """As Root's."""
        told = len(draft["messages"])
        news = super().own(draft, entry_id, n, position, chars, internal=internal, at=at)
        self._place(draft, ("own", entry_id, n), position, draft["at"] if at is None else at, told)
        return news

    def history(self, draft: Draft, entry_id: str, n: int, position: int, chars: int, **how: Any) -> None:
        """As Root's."""
        told = len(draft["messages"])
        super().history(draft, entry_id, n, position, chars, **how)
        self._place(draft, ("history", entry_id, n), position, draft["at"] if how.get("now") else self.started, told)

    def began(self, draft: Draft, ids: Sequence[str]) -> None:
        """A call's whole prompt is told: what later calls told of it stands here."""
        if self.started >= self.latest:
            self.latest = self.started
            return
        for position, (body, n) in enumerate(zip(ids, ordinals(ids), strict=True)):
            for place in ("own", "history"):
                if (place, body, n) in self.told_at:
                    self._place(draft, (place, body, n), position, self.started, len(draft["messages"]))

    def _place(self, draft: Draft, key: Key, position: int, at: int, told: int) -> None:
        known = self.told_at.get(key)
        if known is not None and known <= (at, position):
            return
        self.told_at[key] = at, position
        if len(draft["messages"]) == told:
            place, body, n = key
            draft["messages"].append(
                {"body": body, "place": place, "n": n, "position": position, "internal": True, "at": at}
            )
