"""What people say of runs and messages, in the shape of LangSmith's `create_feedback` -> records."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from typing import Any, Literal, cast
from uuid import UUID

from orjson import dumps

from chopsky_trace.enrich.limit import clean
from chopsky_trace.enrich.secrets import without_secrets
from chopsky_trace.errors import FeedbackError
from chopsky_trace.records import FORMAT, FeedbackTold, derived_id, span_id
from chopsky_trace.scope import current, traced
from chopsky_trace.sources.destination import Destination
from chopsky_trace.telling.identifiers import identifier
from chopsky_trace.telling.options import Options

SATISFACTION = "user_satisfaction"
"""The key of a user's satisfaction, from 1 to 5, that runs show."""
MODEL = "model"
MAX_EXACT = 2**53

Thumbs = Literal["up", "down"] | bool

_ANSWER = re.compile(r"(?:lc_run--|run--?)([0-9a-fA-F-]{32,36}?)(?:-(\d{1,6}))?")
"""LangChain's message ids: the model call's run id, and which of its answers."""

_default: Destination | None = None
_lock = threading.Lock()


def feedback(
    run_id: UUID | str | None = None,
    key: str = SATISFACTION,
    score: float | None = None,
    *,
    value: Any = None,
    comment: str | None = None,
    correction: Any = None,
    message_id: UUID | str | None = None,
    thumbs: Thumbs | None = None,
    user_id: object = None,
    source: str = "api",
    metadata: Mapping[str, Any] | None = None,
) -> bool:
    """`SupabaseTracer.feedback` for the database that the environment names: where no tracer is at hand."""
    global _default
    if _default is None:
        with _lock:
            if _default is None:
                _default = Destination()
    return give(
        _default, run_id, key, score,
        value=value, comment=comment, correction=correction, message_id=message_id, thumbs=thumbs, user_id=user_id,
        source=source, metadata=metadata,
    )  # fmt: skip


def give(destination: Destination, run_id: object, key: str, score: object, **said: Any) -> bool:
    """Put feedback into a destination's journal; whether it is there. Never raises: what fails is counted.

    Args:
        destination: where to.
        run_id: a run's, a span's or a message's id.
        key: what is rated.
        score: a number or a bool.
        said: the other arguments of `SupabaseTracer.feedback`.
    """
    try:
        opened = destination.opened()
        if opened is None:
            return False
        accepted = opened.writer.put(_encoded(opened.options, run_id, key, score, **said))
        if (asked := traced.get()) is not None:
            asked.add(opened.writer)
        # As a run is that ends here.
        opened.run_ended()
        return accepted
    except Exception as error:
        destination.failed("feedback", error)
        return False


def _encoded(
    options: Options,
    run_id: object,
    key: str,
    score: object,
    *,
    message_id: object,
    thumbs: object,
    value: object,
    comment: object,
    correction: object,
    user_id: object,
    source: str,
    metadata: Mapping[str, Any] | None,
) -> bytes:
    about, answer = target(run_id if message_id is None else message_id)
    user = identifier(user_id) or identifier(_ambient_user(options))
    if user is None and source == MODEL:
        # A judge is nobody's user.
        user = MODEL
    key = identifier(key) or SATISFACTION
    if isinstance(score, bool) and key == SATISFACTION and thumbs is None:
        thumbs, score = score, None
    # One record's beginning is what tells it from the others: `v` and `t` come first.
    record: dict[str, Any] = {
        "v": FORMAT,
        "t": "feedback",
        "id": derived_id(about, "feedback", str(answer or 0), user or "", key),
        "about": about,
        "seen": time.time_ns(),
        "key": key,
        "source": identifier(source) or "api",
    }
    if answer is not None:
        record["answer"] = answer
    if user is not None:
        record["user"] = user
    if thumbs is not None:
        record["thumbs"] = _thumbs(thumbs)
    number = _number(score)
    if number is None and all(said in (None, "") for said in (thumbs, value, comment, correction)) and not metadata:
        raise FeedbackError("Nothing was said")
    if number is not None:
        record["score"] = number
    record.update(content(options, value, comment, correction, metadata))
    return dumps(cast("FeedbackTold", record))


def target(named: object) -> tuple[str, int | None]:
    """The id as 32 hex digits; and which answer of the call with that id is meant, if one is.

    Raises:
        ValueError: it is neither a UUID nor an id of LangChain's for a message.
    """
    if isinstance(named, UUID):
        return named.hex, None
    text = str(named).strip()
    found = _ANSWER.fullmatch(text)
    try:
        if found is None:
            return span_id(text).lower(), None
        return span_id(found[1]).lower(), int(found[2] or 0)
    except ValueError:
        raise FeedbackError("What it is about is named by a run's, span's or message's UUID, or lc_run--...") from None


def _ambient_user(options: Options) -> object:
    return current().scope.get("user_id") or options.scope.get("user_id")


def _thumbs(thumbs: object) -> Literal["up", "down"]:
    if thumbs is True or thumbs == "up":
        return "up"
    if thumbs is False or thumbs == "down":
        return "down"
    raise FeedbackError("Thumbs are up or down")


def _number(score: object) -> float | None:
    """A score that is a number, as JSON can carry it."""
    if score is None:
        return None
    if isinstance(score, int):
        # A bool, too.
        return int(score) if abs(score) <= MAX_EXACT else float(score)
    try:
        number = float(cast("Any", score))
    except (TypeError, ValueError):
        raise FeedbackError("A score is a number; what is none goes as value") from None
    return number if number - number == 0 else None


def content(
    options: Options, value: object, comment: object, correction: object, metadata: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What the capture level lets through: a comment is a user's words, as inputs are."""
    found: dict[str, Any] = {}
    if isinstance(value, bool | int | float) and value - value == 0:
        found["value"] = _number(value) if not isinstance(value, bool) else value
        value = None
    if not options.with_inputs:
        return found
    extra: dict[str, Any] = dict(metadata or {})
    if correction is not None:
        extra["correction"] = correction
    for name, given in (("comment", None if comment is None else str(comment)), ("value", value), ("metadata", extra)):
        if given is None or given == {}:
            continue
        told = clean(given, options.max_string)
        if isinstance(told, dict):
            told = without_secrets(cast("dict[str, Any]", told))
        found[name] = told if options.redactor is None else options.redactor.value(told)
    return found
