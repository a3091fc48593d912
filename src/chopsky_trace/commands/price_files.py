"""Files of one's own prices: JSON or CSV -> rows of `model_prices`, and back. Money never passes through a float."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, cast
from uuid import UUID

from chopsky_trace.database.prices import exact
from chopsky_trace.enrich.pricing.overrides import ABOVE, FACTORS, RATE_COLUMNS, rates_of
from chopsky_trace.enrich.pricing.patterns import Pattern
from chopsky_trace.enrich.pricing.rates import plain

Row = dict[str, Any]
Format = Literal["json", "csv"]

FACTOR_COLUMNS = tuple(FACTORS.values())
MONEY = (*RATE_COLUMNS, "request_usd")
COLUMNS = (
    "id", "tenant_id", "provider", "model", "model_pattern", "valid_from", "valid_until",
    *RATE_COLUMNS, "other_rates", "tiers", *FACTOR_COLUMNS, "request_usd", "note", "source",
)  # fmt: skip
"""Of a file, in this order; all but a name and a price may be left out."""
KEY = ("tenant_id", "provider", "model", "model_pattern", "valid_from")
"""What an import finds the row by that it replaces, where the file names no id."""
MAX_FINE = 12
"""Digits after the point of a price."""


class FileError(ValueError):
    """What is wrong with a file, a line each."""


def read(text: str, form: Format) -> list[Row]:
    """The rows of a file, each with all COLUMNS.

    Raises:
        FileError: lines that cannot be imported, each with its number and a remedy.
    """
    rows: list[Row] = []
    wrong: list[str] = []
    seen: dict[Any, int] = {}
    for line, given in _json_rows(text) if form == "json" else _csv_rows(text):
        try:
            row = _row(given)
            names = [(name, row[name]) for name in KEY]
            keys = [tuple((n, v.lower() if n == "model" and v else v) for n, v in names)]
            keys += [("id", row["id"])] if row["id"] else []
            for key in keys:
                if key in seen:
                    raise ValueError(f"the same row as on line {seen[key]}: keep one of them")
                seen[key] = line
            rows.append(row)
        except ValueError as error:
            wrong.append(f"line {line}: {error}")
    if wrong:
        raise FileError("\n".join(wrong))
    return rows


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each object of an array, with the line where it begins."""
    decoder = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal)
    blank = re.compile(r"\s*")

    def skip(at: int) -> int:
        found = blank.match(text, at)
        return found.end() if found else at

    def broken(at: int, why: str) -> FileError:
        return FileError(f"line {text.count(chr(10), 0, at) + 1}: {why}; the file is an array of objects")

    at = skip(0)
    if text[at : at + 1] != "[":
        raise broken(at, "no [ at the beginning")
    at = skip(at + 1)
    while text[at : at + 1] != "]":
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise broken(error.pos, error.msg) from None
        except RecursionError:
            raise broken(at, "too deep") from None
        if not isinstance(value, dict):
            raise broken(at, "not an object")
        yield text.count("\n", 0, at) + 1, cast("dict[str, Any]", value)
        at = skip(end)
        if text[at : at + 1] == ",":
            at = skip(at + 1)
        elif text[at : at + 1] != "]":
            raise broken(at, "a comma or ] is missing")
    if skip(at + 1) < len(text):
        raise broken(at + 1, "something follows the array")


def _csv_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each row by the heading's names, with the line where it begins; an empty cell says nothing."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    begins = 1
    try:
        heading = [name.strip() for name in next(reader, list[str]())]
        if len(set(heading)) < len(heading):
            raise FileError("line 1: a column is there twice")
        begins = reader.line_num + 1
        for cells in reader:
            if cells:
                if len(cells) != len(heading):
                    raise FileError(f"line {begins}: {len(cells)} cells under {len(heading)} columns")
                yield begins, {name: cell for name, cell in zip(heading, cells, strict=True) if cell != ""}
            begins = reader.line_num + 1
    except csv.Error as error:
        raise FileError(f"line {begins}: {error}") from None


def _row(given: Mapping[str, Any]) -> Row:
    """A row of the table.

    Raises:
        ValueError: what is wrong with it, and what would be right.
    """
    unknown = sorted(given.keys() - set(COLUMNS))
    if unknown:
        raise ValueError(f"no column is named {unknown[0][:60]!r}; there are: {', '.join(COLUMNS)}")
    row: Row = dict.fromkeys(COLUMNS)
    for name, value in given.items():
        if value is not None:
            row[name] = _READERS.get(name, _text)(name, value)
    if (row["model"] is None) == (row["model_pattern"] is None):
        raise ValueError("give either model, a whole name, or model_pattern, a regular expression")
    if row["model_pattern"] is not None:
        try:
            Pattern(row["model_pattern"])
        except ValueError as error:
            raise ValueError(f"model_pattern: {error}") from None
    elif len(row["model"]) > 512:
        raise ValueError("model is longer than 512 characters")
    if row["provider"] is not None:
        row["provider"] = row["provider"].lower()
    if row["valid_from"] and row["valid_until"] and row["valid_from"] >= row["valid_until"]:
        raise ValueError("valid_until is not after valid_from: it is the first moment that the price no longer holds")
    row["other_rates"] = row["other_rates"] or {}
    row["tiers"] = row["tiers"] or []
    if all(row[name] is None for name in ("input_mtok", "output_mtok", "request_usd")) and not row["other_rates"]:
        raise ValueError("no price: give input_mtok and output_mtok in USD per million tokens; 0 where it is free")
    rates_of(row, origin="")
    return row


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{name} is a text that is not empty")
    return value


