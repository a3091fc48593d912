"""Keeps what was replayed, and prints the report at the end of a run in one process."""

from __future__ import annotations

import pytest
from conformance.report import REPLAYED, show


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REPLAYED] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    replayed = config.stash[REPLAYED]
    if replayed:
        from rich.console import Console

        # Wide enough that a request stays on a line, at a terminal or in a file.
        show(replayed, Console(file=terminalreporter._tw._file, width=200, highlight=False, markup=False))
