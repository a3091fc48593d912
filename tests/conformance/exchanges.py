"""Exchanges with providers: what was asked, what came back, and what the answer truly says of its usage.

Recorded ones are read from a folder beside the project (or CHOPSKY_TEST_CASSETTES) that holds a list of files
(INDEX.csv), a row of true numbers for each request (REQUESTS.csv) and a reader (casslib.py).
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import sys
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("CHOPSKY_TEST_CASSETTES") or Path(__file__).resolve().parents[3] / "shared" / "cassettes")

Row = dict[str, str]


@dataclass(frozen=True)
class Request:
    """One request of an exchange, its answer, and the row of what the answer says."""

    row: Row
    uri: str
    body: Any
    """The request's JSON, {} where there is none."""
    model: str
    answers: tuple[dict[str, Any], ...]
    """The answer's JSON, or each event's of a stream."""

    @property
    def provider(self) -> str:
        return self.row["provider"]

    @property
    def api(self) -> str:
        return self.row["api"]

    @property
    def driver(self) -> str:
        return self.row["driver"]

    @property
    def is_stream(self) -> bool:
        return self.row["streaming"] == "yes"

    @property
    def failed(self) -> bool:
        return int(self.row["http_status"]) >= 400

    @property
    def answering_model(self) -> str | None:
        """The model that the answer names."""
        for answer in self.answers:
            for place in (answer, answer.get("response"), answer.get("message")):
                for name in ("model", "modelVersion"):
                    if isinstance(place, dict) and isinstance(place.get(name), str) and place[name]:
                        return place[name]
        return None

    @property
    def output_items(self) -> list[dict[str, Any]]:
        """What the Responses interface put out."""
        last = self.answers[-1] if self.answers and self.api == "responses" else {}
        return (last.get("response") or last).get("output") or []

    @property
    def grounding(self) -> list[dict[str, Any]]:
        """What Gemini looked up."""
        candidates = [candidate for answer in self.answers for candidate in answer.get("candidates") or ()]
        return [candidate["groundingMetadata"] for candidate in candidates if candidate.get("groundingMetadata")]


@dataclass(frozen=True)
class Exchange:
    """A file of requests."""

    name: str
    path: Path
    requests: tuple[Request, ...]


@lru_cache(1)
def _library() -> Any:
    spec = importlib.util.spec_from_file_location("casslib", FOLDER / "casslib.py")
    assert spec is not None
    assert spec.loader is not None
    library = importlib.util.module_from_spec(spec)
    # Its dataclasses look their own module up.
    sys.modules["casslib"] = library
    spec.loader.exec_module(library)
    return library


@lru_cache(1)
def _rows() -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {}
    with (FOLDER / "REQUESTS.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["file"], []).append(row)
    return rows


def recorded_names() -> list[str]:
    """The recorded exchanges at hand; none where the folder is not there."""
    index = FOLDER / "INDEX.csv"
    if not index.exists():
        return []
    with index.open(newline="") as file:
        return [row["file"] for row in csv.DictReader(file)]


def recorded(name: str) -> Exchange:
    """A recorded exchange by its name in the list."""
    library = _library()
    with warnings.catch_warnings():
        # The reader leaves its file to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        items = library.load(str(FOLDER / name))
    rows = _rows()[name]
    assert len(items) == len(rows), f"{name}: {len(items)} recorded requests, {len(rows)} rows"
    requests = [
        Request(
            row=row,
            uri=item.uri,
            body=item.rjson if isinstance(item.rjson, dict) else {},
            model=library.model_of(item),
            answers=tuple(event for event in library.events(item)[0] if isinstance(event, dict)),
        )
        for item, row in zip(items, rows, strict=True)
    ]
    return Exchange(name, FOLDER / name, tuple(requests))


def number(text: str | None) -> int | None:
    """A cell that holds a count."""
    return int(text) if text else None


def mapping(text: str | None) -> dict[str, Any]:
    """A cell that holds JSON."""
    return json.loads(text) if text else {}
