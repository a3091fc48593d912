"""Batches of records: the builder's own rules, without a database."""

from __future__ import annotations

import orjson
import pytest

from chopsky_trace.enrich.batch import Builder, PoisonError

RUN = "0" * 31 + "1"


def start(**fields: object) -> bytes:
    record = {
        "v": 1,
        "t": "start",
        "id": RUN,
        "run": RUN,
        "seen": 1_000,
        "source": "langchain",
        "at": 1,
        "kind": "chain",
    }
    return orjson.dumps({**record, **fields})


def test_the_builder_pauses_before_each_record_and_row() -> None:
    pauses: list[None] = []
    Builder(lambda: pauses.append(None)).build([start(), start(id="0" * 31 + "2")])
    assert len(pauses) == 4


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"{}",
        start(id="not an id"),
        start(seen="yesterday"),
        start(bodies=[{"id": "1" * 32}]),
        start(messages=[{"body": "1" * 32}]),
        start(prompt={}),
    ],
)
def test_what_is_no_record_is_poison(line: bytes) -> None:
    with pytest.raises(PoisonError):
        Builder().build([start(), line])


def test_the_later_record_of_a_register_wins_whatever_the_order() -> None:
    early, late = start(name="early", seen=1_000), start(name="late", seen=2_000)
    for lines in ([early, late], [late, early], [late, early, late]):
        rows = orjson.loads(Builder().build(lines).payload)["spans"]
        assert [row["name"] for row in rows] == ["late"]


def test_a_calls_end_alone_says_what_it_was_priced_by_and_its_start_knows_better() -> None:
    end = start(t="end", kind="llm", status="completed", provider="openai", model_requested="gpt-5", usage={})
    begun = start(kind="llm", provider="azure", model="gpt-5-mini")
    for lines, told in (([end], ("openai", "gpt-5")), ([end, begun], ("azure", "gpt-5-mini"))):
        (row,) = orjson.loads(Builder().build(lines).payload)["spans"]
        assert (row["provider"], row["model_requested"]) == told
