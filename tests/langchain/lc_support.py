"""Models, tools, a retriever, a second recorder, and a reader of the tables, for the LangChain tests."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.llms import BaseLLM
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, Generation, LLMResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from psycopg.rows import dict_row
from pydantic import PrivateAttr

UNREACHABLE = "postgresql://nobody@127.0.0.1:1/nowhere?connect_timeout=1"
SOURCE = Path(__file__).resolve().parents[2] / "src"

Reply = AIMessage | BaseException | Callable[[list[BaseMessage]], AIMessage]


def ai(
    text: str = "", *, calls: Sequence[dict[str, Any]] = (), tokens: tuple[int, int] | None = (100, 20), **fields: Any
) -> AIMessage:
    """An assistant message that reports `tokens` = (input, output), or nothing when None."""
    usage = (
        None
        if tokens is None
        else {"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": tokens[0] + tokens[1]}
    )
    metadata = {"model_name": "gpt-4o-mini-2024-07-18", "finish_reason": "tool_calls" if calls else "stop"}
    tool_calls = [{"type": "tool_call", **call} for call in calls]
    return AIMessage(content=text, tool_calls=tool_calls, usage_metadata=usage, response_metadata=metadata, **fields)


def call(name: str, call_id: str, /, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": call_id}


class ScriptedChat(BaseChatModel):
    """Gives its replies one after the other, then the last one for ever; keeps what it was given."""

    model_name: str = "gpt-4o-mini"
    replies: list[Any]
    hang: bool = False
    _received: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _begun: Any = PrivateAttr(default_factory=threading.Event)

    @property
    def received(self) -> list[list[BaseMessage]]:
        return self._received

    @property
    def begun(self) -> threading.Event:
        return self._begun

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name}

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {
            "ls_provider": "openai",
            "ls_model_type": "chat",
            "ls_model_name": self.model_name,
            "ls_temperature": 0.3,
        }

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        from langchain_core.utils.function_calling import convert_to_openai_tool

        kwargs.pop("tool_choice", None)
        return self.bind(tools=[convert_to_openai_tool(item) for item in tools], **kwargs)

    def _next(self, messages: list[BaseMessage]) -> AIMessage:
        with self._lock:
            reply = self.replies[min(len(self._received), len(self.replies) - 1)]
            self._received.append([message.model_copy() for message in messages])
        if isinstance(reply, BaseException):
            raise reply
        if callable(reply) and not isinstance(reply, AIMessage):
            return reply(messages)
        return reply.model_copy(deep=True)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages))])

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self._begun.set()
        if self.hang:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return ChatResult(generations=[ChatGeneration(message=self._next(messages))])


class StreamingChat(ScriptedChat):
    """Streams its replies word by word, the usage with the last; may fail after some chunks."""

    fail_after: int | None = None
    before_chunk: Any = None

    def _chunks(self, messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
        reply = self._next(messages)
        words = str(reply.content).split(" ")
        for place, word in enumerate(words):
            if self.before_chunk is not None:
                self.before_chunk(place)
            if self.fail_after == place:
                raise ConnectionError("the line went dead")
            last = place == len(words) - 1
            yield ChatGenerationChunk(
                message=AIMessageChunk(
                    content=word if last else word + " ",
                    usage_metadata=reply.usage_metadata if last else None,
                    response_metadata=reply.response_metadata if last else {},
                    chunk_position="last" if last else None,
                    tool_call_chunks=[
                        {"name": one["name"], "args": json.dumps(one["args"]), "id": one["id"], "index": index}
                        for index, one in enumerate(reply.tool_calls)
                    ]
                    if last
                    else [],
                )
            )

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages):
            await asyncio.sleep(0)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


class ScriptedLLM(BaseLLM):
    """A plain completion model: strings in, strings out, its usage in `llm_output`."""

    model_name: str = "gpt-3.5-turbo-instruct"

    @property
    def _llm_type(self) -> str:
        return "scripted-llm"

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_type": "llm", "ls_model_name": self.model_name}

    def _generate(self, prompts: list[str], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> LLMResult:
        usage = {
            "prompt_tokens": 7 * len(prompts),
            "completion_tokens": 2 * len(prompts),
            "total_tokens": 9 * len(prompts),
        }
        return LLMResult(
            generations=[[Generation(text=f"{prompt} indeed")] for prompt in prompts],
            llm_output={"token_usage": usage, "model_name": self.model_name},
        )


class Shelf(BaseRetriever):
    """Always finds the same two pages."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [
            Document(page_content="Umami is the fifth taste.", metadata={"source": "taste.md"}),
            Document(page_content="Kelp holds much of it.", metadata={"source": "kelp.md"}),
        ]


@tool
def find_recipe(dish: str) -> str:
    """Find the recipe of a dish."""
    return f"{dish}: boil, season, serve"


@tool
def heat_oven(degrees: int) -> str:
    """Heat the oven."""
    raise RuntimeError(f"the oven is broken at {degrees}")


def answer_last(messages: list[BaseMessage]) -> AIMessage:
    """A reply that names what it answers, so that crossed conversations show."""
    return ai(f"answer to {messages[-1].content}")


