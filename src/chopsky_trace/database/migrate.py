"""Migrations: numbered files of the package, applied in order, each as a whole or not at all.

A step is one transaction: the advisory lock, the look at the ledger, the file, the ledger's row. Nothing is kept in
the session, so it works behind a transaction pooler, and any number of processes may migrate at once.
An applied file never changes: its sha256 stands in the ledger.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from chopsky_trace.database import catalogue, realtime, supabase_ledger
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.steps import LEDGER, LEDGER_GRANTS, LOCK, Step, known_number, steps
from chopsky_trace.errors import MigrationError, SchemaError

logger = logging.getLogger("chopsky_trace")

# The last step of the release before this one, whose schema this release's writer still works on; None in the first.
PREVIOUS_RELEASE: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Where a database's schema stands."""

    current: int | None
    """The highest applied number; None where nothing was applied."""
    known: int
    """The highest number that this version of the package knows."""
    applied: tuple[int, ...]
    pending: tuple[Step, ...]
    changed: tuple[str, ...]
    """Applied files that are not what they were."""

    @property
    def is_newer(self) -> bool:
        return self.current is not None and self.current > self.known


def current_number(connection: Connection) -> int | None:
    """The highest applied number, or None where nothing was applied."""
    return max(_ledger(connection), default=None)


def status(connection: Connection) -> Status:
    """Where the schema stands; changes nothing."""
    ledger = _ledger(connection)
    return Status(
        current=max(ledger, default=None),
        known=known_number(),
        applied=tuple(sorted(ledger)),
        pending=tuple(step for step in steps() if step.number not in ledger),
        changed=tuple(step.file for step in steps() if ledger.get(step.number, step.sha256) != step.sha256),
    )


def migrate(connection: Connection, *, verify: bool = False) -> list[Step]:
    """Apply what is missing; returns the steps that this call applied.

    Args:
        connection: of a role that may create tables (on Supabase: postgres), in autocommit mode.
        verify: change nothing, return the missing steps, and compare what is there with what it should be.

    Raises:
        MigrationError: a file was changed after it was applied, objects of our names that are not ours stand in the
            way, a statement failed, or, verifying, the schema lacks something.
    """
    if verify:
        return _verify(connection)
    done: list[Step] = []
    while (step := _apply_next(connection)) is not None:
        logger.info("Migration %s applied", step.file)
        done.append(step)
    with _locked(connection):
        applied = _ledger(connection)
        supabase_ledger.record(connection, [step for step in steps() if step.number in applied])
    return done


def rollback(connection: Connection, to: int | None = None) -> list[Step]:
    """Take back every applied step above a number, the highest first; returns them. What they held is lost.

    Args:
        connection: as for migrate.
        to: the step to stay at; -1 takes back all; None takes back the last step only.

    Raises:
        MigrationError: a step is of a newer version of this package, or its rollback failed.
    """
    done: list[Step] = []
    while True:
        with _locked(connection):
            ledger = _ledger(connection)
            top = max(ledger, default=-1)
            if to is None:
                to = top - 1
            if top <= to or not ledger:
                break
            step = next((step for step in steps() if step.number == top), None)
            if step is None:
                raise MigrationError(
                    f"Step {top} is of a newer version of chopsky-trace: take it back with that version"
                )
            with realtime.paused(connection):
                _execute(connection, step.undo, f"rollback/{step.file}")
            if top == 0:
                connection.execute("drop table public.chopsky_migrations")
            else:
                connection.execute("delete from public.chopsky_migrations where number = %s", [top])
            supabase_ledger.forget(connection, step)
        done.append(step)
    return done


def ensure(connection: Connection, auto: bool = False) -> None:
    """Check that the schema is one this version can write to.

    Args:
        connection: in autocommit mode.
        auto: apply what is missing; only for the embedded database, elsewhere by command.

    Raises:
        SchemaError: the schema is missing or too old.
        MigrationError: `auto`, and a step failed.
    """
    current = current_number(connection)
    known = known_number()
    if auto and (current is None or current < known):
        migrate(connection)
        return
    if current is None:
        raise SchemaError("The database has no chopsky-trace schema yet")
    oldest = known if PREVIOUS_RELEASE is None else PREVIOUS_RELEASE
    if current < oldest:
        raise SchemaError(f"The database's schema is at step {current}, but this version needs {oldest}")
    if current > known:
        logger.warning(
            "The database's schema is at step %s, newer than this version's %s: upgrade chopsky-trace soon",
            current,
            known,
        )


