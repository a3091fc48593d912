"""What providers' SDKs state of an embedding call, read on the way back: LangChain's wrappers drop it.

LangChain's own embedding classes hold their SDK's client in a field. Each call goes through a shallow copy of the
object whose client is seen through a thin proxy, so nothing of the application's is changed, and calls that run at the
same time, in threads or tasks, cannot mix up their numbers. Every attempt that the wrapper makes is one request; an
SDK's own retries are inside a request.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Any, cast

Usage = dict[str, int]
Stated = tuple[Usage | None, str | None]
"""The usage of a response, None where it states none; and the model that answered, where it says."""
Reader = Callable[[Any], Stated | None]
"""None: the response is a refusal."""
TOKEN_HEADER = "x-amzn-bedrock-input-token-count"


def _get(thing: Any, name: str) -> Any:
    if isinstance(thing, Mapping):
        return cast("Mapping[str, Any]", thing).get(name)
    return getattr(thing, name, None)


def _input(count: Any) -> Usage | None:
    """Usage of so many input tokens; an embedding has no output."""
    if isinstance(count, bool) or not isinstance(count, (int, float)) or count < 0 or count != int(count):
        return None
    return {"prompt_tokens": int(count), "total_tokens": int(count)}


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _openai(response: Any) -> Stated:
    usage = _get(response, "usage")
    return _input(_get(usage, "prompt_tokens")) or _input(_get(usage, "total_tokens")), _name(_get(response, "model"))


def _cohere(response: Any) -> Stated:
    return _input(_get(_get(_get(response, "meta"), "billed_units"), "input_tokens")), None


def _mistral(response: Any) -> Stated | None:
    if not response.is_success:
        return None
    # Vectors are long: only what stands behind them is parsed.
    body: bytes = response.content
    at = body.rfind(b'"usage"')
    if at < 0:
        return None, None
    text = body[at + len(b'"usage"') :].decode().lstrip(": \t\r\n")
    usage, _ = json.JSONDecoder().raw_decode(text)
    return _input(_get(usage, "prompt_tokens")) or _input(_get(usage, "total_tokens")), None


def _bedrock(response: Any) -> Stated:
    headers = _get(_get(response, "ResponseMetadata"), "HTTPHeaders")
    count = _get(headers, TOKEN_HEADER)
    return _input(int(count)) if isinstance(count, str) and count.isdecimal() else None, None


def _google(response: Any) -> Stated:
    counted = _input(_get(_get(response, "usage_metadata"), "prompt_token_count"))
    if counted is None:
        # Vertex AI counts each text.
        found = [_get(_get(one, "statistics"), "token_count") for one in _get(response, "embeddings") or ()]
        counted = _input(sum(found)) if found and None not in found else None
    return counted, None


def _ollama(response: Any) -> Stated:
    return _input(_get(response, "prompt_eval_count")), _name(_get(response, "model"))


def _voyage(response: Any) -> Stated:
    return _input(_get(response, "total_tokens")), None


Below = dict[str, "Reader | Below"]
_OPENAI: Below = {"create": _openai}
_MODELS: Below = {"models": {"embed_content": _google}}
_VOYAGE: Below = {"embed": _voyage, "contextualized_embed": _voyage}
CLIENTS: dict[str, dict[str, Below]] = {
    "langchain_openai": {"client": _OPENAI, "async_client": _OPENAI},
    "langchain_cohere": {"client": {"embed": _cohere}, "async_client": {"embed": _cohere}},
    "langchain_mistralai": {"client": {"post": _mistral}, "async_client": {"post": _mistral}},
    "langchain_aws": {"client": {"invoke_model": _bedrock}},
    "langchain_google_genai": {"client": {**_MODELS, "aio": _MODELS}},
    "langchain_ollama": {"_client": {"embed": _ollama}, "_async_client": {"embed": _ollama}},
    "langchain_voyageai": {"_client": _VOYAGE, "_aclient": _VOYAGE},
}
"""Package -> the fields of its embedding classes, the methods below them that ask the provider, and who reads what
comes back.

Only for the packages' own classes: one derived from them may keep something in itself, which a copy would lose.
"""


class Tally:
    """What the requests of one call stated. Threads and tasks may add to it at once."""

    def __init__(self) -> None:
        self._asked: list[None] = []
        self._stated: list[Stated] = []

    @property
    def requests(self) -> int:
        """Requests made, refused ones among them."""
        return len(self._asked)

    @property
    def usage(self) -> Usage | None:
        """The sum over the answers; None where one of them states nothing, or there was none."""
        if not self._stated or any(usage is None for usage, _ in self._stated):
            return None
        total: Usage = {}
        for usage, _ in self._stated:
            for name, count in (usage or {}).items():
                total[name] = total.get(name, 0) + count
        return total

    @property
    def model(self) -> str | None:
        """The model that answered."""
        return next((model for _, model in self._stated if model), None)

    def asked(self) -> None:
        """A request goes out."""
        self._asked.append(None)

    def answered(self, read: Reader, response: Any) -> None:
        """A request was answered."""
        try:
            stated = read(response)
        except Exception:
            # Not of the form that we know: then it states nothing.
            stated = None, None
        if stated is not None:
            self._stated.append(stated)


class _Seen:
    """A client, some of whose methods are looked at; all else is the client's own."""

    __slots__ = ("_below", "_client", "_tally")

    def __init__(self, client: Any, below: Below, tally: Tally) -> None:
        self._client = client
        self._below = below
        self._tally = tally

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        below = self._below.get(name)
        if below is None:
            return value
        return _watched(value, below, self._tally) if callable(below) else _Seen(value, below, self._tally)


def _watched(method: Callable[..., Any], read: Reader, tally: Tally) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        tally.asked()
        answer = method(*args, **kwargs)
        if isawaitable(answer):
            return _later(answer)
        tally.answered(read, answer)
        return answer

    async def _later(answer: Awaitable[Any]) -> Any:
        response = await answer
        tally.answered(read, response)
        return response

    return called


def seen_through(embeddings: Any) -> tuple[Any, Tally | None]:
    """A copy of the embeddings whose requests are counted, and the count; the object itself where that is not known."""
    fields = CLIENTS.get(type(embeddings).__module__.partition(".")[0])
    if fields is None:
        return embeddings, None
    tally = Tally()
    found = copy.copy(embeddings)
    known = False
    # Beside the class's own checks of what is assigned: a proxy is none of its types.
    for place in ("__dict__", "__pydantic_private__"):
        held: dict[str, Any] = getattr(found, place, None) or {}
        for name, below in fields.items():
            if held.get(name) is not None:
                held[name] = _Seen(held[name], below, tally)
                known = True
    return (found, tally) if known else (embeddings, None)
