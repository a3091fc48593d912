"""Who and where: session, user, tenant, environment, project; and what the application says beside, tags and metadata.

Any span of a trace may say it, also one that is about no model.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from chopsky_trace.telemetry.conventions import table
from chopsky_trace.telemetry.conventions.native import Attributes, NativeSpan
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.conventions.values import as_dict, as_list, parsed, scalar, word
from chopsky_trace.telling.identifiers import identifier

STATED, MADE_UP = 2, 1
MAX_TAGS = 100
MAX_METADATA = 200
# A name's first nine characters tell whether it may be metadata: most names are not, and there may be hundreds.
_HEAD = 9
_PREFIXES = {
    prefix[:_HEAD]: tuple(p for p in table.METADATA_PREFIXES if p[:_HEAD] == prefix[:_HEAD])
    for prefix in table.METADATA_PREFIXES
}


def read_scope(span: NativeSpan, reading: Reading) -> None:
    """Read `scope`, `session_rank`, `metadata`."""
    attributes = span.attributes
    scope = reading.scope
    environment, project = _of_resource(span.resource)
    # Most spans say nothing of it.
    told = not table.SCOPE_ATTRIBUTES.isdisjoint(attributes)
    if told:
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
        environment = _first(attributes, table.ENVIRONMENT) or environment
        project = _first(attributes, table.PROJECT) or project
    _read_metadata(span, reading)
    if environment is not None:
        scope["environment"] = environment
    if project is not None and not project.startswith("unknown_service"):
        scope["project"] = project


_latest: tuple[Any, str | None, str | None] = (None, None, None)


def _of_resource(resource: Attributes) -> tuple[str | None, str | None]:
    """Environment and project; a process has one resource, so that of the span before mostly says the same."""
    global _latest
    known, environment, project = _latest
    if known != resource:
        environment, project = _first(resource, table.ENVIRONMENT), _first(resource, table.RESOURCE_PROJECT)
        _latest = resource, environment, project
    return environment, project


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
    # OpenInference has it in one attribute, among up to hundreds.
    flat: Attributes = {} if span.scope.startswith("openinference") else span.attributes
    for name, value in flat.items():
        prefixes = _PREFIXES.get(name[:_HEAD])
        if prefixes is not None and value is not None and not (isinstance(value, str) and value in table.NOTHING):
            for prefix in prefixes:
                if name.startswith(prefix):
                    found[name[len(prefix) :]] = scalar(value) if prefix in table.JSON_METADATA else value
    for name in table.METADATA_OBJECTS:
        if name in span.attributes:
            for key, value in as_dict(parsed(span, reading, name)).items():
                if value is not None:
                    found.setdefault(str(key), value)
    if table.REQUEST_FORM in span.attributes:
        # Anthropic's requests name the user there.
        request = as_dict(parsed(span, reading, table.REQUEST_PAYLOADS[0]))
        for key, value in as_dict(request.get("metadata")).items():
            found.setdefault(str(key), value)
    if found:
        _take_scope(found, reading)
        reading.metadata = _kept(found) or None


def _kept(found: dict[str, Any]) -> dict[str, Any]:
    secret, dropped = table.SECRET_PREFIXES, table.NOT_METADATA
    kept = {name: value for name, value in found.items() if name not in dropped and not name.startswith(secret)}
    return kept if len(kept) <= MAX_METADATA else dict(list(kept.items())[:MAX_METADATA])


def _take_scope(found: dict[str, Any], reading: Reading) -> None:
    """Session, user and tenant that the application's metadata names, where no attribute of their own did."""
    told = table.SCOPE_NAMES & found.keys()
    if not told:
        return
    scope = cast("dict[str, str]", reading.scope)
    for field, keys in table.SCOPE_KEYS.items():
        if field in scope and not (field == "session_id" and reading.session_rank < STATED):
            continue
        for key in keys:
            value = identifier(word(found[key])) if key in told else None
            if value is not None:
                scope[field] = value
                if field == "session_id":
                    reading.session_rank = STATED
                break


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
