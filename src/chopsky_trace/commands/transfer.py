"""`chopsky-trace export` and `import`: runs into a file, and back row for row."""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Literal, cast

import click
import orjson
from rich.progress import Progress

from chopsky_trace.commands import present
from chopsky_trace.commands.command import Call, command, moment
from chopsky_trace.database import migrate as migrations
from chopsky_trace.database import transfer as store
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.read import explained
from chopsky_trace.database.transfer import Chosen
from chopsky_trace.errors import LinesRefusedError, SchemaError, TransferError
from chopsky_trace.records import STATUSES

VERSION = 1
HEAD = "chopsky_trace_export"
BATCH_LINES = 50
BATCH_BYTES = 8_000_000
"""Lines of one transaction of an import: so many, or so large together."""
COUNTS = ("runs", "present", "refused", "sessions", "spans", "messages", "contents", "prefixes", "feedback", "profiles")
ALONE = ("messages", "profiles", "feedback")
"""What a line may have without a run or a session."""
FILTERS = (
    click.option("--project", help="Runs filed there."),
    click.option("--tenant", "tenant_id", help="Runs of this tenant."),
    click.option("--user", "user_id", help="Runs of this user."),
    click.option("--session", "session_id", help="Runs of this session."),
    click.option("--status", type=click.Choice(STATUSES), help="Runs in this state."),
    click.option(
        "--since", type=moment, metavar="TIME", help="Runs that started since: 24h, 7d, or an ISO date or time."
    ),
    click.option("--until", type=moment, metavar="TIME", help="Runs that started before."),
)


def add_to(main: click.Group) -> None:
    """Adds the commands."""
    made: Any = export
    for option in reversed(FILTERS):
        made = option(made)
    command(
        main,
        name="export",
        examples="export runs.jsonl\nexport runs.jsonl --tenant acme --since 30d\nexport said.csv --user ann\n"
        "export - --format csv --rows runs",
    )(made)
    command(main, name="import", examples="import runs.jsonl\nimport - --json < runs.jsonl")(import_)


@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default="-")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv"]), help="Default: by the file's suffix, else jsonl."
)
@click.option(
    "--rows", type=click.Choice(["messages", "runs"]), help="What a row of CSV is. Default: messages. Not for jsonl."
)
def export(
    call: Call,
    file: str,
    form: Literal["jsonl", "csv"] | None,
    rows: store.Table | None,
    since: datetime | None,
    until: datetime | None,
    **chosen: Any,
) -> None:
    """Write runs to a file.

    As JSON, a line a run with its session, messages, spans, payloads and feedback, and what no run brings (sessions,
    messages, feedback, users' profiles): `import` makes the same rows of it. CSV is for people: what was said, or the
    runs. Not in either: policies, prices, and the usage of what was pruned; a backup has them.
    """
    form = form or ("csv" if file.endswith(".csv") else "jsonl")
    if call.as_json and file == "-":
        raise click.UsageError("--json answers on stdout, where the export goes: name a file")
    if rows and form == "jsonl":
        raise click.UsageError("--rows is for CSV: a line of JSON is a run with all that is in it. Say --format csv")
    wanted = Chosen(since=since, until=until, **chosen)
    with call.connection() as connection, _opened(file) as out:
        if form == "csv":
            lines = _csv(
                out, _watched(call, store.table_rows(connection, wanted, rows or "messages"), "Exporting rows")
            )
        else:
            with explained():
                schema = migrations.current_number(connection)
            out.write(orjson.dumps({HEAD: VERSION, "schema": schema}).decode() + "\n")
            lines = 0
            for line in _watched(call, store.export_lines(connection, wanted), "Exporting runs"):
                out.write(line + "\n")
                lines += 1
    if file != "-":
        call.answer({"file": file, "format": form, "lines": lines}, f"{lines:,} lines are in {file}.")


