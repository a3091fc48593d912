"""The message rows that follow from the records of one batch."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

from chopsky_trace.enrich.registers import Row, new_tuple
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
    numbers: Row | None
    """Its call's."""


def telling(record: dict[str, Any], stamp: str, numbers: Row | None) -> Telling:
    """What this record says of messages; it is not kept as a whole."""
    get = record.get
    fields = (
        record["id"],
        record["run"],
        record["at"],
        record["messages"],
        stamp,
        get("duration_ms"),
        get("model") or get("model_requested"),
        get("provider"),
        numbers,
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


def message_rows(tellings: list[Telling], bodies: dict[str, Row], pause: Callable[[], None]) -> list[Row]:
    """The rows, each once, without their bodies' columns, and with their places among the run's rows that are here."""
    owned: dict[tuple[str, str], int] = {}
    for telling in tellings:
        for ref in telling.refs:
            if ref["place"] != "history":
                key = (telling.run, ref["body"])
                count = ref["n"] + 1
                if count > owned.get(key, 0):
                    owned[key] = count
    rows: dict[str, Row] = {}
    for telling in tellings:
        pause()
        for ref in telling.refs:
            # What this run owns is not history; the database would drop the row again.
            if ref["place"] == "history" and ref["n"] < owned.get((telling.run, ref["body"]), 0):
                continue
            row = _message(telling, ref, bodies)
            known = rows.setdefault(row["id"], row)
            if known is not row:
                rows[row["id"]] = _merged(known, row)
    # Right where the whole run is in this batch; else the database puts it right.
    places: dict[str, int] = {}
    for row in sorted(rows.values(), key=_place):
        run = row["conversation_run_id"]
        places[run] = row["sequence"] = places.get(run, 0) + 1
    return list(rows.values())


def _message(telling: Telling, ref: dict[str, Any], bodies: dict[str, Row]) -> Row:
    run, body, n, place = telling.run, ref["body"], ref["n"], ref["place"]
    span = telling.span
    if place == "out":
        span = ref.get("span", span)
        names = span, body, str(n)
    elif place == "own":
        names = run, body, str(n)
    else:
        names = run, body, "history", str(n)
    row: Row = {
        "body_id": body,
        "conversation_run_id": run,
        "is_internal": ref["internal"],
        "position": ref["position"],
        "created_at": ref.get("at", telling.at),
        "id": derived_id(*names),
    }
    if place == "out":
        row["span_id"] = span
        if "span" not in ref:
            # The first output message carries its call's numbers; the call's other outputs cost nothing more.
            row["version"] = telling.version
            row["response_time_ms"] = telling.response_time_ms
            row["model"] = telling.model
            row["provider"] = telling.provider
            numbers = telling.numbers or {}
            row["cost"] = numbers.get("cost") if n == 0 else "0"
            if n == 0:
                row["token_count"] = numbers.get("output_tokens")
                row["token_count_source"] = numbers.get("usage_source")
        return row
    if place == "own":
        row["span_id"] = span
    else:
        row["is_history"] = True
        row["occurrence"] = n
    known = bodies.get(body)
    if known is None or known["role"] != "assistant":
        row["cost"] = "0"
    return row


def _merged(a: Row, b: Row) -> Row:
    """Two records' rows of one message: the rule that chopsky_write_messages has."""
    first, second = (a, b) if _place(a) <= _place(b) else (b, a)
    row = {**second, **first, "is_internal": a["is_internal"] and b["is_internal"]}
    later = max(a, b, key=lambda r: r.get("version") or "")
    if later.get("version"):
        for name in NUMBER_FIELDS:
            row[name] = later.get(name)
    return row


_place = itemgetter("created_at", "position", "id")
