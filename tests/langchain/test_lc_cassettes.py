"""This project's own recorded exchanges, replayed through the tracer. Those with real providers: tests/conformance."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("vcr")
pytest.importorskip("langchain_openai")

from lc_exchanges import CASSETTES, EXCHANGES, RECORDED_URL, recorder
from lc_support import Store

# (input, output, cache read, reasoning, status) of each call: what the recorded bodies say.
OWN: dict[str, list[tuple[Any, ...]]] = {
    "plain": [(58, 17, 32, 9, "completed")],
    "stream": [(58, 17, 32, 9, "completed")],
    "stream_without_usage": [(None, None, None, None, "completed")],
    "agent": [(58, 17, 32, 9, "completed"), (58, 17, 32, 9, "completed")],
    "refused": [(None, None, None, None, "failed")],
}
# gpt-4o-mini: 26 plain input tokens at 0.15, 32 cached at 0.075, 17 output at 0.60 USD a million.
PAID = Decimal("0.0000165")


@pytest.mark.parametrize("name", EXCHANGES)
def test_own_cassettes(store: Store, tracer: Any, name: str) -> None:
    with recorder("none").use_cassette(f"{name}.yaml") as cassette:
        EXCHANGES[name](RECORDED_URL, {"callbacks": [tracer]})
    assert cassette.play_count == len(OWN[name])
    assert tracer.flush(10)
    calls = store.spans(kind="llm")
    assert [
        (
            call["input_tokens"],
            call["output_tokens"],
            call["cache_read_tokens"],
            call["reasoning_tokens"],
            call["status"],
        )
        for call in calls
    ] == OWN[name]
    for call in calls:
        assert call["provider"] == "openai"
        if call["status"] == "completed":
            # LangChain does not pass the id of a streamed answer on.
            assert call["response_id"] == (None if name.startswith("stream") else "chatcmpl-chopsky")
            assert call["model"] == "gpt-4o-mini-2024-07-18"
            assert (call["usage_source"], call["cost"]) == (
                ("reported", PAID) if call["input_tokens"] else ("unknown", None)
            )
        else:
            assert "Too many cooks" in call["error"]
    if name != "refused":
        assert store.transcript() == [
            ("user", "How do I make ramen?"),
            ("assistant", "Boil the noodles, then season." + " " * name.startswith("stream")),
        ]


def test_own_cassettes_hold_nothing_of_a_machine() -> None:
    files = sorted(CASSETTES.glob("*.yaml"))
    assert [path.stem for path in files] == sorted(EXCHANGES)
    for path in files:
        text = path.read_text()
        for private in (
            "127.0.0.1",
            "localhost",
            "/home",
            "/work",
            "/root",
            "/tmp",
            "user-agent",
            "authorization",
            "x-stainless",
        ):
            assert private not in text.lower()
