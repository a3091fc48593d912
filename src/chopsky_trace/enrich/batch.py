"""Records of the journal -> one batch for the database.

Within a batch the later record of each register wins, by the same rule as in SQL; equal message rows merge by the same
commutative rule. Nothing is remembered between batches, so any subset can be built again.

A batch has two forms. JSON for `chopsky_ingest` says everything and merges with whatever is there. Packed rows for COPY
cost both sides much less, and are right where the rows are new: the spans whose start is in the batch, and the messages
whose body is. What is not certain to be new, or not plainly of its column's type, goes as JSON beside them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import orjson

from chopsky_trace.enrich import columns
from chopsky_trace.enrich.answers import facts_of
from chopsky_trace.enrich.columns import Layout, NotPlainError
from chopsky_trace.enrich.contents import Contents
from chopsky_trace.enrich.feedback import FEEDBACK, Feedback
from chopsky_trace.enrich.messages import BARE, Body, Telling, body_row, message_rows, telling
from chopsky_trace.enrich.prefixes import Prefixes
from chopsky_trace.enrich.pricing.overrides import Overrides
from chopsky_trace.enrich.registers import (
    CALL_KINDS,
    NOBODY,
    Asked,
    Row,
    call_numbers,
    end_derived,
    end_row,
    needs_start,
    new_tuple,
    start_derived,
    start_row,
)
from chopsky_trace.records import LONG_CHARS, span_id, timestamp, version

Made = TypeVar("Made")
PAYLOADS = ("inputs", "outputs", "params", "metadata", "events")
BACKSLASH = 0x5C
NUL = b"\\u0000"
"""How JSON writes it; a text may also spell these six characters, which then stay."""
KEPT_LINE = 10_000
"""A record longer than this, in bytes, is not read again."""
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError)


class PoisonError(Exception):
    """A record that cannot be read; it goes to the dead letters."""


class Register(NamedTuple):
    """The record that stands for a span's start or end, so far."""

    stamp: str
    run: str
    line: bytes
    row: Row | None
    """Its columns, where they go as JSON."""
    packed: bytes | None
    """Its columns, where COPY can take them."""
    at: int
    kind: str
    scope: Mapping[str, Any] | None
    asked: Asked
    has_parent: bool
    status: str | None
    """Of an end."""


class Packed:
    """A batch's rows as COPY takes them, and the rest as JSON."""

    def __init__(self, work: _Work) -> None:
        self.runs: bytes = orjson.dumps(work.run_rows())
        """JSON for chopsky_open_runs."""
        self.span_columns = columns.SPAN_COLUMNS
        self.message_columns = columns.MESSAGE_COLUMNS
        self.spans, self._rest = work.packed_spans()
        """A stream for COPY."""
        self._messages = work.packed_messages()
        self._message_json = work.message_json
        self._link = work.link
        self._turns = list(work.turns)
        self._contents = work.contents.rows()
        self._prefixes = work.prefixes.rows()
        self._feedback = work.feedback.rows()

    def complete(self, opened: bytes) -> tuple[bytes, bytes]:
        """The messages as a stream for COPY, and the JSON for chopsky_ingest that ends the batch.

        Args:
            opened: what chopsky_open_runs returned.
        """
        runs = {str(run["id"]).replace("-", ""): run for run in orjson.loads(opened)}
        parts: dict[str, bytes] = {}
        whole: set[str] = set()
        for name, run in runs.items():
            key = run["session_key"].replace("-", "")
            parts[name] = columns.RUN_LAYOUT.pack({**run, "conversation_run_id": name, "session_key": key})
            if run["is_new"] and run["is_alone"]:
                whole.add(name)
        stream = [columns.STREAM_HEAD]
        rest: list[Row] = []
        copied: list[Row] = []
        for row, head, tail in self._messages:
            run = row["conversation_run_id"]
            # Whether a session owns what another run of it knows as history only the database can tell.
            if tail is None or (run not in whole and row.get("is_history")):
                rest.append(self._message_json(row))
                continue
            stream += head, parts[run], tail
            if run not in whole:
                copied.append({"session_key": runs[run]["session_key"], "body_id": row["body_id"]})
        stream.append(columns.STREAM_TAIL)
        payload: Row = {
            "runs": [
                {"id": name, "is_new": run["is_new"], "is_late": run["is_late"], "is_placed": name in whole}
                for name, run in runs.items()
            ],
            "opened": True,
            "spans": self._rest,
            "messages": rest,
            "copied": copied,
            "contents": self._contents,
            "prefixes": self._prefixes,
            "feedback": self._feedback,
            "scoped": True,
            "link": self._link,
            "turns": self._turns,
        }
        return b"".join(stream), orjson.dumps(payload)


