"""How many tokens a message takes: its share of what its call reported, or an estimate from its length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chopsky_trace.enrich.estimate import TOKENS_PER_MESSAGE, tokens
from chopsky_trace.enrich.registers import Row

Size = tuple[int, str]
"""Tokens, and where they are from."""
Numbers = tuple[Any, Any, Any, Any]
"""What messages need of their call's columns: cost, output tokens, where they are from, input tokens."""
NO_NUMBERS: Numbers = (None, None, None, None)
_RANK = {"estimated": 1, "computed": 2}


def estimated(chars: int) -> Size:
    """The size of a message of so many characters, where nothing better is known."""
    return tokens(chars) + TOKENS_PER_MESSAGE, "estimated"


def numbers_of(row: Row) -> Numbers:
    """Of the columns of a call's usage and cost, those that its messages need."""
    get = row.get
    return get("cost"), get("output_tokens"), get("usage_source"), get("input_tokens")


def shares(sizes: Mapping[str, Any], numbers: Numbers) -> Iterator[tuple[str, str, int, Size]]:
    """(body, place, n, size) of each message whose size an end tells.

    What the call's input exceeds `before` by is shared out by length, so that all that came to the prompt has,
    together, exactly what came to the input. Where the input is not known, or nothing says what it was before, sizes
    are estimated.

    Args:
        sizes: the record's Sizes.
        numbers: the call's; NO_NUMBERS where the end is not a call's.
    """
    rows: list[tuple[str, str, int, int]] = sizes["rows"]
    _, _, usage_source, given = numbers
    before = sizes.get("before")
    if given is None or before is None:
        for body, place, n, chars in rows:
            yield body, place, n, estimated(chars)
        return
    grown = max(0, given - before)
    source = "estimated" if usage_source == "estimated" else "computed"
    # An empty message is not nothing: the one that came shall have what came.
    total = max(sizes["chars"], sum(max(chars, 1) for _, _, _, chars in rows))
    passed = 0
    for body, place, n, chars in rows:
        # By what has been shared out so far, so that rounding neither loses nor adds any.
        share = -(passed * grown // total)
        passed += max(chars, 1)
        yield body, place, n, (share + passed * grown // total, source)


def set_size(row: Row, size: Size) -> None:
    """Gives a message its size, unless it has a better one: the rule that chopsky_write_messages has."""
    count, source = size
    known = row.get("token_count")
    if known is None or (_RANK[source], count) > (_RANK.get(row["token_count_source"], 0), known):
        row["token_count"], row["token_count_source"] = size