def _apply_next(connection: Connection) -> Step | None:
    with _locked(connection):
        ledger = _ledger(connection)
        _refuse_changed(ledger)
        step = next((step for step in steps() if step.number not in ledger), None)
        if step is None:
            return None
        if not ledger:
            _preflight(connection)
            connection.execute(LEDGER)
        _execute(connection, step.sql, step.file)
        if step.number == 0:
            connection.execute(LEDGER_GRANTS)
        connection.execute(
            "insert into public.chopsky_migrations (number, name, sha256) values (%s, %s, %s)",
            [step.number, step.name, step.sha256],
        )
        # A self-hosted PostgREST has no event trigger that tells it; elsewhere nobody listens.
        connection.execute("notify pgrst, 'reload schema'")
    return step


@contextmanager
def _locked(connection: Connection) -> Generator[None, None, None]:
    """A transaction that holds the one lock of all migrators, and ends with it."""
    with connection.transaction():
        # A role's own timeout (Supabase gives postgres two minutes) may not cut an index in half.
        connection.execute("set local statement_timeout = 0")
        connection.execute("set local lock_timeout = '120s'")
        connection.execute("set local client_min_messages = warning")
        connection.execute("select pg_advisory_xact_lock(%s)", [LOCK])
        yield


def _ledger(connection: Connection) -> dict[int, str]:
    # Not by to_regclass: after a wait for the lock it still knows what was not there before, and says nothing is.
    there = connection.execute(
        "select 1 from pg_catalog.pg_class c"
        " where c.relnamespace = to_regnamespace('public') and c.relname = 'chopsky_migrations'"
    )
    if there.fetchone() is None:
        return {}
    try:
        return dict(connection.execute("select number, sha256 from public.chopsky_migrations").fetchall())
    except psycopg.errors.UndefinedColumn:
        raise MigrationError("A table public.chopsky_migrations is there that is not ours") from None
    except psycopg.errors.InsufficientPrivilege:
        raise SchemaError("This role may not read public.chopsky_migrations") from None


def _refuse_changed(ledger: dict[int, str]) -> None:
    for step in steps():
        if ledger.get(step.number, step.sha256) != step.sha256:
            raise MigrationError(
                f"{step.file} was changed after it was applied: a change belongs into a new migration. "
                "An embedded database that nobody needs is made anew once its folder is removed, which "
                "`chopsky-trace stop` names"
            )


def _preflight(connection: Connection) -> None:
    names = sorted(frozenset[str]().union(*(step.creates for step in steps())))
    found = connection.execute(
        """
        select format('%%s public.%%I', case when c.relkind in ('v', 'm') then 'view' else 'table' end, c.relname)
        from pg_catalog.pg_class c
        where c.relnamespace = to_regnamespace('public') and c.relkind in ('r', 'p', 'v', 'm', 'f')
            and c.relname = any (%(names)s)
        union
        select format('function public.%%I', p.proname)
        from pg_catalog.pg_proc p
        where p.pronamespace = to_regnamespace('public') and p.proname = any (%(names)s)
        order by 1
        """,
        {"names": names},
    ).fetchall()
    if found:
        raise MigrationError(
            f"The database has objects of our names that are not ours: {', '.join(name for (name,) in found)}; "
            "nothing was changed. Rename or move them first"
        )


def _execute(connection: Connection, sql: str, file: str) -> None:
    try:
        # Bytes without parameters: the file's statements go as they are, % and all.
        connection.execute(sql.encode())
    except psycopg.Error as error:
        line = error.diag.statement_position and sql.count("\n", 0, int(error.diag.statement_position)) + 1
        place = f"{file}:{line}" if line else file
        raise MigrationError(f"{place}: {error.diag.message_primary or error} ({error.sqlstate})") from error


def _verify(connection: Connection) -> list[Step]:
    ledger = _ledger(connection)
    _refuse_changed(ledger)
    pending = [step for step in steps() if step.number not in ledger]
    if not pending and max(ledger) == known_number():
        lacks = catalogue.lacking(connection)
        if lacks:
            shown = "; ".join(lacks[:10]) + (f"; and {len(lacks) - 10} more" if len(lacks) > 10 else "")
            raise MigrationError(f"The schema is not what the migrations made: {shown}")
    return pending
