"""Each message once, where a conversation goes back: regenerated, edited, retried, interrupted, resumed elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from lc_conversations import Talk, joined
from lc_listening import Chat, chat
from lc_support import ai


def pair(question: str, answer: str) -> list[str]:
    return [f"user: {question}", f"assistant: {answer}"]


def saying(model: Chat) -> Any:
    return lambda state: {"messages": [model.invoke(state["messages"])]}


def graph_of(model: Chat) -> Any:
    return (
        StateGraph(MessagesState)
        .add_node("say", saying(model))
        .add_edge(START, "say")
        .compile(checkpointer=InMemorySaver())
    )


def test_a_question_asked_again_is_a_message_again(talk: Talk) -> None:
    """Without ids nothing tells a regenerated answer from a question that is repeated: when in doubt, it is stored."""
    model = chat("Soup.", "Bread.", "Served.")
    history: list[BaseMessage] = [HumanMessage("what is there?")]
    for _ in range(2):
        talk.process()
        answer = model.invoke(history, talk.config("s"))
    model.invoke([*history, answer, HumanMessage("that one")], talk.config("s"))
    turns = [pair("what is there?", "Soup."), pair("what is there?", "Bread."), pair("that one", "Served.")]
    talk.prove(joined(turns), *turns)


def test_regenerated_from_a_checkpoint(talk: Talk) -> None:
    graph = graph_of(chat("Soup.", "Served.", "Bread."))
    graph.invoke({"messages": [HumanMessage("what is there?")]}, talk.thread("s"))
    graph.invoke({"messages": [HumanMessage("that one")]}, talk.thread("s"))
    first = next(
        state
        for state in graph.get_state_history(talk.thread("s"))
        if state.next == ("say",) and len(state.values["messages"]) == 1
    )
    talk.process()
    again = talk.thread("s")
    again["configurable"] |= first.config["configurable"]
    graph.invoke(None, again)
    turns = [pair("what is there?", "Soup."), pair("that one", "Served.")]
    talk.prove([*joined(turns), "assistant: Bread."], *turns, ["assistant: Bread."])


def test_an_edited_question(talk: Talk) -> None:
    model = chat("Soup.", "Boil it.", "Fry it.", "Done.")
    start: list[BaseMessage] = [HumanMessage("what?")]
    start.append(model.invoke(start, talk.config("s")))
    edited: list[BaseMessage] = []
    for question in ("and how?", "and how, in a pan?"):
        talk.process()
        edited = [*start, HumanMessage(question)]
        edited.append(model.invoke(edited, talk.config("s")))
    model.invoke([*edited, HumanMessage("done?")], talk.config("s"))
    turns = [
        pair("what?", "Soup."),
        pair("and how?", "Boil it."),
        pair("and how, in a pan?", "Fry it."),
        pair("done?", "Done."),
    ]
    talk.prove(joined(turns), *turns)


def test_an_edited_answer_in_the_history(talk: Talk) -> None:
    model = chat("Soup.", "Boil it.", "Done.")
    history: list[BaseMessage] = [HumanMessage("what?")]
    history.append(model.invoke(history, talk.config("s")))
    # What the application says was answered is new; it is in the prompt, and known from there.
    history[-1] = AIMessage("Soup, if you like.")
    for question in ("and how?", "done?"):
        talk.process()
        history.append(HumanMessage(question))
        history.append(model.invoke(history, talk.config("s")))
    turns = [pair("what?", "Soup."), pair("and how?", "Boil it."), pair("done?", "Done.")]
    talk.prove([*turns[0], "assistant: Soup, if you like.", *turns[1], *turns[2]], *turns)


def test_messages_removed_from_the_state(talk: Talk) -> None:
    model = chat(*[f"answer {n}" for n in range(4)])

    def forget(state: MessagesState) -> dict[str, Any]:
        return {"messages": [RemoveMessage(id=message.id) for message in state["messages"][:-2]]}

    graph = (
        StateGraph(MessagesState)
        .add_node("say", saying(model))
        .add_node("forget", forget)
        .add_edge(START, "say")
        .add_edge("say", "forget")
        .compile(checkpointer=InMemorySaver())
    )
    for n in range(4):
        talk.process()
        graph.invoke({"messages": [HumanMessage(f"question {n}")]}, talk.thread("s"))
    turns = [pair(f"question {n}", f"answer {n}") for n in range(4)]
    talk.prove(joined(turns), *turns)


def test_retries_of_one_call(talk: Talk) -> None:
    model = Chat(replies=[ConnectionError("down"), ConnectionError("down"), ai("Soup.")])
    model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False).invoke(
        [HumanMessage("what is there?")], talk.config("s")
    )
    talk.prove(pair("what is there?", "Soup."), pair("what is there?", "Soup."))
    assert len(talk.given) == 3


def test_a_question_that_was_never_answered(talk: Talk) -> None:
    model = Chat(replies=[ConnectionError("down"), ai("Soup.")])
    history: list[BaseMessage] = [HumanMessage("what is there?")]
    with pytest.raises(ConnectionError):
        model.invoke(history, talk.config("s"))
    talk.process()
    history.append(HumanMessage("hello?"))
    model.invoke(history, talk.config("s"))
    talk.prove(["user: what is there?", *pair("hello?", "Soup.")], ["user: what is there?"], pair("hello?", "Soup."))


def test_a_history_of_questions_alone(talk: Talk) -> None:
    model = chat("Soup.", "Bread.", "Cake.")
    turns = [pair("first?", "Soup."), pair("second?", "Bread."), pair("third?", "Cake.")]
    history: list[BaseMessage] = []
    for question, _ in turns:
        talk.process()
        history.append(HumanMessage(question.removeprefix("user: ")))
        model.invoke(history, talk.config("s"))
    talk.prove(joined(turns), *turns)


def test_several_messages_in_one_turn(talk: Talk) -> None:
    model = chat("Soup.", "Bread.")
    history: list[BaseMessage] = [HumanMessage("hi"), HumanMessage("what is there?")]
    history.append(model.invoke(history, talk.config("s")))
    talk.process()
    model.invoke([*history, HumanMessage("and"), HumanMessage("else?")], talk.config("s"))
    turns = [["user: hi", *pair("what is there?", "Soup.")], ["user: and", *pair("else?", "Bread.")]]
    talk.prove(joined(turns), *turns)


def test_fallbacks_of_one_call(talk: Talk) -> None:
    first, second = Chat(replies=[ConnectionError("down")]), chat("Soup.")
    first.with_fallbacks([second]).invoke([HumanMessage("what is there?")], talk.config("s"))
    talk.prove(pair("what is there?", "Soup."), pair("what is there?", "Soup."))


def test_yes_twice_in_one_run(talk: Talk) -> None:
    model = chat("More salt?", "More salt?", "Done.")

    def whole(words: list[str]) -> str:
        history: list[BaseMessage] = []
        for word in words:
            history.append(HumanMessage(word))
            history.append(model.invoke(history))
        return str(history[-1].content)

    RunnableLambda(whole).invoke(["cook", "yes", "yes"], talk.config("s"))
    said = [*pair("cook", "More salt?"), *pair("yes", "More salt?"), *pair("yes", "Done.")]
    talk.prove(said, ["user: cook", "user: yes", "user: yes", "assistant: Done."])
