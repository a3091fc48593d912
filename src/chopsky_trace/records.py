"""What travels from a source to the database: values, no I/O.

A span is two records, a start and an end, each a register that the later record of its kind replaces as a whole.
A record is one JSON object in the journal; these types name its fields. Everything in a record is a pure function of
one event and of what its source had seen of the run, so arrival order cannot matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NotRequired, TypedDict, cast, get_args

from blake3 import blake3

FORMAT = 1
"""Version of the record format; in each record."""

LARGE_BYTES = 65_536
"""From here on BLAKE3 is faster than SHA-256 by several times; of short data it is slower."""
LONG_CHARS = 1_000
"""From this length on, a string in a payload is stored once per run, and a reference stands in its place."""
DOCUMENT_CHARS = 200
"""From this length of its page on, a document is, too."""

Kind = Literal["llm", "chain", "agent", "tool", "retriever", "embedding", "prompt", "parser", "image", "other"]
Role = Literal["user", "assistant", "system", "tool"]
Status = Literal["active", "completed", "failed", "interrupted", "abandoned"]
STATUSES: tuple[Status, ...] = get_args(Status)
Place = Literal["own", "out", "history"]
"""Whose a message row is: the root's own tail, a call's output, or known only as history."""

RANK = {"otel": 1, "langsmith": 2, "langchain": 3}
"""Which source's record of one span stands, when several tell of it: the higher, then the later."""
_RANKS = {source: f"{rank:02d}" for source, rank in RANK.items()}


class Body(TypedDict):
    """A message's content, told once per run; elsewhere its `id` stands for it."""

    id: str
    """First 128 bits, in hex, of the SHA-256 of `core`'s JSON, after redaction."""
    core: list[Any]
    """[role, content (text or parts), tool_calls, tool_call_id, name], empty where absent: what the id is a hash of."""
    name: NotRequired[str]
    """An assistant's name: frameworks set it afterwards, so it is no part of the identity."""
    metadata: NotRequired[Any]


class Content(TypedDict):
    """What payloads repeat, told once per run; elsewhere `{"$text": id}` or `{"$document": id}` stands for it."""

    id: str
    """First 128 bits, in hex, of the SHA-256 of the text in UTF-8, or of the document's JSON with sorted keys."""
    text: NotRequired[str]
    document: NotRequired[Any]


class MessageRef(TypedDict):
    """One message row that follows from this record alone."""

    body: str
    place: Place
    n: int
    """Occurrence among equal bodies of the tail (own) or prompt (history); place among the call's outputs (out)."""
    position: int
    internal: bool
    at: NotRequired[int]
    """Microseconds since 1970, where it is not the record's own time."""
    span: NotRequired[str]
    """The call whose output it is, where it is not the record's own span."""
    chars: NotRequired[int]
    """Its length, where its size in tokens can only be estimated from that."""


class Sizes(TypedDict):
    """Messages whose size in tokens follows from this end, and from no other record.

    Where `before` is told, they share what the call's input exceeds it by, according to their lengths; else the size
    of each is estimated from its length.
    """

    rows: list[tuple[str, Place, int, int]]
    """Body, place, n (as in MessageRef), and length in characters."""
    chars: int
    """Length of all that came to the prompt, these rows included."""
    before: NotRequired[int]
    """Input and visible output, in tokens, of the call that the prompt extends; 0 for the run's first call."""


class Prompt(TypedDict):
    """A call's prompt as references: the first `take` of `extends`' prompt and output, then `bodies`."""

    bodies: list[str]
    extends: NotRequired[str]
    take: NotRequired[int]
    names: NotRequired[dict[str, str]]
    """Place in the prompt, from 0, to the assistant's name there, where it is not what `extends` says; "": none."""


class Scope(TypedDict, total=False):
    """Who and where: from the tracer, the context, metadata, or `configurable`."""

    project: str
    environment: str
    tenant_id: str
    user_id: str
    session_id: str


