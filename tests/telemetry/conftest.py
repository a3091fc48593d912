"""Fixtures of the OpenTelemetry tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "langchain"))

from chopsky_trace import SupabaseSpanExporter


@pytest.fixture
def exporter(database_url: str) -> Iterator[SupabaseSpanExporter]:
    """An exporter into the test's own database."""
    made = SupabaseSpanExporter(database_url)
    yield made
    made.shutdown()


@pytest.fixture
def openai_url() -> Iterator[str]:
    """The address of a loopback server that answers as OpenAI does: a tool call where tools are offered, then text."""
    from lc_openai_server import openai_server

    with openai_server() as url:
        yield url
