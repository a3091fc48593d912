"""Payloads put back together: what a reference stands for takes its place again.

| in a payload | stands for | from |
|---|---|---|
| `{"$message": body_id}` | a message | `conversation_messages`, the session's row first |
| `{"$messages": [body_id], "$of": [span, from, to]}` | a stretch of a call's prompt and output, then these | the same |
| `{"$prefix": id, "$messages": [body_id], "$of": ...}` | the same, a prefix before these | `conversation_prefixes` |
| `{"$content": body_id}` | a message's text | the same |
| `{"$text": id}`, `{"$document": id}` | a string, a JSON object | `conversation_contents`, of the same run |
| `{"$media": id, "media_type", "size_bytes", "prefix"}` | prefix and base64 | the same, or the session's, where kept |

A message may refer to texts, documents and media of its run, a document to texts and media: no deeper, so nothing can
go round in circles, whatever users wrote. An object that only looks like a reference stays, and so does a reference
whose row is gone.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast
from uuid import UUID

from chopsky_trace.database.read import Reader, Row

PAYLOADS = ("invocation_params", "inputs", "outputs", "metadata", "end_metadata")
"""The columns of a span that may hold references."""
RESTORED_MAX_BYTES = 256_000_000
"""Most that is put back into one span: a few references to large contents could ask for more than there is memory."""
SPANS_AT_ONCE = 20
"""Spans whose contents are in memory together."""

Kind = Literal["message", "messages", "content", "text", "document", "media"]
# The key that makes a reference, and the keys that may stand beside it.
_KEYS: dict[str, tuple[Kind, frozenset[str]]] = {
    "$message": ("message", frozenset()),
    "$messages": ("messages", frozenset(("$of", "$prefix"))),
    "$content": ("content", frozenset()),
    "$text": ("text", frozenset()),
    "$document": ("document", frozenset()),
    "$media": ("media", frozenset(("media_type", "size_bytes", "prefix"))),
}
_IN_MESSAGES: frozenset[Kind] = frozenset(("text", "document", "media"))
_IN_DOCUMENTS: frozenset[Kind] = frozenset(("text", "media"))
_STAYS = object()
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")


class Stretch(NamedTuple):
    """Part of a call's prompt followed by its output."""

    span: UUID
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Reference:
    """An object in a payload that stands for something else."""

    kind: Kind
    ids: tuple[UUID, ...]
    of: Stretch | None = None
    prefix: str = ""
    begins: UUID | None = None
    """What the list of messages begins with, after the stretch."""


class Slot(NamedTuple):
    """Where a reference stands."""

    container: Any
    key: Any
    reference: Reference


@dataclass(slots=True)
class Tally:
    """What came of the references of one thing."""

    missing: int = 0
    """References to what is not stored; they stay."""
    not_kept: int = 0
    """References to media whose bytes were not kept; they stay."""
    too_large: int = 0
    """References that stay because what was put back before them is all that fits."""
    size_bytes: int = 0
    """Of what was put back, about."""

    def add(self, other: Tally) -> None:
        """Take in what came of a part."""
        self.missing += other.missing
        self.not_kept += other.not_kept
        self.too_large += other.too_large
        self.size_bytes += other.size_bytes

    def counts(self) -> dict[str, int]:
        """References that stay, by the reason."""
        return {"missing": self.missing, "not_kept": self.not_kept, "too_large": self.too_large}


class Piece(NamedTuple):
    """What a reference stands for."""

    value: Any
    """_STAYS where it is not to be had."""
    tally: Tally


@dataclass(slots=True)
class RawSpan:
    """A span with its payloads, as they were."""

    row: Row
    """All columns; a model call's prompt and output as `prompt_messages` and `output_messages`."""
    tally: Tally


