"""What a process remembers does not grow with what passes through it, and forgetting changes nothing that is stored."""

from __future__ import annotations

from time import monotonic_ns
from typing import Any
from uuid import uuid4

import pytest
from benchmarks import held
from benchmarks.soak import Soak
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from lc_support import ScriptedChat, Store, ai

from chopsky_trace import SupabaseTracer
from chopsky_trace.enrich import columns, secrets
from chopsky_trace.enrich.pricing import price_list
from chopsky_trace.sources.langchain import runs, starts
from chopsky_trace.sources.langchain import tracer as tracers
from chopsky_trace.telling import bodies

BOUNDS = {
    "Runs.ended": runs.REMEMBERED_ENDS + runs.ENDS_AT_ONCE,
    "Snapshot.recent": bodies.MAX_RECENT,
    "PriceList._found": price_list.MAX_MODELS,
    "Layout._plans": columns.MAX_PLANS,
    "enrich.secrets._verdicts": secrets.MAX_VERDICTS,
    "enrich.secrets._open_shapes": secrets.MAX_VERDICTS,
}
"""Memory of what came before, and the most that is in it. Nothing else may grow."""
SLACK = 8
"""Not every run of a kind need be the last one's length; each kind has 20 runs a round."""
ROUND = 400


@pytest.fixture(autouse=True)
def no_earlier_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test left under way, under the same URL, is not what is looked at."""
    monkeypatch.setattr(tracers, "_runs", {})


def test_nothing_grows_with_the_runs(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended, streamed, left, failed, and never ended; no two with the same user, thread, model or names."""
    monkeypatch.setenv("CHOPSKY_TRACE_MAX_OPEN_ROOTS", "40")
    tracer = SupabaseTracer(database_url)
    soak = Soak(tracer)
    looks: list[held.Held] = []
    for _ in range(2):
        soak.run(ROUND)
        assert tracer.flush(60)
        looks.append(held.look())
    first, second = looks
    assert tracer.stats()["losses"] == {}
    assert second.objects["OpenSpan"] >= 10, "runs that never ended are held, and seen"
    remembered = {name: cache.cache_info().maxsize for name, cache in held.caches()}
    bounds = {name: most for name, most in remembered.items() if most is not None} | BOUNDS
    grown = {
        name: (first.lengths.get(name, 0), length)
        for name, length in second.lengths.items()
        if length > first.lengths.get(name, 0) + SLACK
    }
    assert {name: lengths for name, lengths in grown.items() if lengths[1] > bounds.get(name, 0)} == {}
    assert {n: c for n, c in second.objects.items() if c > first.objects[n] + SLACK} == {}
    # What has no bound takes no argument either: it has one answer.
    assert [name for name, most in remembered.items() if most is None and second.lengths[name] > 20] == []


def agent(calls: int) -> RunnableLambda[str, str]:
    """A loop under one root: each call is sent all that was said before."""
    model = ScriptedChat(replies=[ai(f"Course {number}.") for number in range(calls)])

    def loop(question: str, config: RunnableConfig) -> str:
        messages: list[BaseMessage] = [SystemMessage("You are a cook.")]
        for number in range(calls):
            messages.append(HumanMessage(f"{question} {number}?"))
            answer = model.invoke(messages, config)
            assert isinstance(answer, AIMessage)
            messages.append(answer)
        return str(messages[-1].content)

    return RunnableLambda(loop)


def said(store: Store, run_id: Any) -> tuple[list[Any], list[Any]]:
    """A run's messages, and each call's exact prompt."""
    messages = store.rows(
        "select role, content, is_internal, sequence from conversation_messages"
        " where conversation_run_id = %s order by sequence",
        run_id,
    )
    prompts = store.rows(
        "select s.started_at, p.position, p.role, p.content from conversation_spans s"
        " cross join lateral conversation_prompt(s.id) p where s.conversation_run_id = %s and s.kind = 'llm'"
        " order by 1, 2",
        run_id,
    )
    return messages, [tuple(row.values())[1:] for row in prompts]


def test_a_run_that_goes_on_and_on_is_remembered_within_bounds(
    tracer: SupabaseTracer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is stored of it is what is stored of a run that is remembered whole."""
    found: list[tuple[list[Any], list[Any]]] = []
    for most in (starts.MAX_REMEMBERED, 150):
        monkeypatch.setattr(starts, "MAX_REMEMBERED", most)
        run_id = uuid4()
        agent(40).invoke("What is next", {"callbacks": [tracer], "run_id": run_id})
        assert tracer.flush(60)
        found.append(said(store, run_id))
    whole, renewed = found
    assert len(whole[0]) == 82
    assert len(whole[1]) == 40 * 41
    assert renewed[1] == whole[1]
    assert renewed[0] == whole[0]


def test_a_run_without_news_is_forgotten_and_its_late_end_still_counts(tracer: SupabaseTracer, store: Store) -> None:
    run_id, call_id = uuid4(), uuid4()
    tracer.on_chain_start({}, {"question": "?"}, run_id=run_id, name="slow")
    tracer.on_chat_model_start({}, [[HumanMessage("?")]], run_id=call_id, parent_run_id=run_id, name="model")
    recorder = tracer.recorder()
    assert recorder is not None
    remembered = recorder.runs
    now, hour = monotonic_ns(), 3_600_000_000_000
    remembered.forget_quiet(now)
    remembered.forget_quiet(now + hour - 1)
    assert list(remembered.roots) == [run_id.hex]
    remembered.forget_quiet(now + hour)
    assert not remembered.roots
    assert not remembered.open
    assert not remembered.waiting
    tracer.on_chain_end("Soup.", run_id=call_id)
    tracer.on_chain_end({"answer": "Soup."}, run_id=run_id)
    assert tracer.flush(60)
    rows = store.rows("select id, name, conversation_run_id, status from conversation_spans order by name")
    assert [tuple(row.values()) for row in rows] == [
        (call_id, "model", run_id, "completed"),
        (run_id, "slow", run_id, "completed"),
    ]


def test_spans_that_never_end_under_one_root(
    tracer: SupabaseTracer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "MAX_OPEN_SPANS", 20)
    run_id, tools = uuid4(), [uuid4() for _ in range(100)]
    tracer.on_chain_start({}, {"question": "?"}, run_id=run_id, name="root")
    recorder = tracer.recorder()
    assert recorder is not None
    for tool in tools:
        tracer.on_tool_start({}, "?", run_id=tool, parent_run_id=run_id, name="tool")
        assert len(recorder.runs.open) <= 20
    assert run_id.int in recorder.runs.open
    for tool in tools:
        tracer.on_tool_end("done", run_id=tool)
    tracer.on_chain_end({}, run_id=run_id)
    assert tracer.flush(60)
    found = store.rows("select conversation_run_id, status, count(*) from conversation_spans group by 1, 2")
    assert [tuple(row.values()) for row in found] == [(run_id, "completed", 101)]
    assert not recorder.runs.open
    assert not recorder.runs.roots
