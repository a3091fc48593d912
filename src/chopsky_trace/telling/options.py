"""What a source was told about how to record, resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from chopsky_trace.records import Scope

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
