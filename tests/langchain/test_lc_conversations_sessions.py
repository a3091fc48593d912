"""Each message once, over the turns of a session: histories sent again whole, in part, changed, by other processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage, trim_messages
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory
from lc_conversations import Talk, joined
from lc_listening import chat
from lc_support import ai, answer_last, call, find_recipe


def turns(numbers: range) -> list[str]:
    return [line for n in numbers for line in (f"user: question {n}", f"assistant: answer {n}")]


def told(numbers: range) -> list[list[str]]:
    return [turns(range(n, n + 1)) for n in numbers]


class Kept(BaseChatMessageHistory):
    """A history that gives out new objects each time, as one in a database does."""

    def __init__(self) -> None:
        self.kept: list[BaseMessage] = []

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # the base has an attribute
        return [message.model_copy(deep=True) for message in self.kept]

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.kept += messages

    def clear(self) -> None:
        self.kept = []


def test_an_agent_loop_of_thirty_calls(talk: Talk) -> None:
    from langchain.agents import create_agent

    steps = [
        ai(f"thinking {n}", calls=[call("find_recipe", f"call_{n}", dish=f"dish {n}")], tokens=None) for n in range(29)
    ]
    loop = create_agent(chat(*steps, "All of it."), [find_recipe], system_prompt="You are Chef Chopsky.")
    loop.invoke({"messages": [HumanMessage("everything")]}, {**talk.config("s"), "recursion_limit": 200})
    said = ["system: You are Chef Chopsky.", "user: everything"]
    for n in range(29):
        said += [f"assistant: thinking {n} ['find_recipe']", f"tool: dish {n}: boil, season, serve"]
    talk.prove([*said, "assistant: All of it."], ["user: everything", "assistant: All of it."])
    assert len(talk.given) == 30


def test_a_hand_loop_of_thirty_calls_without_a_root(talk: Talk) -> None:
    model = chat(*[ai("again", calls=[call("look", f"call_{n}")], tokens=None) for n in range(29)], "Done.")
    history: list[BaseMessage] = [HumanMessage("look")]
    for n in range(30):
        answer = model.invoke(history, talk.config("s"))
        history.append(answer)
        if answer.tool_calls:
            history.append(ToolMessage("nothing yet", tool_call_id=f"call_{n}"))
    # Thirty answers alike but for their calls' ids, each a message of its own.
    said = ["user: look"] + ["assistant: again ['look']", "tool: nothing yet"] * 29 + ["assistant: Done."]
    runs = [["user: look", "assistant: again"], *[["assistant: again"]] * 28, ["assistant: Done."]]
    talk.prove(said, *runs)


@pytest.mark.parametrize("way", ["objects", "copies"])
def test_ten_turns_each_in_a_process_of_its_own(talk: Talk, way: str) -> None:
    model = chat(*[f"answer {n}" for n in range(10)])
    history: list[BaseMessage] = []
    for n in range(10):
        talk.process()
        if way == "copies":
            history = [message.model_copy(deep=True) for message in history]
        history.append(HumanMessage(f"question {n}"))
        history.append(model.invoke(history, talk.config("s")))
    talk.prove(turns(range(10)), *told(range(10)))


TURN = """
from langchain_core.messages import AIMessage, HumanMessage
history = []
for n in range({n}):
    history += [HumanMessage(f"question {{n}}"), AIMessage(f"answer {{n}}")]
