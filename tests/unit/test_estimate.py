"""Tokens estimated from lengths: the rule, when it holds, and that nothing but the record decides."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately

from chopsky_trace.enrich.batch import Builder
from chopsky_trace.enrich.estimate import estimated
from chopsky_trace.records import Usage
from chopsky_trace.sources.langchain.lengths import lengths_of

UNKNOWN: Usage = {"source": "unknown"}
LENGTHS = {"messages": 2, "images": 1, "input_chars": 401, "output_chars": 9}


def guess(usage: Usage = UNKNOWN, lengths: dict[str, int] | None = LENGTHS, **record: Any) -> tuple[Any, ...]:
    found = estimated(usage, {"status": "completed", "lengths": lengths, **record})
    return found.get("input_tokens"), found.get("output_tokens"), found.get("total_tokens"), found.get("source")


def test_the_rule() -> None:
    # 101 for 401 characters, 3 for each message, 85 for the image; 3 for 9 characters.
    assert guess() == (192, 3, 195, "estimated")
    assert guess(lengths={"input_chars": 8}) == (2, 0, 2, "estimated"), "an embedding has no output"


@pytest.mark.parametrize(
    ("record", "answered"),
    [
        ({"status": "completed"}, True),
        ({"status": "failed", "first_token_ms": 3.0}, True),
        ({"status": "abandoned", "first_token_ms": 0}, True),
        ({"status": "failed"}, False),
        ({"status": "abandoned"}, False),
        ({"status": "failed", "first_token_ms": None}, False),
        ({"cached": True}, False),
        ({"lengths": None}, False),
    ],
)
def test_a_call_that_used_nothing_stays_unknown(record: dict[str, Any], answered: bool) -> None:
    found = estimated(UNKNOWN, {"status": "completed", "lengths": LENGTHS, **record})
    assert (found is UNKNOWN) is not answered
    assert found.get("source") == ("estimated" if answered else "unknown")


def test_what_was_reported_stands() -> None:
    whole: Usage = {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11, "source": "reported"}
    assert guess(whole) == (5, 6, 11, "reported")
    assert guess({"total_tokens": 11, "source": "reported"}) == (None, None, 11, "reported")
    # Anthropic states the input when a stream begins.
    found = estimated({"input_tokens": 50, "source": "reported"}, {"status": "completed", "lengths": LENGTHS})
    assert (found.get("input_tokens"), found.get("output_tokens"), found.get("total_tokens")) == (50, 3, 53)
    assert (found.get("source"), found.get("details")) == ("estimated", {"estimated": ["output_tokens"]})


def test_an_answer_without_text_is_not_one_of_no_tokens() -> None:
    assert guess(lengths={**LENGTHS, "output_chars": 0}) == (192, None, None, "estimated")


def test_it_is_near_langchains_own_count() -> None:
    prompt = [SystemMessage("You are a cook."), HumanMessage("How do I make ramen? " * 20), AIMessage("Boil it.")]
    lengths = lengths_of((prompt, None), [])
    found = estimated(UNKNOWN, {"status": "completed", "lengths": lengths})
    own = count_tokens_approximately(prompt)
    # It counts the roles' names, too, and rounds each message up: at most 4 tokens more for each.
    assert 0 <= own - (found.get("input_tokens") or 0) <= 4 * len(prompt)


def test_lengths() -> None:
    call = {"name": "find", "args": {"a": 1}, "id": "c"}
    prompt = [
        HumanMessage([{"type": "text", "text": "12345"}, {"type": "image_url", "image_url": {"url": "x" * 999}}]),
        AIMessage("", tool_calls=[call]),
        AIMessage([{"type": "thinking", "thinking": "123", "signature": "x" * 99}, {"type": "text", "text": "45"}]),
        AIMessage([{"type": "tool_use", "name": "find", "input": {"a": 1}, "id": "c"}], tool_calls=[call]),
        ToolMessage("1234567", tool_call_id="c"),
    ]
    answer = AIMessageChunk("12", additional_kwargs={"reasoning_content": "345"})
    tools = [{"type": "function"}]
    assert lengths_of((prompt, tools), [answer, "678"]) == {
        "messages": 5,
        "images": 1,
        # Four of the name and seven of {"a":1}, each time.
        "input_chars": 5 + 11 + 5 + 11 + 7 + len(orjson.dumps(tools)),
        "output_chars": 8,
    }
    assert lengths_of(("12345", None), ["678"])["input_chars"] == 5


def _records() -> list[bytes]:
    common = {"v": 1, "run": "a" * 32, "source": "langchain", "kind": "llm", "bodies": [], "messages": []}
    records: list[dict[str, Any]] = []
    for number, status in enumerate(("completed", "failed", "abandoned", "failed")):
        span = {"id": f"{number:032x}", **common}
        records.append({**span, "t": "start", "seen": 10_000 + number, "provider": "openai", "model": "gpt-4o-mini"})
        end = {**span, "t": "end", "seen": 20_000 + number, "began": 10_000 + number, "status": status, "usage": {}}
        # The last was refused before its first token.
        records.append({**end, "lengths": LENGTHS, **({} if number == 3 else {"first_token_ms": 1.0})})
    return [orjson.dumps(record) for record in records]


def test_any_order_and_batching_gives_the_same_numbers() -> None:
    lines = _records()
    chance = random.Random(4)

    def numbers(batches: list[list[bytes]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for batch in batches:
            for row in orjson.loads(Builder().build(batch).payload)["spans"]:
                if "status" in row:
                    found[row["id"]] = [row.get(name) for name in ("total_tokens", "usage_source", "usage_details")]
        return found

    expected = numbers([lines])
    details = {"estimated": ["input_tokens", "output_tokens"]}
    assert expected == {f"{n:032x}": [195, "estimated", details] for n in range(3)} | {
        f"{3:032x}": [None, "unknown", None]
    }
    for size in (1, 3, 8):
        shuffled = chance.sample(lines, len(lines)) + lines[:2]
        assert numbers([shuffled[at : at + size] for at in range(0, len(shuffled), size)]) == expected


def test_the_cost_of_an_estimate_is_one() -> None:
    (row,) = orjson.loads(Builder().build(_records()[:2]).payload)["spans"]
    # gpt-4o-mini: 192 input tokens at 0.15 and 3 output at 0.60 USD a million.
    assert (row["cost"], row["cost_source"]) == ("0.0000306", "estimated")
