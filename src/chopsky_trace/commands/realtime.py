"""`chopsky-trace realtime`: runs, messages and feedback as Supabase Realtime sends them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import click

from chopsky_trace.commands.command import Call, Commands, command
from chopsky_trace.database import realtime as publication
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.read import explained

NOT_LOGICAL = "Nothing is sent until the server runs with wal_level = logical; it has {}."


@click.group(cls=Commands)
def realtime() -> None:
    """Runs, messages and feedback in Supabase Realtime.

    A subscriber is sent the rows that row level security shows, and of them the columns that `authenticated` may read.
    Of a deleted row everybody is sent the id.
    """


@command(realtime, examples="realtime on\nrealtime on --json")
def on(call: Call) -> None:
    """Send changes of our tables.

    Run it again after a migration or a grant of more columns.
    """
    _answer(call, publication.turn_on)


@command(realtime, examples="realtime off")
def off(call: Call) -> None:
    """Send them no more."""
    _answer(call, publication.turn_off)


@command(realtime, examples="realtime status\nrealtime status --json")
def status(call: Call) -> None:
    """Say what is sent.

    Fails where that is not what a signed-in user may read.
    """
    found = _answer(call, publication.status)
    if any(table.state in ("outdated", "unsafe") for table in found.tables):
        raise click.exceptions.Exit(1)


def _answer(call: Call, do: Callable[[Connection], publication.Realtime]) -> publication.Realtime:
    with call.connection() as connection, explained():
        found = do(connection)
    text = [f"{table.state:<9}{table.table}  {', '.join(table.columns)}".rstrip() for table in found.tables]
    if found.sends_everything:
        text.append(f"The publication {publication.PUBLICATION} sends every table whole.")
    if found.wal_level != "logical" and any(table.state != "off" for table in found.tables):
        text.append(NOT_LOGICAL.format(found.wal_level))
    call.answer({"publication": publication.PUBLICATION, **asdict(found)}, *text)
    return found
