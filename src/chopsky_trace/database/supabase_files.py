"""Our steps as migrations of the Supabase CLI: files that `supabase db push` applies, and their names.

Such a file applies its step only where our own ledger does not have it, and enters it there. So it does not matter
who comes first, the CLI or `chopsky-trace migrate`, nor in which order the two learn of each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from chopsky_trace.database import statements as templates
from chopsky_trace.database.steps import LEDGER, LEDGER_GRANTS, LOCK, Step, steps

# The CLI takes files in the order of the time in their names. Ours follow from the step's number alone, so that they
# never change: a minute a step, from a time when no version of this package was out.
FIRST = datetime(2026, 11, 1)  # noqa: DTZ001 - a name, not a moment
OURS = re.compile(r"\d{14}_chopsky_\d{3}_[a-z0-9_]+\.sql")

HEADER = """\
-- {file} of chopsky-trace, written by `chopsky-trace migrations export`: not to be edited.
-- It does nothing where the step is there already, whoever applied it.
"""
LIMITS = (
    "set local statement_timeout = 0",
    "set local lock_timeout = '120s'",
    "set local client_min_messages = warning",
)


@dataclass(frozen=True, slots=True)
class Compared:
    """A folder's files beside what they should be, by name."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    """There, but not as this version writes them."""
    unknown: tuple[str, ...]
    """Of ours by their name, but of no step that this version has: a newer version wrote them."""
    current: tuple[str, ...]


def version(step: Step) -> str:
    """The time in the file's name, which is the version in the CLI's ledger."""
    return (FIRST + timedelta(minutes=step.number)).strftime("%Y%m%d%H%M%S")


def name(step: Step) -> str:
    """The rest of the file's name, as the CLI's ledger has it."""
    return f"chopsky_{step.number:03d}_{step.name}"


def statements(step: Step) -> list[str]:
    """The file's statements, each without its semicolon."""
    first = step.number == 0
    earlier = frozenset[str]().union(*(other.creates for other in steps() if other.number < step.number))
    # A later step may replace a function of an earlier one.
    creates = sorted(step.creates - earlier)
    guard = templates.load("supabase.sql")["guarded_step"].format(
        lock=LOCK,
        ledger=LEDGER if first else "",
        grants=LEDGER_GRANTS if first else "",
        number=step.number,
        sha256=step.sha256,
        file=step.file,
        creates=", ".join(f"'{one}'" for one in creates) or "null",
        sql=step.sql.strip(),
        name=step.name,
    )
    return [HEADER.format(file=step.file) + LIMITS[0], *LIMITS[1:], guard]


def text(step: Step) -> str:
    """The file: the same, whenever and wherever it is written."""
    return "".join(f"{statement};\n" for statement in statements(step))


def all_files() -> dict[str, str]:
    """Every file's text by its name, in order."""
    return {f"{version(step)}_{name(step)}.sql": text(step) for step in steps()}


def single_file() -> str:
    """All steps in one text, for Supabase's SQL editor or psql: all of them, or none."""
    return "\n".join(["begin;\n", *all_files().values(), "commit;\n"])


def compare(folder: Path) -> Compared:
    """What a folder has of our files, and has not; other files are not looked at.

    Raises:
        OSError: the folder or a file cannot be read.
    """
    wanted = all_files()
    there = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    same = {one for one in wanted if one in there and there[one].read_bytes() == wanted[one].encode()}
    return Compared(
        missing=tuple(one for one in wanted if one not in there),
        changed=tuple(one for one in wanted if one in there and one not in same),
        unknown=tuple(sorted(one for one in there if OURS.fullmatch(one) and one not in wanted)),
        current=tuple(one for one in wanted if one in same),
    )


def write(folder: Path) -> Compared:
    """Write what is missing or changed, and nothing else; returns what was found before.

    Raises:
        OSError: the folder cannot be made or written.
    """
    found = compare(folder)
    wanted = all_files()
    folder.mkdir(parents=True, exist_ok=True)
    for one in (*found.missing, *found.changed):
        (folder / one).write_bytes(wanted[one].encode())
    return found
