"""Everything that is read from the tables, as rows: dicts of column name to value (uuid, Decimal, aware datetime)."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import psycopg
from psycopg import errors as pg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from chopsky_trace.database import statements
from chopsky_trace.errors import (
    AmbiguousError,
    BusyError,
    ConnectError,
    HeldError,
    NotFoundError,
    ReadError,
    SchemaError,
)

Row = dict[str, Any]
CostKey = Literal["model", "user", "tenant", "session", "day", "project"]
COST_KEYS: tuple[CostKey, ...] = ("model", "user", "tenant", "session", "day", "project")
TABLES = (
    "conversation_analytics",
    "conversation_contents",
    "conversation_feedback",
    "conversation_messages",
    "conversation_prefixes",
    "conversation_runs",
    "conversation_spans",
    "model_prices",
    "usage_contributions",
    "usage_kept",
    "usage_metrics",
    "usage_totals",
    "writer_status",
)
FUNCTIONS = (
    "chopsky_ingest(json)",
    "conversation_prompt(uuid)",
    "conversation_session_transcript(text,text,text,uuid,uuid,integer)",
    "conversation_transcript(uuid)",
    "recompute_runs(uuid[])",
)
PREFIX_LENGTH = 8
"""Fewest characters of an id that stand for it."""
SHOWN_LENGTH = 13
"""Fewest characters of an id that are shown: the time in a version 7 id, so that a later run seldom shares them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFilter:
    """Which runs; None leaves a column open. `since`: started then or later."""

    user_id: str | None = None
    session_id: str | None = None
    tenant_id: str | None = None
    project: str | None = None
    status: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What an id stands for."""

    kind: Literal["run", "span", "session"]
    id: str
    run_id: UUID | None
    """The run, or the span's run; None for a session."""
    session_key: UUID | None = None
    """Of a session: it alone, where others have its name."""


@contextmanager
def explained() -> Generator[None]:
    """Turns the server's errors into ours, which name the remedy. Parameters' values never go into a message.

    Raises:
        SchemaError: the tables are missing or of another release.
        ReadError: the statement took too long.
        BusyError: somebody else is at the same rows; nothing was changed.
        HeldError: a legal hold forbids it.
        NotFoundError: what a function was asked to change is not there, or not the caller's.
        ConnectError: the connection is gone, or the role may not.
    """
    try:
        yield
    except (pg.LockNotAvailable, pg.DeadlockDetected, pg.SerializationFailure) as error:
        raise BusyError(f"{_reason(error)}. Nothing was changed: try again") from error
    except pg.RestrictViolation as error:
        raise HeldError(_reason(error)) from error
    except pg.NoDataFound as error:
        raise NotFoundError(_reason(error)) from error
    except (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction, pg.InvalidSchemaName) as error:
        raise SchemaError(f"The database lacks what this release reads: {_reason(error)}") from error
    except pg.InsufficientPrivilege as error:
        raise ConnectError(f"The role may not do this: {_reason(error)}") from error
    except pg.QueryCanceled as error:
        raise ReadError(f"The database stopped a statement: {_reason(error)}") from error
    except psycopg.Error as error:
        raise ConnectError(f"The database refused: {_reason(error)}") from error


def _reason(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error) or type(error).__name__
    return text.strip().splitlines()[0]


def _loads(data: str | bytes) -> Any:
    try:
        return json.loads(data)
    except RecursionError:
        # Deeper than Python goes: shown as it is stored.
        return data.decode() if isinstance(data, bytes) else data


