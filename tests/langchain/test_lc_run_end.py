"""Where a process may be frozen when it has answered: a run is stored before its last callback or response ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from langchain_core.runnables import RunnableLambda
from lc_support import ScriptedChat, Store, ai

import chopsky_trace
from chopsky_trace import SupabaseTracer
from chopsky_trace.asgi import FlushMiddleware
from chopsky_trace.errors import SettingsError
from chopsky_trace.sources import destination

NEVER_S = 3_000.0
"""Longer than any test may take: who waits so long fails."""


@pytest.fixture(autouse=True)
def lazy_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer of the test's own, which does nothing in time unless somebody asks."""
    monkeypatch.setenv("CHOPSKY_TRACE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CHOPSKY_TRACE_FLUSH_INTERVAL_S", str(NEVER_S))


@contextmanager
def locked(url: str) -> Iterator[None]:
    """The database takes no spans for as long as this lasts."""
    with psycopg.connect(url) as blocker:
        blocker.execute("lock table public.conversation_spans in access exclusive mode")
        yield
        blocker.rollback()


def ask(tracer: SupabaseTracer) -> None:
    ScriptedChat(replies=[ai("Soup.")]).invoke("What is for dinner?", {"callbacks": [tracer]})


def said(store: Store) -> list[tuple[str, str]]:
    return store.transcript() if store.runs() else []


DINNER = [("user", "What is for dinner?"), ("assistant", "Soup.")]


def test_a_run_is_stored_when_its_callback_returns(database_url: str, store: Store):
    ask(SupabaseTracer(database_url))
    assert said(store) == []
    ask(SupabaseTracer(database_url, flush_on="run_end"))
    assert [run["status"] for run in store.runs()] == ["completed", "completed"]
    assert store.transcript(store.runs()[1]["id"]) == DINNER


@pytest.mark.parametrize("variable", ["AWS_LAMBDA_FUNCTION_NAME", "CHOPSKY_TRACE_FLUSH_ON"])
def test_the_environment_says_so_too(database_url: str, store: Store, monkeypatch: pytest.MonkeyPatch, variable: str):
    monkeypatch.setenv(variable, "run_end")
    ask(SupabaseTracer(database_url, flush_on="interval"))
    assert said(store) == []
    tracer = SupabaseTracer(database_url)
    ask(tracer)
    assert len(store.runs()) == 2
    assert tracer.feedback(store.runs()[0]["id"], thumbs="up")
    assert store.rows("select thumbs from public.conversation_feedback") == [{"thumbs": "up"}]


def test_a_chain_waits_once_at_its_end(database_url: str, store: Store):
    tracer = SupabaseTracer(database_url, flush_on="run_end")
    between: list[Any] = []
    chain = ScriptedChat(replies=[ai("Soup.")]) | RunnableLambda(lambda answer: between.append(store.runs()) or answer)
    chain.invoke("What is for dinner?", {"callbacks": [tracer]})
    assert between == [[]]
    assert said(store) == DINNER


def test_a_failed_run_is_stored_too(database_url: str, store: Store):
    def fail(_: str) -> str:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        RunnableLambda(fail).invoke("x", {"callbacks": [SupabaseTracer(database_url, flush_on="run_end")]})
    assert [run["status"] for run in store.runs()] == ["failed"]


def test_a_database_that_takes_long_is_not_waited_for_longer(
    database_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(destination, "RUN_END_S", 0.2)
    tracer = SupabaseTracer(database_url, flush_on="run_end")
    with locked(database_url):
        ask(tracer)
        assert tracer.stats()["backlog_records"]
    assert tracer.flush(60)
    assert said(store) == DINNER


def test_an_event_loop_is_never_held_up(database_url: str, store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(destination, "RUN_END_S", NEVER_S)
    tracer = SupabaseTracer(database_url, flush_on="run_end")

    async def main() -> bool:
        with locked(database_url):
            await ScriptedChat(replies=[ai("Soup.")]).ainvoke("What is for dinner?", {"callbacks": [tracer]})
            # Called by the loop itself, as some applications do.
            ask(tracer)
            flushing = asyncio.create_task(chopsky_trace.aflush(60))
            await asyncio.sleep(0)
            assert not flushing.done()
        return await flushing

    assert asyncio.run(main())
    assert len(store.runs()) == 2


def test_what_is_not_a_way_to_flush_is_said(monkeypatch: pytest.MonkeyPatch, database_url: str):
    with pytest.raises(SettingsError, match="flush_on is 'often'"):
        SupabaseTracer(database_url, flush_on="often")  # pyright: ignore[reportArgumentType]


# -- ASGI


class Application:
    """An application under uvicorn whose requests are traced, or are not."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self.api = FastAPI()
        self.api.add_middleware(FlushMiddleware, timeout_s=timeout_s)
        self.tracer = SupabaseTracer(url)
        self.chain = ScriptedChat(replies=[ai("Soup.")] * 100)
        self.api.get("/ask")(self.ask)
        self.api.get("/ask-in-a-thread")(self.ask_in_a_thread)
        self.api.get("/stream")(self.stream)
        self.api.get("/fail")(self.fail)
        self.api.get("/untraced")(self.untraced)

    @property
    def config(self) -> Any:
        return {"callbacks": [self.tracer]}

    async def ask(self) -> str:
        return str((await self.chain.ainvoke("What is for dinner?", self.config)).content)

    def ask_in_a_thread(self) -> str:
        return str(self.chain.invoke("What is for dinner?", self.config).content)

    async def stream(self) -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            async for chunk in self.chain.astream("What is for dinner?", self.config):
                yield str(chunk.content)

        return StreamingResponse(chunks())

    async def fail(self) -> str:
        await self.ask()
        raise RuntimeError("not our fault")

    async def untraced(self) -> str:
        return "here"


@contextmanager
def serving(api: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(api, port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("path", ["/ask", "/ask-in-a-thread", "/stream", "/fail"])
def test_a_response_ends_when_its_run_is_stored(database_url: str, store: Store, path: str):
    with serving(Application(database_url, NEVER_S).api) as address:
        answer = httpx.get(address + path, timeout=60)
        assert said(store) == DINNER
        assert answer.status_code == (500 if path == "/fail" else 200)
        assert "Soup." in answer.text or path == "/fail"


def test_a_slow_database_delays_the_end_of_its_own_response_only(database_url: str, store: Store):
    application = Application(database_url, NEVER_S)
    with serving(application.api) as address, httpx.Client(base_url=address, timeout=60) as client:
        with locked(database_url), client.stream("GET", "/stream") as streamed:
            chunks = streamed.iter_text()
            assert next(chunks) == "Soup."
            # More than the default executor has threads.
            asking = {"target": httpx.get, "args": [f"{address}/ask"], "kwargs": {"timeout": 60}}
            more = [threading.Thread(**asking) for _ in range(50)]
            for thread in more:
                thread.start()
            assert [client.get("/untraced").text for _ in range(20)] == ['"here"'] * 20
            assert all(thread.is_alive() for thread in more)
            assert said(store) == []
        for thread in more:
            thread.join(60)
        assert len(store.runs()) == 51


def test_at_shutdown_all_is_written(database_url: str, store: Store):
    application = Application(database_url, 0.0)
    with serving(application.api) as address, locked(database_url):
        assert httpx.get(f"{address}/ask", timeout=60).status_code == 200
    assert said(store) == DINNER
