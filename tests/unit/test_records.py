"""The ids of records."""

from __future__ import annotations

from chopsky_trace.records import LARGE_BYTES, content_id, parts_id


def test_large_parts_have_an_id_that_is_read_faster() -> None:
    # BLAKE3's own test vectors: so many bytes of 0 to 250, again and again.
    counted = bytes(n % 251 for n in range(102_400))
    assert parts_id(counted) == "bc3e3d41a1146b069abffad3c0d44860"
    assert parts_id(counted[: LARGE_BYTES - 1]) == content_id(counted[: LARGE_BYTES - 1])
    assert content_id(b"abc") == "ba7816bf8f01cfea414140de5dae2223"
