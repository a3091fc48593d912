"""Each message once, in graphs: parallel branches, map and reduce, parallel tools, agents within agents."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send
from lc_conversations import Talk, joined
from lc_listening import Chat, chat
from lc_support import ai, answer_last, call


def saying(model: Chat, instruction: str | None = None) -> Callable[[MessagesState], dict[str, Any]]:
    """A node that asks the model with the state's messages, after an instruction of its own."""

    def node(state: MessagesState) -> dict[str, Any]:
        given = [SystemMessage(instruction)] if instruction else []
        return {"messages": [model.invoke([*given, *state["messages"]])]}

    return node


@pytest.mark.parametrize("turns", [1, 3])
def test_parallel_branches_over_one_history(talk: Talk, turns: int) -> None:
    graph = (
        StateGraph(MessagesState)
        .add_node("taste", saying(chat("salty"), "Taste it."))
        .add_node("look", saying(chat("green"), "Look at it."))
        .add_node("judge", saying(chat(answer_judge), "Judge."))
        .add_edge(START, "taste")
        .add_edge(START, "look")
        .add_edge(["taste", "look"], "judge")
        .add_edge("judge", END)
        .compile(checkpointer=InMemorySaver())
    )
    for n in range(turns):
        talk.process()
        graph.invoke({"messages": [HumanMessage(f"dish {n}?")]}, talk.thread("s"))
    assert talk.flush()
    expected = ["system: Judge.", "system: Look at it.", "system: Taste it."]
    for n in range(turns):
        expected += [f"user: dish {n}?", "assistant: salty", "assistant: green", f"assistant: {n} is good"]
    # Which branch is first is the graph's affair; that each message is there once is ours.
    said = talk.said()["s"]
    assert sorted(said) == sorted(expected)
    assert [line for line in said if line.startswith("user") or "good" in line] == [
        line for n in range(turns) for line in (f"user: dish {n}?", f"assistant: {n} is good")
    ]
    talk.prove(said, *[spoken(said, n) for n in range(turns)])


def answer_judge(messages: list[Any]) -> AIMessage:
    questions = [message for message in messages if message.type == "human"]
    return ai(f"{len(questions) - 1} is good")


def spoken(said: list[str], turn: int) -> list[str]:
    """What a root's output shows of one turn: all that its branches answered."""
    start = said.index(f"user: dish {turn}?")
    end = said.index(f"assistant: {turn} is good")
    return [line for line in said[start : end + 1] if not line.startswith("system")]


def test_a_runnable_parallel_over_one_prompt(talk: Talk) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Cook {dish}.")])
    branches = {name: chat(f"{name} it") | StrOutputParser() for name in ("boil", "fry", "bake")}
    (prompt | RunnableParallel(branches)).invoke({"dish": "eggs"}, talk.config("s"))
    assert talk.flush()
    said = talk.said()["s"]
    assert said[:2] == ["system: Cook eggs.", "user: eggs"]
    assert sorted(said) == sorted(
        ["user: eggs", "system: Cook eggs.", "assistant: boil it", "assistant: fry it", "assistant: bake it"]
    )
    talk.prove(said, talk.transcripts()[0])
    assert talk.transcripts()[0][0] == "user: eggs"


class Pages(TypedDict):
    pages: list[str]
    notes: Annotated[list[str], operator.add]
    summary: str


