"""What a span says, whatever convention its instrumentor follows."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from chopsky_trace.records import Kind, Role, Scope, Status

Part = dict[str, Any]
"""A part of a message's content, in LangChain's standard form:

{"type": "text", "text"}, {"type": "reasoning", "reasoning"}, {"type": "image" | "audio" | "video" | "file", and one of
"base64", "url", "file_id", and "mime_type"}, or {"type": "non_standard", "value"}.
"""


class ToolCall(NamedTuple):
    """A tool call that an assistant asked for."""

    name: str
    args: Any
    """An object wherever it can be read as one, else the text."""
    id: str | None


class Message(NamedTuple):
    """One message of a prompt or an answer."""

    role: Role
    content: str | list[Part]
    """A text where there is nothing but one text; "" where there is none."""
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    """Of a tool's result: the call that it answers."""
    name: str | None = None
    reasoning: str = ""
    """What an assistant thought first. It is beside the content, as the name is: histories mostly leave it out."""


class Reading:
    """One span, read. A field that nothing was said of has its default."""

    # Defaults on the class: few of them are set on any one span.
    is_genai: bool = False
    """Whether it is about a model, an agent, a tool or retrieval at all; if not, nothing else is read but `scope`."""
    kind: Kind = "other"
    """llm, embedding and image are calls: their usage counts."""
    instrumentor: str = ""
    """Who made the span: the scope's name, without what changes between versions."""
    is_provider: bool = False
    """Whether that wraps a provider's SDK (or is one), and not a framework over it."""
    name: str = ""
    status: Status = "completed"
    error: str | None = None
    """"Type: message", no traceback."""
    started: int = 0
    """Nanoseconds since 1970; not the span's own where that is known to be wrong."""
    ended: int = 0
    first_token_ms: float | None = None
    provider: str | None = None
    """As genai-prices and LangChain name it: openai, anthropic, google_genai, ..."""
    model_requested: str | None = None
    model: str | None = None
    """As the response names it."""
    response_id: str | None = None
    finish_reason: str | None = None
    """As LangChain's callbacks lead to it: stop, length, tool_calls, content_filter, ... one vocabulary."""
    usage: dict[str, Any] | None = None
    """As enrich.usage.normalise takes it, whole including parts; None where the span states none."""
    cached: bool = False
    """A cache of the framework answered, no model."""
    params: dict[str, Any] | None = None
    """Temperature, token limits, tools, ...: as LangChain calls them."""
    scope: Scope
    session_rank: int = 0
    """How sure the session is: 2 stated by the application, 1 made up by the framework for this run, 0 none."""
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] | None = None
    prompt: list[Message] | None = None
    """What a model call was given, system instructions first; None where the span does not say."""
    answers: list[Message] | None = None
    """What it answered: one message a choice."""
    inputs: Any = None
    """What anything but a model call was given: plain data, JSON read."""
    outputs: Any = None
    question: list[Message] | None = None
    """What the user said, as an agent's or a chain's input has it (with the history that it was given)."""
    reply: list[Message] | None = None
    """What the user was answered, as its output has it."""
    partial: tuple[str, ...] = ()
    """What is known to be missing or damaged: "attributes" dropped, "content" cut, ..."""
    parsed: dict[str, Any]
    """Attributes' texts as data, while the span is being read: emptied afterwards."""

    def __init__(self) -> None:
        self.scope = {}
        self.parsed = {}


Half = Literal["prompt", "answer"]


class Heard(NamedTuple):
    """A message that travelled as an event of its own."""

    half: Half
    message: Message
    finish_reason: str | None = None
    choice: int = 0
    """Of an answer: which choice."""
