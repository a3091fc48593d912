"""`chopsky-trace migrations`: our migrations as files for the Supabase CLI or its SQL editor."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from chopsky_trace.commands.command import Call, Commands, command
from chopsky_trace.database import supabase_files

FOLDER = "supabase/migrations"
FILE = "chopsky_trace.sql"


@click.group(cls=Commands)
def migrations() -> None:
    """The migrations as files, for the Supabase CLI or its SQL editor."""


@command(
    migrations,
    examples="migrations export\nmigrations export --to supabase/migrations --check\n"
    "migrations export --single-file --to chopsky_trace.sql",
)
@click.option(
    "--to", metavar="PATH", help=f"The folder, by default {FOLDER}; with --single-file the file, by default {FILE}."
)
@click.option("--single-file", is_flag=True, help="All steps in one file, for the SQL editor; - is the output.")
@click.option("--check", is_flag=True, help="Write nothing; fail where a file is missing or not as it should be.")
def export(call: Call, to: str | None, single_file: bool, check: bool) -> None:
    """Write the migrations as the Supabase CLI wants them.

    Each file does nothing where its step is applied already, so `supabase db push` and `chopsky-trace migrate` may both
    be used. Where the project has migrations that are newer, push with --include-all.
    """
    if single_file:
        _export_single(call, to or FILE, check)
        return
    folder = Path(to or FOLDER)
    found = supabase_files.compare(folder) if check else supabase_files.write(folder)
    stale = {"missing": found.missing, "changed": found.changed, "unknown": found.unknown}
    data = {"to": folder, "single_file": False, "check": check, **asdict(found)}
    if check:
        text = [f"{why:<9}{name}" for why, names in stale.items() for name in names]
        call.answer(data, *(text or [f"{folder} has the {len(found.current)} files, as they should be."]))
        if text:
            raise click.exceptions.Exit(1)
        return
    text = [f"wrote    {name}" for name in (*found.missing, *found.changed)]
    text += [f"unknown  {name}: of a newer version of chopsky-trace; it was left" for name in found.unknown]
    total = len(found.missing) + len(found.changed) + len(found.current)
    call.answer(data, *text, f"{folder} has all {total} files.")


def _export_single(call: Call, to: str, check: bool) -> None:
    text = supabase_files.single_file()
    if to == "-":
        if check or call.as_json:
            raise click.UsageError("--to - writes the SQL to the output, and nothing else can be done with it")
        click.echo(text, nl=False)
        return
    file = Path(to)
    if file.is_dir():
        raise click.UsageError(f"{to} is a folder: with --single-file --to names the file")
    there = file.read_bytes() if file.exists() else None
    state = "missing" if there is None else "current" if there == text.encode() else "changed"
    data = {"to": file, "single_file": True, "check": check, "state": state}
    if check:
        call.answer(data, f"{file} is {'as it should be' if state == 'current' else state}.")
        if state != "current":
            raise click.exceptions.Exit(1)
        return
    if state != "current":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    call.answer(data, f"{file} {'was up to date' if state == 'current' else 'is written'}.")
