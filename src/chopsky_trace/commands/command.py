"""What every command has: the database, --json, and errors as one line.

Exit codes: 0 fine, 1 failed or problems found, 2 wrong usage.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, wraps
from typing import Any

import click
from rich.console import Console, RenderableType

from chopsky_trace import moments
from chopsky_trace.commands import interrupt, present
from chopsky_trace.database.connect import Connection, connect
from chopsky_trace.database.read import Reader
from chopsky_trace.errors import TraceError
from chopsky_trace.settings import PREFIX, Settings, Target, resolve_target

DEBUG = PREFIX + "DEBUG"


class Commands(click.Group):
    """A group whose commands end an error in one line, unless CHOPSKY_TRACE_DEBUG is set, and Ctrl-C without a word."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a failure is exit code 1."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except (KeyboardInterrupt, Exception) as error:
            if interrupt.is_behind(error):
                # Click would say that it aborted, and end with 1 like a failure.
                raise click.exceptions.Exit(interrupt.INTERRUPTED) from None
            if os.environ.get(DEBUG, "").strip().lower() in ("1", "true", "yes", "on"):
                raise
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            raise click.ClickException(told(error)) from None


def told(error: BaseException) -> str:
    """An error as one line. What is not ours is named only by its type: its words may hold a secret."""
    if isinstance(error, TraceError):
        return present.one_line(error, 2_000)
    if isinstance(error, OSError) and error.strerror:
        return present.one_line(f"{error.strerror}: {error.filename or type(error).__name__}", 500)
    return f"Unexpected {type(error).__name__}. Run it again with {DEBUG}=1 to see where, and report it"


@dataclass
class Call:
    """One command's call: where it reads, and how it answers."""

    database_url: str | None
    as_json: bool

    @cached_property
    def settings(self) -> Settings:
        return Settings.from_env()

    @cached_property
    def target(self) -> Target:
        return resolve_target(self.settings, self.database_url)

    @cached_property
    def console(self) -> Console:
        return present.console()

    @cached_property
    def stderr(self) -> Console:
        return present.console(stderr=True)

    @contextmanager
    def connection(self) -> Generator[Connection]:
        """A connection to the database, closed at the end."""
        opened = connect(self.target, self.settings, application_name="chopsky-trace cli")
        try:
            yield opened
        finally:
            opened.close()

    @contextmanager
    def reader(self) -> Generator[Reader]:
        """A reader of the database."""
        with self.connection() as opened:
            yield Reader(opened)

    def answer(self, data: Mapping[str, object], *text: RenderableType) -> None:
        """The answer: the JSON object alone, or the text for people."""
        if self.as_json:
            click.echo(present.dump(data))
            return
        for part in text:
            self.console.print(part, soft_wrap=isinstance(part, str))


def command(group: click.Group, *, examples: str, **attributes: Any) -> Callable[[Callable[..., None]], click.Command]:
    """Adds a command that takes a Call first, with --json, --database-url and examples at the end of its help."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object and nothing else on stdout.")
        @click.option(
            "--database-url",
            metavar="URL",
            help="Postgres URL, or `embedded`. Prefer the variable: other users see arguments.",
        )
        @wraps(function)
        def run(*, as_json: bool, database_url: str | None, **arguments: Any) -> None:
            with interrupt.raising():
                function(Call(database_url, as_json), **arguments)

        epilog = "\b\nExamples:\n" + "\n".join(f"  chopsky-trace {line}" for line in examples.strip().splitlines())
        return group.command(epilog=epilog, **attributes)(run)

    return decorate


def moment(value: str) -> datetime:
    """A time: 30m, 24h, 7d, 2w (ago), or an ISO date or time (local where it names no zone); always with its zone.

    Raises:
        click.BadParameter: it is neither.
    """
    try:
        return moments.moment(value).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is neither like 24h or 7d, nor an ISO date like 2026-01-31") from None


def prepare_output() -> None:
    """A character that the output's encoding lacks is shown as an escape, and ends no command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
