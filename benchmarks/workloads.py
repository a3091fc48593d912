"""The work that is traced. Models, tools and retrievers take no time, so overhead is all there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnablePassthrough

from benchmarks import synthetic

Run = Callable[[int, RunnableConfig], Any]

QUESTIONS = [synthetic.text(300, f"question {number}") for number in range(64)]
SYSTEM = synthetic.text(1_000, "system")
CONCURRENT = 200
BATCH = 100


def question(number: int) -> str:
    """A question that no other number has."""
    return f"{number}: {QUESTIONS[number % len(QUESTIONS)]}"


def _chain(model: synthetic.InstantChat) -> Runnable[Any, str]:
    prompt = ChatPromptTemplate.from_messages([("system", SYSTEM), ("human", "{question}")])
    return prompt | model | StrOutputParser()


def chain() -> Run:
    """Prompt, model, parser."""
    runnable = _chain(synthetic.InstantChat())
    return lambda number, config: runnable.invoke({"question": question(number)}, config)


def concurrent() -> Run:
    """The chain, 200 times at once on one event loop."""
    runnable = _chain(synthetic.InstantChat())

    async def all_at_once(number: int, config: RunnableConfig) -> None:
        inputs = [{"question": question(number + each)} for each in range(CONCURRENT)]
        await asyncio.gather(*(runnable.ainvoke(each, config) for each in inputs))

    return lambda number, config: asyncio.run(all_at_once(number, config))


def stream() -> Run:
    """The chain, streamed in 50 chunks."""
    runnable = _chain(synthetic.StreamingChat())

    def drain(number: int, config: RunnableConfig) -> None:
        for _ in runnable.stream({"question": question(number)}, config):
            pass

    return drain


def agent(calls: int = 30) -> Run:
    """`create_agent`: 30 model calls with a tool call between each two, the history growing."""
    from langchain.agents import create_agent

    graph = create_agent(synthetic.ToolCallingChat(calls=calls), [synthetic.look_up], system_prompt=SYSTEM)

    def ask(number: int, config: RunnableConfig) -> Any:
        limited: RunnableConfig = {**config, "recursion_limit": 10 * calls + 20}
        return graph.invoke({"messages": [HumanMessage(question(number))]}, limited)

    return ask


def hand_loop(calls: int = 30) -> Run:
    """The same conversation as a loop written by hand under one root."""
    model = synthetic.ToolCallingChat(calls=calls)

    def loop(asked: str, config: RunnableConfig) -> str:
        messages: list[BaseMessage] = [SystemMessage(SYSTEM), HumanMessage(asked)]
        while True:
            reply = model.invoke(messages, config)
            messages.append(reply)
            if not reply.tool_calls:
                return str(reply.content)
            messages.extend(synthetic.look_up.invoke(call, config) for call in reply.tool_calls)

    runnable = RunnableLambda(loop).with_config(run_name="loop")
    return lambda number, config: runnable.invoke(question(number), config)


def rag() -> Run:
    """A retriever of four documents of 2 kB, then prompt, model, parser."""
    found = synthetic.InstantRetriever() | (lambda documents: "\n\n".join(each.page_content for each in documents))
    prompt = ChatPromptTemplate.from_messages([("system", SYSTEM + "\n{context}"), ("human", "{question}")])
    inputs = {"context": found, "question": RunnablePassthrough()}
    runnable = inputs | prompt | synthetic.InstantChat() | StrOutputParser()
    return lambda number, config: runnable.invoke(question(number), config)


def big_prompt() -> Run:
    """One model call with a prompt of 1 MB."""
    model = synthetic.InstantChat()
    prompts = [[SystemMessage(SYSTEM), HumanMessage(synthetic.text(1_000_000, f"big {each}"))] for each in range(4)]
    return lambda number, config: model.invoke(prompts[number % len(prompts)], config)


def image() -> Run:
    """One model call with an image of 2 MB in base64."""
    model = synthetic.InstantChat()
    prompts = []
    for each in range(4):
        picture = {"type": "image_url", "image_url": {"url": synthetic.image_url(2_000_000, f"image {each}")}}
        prompts.append([HumanMessage([{"type": "text", "text": "What is this?"}, picture])])
    return lambda number, config: model.invoke(prompts[number % len(prompts)], config)


def batch() -> Run:
    """`chain.batch` of 100 inputs: its work is done by threads of a pool."""
    runnable = _chain(synthetic.InstantChat())
    inputs = [{"question": question(number)} for number in range(BATCH)]
    return lambda number, config: runnable.batch(inputs, config)


WORKLOADS: dict[str, tuple[str, Callable[[], Run], int]] = {
    "chain": ("3-step chain, `invoke`", chain, 200),
    "async": ("200 concurrent `ainvoke`", concurrent, 1),
    "stream": ("streaming, 50 chunks", stream, 40),
    "agent": ("`create_agent`, 30 calls", agent, 3),
    "loop": ("loop by hand, 30 calls", hand_loop, 5),
    "rag": ("RAG, 4 documents of 2 kB", rag, 80),
    "prompt": ("1 MB prompt", big_prompt, 8),
    "image": ("2 MB image", image, 6),
    "batch": ("`batch` of 100", batch, 2),
}
"""Name: (title, maker, iterations of one measurement)."""

IN_POOL = frozenset({"batch"})
"""Workloads whose callbacks run in other threads than the caller's, which therefore has no CPU time to show."""
