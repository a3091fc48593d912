"""The schema as the catalogue has it: the source of sql/schema.sql, and the comparison with it."""

from __future__ import annotations

import re
from importlib.resources import files

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection

HEADING = re.compile(r"^--: (.+)$", re.MULTILINE)
HEADER = """\
-- The whole schema after the last migration, to be read. Written from the catalogue by `make schema`: never edit it.
set check_function_bodies = off;
"""
# Made to be replaced by the database's owner; and grants may be widened.
REPLACEABLE = ("function public.chopsky_tenant_id()", "function public.chopsky_reads_tenant()")


def dump(connection: Connection) -> str:
    """The schema `public` as SQL: the same text on every PostgreSQL from 15 to 18."""
    with connection.transaction():
        # Names are then written with their schema, whatever the role's search path.
        connection.execute("set local search_path = ''")
        rows = connection.execute(statements.load("catalogue.sql")["schema_objects"]).fetchall()
    return HEADER + "".join(f"\n--: {kind} {name}\n{sql}\n" for _, kind, name, sql in rows)


def snapshot() -> str:
    """sql/schema.sql: the dump as it was when it was last written."""
    return (files("chopsky_trace") / "sql" / "schema.sql").read_text("utf-8")


def objects(text: str) -> dict[str, str]:
    """A dump's statements, each under its heading."""
    parts = HEADING.split(text)[1:]
    return {heading: sql.strip() for heading, sql in zip(parts[::2], parts[1::2], strict=True)}


def lacking(connection: Connection) -> list[str]:
    """Headings of what the snapshot has and the database lacks or has otherwise; what it has more is its own."""
    there = objects(dump(connection))
    lacks: list[str] = []
    for heading, sql in objects(snapshot()).items():
        if heading.startswith(("grant", "comment")) or (heading in REPLACEABLE and heading in there):
            continue
        if there.get(heading) != sql:
            lacks.append(heading + ("" if heading not in there else " (differs)"))
    return lacks
