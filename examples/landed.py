"""What the examples print at their end: read from the tables by chopsky-trace's own commands."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from chopsky_trace.cli import main as command
from chopsky_trace.database.connect import connect
from chopsky_trace.database.embedded import find_programs, running_url
from chopsky_trace.database.read import Reader, RunFilter
from chopsky_trace.settings import Settings, resolve_target

DATABASE = "CHOPSKY_TRACE_DATABASE_URL"


def choose_database() -> str:
    """Say where this process records; embedded, unless CHOPSKY_TRACE_DATABASE_URL names a database.

    An example never writes into the DATABASE_URL that happens to be set for something else.
    """
    if not os.environ.get(DATABASE):
        os.environ[DATABASE] = "embedded"
    return resolve_target(Settings.from_env()).shown


def show(*arguments: str) -> None:
    """Run a chopsky-trace command here, and show it as one would type it."""
    print(f"\n$ chopsky-trace {' '.join(arguments)}\n")
    command(list(arguments), standalone_mode=False)


def show_session(session_id: str, *views: str) -> None:
    """The session's runs, then the session itself in each of these views: an option of `chopsky-trace show`, or ""."""
    show("runs", "--session", session_id)
    for view in views:
        show("show", session_id, *view.split())


def show_next_steps() -> None:
    """How to look further, as one would type it here."""
    settings = Settings.from_env()
    target = resolve_target(settings)
    name = "chopsky-trace"
    installed = Path(sys.executable).with_name(name)
    if shutil.which(name) is None and installed.exists():
        name = str(installed.relative_to(Path.cwd()) if installed.is_relative_to(Path.cwd()) else installed)
    print("\nTo look further:\n")
    if target.is_embedded:
        # Said even where it is the default: a shell in a container, or one with a DATABASE_URL, would look elsewhere.
        print(f"  export {DATABASE}=embedded")
    for arguments in ("runs", "show RUN", "cost --by session", "tail", "--help"):
        print(f"  {name} {arguments}")
    if target.is_embedded and (url := running_url(settings)):
        print(f"  {shutil.which('psql') or find_programs() / 'psql'} '{url}'")
    else:
        print(f'  psql "${DATABASE}"')


def show_users(spices: Mapping[str, str]) -> int:
    """Compare each user's stored run with what that user asked; 1 where anything crossed."""
    settings = Settings.from_env()
    wrong = stored = 0
    with connect(resolve_target(settings), settings, application_name="chopsky-trace example") as connection:
        reader = Reader(connection)
        for user_id, spice in spices.items():
            runs = reader.runs(RunFilter(user_id=user_id), limit=2)
            stored += len(runs)
            said = [message["content"] for run in runs for message in reader.messages(run["id"], limit=10)]
            wrong += len(runs) != 1 or len(said) != 2 or not all(spice in text for text in said)
    print(f"{stored} runs stored, {wrong} under the wrong user.")
    show("runs", "--user", next(iter(spices)))
    return 1 if wrong else 0