@contextmanager
def _opened(file: str) -> Generator[IO[str]]:
    if file == "-":
        # Whatever the terminal speaks, an export is UTF-8.
        with click.open_file(file, "w", encoding="utf-8") as stream:
            yield stream
        return
    # What was said is for its owner's eyes.
    Path(file).touch(mode=0o600)
    with Path(file).open("w", encoding="utf-8", newline="") as stream:
        yield stream


def _csv(out: IO[str], rows: Iterable[dict[str, Any]]) -> int:
    writer: csv.DictWriter[str] | None = None
    count = 0
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(out, row.keys())
            writer.writeheader()
        # Nobody expects 0E-10 of a cost.
        writer.writerow({k: f"{v:f}" if isinstance(v, Decimal) else v for k, v in row.items()})
        count += 1
    return count


def _watched(call: Call, items: Iterable[Any], told: str) -> Iterator[Any]:
    watched = call.stderr.is_terminal and not call.as_json
    with Progress(console=call.stderr, transient=True, disable=not watched) as progress:
        task = progress.add_task(told, total=None)
        for item in items:
            yield item
            progress.advance(task)


@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
def import_(call: Call, file: str) -> None:
    """Take runs from a file that `export` wrote as JSON lines.

    Every row as it was. Runs that are here already stay as they are; all that is of whom was erased here is refused.
    """
    counts: dict[str, int] = dict.fromkeys(COUNTS, 0)
    with call.connection() as connection:
        with explained():
            known = migrations.current_number(connection)
        if known is None:
            raise SchemaError("The database has no schema of chopsky-trace yet")
        with click.open_file(file, "rb") as stream:
            for batch in _batches(_watched(call, _lines(stream, known), "Importing runs")):
                done = _write(connection, batch)
                for name in COUNTS:
                    counts[name] += done[name]
    names = {"refused": "refused: erased here, or of whom was"}
    lines = [f"{count:>12,}  {names.get(name, name)}" for name, count in counts.items() if count]
    call.answer(counts, *(lines or ["Nothing in the file is new here."]))


def _lines(stream: Iterable[bytes], known: int) -> Iterator[tuple[int, bytes]]:
    """The lines of runs and sessions, with their numbers.

    Raises:
        TransferError: one is none of an export.
        SchemaError: it is of a newer release.
    """
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            read: Any = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise TransferError(f"Line {number} is no JSON: {error}") from None
        told: dict[str, Any] = cast("dict[str, Any]", read) if isinstance(read, dict) else {}
        if HEAD in told:
            schema = told.get("schema")
            if told[HEAD] != VERSION or not isinstance(schema, int) or schema > known:
                raise SchemaError(f"Line {number}: the file is of a newer release than this database's schema")
            continue
        parts = [told.get("run"), told.get("session")]
        alone = not any(parts) and any(isinstance(told.get(name), list) and told[name] for name in ALONE)
        if not (alone or any(parts)) or not all(isinstance(part, dict | None) for part in parts):
            raise TransferError(f"Line {number} is neither a run, a session nor feedback of an export")
        yield number, line.strip()


def _batches(lines: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    batch: list[tuple[int, bytes]] = []
    size = 0
    for number, line in lines:
        if batch and (len(batch) >= BATCH_LINES or size + len(line) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((number, line))
        size += len(line)
    if batch:
        yield batch


def _write(connection: Connection, batch: list[tuple[int, bytes]]) -> dict[str, int]:
    try:
        return store.import_lines(connection, [line for _, line in batch])
    except LinesRefusedError as error:
        if len(batch) == 1:
            told = present.one_line(error.detail, 300)
            raise LinesRefusedError(f"The database refuses line {batch[0][0]}: {told}") from None
    # One of them is to blame: those before it go in, and it is named.
    counts: dict[str, int] = dict.fromkeys(COUNTS, 0)
    for one in batch:
        for name, count in _write(connection, [one]).items():
            counts[name] += count
    return counts