def test_map_and_reduce(talk: Talk) -> None:
    mapper, reducer = chat(answer_last), chat("all of it")

    def note(state: dict[str, Any]) -> dict[str, Any]:
        answer = mapper.invoke([SystemMessage("Note."), HumanMessage(state["page"])])
        return {"notes": [answer.content]}

    def reduce(state: Pages) -> dict[str, Any]:
        return {"summary": reducer.invoke([HumanMessage("\n".join(sorted(state["notes"])))]).content}

    graph = (
        StateGraph(Pages)  # type: ignore[type-var]
        .add_node("note", note)
        .add_node("reduce", reduce)
        .add_conditional_edges(START, lambda state: [Send("note", {"page": page}) for page in state["pages"]])
        .add_edge("note", "reduce")
        .compile()
    )
    # Two pages are alike: two calls, two answers, one question in one run.
    graph.invoke({"pages": ["soup", "bread", "soup"], "notes": [], "summary": ""}, talk.config("s"))
    assert talk.flush()
    said = talk.said()["s"]
    joined = "answer to bread\nanswer to soup\nanswer to soup"
    assert sorted(said) == sorted(
        [
            *["system: Note.", "user: soup", "user: bread", "assistant: answer to bread"],
            *["assistant: answer to soup"] * 2,
            *[f"user: {joined}", "assistant: all of it"],
        ]
    )
    assert said[0] == "system: Note."
    assert said[-2:] == [f"user: {joined}", "assistant: all of it"]
    transcript = talk.transcripts()[0]
    assert transcript[-1] == "assistant: all of it"
    talk.prove(said, transcript)


@tool
def weigh(grams: int) -> str:
    """Weigh something."""
    time.sleep(0.001 * (3 - grams))
    return f"{grams} grams"


def test_parallel_tool_calls_whose_results_come_out_of_order(talk: Talk) -> None:
    from langchain.agents import create_agent

    asked = ai(calls=[call("weigh", f"call_{n}", grams=n) for n in range(4)], tokens=None)
    agent = create_agent(chat(asked, "All weighed."), [weigh])
    agent.invoke({"messages": [HumanMessage("weigh all")]}, talk.config("s"))
    assert talk.flush()
    said = talk.said()["s"]
    assert sorted(said[2:-1]) == [f"tool: {n} grams" for n in range(4)]
    assert [*said[:2], said[-1]] == [
        "user: weigh all",
        "assistant:  ['weigh', 'weigh', 'weigh', 'weigh']",
        "assistant: All weighed.",
    ]
    talk.prove(said, ["user: weigh all", "assistant: All weighed."])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_tool_results_in_any_order_in_a_hand_loop(talk: Talk, order: tuple[int, ...]) -> None:
    model = chat(ai(calls=[call("weigh", f"call_{n}", grams=n) for n in range(3)], tokens=None), "Done.")

    def loop(question: str) -> str:
        history: list[Any] = [HumanMessage(question)]
        history.append(model.invoke(history))
        # All three the same text: only their calls tell them apart.
        history += [ToolMessage("heavy", tool_call_id=f"call_{n}") for n in order]
        return str(model.invoke(history).content)

    RunnableLambda(loop).invoke("weigh", talk.config("s"))
    talk.prove(
        ["user: weigh", "assistant:  ['weigh', 'weigh', 'weigh']", *["tool: heavy"] * 3, "assistant: Done."],
        ["user: weigh", "assistant: Done."],
    )
    kept = [row["tool_call_id"] for row in talk.sessions()["s"] if row["role"] == "tool"]
    assert kept == [f"call_{n}" for n in order]


def supervisor(names: dict[str, Any], model: Chat, saver: Any = None) -> Any:
    """A graph that hands over to agents by name, each a subgraph with the shared messages."""

    def choose(state: MessagesState) -> Command[Any]:
        answer = model.invoke([SystemMessage("Hand over."), *state["messages"]])
        if not answer.tool_calls:
            return Command(goto=END, update={"messages": [answer]})
        made = answer.tool_calls[0]
        told = ToolMessage(f"over to {made['name']}", tool_call_id=made["id"], name=made["name"])
        return Command(goto=made["name"], update={"messages": [answer, told]})

    graph = StateGraph(MessagesState).add_node("choose", choose, destinations=(*names, END)).add_edge(START, "choose")
    for name, agent in names.items():
        graph = graph.add_node(name, agent).add_edge(name, "choose")
    return graph.compile(checkpointer=saver)