class SpanStart(TypedDict):
    """A span began. Times are microseconds since 1970 of the client's clock; `seen` is in nanoseconds.

    Without `at`, it began when it was seen.
    """

    v: int
    t: Literal["start"]
    id: str
    run: str
    parent: NotRequired[str | None]
    seen: int
    source: str
    at: NotRequired[int]
    instrumentor: NotRequired[str]
    """Which OpenTelemetry scope made the span; without it the source itself told of it."""
    is_provider: NotRequired[bool]
    """Whether what told of the span wraps a provider's SDK, or is one, and not a framework over it."""
    is_entry: NotRequired[bool]
    """Whether its parent is in another process."""
    native_id: NotRequired[str]
    """The span's own id where it came from, if that is no UUID."""
    kind: Kind
    name: NotRequired[str | None]
    provider: NotRequired[str]
    model: NotRequired[str]
    params: NotRequired[Any]
    tags: NotRequired[list[str]]
    metadata: NotRequired[Any]
    scope: NotRequired[Scope]
    inputs: NotRequired[Any]
    prompt: NotRequired[Prompt]
    question_keys: NotRequired[list[str]]
    """Bodies of what the user said, as far as it is new with this span."""
    bodies: NotRequired[list[Body]]
    messages: NotRequired[list[MessageRef]]
    contents: NotRequired[list[Content]]
    resume: NotRequired[bool]


class SpanEnd(TypedDict):
    """A span ended. `usage` is what the source reported, not yet normalised.

    Without `at`, it ended when it was seen, and lasted since `began` where that is told and not 0.
    """

    v: int
    t: Literal["end"]
    id: str
    run: str
    seen: int
    source: str
    kind: Kind
    at: NotRequired[int]
    began: NotRequired[int]
    """Nanoseconds since 1970."""
    started: NotRequired[int]
    duration_ms: NotRequired[float]
    first_token_ms: NotRequired[float]
    status: Status
    error: NotRequired[str]
    provider: NotRequired[str]
    model: NotRequired[str]
    model_requested: NotRequired[str]
    tenant: NotRequired[str]
    """Whose call it was, as far as its source knew: prices may depend on it, and the start may be in another batch."""
    response_id: NotRequired[str]
    finish_reason: NotRequired[str]
    said: NotRequired[Any]
    """What a LangChain answer says of model, response and usage: those fields follow from it, in the worker."""
    usage: NotRequired[Any]
    lengths: NotRequired[dict[str, int]]
    """Of the call's texts, where tokens are to be estimated from them: `input_chars`, and, of what has them, `messages`
    and `images` of the prompt, and `output_chars`."""
    cached: NotRequired[bool]
    outputs: NotRequired[Any]
    output_bodies: NotRequired[list[str]]
    answer_keys: NotRequired[list[str]]
    """Of a span that is no call, what the user was answered according to it, as `answer_key` makes them."""
    bodies: NotRequired[list[Body]]
    messages: NotRequired[list[MessageRef]]
    sizes: NotRequired[Sizes]
    metadata: NotRequired[Any]
    contents: NotRequired[list[Content]]
    events: NotRequired[list[Any]]
    """The application's own events during the span, at most 100."""


class MessagesTold(TypedDict):
    """Message rows that follow from neither register: from a trace as a whole, or from messages ahead of their span."""

    v: int
    t: Literal["messages"]
    id: str
    """The span that rows belong to which name none."""
    run: str
    seen: int
    source: str
    at: int
    bodies: list[Body]
    messages: list[MessageRef]


class FeedbackTold(TypedDict):
    """What somebody says of a run, a span or a message, which may not be stored yet. It belongs to no register."""

    v: int
    t: Literal["feedback"]
    id: str
    """Follows from what it is about, the user and the key: a later one replaces it."""
    about: str
    """Id of the run, the span or the message."""
    answer: NotRequired[int]
    """Which answer, from 0, of the model call that `about` names is meant."""
    seen: int
    user: NotRequired[str]
    """Who gave it; without it, whose conversation it is."""
    key: str
    thumbs: NotRequired[Literal["up", "down"]]
    score: NotRequired[float]
    value: NotRequired[Any]
    comment: NotRequired[str]
    source: str
    metadata: NotRequired[Any]


