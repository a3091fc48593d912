"""Runs of every kind through one tracer, and what the process that does it holds in memory meanwhile.

python -m benchmarks.soak URL RUNS [traced]     prints a JSON object per look
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

from langchain_core.callbacks import CallbackManager
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig

from benchmarks import held
from chopsky_trace import SupabaseTracer

LOOKS = 10
USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
ONE_EVENT_LOOP = 100
"""Runs of one asyncio.run."""


class Cook(BaseChatModel):
    """Answers at once; fails where it is asked to."""

    model: str

    @property
    def _llm_type(self) -> str:
        return "cook"

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_type": "chat", "ls_model_name": self.model}

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        asked = str(messages[-1].content)
        if asked.startswith("fail"):
            raise ValueError(f"No soup for {asked}")
        answer = AIMessage(f"Soup for {asked}", usage_metadata=USAGE, response_metadata={"model_name": self.model})
        return ChatResult(generations=[ChatGeneration(message=answer)])

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages)

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for word in f"Soup for {messages[-1].content}".split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=f"{word} "))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=USAGE, chunk_position="last"))

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages):
            yield chunk


class Soak:
    """Runs of every kind through one tracer."""

    def __init__(self, tracer: SupabaseTracer) -> None:
        self.tracer = tracer
        self.done = 0
        self._prompt = ChatPromptTemplate.from_messages([("system", "You are a cook."), ("human", "{question}")])
        self._endless = uuid4()
        tracer.on_chain_start({}, {"question": "for ever"}, run_id=self._endless, name="endless")

    def run(self, count: int) -> None:
        """So many more runs."""
        last = self.done + count
        while self.done < last:
            self._some(min(ONE_EVENT_LOOP, last - self.done))

    def _some(self, count: int) -> None:
        numbers = range(self.done, self.done + count)
        self.done += count
        together = [number for number in numbers if number % 20 in range(8, 13) or number % 20 == 16]
        for number in numbers:
            kind = number % 20
            if kind < 8:
                self._chain(number).invoke({"question": f"{number}?"}, self._config(number))
            elif kind in (13, 14):
                for _ in self._chain(number).stream({"question": f"{number}?"}, self._config(number)):
                    pass
            elif kind == 15:
                next(iter(self._chain(number).stream({"question": f"{number}?"}, self._config(number))))
            elif kind == 17:
                with suppress(ValueError):
                    self._chain(number).invoke({"question": f"fail {number}"}, self._config(number))
            elif kind == 18:
                self._begin(number)
            elif kind == 19:
                child = CallbackManager([self.tracer], parent_run_id=self._endless)
                self._chain(number).invoke({"question": f"{number}?"}, {**self._config(number), "callbacks": child})
        asyncio.run(self._at_once(together))

    async def _at_once(self, numbers: list[int]) -> None:
        await asyncio.gather(*(self._left(n) if n % 20 == 16 else self._asked(n) for n in numbers))

    async def _asked(self, number: int) -> None:
        await self._chain(number).ainvoke({"question": f"{number}?"}, self._config(number))

    async def _left(self, number: int) -> None:
        async for _ in self._chain(number).astream({"question": f"{number}?"}, self._config(number)):
            break

    def _begin(self, number: int) -> None:
        """A run whose end nobody tells, with a call under way."""
        root, call = uuid4(), uuid4()
        how = {"metadata": {"session_id": f"thread {number}"}, "name": f"left {number}"}
        self.tracer.on_chain_start({}, {"question": f"{number}?"}, run_id=root, **how)
        self.tracer.on_chat_model_start(
            {},
            [[HumanMessage(f"{number}?")]],
            run_id=call,
            parent_run_id=root,
            invocation_params={"model": f"m{number}"},
        )

    def _chain(self, number: int) -> Runnable[dict[str, str], str]:
        return self._prompt | Cook(model=f"model-{number}") | StrOutputParser()

    def _config(self, number: int) -> RunnableConfig:
        return {
            "callbacks": [self.tracer],
            "run_name": f"run {number}",
            "tags": [f"tag {number}"],
            "metadata": {"user_id": f"user {number}", f"note_{number}": number},
            "configurable": {"thread_id": f"thread {number}"},
        }


@dataclass(frozen=True, slots=True)
class Look:
    """The process after so many runs."""

    runs: int
    resident_mb: float
    blocks: int
    """That Python's allocator has given out."""
    python_mb: float | None
    """What tracemalloc counts, if it does."""
    objects: int
    """Living instances of this package's classes."""
    contained: int
    """Entries of all that they and its modules keep."""


def soak(url: str, runs: int, told: Callable[[Look], None]) -> None:
    """Runs so many, and looks at the process ten times on the way."""
    tracer = SupabaseTracer(url)
    work = Soak(tracer)
    for _ in range(LOOKS):
        work.run(runs // LOOKS)
        if not tracer.flush(600.0):
            raise RuntimeError(f"not everything was stored: {tracer.stats()}")
        found = held.look()
        told(
            Look(
                work.done,
                resident_mb(),
                sys.getallocatedblocks(),
                tracemalloc.get_traced_memory()[0] / 1e6 if tracemalloc.is_tracing() else None,
                found.objects.total(),
                sum(found.lengths.values()),
            )
        )
    if tracer.stats()["losses"]:
        raise RuntimeError(f"something was lost: {tracer.stats()['losses']}")
    tracer.close()


def resident_mb() -> float:
    """Of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """A process that is soaked: its URL and how many runs."""
    if "traced" in sys.argv:
        tracemalloc.start()
    soak(sys.argv[1], int(sys.argv[2]), lambda look: print(json.dumps(asdict(look)), flush=True))


if __name__ == "__main__":
    main()
