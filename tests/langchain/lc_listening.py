"""Scripted models that keep what they were given, in the words of `conversation_prompt`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from lc_support import ROLES, ScriptedChat, StreamingChat, ai

given: dict[UUID, list[dict[str, Any]]] = {}
"""What each model call of this process really received, by its run id."""
streamed: list[list[dict[str, Any]]] = []
"""The same of calls that stream: LangChain does not tell the model which run it is."""


def seen_by_model(message: BaseMessage) -> dict[str, Any]:
    """A message as plain data, in the words of `conversation_prompt`; written apart from the code that is tested."""
    content: Any = message.content
    text = content
    if not isinstance(content, str):
        texts = [part if isinstance(part, str) else part.get("text") for part in content if _is_text(part)]
        text = "\n".join(texts)
    calls = [*getattr(message, "tool_calls", ()), *getattr(message, "invalid_tool_calls", ())]
    seen = {
        "role": ROLES[message.type.removesuffix("MessageChunk").lower()],
        "content": text,
        "parts": None if isinstance(content, str) else content,
        "tool_calls": calls or None,
        "tool_call_id": getattr(message, "tool_call_id", None),
        "name": message.name,
    }
    # A copy, as JSON has it: the application may change its objects afterwards.
    return json.loads(json.dumps(seen))


def as_json(value: Any) -> str:
    """For sorting."""
    return json.dumps(value, sort_keys=True)


def _is_text(part: Any) -> bool:
    return isinstance(part, str) or (
        part.get("type") in ("text", "output_text", "input_text", None) and isinstance(part.get("text"), str)
    )


def listen(messages: list[BaseMessage], run_manager: Any) -> None:
    """A model was given these."""
    seen = [seen_by_model(message) for message in messages]
    if run_manager is None:
        streamed.append(seen)
    else:
        given[run_manager.run_id] = seen


class Listening:
    """Keeps what the model was given, by run id."""

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        listen(messages, run_manager)
        return super()._generate(messages, stop, run_manager, **kwargs)  # type: ignore[misc]  # the mixin's other base

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        listen(messages, run_manager)
        return await super()._agenerate(messages, stop, run_manager, **kwargs)  # type: ignore[misc]  # likewise


class Chat(Listening, ScriptedChat):
    """Gives its replies one after the other, then the last one for ever."""


class StreamChat(Listening, StreamingChat):
    """Streams its replies word by word, or `pieces`: for each call the chunks of its answer."""

    pieces: list[list[AIMessageChunk]] = []  # noqa: RUF012  # pydantic copies it for each instance

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        listen(messages, run_manager)
        if not self.pieces:
            yield from super()._stream(messages, stop, run_manager, **kwargs)
            return
        place = len(self.received)
        self.received.append(list(messages))
        for piece in self.pieces[place]:
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=ChatGenerationChunk(message=piece))
            yield ChatGenerationChunk(message=piece)

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        listen(messages, run_manager)
        async for chunk in super()._astream(messages, stop, run_manager, **kwargs):
            yield chunk


class Told(BaseCallbackHandler):
    """Keeps what LangChain says that a model is given: it shows its handlers media in another form than the model."""

    run_inline = True

    def on_chat_model_start(
        self, serialized: Any, messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        self.seen = [seen_by_model(message) for message in messages[0]]

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        given[run_id] = self.seen


def chat(*replies: AIMessage | str | Callable[[list[BaseMessage]], AIMessage]) -> Chat:
    return Chat(replies=[ai(reply) if isinstance(reply, str) else reply for reply in replies])
