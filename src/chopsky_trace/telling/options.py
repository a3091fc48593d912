"""What a source was told about how to record, resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from orjson import dumps

from chopsky_trace.enrich.limit import clean
from chopsky_trace.enrich.secrets import without_secrets
from chopsky_trace.records import Scope
from chopsky_trace.settings import Settings

if TYPE_CHECKING:
    from chopsky_trace.enrich.redact import Redactor

LostField = Callable[[str, Exception], None]
"""Told of a field that could not be read: the span goes on without it."""


class Options:
    """What a tracer was told, resolved."""

    __slots__ = (
        "estimates",
        "max_string",
        "metadata",
        "redactor",
        "sample_rate",
        "scope",
        "tags",
        "with_content",
        "with_inputs",
        "with_outputs",
        "with_shapes",
    )

    def __init__(
        self,
        *,
        scope: Scope,
        tags: tuple[str, ...],
        metadata: Mapping[str, Any],
        redactor: Redactor | None,
        with_content: bool,
        hide_inputs: bool,
        hide_outputs: bool,
        sample_rate: float,
        max_string: int,
        estimates: bool = False,
    ) -> None:
        self.scope = scope
        self.tags = tags
        self.metadata = metadata
        self.redactor = redactor
        self.with_content = with_content
        self.with_inputs = with_content and not hide_inputs
        self.with_outputs = with_content and not hide_outputs
        self.with_shapes = not (with_content and not hide_inputs and not hide_outputs)
        self.sample_rate = sample_rate
        self.max_string = max_string
        self.estimates = estimates

    def told(self) -> bytes | None:
        """What of this a record has to carry that is made of later, as JSON; None where it must be made now, because
        not all of its content may touch the disk."""
        if self.redactor is not None or self.with_shapes or self.sample_rate < 1:
            return None
        found = {"scope": self.scope, "tags": self.tags, "metadata": without_secrets(self.metadata)}
        return dumps(clean({name: value for name, value in found.items() if value}, self.max_string))


def options_told(told: Mapping[str, Any], settings: Settings) -> Options:
    """The options that a record carries."""
    return Options(
        scope=told.get("scope") or {},
        tags=tuple(told.get("tags") or ()),
        metadata=told.get("metadata") or {},
        redactor=None,
        with_content=True,
        hide_inputs=False,
        hide_outputs=False,
        sample_rate=1.0,
        max_string=settings.max_field_bytes,
        estimates=settings.estimate_usage,
    )
