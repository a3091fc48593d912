"""LangChain's callback hooks, each guarded: nothing escapes into the application.

All of `BaseTracer`'s hooks are overridden, so its own bookkeeping never runs. Being one matters to LangGraph: only
tracers are given the payload that a node's trace policy allows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from uuid import UUID

from langchain_core.tracers.base import BaseTracer

from chopsky_trace.records import Kind
from chopsky_trace.sources.langchain import fields
from chopsky_trace.sources.langchain.events import MISSING, Recorder
from chopsky_trace.sources.langchain.streams import event_says

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult
    from langchain_core.tracers.schemas import Run

retrieving: ContextVar[tuple[Any, UUID] | None] = ContextVar("chopsky_trace_retrieving", default=None)
"""The tracer and run of the retriever that was asked last here: LangChain tells only the runs inside a chain, tool or
node which run they are in. It may have ended: that cannot be told to this context, so whoever asks has to look."""
EMBEDDERS: list[str] = []
"""Classes of embeddings that are traced in this process: where there are none, nobody asks for the retriever."""


class Callbacks(BaseTracer):
    """The hooks; where their records go is the subclass's."""

    run_inline = True
    raise_error = False
    # Asked before each event, and each token: the base class's properties would be calls.
    ignore_llm = ignore_chain = ignore_retriever = ignore_chat_model = False  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride] - read as attributes only
    _recorder: Recorder | None = None

    @abstractmethod
    def _events(self) -> Recorder | None:
        """The recorder, made on first use; None while tracing is off."""

    @abstractmethod
    def _failed(self, where: str, error: Exception) -> None:
        """An event could not be recorded."""

    def _persist_run(self, run: Run) -> None:
        """Never called: every event is overridden below."""

    # -- model calls

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """A chat model was called."""
        self._model_start(
            "on_chat_model_start",
            serialized,
            messages[0] if messages else [],
            run_id,
            parent_run_id,
            tags,
            metadata,
            name,
            kwargs,
        )

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """A text model was called."""
        self._model_start(
            "on_llm_start",
            serialized,
            prompts[0] if prompts else "",
            run_id,
            parent_run_id,
            tags,
            metadata,
            name,
            kwargs,
        )

    def _model_start(
        self,
        where: str,
        serialized: Mapping[str, Any] | None,
        prompt: Any,
        run_id: UUID,
        parent_run_id: UUID | None,
        tags: Sequence[str] | None,
        metadata: Mapping[str, Any] | None,
        name: str | None,
        kwargs: Mapping[str, Any],
    ) -> None:
        try:
            events = self._recorder or self._events()
            if events is None:
                return
            known = metadata or {}
            params = kwargs.get("invocation_params")
            model = known.get("ls_model_name") or fields.model_in(params)
            provider = known.get("ls_provider")
            if provider == "openai":
                provider = fields.provider_at(serialized)
            events.start_model(
                run_id,
                parent_run_id,
                name or fields.name_of(serialized),
                metadata,
                tags,
                prompt,
                provider,
                model,
                params,
            )
        except Exception as error:
            self._failed(where, error)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, chunk: Any = None, **kwargs: Any) -> Any:
        """A token was streamed: only the time of the first that carries anything is kept."""
        try:
            recorder = self._recorder
            # Called for every token: what is not the first must cost next to nothing.
            if recorder is not None and run_id.int in recorder.runs.waiting:
                recorder.chunk(run_id, token, chunk)
        except Exception as error:
            self._failed("on_llm_new_token", error)

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """The newer streaming protocol: its first content is the first token."""
        try:
            recorder = self._recorder
            if recorder is not None and run_id.int in recorder.runs.waiting and event_says(event):
                recorder.token(run_id)
        except Exception as error:
            self._failed("on_stream_event", error)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> Any:
        """A model call ended."""
        try:
            events = self._recorder or self._events()
            if events is not None:
                results, said = fields.answered(response)
                events.end_model(run_id, "completed", results, said)
        except Exception as error:
            self._failed("on_llm_end", error)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, response: Any = None, **kwargs: Any) -> Any:
        """A model call failed, or its stream was left."""
        try:
            events = self._recorder or self._events()
            if events is None:
                return
            status, text, _ = fields.error_of(error)
            results: list[Any] = []
            said: dict[str, Any] = {}
            if response is not None:
                results, said = fields.answered(response)
                results = [r for r in results if getattr(r, "content", r)]
                said["partial"] = True
            events.end_model(run_id, status, results, said, text)
        except Exception as trouble:
            self._failed("on_llm_error", trouble)

    # -- chains

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        run_type: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """A chain, graph, node, prompt or parser began."""
        try:
            events = self._recorder or self._events()
            if events is not None:
                if run_type is not None:
                    kind = fields.CHAIN_KINDS.get(run_type, "chain")
                else:
                    kind = fields.root_kind(metadata) if parent_run_id is None else "chain"
                if not name:
                    name = fields.name_of(serialized)
                # A stream's inputs come with its end; until then LangChain says {"input": ""}.
                defer = bool(kwargs and kwargs.get("defers_inputs")) or (
                    inputs.__class__ is dict
                    and len(inputs) == 1
                    and "input" in inputs
                    and fields.is_empty(inputs["input"])
                )
                events.start(kind, run_id, parent_run_id, name, metadata, tags, inputs, defer)
        except Exception as error:
            self._failed("on_chain_start", error)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> Any:
        """A chain ended."""
        try:
            events = self._recorder or self._events()
            if events is not None:
                events.end("chain", run_id, "completed", outputs, None, kwargs.get("inputs", MISSING))
        except Exception as error:
            self._failed("on_chain_end", error)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> Any:
        """A chain failed, was left, or was interrupted."""
        try:
            events = self._recorder or self._events()
            if events is not None:
                status, text, interrupt = fields.error_of(error)
                if interrupt:
                    events.interrupted(run_id)
                events.end("chain", run_id, status, None, text, kwargs.get("inputs", MISSING))
        except Exception as trouble:
            self._failed("on_chain_error", trouble)

    # -- tools

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """A tool was called."""
        try:
            events = self._recorder or self._events()
            if events is not None:
                payload = inputs if inputs is not None else input_str
                events.start("tool", run_id, parent_run_id, name or fields.name_of(serialized), metadata, tags, payload)
        except Exception as error:
            self._failed("on_tool_start", error)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> Any:
        """A tool returned."""
        self._plain_end("tool", "on_tool_end", output, run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> Any:
        """A tool failed."""
        self._plain_error("tool", "on_tool_error", error, run_id)

    # -- retrievers

    def on_retriever_start(
        self,
        serialized: dict[str, Any] | None,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """A retriever was asked."""
        try:
            events = self._recorder or self._events()
            if events is not None:
                if EMBEDDERS:
                    retrieving.set((self, run_id))
                events.start(
                    "retriever",
                    run_id,
                    parent_run_id,
                    name or fields.name_of(serialized),
                    metadata,
                    tags,
                    {"query": query},
                )
        except Exception as error:
            self._failed("on_retriever_start", error)

    def on_retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **kwargs: Any) -> Any:
        """A retriever returned."""
        self._plain_end("retriever", "on_retriever_end", documents, run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> Any:
        """A retriever failed."""
        self._plain_error("retriever", "on_retriever_error", error, run_id)

    def _plain_end(self, kind: Kind, where: str, output: Any, run_id: UUID) -> None:
        try:
            events = self._recorder or self._events()
            if events is not None:
                events.end(kind, run_id, "completed", output)
        except Exception as error:
            self._failed(where, error)

    def _plain_error(self, kind: Kind, where: str, error: BaseException, run_id: UUID) -> None:
        try:
            events = self._recorder or self._events()
            if events is not None:
                status, text, interrupt = fields.error_of(error)
                if interrupt:
                    events.interrupted(run_id)
                events.end(kind, run_id, status, None, text)
        except Exception as trouble:
            self._failed(where, trouble)

    # -- the rest

    def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **kwargs: Any) -> Any:
        """An event of the application's own: kept with its span."""
        try:
            events = self._recorder or self._events()
            if events is not None:
                events.note(run_id, name, data)
        except Exception as error:
            self._failed("on_custom_event", error)

    def on_interrupt(self, event: Any) -> None:
        """LangGraph paused the graph."""
        try:
            recorder = self._recorder
            if recorder is not None:
                recorder.interrupted(event.run_id)
        except Exception as error:
            self._failed("on_interrupt", error)

    def on_resume(self, event: Any) -> None:
        """LangGraph resumed a graph; that its run is a resumed one, its own start says."""
        try:
            recorder = self._recorder
            if recorder is not None:
                recorder.went_on(event.run_id)
        except Exception as error:
            self._failed("on_resume", error)

    def on_text(self, text: str, **kwargs: Any) -> None:
        """Nothing to record."""

    def on_retry(self, retry_state: Any, *, run_id: UUID, **kwargs: Any) -> Any:
        """Each attempt is a span of its own; nothing to record here."""

    def on_agent_action(self, action: Any, **kwargs: Any) -> None:
        """Legacy agents: the tool's span tells it."""

    def on_agent_finish(self, finish: Any, **kwargs: Any) -> None:
        """Legacy agents: the chain's end tells it."""
