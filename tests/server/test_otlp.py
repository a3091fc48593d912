"""OTLP requests as native spans and log records: both encodings say the same, and nothing but one error comes out."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from server.otlp_requests import log_request, request

from chopsky_trace.errors import UndecodableError
from chopsky_trace.sources.otlp import decode as otlp
from chopsky_trace.sources.otlp import parts as otlp_parts
from chopsky_trace.sources.otlp.answers import Encoding, accepted, status
from chopsky_trace.sources.otlp.parts import MOST_ATTRIBUTES, MOST_DEPTH, MOST_EVENTS, Decoded
from chopsky_trace.telemetry.conventions.native import CLIENT, ERROR, NativeEvent, NativeSpan

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "otel"
RECORDED = sorted(CORPUS.rglob("*.pb")) if CORPUS.is_dir() else []
TRACE, SPAN, PARENT = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "eee19b7ec3c1b173"
READERS: dict[str, Callable[[bytes, Encoding], Decoded[Any]]] = {"traces": otlp.traces, "logs": otlp.logs}


def reader_of(path: Path) -> Callable[[bytes, Encoding], Decoded[Any]]:
    return otlp.logs if "logs" in path.name else otlp.traces


def spans_in_json(*spans: object, **around: object) -> Decoded[NativeSpan]:
    body = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]} | around]}
    return otlp.traces(json.dumps(body).encode(), "json")


def attribute(value: object) -> Any:
    """What an attribute of this JSON value becomes."""
    (span,) = spans_in_json({"traceId": TRACE, "spanId": SPAN, "attributes": [{"key": "it", "value": value}]}).items
    return span.attributes["it"]


@pytest.mark.skipif(not RECORDED, reason=f"there are no recorded spans in {CORPUS}")
def test_recorded_requests_say_the_same_in_both_encodings() -> None:
    compared = 0
    for path in RECORDED:
        twin = path.with_name(path.name.removesuffix(".pb") + ".otlp.json")
        found = reader_of(path)(path.read_bytes(), "protobuf")
        # Some SDKs make log records outside of any span.
        assert found.items or found.aside, path.name
        assert found.refused == 0, path.name
        if twin.exists():
            assert reader_of(path)(twin.read_bytes(), "json") == found, path.name
            compared += 1
    assert compared > 400


def test_a_span_has_everything_that_was_sent() -> None:
    made = ExportTraceServiceRequest()
    resource_spans = made.resource_spans.add()
    resource_spans.resource.attributes.add(key="service.name").value.string_value = "kitchen"
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "openai"
    span = scope_spans.spans.add(
        trace_id=bytes.fromhex(TRACE),
        span_id=bytes.fromhex(SPAN),
        parent_span_id=bytes.fromhex(PARENT),
        name="chat",
        kind=CLIENT,
        start_time_unix_nano=1,
        end_time_unix_nano=2,
        dropped_attributes_count=3,
        flags=0x301,
    )
    span.status.code, span.status.message = ERROR, "no"
    for key, value in {"text": "", "yes": True, "no": False, "zero": 0, "most": 2**63 - 1, "half": 0.5}.items():
        kind = {str: "string", bool: "bool", int: "int", float: "double"}[type(value)]
        setattr(span.attributes.add(key=key).value, f"{kind}_value", value)
    span.attributes.add(key="none")
    span.attributes.add(key="raw").value.bytes_value = b"\0\xff"
    span.attributes.add(key="empty").value.array_value.SetInParent()
    nested = span.attributes.add(key="nested").value.kvlist_value.values.add(key="list").value.array_value
    nested.values.add().int_value = 1
    nested.values.add().string_value = "two"
    span.events.add(name="said", time_unix_nano=5).attributes.add(key="a").value.string_value = "b"
    (found,) = otlp.traces(made.SerializeToString(), "protobuf").items
    assert found == NativeSpan(
        trace_id=TRACE,
        span_id=SPAN,
        parent_id=PARENT,
        name="chat",
        kind=CLIENT,
        start=1,
        end=2,
        status=ERROR,
        message="no",
        attributes={
            "text": "",
            "yes": True,
            "no": False,
            "zero": 0,
            "most": 2**63 - 1,
            "half": 0.5,
            "none": None,
            "raw": b"\0\xff",
            "empty": [],
            "nested": {"list": [1, "two"]},
        },
        events=[NativeEvent("said", 5, {"a": "b"})],
        scope="openai",
        resource={"service.name": "kitchen"},
        dropped=3,
        remote_parent=True,
    )


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"stringValue": "a\0b"}, "a\0b"),
        ({"intValue": "-9223372036854775808"}, -(2**63)),
        ({"intValue": 7}, 7),
        ({"intValue": 7.0}, 7),
        ({"doubleValue": 1}, 1.0),
        ({"doubleValue": "-Infinity"}, -math.inf),
        ({"boolValue": False}, False),
        ({"bytesValue": base64.b64encode(b"\0\xff").decode()}, b"\0\xff"),
        ({"arrayValue": {}}, []),
        ({"kvlistValue": {"values": []}}, {}),
        ({"arrayValue": {"values": [{"intValue": "1"}, {}]}}, [1, None]),
        (
            {"kvlistValue": {"values": [{"key": "k", "value": {"kvlistValue": {"values": [{"key": "n"}]}}}]}},
            {"k": {"n": None}},
        ),
        ({"somethingNew": 1, "stringValue": "known"}, "known"),
        ({}, None),
        (None, None),
    ],
)
def test_json_values(value: object, found: object) -> None:
    assert attribute(value) == found
    assert type(attribute(value)) is type(found)


def test_json_ids_are_of_any_case_and_unknown_fields_are_ignored() -> None:
    (span,) = spans_in_json(
        {
            "traceId": TRACE.upper(),
            "spanId": SPAN.upper(),
            "parentSpanId": PARENT.upper(),
            "kind": "SPAN_KIND_CLIENT",
            "startTimeUnixNano": "1700000000000000001",
            "endTimeUnixNano": 1700000000000000002,
            "unheardOf": {"a": [1]},
            "status": {"code": "STATUS_CODE_ERROR"},
            "name": None,
            "events": None,
        }
    ).items
    assert (span.trace_id, span.span_id, span.parent_id) == (TRACE, SPAN, PARENT)
    assert (span.start, span.end) == (1700000000000000001, 1700000000000000002)
    assert (span.kind, span.status, span.name) == (CLIENT, ERROR, "")


@pytest.mark.parametrize("parent", [None, "", "0" * 16, "zz", PARENT + "00", 5])
def test_a_parent_that_is_none(parent: object) -> None:
    (span,) = spans_in_json({"traceId": TRACE, "spanId": SPAN, "parentSpanId": parent}).items
    assert span.parent_id is None
    assert span.end == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"traceId": None},
        {"traceId": "0" * 32},
        {"traceId": TRACE[:-1]},
        {"traceId": TRACE + "00"},
        {"traceId": 5},
        {"traceId": " " + TRACE[1:]},
        {"traceId": base64.b64encode(bytes.fromhex(TRACE)).decode()},
        {"spanId": ""},
        {"spanId": "0" * 16},
        {"spanId": "g" * 16},
        {"name": 5},
        {"startTimeUnixNano": "soon"},
        {"startTimeUnixNano": -1},
        {"endTimeUnixNano": 2**64},
        {"attributes": {"a": 1}},
        {"events": [5]},
        {"status": 2},
        {"kind": []},
        {"startTimeUnixNano": True},
        {"startTimeUnixNano": 1e300},
    ],
)
def test_one_wrong_span_costs_itself_only(wrong: dict[str, object]) -> None:
    good = {"traceId": TRACE, "spanId": SPAN}
    found = spans_in_json(good, good | wrong, good)
    assert (len(found.items), found.refused) == (2, 1)
    assert found.reason


@pytest.mark.parametrize("trace_id", [b"", bytes(16), b"t" * 15, b"t" * 17])
def test_one_wrong_id_in_protobuf_costs_that_span_only(trace_id: bytes) -> None:
    made = request(2)
    made.resource_spans[0].scope_spans[0].spans.add(trace_id=trace_id, span_id=b"s" * 8)
    found = otlp.traces(made.SerializeToString(), "protobuf")
    assert (len(found.items), found.refused) == (2, 1)


def test_an_attribute_of_a_wrong_type_costs_itself_only() -> None:
    wrong = [
        {"key": "a", "value": {"intValue": "many"}},
        {"key": "b", "value": {"intValue": 2**63}},
        {"key": 1, "value": {}},
        {"value": {"stringValue": "no key"}},
        {"key": "c", "value": {"bytesValue": "*"}},
        {"key": "d", "value": 5},
        None,
        {"key": "e", "value": {"boolValue": "true"}},
        {"key": "f", "value": {"doubleValue": "much"}},
    ]
    good = {"key": "good", "value": {"stringValue": "kept"}}
    (span,) = spans_in_json(
        {"traceId": TRACE, "spanId": SPAN, "attributes": [*wrong, good], "droppedAttributesCount": 2}
    ).items
    assert span.attributes == {"good": "kept"}
    assert span.dropped == 2 + len(wrong)


def test_what_javascript_cuts_in_the_middle_of_a_character_is_read() -> None:
    # As it writes both: the half escaped, which is no character.
    written = json.dumps({"traceId": TRACE, "spanId": SPAN, "name": "half \ud83d, whole \U0001f600"}).encode()
    assert rb"\ud83d," in written
    (span,) = otlp.traces(b'{"resourceSpans":[{"scopeSpans":[{"spans":[%s]}]}]}' % written, "json").items
    assert span.name == "half \ufffd, whole \U0001f600"


def deep(levels: int) -> AnyValue:
    value = AnyValue(string_value="end")
    for _ in range(levels):
        around = AnyValue()
        around.array_value.values.append(value)
        value = around
    return value


def test_depth_is_bounded_alike_in_both_encodings() -> None:
    made = request(1)
    made.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="it", value=deep(45))
    (span,) = otlp.traces(made.SerializeToString(), "protobuf").items
    in_json: dict[str, Any] = {"stringValue": "end"}
    for _ in range(45):
        in_json = {"arrayValue": {"values": [in_json]}}
    assert attribute(in_json) == span.attributes["it"]
    for _ in range(45):
        in_json = {"arrayValue": {"values": [in_json]}}
    found = attribute(in_json)
    for _ in range(MOST_DEPTH):
        (found,) = found
    assert found == {"$cut": "list of 1"}


@pytest.mark.parametrize("levels", [600, 3_000])
def test_a_value_that_no_parser_would_go_into_costs_itself_only(levels: int) -> None:
    deep_value = b'{"arrayValue":{"values":[' * levels + b"]}}" * levels
    written = json.dumps(
        {"traceId": TRACE, "spanId": SPAN, "attributes": [{"key": "text", "value": {"stringValue": "}"}}]}
    )
    added = b'[{"key":"it","value":%s},{"key":"ignored","value":{"unheardOf":%s}},' % (deep_value, deep_value)
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[%s]}]}]}' % written.encode().replace(b"[", added)
    (span,) = otlp.traces(body, "json").items
    assert (span.attributes["text"], span.attributes["ignored"]) == ("}", None)
    found = span.attributes["it"]
    for _ in range(MOST_DEPTH):
        (found,) = found
    assert found == {"$cut": "list of 1"}


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_what_one_span_brings_is_bounded_and_what_is_left_out_is_counted(encoding: Encoding) -> None:
    made = request(1)
    span = made.resource_spans[0].scope_spans[0].spans[0]
    span.dropped_attributes_count = 1
    for number in range(MOST_ATTRIBUTES + 2):
        span.attributes.add(key=f"a{number}").value.int_value = number
    for number in range(MOST_EVENTS + 3):
        span.events.add(name=str(number))
    many = span.events[0].attributes.add(key="many").value.array_value.values
    for _ in range(MOST_ATTRIBUTES + 4):
        many.add().int_value = 7
    body = MessageToDict(made) if encoding == "json" else None
    if body is not None:
        body["resourceSpans"][0]["scopeSpans"][0]["spans"][0] |= {"traceId": TRACE, "spanId": SPAN}
    found = otlp.traces(made.SerializeToString() if body is None else json.dumps(body).encode(), encoding)
    (kept,) = found.items
    assert list(kept.attributes) == [f"a{number}" for number in range(MOST_ATTRIBUTES)]
    assert [event.name for event in kept.events] == [str(number) for number in range(MOST_EVENTS)]
    assert kept.events[0].attributes == {"many": [7] * MOST_ATTRIBUTES}
    assert (kept.dropped, found.left_out) == (1 + 2 + 3 + 4, 2 + 3 + 4)


def test_what_one_request_brings_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_parts, "MOST_VALUES", 4 * otlp_parts.ITEM_VALUES + 2)
    attributes = [{"key": "a", "value": {"intValue": 1}}]
    spans = [{"traceId": TRACE, "spanId": SPAN, "attributes": attributes} for _ in range(6)]
    found = spans_in_json(*spans)
    assert (len(found.items), found.refused, found.left_out) == (3, 3, 0)
    assert "smaller batches" in found.reason


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b'"text"',
        b'{"resourceSpans": 1, "resourceLogs": 1}',
        b"\xff\xfe{}",
        b'{"resourceSpans": [1], "resourceLogs": [1]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": "\\ud83d"',
        b'{"resourceSpans": [{"scopeSpans": {}}], "resourceLogs": [{"scopeLogs": {}}]}',
        b"[" * 100_000 + b'"\\ud83d"',
        b'{"resourceSpans": [{"resource": []}], "resourceLogs": [{"resource": []}]}',
        b"1" * 10_000,
        b'{"a": NaN}',
    ],
)
def test_what_is_no_request_is_one_error(name: str, body: bytes) -> None:
    with pytest.raises(UndecodableError):
        READERS[name](body, "json")


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def test_protobuf_that_is_none_is_the_same_error() -> None:
    # Nobody's library writes it: a list in a list, 200 times, as the value of a span's attribute.
    nested = AnyValue(string_value="end").SerializeToString()
    for number in [*(1, 5) * 200, 2, 9, 2, 2, 1]:
        nested = bytes([number << 3 | 2]) + varint(len(nested)) + nested
    for body in (b"\xff", b"nonsense", request(1).SerializeToString()[:-1], nested):
        with pytest.raises(UndecodableError) as raised:
            otlp.traces(body, "protobuf")
        assert "nonsense" not in str(raised.value)


# -- anything at all

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["key", "value", "values"]), inner),
    max_leaves=20,
)
KEYS = st.sampled_from(
    [
        "resource",
        "scope",
        "spans",
        "logRecords",
        "attributes",
        "traceId",
        "spanId",
        "parentSpanId",
        "name",
        "events",
        "status",
        "code",
        "startTimeUnixNano",
        "key",
        "value",
        "stringValue",
        "intValue",
        "arrayValue",
        "kvlistValue",
        "values",
        "body",
        "bytesValue",
        "doubleValue",
        "boolValue",
        "flags",
        "timeUnixNano",
        "droppedAttributesCount",
    ]
)
SHAPED = st.recursive(
    JSONS | st.sampled_from([TRACE, SPAN]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=30,
)


def read_all(body: bytes, encoding: Encoding) -> None:
    for read in READERS.values():
        try:
            found = read(body, encoding)
        except UndecodableError:
            continue
        for item in found.items:
            assert len(item.trace_id) == 32
            assert len(item.span_id) == 16


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(body: bytes) -> None:
    read_all(body, "protobuf")
    read_all(body, "json")


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([request(2, name="chat").SerializeToString(), log_request(2).SerializeToString()]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    st.integers(0, 200),
)
def test_damaged_requests(body: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(body)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    read_all(bytes(damaged[: len(damaged) - cut % len(damaged)]), "protobuf")


@settings(max_examples=100, deadline=None)
@given(SHAPED, SHAPED)
def test_anything_where_a_span_should_be(span: object, around: object) -> None:
    item = {"traceId": TRACE, "spanId": SPAN} | span if isinstance(span, dict) else span
    for body in (
        {"resourceSpans": [{"scopeSpans": [{"spans": [item]}]}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [item]}]}]},
        {"resourceSpans": [{"resource": around, "scopeSpans": [around]}], "resourceLogs": [{"scopeLogs": around}]},
        around,
    ):
        read_all(json.dumps(body).encode(), "json")


# -- answers


def test_answers_are_what_protobuf_says() -> None:
    assert accepted("traces", "protobuf") == b""
    assert accepted("logs", "json") == b"{}"
    reason = "because " * 1_000
    for count in (1, 127, 128, 300_000):
        answer = ExportTraceServiceResponse.FromString(accepted("traces", "protobuf", count, reason))
        assert answer.partial_success.rejected_spans == count
        assert answer.partial_success.error_message == reason[:2_000]
    assert json.loads(accepted("logs", "json", 2, "why")) == {
        "partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "why"}
    }
    assert Status.FromString(status(3, "\xe9t\xe9", "protobuf")) == Status(code=3, message="\xe9t\xe9")
    assert json.loads(status(14, "later", "json")) == {"code": 14, "message": "later"}
