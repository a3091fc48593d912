"""Message rows that follow from a prompt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chopsky_trace.telling.memory import Entry, Root, prompt_refs


class Counting(Root):
    """Counts the messages that it looks at for whether this run said them."""

    looked = 0

    def has_said(self, ids: Iterable[str]) -> bool:
        ids = list(ids)
        self.looked += len(ids)
        return super().has_said(ids)


def test_a_long_history_that_nobody_told_is_looked_through_once() -> None:
    root = Counting("0" * 32, 0, 0)
    draft: dict[str, Any] = {"seen": 1_000, "bodies": [], "messages": []}
    root.said(draft, Entry("first", "assistant", "Hi", has_calls=False), "1" * 32, 0, internal=False)
    entries = [Entry(f"b{n}", "user" if n % 2 else "assistant", f"m{n}", has_calls=False) for n in range(400)]
    prompt_refs(root, draft, entries, [entry.id for entry in entries], 0, shown=False)
    assert 0 < root.looked <= len(entries)
    placed_now = [ref["body"] for ref in draft["messages"] if ref["place"] == "history" and "at" not in ref]
    assert placed_now == [], "what stands before all that this run said is from before it"


def test_what_stands_behind_what_this_run_said_is_not_from_before_it() -> None:
    root = Counting("0" * 32, 0, 0)
    draft: dict[str, Any] = {"seen": 1_000, "bodies": [], "messages": []}
    said = Entry("said", "assistant", "Hi", has_calls=False)
    root.said(draft, said, "1" * 32, 0, internal=False)
    before, *after = [Entry(f"b{n}", "tool", f"m{n}", has_calls=False) for n in range(4)]
    entries = [
        before,
        said,
        *after,
        Entry("last", "assistant", "And?", has_calls=False),
        Entry("q", "user", "Q", False),
    ]
    prompt_refs(root, draft, entries, [entry.id for entry in entries], 0, shown=False)
    now = {ref["body"] for ref in draft["messages"] if ref["place"] == "history" and "at" not in ref}
    assert now == {"b1", "b2", "b3", "last"}
