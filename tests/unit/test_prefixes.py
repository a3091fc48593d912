"""Long lists of body ids: how they begin is told once, and they come back as they were."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chopsky_trace.enrich.contents import Contents
from chopsky_trace.enrich.prefixes import CHUNK, MIN_LENGTH, Prefixes

RUN = "a" * 32
IDS = [sha256(str(number).encode()).hexdigest()[:32] for number in range(400)]


def rebuilt(prefix: str | None, rest: list[str], rows: list[dict[str, Any]]) -> list[str]:
    by_id = {row["id"]: row for row in rows}
    while prefix is not None:
        row = by_id[prefix]
        rest = row["bodies"] + rest
        prefix = row["extends"]
        assert row["length"] == CHUNK + (by_id[prefix]["length"] if prefix else 0)
    return rest


PLACES = st.integers(0, len(IDS))
LISTS = st.builds(lambda a, b, c: IDS[:a] + IDS[b:c], PLACES, PLACES, PLACES)


@given(st.lists(LISTS, max_size=4))
def test_every_list_comes_back(lists: list[list[str]]) -> None:
    prefixes = Prefixes()
    short = [prefixes.shorten(ids) for ids in lists]
    for ids, (prefix, rest) in zip(lists, short, strict=True):
        assert (prefix is None) == (len(ids) < MIN_LENGTH)
        assert prefix is None or len(rest) < CHUNK
        assert rebuilt(prefix, rest, prefixes.rows()) == ids
    alone = [Prefixes() for _ in lists]
    for ids, one, found in zip(lists, alone, short, strict=True):
        assert one.shorten(ids) == found, "whatever other lists there are"
    rows = {row["id"]: row for one in reversed(alone) for row in one.rows()}
    assert [rows[key] for key in sorted(rows)] == prefixes.rows()


def test_lists_that_begin_alike_share_rows() -> None:
    prefixes = Prefixes()
    for length in range(MIN_LENGTH, len(IDS) + 1):
        prefixes.shorten(IDS[:length])
    assert sorted(row["length"] for row in prefixes.rows()) == [64, 128, 192, 256, 320, 384]


def test_the_same_ids_elsewhere_in_a_list_are_another_row() -> None:
    prefixes = Prefixes()
    prefixes.shorten(IDS[:64] * 3)
    assert len(prefixes.rows()) == 3


def test_a_payloads_long_list_begins_with_a_row() -> None:
    prefixes = Prefixes()
    contents = Contents(prefixes=prefixes)
    of = {"$of": ["b" * 32, 0, 4]}
    found = contents.without(RUN, {"state": [{"$messages": IDS}, {"$messages": IDS, **of}, {"$messages": IDS[:127]}]})
    prefix, rest = Prefixes().shorten(IDS)
    begun = {"$prefix": prefix, "$messages": rest}
    assert found == {"state": [begun, {**begun, **of}, {"$messages": IDS[:127]}]}
    assert len(prefixes.rows()) == 6


def test_what_only_looks_like_a_long_list_of_messages_stays() -> None:
    prefixes = Prefixes()
    contents = Contents(prefixes=prefixes)
    theirs: list[Any] = [
        {"$messages": ["x" * 32] * 200},
        {"$messages": [*IDS, 7]},
        {"$messages": IDS, "more": 1},
        {"$messages": IDS, "$of": IDS[:3]},
        {"$messages": IDS, "$of": [IDS[0], -1, 2]},
        {"$messages": {"ids": IDS}},
        {"$prefix": IDS[0], "$messages": IDS},
    ]
    assert contents.without(RUN, theirs) == theirs
    assert contents.without_media(RUN, [{"$messages": IDS}]) == [{"$messages": IDS}], "a message refers to none"
    assert prefixes.rows() == []