def raw_spans(reader: Reader, span_ids: Sequence[UUID]) -> Iterator[RawSpan]:
    """These spans, in this order, with their payloads put back together; one that is not stored is left out."""
    for start in range(0, len(span_ids), SPANS_AT_ONCE):
        ids = list(span_ids[start : start + SPANS_AT_ONCE])
        rows = {row["id"]: row for row in reader.rows("spans_whole", ids=ids)}
        yield from _restored(reader, [rows[span_id] for span_id in ids if span_id in rows])


def reference_in(value: dict[str, Any]) -> Reference | None:
    """The reference that an object is, if it is one: exactly these keys, and ids that are uuids."""
    if not 1 <= len(value) <= 4:
        return None
    name = next((key for key in value if key in _KEYS), None)
    if name is None:
        return None
    kind, beside = _KEYS[name]
    if any(key != name and key not in beside for key in value):
        return None
    told: Any = value[name]
    ids = _uuids(told if kind == "messages" else [told])
    if ids is None:
        return None
    if kind == "messages":
        of = _stretch(value["$of"]) if "$of" in value else None
        begins = _uuids([value["$prefix"]]) if "$prefix" in value else ()
        if begins is None or (of is None and "$of" in value) or not (of or begins or ids):
            return None
        return Reference(kind, ids, of, begins=begins[0] if begins else None)
    prefix = value.get("prefix")
    return Reference(kind, ids, None, prefix if isinstance(prefix, str) else "")


def slots_in(tree: Any, kinds: frozenset[Kind] | None = None) -> list[Slot]:
    """Every reference (of these kinds) in a list or object, however deep; what a reference holds is not looked into."""
    found: list[Slot] = []
    waiting: list[Any] = [tree]
    while waiting:
        container: Any = waiting.pop()
        pairs: Iterable[tuple[Any, Any]] = (
            cast("dict[Any, Any]", container).items()
            if isinstance(container, dict)
            else enumerate(cast("list[Any]", container))
        )
        for key, value in pairs:
            if isinstance(value, dict):
                inner = cast("dict[str, Any]", value)
                reference = reference_in(inner)
                if reference is None:
                    waiting.append(inner)
                elif kinds is None or reference.kind in kinds:
                    found.append(Slot(container, key, reference))
            elif isinstance(value, list):
                waiting.append(value)
    return found


def _uuids(told: Any) -> tuple[UUID, ...] | None:
    if not isinstance(told, list):
        return None
    ids = cast("list[Any]", told)
    if not all(isinstance(one, str) and _UUID.fullmatch(one) for one in ids):
        return None
    return tuple(UUID(one) for one in ids)


def _stretch(told: Any) -> Stretch | None:
    if not isinstance(told, list) or len(cast("list[Any]", told)) != 3:
        return None
    span, start, stop = cast("list[Any]", told)
    ids = _uuids([span])
    if ids is None or type(start) is not int or type(stop) is not int or not 0 <= start <= stop:
        return None
    return Stretch(ids[0], start, stop)


def _restored(reader: Reader, rows: list[Row]) -> list[RawSpan]:
    """The spans of one round: all that they refer to is looked up together."""
    scopes = [(row["conversation_run_id"], row.pop("session_key")) for row in rows]
    names = [cast("dict[str, str]", row.pop("names")) for row in rows]
    payloads = [{name: row[name] for name in PAYLOADS if row[name] is not None} | _messages_of(row) for row in rows]
    slots = [slots_in(payload) for payload in payloads]
    stored = _Stored(reader)
    stored.load(scopes, slots)
    made: list[RawSpan] = []
    for row, payload, (run_id, session_key), held, named in zip(rows, payloads, scopes, slots, names, strict=True):
        tally = Tally()
        for slot in held:
            _put_back(slot, stored.payload(slot.reference, run_id, session_key), tally)
        if "prompt_messages" in payload:
            payload["prompt_messages"] = _named(payload["prompt_messages"], named)
        made.append(RawSpan(row | payload, tally))
    return made


