"""Whose run it is, where it is filed, and how much of it is kept."""

from __future__ import annotations

import asyncio
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from lc_support import (
    UNREACHABLE,
    ScriptedChat,
    Shelf,
    Store,
    StreamingChat,
    ai,
    answer_last,
    call,
    find_recipe,
    heat_oven,
    run_script,
)

import chopsky_trace
from chopsky_trace.database.connect import Connection

CANARY = "canary-51c0"


def chain() -> Any:
    return (
        ChatPromptTemplate.from_messages([("human", "{q}")]) | ScriptedChat(replies=[answer_last]) | StrOutputParser()
    )


def scope(run: dict[str, Any]) -> tuple[Any, ...]:
    return run["user_id"], run["session_id"], run["tenant_id"], run["project"], run["environment"]


def test_from_the_tracers_arguments(store: Store, database_url: str) -> None:
    tracer = chopsky_trace.SupabaseTracer(
        database_url,
        user_id="ada",
        session_id="s 1",
        tenant_id="acme",
        project="menu",
        environment="test",
        tags=["a"],
        metadata={"shop": 7},
    )
    chain().invoke({"q": "x"}, {"callbacks": [tracer], "tags": ["b"], "metadata": {"till": 2}})
    assert tracer.flush(10)
    run = store.run()
    assert scope(run) == ("ada", "s 1", "acme", "menu", "test")
    assert {"a", "b"} <= set(run["tags"])
    assert (run["metadata"]["shop"], run["metadata"]["till"]) == (7, 2)
    assert {(row["user_id"], row["session_id"], row["tenant_id"]) for row in store.messages()} == {
        ("ada", "s 1", "acme")
    }


def test_from_the_context(store: Store, tracer: Any) -> None:
    with chopsky_trace.context(user_id="ada", session_id="outer", tags=["a"], metadata={"shop": 7}):
        with chopsky_trace.context(session_id="inner", tenant_id="acme", tags=["b"], metadata={"till": 2}):
            chain().invoke({"q": "x"}, {"callbacks": [tracer]})
        chain().invoke({"q": "y"}, {"callbacks": [tracer]})
    chain().invoke({"q": "z"}, {"callbacks": [tracer]})
    assert tracer.flush(10)
    inner, outer, outside = store.runs()
    assert scope(inner)[:3] == ("ada", "inner", "acme")
    assert set(inner["tags"]) == {"a", "b"}
    assert (inner["metadata"]["shop"], inner["metadata"]["till"]) == (7, 2)
    assert scope(outer)[:3] == ("ada", "outer", None)
    assert outer["tags"] == ["a"]
    assert scope(outside)[:3] == (None, None, None)
    assert outside["tags"] == []


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("user_id", "user_id"),
        ("user_id", "langfuse_user_id"),
        ("session_id", "session_id"),
        ("session_id", "thread_id"),
        ("session_id", "conversation_id"),
        ("session_id", "langfuse_session_id"),
        ("tenant_id", "tenant_id"),
    ],
)
def test_from_metadata(store: Store, tracer: Any, field: str, key: str) -> None:
    chain().invoke({"q": "x"}, {"callbacks": [tracer], "metadata": {key: "v 1"}})
    assert tracer.flush(10)
    run = store.run()
    assert run[field] == "v 1"
    assert [run[name] for name in ("user_id", "session_id", "tenant_id") if name != field] == [None, None]


@pytest.mark.parametrize(
    "configurable",
    [
        {"session_id": "s 1", "user_id": "ada", "tenant_id": "acme"},
        {"thread_id": "s 1", "user_id": "ada", "tenant_id": "acme"},
    ],
)
def test_from_configurable_as_far_as_langchain_passes_it_on(
    store: Store, tracer: Any, configurable: dict[str, str]
) -> None:
    chain().invoke({"q": "x"}, {"callbacks": [tracer], "configurable": configurable})
    assert tracer.flush(10)
    assert scope(store.run())[:3] == ("ada", "s 1", "acme")