class Reader:
    """Reads on one connection (autocommit). Every method raises what `explained` does."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        set_json_loads(_loads, connection)

    def rows(self, name: str, *, file: str = "read.sql", **parameters: object) -> list[Row]:
        """All rows of a named statement."""
        with explained(), self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statements.load(file)[name], parameters).fetchall()

    @contextmanager
    def uncompiled(self) -> Generator[None]:
        """A transaction in which no statement is compiled: that takes seconds for a large one, running it does not."""
        with explained(), self._connection.transaction():
            self._connection.execute("set local jit = off")
            yield

    def runs(
        self, wanted: RunFilter, *, limit: int, after: UUID | None = None, after_at: datetime | None = None
    ) -> list[Row]:
        """A page of runs, newest first; `after` is the last id of the page before, `after_at` its created_at if known.

        Each row has `short_id`: the fewest characters of its id that stand for this run alone.
        """
        found = self.rows("runs", limit=limit, after=after, after_at=after_at, **asdict(wanted))
        for row in found:
            row["short_id"] = _short(str(row["id"]), [str(row.pop(name) or "") for name in ("id_before", "id_after")])
        return found

    def run(self, run_id: UUID) -> Row:
        """One run.

        Raises:
            NotFoundError: it is not stored.
        """
        found = self.rows("run", id=run_id)
        if not found:
            raise NotFoundError(f"No conversation run {run_id}")
        return found[0]

    def find(self, text: str) -> Found:
        """What an id stands for: a run's, span's or session's, or the beginning of a run's or span's.

        The beginning has 8 characters or more. A run is preferred to a span (a root has its run's id), a session named
        exactly so to the beginning of an id. A session's key stands for it too.

        Raises:
            NotFoundError: nothing has this id.
            AmbiguousError: several ids begin so, or several sessions are named so.
        """
        text = text.strip()
        digits = text.replace("-", "").lower()
        is_hex = re.fullmatch(r"[0-9a-f]{1,32}", digits) is not None
        # Anything but a whole uuid may be a session's own name; for a whole one, look there last.
        if len(digits) != 32 or not is_hex:
            session = self._session(text)
            if session:
                return session
        if not is_hex or len(digits) < PREFIX_LENGTH:
            hint = f"; the beginning of an id needs {PREFIX_LENGTH} characters" if is_hex else ""
            raise NotFoundError(f"Nothing has the id {text!r}{hint}")
        found = self._of_prefix(text, digits) or self._session(text.lower()) or self._session(text)
        if found is None and len(digits) == 32:
            keyed = self.rows("session_of_key", session_key=UUID(digits))
            found = Found("session", keyed[0]["session_id"], None, keyed[0]["session_key"]) if keyed else None
        if found is None:
            raise NotFoundError(f"Nothing has the id {text!r}")
        return found

    def _session(self, text: str) -> Found | None:
        rows = self.rows("sessions", session_id=text, limit=4)
        if len(rows) > 1:
            some = "; ".join(_told_apart(row) for row in rows[:3]) + ("; and more" if len(rows) > 3 else "")
            raise AmbiguousError(f"Several sessions are named {text!r}; each has a key of its own: {some}")
        return Found("session", text, None, rows[0]["session_key"]) if rows else None

    def _of_prefix(self, text: str, digits: str) -> Found | None:
        low, high = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
        for kind, name in (("run", "runs_of_prefix"), ("span", "spans_of_prefix")):
            rows = self.rows(name, low=low, high=high, limit=4)
            if len(rows) > 1:
                some = ", ".join(str(row["id"]) for row in rows[:3]) + (", and more" if len(rows) > 3 else "")
                raise AmbiguousError(f"{text!r} is the beginning of several {kind}s: {some}")
            if rows:
                row = rows[0]
                return Found(
                    "span" if kind == "span" else "run", str(row["id"]), row.get("conversation_run_id", row["id"])
                )
        return None

    def session_runs(self, session_key: UUID, *, limit: int, from_run: UUID | None = None) -> list[Row]:
        """A page of a session's runs, oldest first, beginning with `from_run`."""
        return self.rows("session_runs", session_key=session_key, limit=limit, from_run=from_run)

    def session_messages(
        self, session_key: UUID, *, limit: int, from_run: UUID | None = None, after: int = 0, internal: bool = False
    ) -> list[Row]:
        """A page of a session's messages, run after run, beginning in `from_run` after that sequence number."""
        return self.rows(
            "session_messages",
            session_key=session_key, limit=limit, from_run=from_run, after=after, internal=internal,
        )  # fmt: skip

    def messages(self, run_id: UUID, *, limit: int, after: int = 0, internal: bool = False) -> list[Row]:
        """A page of a run's messages, after that sequence number; with the internal ones if asked."""
        return self.rows("messages", run_id=run_id, limit=limit, after=after, internal=internal)

    def feedback(self, run_id: UUID, *, limit: int) -> list[Row]:
        """What was said of a run and of what is in it, the latest first."""
        return self.rows("feedback", run_id=run_id, limit=limit)

    def spans(self, run_id: UUID, *, limit: int, after: UUID | None = None) -> list[Row]:
        """A page of a run's spans by start, without payloads; `after` is the last id of the page before.

        Each row has `short_id`: the fewest characters of its id that stand for this span alone.
        """
        return self._with_short_ids(self.rows("spans", run_id=run_id, limit=limit, after=after))

    def span_ids(self, run_id: UUID, *, limit: int, after: UUID | None = None) -> list[UUID]:
        """A page of the ids of a run's spans by start; `after` is the last id of the page before."""
        return [row["id"] for row in self.rows("span_ids", run_id=run_id, limit=limit, after=after)]

    def spans_below(self, run_id: UUID, span_id: UUID, *, limit: int) -> list[Row]:
        """A span and what is below it, as `spans` has them."""
        return self._with_short_ids(self.rows("spans_below", run_id=run_id, span_id=span_id, limit=limit))

    def _with_short_ids(self, rows: list[Row]) -> list[Row]:
        beside = {row["id"]: row["neighbours"] for row in self.rows("neighbours", ids=[row["id"] for row in rows])}
        for row in rows:
            row["short_id"] = _short(str(row["id"]), [str(other or "") for other in beside[row["id"]]])
        return rows

    def span(self, span_id: UUID) -> Row:
        """One span with its payloads.

        Raises:
            NotFoundError: it is not stored.
        """
        found = self.rows("span", id=span_id)
        if not found:
            raise NotFoundError(f"No span {span_id}")
        return found[0]

    def prompt(self, span_id: UUID) -> list[Row]:
        """The exact prompt of a model call. A row whose role is None is a message that is no longer stored."""
        return self.rows("prompt", span_id=span_id)

    def cost(self, by: CostKey, *, since: datetime | None, limit: int) -> tuple[list[Row], Row | None]:
        """What runs that started since then cost, by one of COST_KEYS, and the sum of all (None: there are no runs).

        Sums are of what is known and None where nothing is; `unpriced_calls` and `unmeasured_calls` count the rest.
        """
        if by == "model":
            found = self.rows("cost_by_model", since=since, limit=limit + 1)
        else:
            found = self.rows("cost_by_run", by=by, since=since, limit=limit + 1)
        # The sum comes first, and comes even where there is nothing to sum.
        total, groups = found[0], found[1:]
        for row in found:
            del row["is_total"]
        return groups, total if total["runs"] else None

    def has_tables(self) -> bool:
        """Whether all of our tables are there, seen by this role or not."""
        return all(row["is_there"] for row in self.rows("grants", tables=list(TABLES)))

    def writers(self, *, limit: int = 100) -> list[Row]:
        """What each writer last said of itself."""
        return self.rows("writers", limit=limit)


def _told_apart(row: Row) -> str:
    named = [f"{name.removesuffix('_id')} {row[name]!r}" for name in ("project", "tenant_id", "user_id")]
    return f"{row['session_key']} ({', '.join(named)})"


def _short(text: str, neighbours: list[str]) -> str:
    """The fewest characters, but SHOWN_LENGTH or more, that tell an id from the ids before and after it."""
    shared = max(
        next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), len(other))
        for other in neighbours
    )
    length = max(SHOWN_LENGTH, shared + 1)
    # Never end with a hyphen: it would look cut off.
    return text[: length + 1] if text[length - 1] == "-" else text[:length]
