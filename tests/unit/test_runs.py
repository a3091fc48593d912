"""What a process remembers of runs under way is bounded, and freed."""

from __future__ import annotations

from chopsky_trace.sources.langchain.runs import ENDS_AT_ONCE, REMEMBERED_ENDS, OpenSpan, Runs
from chopsky_trace.telling.memory import MAX_LINKS, Entry, Root


def opened(runs: Runs, key: int, root: Root) -> None:
    span = OpenSpan()
    span.hex, span.root, span.kind, span.seen, span.is_top = f"{key:032x}", root, "chain", 1_000, True
    runs.open[key] = span
    runs.waiting.add(key)
    root.open.add(key)


def test_the_oldest_run_is_forgotten_beyond_the_bound() -> None:
    runs = Runs(max_open_roots=2)
    for key in range(5):
        opened(runs, key, runs.new_root(f"{key:032x}", 0, 0))
    assert sorted(runs.open) == sorted(runs.waiting) == [3, 4]
    assert [root.id for root in runs.roots.values()] == [f"{key:032x}" for key in (3, 4)]


def test_a_run_is_freed_when_its_last_open_span_ends() -> None:
    runs = Runs(max_open_roots=10)
    root = runs.new_root("a" * 32, 0, 0)
    opened(runs, 1, root)
    opened(runs, 2, root)
    runs.closed(1, root)
    assert list(runs.roots) == [root.id]
    runs.closed(2, root)
    assert not runs.roots
    last = 3 * REMEMBERED_ENDS
    for key in range(last):
        runs.closed(key, root)
        assert len(runs.ended) <= REMEMBERED_ENDS + ENDS_AT_ONCE
    assert runs.ended.keys() >= set(range(last - REMEMBERED_ENDS, last))


def test_a_chain_of_prompts_is_told_in_full_at_every_64th_link() -> None:
    root = Root("a" * 32, 0, 0)
    entries: list[Entry] = []
    full: list[int] = []
    for turn in range(200):
        entries.append(Entry(f"{turn:032x}", "user", "", False))
        prompt, node, _, _ = root.prompt(f"{1_000 + turn:032x}", entries, [entry.id for entry in entries])
        if "extends" not in prompt:
            assert prompt["bodies"] == [e.id for e in entries]
            full.append(turn)
        entries.append(Entry(f"{500 + turn:032x}", "assistant", "", False))
        root.extend(node, f"{1_000 + turn:032x}", entries[-1].id, None)
    assert full == [n * (MAX_LINKS + 1) for n in range(len(full))]
    assert len(full) == 4