def _id(name: str, value: Any) -> UUID:
    try:
        return UUID(_text(name, value))
    except ValueError:
        raise ValueError(f"{name} is the id that an export gave, or left out for a new row") from None


def _moment(name: str, value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(name, value))
        # A date is its first moment in UTC: prices change for everybody at once.
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} is an ISO date or time such as 2026-01-31 or 2026-01-31T12:00:00Z, in UTC") from None
    if not 1970 <= moment.year <= 9998:
        raise ValueError(f"{name} is no year between 1970 and 9998")
    return moment


def _number(name: str, value: Any, *, below: int = 10**9, fine: int = MAX_FINE) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"{name} is a number such as 2.5")
    try:
        number = Decimal(value.strip() if isinstance(value, str) else value)
    except InvalidOperation:
        raise ValueError(f"{name} is a number such as 2.5, with a point and without a currency") from None
    if not number.is_finite() or not 0 <= number < below:
        raise ValueError(f"{name} is 0 or more, and less than {below:,}")
    if number and number.adjusted() < -fine:
        # Before it is written out: an exponent may ask for a gigabyte of zeros.
        raise ValueError(f"{name} has more than {fine} digits after the point")
    number = Decimal(plain(number))
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > fine:
        raise ValueError(f"{name} has more than {fine} digits after the point")
    return number


def _factor(name: str, value: Any) -> Decimal:
    return _number(name, value, below=1_000, fine=6)


def _fee(name: str, value: Any) -> Decimal:
    return _number(name, value, below=1_000_000)


def _json(name: str, value: Any) -> Any:
    """From a cell, or as it stands in JSON already."""
    if not isinstance(value, str):
        return value
    try:
        return exact(value)
    except (ValueError, RecursionError):
        raise ValueError(f"{name} is JSON") from None


def _rates(name: str, value: Any) -> dict[str, Decimal]:
    found = _json(name, value)
    if not isinstance(found, dict):
        raise ValueError(f'{name} is an object such as {{"input_audio_mtok": "40", "web_searches_kcount": "10"}}')
    return {key: _number(f"{name}: {key}", one) for key, one in cast("dict[str, Any]", found).items()}


def _tiers(name: str, value: Any) -> list[dict[str, Decimal]]:
    found = _json(name, value)
    like = f'{name} is an array such as [{{"{ABOVE}": 200000, "input_mtok": "6", "output_mtok": "22.5"}}]'
    if not isinstance(found, list):
        raise ValueError(like)
    tiers: list[dict[str, Decimal]] = []
    for entry in cast("list[Any]", found):
        if not isinstance(entry, dict) or ABOVE not in entry or len(cast("Row", entry)) < 2:
            raise ValueError(like)
        tier = {key: _number(f"{name}: {key}", one, below=10**12) for key, one in cast("Row", entry).items()}
        if tier[ABOVE] != int(tier[ABOVE]):
            raise ValueError(f"{name}: {ABOVE} is a whole number")
        tiers.append(tier)
    return tiers


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "id": _id,
    "valid_from": _moment,
    "valid_until": _moment,
    "other_rates": _rates,
    "tiers": _tiers,
    "request_usd": _fee,
    **dict.fromkeys(RATE_COLUMNS, _number),
    **dict.fromkeys(FACTOR_COLUMNS, _factor),
}


def write(rows: Sequence[Mapping[str, Any]], form: Format) -> str:
    """A file of these rows, which `read` gives back as they are."""
    entries = [{name: shown(row[name]) for name in COLUMNS if row[name] not in (None, {}, [])} for row in rows]
    if form == "json":
        return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
    file = io.StringIO(newline="")
    # As RFC 4180 has it, and so that a return within a text is quoted like a new line.
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for entry in entries:
        writer.writerow({k: v if isinstance(v, str) else json.dumps(v) for k, v in entry.items()})
    return file.getvalue()


def shown(value: Any) -> Any:
    """A value of a row as JSON has it: decimals as texts, times in UTC."""
    if value is None:
        return None
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        entries = cast("Row", value).items()
        return {key: int(one) if key == ABOVE else shown(one) for key, one in entries}
    if isinstance(value, list):
        return [shown(one) for one in cast("list[Any]", value)]
    return str(value)