def test_secrets_in_configurable_and_metadata_are_not_stored(store: Store, tracer: Any) -> None:
    hidden = {
        "openai_api_key": f"{CANARY}-1",
        "authorization": f"Bearer {CANARY}-2",
        "refresh_token": f"{CANARY}-3",
        "Cookie": f"{CANARY}-4",
    }
    chain().invoke(
        {"q": "x"},
        {"callbacks": [tracer], "configurable": {**hidden, "user_id": "ada"}, "metadata": {**hidden, "shop": 7}},
    )
    assert tracer.flush(10)
    assert store.run()["metadata"]["shop"] == 7
    assert CANARY not in store.dump()


def test_the_run_beats_the_context_and_the_context_beats_the_tracer(store: Store, database_url: str) -> None:
    tracer = chopsky_trace.SupabaseTracer(database_url, user_id="tracer", session_id="tracer", tenant_id="tracer")
    with chopsky_trace.context(user_id="context", session_id="context"):
        chain().invoke({"q": "x"}, {"callbacks": [tracer], "metadata": {"user_id": "run"}})
    assert tracer.flush(10)
    assert scope(store.run())[:3] == ("run", "context", "tracer")


def test_graph_thread_id_is_the_session(store: Store, tracer: Any) -> None:
    from langchain.agents import create_agent
    from langgraph.checkpoint.memory import InMemorySaver

    agent = create_agent(ScriptedChat(replies=[answer_last]), [], checkpointer=InMemorySaver())
    config: Any = {"callbacks": [tracer], "configurable": {"thread_id": 17, "user_id": "ada"}}
    agent.invoke({"messages": [HumanMessage("hi")]}, config)
    assert tracer.flush(10)
    assert scope(store.run())[:2] == ("ada", "17")


def test_fifty_tasks_none_crossed(store: Store, tracer: Any) -> None:
    one = ChatPromptTemplate.from_messages([("human", "{q}")]) | StreamingChat(replies=[answer_last])

    async def guest(number: int) -> None:
        with chopsky_trace.context(
            user_id=f"u{number}", session_id=f"s{number}", tenant_id=f"t{number}", metadata={"seat": number}
        ):
            await asyncio.sleep(0)
            if number % 2:
                await one.ainvoke({"q": f"q{number}"}, {"callbacks": [tracer]})
            else:
                async for _ in one.astream({"q": f"q{number}"}, {"callbacks": [tracer]}):
                    pass

    async def everybody() -> None:
        await asyncio.gather(*(guest(number) for number in range(50)))

    asyncio.run(everybody())
    assert tracer.flush(20)
    check_fifty(store)


def test_fifty_threads_none_crossed(store: Store, tracer: Any) -> None:
    def guest(number: int) -> None:
        with chopsky_trace.context(
            user_id=f"u{number}", session_id=f"s{number}", tenant_id=f"t{number}", metadata={"seat": number}
        ):
            chain().invoke({"q": f"q{number}"}, {"callbacks": [tracer]})

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(guest, range(50)))
    assert tracer.flush(20)
    check_fifty(store)


def check_fifty(store: Store) -> None:
    runs = store.runs()
    assert len(runs) == 50
    for run in runs:
        number = run["metadata"]["seat"]
        assert scope(run)[:3] == (f"u{number}", f"s{number}", f"t{number}")
        assert store.transcript(run["id"]) == [("user", f"q{number}"), ("assistant", f"answer to q{number}")]


def test_a_plain_thread_inherits_no_context(store: Store, tracer: Any) -> None:
    with chopsky_trace.context(user_id="ada"):
        worker = threading.Thread(target=lambda: chain().invoke({"q": "x"}, {"callbacks": [tracer]}))
        worker.start()
        worker.join()
    assert tracer.flush(10)
    assert store.run()["user_id"] is None


