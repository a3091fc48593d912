"""What the roles of the API are granted: the whole of it. A signed-in user sees what is theirs, and little of that."""

from __future__ import annotations

USED: set[str] = {
    "key", "day", "tenant_id", "provider", "model", "contributions", "known", "calls", "failed_calls", "input_tokens",
    "output_tokens", "total_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "unmeasured_calls",
    "response_time_ms", "timed_calls", "messages", "user_messages", "assistant_messages",
}  # fmt: skip
"""Of the usage roll-ups: all but costs."""
COLUMNS: dict[str, dict[str, set[str]]] = {
    "conversation_runs": {
        "SELECT": {
            "id", "name", "tenant_id", "user_id", "session_id", "status", "total_messages", "average_response_time",
            "user_satisfaction_score", "started_at", "ended_at", "created_at", "updated_at", "session_key", "merged",
        },
    },
    "conversation_messages": {
        "SELECT": {
            "id", "conversation_run_id", "session_id", "tenant_id", "user_id", "sequence", "role", "content",
            "parts", "name", "is_internal", "response_time_ms", "action_taken", "questions_asked", "session_key",
            "created_at",
        },
    },
    "conversation_sessions": {
        "SELECT": {
            "id", "session_id", "session_key", "project", "tenant_id", "user_id", "title", "is_archived", "state",
            "parsed_intent", "answered_questions", "pending_questions", "selected_kb_ids", "active_task_plan_id",
            "model_provider", "model_name", "temperature", "max_tokens", "document_chat", "image_generation",
            "web_search", "expires_at", "created_at", "updated_at", "last_activity_at", "completed_at",
        },
        "INSERT": {
            "id", "session_id", "tenant_id", "user_id", "title", "state", "parsed_intent", "answered_questions",
            "pending_questions", "selected_kb_ids", "active_task_plan_id", "model_provider", "model_name",
            "temperature", "max_tokens", "document_chat", "image_generation", "web_search",
        },
        "UPDATE": {
            "title", "is_archived", "state", "parsed_intent", "answered_questions", "pending_questions",
            "selected_kb_ids", "active_task_plan_id", "model_provider", "model_name", "temperature", "max_tokens",
            "document_chat", "image_generation", "web_search",
        },
    },
    "usage_metrics": {"SELECT": {*USED, "user_id"}},
    "usage_totals": {"SELECT": USED},
    "conversation_feedback": {
        "SELECT": {
            "id", "about_id", "target_id", "conversation_run_id", "message_id", "session_id", "tenant_id", "user_id",
            "key", "thumbs", "score", "value", "comment", "created_at", "updated_at",
        },
        # What a thumbs button says, and the columns that an upsert names again.
        "INSERT": {"conversation_run_id", "message_id", "user_id", "key", "thumbs", "score", "value", "comment"},
        "UPDATE": {"conversation_run_id", "message_id", "user_id", "key", "thumbs", "score", "value", "comment"},
    },
    "user_profiles": {
        "SELECT": {
            "user_id", "id", "tenant_id", "email", "display_name", "avatar_url", "role", "preferred_model_provider",
            "preferred_model_name", "daily_token_limit", "monthly_token_limit", "created_at", "updated_at",
        },
        "UPDATE": {"display_name", "avatar_url", "preferred_model_provider", "preferred_model_name"},
    },
}  # fmt: skip
"""Of `authenticated`, by table and verb; row level security then says which rows."""
TABLES: dict[str, set[str]] = {
    "conversation_sessions": {"DELETE"},
    "conversation_feedback": {"DELETE"},
}
"""Of `authenticated`, what is no column's."""
SERVICE_TABLES: dict[str, set[str]] = {
    "chopsky_migrations": {"SELECT"},
    "chopsky_keys": {"SELECT", "INSERT"},
    "conversation_erasures": {"SELECT", "INSERT"},
    # What was done to costs stays on record.
    "conversation_repricings": {"SELECT", "INSERT", "UPDATE"},
}
"""Of `service_role`, where it is not every verb on the whole table."""
FUNCTIONS: set[str] = {
    "cancel_conversation_session",
    "chopsky_give_way",
    "chopsky_end_session",
    "chopsky_feedback_version",
    "chopsky_reads_tenant",
    "chopsky_session_moves",
    "chopsky_tenant_id",
    "clear_conversation_session",
    "complete_conversation_session",
    "conversation_session_id",
    "conversation_session_transcript",
    "conversation_transcript",
    "get_conversation_history",
    "get_session_cost",
    "get_session_message_stats",
    "rate_message",
}
"""Of `authenticated`."""
DEFINERS: set[str] = {
    # A trigger: a user may remove a conversation, yet no single run or message of it.
    "chopsky_on_session_gone",
    "chopsky_on_session_cleared",
    # Triggers: a user may rate a run, yet not write to it; and feedback goes with what it is about.
    "chopsky_on_feedback",
    "chopsky_on_message_with_feedback_deleted",
    "chopsky_on_run_with_feedback_deleted",
}
"""Functions that run as their owner: triggers, which nobody can call."""
