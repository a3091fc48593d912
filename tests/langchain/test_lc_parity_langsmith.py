"""Beside LangSmith's real tracer: the same ids, parents and traces on both sides."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tracers.langchain import LangChainTracer
from langsmith import Client
from lc_langsmith import LangSmith, langsmith_server
from lc_support import WAYS, ScriptedChat, Store, StreamingChat, ai, answer_last, call, drive, find_recipe, run_script

KINDS = {
    "chain": {"chain", "agent"},
    "llm": {"llm"},
    "tool": {"tool"},
    "retriever": {"retriever"},
    "prompt": {"prompt"},
    "parser": {"parser"},
}


def assert_same(store: Store, langsmith: LangSmith) -> None:
    spans = store.spans()
    assert langsmith.runs
    assert {span["id"]: span["parent_span_id"] for span in spans} == langsmith.parents()
    assert {span["id"]: span["conversation_run_id"] for span in spans} == langsmith.traces()
    assert {span["id"]: span["name"] for span in spans} == {
        run_id: run["name"] for run_id, run in langsmith.runs.items()
    }
    for span in spans:
        assert span["kind"] in KINDS[langsmith.runs[span["id"]]["run_type"]]
    assert {run["id"] for run in store.runs()} == set(langsmith.traces().values())


@pytest.mark.parametrize("way", WAYS)
def test_agent_beside_langsmith(store: Store, tracer: Any, way: str) -> None:
    from langchain.agents import create_agent

    model = StreamingChat(replies=[ai(calls=[call("find_recipe", "call_1", dish="ramen")]), ai("Boil it.")])
    with langsmith_server() as langsmith:
        client = Client(api_url=langsmith.url, api_key="test")
        callbacks = [LangChainTracer(client=client, project_name="menu"), tracer]
        drive(create_agent(model, [find_recipe]), {"messages": [HumanMessage("ramen?")]}, {"callbacks": callbacks}, way)
        client.flush()
        assert tracer.flush(10)
        assert_same(store, langsmith)
        # The first frame may leave before the SDK has heard what the server takes.
        assert langsmith.encodings <= {"zstd", None}
        assert len(langsmith.runs) == 7
        client.cleanup()


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_batch_and_fallbacks_beside_langsmith(store: Store, tracer: Any, way: str) -> None:
    model = ScriptedChat(replies=[ConnectionError("refused")]).with_fallbacks([ScriptedChat(replies=[answer_last])])
    chain = ChatPromptTemplate.from_messages([("human", "{q}")]) | model | StrOutputParser()
    with langsmith_server() as langsmith:
        client = Client(api_url=langsmith.url, api_key="test")
        config: Any = {"callbacks": [tracer, LangChainTracer(client=client, project_name="menu")]}
        drive(chain, {"q": "alone"}, config, way)
        chain.batch([{"q": "a"}, {"q": "b"}, {"q": "c"}], config)
        client.flush()
        assert tracer.flush(10)
        assert len(store.runs()) == 4
        assert_same(store, langsmith)
        client.cleanup()


SWITCHED = """
import chopsky_trace, asyncio
from lc_support import *
from langchain.agents import create_agent
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.output_parsers import StrOutputParser
from langchain_core.messages import HumanMessage
from langchain_core.tracers.langchain import wait_for_all_tracers
def model():
    return StreamingChat(replies=[ai(calls=[call("find_recipe", "call_1", dish="ramen")]), ai("Boil it.")])
question = {"messages": [HumanMessage("ramen?")]}
for way in WAYS:
    with chopsky_trace.context(user_id="ada", session_id=way):
        drive(create_agent(model(), [find_recipe]), question, {}, way)
