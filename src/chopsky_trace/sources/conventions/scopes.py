"""Who and where: session, user, tenant, environment, project; and what the application says beside, tags and metadata.

Any span of a trace may say it, also one that is about no model.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chopsky_trace.records import Scope
from chopsky_trace.sources.conventions import table
from chopsky_trace.sources.conventions.native import Attributes, NativeSpan
from chopsky_trace.sources.conventions.reading import Reading
from chopsky_trace.sources.conventions.values import as_dict, as_list, parsed, scalar, word
from chopsky_trace.sources.langchain_fields import identifier

STATED, MADE_UP = 2, 1
MAX_TAGS = 100
MAX_METADATA = 200
# A name's first nine characters tell whether it may be metadata: most names are not, and there may be hundreds.
_HEADS = frozenset(prefix[:9] for prefix in table.METADATA_PREFIXES)


def read_scope(span: NativeSpan, reading: Reading) -> None:
    """Read `scope`, `session_rank`, `metadata`."""
    attributes = span.attributes
    scope = reading.scope
    session = _first(attributes, table.SESSION)
    if session is not None and not _is_of_trace(session, span):
        scope["session_id"] = session
        reading.session_rank = MADE_UP if _is_made_up(session, span) else STATED
    user = _first(attributes, table.USER)
    if user is not None:
        scope["user_id"] = user
    tenant = _first(attributes, table.TENANT)
    if tenant is not None:
        scope["tenant_id"] = tenant
    _read_metadata(span, reading)
    resource = span.resource
    environment = _first(attributes, table.ENVIRONMENT) or _first(resource, table.ENVIRONMENT)
    if environment is not None:
        scope["environment"] = environment
    project = _first(attributes, table.PROJECT) or _first(resource, table.RESOURCE_PROJECT)
    if project is not None and not project.startswith("unknown_service"):
        scope["project"] = project


def _first(attributes: Attributes, names: table.Names) -> str | None:
    for name in names:
        if name in attributes:
            # MLflow writes the request's parameters as JSON: "user-7" with its quotes.
            found = identifier(word(_unquoted(attributes[name])))
            if found is not None:
                return found
    return None


def _unquoted(value: Any) -> Any:
    return scalar(value) if value.__class__ is str and value[:1] == '"' else value


def _is_of_trace(session: str, span: NativeSpan) -> bool:
    """A trace's or a span's id groups nothing."""
    plain = session.replace("-", "").lower()
    return plain in (span.trace_id, span.span_id)


def _is_made_up(session: str, span: NativeSpan) -> bool:
    """pydantic-ai gives each run a time-ordered UUID where the application gave it no conversation."""
    if span.scope != "pydantic-ai" or len(session) != 36:
        return False
    try:
        return UUID(session).version == 7
    except ValueError:
        return False


def _read_metadata(span: NativeSpan, reading: Reading) -> None:
    found: dict[str, Any] = {}
    for name, value in span.attributes.items():
        if name[:9] in _HEADS:
            prefix = next((p for p in table.METADATA_PREFIXES if name.startswith(p)), None)
            if prefix is not None and value not in (None, "") and len(found) < MAX_METADATA:
                found[name[len(prefix) :]] = scalar(value) if prefix.startswith("langfuse") else value
    for name in table.METADATA_OBJECTS:
        if name in span.attributes:
            for key, value in as_dict(parsed(span, reading, name)).items():
                if value is not None and len(found) < MAX_METADATA:
                    found.setdefault(str(key), value)
    if found:
        _take_scope(found, reading)
        kept = {
            name: value
            for name, value in found.items()
            if name not in table.NOT_METADATA and not name.startswith(table.SECRET_PREFIXES)
        }
        if kept:
            reading.metadata = kept


def _take_scope(found: dict[str, Any], reading: Reading) -> None:
    """Session, user and tenant that the application's metadata names, where no attribute of their own did."""
    told: Scope = {}
    for key in table.SCOPE_KEYS["session_id"]:
        value = identifier(word(found.get(key)))
        if value is not None:
            told["session_id"] = value
            break
    for key in table.SCOPE_KEYS["user_id"]:
        value = identifier(word(found.get(key)))
        if value is not None:
            told["user_id"] = value
            break
    for key in table.SCOPE_KEYS["tenant_id"]:
        value = identifier(word(found.get(key)))
        if value is not None:
            told["tenant_id"] = value
            break
    scope = reading.scope
    if "session_id" in told and reading.session_rank < STATED:
        scope["session_id"] = told["session_id"]
        reading.session_rank = STATED
    if "user_id" in told:
        scope.setdefault("user_id", told["user_id"])
    if "tenant_id" in told:
        scope.setdefault("tenant_id", told["tenant_id"])


def read_tags(span: NativeSpan, reading: Reading) -> None:
    """Read `tags`."""
    attributes = span.attributes
    found: dict[str, None] = {}
    for name in table.TAGS:
        if name in attributes:
            value = parsed(span, reading, name)
            # LangSmith joins them by commas.
            several = value.split(",") if value.__class__ is str else as_list(value)
            for tag in several[:MAX_TAGS]:
                text = word(tag)
                if text:
                    found[text] = None
    if found:
        reading.tags = tuple(found)[:MAX_TAGS]
