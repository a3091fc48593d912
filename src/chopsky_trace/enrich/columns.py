"""The columns that rows are made of, and how each value is packed for COPY's binary format.

The only place that names them: a batch's JSON has these keys, its COPY these columns in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple

import orjson

from chopsky_trace.enrich.registers import END_FIELDS, START_FIELDS
from chopsky_trace.records import VERSION_CHARS

Encoder = Callable[[Any], bytes]

NULL = b"\xff\xff\xff\xff"
STREAM_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Signature, no flags, no extension."""
STREAM_TAIL = b"\xff\xff"
EPOCH_2000 = 946_684_800_000_000
"""Where PostgreSQL's timestamps begin, in microseconds since 1970."""
UUID_OID, TEXT_OID = 2950, 25
MAX_NUMBER = 10**8
"""A larger number goes as JSON: eight digits before the point are enough for milliseconds and dollars."""

_length = Struct("!I").pack
_json = Struct("!IB").pack
_integer = Struct("!Ii").pack
_bigint = Struct("!Iq").pack
_array = Struct("!IiiIii").pack
_numeric = Struct("!IhhHH").pack
_narrow = Struct("!IhhHHHHH").pack
_wide = Struct("!IhhHHHHHH").pack
_short = Struct("!H").pack
_uuid_head = _length(16)
_stamp_head = _length(VERSION_CHARS)
SHORT = 1_024
_lengths = [_length(size) for size in range(SHORT)]
_json_heads = [_json(size + 1, 1) for size in range(SHORT)]
"""Most values are this short: to look a length up takes a third of the time that packing it does."""
_no_array = Struct("!IiiI").pack
_FALSE, _TRUE = _length(1) + b"\0", _length(1) + b"\1"


NOTHING: Mapping[str, Any] = {}


class NotPlainError(Exception):
    """A value that is not of its column's type: JSON may still carry it, and the database is then the judge."""


@lru_cache(1_024)
def word(value: Any) -> bytes:
    """A text that comes again and again."""
    data = value.encode()
    return _length(len(data)) + data


def text(value: Any) -> bytes:
    data = value.encode()
    size = len(data)
    return (_lengths[size] if size < SHORT else _length(size)) + data


def jsonb(value: Any) -> bytes:
    data = orjson.dumps(value)
    size = len(data)
    return (_json_heads[size] if size < SHORT else _json(size + 1, 1)) + data


def new_uuid(value: Any) -> bytes:
    """An id that is not expected again."""
    data = bytes.fromhex(value)
    if len(data) != 16:
        raise NotPlainError
    return _uuid_head + data


uuid = lru_cache(4_096)(new_uuid)


def integer(value: Any) -> bytes:
    if value.__class__ is not int:
        raise NotPlainError
    return _integer(4, value)


def bigint(value: Any) -> bytes:
    if value.__class__ is not int:
        raise NotPlainError
    return _bigint(8, value)


def moment(value: Any) -> bytes:
    """From microseconds since 1970."""
    if value.__class__ is not int:
        raise NotPlainError
    return _bigint(8, value - EPOCH_2000)


def boolean(value: Any) -> bytes:
    if value.__class__ is not bool:
        raise NotPlainError
    return _TRUE if value else _FALSE


def size(value: Any) -> bytes:
    """An integer that cannot be negative."""
    if value < 0:
        raise NotPlainError
    return integer(value)


def number(value: Any) -> bytes:
    """A numeric from an int or a float: the decimal that JSON has for it, if it has no more than six digits after the
    point and eight before."""
    if (value.__class__ is not float and value.__class__ is not int) or not 0 <= value < MAX_NUMBER:
        raise NotPlainError
    # Half is rounded up, and then refused. `round` would be the slowest part of it.
    millionths = int(value * 1_000_000 + 0.5)
    # With so few digits the shortest decimal that reads back as this float is this one.
    if millionths / 1_000_000 != value:
        raise NotPlainError
    # Groups of four digits. Twice as fast as divmod.
    whole, first, second = millionths // 1_000_000, millionths // 100 % 10_000, millionths % 100 * 100
    if whole < 10_000:
        return _narrow(14, 3, 0, 0, 6, whole, first, second)
    high, low = divmod(whole, 10_000)
    return _wide(16, 4, 1, 0, 6, high, low, first, second)


