"""Spans as the journal holds them: what it takes to take their secrets out."""

from __future__ import annotations

import tracemalloc

from chopsky_trace.telemetry import raw


def test_shapes_of_spans_are_remembered_within_bounds() -> None:
    """Flat conventions number their attributes: no two calls of a long conversation need have the same names."""
    wide = {f"llm.input_messages.{n}.message.content": "x" for n in range(1_000)}
    raw.safe(wide)
    tracemalloc.start()
    try:
        for n in range(1_000):
            raw.safe(wide | {f"llm.output_messages.{n}.message.content": "x"})
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A thousand shapes of a thousand names would be 8 MB of references alone.
    assert held < 4_000_000