chat("answer {n}").invoke([*history, HumanMessage("question {n}")], talk.config("s"))
"""


def test_turns_in_real_processes(talk: Talk) -> None:
    talk.in_processes(*[TURN.format(n=n) for n in range(5)])
    talk.prove(turns(range(5)), *told(range(5)))


def test_dicts_with_new_ids_sent_again_to_an_agent(talk: Talk) -> None:
    from langchain.agents import create_agent

    replies: list[Any] = []
    for n in range(4):
        replies += [ai(calls=[call("find_recipe", f"call_{n}", dish=f"dish {n}")], tokens=None), f"answer {n}"]
    agent = create_agent(chat(*replies), [find_recipe], system_prompt="Be kind.")
    history: list[dict[str, Any]] = []
    for n in range(4):
        talk.process()
        history.append({"role": "user", "content": f"question {n}"})
        agent.invoke({"messages": history}, talk.config("s"))
        # An application keeps what was said only, or all of it in the provider's form.
        if n % 2:
            function = {"name": "find_recipe", "arguments": f'{{"dish": "dish {n}"}}'}
            tool_call = {"id": f"call_{n}", "type": "function", "function": function}
            history.append({"role": "assistant", "content": "", "tool_calls": [tool_call]})
            content = f"dish {n}: boil, season, serve"
            history.append({"role": "tool", "content": content, "tool_call_id": f"call_{n}", "name": "find_recipe"})
        history.append({"role": "assistant", "content": f"answer {n}"})
    said = ["system: Be kind."]
    for n in range(4):
        said += [f"user: question {n}", "assistant:  ['find_recipe']", f"tool: dish {n}: boil, season, serve"]
        said.append(f"assistant: answer {n}")
    talk.prove(said, *told(range(4)))


@pytest.mark.filterwarnings("ignore::langchain_core._api.deprecation.LangChainDeprecationWarning")
def test_message_history_with_a_new_process_each_turn(talk: Talk) -> None:
    kept = Kept()
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Be kind."), MessagesPlaceholder("past"), ("human", "{input}")]
    )
    chain = RunnableWithMessageHistory(
        prompt | chat(*[f"answer {n}" for n in range(4)]),
        lambda session_id: kept,
        input_messages_key="input",
        history_messages_key="past",
    )
    for n in range(4):
        talk.process()
        chain.invoke({"input": f"question {n}"}, {**talk.config(), "configurable": {"session_id": "s"}})
    talk.prove(["system: Be kind.", *turns(range(4))], *told(range(4)))


@pytest.mark.parametrize("window", [2, 3, 4])
def test_a_trimmed_window(talk: Talk, window: int) -> None:
    model = chat(answer_last)
    history: list[BaseMessage] = []
    for n in range(6):
        talk.process()
        history.append(HumanMessage(f"question {n}"))
        shortened = trim_messages(history, strategy="last", max_tokens=window, token_counter=len)
        history.append(model.invoke([SystemMessage("Be brief."), *shortened], talk.config("s")))
    said = ["system: Be brief."]
    for n in range(6):
        said += [f"user: question {n}", f"assistant: answer to question {n}"]
    talk.prove(said, *[[f"user: question {n}", f"assistant: answer to question {n}"] for n in range(6)])


def test_a_summary_in_place_of_old_turns(talk: Talk) -> None:
    model = chat(*[f"answer {n}" for n in range(3)], "They spoke of soup.", *[f"answer {n}" for n in range(3, 5)])
    history: list[BaseMessage] = []
    for n in range(3):
        history.append(HumanMessage(f"question {n}"))
        history.append(model.invoke(history, talk.config("s")))
    summary = model.invoke([*history, HumanMessage("Sum it up.")], talk.config("s"))
    history = [SystemMessage(f"So far: {summary.content}")]
    for n in range(3, 5):
        talk.process()
        history.append(HumanMessage(f"question {n}"))
        history.append(model.invoke(history, talk.config("s")))
    asked = ["user: Sum it up.", "assistant: They spoke of soup."]
    said = [*turns(range(3)), *asked, "system: So far: They spoke of soup.", *turns(range(3, 5))]
    talk.prove(said, *told(range(3)), asked, *told(range(3, 5)))


def test_summarization_inside_an_agent(talk: Talk) -> None:
    from langchain.agents import create_agent
    from langchain.agents.middleware import SummarizationMiddleware
    from langgraph.checkpoint.memory import InMemorySaver

    summarizer = chat("They spoke of soup.")
    agent = create_agent(
        chat(*[f"answer {n}" for n in range(4)]),
        middleware=[
            SummarizationMiddleware(
                model=summarizer, trigger=("messages", 5), keep=("messages", 1), summary_prompt="{messages}"
            )
        ],
        checkpointer=InMemorySaver(),
    )
    for n in range(4):
        talk.process()
        agent.invoke({"messages": [HumanMessage(f"question {n}")]}, talk.thread("s"))
    found = talk.flush() and talk.said()["s"]
    # What the summarizer was asked is in its own words: found, once, before its answer; the rest is known.
    asked = [line for line in found if "question 0" in line and line != "user: question 0"]
    summary = [line for line in found if line.endswith("They spoke of soup.") and line.startswith("user")]
    assert len(asked) == len(summary) == 1
    rest = ["user: question 2", asked[0], "assistant: They spoke of soup.", summary[0], "assistant: answer 2"]
    talk.prove([*turns(range(2)), *rest, *turns(range(3, 4))], *told(range(4)))


def test_a_system_prompt_that_changes(talk: Talk) -> None:
    model = chat(*[f"answer {n}" for n in range(6)])
    history: list[BaseMessage] = []
    for n in range(6):
        talk.process()
        history.append(HumanMessage(f"question {n}"))
        # Two of them return: they are the same message.
        history.append(model.invoke([SystemMessage(f"It is {8 + n % 4} o'clock."), *history], talk.config("s")))
    said: list[str] = []
    for n in range(6):
        said += [f"system: It is {8 + n} o'clock."] if n < 4 else []
        said += turns(range(n, n + 1))
    talk.prove(said, *told(range(6)))


def few_shot(talk: Talk, *asks: str) -> list[str]:
    """Asks, each in a process of its own; what is stored of the instructions."""
    pairs = [
        ("2 eggs?", "Omelette."),
        ("flour?", "Bread."),
        ("rice?", "Risotto."),
        ("milk?", "Cheese."),
        ("kelp?", "Dashi."),
    ]
    examples = [turn for ask, dish in pairs for turn in (("human", ask), ("ai", dish))]
    prompt = ChatPromptTemplate.from_messages([("system", "Name a dish."), *examples, ("human", "{ask}")])
    model = chat(answer_last)
    for ask in asks:
        talk.process()
        (prompt | model).invoke({"ask": ask}, talk.config("s"))
    return ["system: Name a dish.", *[line for ask, dish in pairs for line in (f"user: {ask}", f"assistant: {dish}")]]


def test_few_shot_examples(talk: Talk) -> None:
    asks = ("water?", "water?", "bones?")
    examples = few_shot(talk, *asks)
    said = [[f"user: {ask}", f"assistant: answer to {ask}"] for ask in asks]
    talk.prove([*examples, *joined(said)], *said)


def test_a_user_who_asks_what_an_example_asks(talk: Talk) -> None:
    asks = ("water?", "2 eggs?", "2 eggs?")
    examples = few_shot(talk, *asks)
    said = [[f"user: {ask}", f"assistant: answer to {ask}"] for ask in asks]
    # What is said twice is there twice; the example needs no row of its own beside it.
    talk.prove([*(line for line in examples if line != "user: 2 eggs?"), *joined(said)], *said)


@pytest.mark.parametrize("processes", [1, 3])
def test_yes_twice(talk: Talk, processes: int) -> None:
    model = chat("More salt?", "More salt?", "Done.")
    history: list[BaseMessage] = []
    for n, word in enumerate(("cook", "yes", "yes")):
        if n < processes:
            talk.process()
        history.append(HumanMessage(word))
        history.append(model.invoke(history, talk.config("s")))
    pairs = [
        ["user: cook", "assistant: More salt?"],
        ["user: yes", "assistant: More salt?"],
        ["user: yes", "assistant: Done."],
    ]
    talk.prove(joined(pairs), *pairs)