fallback = ScriptedChat(replies=[ConnectionError("refused")]).with_fallbacks([ScriptedChat(replies=[answer_last])])
(ChatPromptTemplate.from_messages([("human", "{q}")]) | fallback | StrOutputParser()).batch([{"q": "a"}, {"q": "b"}])
assert chopsky_trace.flush(15) is True
wait_for_all_tracers()
"""


def test_process_switch_beside_langsmith(store: Store, database_url: str, tmp_path: Any) -> None:
    with langsmith_server() as langsmith:
        done = run_script(
            SWITCHED,
            {
                "CHOPSKY_TRACE_ENABLED": "true",
                "CHOPSKY_TRACE_DATABASE_URL": database_url,
                "CHOPSKY_TRACE_DATA_DIR": str(tmp_path),
                "LANGSMITH_TRACING": "true",
                "LANGSMITH_ENDPOINT": langsmith.url,
                "LANGSMITH_API_KEY": "test",
                "LANGSMITH_PROJECT": "menu",
            },
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert_same(store, langsmith)
    runs = store.runs()
    assert len(runs) == 7
    assert {run["project"] for run in runs} == {"menu"}
    assert [(run["user_id"], run["session_id"]) for run in runs[:5]] == [("ada", way) for way in WAYS]
    assert [run["user_id"] for run in runs[5:]] == [None, None]
    assert {run["status"] for run in runs} == {"completed"}


ALONE = """
import chopsky_trace
from lc_support import *
from langchain_core.runnables import RunnableLambda
from langchain_core.prompts import ChatPromptTemplate
fallback = ScriptedChat(replies=[ConnectionError("refused")]).with_fallbacks([ScriptedChat(replies=[answer_last])])
chain = ChatPromptTemplate.from_messages([("human", "{q}")]) | fallback
chain.invoke({"q": "alone"})
tracer = chopsky_trace.SupabaseTracer()
chain.invoke({"q": "with an explicit tracer too"}, {"callbacks": [tracer]})
import threading
worker = threading.Thread(target=chain.invoke, args=({"q": "from a thread"},))
worker.start(); worker.join()
assert chopsky_trace.flush(15) is True
"""


def test_process_switch_alone_and_with_an_explicit_tracer(store: Store, database_url: str, tmp_path: Any) -> None:
    done = run_script(
        ALONE,
        {
            "CHOPSKY_TRACE_ENABLED": "true",
            "CHOPSKY_TRACE_DATABASE_URL": database_url,
            "CHOPSKY_TRACE_DATA_DIR": str(tmp_path),
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    runs = store.runs()
    assert [run["total_tokens_used"] for run in runs] == [120, 120, 120]
    for run in runs:
        ((kind, name, status, children),) = store.tree(run["id"])
        assert (kind, name, status) == ("chain", "RunnableSequence", "completed")
        assert [child[:3] for child in children] == [
            ("prompt", "ChatPromptTemplate", "completed"),
            ("chain", "RunnableWithFallbacks", "completed"),
        ]
        assert [child[2] for child in children[1][3]] == ["failed", "completed"]


def test_without_the_switch_nothing_is_recorded(store: Store, database_url: str, tmp_path: Any) -> None:
    done = run_script(
        "import chopsky_trace\nfrom lc_support import *\nScriptedChat(replies=[ai('x')]).invoke('q')\n"
        "chopsky_trace.flush(5)",
        {"CHOPSKY_TRACE_DATABASE_URL": database_url, "CHOPSKY_TRACE_DATA_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert store.runs() == []


def test_below_a_traceable_function_langsmiths_trace_is_the_run(store: Store, tracer: Any) -> None:
    """LangChain tells us only of the two chains; LangSmith knows that both are part of one trace."""
    from langsmith import traceable, tracing_context

    with langsmith_server() as langsmith:
        client = Client(api_url=langsmith.url, api_key="test")
        model = ScriptedChat(replies=[answer_last])

        @traceable(name="outside", client=client)
        def outside() -> None:
            model.invoke("first", {"callbacks": [tracer]})
            model.invoke("second", {"callbacks": [tracer]})

        with tracing_context(enabled=True, client=client):
            outside()
        client.flush()
        assert tracer.flush(10)
        client.cleanup()
        spans = store.spans()
        assert len(spans) == 2
        assert {span["id"] for span in spans} <= set(langsmith.runs)
        assert {span["id"]: span["parent_span_id"] for span in spans} == {
            run_id: parent for run_id, parent in langsmith.parents().items() if parent is not None
        }
        assert {span["conversation_run_id"] for span in spans} == set(langsmith.traces().values())
    run = store.run()
    assert (run["status"], run["total_tokens_used"]) == ("completed", 240)