def test_a_supervisor_with_agents_as_subgraphs(talk: Talk) -> None:
    from langchain.agents import create_agent

    cook = create_agent(
        chat(ai(calls=[call("weigh", "w1", grams=1)], tokens=None), "Cooked.", "Cooked again."),
        [weigh],
        system_prompt="You cook.",
    )
    waiter = create_agent(chat("Served."), [], system_prompt="You serve.")
    boss = chat(
        ai(calls=[call("cook", "h1")], tokens=None), ai(calls=[call("waiter", "h2")], tokens=None), "Enjoy.",
        ai(calls=[call("cook", "h3")], tokens=None), "Enjoy.",
    )  # fmt: skip
    graph = supervisor({"cook": cook, "waiter": waiter}, boss, InMemorySaver())
    for question in ("soup please", "more"):
        talk.process()
        graph.invoke({"messages": [HumanMessage(question)]}, talk.thread("s"))
    said = [
        *["system: Hand over.", "system: You cook.", "system: You serve."],
        *["user: soup please", "assistant:  ['cook']", "tool: over to cook"],
        *["assistant:  ['weigh']", "tool: 1 grams", "assistant: Cooked."],
        *["assistant:  ['waiter']", "tool: over to waiter", "assistant: Served.", "assistant: Enjoy."],
        *["user: more", "assistant:  ['cook']", "tool: over to cook", "assistant: Cooked again.", "assistant: Enjoy."],
    ]
    assert talk.flush()
    found = talk.said()["s"]
    assert [line for line in found if not line.startswith("system")] == said[3:]
    assert sorted(found) == sorted(said)
    answers = ["assistant: Cooked.", "assistant: Served.", "assistant: Enjoy."]
    talk.prove(found, ["user: soup please", *answers], ["user: more", "assistant: Cooked again.", "assistant: Enjoy."])


def test_agents_called_as_tools_keep_their_talk_to_themselves(talk: Talk) -> None:
    from langchain.agents import create_agent

    inner = create_agent(chat(answer_last), [], system_prompt="You taste.")

    @tool
    def taste(dish: str) -> str:
        """Have it tasted."""
        return str(inner.invoke({"messages": [HumanMessage(dish)]})["messages"][-1].content)

    outer = create_agent(
        chat(ai(calls=[call("taste", "t1", dish="soup")], tokens=None), "It is good."),
        [taste],
        system_prompt="You host.",
    )
    outer.invoke({"messages": [HumanMessage("is it good?")]}, talk.config("s"))
    assert talk.flush()
    found = talk.said()["s"]
    assert [line for line in found if not line.startswith("system")] == [
        *["user: is it good?", "assistant:  ['taste']", "user: soup", "assistant: answer to soup"],
        *["tool: answer to soup", "assistant: It is good."],
    ]
    assert sorted(line for line in found if line.startswith("system")) == ["system: You host.", "system: You taste."]
    talk.prove(found, ["user: is it good?", "assistant: It is good."])


class Outer(TypedDict):
    talk: Annotated[list[AnyMessage], operator.add]


def test_a_subgraph_with_a_state_of_its_own(talk: Talk) -> None:
    inner = StateGraph(MessagesState).add_node("say", saying(chat(answer_last))).add_edge(START, "say").compile()

    def bridge(state: Outer) -> dict[str, Any]:
        return {"talk": inner.invoke({"messages": state["talk"]})["messages"][-1:]}

    graph = StateGraph(Outer).add_node("bridge", bridge).add_edge(START, "bridge").compile(checkpointer=InMemorySaver())
    for word in ("one", "two"):
        talk.process()
        graph.invoke({"talk": [HumanMessage(word)]}, talk.thread("s"))
    pairs = [[f"user: {word}", f"assistant: answer to {word}"] for word in ("one", "two")]
    talk.prove(joined(pairs), *pairs)