class Batch:
    """What one transaction writes."""

    def __init__(self, lines: Sequence[bytes], how: Builder, *, packed: bool) -> None:
        self.records = len(lines)
        try:
            self._lines = how.unfold(lines, how.pause)
        except UNREADABLE as error:
            raise PoisonError(type(error).__name__) from error
        self._how = how
        self.packed = self._built(Packed, packs=True) if packed else None
        """The rows for COPY, if it was asked for."""
        # Now, so that a record which cannot be read is found while the batch is built.
        self._payload = None if packed else self._built(_json, packs=False)

    @property
    def payload(self) -> bytes:
        """JSON for the database's chopsky_ingest: everything in the batch.

        Raises:
            PoisonError: a record's fields are not what the format says; the writer halves the batch to find it.
        """
        if self._payload is None:
            self._payload = self._built(_json, packs=False)
        return self._payload

    def _built(self, made: Callable[[_Work], Made], *, packs: bool) -> Made:
        work = _Work(self._lines, self._how, packs=packs)
        try:
            return made(work)
        except UNREADABLE as error:
            raise PoisonError(type(error).__name__) from error


class Builder:
    """Builds batches; holds no state of the runs."""

    def __init__(
        self,
        pause: Callable[[], None] | None = None,
        *,
        keep_media: bool = False,
        overrides: Callable[[], Overrides | None] | None = None,
        unfold: Callable[[Sequence[bytes], Callable[[], None]], Sequence[bytes]] | None = None,
    ) -> None:
        self.pause = pause or _go_on
        """Called between records and rows, so that a busy worker lets the application's threads run."""
        self.keep_media = keep_media
        """Whether images, audio and files go into the database, or only their id, type and size."""
        self.overrides = overrides or _no_prices
        """The team's own prices, as they are now."""
        self.unfold = unfold or _as_they_are
        """Makes records of what was journaled as it came, the same of the same lines; it pauses, too."""

    def build(self, lines: Sequence[bytes], *, packed: bool = False) -> Batch:
        """One batch of these records.

        Args:
            lines: records, in any order.
            packed: make the rows for COPY, too.

        Raises:
            PoisonError: a line is not a record.
        """
        return Batch(lines, self, packed=packed)


