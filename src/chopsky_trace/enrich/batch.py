"""Records of the journal -> one batch for the database.

Within a batch the later record of each register wins, by the same rule as in SQL; equal message rows merge by the same
commutative rule. Nothing is remembered between batches, so any subset can be built again.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

import orjson

from chopsky_trace.enrich.answers import facts_of
from chopsky_trace.enrich.contents import Contents
from chopsky_trace.enrich.price import price
from chopsky_trace.enrich.usage import normalise
from chopsky_trace.records import LONG_CHARS, RETRY_TAG, Usage, derived_id, span_id, text_of, timestamp, version

CALL_KINDS = frozenset(("llm", "embedding", "image"))
BODY_FIELDS = ("role", "content", "parts", "tool_calls", "tool_call_id", "name", "metadata")
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
COUNTS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_tokens",
)
PAYLOADS = ("inputs", "outputs", "params", "metadata", "events")
NUL = b"\\u0000"
"""How JSON writes it; a text may also spell these six characters, which then stay."""
START_COLUMNS = (
    ("parent", "parent_span_id"),
    ("name", "name"),
    ("provider", "provider"),
    ("model", "model_requested"),
    ("params", "invocation_params"),
    ("inputs", "inputs"),
    ("scope", "scope"),
)
END_COLUMNS = (
    ("error", "error"),
    ("model", "model"),
    ("response_id", "response_id"),
    ("duration_ms", "response_time_ms"),
    ("first_token_ms", "time_to_first_token_ms"),
    ("finish_reason", "finish_reason"),
    ("outputs", "outputs"),
    ("output_bodies", "output_bodies"),
    ("metadata", "end_metadata"),
)


class PoisonError(Exception):
    """A record that cannot be read; it goes to the dead letters."""


class Batch(NamedTuple):
    """What one transaction writes."""

    payload: bytes
    """JSON for the database's chopsky_ingest."""
    records: int
    spans: int
    messages: int


class Builder:
    """Builds batches; holds no state of the runs."""

    def __init__(self, pause: Callable[[], None] | None = None, *, keep_media: bool = False) -> None:
        self.pause = pause or _go_on
        """Called between rows, so that a busy worker lets the application's threads run."""
        self.keep_media = keep_media
        """Whether images, audio and files go into the database, or only their id, type and size."""

    def build(self, lines: Sequence[bytes]) -> Batch:
        """One batch of these records.

        Raises:
            PoisonError: a line is not a record.
        """
        work = _Work(self.pause, Contents(self.keep_media))
        for line in lines:
            self.pause()
            work.take(line)
        try:
            payload = work.payload()
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            # A record whose fields are not what the format says; the writer halves the batch to find it.
            raise PoisonError(type(error).__name__) from error
        return Batch(orjson.dumps(payload), len(lines), len(payload["spans"]), len(payload["messages"]))


