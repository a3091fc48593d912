"""Fixtures of the OpenTelemetry tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chopsky_trace import SupabaseSpanExporter


@pytest.fixture
def exporter(database_url: str) -> Iterator[SupabaseSpanExporter]:
    """An exporter into the test's own database."""
    made = SupabaseSpanExporter(database_url)
    yield made
    made.shutdown()
