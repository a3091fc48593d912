"""The rows of feedback that follow from the records of one batch."""

from __future__ import annotations

import zlib
from operator import itemgetter
from typing import Any

import orjson

from chopsky_trace.enrich.registers import Row
from chopsky_trace.records import span_id, timestamp

FEEDBACK = b'{"v":1,"t":"feedback"'
"""How such a record begins."""
FIELDS = ("answer", "key", "thumbs", "score", "value", "comment", "source", "metadata")


class Feedback:
    """Collects it: of two that say the same of the same, the later stands."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def take(self, line: bytes) -> None:
        """Adds a record.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        record: dict[str, Any] = orjson.loads(line)
        key, seen = span_id(record["id"]), record["seen"]
        if seen.__class__ is not int:
            raise TypeError("seen is not a number of nanoseconds")
        row: Row = {name: record[name] for name in FIELDS if name in record}
        row["id"], row["about_id"], row["given_by"] = key, span_id(record["about"]), record.get("user")
        # By time alone: whoever says it, a person's latest word stands.
        row["version"] = str(seen).zfill(20) + zlib.crc32(line).to_bytes(4, "big").hex()
        row["created_at"] = row["updated_at"] = timestamp(seen // 1000)
        known = self._rows.setdefault(key, row)
        if known is not row:
            later = max(known, row, key=_version)
            self._rows[key] = {**later, "created_at": min(known["created_at"], row["created_at"])}

    def rows(self) -> list[Row]:
        """The rows, as chopsky_ingest takes them."""
        return list(self._rows.values())


_version = itemgetter("version")
