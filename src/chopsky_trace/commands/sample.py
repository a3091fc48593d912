"""`chopsky-trace seed` and `unseed`: sample data to look at, and its removal."""

from __future__ import annotations

import re
from typing import Any

import click

from chopsky_trace.commands.command import Call

COUNTED = ("profiles", "conversations", "runs", "messages", "calls")


def seed(call: Call, email: str) -> None:
    """Make sample conversations for this user, and say what was made."""
    # As the function in the database has it.
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise click.BadParameter(f"{email!r} is no address like ann@example.com", param_hint="--email")
    with call.reader() as reader:
        (row,) = reader.rows("seed", file="sample.sql", email=email)
    made = row["made"]
    told = f"Made {_counted(made)} for {email} (user {made['user_id']})." if any(_counts(made)) else None
    call.answer(
        {"made": {name: made[name] for name in COUNTED}, "user_id": made["user_id"], "email": email},
        told or f"The sample data for {email} are there already (user {made['user_id']}).",
        f"Look at them: chopsky-trace runs --user {made['user_id']}",
    )


def unseed(call: Call) -> None:
    """Remove all sample data, and say what was removed."""
    with call.reader() as reader:
        (row,) = reader.rows("unseed", file="sample.sql")
    removed = row["removed"]
    told = f"Removed {_counted(removed)}." if any(_counts(removed)) else "There are no sample data."
    call.answer({"removed": {name: removed[name] for name in COUNTED}}, told)


def _counts(row: dict[str, Any]) -> list[int]:
    return [row[name] for name in COUNTED]


def _counted(row: dict[str, Any]) -> str:
    parts = [f"{row[name]} {name if row[name] != 1 else name.removesuffix('s')}" for name in COUNTED if row[name]]
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