class _Work:
    """One batch in the making. Each record is turned into columns at once and forgotten: a thousand decoded records
    would keep the garbage collector busy."""

    def __init__(self, lines: Sequence[bytes], how: Builder, *, packs: bool) -> None:
        self.pause = pause = how.pause
        self.prefixes = Prefixes()
        self.contents = Contents(how.keep_media, self.prefixes)
        self.feedback = Feedback()
        self.overrides = how.overrides()
        self.packs = packs
        self.starts: dict[str, Register] = {}
        self.ends: dict[str, Register] = {}
        self.runs: dict[str, None] = {}
        self.bodies: dict[str, Body] = {}
        self.told: set[str] = set()
        """Ids of run and body, joined, where the run's own records bring it: a run tells each body once."""
        self.tellings: list[Telling] = []
        self.link = False
        self.turns: dict[str, None] = {}
        """Runs of which OpenTelemetry tells: the only ones whose root may come before their calls."""
        waiting: list[tuple[dict[str, Any], str, bytes]] = []
        try:
            for line in lines:
                pause()
                self._take(line, waiting)
            for record, stamp, line in waiting:
                self._take_end(record, stamp, line)
        except UNREADABLE as error:
            raise PoisonError(type(error).__name__) from error

    # -- records

    def _read(self, line: bytes) -> dict[str, Any]:
        """The record, its ids as 32 hex digits, references in the place of what is long."""
        record: dict[str, Any] = orjson.loads(line)
        # Most lines have no backslash at all. A byte is found many times as fast as bytes.
        if BACKSLASH in line and NUL in line:
            record = _without_nul(record)
        # An id that is here already was one when it came.
        if record["id"] not in self.starts:
            record["id"] = span_id(record["id"])
        run = record["run"]
        if run not in self.runs:
            run = record["run"] = span_id(run)
            self.runs[run] = None
        if "at" not in record:
            _add_times(record)
        said = record.get("said")
        if said:
            record.update(facts_of(said, record["id"]))
        if record.get("cached"):
            # LangChain plays a cached answer back as a stream: no model took that time.
            record.pop("first_token_ms", None)
        if "contents" in record:
            self.contents.told(run, record["contents"])
        if len(line) > LONG_CHARS and _may_be_long(record, line):
            self._shorten(run, record)
        return record

    def _shorten(self, run: str, record: dict[str, Any]) -> None:
        for name in PAYLOADS:
            if name in record:
                record[name] = self.contents.without(run, record[name])
        prompt = record.get("prompt")
        if prompt is not None:
            # Here, where every record comes by: which of a span's stands must not decide what rows there are.
            prompt["prefix"], prompt["bodies"] = self.prefixes.shorten(prompt["bodies"])
        for body in record.get("bodies", ()):
            role, content, calls, call_id, name = body["core"]
            if calls or not isinstance(content, str):
                content, calls = (self.contents.without_media(run, part) for part in (content, calls))
                body["core"] = [role, content, calls, call_id, name]

    def _take(self, line: bytes, waiting: list[tuple[dict[str, Any], str, bytes]]) -> None:
        if line.startswith(FEEDBACK):
            self.feedback.take(line)
            return
        record = self._read(line)
        source, run = record["source"], record["run"]
        stamp = version(source, record["seen"], zlib.crc32(line))
        if source == "otel":
            self.turns[run] = None
        for body in record.get("bodies", ()):
            self._take_body(run, body, line)
        if record["t"] == "start":
            self._take_start(record, stamp, line)
        elif record["t"] == "messages":
            if record.get("messages"):
                self.tellings.append(telling(record, stamp, None))
        elif record["kind"] in CALL_KINDS and needs_start(record):
            waiting.append((record, stamp, line))
        else:
            self._take_end(record, stamp, line)

    def _take_body(self, run: str, body: dict[str, Any], line: bytes) -> None:
        row = body_row(body)
        packed = _packed(columns.BODY_LAYOUT, row) if self.packs else None
        # Rarely wanted once it is packed; but a long line is dear to read again.
        kept = row if packed is None or len(line) > KEPT_LINE else None
        name = body["id"]
        self.bodies[name] = new_tuple(Body, (row["role"], kept, packed, line))
        self.told.add(run + name)

    def _take_start(self, record: dict[str, Any], stamp: str, line: bytes) -> None:
        if record.get("messages"):
            self.tellings.append(telling(record, stamp, None))
        known = self.starts.get(record["id"])
        if known is not None and stamp <= known.stamp:
            return
        if record.get("resume"):
            self.link = True
        row = packed = None
        if self.packs:
            packed = _packed(columns.START_LAYOUT, record, start_derived(record), stamp)
        else:
            row = start_row(record, stamp)
        kind = record["kind"]
        asked = new_tuple(Asked, (record.get("provider"), record.get("model"))) if kind in CALL_KINDS else NOBODY
        self.starts[record["id"]] = new_tuple(
            Register,
            (
                stamp,
                record["run"],
                line,
                row,
                packed,
                record["at"],
                kind,
                record.get("scope"),
                asked,
                record.get("parent") is not None,
                None,
            ),
        )

    def _take_end(self, record: dict[str, Any], stamp: str, line: bytes) -> None:
        numbers = self._numbers(record)
        if record.get("messages") or record.get("sizes"):
            self.tellings.append(telling(record, stamp, numbers))
        known = self.ends.get(record["id"])
        if known is not None and stamp <= known.stamp:
            return
        if record["status"] == "interrupted" and record["id"] == record["run"]:
            self.link = True
        row = packed = None
        if self.packs:
            packed = _packed(columns.END_LAYOUT, record, end_derived(record, numbers), stamp)
        else:
            row = end_row(record, stamp, numbers)
        kind = record["kind"]
        asked = new_tuple(Asked, (record.get("provider"), record.get("model_requested"))) if numbers else NOBODY
        self.ends[record["id"]] = new_tuple(
            Register, (stamp, record["run"], line, row, packed, record["at"], kind, None, asked, True, record["status"])
        )

    def _numbers(self, record: dict[str, Any]) -> Row | None:
        if record["kind"] not in CALL_KINDS:
            return None
        start = self.starts.get(record["id"])
        return call_numbers(record, start.asked if start is not None else NOBODY, self.overrides)

    # -- rows

    def payload(self) -> Row:
        """Everything, as chopsky_ingest takes it."""
        payload: Row = {
            "runs": self.run_rows(),
            "spans": self._span_rows(self.starts.keys() | self.ends.keys()),
            "messages": [self.message_json(row) for row in self._message_rows()],
            "contents": self.contents.rows(),
            "prefixes": self.prefixes.rows(),
            "feedback": self.feedback.rows(),
            "scoped": True,
        }
        if self.link:
            payload["link"] = True
        if self.turns:
            payload["turns"] = list(self.turns)
        return payload

    def run_rows(self) -> list[Row]:
        """The runs, as JSON has them."""
        # The root's word first, then the earliest span's: as the database settles it.
        scoped = sorted(
            (
                (id_ != start.run, start.has_parent, start.at, id_, start.run, start.scope)
                for id_, start in self.starts.items()
                if start.scope
            ),
            key=lambda s: s[:4],
        )
        scopes: dict[str, Row] = {}
        for *_, run, scope in scoped:
            known = scopes.setdefault(run, {})
            for name, value in scope.items():
                known.setdefault(name, value)
        roots: dict[str, tuple[bool, int, str]] = {}
        for id_, start in self.starts.items():
            if id_ == start.run or not start.has_parent:
                place = id_ != start.run, start.at, id_
                known_root = roots.get(start.run)
                if known_root is None or place < known_root:
                    roots[start.run] = place
        rows: list[Row] = []
        for run in sorted(self.runs):
            row = {"id": run, **scopes.get(run, {})}
            root = roots.get(run)
            if root is not None:
                # As its totals will have it: a row that is made so is not moved in every index when they come.
                row["started_at"] = timestamp(root[1])
                end = self.ends.get(root[2])
                if end is not None:
                    row["status"] = end.status
            rows.append(row)
        return rows

    def _span_rows(self, spans: Iterable[str]) -> list[Row]:
        rows: list[Row] = []
        for span in sorted(spans):
            self.pause()
            row: Row = {"id": span}
            end = self.ends.get(span)
            if end is not None:
                row["conversation_run_id"] = end.run
                row["kind"] = end.kind
                row |= end.row if end.row is not None else self._row_again(end)
            start = self.starts.get(span)
            if start is not None:
                row["conversation_run_id"] = start.run
                row |= start.row if start.row is not None else self._row_again(start)
            elif end is not None:
                # Until its start comes, the row says what the call was priced by.
                row["provider"], row["model_requested"] = end.asked
            rows.append(_timed(row))
        return rows

    def _row_again(self, register: Register) -> Row:
        """The columns of a register whose row was not kept."""
        record = self._read(register.line)
        if record["t"] == "start":
            return start_row(record, register.stamp)
        return end_row(record, register.stamp, self._numbers(record))

    def message_json(self, row: Row) -> Row:
        """A message's row as JSON has it."""
        name = row["body_id"]
        body = self.bodies.get(name)
        # Of a row known by its size only, a body that this run did not bring is none of ours.
        if body is None or (BARE in row and row["conversation_run_id"] + name not in self.told):
            return _timed(row.copy())
        return _timed({**row, **(body.row or self._body_again(name, body.line))})

    def _body_again(self, name: str, line: bytes) -> Row:
        """The columns of a body whose row was not kept: as `_take_body` had them."""
        *_, told = [body for body in self._read(line)["bodies"] if body["id"] == name]
        return body_row(told)

    def _message_rows(self) -> list[Row]:
        return message_rows(self.tellings, self.bodies, self.pause)

    # -- packed rows

    def packed_spans(self) -> tuple[bytes, list[Row]]:
        """The spans that are certain to be new, as a stream; the others, as JSON has them."""
        runs = {run: columns.uuid(run) for run in self.runs}
        stream = [columns.STREAM_HEAD]
        rest = list(self.ends.keys() - self.starts.keys())
        for span in sorted(self.starts):
            start = self.starts[span]
            end = self.ends.get(span)
            ended = columns.NO_END if end is None else end.packed
            if start.packed is None or ended is None:
                rest.append(span)
            else:
                stream += columns.SPAN_HEAD, columns.uuid(span), runs[start.run], start.packed, ended
        stream.append(columns.STREAM_TAIL)
        return b"".join(stream), self._span_rows(rest)

    def packed_messages(self) -> list[tuple[Row, bytes, bytes | None]]:
        """Each message's row, and what of it goes before and after its run's columns (None: it is for JSON)."""
        found: list[tuple[Row, bytes, bytes | None]] = []
        told, bodies = self.told, self.bodies
        for row in self._message_rows():
            self.pause()
            name = row["body_id"]
            body = tail = None
            # A row whose body the run has told before is perhaps one that an earlier batch brought.
            if row["conversation_run_id"] + name in told and BARE not in row:
                body = bodies[name].packed
                tail = _packed(columns.MESSAGE_LAYOUT, row) if body is not None else None
            if body is None or tail is None:
                found.append((row, b"", None))
            else:
                head = columns.MESSAGE_HEAD + columns.new_uuid(row["id"]) + columns.uuid(name)
                found.append((row, head, tail + body))
        return found