Record = SpanStart | SpanEnd | MessagesTold | FeedbackTold


class Usage(TypedDict, total=False):
    """Tokens of one call. A whole includes its parts; an absent or None count is unknown, never 0."""

    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    cache_write_5m_tokens: int | None
    cache_write_1h_tokens: int | None
    reasoning_tokens: int | None
    audio_tokens: int | None
    details: dict[str, Any]
    """Every further count the provider reported, and `violations` of the invariants."""
    source: Literal["reported", "computed", "estimated", "unknown"]


class Cost(TypedDict):
    """Money of one call, in USD as a decimal string, and the rates that made it."""

    amount: str | None
    source: Literal["reported", "computed", "estimated", "unknown"]
    rates: dict[str, Any] | None


def text_of(content: Any) -> str:
    """The text of a message's content, as a person reads it: of parts, the text ones, a line each."""
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        return "" if content is None else str(content)
    texts: list[str] = []
    for part in cast("Sequence[Any]", content):
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            fields = cast("dict[str, Any]", part)
            text = fields.get("text")
            if isinstance(text, str) and fields.get("type") in ("text", "output_text", "input_text", None):
                texts.append(text)
    return "\n".join(texts)


RETRY_TAG = "retry:attempt:"
"""LangChain's tag of an attempt after the first; its number follows."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4_096)
def timestamp(microseconds: int) -> datetime:
    """The moment, in UTC, of microseconds since 1970; exact."""
    return _EPOCH + timedelta(microseconds=microseconds)


def iso_time(seconds: float | None) -> str | None:
    """Seconds since 1970 as JSON has times everywhere: ISO 8601 in UTC."""
    return None if seconds is None else timestamp(round(seconds * 1e6)).isoformat().replace("+00:00", "Z")


VERSION_CHARS = 30


def version(source: str, seen: int, digest: int) -> str:
    """A register's sortable version: source rank, then seen_at, then the record's 32-bit digest: the order is total.

    Always of VERSION_CHARS characters: a JSON integer has at most 20 digits.
    """
    if seen.__class__ is not int:
        raise TypeError("seen is not a number of nanoseconds")
    # Not by format specifications: this is done for every record, and they take four times as long.
    return _RANKS.get(source, "00") + str(seen).zfill(20) + digest.to_bytes(4, "big").hex()


_SHA1 = hashlib.sha1(usedforsecurity=False)
"""Copied, which is faster than to make it anew."""
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""A UUID's 17th digit, of the one that the hash has there."""


def storable(text: str) -> str:
    """Text without NUL and lone surrogates, which neither UTF-8 nor Postgres can hold; halves of a pair are joined."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "\ufffd") if "\0" in text else text


def content_id(data: bytes) -> str:
    """The id of a content: the first 128 bits of its SHA-256, as 32 hex digits."""
    return hashlib.sha256(data).hexdigest()[:32]


def parts_id(core: bytes) -> str:
    """The id of a body that is more than a text: as `content_id`, but of a large one the first 128 bits of its BLAKE3.

    That reads an image's base64 several times as fast. Texts have SHA-256 whatever their size: the database gives what
    is inserted by hand the same id (chopsky_text_body_id).
    """
    return content_id(core) if len(core) < LARGE_BYTES else blake3(core).hexdigest()[:32]


def derived_id(owner: str, *names: str) -> str:
    """The UUID (version 5) of these names under an owner, both as 32 hex digits: the same wherever computed."""
    sha1 = _SHA1.copy()
    sha1.update(bytes.fromhex(owner) + "\x1f".join(names).encode())
    digest = sha1.hexdigest()
    return digest[:12] + "5" + digest[13:16] + _VARIANT[digest[16]] + digest[17:32]


def span_id(text: str) -> str:
    """An id as 32 hex digits, the form that records and rows use.

    Raises:
        ValueError: it is not a UUID.
    """
    found = text if len(text) == 32 else text.replace("-", "")
    if len(bytes.fromhex(found)) != 16:
        raise ValueError(f"not a UUID: {text[:40]!r}")
    return found
