"""Each message once, however a model is asked and answers: text, structured output, streams, streams left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langgraph.checkpoint.memory import InMemorySaver
from lc_conversations import Talk, joined
from lc_listening import StreamChat, chat
from lc_support import WAYS, ScriptedLLM, ai, answer_last, call, drive, find_recipe
from pydantic import BaseModel, PrivateAttr


class Completion(ScriptedLLM):
    """A completion model that keeps what it was given, by run id."""

    _talk: Any = PrivateAttr(default=None)

    def _generate(self, prompts: list[str], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        (text,) = prompts
        asked = dict.fromkeys(("parts", "tool_calls", "tool_call_id", "name"))
        self._talk.given[run_manager.run_id] = [{"role": "user", "content": text, **asked}]
        return super()._generate(prompts, stop, run_manager, **kwargs)


def completing(talk: Talk) -> Completion:
    model = Completion()
    model._talk = talk
    return model


def test_string_prompts_and_completions(talk: Talk) -> None:
    model = completing(talk)
    for word in ("soup", "soup", "bread"):
        talk.process()
        model.invoke(word, talk.config("s"))
    turns = [[f"user: {word}", f"assistant: {word} indeed"] for word in ("soup", "soup", "bread")]
    talk.prove(joined(turns), *turns)


def test_a_growing_text_prompt(talk: Talk) -> None:
    """A hand-kept transcript in one string is another text each time: nothing of it can be known again."""
    chain = PromptTemplate.from_template("{past}\nUser: {input}\nCook:") | completing(talk) | StrOutputParser()
    past = ""
    said: list[list[str]] = []
    inner: list[list[str]] = []
    for word in ("soup", "bread"):
        talk.process()
        prompt = f"{past}\nUser: {word}\nCook:"
        answer = chain.invoke({"past": past, "input": word}, talk.config("s"))
        said.append([f"user: {word}", f"assistant: {answer}"])
        inner.append([f"user: {word}", f"user: {prompt}", f"assistant: {answer}"])
        past = prompt + answer
    talk.prove(joined(inner), *said)


class Dish(BaseModel):
    name: str
    minutes: int


@pytest.mark.parametrize("include_raw", [False, True])
def test_structured_output(talk: Talk, include_raw: bool) -> None:
    replies = [ai(calls=[call("Dish", f"d{n}", name="soup", minutes=n)], tokens=None) for n in range(2)]
    model = chat(*replies).with_structured_output(Dish, include_raw=include_raw)
    for word in ("a dish?", "another?"):
        talk.process()
        model.invoke(word, talk.config("s"))
    # The answer is an object, and no text: the message is the assistant's call that made it.
    said = ["user: a dish?", "assistant:  ['Dish']", "user: another?", "assistant:  ['Dish']"]
    talk.prove(said, ["user: a dish?", "assistant: "], ["user: another?", "assistant: "])


def test_an_agents_structured_response(talk: Talk) -> None:
    from langchain.agents import create_agent
    from langchain.agents.structured_output import ToolStrategy

    agent = create_agent(
        chat(ai(calls=[call("find_recipe", "f1", dish="soup")], tokens=None),
             ai(calls=[call("Dish", "d1", name="soup", minutes=20)], tokens=None)),
        [find_recipe], response_format=ToolStrategy(Dish), checkpointer=InMemorySaver(),
    )  # fmt: skip
    agent.invoke({"messages": [HumanMessage("a dish?")]}, talk.thread("s"))
    assert talk.flush()
    said = talk.said()["s"]
    assert said[:4] == [
        *["user: a dish?", "assistant:  ['find_recipe']", "tool: soup: boil, season, serve", "assistant:  ['Dish']"]
    ]
    assert len(said) == 5
    assert said[4].startswith("tool: Returning structured response")
    talk.prove(said, ["user: a dish?", "assistant: "])


def test_a_tool_whose_result_is_the_answer(talk: Talk) -> None:
    from langchain.agents import create_agent
    from langchain_core.tools import tool

    @tool(return_direct=True)
    def look_up(dish: str) -> str:
        """Look it up."""
        return f"{dish}: boil"

    agent = create_agent(chat(ai(calls=[call("look_up", "l1", dish="soup")], tokens=None)), [look_up])
    agent.invoke({"messages": [HumanMessage("soup?")]}, talk.config("s"))
    assert talk.flush()
    (transcript,) = talk.transcripts()
    assert transcript[0] == "user: soup?"
    talk.prove(["user: soup?", "assistant:  ['look_up']", "tool: soup: boil"], transcript)


def streamed(*answers: str) -> StreamChat:
    return StreamChat(replies=[ai(answer) for answer in answers])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("made_of", ["chain", "agent"])
def test_streamed_turns(talk: Talk, way: str, made_of: str) -> None:
    model = streamed("one two three", "four five six", "seven")
    history: list[Any] = []
    pairs = []
    for n, answer in enumerate(("one two three", "four five six", "seven")):
        talk.process()
        history.append(("human", f"question {n}"))
        if made_of == "chain":
            drive(ChatPromptTemplate.from_messages(history) | model | StrOutputParser(), {}, talk.config("s"), way)
        else:
            from langchain.agents import create_agent

            drive(create_agent(model, []), {"messages": list(history)}, talk.config("s"), way)
        history.append(("ai", answer))
        pairs.append([f"user: question {n}", f"assistant: {answer}"])
    talk.prove(joined(pairs), *pairs, seeds=2)


def test_streamed_blocks_and_tool_calls(talk: Talk) -> None:
    def piece(content: Any, **fields: Any) -> AIMessageChunk:
        return AIMessageChunk(content=content, **fields)

    def started(args: str, **fields: Any) -> list[Any]:
        return [{"type": "tool_call_chunk", "name": None, "id": None, "args": args, "index": 1, **fields}]

    model = StreamChat(
        replies=[],
        pieces=[
            [
                piece([{"type": "thinking", "thinking": "It ", "index": 0}]),
                piece([{"type": "thinking", "thinking": "is.", "index": 0}]),
                piece([{"type": "thinking", "signature": "Eq", "index": 0}]),
                piece([], tool_call_chunks=started('{"dish": ', name="find_recipe", id="f1")),
                piece([], tool_call_chunks=started('"soup"}'), chunk_position="last"),
            ],
            [
                piece([{"type": "text", "text": "Boil ", "index": 0}]),
                piece([{"type": "text", "text": "it.", "index": 0}], chunk_position="last"),
            ],
        ],
    )
    from langchain.agents import create_agent

    agent = create_agent(model, [find_recipe], checkpointer=InMemorySaver())
    for _ in agent.stream({"messages": [HumanMessage("soup")]}, talk.thread("s"), stream_mode="messages"):
        pass
    talk.prove(
        ["user: soup", "assistant:  ['find_recipe']", "tool: soup: boil, season, serve", "assistant: Boil it."],
        ["user: soup", "assistant: Boil it."],
    )


def test_a_model_stream_that_is_left(talk: Talk) -> None:
    model = streamed("one two three", "four")
    history: list[BaseMessage] = [HumanMessage("count")]
    pieces = model.stream(history, talk.config("s"))
    partial = next(pieces).content
    pieces.close()
    talk.process()
    # What was shown so far goes into the history of the next turn.
    from langchain_core.messages import AIMessage

    history += [AIMessage(partial), HumanMessage("go on")]
    model.invoke(history, talk.config("s"))
    assert talk.flush()
    said = talk.said()["s"]
    assert [said[0], *said[-2:]] == ["user: count", "user: go on", "assistant: four"]
    # Once, whether the call told what it had streamed or the next prompt did.
    assert said[1:-2] == ["assistant: one "]
    talk.prove(said, *talk.transcripts())


def test_a_chain_stream_that_is_left(talk: Talk) -> None:
    chain = (
        ChatPromptTemplate.from_messages([("human", "{ask}")]) | streamed("one two three", "four") | StrOutputParser()
    )

    async def leave() -> None:
        pieces = chain.astream({"ask": "count"}, talk.config("s"))
        async for _ in pieces:
            break
        await pieces.aclose()

    asyncio.run(leave())
    talk.process()
    chain.invoke({"ask": "go on"}, talk.config("s"))
    assert talk.flush()
    said = talk.said()["s"]
    assert said[0] == "user: count"
    assert said[-2:] == ["user: go on", "assistant: four"]
    assert len(said) == len(set(said)) <= 4
    talk.prove(said, *talk.transcripts())


def test_many_turns_at_once_in_one_process(talk: Talk) -> None:
    model = chat(answer_last)

    async def turns(name: str) -> None:
        history: list[BaseMessage] = []
        for n in range(5):
            history.append(HumanMessage(f"{name} {n}"))
            history.append(await model.ainvoke(history, talk.config(name)))

    async def everybody() -> None:
        await asyncio.gather(*[turns(f"s{n}") for n in range(5)])

    asyncio.run(everybody())
    assert talk.flush()
    said = {
        f"s{s}": [line for n in range(5) for line in (f"user: s{s} {n}", f"assistant: answer to s{s} {n}")]
        for s in range(5)
    }
    talk.prove(said, *talk.transcripts())
    assert len(talk.transcripts()) == 25
