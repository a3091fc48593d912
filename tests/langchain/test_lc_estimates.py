"""Streams that state no usage, are left, or fail: unknown, or estimated where the user asks for it."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from lc_scripted_server import chunk, scripted_server, sse
from lc_support import ScriptedLLM, Store, StreamingChat, ai

from chopsky_trace import SupabaseTracer

pytest.importorskip("langchain_openai")

from langchain_openai import ChatOpenAI

ROLE = chunk({"role": "assistant", "content": ""})
SAID = [chunk({"content": "Boil the "}), chunk({"content": "noodles."})]
END = chunk({}, "stop")
QUESTION = "How do I make ramen?"
# 20 characters and a message; 17 characters of the whole answer, 9 of its beginning.
ASKED, WHOLE, HALF = 5 + 3, 5, 3
HOW = ("without usage", "left", "cut", "refused")


def answer(how: str) -> Any:
    if how == "refused":
        return 429
    if how == "cut":
        return [*list(sse(ROLE, SAID[0]))[:-1], None]
    return sse(ROLE, *SAID, END)


def go(model: Any, how: str, config: Any, asynchronous: bool) -> None:
    async def later() -> None:
        stream = model.astream(QUESTION, config)
        async for piece in stream:
            if how == "left" and piece.content:
                break
        await stream.aclose()

    errors = (openai.APIError, *_broken()) if how in ("cut", "refused") else ()
    try:
        if asynchronous:
            asyncio.run(later())
            return
        stream = model.stream(QUESTION, config)
        for piece in stream:
            if how == "left" and piece.content:
                break
        stream.close()
    except errors:
        return
    assert not errors


def _broken() -> tuple[type[Exception], ...]:
    import httpx

    modules = [httpx]
    try:
        import httpx2
    except ImportError:
        pass
    else:
        modules.append(httpx2)
    return tuple(module.RemoteProtocolError for module in modules)


@pytest.mark.parametrize(
    ("estimates", "asynchronous", "capture"),
    [
        (False, False, "full"),
        (False, True, "full"),
        (True, False, "full"),
        (True, True, "full"),
        (True, True, "metadata"),
    ],
)
@pytest.mark.parametrize("how", HOW)
def test_a_stream(
    store: Store,
    database_url: str,
    how: str,
    estimates: bool,
    asynchronous: bool,
    capture: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHOPSKY_TRACE_ESTIMATE_USAGE", str(estimates).lower())
    tracer = SupabaseTracer(database_url, capture=capture)
    with scripted_server(lambda path, request: answer(how)) as url:
        model = ChatOpenAI(model="gpt-4o-mini", base_url=url, api_key="none", max_retries=0, stream_usage=False)  # type: ignore[arg-type]  # its own Secret type
        go(model, how, {"callbacks": [tracer]}, asynchronous)
    assert tracer.flush(10)
    span = store.span(kind="llm")
    status = {"without usage": "completed", "left": "abandoned"}.get(how, "failed")
    found = span["status"], span["input_tokens"], span["output_tokens"], span["usage_source"], span["cost_source"]
    if estimates and how != "refused":
        output = WHOLE if how == "without usage" else HALF
        assert found == (status, ASKED, output, "estimated", "estimated")
        assert span["cost"] > 0
        if capture == "full":
            told = store.messages()[-1]
            assert (told["token_count"], told["token_count_source"]) == (output, "estimated")
    else:
        assert found == (status, None, None, "unknown", "unknown")
        assert span["cost"] is None
    assert (store.run()["unmeasured_calls"] == 1) is (not estimates and how != "refused")


def test_what_states_its_usage_is_not_estimated(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHOPSKY_TRACE_ESTIMATE_USAGE", "true")
    tracer = SupabaseTracer(database_url)
    list(StreamingChat(replies=[ai("one two")]).stream(QUESTION, {"callbacks": [tracer]}))
    ScriptedLLM().invoke(QUESTION, {"callbacks": [tracer]})
    assert tracer.flush(10)
    assert [(span["input_tokens"], span["usage_source"]) for span in store.spans(kind="llm")] == [
        (100, "reported"),
        (7, "reported"),
    ]


def test_prompts_whose_usage_is_told_with_the_first_are_not_estimated(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHOPSKY_TRACE_ESTIMATE_USAGE", "true")
    tracer = SupabaseTracer(database_url)
    ScriptedLLM().generate(["long " * 40, "other " * 40], callbacks=[tracer])
    assert tracer.flush(10)
    assert sorted((call["total_tokens"] or 0, call["usage_source"]) for call in store.spans(kind="llm")) == [
        (0, "unknown"),
        (18, "reported"),
    ]
