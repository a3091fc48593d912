"""How many tokens each message takes: its call's own numbers, a share of what the input grew by, or an estimate."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from lc_support import ScriptedChat, Store, ai, call, find_recipe

LONG = "Tell me all about ramen. " * 8


def reasoned(text: str, given: int, got: int, reasoning: int, **fields: Any) -> AIMessage:
    answer = ai(text, tokens=(given, got), **fields)
    assert answer.usage_metadata is not None
    answer.usage_metadata["output_token_details"] = {"reasoning": reasoning}
    return answer


def sizes(store: Store) -> dict[str, tuple[int | None, str | None]]:
    """What each message says -> its size, and where that is from."""
    return {
        row["content"] or str(row["tool_calls"][0]["name"]): (row["token_count"], row["token_count_source"])
        for row in store.messages()
    }


def estimate(text: str) -> tuple[int, str]:
    return -(-len(text) // 4) + 3, "estimated"


@pytest.mark.parametrize("streamed", [False, True], ids=["invoke", "stream"])
def test_an_agent_loop_shares_what_its_input_grew_by(store: Store, tracer: Any, streamed: bool) -> None:
    from langchain.agents import create_agent

    model = ScriptedChat(
        replies=[
            reasoned("", 240, 50, 30, calls=[call("find_recipe", "c1", dish="ramen")]),
            ai("", tokens=(300, 10), calls=[call("find_recipe", "c2", dish="a"), call("find_recipe", "c3", dish="b")]),
            ai("Boil it.", tokens=(390, 7)),
        ]
    )
    agent = create_agent(model, [find_recipe], system_prompt="Be kind.")
    config: Any = {"callbacks": [tracer]}
    question = {"messages": [HumanMessage(LONG)]}
    if streamed:
        for _ in agent.stream(question, config):
            pass
    else:
        agent.invoke(question, config)
    assert tracer.flush(10)
    rows = store.messages()
    by_text = sizes(store)
    # The first call's input, by length.
    whole = len("Be kind.") + len(LONG)
    system = 240 * len("Be kind.") // whole
    assert by_text["Be kind."] == (system, "computed")
    assert by_text[LONG] == (240 - system, "computed")
    # 300 - (240 + 50 - 30): reasoning is not sent again.
    assert by_text["ramen: boil, season, serve"] == (40, "computed")
    # 390 - (300 + 10), for two results of one length.
    assert by_text["a: boil, season, serve"] == (40, "computed")
    assert by_text["b: boil, season, serve"] == (40, "computed")
    assert [(row["token_count"], row["token_count_source"]) for row in rows if row["role"] == "assistant"] == [
        (50, "reported"),
        (10, "reported"),
        (7, "reported"),
    ]
    assert all(row["cost"] == 0 for row in rows if row["role"] != "assistant")


def test_only_a_prompt_that_goes_on_from_the_call_before_shares(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("one", tokens=(40, 5)), ai("two", tokens=(60, 5)), ai("three", tokens=(10, 5))])
    other = ScriptedChat(replies=[ai("four", tokens=(90, 5))], model_name="gpt-4o")
    told: list[Any] = [HumanMessage("first")]

    def talk(_: Any) -> str:
        told.append(model.invoke(told))
        told.append(HumanMessage("and then?"))
        told.append(model.invoke(told))
        # Another prompt, another model, and another tool on the same prompt.
        model.invoke([HumanMessage("something else altogether")])
        told.append(HumanMessage("says another model"))
        told.append(other.invoke(told))
        told.append(HumanMessage("with a tool"))
        other.bind_tools([find_recipe]).invoke(told)
        return "done"

    RunnableLambda(talk).invoke("go", {"callbacks": [tracer]})
    assert tracer.flush(10)
    found = sizes(store)
    assert found["first"] == (40, "computed")
    assert found["and then?"] == (60 - 45, "computed")
    for text in ("something else altogether", "says another model", "with a tool"):
        assert found[text] == estimate(text)
    # Asked and answered without a model: by length, when the run ends.
    assert found["go"] == estimate("go")
    assert found["done"] == estimate("done")
    # Nothing of this moves the totals, which are the calls' own.
    run = store.run()
    assert (run["total_input_tokens"], run["total_output_tokens"]) == (40 + 60 + 10 + 90 + 90, 25)


def test_an_input_that_shrank_gives_nothing(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("one", tokens=(400, 5)), ai("two", tokens=(20, 5))])
    told: list[Any] = [HumanMessage("first")]

    def talk(_: Any) -> str:
        told.append(model.invoke(told))
        told.append(HumanMessage("second"))
        return str(model.invoke(told).content)

    RunnableLambda(talk).invoke("go", {"callbacks": [tracer]})
    assert tracer.flush(10)
    assert sizes(store)["second"] == (0, "computed")


def test_history_and_unknown_usage_are_estimated(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("I do not know", tokens=None)])
    before = [HumanMessage("what was"), AIMessage("it was so"), ToolMessage("a result", tool_call_id="c9")]
    with pytest.raises(RuntimeError):
        ScriptedChat(replies=[RuntimeError("no line")]).invoke([HumanMessage("does it fail?")], {"callbacks": [tracer]})
    model.invoke([SystemMessage("Be brief."), *before, HumanMessage("and now?")], {"callbacks": [tracer]})
    assert tracer.flush(10)
    found = sizes(store)
    for text in ("does it fail?", "Be brief.", "what was", "it was so", "a result", "and now?"):
        assert found[text] == estimate(text), text
    assert found["I do not know"] == (None, "unknown")


def test_the_next_turn_revises_nothing(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("one", tokens=(40, 5)), ai("two", tokens=(9_000, 5))])
    config: Any = {"callbacks": [tracer], "metadata": {"session_id": "s1"}}
    first = [SystemMessage("Be brief."), HumanMessage("a question")]
    answer = model.invoke(first, config)
    assert tracer.flush(10)
    known = sizes(store)
    model.invoke([*first, answer, HumanMessage("another question")], config)
    assert tracer.flush(10)
    now = sizes(store)
    assert {text: now[text] for text in known} == known
    # By its length among all that was sent: what the turn before took is another run's word.
    count, source = now["another question"]
    whole = sum(len(text) for text in ("Be brief.", "a question", "one", "another question"))
    assert source == "computed"
    assert count is not None
    # Rounded so that all shares make up the whole.
    assert abs(count - 9_000 * len("another question") / whole) <= 1


def test_a_cache_hit_costs_nothing_and_says_so(store: Store, tracer: Any) -> None:
    from langchain_core.caches import InMemoryCache

    model = ScriptedChat(replies=[ai("one", tokens=(40, 5))], cache=InMemoryCache())
    for _ in range(2):
        model.invoke([HumanMessage("first")], {"callbacks": [tracer]})
    assert tracer.flush(10)
    paid, free = store.spans(kind="llm")
    assert paid["cost"] > 0
    assert (free["cost"], free["cost_source"], free["price_rates"]) == (0, "computed", {"cache_hit": True})
    assert free["usage_details"]["cache_hit"] is True
    assert [row["cost"] for row in store.messages() if row["role"] == "assistant"] == [paid["cost"], 0]


def talk(tracer: Any, *steps: tuple[Any, list[Any]]) -> None:
    """One run that asks these models these prompts."""

    def ask(_: Any) -> str:
        for model, prompt in steps:
            model.invoke(prompt)
        return "done"

    RunnableLambda(ask).invoke("go", {"callbacks": [tracer]})
    assert tracer.flush(10)


def test_a_stream_that_repeats_its_usage_took_what_its_last_chunk_says(store: Store, tracer: Any) -> None:
    class Repeating(ScriptedChat):
        def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            for place, word in enumerate(("Boil ", "and ", "serve")):
                usage = {"input_tokens": 100, "output_tokens": place + 1, "total_tokens": 101 + place}
                last = place == 2
                message = AIMessageChunk(content=word, usage_metadata=usage, chunk_position="last" if last else None)  # type: ignore[arg-type]
                chunk = ChatGenerationChunk(message=message)
                # None where nobody listens.
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    asked = HumanMessage("question")

    def ask(_: Any) -> str:
        text = "".join(str(chunk.content) for chunk in Repeating(replies=[]).stream([asked]))
        ScriptedChat(replies=[ai("z", tokens=(150, 3))]).invoke([asked, AIMessage(text), HumanMessage("next")])
        return "done"

    RunnableLambda(ask).invoke("go", {"callbacks": [tracer]})
    assert tracer.flush(10)
    assert store.spans(kind="llm")[0]["total_tokens"] == 103
    assert sizes(store)["next"] == (150 - 103, "computed")


@pytest.mark.parametrize(
    ("got", "total", "visible"),
    [(210, 310, 10), (10, 310, 10), (410, 310, 10)],
    ids=["within", "beside", "counted twice"],
)
def test_reasoning_is_not_sent_again(store: Store, tracer: Any, got: int, total: int, visible: int) -> None:
    first = reasoned("one", 100, got, 200)
    assert first.usage_metadata is not None
    first.usage_metadata["total_tokens"] = total
    model = ScriptedChat(replies=[first, ai("two", tokens=(150, 3))], model_name="grok-3-mini")
    asked = HumanMessage("question")
    talk(tracer, (model, [asked]), (model, [asked, AIMessage("one"), HumanMessage("next")]))
    assert sizes(store)["next"] == (150 - 100 - visible, "computed")


def test_of_several_choices_nobody_knows_what_one_takes(store: Store, tracer: Any) -> None:
    class Two(ScriptedChat):
        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
            return ChatResult(generations=[ChatGeneration(message=self._next(messages)) for _ in range(2)])

    # As OpenAI's package does it: each choice has the usage of all.
    two = Two(replies=[ai("one", tokens=(100, 400)), ai("other", tokens=(100, 400))])
    asked = HumanMessage("question")
    rest = [asked, AIMessage("one"), HumanMessage("next")]
    talk(tracer, (two, [asked]), (ScriptedChat(replies=[ai("three", tokens=(350, 20))]), rest))
    assert sizes(store)["next"] == estimate("next")


def test_what_is_said_again_in_a_run_has_its_own_share(store: Store, tracer: Any) -> None:
    model = ScriptedChat(
        replies=[ai("one", tokens=(50, 5)), ai("two", tokens=(555, 5)), ai("three", tokens=(1_060, 5))]
    )
    told: list[Any] = [HumanMessage("question")]

    def ask(_: Any) -> str:
        for _ in range(3):
            told.extend([model.invoke(told), HumanMessage("continue")])
        return "done"

    RunnableLambda(ask).invoke("go", {"callbacks": [tracer]})
    assert tracer.flush(10)
    again = [row for row in store.messages() if row["content"] == "continue"]
    assert [(row["token_count"], row["token_count_source"]) for row in again] == [(500, "computed")] * 2


def test_a_first_prompt_is_shared_out_as_a_whole(store: Store, tracer: Any) -> None:
    prompt = [SystemMessage("Be kind. " * 5), HumanMessage("some context " * 40), HumanMessage("question")]
    ScriptedChat(replies=[ai("one", tokens=(5_000, 5))]).invoke(prompt, {"callbacks": [tracer]})
    assert tracer.flush(10)
    assert sum(row["token_count"] for row in store.messages() if row["role"] != "assistant") == 5_000


def test_a_refused_try_leaves_the_sizes_to_the_next(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ConnectionError("no line"), ai("one", tokens=(5_000, 5))])
    asked = [HumanMessage("question")]
    model.with_retry(wait_exponential_jitter=False).invoke(asked, {"callbacks": [tracer]})
    assert tracer.flush(10)
    assert sizes(store)["question"] == (5_000, "computed")
