"""Derives again what the tables say, and lists where they disagree with themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from chopsky_trace.database.read import Reader

CHECKS = {
    "totals": "totals of a run that its spans and messages do not give",
    "analytics": "errors, retries and scores that the run does not give",
    "sessions": "runs whose session has no row",
    "usage": "runs whose calls and messages do not give what they contribute to the usage roll-ups",
    "usage_sums": "usage roll-ups that differ from the sum of what they are made of",
    "message_costs": "calls whose messages do not carry their cost",
    "message_sizes": "calls whose first message does not carry their output tokens",
    "duplicates": "calls that were told of twice and count twice",
    "parts": "parts over their whole, and negative counts",
    "ends_without_start": "ends without starts",
    "active_too_long": "active spans without news for too long",
    "orphans": "spans whose parent is missing inside the mirror",
    "sequences": "messages out of sequence",
    "prompts": "prompts that cannot be rebuilt",
    "references": "references to what is not stored",
}
"""Each check, a statement of sql/check.sql, and what it looks for."""

REFERENCES: tuple[str, ...] = (
    "prompt",
    "output",
    "$message",
    "$messages",
    "$of",
    "$prefix",
    "$text",
    "$document",
    "$media",
)
"""Kinds of reference: a call's prompt and output, what either begins with, and what stands in payloads, messages and
documents."""

WHOLE = ("usage_sums",)
"""Checks that no batch of runs can answer: once, at the end."""

BATCH_RUNS = 500
"""Runs per batch: some thousand spans a statement, so that no statement is long however many runs there are."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One exception: where it is, what is stored, what was derived, and the cause."""

    check: str
    conversation_run_id: UUID | None
    span_id: UUID | None
    message_id: UUID | None
    field: str
    stored: str | None
    derived: str | None
    cause: str
    reference: str | None = None
    """Of a dangling reference what it is: one of REFERENCES."""


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """One batch of runs: how much was looked at, and what was found."""

    runs: int
    spans: int
    messages: int
    prompts: int
    """Of model calls: each was put together again, or is among the findings."""
    findings: list[Finding]


def count_runs(reader: Reader) -> int:
    """How many runs `check` will go through."""
    return int(reader.rows("count_runs", file="check.sql")[0]["runs"])


def check(reader: Reader, *, patience_s: float, batch_runs: int = BATCH_RUNS) -> Iterator[CheckedBatch]:
    """Goes through all runs by id, a batch at a time; reads only.

    A run under way that has had news within `patience_s` is checked for its totals, not for what may still arrive.
    """
    patience = timedelta(seconds=patience_s)
    after: UUID | None = None
    while True:
        batch = reader.rows("batch", file="check.sql", after=after, limit=batch_runs)[0]
        if not batch["runs"]:
            break
        bounds = {"low": batch["low"], "high": batch["high"]}
        with reader.uncompiled():
            findings = [
                Finding(name, **row)
                for name in CHECKS
                if name not in WHOLE
                for row in reader.rows(name, file="check.sql", patience=patience, **bounds)
            ]
            counts = reader.rows("counts", file="check.sql", **bounds)[0]
        yield CheckedBatch(batch["runs"], counts["spans"], counts["messages"], counts["prompts"], findings)
        after = batch["high"]
    rest = [Finding(name, **row) for name in WHOLE for row in reader.rows(name, file="check.sql")]
    if rest:
        yield CheckedBatch(0, 0, 0, 0, rest)
