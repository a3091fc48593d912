"""Makes the requests of an exchange through the real clients, each a conversation run of its own."""

from __future__ import annotations

import asyncio
import re
import warnings
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid4

import vcr
import vcr.cassette
from conformance import clients
from conformance.exchanges import Exchange, Request

MODES = ("sync", "async")


def _path_of(one: Any, other: Any) -> None:
    # A provider's package may by now ask for another version of the same interface.
    assert re.sub(r"^/v\d\w*", "", unquote(one.path)) == re.sub(r"^/v\d\w*", "", unquote(other.path))


def _method_of(one: Any, other: Any) -> None:
    assert one.method.upper() == other.method.upper()


def player() -> Any:
    """A vcr that only plays."""
    made = vcr.VCR(record_mode="none", decode_compressed_response=True)
    made.register_matcher("any_case_method", _method_of)
    made.register_matcher("unquoted_path", _path_of)
    made.match_on = ["any_case_method", "host", "unquoted_path"]
    return made


def replay(exchange: Exchange, tracer: Any, mode: str) -> dict[int, UUID | None]:
    """Make the requests that a model, or recorded embeddings, make.

    Returns:
        by a request's place in the exchange: the id of its run (embeddings choose their own: None). Requests that make
        no call are left out.
    """
    runs: dict[int, UUID | None] = {}
    with warnings.catch_warnings():
        # What the providers' own packages warn of is not ours.
        warnings.simplefilter("ignore")
        with player().use_cassette(str(exchange.path)) as cassette:
            for place, request in enumerate(exchange.requests):
                played = cassette.play_count
                if clients.is_embeddings(request):
                    embeddings = clients.traced(clients.embeddings_of(request), tracer)
                    if embeddings is None:
                        continue
                    _embed(embeddings, request, mode)
                    runs[place] = None
                elif clients.is_model_call(request):
                    runs[place] = _call(request, tracer, mode)
                else:
                    continue
                # Else an error of the player could look like the provider's own.
                assert cassette.play_count == played + 1, f"request {place + 1} was not answered from the recording"
    return runs


def _call(request: Request, tracer: Any, mode: str) -> UUID:
    run = uuid4()
    config: Any = {"callbacks": [tracer], "run_id": run}
    model = clients.client_of(request)
    question, more = clients.question_of(request), clients.told(request)
    try:
        if mode == "async":
            asyncio.run(_acall(model, question, config, more, streams=request.is_stream))
        elif request.is_stream:
            for _ in model.stream(question, config, **more):
                pass
        else:
            model.invoke(question, config, **more)
    except Exception:
        if not request.failed:
            raise
    return run


async def _acall(model: Any, question: Any, config: Any, more: dict[str, Any], *, streams: bool) -> None:
    if streams:
        async for _ in model.astream(question, config, **more):
            pass
    else:
        await model.ainvoke(question, config, **more)


def _embed(embeddings: Any, request: Request, mode: str) -> None:
    texts = request.body["input"]
    texts = [texts] if isinstance(texts, str) else [str(text) for text in texts]
    if mode == "async":
        asyncio.run(embeddings.aembed_documents(texts))
    else:
        embeddings.embed_documents(texts)
