"""Work that is told after its run has ended, or of a run that others began."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from langchain_core.callbacks import CallbackManager
from langchain_core.runnables import RunnableConfig, RunnableLambda
from lc_listening import chat
from lc_support import Store, ai

from chopsky_trace import SupabaseTracer


def left_behind(tracer: SupabaseTracer) -> RunnableConfig:
    """The config of a step whose run has ended: what a background task was handed."""
    kept: list[RunnableConfig] = []

    def step(question: str, config: RunnableConfig) -> Any:
        kept.append(config)
        return chat("It is warm.").invoke(question).content

    RunnableLambda(step).invoke("How is it outside?", {"callbacks": [tracer], "metadata": {"session_id": "s"}})
    return kept[0]


def test_what_late_work_is_asked_is_no_question_of_the_users(tracer: SupabaseTracer, store: Store) -> None:
    chat("Weather").invoke("A title for: How is it outside?", left_behind(tracer))
    assert tracer.flush(10)
    run = store.run()
    assert store.transcript() == [("user", "How is it outside?"), ("assistant", "It is warm.")]
    assert ("user", "A title for: How is it outside?", True) in store.said()
    assert (run["total_input_tokens"], run["total_output_tokens"]) == (200, 40)
    assert [span["parent_span_id"] for span in store.spans(kind="llm")] == [run["id"], run["id"]]


@pytest.mark.parametrize("parent", ["ended", "elsewhere"])
def test_late_work_of_a_run_that_is_sampled_out_is_kept_as_numbers(
    store: Store, database_url: str, parent: str
) -> None:
    tracer = SupabaseTracer(database_url, sample_rate=0.0)
    if parent == "ended":
        config = left_behind(tracer)
    else:
        manager = CallbackManager(handlers=[tracer], inheritable_handlers=[tracer], parent_run_id=uuid4())
        config = RunnableConfig(callbacks=manager)
    chat("a secret").invoke("tell me a secret", config)
    assert tracer.flush(10)
    run = store.run()
    assert run["total_input_tokens"] == 100 * len(store.spans(kind="llm"))
    assert "secret" not in store.dump()
    assert store.messages() == []


def test_an_end_without_a_start_is_sampled_too(store: Store, database_url: str) -> None:
    """A run that was forgotten, or began before this process looked."""
    from langchain_core.outputs import ChatGeneration, LLMResult

    tracer = SupabaseTracer(database_url, sample_rate=0.0)
    tracer.on_llm_end(LLMResult(generations=[[ChatGeneration(message=ai("a secret"))]]), run_id=uuid4())
    assert tracer.flush(10)
    assert store.span(kind="llm")["output_tokens"] == 20
    assert "secret" not in store.dump()