@pytest.mark.parametrize(
    "session_id", ["table 9", "\U0001f35c\U0001f962", "a'b\"c\\d;--", "1", " ", "line\nbreak", "é" * 200, "s" * 512]
)
def test_any_text_is_a_session_id(store: Store, tracer: Any, session_id: str) -> None:
    chain().invoke({"q": "x"}, {"callbacks": [tracer], "metadata": {"thread_id": session_id}})
    assert tracer.flush(10)
    assert store.run()["session_id"] == session_id


def test_session_ids_of_3000_characters_stay_apart(store: Store, tracer: Any) -> None:
    for ending in ("a", "b", "a"):
        chain().invoke({"q": ending}, {"callbacks": [tracer], "metadata": {"session_id": "\U0001f35c" * 2999 + ending}})
    assert tracer.flush(10)
    first, second, third = (run["session_id"] for run in store.runs())
    assert first == third != second
    assert first.startswith("\U0001f35c" * 20)


def test_a_uuid_among_the_ids_is_lower_case(store: Store, tracer: Any) -> None:
    chain().invoke(
        {"q": "x"},
        {
            "callbacks": [tracer],
            "metadata": {
                "user_id": "0F0F0F0F-ABCD-4000-8000-00000000000A",
                "session_id": UUID("0F0F0F0F-ABCD-4000-8000-00000000000B"),
            },
        },
    )
    assert tracer.flush(10)
    assert scope(store.run())[:2] == ("0f0f0f0f-abcd-4000-8000-00000000000a", "0f0f0f0f-abcd-4000-8000-00000000000b")


def test_project_defaults_to_langsmiths(store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_PROJECT", "kitchen")
    tracer = chopsky_trace.SupabaseTracer(database_url)
    chain().invoke({"q": "x"}, {"callbacks": [tracer]})
    monkeypatch.setenv("CHOPSKY_TRACE_PROJECT", "pantry")
    other = chopsky_trace.SupabaseTracer(database_url)
    chain().invoke({"q": "y"}, {"callbacks": [other]})
    assert tracer.flush(10)
    assert other.flush(10)
    assert [run["project"] for run in store.runs()] == ["kitchen", "pantry"]


def test_sampling_is_langsmiths_and_keeps_numbers_and_failures(store: Store, database_url: str) -> None:
    from langsmith._internal._sampling import is_sampled_by_id

    ids = [UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0000 + number) for number in range(24)]
    tracer = chopsky_trace.SupabaseTracer(database_url, sample_rate=0.4)
    for number, run_id in enumerate(ids):
        chain().invoke({"q": f"{CANARY} {number}"}, {"callbacks": [tracer], "run_id": run_id})
    out_failed = next(
        UUID(int=0x0191 << 112 | 7 << 76 | 8 << 60 | n)
        for n in range(99)
        if not is_sampled_by_id(str(UUID(int=0x0191 << 112 | 7 << 76 | 8 << 60 | n)), 0.4)
    )
    failing = ChatPromptTemplate.from_messages([("human", "{q}")]) | ScriptedChat(replies=[ValueError("burnt")])
    with pytest.raises(ValueError, match="burnt"):
        failing.invoke({"q": "why did it fail"}, {"callbacks": [tracer], "run_id": out_failed})
    assert tracer.flush(10)
    kept = {run_id for run_id in ids if is_sampled_by_id(str(run_id), 0.4)}
    assert 3 <= len(kept) <= 20
    runs = {run["id"]: run for run in store.runs()}
    assert set(runs) == {*ids, out_failed}
    for run_id in ids:
        run = runs[run_id]
        assert (run["status"], run["total_tokens_used"], run["total_cost"] > 0, len(store.spans(run_id))) == (
            "completed",
            120,
            True,
            4,
        )
        text = str(store.spans(run_id)) + str(store.messages(run_id)) + str(run)
        assert (CANARY in text) is (run_id in kept)
    assert runs[out_failed]["status"] == "failed"
    assert "burnt" in runs[out_failed]["error"]
    assert "why did it fail" in str(store.messages(out_failed))


