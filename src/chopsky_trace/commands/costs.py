"""`chopsky-trace costs`: whether signed-in users may read what their own conversations cost."""

from __future__ import annotations

import click

from chopsky_trace.commands.command import Call, Commands, command
from chopsky_trace.database import costs as grants
from chopsky_trace.database.read import explained


@click.group(cls=Commands)
def costs() -> None:
    """Costs and tokens, for signed-in users to read or not.

    By default they may not. With `on` they read those of their own conversations, and a tenant's admin those of the
    tenant; then the views with costs (`provider_usage_stats`, `conversation_session_totals`, ...) answer them, too.
    """


@command(costs, examples="costs on")
def on(call: Call) -> None:
    """Let signed-in users read what their own conversations cost."""
    with call.connection() as connection, explained():
        _answer(call, grants.show(connection, shown=True))


@command(costs, examples="costs off")
def off(call: Call) -> None:
    """Take it back."""
    with call.connection() as connection, explained():
        _answer(call, grants.show(connection, shown=False))


@command(costs, examples="costs status\ncosts status --json")
def status(call: Call) -> None:
    """Say which columns they may read."""
    with call.connection() as connection, explained():
        _answer(call, grants.status(connection))


def _answer(call: Call, found: grants.Readable) -> None:
    text = [
        f"{'readable' if all(columns.values()) else 'hidden' if not any(columns.values()) else 'partly':<9}"
        f"{table}  {', '.join(columns)}"
        for table, columns in found.items()
    ]
    call.answer({"tables": found}, *text)
