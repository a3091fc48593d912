"""The steps that the schema is made of: numbered files of the package, and the ledger of those that were applied."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

from chopsky_trace.errors import MigrationError

FILE = re.compile(r"(\d{3})_([a-z0-9_]+)\.sql")
CREATED = re.compile(
    r"^\s*create (?:or replace )?(?P<kind>table|view|function) public\.(?P<name>[a-z_]+)", re.MULTILINE
)
# One key for every version of this package, in every database: "chopsky" as a number.
LOCK = 0x63686F70736B79

LEDGER = """
create table public.chopsky_migrations (
    number integer primary key,
    name text not null,
    sha256 text not null,
    applied_at timestamptz not null default now()
);
comment on table public.chopsky_migrations is 'The steps of chopsky-trace''s schema that were applied here.';
revoke all on table public.chopsky_migrations from public;
alter table public.chopsky_migrations enable row level security;
"""
# Once step 0 has made the API's roles where they were missing.
LEDGER_GRANTS = """
revoke all on table public.chopsky_migrations from anon, authenticated, service_role;
grant select on table public.chopsky_migrations to service_role;
drop policy if exists chopsky_migrations_service on public.chopsky_migrations;
create policy chopsky_migrations_service on public.chopsky_migrations for select to service_role using (true);
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered file, and the one that takes it back."""

    number: int
    name: str
    sql: str
    undo: str

    @property
    def sha256(self) -> str:
        return sha256(self.sql.encode()).hexdigest()

    @property
    def file(self) -> str:
        return f"{self.number:03d}_{self.name}.sql"

    @property
    def creates(self) -> frozenset[str]:
        """Names of the tables, views and functions that this step makes in `public`."""
        return frozenset(match["name"] for match in CREATED.finditer(self.sql))


@cache
def steps() -> tuple[Step, ...]:
    """Every step that the package has, in order.

    Raises:
        MigrationError: a number is missing or there twice, or a step has no rollback.
    """
    folder = files("chopsky_trace") / "sql" / "migrations"
    found: list[Step] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        match = FILE.fullmatch(entry.name)
        if match is None:
            continue
        undo = folder / "rollback" / entry.name
        if not undo.is_file():
            raise MigrationError(f"{entry.name} has no rollback")
        found.append(Step(int(match[1]), match[2], entry.read_text("utf-8"), undo.read_text("utf-8")))
    if [step.number for step in found] != list(range(len(found))):
        raise MigrationError("The migrations' numbers are not 000, 001, 002, ...")
    return tuple(found)


def known_number() -> int:
    """The highest migration number that this version of the package has."""
    return steps()[-1].number
