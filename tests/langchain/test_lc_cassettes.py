"""Recorded exchanges replayed through the tracer: our own, and real providers' where the recordings are at hand."""

from __future__ import annotations

import asyncio
import csv
import importlib.util
import os
import re
import sys
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

pytest.importorskip("vcr")
pytest.importorskip("langchain_openai")

from lc_drivers import make_model, question_of
from lc_exchanges import CASSETTES, EXCHANGES, RECORDED_URL, recorder
from lc_support import Store

SHARED = Path(os.environ.get("CHOPSKY_TEST_CASSETTES") or Path(__file__).resolve().parents[3] / "shared" / "cassettes")

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


def shared_files() -> list[str]:
    index = SHARED / "INDEX.csv"
    if not index.exists():
        return []
    with index.open(newline="") as file:
        return [row["file"] for row in csv.DictReader(file)]


FILES = shared_files()


def exchanges(name: str) -> list[Any]:
    spec = importlib.util.spec_from_file_location("casslib", SHARED / "casslib.py")
    assert spec is not None
    assert spec.loader is not None
    library = importlib.util.module_from_spec(spec)
    sys.modules["casslib"] = library
    spec.loader.exec_module(library)
    return [(item, library.model_of(item), library.is_stream(item)) for item in library.load(str(SHARED / name))]


def replay(name: str, tracer: Any, asynchronous: bool) -> tuple[int, int]:
    """Make each request of the exchange; how many calls were made, and how many of them failed as recorded."""
    provider = name.split("/")[0]
    made = failed = 0
    for item, model_name, streaming in exchanges(name):
        request = item.rjson if isinstance(item.rjson, dict) else {}
        model = make_model(provider, item.uri, request, model_name)
        if model is None:
            continue
        config: Any = {"callbacks": [tracer]}
        question = question_of(request)
        try:
            if asynchronous:
                asyncio.run(acall(model, question, config, streaming))
            elif streaming:
                for _ in model.stream(question, config):
                    pass
            else:
                model.invoke(question, config)
        except Exception:
            if item.status < 400:
                raise
            failed += 1
        made += 1
    return made, failed


async def acall(model: Any, question: Any, config: Any, streaming: bool) -> None:
    if streaming:
        async for _ in model.astream(question, config):
            pass
    else:
        await model.ainvoke(question, config)


@pytest.mark.skipif(
    not FILES, reason="the recorded exchanges of real providers are not at hand (CHOPSKY_TEST_CASSETTES)"
)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", FILES or ["none"])
def test_real_exchanges(store: Store, tracer: Any, name: str, asynchronous: bool) -> None:
    import vcr

    def path_of(one: Any, other: Any) -> None:
        # A provider's package may by now ask for another version of the same interface.
        assert re.sub(r"^/v\d\w*", "", unquote(one.path)) == re.sub(r"^/v\d\w*", "", unquote(other.path))

    def method_of(one: Any, other: Any) -> None:
        assert one.method.upper() == other.method.upper()

    player = vcr.VCR(record_mode="none", decode_compressed_response=True)
    player.register_matcher("any_case_method", method_of)
    player.register_matcher("unquoted_path", path_of)
    player.match_on = ["any_case_method", "host", "unquoted_path"]
    with warnings.catch_warnings():
        # What the providers' own packages warn of is not ours.
        warnings.simplefilter("ignore")
        with player.use_cassette(str(SHARED / name)) as cassette:
            made, failed = replay(name, tracer, asynchronous)
    if not made:
        pytest.skip("LangChain reports no event for these requests")
    assert cassette.play_count == made
    assert tracer.flush(20)
    calls = store.spans(kind="llm")
    assert len(calls) == made
    assert [call["status"] for call in calls].count("failed") == failed
    assert {call["status"] for call in calls} <= {"completed", "failed"}
    assert len(store.runs()) == made
    for call in calls:
        assert call["provider"]
        assert call["model_requested"]
        if call["status"] == "completed":
            assert call["output_bodies"]
    assert tracer.stats().get("callback_errors") is None
    assert sum(tracer.stats().get("losses", {}).values()) == 0
