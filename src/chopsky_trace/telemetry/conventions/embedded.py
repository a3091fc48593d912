"""What an embedding call was given and gave back: texts, and how many vectors of which length."""

from __future__ import annotations

from typing import Any, cast

from chopsky_trace.records import text_of
from chopsky_trace.telemetry.conventions import flat
from chopsky_trace.telemetry.conventions.media import Fields
from chopsky_trace.telemetry.conventions.native import NativeSpan
from chopsky_trace.telemetry.conventions.parts import Content
from chopsky_trace.telemetry.conventions.plain import INPUTS, OUTPUTS
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.conventions.values import as_dict, as_int, as_list, loose, parsed, scalar


def embedding(span: NativeSpan, reading: Reading) -> None:
    texts = _texts_embedded(span, reading)
    if texts:
        reading.inputs = texts
    count, dimensions = _vectors(span, reading)
    dimensions = dimensions or as_int(span.attributes.get("gen_ai.embeddings.dimension.count"))
    found = {"vectors": count, "dimensions": dimensions}
    reading.outputs = {key: n for key, n in found.items() if n} or None


def _texts_embedded(span: NativeSpan, reading: Reading) -> list[str]:
    items = flat.listed(span.attributes)
    for family in (flat.EMBEDDED, flat.PROMPT):
        if family in items:
            inner = "embedding" if family == flat.EMBEDDED else ""
            held = items[family].items
            texts = flat.texts(held, inner) if inner else _texts_in(held)
            if texts:
                return texts
    for name in ("ai.values", "ai.value", "inputs", "gen_ai.input.messages", *INPUTS):
        value = parsed(span, reading, name)
        if value is not None:
            texts = _texts_in(value)
            if texts:
                return texts
    return []


def _texts_in(value: Any, depth: int = 0) -> list[str]:
    if value.__class__ is str:
        # The AI SDK gives each text as JSON.
        data = scalar(value) if value[:1] == '"' else value
        return [data] if data.__class__ is str and data else []
    if depth > 4:
        return []
    if value.__class__ is list:
        return [text for item in cast("list[Any]", value) for text in _texts_in(item, depth + 1)]
    if value.__class__ is not dict:
        return []
    fields = cast("Fields", value)
    if "role" in fields or "parts" in fields:
        content = Content()
        content.add(fields.get("parts") or fields.get("content"))
        return [text_of(content.plain())] if content.parts else []
    for key in ("input", "inputs", "texts", "text", "query", "values", "value", "content", "documents"):
        if key in fields:
            return _texts_in(fields[key], depth + 1)
    return []


def _vectors(span: NativeSpan, reading: Reading) -> tuple[int | None, int | None]:
    """(how many vectors, of which length) a span tells of; their numbers are not kept."""
    attributes = span.attributes
    given = [v for k, v in attributes.items() if k.startswith(flat.EMBEDDED) and k.endswith(".vector")]
    if given:
        return len(given), _length(given[0])
    for name in ("ai.embeddings", "embeddings", "ai.embedding", *OUTPUTS):
        if attributes.get(name) is None:
            continue
        found = _vectors_in(attributes[name] if name == "ai.embeddings" else parsed(span, reading, name))
        reading.parsed.pop(name, None)
        if found[0]:
            return found
    return None, None


def _vectors_in(value: Any) -> tuple[int | None, int | None]:
    if value.__class__ is dict:
        inner = next((value[key] for key in ("data", "embeddings", "embedding", "output") if key in value), None)
        return _vectors_in(inner) if inner is not None else (None, None)
    items = as_list(value)
    if not items:
        return None, None
    if items[0].__class__ in (float, int):
        return 1, len(items)
    first = as_dict(items[0])
    length = _length(first.get("embedding") if first else items[0])
    return (len(items), length) if first.get("embedding") or length else (None, None)


def _length(vector: Any) -> int | None:
    if vector.__class__ is str:
        vector = loose(vector)
    return len(cast("list[Any]", vector)) if isinstance(vector, list | tuple) else None
