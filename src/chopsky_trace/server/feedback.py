"""What a client says of a message or a run: read from the JSON that POST /feedback takes."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

import orjson

from chopsky_trace.errors import FeedbackError
from chopsky_trace.server.parameters import read_fields
from chopsky_trace.server.problems import ProblemError
from chopsky_trace.sources.feedback import SATISFACTION, content, target
from chopsky_trace.telling.identifiers import MAX_ID_CHARS, identifier
from chopsky_trace.telling.options import Options

MOST_BYTES = 65_536
"""Of a body."""
MOST_SCORE = 1e15
SOURCE = "api"

_ID = {"type": ["string", "null"], "maxLength": MAX_ID_CHARS}
GIVEN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "message_id": _ID
        | {"description": "A message's id, or LangChain's for an answer (lc_run--...). Goes before run_id."},
        "run_id": _ID | {"description": "A run's id; with a token of the server's also a span's, stored yet or not."},
        "key": {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_ID_CHARS, "default": SATISFACTION},
        "thumbs": {"type": ["string", "null"], "enum": ["up", "down", None]},
        "score": {
            "type": ["number", "null"], "minimum": -MOST_SCORE, "maximum": MOST_SCORE,
            "description": f"From 1 to 5 under the key {SATISFACTION}.",
        },
        "value": {"description": "Anything else that was said, as JSON."},
        "comment": {"type": ["string", "null"]},
        "user_id": _ID
        | {"description": "Who says it; by default whose conversation it is. A signed-in user speaks for themselves."},
        "source": _ID | {"description": f"Only with a token of the server's; {SOURCE} by default."},
    },
    "anyOf": [{"required": ["message_id"]}, {"required": ["run_id"]}],
    "additionalProperties": False,
}  # fmt: skip
"""The body's JSON Schema."""


def read_feedback(body: bytes, options: Options) -> dict[str, Any]:
    """`about`, `answer`, `user_id`, `source`, `key`, `thumbs`, `score`, `value` and `comment`, as `Ratings.give` has
    them; of value and comment what the capture level lets through.

    Raises:
        ProblemError: 400: the body is no JSON of that form.
    """
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ProblemError(400, "The body must be JSON") from None
    if not isinstance(told, dict):
        raise ProblemError(400, "The body must be a JSON object")
    given = read_fields(GIVEN["properties"], cast("dict[str, Any]", told))
    named = given["message_id"] or given["run_id"]
    if not named:
        raise ProblemError(400, "Say of what: message_id or run_id")
    try:
        about, answer = target(named)
    except FeedbackError:
        raise ProblemError(400, "message_id and run_id must be a uuid, or LangChain's id of an answer") from None
    key, score = identifier(given["key"]) or SATISFACTION, given["score"]
    if key == SATISFACTION and score is not None and not 1 <= score <= 5:
        raise ProblemError(400, f"The score of {SATISFACTION} must be from 1 to 5; under another key it is free")
    if all(given[name] is None for name in ("thumbs", "score", "value", "comment")):
        raise ProblemError(400, "Say something: thumbs, score, value or comment; DELETE takes feedback back")
    kept = content(options, given["value"], given["comment"], None, None)
    value = kept.get("value")
    return {
        "about": UUID(about),
        "answer": answer,
        "user_id": identifier(given["user_id"]),
        "source": identifier(given["source"]),
        "key": key,
        "thumbs": given["thumbs"],
        "score": score,
        "value": None if value is None else orjson.dumps(value).decode(),
        "comment": kept.get("comment"),
    }