def busy(tracer: Any) -> None:
    """Put the canary everywhere an application can put content."""
    from langchain.agents import create_agent

    config: Any = {
        "callbacks": [tracer],
        "tags": [f"{CANARY}-tag"],
        "metadata": {"note": f"{CANARY}-metadata", f"{CANARY}-key": 1, "user_id": "ada"},
    }
    ask = {"messages": [("system", f"{CANARY}-system"), ("human", f"{CANARY}-question")]}
    create_agent(
        StreamingChat(
            replies=[
                ai(f"{CANARY}-thought", calls=[call("find_recipe", "call_1", dish=f"{CANARY}-dish")]),
                ai(f"{CANARY}-answer"),
            ]
        ),
        [find_recipe],
        system_prompt=f"{CANARY}-instruction",
    ).invoke(ask, config)
    (
        Shelf()
        | RunnableLambda(lambda pages: f"{CANARY} {pages}")
        | StreamingChat(replies=[ai(f"{CANARY}-rag")])
        | StrOutputParser()
    ).invoke(f"{CANARY}-query", config)
    list(
        (
            ChatPromptTemplate.from_messages([("human", f"{CANARY} {{q}}")])
            | StreamingChat(replies=[ai(f"{CANARY} word word")])
        ).stream({"q": CANARY}, config)
    )
    with pytest.raises(ValueError, match=f"{CANARY}-error"):
        ScriptedChat(replies=[ValueError(f"{CANARY}-error")]).invoke(f"{CANARY}-doomed", config)
    with pytest.raises(RuntimeError, match="broken at 5150"):
        create_agent(ScriptedChat(replies=[ai(calls=[call("heat_oven", "call_1", degrees=5150)])]), [heat_oven]).invoke(
            ask, config
        )


def test_metadata_level_stores_no_content_anywhere(store: Store, database_url: str) -> None:
    tracer = chopsky_trace.SupabaseTracer(
        database_url, capture="metadata", metadata={"mine": f"{CANARY}-own"}, tags=[f"{CANARY}-own"]
    )
    busy(tracer)
    assert tracer.flush(10)
    dump = store.dump()
    for text in (CANARY, "Umami is the fifth taste", "kelp.md", "boil, season, serve", "broken at 5150"):
        assert text not in dump
    runs = store.runs()
    assert [run["status"] for run in runs] == ["completed", "completed", "completed", "failed", "failed"]
    assert [run["total_tokens_used"] for run in runs] == [240, 120, 120, None, 120]
    assert {run["user_id"] for run in runs} == {"ada"}
    # No hash that would let someone test a guess of the content.
    assert not any(span["prompt_bodies"] or span["output_bodies"] for span in store.spans())
    assert store.rows("select 1 from conversation_messages where body_id is not null") == []


MASKED = ["ada.lovelace@example.com", "4111 1111 1111 1111", "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH"]


def test_masked_level_replaces_the_documented_patterns(store: Store, database_url: str) -> None:
    tracer = chopsky_trace.SupabaseTracer(database_url, capture="masked")
    chain().invoke({"q": "I am " + ", ".join(MASKED) + " and hungry"}, {"callbacks": [tracer]})
    assert tracer.flush(10)
    dump = store.dump()
    for secret in MASKED:
        assert secret not in dump
    assert "and hungry" in dump
    assert store.run()["total_tokens_used"] == 120


def test_redact_replaces_before_anything_is_stored(store: Store, database_url: str) -> None:
    tracer = chopsky_trace.SupabaseTracer(database_url, redact=lambda text: text.replace(CANARY, "[gone]"))
    busy(tracer)
    assert tracer.flush(10)
    dump = store.dump()
    assert CANARY not in dump
    assert "[gone]-answer" in dump
    assert [run["status"] for run in store.runs()] == ["completed", "completed", "completed", "failed", "failed"]
    first = store.spans(store.runs()[0]["id"], kind="llm")[0]
    assert ("user", "[gone]-question", [], None) in store.prompt(first["id"])


