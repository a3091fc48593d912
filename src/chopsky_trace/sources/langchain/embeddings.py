"""`traced_embeddings`: embedding calls as spans. LangChain has no callbacks for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from time import time_ns
from typing import Any, cast
from uuid import UUID

from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import var_child_runnable_config

from chopsky_trace.sources.langchain import fields
from chopsky_trace.sources.langchain.callbacks import EMBEDDERS, retrieving
from chopsky_trace.sources.langchain.embedding_spans import Embedded, Embedding
from chopsky_trace.sources.langchain.embedding_usage import Tally, seen_through
from chopsky_trace.sources.langchain.events import Recorder
from chopsky_trace.sources.langchain.tracer import SupabaseTracer

MODEL_FIELDS = ("model", "model_name", "model_id", "deployment")
PROVIDERS = {
    "langchain_openai": "openai",
    "langchain_cohere": "cohere",
    "langchain_mistralai": "mistralai",
    "langchain_aws": "amazon_bedrock",
    "langchain_google_genai": "google_genai",
    "langchain_google_vertexai": "google_vertexai",
    "langchain_ollama": "ollama",
    "langchain_voyageai": "voyageai",
    "langchain_huggingface": "huggingface",
    "langchain_fireworks": "fireworks",
    "langchain_together": "together",
    "langchain_nomic": "nomic",
}
"""By the package that the embeddings' class, or one it derives from, is of: LangChain's names."""
OWN = frozenset(("wrapped", "_tracer", "_default", "_told", "_name", "_provider", "_model"))
"""What is not the wrapped embeddings' own."""


def traced_embeddings(
    embeddings: Embeddings,
    tracer: SupabaseTracer | None = None,
    *,
    name: str | None = None,
    provider: str | None = None,
    model: str | None = None,
) -> Embeddings:
    """Embeddings that work as those given, and record each call as a span of kind `embedding`.

    A call made inside a traced run (a chain, tool, graph node or retriever) stands below it; any other is a run of its
    own, for the user, session and tenant of `chopsky_trace.context`.

    Args:
        embeddings: any LangChain embeddings; what else they have is reached through the result.
        tracer: records the calls; None: the tracer of the run that a call is made in, else one of default settings.
        name: of the spans; default the class of the embeddings.
        provider: who serves the model, in LangChain's words; default by the class.
        model: default what the embeddings call it.
    """
    wrapped = embeddings.wrapped if isinstance(embeddings, TracedEmbeddings) else embeddings
    return _made(wrapped, tracer, name, provider, model)


def _made(
    wrapped: Embeddings, tracer: SupabaseTracer | None, name: str | None, provider: str | None, model: str | None
) -> TracedEmbeddings:
    """Of a class of the same name: what LangChain says of a vector store's embeddings stays as it was."""
    cls = cast("type[Any]", type(wrapped))
    if cls not in _classes:
        own = {"__module__": TracedEmbeddings.__module__, "__doc__": TracedEmbeddings.__doc__}
        _classes[cls] = type(cls.__name__, (TracedEmbeddings,), own)
        EMBEDDERS.append(cls.__name__)
    return _classes[cls](wrapped, tracer, name, provider, model)


