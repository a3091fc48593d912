"""Keeps what was replayed, and prints the report at the end of a run in one process."""

from __future__ import annotations

import pytest
from conformance.report import REPLAYED, show
from conformance.spans import report as spans


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REPLAYED] = []
    config.stash[spans.COMPARED] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    replayed, compared = config.stash[REPLAYED], config.stash[spans.COMPARED]
    if not replayed and not compared:
        return
    from rich.console import Console

    # Wide enough that a request stays on a line, at a terminal or in a file.
    console = Console(file=terminalreporter._tw._file, width=200, highlight=False, markup=False)
    if replayed:
        show(replayed, console)
    if compared:
        spans.show(compared, console)
