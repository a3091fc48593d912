"""Whose turn it was: what the user said and was answered where neither is simply a root's input and output."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ClearToolUsesEdit, ContextEditingMiddleware
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from lc_conversations import Talk, joined
from lc_listening import Chat, chat
from lc_support import Store, ai, call, drive


def pair(question: str, answer: str) -> list[str]:
    return [f"user: {question}", f"assistant: {answer}"]


def saying(model: Chat, *then: BaseMessage) -> Any:
    return lambda state: {"messages": [model.invoke([*state["messages"], *then])]}


def in_a_row(**nodes: Any) -> Any:
    graph = StateGraph(MessagesState)
    before = START
    for name, node in nodes.items():
        graph.add_node(name, node).add_edge(before, name)
        before = name
    return graph.compile(checkpointer=InMemorySaver())


def test_what_was_said_before_an_interrupt_was_an_answer_then(talk: Talk) -> None:
    """And is none of the run that goes on; what a step adds by itself stands where it was added."""

    def agreed(state: MessagesState) -> dict[str, Any]:
        interrupt("ok?")
        return {"messages": [AIMessage("Agreed.")]}

    plan = chat("First boil it.")
    graph = in_a_row(plan=saying(plan), agree=agreed, do=saying(chat("Cooked."), HumanMessage("(do it)")))
    talk.process()
    graph.invoke({"messages": [HumanMessage("cook it")]}, talk.thread("s"))
    talk.process()
    graph.invoke(Command(resume="yes"), talk.thread("s"))
    asked = pair("cook it", "First boil it.")
    done = ["user: yes", "assistant: Agreed.", "assistant: Cooked."]
    talk.prove([*asked, "user: (do it)", *done], asked, done)


def test_an_answer_that_no_call_gave_stands_before_what_was_said_after_it(talk: Talk) -> None:
    def greet(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("One moment.")]}

    graph = in_a_row(greet=greet, say=saying(chat("Soup.", "Bread."), HumanMessage("(look)")))
    said: list[str] = []
    turns: list[list[str]] = []
    for question, answer in (("what is there?", "Soup."), ("and more?", "Bread.")):
        talk.process()
        graph.invoke({"messages": [HumanMessage(question)]}, talk.thread("s"))
        turns.append([f"user: {question}", "assistant: One moment.", f"assistant: {answer}"])
    said = [*turns[0][:2], "user: (look)", turns[0][2], turns[1][0], "user: (look)", *turns[1][1:]]
    talk.prove(said, *turns)


@pytest.mark.parametrize(
    ("asked", "name"), [("question", "verdict"), ("text", "summary"), ("message", "message"), ("text", "pages")]
)
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_what_only_passes_through_is_no_answer(talk: Talk, asked: str, name: str, way: str) -> None:
    model = RunnableLambda(lambda given: given[asked]) | chat("Boil it.")
    values = {"verdict": model, "summary": model | StrOutputParser(), "pages": RunnableLambda(lambda _: [1, 2])}
    values["message"] = values["summary"]
    drive(RunnablePassthrough.assign(**{name: values[name]}), {asked: "how?"}, talk.config("s"), way)
    turn = ["user: how?"] if name == "pages" else pair("how?", "Boil it.")
    talk.prove(turn, turn)


def test_the_state_that_a_resumed_graph_gives_back_is_no_answer(talk: Talk) -> None:
    class Dish(TypedDict):
        dish: str
        times: int

    def ask(state: Dish) -> dict[str, Any]:
        return {"times": interrupt("how often?")}

    graph = StateGraph(Dish).add_node("ask", ask).add_edge(START, "ask").compile(checkpointer=InMemorySaver())
    graph.invoke({"dish": "soup", "times": 0}, talk.thread("s"))
    talk.process()
    graph.invoke(Command(resume=2), talk.thread("s"))
    talk.prove(["user: soup"], ["user: soup"], [])


def test_two_calls_that_answer_alike(talk: Talk) -> None:
    """Both where both are in the output, and the last where only one is."""
    graph = in_a_row(first=saying(chat("Fine.")), second=saying(chat("Fine.")))
    graph.invoke({"messages": [HumanMessage("good?")]}, talk.thread("s"))

    def checked(question: str) -> str:
        chat("Fine.").invoke("Is that polite?")
        return chat("Fine.").invoke(question).content

    RunnableLambda(checked).invoke("sure?", talk.config("t"))
    both = ["user: good?", "assistant: Fine.", "assistant: Fine."]
    one = ["user: sure?", "user: Is that polite?", "assistant: Fine.", "assistant: Fine."]
    talk.prove({"s": both, "t": one}, both, pair("sure?", "Fine."))
    shown = talk.rows("select is_internal from conversation_messages where session_id = 't' order by sequence")
    assert [row["is_internal"] for row in shown] == [False, True, True, False]


def test_a_question_that_was_edited_in_a_checkpoint(talk: Talk) -> None:
    graph = in_a_row(say=saying(chat("Soup.", "Bread.")))
    graph.invoke({"messages": [HumanMessage("what is there?")]}, talk.thread("s"))
    before = next(s for s in graph.get_state_history(talk.thread("s")) if s.next == ("say",))
    edited = HumanMessage("what else is there?", id=before.values["messages"][-1].id)
    talk.process()
    forked = graph.update_state({**talk.thread("s"), **before.config}, {"messages": [edited]})
    graph.invoke(None, {**talk.thread("s"), **forked})
    turns = [pair("what is there?", "Soup."), pair("what else is there?", "Bread.")]
    talk.prove(joined(turns), *turns)


def test_a_prompt_that_ends_with_the_beginning_of_its_answer(talk: Talk) -> None:
    chat('"soup"}').invoke([HumanMessage("as JSON?"), AIMessage('{"dish": ')], talk.config("s"))
    said = ["user: as JSON?", 'assistant: {"dish": ', 'assistant: "soup"}']
    talk.prove(said, ["user: as JSON?", 'assistant: "soup"}'])


def test_several_questions_answered_at_once(talk: Talk) -> None:
    def ask(key: str) -> Any:
        return lambda state: {"messages": [HumanMessage(interrupt(key))]}

    graph = (
        StateGraph(MessagesState)
        .add_node("first", ask("first name?"))
        .add_node("last", ask("last name?"))
        .add_node("nick", ask("nickname?"))
        .add_node("greet", saying(chat("Hello.")))
        .add_edge(["first", "last", "nick"], "greet")
    )
    for name in ("first", "last", "nick"):
        graph.add_edge(START, name)
    compiled = graph.compile(checkpointer=InMemorySaver())
    talk.process()
    paused = compiled.invoke({"messages": [HumanMessage("sign me up")]}, talk.thread("s"))
    answers = dict(zip([one.id for one in paused["__interrupt__"]], ("Ann", "Lee", "Ann"), strict=True))
    talk.process()
    compiled.invoke(Command(resume=answers), talk.thread("s"))
    resumed = ["user: Ann", "user: Lee", "user: Ann", "assistant: Hello."]
    talk.prove(["user: sign me up", *resumed], ["user: sign me up"], resumed)


@tool
def note(text: str, runtime: ToolRuntime) -> Command[Any]:
    """Keep a note."""
    return Command(update={"messages": [ToolMessage(f"noted: {text}", tool_call_id=runtime.tool_call_id)]})


@tool
def look(shelf: int) -> str:
    """Look at a shelf."""
    return f"shelf {shelf} is empty"


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_tool_that_returns_a_command(talk: Talk, store: Store) -> None:
    """The graph names its message afterwards: that is the one that the conversation has."""
    model = Chat(replies=[ai(calls=[call("note", "n1", text="salt"), call("look", "l1", shelf=1)]), ai("Done.")])
    create_agent(model, [note, look]).invoke({"messages": [HumanMessage("note it")]}, talk.config("s"))
    calls = ["assistant:  ['note', 'look']", "tool: noted: salt", "tool: shelf 1 is empty"]
    talk.prove(["user: note it", *calls, "assistant: Done."], pair("note it", "Done."))
    told = store.span("tool", "note")["outputs"]["update"]["messages"]
    assert [(message["content"], message["tool_call_id"]) for message in told] == [("noted: salt", "n1")]


def test_results_that_are_cleared_stand_where_they_were(talk: Talk) -> None:
    model = Chat(replies=[*(ai(calls=[call("look", f"l{n}", shelf=n)]) for n in range(3)), ai("Nothing.")])
    clearing = ContextEditingMiddleware(edits=[ClearToolUsesEdit(trigger=10, keep=1)])
    agent = create_agent(model, [look], middleware=[clearing])
    agent.invoke({"messages": [HumanMessage("look around")]}, talk.config("s"))
    asks = "assistant:  ['look']"
    looks = [asks, "tool: shelf 0 is empty", asks, "tool: [cleared]", "tool: shelf 1 is empty"]
    looks += [asks, "tool: [cleared]", "tool: shelf 2 is empty"]
    talk.prove(["user: look around", *looks, "assistant: Nothing."], pair("look around", "Nothing."))


def test_a_run_that_answers_its_own_graph_was_not_interrupted(talk: Talk, store: Store) -> None:
    """A simulated user, say: it is the graph that stopped, and went on."""

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [HumanMessage(interrupt("what?"))]}

    graph = in_a_row(ask=ask, say=saying(chat("Cooked.")))

    def simulated(question: str) -> str:
        inner: Any = {"configurable": {"thread_id": "inner"}}
        graph.invoke({"messages": [HumanMessage(question)]}, inner)
        return graph.invoke(Command(resume="soup"), inner)["messages"][-1].content

    RunnableLambda(simulated).invoke("cook", talk.config("s"))
    talk.prove(["user: cook", "user: soup", "assistant: Cooked."], pair("cook", "Cooked."))
    assert store.run()["status"] == "completed"
    graphs = [span["status"] for span in store.spans() if span["name"] == "LangGraph"]
    assert graphs == ["interrupted", "completed"]


def test_a_graph_that_is_drained_is_to_be_resumed(talk: Talk, store: Store) -> None:
    """Stopped between two steps, when its process was told to end."""
    from langgraph.errors import GraphDrained
    from langgraph.runtime import RunControl

    control = RunControl()

    def stopping(state: MessagesState) -> dict[str, Any]:
        control.request_drain("the process ends")
        return {"messages": [chat("First boil it.").invoke(state["messages"])]}

    graph = in_a_row(plan=stopping, do=saying(chat("Cooked."), HumanMessage("(do it)")))
    with pytest.raises(GraphDrained):
        graph.invoke({"messages": [HumanMessage("cook it")]}, talk.thread("s"), control=control)
    talk.process()
    graph.invoke(None, talk.thread("s"))
    said = ["user: cook it", "assistant: First boil it.", "user: (do it)", "assistant: Cooked."]
    talk.prove(said, said[:1], said[3:])
    assert [run["status"] for run in store.runs()] == ["interrupted", "completed"]


def test_an_agent_that_stops_within_a_run_interrupts_it(talk: Talk, store: Store) -> None:
    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [HumanMessage(interrupt("what?"))]}

    graph = in_a_row(ask=ask)
    step = RunnableLambda(lambda text: {"messages": [HumanMessage(text)]}) | graph
    (step | RunnableLambda(lambda state: "Cook what?")).invoke("cook", talk.thread("s"))
    talk.prove(pair("cook", "Cook what?"), pair("cook", "Cook what?"))
    assert store.run()["status"] == "interrupted"


def test_where_nobody_knows_the_question_the_first_call_was_asked_it(talk: Talk) -> None:
    """And not every prompt that a step makes; a conversation that goes on from there is one."""

    class Order(TypedDict, total=False):
        customer: str
        words: str
        dish: str

    cook = chat("Which soup?", "Cooked.")

    def talk_about(order: Order) -> Order:
        asked: list[BaseMessage] = [HumanMessage(order["words"])]
        asked += [cook.invoke(asked), HumanMessage("the hot one")]
        chat("hot").invoke("A word for: the hot one")
        return {"dish": cook.invoke(asked).content}

    graph = StateGraph(Order).add_node("talk", talk_about).add_edge(START, "talk").compile()
    graph.invoke({"customer": "Ann", "words": "a soup"}, talk.config("s"))
    shown = ["user: a soup", "user: the hot one", "assistant: Cooked."]
    aside = ["user: A word for: the hot one", "assistant: hot"]
    talk.prove([shown[0], "assistant: Which soup?", *aside, *shown[1:]], shown)


@pytest.mark.parametrize("given", [[[[0, 0], [1, 1]]], {"messages": [[{"a": 1}, {"b": 2}]]}, [[{}, "x"], [[], "y"]]])
def test_lists_that_are_no_messages(talk: Talk, store: Store, given: Any) -> None:
    RunnableLambda(lambda value: len(value)).invoke(given, talk.config("s"))
    assert talk.flush()
    assert store.span()["inputs"] == given


def test_a_call_without_content_in_openais_form(talk: Talk) -> None:
    """As its API has it: null beside the tool calls."""
    history = [
        {"role": "user", "content": "what is on shelf 1?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "l1", "type": "function", "function": {"name": "look", "arguments": '{"shelf": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "l1", "content": "salt"},
        {"role": "assistant", "content": "Salt."},
        {"role": "user", "content": "and on 2?"},
    ]

    def say(state: MessagesState) -> dict[str, Any]:
        chat("(checked)").invoke("Is this polite?")
        return {"messages": [chat("Pepper.").invoke(state["messages"])]}

    in_a_row(say=say).invoke({"messages": history}, talk.thread("s"))
    assert talk.flush()
    assert talk.transcripts()[0][-2:] == pair("and on 2?", "Pepper.")
    assert "user: Is this polite?" not in talk.transcripts()[0]
