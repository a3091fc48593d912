"""Each message once, where a graph is interrupted and goes on in another process."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from lc_conversations import Talk
from lc_listening import Chat, chat
from lc_support import ai, call


def pair(question: str, answer: str) -> list[str]:
    return [f"user: {question}", f"assistant: {answer}"]


def saying(model: Chat) -> Any:
    return lambda state: {"messages": [model.invoke(state["messages"])]}


def asking(model: Chat) -> Any:
    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [HumanMessage(interrupt("may I?"))]}

    return (
        StateGraph(MessagesState)
        .add_node("ask", ask)
        .add_node("tell", saying(model))
        .add_edge(START, "ask")
        .add_edge("ask", "tell")
        .compile(checkpointer=InMemorySaver())
    )


def test_interrupted_before_the_call_and_resumed_in_another_process(talk: Talk) -> None:
    graph = asking(chat("Cooked."))
    talk.process()
    graph.invoke({"messages": [HumanMessage("cook it")]}, talk.thread("s"))
    talk.process()
    graph.invoke(Command(resume="go on"), talk.thread("s"))
    talk.prove(["user: cook it", *pair("go on", "Cooked.")], ["user: cook it"], pair("go on", "Cooked."))


def test_a_node_that_calls_before_it_is_interrupted_calls_again(talk: Talk) -> None:
    model = chat("a draft", "a draft", "Sent.")

    def draft(state: MessagesState) -> dict[str, Any]:
        text = model.invoke(state["messages"])
        return {"messages": [text, HumanMessage(interrupt(text.content))]}

    graph = (
        StateGraph(MessagesState)
        .add_node("draft", draft)
        .add_node("send", saying(model))
        .add_edge(START, "draft")
        .add_edge("draft", "send")
        .compile(checkpointer=InMemorySaver())
    )
    graph.invoke({"messages": [HumanMessage("write")]}, talk.thread("s"))
    talk.process()
    graph.invoke(Command(resume="send it"), talk.thread("s"))
    # The draft was made twice, by two calls.
    said = ["user: write", "assistant: a draft", "user: send it", "assistant: a draft", "assistant: Sent."]
    assert talk.flush()
    assert sorted(talk.said()["s"]) == sorted(said)
    talk.prove(talk.said()["s"], ["user: write"], talk.transcripts()[1])


def test_a_tool_that_is_approved_in_another_process(talk: Talk) -> None:
    from langchain.agents import create_agent
    from langchain_core.tools import tool

    @tool
    def buy(thing: str) -> str:
        """Buy something, when it is approved."""
        return f"{thing}: {interrupt('may I?')}"

    agent = create_agent(
        chat(ai(calls=[call("buy", "b1", thing="kelp")], tokens=None), "Bought.", "Welcome."),
        [buy],
        system_prompt="You shop.",
        checkpointer=InMemorySaver(),
    )
    agent.invoke({"messages": [HumanMessage("kelp please")]}, talk.thread("s"))
    talk.process()
    agent.invoke(Command(resume="yes"), talk.thread("s"))
    talk.process()
    agent.invoke({"messages": [HumanMessage("thanks")]}, talk.thread("s"))
    assert talk.flush()
    resumed = talk.transcripts()[1]
    assert resumed[-1] == "assistant: Bought."
    talk.prove(
        ["system: You shop.", "user: kelp please", "assistant:  ['buy']", "user: yes", "tool: kelp: yes",
         "assistant: Bought.", *pair("thanks", "Welcome.")],
        ["user: kelp please"], ["user: yes", "assistant: Bought."], pair("thanks", "Welcome."),
    )  # fmt: skip


IMPORTS = """
from lc_support import ai, call
from langchain.agents import create_agent
"""
PROGRAM = """
import pickle, pathlib
from langgraph.checkpoint.memory import InMemorySaver
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.types import Command, interrupt
@tool
def buy(thing: str) -> str:
    "Buy something, when it is approved."
    return thing + ": " + interrupt("may I?")
kept = pathlib.Path(os.environ["SAVED"])
saver = InMemorySaver()
if kept.exists():
    storage, writes, blobs = pickle.loads(kept.read_bytes())
    for thread, spaces in storage.items():
        for space, points in spaces.items():
            saver.storage[thread][space].update(points)
    saver.writes.update(writes)
    saver.blobs.update(blobs)
agent = create_agent({model}, [buy], checkpointer=saver)
agent.invoke({given}, talk.thread("s"))
plain = {{
    thread: {{space: dict(points) for space, points in spaces.items()}} for thread, spaces in saver.storage.items()
}}
kept.write_bytes(pickle.dumps((plain, dict(saver.writes), dict(saver.blobs))))
"""


def test_interrupted_and_resumed_in_real_processes(talk: Talk, tmp_path: Any) -> None:
    saved = str(tmp_path / "checkpoints")
    steps = [
        (
            "chat(ai(calls=[call('buy', 'b1', thing='kelp')], tokens=None))",
            "{'messages': [HumanMessage('kelp please')]}",
        ),
        ("chat('Bought.')", "Command(resume='yes')"),
        ("chat('Welcome.')", "{'messages': [HumanMessage('thanks')]}"),
    ]
    talk.in_processes(*[PROGRAM.format(model=model, given=given) for model, given in steps], first=IMPORTS, SAVED=saved)
    talk.prove(
        ["user: kelp please", "assistant:  ['buy']", "user: yes", "tool: kelp: yes", "assistant: Bought.",
         *pair("thanks", "Welcome.")],
        ["user: kelp please"], ["user: yes", "assistant: Bought."], pair("thanks", "Welcome."),
    )  # fmt: skip
