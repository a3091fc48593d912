"""What the API answers with, as JSON Schema. Tests compare it with what is answered."""

from __future__ import annotations

from typing import Any

from chopsky_trace.server.feedback import GIVEN

Schema = dict[str, Any]

TYPES: dict[str, Schema] = {
    "text": {"type": "string"},
    "int": {"type": "integer"},
    "number": {"type": "number"},
    "bool": {"type": "boolean"},
    "uuid": {"type": "string", "format": "uuid"},
    "time": {"type": "string", "format": "date-time"},
    "decimal": {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"},
    "texts": {"type": "array", "items": {"type": "string"}},
    "uuids": {"type": "array", "items": {"type": "string", "format": "uuid"}},
    "json": {},
}

# A column a word, with its type; `?` may be null. In the second part what only the server's own role reads.
CONVERSATION = (
    "id:uuid session_id:text session_key:uuid project:text? tenant_id:text? user_id:text? title:text?"
    " is_archived:bool state:text expires_at:time? created_at:time updated_at:time last_activity_at:time"
    " completed_at:time? total_runs:int total_messages:int average_response_time:decimal?",
    "total_tokens_used:int? total_cost:decimal? unpriced_calls:int? unmeasured_calls:int?",
)
CONVERSATION_WHOLE = (
    CONVERSATION[0] + " parsed_intent:json answered_questions:json pending_questions:json selected_kb_ids:uuids"
    " active_task_plan_id:uuid? model_provider:text? model_name:text? temperature:decimal? max_tokens:int?"
    " document_chat:bool image_generation:bool web_search:bool",
    CONVERSATION[1] + " system_prompt:text? metadata:json by_hand:bool driven_at:time? legal_hold:bool",
)
RUN = (
    "id:uuid name:text? tenant_id:text? user_id:text? session_id:text? status:text total_messages:int"
    " average_response_time:decimal? user_satisfaction_score:decimal? started_at:time? ended_at:time?"
    " created_at:time updated_at:time",
    "project:text? environment:text? total_tokens_used:int? total_input_tokens:int? total_output_tokens:int?"
    " total_cost:decimal? unpriced_calls:int unmeasured_calls:int error:text? tags:texts error_count:int?"
    " retry_count:int?",
)
RUN_LISTED = (RUN[0], RUN[1] + " short_id:text")
RUN_WHOLE = (RUN[0], RUN[1] + " metadata:json resumes:uuid? resumed_at:time? merged:bool")
MESSAGE = (
    "id:uuid conversation_run_id:uuid? sequence:int? role:text content:text? parts:json name:text?"
    " is_internal:bool response_time_ms:decimal? created_at:time",
    "span_id:uuid? tool_calls:json tool_call_id:text? token_count:int? token_count_source:text? cost:decimal?"
    " model:text? provider:text?",
)
SAID = " session_id:text? tenant_id:text? user_id:text? action_taken:text? questions_asked:json"
CONVERSATION_MESSAGE = (MESSAGE[0] + SAID, MESSAGE[1] + " metadata:json")
RUN_MESSAGE = (MESSAGE[0], MESSAGE[1] + SAID)
SPAN = (
    "id:uuid conversation_run_id:uuid parent_span_id:uuid? kind:text name:text? source:text instrumentor:text?"
    " is_provider:bool? native_id:text? status:text error:text? provider:text? model:text? model_requested:text?"
    " started_at:time? ended_at:time? response_time_ms:decimal? time_to_first_token_ms:decimal? input_tokens:int?"
    " output_tokens:int? total_tokens:int? cache_read_tokens:int? cache_write_tokens:int? reasoning_tokens:int?"
    " audio_tokens:int? usage_source:text? cost:decimal? cost_source:text? finish_reason:text? duplicate_of:uuid?"
    " tags:texts? output_tokens_per_second:decimal? short_id:text",
    "",
)
FEEDBACK = (
    "id:uuid about_id:uuid conversation_run_id:uuid? message_id:uuid? user_id:text? key:text thumbs:text?"
    " score:decimal? value:json comment:text? created_at:time updated_at:time",
    "span_id:uuid? source:text metadata:json",
)
RUN_FEEDBACK = (FEEDBACK[0] + " message_sequence:int?", FEEDBACK[1])
STATS = ("total_conversations:int total_messages:int expired_conversations:int ttl_hours:number?", "")
CLEARED = ("conversation_id:text messages:int", "")
EXPORTED = ("role:text content:text? timestamp:time", "metadata:json")


def row(columns: tuple[str, str]) -> Schema:
    """An object of these columns."""
    always, some = (dict(word.split(":") for word in part.split()) for part in columns)
    found = {name: _typed(kind) for name, kind in {**always, **some}.items()}
    return {"type": "object", "properties": found, "required": list(always), "additionalProperties": False}


def _typed(kind: str) -> Schema:
    schema = TYPES[kind.removesuffix("?")]
    return schema | {"type": [schema["type"], "null"]} if kind.endswith("?") else schema


def ref(name: str) -> Schema:
    """The schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}


def several(name: str, *, null: bool = False) -> Schema:
    """A list of them."""
    return {"type": ["array", "null"] if null else "array", "items": ref(name)}


def whole(**members: Schema) -> Schema:
    """An object that has all of these members, and no other."""
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}


CURSOR: Schema = {"type": ["string", "null"], "description": "Where the next page begins; null: there is none."}

SCHEMAS: dict[str, Schema] = {
    "Conversation": row(CONVERSATION),
    "ConversationWhole": row(CONVERSATION_WHOLE),
    "ConversationMessage": row(CONVERSATION_MESSAGE),
    "Run": row(RUN_LISTED),
    "RunWhole": row(RUN_WHOLE),
    "RunMessage": row(RUN_MESSAGE),
    "Span": row(SPAN),
    "ExportedMessage": row(EXPORTED),
    "Conversations": whole(conversations=several("Conversation"), next=CURSOR),
    "ConversationPage": whole(
        conversation=ref("ConversationWhole"), messages=several("ConversationMessage"), previous=CURSOR
    ),
    "Export": whole(
        conversation_id=TYPES["text"], created_at=TYPES["time"], updated_at=TYPES["time"],
        messages=several("ExportedMessage"), metadata=TYPES["json"],
    ),
    "Cleared": row(CLEARED),
    "Runs": whole(runs=several("Run"), next=CURSOR),
    "RunPage": whole(
        kind={"const": "run"}, run=ref("RunWhole"), messages=several("RunMessage", null=True),
        spans=several("Span", null=True), feedback=several("RunFeedback"),
        next_messages={"type": ["integer", "null"]},
        next_spans=_typed("uuid?"),
    ),
    "Feedback": row(FEEDBACK),
    "RunFeedback": row(RUN_FEEDBACK),
    "FeedbackPage": whole(feedback=several("Feedback"), next=CURSOR),
    "FeedbackGiven": GIVEN,
    "TakenBack": whole(id=TYPES["uuid"]),
    "Stats": row(STATS),
    "Problem": whole(title=TYPES["text"], status=TYPES["int"], detail=TYPES["text"]),
}  # fmt: skip
