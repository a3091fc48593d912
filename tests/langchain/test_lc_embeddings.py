"""Embedding calls as spans: the real packages against a loopback server and a recorded exchange."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore

pytest.importorskip("langchain_openai")

import openai
from langchain_openai import OpenAIEmbeddings
from lc_scripted_server import HEADERS, scripted_server
from lc_support import UNREACHABLE, Store

from chopsky_trace import SupabaseTracer, context, traced_embeddings

SHARED = Path(os.environ.get("CHOPSKY_TEST_CASSETTES") or Path(__file__).resolve().parents[3] / "shared" / "cassettes")
MODEL = "text-embedding-3-small"
DOCUMENTS = "embed_documents", "aembed_documents"


def words(request: dict[str, Any]) -> int:
    """What this server calls tokens."""
    return sum(len(text.split()) for text in request["input"])


def answer(path: str, request: dict[str, Any]) -> dict[str, Any] | int:
    if "refuse" in request["input"]:
        return 429
    data = [{"object": "embedding", "index": i, "embedding": [0.5, 0.25, 1.0]} for i in range(len(request["input"]))]
    usage = {"prompt_tokens": words(request), "total_tokens": words(request)}
    return {"object": "list", "data": data, "model": request["model"], "usage": usage}


@pytest.fixture
def url() -> Iterator[str]:
    with scripted_server(answer) as address:
        yield address + "/v1"


def plain(url: str, **fields: Any) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(
        model=MODEL, base_url=url, api_key="none", max_retries=0, check_embedding_ctx_length=False, **fields
    )  # type: ignore[arg-type]  # its own Secret type


def embed(embeddings: Embeddings, way: str, value: Any) -> Any:
    found = getattr(embeddings, way)
    return asyncio.run(found(value)) if way.startswith("a") else found(value)


@pytest.mark.parametrize("way", DOCUMENTS)
def test_one_span_for_all_requests_of_a_call(store: Store, tracer: Any, url: str, way: str) -> None:
    texts = ["one", "two words", "three words here", "four", "five"]
    traced = traced_embeddings(plain(url, chunk_size=2), tracer)
    with context(user_id="ana", session_id="s1", tenant_id="acme"):
        assert embed(traced, way, texts) == [[0.5, 0.25, 1.0]] * 5
    assert tracer.flush(10)
    span = store.span(kind="embedding")
    assert (span["name"], span["provider"], span["status"]) == ("OpenAIEmbeddings", "openai", "completed")
    assert (span["model"], span["model_requested"]) == (MODEL, MODEL)
    assert span["inputs"] == {"texts": texts}
    assert span["outputs"] == {"vectors": 5, "dimensions": 3, "requests": 3}
    assert (span["input_tokens"], span["output_tokens"], span["total_tokens"]) == (8, 0, 8)
    # 0.02 USD a million tokens.
    assert (span["usage_source"], span["cost_source"], span["cost"]) == ("reported", "computed", Decimal("0.00000016"))
    assert span["response_time_ms"] > 0
    assert span["time_to_first_token_ms"] is None
    run = store.run(span["id"])
    assert (run["user_id"], run["session_id"], run["tenant_id"]) == ("ana", "s1", "acme")
    assert (run["total_tokens_used"], run["total_cost"], run["total_messages"]) == (8, span["cost"], 0)
    assert (run["status"], run["unmeasured_calls"], run["unpriced_calls"]) == ("completed", 0, 0)


@pytest.mark.parametrize("within", ["retriever", "chain", "tool"])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("given", [True, False])
def test_the_run_around_is_the_parent(
    store: Store, tracer: Any, url: str, within: str, asynchronous: bool, given: bool
) -> None:
    traced = traced_embeddings(plain(url), tracer if given else None)
    vectors = InMemoryVectorStore(traced)
    vectors.add_documents([Document("kelp soup")], ids=["1"]) if given else None
    retriever = vectors.as_retriever()

    @tool
    async def look_up(query: str) -> str:
        """Look something up."""
        return str(len(await traced.aembed_query(query) if asynchronous else traced.embed_query(query)))

    def sync_step(query: str) -> int:
        return len(traced.embed_query(query))

    async def async_step(query: str) -> int:
        return len(await traced.aembed_query(query))

    step = RunnableLambda(async_step if asynchronous else sync_step)
    runnable: Any = {"retriever": retriever, "chain": step, "tool": look_up}[within]
    config: Any = {"callbacks": [tracer], "metadata": {"user_id": "bo"}}
    if asynchronous or within == "tool":
        asyncio.run(runnable.ainvoke("what is umami", config))
    else:
        runnable.invoke("what is umami", config)
    (RunnableLambda(lambda text: text) | retriever).invoke("kelp", config)
    assert tracer.flush(10)
    spans = {span["id"]: span for span in store.spans()}
    asked = [s for s in spans.values() if s["kind"] == "embedding" and s["inputs"]["texts"] != ["kelp soup"]]
    first, second = sorted(asked, key=lambda s: s["started_at"])
    assert first["inputs"] == {"texts": ["what is umami"]}
    assert spans[first["parent_span_id"]]["kind"] == within
    assert first["conversation_run_id"] == first["parent_span_id"]
    assert spans[second["parent_span_id"]]["kind"] == "retriever"
    run = store.run(first["conversation_run_id"])
    assert (run["user_id"], run["total_tokens_used"]) == ("bo", 3)
    # What LangChain says of the store's embeddings is what it said before.
    if within == "retriever":
        assert spans[first["parent_span_id"]]["metadata"]["ls_embedding_provider"] == "OpenAIEmbeddings"
    alone = [s for s in spans.values() if s["kind"] == "embedding" and s["parent_span_id"] is None]
    assert len(alone) == given


def test_calls_at_the_same_time_keep_their_own_numbers(store: Store, tracer: Any, url: str) -> None:
    traced = traced_embeddings(plain(url, chunk_size=1), tracer)
    asked = {f"t{number}": ["word " * (number + 1)] * 3 for number in range(8)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(traced.embed_documents, asked.values()))

    async def at_once() -> None:
        await asyncio.gather(*(traced.aembed_documents(texts) for texts in asked.values()))

    asyncio.run(at_once())
    assert tracer.flush(10)
    spans = store.spans(kind="embedding")
    assert len(spans) == 16
    for span in spans:
        assert span["input_tokens"] == len(" ".join(span["inputs"]["texts"]).split())
        assert span["outputs"]["requests"] == 3


def test_the_wrapper_is_the_embeddings_and_changes_nothing_of_them(url: str, tracer: Any) -> None:
    inner = plain(url)
    before = dict(inner.__dict__)
    traced: Any = traced_embeddings(inner, tracer)
    assert isinstance(traced, Embeddings)
    assert type(traced).__name__ == "OpenAIEmbeddings"
    assert traced.embed_query("x") == inner.embed_query("x")
    assert {name: inner.__dict__[name] is value for name, value in before.items()} == dict.fromkeys(before, True)
    traced.chunk_size = 7
    assert traced.chunk_size == inner.chunk_size == 7
    assert traced.embed_documents(["a", "b"], chunk_size=1) == [[0.5, 0.25, 1.0]] * 2
    assert copy.copy(traced).wrapped is traced.wrapped is traced_embeddings(traced, tracer).wrapped is inner
    with pytest.raises(AttributeError):
        _ = traced.no_such_thing


@pytest.mark.parametrize("way", DOCUMENTS)
def test_an_error_is_recorded_and_raised_as_it_is(store: Store, tracer: Any, url: str, way: str) -> None:
    traced = traced_embeddings(plain(url, chunk_size=1), tracer)
    for texts in (["refuse"], ["well then", "refuse"]):
        with pytest.raises(openai.RateLimitError, match="Too many cooks"):
            embed(traced, way, texts)
    assert tracer.flush(10)
    refused, half = store.spans(kind="embedding")
    assert refused["status"] == half["status"] == "failed"
    assert refused["error"].startswith("RateLimitError: ")
    assert (refused["total_tokens"], refused["outputs"]) == (None, {"requests": 1})
    # What was answered before the refusal is paid for.
    assert (half["total_tokens"], half["outputs"]) == (2, {"requests": 2})
    assert [run["unmeasured_calls"] for run in store.runs()] == [0, 0]


def test_no_text_is_stored_without_leave(store: Store, database_url: str, url: str) -> None:
    quiet = SupabaseTracer(database_url, capture="metadata")
    masked = SupabaseTracer(database_url, redact=lambda text: text.replace("kelp", "****"))
    for tracer in (quiet, masked):
        traced_embeddings(plain(url), tracer).embed_documents(["secret kelp", "more"])
        assert tracer.flush(10)
    assert "kelp" not in store.dump()
    shapes, texts = store.spans(kind="embedding")
    assert (shapes["inputs"], shapes["total_tokens"]) == ({"texts": 2, "chars": 15}, 3)
    assert texts["inputs"] == {"texts": ["secret ****", "more"]}


def test_a_broken_tracer_breaks_no_call(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(SupabaseTracer):
        def recorder(self) -> Any:
            raise RuntimeError("out of order")

    unreachable = SupabaseTracer(UNREACHABLE)
    broken = Broken(UNREACHABLE)
    for tracer in (unreachable, broken, None):
        # None: there is no database for it.
        traced = traced_embeddings(plain(url), tracer)
        assert traced.embed_query("x") == asyncio.run(traced.aembed_query("x")) == [0.5, 0.25, 1.0]
    unreachable.close(0.1)
    assert broken.stats()["callback_errors"] == {"traced_embeddings": 2}


def test_no_texts_are_no_tokens(store: Store, tracer: Any, url: str) -> None:
    traced_embeddings(plain(url), tracer).embed_documents([])
    assert tracer.flush(10)
    span = store.span(kind="embedding")
    assert (span["input_tokens"], span["cost"], span["outputs"]) == (0, 0, {"vectors": 0, "requests": 0})


def test_very_many_texts_are_cut(store: Store, database_url: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOPSKY_TRACE_MAX_FIELD_BYTES", "1000")
    tracer = SupabaseTracer(database_url)
    traced_embeddings(plain(url), tracer).embed_documents([f"{number:0>300}" for number in range(9)])
    assert tracer.flush(10)
    span = store.span(kind="embedding")
    assert (len(span["inputs"]["texts"]), span["inputs"]["left_out"], span["input_tokens"]) == (3, 6, 9)


@pytest.mark.parametrize("estimates", [False, True])
def test_embeddings_that_state_nothing(
    store: Store, database_url: str, estimates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHOPSKY_TRACE_ESTIMATE_USAGE", str(estimates))
    tracer = SupabaseTracer(database_url)
    fake = DeterministicFakeEmbedding(size=4)
    traced_embeddings(fake, tracer, provider="openai", model=MODEL, name="stand-in").embed_documents(["12345", "678"])
    assert tracer.flush(10)
    span = store.span(kind="embedding", name="stand-in")
    assert span["outputs"] == {"vectors": 2, "dimensions": 4}
    found = span["input_tokens"], span["usage_source"], span["cost_source"], span["cost"]
    assert found == (
        (2, "estimated", "estimated", Decimal("4E-8")) if estimates else (None, "unknown", "unknown", None)
    )


def test_behind_a_cache_only_what_is_asked_is_recorded(store: Store, tracer: Any, url: str) -> None:
    caches = pytest.importorskip("langchain_classic.embeddings.cache")
    from langchain_core.stores import InMemoryByteStore

    traced = traced_embeddings(plain(url), tracer)
    cached = caches.CacheBackedEmbeddings.from_bytes_store(
        traced, InMemoryByteStore(), namespace=MODEL, key_encoder="sha256"
    )
    cached.embed_documents(["one", "two"])
    assert len(cached.embed_documents(["one", "two", "three"])) == 3
    assert tracer.flush(10)
    assert [span["inputs"]["texts"] for span in store.spans(kind="embedding")] == [["one", "two"], ["three"]]


def _cohere(url: str) -> Any:
    package = pytest.importorskip("langchain_cohere")
    return package.CohereEmbeddings(model="embed-v4.0", cohere_api_key="none", base_url=url)


def _mistral(url: str) -> Any:
    package = pytest.importorskip("langchain_mistralai")
    tokenizers = pytest.importorskip("tokenizers")
    # Its own is downloaded.
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    return package.MistralAIEmbeddings(
        model="mistral-embed", api_key="none", endpoint=url, max_retries=1, tokenizer=tokenizer
    )


def _bedrock(url: str) -> Any:
    package = pytest.importorskip("langchain_aws")
    return package.BedrockEmbeddings(
        model_id="amazon.titan-embed-text-v2:0",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )


def _google(url: str) -> Any:
    package = pytest.importorskip("langchain_google_genai")
    return package.GoogleGenerativeAIEmbeddings(model="gemini-embedding-001", google_api_key="none", base_url=url)


def google_states() -> bool:
    """Whether this release of Google's SDK passes on the tokens that its API states."""
    from google.genai.types import EmbedContentResponse

    return "usage_metadata" in EmbedContentResponse.model_fields


