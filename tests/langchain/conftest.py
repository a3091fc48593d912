"""Fixtures of the LangChain tests: a tracer on this test's own database, and a reader of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("lc_conversations", "lc_generated")

# They become importable with the lines above.
from lc_conversations import Talk  # noqa: E402
from lc_support import Recorder, Store  # noqa: E402

if TYPE_CHECKING:
    from chopsky_trace import SupabaseTracer


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    reader = Store(database_url)
    yield reader
    reader.connection.close()


@pytest.fixture
def tracer(database_url: str) -> SupabaseTracer:
    from chopsky_trace import SupabaseTracer

    return SupabaseTracer(database_url)


@pytest.fixture
def talk(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Talk]:
    """Conversations to hold and to prove; every process of it is closed with the test."""
    held = Talk(database_url, tmp_path, monkeypatch.setenv)
    yield held
    held.connection.close()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()
