"""Models, a retriever and a tool that answer at once, and text that is varied yet the same in every process."""

from __future__ import annotations

import base64
import functools
import itertools
import random
from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from pydantic import Field

MODEL = "gpt-4o-mini"
"""A name that has a price, so that pricing is part of what is measured."""

SYLLABLES = (
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ka",
    "le",
    "mi",
    "no",
    "pu",
    "ra",
    "se",
    "ti",
    "vo",
    "zu",
    "chop",
    "sky",
    "stew",
)


@functools.lru_cache(maxsize=8192)
def text(size_bytes: int, seed: str) -> str:
    """Words adding up to `size_bytes` ASCII characters; equal seeds give equal text."""
    source = random.Random(seed)
    words: list[str] = []
    length = 0
    while length < size_bytes:
        word = "".join(source.choices(SYLLABLES, k=source.randint(1, 4)))
        words.append(word)
        length += len(word) + 1
    return " ".join(words)[:size_bytes]


def image_url(size_bytes: int, seed: str) -> str:
    """A data URL of `size_bytes` base64 characters that do not compress, as a photograph's would not."""
    return "data:image/png;base64," + base64.b64encode(random.Random(seed).randbytes(size_bytes * 3 // 4)).decode()


def answer(content: str, tool_calls: list[dict[str, Any]] | None = None) -> ChatResult:
    """A chat model's answer with usage, as providers' integrations give it."""
    message = AIMessage(
        content=content,
        tool_calls=tool_calls or [],
        usage_metadata={"input_tokens": 420, "output_tokens": 90, "total_tokens": 510},
        response_metadata={"model_name": MODEL, "finish_reason": "tool_calls" if tool_calls else "stop"},
    )
    return ChatResult(generations=[ChatGeneration(message=message)], llm_output={"model_name": MODEL})


REPLIES = itertools.count()
"""No two replies are alike, or whoever remembers texts would do too well."""


class InstantChat(BaseChatModel):
    """Gives a reply, at once."""

    reply: str = text(400, "reply")

    @property
    def _llm_type(self) -> str:
        return "instant-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": MODEL, "temperature": 0.2}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return answer(f"{next(REPLIES)} {self.reply}")

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return answer(f"{next(REPLIES)} {self.reply}")


class StreamingChat(InstantChat):
    """Streams its reply in chunks, the usage with the last."""

    chunks: int = 50

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for number in range(self.chunks):
            last = number == self.chunks - 1
            message = AIMessageChunk(
                content=f"word{number if number else next(REPLIES)} ",
                usage_metadata={"input_tokens": 420, "output_tokens": 90, "total_tokens": 510} if last else None,
                response_metadata={"model_name": MODEL, "finish_reason": "stop"} if last else {},
                chunk_position="last" if last else None,
            )
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


class ToolCallingChat(InstantChat):
    """Asks for the tool until it has been called `calls` times in all, then answers."""

    calls: int = 30

    def bind_tools(self, tools: Any, **kwargs: Any) -> ToolCallingChat:
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        done = sum(message.type == "ai" for message in messages)
        if done >= self.calls - 1:
            return answer(f"{next(REPLIES)} {self.reply}")
        call = {"name": "look_up", "args": {"query": f"question {done}"}, "id": f"call_{done}", "type": "tool_call"}
        return answer(text(200, f"thought {done}"), [call])


@tool
def look_up(query: str) -> str:
    """Look something up."""
    return text(1_000, query)


def _document(number: int) -> Document:
    about = {"source": f"page{number}.md", "page": number}
    return Document(page_content=text(2_000, f"document {number}"), metadata=about)


class InstantRetriever(BaseRetriever):
    """Finds four documents of 2 kB."""

    documents: list[Document] = Field(default_factory=lambda: [_document(number) for number in range(32)])

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        first = len(query) * 7 % 28
        return self.documents[first : first + 4]
