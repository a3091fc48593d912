"""The message rows that follow from the records of one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from chopsky_trace.enrich.registers import Row, new_tuple
from chopsky_trace.enrich.sizes import NO_NUMBERS, Numbers, estimated, numbers_of, set_size, shares
from chopsky_trace.records import derived_id, text_of

NUMBER_FIELDS = (
    "span_id",
    "token_count",
    "token_count_source",
    "response_time_ms",
    "cost",
    "model",
    "provider",
    "version",
)

Key = tuple[str, str, int, bool]
"""What a row's id is made of: its owner (of an output the call, else the run), its body, n, whether it is history."""
BARE = "bare"
"""Marks a row of which the batch has its size and nothing else: the database has the rest, or will."""


class Body(NamedTuple):
    """What the batch knows of a message's body."""

    role: Any
    row: Row | None
    """Its columns; None where they can be read again."""
    packed: bytes | None
    """Its columns, where COPY can take them."""
    line: bytes
    """The record that told it."""


class Telling(NamedTuple):
    """What a record says of messages."""

    span: str
    run: str
    at: int
    refs: list[dict[str, Any]]
    version: str
    response_time_ms: Any
    model: str | None
    provider: str | None
    numbers: Numbers
    """Its call's."""
    sizes: dict[str, Any] | None
    """Sizes."""


def telling(record: dict[str, Any], stamp: str, numbers: Row | None) -> Telling:
    """What this record says of messages; it is not kept as a whole."""
    get = record.get
    fields = (
        record["id"],
        record["run"],
        record["at"],
        get("messages", ()),
        stamp,
        get("duration_ms"),
        get("model") or get("model_requested"),
        get("provider"),
        numbers_of(numbers) if numbers else NO_NUMBERS,
        get("sizes"),
    )
    return new_tuple(Telling, fields)


def body_row(body: dict[str, Any]) -> Row:
    """The columns of a body."""
    role, content, calls, call_id, name = body["core"]
    fields: Row = {"role": role, "content": text_of(content)}
    if content is not None and not isinstance(content, str):
        fields["parts"] = content
    if calls:
        fields["tool_calls"] = calls
    if call_id:
        fields["tool_call_id"] = call_id
    name = name or body.get("name")
    if name:
        fields["name"] = name
    if body.get("metadata"):
        fields["metadata"] = body["metadata"]
    return fields


def message_rows(tellings: list[Telling], bodies: Mapping[str, Body], pause: Callable[[], None]) -> list[Row]:
    """The rows, each once, without their bodies' columns, and with their places among the run's rows that are here."""
    owned = _owned(tellings)
    rows: dict[Key, Row] = {}
    for telling in tellings:
        refs = telling.refs
        if not refs:
            continue
        pause()
        run = telling.run
        for ref in refs:
            body, n, place = ref["body"], ref["n"], ref["place"]
            # What this run owns is not history; the database would drop the row again.
            if place == "history" and n < owned.get((run, body), 0):
                continue
            owner = run if place != "out" else ref.get("span", telling.span)
            key = owner, body, n, place == "history"
            row = _message(telling, ref, bodies)
            known = rows.get(key)
            if known is None:
                row["id"] = _row_id(key)
                rows[key] = row
            else:
                rows[key] = _merged(known, row)
    for telling in tellings:
        if telling.sizes:
            _add_sizes(telling, telling.sizes, rows, owned)
    # Right where the whole run is in this batch; else the database puts it right.
    places: dict[str, int] = {}
    for row in sorted(rows.values(), key=_place):
        run = row["conversation_run_id"]
        places[run] = row["sequence"] = places.get(run, 0) + 1
    return list(rows.values())


def _owned(tellings: list[Telling]) -> dict[tuple[str, str], int]:
    """Run and body -> how many rows of that body the run owns."""
    owned: dict[tuple[str, str], int] = {}
    for telling in tellings:
        for ref in telling.refs:
            if ref["place"] != "history":
                key = (telling.run, ref["body"])
                count = ref["n"] + 1
                if count > owned.get(key, 0):
                    owned[key] = count
        if telling.sizes:
            for body, place, n, _ in telling.sizes["rows"]:
                if place == "own" and n >= owned.get((telling.run, body), 0):
                    owned[telling.run, body] = n + 1
    return owned


def _add_sizes(
    telling: Telling, sizes: dict[str, Any], rows: dict[Key, Row], owned: dict[tuple[str, str], int]
) -> None:
    run = telling.run
    for body, place, n, size in shares(sizes, telling.numbers):
        if place == "history" and n < owned.get((run, body), 0):
            continue
        key = run, body, n, place == "history"
        row = rows.get(key)
        if row is None or BARE in row:
            # Told in another batch: the database adds this to it, and nothing else.
            ref = {"body": body, "place": place, "n": n, "internal": True, "position": 0}
            made = _message(telling, ref, {})
            made["id"] = _row_id(key) if row is None else row["id"]
            made[BARE] = True
            row = rows[key] = made if row is None else _merged(row, made)
        set_size(row, size)


def _row_id(key: Key) -> str:
    """The id of a message row."""
    owner, body, n, is_history = key
    return derived_id(owner, body, "history", str(n)) if is_history else derived_id(owner, body, str(n))


def _message(telling: Telling, ref: dict[str, Any], bodies: Mapping[str, Body]) -> Row:
    """The row, but for its id."""
    body, n, place = ref["body"], ref["n"], ref["place"]
    span = ref.get("span", telling.span)
    row: Row = {
        "body_id": body,
        "conversation_run_id": telling.run,
        "is_internal": ref["internal"],
        "position": ref["position"],
        "created_at": ref.get("at", telling.at),
    }
    if place == "out":
        row["span_id"] = span
        if "span" not in ref:
            # The first output message carries its call's numbers; the call's other outputs cost nothing more.
            row["version"] = telling.version
            row["response_time_ms"] = telling.response_time_ms
            row["model"] = telling.model
            row["provider"] = telling.provider
            if n == 0:
                row["cost"], row["token_count"], row["token_count_source"], _ = telling.numbers
            else:
                row["cost"] = "0"
        return row
    if "chars" in ref:
        row["token_count"], row["token_count_source"] = estimated(ref["chars"])
    if place == "own":
        row["span_id"] = span
        row["cost"] = "0"
        return row
    row["is_history"] = True
    row["occurrence"] = n
    known = bodies.get(body)
    # What an assistant said before was paid where it was said.
    if known is not None and known.role != "assistant":
        row["cost"] = "0"
    return row


def _merged(a: Row, b: Row) -> Row:
    """Two records' rows of one message: the rule that chopsky_write_messages has."""
    first, second = (a, b) if _when(a) <= _when(b) else (b, a)
    row = {**second, **first, "id": a["id"], "is_internal": a["is_internal"] and b["is_internal"]}
    later = max(a, b, key=lambda r: r.get("version") or "")
    if later.get("version"):
        for name in NUMBER_FIELDS:
            row[name] = later.get(name)
    elif a.get("token_count") is not None and b.get("token_count") is not None:
        set_size(row, (second["token_count"], second["token_count_source"]))
    return row


_when = itemgetter("created_at", "position")
_place = itemgetter("created_at", "position", "id")
