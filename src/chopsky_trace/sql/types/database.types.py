from __future__ import annotations

import datetime
import uuid
from typing import (
    Annotated,
    Any,
    List,
    Literal,
    Optional,
    TypedDict,
)
from typing_extensions import NotRequired, TypeAlias

from pydantic import BaseModel, Field, JsonValue



class PublicChopskyKeys(BaseModel):
    key: bytes = Field(alias="key")
    name: str = Field(alias="name")

class PublicChopskyKeysInsert(TypedDict):
    key: NotRequired[Annotated[bytes, Field(alias="key")]]
    name: Annotated[str, Field(alias="name")]

class PublicChopskyKeysUpdate(TypedDict):
    key: NotRequired[Annotated[bytes, Field(alias="key")]]
    name: NotRequired[Annotated[str, Field(alias="name")]]

class PublicChopskyMigrations(BaseModel):
    applied_at: datetime.datetime = Field(alias="applied_at")
    name: str = Field(alias="name")
    number: int = Field(alias="number")
    sha256: str = Field(alias="sha256")

class PublicChopskyMigrationsInsert(TypedDict):
    applied_at: NotRequired[Annotated[datetime.datetime, Field(alias="applied_at")]]
    name: Annotated[str, Field(alias="name")]
    number: Annotated[int, Field(alias="number")]
    sha256: Annotated[str, Field(alias="sha256")]

class PublicChopskyMigrationsUpdate(TypedDict):
    applied_at: NotRequired[Annotated[datetime.datetime, Field(alias="applied_at")]]
    name: NotRequired[Annotated[str, Field(alias="name")]]
    number: NotRequired[Annotated[int, Field(alias="number")]]
    sha256: NotRequired[Annotated[str, Field(alias="sha256")]]

class PublicConversationAnalytics(BaseModel):
    completion_rate: Optional[float] = Field(alias="completion_rate")
    conversation_quality_score: Optional[float] = Field(alias="conversation_quality_score")
    conversation_run_id: uuid.UUID = Field(alias="conversation_run_id")
    created_at: datetime.datetime = Field(alias="created_at")
    error_count: int = Field(alias="error_count")
    id: uuid.UUID = Field(alias="id")
    metadata: JsonValue = Field(alias="metadata")
    retry_count: int = Field(alias="retry_count")
    scores_by_hand: List[str] = Field(alias="scores_by_hand")
    updated_at: datetime.datetime = Field(alias="updated_at")
    user_engagement_score: Optional[float] = Field(alias="user_engagement_score")