def _messages_of(row: Row) -> Row:
    """A call's own prompt and output, told as payloads tell of messages."""
    extends, take, prefix = (row.pop(f"prompt_{name}") for name in ("extends", "take", "prefix"))
    row.pop("prompt_names")
    told: Row = {}
    for name, column in (("prompt_messages", "prompt_bodies"), ("output_messages", "output_bodies")):
        bodies = row.pop(column)
        if bodies is not None:
            told[name] = {"$messages": [body.hex for body in bodies]} if bodies else []
    if prefix is not None and "prompt_messages" in told:
        told["prompt_messages"] = {"$messages": [], **(told["prompt_messages"] or {}), "$prefix": prefix.hex}
    if extends is not None and "prompt_messages" in told:
        told["prompt_messages"] = {
            "$messages": [],
            **(told["prompt_messages"] or {}),
            "$of": [extends.hex, 0, take or 0],
        }
    return told


def _named(prompt: Any, names: dict[str, str]) -> Any:
    """A prompt's messages; an assistant's name is what this call was given, and no part of the stored message."""
    if not isinstance(prompt, list):
        return prompt
    found: list[Any] = []
    for place, message in enumerate(cast("list[Row]", prompt)):
        if message.get("role") != "assistant":
            found.append(message)
            continue
        name = names.get(str(place))
        rest = {key: value for key, value in message.items() if key != "name"}
        found.append(rest | {"name": name} if name else rest)
    return found


def _put_back(slot: Slot, piece: Piece, tally: Tally) -> None:
    if piece.value is not _STAYS and tally.size_bytes + piece.tally.size_bytes > RESTORED_MAX_BYTES:
        tally.too_large += 1
        return
    tally.add(piece.tally)
    if piece.value is not _STAYS:
        slot.container[slot.key] = piece.value


