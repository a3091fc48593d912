"""`chopsky-trace prices`: the team's own prices, and what has no price or another than the provider said."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from rich.text import Text

from chopsky_trace.commands import present, price_files
from chopsky_trace.commands.command import Call, Commands, command, moment
from chopsky_trace.commands.present import Row
from chopsky_trace.commands.price_files import Format
from chopsky_trace.database import prices as stored
from chopsky_trace.enrich.pricing.model_names import provider_id, tidy
from chopsky_trace.enrich.pricing.price import NO_PRICE
from chopsky_trace.errors import PricesError

LIMIT = click.IntRange(1, 10_000)
FORMAT = click.Choice(["json", "csv"])
NEAREST = 3
"""Known names told beside one that is not."""
SINCE = click.option(
    "--since", type=moment, metavar="TIME", help="Calls that started since: 30m, 24h, 7d, or an ISO date or time."
)


@click.group(cls=Commands)
def prices() -> None:
    """Your own prices, which go before the public price list, and calls without a price.

    They are rows of the table model_prices. Writers read them when they connect and then once a minute; calls that are
    stored already keep their cost.
    """


@command(prices, name="list", examples="prices list\nprices list --json")
def list_(call: Call) -> None:
    """List your own prices."""
    with call.connection() as connection:
        rows = stored.listed(connection)
    told = prices_table(rows, call.console.width) if rows else "No prices of your own: all are from the public list."
    call.answer({"prices": [_entry(row) for row in rows]}, told)


@command(
    prices,
    name="import",
    examples="prices import prices.json\nprices import prices.csv\nprices import - --format json < prices.json",
)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--format", "form", type=FORMAT, help="Default: by the file's suffix.")
def import_(call: Call, file: str, form: Format | None) -> None:
    """Take prices from a file: all of its rows, or none.

    A row with an id replaces the row of that id. One without replaces the row of the same tenant_id, provider, model or
    model_pattern, and valid_from; if there is none, it is added. Rows that the file does not have stay.
    """
    form = _format(file, form)
    try:
        # Bytes: a line's end within a text is part of it.
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        rows = price_files.read(data.decode("utf-8-sig"), form)
    except UnicodeDecodeError:
        raise PricesError(f"{file} is not in UTF-8") from None
    except price_files.FileError as error:
        lines = str(error).splitlines()
        more = f"\n... and {len(lines) - 20} more" if len(lines) > 20 else ""
        told = "\n".join(present.one_line(line, 500) for line in lines[:20])
        raise click.ClickException(f"Nothing was imported from {file}; mend these lines:\n{told}{more}") from None
    with call.connection() as connection:
        done = stored.put(connection, rows)
    call.answer(done, f"{done['added']} added, {done['changed']} changed, {done['unchanged']} as they were.")


@command(prices, examples="prices export prices.json\nprices export prices.csv\nprices export --format csv")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default="-")
@click.option("--format", "form", type=FORMAT, help="Default: by the file's suffix; json on the standard output.")
def export(call: Call, file: str, form: Format | None) -> None:
    """Write your own prices to a file, or to the standard output.

    Importing the file gives the same rows, with the same ids.
    """
    form = form or ("json" if file == "-" else _format(file, None))
    with call.connection() as connection:
        rows = stored.listed(connection)
    text = price_files.write(rows, form)
    if file == "-":
        if call.as_json:
            call.answer({"prices": [_entry(row) for row in rows]})
        else:
            click.echo(text, nl=False)
        return
    Path(file).write_bytes(text.encode())
    call.answer({"file": file, "format": form, "rows": len(rows)}, f"{len(rows)} rows are in {file}.")


@command(prices, examples="prices remove 0198c0de-1f2a-7000-8000-000000000000")
@click.argument("ids", type=click.UUID, nargs=-1, required=True, metavar="ID...")
def remove(call: Call, ids: tuple[UUID, ...]) -> None:
    """Remove prices of your own: all that are named, or none."""
    with call.connection() as connection:
        stored.remove(connection, list(dict.fromkeys(ids)))
    call.answer({"removed": [str(one) for one in dict.fromkeys(ids)]}, f"{len(set(ids))} removed.")


@command(prices, examples="prices unpriced\nprices unpriced --since 7d --json")
@SINCE
@click.option("--limit", type=LIMIT, default=50, show_default=True)
def unpriced(call: Call, since: datetime | None, limit: int) -> None:
    """List calls without a price.

    By provider, model and reason, each with the nearest names that have a price.
    """
    with call.connection() as connection:
        rows = stored.unpriced(connection, since=since, limit=limit + 1)
        own = stored.listed(connection) if rows else []
    page, more = rows[:limit], len(rows) > limit
    for row in page:
        # Where another thing is lacking, the name is right.
        by_name = row["reason"] == NO_PRICE
        row["nearest"] = nearest(row["provider"], row["model"], own) if by_name else []
    text: list[Any] = [unpriced_table(page, call.console.width)] if page else ["Every call has a price."]
    if more:
        text.append(Text(f"Only the first {limit} are listed", style="dim"))
    call.answer({"since": since, "rows": page, "more": more}, *text)


@command(prices, examples="prices compared\nprices compared --since 30d --json")
@SINCE
@click.option("--limit", type=LIMIT, default=50, show_default=True)
def compared(call: Call, since: datetime | None, limit: int) -> None:
    """Compare what providers said that calls cost with what was computed.

    Some say it with each answer: OpenRouter, xAI, Perplexity. Both sums are of the calls that have both.
    """
    with call.connection() as connection:
        rows = stored.compared(connection, since=since, limit=limit + 1)
    page, more = rows[:limit], len(rows) > limit
    text: list[Any] = [compared_table(page, call.console.width)] if page else ["No provider said what a call cost."]
    if more:
        text.append(Text(f"Only the first {limit} are listed", style="dim"))
    call.answer({"since": since, "rows": page, "more": more}, *text)


def nearest(provider: str | None, model: str | None, own: Sequence[Row]) -> list[str]:
    """The names most like a model's that have a price: the provider's of the public list, and those of `own` rows."""
    # Half a second: only where somebody asks.
    from chopsky_trace.enrich.pricing.price_list import PRICE_LIST

    name = tidy(model).lower()
    if not name:
        return []
    seat = provider_id(provider)
    names = {known.lower(): known for known in PRICE_LIST.names(provider)}
    for row in own:
        if row["model"] and (row["provider"] is None or provider_id(row["provider"]) == seat):
            names[row["model"].lower()] = row["model"]
    found = get_close_matches(name, names, NEAREST, 0.5) or get_close_matches(
        name.rpartition("/")[2], names, NEAREST, 0.5
    )
    return [names[one] for one in found]


def _format(file: str, form: Format | None) -> Format:
    suffix = Path(file).suffix.lower()
    if form is None and suffix not in (".json", ".csv"):
        raise click.UsageError("Say --format json or --format csv: the file's suffix does not")
    return form or ("csv" if suffix == ".csv" else "json")


def _entry(row: Row) -> Row:
    """A row as JSON has it: decimals within objects, too, are texts."""
    return {name: price_files.shown(value) for name, value in row.items()}


def prices_table(rows: Sequence[Row], width: int) -> Any:
    """One's own prices; `+` says that a row has more of them than the table shows."""
    cells: list[list[present.Cell]] = []
    for row in rows:
        shown = ("input_mtok", "output_mtok", "cache_read_mtok")
        rates = [present.NONE if row[name] is None else price_files.shown(row[name]) for name in shown]
        further = [name for name in price_files.COLUMNS[10:] if row[name] not in (None, {}, []) and name not in shown]
        more = [name for name in further if name not in ("note", "source")]
        cells.append(
            [
                str(row["id"]),
                present.one_line(row["tenant_id"] or "all", 20),
                present.one_line(row["provider"] or "any", 20),
                present.one_line(row["model"] or f"/{row['model_pattern']}/", 200),
                *rates,
                ", ".join(more) or present.NONE,
                " to ".join(_day(row[name]) for name in ("valid_from", "valid_until")),
            ]
        )
    columns = ("Id", "Tenant", "Provider", "Model", "Input", "Output", "Cache read", "More", "Valid")
    droppable = ("More", "Cache read", "Valid", "Tenant", "Provider")
    right = ("Input", "Output", "Cache read")
    return present.table(columns, cells, width, right=right, flexible="Model", droppable=droppable)


