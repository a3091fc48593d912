"""Long texts, documents and media inside payloads -> contents of their own, and references in their place.

| in the payload | stands for |
|---|---|
| `{"$text": id}` | a string |
| `{"$content": body id}` | the text of a message |
| `{"$document": id}` | a document: its `page_content` and metadata |
| `{"$prefix": id, "$messages": [body ids]}` | messages, the first of them as a row of `conversation_prefixes` |
| `{"$media": id, "media_type": ..., "size_bytes": ..., "prefix": ...}` | `prefix`, if any, and the media in base64 |

`id` is the first 128 bits, in hex, of the SHA-256 of the text, of the document's JSON, of the decoded media.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import Any, cast

import orjson
from pybase64 import b64decode

from chopsky_trace.enrich.limit import DATA_URL, MEDIA_KEYS
from chopsky_trace.enrich.prefixes import Prefixes
from chopsky_trace.records import DOCUMENT_CHARS, LONG_CHARS, content_id

MAX_DEPTH = 60
"""Deeper levels of a payload stay as they are."""
REFERENCES = frozenset(("$text", "$document", "$media", "$message", "$messages", "$content"))

Rows = dict[tuple[str, str], dict[str, Any]]


class Contents:
    """Takes contents out of the payloads of one batch.

    Args:
        keep_media: whether the media's bytes go into the database, or only their id, type and size.
        prefixes: what long lists of messages begin with goes there.
    """

    def __init__(self, keep_media: bool = False, prefixes: Prefixes | None = None) -> None:
        self._keep_media = keep_media
        self._prefixes = prefixes or Prefixes()
        self._run = ""
        self._found: Rows = {}

    def rows(self) -> list[dict[str, Any]]:
        """Rows of conversation_contents, sorted by key."""
        return [self._found[key] for key in sorted(self._found)]

    def told(self, run: str, contents: list[dict[str, Any]]) -> None:
        """Contents that the source has already taken out: each with `id`, and `text` or `document`."""
        for content in contents:
            if "text" in content:
                text = content["text"]
                self._add(run, content["id"], kind="text", text=text, size_bytes=len(text.encode()))
            else:
                document = content["document"]
                self._add(run, content["id"], kind="document", document=document, size_bytes=len(_encoded(document)))

    def without(self, run: str, payload: Any) -> Any:
        """The payload, references in the place of what is long."""
        self._run = run
        return self._value(payload, "", None, 0, texts=True)

    def without_media(self, run: str, parts: Any) -> Any:
        """A message's parts or tool calls: their texts stay readable where they are, only media is taken out."""
        self._run = run
        return self._value(parts, "", None, 0, texts=False)

    def _value(self, value: Any, key: str, around: dict[str, Any] | None, depth: int, *, texts: bool) -> Any:
        if value.__class__ is str:
            if len(value) < LONG_CHARS:
                return value
            media = self._media(value, key, around)
            return media or (self._text(value) if texts else value)
        if depth > MAX_DEPTH:
            return value
        if value.__class__ is dict:
            fields = cast("dict[str, Any]", value)
            if not REFERENCES.isdisjoint(fields):
                return self._prefixes.shortened(fields) if texts and "$messages" in fields else fields
            if texts and _is_document(fields):
                return self._document(fields)
            return {k: self._value(v, k, fields, depth + 1, texts=texts) for k, v in fields.items()}
        if value.__class__ is list:
            return [self._value(item, key, around, depth + 1, texts=texts) for item in cast("list[Any]", value)]
        return value

    def _text(self, text: str) -> dict[str, Any]:
        encoded = text.encode()
        content = content_id(encoded)
        self._add(self._run, content, kind="text", text=text, size_bytes=len(encoded))
        return {"$text": content}

    def _document(self, document: dict[str, Any]) -> dict[str, Any]:
        encoded = _encoded(document)
        content = content_id(encoded)
        self._add(self._run, content, kind="document", document=document, size_bytes=len(encoded))
        return {"$document": content}

    def _media(self, text: str, key: str, around: dict[str, Any] | None) -> dict[str, Any] | None:
        url = DATA_URL.match(text)
        if url is None and key not in MEDIA_KEYS:
            return None
        prefix = url[0] if url else ""
        encoded = text[len(prefix) :]
        try:
            # Not the standard library's: that took longer than all else that is done with an image.
            data = b64decode(encoded, validate=True)
        except ValueError:
            return None
        # The last group may have bits that stand for nothing: then it is not to be put together again as it was.
        if not data or b2a_base64(data[-(len(data) % 3 or 3) :], newline=False).decode() != encoded[-4:]:
            return None
        content = content_id(data)
        media_type = (url[1] if url else None) or _media_type(around or {})
        self._add(
            self._run,
            content,
            kind="media",
            media_type=media_type,
            size_bytes=len(data),
            data=encoded if self._keep_media else None,
        )
        found: dict[str, Any] = {"$media": content, "media_type": media_type, "size_bytes": len(data)}
        if prefix:
            found["prefix"] = prefix
        return found

    def _add(self, run: str, content: str, **fields: Any) -> None:
        self._found.setdefault((run, content), {"conversation_run_id": run, "id": content, **fields})


def document_id(document: dict[str, Any]) -> str:
    """The id of a document: of its JSON as orjson writes it, keys in order."""
    return content_id(_encoded(document))


def _encoded(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def _is_document(fields: dict[str, Any]) -> bool:
    """Whether it is a document whose page is worth a reference."""
    page = fields.get("page_content")
    return fields.get("type") == "Document" and isinstance(page, str) and len(page) >= DOCUMENT_CHARS


def _media_type(block: dict[str, Any]) -> str | None:
    for name in ("mime_type", "media_type", "mimeType"):
        if isinstance(block.get(name), str):
            return block[name]
    form = block.get("format")
    return f"audio/{form}" if isinstance(form, str) else None