class _Stored:
    """What the references of one round stand for: six statements, however many there are."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._stretches: dict[UUID, list[UUID] | None] = {}
        self._prefixes: dict[UUID, list[UUID] | None] = {}
        self._messages: dict[tuple[UUID, UUID], Piece] = {}
        self._contents: dict[tuple[UUID, UUID], Row] = {}

    def load(self, scopes: Sequence[tuple[UUID, UUID]], slots: Sequence[list[Slot]]) -> None:
        """Look up all that these slots, of payloads of (run, session key), refer to."""
        references = [(*scope, slot.reference) for scope, held in zip(scopes, slots, strict=True) for slot in held]
        spans = {reference.of.span for _, _, reference in references if reference.of}
        if spans:
            found = self._reader.rows("stretches", ids=list(spans))
            self._stretches = {row["id"]: row["bodies"] for row in found}
        begins = {reference.begins for _, _, reference in references if reference.begins}
        if begins:
            self._prefixes = {row["id"]: row["bodies"] for row in self._reader.rows("prefixes", ids=list(begins))}
        bodies = {(key, body) for _, key, reference in references for body in self._bodies(reference) or ()}
        messages = self._load_messages(bodies)
        wanted = {(run_id, ids) for run_id, _, reference in references for ids in _contents_of(reference)}
        wanted |= {(run_id, ids) for run_id, held in messages for slot in held for ids in _contents_of(slot.reference)}
        documents = self._load_contents(wanted)
        inner = {
            (run_id, ids) for run_id, held, _ in documents for slot in held for ids in _contents_of(slot.reference)
        }
        self._load_contents(inner - wanted)
        for run_id, held, tally in documents:
            for slot in held:
                _put_back(slot, self._content(slot.reference, run_id), tally)
        for (run_id, held), piece in zip(messages, self._messages.values(), strict=True):
            for slot in held:
                _put_back(slot, self._content(slot.reference, run_id), piece.tally)

    def payload(self, reference: Reference, run_id: UUID, session_key: UUID) -> Piece:
        """What a payload's reference stands for."""
        if reference.kind in _IN_MESSAGES:
            return self._content(reference, run_id)
        bodies = self._bodies(reference)
        if bodies is None:
            return Piece(_STAYS, Tally(missing=1))
        pieces = [self._messages.get((session_key, body)) for body in bodies]
        if reference.kind == "message":
            return pieces[0] or Piece(_STAYS, Tally(missing=1))
        if reference.kind == "content":
            return _text_of(pieces[0])
        tally = Tally()
        for piece in pieces:
            tally.add(piece.tally if piece else Tally(missing=1))
        # Beside one that is missing the others are shown all the same.
        shown = zip(bodies, pieces, strict=True)
        return Piece([piece.value if piece else {"$message": body.hex} for body, piece in shown], tally)

    def _bodies(self, reference: Reference) -> list[UUID] | None:
        """The messages that a reference stands for; None where a call or prefix that it goes by is not there."""
        if reference.kind in _IN_MESSAGES:
            return []
        own = list(reference.ids)
        if reference.begins is not None:
            begun = self._prefixes.get(reference.begins)
            if begun is None:
                return None
            own = begun + own
        if reference.of is None:
            return own
        stretch = self._stretches.get(reference.of.span)
        if stretch is None or len(stretch) < reference.of.stop:
            return None
        return stretch[reference.of.start : reference.of.stop] + own

    def _load_messages(self, wanted: set[tuple[UUID, UUID]]) -> list[tuple[UUID, list[Slot]]]:
        """The messages, and where in each there are references, with the run these belong to."""
        if not wanted:
            return []
        keys, bodies = zip(*wanted, strict=True)
        held: list[tuple[UUID, list[Slot]]] = []
        for row in self._reader.rows("bodies", keys=list(keys), bodies=list(bodies)):
            message: Row = {
                "role": row["role"], "content": row["content"] if row["parts"] is None else row["parts"],
                **{name: row[name] for name in ("tool_calls", "tool_call_id", "name") if row[name] is not None},
            }  # fmt: skip
            self._messages[row["session_key"], row["body_id"]] = Piece(message, Tally(size_bytes=row["size_bytes"]))
            held.append((row["conversation_run_id"], slots_in(message, _IN_MESSAGES)))
        return held

    def _load_contents(self, wanted: set[tuple[UUID, UUID]]) -> list[tuple[UUID, list[Slot], Tally]]:
        """Texts, documents and media; for each document its run, where in it there are references, and its tally."""
        if not wanted:
            return []
        runs, ids = zip(*wanted, strict=True)
        held: list[tuple[UUID, list[Slot], Tally]] = []
        for row in self._reader.rows("contents", runs=list(runs), ids=list(ids)):
            row["tally"] = Tally(size_bytes=row["size_bytes"])
            self._contents[row["conversation_run_id"], row["id"]] = row
            if isinstance(row["document"], (dict, list)):
                held.append((row["conversation_run_id"], slots_in(row["document"], _IN_DOCUMENTS), row["tally"]))
        return held

    def _content(self, reference: Reference, run_id: UUID) -> Piece:
        row = self._contents.get((run_id, reference.ids[0]))
        if row is None or row["kind"] != reference.kind:
            return Piece(_STAYS, Tally(missing=1))
        if reference.kind == "media":
            if row["data"] is None:
                return Piece(_STAYS, Tally(not_kept=1))
            written = reference.prefix + b64encode(row["data"]).decode()
            return Piece(written, Tally(size_bytes=len(written)))
        value = row["text"] if reference.kind == "text" else row["document"]
        return Piece(_STAYS, Tally(missing=1)) if value is None else Piece(value, row["tally"])


def _text_of(piece: Piece | None) -> Piece:
    if piece is None or not isinstance(piece.value["content"], str):
        return Piece(_STAYS, Tally(missing=1))
    return Piece(piece.value["content"], piece.tally)


def _contents_of(reference: Reference) -> tuple[UUID, ...]:
    return reference.ids if reference.kind in _IN_MESSAGES else ()