def _day(value: datetime | None) -> str:
    return "any" if value is None else price_files.shown(value).removesuffix("T00:00:00Z")


def unpriced_table(rows: Sequence[Row], width: int) -> Any:
    """Calls without a price."""
    cells: list[list[present.Cell]] = [
        [
            present.one_line(row["provider"] or present.NONE, 20),
            present.one_line(row["model"] or present.NONE, 60),
            f"{row['calls']:,}",
            present.tokens(row["input_tokens"]),
            present.tokens(row["output_tokens"]),
            present.local_time(row["first_seen_at"], seconds=False),
            present.local_time(row["last_seen_at"], seconds=False),
            present.one_line(row["reason"], 80),
            present.one_line(", ".join(row["nearest"]) or present.NONE, 120),
        ]
        for row in rows
    ]
    columns = ("Provider", "Model", "Calls", "Input", "Output", "First", "Last", "Reason", "Nearest names")
    droppable = ("First", "Output", "Input", "Last", "Provider")
    right = ("Calls", "Input", "Output")
    return present.table(columns, cells, width, right=right, flexible="Nearest names", droppable=droppable)


def compared_table(rows: Sequence[Row], width: int) -> Any:
    """Reported beside computed."""
    cells: list[list[present.Cell]] = []
    for row in rows:
        apart, of = row["difference"], row["computed_of_compared"]
        share = "" if not of or apart is None else f" ({apart / of:+.1%})"
        cells.append(
            [
                present.one_line(row["provider"] or present.NONE, 20),
                present.one_line(row["model"] or present.NONE, 60),
                f"{row['calls']:,}",
                f"{row['compared_calls']:,}",
                present.money(row["reported_of_compared"]),
                present.money(of),
                present.UNKNOWN if apart is None else present.money(apart) + share,
                f"{row['differing_calls']:,}",
            ]
        )
    columns = (
        "Provider",
        "Model",
        "Reported calls",
        "Compared",
        "Reported",
        "Computed",
        "Difference",
        "Differing calls",
    )
    droppable = ("Reported calls", "Differing calls", "Provider")
    return present.table(columns, cells, width, right=columns[2:], flexible="Model", droppable=droppable)