@lru_cache(1_024)
def decimal(value: Any) -> bytes:
    """A numeric from a decimal as a text."""
    whole, _, fraction = value.partition(".")
    if not whole.isdecimal() or not (whole + fraction).isdecimal() or not value.isascii() or len(whole) > 8:
        raise NotPlainError
    # Groups of four digits; the weight of the first, the sign, and the digits after the point are told before them.
    digits = "0" * (-len(whole) % 4) + whole + fraction + "0" * (-len(fraction) % 4)
    groups = [_short(int(digits[at : at + 4])) for at in range(0, len(digits), 4)]
    weight = (len(whole) + 3) // 4 - 1
    return _numeric(8 + 2 * len(groups), len(groups), weight, 0, len(fraction)) + b"".join(groups)


def texts(values: Any) -> bytes:
    if values.__class__ is not list:
        raise NotPlainError
    return _texts(tuple(values))


@lru_cache(1_024)
def _texts(values: tuple[Any, ...]) -> bytes:
    if not values:
        return _no_array(12, 0, 0, TEXT_OID)
    data = b"".join([text(value) for value in values])
    return _array(20 + len(data), 1, 0, TEXT_OID, len(values), 1) + data


def uuids(values: Any) -> bytes:
    if values.__class__ is not list:
        raise NotPlainError
    if not values:
        return _no_array(12, 0, 0, UUID_OID)
    data = b"".join([uuid(value) for value in values])
    return _array(20 + len(data), 1, 0, UUID_OID, len(values), 1) + data


class Column(NamedTuple):
    """A column of a table."""

    name: str
    encode: Encoder
    absent: bytes = NULL
    """Packed, where a row says nothing of it."""


START = (
    Column("parent_span_id", uuid),
    Column("kind", word, word("other")),
    Column("name", word),
    Column("source", word),
    Column("instrumentor", word),
    Column("is_provider", boolean, _FALSE),
    Column("is_entry", boolean, _FALSE),
    Column("native_id", text),
    Column("provider", word),
    Column("model_requested", word),
    Column("invocation_params", jsonb),
    Column("inputs", jsonb),
    Column("prompt_extends", uuid),
    Column("prompt_take", integer),
    Column("prompt_prefix", uuid),
    Column("prompt_bodies", uuids),
    Column("prompt_names", jsonb),
    Column("question_keys", uuids),
    Column("tags", texts, texts([])),
    Column("metadata", jsonb, jsonb({})),
    Column("scope", jsonb),
    Column("started_at", moment),
    Column("start_version", text),
)
"""What a span's start owns."""
END = (
    Column("status", word, word("active")),
    Column("error", text),
    Column("model", word),
    Column("response_id", text),
    Column("ended_at", moment),
    Column("response_time_ms", number),
    Column("time_to_first_token_ms", number),
    Column("input_tokens", bigint),
    Column("output_tokens", bigint),
    Column("total_tokens", bigint),
    Column("cache_read_tokens", bigint),
    Column("cache_write_tokens", bigint),
    Column("reasoning_tokens", bigint),
    Column("audio_tokens", bigint),
    Column("usage_details", jsonb),
    Column("usage_source", word),
    Column("cost", decimal),
    Column("cost_source", word),
    Column("reported_cost", decimal),
    Column("price_rates", jsonb),
    Column("finish_reason", word),
    Column("outputs", jsonb),
    Column("output_bodies", uuids),
    Column("answer_keys", uuids),
    Column("end_metadata", jsonb),
    Column("end_version", text),
)
"""What a span's end owns."""
RUN = (
    Column("conversation_run_id", uuid),
    Column("session_key", uuid),
    Column("session_id", text),
    Column("tenant_id", text),
    Column("user_id", text),
)
"""What a message has from its run, which only the database knows."""
MESSAGE = (
    Column("span_id", uuid),
    Column("sequence", integer),
    Column("is_internal", boolean, _FALSE),
    Column("token_count", size),
    Column("token_count_source", word),
    Column("response_time_ms", number),
    Column("cost", decimal),
    Column("model", word),
    Column("provider", word),
    Column("is_history", boolean, _FALSE),
    Column("occurrence", integer, integer(0)),
    Column("position", integer, integer(0)),
    Column("version", text),
    Column("created_at", moment),
)
BODY = (
    Column("role", word),
    Column("content", text),
    Column("parts", jsonb),
    Column("tool_calls", jsonb),
    Column("tool_call_id", text),
    Column("name", text),
    Column("metadata", jsonb, jsonb({})),
)
"""What all messages of one body have in common."""


