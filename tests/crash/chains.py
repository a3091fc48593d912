"""A chain of known shape: a prompt, a model that answers at once, a parser."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from pydantic import PrivateAttr

USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


class Cook(BaseChatModel):
    """Answers every question with soup. Where it hangs, it says that it has begun and waits for ever."""

    hangs: bool = False
    _begun: Any = PrivateAttr(default_factory=threading.Event)

    @property
    def begun(self) -> threading.Event:
        return self._begun

    @property
    def _llm_type(self) -> str:
        return "cook"

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_type": "chat", "ls_model_name": "gpt-4o-mini"}

    def _answer(self, messages: list[BaseMessage]) -> str:
        return f"Soup, as an answer to: {messages[-1].content}"

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        answer = AIMessage(
            content=self._answer(messages), usage_metadata=USAGE, response_metadata={"model_name": "gpt-4o-mini"}
        )
        return ChatResult(generations=[ChatGeneration(message=answer)])

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        if self.hangs:
            self.begun.set()
            await asyncio.Event().wait()
        return self._generate(messages)

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="Soup"))
        if self.hangs:
            self.begun.set()
            await asyncio.Event().wait()
        yield ChatGenerationChunk(
            message=AIMessageChunk(content=".", usage_metadata=USAGE, chunk_position="last"),
        )


def chain(*, hangs: bool = False) -> tuple[Runnable[dict[str, str], str], Cook]:
    """The chain and its model."""
    cook = Cook(hangs=hangs)
    prompt = ChatPromptTemplate.from_messages([("system", "You are a cook."), ("human", "{question}")])
    return prompt | cook | StrOutputParser(), cook


def told(tracer: Any, name: str, session: str | None = None) -> dict[str, Any]:
    """The configuration of a run of that name."""
    metadata = {} if session is None else {"session_id": session}
    return {"callbacks": [tracer], "run_name": name, "metadata": metadata}


def run(tracer: Any, name: str, count: int, session: str | None = None) -> int:
    """So many runs, numbered; returns how many."""
    made, _ = chain()
    for number in range(count):
        made.invoke({"question": f"{name} {number}?"}, told(tracer, f"{name} {number}", session))
    return count
