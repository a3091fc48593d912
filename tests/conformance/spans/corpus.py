"""Real spans of real instrumentors, and what the provider truly sent: read from `../shared/otel`, where it is."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

FOLDER = Path(os.environ.get("CHOPSKY_TEST_SPANS") or Path(__file__).resolve().parents[4] / "shared" / "otel")
MISSING = "the recorded spans are not at hand (CHOPSKY_TEST_SPANS)"
Row = dict[str, str]


@dataclass(frozen=True, eq=False, repr=False)
class Scenario:
    """What an instrumentor emitted while its SDK talked to a provider, and what that provider sent."""

    instrumentor: str
    name: str
    truth: Row

    def __repr__(self) -> str:
        return self.id

    @property
    def id(self) -> str:
        return f"{self.instrumentor}/{self.name}"

    def count(self, column: str) -> int:
        """A number of the truth."""
        return int(self.truth[column] or 0)

    def values(self, column: str) -> list[str]:
        """What the truth says of each call, the first choice only; nothing of those that it says nothing of."""
        return [value.partition(",")[0] for value in self.truth[column].split(";") if value]

    def file(self, suffix: str) -> Path | None:
        """One of its files; None where it has none."""
        path = FOLDER / self.instrumentor / f"{self.name}{suffix}"
        return path if path.exists() else None

    @cached_property
    def _content(self) -> tuple[bytes, ...]:
        return tuple(path.read_bytes() for suffix in (".pb", ".logs.pb") if (path := self.file(suffix)))

    def tells(self, text: str) -> bool:
        """Whether a text is anywhere in its files."""
        return any(text.encode() in content for content in self._content)

    @cached_property
    def traces(self) -> frozenset[str]:
        """Its traces' ids."""
        found: set[str] = set()
        path = self.file(".pb")
        if path is not None:
            request = ExportTraceServiceRequest.FromString(path.read_bytes())
            found |= {
                span.trace_id.hex()
                for group in request.resource_spans
                for scope in group.scope_spans
                for span in scope.spans
            }
        logs = self.file(".logs.pb")
        if logs is not None:
            told = ExportLogsServiceRequest.FromString(logs.read_bytes())
            found |= {
                record.trace_id.hex()
                for group in told.resource_logs
                for scope in group.scope_logs
                for record in scope.log_records
                if record.trace_id
            }
        return frozenset(found)


@lru_cache(1)
def scenarios() -> tuple[Scenario, ...]:
    """All that are at hand; none where the folder is not there."""
    index = FOLDER / "TRUTH.csv"
    if not index.exists():
        return ()
    with index.open(newline="") as file:
        return tuple(Scenario(row["instrumentor"], row["scenario"], row) for row in csv.DictReader(file))


@dataclass(frozen=True)
class Delivery:
    """One request of a hostile delivery."""

    signal: str
    path: Path


@dataclass(frozen=True)
class Hostile:
    """Known spans, delivered in a way that is allowed and awkward."""

    name: str
    sources: tuple[Scenario, ...]
    deliveries: tuple[Delivery, ...]


def hostile() -> Iterator[Hostile]:
    """The hostile deliveries at hand."""
    folder = FOLDER / "special-batches"
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return
    told: dict[str, Any] = json.loads(manifest.read_text())
    known = {scenario.id: scenario for scenario in scenarios()}
    for name, entry in told.items():
        sources = tuple(known[source] for source in entry["sources"] if source in known)
        yield Hostile(name, sources, tuple(Delivery(one["signal"], folder / one["file"]) for one in entry["order"]))
