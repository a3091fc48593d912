"""Which runs are kept with content: LangSmith's own function of the trace id, so that both keep the same ones."""

from __future__ import annotations

from uuid import UUID

import xxhash

MODULUS = 1_000_000


def is_sampled(trace_id: str, rate: float) -> bool:
    """Whether the trace falls below the rate (0 to 1): xxh3-128 of its text modulo a million, as LangSmith does."""
    if rate >= 1:
        return True
    if rate <= 0:
        return False
    text = str(UUID(trace_id))
    return xxhash.xxh3_128_intdigest(text.encode()) % MODULUS / MODULUS < rate
