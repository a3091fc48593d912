"""Images, audio, video and files in a message, however they are carried."""

from __future__ import annotations

import base64
from typing import Any, cast

from chopsky_trace.telemetry.conventions.reading import Part
from chopsky_trace.telemetry.conventions.values import word

Fields = dict[str, Any]

_MODALITIES = frozenset(("image", "audio", "video"))
_LANGFUSE_MEDIA = "@@@langfuseMedia:"
_MEDIA_HOLDERS = (
    *("image_url", "input_audio", "file", "image", "video", "document", "audio", "inline_data", "inlineData"),
    *("file_data", "fileData", "video_url"),
)
_IMAGE_STARTS = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
}
"""How the formats' first bytes look in base64."""
_MEDIA_VALUES = (
    *("base64", "data", "url", "uri", "file_uri", "fileUri", "image_url", "image", "content", "file_data", "bytes"),
    *("audio", "video", "file"),
)


def kind_of(fields: Fields) -> str:
    """What an object says it is; "" if it does not."""
    kind: Any = fields.get("type")
    return kind if kind.__class__ is str else ""


def media(part: Fields) -> Part | None:
    """The part in the form of `Part`; None where nothing tells of what it shows."""
    kind = _kind_of_media(part)
    source: Any = part.get("source")
    inner: Any = next((part[key] for key in _MEDIA_HOLDERS if part.get(key).__class__ is dict), None)
    fields: Fields = source if source.__class__ is dict else inner if inner is not None else part
    # OpenInference nests an image within an image.
    fields = next((fields[key] for key in ("image", "audio") if fields.get(key).__class__ is dict), fields)
    mime = _mime(fields) or _mime(part)
    if fields.get("format").__class__ is str and mime is None:
        mime = f"{kind}/{fields['format']}"
    if fields.get("type") == "text" and fields is not part:
        # A document of Anthropic's that is given as text.
        text: Any = fields.get("data")
        return {"type": "text", "text": text} if text.__class__ is str and text else None
    made = _carried(fields, kind, mime)
    return _carried(part, kind, mime) if made is None and fields is not part else made


def _carried(fields: Fields, kind: str, mime: str | None) -> Part | None:
    for key in _MEDIA_VALUES:
        value: Any = fields.get(key)
        if value.__class__ is dict:
            value = _bytes_in(cast("Fields", value))
        if isinstance(value, bytes | bytearray):
            value = base64.b64encode(value).decode()
        if value.__class__ is str and value:
            return _located(value, kind, mime, named_url="ur" in key)
    file_id = word(fields.get("file_id") or fields.get("fileId") or fields.get("id"))
    return _made(kind, "file_id", file_id, mime) if file_id else None


def _located(value: str, kind: str, mime: str | None, *, named_url: bool) -> Part:
    if value.startswith("data:"):
        head, comma, data = value.partition(",")
        if comma and head.endswith(";base64"):
            told = head[5:-7].partition(";")[0]
            return _made(kind_of_mime(told) or kind, "base64", data, told or mime)
        return _made(kind, "url", value, mime)
    if value.startswith(_LANGFUSE_MEDIA):
        split = [fact.partition("=") for fact in value[len(_LANGFUSE_MEDIA) :].rstrip("@").split("|")]
        facts = {name: told for name, _, told in split}
        return _made(kind, "file_id", facts.get("id") or value, facts.get("type") or mime)
    if named_url or "://" in value[:40]:
        # Some guess an image's type from its address, others leave it out.
        return _made(kind, "url", value, None if kind == "image" else mime)
    if mime is None and kind == "image":
        mime = next((told for start, told in _IMAGE_STARTS.items() if value.startswith(start)), None)
    return _made(kind, "base64", value, mime)


def _made(kind: str, key: str, value: str, mime: str | None) -> Part:
    return {"type": kind, key: value, "mime_type": mime} if mime else {"type": kind, key: value}


def _bytes_in(value: Fields) -> Any:
    """What JavaScript's buffers and typed arrays hold, as their JSON has it."""
    data: Any = value.get("data") if value.get("type") == "Buffer" else None
    if data is None and "0" in value:
        data = list(value.values())
    if data.__class__ is list:
        try:
            return bytes(cast("list[int]", data))
        except (ValueError, TypeError):
            return None
    return value.get("bytes") or value.get("url") or value.get("data")


def _mime(fields: Fields) -> str | None:
    for key in ("mime_type", "media_type", "mimeType", "mediaType"):
        if fields.get(key).__class__ is str and "/" in fields[key]:
            return fields[key]
    return None


def kind_of_mime(mime: str | None) -> str | None:
    """image, audio, video or file; None of nothing."""
    if not mime:
        return None
    head = mime.partition("/")[0]
    return head if head in _MODALITIES else "file"


def _kind_of_media(part: Fields) -> str:
    modality: Any = part.get("modality")
    if modality.__class__ is str and modality in _MODALITIES:
        return modality
    kind = kind_of(part)
    found = next((known for known in _MODALITIES if known in kind), None)
    if found is None:
        source: Any = part.get("source")
        found = kind_of_mime(_mime(part) or (_mime(cast("Fields", source)) if source.__class__ is dict else None))
    if found is None:
        found = next((known for known in _MODALITIES if known in part), None)
    if found is None:
        held: Any = next((part[key] for key in _MEDIA_HOLDERS if part.get(key).__class__ is dict), None)
        found = kind_of_mime(_mime(cast("Fields", held))) if held is not None else None
    return found or "file"