class _Work:
    """One batch in the making."""

    def __init__(self, pause: Callable[[], None], contents: Contents) -> None:
        self.pause = pause
        self.contents = contents
        self.starts: dict[str, tuple[str, dict[str, Any]]] = {}
        self.ends: dict[str, tuple[str, dict[str, Any]]] = {}
        self.scopes: dict[str, dict[str, Any]] = {}
        self.bodies: dict[str, dict[str, Any]] = {}
        self.refs: list[tuple[dict[str, Any], str]] = []
        self.link = False

    def take(self, line: bytes) -> None:
        try:
            record: dict[str, Any] = orjson.loads(line)
            if NUL in line:
                record = _without_nul(record)
            stamp = version(record["source"], record["seen"], zlib.crc32(line).to_bytes(4, "big"))
            register = self.starts if record["t"] == "start" else self.ends
            span = record["id"] = span_id(record["id"])
            run = record["run"] = span_id(record["run"])
            _complete(record)
            if "contents" in record:
                self.contents.told(run, record["contents"])
            if len(line) > LONG_CHARS:
                self._shorten(run, record)
            for body in record.get("bodies", ()):
                self.bodies[body["id"]] = _body_fields(body)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise PoisonError(type(error).__name__) from error
        known = register.get(span)
        if known is None or stamp > known[0]:
            register[span] = (stamp, record)
        self.scopes.setdefault(run, {})
        if record.get("messages"):
            self.refs.append((record, stamp))

    def _shorten(self, run: str, record: dict[str, Any]) -> None:
        """References in the place of what is long."""
        for name in PAYLOADS:
            if name in record:
                record[name] = self.contents.without(run, record[name])
        for body in record.get("bodies", ()):
            role, content, calls, call_id, name = body["core"]
            if calls or not isinstance(content, str):
                content, calls = (self.contents.without_media(run, part) for part in (content, calls))
                body["core"] = [role, content, calls, call_id, name]

    # -- rows

    def payload(self) -> dict[str, Any]:
        spans = [self._span(span) for span in sorted(self.starts.keys() | self.ends.keys())]
        by_id = {row["id"]: row for row in spans}
        messages = self._messages(by_id)
        payload: dict[str, Any] = {"runs": self._runs(by_id), "spans": spans, "messages": messages, "scoped": True}
        contents = self.contents.rows()
        if contents:
            payload["contents"] = contents
        if self.link:
            payload["link"] = True
        return payload

    def _runs(self, spans: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        # The root's word first, then the earliest span's: as the database settles it.
        scoped = [
            (start["id"] != start["run"], start["at"], start["id"], start["run"], start["scope"])
            for _, start in self.starts.values()
            if start.get("scope")
        ]
        for _, _, _, run, scope in sorted(scoped, key=lambda s: s[:3]):
            known = self.scopes[run]
            for name, value in scope.items():
                known.setdefault(name, value)
        rows: list[dict[str, Any]] = []
        for run in sorted(self.scopes):
            row = {"id": run, **self.scopes[run]}
            root = spans.get(run)
            if root is not None and "started_at" in root:
                row["started_at"] = root["started_at"]
            rows.append(row)
        return rows

    def _span(self, span: str) -> dict[str, Any]:
        self.pause()
        row: dict[str, Any] = {"id": span}
        start = self.starts.get(span)
        end = self.ends.get(span)
        if start is not None:
            self._start(row, *start)
        if end is not None:
            self._end(row, *end, start[1] if start is not None else None)
        return row

    def _start(self, row: dict[str, Any], stamp: str, record: dict[str, Any]) -> None:
        metadata: dict[str, Any] = record.get("metadata") or {}
        tags = record.get("tags")
        row["conversation_run_id"] = record["run"]
        row["start_version"] = stamp
        row["started_at"] = timestamp(record["at"])
        row["source"] = record["source"]
        row["kind"] = record["kind"]
        for name, column in START_COLUMNS:
            if name in record:
                row[column] = record[name]
        if tags:
            row["tags"] = tags
            for tag in tags:
                if tag.startswith(RETRY_TAG):
                    metadata = {**metadata, "retry_attempt": tag.removeprefix(RETRY_TAG)}
        if record.get("resume"):
            metadata = {**metadata, "resume": True}
            self.link = True
        if metadata:
            row["metadata"] = metadata
        prompt = record.get("prompt")
        if prompt is not None:
            row["prompt_extends"] = prompt.get("extends")
            row["prompt_take"] = prompt.get("take", 0)
            row["prompt_bodies"] = prompt["bodies"]

    def _end(self, row: dict[str, Any], stamp: str, record: dict[str, Any], start: dict[str, Any] | None) -> None:
        row.setdefault("conversation_run_id", record["run"])
        row.setdefault("kind", record["kind"])
        row["end_version"] = stamp
        row["ended_at"] = timestamp(record["at"])
        row["status"] = record["status"]
        if record["status"] == "interrupted" and record["id"] == record["run"]:
            self.link = True
        for name, column in END_COLUMNS:
            if name in record:
                row[column] = record[name]
        if "events" in record:
            row["end_metadata"] = {**(record.get("metadata") or {}), "events": record["events"]}
        if record["kind"] in CALL_KINDS:
            _numbers(row, record, start)

    # -- messages

    def _messages(self, spans: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        owned: dict[tuple[str, str], int] = {}
        for record, _ in self.refs:
            for ref in record["messages"]:
                if ref["place"] != "history":
                    key = (record["run"], ref["body"])
                    owned[key] = max(owned.get(key, 0), ref["n"] + 1)
        rows: dict[str, dict[str, Any]] = {}
        for record, stamp in self.refs:
            for ref in record["messages"]:
                # What this run owns is not history; the database would drop the row again.
                if ref["place"] == "history" and ref["n"] < owned.get((record["run"], ref["body"]), 0):
                    continue
                self.pause()
                row = self._message(record, stamp, ref, spans)
                known = rows.get(row["id"])
                rows[row["id"]] = row if known is None else _merged(known, row)
        by_run: dict[str, list[dict[str, Any]]] = {}
        for row in rows.values():
            by_run.setdefault(row["conversation_run_id"], []).append(row)
        for of_run in by_run.values():
            # Right where the whole run is in this batch; else the database puts it right.
            of_run.sort(key=_place)
            for place, row in enumerate(of_run, 1):
                row["sequence"] = place
        return list(rows.values())

    def _message(
        self, record: dict[str, Any], stamp: str, ref: dict[str, Any], spans: dict[str, dict[str, Any]]
    ) -> dict[str, Any]:
        run, body_id, n, place = record["run"], ref["body"], ref["n"], ref["place"]
        said_by = ref.get("span", record["id"])
        if place == "out":
            row_id = derived_id(said_by, body_id, str(n))
        elif place == "own":
            row_id = derived_id(run, body_id, str(n))
        else:
            row_id = derived_id(run, body_id, "history", str(n))
        row: dict[str, Any] = {
            "id": row_id,
            "body_id": body_id,
            "conversation_run_id": run,
            "is_internal": ref["internal"],
            "position": ref["position"],
            "created_at": timestamp(ref.get("at", record["at"])),
        }
        if place == "history":
            row["is_history"] = True
            row["occurrence"] = n
        body = self.bodies.get(body_id)
        if body is not None:
            row.update(body)
        if place == "out":
            row["span_id"] = said_by
            if "span" not in ref:
                self._call_numbers(row, n, stamp, spans.get(record["id"]), record)
        elif place == "own":
            row["span_id"] = record["id"]
        if "cost" not in row and place != "out" and row.get("role") != "assistant":
            row["cost"] = "0"
        return row

    def _call_numbers(
        self, row: dict[str, Any], n: int, stamp: str, span: dict[str, Any] | None, record: dict[str, Any]
    ) -> None:
        """The first output message carries its call's numbers; the call's other outputs cost nothing more."""
        row["version"] = stamp
        if span is None or span.get("end_version") != stamp:
            # A register that lost to a later end of the same span in this batch.
            span = {}
            _numbers(span, record, None)
        row["response_time_ms"] = record.get("duration_ms")
        row["model"] = record.get("model") or record.get("model_requested")
        row["provider"] = record.get("provider")
        if n == 0:
            row["cost"] = span.get("cost")
            row["token_count"] = span.get("output_tokens")
            row["token_count_source"] = span.get("usage_source")
        else:
            row["cost"] = "0"


def _numbers(row: dict[str, Any], record: dict[str, Any], start: dict[str, Any] | None) -> None:
    """Usage and cost of a model call, once, at the call itself."""
    provider = record.get("provider") or (start or {}).get("provider")
    requested = record.get("model_requested") or (start or {}).get("model")
    cached = bool(record.get("cached"))
    reported: dict[str, Any] = record.get("usage") or {}
    usage: Usage = normalise(reported, provider=provider, cached=cached)
    for name in COUNTS:
        value = usage.get(name)
        if value is not None:
            row[name] = value
    row["usage_source"] = usage.get("source", "unknown")
    details = usage.get("details")
    if details:
        row["usage_details"] = details
    tier = reported.get("service_tier")
    cost = price(
        usage,
        provider=provider,
        model=record.get("model"),
        model_requested=requested,
        at=timestamp(record.get("started") or record["at"]),
        cached=cached,
        service_tier=tier,
    )
    row["cost"] = cost["amount"]
    row["cost_source"] = cost["source"]
    if cost["rates"]:
        row["price_rates"] = cost["rates"]


def _complete(record: dict[str, Any]) -> None:
    """Adds what follows from the rest of the record."""
    if "at" not in record:
        seen, began = record["seen"], record.get("began")
        record["at"] = seen // 1000
        if began:
            record["started"] = began // 1000
            record["duration_ms"] = (seen - began) / 1e6
    said = record.get("said")
    if said:
        record.update(facts_of(said, record["id"]))


def _without_nul(value: Any) -> Any:
    """The same data without NUL characters, which PostgreSQL's text cannot hold: U+FFFD stands for each."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_without_nul(k): _without_nul(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_without_nul(item) for item in cast("list[Any]", value)]
    return value


def _go_on() -> None:
    """No pause."""


def _body_fields(body: dict[str, Any]) -> dict[str, Any]:
    """The columns of a body."""
    role, content, calls, call_id, name = body["core"]
    fields: dict[str, Any] = {"role": role, "content": text_of(content)}
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


def _merged(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Two records' rows of one message: the rule that chopsky_write_messages has."""
    first, second = (a, b) if _place(a) <= _place(b) else (b, a)
    row = {**second, **first, "is_internal": a["is_internal"] and b["is_internal"]}
    later = max(a, b, key=lambda r: r.get("version") or "")
    if later.get("version"):
        for name in NUMBER_FIELDS:
            row[name] = later.get(name)
    for name in BODY_FIELDS:
        value = a.get(name) if a.get(name) is not None else b.get(name)
        if value is not None:
            row[name] = value
    return row


def _place(row: dict[str, Any]) -> tuple[datetime, int, str]:
    return row["created_at"], row["position"], row["id"]
