"""Reads what a publication sends: the messages of the plugin pgoutput, protocol version 1."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Stream:
    """What came through."""

    columns: dict[str, list[str]] = field(default_factory=dict)
    """Each table's columns, as the stream describes them."""
    keys: dict[str, list[str]] = field(default_factory=dict)
    changes: list[tuple[str, str, dict[str, str | None]]] = field(default_factory=list)
    """insert, update or delete; the table; the row, or of a deleted one the key."""


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> int:
        (value,) = struct.unpack_from(f">{form}", self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        found, self.at = self.data[self.at : end].decode(), end + 1
        return found

    def letter(self) -> str:
        self.at += 1
        return chr(self.data[self.at - 1])

    def row(self) -> list[str | None]:
        values: list[str | None] = []
        for _ in range(self.take("h")):
            kind = self.letter()
            if kind == "t":
                size = self.take("i")
                values.append(self.data[self.at : self.at + size].decode())
                self.at += size
            else:
                values.append(None if kind == "n" else "(unchanged)")
        return values


def read(messages: Iterable[bytes]) -> Stream:
    """All messages of a slot, in order."""
    stream, names = Stream(), dict[int, str]()
    for message in messages:
        data = _Bytes(message)
        kind = data.letter()
        if kind == "R":
            oid, schema, table = data.take("i"), data.text(), data.text()
            assert schema == "public"
            data.letter()
            names[oid], stream.columns[table], stream.keys[table] = table, [], []
            for _ in range(data.take("h")):
                is_key, name = data.take("b"), data.text()
                data.take("i")
                data.take("i")
                stream.columns[table].append(name)
                if is_key:
                    stream.keys[table].append(name)
        elif kind in "IUD":
            table = names[data.take("i")]
            what = data.letter()
            if kind == "U" and what in "KO":
                data.row()
                what = data.letter()
            row = dict(zip(stream.columns[table], data.row(), strict=True))
            if kind == "D":
                assert what == "K", "of a deleted row the key alone"
                row = {name: row[name] for name in stream.keys[table]}
            stream.changes.append(({"I": "insert", "U": "update", "D": "delete"}[kind], table, row))
    return stream