def _ollama(url: str) -> Any:
    return pytest.importorskip("langchain_ollama").OllamaEmbeddings(model="nomic-embed-text", base_url=url)


def providers(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """Each provider's own way to answer, with seven tokens for each request."""
    if path.startswith("/model/"):
        return {"embedding": [0.5, 1.0], HEADERS: {"x-amzn-bedrock-input-token-count": "7"}}
    if path.startswith("/api/embed"):
        vectors = [[0.5, 1.0] for _ in request["input"]]
        return {"model": request["model"], "embeddings": vectors, "prompt_eval_count": 7}
    if "texts" in request:
        vectors = {"float": [[0.5, 1.0] for _ in request["texts"]]}
        meta = {"billed_units": {"input_tokens": 7}}
        return {"id": "1", "response_type": "embeddings_by_type", "embeddings": vectors, "texts": [], "meta": meta}
    if "requests" in request:
        return {
            "embeddings": [{"values": [0.5, 1.0]} for _ in request["requests"]],
            "usageMetadata": {"promptTokenCount": 7},
        }
    data = [{"index": i, "embedding": [0.5, 1.0]} for i in range(len(request["input"]))]
    return {"data": data, "model": request["model"], "usage": {"prompt_tokens": 7, "total_tokens": 7}}


# The SDKs use what pydantic and aiohttp advise against, and leave their sessions open.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("way", DOCUMENTS)
@pytest.mark.parametrize("make", [_cohere, _mistral, _bedrock, _google, _ollama], ids=lambda make: make.__name__)
def test_what_each_provider_states(store: Store, tracer: Any, make: Callable[[str], Any], way: str) -> None:
    with scripted_server(providers) as url:
        traced: Any = traced_embeddings(make(url), tracer)
        assert embed(traced, way, ["one text"]) == [[0.5, 1.0]]
        gc.collect()
    assert tracer.flush(10)
    span = store.span(kind="embedding")
    assert span["model_requested"] == (getattr(traced, "model", None) or traced.model_id)
    told = (7, 7, "reported") if make is not _google or google_states() else (None, None, "unknown")
    assert (span["input_tokens"], span["total_tokens"], span["usage_source"]) == told
    assert span["outputs"] == {"vectors": 1, "dimensions": 2, "requests": 1}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_recorded_exchange(store: Store, tracer: Any, asynchronous: bool) -> None:
    vcr = pytest.importorskip("vcr")
    cassette_path = SHARED / "openai" / "embeddings.yaml"
    if not cassette_path.exists():
        pytest.skip("the recordings are not at hand")
    recorder = vcr.VCR(record_mode="none", match_on=["method", "host", "path"], decode_compressed_response=True)
    with recorder.use_cassette(str(cassette_path)) as cassette:
        inner = OpenAIEmbeddings(
            model="text-embedding-ada-002", api_key="none", max_retries=0, check_embedding_ctx_length=False
        )  # type: ignore[arg-type]  # its own Secret type
        way = "aembed_documents" if asynchronous else "embed_documents"
        (vector,) = embed(traced_embeddings(inner, tracer), way, ["disallowed special token '<|endoftext|>'"])
    assert cassette.play_count == 1
    assert tracer.flush(10)
    span = store.span(kind="embedding")
    assert (span["input_tokens"], span["total_tokens"], span["outputs"]["dimensions"]) == (11, 11, len(vector))
    # 0.10 USD a million tokens.
    assert (span["model"], span["cost"]) == ("text-embedding-ada-002-v2", Decimal("0.0000011"))


def test_what_answers_without_a_length_ends_all_the_same(store: Store, tracer: Any) -> None:
    class Odd(DeterministicFakeEmbedding):
        def embed_query(self, text: str) -> Any:
            return None

        def embed_documents(self, texts: list[str]) -> Any:
            return iter(super().embed_documents(texts))

    traced = traced_embeddings(Odd(size=3), tracer)
    assert traced.embed_query("one") is None
    assert len(list(traced.embed_documents(["one", "two"]))) == 2
    assert tracer.flush(10)
    assert [span["status"] for span in store.spans(kind="embedding")] == ["completed", "completed"]
