"""Every test has its own data folder and an environment without other people's settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chopsky_trace.settings import Settings

pytest_plugins = ["fix_postgres", "fix_pgbouncer"]

# What would lead a test to a real service, or to the settings of whoever runs it.
FOREIGN = ("CHOPSKY_TRACE_", "LANGSMITH_", "LANGCHAIN_", "LANGFUSE_", "OTEL_", "SUPABASE_", "PG")
FOREIGN_NAMES = ("DATABASE_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY")


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A clean environment and a data folder of its own; what writers a test leaves are closed after it."""
    for name in list(os.environ):
        if name.startswith(FOREIGN) or name in FOREIGN_NAMES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("CHOPSKY_TRACE_DATA_DIR", str(tmp_path / "data"))
    _forget_langsmith()
    yield
    writer = sys.modules.get("chopsky_trace.writer")
    for left in writer.all_writers() if writer else ():
        left.close(5.0)
    _forget_langsmith()


@pytest.fixture
def tracer_settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings for the test's database, and its own data folder."""
    return Settings(database_url=database_url, data_dir=tmp_path / "data", flush_interval_s=0.02)


def _forget_langsmith() -> None:
    # It remembers the environment's variables for ever.
    utils = sys.modules.get("langsmith.utils")
    if utils is not None:
        utils.get_env_var.cache_clear()
