"""A run's spans as the tree of calls that they were."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from rich.text import Text
from rich.tree import Tree

from chopsky_trace.commands.present import NONE, STYLES, UNKNOWN, Row, duration, money, one_line

CALLS = ("llm", "embedding", "image")
MOST_INDENTED = 12
"""Levels that are indented; deeper ones say how deep they are, or an 80-column terminal would show only guides."""
KIND_STYLES = {
    "llm": "bold green",
    "agent": "bold magenta",
    "tool": "bold yellow",
    "retriever": "bold cyan",
    "embedding": "cyan",
}


def call_tree(title: Text, spans: Sequence[Row]) -> Tree:
    """The tree under a title.

    A span whose parent is not among these stands at the top and says so; a ring of parents is cut.
    """
    root = Tree(title, guide_style="dim")
    known = {span["id"] for span in spans}
    children: dict[UUID | None, list[Row]] = {}
    for span in spans:
        parent = span["parent_span_id"]
        children.setdefault(parent if parent in known and parent != span["id"] else None, []).append(span)
    shown: set[UUID] = set()
    _grow(root, children, children.get(None, []), known, shown)
    for span in spans:
        # Only spans in a ring are left: nothing at the top leads to them.
        if span["id"] not in shown:
            _grow(root, children, [span], known, shown)
    return root


def _grow(
    root: Tree, children: dict[UUID | None, list[Row]], tops: list[Row], known: set[UUID], shown: set[UUID]
) -> None:
    waiting = [(root, span, 0) for span in reversed(tops)]
    while waiting:
        branch, span, depth = waiting.pop()
        if span["id"] in shown:
            continue
        shown.add(span["id"])
        outside = depth == 0 and span["parent_span_id"] is not None and span["parent_span_id"] not in known
        node = branch.add(label(span, depth=depth if depth > MOST_INDENTED else 0, outside=outside))
        below = children.get(span["id"], [])
        # Past the last indented level children stand beside their parent.
        waiting += [(node if depth < MOST_INDENTED else branch, child, depth + 1) for child in reversed(below)]


def label(span: Row, *, depth: int = 0, outside: bool = False) -> Text:
    """A span on a line: kind, name, model, tokens, cost, times, an id to show it by; its error below."""
    text = Text()
    if depth:
        text.append(f"[level {depth}] ", style="dim")
    text.append(one_line(span["kind"]), style=KIND_STYLES.get(span["kind"], "bold"))
    text.append(f" {one_line(span['name'] or NONE, 80)}")
    model = span["model"] or span["model_requested"]
    if model and span["kind"] in CALLS:
        text.append(f" {one_line(model, 60)}", style="dim")
    facts = _numbers(span)
    if span["response_time_ms"] is not None:
        facts.append(duration(span["response_time_ms"]))
    if span["time_to_first_token_ms"] is not None:
        facts.append(f"first token {duration(span['time_to_first_token_ms'])}")
    if span["output_tokens_per_second"]:
        facts.append(f"{span['output_tokens_per_second']:,.0f} tokens/s")
    if facts:
        text.append("  " + ", ".join(facts), style="dim")
    if span["status"] != "completed":
        text.append(f"  {one_line(span['status'])}", style=STYLES.get(span["status"], "red"))
    text.append(f"  {span['short_id']}", style="dim")
    if outside:
        text.append("  (parent not shown)", style="dim")
    if span["error"]:
        text.append(f"\n{one_line(span['error'], 300)}", style="red")
    return text


def _numbers(span: Row) -> list[str]:
    if span["duplicate_of"] is not None:
        return [f"duplicate of {span['duplicate_of']}"]
    if span["kind"] not in CALLS and span["total_tokens"] is None and span["cost"] is None:
        return []
    if span["ended_at"] is None and span["total_tokens"] is None:
        return []
    facts: list[str] = []
    if span["input_tokens"] is None and span["output_tokens"] is None:
        facts.append(f"tokens {UNKNOWN}" if span["total_tokens"] is None else f"{span['total_tokens']:,} tokens")
    else:
        parts = [
            f"{span[key]:,} {name}"
            for key, name in (("cache_read_tokens", "cached"), ("cache_write_tokens", "to cache")) if span[key]
        ]  # fmt: skip
        facts.append(f"{_count(span['input_tokens'])} in" + (f" ({', '.join(parts)})" if parts else ""))
        reasoning = f" ({span['reasoning_tokens']:,} reasoning)" if span["reasoning_tokens"] else ""
        facts.append(f"{_count(span['output_tokens'])} out{reasoning}")
    facts.append(money(span["cost"]) if span["cost"] is not None else f"cost {UNKNOWN}")
    return facts


def _count(tokens: int | None) -> str:
    return UNKNOWN if tokens is None else f"{tokens:,}"