class TracedEmbeddings(Embeddings):
    """What `traced_embeddings` gives."""

    wrapped: Embeddings
    """The embeddings themselves."""

    def __init__(
        self,
        wrapped: Embeddings,
        tracer: SupabaseTracer | None,
        name: str | None,
        provider: str | None,
        model: str | None,
    ) -> None:
        self.wrapped = wrapped
        self._tracer = tracer
        self._default: SupabaseTracer | None = None
        self._told = name, provider, model
        self._name = name or type(wrapped).__name__
        self._provider = provider or _provider_of(wrapped)
        self._model = model

    def embed_documents(self, texts: list[str], *args: Any, **kwargs: Any) -> list[list[float]]:
        """Embed texts to be found."""
        call = _Call(self, "embed_documents", texts, kwargs)
        try:
            vectors: list[list[float]] = call.target.embed_documents(texts, *args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        call.ended(vectors)
        return vectors

    def embed_query(self, text: str, *args: Any, **kwargs: Any) -> list[float]:
        """Embed a text to find others by."""
        call = _Call(self, "embed_query", [text], kwargs)
        try:
            vector: list[float] = call.target.embed_query(text, *args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        call.ended([vector])
        return vector

    async def aembed_documents(self, texts: list[str], *args: Any, **kwargs: Any) -> list[list[float]]:
        """Embed texts to be found."""
        call = _Call(self, "embed_documents", texts, kwargs)
        try:
            vectors: list[list[float]] = await call.target.aembed_documents(texts, *args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        call.ended(vectors)
        return vectors

    async def aembed_query(self, text: str, *args: Any, **kwargs: Any) -> list[float]:
        """Embed a text to find others by."""
        call = _Call(self, "embed_query", [text], kwargs)
        try:
            vector: list[float] = await call.target.aembed_query(text, *args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        call.ended([vector])
        return vector

    def __getattr__(self, name: str) -> Any:
        # Only asked for what this object has not itself; while it is being made or copied it has nothing.
        if name in OWN or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.wrapped, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(self.wrapped, name, value)

    def __reduce__(self) -> Any:
        return _made, (self.wrapped, self._tracer, *self._told)

    def begin(self, operation: str, texts: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Recorder, UUID] | None:
        """Records that a call begins; None where nothing is recorded. For this module."""
        config = var_child_runnable_config.get()
        callbacks: Any = config.get("callbacks") if config else None
        within = _retriever()
        tracer = self._tracer or _tracer_of(callbacks) or (within[0] if within else None) or self._default
        if tracer is None:
            tracer = self._default = SupabaseTracer()
        recorder = tracer.recorder()
        if recorder is None:
            return None
        outer = getattr(callbacks, "parent_run_id", None)
        candidates = [run for run in (within[1] if within else None, outer) if run is not None]
        asked = Embedding(self._name, texts, self._provider, self._model or _model_of(self.wrapped), {})
        run_id = _new_id()
        params = {"operation": operation, **_plain(kwargs)}
        dimensions = getattr(self.wrapped, "dimensions", None)
        if isinstance(dimensions, int):
            params.setdefault("dimensions", dimensions)
        recorder.start_embedding(run_id, recorder.around(candidates), asked._replace(params=params))
        return recorder, run_id

    def lost(self, error: Exception) -> None:
        """Counts what could not be recorded. For this module."""
        tracer = self._tracer or self._default
        if tracer is not None:
            tracer.lost("traced_embeddings", error)


class _Call:
    """One call: what is asked, and what is recorded of it. Nothing here raises."""

    __slots__ = ("_owner", "_recorded", "_tally", "target")

    def __init__(self, owner: TracedEmbeddings, operation: str, texts: Any, kwargs: dict[str, Any]) -> None:
        self.target: Any = owner.wrapped
        self._tally: Tally | None = None
        self._recorded: tuple[Recorder, UUID] | None = None
        self._owner = owner
        try:
            listed = cast("Sequence[Any]", texts if isinstance(texts, (list, tuple)) else [texts])
            self._recorded = owner.begin(operation, listed, kwargs)
            if self._recorded is not None:
                self.target, self._tally = seen_through(owner.wrapped)
        except Exception as error:
            self._lost(error)

    def ended(self, vectors: Any) -> None:
        """It answered."""
        self._close(None, *_shape(vectors))

    def failed(self, error: BaseException) -> None:
        """It raised."""
        self._close(error, None, None)

    def _close(self, error: BaseException | None, count: int | None, dimensions: int | None) -> None:
        if self._recorded is None:
            return
        try:
            self._end(*self._recorded, error, count, dimensions)
        except Exception as trouble:
            self._lost(trouble)

    def _end(
        self,
        recorder: Recorder,
        run_id: UUID,
        error: BaseException | None,
        count: int | None,
        dimensions: int | None,
    ) -> None:
        tally = self._tally
        usage = tally.usage if tally is not None else None
        if count == 0:
            # Nothing was asked: that is known.
            usage = {"prompt_tokens": 0, "total_tokens": 0}
        status, text, _ = fields.error_of(error) if error is not None else ("completed", None, False)
        requests = tally.requests if tally is not None else None
        found = Embedded(count, dimensions, requests, usage, tally.model if tally is not None else None)
        recorder.end_embedding(run_id, status, found, text)

    def _lost(self, error: Exception) -> None:
        self._owner.lost(error)


_classes: dict[type, type[TracedEmbeddings]] = {}


def _shape(vectors: Any) -> tuple[int | None, int | None]:
    """How many there are and how long; None where the embeddings give something that does not say."""
    try:
        count = len(vectors)
        return count, len(vectors[0]) if count else None
    except Exception:
        return None, None


def _retriever() -> tuple[SupabaseTracer, UUID] | None:
    """The tracer and run of the retriever that this code is in, as far as it is known."""
    within = retrieving.get()
    if within is None:
        return None
    recorder = within[0].recorder()
    return within if recorder is not None and within[1].int in recorder.runs.open else None


def _provider_of(wrapped: Embeddings) -> str | None:
    for cls in type(wrapped).__mro__:
        found = PROVIDERS.get(cls.__module__.partition(".")[0])
        if found:
            return "azure" if found == "openai" and cls.__name__.startswith("Azure") else found
    return None


def _model_of(wrapped: Embeddings) -> str | None:
    for name in MODEL_FIELDS:
        value = getattr(wrapped, name, None)
        if isinstance(value, str) and value:
            return value
    return None


def _tracer_of(callbacks: Any) -> SupabaseTracer | None:
    handlers = cast("Sequence[Any]", getattr(callbacks, "handlers", ()))
    return next((handler for handler in handlers if isinstance(handler, SupabaseTracer)), None)


def _plain(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if isinstance(value, (str, int, float, bool))}


def _new_id() -> UUID:
    """A UUID of version 7: of the time, in milliseconds, and chance."""
    value = (time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)