def _json(work: _Work) -> bytes:
    return orjson.dumps(work.payload())


def _packed(
    layout: Layout, row: Row, derived: Mapping[str, Any] = columns.NOTHING, stamp: str | None = None
) -> bytes | None:
    """None: it is for JSON."""
    try:
        return layout.pack(row, derived, stamp)
    except NotPlainError:
        return None


def _may_be_long(record: dict[str, Any], line: bytes) -> bool:
    """Whether a payload of it may hold what a reference should stand for.

    To look for that takes as long as all else. But most long records are so for a message's text, which stays: no other
    string can be longer than the rest of the line.
    """
    rest = len(line)
    for body in record.get("bodies", ()):
        _, content, _, _, _ = body["core"]
        if content.__class__ is str:
            rest -= len(content)
    return rest >= LONG_CHARS or b'"page_content"' in line


def _add_times(record: dict[str, Any]) -> None:
    """Adds the times, which follow from when it was seen."""
    seen, began = record["seen"], record.get("began")
    record["at"] = seen // 1000
    if began:
        record["started"] = began // 1000
        record["duration_ms"] = (seen - began) / 1e6


def _timed(row: Row) -> Row:
    """The row with its times as JSON has them."""
    for name in columns.MOMENTS:
        if name in row:
            row[name] = timestamp(row[name])
    return row


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


def _as_they_are(lines: Sequence[bytes], pause: Callable[[], None]) -> Sequence[bytes]:
    return lines


def _no_prices() -> None:
    """No prices of the team's own."""