class PublicConversationAnalyticsInsert(TypedDict):
    completion_rate: NotRequired[Annotated[Optional[float], Field(alias="completion_rate")]]
    conversation_quality_score: NotRequired[Annotated[Optional[float], Field(alias="conversation_quality_score")]]
    conversation_run_id: Annotated[uuid.UUID, Field(alias="conversation_run_id")]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    error_count: NotRequired[Annotated[int, Field(alias="error_count")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    retry_count: NotRequired[Annotated[int, Field(alias="retry_count")]]
    scores_by_hand: NotRequired[Annotated[List[str], Field(alias="scores_by_hand")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_engagement_score: NotRequired[Annotated[Optional[float], Field(alias="user_engagement_score")]]

class PublicConversationAnalyticsUpdate(TypedDict):
    completion_rate: NotRequired[Annotated[Optional[float], Field(alias="completion_rate")]]
    conversation_quality_score: NotRequired[Annotated[Optional[float], Field(alias="conversation_quality_score")]]
    conversation_run_id: NotRequired[Annotated[uuid.UUID, Field(alias="conversation_run_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    error_count: NotRequired[Annotated[int, Field(alias="error_count")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    retry_count: NotRequired[Annotated[int, Field(alias="retry_count")]]
    scores_by_hand: NotRequired[Annotated[List[str], Field(alias="scores_by_hand")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_engagement_score: NotRequired[Annotated[Optional[float], Field(alias="user_engagement_score")]]

class PublicConversationContents(BaseModel):
    conversation_run_id: uuid.UUID = Field(alias="conversation_run_id")
    created_at: datetime.datetime = Field(alias="created_at")
    data: Optional[bytes] = Field(alias="data")
    document: Optional[JsonValue] = Field(alias="document")
    id: uuid.UUID = Field(alias="id")
    kind: str = Field(alias="kind")
    media_type: Optional[str] = Field(alias="media_type")
    size_bytes: int = Field(alias="size_bytes")
    text: Optional[str] = Field(alias="text")

class PublicConversationContentsInsert(TypedDict):
    conversation_run_id: Annotated[uuid.UUID, Field(alias="conversation_run_id")]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    data: NotRequired[Annotated[Optional[bytes], Field(alias="data")]]
    document: NotRequired[Annotated[Optional[JsonValue], Field(alias="document")]]
    id: Annotated[uuid.UUID, Field(alias="id")]
    kind: Annotated[str, Field(alias="kind")]
    media_type: NotRequired[Annotated[Optional[str], Field(alias="media_type")]]
    size_bytes: Annotated[int, Field(alias="size_bytes")]
    text: NotRequired[Annotated[Optional[str], Field(alias="text")]]

class PublicConversationContentsUpdate(TypedDict):
    conversation_run_id: NotRequired[Annotated[uuid.UUID, Field(alias="conversation_run_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    data: NotRequired[Annotated[Optional[bytes], Field(alias="data")]]
    document: NotRequired[Annotated[Optional[JsonValue], Field(alias="document")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    media_type: NotRequired[Annotated[Optional[str], Field(alias="media_type")]]
    size_bytes: NotRequired[Annotated[int, Field(alias="size_bytes")]]
    text: NotRequired[Annotated[Optional[str], Field(alias="text")]]

class PublicConversationErasures(BaseModel):
    erased_at: datetime.datetime = Field(alias="erased_at")
    id: uuid.UUID = Field(alias="id")
    receipt: JsonValue = Field(alias="receipt")

class PublicConversationErasuresInsert(TypedDict):
    erased_at: NotRequired[Annotated[datetime.datetime, Field(alias="erased_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    receipt: Annotated[JsonValue, Field(alias="receipt")]

class PublicConversationErasuresUpdate(TypedDict):
    erased_at: NotRequired[Annotated[datetime.datetime, Field(alias="erased_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    receipt: NotRequired[Annotated[JsonValue, Field(alias="receipt")]]

class PublicConversationFeedback(BaseModel):
    about_id: uuid.UUID = Field(alias="about_id")
    answer: Optional[int] = Field(alias="answer")
    comment: Optional[str] = Field(alias="comment")
    conversation_run_id: Optional[uuid.UUID] = Field(alias="conversation_run_id")
    created_at: datetime.datetime = Field(alias="created_at")
    given_by: Optional[str] = Field(alias="given_by")
    id: uuid.UUID = Field(alias="id")
    is_internal: bool = Field(alias="is_internal")
    is_pending: bool = Field(alias="is_pending")
    key: str = Field(alias="key")
    message_id: Optional[uuid.UUID] = Field(alias="message_id")
    metadata: JsonValue = Field(alias="metadata")
    score: Optional[float] = Field(alias="score")
    session_id: Optional[str] = Field(alias="session_id")
    source: str = Field(alias="source")
    span_id: Optional[uuid.UUID] = Field(alias="span_id")
    target_id: uuid.UUID = Field(alias="target_id")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    thumbs: Optional[str] = Field(alias="thumbs")
    updated_at: datetime.datetime = Field(alias="updated_at")
    user_id: Optional[str] = Field(alias="user_id")
    value: Optional[JsonValue] = Field(alias="value")
    version: str = Field(alias="version")

class PublicConversationFeedbackInsert(TypedDict):
    about_id: Annotated[uuid.UUID, Field(alias="about_id")]
    answer: NotRequired[Annotated[Optional[int], Field(alias="answer")]]
    comment: NotRequired[Annotated[Optional[str], Field(alias="comment")]]
    conversation_run_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="conversation_run_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    given_by: NotRequired[Annotated[Optional[str], Field(alias="given_by")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    is_internal: NotRequired[Annotated[bool, Field(alias="is_internal")]]
    is_pending: NotRequired[Annotated[bool, Field(alias="is_pending")]]
    key: NotRequired[Annotated[str, Field(alias="key")]]
    message_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="message_id")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    score: NotRequired[Annotated[Optional[float], Field(alias="score")]]
    session_id: NotRequired[Annotated[Optional[str], Field(alias="session_id")]]
    source: NotRequired[Annotated[str, Field(alias="source")]]
    span_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="span_id")]]
    target_id: NotRequired[Annotated[uuid.UUID, Field(alias="target_id")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    thumbs: NotRequired[Annotated[Optional[str], Field(alias="thumbs")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    value: NotRequired[Annotated[Optional[JsonValue], Field(alias="value")]]
    version: Annotated[str, Field(alias="version")]

class PublicConversationFeedbackUpdate(TypedDict):
    about_id: NotRequired[Annotated[uuid.UUID, Field(alias="about_id")]]
    answer: NotRequired[Annotated[Optional[int], Field(alias="answer")]]
    comment: NotRequired[Annotated[Optional[str], Field(alias="comment")]]
    conversation_run_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="conversation_run_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    given_by: NotRequired[Annotated[Optional[str], Field(alias="given_by")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    is_internal: NotRequired[Annotated[bool, Field(alias="is_internal")]]
    is_pending: NotRequired[Annotated[bool, Field(alias="is_pending")]]
    key: NotRequired[Annotated[str, Field(alias="key")]]
    message_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="message_id")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    score: NotRequired[Annotated[Optional[float], Field(alias="score")]]
    session_id: NotRequired[Annotated[Optional[str], Field(alias="session_id")]]
    source: NotRequired[Annotated[str, Field(alias="source")]]
    span_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="span_id")]]
    target_id: NotRequired[Annotated[uuid.UUID, Field(alias="target_id")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    thumbs: NotRequired[Annotated[Optional[str], Field(alias="thumbs")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    value: NotRequired[Annotated[Optional[JsonValue], Field(alias="value")]]
    version: NotRequired[Annotated[str, Field(alias="version")]]

class PublicConversationMessages(BaseModel):
    action_taken: Optional[str] = Field(alias="action_taken")
    body_id: Optional[uuid.UUID] = Field(alias="body_id")
    content: Optional[str] = Field(alias="content")
    conversation_run_id: Optional[uuid.UUID] = Field(alias="conversation_run_id")
    cost: Optional[float] = Field(alias="cost")
    created_at: datetime.datetime = Field(alias="created_at")
    delegation_plan: Optional[JsonValue] = Field(alias="delegation_plan")
    id: uuid.UUID = Field(alias="id")
    is_history: bool = Field(alias="is_history")
    is_internal: bool = Field(alias="is_internal")
    metadata: JsonValue = Field(alias="metadata")
    model: Optional[str] = Field(alias="model")
    name: Optional[str] = Field(alias="name")
    occurrence: int = Field(alias="occurrence")
    parts: Optional[JsonValue] = Field(alias="parts")
    position: int = Field(alias="position")
    provider: Optional[str] = Field(alias="provider")
    questions_asked: Optional[JsonValue] = Field(alias="questions_asked")
    response_time_ms: Optional[float] = Field(alias="response_time_ms")
    role: str = Field(alias="role")
    said: Optional[JsonValue] = Field(alias="said")
    sequence: Optional[int] = Field(alias="sequence")
    session_id: Optional[str] = Field(alias="session_id")
    session_key: Optional[uuid.UUID] = Field(alias="session_key")
    span_id: Optional[uuid.UUID] = Field(alias="span_id")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    token_count: Optional[int] = Field(alias="token_count")
    token_count_source: Optional[str] = Field(alias="token_count_source")
    tool_call_id: Optional[str] = Field(alias="tool_call_id")
    tool_calls: Optional[JsonValue] = Field(alias="tool_calls")
    user_id: Optional[str] = Field(alias="user_id")
    version: Optional[str] = Field(alias="version")

class PublicConversationMessagesInsert(TypedDict):
    action_taken: NotRequired[Annotated[Optional[str], Field(alias="action_taken")]]
    body_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="body_id")]]
    content: NotRequired[Annotated[Optional[str], Field(alias="content")]]
    conversation_run_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="conversation_run_id")]]
    cost: NotRequired[Annotated[Optional[float], Field(alias="cost")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    delegation_plan: NotRequired[Annotated[Optional[JsonValue], Field(alias="delegation_plan")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    is_history: NotRequired[Annotated[bool, Field(alias="is_history")]]
    is_internal: NotRequired[Annotated[bool, Field(alias="is_internal")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    name: NotRequired[Annotated[Optional[str], Field(alias="name")]]
    occurrence: NotRequired[Annotated[int, Field(alias="occurrence")]]
    parts: NotRequired[Annotated[Optional[JsonValue], Field(alias="parts")]]
    position: NotRequired[Annotated[int, Field(alias="position")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    questions_asked: NotRequired[Annotated[Optional[JsonValue], Field(alias="questions_asked")]]
    response_time_ms: NotRequired[Annotated[Optional[float], Field(alias="response_time_ms")]]
    role: Annotated[str, Field(alias="role")]
    said: NotRequired[Annotated[Optional[JsonValue], Field(alias="said")]]
    sequence: NotRequired[Annotated[Optional[int], Field(alias="sequence")]]
    session_id: NotRequired[Annotated[Optional[str], Field(alias="session_id")]]
    session_key: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="session_key")]]
    span_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="span_id")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    token_count: NotRequired[Annotated[Optional[int], Field(alias="token_count")]]
    token_count_source: NotRequired[Annotated[Optional[str], Field(alias="token_count_source")]]
    tool_call_id: NotRequired[Annotated[Optional[str], Field(alias="tool_call_id")]]
    tool_calls: NotRequired[Annotated[Optional[JsonValue], Field(alias="tool_calls")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    version: NotRequired[Annotated[Optional[str], Field(alias="version")]]

class PublicConversationMessagesUpdate(TypedDict):
    action_taken: NotRequired[Annotated[Optional[str], Field(alias="action_taken")]]
    body_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="body_id")]]
    content: NotRequired[Annotated[Optional[str], Field(alias="content")]]
    conversation_run_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="conversation_run_id")]]
    cost: NotRequired[Annotated[Optional[float], Field(alias="cost")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    delegation_plan: NotRequired[Annotated[Optional[JsonValue], Field(alias="delegation_plan")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    is_history: NotRequired[Annotated[bool, Field(alias="is_history")]]
    is_internal: NotRequired[Annotated[bool, Field(alias="is_internal")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    name: NotRequired[Annotated[Optional[str], Field(alias="name")]]
    occurrence: NotRequired[Annotated[int, Field(alias="occurrence")]]
    parts: NotRequired[Annotated[Optional[JsonValue], Field(alias="parts")]]
    position: NotRequired[Annotated[int, Field(alias="position")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    questions_asked: NotRequired[Annotated[Optional[JsonValue], Field(alias="questions_asked")]]
    response_time_ms: NotRequired[Annotated[Optional[float], Field(alias="response_time_ms")]]
    role: NotRequired[Annotated[str, Field(alias="role")]]
    said: NotRequired[Annotated[Optional[JsonValue], Field(alias="said")]]
    sequence: NotRequired[Annotated[Optional[int], Field(alias="sequence")]]
    session_id: NotRequired[Annotated[Optional[str], Field(alias="session_id")]]
    session_key: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="session_key")]]
    span_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="span_id")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    token_count: NotRequired[Annotated[Optional[int], Field(alias="token_count")]]
    token_count_source: NotRequired[Annotated[Optional[str], Field(alias="token_count_source")]]
    tool_call_id: NotRequired[Annotated[Optional[str], Field(alias="tool_call_id")]]
    tool_calls: NotRequired[Annotated[Optional[JsonValue], Field(alias="tool_calls")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    version: NotRequired[Annotated[Optional[str], Field(alias="version")]]

class PublicConversationPrefixes(BaseModel):
    bodies: List[uuid.UUID] = Field(alias="bodies")
    created_at: datetime.datetime = Field(alias="created_at")
    extends: Optional[uuid.UUID] = Field(alias="extends")
    id: uuid.UUID = Field(alias="id")
    length: int = Field(alias="length")

class PublicConversationPrefixesInsert(TypedDict):
    bodies: Annotated[List[uuid.UUID], Field(alias="bodies")]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    extends: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="extends")]]
    id: Annotated[uuid.UUID, Field(alias="id")]
    length: Annotated[int, Field(alias="length")]

class PublicConversationPrefixesUpdate(TypedDict):
    bodies: NotRequired[Annotated[List[uuid.UUID], Field(alias="bodies")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    extends: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="extends")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    length: NotRequired[Annotated[int, Field(alias="length")]]

class PublicConversationRepricings(BaseModel):
    application: Optional[str] = Field(alias="application")
    by_model: JsonValue = Field(alias="by_model")
    calls_changed: int = Field(alias="calls_changed")
    calls_from: datetime.datetime = Field(alias="calls_from")
    calls_seen: int = Field(alias="calls_seen")
    calls_skipped: int = Field(alias="calls_skipped")
    calls_to: datetime.datetime = Field(alias="calls_to")
    done_by: str = Field(alias="done_by")
    ended_at: Optional[datetime.datetime] = Field(alias="ended_at")
    id: uuid.UUID = Field(alias="id")
    model: Optional[str] = Field(alias="model")
    new_cost: Optional[float] = Field(alias="new_cost")
    old_cost: Optional[float] = Field(alias="old_cost")
    prices: JsonValue = Field(alias="prices")
    provider: Optional[str] = Field(alias="provider")
    started_at: datetime.datetime = Field(alias="started_at")
    status: str = Field(alias="status")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    updated_at: datetime.datetime = Field(alias="updated_at")

class PublicConversationRepricingsInsert(TypedDict):
    application: NotRequired[Annotated[Optional[str], Field(alias="application")]]
    by_model: NotRequired[Annotated[JsonValue, Field(alias="by_model")]]
    calls_changed: NotRequired[Annotated[int, Field(alias="calls_changed")]]
    calls_from: Annotated[datetime.datetime, Field(alias="calls_from")]
    calls_seen: NotRequired[Annotated[int, Field(alias="calls_seen")]]
    calls_skipped: NotRequired[Annotated[int, Field(alias="calls_skipped")]]
    calls_to: Annotated[datetime.datetime, Field(alias="calls_to")]
    done_by: NotRequired[Annotated[str, Field(alias="done_by")]]
    ended_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="ended_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    new_cost: NotRequired[Annotated[Optional[float], Field(alias="new_cost")]]
    old_cost: NotRequired[Annotated[Optional[float], Field(alias="old_cost")]]
    prices: NotRequired[Annotated[JsonValue, Field(alias="prices")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    started_at: NotRequired[Annotated[datetime.datetime, Field(alias="started_at")]]
    status: NotRequired[Annotated[str, Field(alias="status")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]

class PublicConversationRepricingsUpdate(TypedDict):
    application: NotRequired[Annotated[Optional[str], Field(alias="application")]]
    by_model: NotRequired[Annotated[JsonValue, Field(alias="by_model")]]
    calls_changed: NotRequired[Annotated[int, Field(alias="calls_changed")]]
    calls_from: NotRequired[Annotated[datetime.datetime, Field(alias="calls_from")]]
    calls_seen: NotRequired[Annotated[int, Field(alias="calls_seen")]]
    calls_skipped: NotRequired[Annotated[int, Field(alias="calls_skipped")]]
    calls_to: NotRequired[Annotated[datetime.datetime, Field(alias="calls_to")]]
    done_by: NotRequired[Annotated[str, Field(alias="done_by")]]
    ended_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="ended_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    new_cost: NotRequired[Annotated[Optional[float], Field(alias="new_cost")]]
    old_cost: NotRequired[Annotated[Optional[float], Field(alias="old_cost")]]
    prices: NotRequired[Annotated[JsonValue, Field(alias="prices")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    started_at: NotRequired[Annotated[datetime.datetime, Field(alias="started_at")]]
    status: NotRequired[Annotated[str, Field(alias="status")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]

class PublicConversationRuns(BaseModel):
    average_response_time: Optional[float] = Field(alias="average_response_time")
    content_removed: Optional[str] = Field(alias="content_removed")
    created_at: datetime.datetime = Field(alias="created_at")
    ended_at: Optional[datetime.datetime] = Field(alias="ended_at")
    environment: Optional[str] = Field(alias="environment")
    error: Optional[str] = Field(alias="error")
    id: uuid.UUID = Field(alias="id")
    merged: bool = Field(alias="merged")
    metadata: JsonValue = Field(alias="metadata")
    name: Optional[str] = Field(alias="name")
    project: Optional[str] = Field(alias="project")
    resumed_at: Optional[datetime.datetime] = Field(alias="resumed_at")
    resumes: Optional[uuid.UUID] = Field(alias="resumes")
    scope_by_hand: bool = Field(alias="scope_by_hand")
    session_id: Optional[str] = Field(alias="session_id")
    session_key: uuid.UUID = Field(alias="session_key")
    started_at: Optional[datetime.datetime] = Field(alias="started_at")
    status: str = Field(alias="status")
    tags: List[str] = Field(alias="tags")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    total_cost: Optional[float] = Field(alias="total_cost")
    total_input_tokens: Optional[int] = Field(alias="total_input_tokens")
    total_messages: int = Field(alias="total_messages")
    total_output_tokens: Optional[int] = Field(alias="total_output_tokens")
    total_tokens_used: Optional[int] = Field(alias="total_tokens_used")
    totals_by_hand: bool = Field(alias="totals_by_hand")
    unmeasured_calls: int = Field(alias="unmeasured_calls")
    unpriced_calls: int = Field(alias="unpriced_calls")
    updated_at: datetime.datetime = Field(alias="updated_at")
    user_id: Optional[str] = Field(alias="user_id")
    user_satisfaction_score: Optional[float] = Field(alias="user_satisfaction_score")

class PublicConversationRunsInsert(TypedDict):
    average_response_time: NotRequired[Annotated[Optional[float], Field(alias="average_response_time")]]
    content_removed: NotRequired[Annotated[Optional[str], Field(alias="content_removed")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    ended_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="ended_at")]]
    environment: NotRequired[Annotated[Optional[str], Field(alias="environment")]]
    error: NotRequired[Annotated[Optional[str], Field(alias="error")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    merged: NotRequired[Annotated[bool, Field(alias="merged")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    name: NotRequired[Annotated[Optional[str], Field(alias="name")]]
    project: NotRequired[Annotated[Optional[str], Field(alias="project")]]
    resumed_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="resumed_at")]]
    resumes: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="resumes")]]
    scope_by_hand: NotRequired[Annotated[bool, Field(alias="scope_by_hand")]]
    session_id: NotRequired[Annotated[Optional[str], Field(alias="session_id")]]
    session_key: NotRequired[Annotated[uuid.UUID, Field(alias="session_key")]]
    started_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="started_at")]]
    status: NotRequired[Annotated[str, Field(alias="status")]]
    tags: NotRequired[Annotated[List[str], Field(alias="tags")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    total_cost: NotRequired[Annotated[Optional[float], Field(alias="total_cost")]]
    total_input_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_input_tokens")]]
    total_messages: NotRequired[Annotated[int, Field(alias="total_messages")]]
    total_output_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_output_tokens")]]
    total_tokens_used: NotRequired[Annotated[Optional[int], Field(alias="total_tokens_used")]]
    totals_by_hand: NotRequired[Annotated[bool, Field(alias="totals_by_hand")]]
    unmeasured_calls: NotRequired[Annotated[int, Field(alias="unmeasured_calls")]]
    unpriced_calls: NotRequired[Annotated[int, Field(alias="unpriced_calls")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    user_satisfaction_score: NotRequired[Annotated[Optional[float], Field(alias="user_satisfaction_score")]]

class PublicConversationRunsUpdate(TypedDict):
    average_response_time: NotRequired[Annotated[Optional[float], Field(alias="average_response_time")]]
    content_removed: NotRequired[Annotated[Optional[str], Field(alias="content_removed")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    ended_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="ended_at")]]
    environment: NotRequired[Annotated[Optional[str], Field(alias="environment")]]
    error: NotRequired[Annotated[Optional[str], Field(alias="error")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    merged: NotRequired[Annotated[bool, Field(alias="merged")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    name: NotRequired[Annotated[Optional[str], Field(alias="name")]]
    project: NotRequired[Annotated[Optional[str], Field(alias="project")]]
    resumed_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="resumed_at")]]
    resumes: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="resumes")]]
    scope_by_hand: NotRequired[Annotated[bool, Field(alias="scope_by_hand")]]
    session_id: NotRequired[Annotated[Optional[str], Field(alias="session_id")]]
    session_key: NotRequired[Annotated[uuid.UUID, Field(alias="session_key")]]
    started_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="started_at")]]
    status: NotRequired[Annotated[str, Field(alias="status")]]
    tags: NotRequired[Annotated[List[str], Field(alias="tags")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    total_cost: NotRequired[Annotated[Optional[float], Field(alias="total_cost")]]
    total_input_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_input_tokens")]]
    total_messages: NotRequired[Annotated[int, Field(alias="total_messages")]]
    total_output_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_output_tokens")]]
    total_tokens_used: NotRequired[Annotated[Optional[int], Field(alias="total_tokens_used")]]
    totals_by_hand: NotRequired[Annotated[bool, Field(alias="totals_by_hand")]]
    unmeasured_calls: NotRequired[Annotated[int, Field(alias="unmeasured_calls")]]
    unpriced_calls: NotRequired[Annotated[int, Field(alias="unpriced_calls")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    user_satisfaction_score: NotRequired[Annotated[Optional[float], Field(alias="user_satisfaction_score")]]

class PublicConversationSessions(BaseModel):
    active_task_plan_id: Optional[uuid.UUID] = Field(alias="active_task_plan_id")
    answered_questions: JsonValue = Field(alias="answered_questions")
    by_hand: bool = Field(alias="by_hand")
    completed_at: Optional[datetime.datetime] = Field(alias="completed_at")
    created_at: datetime.datetime = Field(alias="created_at")
    document_chat: bool = Field(alias="document_chat")
    driven_at: Optional[datetime.datetime] = Field(alias="driven_at")
    expires_at: Optional[datetime.datetime] = Field(alias="expires_at")
    id: uuid.UUID = Field(alias="id")
    image_generation: bool = Field(alias="image_generation")
    is_archived: bool = Field(alias="is_archived")
    last_activity_at: datetime.datetime = Field(alias="last_activity_at")
    legal_hold: bool = Field(alias="legal_hold")
    max_tokens: Optional[int] = Field(alias="max_tokens")
    metadata: JsonValue = Field(alias="metadata")
    model_name: Optional[str] = Field(alias="model_name")
    model_provider: Optional[str] = Field(alias="model_provider")
    parsed_intent: Optional[JsonValue] = Field(alias="parsed_intent")
    pending_questions: JsonValue = Field(alias="pending_questions")
    project: Optional[str] = Field(alias="project")
    selected_kb_ids: List[uuid.UUID] = Field(alias="selected_kb_ids")
    session_id: str = Field(alias="session_id")
    session_key: uuid.UUID = Field(alias="session_key")
    state: str = Field(alias="state")
    system_prompt: Optional[str] = Field(alias="system_prompt")
    temperature: Optional[float] = Field(alias="temperature")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    title: Optional[str] = Field(alias="title")
    updated_at: datetime.datetime = Field(alias="updated_at")
    user_id: Optional[str] = Field(alias="user_id")
    web_search: bool = Field(alias="web_search")

class PublicConversationSessionsInsert(TypedDict):
    active_task_plan_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="active_task_plan_id")]]
    answered_questions: NotRequired[Annotated[JsonValue, Field(alias="answered_questions")]]
    by_hand: NotRequired[Annotated[bool, Field(alias="by_hand")]]
    completed_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="completed_at")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    document_chat: NotRequired[Annotated[bool, Field(alias="document_chat")]]
    driven_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="driven_at")]]
    expires_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="expires_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    image_generation: NotRequired[Annotated[bool, Field(alias="image_generation")]]
    is_archived: NotRequired[Annotated[bool, Field(alias="is_archived")]]
    last_activity_at: NotRequired[Annotated[datetime.datetime, Field(alias="last_activity_at")]]
    legal_hold: NotRequired[Annotated[bool, Field(alias="legal_hold")]]
    max_tokens: NotRequired[Annotated[Optional[int], Field(alias="max_tokens")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    model_name: NotRequired[Annotated[Optional[str], Field(alias="model_name")]]
    model_provider: NotRequired[Annotated[Optional[str], Field(alias="model_provider")]]
    parsed_intent: NotRequired[Annotated[Optional[JsonValue], Field(alias="parsed_intent")]]
    pending_questions: NotRequired[Annotated[JsonValue, Field(alias="pending_questions")]]
    project: NotRequired[Annotated[Optional[str], Field(alias="project")]]
    selected_kb_ids: NotRequired[Annotated[List[uuid.UUID], Field(alias="selected_kb_ids")]]
    session_id: Annotated[str, Field(alias="session_id")]
    session_key: NotRequired[Annotated[uuid.UUID, Field(alias="session_key")]]
    state: NotRequired[Annotated[str, Field(alias="state")]]
    system_prompt: NotRequired[Annotated[Optional[str], Field(alias="system_prompt")]]
    temperature: NotRequired[Annotated[Optional[float], Field(alias="temperature")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    title: NotRequired[Annotated[Optional[str], Field(alias="title")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    web_search: NotRequired[Annotated[bool, Field(alias="web_search")]]

class PublicConversationSessionsUpdate(TypedDict):
    active_task_plan_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="active_task_plan_id")]]
    answered_questions: NotRequired[Annotated[JsonValue, Field(alias="answered_questions")]]
    by_hand: NotRequired[Annotated[bool, Field(alias="by_hand")]]
    completed_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="completed_at")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    document_chat: NotRequired[Annotated[bool, Field(alias="document_chat")]]
    driven_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="driven_at")]]
    expires_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="expires_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    image_generation: NotRequired[Annotated[bool, Field(alias="image_generation")]]
    is_archived: NotRequired[Annotated[bool, Field(alias="is_archived")]]
    last_activity_at: NotRequired[Annotated[datetime.datetime, Field(alias="last_activity_at")]]
    legal_hold: NotRequired[Annotated[bool, Field(alias="legal_hold")]]
    max_tokens: NotRequired[Annotated[Optional[int], Field(alias="max_tokens")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    model_name: NotRequired[Annotated[Optional[str], Field(alias="model_name")]]
    model_provider: NotRequired[Annotated[Optional[str], Field(alias="model_provider")]]
    parsed_intent: NotRequired[Annotated[Optional[JsonValue], Field(alias="parsed_intent")]]
    pending_questions: NotRequired[Annotated[JsonValue, Field(alias="pending_questions")]]
    project: NotRequired[Annotated[Optional[str], Field(alias="project")]]
    selected_kb_ids: NotRequired[Annotated[List[uuid.UUID], Field(alias="selected_kb_ids")]]
    session_id: NotRequired[Annotated[str, Field(alias="session_id")]]
    session_key: NotRequired[Annotated[uuid.UUID, Field(alias="session_key")]]
    state: NotRequired[Annotated[str, Field(alias="state")]]
    system_prompt: NotRequired[Annotated[Optional[str], Field(alias="system_prompt")]]
    temperature: NotRequired[Annotated[Optional[float], Field(alias="temperature")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    title: NotRequired[Annotated[Optional[str], Field(alias="title")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    web_search: NotRequired[Annotated[bool, Field(alias="web_search")]]

class PublicConversationSpans(BaseModel):
    abandoned_at: Optional[datetime.datetime] = Field(alias="abandoned_at")
    answer_keys: Optional[List[uuid.UUID]] = Field(alias="answer_keys")
    audio_tokens: Optional[int] = Field(alias="audio_tokens")
    cache_read_tokens: Optional[int] = Field(alias="cache_read_tokens")
    cache_write_tokens: Optional[int] = Field(alias="cache_write_tokens")
    conversation_run_id: uuid.UUID = Field(alias="conversation_run_id")
    cost: Optional[float] = Field(alias="cost")
    cost_source: Optional[str] = Field(alias="cost_source")
    created_at: datetime.datetime = Field(alias="created_at")
    duplicate_of: Optional[uuid.UUID] = Field(alias="duplicate_of")
    end_metadata: Optional[JsonValue] = Field(alias="end_metadata")
    end_version: Optional[str] = Field(alias="end_version")
    ended_at: Optional[datetime.datetime] = Field(alias="ended_at")
    error: Optional[str] = Field(alias="error")
    finish_reason: Optional[str] = Field(alias="finish_reason")
    id: uuid.UUID = Field(alias="id")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    inputs: Optional[JsonValue] = Field(alias="inputs")
    instrumentor: Optional[str] = Field(alias="instrumentor")
    invocation_params: Optional[JsonValue] = Field(alias="invocation_params")
    is_entry: bool = Field(alias="is_entry")
    is_provider: bool = Field(alias="is_provider")
    kind: str = Field(alias="kind")
    metadata: JsonValue = Field(alias="metadata")
    model: Optional[str] = Field(alias="model")
    model_requested: Optional[str] = Field(alias="model_requested")
    name: Optional[str] = Field(alias="name")
    native_id: Optional[str] = Field(alias="native_id")
    output_bodies: Optional[List[uuid.UUID]] = Field(alias="output_bodies")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    outputs: Optional[JsonValue] = Field(alias="outputs")
    parent_span_id: Optional[uuid.UUID] = Field(alias="parent_span_id")
    price_rates: Optional[JsonValue] = Field(alias="price_rates")
    prompt_bodies: Optional[List[uuid.UUID]] = Field(alias="prompt_bodies")
    prompt_extends: Optional[uuid.UUID] = Field(alias="prompt_extends")
    prompt_names: Optional[JsonValue] = Field(alias="prompt_names")
    prompt_prefix: Optional[uuid.UUID] = Field(alias="prompt_prefix")
    prompt_take: Optional[int] = Field(alias="prompt_take")
    provider: Optional[str] = Field(alias="provider")
    question_keys: Optional[List[uuid.UUID]] = Field(alias="question_keys")
    reasoning_tokens: Optional[int] = Field(alias="reasoning_tokens")
    reported_cost: Optional[float] = Field(alias="reported_cost")
    response_id: Optional[str] = Field(alias="response_id")
    response_time_ms: Optional[float] = Field(alias="response_time_ms")
    scope: Optional[JsonValue] = Field(alias="scope")
    source: Optional[str] = Field(alias="source")
    start_version: Optional[str] = Field(alias="start_version")
    started_at: Optional[datetime.datetime] = Field(alias="started_at")
    status: str = Field(alias="status")
    tags: List[str] = Field(alias="tags")
    time_to_first_token_ms: Optional[float] = Field(alias="time_to_first_token_ms")
    told: Optional[JsonValue] = Field(alias="told")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    usage_details: Optional[JsonValue] = Field(alias="usage_details")
    usage_source: Optional[str] = Field(alias="usage_source")

class PublicConversationSpansInsert(TypedDict):
    abandoned_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="abandoned_at")]]
    answer_keys: NotRequired[Annotated[Optional[List[uuid.UUID]], Field(alias="answer_keys")]]
    audio_tokens: NotRequired[Annotated[Optional[int], Field(alias="audio_tokens")]]
    cache_read_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_read_tokens")]]
    cache_write_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_write_tokens")]]
    conversation_run_id: Annotated[uuid.UUID, Field(alias="conversation_run_id")]
    cost: NotRequired[Annotated[Optional[float], Field(alias="cost")]]
    cost_source: NotRequired[Annotated[Optional[str], Field(alias="cost_source")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    duplicate_of: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="duplicate_of")]]
    end_metadata: NotRequired[Annotated[Optional[JsonValue], Field(alias="end_metadata")]]
    end_version: NotRequired[Annotated[Optional[str], Field(alias="end_version")]]
    ended_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="ended_at")]]
    error: NotRequired[Annotated[Optional[str], Field(alias="error")]]
    finish_reason: NotRequired[Annotated[Optional[str], Field(alias="finish_reason")]]
    id: Annotated[uuid.UUID, Field(alias="id")]
    input_tokens: NotRequired[Annotated[Optional[int], Field(alias="input_tokens")]]
    inputs: NotRequired[Annotated[Optional[JsonValue], Field(alias="inputs")]]
    instrumentor: NotRequired[Annotated[Optional[str], Field(alias="instrumentor")]]
    invocation_params: NotRequired[Annotated[Optional[JsonValue], Field(alias="invocation_params")]]
    is_entry: NotRequired[Annotated[bool, Field(alias="is_entry")]]
    is_provider: NotRequired[Annotated[bool, Field(alias="is_provider")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    model_requested: NotRequired[Annotated[Optional[str], Field(alias="model_requested")]]
    name: NotRequired[Annotated[Optional[str], Field(alias="name")]]
    native_id: NotRequired[Annotated[Optional[str], Field(alias="native_id")]]
    output_bodies: NotRequired[Annotated[Optional[List[uuid.UUID]], Field(alias="output_bodies")]]
    output_tokens: NotRequired[Annotated[Optional[int], Field(alias="output_tokens")]]
    outputs: NotRequired[Annotated[Optional[JsonValue], Field(alias="outputs")]]
    parent_span_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="parent_span_id")]]
    price_rates: NotRequired[Annotated[Optional[JsonValue], Field(alias="price_rates")]]
    prompt_bodies: NotRequired[Annotated[Optional[List[uuid.UUID]], Field(alias="prompt_bodies")]]
    prompt_extends: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="prompt_extends")]]
    prompt_names: NotRequired[Annotated[Optional[JsonValue], Field(alias="prompt_names")]]
    prompt_prefix: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="prompt_prefix")]]
    prompt_take: NotRequired[Annotated[Optional[int], Field(alias="prompt_take")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    question_keys: NotRequired[Annotated[Optional[List[uuid.UUID]], Field(alias="question_keys")]]
    reasoning_tokens: NotRequired[Annotated[Optional[int], Field(alias="reasoning_tokens")]]
    reported_cost: NotRequired[Annotated[Optional[float], Field(alias="reported_cost")]]
    response_id: NotRequired[Annotated[Optional[str], Field(alias="response_id")]]
    response_time_ms: NotRequired[Annotated[Optional[float], Field(alias="response_time_ms")]]
    scope: NotRequired[Annotated[Optional[JsonValue], Field(alias="scope")]]
    source: NotRequired[Annotated[Optional[str], Field(alias="source")]]
    start_version: NotRequired[Annotated[Optional[str], Field(alias="start_version")]]
    started_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="started_at")]]
    status: NotRequired[Annotated[str, Field(alias="status")]]
    tags: NotRequired[Annotated[List[str], Field(alias="tags")]]
    time_to_first_token_ms: NotRequired[Annotated[Optional[float], Field(alias="time_to_first_token_ms")]]
    told: NotRequired[Annotated[Optional[JsonValue], Field(alias="told")]]
    total_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_tokens")]]
    usage_details: NotRequired[Annotated[Optional[JsonValue], Field(alias="usage_details")]]
    usage_source: NotRequired[Annotated[Optional[str], Field(alias="usage_source")]]

class PublicConversationSpansUpdate(TypedDict):
    abandoned_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="abandoned_at")]]
    answer_keys: NotRequired[Annotated[Optional[List[uuid.UUID]], Field(alias="answer_keys")]]
    audio_tokens: NotRequired[Annotated[Optional[int], Field(alias="audio_tokens")]]
    cache_read_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_read_tokens")]]
    cache_write_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_write_tokens")]]
    conversation_run_id: NotRequired[Annotated[uuid.UUID, Field(alias="conversation_run_id")]]
    cost: NotRequired[Annotated[Optional[float], Field(alias="cost")]]
    cost_source: NotRequired[Annotated[Optional[str], Field(alias="cost_source")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    duplicate_of: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="duplicate_of")]]
    end_metadata: NotRequired[Annotated[Optional[JsonValue], Field(alias="end_metadata")]]
    end_version: NotRequired[Annotated[Optional[str], Field(alias="end_version")]]
    ended_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="ended_at")]]
    error: NotRequired[Annotated[Optional[str], Field(alias="error")]]
    finish_reason: NotRequired[Annotated[Optional[str], Field(alias="finish_reason")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    input_tokens: NotRequired[Annotated[Optional[int], Field(alias="input_tokens")]]
    inputs: NotRequired[Annotated[Optional[JsonValue], Field(alias="inputs")]]
    instrumentor: NotRequired[Annotated[Optional[str], Field(alias="instrumentor")]]
    invocation_params: NotRequired[Annotated[Optional[JsonValue], Field(alias="invocation_params")]]
    is_entry: NotRequired[Annotated[bool, Field(alias="is_entry")]]
    is_provider: NotRequired[Annotated[bool, Field(alias="is_provider")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    model_requested: NotRequired[Annotated[Optional[str], Field(alias="model_requested")]]
    name: NotRequired[Annotated[Optional[str], Field(alias="name")]]
    native_id: NotRequired[Annotated[Optional[str], Field(alias="native_id")]]
    output_bodies: NotRequired[Annotated[Optional[List[uuid.UUID]], Field(alias="output_bodies")]]
    output_tokens: NotRequired[Annotated[Optional[int], Field(alias="output_tokens")]]
    outputs: NotRequired[Annotated[Optional[JsonValue], Field(alias="outputs")]]
    parent_span_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="parent_span_id")]]
    price_rates: NotRequired[Annotated[Optional[JsonValue], Field(alias="price_rates")]]
    prompt_bodies: NotRequired[Annotated[Optional[List[uuid.UUID]], Field(alias="prompt_bodies")]]
    prompt_extends: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="prompt_extends")]]
    prompt_names: NotRequired[Annotated[Optional[JsonValue], Field(alias="prompt_names")]]
    prompt_prefix: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="prompt_prefix")]]
    prompt_take: NotRequired[Annotated[Optional[int], Field(alias="prompt_take")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    question_keys: NotRequired[Annotated[Optional[List[uuid.UUID]], Field(alias="question_keys")]]
    reasoning_tokens: NotRequired[Annotated[Optional[int], Field(alias="reasoning_tokens")]]
    reported_cost: NotRequired[Annotated[Optional[float], Field(alias="reported_cost")]]
    response_id: NotRequired[Annotated[Optional[str], Field(alias="response_id")]]
    response_time_ms: NotRequired[Annotated[Optional[float], Field(alias="response_time_ms")]]
    scope: NotRequired[Annotated[Optional[JsonValue], Field(alias="scope")]]
    source: NotRequired[Annotated[Optional[str], Field(alias="source")]]
    start_version: NotRequired[Annotated[Optional[str], Field(alias="start_version")]]
    started_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="started_at")]]
    status: NotRequired[Annotated[str, Field(alias="status")]]
    tags: NotRequired[Annotated[List[str], Field(alias="tags")]]
    time_to_first_token_ms: NotRequired[Annotated[Optional[float], Field(alias="time_to_first_token_ms")]]
    told: NotRequired[Annotated[Optional[JsonValue], Field(alias="told")]]
    total_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_tokens")]]
    usage_details: NotRequired[Annotated[Optional[JsonValue], Field(alias="usage_details")]]
    usage_source: NotRequired[Annotated[Optional[str], Field(alias="usage_source")]]