def names(*groups: Sequence[Column]) -> tuple[str, ...]:
    """The columns' names, in order."""
    return tuple(column.name for group in groups for column in group)


SPAN_COLUMNS = ("id", "conversation_run_id", *names(START, END))
MESSAGE_COLUMNS = ("id", "body_id", *names(RUN, MESSAGE, BODY))
SPAN_HEAD = _short(len(SPAN_COLUMNS))
"""How each row of the stream begins."""
MESSAGE_HEAD = _short(len(MESSAGE_COLUMNS))
NO_END = b"".join(column.absent for column in END)
MAX_PLANS = 256
"""Most shapes of rows that a layout remembers; a source has a few dozen."""
MOMENTS = tuple(column.name for column in (*START, *END, *MESSAGE) if column.encode is moment)


Plan = list[tuple[str, int, Encoder]]
"""The keys of a row that are columns: each with its place and its encoder."""


class Layout:
    """Columns in order, ready to pack rows that have few of them.

    Args:
        columns: in the order of the stream.
        fields: what the rows call a column, where they are records.
    """

    def __init__(self, columns: Sequence[Column], fields: Mapping[str, str] | None = None) -> None:
        self.absent = [column.absent for column in columns]
        self.places = {column.name: (place, column.encode) for place, column in enumerate(columns)}
        self.named = {field: self.places[name] for field, name in fields.items()} if fields else self.places
        self._plans: dict[tuple[str, ...], Plan] = {}

    def pack(self, row: Mapping[str, Any], derived: Mapping[str, Any] = NOTHING, stamp: str | None = None) -> bytes:
        """The row's values, each with its length; what is not a column of these is left out.

        Args:
            row: the row, or a record.
            derived: columns beside the record's fields, which they replace.
            stamp: the register's version, which is the last of its columns.

        Raises:
            NotPlainError: a value is not of its column's type.
        """
        packed = self.absent.copy()
        names = tuple(row)
        try:
            # Rows come in few shapes: which of the keys are columns is asked once for each.
            plan = self._plans.get(names)
            for name, place, encode in self._plan(names) if plan is None else plan:
                value = row[name]
                if value is not None:
                    packed[place] = encode(value)
            if derived:
                places = self.places
                for name, value in derived.items():
                    if value is not None:
                        place, encode = places[name]
                        packed[place] = encode(value)
            if stamp is not None:
                packed[-1] = _stamp_head + stamp.encode()
        except (ValueError, TypeError, AttributeError, StructError) as error:
            raise NotPlainError from error
        return b"".join(packed)

    def _plan(self, names: tuple[str, ...]) -> Plan:
        plan = [(name, *self.named[name]) for name in names if name in self.named]
        if len(self._plans) >= MAX_PLANS:
            self._plans.clear()
        self._plans[names] = plan
        return plan


START_LAYOUT = Layout(START, START_FIELDS)
END_LAYOUT = Layout(END, END_FIELDS)
RUN_LAYOUT, MESSAGE_LAYOUT, BODY_LAYOUT = map(Layout, (RUN, MESSAGE, BODY))
