"""What is long in a payload is taken out once, and what stays in its place is enough to put it together again."""

from __future__ import annotations

import base64
import os
from hashlib import sha256
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from chopsky_trace.enrich.contents import Contents, document_id
from chopsky_trace.records import LONG_CHARS

RUN = "a" * 32
LONG = "long " * LONG_CHARS
PIXELS = base64.b64encode(os.urandom(3_000)).decode()


def restored(value: Any, rows: dict[str, dict[str, Any]]) -> Any:
    if isinstance(value, list):
        return [restored(item, rows) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$text"}:
        return rows[value["$text"]]["text"]
    if value.keys() == {"$document"}:
        return rows[value["$document"]]["document"]
    if "$media" in value:
        return value.get("prefix", "") + rows[value["$media"]]["data"]
    return {k: restored(v, rows) for k, v in value.items()}


def by_id(contents: Contents) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in contents.rows()}


def test_a_long_text_is_kept_once_however_often_it_comes() -> None:
    contents = Contents()
    first = contents.without(RUN, {"question": LONG, "short": "short"})
    again = contents.without(RUN, [LONG, {"deep": {"er": LONG}}])
    reference = {"$text": sha256(LONG.encode()).hexdigest()[:32]}
    assert first == {"question": reference, "short": "short"}
    assert again == [reference, {"deep": {"er": reference}}]
    (row,) = contents.rows()
    assert (row["text"], row["size_bytes"], row["kind"]) == (LONG, len(LONG), "text")


def test_another_run_has_contents_of_its_own() -> None:
    contents = Contents()
    contents.without(RUN, LONG)
    contents.without("b" * 32, LONG)
    assert [row["conversation_run_id"] for row in contents.rows()] == [RUN, "b" * 32]


def test_a_document_is_one_content_whoever_takes_it_out() -> None:
    document = {"page_content": "page " * 100, "metadata": {"source": "a.md", "n": 1}, "type": "Document"}
    contents = Contents()
    assert contents.without(RUN, [document, document]) == [{"$document": document_id(document)}] * 2
    contents.told(RUN, [{"id": document_id(document), "document": document}])
    assert [row["document"] for row in contents.rows()] == [document]


def test_a_long_document_is_stored_whole_and_its_page_not_again() -> None:
    document = {"page_content": LONG, "metadata": {"source": "a.md"}, "type": "Document"}
    contents = Contents()
    assert contents.without(RUN, [document]) == [{"$document": document_id(document)}]
    assert [(row["kind"], row["document"]) for row in contents.rows()] == [("document", document)]


def test_a_short_document_stays_where_it_is() -> None:
    document = {"page_content": "page", "metadata": {}, "type": "Document"}
    contents = Contents()
    assert contents.without(RUN, [document]) == [document]
    assert contents.rows() == []


def test_media_of_every_providers_shape_is_taken_out() -> None:
    url = f"data:image/png;base64,{PIXELS}"
    blocks: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "image", "base64": PIXELS, "mime_type": "image/png"},
        {"type": "image", "source_type": "base64", "data": PIXELS, "mime_type": "image/png"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXELS}},
        {"type": "input_audio", "input_audio": {"data": PIXELS, "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXELS}"}},
        {"inline_data": {"mime_type": "image/png", "data": PIXELS}},
    ]
    contents = Contents(keep_media=True)
    parts = contents.without_media(RUN, blocks)
    assert PIXELS not in orjson.dumps(parts).decode()
    (row,) = contents.rows()
    assert (row["kind"], row["size_bytes"]) == ("media", 3_000)
    assert restored(parts, by_id(contents)) == blocks
    types = [str(part) for part in parts]
    assert ["image/png" in t or "audio/wav" in t or "application/pdf" in t for t in types] == [True] * len(blocks)


def test_media_is_not_kept_unless_told_so() -> None:
    contents = Contents()
    (part,) = contents.without_media(RUN, [{"type": "image", "base64": PIXELS, "mime_type": "image/png"}])
    assert part["base64"]["size_bytes"] == 3_000
    assert [row["data"] for row in contents.rows()] == [None]


def test_a_messages_long_text_stays_readable() -> None:
    contents = Contents()
    parts = [{"type": "text", "text": LONG}, {"type": "text", "data": LONG}]
    assert contents.without_media(RUN, parts) == parts
    assert contents.rows() == []


def test_what_only_looks_like_base64_stays_text() -> None:
    contents = Contents(keep_media=True)
    # Not canonical: the last character has bits that no encoder sets.
    almost = "A" * (LONG_CHARS + 1) + "B=="
    found = contents.without(RUN, {"data": almost, "base64": "x" * (LONG_CHARS + 1)})
    assert {row["kind"] for row in contents.rows()} == {"text"}
    assert restored(found, by_id(contents)) == {"data": almost, "base64": "x" * (LONG_CHARS + 1)}


@given(st.binary(max_size=4), st.lists(st.tuples(st.integers(0, 8), st.sampled_from("AB+/=- \n\0é")), max_size=2))
def test_media_is_what_the_standard_library_reads_and_writes_again(data: bytes, errors: list[tuple[int, str]]) -> None:
    tail = base64.b64encode(data).decode()
    for place, character in errors:
        tail = tail[:place] + character + tail[place + 1 :]
    encoded = "A" * LONG_CHARS + tail
    try:
        is_media = base64.b64encode(base64.b64decode(encoded, validate=True)).decode() == encoded
    except ValueError:
        is_media = False
    contents = Contents()
    contents.without(RUN, {"data": encoded})
    assert [row["kind"] for row in contents.rows()] == ["media" if is_media else "text"]


def test_an_applications_own_reference_stays() -> None:
    contents = Contents()
    theirs = {"$text": "theirs", "long": LONG}
    assert contents.without(RUN, theirs) == theirs


TEXT = st.text(max_size=5) | st.sampled_from([LONG, LONG + "!", PIXELS, f"data:image/png;base64,{PIXELS}"])
KEYS = st.sampled_from(["data", "base64", "page_content", "metadata", "type", "x"])
PAYLOADS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["data", "base64", "page_content", "metadata", "type", "x"]), inner, max_size=4
        )
        | st.builds(lambda p, m: {"page_content": p, "metadata": m, "type": "Document"}, TEXT, inner)
    ),
    max_leaves=20,
)


@given(PAYLOADS)
def test_every_payload_is_put_together_again(payload: Any) -> None:
    contents = Contents(keep_media=True)
    assert restored(contents.without(RUN, payload), by_id(contents)) == payload