class Recorder(BaseCallbackHandler):
    """A second opinion: which runs LangChain reported, with which parents."""

    run_inline = True

    def __init__(self) -> None:
        self.parents: dict[UUID, UUID | None] = {}
        self.ended: set[UUID] = set()

    def _start(self, *args: Any, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        self.parents[run_id] = parent_run_id

    def _end(self, *args: Any, run_id: UUID, **kwargs: Any) -> None:
        self.ended.add(run_id)

    on_chain_start = on_llm_start = on_chat_model_start = on_tool_start = on_retriever_start = _start
    on_chain_end = on_llm_end = on_tool_end = on_retriever_end = _end
    on_chain_error = on_llm_error = on_tool_error = on_retriever_error = _end

    @property
    def roots(self) -> list[UUID]:
        return [run for run, parent in self.parents.items() if parent is None]


class Store:
    """What the tables hold, read as a person would."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = psycopg.connect(url, autocommit=True, row_factory=dict_row)

    def rows(self, query: str, *args: Any) -> list[dict[str, Any]]:
        return self.connection.execute(query, args).fetchall()

    def runs(self) -> list[dict[str, Any]]:
        return self.rows("select * from conversation_runs order by started_at, id")

    def run(self, run_id: UUID | None = None) -> dict[str, Any]:
        found = [row for row in self.runs() if run_id is None or row["id"] == run_id]
        assert len(found) == 1, f"{len(found)} runs where one was expected"
        return found[0]

    def spans(self, run_id: UUID | None = None, kind: str | None = None) -> list[dict[str, Any]]:
        return self.rows(
            "select * from conversation_spans where (%s::uuid is null or conversation_run_id = %s)"
            " and (%s::text is null or kind = %s) order by started_at, id",
            run_id,
            run_id,
            kind,
            kind,
        )

    def span(self, kind: str | None = None, name: str | None = None) -> dict[str, Any]:
        found = [row for row in self.spans(kind=kind) if name is None or row["name"] == name]
        assert len(found) == 1, f"{len(found)} spans where one was expected"
        return found[0]

    def tree(self, run_id: UUID | None = None) -> list[Any]:
        """Nested (kind, name, status, children) of a run, siblings in order of their start."""
        spans = self.spans(run_id)
        known = {span["id"] for span in spans}

        def below(parent: UUID | None) -> list[Any]:
            return [
                (span["kind"], span["name"], span["status"], below(span["id"]))
                for span in spans
                if span["parent_span_id"] == parent or (parent is None and span["parent_span_id"] not in known)
            ]

        return below(None)

    def messages(self, run_id: UUID | None = None) -> list[dict[str, Any]]:
        return self.rows(
            "select * from conversation_messages where %s::uuid is null or conversation_run_id = %s"
            " order by created_at, conversation_run_id, sequence",
            run_id,
            run_id,
        )

    def said(self, run_id: UUID | None = None) -> list[tuple[str, str | None, bool]]:
        """(role, content, internal) of every stored message but the system's."""
        return [
            (row["role"], row["content"], row["is_internal"])
            for row in self.messages(run_id)
            if row["role"] != "system"
        ]

    def transcript(self, run_id: UUID | None = None) -> list[tuple[str, str]]:
        run_id = run_id or self.run()["id"]
        return [(row["role"], row["content"]) for row in self.rows("select * from conversation_transcript(%s)", run_id)]

    def prompt(self, span_id: UUID) -> list[tuple[Any, ...]]:
        return [
            prompt_line(row["role"], row["content"], row["tool_calls"], row["tool_call_id"])
            for row in self.rows("select * from conversation_prompt(%s) order by position", span_id)
        ]

    def dump(self) -> str:
        """Everything in every table of ours, as text."""
        tables = self.rows("select tablename from pg_tables where schemaname = 'public' order by 1")
        return "\n".join(
            json.dumps(row["row"], ensure_ascii=False, default=str)
            for table in tables
            for row in self.rows(f'select to_jsonb(t) as row from public."{table["tablename"]}" t')
        )


ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}


def prompt_line(role: str, content: Any, tool_calls: Any, tool_call_id: Any) -> tuple[Any, ...]:
    calls = [(item["name"], item["args"], item["id"]) for item in tool_calls or []]
    return role, content or "", calls, tool_call_id


def as_prompt(messages: Sequence[BaseMessage]) -> list[tuple[Any, ...]]:
    """What a model really received, in the words `Store.prompt` uses."""
    return [
        prompt_line(
            ROLES[message.type],
            message.content,
            getattr(message, "tool_calls", None),
            getattr(message, "tool_call_id", None),
        )
        for message in messages
    ]


def assert_mirrored(store: Store, recorder: Recorder) -> None:
    """Every run that LangChain reported is a span with the same id and parent, and nothing else is."""
    stored = {span["id"]: span["parent_span_id"] for span in store.spans()}
    assert stored == recorder.parents


WAYS = ("invoke", "ainvoke", "stream", "astream", "astream_events")
STREAMING = ("stream", "astream", "astream_events")


def drive(runnable: Runnable[Any, Any], value: Any, config: Any, way: str) -> Any:
    """Run it one of the `WAYS`; the outputs, chunks or events it gave."""
    if way == "invoke":
        return runnable.invoke(value, config)
    if way == "stream":
        return list(runnable.stream(value, config))

    async def later() -> Any:
        if way == "ainvoke":
            return await runnable.ainvoke(value, config)
        if way == "astream":
            return [chunk async for chunk in runnable.astream(value, config)]
        return [event async for event in runnable.astream_events(value, config, version="v2")]

    return asyncio.run(later())


def run_script(code: str, env: dict[str, str], *, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, with this package and these helpers importable."""
    import os

    path = os.pathsep.join([str(SOURCE), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    full = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CHOPSKY_", "LANGSMITH_", "LANGCHAIN_"))
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**full, "PYTHONPATH": path, **env},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