class PublicConversationTombstones(BaseModel):
    erased_at: datetime.datetime = Field(alias="erased_at")
    hash: bytes = Field(alias="hash")
    kind: str = Field(alias="kind")
    last_refused_at: Optional[datetime.datetime] = Field(alias="last_refused_at")
    refused_runs: int = Field(alias="refused_runs")

class PublicConversationTombstonesInsert(TypedDict):
    erased_at: NotRequired[Annotated[datetime.datetime, Field(alias="erased_at")]]
    hash: Annotated[bytes, Field(alias="hash")]
    kind: Annotated[str, Field(alias="kind")]
    last_refused_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="last_refused_at")]]
    refused_runs: NotRequired[Annotated[int, Field(alias="refused_runs")]]

class PublicConversationTombstonesUpdate(TypedDict):
    erased_at: NotRequired[Annotated[datetime.datetime, Field(alias="erased_at")]]
    hash: NotRequired[Annotated[bytes, Field(alias="hash")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    last_refused_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="last_refused_at")]]
    refused_runs: NotRequired[Annotated[int, Field(alias="refused_runs")]]

class PublicModelPrices(BaseModel):
    batch_factor: Optional[float] = Field(alias="batch_factor")
    cache_read_mtok: Optional[float] = Field(alias="cache_read_mtok")
    cache_write_1h_mtok: Optional[float] = Field(alias="cache_write_1h_mtok")
    cache_write_5m_mtok: Optional[float] = Field(alias="cache_write_5m_mtok")
    cache_write_mtok: Optional[float] = Field(alias="cache_write_mtok")
    created_at: datetime.datetime = Field(alias="created_at")
    flex_factor: Optional[float] = Field(alias="flex_factor")
    id: uuid.UUID = Field(alias="id")
    input_mtok: Optional[float] = Field(alias="input_mtok")
    model: Optional[str] = Field(alias="model")
    model_pattern: Optional[str] = Field(alias="model_pattern")
    note: Optional[str] = Field(alias="note")
    other_rates: JsonValue = Field(alias="other_rates")
    output_mtok: Optional[float] = Field(alias="output_mtok")
    priority_factor: Optional[float] = Field(alias="priority_factor")
    provider: Optional[str] = Field(alias="provider")
    request_usd: Optional[float] = Field(alias="request_usd")
    source: Optional[str] = Field(alias="source")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    tiers: JsonValue = Field(alias="tiers")
    valid_from: Optional[datetime.datetime] = Field(alias="valid_from")
    valid_until: Optional[datetime.datetime] = Field(alias="valid_until")