def test_redact_that_raises_fails_closed(store: Store, database_url: str) -> None:
    def refuse(text: str) -> str:
        raise RuntimeError(f"cannot redact {text}")

    tracer = chopsky_trace.SupabaseTracer(database_url, redact=refuse)
    busy(tracer)
    assert tracer.flush(10)
    assert CANARY not in store.dump()
    assert [run["status"] for run in store.runs()] == ["completed", "completed", "completed", "failed", "failed"]
    assert [run["total_tokens_used"] for run in store.runs()] == [240, 120, 120, None, 120]
    assert re.search(r"redact", str(tracer.stats()))


@pytest.mark.parametrize("answer", [None, 7, b"bytes", ["list"]])
def test_redact_that_answers_nonsense_fails_closed(store: Store, database_url: str, answer: Any) -> None:
    tracer = chopsky_trace.SupabaseTracer(database_url, redact=lambda text: answer)
    chain().invoke({"q": CANARY}, {"callbacks": [tracer]})
    assert tracer.flush(10)
    assert CANARY not in store.dump()
    assert store.run()["status"] == "completed"


JOURNALLED = """
import chopsky_trace, test_lc_scope as t
how = {"raise": dict(redact=lambda text: 1 / 0), "replace": dict(redact=lambda text: text.replace(t.CANARY, "[gone]")),
       "metadata": dict(capture="metadata"), "none": {}}
tracer = chopsky_trace.SupabaseTracer(**how[HOW])
t.busy(tracer)
assert tracer.flush(0.2) is False
import os
os._exit(0)
"""


@pytest.mark.parametrize(("how", "found"), [("none", True), ("replace", False), ("raise", False), ("metadata", False)])
def test_redaction_happens_before_the_journal(tmp_path: Path, how: str, found: bool) -> None:
    done = run_script(
        f"HOW = {how!r}\n" + JOURNALLED,
        {"CHOPSKY_TRACE_DATABASE_URL": UNREACHABLE, "CHOPSKY_TRACE_DATA_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    assert len(content) > 2_000
    assert (CANARY.encode() in content) is found
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("variable", "gone", "left"),
    [("LANGSMITH_HIDE_INPUTS", "the question", "the answer"), ("LANGSMITH_HIDE_OUTPUTS", "the answer", "the question")],
)
def test_langsmiths_hiding_is_honoured(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch, variable: str, gone: str, left: str
) -> None:
    monkeypatch.setenv(variable, "true")
    tracer = chopsky_trace.SupabaseTracer(database_url)
    ScriptedChat(replies=[ai("the answer")]).invoke("the question", {"callbacks": [tracer]})
    assert tracer.flush(10)
    dump = store.dump()
    assert gone not in dump
    assert left in dump
    assert store.run()["total_tokens_used"] == 120


def test_a_calls_price_is_that_of_its_runs_tenant(
    store: Store, connection: Connection, tracer: Any, database_url: str
) -> None:
    """The model is called below the root that names the tenant; the price is computed from the call's end alone."""
    for tenant, rate in ((None, 1), ("acme", 5)):
        connection.execute(
            "insert into public.model_prices (tenant_id, model, input_mtok, output_mtok) values (%s, 'priced', %s, 0)",
            [tenant, rate],
        )
    usage = {"input_tokens": 1_000_000, "output_tokens": 1, "total_tokens": 1_000_001}
    for tenant in ("acme", "other"):
        answer = AIMessage("Soup.", usage_metadata=usage, response_metadata={"model_name": "priced"})
        model = GenericFakeChatModel(messages=iter([answer]))
        nested = RunnableLambda(lambda question, model=model: model.invoke(question))
        nested.invoke("What is for dinner?", {"callbacks": [tracer], "metadata": {"tenant_id": tenant}})
    assert tracer.flush(10)
    costs = connection.execute("select r.tenant_id, r.total_cost from public.conversation_runs r order by 1").fetchall()
    assert costs == [("acme", 5), ("other", 1)]
