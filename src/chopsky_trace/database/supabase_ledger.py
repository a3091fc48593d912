"""The Supabase CLI's own ledger, `supabase_migrations.schema_migrations`, kept in step with ours.

Only where the CLI has applied one of our files already. Elsewhere nobody exported them, and `supabase db push` refuses
to go on when its ledger has a version that the project's folder has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chopsky_trace.database import statements, supabase_files
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.steps import Step, steps

State = Literal["absent", "without ours", "followed", "denied"]


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What the CLI's ledger has of ours."""

    state: State
    """absent: the CLI was never here. without ours: it applied none of our files. followed: it did, and what is applied
    or taken back here is entered there. denied: this role may not."""
    versions: tuple[str, ...] = ()
    """Our versions that it has."""


def look(connection: Connection) -> LedgerState:
    """What the CLI's ledger has of ours; changes nothing."""
    sql = statements.load("supabase.sql")
    found = connection.execute(sql["cli_ledger"]).fetchone()
    if found is None:
        return LedgerState("absent")
    if not found[0]:
        return LedgerState("denied")
    known = {
        "versions": [supabase_files.version(step) for step in steps()],
        "names": [supabase_files.name(step) for step in steps()],
    }
    versions = tuple(row[0] for row in connection.execute(sql["cli_versions"], known).fetchall())
    return LedgerState("followed" if versions else "without ours", versions)


def record(connection: Connection, applied: Sequence[Step]) -> None:
    """Enter the applied steps that the CLI does not know of, so that it applies none of them again.

    Args:
        connection: in a transaction that holds the migrators' lock.
        applied: every step that is applied.
    """
    found = look(connection)
    if found.state != "followed":
        return
    sql = statements.load("supabase.sql")["cli_record"]
    for step in applied:
        if (version := supabase_files.version(step)) not in found.versions:
            entry = {
                "version": version,
                "name": supabase_files.name(step),
                "statements": supabase_files.statements(step),
            }
            connection.execute(sql, entry)


def forget(connection: Connection, step: Step) -> None:
    """Take a step that was rolled back out of the CLI's ledger, so that it applies it again."""
    if look(connection).state == "followed":
        entry = {"version": supabase_files.version(step), "name": supabase_files.name(step)}
        connection.execute(statements.load("supabase.sql")["cli_forget"], entry)