class PublicModelPricesInsert(TypedDict):
    batch_factor: NotRequired[Annotated[Optional[float], Field(alias="batch_factor")]]
    cache_read_mtok: NotRequired[Annotated[Optional[float], Field(alias="cache_read_mtok")]]
    cache_write_1h_mtok: NotRequired[Annotated[Optional[float], Field(alias="cache_write_1h_mtok")]]
    cache_write_5m_mtok: NotRequired[Annotated[Optional[float], Field(alias="cache_write_5m_mtok")]]
    cache_write_mtok: NotRequired[Annotated[Optional[float], Field(alias="cache_write_mtok")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    flex_factor: NotRequired[Annotated[Optional[float], Field(alias="flex_factor")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    input_mtok: NotRequired[Annotated[Optional[float], Field(alias="input_mtok")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    model_pattern: NotRequired[Annotated[Optional[str], Field(alias="model_pattern")]]
    note: NotRequired[Annotated[Optional[str], Field(alias="note")]]
    other_rates: NotRequired[Annotated[JsonValue, Field(alias="other_rates")]]
    output_mtok: NotRequired[Annotated[Optional[float], Field(alias="output_mtok")]]
    priority_factor: NotRequired[Annotated[Optional[float], Field(alias="priority_factor")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    request_usd: NotRequired[Annotated[Optional[float], Field(alias="request_usd")]]
    source: NotRequired[Annotated[Optional[str], Field(alias="source")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    tiers: NotRequired[Annotated[JsonValue, Field(alias="tiers")]]
    valid_from: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="valid_from")]]
    valid_until: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="valid_until")]]

class PublicModelPricesUpdate(TypedDict):
    batch_factor: NotRequired[Annotated[Optional[float], Field(alias="batch_factor")]]
    cache_read_mtok: NotRequired[Annotated[Optional[float], Field(alias="cache_read_mtok")]]
    cache_write_1h_mtok: NotRequired[Annotated[Optional[float], Field(alias="cache_write_1h_mtok")]]
    cache_write_5m_mtok: NotRequired[Annotated[Optional[float], Field(alias="cache_write_5m_mtok")]]
    cache_write_mtok: NotRequired[Annotated[Optional[float], Field(alias="cache_write_mtok")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    flex_factor: NotRequired[Annotated[Optional[float], Field(alias="flex_factor")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    input_mtok: NotRequired[Annotated[Optional[float], Field(alias="input_mtok")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    model_pattern: NotRequired[Annotated[Optional[str], Field(alias="model_pattern")]]
    note: NotRequired[Annotated[Optional[str], Field(alias="note")]]
    other_rates: NotRequired[Annotated[JsonValue, Field(alias="other_rates")]]
    output_mtok: NotRequired[Annotated[Optional[float], Field(alias="output_mtok")]]
    priority_factor: NotRequired[Annotated[Optional[float], Field(alias="priority_factor")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    request_usd: NotRequired[Annotated[Optional[float], Field(alias="request_usd")]]
    source: NotRequired[Annotated[Optional[str], Field(alias="source")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    tiers: NotRequired[Annotated[JsonValue, Field(alias="tiers")]]
    valid_from: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="valid_from")]]
    valid_until: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="valid_until")]]

class PublicRetentionPolicies(BaseModel):
    created_at: datetime.datetime = Field(alias="created_at")
    id: uuid.UUID = Field(alias="id")
    keep_for: Optional[str] = Field(alias="keep_for")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    updated_at: datetime.datetime = Field(alias="updated_at")
    what: str = Field(alias="what")

class PublicRetentionPoliciesInsert(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    keep_for: NotRequired[Annotated[Optional[str], Field(alias="keep_for")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    what: Annotated[str, Field(alias="what")]

class PublicRetentionPoliciesUpdate(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    keep_for: NotRequired[Annotated[Optional[str], Field(alias="keep_for")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    what: NotRequired[Annotated[str, Field(alias="what")]]

class PublicUsageContributions(BaseModel):
    assistant_messages: int = Field(alias="assistant_messages")
    cache_read_tokens: Optional[int] = Field(alias="cache_read_tokens")
    cache_write_tokens: Optional[int] = Field(alias="cache_write_tokens")
    calls: int = Field(alias="calls")
    day: datetime.date = Field(alias="day")
    failed_calls: int = Field(alias="failed_calls")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    key: uuid.UUID = Field(alias="key")
    messages: int = Field(alias="messages")
    model: Optional[str] = Field(alias="model")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    owner_id: uuid.UUID = Field(alias="owner_id")
    provider: Optional[str] = Field(alias="provider")
    reasoning_tokens: Optional[int] = Field(alias="reasoning_tokens")
    response_time_ms: Optional[float] = Field(alias="response_time_ms")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    timed_calls: int = Field(alias="timed_calls")
    total_cost: Optional[float] = Field(alias="total_cost")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    unmeasured_calls: int = Field(alias="unmeasured_calls")
    unpriced_calls: int = Field(alias="unpriced_calls")
    user_id: Optional[str] = Field(alias="user_id")
    user_messages: int = Field(alias="user_messages")

class PublicUsageContributionsInsert(TypedDict):
    assistant_messages: NotRequired[Annotated[int, Field(alias="assistant_messages")]]
    cache_read_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_read_tokens")]]
    cache_write_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_write_tokens")]]
    calls: NotRequired[Annotated[int, Field(alias="calls")]]
    day: Annotated[datetime.date, Field(alias="day")]
    failed_calls: NotRequired[Annotated[int, Field(alias="failed_calls")]]
    input_tokens: NotRequired[Annotated[Optional[int], Field(alias="input_tokens")]]
    key: Annotated[uuid.UUID, Field(alias="key")]
    messages: NotRequired[Annotated[int, Field(alias="messages")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    output_tokens: NotRequired[Annotated[Optional[int], Field(alias="output_tokens")]]
    owner_id: Annotated[uuid.UUID, Field(alias="owner_id")]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    reasoning_tokens: NotRequired[Annotated[Optional[int], Field(alias="reasoning_tokens")]]
    response_time_ms: NotRequired[Annotated[Optional[float], Field(alias="response_time_ms")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    timed_calls: NotRequired[Annotated[int, Field(alias="timed_calls")]]
    total_cost: NotRequired[Annotated[Optional[float], Field(alias="total_cost")]]
    total_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_tokens")]]
    unmeasured_calls: NotRequired[Annotated[int, Field(alias="unmeasured_calls")]]
    unpriced_calls: NotRequired[Annotated[int, Field(alias="unpriced_calls")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    user_messages: NotRequired[Annotated[int, Field(alias="user_messages")]]

class PublicUsageContributionsUpdate(TypedDict):
    assistant_messages: NotRequired[Annotated[int, Field(alias="assistant_messages")]]
    cache_read_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_read_tokens")]]
    cache_write_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_write_tokens")]]
    calls: NotRequired[Annotated[int, Field(alias="calls")]]
    day: NotRequired[Annotated[datetime.date, Field(alias="day")]]
    failed_calls: NotRequired[Annotated[int, Field(alias="failed_calls")]]
    input_tokens: NotRequired[Annotated[Optional[int], Field(alias="input_tokens")]]
    key: NotRequired[Annotated[uuid.UUID, Field(alias="key")]]
    messages: NotRequired[Annotated[int, Field(alias="messages")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    output_tokens: NotRequired[Annotated[Optional[int], Field(alias="output_tokens")]]
    owner_id: NotRequired[Annotated[uuid.UUID, Field(alias="owner_id")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    reasoning_tokens: NotRequired[Annotated[Optional[int], Field(alias="reasoning_tokens")]]
    response_time_ms: NotRequired[Annotated[Optional[float], Field(alias="response_time_ms")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    timed_calls: NotRequired[Annotated[int, Field(alias="timed_calls")]]
    total_cost: NotRequired[Annotated[Optional[float], Field(alias="total_cost")]]
    total_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_tokens")]]
    unmeasured_calls: NotRequired[Annotated[int, Field(alias="unmeasured_calls")]]
    unpriced_calls: NotRequired[Annotated[int, Field(alias="unpriced_calls")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    user_messages: NotRequired[Annotated[int, Field(alias="user_messages")]]

class PublicUsageKept(BaseModel):
    assistant_messages: int = Field(alias="assistant_messages")
    cache_read_tokens: Optional[int] = Field(alias="cache_read_tokens")
    cache_write_tokens: Optional[int] = Field(alias="cache_write_tokens")
    calls: int = Field(alias="calls")
    contributions: int = Field(alias="contributions")
    day: datetime.date = Field(alias="day")
    failed_calls: int = Field(alias="failed_calls")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    key: uuid.UUID = Field(alias="key")
    known: List[int] = Field(alias="known")
    messages: int = Field(alias="messages")
    model: Optional[str] = Field(alias="model")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    provider: Optional[str] = Field(alias="provider")
    reasoning_tokens: Optional[int] = Field(alias="reasoning_tokens")
    response_time_ms: Optional[float] = Field(alias="response_time_ms")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    timed_calls: int = Field(alias="timed_calls")
    total_cost: Optional[float] = Field(alias="total_cost")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    unmeasured_calls: int = Field(alias="unmeasured_calls")
    unpriced_calls: int = Field(alias="unpriced_calls")
    user_id: Optional[str] = Field(alias="user_id")
    user_messages: int = Field(alias="user_messages")

class PublicUsageKeptInsert(TypedDict):
    assistant_messages: NotRequired[Annotated[int, Field(alias="assistant_messages")]]
    cache_read_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_read_tokens")]]
    cache_write_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_write_tokens")]]
    calls: NotRequired[Annotated[int, Field(alias="calls")]]
    contributions: NotRequired[Annotated[int, Field(alias="contributions")]]
    day: Annotated[datetime.date, Field(alias="day")]
    failed_calls: NotRequired[Annotated[int, Field(alias="failed_calls")]]
    input_tokens: NotRequired[Annotated[Optional[int], Field(alias="input_tokens")]]
    key: Annotated[uuid.UUID, Field(alias="key")]
    known: NotRequired[Annotated[List[int], Field(alias="known")]]
    messages: NotRequired[Annotated[int, Field(alias="messages")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    output_tokens: NotRequired[Annotated[Optional[int], Field(alias="output_tokens")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    reasoning_tokens: NotRequired[Annotated[Optional[int], Field(alias="reasoning_tokens")]]
    response_time_ms: NotRequired[Annotated[Optional[float], Field(alias="response_time_ms")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    timed_calls: NotRequired[Annotated[int, Field(alias="timed_calls")]]
    total_cost: NotRequired[Annotated[Optional[float], Field(alias="total_cost")]]
    total_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_tokens")]]
    unmeasured_calls: NotRequired[Annotated[int, Field(alias="unmeasured_calls")]]
    unpriced_calls: NotRequired[Annotated[int, Field(alias="unpriced_calls")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    user_messages: NotRequired[Annotated[int, Field(alias="user_messages")]]

class PublicUsageKeptUpdate(TypedDict):
    assistant_messages: NotRequired[Annotated[int, Field(alias="assistant_messages")]]
    cache_read_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_read_tokens")]]
    cache_write_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_write_tokens")]]
    calls: NotRequired[Annotated[int, Field(alias="calls")]]
    contributions: NotRequired[Annotated[int, Field(alias="contributions")]]
    day: NotRequired[Annotated[datetime.date, Field(alias="day")]]
    failed_calls: NotRequired[Annotated[int, Field(alias="failed_calls")]]
    input_tokens: NotRequired[Annotated[Optional[int], Field(alias="input_tokens")]]
    key: NotRequired[Annotated[uuid.UUID, Field(alias="key")]]
    known: NotRequired[Annotated[List[int], Field(alias="known")]]
    messages: NotRequired[Annotated[int, Field(alias="messages")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    output_tokens: NotRequired[Annotated[Optional[int], Field(alias="output_tokens")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    reasoning_tokens: NotRequired[Annotated[Optional[int], Field(alias="reasoning_tokens")]]
    response_time_ms: NotRequired[Annotated[Optional[float], Field(alias="response_time_ms")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    timed_calls: NotRequired[Annotated[int, Field(alias="timed_calls")]]
    total_cost: NotRequired[Annotated[Optional[float], Field(alias="total_cost")]]
    total_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_tokens")]]
    unmeasured_calls: NotRequired[Annotated[int, Field(alias="unmeasured_calls")]]
    unpriced_calls: NotRequired[Annotated[int, Field(alias="unpriced_calls")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    user_messages: NotRequired[Annotated[int, Field(alias="user_messages")]]

class PublicUsageMetrics(BaseModel):
    assistant_messages: int = Field(alias="assistant_messages")
    cache_read_tokens: Optional[int] = Field(alias="cache_read_tokens")
    cache_write_tokens: Optional[int] = Field(alias="cache_write_tokens")
    calls: int = Field(alias="calls")
    contributions: int = Field(alias="contributions")
    day: datetime.date = Field(alias="day")
    failed_calls: int = Field(alias="failed_calls")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    key: uuid.UUID = Field(alias="key")
    known: List[int] = Field(alias="known")
    messages: int = Field(alias="messages")
    model: Optional[str] = Field(alias="model")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    provider: Optional[str] = Field(alias="provider")
    reasoning_tokens: Optional[int] = Field(alias="reasoning_tokens")
    response_time_ms: Optional[float] = Field(alias="response_time_ms")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    timed_calls: int = Field(alias="timed_calls")
    total_cost: Optional[float] = Field(alias="total_cost")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    unmeasured_calls: int = Field(alias="unmeasured_calls")
    unpriced_calls: int = Field(alias="unpriced_calls")
    user_id: Optional[str] = Field(alias="user_id")
    user_messages: int = Field(alias="user_messages")

class PublicUsageMetricsInsert(TypedDict):
    assistant_messages: NotRequired[Annotated[int, Field(alias="assistant_messages")]]
    cache_read_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_read_tokens")]]
    cache_write_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_write_tokens")]]
    calls: NotRequired[Annotated[int, Field(alias="calls")]]
    contributions: NotRequired[Annotated[int, Field(alias="contributions")]]
    day: Annotated[datetime.date, Field(alias="day")]
    failed_calls: NotRequired[Annotated[int, Field(alias="failed_calls")]]
    input_tokens: NotRequired[Annotated[Optional[int], Field(alias="input_tokens")]]
    key: Annotated[uuid.UUID, Field(alias="key")]
    known: NotRequired[Annotated[List[int], Field(alias="known")]]
    messages: NotRequired[Annotated[int, Field(alias="messages")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    output_tokens: NotRequired[Annotated[Optional[int], Field(alias="output_tokens")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    reasoning_tokens: NotRequired[Annotated[Optional[int], Field(alias="reasoning_tokens")]]
    response_time_ms: NotRequired[Annotated[Optional[float], Field(alias="response_time_ms")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    timed_calls: NotRequired[Annotated[int, Field(alias="timed_calls")]]
    total_cost: NotRequired[Annotated[Optional[float], Field(alias="total_cost")]]
    total_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_tokens")]]
    unmeasured_calls: NotRequired[Annotated[int, Field(alias="unmeasured_calls")]]
    unpriced_calls: NotRequired[Annotated[int, Field(alias="unpriced_calls")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    user_messages: NotRequired[Annotated[int, Field(alias="user_messages")]]

class PublicUsageMetricsUpdate(TypedDict):
    assistant_messages: NotRequired[Annotated[int, Field(alias="assistant_messages")]]
    cache_read_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_read_tokens")]]
    cache_write_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_write_tokens")]]
    calls: NotRequired[Annotated[int, Field(alias="calls")]]
    contributions: NotRequired[Annotated[int, Field(alias="contributions")]]
    day: NotRequired[Annotated[datetime.date, Field(alias="day")]]
    failed_calls: NotRequired[Annotated[int, Field(alias="failed_calls")]]
    input_tokens: NotRequired[Annotated[Optional[int], Field(alias="input_tokens")]]
    key: NotRequired[Annotated[uuid.UUID, Field(alias="key")]]
    known: NotRequired[Annotated[List[int], Field(alias="known")]]
    messages: NotRequired[Annotated[int, Field(alias="messages")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    output_tokens: NotRequired[Annotated[Optional[int], Field(alias="output_tokens")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    reasoning_tokens: NotRequired[Annotated[Optional[int], Field(alias="reasoning_tokens")]]
    response_time_ms: NotRequired[Annotated[Optional[float], Field(alias="response_time_ms")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    timed_calls: NotRequired[Annotated[int, Field(alias="timed_calls")]]
    total_cost: NotRequired[Annotated[Optional[float], Field(alias="total_cost")]]
    total_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_tokens")]]
    unmeasured_calls: NotRequired[Annotated[int, Field(alias="unmeasured_calls")]]
    unpriced_calls: NotRequired[Annotated[int, Field(alias="unpriced_calls")]]
    user_id: NotRequired[Annotated[Optional[str], Field(alias="user_id")]]
    user_messages: NotRequired[Annotated[int, Field(alias="user_messages")]]

class PublicUsageTotals(BaseModel):
    assistant_messages: int = Field(alias="assistant_messages")
    cache_read_tokens: Optional[int] = Field(alias="cache_read_tokens")
    cache_write_tokens: Optional[int] = Field(alias="cache_write_tokens")
    calls: int = Field(alias="calls")
    contributions: int = Field(alias="contributions")
    day: datetime.date = Field(alias="day")
    failed_calls: int = Field(alias="failed_calls")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    key: uuid.UUID = Field(alias="key")
    known: List[int] = Field(alias="known")
    messages: int = Field(alias="messages")
    model: Optional[str] = Field(alias="model")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    provider: Optional[str] = Field(alias="provider")
    reasoning_tokens: Optional[int] = Field(alias="reasoning_tokens")
    response_time_ms: Optional[float] = Field(alias="response_time_ms")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    timed_calls: int = Field(alias="timed_calls")
    total_cost: Optional[float] = Field(alias="total_cost")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    unmeasured_calls: int = Field(alias="unmeasured_calls")
    unpriced_calls: int = Field(alias="unpriced_calls")
    user_messages: int = Field(alias="user_messages")

class PublicUsageTotalsInsert(TypedDict):
    assistant_messages: NotRequired[Annotated[int, Field(alias="assistant_messages")]]
    cache_read_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_read_tokens")]]
    cache_write_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_write_tokens")]]
    calls: NotRequired[Annotated[int, Field(alias="calls")]]
    contributions: NotRequired[Annotated[int, Field(alias="contributions")]]
    day: Annotated[datetime.date, Field(alias="day")]
    failed_calls: NotRequired[Annotated[int, Field(alias="failed_calls")]]
    input_tokens: NotRequired[Annotated[Optional[int], Field(alias="input_tokens")]]
    key: Annotated[uuid.UUID, Field(alias="key")]
    known: NotRequired[Annotated[List[int], Field(alias="known")]]
    messages: NotRequired[Annotated[int, Field(alias="messages")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    output_tokens: NotRequired[Annotated[Optional[int], Field(alias="output_tokens")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    reasoning_tokens: NotRequired[Annotated[Optional[int], Field(alias="reasoning_tokens")]]
    response_time_ms: NotRequired[Annotated[Optional[float], Field(alias="response_time_ms")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    timed_calls: NotRequired[Annotated[int, Field(alias="timed_calls")]]
    total_cost: NotRequired[Annotated[Optional[float], Field(alias="total_cost")]]
    total_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_tokens")]]
    unmeasured_calls: NotRequired[Annotated[int, Field(alias="unmeasured_calls")]]
    unpriced_calls: NotRequired[Annotated[int, Field(alias="unpriced_calls")]]
    user_messages: NotRequired[Annotated[int, Field(alias="user_messages")]]

class PublicUsageTotalsUpdate(TypedDict):
    assistant_messages: NotRequired[Annotated[int, Field(alias="assistant_messages")]]
    cache_read_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_read_tokens")]]
    cache_write_tokens: NotRequired[Annotated[Optional[int], Field(alias="cache_write_tokens")]]
    calls: NotRequired[Annotated[int, Field(alias="calls")]]
    contributions: NotRequired[Annotated[int, Field(alias="contributions")]]
    day: NotRequired[Annotated[datetime.date, Field(alias="day")]]
    failed_calls: NotRequired[Annotated[int, Field(alias="failed_calls")]]
    input_tokens: NotRequired[Annotated[Optional[int], Field(alias="input_tokens")]]
    key: NotRequired[Annotated[uuid.UUID, Field(alias="key")]]
    known: NotRequired[Annotated[List[int], Field(alias="known")]]
    messages: NotRequired[Annotated[int, Field(alias="messages")]]
    model: NotRequired[Annotated[Optional[str], Field(alias="model")]]
    output_tokens: NotRequired[Annotated[Optional[int], Field(alias="output_tokens")]]
    provider: NotRequired[Annotated[Optional[str], Field(alias="provider")]]
    reasoning_tokens: NotRequired[Annotated[Optional[int], Field(alias="reasoning_tokens")]]
    response_time_ms: NotRequired[Annotated[Optional[float], Field(alias="response_time_ms")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    timed_calls: NotRequired[Annotated[int, Field(alias="timed_calls")]]
    total_cost: NotRequired[Annotated[Optional[float], Field(alias="total_cost")]]
    total_tokens: NotRequired[Annotated[Optional[int], Field(alias="total_tokens")]]
    unmeasured_calls: NotRequired[Annotated[int, Field(alias="unmeasured_calls")]]
    unpriced_calls: NotRequired[Annotated[int, Field(alias="unpriced_calls")]]
    user_messages: NotRequired[Annotated[int, Field(alias="user_messages")]]

class PublicUserProfiles(BaseModel):
    avatar_url: Optional[str] = Field(alias="avatar_url")
    created_at: datetime.datetime = Field(alias="created_at")
    daily_cost_limit_usd: Optional[float] = Field(alias="daily_cost_limit_usd")
    daily_token_limit: Optional[int] = Field(alias="daily_token_limit")
    display_name: Optional[str] = Field(alias="display_name")
    email: Optional[str] = Field(alias="email")
    id: Optional[str] = Field(alias="id")
    is_sample: bool = Field(alias="is_sample")
    monthly_cost_limit_usd: Optional[float] = Field(alias="monthly_cost_limit_usd")
    monthly_token_limit: Optional[int] = Field(alias="monthly_token_limit")
    preferred_model_name: Optional[str] = Field(alias="preferred_model_name")
    preferred_model_provider: Optional[str] = Field(alias="preferred_model_provider")
    role: str = Field(alias="role")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    updated_at: datetime.datetime = Field(alias="updated_at")
    user_id: str = Field(alias="user_id")

class PublicUserProfilesInsert(TypedDict):
    avatar_url: NotRequired[Annotated[Optional[str], Field(alias="avatar_url")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    daily_cost_limit_usd: NotRequired[Annotated[Optional[float], Field(alias="daily_cost_limit_usd")]]
    daily_token_limit: NotRequired[Annotated[Optional[int], Field(alias="daily_token_limit")]]
    display_name: NotRequired[Annotated[Optional[str], Field(alias="display_name")]]
    email: NotRequired[Annotated[Optional[str], Field(alias="email")]]
    id: NotRequired[Annotated[Optional[str], Field(alias="id")]]
    is_sample: NotRequired[Annotated[bool, Field(alias="is_sample")]]
    monthly_cost_limit_usd: NotRequired[Annotated[Optional[float], Field(alias="monthly_cost_limit_usd")]]
    monthly_token_limit: NotRequired[Annotated[Optional[int], Field(alias="monthly_token_limit")]]
    preferred_model_name: NotRequired[Annotated[Optional[str], Field(alias="preferred_model_name")]]
    preferred_model_provider: NotRequired[Annotated[Optional[str], Field(alias="preferred_model_provider")]]
    role: NotRequired[Annotated[str, Field(alias="role")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: Annotated[str, Field(alias="user_id")]

class PublicUserProfilesUpdate(TypedDict):
    avatar_url: NotRequired[Annotated[Optional[str], Field(alias="avatar_url")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    daily_cost_limit_usd: NotRequired[Annotated[Optional[float], Field(alias="daily_cost_limit_usd")]]
    daily_token_limit: NotRequired[Annotated[Optional[int], Field(alias="daily_token_limit")]]
    display_name: NotRequired[Annotated[Optional[str], Field(alias="display_name")]]
    email: NotRequired[Annotated[Optional[str], Field(alias="email")]]
    id: NotRequired[Annotated[Optional[str], Field(alias="id")]]
    is_sample: NotRequired[Annotated[bool, Field(alias="is_sample")]]
    monthly_cost_limit_usd: NotRequired[Annotated[Optional[float], Field(alias="monthly_cost_limit_usd")]]
    monthly_token_limit: NotRequired[Annotated[Optional[int], Field(alias="monthly_token_limit")]]
    preferred_model_name: NotRequired[Annotated[Optional[str], Field(alias="preferred_model_name")]]
    preferred_model_provider: NotRequired[Annotated[Optional[str], Field(alias="preferred_model_provider")]]
    role: NotRequired[Annotated[str, Field(alias="role")]]
    tenant_id: NotRequired[Annotated[Optional[str], Field(alias="tenant_id")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[str, Field(alias="user_id")]]

class PublicWriterStatus(BaseModel):
    backlog_bytes: int = Field(alias="backlog_bytes")
    backlog_records: int = Field(alias="backlog_records")
    host: str = Field(alias="host")
    last_write_at: datetime.datetime = Field(alias="last_write_at")
    losses: JsonValue = Field(alias="losses")
    prices: JsonValue = Field(alias="prices")
    process_id: int = Field(alias="process_id")
    schema_number: int = Field(alias="schema_number")
    started_at: datetime.datetime = Field(alias="started_at")
    stored_records: int = Field(alias="stored_records")
    version: str = Field(alias="version")
    writer_id: uuid.UUID = Field(alias="writer_id")

class PublicWriterStatusInsert(TypedDict):
    backlog_bytes: NotRequired[Annotated[int, Field(alias="backlog_bytes")]]
    backlog_records: NotRequired[Annotated[int, Field(alias="backlog_records")]]
    host: Annotated[str, Field(alias="host")]
    last_write_at: NotRequired[Annotated[datetime.datetime, Field(alias="last_write_at")]]
    losses: NotRequired[Annotated[JsonValue, Field(alias="losses")]]
    prices: NotRequired[Annotated[JsonValue, Field(alias="prices")]]
    process_id: Annotated[int, Field(alias="process_id")]
    schema_number: Annotated[int, Field(alias="schema_number")]
    started_at: Annotated[datetime.datetime, Field(alias="started_at")]
    stored_records: NotRequired[Annotated[int, Field(alias="stored_records")]]
    version: Annotated[str, Field(alias="version")]
    writer_id: Annotated[uuid.UUID, Field(alias="writer_id")]

class PublicWriterStatusUpdate(TypedDict):
    backlog_bytes: NotRequired[Annotated[int, Field(alias="backlog_bytes")]]
    backlog_records: NotRequired[Annotated[int, Field(alias="backlog_records")]]
    host: NotRequired[Annotated[str, Field(alias="host")]]
    last_write_at: NotRequired[Annotated[datetime.datetime, Field(alias="last_write_at")]]
    losses: NotRequired[Annotated[JsonValue, Field(alias="losses")]]
    prices: NotRequired[Annotated[JsonValue, Field(alias="prices")]]
    process_id: NotRequired[Annotated[int, Field(alias="process_id")]]
    schema_number: NotRequired[Annotated[int, Field(alias="schema_number")]]
    started_at: NotRequired[Annotated[datetime.datetime, Field(alias="started_at")]]
    stored_records: NotRequired[Annotated[int, Field(alias="stored_records")]]
    version: NotRequired[Annotated[str, Field(alias="version")]]
    writer_id: NotRequired[Annotated[uuid.UUID, Field(alias="writer_id")]]

class PublicConversationCalls(BaseModel):
    audio_tokens: Optional[int] = Field(alias="audio_tokens")
    cache_hit: Optional[bool] = Field(alias="cache_hit")
    cache_read_tokens: Optional[int] = Field(alias="cache_read_tokens")
    cache_write_tokens: Optional[int] = Field(alias="cache_write_tokens")
    conversation_run_id: uuid.UUID = Field(alias="conversation_run_id")
    cost: Optional[float] = Field(alias="cost")
    cost_source: Optional[str] = Field(alias="cost_source")
    duplicate_of: Optional[uuid.UUID] = Field(alias="duplicate_of")
    ended_at: Optional[datetime.datetime] = Field(alias="ended_at")
    environment: Optional[str] = Field(alias="environment")
    error: Optional[str] = Field(alias="error")
    finish_reason: Optional[str] = Field(alias="finish_reason")
    id: uuid.UUID = Field(alias="id")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    kind: str = Field(alias="kind")
    model: Optional[str] = Field(alias="model")
    model_requested: Optional[str] = Field(alias="model_requested")
    name: Optional[str] = Field(alias="name")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    output_tokens_per_second: Optional[float] = Field(alias="output_tokens_per_second")
    parent_span_id: Optional[uuid.UUID] = Field(alias="parent_span_id")
    project: Optional[str] = Field(alias="project")
    provider: Optional[str] = Field(alias="provider")
    reasoning_tokens: Optional[int] = Field(alias="reasoning_tokens")
    response_time_ms: Optional[float] = Field(alias="response_time_ms")
    session_id: Optional[str] = Field(alias="session_id")
    source: Optional[str] = Field(alias="source")
    started_at: Optional[datetime.datetime] = Field(alias="started_at")
    status: str = Field(alias="status")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    time_to_first_token_ms: Optional[float] = Field(alias="time_to_first_token_ms")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    usage_source: Optional[str] = Field(alias="usage_source")
    user_id: Optional[str] = Field(alias="user_id")

class PublicConversationSessionTotals(BaseModel):
    average_response_time: Optional[float] = Field(alias="average_response_time")
    id: uuid.UUID = Field(alias="id")
    last_activity_at: datetime.datetime = Field(alias="last_activity_at")
    project: Optional[str] = Field(alias="project")
    session_id: str = Field(alias="session_id")
    session_key: uuid.UUID = Field(alias="session_key")
    state: str = Field(alias="state")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    title: Optional[str] = Field(alias="title")
    total_cost: Optional[float] = Field(alias="total_cost")
    total_messages: Optional[int] = Field(alias="total_messages")
    total_runs: Optional[int] = Field(alias="total_runs")
    total_tokens_used: Optional[float] = Field(alias="total_tokens_used")
    unmeasured_calls: Optional[int] = Field(alias="unmeasured_calls")
    unpriced_calls: Optional[int] = Field(alias="unpriced_calls")
    user_id: Optional[str] = Field(alias="user_id")

class PublicCurrentDayUsage(BaseModel):
    calls: Optional[int] = Field(alias="calls")
    day: datetime.date = Field(alias="day")
    failed_calls: Optional[int] = Field(alias="failed_calls")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    messages: Optional[int] = Field(alias="messages")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    total_cost: Optional[float] = Field(alias="total_cost")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    unmeasured_calls: Optional[int] = Field(alias="unmeasured_calls")
    unpriced_calls: Optional[int] = Field(alias="unpriced_calls")
    user_id: Optional[str] = Field(alias="user_id")

class PublicDailyMessageVolume(BaseModel):
    assistant_messages: Optional[int] = Field(alias="assistant_messages")
    day: Optional[datetime.date] = Field(alias="day")
    messages: Optional[int] = Field(alias="messages")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    total_cost: Optional[float] = Field(alias="total_cost")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    unmeasured_calls: Optional[int] = Field(alias="unmeasured_calls")
    unpriced_calls: Optional[int] = Field(alias="unpriced_calls")
    user_messages: Optional[int] = Field(alias="user_messages")

class PublicDailyMessageVolumeByUser(BaseModel):
    assistant_messages: Optional[int] = Field(alias="assistant_messages")
    day: datetime.date = Field(alias="day")
    messages: Optional[int] = Field(alias="messages")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    total_cost: Optional[float] = Field(alias="total_cost")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    unmeasured_calls: Optional[int] = Field(alias="unmeasured_calls")
    unpriced_calls: Optional[int] = Field(alias="unpriced_calls")
    user_id: Optional[str] = Field(alias="user_id")
    user_messages: Optional[int] = Field(alias="user_messages")

class PublicMessageFeedbackSummary(BaseModel):
    average_score: Optional[float] = Field(alias="average_score")
    comments: Optional[int] = Field(alias="comments")
    conversation_run_id: Optional[uuid.UUID] = Field(alias="conversation_run_id")
    feedback_count: Optional[int] = Field(alias="feedback_count")
    last_feedback_at: Optional[datetime.datetime] = Field(alias="last_feedback_at")
    message_id: Optional[uuid.UUID] = Field(alias="message_id")
    thumbs_down: Optional[int] = Field(alias="thumbs_down")
    thumbs_up: Optional[int] = Field(alias="thumbs_up")

class PublicMonthlyUsageSummary(BaseModel):
    active_days: Optional[int] = Field(alias="active_days")
    calls: Optional[int] = Field(alias="calls")
    failed_calls: Optional[int] = Field(alias="failed_calls")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    messages: Optional[int] = Field(alias="messages")
    month: Optional[datetime.date] = Field(alias="month")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    total_cost: Optional[float] = Field(alias="total_cost")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    unmeasured_calls: Optional[int] = Field(alias="unmeasured_calls")
    unpriced_calls: Optional[int] = Field(alias="unpriced_calls")
    user_id: Optional[str] = Field(alias="user_id")

class PublicPerformanceStats(BaseModel):
    database_bytes: Optional[int] = Field(alias="database_bytes")
    dead_rows: Optional[int] = Field(alias="dead_rows")
    index_bytes: Optional[int] = Field(alias="index_bytes")
    index_scans: Optional[int] = Field(alias="index_scans")
    last_analyze_at: Optional[datetime.datetime] = Field(alias="last_analyze_at")
    last_vacuum_at: Optional[datetime.datetime] = Field(alias="last_vacuum_at")
    live_rows: Optional[int] = Field(alias="live_rows")
    rows_deleted: Optional[int] = Field(alias="rows_deleted")
    rows_inserted: Optional[int] = Field(alias="rows_inserted")
    rows_updated: Optional[int] = Field(alias="rows_updated")
    sequential_scans: Optional[int] = Field(alias="sequential_scans")
    table_bytes: Optional[int] = Field(alias="table_bytes")
    table_name: Optional[PgCatalogName] = Field(alias="table_name")
    total_bytes: Optional[int] = Field(alias="total_bytes")

class PublicProviderUsageStats(BaseModel):
    average_response_time: Optional[float] = Field(alias="average_response_time")
    failed_calls: Optional[int] = Field(alias="failed_calls")
    first_used_on: Optional[datetime.date] = Field(alias="first_used_on")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    last_used_on: Optional[datetime.date] = Field(alias="last_used_on")
    model: Optional[str] = Field(alias="model")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    provider: Optional[str] = Field(alias="provider")
    request_count: Optional[int] = Field(alias="request_count")
    total_cost: Optional[float] = Field(alias="total_cost")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    unmeasured_calls: Optional[int] = Field(alias="unmeasured_calls")
    unpriced_calls: Optional[int] = Field(alias="unpriced_calls")

class PublicUsageLogs(BaseModel):
    action: Optional[str] = Field(alias="action")
    conversation_id: Optional[uuid.UUID] = Field(alias="conversation_id")
    conversation_run_id: Optional[uuid.UUID] = Field(alias="conversation_run_id")
    cost_usd: Optional[float] = Field(alias="cost_usd")
    created_at: Optional[datetime.datetime] = Field(alias="created_at")
    id: Optional[uuid.UUID] = Field(alias="id")
    message_id: Optional[uuid.UUID] = Field(alias="message_id")
    metadata: Optional[JsonValue] = Field(alias="metadata")
    model: Optional[str] = Field(alias="model")
    provider: Optional[str] = Field(alias="provider")
    status: Optional[str] = Field(alias="status")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    tokens_used: Optional[int] = Field(alias="tokens_used")
    user_id: Optional[str] = Field(alias="user_id")

class PublicUsageSums(BaseModel):
    assistant_messages: Optional[int] = Field(alias="assistant_messages")
    cache_read_tokens: Optional[int] = Field(alias="cache_read_tokens")
    cache_write_tokens: Optional[int] = Field(alias="cache_write_tokens")
    calls: Optional[int] = Field(alias="calls")
    contributions: Optional[int] = Field(alias="contributions")
    day: Optional[datetime.date] = Field(alias="day")
    failed_calls: Optional[int] = Field(alias="failed_calls")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    key: Optional[uuid.UUID] = Field(alias="key")
    known: Optional[List[int]] = Field(alias="known")
    messages: Optional[int] = Field(alias="messages")
    model: Optional[str] = Field(alias="model")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    provider: Optional[str] = Field(alias="provider")
    reasoning_tokens: Optional[int] = Field(alias="reasoning_tokens")
    response_time_ms: Optional[float] = Field(alias="response_time_ms")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    timed_calls: Optional[int] = Field(alias="timed_calls")
    total_cost: Optional[float] = Field(alias="total_cost")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    unmeasured_calls: Optional[int] = Field(alias="unmeasured_calls")
    unpriced_calls: Optional[int] = Field(alias="unpriced_calls")
    user_id: Optional[str] = Field(alias="user_id")
    user_messages: Optional[int] = Field(alias="user_messages")

class PublicUsageTotalSums(BaseModel):
    assistant_messages: Optional[int] = Field(alias="assistant_messages")
    cache_read_tokens: Optional[int] = Field(alias="cache_read_tokens")
    cache_write_tokens: Optional[int] = Field(alias="cache_write_tokens")
    calls: Optional[int] = Field(alias="calls")
    contributions: Optional[int] = Field(alias="contributions")
    day: Optional[datetime.date] = Field(alias="day")
    failed_calls: Optional[int] = Field(alias="failed_calls")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    key: Optional[uuid.UUID] = Field(alias="key")
    known: Optional[List[int]] = Field(alias="known")
    messages: Optional[int] = Field(alias="messages")
    model: Optional[str] = Field(alias="model")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    provider: Optional[str] = Field(alias="provider")
    reasoning_tokens: Optional[int] = Field(alias="reasoning_tokens")
    response_time_ms: Optional[float] = Field(alias="response_time_ms")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    timed_calls: Optional[int] = Field(alias="timed_calls")
    total_cost: Optional[float] = Field(alias="total_cost")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    unmeasured_calls: Optional[int] = Field(alias="unmeasured_calls")
    unpriced_calls: Optional[int] = Field(alias="unpriced_calls")
    user_messages: Optional[int] = Field(alias="user_messages")

class PublicUserActivitySummary(BaseModel):
    display_name: Optional[str] = Field(alias="display_name")
    email: Optional[str] = Field(alias="email")
    first_activity_at: Optional[datetime.datetime] = Field(alias="first_activity_at")
    last_activity_at: Optional[datetime.datetime] = Field(alias="last_activity_at")
    role: Optional[str] = Field(alias="role")
    total_conversations: Optional[int] = Field(alias="total_conversations")
    total_cost_usd: Optional[float] = Field(alias="total_cost_usd")
    total_messages: Optional[int] = Field(alias="total_messages")
    total_runs: Optional[int] = Field(alias="total_runs")
    total_tokens_used: Optional[int] = Field(alias="total_tokens_used")
    unpriced_calls: Optional[int] = Field(alias="unpriced_calls")
    user_id: Optional[str] = Field(alias="user_id")

class PublicUserUsage(BaseModel):
    assistant_messages: int = Field(alias="assistant_messages")
    average_response_time: Optional[float] = Field(alias="average_response_time")
    cache_read_tokens: Optional[int] = Field(alias="cache_read_tokens")
    cache_write_tokens: Optional[int] = Field(alias="cache_write_tokens")
    calls: int = Field(alias="calls")
    day: datetime.date = Field(alias="day")
    failed_calls: int = Field(alias="failed_calls")
    input_tokens: Optional[int] = Field(alias="input_tokens")
    messages: int = Field(alias="messages")
    model: Optional[str] = Field(alias="model")
    output_tokens: Optional[int] = Field(alias="output_tokens")
    provider: Optional[str] = Field(alias="provider")
    reasoning_tokens: Optional[int] = Field(alias="reasoning_tokens")
    tenant_id: Optional[str] = Field(alias="tenant_id")
    total_tokens: Optional[int] = Field(alias="total_tokens")
    unmeasured_calls: int = Field(alias="unmeasured_calls")
    user_id: Optional[str] = Field(alias="user_id")
    user_messages: int = Field(alias="user_messages")
