-- The whole schema after the last migration, to be read. Written from the catalogue by `make schema`: never edit it.
set check_function_bodies = off;

--: table public.chopsky_keys
create table public.chopsky_keys (
    name text not null,
    key bytea not null default (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
);

--: table public.chopsky_migrations
create table public.chopsky_migrations (
    number integer not null,
    name text not null,
    sha256 text not null,
    applied_at timestamp with time zone not null default now()
);

--: table public.conversation_analytics
create table public.conversation_analytics (
    id uuid not null default gen_random_uuid(),
    conversation_run_id uuid not null,
    completion_rate numeric(5,2),
    user_engagement_score numeric(5,2),
    conversation_quality_score numeric(5,2),
    error_count integer not null default 0,
    retry_count integer not null default 0,
    scores_by_hand text[] not null default '{}'::text[],
    metadata jsonb not null default '{}'::jsonb,
    created_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now()
);

--: table public.conversation_contents
create table public.conversation_contents (
    conversation_run_id uuid not null,
    id uuid not null,
    kind text not null,
    text text,
    document jsonb,
    media_type text,
    size_bytes bigint not null,
    data bytea,
    created_at timestamp with time zone not null default now()
);

--: table public.conversation_erasures
create table public.conversation_erasures (
    id uuid not null default gen_random_uuid(),
    erased_at timestamp with time zone not null default now(),
    receipt jsonb not null
);

--: table public.conversation_feedback
create table public.conversation_feedback (
    id uuid not null default gen_random_uuid(),
    about_id uuid not null,
    answer integer,
    conversation_run_id uuid,
    span_id uuid,
    message_id uuid,
    target_id uuid not null generated always as (COALESCE(message_id,
CASE
    WHEN (answer > 0) THEN (md5((((about_id)::text || '/'::text) || (answer)::text)))::uuid
    ELSE about_id
END)) stored,
    session_id text,
    tenant_id text,
    user_id text,
    given_by text,
    key text not null default 'user_satisfaction'::text,
    thumbs text,
    score numeric,
    value jsonb,
    comment text,
    source text not null default 'app'::text,
    metadata jsonb not null default '{}'::jsonb,
    is_internal boolean not null default false,
    is_pending boolean not null default false,
    version text collate "C" not null,
    created_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now()
);

--: table public.conversation_messages
create table public.conversation_messages (
    id uuid not null default gen_random_uuid(),
    body_id uuid,
    conversation_run_id uuid,
    span_id uuid,
    session_id text,
    tenant_id text,
    user_id text,
    sequence integer,
    role text not null,
    content text,
    parts jsonb,
    tool_calls jsonb,
    tool_call_id text,
    name text,
    is_internal boolean not null default false,
    token_count integer,
    token_count_source text,
    response_time_ms numeric(14,3),
    cost numeric(24,10),
    model text,
    provider text,
    metadata jsonb not null default '{}'::jsonb,
    action_taken text,
    questions_asked jsonb,
    delegation_plan jsonb,
    session_key uuid,
    is_history boolean not null default false,
    occurrence integer not null default 0,
    "position" integer not null default 0,
    version text collate "C",
    created_at timestamp with time zone not null default clock_timestamp(),
    said jsonb
);

--: table public.conversation_prefixes
create table public.conversation_prefixes (
    id uuid not null,
    extends uuid,
    length integer not null,
    bodies uuid[] not null,
    created_at timestamp with time zone not null default now()
);

--: table public.conversation_repricings
create table public.conversation_repricings (
    id uuid not null default gen_random_uuid(),
    status text not null default 'running'::text,
    started_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now(),
    ended_at timestamp with time zone,
    calls_from timestamp with time zone not null,
    calls_to timestamp with time zone not null,
    model text,
    provider text,
    tenant_id text,
    prices jsonb not null default '{}'::jsonb,
    calls_seen bigint not null default 0,
    calls_changed bigint not null default 0,
    calls_skipped bigint not null default 0,
    old_cost numeric,
    new_cost numeric,
    by_model jsonb not null default '[]'::jsonb,
    done_by text not null default SESSION_USER,
    application text default NULLIF(current_setting('application_name'::text, true), ''::text)
);

--: table public.conversation_runs
create table public.conversation_runs (
    id uuid not null default gen_random_uuid(),
    project text,
    environment text,
    name text,
    tenant_id text,
    user_id text,
    session_id text,
    status text not null default 'active'::text,
    total_messages integer not null default 0,
    total_tokens_used bigint,
    total_input_tokens bigint,
    total_output_tokens bigint,
    total_cost numeric(24,10),
    average_response_time numeric(14,3),
    unpriced_calls integer not null default 0,
    unmeasured_calls integer not null default 0,
    user_satisfaction_score numeric(3,2),
    error text,
    tags text[] not null default '{}'::text[],
    metadata jsonb not null default '{}'::jsonb,
    resumes uuid,
    resumed_at timestamp with time zone,
    merged boolean not null default false,
    totals_by_hand boolean not null default false,
    scope_by_hand boolean not null default false,
    session_key uuid not null generated always as (
CASE
    WHEN (session_id IS NULL) THEN id
    ELSE (md5((((COALESCE(((length(project) || ':'::text) || project), '-'::text) || COALESCE(((length(tenant_id) || ':'::text) || tenant_id), '-'::text)) || COALESCE(((length(user_id) || ':'::text) || user_id), '-'::text)) || session_id)))::uuid
END) stored,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    created_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now(),
    content_removed text
);

--: table public.conversation_sessions
create table public.conversation_sessions (
    id uuid not null default gen_random_uuid(),
    session_id text not null,
    project text,
    tenant_id text,
    user_id text,
    session_key uuid not null generated always as ((md5((((COALESCE(((length(project) || ':'::text) || project), '-'::text) || COALESCE(((length(tenant_id) || ':'::text) || tenant_id), '-'::text)) || COALESCE(((length(user_id) || ':'::text) || user_id), '-'::text)) || session_id)))::uuid) stored,
    title text,
    is_archived boolean not null default false,
    state text not null default 'initial'::text,
    parsed_intent jsonb,
    answered_questions jsonb not null default '{}'::jsonb,
    pending_questions jsonb not null default '[]'::jsonb,
    selected_kb_ids uuid[] not null default '{}'::uuid[],
    active_task_plan_id uuid,
    model_provider text,
    model_name text,
    temperature numeric(4,3),
    max_tokens integer,
    system_prompt text,
    document_chat boolean not null default false,
    image_generation boolean not null default false,
    web_search boolean not null default false,
    metadata jsonb not null default '{}'::jsonb,
    by_hand boolean not null default false,
    driven_at timestamp with time zone,
    expires_at timestamp with time zone,
    legal_hold boolean not null default false,
    created_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now(),
    last_activity_at timestamp with time zone not null default now(),
    completed_at timestamp with time zone
);

--: table public.conversation_spans
create table public.conversation_spans (
    id uuid not null,
    conversation_run_id uuid not null,
    parent_span_id uuid,
    kind text not null default 'other'::text,
    name text,
    source text,
    instrumentor text,
    is_provider boolean not null default false,
    is_entry boolean not null default false,
    native_id text,
    provider text,
    model_requested text,
    invocation_params jsonb,
    inputs jsonb,
    prompt_extends uuid,
    prompt_take integer,
    prompt_prefix uuid,
    prompt_bodies uuid[],
    prompt_names jsonb,
    question_keys uuid[],
    tags text[] not null default '{}'::text[],
    metadata jsonb not null default '{}'::jsonb,
    scope jsonb,
    started_at timestamp with time zone,
    start_version text collate "C",
    status text not null default 'active'::text,
    error text,
    model text,
    response_id text,
    ended_at timestamp with time zone,
    response_time_ms numeric(14,3),
    time_to_first_token_ms numeric(14,3),
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    audio_tokens bigint,
    usage_details jsonb,
    usage_source text,
    cost numeric(24,10),
    cost_source text,
    reported_cost numeric(24,10),
    price_rates jsonb,
    finish_reason text,
    outputs jsonb,
    output_bodies uuid[],
    answer_keys uuid[],
    end_metadata jsonb,
    end_version text collate "C",
    duplicate_of uuid,
    told jsonb,
    abandoned_at timestamp with time zone,
    created_at timestamp with time zone not null default now()
);

--: table public.conversation_tombstones
create table public.conversation_tombstones (
    hash bytea not null,
    kind text not null,
    erased_at timestamp with time zone not null default now(),
    refused_runs bigint not null default 0,
    last_refused_at timestamp with time zone
);

--: table public.model_prices
create table public.model_prices (
    id uuid not null default gen_random_uuid(),
    tenant_id text,
    provider text,
    model text,
    model_pattern text,
    valid_from timestamp with time zone,
    valid_until timestamp with time zone,
    input_mtok numeric,
    output_mtok numeric,
    cache_read_mtok numeric,
    cache_write_mtok numeric,
    cache_write_5m_mtok numeric,
    cache_write_1h_mtok numeric,
    other_rates jsonb not null default '{}'::jsonb,
    tiers jsonb not null default '[]'::jsonb,
    flex_factor numeric,
    priority_factor numeric,
    batch_factor numeric,
    request_usd numeric,
    note text,
    source text,
    created_at timestamp with time zone not null default now()
);

--: table public.retention_policies
create table public.retention_policies (
    id uuid not null default gen_random_uuid(),
    what text not null,
    tenant_id text,
    keep_for interval,
    created_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now()
);

--: table public.usage_contributions
create table public.usage_contributions (
    owner_id uuid not null,
    key uuid not null,
    day date not null,
    tenant_id text,
    user_id text,
    provider text,
    model text,
    calls bigint not null default 0,
    failed_calls bigint not null default 0,
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    total_cost numeric(34,10),
    unpriced_calls bigint not null default 0,
    unmeasured_calls bigint not null default 0,
    response_time_ms numeric(24,3),
    timed_calls bigint not null default 0,
    messages bigint not null default 0,
    user_messages bigint not null default 0,
    assistant_messages bigint not null default 0
);

--: table public.usage_kept
create table public.usage_kept (
    key uuid not null,
    day date not null,
    tenant_id text,
    user_id text,
    provider text,
    model text,
    contributions bigint not null default 0,
    known bigint[] not null default '{0,0,0,0,0,0,0,0}'::bigint[],
    calls bigint not null default 0,
    failed_calls bigint not null default 0,
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    total_cost numeric(34,10),
    unpriced_calls bigint not null default 0,
    unmeasured_calls bigint not null default 0,
    response_time_ms numeric(24,3),
    timed_calls bigint not null default 0,
    messages bigint not null default 0,
    user_messages bigint not null default 0,
    assistant_messages bigint not null default 0
);

--: table public.usage_metrics
create table public.usage_metrics (
    key uuid not null,
    day date not null,
    tenant_id text,
    user_id text,
    provider text,
    model text,
    contributions bigint not null default 0,
    known bigint[] not null default '{0,0,0,0,0,0,0,0}'::bigint[],
    calls bigint not null default 0,
    failed_calls bigint not null default 0,
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    total_cost numeric(34,10),
    unpriced_calls bigint not null default 0,
    unmeasured_calls bigint not null default 0,
    response_time_ms numeric(24,3),
    timed_calls bigint not null default 0,
    messages bigint not null default 0,
    user_messages bigint not null default 0,
    assistant_messages bigint not null default 0
);

--: table public.usage_totals
create table public.usage_totals (
    key uuid not null,
    day date not null,
    tenant_id text,
    provider text,
    model text,
    contributions bigint not null default 0,
    known bigint[] not null default '{0,0,0,0,0,0,0,0}'::bigint[],
    calls bigint not null default 0,
    failed_calls bigint not null default 0,
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    total_cost numeric(34,10),
    unpriced_calls bigint not null default 0,
    unmeasured_calls bigint not null default 0,
    response_time_ms numeric(24,3),
    timed_calls bigint not null default 0,
    messages bigint not null default 0,
    user_messages bigint not null default 0,
    assistant_messages bigint not null default 0
);

--: table public.user_profiles
create table public.user_profiles (
    user_id text not null,
    id text generated always as (user_id) stored,
    tenant_id text,
    email text,
    display_name text,
    avatar_url text,
    role text not null default 'user'::text,
    preferred_model_provider text,
    preferred_model_name text,
    daily_token_limit bigint,
    monthly_token_limit bigint,
    daily_cost_limit_usd numeric(24,10),
    monthly_cost_limit_usd numeric(24,10),
    is_sample boolean not null default false,
    created_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now()
);

--: table public.writer_status
create table public.writer_status (
    writer_id uuid not null,
    host text not null,
    process_id integer not null,
    version text not null,
    schema_number integer not null,
    started_at timestamp with time zone not null,
    last_write_at timestamp with time zone not null default now(),
    backlog_records bigint not null default 0,
    backlog_bytes bigint not null default 0,
    stored_records bigint not null default 0,
    losses jsonb not null default '{}'::jsonb,
    prices jsonb not null default '{}'::jsonb
);

--: constraint public.chopsky_keys chopsky_keys_pkey
alter table public.chopsky_keys add constraint chopsky_keys_pkey PRIMARY KEY (name);

--: constraint public.chopsky_migrations chopsky_migrations_pkey
alter table public.chopsky_migrations add constraint chopsky_migrations_pkey PRIMARY KEY (number);

--: constraint public.conversation_analytics conversation_analytics_completion_rate_check
alter table public.conversation_analytics add constraint conversation_analytics_completion_rate_check CHECK (((completion_rate >= (0)::numeric) AND (completion_rate <= (100)::numeric)));

--: constraint public.conversation_analytics conversation_analytics_conversation_quality_score_check
alter table public.conversation_analytics add constraint conversation_analytics_conversation_quality_score_check CHECK (((conversation_quality_score >= (0)::numeric) AND (conversation_quality_score <= (100)::numeric)));

--: constraint public.conversation_analytics conversation_analytics_error_count_check
alter table public.conversation_analytics add constraint conversation_analytics_error_count_check CHECK ((error_count >= 0));

--: constraint public.conversation_analytics conversation_analytics_pkey
alter table public.conversation_analytics add constraint conversation_analytics_pkey PRIMARY KEY (id);

--: constraint public.conversation_analytics conversation_analytics_retry_count_check
alter table public.conversation_analytics add constraint conversation_analytics_retry_count_check CHECK ((retry_count >= 0));

--: constraint public.conversation_analytics conversation_analytics_user_engagement_score_check
alter table public.conversation_analytics add constraint conversation_analytics_user_engagement_score_check CHECK (((user_engagement_score >= (0)::numeric) AND (user_engagement_score <= (100)::numeric)));

--: constraint public.conversation_analytics idx_conversation_analytics_conversation_run_id
alter table public.conversation_analytics add constraint idx_conversation_analytics_conversation_run_id UNIQUE (conversation_run_id);

--: constraint public.conversation_contents conversation_contents_pkey
alter table public.conversation_contents add constraint conversation_contents_pkey PRIMARY KEY (conversation_run_id, id);

--: constraint public.conversation_erasures conversation_erasures_pkey
alter table public.conversation_erasures add constraint conversation_erasures_pkey PRIMARY KEY (id);

--: constraint public.conversation_feedback conversation_feedback_answer_check
alter table public.conversation_feedback add constraint conversation_feedback_answer_check CHECK ((answer >= 0));

--: constraint public.conversation_feedback conversation_feedback_once
alter table public.conversation_feedback add constraint conversation_feedback_once UNIQUE NULLS NOT DISTINCT (target_id, user_id, key);

--: constraint public.conversation_feedback conversation_feedback_pkey
alter table public.conversation_feedback add constraint conversation_feedback_pkey PRIMARY KEY (id);

--: constraint public.conversation_feedback conversation_feedback_satisfaction
alter table public.conversation_feedback add constraint conversation_feedback_satisfaction CHECK (((key <> 'user_satisfaction'::text) OR ((score >= (1)::numeric) AND (score <= (5)::numeric))));

--: constraint public.conversation_feedback conversation_feedback_score_check
alter table public.conversation_feedback add constraint conversation_feedback_score_check CHECK (((score >= '-1000000000000000'::numeric) AND (score <= '1000000000000000'::numeric)));

--: constraint public.conversation_feedback conversation_feedback_thumbs_check
alter table public.conversation_feedback add constraint conversation_feedback_thumbs_check CHECK ((thumbs = ANY (ARRAY['up'::text, 'down'::text])));

--: constraint public.conversation_messages conversation_messages_cost_check
alter table public.conversation_messages add constraint conversation_messages_cost_check CHECK (((cost >= (0)::numeric) AND (cost <> 'NaN'::numeric)));

--: constraint public.conversation_messages conversation_messages_pkey
alter table public.conversation_messages add constraint conversation_messages_pkey PRIMARY KEY (id);

--: constraint public.conversation_messages conversation_messages_response_time_ms_check
alter table public.conversation_messages add constraint conversation_messages_response_time_ms_check CHECK ((response_time_ms >= (0)::numeric));

--: constraint public.conversation_messages conversation_messages_role_check
alter table public.conversation_messages add constraint conversation_messages_role_check CHECK ((role = ANY (ARRAY['user'::text, 'assistant'::text, 'system'::text, 'tool'::text])));

--: constraint public.conversation_messages conversation_messages_token_count_check
alter table public.conversation_messages add constraint conversation_messages_token_count_check CHECK ((token_count >= 0));

--: constraint public.conversation_messages conversation_messages_token_count_source_check
alter table public.conversation_messages add constraint conversation_messages_token_count_source_check CHECK ((token_count_source = ANY (ARRAY['reported'::text, 'computed'::text, 'estimated'::text, 'unknown'::text])));

--: constraint public.conversation_prefixes conversation_prefixes_pkey
alter table public.conversation_prefixes add constraint conversation_prefixes_pkey PRIMARY KEY (id);

--: constraint public.conversation_repricings conversation_repricings_calls_changed_check
alter table public.conversation_repricings add constraint conversation_repricings_calls_changed_check CHECK ((calls_changed >= 0));

--: constraint public.conversation_repricings conversation_repricings_calls_seen_check
alter table public.conversation_repricings add constraint conversation_repricings_calls_seen_check CHECK ((calls_seen >= 0));

--: constraint public.conversation_repricings conversation_repricings_calls_skipped_check
alter table public.conversation_repricings add constraint conversation_repricings_calls_skipped_check CHECK ((calls_skipped >= 0));

--: constraint public.conversation_repricings conversation_repricings_pkey
alter table public.conversation_repricings add constraint conversation_repricings_pkey PRIMARY KEY (id);

--: constraint public.conversation_repricings conversation_repricings_status_check
alter table public.conversation_repricings add constraint conversation_repricings_status_check CHECK ((status = ANY (ARRAY['running'::text, 'completed'::text, 'interrupted'::text])));

--: constraint public.conversation_runs conversation_runs_average_response_time_check
alter table public.conversation_runs add constraint conversation_runs_average_response_time_check CHECK ((average_response_time >= (0)::numeric));

--: constraint public.conversation_runs conversation_runs_content_removed_check
alter table public.conversation_runs add constraint conversation_runs_content_removed_check CHECK ((content_removed = ANY (ARRAY['payloads'::text, 'messages'::text])));

--: constraint public.conversation_runs conversation_runs_pkey
alter table public.conversation_runs add constraint conversation_runs_pkey PRIMARY KEY (id);

--: constraint public.conversation_runs conversation_runs_status_check
alter table public.conversation_runs add constraint conversation_runs_status_check CHECK ((status = ANY (ARRAY['active'::text, 'completed'::text, 'failed'::text, 'interrupted'::text, 'abandoned'::text])));

--: constraint public.conversation_runs conversation_runs_total_cost_check
alter table public.conversation_runs add constraint conversation_runs_total_cost_check CHECK (((total_cost >= (0)::numeric) AND (total_cost <> 'NaN'::numeric)));

--: constraint public.conversation_runs conversation_runs_total_input_tokens_check
alter table public.conversation_runs add constraint conversation_runs_total_input_tokens_check CHECK ((total_input_tokens >= 0));

--: constraint public.conversation_runs conversation_runs_total_messages_check
alter table public.conversation_runs add constraint conversation_runs_total_messages_check CHECK ((total_messages >= 0));

--: constraint public.conversation_runs conversation_runs_total_output_tokens_check
alter table public.conversation_runs add constraint conversation_runs_total_output_tokens_check CHECK ((total_output_tokens >= 0));

--: constraint public.conversation_runs conversation_runs_total_tokens_used_check
alter table public.conversation_runs add constraint conversation_runs_total_tokens_used_check CHECK ((total_tokens_used >= 0));

--: constraint public.conversation_runs conversation_runs_user_satisfaction_score_check
alter table public.conversation_runs add constraint conversation_runs_user_satisfaction_score_check CHECK (((user_satisfaction_score >= (1)::numeric) AND (user_satisfaction_score <= (5)::numeric)));

--: constraint public.conversation_sessions conversation_sessions_max_tokens_check
alter table public.conversation_sessions add constraint conversation_sessions_max_tokens_check CHECK ((max_tokens > 0));

--: constraint public.conversation_sessions conversation_sessions_pkey
alter table public.conversation_sessions add constraint conversation_sessions_pkey PRIMARY KEY (id);

--: constraint public.conversation_sessions conversation_sessions_session_key_key
alter table public.conversation_sessions add constraint conversation_sessions_session_key_key UNIQUE (session_key);

--: constraint public.conversation_sessions conversation_sessions_state_check
alter table public.conversation_sessions add constraint conversation_sessions_state_check CHECK ((state = ANY (ARRAY['initial'::text, 'gathering'::text, 'clarifying'::text, 'planning'::text, 'confirming'::text, 'delegated'::text, 'reviewing'::text, 'delivered'::text, 'cancelled'::text])));

--: constraint public.conversation_sessions conversation_sessions_temperature_check
alter table public.conversation_sessions add constraint conversation_sessions_temperature_check CHECK (((temperature >= (0)::numeric) AND (temperature <= (9)::numeric)));

--: constraint public.conversation_sessions conversation_sessions_title_at_most_500
alter table public.conversation_sessions add constraint conversation_sessions_title_at_most_500 CHECK ((char_length(title) <= 500));

--: constraint public.conversation_spans conversation_spans_pkey
alter table public.conversation_spans add constraint conversation_spans_pkey PRIMARY KEY (id);

--: constraint public.conversation_tombstones conversation_tombstones_kind_check
alter table public.conversation_tombstones add constraint conversation_tombstones_kind_check CHECK ((kind = ANY (ARRAY['person'::text, 'run'::text])));

--: constraint public.conversation_tombstones conversation_tombstones_pkey
alter table public.conversation_tombstones add constraint conversation_tombstones_pkey PRIMARY KEY (hash);

--: constraint public.model_prices model_prices_batch_factor_check
alter table public.model_prices add constraint model_prices_batch_factor_check CHECK (((batch_factor >= (0)::numeric) AND (batch_factor < (1000)::numeric) AND (scale(batch_factor) <= 6)));

--: constraint public.model_prices model_prices_cache_read_mtok_check
alter table public.model_prices add constraint model_prices_cache_read_mtok_check CHECK (((cache_read_mtok >= (0)::numeric) AND (cache_read_mtok < '1000000000'::numeric) AND (scale(cache_read_mtok) <= 12)));

--: constraint public.model_prices model_prices_cache_write_1h_mtok_check
alter table public.model_prices add constraint model_prices_cache_write_1h_mtok_check CHECK (((cache_write_1h_mtok >= (0)::numeric) AND (cache_write_1h_mtok < '1000000000'::numeric) AND (scale(cache_write_1h_mtok) <= 12)));

--: constraint public.model_prices model_prices_cache_write_5m_mtok_check
alter table public.model_prices add constraint model_prices_cache_write_5m_mtok_check CHECK (((cache_write_5m_mtok >= (0)::numeric) AND (cache_write_5m_mtok < '1000000000'::numeric) AND (scale(cache_write_5m_mtok) <= 12)));

--: constraint public.model_prices model_prices_cache_write_mtok_check
alter table public.model_prices add constraint model_prices_cache_write_mtok_check CHECK (((cache_write_mtok >= (0)::numeric) AND (cache_write_mtok < '1000000000'::numeric) AND (scale(cache_write_mtok) <= 12)));

--: constraint public.model_prices model_prices_flex_factor_check
alter table public.model_prices add constraint model_prices_flex_factor_check CHECK (((flex_factor >= (0)::numeric) AND (flex_factor < (1000)::numeric) AND (scale(flex_factor) <= 6)));

--: constraint public.model_prices model_prices_input_mtok_check
alter table public.model_prices add constraint model_prices_input_mtok_check CHECK (((input_mtok >= (0)::numeric) AND (input_mtok < '1000000000'::numeric) AND (scale(input_mtok) <= 12)));

--: constraint public.model_prices model_prices_model_check
alter table public.model_prices add constraint model_prices_model_check CHECK (((model <> ''::text) AND (length(model) <= 512)));

--: constraint public.model_prices model_prices_model_or_pattern
alter table public.model_prices add constraint model_prices_model_or_pattern CHECK ((num_nonnulls(model, model_pattern) = 1));

--: constraint public.model_prices model_prices_model_pattern_check
alter table public.model_prices add constraint model_prices_model_pattern_check CHECK (((length(model_pattern) >= 1) AND (length(model_pattern) <= 200)));

--: constraint public.model_prices model_prices_note_check
alter table public.model_prices add constraint model_prices_note_check CHECK ((note <> ''::text));

--: constraint public.model_prices model_prices_other_rates_check
alter table public.model_prices add constraint model_prices_other_rates_check CHECK ((jsonb_typeof(other_rates) = 'object'::text));

--: constraint public.model_prices model_prices_output_mtok_check
alter table public.model_prices add constraint model_prices_output_mtok_check CHECK (((output_mtok >= (0)::numeric) AND (output_mtok < '1000000000'::numeric) AND (scale(output_mtok) <= 12)));

--: constraint public.model_prices model_prices_pkey
alter table public.model_prices add constraint model_prices_pkey PRIMARY KEY (id);

--: constraint public.model_prices model_prices_priority_factor_check
alter table public.model_prices add constraint model_prices_priority_factor_check CHECK (((priority_factor >= (0)::numeric) AND (priority_factor < (1000)::numeric) AND (scale(priority_factor) <= 6)));

--: constraint public.model_prices model_prices_provider_check
alter table public.model_prices add constraint model_prices_provider_check CHECK (((provider <> ''::text) AND (provider = lower(provider))));

--: constraint public.model_prices model_prices_range_not_empty
alter table public.model_prices add constraint model_prices_range_not_empty CHECK ((valid_from < valid_until));

--: constraint public.model_prices model_prices_request_usd_check
alter table public.model_prices add constraint model_prices_request_usd_check CHECK (((request_usd >= (0)::numeric) AND (request_usd < '1000000'::numeric) AND (scale(request_usd) <= 12)));

--: constraint public.model_prices model_prices_some_price
alter table public.model_prices add constraint model_prices_some_price CHECK (((num_nonnulls(input_mtok, output_mtok, request_usd) > 0) OR (other_rates <> '{}'::jsonb)));

--: constraint public.model_prices model_prices_source_check
alter table public.model_prices add constraint model_prices_source_check CHECK ((source <> ''::text));

--: constraint public.model_prices model_prices_tenant_id_check
alter table public.model_prices add constraint model_prices_tenant_id_check CHECK ((tenant_id <> ''::text));

--: constraint public.model_prices model_prices_tiers_check
alter table public.model_prices add constraint model_prices_tiers_check CHECK ((jsonb_typeof(tiers) = 'array'::text));

--: constraint public.model_prices model_prices_valid_from_check
alter table public.model_prices add constraint model_prices_valid_from_check CHECK (((EXTRACT(year FROM (valid_from AT TIME ZONE 'UTC'::text)) >= (1970)::numeric) AND (EXTRACT(year FROM (valid_from AT TIME ZONE 'UTC'::text)) <= (9998)::numeric)));

--: constraint public.model_prices model_prices_valid_until_check
alter table public.model_prices add constraint model_prices_valid_until_check CHECK (((EXTRACT(year FROM (valid_until AT TIME ZONE 'UTC'::text)) >= (1970)::numeric) AND (EXTRACT(year FROM (valid_until AT TIME ZONE 'UTC'::text)) <= (9998)::numeric)));

--: constraint public.retention_policies retention_policies_have_no_tenant
alter table public.retention_policies add constraint retention_policies_have_no_tenant CHECK (((what <> ALL (ARRAY['writer_status'::text, 'tombstones'::text])) OR (tenant_id IS NULL)));

--: constraint public.retention_policies retention_policies_keep_for_check
alter table public.retention_policies add constraint retention_policies_keep_for_check CHECK ((keep_for > '00:00:00'::interval));

--: constraint public.retention_policies retention_policies_once
alter table public.retention_policies add constraint retention_policies_once UNIQUE NULLS NOT DISTINCT (what, tenant_id);

--: constraint public.retention_policies retention_policies_pkey
alter table public.retention_policies add constraint retention_policies_pkey PRIMARY KEY (id);

--: constraint public.retention_policies retention_policies_what_check
alter table public.retention_policies add constraint retention_policies_what_check CHECK ((what = ANY (ARRAY['sessions'::text, 'runs'::text, 'messages'::text, 'payloads'::text, 'feedback'::text, 'writer_status'::text, 'tombstones'::text])));

--: constraint public.usage_contributions usage_contributions_pkey
alter table public.usage_contributions add constraint usage_contributions_pkey PRIMARY KEY (owner_id, key);

--: constraint public.usage_kept usage_kept_pkey
alter table public.usage_kept add constraint usage_kept_pkey PRIMARY KEY (key);

--: constraint public.usage_metrics usage_metrics_pkey
alter table public.usage_metrics add constraint usage_metrics_pkey PRIMARY KEY (key);

--: constraint public.usage_totals usage_totals_pkey
alter table public.usage_totals add constraint usage_totals_pkey PRIMARY KEY (key);

--: constraint public.user_profiles user_profiles_daily_cost_limit_usd_check
alter table public.user_profiles add constraint user_profiles_daily_cost_limit_usd_check CHECK (((daily_cost_limit_usd >= (0)::numeric) AND (daily_cost_limit_usd <> 'NaN'::numeric)));

--: constraint public.user_profiles user_profiles_daily_token_limit_check
alter table public.user_profiles add constraint user_profiles_daily_token_limit_check CHECK ((daily_token_limit >= 0));

--: constraint public.user_profiles user_profiles_email_key
alter table public.user_profiles add constraint user_profiles_email_key UNIQUE (email);

--: constraint public.user_profiles user_profiles_monthly_cost_limit_usd_check
alter table public.user_profiles add constraint user_profiles_monthly_cost_limit_usd_check CHECK (((monthly_cost_limit_usd >= (0)::numeric) AND (monthly_cost_limit_usd <> 'NaN'::numeric)));

--: constraint public.user_profiles user_profiles_monthly_token_limit_check
alter table public.user_profiles add constraint user_profiles_monthly_token_limit_check CHECK ((monthly_token_limit >= 0));

--: constraint public.user_profiles user_profiles_pkey
alter table public.user_profiles add constraint user_profiles_pkey PRIMARY KEY (user_id);

--: constraint public.user_profiles user_profiles_role_check
alter table public.user_profiles add constraint user_profiles_role_check CHECK ((role = ANY (ARRAY['user'::text, 'admin'::text, 'moderator'::text])));

--: constraint public.writer_status writer_status_pkey
alter table public.writer_status add constraint writer_status_pkey PRIMARY KEY (writer_id);

--: foreign key public.conversation_analytics conversation_analytics_conversation_run_id_fkey
alter table public.conversation_analytics add constraint conversation_analytics_conversation_run_id_fkey FOREIGN KEY (conversation_run_id) REFERENCES public.conversation_runs(id) ON DELETE CASCADE;

--: foreign key public.conversation_contents conversation_contents_conversation_run_id_fkey
alter table public.conversation_contents add constraint conversation_contents_conversation_run_id_fkey FOREIGN KEY (conversation_run_id) REFERENCES public.conversation_runs(id) ON DELETE CASCADE;

--: foreign key public.conversation_messages conversation_messages_conversation_run_id_fkey
alter table public.conversation_messages add constraint conversation_messages_conversation_run_id_fkey FOREIGN KEY (conversation_run_id) REFERENCES public.conversation_runs(id) ON DELETE CASCADE;

--: foreign key public.conversation_spans conversation_spans_conversation_run_id_fkey
alter table public.conversation_spans add constraint conversation_spans_conversation_run_id_fkey FOREIGN KEY (conversation_run_id) REFERENCES public.conversation_runs(id) ON DELETE CASCADE;

--: index idx_conversation_analytics_quality_score
CREATE INDEX idx_conversation_analytics_quality_score ON public.conversation_analytics USING btree (conversation_quality_score) WHERE (conversation_quality_score IS NOT NULL);

--: index idx_conversation_contents_id
CREATE INDEX idx_conversation_contents_id ON public.conversation_contents USING btree (id);

--: index idx_conversation_feedback_conversation_run_id
CREATE INDEX idx_conversation_feedback_conversation_run_id ON public.conversation_feedback USING btree (conversation_run_id);

--: index idx_conversation_feedback_message_id
CREATE INDEX idx_conversation_feedback_message_id ON public.conversation_feedback USING btree (message_id) WHERE (message_id IS NOT NULL);

--: index idx_conversation_feedback_pending
CREATE INDEX idx_conversation_feedback_pending ON public.conversation_feedback USING btree (about_id) WHERE is_pending;

--: index idx_conversation_feedback_tenant_id_created_at
CREATE INDEX idx_conversation_feedback_tenant_id_created_at ON public.conversation_feedback USING btree (tenant_id, created_at DESC) WHERE (tenant_id IS NOT NULL);

--: index idx_conversation_feedback_user_id_created_at
CREATE INDEX idx_conversation_feedback_user_id_created_at ON public.conversation_feedback USING btree (user_id, created_at DESC);

--: index idx_conversation_messages_body_id_session_key
CREATE INDEX idx_conversation_messages_body_id_session_key ON public.conversation_messages USING btree (body_id, session_key);

--: index idx_conversation_messages_conversation_run_id_created_at
CREATE INDEX idx_conversation_messages_conversation_run_id_created_at ON public.conversation_messages USING btree (conversation_run_id, created_at);

--: index idx_conversation_messages_session_key_bare
CREATE INDEX idx_conversation_messages_session_key_bare ON public.conversation_messages USING btree (session_key) WHERE ((body_id IS NOT NULL) AND (content IS NULL) AND (parts IS NULL) AND (tool_calls IS NULL));

--: index idx_conversation_messages_user_id_created_at
CREATE INDEX idx_conversation_messages_user_id_created_at ON public.conversation_messages USING btree (user_id, created_at DESC) WHERE (user_id IS NOT NULL);

--: index idx_conversation_prefixes_extends
CREATE INDEX idx_conversation_prefixes_extends ON public.conversation_prefixes USING btree (extends) WHERE (extends IS NOT NULL);

--: index idx_conversation_repricings_started_at
CREATE INDEX idx_conversation_repricings_started_at ON public.conversation_repricings USING btree (started_at DESC);

--: index idx_conversation_runs_content_removed
CREATE INDEX idx_conversation_runs_content_removed ON public.conversation_runs USING btree (content_removed, created_at);

--: index idx_conversation_runs_created_at
CREATE INDEX idx_conversation_runs_created_at ON public.conversation_runs USING btree (created_at DESC, id DESC);

--: index idx_conversation_runs_session_id
CREATE INDEX idx_conversation_runs_session_id ON public.conversation_runs USING btree (session_id, started_at DESC) WHERE (session_id IS NOT NULL);

--: index idx_conversation_runs_session_key_began
CREATE INDEX idx_conversation_runs_session_key_began ON public.conversation_runs USING btree (session_key, COALESCE(started_at, created_at), id);

--: index idx_conversation_runs_status_created_at
CREATE INDEX idx_conversation_runs_status_created_at ON public.conversation_runs USING btree (status, created_at DESC);

--: index idx_conversation_runs_tenant_id_created_at
CREATE INDEX idx_conversation_runs_tenant_id_created_at ON public.conversation_runs USING btree (tenant_id, created_at DESC) WHERE (tenant_id IS NOT NULL);

--: index idx_conversation_runs_user_id_created_at
CREATE INDEX idx_conversation_runs_user_id_created_at ON public.conversation_runs USING btree (user_id, created_at DESC);

--: index idx_conversation_spans_conversation_run_id
CREATE INDEX idx_conversation_spans_conversation_run_id ON public.conversation_spans USING btree (conversation_run_id, started_at);

--: index idx_conversation_spans_duplicate_of
CREATE INDEX idx_conversation_spans_duplicate_of ON public.conversation_spans USING btree (duplicate_of) WHERE (duplicate_of IS NOT NULL);

--: index idx_conversation_spans_framework_calls
CREATE INDEX idx_conversation_spans_framework_calls ON public.conversation_spans USING btree (COALESCE(((told ->> 'input_tokens'::text))::bigint, input_tokens), started_at) WHERE ((NOT is_provider) AND (kind = ANY (ARRAY['llm'::text, 'embedding'::text, 'image'::text])));

--: index idx_conversation_spans_open
CREATE INDEX idx_conversation_spans_open ON public.conversation_spans USING btree (created_at) WHERE (status = 'active'::text);

--: index idx_conversation_spans_prompt_prefix
CREATE INDEX idx_conversation_spans_prompt_prefix ON public.conversation_spans USING btree (prompt_prefix) WHERE (prompt_prefix IS NOT NULL);

--: index idx_conversation_spans_provider_calls
CREATE INDEX idx_conversation_spans_provider_calls ON public.conversation_spans USING btree (COALESCE(((told ->> 'input_tokens'::text))::bigint, input_tokens), started_at) WHERE (is_provider AND (kind = ANY (ARRAY['llm'::text, 'embedding'::text, 'image'::text])));

--: index idx_conversation_spans_reported_cost
CREATE INDEX idx_conversation_spans_reported_cost ON public.conversation_spans USING btree (conversation_run_id) WHERE (reported_cost IS NOT NULL);

--: index idx_conversation_spans_response_id
CREATE INDEX idx_conversation_spans_response_id ON public.conversation_spans USING btree (hashtextextended(response_id, (0)::bigint)) WHERE (response_id IS NOT NULL);

--: index idx_conversation_spans_told
CREATE INDEX idx_conversation_spans_told ON public.conversation_spans USING btree (conversation_run_id) WHERE (told IS NOT NULL);

--: index idx_conversation_tombstones_erased_at
CREATE INDEX idx_conversation_tombstones_erased_at ON public.conversation_tombstones USING btree (erased_at) WHERE (kind = 'run'::text);

--: index idx_messages_by_hand
CREATE INDEX idx_messages_by_hand ON public.conversation_messages USING btree (session_key, md5(COALESCE(content, ''::text))) WHERE ((conversation_run_id IS NULL) OR (said IS NOT NULL));

--: index idx_messages_in_parts
CREATE INDEX idx_messages_in_parts ON public.conversation_messages USING btree (session_key, md5(COALESCE(content, ''::text))) WHERE ((parts IS NOT NULL) AND (tool_calls IS NULL) AND (NOT is_history));

--: index idx_messages_session_id
CREATE INDEX idx_messages_session_id ON public.conversation_messages USING btree (session_id, created_at) WHERE (session_id IS NOT NULL);

--: index idx_messages_session_key
CREATE INDEX idx_messages_session_key ON public.conversation_messages USING btree (session_key, created_at) WHERE (conversation_run_id IS NULL);

--: index idx_model_prices_key
CREATE UNIQUE INDEX idx_model_prices_key ON public.model_prices USING btree (tenant_id, provider, lower(model), model_pattern, valid_from) NULLS NOT DISTINCT;

--: index idx_sessions_active
CREATE INDEX idx_sessions_active ON public.conversation_sessions USING btree (state, last_activity_at DESC) WHERE (state <> ALL (ARRAY['initial'::text, 'delivered'::text, 'cancelled'::text]));

--: index idx_sessions_expires_at
CREATE INDEX idx_sessions_expires_at ON public.conversation_sessions USING btree (expires_at) WHERE (expires_at IS NOT NULL);

--: index idx_sessions_last_activity_at
CREATE INDEX idx_sessions_last_activity_at ON public.conversation_sessions USING btree (last_activity_at DESC, id DESC);

--: index idx_sessions_session_id
CREATE INDEX idx_sessions_session_id ON public.conversation_sessions USING btree (session_id);

--: index idx_sessions_tenant_id
CREATE INDEX idx_sessions_tenant_id ON public.conversation_sessions USING btree (tenant_id, last_activity_at DESC, id DESC) WHERE (tenant_id IS NOT NULL);

--: index idx_sessions_user_id
CREATE INDEX idx_sessions_user_id ON public.conversation_sessions USING btree (user_id, last_activity_at DESC, id DESC);

--: index idx_usage_metrics_day
CREATE INDEX idx_usage_metrics_day ON public.usage_metrics USING btree (day);

--: index idx_usage_metrics_tenant_id_day
CREATE INDEX idx_usage_metrics_tenant_id_day ON public.usage_metrics USING btree (tenant_id, day) WHERE (tenant_id IS NOT NULL);

--: index idx_usage_metrics_user_id_day
CREATE INDEX idx_usage_metrics_user_id_day ON public.usage_metrics USING btree (user_id, day) WHERE (user_id IS NOT NULL);

--: index idx_usage_totals_day
CREATE INDEX idx_usage_totals_day ON public.usage_totals USING btree (day);

--: index idx_usage_totals_tenant_id_day
CREATE INDEX idx_usage_totals_tenant_id_day ON public.usage_totals USING btree (tenant_id, day) WHERE (tenant_id IS NOT NULL);

--: index idx_user_profiles_tenant_id
CREATE INDEX idx_user_profiles_tenant_id ON public.user_profiles USING btree (tenant_id) WHERE (tenant_id IS NOT NULL);

--: index idx_writer_status_last_write_at
CREATE INDEX idx_writer_status_last_write_at ON public.writer_status USING btree (last_write_at);

--: index usage_kept_day_idx
CREATE INDEX usage_kept_day_idx ON public.usage_kept USING btree (day);

--: index usage_kept_tenant_id_day_idx
CREATE INDEX usage_kept_tenant_id_day_idx ON public.usage_kept USING btree (tenant_id, day) WHERE (tenant_id IS NOT NULL);

--: index usage_kept_user_id_day_idx
CREATE INDEX usage_kept_user_id_day_idx ON public.usage_kept USING btree (user_id, day) WHERE (user_id IS NOT NULL);

--: function public.archive_old_messages(older_than interval, tenant_id text, at_most integer)
CREATE OR REPLACE FUNCTION public.archive_old_messages(older_than interval DEFAULT '90 days'::interval, tenant_id text DEFAULT NULL::text, at_most integer DEFAULT 10000)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    archived integer;
begin
    -- Nobody drove them.
    perform set_config('chopsky_trace.recompute', 'on', true);
    update public.conversation_sessions s
    set is_archived = true
    where s.id in (
        select o.id from public.conversation_sessions o
        where o.last_activity_at < now() - older_than and not o.is_archived
            and (archive_old_messages.tenant_id is null or o.tenant_id = archive_old_messages.tenant_id)
        order by o.session_key limit at_most for no key update skip locked
    );
    get diagnostics archived = row_count;
    perform set_config('chopsky_trace.recompute', was, true);
    return archived;
end
$function$;

--: function public.cancel_conversation_session(session_uuid uuid)
CREATE OR REPLACE FUNCTION public.cancel_conversation_session(session_uuid uuid)
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$ select public.chopsky_end_session(session_uuid, 'cancelled') $function$;

--: function public.chopsky_add_counts(counts jsonb, more jsonb)
CREATE OR REPLACE FUNCTION public.chopsky_add_counts(counts jsonb, more jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO ''
AS $function$
    select coalesce(jsonb_object_agg(k.key, coalesce((counts ->> k.key)::bigint, 0) + coalesce((more ->> k.key)::bigint, 0)), '{}')
        || case when counts ? 'more' then jsonb_build_object('more', counts -> 'more') else '{}' end
    from (select jsonb_object_keys(counts) as key union select jsonb_object_keys(more)) k
    where k.key <> 'more'
$function$;

--: function public.chopsky_add_usage(deltas public.usage_metrics[], to_kept boolean, to_metrics boolean)
CREATE OR REPLACE FUNCTION public.chopsky_add_usage(deltas public.usage_metrics[], to_kept boolean, to_metrics boolean)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    -- Without users.
    totals public.usage_metrics[] := deltas;
    -- Only what takes contributions away can leave a row empty.
    takes_away boolean := deltas[1].contributions < 0;
begin
    if to_kept then
        insert into public.usage_kept as k (
            key, day, tenant_id, user_id, provider, model, contributions, known, calls, failed_calls, input_tokens,
            output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost,
            unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages
        )
        select
            d.key, d.day, d.tenant_id, d.user_id, d.provider, d.model, d.contributions, d.known, d.calls, d.failed_calls,
            d.input_tokens, d.output_tokens, d.total_tokens, d.cache_read_tokens, d.cache_write_tokens, d.reasoning_tokens,
            d.total_cost, d.unpriced_calls, d.unmeasured_calls, d.response_time_ms, d.timed_calls, d.messages,
            d.user_messages, d.assistant_messages
        from unnest(deltas) d
        order by d.key
        on conflict (key) do update
        set
            contributions = k.contributions + excluded.contributions,
            known = array[k.known[1] + excluded.known[1], k.known[2] + excluded.known[2], k.known[3] + excluded.known[3], k.known[4] + excluded.known[4], k.known[5] + excluded.known[5], k.known[6] + excluded.known[6], k.known[7] + excluded.known[7], k.known[8] + excluded.known[8]],
            calls = k.calls + excluded.calls, failed_calls = k.failed_calls + excluded.failed_calls,
            input_tokens = case when k.known[1] + excluded.known[1] > 0 then coalesce(k.input_tokens, 0) + coalesce(excluded.input_tokens, 0) end,
            output_tokens = case when k.known[2] + excluded.known[2] > 0 then coalesce(k.output_tokens, 0) + coalesce(excluded.output_tokens, 0) end,
            total_tokens = case when k.known[3] + excluded.known[3] > 0 then coalesce(k.total_tokens, 0) + coalesce(excluded.total_tokens, 0) end,
            cache_read_tokens = case when k.known[4] + excluded.known[4] > 0 then coalesce(k.cache_read_tokens, 0) + coalesce(excluded.cache_read_tokens, 0) end,
            cache_write_tokens = case when k.known[5] + excluded.known[5] > 0 then coalesce(k.cache_write_tokens, 0) + coalesce(excluded.cache_write_tokens, 0) end,
            reasoning_tokens = case when k.known[6] + excluded.known[6] > 0 then coalesce(k.reasoning_tokens, 0) + coalesce(excluded.reasoning_tokens, 0) end,
            total_cost = case when k.known[7] + excluded.known[7] > 0 then coalesce(k.total_cost, 0) + coalesce(excluded.total_cost, 0) end,
            unpriced_calls = k.unpriced_calls + excluded.unpriced_calls,
            unmeasured_calls = k.unmeasured_calls + excluded.unmeasured_calls,
            response_time_ms = case when k.known[8] + excluded.known[8] > 0 then coalesce(k.response_time_ms, 0) + coalesce(excluded.response_time_ms, 0) end,
            timed_calls = k.timed_calls + excluded.timed_calls, messages = k.messages + excluded.messages,
            user_messages = k.user_messages + excluded.user_messages,
            assistant_messages = k.assistant_messages + excluded.assistant_messages;
    end if;
    if not to_metrics then
        return;
    end if;
    -- One difference is of one row: it needs no sums.
    if cardinality(deltas) > 1 then
        takes_away := exists (select 1 from unnest(deltas) d where d.contributions < 0);
    end if;
    insert into public.usage_metrics as m (
        key, day, tenant_id, user_id, provider, model, contributions, known, calls, failed_calls, input_tokens,
        output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost,
        unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages
    )
    select
        d.key, d.day, d.tenant_id, d.user_id, d.provider, d.model, d.contributions, d.known, d.calls, d.failed_calls,
        d.input_tokens, d.output_tokens, d.total_tokens, d.cache_read_tokens, d.cache_write_tokens, d.reasoning_tokens,
        d.total_cost, d.unpriced_calls, d.unmeasured_calls, d.response_time_ms, d.timed_calls, d.messages,
        d.user_messages, d.assistant_messages
    from unnest(deltas) d
    order by d.key
    on conflict (key) do update
    set
        contributions = m.contributions + excluded.contributions,
        known = array[m.known[1] + excluded.known[1], m.known[2] + excluded.known[2], m.known[3] + excluded.known[3], m.known[4] + excluded.known[4], m.known[5] + excluded.known[5], m.known[6] + excluded.known[6], m.known[7] + excluded.known[7], m.known[8] + excluded.known[8]],
        calls = m.calls + excluded.calls, failed_calls = m.failed_calls + excluded.failed_calls,
        input_tokens = case when m.known[1] + excluded.known[1] > 0 then coalesce(m.input_tokens, 0) + coalesce(excluded.input_tokens, 0) end,
        output_tokens = case when m.known[2] + excluded.known[2] > 0 then coalesce(m.output_tokens, 0) + coalesce(excluded.output_tokens, 0) end,
        total_tokens = case when m.known[3] + excluded.known[3] > 0 then coalesce(m.total_tokens, 0) + coalesce(excluded.total_tokens, 0) end,
        cache_read_tokens = case when m.known[4] + excluded.known[4] > 0 then coalesce(m.cache_read_tokens, 0) + coalesce(excluded.cache_read_tokens, 0) end,
        cache_write_tokens = case when m.known[5] + excluded.known[5] > 0 then coalesce(m.cache_write_tokens, 0) + coalesce(excluded.cache_write_tokens, 0) end,
        reasoning_tokens = case when m.known[6] + excluded.known[6] > 0 then coalesce(m.reasoning_tokens, 0) + coalesce(excluded.reasoning_tokens, 0) end,
        total_cost = case when m.known[7] + excluded.known[7] > 0 then coalesce(m.total_cost, 0) + coalesce(excluded.total_cost, 0) end,
        unpriced_calls = m.unpriced_calls + excluded.unpriced_calls,
        unmeasured_calls = m.unmeasured_calls + excluded.unmeasured_calls,
        response_time_ms = case when m.known[8] + excluded.known[8] > 0 then coalesce(m.response_time_ms, 0) + coalesce(excluded.response_time_ms, 0) end,
        timed_calls = m.timed_calls + excluded.timed_calls, messages = m.messages + excluded.messages,
        user_messages = m.user_messages + excluded.user_messages,
        assistant_messages = m.assistant_messages + excluded.assistant_messages;
    if takes_away then
        delete from public.usage_metrics m
        where m.key in (select d.key from unnest(deltas) d where d.contributions < 0) and m.contributions = 0;
    end if;

    if cardinality(deltas) > 1 then
        select array_agg(row(
            null::uuid, d.day, d.tenant_id, null::text, d.provider, d.model, d.contributions, d.known, d.calls, d.failed_calls,
            d.input_tokens, d.output_tokens, d.total_tokens, d.cache_read_tokens, d.cache_write_tokens, d.reasoning_tokens,
            d.total_cost, d.unpriced_calls, d.unmeasured_calls, d.response_time_ms, d.timed_calls, d.messages, d.user_messages,
            d.assistant_messages
        )::public.usage_metrics) into totals
        from (
            select
                d.day, d.tenant_id, d.provider, d.model, sum(d.contributions) as contributions,
                array[
                    sum(d.known[1]), sum(d.known[2]), sum(d.known[3]), sum(d.known[4]), sum(d.known[5]), sum(d.known[6]),
                    sum(d.known[7]), sum(d.known[8])
                ]::bigint[] as known,
                sum(d.calls) as calls, sum(d.failed_calls) as failed_calls, sum(d.input_tokens) as input_tokens,
                sum(d.output_tokens) as output_tokens, sum(d.total_tokens) as total_tokens,
                sum(d.cache_read_tokens) as cache_read_tokens, sum(d.cache_write_tokens) as cache_write_tokens,
                sum(d.reasoning_tokens) as reasoning_tokens, sum(d.total_cost) as total_cost,
                sum(d.unpriced_calls) as unpriced_calls, sum(d.unmeasured_calls) as unmeasured_calls,
                sum(d.response_time_ms) as response_time_ms, sum(d.timed_calls) as timed_calls, sum(d.messages) as messages,
                sum(d.user_messages) as user_messages, sum(d.assistant_messages) as assistant_messages
            from unnest(deltas) d
            group by d.day, d.tenant_id, d.provider, d.model
        ) d;
    end if;
    insert into public.usage_totals as m (
        key, day, tenant_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens,
        total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls,
        unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages
    )
    select
        public.chopsky_usage_key(d.day, d.tenant_id, null, d.provider, d.model), d.day, d.tenant_id, d.provider, d.model,
        d.contributions, d.known, d.calls, d.failed_calls, d.input_tokens, d.output_tokens, d.total_tokens,
        d.cache_read_tokens, d.cache_write_tokens, d.reasoning_tokens, d.total_cost, d.unpriced_calls, d.unmeasured_calls,
        d.response_time_ms, d.timed_calls, d.messages, d.user_messages, d.assistant_messages
    from unnest(totals) d
    order by 1
    on conflict (key) do update
    set
        contributions = m.contributions + excluded.contributions,
        known = array[m.known[1] + excluded.known[1], m.known[2] + excluded.known[2], m.known[3] + excluded.known[3], m.known[4] + excluded.known[4], m.known[5] + excluded.known[5], m.known[6] + excluded.known[6], m.known[7] + excluded.known[7], m.known[8] + excluded.known[8]],
        calls = m.calls + excluded.calls, failed_calls = m.failed_calls + excluded.failed_calls,
        input_tokens = case when m.known[1] + excluded.known[1] > 0 then coalesce(m.input_tokens, 0) + coalesce(excluded.input_tokens, 0) end,
        output_tokens = case when m.known[2] + excluded.known[2] > 0 then coalesce(m.output_tokens, 0) + coalesce(excluded.output_tokens, 0) end,
        total_tokens = case when m.known[3] + excluded.known[3] > 0 then coalesce(m.total_tokens, 0) + coalesce(excluded.total_tokens, 0) end,
        cache_read_tokens = case when m.known[4] + excluded.known[4] > 0 then coalesce(m.cache_read_tokens, 0) + coalesce(excluded.cache_read_tokens, 0) end,
        cache_write_tokens = case when m.known[5] + excluded.known[5] > 0 then coalesce(m.cache_write_tokens, 0) + coalesce(excluded.cache_write_tokens, 0) end,
        reasoning_tokens = case when m.known[6] + excluded.known[6] > 0 then coalesce(m.reasoning_tokens, 0) + coalesce(excluded.reasoning_tokens, 0) end,
        total_cost = case when m.known[7] + excluded.known[7] > 0 then coalesce(m.total_cost, 0) + coalesce(excluded.total_cost, 0) end,
        unpriced_calls = m.unpriced_calls + excluded.unpriced_calls,
        unmeasured_calls = m.unmeasured_calls + excluded.unmeasured_calls,
        response_time_ms = case when m.known[8] + excluded.known[8] > 0 then coalesce(m.response_time_ms, 0) + coalesce(excluded.response_time_ms, 0) end,
        timed_calls = m.timed_calls + excluded.timed_calls, messages = m.messages + excluded.messages,
        user_messages = m.user_messages + excluded.user_messages,
        assistant_messages = m.assistant_messages + excluded.assistant_messages;
    if takes_away then
        delete from public.usage_totals t
        where t.contributions = 0 and t.key in (
            select public.chopsky_usage_key(d.day, d.tenant_id, null, d.provider, d.model)
            from unnest(totals) d where d.contributions < 0
        );
    end if;
end
$function$;

--: function public.chopsky_as_told(span public.conversation_spans)
CREATE OR REPLACE FUNCTION public.chopsky_as_told(span public.conversation_spans)
 RETURNS public.conversation_spans
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select jsonb_populate_record(
        span, case when span.told ->> 'end_version' is not distinct from span.end_version then span.told end
    )
$function$;

--: function public.chopsky_call_pairs(ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_call_pairs(ids uuid[])
 RETURNS TABLE(how integer, id uuid, other_id uuid)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
    with mine as materialized (
        select t.id, t.response_id, t.input_tokens, t.is_provider, t.started_at, t.ended_at
        from public.conversation_spans s
        cross join lateral public.chopsky_as_told(s) t
        where s.id = any (ids) and s.kind in ('llm', 'embedding', 'image') and s.start_version is not null
    ), candidate as materialized (
        -- By index alone, so that few are looked at; offset 0, or the planner would take an index for as small as it was.
        select 1 as how, m.id as a_id, x.id as b_id
        from mine m
        cross join lateral (
            select s.id
            from public.conversation_spans s
            where hashtextextended(s.response_id, 0) = hashtextextended(m.response_id, 0) and s.response_id is not null
            offset 0
        ) x
        where x.id <> m.id
        union
        select 2, m.id, x.id
        from mine m
        cross join lateral (
            select s.id
            from public.conversation_spans s
            where s.is_provider and s.kind in ('llm', 'embedding', 'image')
                and coalesce((s.told ->> 'input_tokens')::bigint, s.input_tokens) = m.input_tokens
                and s.started_at between m.started_at - interval '10 milliseconds' and m.ended_at + interval '10 milliseconds'
                and (m.response_id is null or s.response_id is null or s.told is not null)
            offset 0
        ) x
        where not m.is_provider
        union
        select 2, x.id, m.id
        from mine m
        cross join lateral (
            select s.id
            from public.conversation_spans s
            where not s.is_provider and s.kind in ('llm', 'embedding', 'image')
                and coalesce((s.told ->> 'input_tokens')::bigint, s.input_tokens) = m.input_tokens
                and s.started_at between m.started_at - interval '15 minutes' and m.started_at + interval '10 milliseconds'
                and (m.response_id is null or s.response_id is null or s.told is not null)
            offset 0
        ) x
        where m.is_provider
    ), pair (how, a, b) as (
        select c.how, a, b
        from candidate c
        join public.conversation_spans s on s.id = c.a_id
        join public.conversation_spans t on t.id = c.b_id
        join public.conversation_runs r on r.id = s.conversation_run_id
        join public.conversation_runs q on q.id = t.conversation_run_id and q.tenant_id is not distinct from r.tenant_id
        cross join lateral public.chopsky_as_told(s) a
        cross join lateral public.chopsky_as_told(t) b
        where case when c.how = 1 then
            a.response_id = b.response_id
            and a.started_at <= coalesce(b.ended_at, b.started_at) + interval '10 milliseconds'
            and b.started_at <= coalesce(a.ended_at, a.started_at) + interval '10 milliseconds'
        else
            (a.response_id is null or b.response_id is null)
            and a.input_tokens > 0 and a.input_tokens = b.input_tokens
            and coalesce(a.output_tokens, 0) = coalesce(b.output_tokens, 0) and (a.kind = 'embedding' or a.output_tokens > 0)
            and b.started_at >= a.started_at - interval '10 milliseconds' and b.ended_at <= a.ended_at + interval '10 milliseconds'
            and (
                coalesce(a.model, a.model_requested) is null or coalesce(b.model, b.model_requested) is null
                or exists (
                    select 1
                    from (values (a.model), (a.model_requested)) f (name)
                    cross join (values (b.model), (b.model_requested)) p (name)
                    -- openai/gpt-4o, and gpt-4o-2024-08-06, by which gpt-4o was answered.
                    cross join lateral (
                        select regexp_replace(lower(f.name), '^.*/', '') as f, regexp_replace(lower(p.name), '^.*/', '') as p
                    ) n
                    where n.f = n.p or left(n.f, length(n.p) + 1) in (n.p || '-', n.p || ':', n.p || '@')
                        or left(n.p, length(n.f) + 1) in (n.f || '-', n.f || ':', n.f || '@')
                )
            )
        end
    )
    select distinct p.how, case when p.how = 2 then (p.a).id else least((p.a).id, (p.b).id) end,
        case when p.how = 2 then (p.b).id else greatest((p.a).id, (p.b).id) end
    from pair p
    where (p.a).kind = (p.b).kind and (p.a).start_version is not null and (p.b).start_version is not null
        and coalesce((p.a).instrumentor, (p.a).source) <> coalesce((p.b).instrumentor, (p.b).source)
        and not coalesce((p.a).usage_details @> '{"cache_hit": true}', false)
        and not coalesce((p.b).usage_details @> '{"cache_hit": true}', false)
$function$;

--: function public.chopsky_check_model_price()
CREATE OR REPLACE FUNCTION public.chopsky_check_model_price()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    -- Without what stands for itself.
    bare text := regexp_replace(regexp_replace(new.model_pattern, '\\.', 'x', 'g'), '\[[^\]]*\]', 'x', 'g');
    rate record;
    tier jsonb;
    above numeric;
    last numeric := 0;
begin
    if bare ~ '\(\?[^:]|[*+?}][*+?{]' or new.model_pattern ~ '\\[^dDwWsS.^$*+?()\[\]{}|\\/:@, _-]|\[[.:=]' then
        raise exception 'model_pattern is no pattern of model names: %', new.model_pattern using
            errcode = 'invalid_regular_expression',
            hint = 'Use characters, ., [a-z], \d, \w, |, ( ), *, +, ?, {2,4}; no look-around, back references or lazy repetition.';
    end if;
    -- Fails with the reason where it is no regular expression.
    perform '' ~ ('^(?:' || new.model_pattern || ')$') where new.model_pattern is not null;
    for rate in
        select r.key, r.value from jsonb_each(case jsonb_typeof(new.other_rates) when 'object' then new.other_rates else '{}' end) r
        union all
        select t.key, t.value
        from jsonb_array_elements(case jsonb_typeof(new.tiers) when 'array' then new.tiers else '[]' end) e
        cross join lateral jsonb_each(case jsonb_typeof(e) when 'object' then e else '{"": null}' end) t
        where t.key <> 'above_input_tokens'
    loop
        if rate.key !~ '^[a-z0-9]+(_[a-z0-9]+)*_(mtok|kcount|hours)$' then
            raise exception '"%" is no price key', rate.key using
                errcode = 'check_violation', hint = 'Price keys are like input_audio_mtok and web_searches_kcount.';
        end if;
        if jsonb_typeof(rate.value) <> 'number' then
            raise exception 'the price of % is no number', rate.key using errcode = 'check_violation';
        end if;
        if (rate.value)::numeric not between 0 and 999999999 or scale((rate.value)::numeric) > 12 then
            raise exception 'the price of % is negative, too large or too fine: %', rate.key, rate.value using errcode = 'check_violation';
        end if;
    end loop;
    for tier in select e from jsonb_array_elements(case jsonb_typeof(new.tiers) when 'array' then new.tiers else '[]' end) e loop
        above := case when jsonb_typeof(tier -> 'above_input_tokens') = 'number' then (tier ->> 'above_input_tokens')::numeric end;
        if above is null or above <= last or above <> trunc(above) or above > 1e12 then
            raise exception 'each tier has above_input_tokens, a whole number above the last one''s and above 0' using errcode = 'check_violation';
        end if;
        last := above;
    end loop;
    return new;
end
$function$;

--: function public.chopsky_claim_runs(wanted uuid[], going uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_claim_runs(wanted uuid[], going uuid[] DEFAULT '{}'::uuid[])
 RETURNS uuid[]
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_custom_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    all_wanted uuid[];
    needed uuid[];
    locked uuid[];
    refused uuid[];
begin
    all_wanted := wanted || array(
        select distinct r.id
        from public.conversation_spans s
        join public.conversation_spans o on o.duplicate_of = s.id
        join public.conversation_runs r on r.id = o.conversation_run_id
        where s.conversation_run_id = any (wanted) and s.told is not null and r.merged and r.id <> all (wanted)
    );
    -- As ingest does, yet without waiting: the session first, then the rows.
    all_wanted := array(
        select r.id
        from (select r.id, r.session_id from public.conversation_runs r where r.id = any (all_wanted) order by r.session_id, r.id) r
        where r.session_id is null or pg_try_advisory_xact_lock(hashtextextended(r.session_id, 0))
    );
    needed := all_wanted || array(
        select o.conversation_run_id
        from public.conversation_spans s
        join public.conversation_spans o on o.duplicate_of = s.id
        where s.conversation_run_id = any (all_wanted) and s.told is not null
    ) || array(
        select h.id
        from (select distinct r.session_key from public.conversation_runs r where r.id = any (all_wanted) and r.session_id is not null) k
        cross join lateral (
            select r.id from public.conversation_runs r
            where r.session_key = k.session_key and r.id <> all (all_wanted) and r.content_removed is distinct from 'messages'
            order by r.id = any (going), coalesce(r.started_at, r.created_at), r.id limit 1
        ) h
    );
    locked := array(select r.id from public.conversation_runs r where r.id = any (needed) order by r.id for update skip locked);
    -- Whoever needs a row that is somebody else's now stays for this time, and all of its session.
    refused := array(select u from unnest(needed) u where u <> all (locked));
    if refused <> '{}' then
        refused := refused || array(
            select s.conversation_run_id
            from public.conversation_spans o
            join public.conversation_spans s on s.id = o.duplicate_of
            where o.conversation_run_id = any (refused)
        );
        refused := refused || array(
            select r.id from public.conversation_runs r
            where r.session_key in (select x.session_key from public.conversation_runs x where x.id = any (refused) and x.session_id is not null)
        );
    end if;
    return array(
        select r.id
        from public.conversation_runs r
        where r.id = any (all_wanted) and r.id = any (locked) and r.id <> all (refused) and not exists (
            select 1 from public.conversation_sessions s where s.session_key = r.session_key and s.legal_hold
        )
    );
end
$function$;

--: function public.chopsky_content(run_id uuid, content_id uuid)
CREATE OR REPLACE FUNCTION public.chopsky_content(run_id uuid, content_id uuid)
 RETURNS SETOF public.conversation_contents
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select c.*
    from public.conversation_runs r
    join public.conversation_contents c on c.id = content_id
    join public.conversation_runs q on q.id = c.conversation_run_id
    where r.id = run_id and (q.id = r.id or (c.kind = 'media' and q.session_key = r.session_key))
    order by (c.kind = 'media' and c.data is null), q.id = r.id desc, q.id
    limit 1
$function$;

--: function public.chopsky_count_due(older_than interval, tenant_id text)
CREATE OR REPLACE FUNCTION public.chopsky_count_due(older_than interval DEFAULT NULL::interval, tenant_id text DEFAULT NULL::text)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
    with session as materialized (
        select s.session_key
        from public.chopsky_due_sessions(9000000000000000, chopsky_count_due.tenant_id) d
        join public.conversation_sessions s on s.id = d
        where older_than is null
    ), run as materialized (
        select r.id from session s join public.conversation_runs r on r.session_key = s.session_key
        union
        select public.chopsky_due_runs('runs', 9000000000000000, older_than, chopsky_count_due.tenant_id)
    )
    select jsonb_build_object(
        'sessions', (select count(*) from session),
        'runs', (select count(*) from run),
        'spans', (select count(*) from public.conversation_spans s where s.conversation_run_id in (select id from run)),
        'messages', (select count(*) from public.conversation_messages m where m.conversation_run_id in (select id from run)),
        'contents', (select count(*) from public.conversation_contents c where c.conversation_run_id in (select id from run)),
        'feedback', (
            select count(*) from public.conversation_feedback f
            where f.conversation_run_id in (select id from run) or (
                older_than is null and (chopsky_count_due.tenant_id is null or f.tenant_id = chopsky_count_due.tenant_id)
                and exists (
                    select 1 from public.retention_policies p
                    where p.what = 'feedback' and f.created_at < now() - p.keep_for and (p.tenant_id = f.tenant_id or (
                        p.tenant_id is null and not exists (
                            select 1 from public.retention_policies q where q.what = 'feedback' and q.tenant_id = f.tenant_id
                        )
                    ))
                ) and not exists (
                    select 1
                    from public.conversation_runs r
                    join public.conversation_sessions s on s.session_key = r.session_key
                    where r.id = f.conversation_run_id and s.legal_hold
                )
            )
        ),
        'runs_without_messages', (
            select count(*) from public.chopsky_due_runs('messages', 9000000000000000, null, chopsky_count_due.tenant_id) d
            where older_than is null and d not in (select id from run)
        ),
        'runs_without_payloads', (
            select count(*) from public.chopsky_due_runs('payloads', 9000000000000000, null, chopsky_count_due.tenant_id) d
            where older_than is null and d not in (select id from run)
                and d not in (select public.chopsky_due_runs('messages', 9000000000000000, null, chopsky_count_due.tenant_id))
        ),
        'writer_status', (
            select count(*) from public.writer_status w
            join public.retention_policies p on p.what = 'writer_status' and w.last_write_at < now() - p.keep_for
            where older_than is null and chopsky_count_due.tenant_id is null
        ),
        'tombstones', (
            select count(*) from public.conversation_tombstones t
            where older_than is null and chopsky_count_due.tenant_id is null
                and t.kind = 'run' and t.erased_at < now() - public.chopsky_tombstones_kept()
        ),
        'more', false
    )
$function$;

--: function public.chopsky_count_usage(owner_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_count_usage(owner_ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    run_ids uuid[];
    -- Those whose totals a person set.
    by_hand uuid[];
    deltas public.usage_metrics[];
begin
    if owner_ids is null or owner_ids = '{}' then
        return;
    end if;
    -- rebuild_usage takes it alone.
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.usage', 0));
    select
        coalesce(array_agg(r.id), '{}'),
        -- Totals set by hand stand for the tokens and costs of all the run's messages.
        coalesce(array_agg(r.id) filter (where r.totals_by_hand and not exists (
            select 1 from public.conversation_spans s where s.conversation_run_id = r.id
        )), '{}')
    into run_ids, by_hand
    from public.conversation_runs r
    -- Who saw only what others carry contributes nothing.
    where r.id = any (owner_ids) and not r.merged;

    with part as (
        select
            s.conversation_run_id as owner_id, coalesce(s.started_at, s.ended_at, s.created_at) as used_at, null as tenant_id,
            null as user_id, s.provider, coalesce(s.model, s.model_requested) as model, 1 as calls,
            (s.status = 'failed')::integer as failed_calls,
            -- As in chopsky_recompute: what no call can have used is in no sum.
            case when s.input_tokens between 0 and 1000000000000000 then s.input_tokens end as input_tokens,
            case when s.output_tokens between 0 and 1000000000000000 then s.output_tokens end as output_tokens,
            case when s.total_tokens between 0 and 1000000000000000 then s.total_tokens end as total_tokens,
            case when s.cache_read_tokens between 0 and 1000000000000000 then s.cache_read_tokens end as cache_read_tokens,
            case when s.cache_write_tokens between 0 and 1000000000000000 then s.cache_write_tokens end as cache_write_tokens,
            case when s.reasoning_tokens between 0 and 1000000000000000 then s.reasoning_tokens end as reasoning_tokens,
            case when s.cost between 0 and 1000000000000 then s.cost end as total_cost,
            s.ended_at is not null and (s.status <> 'failed' or s.time_to_first_token_ms is not null) as is_charged,
            case when s.response_time_ms between 0 and 9999999999 then s.response_time_ms end as response_time_ms,
            0 as messages, 0 as user_messages, 0 as assistant_messages
        from public.conversation_spans s
        where s.conversation_run_id = any (run_ids) and s.kind in ('llm', 'embedding', 'image') and s.duplicate_of is null
            and s.status <> 'active'
        union all
        select
            m.owner_id, m.created_at, m.tenant_id, m.user_id, m.provider, m.model, m.is_call::integer, 0,
            case when m.is_told and m.role <> 'assistant' then m.token_count end,
            case when m.is_told and m.role = 'assistant' then m.token_count end,
            case when m.is_told then m.token_count end, null, null, null, case when m.is_told then m.cost end,
            m.is_call and m.is_told,
            case when m.is_told then m.response_time_ms end,
            (not m.is_internal)::integer, (not m.is_internal and m.role = 'user')::integer,
            (not m.is_internal and m.role = 'assistant')::integer
        from (
            -- Written by hand, a message says itself what it took; an assistant's that names its model is a call.
            select
                m.conversation_run_id as owner_id, null as tenant_id, null as user_id, m.created_at, m.provider, m.model, m.role,
                m.is_internal, m.token_count, m.cost, m.response_time_ms,
                m.span_id is null and not m.is_history and m.conversation_run_id <> all (by_hand) as is_told,
                m.span_id is null and not m.is_history and m.role = 'assistant' and num_nonnulls(m.provider, m.model) > 0 as is_call
            from public.conversation_messages m
            where m.conversation_run_id = any (run_ids) and (not m.is_internal or (m.span_id is null and not m.is_history))
            union all
            select
                m.id, m.tenant_id, m.user_id, m.created_at, m.provider, m.model, m.role, m.is_internal, m.token_count, m.cost,
                m.response_time_ms, true, m.role = 'assistant' and num_nonnulls(m.provider, m.model) > 0
            -- A message that was changed is told of as it was and as it is: once is enough.
            from (select distinct u.id from unnest(owner_ids) u (id)) o
            -- By id, however many are in no run.
            cross join lateral (select x.* from public.conversation_messages x where x.id = o.id offset 0) m
            where m.conversation_run_id is null
        ) m
        union all
        select
            r.id, coalesce(r.started_at, r.created_at), null, null, null, null, 0, 0, r.total_input_tokens, r.total_output_tokens,
            r.total_tokens_used, null, null, null, r.total_cost, false, null, 0, 0, 0
        from public.conversation_runs r
        where r.id = any (by_hand)
    ), summed as (
        select
            p.owner_id, p.day, p.tenant_id, p.user_id, p.provider, p.model,
            sum(p.calls) as calls, sum(p.failed_calls) as failed_calls, sum(p.input_tokens)::bigint as input_tokens,
            sum(p.output_tokens)::bigint as output_tokens, sum(p.total_tokens)::bigint as total_tokens,
            sum(p.cache_read_tokens)::bigint as cache_read_tokens, sum(p.cache_write_tokens)::bigint as cache_write_tokens,
            sum(p.reasoning_tokens)::bigint as reasoning_tokens, sum(p.total_cost) as total_cost,
            count(*) filter (where p.is_charged and p.total_cost is null) as unpriced_calls,
            count(*) filter (where p.is_charged and p.total_tokens is null) as unmeasured_calls,
            sum(p.response_time_ms) as response_time_ms, count(p.response_time_ms) as timed_calls, sum(p.messages) as messages,
            sum(p.user_messages) as user_messages, sum(p.assistant_messages) as assistant_messages
        from (
            -- The clock may be anybody's.
            select
                g.*, (greatest(least(g.used_at, '9999-12-31Z'), '0001-01-01Z') at time zone 'UTC')::date as day
            from part g
        ) p
        group by p.owner_id, p.day, p.tenant_id, p.user_id, p.provider, p.model
    ), fresh as materialized (
        select
            s.owner_id,
            -- chopsky_usage_key, which is too slow to call for each.
            md5(
                (s.day - date '2000-01-01')::text || coalesce('.' || length(w.tenant_id) || ':' || w.tenant_id, '-')
                || coalesce('.' || length(w.user_id) || ':' || w.user_id, '-')
                || coalesce('.' || length(s.provider) || ':' || s.provider, '-')
                || coalesce('.' || length(s.model) || ':' || s.model, '-')
            )::uuid as key,
            s.day, w.tenant_id, w.user_id, s.provider, s.model, s.calls, s.failed_calls, s.input_tokens, s.output_tokens,
            s.total_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens, s.total_cost, s.unpriced_calls,
            s.unmeasured_calls, s.response_time_ms, s.timed_calls, s.messages, s.user_messages, s.assistant_messages
        from summed s
        -- By id, whatever the plan was made for.
        left join lateral (
            select r.id, r.tenant_id, r.user_id from public.conversation_runs r where r.id = s.owner_id offset 0
        ) r on true
        cross join lateral (
            select case when r.id is null then s.tenant_id else r.tenant_id end, case when r.id is null then s.user_id else r.user_id end
        ) w (tenant_id, user_id)
    ), old as materialized (
        select
            c.owner_id, c.key,
            c.day, c.tenant_id, c.user_id, c.provider, c.model, c.calls, c.failed_calls, c.input_tokens, c.output_tokens,
            c.total_tokens, c.cache_read_tokens, c.cache_write_tokens, c.reasoning_tokens, c.total_cost, c.unpriced_calls,
            c.unmeasured_calls, c.response_time_ms, c.timed_calls, c.messages, c.user_messages, c.assistant_messages
        from public.usage_contributions c
        where c.owner_id = any (owner_ids)
    ), added as materialized (
        select * from fresh except select * from old
    ), taken as materialized (
        select * from old except select * from fresh
    ), gone as (
        delete from public.usage_contributions c
        using taken t
        where c.owner_id = t.owner_id and c.key = t.key
            and not exists (select 1 from added a where a.owner_id = t.owner_id and a.key = t.key)
    ), written as (
        insert into public.usage_contributions as c (
            owner_id, key,
            day, tenant_id, user_id, provider, model, calls, failed_calls, input_tokens, output_tokens, total_tokens,
            cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls, unmeasured_calls,
            response_time_ms, timed_calls, messages, user_messages, assistant_messages
        )
        select a.* from added a
        on conflict (owner_id, key) do update
        set (
            calls, failed_calls, input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens,
            reasoning_tokens, total_cost, unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages,
            user_messages, assistant_messages
        ) = (
            excluded.calls, excluded.failed_calls, excluded.input_tokens, excluded.output_tokens, excluded.total_tokens,
            excluded.cache_read_tokens, excluded.cache_write_tokens, excluded.reasoning_tokens, excluded.total_cost,
            excluded.unpriced_calls, excluded.unmeasured_calls, excluded.response_time_ms, excluded.timed_calls,
            excluded.messages, excluded.user_messages, excluded.assistant_messages
        )
    ), delta as (
        select
            x.key, x.day, x.tenant_id, x.user_id, x.provider, x.model, sum(x.sign) as contributions,
            array[
                coalesce(sum(x.sign) filter (where x.input_tokens is not null), 0),
                coalesce(sum(x.sign) filter (where x.output_tokens is not null), 0),
                coalesce(sum(x.sign) filter (where x.total_tokens is not null), 0),
                coalesce(sum(x.sign) filter (where x.cache_read_tokens is not null), 0),
                coalesce(sum(x.sign) filter (where x.cache_write_tokens is not null), 0),
                coalesce(sum(x.sign) filter (where x.reasoning_tokens is not null), 0),
                coalesce(sum(x.sign) filter (where x.total_cost is not null), 0),
                coalesce(sum(x.sign) filter (where x.response_time_ms is not null), 0)
            ]::bigint[] as known,
            sum(x.sign * x.calls)::bigint as calls, sum(x.sign * x.failed_calls)::bigint as failed_calls,
            sum(x.sign * x.input_tokens)::bigint as input_tokens, sum(x.sign * x.output_tokens)::bigint as output_tokens,
            sum(x.sign * x.total_tokens)::bigint as total_tokens,
            sum(x.sign * x.cache_read_tokens)::bigint as cache_read_tokens,
            sum(x.sign * x.cache_write_tokens)::bigint as cache_write_tokens,
            sum(x.sign * x.reasoning_tokens)::bigint as reasoning_tokens,
            sum(x.sign * x.total_cost)::numeric(34, 10) as total_cost,
            sum(x.sign * x.unpriced_calls)::bigint as unpriced_calls,
            sum(x.sign * x.unmeasured_calls)::bigint as unmeasured_calls,
            sum(x.sign * x.response_time_ms)::numeric(24, 3) as response_time_ms,
            sum(x.sign * x.timed_calls)::bigint as timed_calls, sum(x.sign * x.messages)::bigint as messages,
            sum(x.sign * x.user_messages)::bigint as user_messages,
            sum(x.sign * x.assistant_messages)::bigint as assistant_messages
        from (select 1 as sign, a.* from added a union all select -1, t.* from taken t) x
        group by x.key, x.day, x.tenant_id, x.user_id, x.provider, x.model
    )
    select array_agg(row(d.*)::public.usage_metrics) into deltas from delta d;
    if deltas is not null then
        perform public.chopsky_add_usage(deltas, false, true);
    end if;
end
$function$;

--: function public.chopsky_decide_calls(members uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_decide_calls(members uuid[])
 RETURNS TABLE(id uuid, owner_id uuid, place integer, is_sum boolean)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    ids uuid[];
    sources text[];
    -- All sources of a group, at its first.
    told_by text[];
    is_part boolean[];
    -- Of each a place in these arrays: of another in its group, of the call that it is nested in and one with, of the call in it.
    groups integer[];
    wraps integer[];
    inner_of integer[];
    sums boolean[];
    is_wrapper boolean[];
    pair record;
    one integer;
    other integer;
    step integer := 0;
    changed boolean := true;
begin
    select array_agg(s.id order by s.id), array_agg(coalesce(s.instrumentor, s.source) order by s.id),
        array_agg(s.parent_span_id is not null order by s.id)
    into ids, sources, is_part
    from public.conversation_spans s where s.id = any (members);
    if ids is null then
        return;
    end if;
    told_by := sources;
    groups := array(select generate_series(1, cardinality(ids)));
    wraps := array_fill(0, array[cardinality(ids)]);
    inner_of := wraps;
    sums := array_fill(false, array[cardinality(ids)]);
    is_wrapper := sums;

    -- A call with one call in it, failed tries apart, is that call; with several, their sum.
    for pair in
        with nest as (
            select n.outer_id, s.id, s.status = 'failed' as failed, s.started_at
            from public.chopsky_nested_calls(array(
                select distinct s.conversation_run_id from public.conversation_spans s where s.id = any (ids)
            )) n
            join public.conversation_spans s on s.id = n.id
            where n.outer_id = any (ids) and n.id = any (ids)
        )
        select
            array_position(ids, n.outer_id) as outer_at,
            array_position(ids, (array_agg(n.id order by n.failed, n.started_at desc, n.id))[1]) as inner_at,
            case when bool_and(n.failed) then count(*) else count(*) filter (where not n.failed) end as calls
        from nest n group by n.outer_id
    loop
        inner_of[pair.outer_at] := pair.inner_at;
        sums[pair.outer_at] := pair.calls > 1;
    end loop;
    -- What is one with a sum is a sum, too.
    while changed loop
        changed := false;
        for one in 1..cardinality(ids) loop
            if not sums[one] and inner_of[one] > 0 and sums[inner_of[one]] then
                sums[one] := true;
                changed := true;
            end if;
        end loop;
    end loop;

    for pair in
        select p.how, array_position(ids, p.id) as one, array_position(ids, p.other_id) as other
        from (
            select 0 as how, i.id, ids[i.inner_at] as other_id
            from unnest(ids, inner_of, sums) i (id, inner_at, is_sum) where i.inner_at > 0 and not i.is_sum
            union all
            select c.how, c.id, c.other_id from public.chopsky_call_pairs(ids) c
        ) p
        join public.conversation_spans a on a.id = p.id
        join public.conversation_spans b on b.id = p.other_id
        where p.id = any (ids) and p.other_id = any (ids)
        -- Of twins the framework's that began last first, each with what ended last in it: this leaves the fewest alone.
        order by p.how, case when p.how = 1 then greatest(a.started_at, b.started_at) - least(a.started_at, b.started_at) end,
            a.started_at desc, p.id, b.ended_at desc, p.other_id
    loop
        one := pair.one;
        while groups[one] <> one loop
            one := groups[one];
        end loop;
        other := pair.other;
        while groups[other] <> other loop
            other := groups[other];
        end loop;
        if pair.how = 0 then
            wraps[pair.other] := pair.one;
            is_wrapper[pair.one] := sources[pair.one] = sources[pair.other];
        -- No source tells of one call twice.
        elsif sums[pair.one] or sums[pair.other] or string_to_array(told_by[one], e'\x1f') && string_to_array(told_by[other], e'\x1f') then
            continue;
        end if;
        if one <> other then
            groups[other] := one;
            told_by[one] := told_by[one] || e'\x1f' || told_by[other];
        end if;
    end loop;
    for one in 1..cardinality(ids) loop
        other := one;
        while groups[other] <> other loop
            other := groups[other];
        end loop;
        groups[one] := other;
    end loop;

    -- Whether a call is part of a trace its outermost says; a sum goes with the last call in it.
    for one in 1..cardinality(ids) loop
        other := one;
        for step in 1..100 loop
            exit when wraps[other] = 0;
            other := wraps[other];
        end loop;
        is_part[one] := is_part[other];
        if sums[one] then
            other := one;
            for step in 1..100 loop
                exit when not sums[other];
                other := inner_of[other];
            end loop;
            groups[one] := groups[other];
        end if;
    end loop;

    return query
    select
        r.id, case when r.size > 1 then first_value(r.id) over (partition by r.team order by r.place) end, r.place::integer, r.is_sum
    from (
        select
            m.id, m.team, m.is_sum, count(*) over (partition by m.team) as size,
            row_number() over (
                partition by m.team
                order by m.is_sum, m.is_wrapper, not m.is_part, s.is_provider, s.source is distinct from 'langchain',
                    s.started_at, m.id
            ) as place
        from unnest(ids, groups, sums, is_wrapper, is_part) m (id, team, is_sum, is_wrapper, is_part)
        join public.conversation_spans s on s.id = m.id
    ) r;
end
$function$;

--: function public.chopsky_due_runs(what text, at_most bigint, older_than interval, tenant_id text, keys uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_due_runs(what text, at_most bigint, older_than interval DEFAULT NULL::interval, tenant_id text DEFAULT NULL::text, keys uuid[] DEFAULT NULL::uuid[])
 RETURNS SETOF uuid
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
#variable_conflict use_column
declare
    wanted constant text := chopsky_due_runs.what;
    rule record;
begin
    for rule in
        select p.tenant_id, p.keep_for, false as is_given
        from public.retention_policies p
        where chopsky_due_runs.older_than is null and p.what = wanted and p.keep_for is not null
            and (chopsky_due_runs.tenant_id is null or coalesce(p.tenant_id, chopsky_due_runs.tenant_id) = chopsky_due_runs.tenant_id)
        union all
        select null, chopsky_due_runs.older_than, true where chopsky_due_runs.older_than is not null
    loop
        return query
        select r.id
        from public.conversation_runs r
        where r.created_at < now() - rule.keep_for and (chopsky_due_runs.keys is null or r.session_key = any (chopsky_due_runs.keys))
            and (chopsky_due_runs.tenant_id is null or r.tenant_id = chopsky_due_runs.tenant_id)
            and (rule.tenant_id is null or r.tenant_id = rule.tenant_id)
            and (rule.tenant_id is not null or rule.is_given or not exists (
                select 1 from public.retention_policies p where p.what = wanted and p.tenant_id = r.tenant_id
            ))
            and r.status <> 'active'
            -- One that saw only what another's calls are goes with that.
            and (wanted <> 'runs' or not r.merged)
            and (wanted <> 'payloads' or r.content_removed is null)
            and (wanted <> 'messages' or r.content_removed is null or r.content_removed = 'payloads')
            and not exists (select 1 from public.conversation_sessions s where s.session_key = r.session_key and s.legal_hold)
        order by r.created_at, r.id
        limit at_most;
    end loop;
end
$function$;

--: function public.chopsky_due_sessions(at_most bigint, tenant_id text, expired_only boolean)
CREATE OR REPLACE FUNCTION public.chopsky_due_sessions(at_most bigint, tenant_id text DEFAULT NULL::text, expired_only boolean DEFAULT false)
 RETURNS SETOF uuid
 LANGUAGE sql
 STABLE
 SET search_path TO ''
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
    select d.id
    from (
        (
            select s.id, s.expires_at as due_at
            from public.conversation_sessions s
            where s.expires_at <= now() and not s.legal_hold
                and (chopsky_due_sessions.tenant_id is null or s.tenant_id = chopsky_due_sessions.tenant_id)
            order by s.expires_at limit at_most
        )
        union
        (
            select s.id, s.last_activity_at
            from public.retention_policies p
            join public.conversation_sessions s on p.tenant_id is null or s.tenant_id = p.tenant_id
            where p.what = 'sessions' and not expired_only and s.last_activity_at < now() - p.keep_for
                and (p.tenant_id is not null or not exists (
                    select 1 from public.retention_policies o where o.what = 'sessions' and o.tenant_id = s.tenant_id
                ))
                -- A session's own date stands before any rule.
                and s.expires_at is null and not s.legal_hold
                and (chopsky_due_sessions.tenant_id is null or s.tenant_id = chopsky_due_sessions.tenant_id)
            order by s.last_activity_at limit at_most
        )
    ) d
    order by d.due_at, d.id
    limit at_most
$function$;

--: function public.chopsky_end_session(session_uuid uuid, state text)
CREATE OR REPLACE FUNCTION public.chopsky_end_session(session_uuid uuid, state text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    update public.conversation_sessions s set state = chopsky_end_session.state
    where s.id = session_uuid and s.state <> chopsky_end_session.state;
    if not found and not exists (
        select 1 from public.conversation_sessions s where s.id = session_uuid and s.state = chopsky_end_session.state
    ) then
        raise exception 'There is no session %', session_uuid
            using errcode = 'no_data_found', hint = 'conversation_session_id(session_id) finds a session by its name.';
    end if;
end
$function$;

--: function public.chopsky_entomb_runs(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_entomb_runs(run_ids uuid[])
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
    insert into public.chopsky_keys (name) values ('tombstones') on conflict do nothing;
    insert into public.conversation_tombstones (hash, kind)
    select public.chopsky_tombstone('run', i.id::text), 'run'
    from unnest(run_ids) i (id)
    order by 1
    on conflict (hash) do nothing
$function$;

--: function public.chopsky_erase_on_auth_delete(wanted boolean)
CREATE OR REPLACE FUNCTION public.chopsky_erase_on_auth_delete(wanted boolean)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $functionx$
begin
    if to_regclass('auth.users') is null then
        return false;
    end if;
    execute 'drop function if exists public.chopsky_on_auth_user_gone() cascade';
    if wanted then
        execute $ddl$
            create function public.chopsky_on_auth_user_gone() returns trigger
            language plpgsql security definer set search_path = ''
            as $function$
            begin
                perform public.erase_user(old.id::text);
                return null;
            end
            $function$
        $ddl$;
        execute 'revoke all on function public.chopsky_on_auth_user_gone() from public, anon, authenticated, service_role';
        execute 'create trigger chopsky_erase_user after delete on auth.users for each row
            execute function public.chopsky_on_auth_user_gone()';
    end if;
    return true;
end
$functionx$;

--: function public.chopsky_export_feedback(feedback_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_export_feedback(feedback_ids uuid[])
 RETURNS TABLE(id uuid, exported text)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
    if to_regclass('public.conversation_feedback') is not null then
        return query execute '
            select f.id, replace(json_build_object(''feedback'', json_build_array(row_to_json(f)))::text, E''\n'', '''')
            from public.conversation_feedback f where f.id = any ($1) order by f.id'
        using feedback_ids;
    end if;
end
$function$;

--: function public.chopsky_export_messages(message_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_export_messages(message_ids uuid[])
 RETURNS TABLE(id uuid, exported text)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select m.id, replace(json_build_object('messages', json_build_array(row_to_json(m)))::text, E'\n', '')
    from public.conversation_messages m
    where m.id = any (message_ids) and m.conversation_run_id is null
    order by m.created_at, m.id
$function$;

--: function public.chopsky_export_profiles(user_ids text[])
CREATE OR REPLACE FUNCTION public.chopsky_export_profiles(user_ids text[])
 RETURNS TABLE(id text, exported text)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select p.user_id, replace(json_build_object('profiles', json_build_array(row_to_json(p)))::text, E'\n', '')
    from public.user_profiles p
    where p.user_id = any (user_ids)
    order by p.user_id
$function$;

--: function public.chopsky_export_runs(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_export_runs(run_ids uuid[])
 RETURNS TABLE(id uuid, exported text)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    run record;
    rated json;
begin
    for run in
        select r.* from public.conversation_runs r where r.id = any (run_ids) order by r.created_at, r.id
    loop
        rated := null;
        if to_regclass('public.conversation_feedback') is not null then
            execute 'select json_agg(f order by f.id) from public.conversation_feedback f where f.conversation_run_id = $1'
            into rated using run.id;
        end if;
        id := run.id;
        exported := (
            -- Line ends in it are only those that json_agg puts between: in strings they are escaped.
            select replace(json_build_object(
                'run', row_to_json(r),
                'session', (select row_to_json(s) from public.conversation_sessions s where s.session_key = r.session_key),
                'analytics', (select row_to_json(a) from public.conversation_analytics a where a.conversation_run_id = r.id),
                'spans', (select json_agg(s order by s.started_at, s.id) from public.conversation_spans s where s.conversation_run_id = r.id),
                'messages', (select json_agg(m order by m.sequence, m.id) from public.conversation_messages m where m.conversation_run_id = r.id),
                'contents', (select json_agg(c order by c.id) from public.conversation_contents c where c.conversation_run_id = r.id),
                'prefixes', (
                    select json_agg(p order by p.length, p.id) from public.conversation_prefixes p
                    where p.id in (select n from public.chopsky_named_ids(array[r.id]) n)
                ),
                'feedback', rated
            )::text, E'\n', '')
            from public.conversation_runs r where r.id = run.id
        );
        return next;
    end loop;
end
$function$;

--: function public.chopsky_export_sessions(session_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_export_sessions(session_ids uuid[])
 RETURNS TABLE(id uuid, exported text)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select s.id, replace(json_build_object(
        'session', row_to_json(s),
        'messages', (
            select json_agg(m order by m.created_at, m.id) from public.conversation_messages m
            where m.session_key = s.session_key and m.conversation_run_id is null
        )
    )::text, E'\n', '')
    from public.conversation_sessions s
    where s.id = any (session_ids)
    order by s.created_at, s.id
$function$;

--: function public.chopsky_feedback_targets(feedback_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_feedback_targets(feedback_ids uuid[])
 RETURNS TABLE(id uuid, conversation_run_id uuid, span_id uuid, message_id uuid, session_id text, tenant_id text, user_id text, is_internal boolean, is_pending boolean)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select
        f.id,
        case when t.is_known then t.conversation_run_id else f.conversation_run_id end,
        case when t.is_known then t.span_id else f.span_id end,
        t.message_id,
        case when t.is_known then t.session_id else f.session_id end,
        case when t.is_known then t.tenant_id else f.tenant_id end,
        coalesce(f.given_by, case when t.is_known then t.user_id else f.user_id end),
        case when t.is_known then t.is_internal else f.is_internal end,
        not t.is_known or (f.answer is not null and t.message_id is null)
    from public.conversation_feedback f
    left join public.conversation_messages named on named.id = f.about_id and f.answer is null
    left join public.conversation_runs run on run.id = f.about_id and f.answer is null
    left join public.conversation_spans span
        -- A message that went (the same answer, told by two) leaves its call.
        on span.id = case when named.id is null and run.id is null and f.message_id is not null and f.answer is null then f.span_id else f.about_id end
        and named.id is null and run.id is null
    left join lateral (
        -- Of a call that several told of, the answer that is shown.
        select m.*
        from public.conversation_spans c
        join public.conversation_messages m on m.conversation_run_id = c.conversation_run_id and m.span_id = c.id
        where c.id in (span.id, span.duplicate_of) and (f.answer is not null or f.message_id is not null)
            and m.role = 'assistant' and not m.is_history
        order by m.is_internal, c.id <> span.id, m.position, m.id
        offset coalesce(f.answer, 0) limit 1
    ) answered on true
    left join public.conversation_runs above on above.id = span.conversation_run_id
    cross join lateral (
        select
            num_nonnulls(named.id, run.id, span.id) > 0 as is_known,
            case
                when named.id is not null then named.conversation_run_id when run.id is not null then run.id
                when answered.id is not null then answered.conversation_run_id else span.conversation_run_id
            end as conversation_run_id,
            coalesce(named.span_id, span.id) as span_id,
            coalesce(named.id, answered.id) as message_id,
            case when named.id is not null then named.session_id when run.id is not null then run.session_id
                when answered.id is not null then answered.session_id else above.session_id end as session_id,
            case when named.id is not null then named.tenant_id when run.id is not null then run.tenant_id
                when answered.id is not null then answered.tenant_id else above.tenant_id end as tenant_id,
            case when named.id is not null then named.user_id when run.id is not null then run.user_id
                when answered.id is not null then answered.user_id else above.user_id end as user_id,
            case
                when named.id is not null then named.is_internal or named.role not in ('user', 'assistant')
                when run.id is not null then false when answered.id is not null then answered.is_internal else true
            end as is_internal
    ) t
    where f.id = any (feedback_ids)
$function$;

--: function public.chopsky_feedback_version(moment timestamp with time zone)
CREATE OR REPLACE FUNCTION public.chopsky_feedback_version(moment timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO ''
AS $function$
    select lpad((extract(epoch from moment) * 1000000)::bigint::text, 17, '0') || '000-hand'
$function$;

--: function public.chopsky_fill_messages(keys uuid[], bodies uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_fill_messages(keys uuid[], bodies uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    -- Nearly always there is no such row.
    if not exists (
        select 1 from public.conversation_messages m
        where m.session_key = any (keys)
            and m.body_id is not null and m.content is null and m.parts is null and m.tool_calls is null
    ) then
        return;
    end if;
    update public.conversation_messages m
    set role = b.role, content = b.content, parts = b.parts, tool_calls = b.tool_calls, tool_call_id = b.tool_call_id,
        name = b.name, metadata = b.metadata, cost = coalesce(m.cost, case when m.is_history and b.role <> 'assistant' then 0 end)
    from (select distinct p.session_key, p.body_id from unnest(keys, bodies) as p (session_key, body_id)) p
    cross join lateral (
        select o.role, o.content, o.parts, o.tool_calls, o.tool_call_id, o.name, o.metadata
        from public.conversation_messages o
        where o.session_key = p.session_key and o.body_id = p.body_id and num_nonnulls(o.content, o.parts, o.tool_calls) > 0
            -- Not as an application wrote it: what the source knows comes with its records.
            and o.conversation_run_id is not null
        limit 1
    ) b
    where m.session_key = p.session_key and m.body_id = p.body_id and num_nonnulls(m.content, m.parts, m.tool_calls) = 0;
end
$function$;

--: function public.chopsky_follow_message(run_id uuid, place integer, said_at timestamp with time zone, provider text, model text)
CREATE OR REPLACE FUNCTION public.chopsky_follow_message(run_id uuid, place integer, said_at timestamp with time zone, provider text, model text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    -- The clock may be anybody's.
    said_on constant date := (greatest(least(said_at, '9999-12-31Z'), '0001-01-01Z') at time zone 'UTC')::date;
    run record;
    rated record;
    is_first boolean;
    part record;
    was record;
    -- What of the run is of the message's day, provider and model.
    counted record;
    usage_key uuid;
    rows bigint := 0;
    latest bigint := 0;
    shown bigint := 0;
    asked bigint := 0;
    input numeric;
    output numeric;
    tokens numeric;
    cost numeric;
    timed_calls bigint := 0;
    hand_ms numeric;
    timed_messages bigint := 0;
begin
    select
        r.tenant_id, r.user_id, r.status, r.user_satisfaction_score as satisfaction, r.merged or r.totals_by_hand as is_other,
        r.unpriced_calls > 0 or r.unmeasured_calls > 0 as has_calls
    into run
    from public.conversation_runs r where r.id = run_id for no key update skip locked;
    if not found or run.is_other then
        return false;
    end if;
    select a.user_engagement_score as score, 'user_engagement_score' = any (a.scores_by_hand) as stands into rated
    from public.conversation_analytics a where a.conversation_run_id = run_id;
    is_first := not found;
    -- Of a run of an application's own its messages are all there is.
    if is_first and (
        run.has_calls or exists (select 1 from public.conversation_spans s where s.conversation_run_id = run_id)
    ) then
        return false;
    end if;
    for part in
        select
            g.is_counted, sum(g.call) as calls, sum(g.input_tokens) as input_tokens, sum(g.output_tokens) as output_tokens,
            sum(g.total_tokens) as total_tokens, sum(g.cost) as total_cost,
            count(*) filter (where g.is_charged and g.cost is null) as unpriced_calls,
            count(*) filter (where g.is_charged and g.total_tokens is null) as unmeasured_calls,
            sum(g.response_time_ms) as response_time_ms, count(g.response_time_ms) as timed_calls,
            sum(g.shown) as messages, sum(g.asked) as user_messages, sum(g.answered) as assistant_messages,
            count(g.response_time_ms) filter (where g.kind = 'llm') as timed_models,
            sum(g.response_time_ms) filter (where g.kind is null) as hand_ms,
            count(g.response_time_ms) filter (where g.kind is null) as timed_messages,
            count(*) filter (where g.kind is null) as rows, sum(g.latest) as latest
        from (
            select
                s.kind,
                s.status <> 'active'
                    and (s.provider, coalesce(s.model, s.model_requested)) is not distinct from (chopsky_follow_message.provider, chopsky_follow_message.model)
                    and (greatest(least(coalesce(s.started_at, s.ended_at, s.created_at), '9999-12-31Z'), '0001-01-01Z') at time zone 'UTC')::date = said_on as is_counted,
                1 as call,
                case when s.input_tokens between 0 and 1000000000000000 then s.input_tokens end as input_tokens,
                case when s.output_tokens between 0 and 1000000000000000 then s.output_tokens end as output_tokens,
                case when s.total_tokens between 0 and 1000000000000000 then s.total_tokens end as total_tokens,
                case when s.cost between 0 and 1000000000000 then s.cost end as cost,
                s.ended_at is not null and (s.status <> 'failed' or s.time_to_first_token_ms is not null) as is_charged,
                case when s.response_time_ms between 0 and 9999999999 then s.response_time_ms end as response_time_ms,
                0 as shown, 0 as asked, 0 as answered, 0 as latest
            from public.conversation_spans s
            where s.conversation_run_id = run_id and s.kind in ('llm', 'embedding', 'image') and s.duplicate_of is null
            union all
            select
                null,
                (m.provider, m.model) is not distinct from (chopsky_follow_message.provider, chopsky_follow_message.model)
                    and (greatest(least(m.created_at, '9999-12-31Z'), '0001-01-01Z') at time zone 'UTC')::date = said_on,
                m.is_call::integer, case when m.is_told and m.role <> 'assistant' then m.token_count end,
                case when m.is_told and m.role = 'assistant' then m.token_count end, case when m.is_told then m.token_count end,
                case when m.is_told then m.cost end, m.is_call, case when m.is_told then m.response_time_ms end,
                (not m.is_internal)::integer, (not m.is_internal and m.role = 'user')::integer,
                (not m.is_internal and m.role = 'assistant')::integer, (m.created_at >= said_at)::integer
            from (
                select
                    c.provider, c.model, c.created_at, c.role, c.is_internal, c.token_count, c.cost, c.response_time_ms,
                    c.span_id is null and not c.is_history as is_told,
                    c.span_id is null and not c.is_history and c.role = 'assistant' and num_nonnulls(c.provider, c.model) > 0 as is_call
                from public.conversation_messages c where c.conversation_run_id = run_id
            ) m
        ) g
        group by g.is_counted
    loop
        if part.is_counted then
            counted := part;
        end if;
        rows := rows + part.rows;
        latest := latest + part.latest;
        shown := shown + part.messages;
        asked := asked + part.user_messages;
        input := coalesce(input + part.input_tokens, input, part.input_tokens);
        output := coalesce(output + part.output_tokens, output, part.output_tokens);
        tokens := coalesce(tokens + part.total_tokens, tokens, part.total_tokens);
        cost := coalesce(cost + part.total_cost, cost, part.total_cost);
        timed_calls := timed_calls + part.timed_models;
        hand_ms := coalesce(hand_ms + part.hand_ms, hand_ms, part.hand_ms);
        timed_messages := timed_messages + part.timed_messages;
    end loop;
    -- Not the latest, or somebody wrote another at the same time: then places change.
    if rows <> place or latest <> 1 or counted is null then
        return false;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    update public.conversation_runs r
    set total_messages = shown, total_input_tokens = input, total_output_tokens = output, total_tokens_used = tokens, total_cost = cost,
        average_response_time = case when timed_calls > 0 then r.average_response_time else hand_ms / nullif(timed_messages, 0) end,
        updated_at = now()
    where r.id = run_id;
    if is_first then
        insert into public.conversation_analytics (
            conversation_run_id, completion_rate, user_engagement_score, conversation_quality_score
        )
        values (
            run_id, case run.status when 'completed' then 100 when 'failed' then 0 when 'abandoned' then 0 end, least(10 * asked, 100),
            (run.satisfaction - 1) * 25
        );
    elsif rated.score is distinct from least(10 * asked, 100) and not rated.stands then
        update public.conversation_analytics a set user_engagement_score = least(10 * asked, 100), updated_at = now()
        where a.conversation_run_id = run_id;
    end if;
    perform set_config('chopsky_trace.recompute', 'off', true);

    -- rebuild_usage takes it alone.
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.usage', 0));
    usage_key := public.chopsky_usage_key(said_on, run.tenant_id, run.user_id, provider, model);
    select c.* into was from public.usage_contributions c where c.owner_id = run_id and c.key = usage_key;
    insert into public.usage_contributions as c (
        owner_id, key, day, tenant_id, user_id, provider, model, calls, input_tokens, output_tokens, total_tokens,
        total_cost, unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages,
        assistant_messages
    )
    values (
        run_id, usage_key, said_on, run.tenant_id, run.user_id, chopsky_follow_message.provider, chopsky_follow_message.model,
        counted.calls, counted.input_tokens, counted.output_tokens, counted.total_tokens, counted.total_cost,
        counted.unpriced_calls, counted.unmeasured_calls, counted.response_time_ms, counted.timed_calls,
        counted.messages, counted.user_messages, counted.assistant_messages
    )
    on conflict (owner_id, key) do update
    set (
        calls, input_tokens, output_tokens, total_tokens, total_cost, unpriced_calls, unmeasured_calls, response_time_ms,
        timed_calls, messages, user_messages, assistant_messages
    ) = (
        excluded.calls, excluded.input_tokens, excluded.output_tokens, excluded.total_tokens, excluded.total_cost,
        excluded.unpriced_calls, excluded.unmeasured_calls, excluded.response_time_ms, excluded.timed_calls,
        excluded.messages, excluded.user_messages, excluded.assistant_messages
    );
    perform public.chopsky_add_usage(array[row(
        usage_key, said_on, run.tenant_id, run.user_id, provider, model, 1 - num_nonnulls(was.key),
        array[
            num_nonnulls(counted.input_tokens) - num_nonnulls(was.input_tokens),
            num_nonnulls(counted.output_tokens) - num_nonnulls(was.output_tokens),
            num_nonnulls(counted.total_tokens) - num_nonnulls(was.total_tokens), 0, 0, 0,
            num_nonnulls(counted.total_cost) - num_nonnulls(was.total_cost),
            num_nonnulls(counted.response_time_ms) - num_nonnulls(was.response_time_ms)
        ],
        counted.calls - coalesce(was.calls, 0), 0,
        case when num_nonnulls(counted.input_tokens, was.input_tokens) > 0 then coalesce(counted.input_tokens, 0) - coalesce(was.input_tokens, 0) end,
        case when num_nonnulls(counted.output_tokens, was.output_tokens) > 0 then coalesce(counted.output_tokens, 0) - coalesce(was.output_tokens, 0) end,
        case when num_nonnulls(counted.total_tokens, was.total_tokens) > 0 then coalesce(counted.total_tokens, 0) - coalesce(was.total_tokens, 0) end,
        null, null, null,
        case when num_nonnulls(counted.total_cost, was.total_cost) > 0 then coalesce(counted.total_cost, 0) - coalesce(was.total_cost, 0) end,
        counted.unpriced_calls - coalesce(was.unpriced_calls, 0),
        counted.unmeasured_calls - coalesce(was.unmeasured_calls, 0),
        case when num_nonnulls(counted.response_time_ms, was.response_time_ms) > 0 then coalesce(counted.response_time_ms, 0) - coalesce(was.response_time_ms, 0) end,
        counted.timed_calls - coalesce(was.timed_calls, 0), counted.messages - coalesce(was.messages, 0),
        counted.user_messages - coalesce(was.user_messages, 0),
        counted.assistant_messages - coalesce(was.assistant_messages, 0)
    )::public.usage_metrics], false, true);
    return true;
end
$function$;

--: function public.chopsky_forget_usage(user_id text, tenant_id text)
CREATE OR REPLACE FUNCTION public.chopsky_forget_usage(user_id text, tenant_id text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
    named public.usage_metrics[];
    nameless public.usage_metrics[];
begin
    -- Alone: others add to these rows in an order of their own.
    perform pg_advisory_xact_lock(hashtextextended('chopsky_trace.usage', 0));
    with taken as (
        delete from public.usage_kept k
        where k.user_id = chopsky_forget_usage.user_id
            and (chopsky_forget_usage.tenant_id is null or k.tenant_id = chopsky_forget_usage.tenant_id)
        returning k.*
    )
    select
        array_agg(row(
            t.key, t.day, t.tenant_id, t.user_id, t.provider, t.model, -t.contributions,
            array(select -u.n from unnest(t.known) with ordinality u (n, place) order by u.place), -t.calls, -t.failed_calls,
            -t.input_tokens, -t.output_tokens, -t.total_tokens, -t.cache_read_tokens, -t.cache_write_tokens, -t.reasoning_tokens,
            -t.total_cost, -t.unpriced_calls, -t.unmeasured_calls, -t.response_time_ms, -t.timed_calls, -t.messages,
            -t.user_messages, -t.assistant_messages
        )::public.usage_metrics),
        array_agg(row(
            public.chopsky_usage_key(t.day, t.tenant_id, null, t.provider, t.model), t.day, t.tenant_id, null, t.provider, t.model,
            t.contributions, t.known, t.calls, t.failed_calls, t.input_tokens, t.output_tokens, t.total_tokens,
            t.cache_read_tokens, t.cache_write_tokens, t.reasoning_tokens, t.total_cost, t.unpriced_calls, t.unmeasured_calls,
            t.response_time_ms, t.timed_calls, t.messages, t.user_messages, t.assistant_messages
        )::public.usage_metrics)
    into named, nameless
    from taken t;
    if named is null then
        return 0;
    end if;
    perform public.chopsky_add_usage(nameless, true, true);
    perform public.chopsky_add_usage(named, false, true);
    return cardinality(named);
end
$function$;

--: function public.chopsky_give_way(began timestamp with time zone, patience interval, what text)
CREATE OR REPLACE FUNCTION public.chopsky_give_way(began timestamp with time zone, patience interval, what text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    if clock_timestamp() > began + patience then
        raise exception 'Somebody else is at the same %', what
            using errcode = 'lock_not_available', hint = 'Nothing was changed. Try again.';
    end if;
    perform pg_sleep(0.005);
end
$function$;

--: function public.chopsky_going_runs(what text, due uuid[], tried uuid[], older_than interval, tenant_id text)
CREATE OR REPLACE FUNCTION public.chopsky_going_runs(what text, due uuid[], tried uuid[], older_than interval, tenant_id text)
 RETURNS uuid[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET plan_cache_mode TO 'force_custom_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    keys constant uuid[] := array(
        select distinct r.session_key from public.conversation_runs r where r.id = any (due) and r.session_id is not null
    );
    going uuid[];
begin
    if keys = '{}' then
        return '{}';
    end if;
    going := array(
        select d from public.chopsky_due_runs(what, 9000000000000000, older_than, chopsky_going_runs.tenant_id, keys) d
        where d <> all (tried)
    );
    return case when what <> 'runs' then going else going || array(
        select distinct r.id
        from public.conversation_runs r
        join public.conversation_spans o on o.conversation_run_id = r.id
        join public.conversation_spans s on s.id = o.duplicate_of and s.conversation_run_id = any (going) and s.told is not null
        where r.session_key = any (keys) and r.merged
    ) end;
end
$function$;

--: function public.chopsky_hand_over(leaving uuid[], going uuid[], OUT heirs uuid[], OUT messages integer, OUT passing integer)
CREATE OR REPLACE FUNCTION public.chopsky_hand_over(leaving uuid[], going uuid[], OUT heirs uuid[], OUT messages integer, OUT passing integer)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    session record;
    staying uuid[];
    stays boolean;
    named uuid[];
    named_yet uuid[];
    given integer;
begin
    heirs := '{}';
    messages := 0;
    passing := 0;
    for session in
        select r.session_key as key, array_agg(r.id) as leaving
        from public.conversation_runs r
        where r.id = any (chopsky_hand_over.leaving) and r.session_id is not null
        group by r.session_key order by r.session_key
    loop
        staying := array(
            select r.id from public.conversation_runs r
            where r.session_key = session.key and r.id <> all (chopsky_hand_over.leaving)
                and r.content_removed is distinct from 'messages'
            order by r.id = any (chopsky_hand_over.going), coalesce(r.started_at, r.created_at), r.id
        );
        continue when staying = '{}';
        stays := staying[1] <> all (chopsky_hand_over.going);
        named := array(
            select n from public.chopsky_named_ids(array(select u from unnest(staying) u where u <> all (chopsky_hand_over.going))) n
        );
        named_yet := array(
            select n from public.chopsky_named_ids(array(select u from unnest(staying) u where u = any (chopsky_hand_over.going))) n
        );
        continue when named = '{}' and named_yet = '{}';
        with moved as materialized (
            insert into public.conversation_messages as o (
                id, body_id, conversation_run_id, session_id, tenant_id, user_id, role, content, parts, tool_calls, tool_call_id,
                name, is_internal, token_count, token_count_source, cost, model, provider, metadata, session_key, is_history,
                occurrence, position, created_at
            )
            select
                md5(staying[1]::text || m.body_id::text || p.occurrence::text)::uuid, m.body_id, staying[1], m.session_id, m.tenant_id,
                m.user_id, m.role, m.content, m.parts, m.tool_calls, m.tool_call_id, m.name, true, m.token_count,
                m.token_count_source, 0, m.model, m.provider, m.metadata, m.session_key, true, p.occurrence, m.position, m.created_at
            from (
                select l.*, row_number() over (partition by l.body_id, l.is_history order by l.created_at, l.id) - 1 as place
                from public.conversation_messages l
                where l.conversation_run_id = any (session.leaving) and num_nonnulls(l.content, l.parts, l.tool_calls) > 0
                    and (l.body_id = any (named) or (l.body_id = any (named_yet) and not exists (
                        select 1 from public.conversation_messages k
                        where k.session_key = session.key and k.body_id = l.body_id and k.conversation_run_id = any (staying)
                            and num_nonnulls(k.content, k.parts, k.tool_calls) > 0
                    )))
            ) m
            -- Its place among the session's equal messages: after those that stay.
            cross join lateral (
                select (case when m.is_history then m.occurrence else m.place + (
                    select count(*) from public.conversation_messages k
                    where k.session_key = session.key and k.body_id = m.body_id and not k.is_history
                        and k.conversation_run_id <> all (session.leaving)
                ) end)::integer as occurrence
            ) p
            order by 1
            on conflict (id) do nothing
            returning o.parts, o.tool_calls
        ), inside as (
            select (f.found)[1]::uuid as id
            from moved m
            cross join lateral regexp_matches(concat_ws(' ', m.parts, m.tool_calls), '"([0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12})"', 'g') f (found)
            where concat_ws(' ', m.parts, m.tool_calls) like '%{"$%'
        ), deeper as (
            select i.id from inside i
            union
            select (f.found)[1]::uuid
            from inside i
            join public.conversation_contents c on c.id = i.id and c.conversation_run_id = any (session.leaving)
            cross join lateral regexp_matches(c.document::text, '"([0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12})"', 'g') f (found)
        ), kept as (
            insert into public.conversation_contents as o (
                conversation_run_id, id, kind, text, document, media_type, size_bytes, data, created_at
            )
            select distinct on (c.id)
                staying[1], c.id, c.kind, c.text, c.document, c.media_type, c.size_bytes, c.data, c.created_at
            from public.conversation_contents c
            where c.conversation_run_id = any (session.leaving)
                and (c.id in (select d.id from deeper d) or (c.kind = 'media' and (
                    c.id = any (named) or (c.id = any (named_yet) and not exists (
                        select 1 from public.conversation_contents k
                        where k.conversation_run_id = any (staying) and k.id = c.id and (k.data is not null or c.data is null)
                    ))
                )))
            order by c.id, c.data is null, c.conversation_run_id
            on conflict (conversation_run_id, id) do update set data = excluded.data
            where o.data is null and excluded.data is not null
        )
        select count(*) into given from moved;
        if given > 0 then
            heirs := heirs || staying[1];
            messages := messages + case when stays then given else 0 end;
            passing := passing + case when stays then 0 else given end;
        end if;
    end loop;
end
$function$;

--: function public.chopsky_import(lines json)
CREATE OR REPLACE FUNCTION public.chopsky_import(lines json)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
declare
    counts jsonb := '{"runs": 0, "present": 0, "refused": 0, "sessions": 0, "spans": 0, "messages": 0, "contents": 0, "prefixes": 0, "feedback": 0, "profiles": 0}';
    line json;
    run_id uuid;
    session json;
    said json;
    rated json;
    profiles json;
    others bigint;
    unsaid bigint;
    unrated bigint;
    unknown bigint;
    written jsonb;
    fresh uuid[] := '{}';
    -- Of each of these: what was written with it, and what its prompts begin with.
    of_runs jsonb[] := '{}';
    begun json[] := '{}';
    -- Sessions: that were not here, and that came on a line of their own.
    made uuid[] := '{}';
    alone uuid[] := '{}';
    said_ids uuid[] := '{}';
    keys uuid[] := '{}';
    given_ids uuid[] := '{}';
    refused uuid[];
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.erase', 0));
    perform set_config('chopsky_trace.recompute', 'on', true);
    perform pg_advisory_xact_lock(k.key)
    from (
        select distinct hashtextextended(coalesce(e -> 'run' ->> 'session_id', e -> 'session' ->> 'session_id'), 0) as key
        from json_array_elements(lines) e order by 1
    ) k
    where k.key is not null;
    for line in
        select e from json_array_elements(lines) e order by (e -> 'run' ->> 'id')::uuid nulls last
    loop
        run_id := (line -> 'run' ->> 'id')::uuid;
        session := case when json_typeof(line -> 'session') = 'object' then line -> 'session' end;
        select k.kept, k.refused into said, unsaid from public.chopsky_keep_imported(line -> 'messages') k;
        select k.kept, k.refused into rated, unrated from public.chopsky_keep_imported(line -> 'feedback') k;
        select k.kept, k.refused into profiles, unknown from public.chopsky_keep_imported(line -> 'profiles') k;
        if session is not null then
            select k.refused into others from public.chopsky_keep_imported(json_build_array(session)) k;
            if others = 0 then
                if public.chopsky_import_rows('conversation_sessions', json_build_array(session)) > 0 then
                    made := made || (session ->> 'id')::uuid;
                end if;
                if run_id is null then
                    alone := alone || (session ->> 'id')::uuid;
                end if;
            elsif run_id is null then
                counts := public.chopsky_add_counts(counts, jsonb_build_object(
                    'refused', 1 + case json_typeof(line -> 'messages') when 'array' then json_array_length(line -> 'messages') else 0 end
                ));
                continue;
            end if;
        end if;
        if run_id is not null and public.chopsky_import_rows('conversation_runs', json_build_array(line -> 'run')) = 0 then
            counts := public.chopsky_add_counts(counts, '{"present": 1}');
            continue;
        end if;
        if run_id is not null then
            fresh := fresh || run_id;
            keys := keys || array(select r.session_key from public.conversation_runs r where r.id = run_id and r.session_id is not null);
            perform public.chopsky_import_rows('conversation_analytics', json_build_array(line -> 'analytics'))
            where json_typeof(line -> 'analytics') = 'object';
        else
            if session is null then
                given_ids := given_ids || array(
                    select (e ->> 'id')::uuid from json_array_elements(case json_typeof(rated) when 'array' then rated else '[]' end) e
                    where not exists (select 1 from public.conversation_feedback f where f.id = (e ->> 'id')::uuid)
                );
            end if;
            said_ids := said_ids || array(
                select (m ->> 'id')::uuid from json_array_elements(case json_typeof(said) when 'array' then said else '[]' end) m
            );
        end if;
        written := jsonb_build_object(
            'runs', case when run_id is null then 0 else 1 end,
            'refused', unsaid + unrated + unknown,
            'spans', public.chopsky_import_rows('conversation_spans', line -> 'spans'),
            'messages', public.chopsky_import_rows('conversation_messages', said),
            'contents', public.chopsky_import_rows('conversation_contents', line -> 'contents'),
            'feedback', public.chopsky_import_rows('conversation_feedback', rated),
            'profiles', public.chopsky_import_rows('user_profiles', profiles)
        );
        if run_id is null then
            counts := public.chopsky_add_counts(counts, written);
        else
            of_runs := array_append(of_runs, written);
            begun := array_append(begun, line -> 'prefixes');
        end if;
    end loop;
    refused := public.chopsky_refuse_runs(fresh);
    for place in 1 .. cardinality(fresh) loop
        -- With a run that is refused goes all that came with it.
        counts := public.chopsky_add_counts(counts, case when fresh[place] = any (refused) then '{"refused": 1}' else
            of_runs[place] || jsonb_build_object('prefixes', public.chopsky_import_rows('conversation_prefixes', begun[place]))
        end);
    end loop;
    fresh := array(select u from unnest(fresh) u where u <> all (refused));
    delete from public.conversation_sessions s
    where s.id = any (made) and s.id <> all (alone)
        and not exists (select 1 from public.conversation_runs r where r.session_key = s.session_key)
        and not exists (select 1 from public.conversation_messages m where m.session_key = s.session_key);
    perform public.chopsky_settle_sessions(array(select distinct u from unnest(keys) u));
    if fresh <> '{}' or given_ids <> '{}' then
        unrated := public.chopsky_settle_imported_feedback(given_ids || array(
            -- It may have waited here for what comes now.
            select f.id from public.conversation_feedback f where f.is_pending and f.about_id = any (fresh || said_ids)
        ));
        counts := public.chopsky_add_counts(counts, jsonb_build_object('feedback', -unrated, 'refused', unrated));
    end if;
    if to_regprocedure('public.chopsky_count_usage(uuid[])') is not null then
        execute 'select public.chopsky_count_usage($1)' using fresh || said_ids;
    end if;
    perform set_config('chopsky_trace.recompute', 'off', true);
    return public.chopsky_add_counts(counts, jsonb_build_object(
        'sessions', (select count(*) from public.conversation_sessions s where s.id = any (made))
    ));
end
$function$;

--: function public.chopsky_import_rows(table_name text, rows json)
CREATE OR REPLACE FUNCTION public.chopsky_import_rows(table_name text, rows json)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    columns text;
    written bigint;
begin
    if rows is null or json_typeof(rows) <> 'array' or to_regclass('public.' || quote_ident(table_name)) is null then
        return 0;
    end if;
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) into columns
    from pg_catalog.pg_attribute a
    where a.attrelid = to_regclass('public.' || quote_ident(table_name)) and a.attnum > 0 and not a.attisdropped and a.attgenerated = '';
    execute format(
        'insert into public.%1$I (%2$s) select %2$s from json_populate_recordset(null::public.%1$I, $1) on conflict do nothing',
        table_name, columns
    ) using rows;
    get diagnostics written = row_count;
    return written;
end
$function$;

--: function public.chopsky_ingest(payload json)
CREATE OR REPLACE FUNCTION public.chopsky_ingest(payload json)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    batch record;
    run_ids uuid[];
    late uuid[];
    fresh uuid[];
    -- Runs whose messages all have their places.
    placed uuid[] := '{}';
    joined uuid[];
    lost uuid[] := '{}';
    merged uuid[];
    turns uuid[];
    touched uuid[];
    stubs uuid[];
    keys uuid[];
    bodies uuid[];
    refused uuid[];
begin
    perform set_config('chopsky_trace.recompute', 'on', true);
    -- Once: every further look into the payload would read all of it again.
    select
        p.runs, p.spans, p.messages, p.contents, p.prefixes, p.copied, p.feedback,
        coalesce(p.turns, '{}') as turns, coalesce(p.opened, false) as opened, coalesce(p.scoped, false) as scoped, coalesce(p.link, false) as link
    into batch
    from json_to_record(payload) as p (
        runs json, spans json, messages json, contents json, prefixes json, copied json, feedback json, turns uuid[], opened boolean, scoped boolean, link boolean
    );
    if batch.opened then
        select
            coalesce(array_agg(r.id), '{}'), coalesce(array_agg(r.id) filter (where r.is_new), '{}'),
            coalesce(array_agg(r.id) filter (where r.is_late), '{}'), coalesce(array_agg(r.id) filter (where r.is_placed), '{}')
        into run_ids, fresh, late, placed
        from json_to_recordset(batch.runs) as r (id uuid, is_new boolean, is_late boolean, is_placed boolean);
    else
        select
            coalesce(array_agg(r.id), '{}'), coalesce(array_agg(r.id) filter (where r.is_new), '{}'),
            coalesce(array_agg(r.id) filter (where r.is_late), '{}')
        into run_ids, fresh, late
        from public.chopsky_open_runs(batch.runs) r;
    end if;

    if json_array_length(batch.spans) > 0 then
        perform public.chopsky_write_spans(batch.spans);
    end if;

    -- Rows of runs whose id is a span's of another run: stubs that a child made before its parent was known.
    stubs := array(
        select r.id
        from public.conversation_runs r
        where r.id = any (array(
            select s.id
            from public.conversation_spans s
            where s.conversation_run_id = any (run_ids) and s.id <> s.conversation_run_id
        ))
    );
    joined := public.chopsky_join_runs(run_ids || stubs);
    -- In a run that is new the batch's own word stands; what was there before may say otherwise. Spans written without
    -- a scope of their own (by hand, over REST) leave the run's as it is.
    if batch.scoped then
        late := late || array(
            select public.chopsky_settle_scope(joined || array(select unnest(run_ids) except select unnest(fresh)))
        );
    end if;
    if late <> '{}' or joined <> '{}' then
        late := late || joined;
        update public.conversation_messages m
        set session_key = r.session_key, session_id = r.session_id, tenant_id = r.tenant_id, user_id = r.user_id
        from public.conversation_runs r
        where r.id = any (late) and m.conversation_run_id = r.id
            and (m.session_key, m.session_id, m.tenant_id, m.user_id) is distinct from (r.session_key, r.session_id, r.tenant_id, r.user_id);
    end if;

    if json_array_length(batch.contents) > 0 then
        perform public.chopsky_write_contents(batch.contents);
    end if;
    if json_array_length(batch.messages) > 0 then
        lost := public.chopsky_write_messages(batch.messages);
    end if;
    if json_array_length(batch.copied) > 0 then
        select array_agg(c.session_key), array_agg(c.body_id) into keys, bodies
        from json_to_recordset(batch.copied) as c (session_key uuid, body_id uuid);
        perform public.chopsky_fill_messages(keys, bodies);
        lost := lost || array(select public.chopsky_settle_messages(keys, bodies));
    end if;
    if late <> '{}' then
        lost := lost || array(
            select public.chopsky_settle_messages(array_agg(m.session_key), array_agg(m.body_id))
            from public.conversation_messages m
            where m.conversation_run_id = any (late) and m.body_id is not null
        );
    end if;

    -- Now that the batch's spans and messages are there: which calls others told of, too.
    merged := public.chopsky_merge_calls(run_ids || joined);
    lost := lost || merged;
    turns := batch.turns || merged;
    if turns <> '{}' then
        lost := lost || array(select public.chopsky_settle_turns(turns));
    end if;

    -- Late records of what was erased.
    refused := public.chopsky_refuse_runs(run_ids || joined);
    if refused <> '{}' then
        run_ids := array(select u from unnest(run_ids) u where u <> all (refused));
        joined := array(select u from unnest(joined) u where u <> all (refused));
        lost := array(select u from unnest(lost) u where u <> all (refused));
    end if;

    -- The batch's own runs are locked.
    perform 1 from public.conversation_runs r where r.id = any (joined || lost) order by r.id for no key update;
    touched := array(select distinct u from unnest(run_ids || joined || lost) u where u is not null);
    -- By hash: to compare each with all takes longer than much of the rest.
    perform public.chopsky_recompute(
        touched, array(select unnest(touched) except (select unnest(placed) except select unnest(joined || lost)))
    );
    perform public.chopsky_pair_runs(touched);
    -- Also where a start, or the session, of one of the two is all that this batch brings.
    if batch.link or exists (
        select 1 from public.conversation_runs r
        where r.id = any (run_ids || joined)
            and (r.status = 'interrupted' or r.metadata ? 'resume' or r.resumes is not null or r.resumed_at is not null)
    ) then
        perform public.chopsky_link_resumed(run_ids || joined);
    end if;
    perform public.chopsky_settle_sessions(array(
        select distinct r.session_key from public.conversation_runs r where r.id = any (touched) and r.session_id is not null
    ));
    -- Late, in order: sessions share these rows, and who waits for one must hold nothing that its writer still wants.
    if json_array_length(batch.prefixes) > 0 then
        perform public.chopsky_write_prefixes(batch.prefixes);
    end if;
    if json_array_length(batch.feedback) > 0 then
        perform public.chopsky_write_feedback(batch.feedback);
    end if;
    perform public.chopsky_settle_feedback(touched);
    -- After everything else, for all writers meet at these rows; also what a run that joined another had.
    perform public.chopsky_count_usage(touched || stubs || refused);
    perform set_config('chopsky_trace.recompute', 'off', true);
    perform set_config('chopsky_trace.patience', '', true);
    return jsonb_build_object('runs', cardinality(run_ids), 'joined', cardinality(joined), 'refused', cardinality(refused));
end
$function$;

--: function public.chopsky_join_runs(candidates uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_join_runs(candidates uuid[])
 RETURNS uuid[]
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    pair record;
    joined uuid[] := '{}';
begin
    loop
        select s.id, s.conversation_run_id into pair
        from public.conversation_spans s
        join public.conversation_runs r on r.id = s.id
        where s.id = any (candidates) and s.conversation_run_id <> s.id
        order by s.id
        limit 1;
        exit when not found;
        -- Whoever still writes to one of the two holds its row: what they write must be seen, and moves too.
        perform 1 from public.conversation_runs r
        where r.id in (pair.id, pair.conversation_run_id) order by r.id for update;
        update public.conversation_spans set conversation_run_id = pair.conversation_run_id
        where conversation_run_id = pair.id;
        update public.conversation_messages m
        set conversation_run_id = r.id, session_key = r.session_key, session_id = r.session_id, tenant_id = r.tenant_id, user_id = r.user_id
        from public.conversation_runs r
        where r.id = pair.conversation_run_id and m.conversation_run_id = pair.id;
        insert into public.conversation_contents (
            conversation_run_id, id, kind, text, document, media_type, size_bytes, data, created_at
        )
        select pair.conversation_run_id, c.id, c.kind, c.text, c.document, c.media_type, c.size_bytes, c.data, c.created_at
        from public.conversation_contents c where c.conversation_run_id = pair.id order by c.id
        on conflict (conversation_run_id, id) do nothing;
        delete from public.conversation_runs where id = pair.id;
        joined := joined || pair.conversation_run_id;
    end loop;
    return joined;
end
$function$;

--: function public.chopsky_keep_imported(rows json, OUT kept json, OUT refused bigint)
CREATE OR REPLACE FUNCTION public.chopsky_keep_imported(rows json, OUT kept json, OUT refused bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    kept := rows;
    refused := 0;
    if rows is null or json_typeof(rows) <> 'array' or not exists (select 1 from public.conversation_tombstones t where t.kind = 'person') then
        return;
    end if;
    with given as materialized (
        select
            e.item, e.place, e.item ->> 'user_id' as user_id, e.item ->> 'given_by' as given_by, e.item ->> 'tenant_id' as tenant_id,
            (e.item ->> 'created_at')::timestamptz as created_at, (e.item ->> 'session_key')::uuid as session_key
        from json_array_elements(rows) with ordinality e (item, place)
    ), erased as materialized (
        select p.user_id, p.tenant_id, max(t.erased_at) as at
        from (select g.user_id, g.tenant_id from given g union select g.given_by, g.tenant_id from given g) p
        join public.conversation_tombstones t on t.hash in (
            public.chopsky_tombstone('person', p.user_id), public.chopsky_tombstone('person', p.user_id, p.tenant_id)
        )
        group by 1, 2
    ), judged as (
        select g.item, g.place, exists (
            select 1 from erased e
            where e.user_id in (g.user_id, g.given_by) and e.tenant_id is not distinct from g.tenant_id and g.created_at < e.at
        ) and not exists (
            select 1 from public.conversation_sessions s where s.session_key = g.session_key and s.legal_hold
        ) as is_refused
        from given g
    )
    select coalesce(json_agg(j.item order by j.place) filter (where not j.is_refused), '[]'), count(*) filter (where j.is_refused)
    into kept, refused
    from judged j;
end
$function$;

--: function public.chopsky_keep_usage(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_keep_usage(run_ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    deltas public.usage_metrics[];
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.usage', 0));
    with moved as (
        delete from public.usage_contributions c where c.owner_id = any (run_ids) returning c.*
    ), delta as (
        select
            c.key, c.day, c.tenant_id, c.user_id, c.provider, c.model, count(*) as contributions,
            array[
                count(c.input_tokens), count(c.output_tokens), count(c.total_tokens), count(c.cache_read_tokens),
                count(c.cache_write_tokens), count(c.reasoning_tokens), count(c.total_cost), count(c.response_time_ms)
            ] as known,
            sum(c.calls)::bigint as calls, sum(c.failed_calls)::bigint as failed_calls,
            sum(c.input_tokens)::bigint as input_tokens, sum(c.output_tokens)::bigint as output_tokens,
            sum(c.total_tokens)::bigint as total_tokens, sum(c.cache_read_tokens)::bigint as cache_read_tokens,
            sum(c.cache_write_tokens)::bigint as cache_write_tokens, sum(c.reasoning_tokens)::bigint as reasoning_tokens,
            sum(c.total_cost) as total_cost, sum(c.unpriced_calls)::bigint as unpriced_calls,
            sum(c.unmeasured_calls)::bigint as unmeasured_calls, sum(c.response_time_ms) as response_time_ms,
            sum(c.timed_calls)::bigint as timed_calls, sum(c.messages)::bigint as messages,
            sum(c.user_messages)::bigint as user_messages, sum(c.assistant_messages)::bigint as assistant_messages
        from moved c
        group by c.key, c.day, c.tenant_id, c.user_id, c.provider, c.model
    )
    select array_agg(row(d.*)::public.usage_metrics) into deltas from delta d;
    if deltas is not null then
        perform public.chopsky_add_usage(deltas, true, false);
    end if;
end
$function$;

--: function public.chopsky_link_resumed(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_link_resumed(run_ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    with run as materialized (
        select r.id, r.session_key, r.started_at, r.status = 'interrupted' as interrupted, r.metadata ? 'resume' as resuming
        from public.conversation_runs r
        where r.session_key in (
                select g.session_key from public.conversation_runs g where g.id = any (run_ids) and g.session_id is not null
            )
            and (r.status = 'interrupted' or r.metadata ? 'resume' or r.resumes is not null or r.resumed_at is not null)
    ), linked as materialized (
        select n.id, n.started_at, case when n.resuming then (
            select c.id from run c
            where c.session_key = n.session_key and c.interrupted and c.started_at < n.started_at
            order by c.started_at desc, c.id desc limit 1
        ) end as resumes
        from run n
    ), derived as (
        select l.id, l.resumes, (select min(n.started_at) from linked n where n.resumes = l.id) as resumed_at
        from linked l
    )
    update public.conversation_runs r
    set resumes = d.resumes, resumed_at = d.resumed_at
    from derived d
    where r.id = d.id and (r.resumes, r.resumed_at) is distinct from (d.resumes, d.resumed_at);
end
$function$;

--: function public.chopsky_lock_feedback(feedback_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_lock_feedback(feedback_ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    began constant timestamptz := clock_timestamp();
    wanted record;
begin
    -- One after the other, in order: who tries for the same waits with nothing that the first still wants.
    for wanted in
        select f.id as key from public.conversation_feedback f where f.id = any (feedback_ids) order by f.id
    loop
        loop
            perform 1 from public.conversation_feedback f where f.id = wanted.key for update skip locked;
            exit when found or not exists (select 1 from public.conversation_feedback f where f.id = wanted.key);
            perform public.chopsky_give_way(began, public.chopsky_patience('6 seconds'), 'feedback');
        end loop;
    end loop;
end
$function$;

--: function public.chopsky_lock_runs(run_ids uuid[], patience interval)
CREATE OR REPLACE FUNCTION public.chopsky_lock_runs(run_ids uuid[], patience interval DEFAULT '00:00:01'::interval)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    began constant timestamptz := clock_timestamp();
    wanted record;
begin
    -- One after the other, in order: who tries for the same waits with nothing that the first still wants.
    for wanted in
        select r.id as key from public.conversation_runs r where r.id = any (run_ids) order by r.id
    loop
        loop
            perform 1 from public.conversation_runs r where r.id = wanted.key for no key update skip locked;
            exit when found or not exists (select 1 from public.conversation_runs r where r.id = wanted.key);
            perform public.chopsky_give_way(began, patience, 'conversation run');
        end loop;
    end loop;
end
$function$;

--: function public.chopsky_lock_sessions(keys uuid[], patience interval)
CREATE OR REPLACE FUNCTION public.chopsky_lock_sessions(keys uuid[], patience interval DEFAULT '00:00:01'::interval)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    began constant timestamptz := clock_timestamp();
    wanted record;
begin
    -- One after the other, in order: who tries for the same waits with nothing that the first still wants.
    for wanted in
        select s.session_key as key from public.conversation_sessions s where s.session_key = any (keys) order by s.session_key
    loop
        loop
            perform 1 from public.conversation_sessions s where s.session_key = wanted.key for no key update skip locked;
            exit when found or not exists (select 1 from public.conversation_sessions s where s.session_key = wanted.key);
            perform public.chopsky_give_way(began, public.chopsky_patience(patience), 'session');
        end loop;
    end loop;
end
$function$;

--: function public.chopsky_lock_usage(owner_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_lock_usage(owner_ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.usage', 0));
    perform 1 from public.usage_metrics m
    where m.key in (select c.key from public.usage_contributions c where c.owner_id = any (owner_ids))
    order by m.key for update;
    perform 1 from public.usage_totals t
    where t.key in (
        select public.chopsky_usage_key(c.day, c.tenant_id, null, c.provider, c.model)
        from public.usage_contributions c where c.owner_id = any (owner_ids)
    )
    order by t.key for update;
end
$function$;

--: function public.chopsky_merge_calls(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_merge_calls(run_ids uuid[])
 RETURNS uuid[]
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    -- Calls that this transaction wrote, or whose run it did: a row's age in transactions is then 0, or less in one within.
    fresh uuid[];
    calls uuid[];
    parents uuid[];
    seeds uuid[];
    members uuid[];
    locked uuid[] := run_ids;
    further uuid[];
    owners uuid[];
    places integer[];
    sums boolean[];
    changed uuid[];
begin
    -- What a later end replaced is told by its columns again.
    update public.conversation_spans s
    set told = jsonb_build_object('end_version', s.end_version, 'rows', coalesce(s.told -> 'rows', '[]'))
    where s.conversation_run_id = any (run_ids) and s.told is not null and s.told ->> 'end_version' is distinct from s.end_version;
    -- In one go: with every batch all its runs' spans are read for this.
    select
        coalesce(array_agg(s.id) filter (
            where s.kind in ('llm', 'embedding', 'image') and s.start_version is not null and (
                age(s.xmin) <= 0
                or (select age(r.xmin) from public.conversation_runs r where r.id = s.conversation_run_id) <= 0
            )
        ), '{}'),
        array_agg(s.id) filter (where s.kind in ('llm', 'embedding', 'image')),
        array_agg(s.parent_span_id) filter (where s.parent_span_id is not null)
    into fresh, calls, parents
    from public.conversation_spans s
    where s.conversation_run_id = any (run_ids);
    -- Two writers with one side each: who comes second waits, and sees the other's. Calls with an id wait for that id;
    -- twins by their tokens, where one lacks an id, and only for what could be their twin.
    perform case when k.is_shared then pg_advisory_xact_lock_shared(k.key) else pg_advisory_xact_lock(k.key) end
    from (
        select w.key, bool_and(w.is_shared) as is_shared
        from public.conversation_spans s
        cross join lateral (
            values
                (hashtextextended(s.response_id, 1), false),
                (hashtextextended(s.input_tokens::text, 2), not (s.is_provider and s.response_id is null)),
                (case when s.is_provider or s.response_id is null then hashtextextended(s.input_tokens::text, 3) end, s.is_provider)
        ) w (key, is_shared)
        where s.id = any (fresh) and w.key is not null
        group by w.key order by w.key
    ) k;
    seeds := array(
        with mine as materialized (
            select s.id, s.response_id, s.is_provider, s.input_tokens, s.started_at, s.ended_at
            from public.conversation_spans s where s.id = any (fresh)
        )
        select s.id
        from mine s
        where s.response_id is not null and exists (
            select 1 from public.conversation_spans o
            where hashtextextended(o.response_id, 0) = hashtextextended(s.response_id, 0) and o.response_id is not null and o.id <> s.id
            offset 0
        )
        union
        select s.id
        from mine s
        where not s.is_provider and exists (
            select 1 from public.conversation_spans o
            where o.is_provider and o.kind in ('llm', 'embedding', 'image')
                and coalesce((o.told ->> 'input_tokens')::bigint, o.input_tokens) = s.input_tokens
                and o.started_at between s.started_at - interval '10 milliseconds' and s.ended_at + interval '10 milliseconds'
                and (s.response_id is null or o.response_id is null or o.told is not null)
            offset 0
        )
        union
        select s.id
        from mine s
        where s.is_provider and exists (
            select 1 from public.conversation_spans o
            where not o.is_provider and o.kind in ('llm', 'embedding', 'image')
                and coalesce((o.told ->> 'input_tokens')::bigint, o.input_tokens) = s.input_tokens
                and o.started_at between s.started_at - interval '15 minutes' and s.started_at + interval '10 milliseconds'
                and (s.response_id is null or o.response_id is null or o.told is not null)
            offset 0
        )
        union
        select s.id from public.conversation_spans s where s.conversation_run_id = any (run_ids) and s.told is not null
    );
    -- Nearly no run has a call with anything below it.
    further := array(select unnest(calls) intersect select unnest(parents));
    if further <> '{}' then
        further := array(select distinct s.conversation_run_id from public.conversation_spans s where s.id = any (further));
        seeds := array(
            select unnest(seeds) union select unnest(array[n.id, n.outer_id]) from public.chopsky_nested_calls(further) n
        );
    end if;
    if seeds = '{}' then
        return '{}';
    end if;
    loop
        members := public.chopsky_related_calls(seeds);
        further := array(
            select distinct s.conversation_run_id from public.conversation_spans s
            where s.id = any (members) and s.conversation_run_id <> all (locked)
        );
        exit when further = '{}';
        -- Looked at again once they are ours: others may have written to them meanwhile.
        perform 1 from public.conversation_runs r where r.id = any (further) order by r.id for no key update;
        locked := locked || further;
    end loop;
    select array_agg(d.id order by d.id), array_agg(d.owner_id order by d.id), array_agg(d.place order by d.id), array_agg(d.is_sum order by d.id)
    into members, owners, places, sums
    from public.chopsky_decide_calls(members) d;
    changed := array(select public.chopsky_share_numbers(members, owners, places, sums));
    return changed || array(select public.chopsky_share_messages(members, owners, places));
end
$function$;

--: function public.chopsky_named_ids(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_named_ids(run_ids uuid[])
 RETURNS SETOF uuid
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    return query
    with recursive told (text) as (
        select concat_ws(' ', s.inputs, s.outputs, s.invocation_params, s.metadata, s.end_metadata)
        from public.conversation_spans s where s.conversation_run_id = any (run_ids)
        union all
        select concat_ws(' ', m.parts, m.tool_calls)
        from public.conversation_messages m where m.conversation_run_id = any (run_ids) and num_nonnulls(m.parts, m.tool_calls) > 0
        union all
        select c.document::text
        from public.conversation_contents c where c.conversation_run_id = any (run_ids) and c.document is not null
    ), named (id) as materialized (
        select (f.found)[1]::uuid
        from told t
        cross join lateral regexp_matches(t.text, '"([0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12})"', 'g') f (found)
        where t.text like '%{"$%'
        union
        select unnest(s.prompt_bodies || s.output_bodies || s.prompt_prefix)
        from public.conversation_spans s where s.conversation_run_id = any (run_ids)
    ), node (id, extends, length, bodies) as (
        select p.id, p.extends, p.length, p.bodies from public.conversation_prefixes p join named n on n.id = p.id
        union
        select p.id, p.extends, p.length, p.bodies
        from node n join public.conversation_prefixes p on p.id = n.extends and p.length < n.length
    )
    select n.id from named n where n.id is not null
    union
    select n.id from node n
    union
    select unnest(n.bodies) from node n;
end
$function$;

--: function public.chopsky_nested_calls(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_nested_calls(run_ids uuid[])
 RETURNS TABLE(id uuid, outer_id uuid)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
    with recursive up (id, kind, run_id, next_id, step) as (
        select s.id, s.kind, s.conversation_run_id, s.parent_span_id, 1
        from public.conversation_spans s
        where s.conversation_run_id = any (run_ids) and s.kind in ('llm', 'embedding', 'image')
            and s.start_version is not null and s.parent_span_id is not null
        union all
        select u.id, u.kind, u.run_id, p.parent_span_id, u.step + 1
        from up u
        join public.conversation_spans p on p.id = u.next_id
        where p.conversation_run_id = u.run_id and p.kind not in (u.kind, 'tool') and p.parent_span_id is not null
            -- Parents may form a ring.
            and u.step < 100
    )
    select u.id, p.id
    from up u
    join public.conversation_spans p on p.id = u.next_id
    where p.conversation_run_id = u.run_id and p.kind = u.kind and p.start_version is not null and p.id <> u.id
$function$;

--: function public.chopsky_on_edit_by_hand()
CREATE OR REPLACE FUNCTION public.chopsky_on_edit_by_hand()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    if (new.user_id, new.session_id, new.environment) is distinct from (old.user_id, old.session_id, old.environment) then
        new.scope_by_hand := true;
    end if;
    if (new.total_messages, new.total_tokens_used, new.total_input_tokens, new.total_output_tokens, new.total_cost, new.average_response_time)
        is distinct from
        (old.total_messages, old.total_tokens_used, old.total_input_tokens, old.total_output_tokens, old.total_cost, old.average_response_time)
    then
        new.totals_by_hand := true;
        new.total_tokens_used := coalesce(new.total_tokens_used, new.total_input_tokens + new.total_output_tokens);
    end if;
    new.updated_at := now();
    return new;
end
$function$;

--: function public.chopsky_on_feedback()
CREATE OR REPLACE FUNCTION public.chopsky_on_feedback()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
begin
    if current_setting('chopsky_trace.recompute', true) = 'on' then
        return null;
    end if;
    if tg_op <> 'INSERT' then
        perform public.chopsky_rate_runs(array(
            select distinct p.conversation_run_id from previous p
            where p.key = 'user_satisfaction' and p.conversation_run_id is not null
        ));
    end if;
    if tg_op <> 'DELETE' then
        perform public.chopsky_place_feedback(array(select c.id from changed c));
    end if;
    if tg_op = 'INSERT' then
        if exists (
            select 1 from changed c join public.conversation_feedback f on f.id = c.id where f.is_pending and not c.is_pending
        ) then
            raise exception 'What the feedback is about has just been removed' using errcode = 'foreign_key_violation';
        end if;
    elsif tg_op = 'UPDATE' then
        delete from public.conversation_feedback f
        using changed c where f.id = c.id and f.is_pending and not c.is_pending;
    end if;
    return null;
end
$function$;

--: function public.chopsky_on_feedback_given()
CREATE OR REPLACE FUNCTION public.chopsky_on_feedback_given()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    -- An end user: neither the service nor who is above row level security.
    is_bound constant boolean := row_security_active('public.conversation_feedback')
        and not pg_has_role(current_user, 'service_role', 'usage');
    target record;
begin
    if not is_bound and current_setting('chopsky_trace.recompute', true) = 'on' then
        return new;
    end if;
    new.version := public.chopsky_feedback_version(clock_timestamp());
    if tg_op = 'UPDATE' then
        if coalesce(new.message_id, new.conversation_run_id) is distinct from coalesce(old.message_id, old.conversation_run_id) then
            raise exception 'Feedback stays with what it is about'
                using errcode = 'check_violation', hint = 'Delete it, and give another.';
        end if;
        -- An upsert that names the message only says nothing of its run.
        new.message_id := old.message_id;
        new.conversation_run_id := old.conversation_run_id;
        new.updated_at := now();
        if new.user_id is distinct from old.user_id then
            new.given_by := new.user_id;
        end if;
        if is_bound then
            new.source := 'app';
        end if;
        return new;
    end if;

    new.given_by := coalesce(new.given_by, new.user_id);
    new.about_id := coalesce(new.about_id, new.message_id, new.span_id, new.conversation_run_id);
    if new.about_id is null then
        raise exception 'Feedback is about something: a message_id or a conversation_run_id'
            using errcode = 'not_null_violation';
    end if;
    select m.id, m.conversation_run_id, m.session_id, m.tenant_id, m.user_id, m.is_internal or m.role not in ('user', 'assistant') as is_internal
    into target
    from public.conversation_messages m where m.id = new.about_id;
    if found then
        new.message_id := case when new.answer is null then target.id end;
    else
        select null::uuid, r.id as conversation_run_id, r.session_id, r.tenant_id, r.user_id, false as is_internal
        into target
        from public.conversation_runs r where r.id = new.about_id;
    end if;
    if found then
        new.conversation_run_id := target.conversation_run_id;
        new.session_id := target.session_id;
        new.tenant_id := target.tenant_id;
        new.user_id := coalesce(new.given_by, target.user_id);
        new.is_internal := target.is_internal;
    end if;
    if is_bound and (not found or (target.user_id = (auth.jwt() ->> 'sub')) is not true) then
        raise exception 'There is no such message or conversation run of yours' using errcode = 'insufficient_privilege';
    end if;
    -- Without the target nobody knows yet; the trigger after it looks once more, where nobody is in between.
    new.is_pending := not found;
    return new;
end
$function$;

--: function public.chopsky_on_message_by_hand()
CREATE OR REPLACE FUNCTION public.chopsky_on_message_by_hand()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    run record;
begin
    select
        r.session_key, r.session_id, r.tenant_id, r.user_id,
        -- As if it were the latest; where it is not, or another is written at the same time, chopsky_recompute says what it is.
        coalesce((
            select m.sequence from public.conversation_messages m
            where m.conversation_run_id = new.conversation_run_id order by m.created_at desc, m.sequence desc limit 1
        ), 0) + 1 as place
    into run
    from public.conversation_runs r where r.id = new.conversation_run_id;
    if new.session_key is null and found then
        new.session_key := run.session_key;
        new.session_id := coalesce(new.session_id, run.session_id);
        new.tenant_id := coalesce(new.tenant_id, run.tenant_id);
        new.user_id := coalesce(new.user_id, run.user_id);
    end if;
    new.sequence := run.place;
    return new;
end
$function$;

--: function public.chopsky_on_message_with_feedback_deleted()
CREATE OR REPLACE FUNCTION public.chopsky_on_message_with_feedback_deleted()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
begin
    delete from public.conversation_feedback f
    where f.conversation_run_id is null and f.message_id in (select d.id from gone_messages d where d.conversation_run_id is null);
    return null;
end
$function$;

--: function public.chopsky_on_move_by_hand()
CREATE OR REPLACE FUNCTION public.chopsky_on_move_by_hand()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    lost uuid[];
begin
    if (old.session_key, old.session_id, old.tenant_id, old.user_id) is not distinct from (new.session_key, new.session_id, new.tenant_id, new.user_id) then
        return null;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    update public.conversation_messages m
    set session_key = new.session_key, session_id = new.session_id, tenant_id = new.tenant_id, user_id = new.user_id
    where m.conversation_run_id = new.id;
    lost := array(
        select public.chopsky_settle_messages(array_agg(m.session_key), array_agg(m.body_id))
        from public.conversation_messages m
        where m.conversation_run_id = new.id and m.body_id is not null
    );
    perform public.recompute_runs(array(select distinct u from unnest(lost) u where u is not null));
    perform set_config('chopsky_trace.recompute', 'off', true);
    return null;
end
$function$;

--: function public.chopsky_on_profile()
CREATE OR REPLACE FUNCTION public.chopsky_on_profile()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    new.updated_at := now();
    return new;
end
$function$;

--: function public.chopsky_on_rows()
CREATE OR REPLACE FUNCTION public.chopsky_on_rows()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    touched uuid[];
    others uuid[];
    -- Messages that are in no run.
    loose uuid[] := '{}';
    said record;
begin
    if current_setting('chopsky_trace.recompute', true) = 'on' then
        return null;
    end if;
    if tg_table_name = 'conversation_messages' and tg_op = 'INSERT' then
        select
            c.conversation_run_id as run_id, c.sequence as place, c.created_at as said_at, c.provider, c.model,
            c.span_id is null and not c.is_history and not exists (select 1 from changed o where o.id <> c.id) as is_plain
        into said
        from changed c limit 1;
        if said.is_plain and said.run_id is not null
            and public.chopsky_follow_message(said.run_id, said.place, said.said_at, said.provider, said.model)
        then
            return null;
        end if;
    end if;
    select array_agg(distinct n.conversation_run_id) into touched
    from changed n where n.conversation_run_id is not null;
    if tg_op = 'UPDATE' then
        -- A row that moved to another run leaves the one it was in.
        select array_agg(distinct n.conversation_run_id) into touched
        from (select c.conversation_run_id from changed c union all select p.conversation_run_id from previous p) n
        where n.conversation_run_id is not null;
    end if;
    if tg_table_name = 'conversation_messages' then
        loose := array(select c.id from changed c where c.conversation_run_id is null);
        if tg_op = 'UPDATE' then
            loose := loose || array(select p.id from previous p where p.conversation_run_id is null);
        end if;
    end if;
    if touched is null then
        perform public.chopsky_count_usage(loose);
        return null;
    end if;
    if tg_table_name = 'conversation_spans' and tg_op = 'DELETE' then
        -- A call that others told of, too, is theirs now.
        select array_agg(distinct s.conversation_run_id) into others
        from public.conversation_spans s
        where s.duplicate_of in (select c.id from changed c where c.told is not null);
        if others is not null then
            perform set_config('chopsky_trace.recompute', 'on', true);
            perform public.chopsky_lock_runs(others);
            touched := touched || others || public.chopsky_merge_calls(others);
            perform set_config('chopsky_trace.recompute', 'off', true);
        end if;
    end if;
    -- Nobody else is after a row that is new.
    perform public.chopsky_lock_runs(touched, case tg_op when 'INSERT' then interval '10 seconds' else '1 second' end);
    perform public.chopsky_recompute(touched, touched);
    perform public.chopsky_count_usage(touched || loose);
    return null;
end
$function$;

--: function public.chopsky_on_run_of_feedback()
CREATE OR REPLACE FUNCTION public.chopsky_on_run_of_feedback()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    if tg_op = 'UPDATE' then
        if (old.session_id, old.tenant_id, old.user_id) is not distinct from (new.session_id, new.tenant_id, new.user_id) then
            return null;
        end if;
    end if;
    perform public.chopsky_settle_feedback(array[new.id]);
    return null;
end
$function$;

--: function public.chopsky_on_run_of_session()
CREATE OR REPLACE FUNCTION public.chopsky_on_run_of_session()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    perform public.chopsky_settle_sessions(array_remove(array[
        case when tg_op <> 'INSERT' then old.session_key end, case when tg_op <> 'DELETE' then new.session_key end
    ], null), case tg_op when 'INSERT' then interval '10 seconds' else '1 second' end);
    return null;
end
$function$;

--: function public.chopsky_on_run_with_feedback_deleted()
CREATE OR REPLACE FUNCTION public.chopsky_on_run_with_feedback_deleted()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    gone uuid[];
    found_ids uuid[];
begin
    gone := array(select d.id from gone_runs d);
    found_ids := array(select f.id from public.conversation_feedback f where f.conversation_run_id = any (gone) order by f.id);
    if found_ids = '{}' then
        return null;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    perform public.chopsky_rate_runs(public.chopsky_resolve_feedback(found_ids));
    -- What somebody is changing now they remove themselves (chopsky_on_feedback): they wait for a run that is gone then.
    delete from public.conversation_feedback f where f.id in (
        select o.id from public.conversation_feedback o
        where o.id = any (found_ids) and o.conversation_run_id = any (gone) order by o.id for update skip locked
    );
    perform set_config('chopsky_trace.recompute', was, true);
    return null;
end
$function$;

--: function public.chopsky_on_runs()
CREATE OR REPLACE FUNCTION public.chopsky_on_runs()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    touched uuid[];
    rated uuid[];
begin
    if tg_op = 'DELETE' then
        perform public.chopsky_count_usage(array(select c.id from changed c));
        return null;
    end if;
    -- What scores are made of; a status only where no spans tell another.
    rated := array(
        select c.id
        from changed c
        join previous p on p.id = c.id
        where c.user_satisfaction_score is distinct from p.user_satisfaction_score
            or (c.status <> p.status and not exists (
                select 1 from public.conversation_spans s where s.conversation_run_id = c.id
            ))
        order by c.id
    );
    touched := array(
        select c.id
        from changed c
        join previous p on p.id = c.id
        where (
            c.tenant_id, c.user_id, c.merged, c.totals_by_hand, c.total_input_tokens, c.total_output_tokens, c.total_tokens_used,
            c.total_cost, c.started_at
        ) is distinct from (
            p.tenant_id, p.user_id, p.merged, p.totals_by_hand, p.total_input_tokens, p.total_output_tokens, p.total_tokens_used,
            p.total_cost, p.started_at
        )
    );
    if rated <> '{}' then
        perform public.chopsky_recompute(rated, '{}');
    end if;
    perform public.chopsky_count_usage(touched || rated);
    return null;
end
$function$;

--: function public.chopsky_on_runs_gone()
CREATE OR REPLACE FUNCTION public.chopsky_on_runs_gone()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    perform public.chopsky_settle_sessions(array(
        select distinct r.session_key from gone_runs r where r.session_id is not null
    ));
    return null;
end
$function$;

--: function public.chopsky_on_said_left()
CREATE OR REPLACE FUNCTION public.chopsky_on_said_left()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    back public.conversation_messages;
begin
    if tg_op = 'DELETE' then
        if not exists (select 1 from public.conversation_runs r where r.id = old.conversation_run_id) then
            return null;
        end if;
    elsif not exists (select 1 from public.conversation_sessions s where s.session_key = old.session_key) then
        -- The session itself has another name or owner.
        return null;
    end if;
    if tg_op = 'UPDATE' then
        update public.conversation_messages m set said = null where m.id = old.id;
    end if;
    back := public.chopsky_said_row(old);
    insert into public.conversation_messages select (back).*;
    perform public.chopsky_settle_said(array[back.id]);
    return null;
end
$function$;

--: function public.chopsky_on_scores_by_hand()
CREATE OR REPLACE FUNCTION public.chopsky_on_scores_by_hand()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    new.scores_by_hand := array(
        select v.name
        from (values
            ('completion_rate', new.completion_rate, case when tg_op = 'UPDATE' then old.completion_rate end),
            ('user_engagement_score', new.user_engagement_score, case when tg_op = 'UPDATE' then old.user_engagement_score end),
            ('conversation_quality_score', new.conversation_quality_score, case when tg_op = 'UPDATE' then old.conversation_quality_score end)
        ) v (name, score, old_score)
        where v.score is not null and (
            v.score is distinct from v.old_score or (tg_op = 'UPDATE' and v.name = any (old.scores_by_hand))
        )
    );
    new.updated_at := now();
    return new;
end
$function$;

--: function public.chopsky_on_session_cleared()
CREATE OR REPLACE FUNCTION public.chopsky_on_session_cleared()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
    run_ids uuid[];
    said_ids uuid[];
    removed bigint;
begin
    -- The session follows what goes, and is changed again.
    perform set_config('chopsky_trace.clearing', '', true);
    if new.legal_hold then
        raise exception 'The session % is under a legal hold', new.id
            using errcode = 'restrict_violation', hint = 'Set legal_hold to false first.';
    end if;
    run_ids := array(select r.id from public.conversation_runs r where r.session_key = new.session_key order by r.id for update);
    said_ids := array(
        select m.id from public.conversation_messages m
        where m.session_key = new.session_key and m.conversation_run_id is null order by m.id for update
    );
    removed := cardinality(said_ids) + (select count(*) from public.conversation_messages m where m.conversation_run_id = any (run_ids));
    perform public.chopsky_entomb_runs(run_ids);
    perform public.chopsky_lock_usage(run_ids || said_ids);
    delete from public.conversation_runs r where r.id = any (run_ids);
    delete from public.conversation_messages m where m.id = any (said_ids);
    perform set_config('chopsky_trace.cleared', removed::text, true);
    return null;
end
$function$;

--: function public.chopsky_on_session_gone()
CREATE OR REPLACE FUNCTION public.chopsky_on_session_gone()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
    held uuid;
    keys uuid[];
    run_ids uuid[];
    said_ids uuid[];
begin
    select s.id into held from gone_sessions s where s.legal_hold order by s.id limit 1;
    if found then
        raise exception 'The session % is under a legal hold', held
            using errcode = 'restrict_violation', hint = 'Set legal_hold to false first.';
    end if;
    keys := array(select s.session_key from gone_sessions s);
    run_ids := array(select r.id from public.conversation_runs r where r.session_key = any (keys) order by r.id for update);
    said_ids := array(
        select m.id from public.conversation_messages m where m.session_key = any (keys) and m.conversation_run_id is null
        order by m.id for update
    );
    if to_regprocedure('public.chopsky_lock_usage(uuid[])') is not null then
        execute 'select public.chopsky_lock_usage($1)' using run_ids || said_ids;
    end if;
    delete from public.conversation_runs r where r.id = any (run_ids);
    perform public.chopsky_entomb_runs(run_ids);
    delete from public.conversation_messages m where m.id = any (said_ids);
    return null;
end
$function$;

--: function public.chopsky_on_session_moved()
CREATE OR REPLACE FUNCTION public.chopsky_on_session_moved()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    if current_setting('chopsky_trace.recompute', true) is distinct from 'on' then
        perform 1 from public.conversation_runs r where r.session_key = old.session_key order by r.id for no key update;
        update public.conversation_runs r
        set session_id = new.session_id, project = new.project, tenant_id = new.tenant_id, user_id = new.user_id
        where r.session_key = old.session_key;
    end if;
    update public.conversation_messages m
    set session_key = new.session_key, session_id = new.session_id, tenant_id = new.tenant_id, user_id = new.user_id
    where m.session_key = old.session_key and m.conversation_run_id is null;
    perform public.chopsky_settle_said(array(
        select m.id from public.conversation_messages m where m.session_key = new.session_key and m.conversation_run_id is null
    ));
    return null;
end
$function$;

--: function public.chopsky_on_session_of_feedback()
CREATE OR REPLACE FUNCTION public.chopsky_on_session_of_feedback()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
begin
    perform set_config('chopsky_trace.recompute', 'on', true);
    perform public.chopsky_resolve_feedback(array(
        select f.id
        from public.conversation_messages m
        join public.conversation_feedback f on f.message_id = m.id
        where m.session_key = new.session_key and m.conversation_run_id is null
    ));
    perform set_config('chopsky_trace.recompute', was, true);
    return null;
end
$function$;

--: function public.chopsky_open_runs(runs json)
CREATE OR REPLACE FUNCTION public.chopsky_open_runs(runs json)
 RETURNS TABLE(id uuid, is_new boolean, is_late boolean, is_alone boolean, session_key uuid, session_id text, tenant_id text, user_id text)
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    run_ids uuid[];
    late uuid[];
    fresh uuid[];
begin
    -- Who erases somebody waits for the batches under way, and those after it see what was erased.
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.erase', 0));
    -- Statement triggers see it until the transaction ends: rows that COPY brings are recomputed once, at the end.
    perform set_config('chopsky_trace.recompute', 'on', true);
    -- Where somebody removes or rates what the batch is about, they go first: it comes again.
    perform set_config('chopsky_trace.patience', '250 milliseconds', true);
    perform pg_advisory_xact_lock(k.key)
    from (
        select distinct hashtextextended(s.session_id, 0) as key
        from json_to_recordset(runs) as p (id uuid, session_id text)
        left join lateral (select o.session_id from public.conversation_runs o where o.id = p.id offset 0) r on true
        -- The one it is in and the one it may come to be in. Runs without a session are told apart by their row's lock.
        cross join lateral (values (r.session_id), (p.session_id)) as s (session_id)
        where s.session_id is not null
        order by 1
    ) k;

    with given as (
        select * from json_to_recordset(runs) as p (
            id uuid, project text, environment text, tenant_id text, user_id text, session_id text, started_at timestamptz, status text
        )
    ), written as (
        insert into public.conversation_runs as r (id, project, environment, tenant_id, user_id, session_id, started_at, status)
        -- Its spans will tell start and status; what they will be about saves moving the row in every index then.
        select
            g.id, g.project, g.environment, g.tenant_id, g.user_id, g.session_id, g.started_at,
            case when g.status in ('completed', 'failed', 'interrupted', 'abandoned') then g.status else 'active' end
        from given g order by g.id
        on conflict (id) do update
        set project = coalesce(r.project, excluded.project), environment = coalesce(r.environment, excluded.environment),
            tenant_id = coalesce(r.tenant_id, excluded.tenant_id), user_id = coalesce(r.user_id, excluded.user_id),
            session_id = coalesce(r.session_id, excluded.session_id)
        where (r.project is null and excluded.project is not null)
            or (r.environment is null and excluded.environment is not null)
            or (r.tenant_id is null and excluded.tenant_id is not null)
            or (r.user_id is null and excluded.user_id is not null)
            or (r.session_id is null and excluded.session_id is not null)
        returning r.id, r.xmax <> 0 as existed
    )
    select
        (select coalesce(array_agg(g.id order by g.id), '{}') from given g),
        coalesce(array_agg(w.id) filter (where w.existed), '{}'),
        coalesce(array_agg(w.id) filter (where not w.existed), '{}')
    into run_ids, late, fresh
    from written w;

    return query
    select
        r.id, r.id = any (fresh), r.id = any (late),
        r.session_id is null or not exists (
            select 1 from public.conversation_runs o where o.session_key = r.session_key and o.id <> r.id
        ) and not exists (
            select 1 from public.conversation_messages m where m.session_key = r.session_key and m.conversation_run_id is null
        ),
        r.session_key, r.session_id, r.tenant_id, r.user_id
    from public.conversation_runs r
    where r.id = any (run_ids);
end
$function$;

--: function public.chopsky_pair_equal(session_key uuid, role text, content text, body_id uuid)
CREATE OR REPLACE FUNCTION public.chopsky_pair_equal(session_key uuid, role text, content text, body_id uuid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    at_most constant interval := interval '10 minutes';
    key constant uuid := chopsky_pair_equal.session_key;
    wanted_role constant text := chopsky_pair_equal.role;
    wanted constant text := coalesce(chopsky_pair_equal.content, '');
    -- Set where only an equal body will do: with tool calls the text is not what was said.
    wanted_body constant uuid := chopsky_pair_equal.body_id;
    -- Rows outside a run that went or came back.
    moved uuid[];
    near record;
    said_ids uuid[] := '{}';
    told_ids uuid[] := '{}';
begin
    for near in
        with hand as materialized (
            select (h).id, (h).body_id, (h).created_at, (h).parts is null as is_plain, (h).is_internal
            from (
                select case when m.said is null then m else public.chopsky_said_row(m) end as h
                from public.conversation_messages m
                where m.session_key = key and (m.conversation_run_id is null or m.said is not null)
                    and md5(coalesce(m.content, '')) = md5(wanted) and coalesce(m.content, '') = wanted and m.role = wanted_role
                    and (m.body_id = wanted_body or (wanted_body is null and m.tool_calls is null))
            ) s
        ), told as materialized (
            select m.id, m.body_id, m.created_at, m.is_internal, m.conversation_run_id
            from public.conversation_messages m
            where m.session_key = key and m.body_id in (select h.body_id from hand h) and m.conversation_run_id is not null and not m.is_history
            union
            select m.id, m.body_id, m.created_at, m.is_internal, m.conversation_run_id
            from public.conversation_messages m
            where wanted_body is null and m.session_key = key and m.parts is not null and m.tool_calls is null and not m.is_history
                and md5(coalesce(m.content, '')) = md5(wanted) and m.content = wanted and m.role = wanted_role
                and m.conversation_run_id is not null
        ), place as (
            select
                t.id, t.body_id, t.created_at, t.is_internal, least(r.started_at, t.created_at) as first_at, greatest(r.ended_at, t.created_at) as last_at
            from told t
            join public.conversation_runs r on r.id = t.conversation_run_id
            -- A merged run is shown nowhere.
            where not r.merged
        )
        select h.id as said_id, p.id as told_id
        from hand h
        join place p on h.created_at between p.first_at - at_most and p.last_at + at_most
            and (h.body_id = p.body_id or (wanted_body is null and h.is_plain)) and (h.is_internal or not p.is_internal)
        order by
            greatest(p.first_at - h.created_at, h.created_at - p.last_at, interval '0'),
            greatest(p.created_at - h.created_at, h.created_at - p.created_at), h.created_at, h.id, p.created_at, p.id
    loop
        if near.said_id <> all (said_ids) and near.told_id <> all (told_ids) then
            said_ids := said_ids || near.said_id;
            told_ids := told_ids || near.told_id;
        end if;
    end loop;

    -- Those that are another's now, or nobody's, come back.
    with apart as materialized (
        select m.id, public.chopsky_said_row(m) as said_row
        from public.conversation_messages m
        where m.session_key = key and m.said is not null
            and md5(coalesce(m.content, '')) = md5(wanted) and coalesce(m.content, '') = wanted and m.role = wanted_role
            and (m.body_id = wanted_body or (wanted_body is null and m.tool_calls is null))
            and not exists (
                select 1 from unnest(said_ids, told_ids) d (said_id, told_id)
                where d.told_id = m.id and d.said_id = (m.said ->> 'id')::uuid
            )
    ), back as (
        insert into public.conversation_messages select (a.said_row).* from apart a order by a.id
        returning id
    ), cleared as (
        update public.conversation_messages m
        set said = null
        from apart a
        where m.id = a.id
    )
    select coalesce(array_agg(b.id), '{}') into moved from back b;

    with gone as (
        delete from public.conversation_messages h
        where h.id = any (said_ids) and h.conversation_run_id is null
        returning h.*
    ), kept as (
        update public.conversation_messages m
        set said = (
            select jsonb_object_agg(e.key, e.value) from jsonb_each(to_jsonb(g)) e
            where e.value <> 'null' and e.key not in (
                'session_key', 'session_id', 'tenant_id', 'user_id', 'role', 'content', 'tool_calls', 'tool_call_id', 'sequence'
            )
        )
        from unnest(said_ids, told_ids) d (said_id, told_id)
        join gone g on g.id = d.said_id
        where m.id = d.told_id
    )
    select moved || coalesce(array_agg(g.id), '{}') into moved from gone g;
    if moved <> '{}' then
        perform public.chopsky_count_usage(moved);
    end if;
end
$function$;

--: function public.chopsky_pair_messages(keys uuid[], bodies uuid[], every boolean)
CREATE OR REPLACE FUNCTION public.chopsky_pair_messages(keys uuid[], bodies uuid[], every boolean DEFAULT false)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    was text;
    equal record;
begin
    if not exists (
        select 1 from public.conversation_messages m
        where m.session_key = any (keys) and (m.conversation_run_id is null or m.said is not null)
    ) then
        return;
    end if;
    was := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    perform set_config('chopsky_trace.recompute', 'on', true);
    for equal in
        select g.session_key, g.role, g.content, g.body_id
        from (
            select
                m.session_key, m.role, m.content, case when m.tool_calls is not null then m.body_id end as body_id,
                count(*) = 1 and bool_and(m.said is not null) as is_dealt
            from (select distinct u.session_key, u.body_id from unnest(keys, bodies) as u (session_key, body_id)) p
            join public.conversation_messages m on m.session_key = p.session_key and m.body_id = p.body_id and not m.is_history
            group by 1, 2, 3, 4
        ) g
        where (every or not g.is_dealt) and exists (
            select 1 from public.conversation_messages h
            where h.session_key = g.session_key and (h.conversation_run_id is null or h.said is not null)
                and md5(coalesce(h.content, '')) = md5(coalesce(g.content, ''))
        )
        order by g.session_key, g.role, g.body_id
    loop
        perform public.chopsky_pair_equal(equal.session_key, equal.role, equal.content, equal.body_id);
    end loop;
    perform set_config('chopsky_trace.recompute', was, true);
end
$function$;

--: function public.chopsky_pair_runs(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_pair_runs(run_ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    if not exists (
        select 1 from public.conversation_runs r
        join public.conversation_messages m on m.session_key = r.session_key
        where r.id = any (run_ids) and r.session_id is not null and (m.conversation_run_id is null or m.said is not null)
    ) then
        return;
    end if;
    perform public.chopsky_pair_messages(array_agg(m.session_key), array_agg(m.body_id), true)
    from public.conversation_messages m
    where m.conversation_run_id = any (run_ids) and m.body_id is not null and not m.is_history;
end
$function$;

--: function public.chopsky_patience(otherwise interval)
CREATE OR REPLACE FUNCTION public.chopsky_patience(otherwise interval)
 RETURNS interval
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$ select coalesce(nullif(current_setting('chopsky_trace.patience', true), '')::interval, otherwise) $function$;

--: function public.chopsky_person_columns()
CREATE OR REPLACE FUNCTION public.chopsky_person_columns()
 RETURNS TABLE(table_name text, column_name text)
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO ''
AS $function$
    values ('conversation_feedback', 'user_id'), ('conversation_feedback', 'given_by'), ('user_profiles', 'user_id')
$function$;

--: function public.chopsky_place_feedback(feedback_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_place_feedback(feedback_ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    touched uuid[];
begin
    perform set_config('chopsky_trace.recompute', 'on', true);
    touched := public.chopsky_resolve_feedback(feedback_ids) || array(
        select f.conversation_run_id from public.conversation_feedback f
        where f.id = any (feedback_ids) and f.key = 'user_satisfaction' and f.conversation_run_id is not null
    );
    perform public.chopsky_rate_runs(touched);
    if exists (select 1 from public.conversation_feedback f where f.id = any (feedback_ids) and f.is_pending) then
        perform pg_advisory_xact_lock(hashtextextended('chopsky_trace.feedback', 0));
    end if;
    -- Also of what was there: its message may have come while we waited for the lock on its run. A run that somebody is
    -- writing to they rate themselves: they are waiting to look for feedback until we have done.
    touched := public.chopsky_resolve_feedback(feedback_ids);
    perform public.chopsky_rate_runs(array(
        select r.id from public.conversation_runs r where r.id = any (touched) order by r.id for no key update skip locked
    ));
    perform set_config('chopsky_trace.recompute', was, true);
end
$function$;

--: function public.chopsky_prefix_bodies(prefix_id uuid)
CREATE OR REPLACE FUNCTION public.chopsky_prefix_bodies(prefix_id uuid)
 RETURNS uuid[]
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    with recursive node (extends, length, bodies) as (
        select p.extends, p.length, p.bodies from public.conversation_prefixes p where p.id = prefix_id
        union all
        select p.extends, p.length, p.bodies
        from node n
        -- Always a shorter one: no ring.
        join public.conversation_prefixes p on p.id = n.extends and p.length < n.length
    )
    select array_agg(b.body_id order by n.length, b.place)
    from node n
    cross join lateral unnest(n.bodies) with ordinality as b (body_id, place)
    having count(*) = max(n.length)
$function$;

--: function public.chopsky_prompt_bodies(span_id uuid)
CREATE OR REPLACE FUNCTION public.chopsky_prompt_bodies(span_id uuid)
 RETURNS uuid[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
    link record;
    next_id uuid := span_id;
    -- How many of the link's prompt and output are wanted; NULL: the whole prompt, no output.
    wanted integer;
    own uuid[];
    begun uuid[];
    found_bodies uuid[] := '{}';
begin
    -- A writer starts a full list at every 64th link.
    for step in 1..80 loop
        select s.prompt_extends, coalesce(s.prompt_take, 0) as prompt_take, s.prompt_prefix, s.prompt_bodies, s.output_bodies
        into link
        from public.conversation_spans s where s.id = next_id;
        if not found then
            return null;
        end if;
        own := link.prompt_bodies;
        if own is null then
            return null;
        end if;
        if link.prompt_prefix is not null then
            begun := public.chopsky_prefix_bodies(link.prompt_prefix);
            if begun is null then
                return null;
            end if;
            own := begun || own;
        end if;
        if wanted is not null then
            own := (own || coalesce(link.output_bodies, '{}'))[1:greatest(wanted - link.prompt_take, 0)];
            if link.prompt_take + cardinality(own) < wanted then
                return null;
            end if;
        end if;
        found_bodies := own || found_bodies;
        if link.prompt_extends is null then
            return found_bodies;
        end if;
        wanted := least(coalesce(wanted, link.prompt_take), link.prompt_take);
        next_id := link.prompt_extends;
    end loop;
    return null;
end
$function$;

--: function public.chopsky_prompt_names(span_id uuid)
CREATE OR REPLACE FUNCTION public.chopsky_prompt_names(span_id uuid)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    with recursive link (id, extends, names, wanted, step) as (
        select s.id, s.prompt_extends, s.prompt_names, coalesce(s.prompt_take, 0), 1
        from public.conversation_spans s where s.id = span_id
        union all
        select s.id, s.prompt_extends, s.prompt_names, least(l.wanted, coalesce(s.prompt_take, 0)), l.step + 1
        from link l
        join public.conversation_spans s on s.id = l.extends
        where l.step < 80
    )
    select coalesce(jsonb_object_agg(n.key, n.value order by l.step desc), '{}')
    from link l
    cross join lateral jsonb_each_text(l.names) n
    left join link above on above.step = l.step - 1
    where above.id is null or n.key::integer < above.wanted
$function$;

--: function public.chopsky_prune(batch integer, at_most integer, dry_run boolean, older_than interval, tenant_id text, for_at_most interval)
CREATE OR REPLACE FUNCTION public.chopsky_prune(batch integer DEFAULT 100, at_most integer DEFAULT 1000, dry_run boolean DEFAULT false, older_than interval DEFAULT NULL::interval, tenant_id text DEFAULT NULL::text, for_at_most interval DEFAULT NULL::interval)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
 SET lock_timeout TO '700ms'
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
#variable_conflict use_column
declare
    counts jsonb := '{"sessions": 0, "runs": 0, "spans": 0, "messages": 0, "contents": 0, "feedback": 0, "messages_kept": 0,
        "runs_without_messages": 0, "runs_without_payloads": 0, "writer_status": 0, "tombstones": 0, "busy": 0, "more": false}';
    -- Rows that are left of at_most.
    rest bigint := greatest(at_most, 1);
    step integer := greatest(batch, 1);
    ends_at constant timestamptz := coalesce(clock_timestamp() + for_at_most, 'infinity');
    part text;
    due uuid[];
    going uuid[];
    tried uuid[];
    claimed uuid[];
    session_id uuid;
    done jsonb;
begin
    if dry_run then
        return public.chopsky_count_due(older_than, tenant_id);
    end if;
    if not pg_try_advisory_xact_lock(hashtextextended('chopsky_trace.prune', 0)) then
        return counts || '{"busy": 1, "more": true}';
    end if;
    perform set_config('chopsky_trace.patience', '250 milliseconds', true);
    if older_than is null then
        for session_id in select d from public.chopsky_due_sessions(rest, chopsky_prune.tenant_id) d loop
            begin
                loop
                    done := public.chopsky_remove_session(session_id, least(step, rest)::integer);
                    counts := public.chopsky_add_counts(counts, coalesce(done, '{"busy": 1}'));
                    rest := rest - greatest((done ->> 'runs')::bigint, 1);
                    exit when done is null or (done ->> 'sessions')::integer = 1 or rest <= 0 or clock_timestamp() > ends_at;
                end loop;
            exception when lock_not_available or deadlock_detected then
                counts := public.chopsky_add_counts(counts, '{"busy": 1}');
            end;
            exit when rest <= 0 or clock_timestamp() > ends_at;
        end loop;
    end if;
    foreach part in array case when older_than is null then array['runs', 'messages', 'payloads'] else array['runs'] end loop
        tried := '{}';
        while rest > 0 and clock_timestamp() < ends_at loop
            -- Beyond those that somebody else was at.
            due := array(
                select d from public.chopsky_due_runs(part, cardinality(tried) + least(step, rest), older_than, chopsky_prune.tenant_id) d
                where d <> all (tried) limit least(step, rest)
            );
            exit when due = '{}';
            going := case when part = 'payloads' then '{}'
                else public.chopsky_going_runs(part, due, tried, older_than, chopsky_prune.tenant_id) end;
            -- Of a session the latest first, for none refers to a later one.
            if going <> '{}' then
                due := array(
                    select r.id from public.conversation_runs r where r.id = any (due) and r.session_id is null
                    union all
                    select l.id
                    from (
                        select r.session_key, count(*) as runs from public.conversation_runs r
                        where r.id = any (due) and r.session_id is not null
                        group by r.session_key
                    ) k
                    cross join lateral (
                        select r.id from public.conversation_runs r
                        where r.session_key = k.session_key and r.id = any (going) and (part <> 'runs' or not r.merged)
                        order by r.created_at desc, r.id desc limit k.runs
                    ) l
                );
            end if;
            begin
                claimed := public.chopsky_claim_runs(due, going);
                done := case when claimed = '{}' then '{}'
                    when part = 'runs' then public.chopsky_remove_runs(claimed, going => going)
                    else public.chopsky_remove_content(claimed, part = 'messages', going)
                        || jsonb_build_object('runs_without_' || part, cardinality(claimed)) end;
            exception when lock_not_available or deadlock_detected then
                claimed := '{}';
                done := '{}';
            end;
            tried := tried || array(select u from unnest(due) u where u <> all (claimed));
            counts := public.chopsky_add_counts(counts, done);
            rest := rest - cardinality(due);
        end loop;
        counts := public.chopsky_add_counts(counts, jsonb_build_object('busy', cardinality(tried)));
    end loop;
    if older_than is null then
        counts := public.chopsky_add_counts(counts, public.chopsky_prune_rows(rest, chopsky_prune.tenant_id));
    end if;
    perform set_config('chopsky_trace.patience', '', true);
    return counts || jsonb_build_object('more', rest <= 0 or clock_timestamp() > ends_at);
end
$function$;

--: function public.chopsky_prune_rows(at_most bigint, tenant_id text)
CREATE OR REPLACE FUNCTION public.chopsky_prune_rows(at_most bigint, tenant_id text)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
    keep_for interval;
    writers bigint := 0;
    given bigint := 0;
    tombstones bigint := 0;
begin
    select p.keep_for into keep_for from public.retention_policies p where p.what = 'writer_status';
    if keep_for is not null and chopsky_prune_rows.tenant_id is null then
        delete from public.writer_status w where w.writer_id in (
            select o.writer_id from public.writer_status o where o.last_write_at < now() - keep_for
            order by o.last_write_at limit greatest(at_most, 1) for update skip locked
        );
        get diagnostics writers = row_count;
    end if;
    if to_regclass('public.conversation_feedback') is not null
        and exists (select 1 from public.retention_policies p where p.what = 'feedback') then
        execute '
            delete from public.conversation_feedback f where f.id in (
                select o.id
                from public.conversation_feedback o
                join public.retention_policies p on p.what = ''feedback'' and (p.tenant_id = o.tenant_id or (
                    p.tenant_id is null and not exists (
                        select 1 from public.retention_policies q where q.what = ''feedback'' and q.tenant_id = o.tenant_id
                    )
                ))
                where o.created_at < now() - p.keep_for and ($2 is null or o.tenant_id = $2) and not exists (
                    select 1
                    from public.conversation_runs r
                    join public.conversation_sessions s on s.session_key = r.session_key
                    where r.id = o.conversation_run_id and s.legal_hold
                )
                order by o.id limit $1 for update of o skip locked
            )' using greatest(at_most, 1), chopsky_prune_rows.tenant_id;
        get diagnostics given = row_count;
    end if;
    if chopsky_prune_rows.tenant_id is null then
        delete from public.conversation_tombstones t where t.hash in (
            select o.hash from public.conversation_tombstones o
            where o.kind = 'run' and o.erased_at < now() - public.chopsky_tombstones_kept()
            order by o.erased_at limit greatest(at_most, 1) for update skip locked
        );
        get diagnostics tombstones = row_count;
    end if;
    return jsonb_build_object('writer_status', writers, 'feedback', given, 'tombstones', tombstones);
end
$function$;

--: function public.chopsky_prunes()
CREATE OR REPLACE FUNCTION public.chopsky_prunes()
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select exists (select 1 from public.retention_policies p where p.keep_for is not null)
        or exists (select 1 from public.conversation_sessions s where s.expires_at <= now())
        or exists (select 1 from public.conversation_tombstones t where t.kind = 'run' and t.erased_at < now() - interval '1 year')
$function$;

--: function public.chopsky_rate_runs(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_rate_runs(run_ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    rated uuid[];
begin
    if coalesce(cardinality(run_ids), 0) = 0 then
        return;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    -- With the lock, whatever others gave before is seen. By hand one waits in line: nobody who has a run does for feedback.
    if public.chopsky_patience(null) is null then
        perform 1 from public.conversation_runs r where r.id = any (run_ids) order by r.id for no key update;
    else
        perform public.chopsky_lock_runs(run_ids, '2 seconds');
    end if;
    with changed as (
        update public.conversation_runs r
        set user_satisfaction_score = s.score, updated_at = now()
        from (
            select i.id, round(avg(coalesce(f.score, case f.thumbs when 'up' then 5 when 'down' then 1 end)), 2) as score
            from unnest(run_ids) as i (id)
            left join public.conversation_feedback f on f.conversation_run_id = i.id and f.key = 'user_satisfaction'
            group by i.id
        ) s
        where r.id = s.id and r.user_satisfaction_score is distinct from s.score
        returning r.id
    )
    select array_agg(c.id) into rated from changed c;
    if rated is not null then
        -- The quality score follows.
        perform public.chopsky_recompute(rated, '{}');
    end if;
    perform set_config('chopsky_trace.recompute', was, true);
end
$function$;

--: function public.chopsky_reads_tenant()
CREATE OR REPLACE FUNCTION public.chopsky_reads_tenant()
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select coalesce(auth.jwt() -> 'app_metadata' ->> 'chopsky_role' in ('admin', 'support'), false)
$function$;

--: function public.chopsky_reap(older_than interval, at_most integer)
CREATE OR REPLACE FUNCTION public.chopsky_reap(older_than interval, at_most integer DEFAULT 1000)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    touched uuid[];
begin
    if not pg_try_advisory_xact_lock(hashtextextended('chopsky_trace.reap', 0)) then
        return 0;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    -- Runs first, then their spans: the order in which ingest locks them. What a writer holds is not without news.
    touched := array(
        select r.id
        from public.conversation_runs r
        where r.id in (
            select s.conversation_run_id
            from public.conversation_spans s
            where s.status = 'active' and s.end_version is null and s.created_at < now() - older_than
                and not exists (
                    select 1 from public.conversation_spans n
                    where n.conversation_run_id = s.conversation_run_id and n.created_at >= now() - older_than
                )
        )
        order by r.id limit at_most for no key update skip locked
    );
    update public.conversation_spans s set status = 'abandoned', abandoned_at = now()
    where s.conversation_run_id = any (touched) and s.status = 'active' and s.end_version is null
        and s.created_at < now() - older_than;
    if touched <> '{}' then
        perform public.recompute_runs(touched);
    end if;
    perform set_config('chopsky_trace.recompute', 'off', true);
    return cardinality(touched);
end
$function$;

--: function public.chopsky_recompute(run_ids uuid[], unordered uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_recompute(run_ids uuid[], unordered uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
begin
    perform set_config('chopsky_trace.recompute', 'on', true);

    if unordered <> '{}' then
        update public.conversation_messages m
        set sequence = o.place
        from (
            select c.id, row_number() over (partition by c.conversation_run_id order by c.created_at, c.position, c.id) as place
            from public.conversation_messages c
            where c.conversation_run_id = any (unordered)
        ) o
        where m.id = o.id and m.sequence is distinct from o.place;
    end if;

    with span as (
        select
            c.conversation_run_id as run_id,
            count(*) as spans,
            count(*) filter (where c.status = 'failed') as failed,
            count(*) filter (where c.status = 'active') as active,
            -- The root has the run's id; where ids are derived, it is the earliest span that says it has no parent.
            (array_agg(c.id order by c.id = c.conversation_run_id desc, c.started_at, c.id) filter (where c.is_root))[1] as root_id,
            max(c.ended_at) as last_ended_at,
            min(c.started_at) as first_started_at,
            count(*) filter (where c.retried) as retries,
            count(*) filter (where c.is_call) as calls,
            count(*) filter (where c.is_owned) as owned,
            sum(c.input_tokens) filter (where c.is_owned) as span_input,
            sum(c.output_tokens) filter (where c.is_owned) as span_output,
            sum(c.total_tokens) filter (where c.is_owned) as span_tokens,
            sum(c.cost) filter (where c.is_owned) as span_cost,
            avg(c.response_time_ms) filter (where c.is_owned and c.kind = 'llm') as span_time,
            count(*) filter (where c.is_owned and c.is_charged and c.cost is null) as unpriced,
            count(*) filter (where c.is_owned and c.is_charged and c.total_tokens is null) as unmeasured
        from (
            select
                t.id, t.conversation_run_id, t.kind, t.status, t.started_at, t.ended_at, t.metadata ? 'retry_attempt' as retried,
                t.id = t.conversation_run_id or (t.parent_span_id is null and t.start_version is not null) as is_root,
                t.kind in ('llm', 'embedding', 'image') as is_call,
                t.kind in ('llm', 'embedding', 'image') and t.duplicate_of is null as is_owned,
                -- A call refused before its first token used nothing that could be unknown.
                t.ended_at is not null and (t.status <> 'failed' or t.time_to_first_token_ms is not null) as is_charged,
                -- An impossible number is stored as reported, but is none to a sum.
                case when t.input_tokens between 0 and 1000000000000000 then t.input_tokens end as input_tokens,
                case when t.output_tokens between 0 and 1000000000000000 then t.output_tokens end as output_tokens,
                case when t.total_tokens between 0 and 1000000000000000 then t.total_tokens end as total_tokens,
                case when t.cost between 0 and 1000000000000 then t.cost end as cost,
                case when t.response_time_ms between 0 and 9999999999 then t.response_time_ms end as response_time_ms
            from public.conversation_spans t
            where t.conversation_run_id = any (run_ids)
        ) c
        group by c.conversation_run_id
    ), message as (
        select
            c.conversation_run_id as run_id,
            count(*) filter (where not c.is_internal) as messages,
            count(*) filter (where not c.is_internal and c.role = 'user') as asked,
            sum(c.token_count) filter (where c.span_id is null and not c.is_history and c.role <> 'assistant') as hand_input,
            sum(c.token_count) filter (where c.span_id is null and not c.is_history and c.role = 'assistant') as hand_output,
            sum(c.token_count) filter (where c.span_id is null and not c.is_history) as hand_tokens,
            sum(c.cost) filter (where c.span_id is null and not c.is_history) as hand_cost,
            avg(c.response_time_ms) filter (where c.span_id is null and not c.is_history) as hand_time
        from public.conversation_messages c
        where c.conversation_run_id = any (run_ids)
        group by c.conversation_run_id
    ), facts as materialized (
        select
            i.id, s.*, m.messages, m.asked, m.hand_input, m.hand_output, m.hand_tokens, m.hand_cost, m.hand_time, o.error as root_error, coalesce(o.name, f.name) as root_name, coalesce(o.tags, f.tags) as root_tags,
            coalesce(o.metadata, f.metadata) as root_metadata, o.started_at as root_started_at,
            s.spans is null as bare,
            s.spans is null and i.totals_by_hand as keep, i.status as hand_status, i.user_satisfaction_score as satisfaction,
            -- A root outside the mirror never ends here: then the topmost spans that we have tell.
            case when o.id is not null then o.status when s.active > 0 then 'active' else (
                select case when bool_or(t.status = 'failed') then 'failed' when bool_or(t.status = 'abandoned') then 'abandoned'
                    else 'completed' end
                from public.conversation_spans t
                where t.conversation_run_id = i.id and not exists (
                    select 1 from public.conversation_spans p where p.id = t.parent_span_id and p.conversation_run_id = i.id
                )
            ) end as derived_status,
            case when o.id is not null then o.ended_at when s.active = 0 then s.last_ended_at end as derived_ended_at,
            -- A failure passed up through its parents is one failure.
            case when coalesce(s.failed, 0) = 0 then 0 else (
                select count(*) from public.conversation_spans f
                where f.conversation_run_id = i.id and f.status = 'failed' and not exists (
                    select 1 from public.conversation_spans c
                    where c.conversation_run_id = i.id and c.parent_span_id = f.id and c.status = 'failed'
                )
            ) end as errors
        from public.conversation_runs i
        left join span s on s.run_id = i.id
        left join message m on m.run_id = i.id
        left join lateral (
            select t.id, t.status, t.error, t.name, t.tags, t.metadata, t.started_at, t.ended_at
            from public.conversation_spans t where t.id = s.root_id
            offset 0
        ) o on true
        -- Of a root outside the mirror, what the first span beneath it says describes the run.
        left join lateral (
            select t.name, t.tags, t.metadata
            from public.conversation_spans t
            where o.id is null and t.conversation_run_id = i.id and t.start_version is not null and not exists (
                select 1 from public.conversation_spans p where p.id = t.parent_span_id and p.conversation_run_id = i.id
            )
            order by t.started_at, t.id limit 1
        ) f on true
        where i.id = any (run_ids)
    ), derived as (
        select d.*, case when d.bare then d.hand_status else d.derived_status end as final_status from facts d
    ), updated as (
        update public.conversation_runs r
        set total_messages = case when d.keep then r.total_messages else coalesce(d.messages, 0) end,
            -- What is known of both; NULL where nothing is.
            total_input_tokens = case when d.keep then r.total_input_tokens
                else coalesce(d.span_input + d.hand_input, d.span_input, d.hand_input) end,
            total_output_tokens = case when d.keep then r.total_output_tokens
                else coalesce(d.span_output + d.hand_output, d.span_output, d.hand_output) end,
            total_tokens_used = case when d.keep then r.total_tokens_used
                else coalesce(d.span_tokens + d.hand_tokens, d.span_tokens, d.hand_tokens) end,
            total_cost = case when d.keep then r.total_cost
                else coalesce(d.span_cost + d.hand_cost, d.span_cost, d.hand_cost) end,
            average_response_time = case when d.keep then r.average_response_time else coalesce(d.span_time, d.hand_time) end,
            unpriced_calls = coalesce(d.unpriced, 0),
            unmeasured_calls = coalesce(d.unmeasured, 0),
            merged = coalesce(d.calls > 0 and d.owned = 0, false),
            status = d.final_status,
            error = case when d.bare then r.error else d.root_error end,
            name = coalesce(d.root_name, r.name),
            tags = coalesce(d.root_tags, r.tags),
            metadata = coalesce(d.root_metadata, r.metadata),
            started_at = coalesce(d.root_started_at, d.first_started_at, r.started_at),
            ended_at = case when d.bare then r.ended_at else d.derived_ended_at end,
            updated_at = now()
        from derived d
        where r.id = d.id
    )
    insert into public.conversation_analytics as a (
        conversation_run_id, error_count, retry_count, completion_rate, user_engagement_score, conversation_quality_score
    )
    select d.id, d.errors, coalesce(d.retries, 0), c.completion, case when d.asked > 10 then 100 else 10 * d.asked end, q.quality
    from derived d
    cross join lateral (
        select case d.final_status when 'completed' then 100 when 'failed' then 0 when 'abandoned' then 0 end as completion
    ) c
    -- The mean of what is known: of feedback, and of how smoothly the work went, once it is over.
    cross join lateral (
        select avg(v.score) as quality
        from (values
            ((d.satisfaction - 1) * 25),
            (case when not d.bare and d.final_status <> 'active' then greatest(100 - 25 * d.errors - 10 * d.retries, 0) end)
        ) v (score)
    ) q
    order by d.id
    on conflict (conversation_run_id) do update
    set error_count = excluded.error_count, retry_count = excluded.retry_count,
        completion_rate = case when 'completion_rate' = any (a.scores_by_hand) then a.completion_rate else excluded.completion_rate end,
        user_engagement_score = case when 'user_engagement_score' = any (a.scores_by_hand) then a.user_engagement_score
            else excluded.user_engagement_score end,
        conversation_quality_score = case when 'conversation_quality_score' = any (a.scores_by_hand) then a.conversation_quality_score
            else excluded.conversation_quality_score end,
        updated_at = now()
    where (
        a.error_count, a.retry_count, a.completion_rate, a.user_engagement_score, a.conversation_quality_score
    ) is distinct from (
        excluded.error_count, excluded.retry_count, excluded.completion_rate, excluded.user_engagement_score,
        excluded.conversation_quality_score
    );

    perform set_config('chopsky_trace.recompute', was, true);
end
$function$;

--: function public.chopsky_refuse_runs(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_refuse_runs(run_ids uuid[])
 RETURNS uuid[]
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    hashes bytea[];
    refused uuid[];
begin
    if not exists (select 1 from public.conversation_tombstones) then
        return '{}';
    end if;
    select coalesce(array_agg(distinct f.id), '{}'), array_agg(distinct f.hash order by f.hash)
    into refused, hashes
    from (
        select r.id, t.hash
        from public.conversation_runs r
        cross join lateral (
            values
                (public.chopsky_tombstone('run', r.id::text), false),
                (public.chopsky_tombstone('person', r.user_id), true),
                (public.chopsky_tombstone('person', r.user_id, r.tenant_id), true)
        ) h (hash, is_person)
        join public.conversation_tombstones t on t.hash = h.hash
        where r.id = any (run_ids)
            -- By the client's clock, as the run says it itself; one that says nothing yet is looked at again when it does.
            and (not h.is_person or t.erased_at > least(
                r.started_at, (select min(s.started_at) from public.conversation_spans s where s.conversation_run_id = r.id)
            ))
            and not exists (select 1 from public.conversation_sessions s where s.session_key = r.session_key and s.legal_hold)
    ) f;
    if refused = '{}' then
        return refused;
    end if;
    perform public.chopsky_remove_runs(refused, true);
    perform public.chopsky_entomb_runs(refused);
    perform 1 from public.conversation_tombstones t where t.hash = any (hashes) order by t.hash for no key update;
    update public.conversation_tombstones t set refused_runs = t.refused_runs + 1, last_refused_at = now()
    where t.hash = any (hashes);
    return refused;
end
$function$;

--: function public.chopsky_related_calls(seeds uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_related_calls(seeds uuid[])
 RETURNS uuid[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    members uuid[] := seeds;
    frontier uuid[] := seeds;
begin
    while frontier <> '{}' and cardinality(members) < 2000 loop
        frontier := array(
            select distinct o.id
            from (
                select unnest(array[p.id, p.other_id]) as id from public.chopsky_call_pairs(frontier) p
                union all
                select unnest(array[n.id, n.outer_id])
                from public.chopsky_nested_calls(array(
                    select distinct s.conversation_run_id from public.conversation_spans s where s.id = any (frontier)
                )) n
                union all
                select s.id from public.conversation_spans s where s.duplicate_of = any (frontier)
                union all
                select unnest(array[s.duplicate_of, x.id])
                from public.conversation_spans s
                cross join lateral (
                    select d.id from public.conversation_spans d where d.duplicate_of = s.duplicate_of offset 0
                ) x
                where s.id = any (frontier) and s.duplicate_of is not null
            ) o
            where o.id <> all (members)
        );
        members := members || frontier;
    end loop;
    return members;
end
$function$;

--: function public.chopsky_remove_content(run_ids uuid[], and_said boolean, going uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_remove_content(run_ids uuid[], and_said boolean, going uuid[] DEFAULT '{}'::uuid[])
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_custom_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    heirs uuid[] := '{}';
    given integer := 0;
    passing integer := 0;
    named uuid[];
    contents bigint;
begin
    perform set_config('chopsky_trace.recompute', 'on', true);
    if and_said then
        select h.heirs, h.messages, h.passing into heirs, given, passing from public.chopsky_hand_over(run_ids, going) h;
        update public.conversation_messages m
        set body_id = null, content = null, parts = null, tool_calls = null, tool_call_id = null, questions_asked = null,
            delegation_plan = null, metadata = '{}', said = null
        where m.conversation_run_id = any (run_ids);
        -- What a call was given is gone, so nothing says any more what it was.
        update public.conversation_spans s
        set inputs = null, outputs = null, prompt_extends = null, prompt_take = null, prompt_prefix = null, prompt_bodies = null,
            prompt_names = null, output_bodies = null, error = null, end_metadata = null, told = s.told - 'rows',
            -- What counts and links follow from.
            metadata = jsonb_strip_nulls(jsonb_build_object(
                'retry_attempt', s.metadata -> 'retry_attempt', 'resume', case when s.metadata ? 'resume' then true end
            ))
        where s.conversation_run_id = any (run_ids);
    else
        update public.conversation_spans s set inputs = null, outputs = null
        where s.conversation_run_id = any (run_ids) and num_nonnulls(s.inputs, s.outputs) > 0;
    end if;
    -- Media are there once for all of a session.
    named := array(
        select n from public.chopsky_named_ids(run_ids || array(
            select r.id from public.conversation_runs r
            where r.session_key in (
                select g.session_key
                from public.conversation_runs g
                join public.conversation_contents c on c.conversation_run_id = g.id and c.kind = 'media'
                where g.id = any (run_ids)
            )
        )) n
    );
    -- Documents before the texts that they name.
    delete from public.conversation_contents c
    where c.conversation_run_id = any (run_ids) and c.kind <> 'text' and c.id <> all (named);
    get diagnostics contents = row_count;
    named := array(select n from public.chopsky_named_ids(run_ids) n);
    delete from public.conversation_contents c
    where c.conversation_run_id = any (run_ids) and c.kind = 'text' and c.id <> all (named);
    update public.conversation_runs r
    set content_removed = case when and_said then 'messages' else 'payloads' end, updated_at = now(),
        error = case when not and_said then r.error end,
        metadata = case when not and_said then r.metadata when r.metadata ? 'resume' then '{"resume": true}' else '{}' end
    where r.id = any (run_ids);
    if heirs <> '{}' then
        perform public.recompute_runs(heirs);
    end if;
    perform set_config('chopsky_trace.recompute', was, true);
    return jsonb_build_object('contents', contents, 'messages_kept', given);
end
$function$;

--: function public.chopsky_remove_runs(run_ids uuid[], is_erasure boolean, going uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_remove_runs(run_ids uuid[], is_erasure boolean DEFAULT false, going uuid[] DEFAULT '{}'::uuid[])
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_custom_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    counts jsonb;
    others uuid[];
    heirs uuid[] := '{}';
    given integer := 0;
    passing integer := 0;
    resumed uuid[];
    feedback bigint := 0;
begin
    perform set_config('chopsky_trace.recompute', 'on', true);
    counts := jsonb_build_object(
        'runs', cardinality(run_ids),
        'spans', (select count(*) from public.conversation_spans s where s.conversation_run_id = any (run_ids)),
        'messages', (select count(*) from public.conversation_messages m where m.conversation_run_id = any (run_ids)),
        'contents', (select count(*) from public.conversation_contents c where c.conversation_run_id = any (run_ids))
    );
    if not is_erasure then
        select h.heirs, h.messages, h.passing into heirs, given, passing from public.chopsky_hand_over(run_ids, going) h;
    end if;
    -- A call that others told of, too, is theirs now.
    others := array(
        select distinct o.conversation_run_id
        from public.conversation_spans s
        join public.conversation_spans o on o.duplicate_of = s.id
        where s.conversation_run_id = any (run_ids) and s.told is not null and o.conversation_run_id <> all (run_ids)
    );
    resumed := array(
        select r.id from public.conversation_runs r
        where r.session_key in (select g.session_key from public.conversation_runs g where g.id = any (run_ids) and g.session_id is not null)
            and r.resumes = any (run_ids) and r.id <> all (run_ids)
    );
    if to_regclass('public.conversation_feedback') is not null then
        execute 'select public.chopsky_lock_feedback(array(select f.id from public.conversation_feedback f where f.conversation_run_id = any ($1)))'
        using run_ids;
        execute 'delete from public.conversation_feedback f where f.conversation_run_id = any ($1)' using run_ids;
        get diagnostics feedback = row_count;
    end if;
    -- The last locks, as everywhere, are the roll-ups'.
    if not is_erasure and to_regprocedure('public.chopsky_keep_usage(uuid[])') is not null then
        execute 'select public.chopsky_keep_usage($1)' using run_ids;
    end if;
    delete from public.conversation_runs r where r.id = any (run_ids);
    if is_erasure and to_regprocedure('public.chopsky_count_usage(uuid[])') is not null then
        execute 'select public.chopsky_count_usage($1)' using run_ids;
    end if;
    if others <> '{}' then
        others := others || array(select u from unnest(public.chopsky_merge_calls(others)) u where u is not null);
    end if;
    if others <> '{}' or heirs <> '{}' then
        perform public.recompute_runs(array(select distinct u from unnest(others || heirs) u));
    end if;
    if resumed <> '{}' then
        perform public.chopsky_link_resumed(resumed);
    end if;
    perform set_config('chopsky_trace.recompute', was, true);
    -- What is only passed on counts with the run that it goes with.
    return counts || jsonb_build_object(
        'messages', (counts ->> 'messages')::bigint - passing, 'feedback', feedback, 'messages_kept', given
    );
end
$function$;

--: function public.chopsky_remove_session(session_uuid uuid, at_most integer)
CREATE OR REPLACE FUNCTION public.chopsky_remove_session(session_uuid uuid, at_most integer)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    session public.conversation_sessions;
    run_ids uuid[];
    going uuid[];
    said_ids uuid[];
    counts jsonb;
begin
    select s.* into session from public.conversation_sessions s where s.id = session_uuid and not s.legal_hold;
    if not found or not pg_try_advisory_xact_lock(hashtextextended(session.session_id, 0)) then
        return null;
    end if;
    perform public.chopsky_lock_sessions(array[session.session_key]);
    run_ids := array(
        select r.id from public.conversation_runs r where r.session_key = session.session_key
        order by r.created_at desc, r.id desc limit at_most
    );
    going := array(select r.id from public.conversation_runs r where r.session_key = session.session_key);
    if not (public.chopsky_claim_runs(run_ids, going) @> run_ids) then
        return null;
    end if;
    counts := public.chopsky_remove_runs(run_ids, going => going) || '{"sessions": 0}';
    perform public.chopsky_entomb_runs(run_ids);
    if exists (select 1 from public.conversation_runs r where r.session_key = session.session_key) then
        return counts;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    said_ids := array(
        select m.id from public.conversation_messages m
        where m.session_key = session.session_key and m.conversation_run_id is null
    );
    if said_ids <> '{}' and to_regprocedure('public.chopsky_keep_usage(uuid[])') is not null then
        execute 'select public.chopsky_keep_usage($1)' using said_ids;
    end if;
    delete from public.conversation_messages m where m.id = any (said_ids);
    -- One that nobody drove went with its last run.
    delete from public.conversation_sessions s where s.id = session_uuid;
    perform set_config('chopsky_trace.recompute', was, true);
    return counts || jsonb_build_object('sessions', 1, 'messages', (counts ->> 'messages')::bigint + cardinality(said_ids));
end
$function$;

--: function public.chopsky_resolve_feedback(feedback_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_resolve_feedback(feedback_ids uuid[])
 RETURNS uuid[]
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    known public.conversation_feedback;
    other public.conversation_feedback;
    target record;
    target_key uuid;
    touched uuid[] := '{}';
begin
    for target in
        select t.*
        from public.chopsky_feedback_targets(feedback_ids) t
        join public.conversation_feedback f on f.id = t.id
        where (f.conversation_run_id, f.span_id, f.message_id, f.session_id, f.tenant_id, f.user_id, f.is_internal, f.is_pending)
            is distinct from (t.conversation_run_id, t.span_id, t.message_id, t.session_id, t.tenant_id, t.user_id, t.is_internal, t.is_pending)
        order by t.id
    loop
        select f.* into known from public.conversation_feedback f where f.id = target.id for update skip locked;
        continue when not found;
        if known.key = 'user_satisfaction' then
            touched := touched || known.conversation_run_id || target.conversation_run_id;
        end if;
        target_key := coalesce(
            target.message_id,
            case when known.answer > 0 then md5(known.about_id::text || '/' || known.answer::text)::uuid else known.about_id end
        );
        perform public.chopsky_lock_feedback(array(
            select f.id from public.conversation_feedback f
            where f.target_id = target_key and f.key = known.key and f.user_id is not distinct from target.user_id and f.id <> known.id
        ));
        select f.* into other
        from public.conversation_feedback f
        where f.target_id = target_key and f.key = known.key and f.user_id is not distinct from target.user_id and f.id <> known.id;
        if found and (other.version, other.id) > (known.version, known.id) then
            delete from public.conversation_feedback f where f.id = known.id;
            update public.conversation_feedback f set created_at = least(f.created_at, known.created_at) where f.id = other.id;
            continue;
        elsif found then
            delete from public.conversation_feedback f where f.id = other.id;
        end if;
        update public.conversation_feedback f
        set conversation_run_id = target.conversation_run_id, span_id = target.span_id, message_id = target.message_id,
            session_id = target.session_id, tenant_id = target.tenant_id, user_id = target.user_id,
            is_internal = target.is_internal, is_pending = target.is_pending,
            created_at = least(f.created_at, other.created_at)
        where f.id = known.id;
    end loop;
    return array(select distinct u from unnest(touched) u where u is not null);
end
$function$;

--: function public.chopsky_restore(value jsonb, run_id uuid, is_document boolean)
CREATE OR REPLACE FUNCTION public.chopsky_restore(value jsonb, run_id uuid, is_document boolean DEFAULT false)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
    id constant text := '[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}';
    quoted constant text := '"(?:[^"\\]|\\.)*"';
    reference constant text := '\{"\$(?:(?:text|document)": "' || id || '"|media": "' || id
        || '"(?:, "(?:media_type|prefix)": (?:null|' || quoted || ')|, "size_bytes": (?:null|[0-9]+))*)\}';
    told constant text := value::text;
    piece record;
    pieces text[] := '{}';
    content record;
    -- A few references to large contents could ask for more than a value can hold: then all of them stay.
    room bigint := 64000000;
begin
    if value is null or run_id is null or told not like '%{"$%' then
        return value;
    end if;
    for piece in
        select p.before_it, m.found[1] as found, m.found[1]::jsonb as held
        from regexp_split_to_table(told, reference) with ordinality p (before_it, place)
        left join regexp_matches(told, '(' || reference || ')', 'g') with ordinality m (found, place) on m.place = p.place
        order by p.place
    loop
        select
            c.size_bytes,
            case
                when c.size_bytes > room then null
                when c.kind = 'text' and piece.held ? '$text' then to_jsonb(c.text)::text
                when c.kind = 'document' and piece.held ? '$document' and not is_document
                    then public.chopsky_restore(c.document, run_id, true)::text
                when c.kind = 'media' and piece.held ? '$media'
                    then to_jsonb(coalesce(piece.held ->> 'prefix', '') || translate(encode(c.data, 'base64'), E'\n', ''))::text
            end as written
        into content
        from public.chopsky_content(
            run_id, coalesce(piece.held ->> '$text', piece.held ->> '$document', piece.held ->> '$media')::uuid
        ) c;
        if content.size_bytes > room or octet_length(content.written) > room then
            return value;
        end if;
        room := room - coalesce(octet_length(content.written), 0);
        pieces := array_append(pieces, piece.before_it || coalesce(content.written, piece.found, ''));
    end loop;
    return array_to_string(pieces, '')::jsonb;
end
$function$;

--: function public.chopsky_said_by_hand(session_key uuid)
CREATE OR REPLACE FUNCTION public.chopsky_said_by_hand(session_key uuid)
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
    return (
        select max(m.created_at) from public.conversation_messages m
        where m.session_key = chopsky_said_by_hand.session_key and m.conversation_run_id is null
    );
end
$function$;

--: function public.chopsky_said_row(message public.conversation_messages)
CREATE OR REPLACE FUNCTION public.chopsky_said_row(message public.conversation_messages)
 RETURNS public.conversation_messages
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select r from jsonb_populate_record(null::public.conversation_messages, jsonb_build_object(
        'body_id', message.body_id, 'session_key', message.session_key, 'session_id', message.session_id,
        'tenant_id', message.tenant_id, 'user_id', message.user_id, 'role', message.role, 'content', message.content,
        'tool_calls', message.tool_calls, 'tool_call_id', message.tool_call_id, 'metadata', '{}'::jsonb,
        'is_internal', false, 'is_history', false, 'occurrence', 0, 'position', 0
    ) || message.said) r
$function$;

--: function public.chopsky_schedule_prune(wanted boolean)
CREATE OR REPLACE FUNCTION public.chopsky_schedule_prune(wanted boolean)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    if to_regprocedure('cron.schedule(text,text,text)') is null then
        return false;
    end if;
    if wanted then
        execute 'select cron.schedule($1, $2, $3)'
        using 'chopsky-trace prune', '* * * * *', 'select public.chopsky_prune(20, 1000, for_at_most => ''700 milliseconds'')';
    else
        execute 'select cron.unschedule(j.jobid) from cron.job j where j.jobname = $1' using 'chopsky-trace prune';
    end if;
    return true;
end
$function$;

--: function public.chopsky_session_moves(state text)
CREATE OR REPLACE FUNCTION public.chopsky_session_moves(state text)
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO ''
AS $function$
    select case state
        when 'initial' then array['gathering', 'clarifying', 'planning', 'delivered', 'cancelled']
        when 'gathering' then array['clarifying', 'planning', 'delivered', 'cancelled']
        when 'clarifying' then array['gathering', 'planning', 'delivered', 'cancelled']
        when 'planning' then array['gathering', 'clarifying', 'confirming', 'delegated', 'delivered', 'cancelled']
        when 'confirming' then array['clarifying', 'planning', 'delegated', 'delivered', 'cancelled']
        when 'delegated' then array['planning', 'reviewing', 'delivered', 'cancelled']
        when 'reviewing' then array['planning', 'delegated', 'delivered', 'cancelled']
        else '{}'
    end
$function$;

--: function public.chopsky_settle_feedback(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_settle_feedback(run_ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    found_ids uuid[];
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.feedback', 0));
    found_ids := array(select f.id from public.conversation_feedback f where f.conversation_run_id = any (run_ids));
    -- Nearly always there is none. Where there is much (of runs that never come), it is looked up row by row, never read through.
    if exists (select 1 from public.conversation_feedback f where f.is_pending) then
        found_ids := found_ids || array(
            select f.id from public.conversation_feedback f where f.is_pending and f.about_id = any (run_ids)
            union all
            select l.id
            from public.conversation_spans s
            cross join lateral (
                select f.id from public.conversation_feedback f where f.about_id = s.id and f.is_pending offset 0
            ) l
            where s.conversation_run_id = any (run_ids)
            union all
            select l.id
            from public.conversation_messages m
            cross join lateral (
                select f.id from public.conversation_feedback f where f.about_id = m.id and f.is_pending offset 0
            ) l
            where m.conversation_run_id = any (run_ids)
        );
    end if;
    if found_ids <> '{}' then
        perform set_config('chopsky_trace.recompute', 'on', true);
        perform public.chopsky_rate_runs(public.chopsky_resolve_feedback(found_ids));
        perform set_config('chopsky_trace.recompute', was, true);
    end if;
end
$function$;

--: function public.chopsky_settle_imported_feedback(feedback_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_settle_imported_feedback(feedback_ids uuid[])
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    refused bigint;
begin
    delete from public.conversation_feedback f
    using public.conversation_tombstones t
    where f.id = any (feedback_ids) and (
        t.hash in (
            public.chopsky_tombstone('run', f.about_id::text), public.chopsky_tombstone('run', f.conversation_run_id::text)
        ) or (f.created_at < t.erased_at and t.hash in (
            public.chopsky_tombstone('person', f.user_id), public.chopsky_tombstone('person', f.user_id, f.tenant_id),
            public.chopsky_tombstone('person', f.given_by), public.chopsky_tombstone('person', f.given_by, f.tenant_id)
        ))
    );
    get diagnostics refused = row_count;
    perform public.chopsky_place_feedback(feedback_ids);
    return refused;
end
$function$;

--: function public.chopsky_settle_messages(keys uuid[], bodies uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_settle_messages(keys uuid[], bodies uuid[])
 RETURNS SETOF uuid
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    perform public.chopsky_pair_messages(keys, bodies);
    return query with pair as (
        select distinct p.session_key, p.body_id from unnest(keys, bodies) as p (session_key, body_id)
    )
    delete from public.conversation_messages h
    using pair
    where h.session_key = pair.session_key and h.body_id = pair.body_id and h.is_history
        and (
            (
                select count(*) from public.conversation_messages o
                where o.session_key = h.session_key and o.body_id = h.body_id and not o.is_history
            ) > h.occurrence
            or exists (
                select 1 from public.conversation_messages e
                where e.session_key = h.session_key and e.body_id = h.body_id and e.is_history
                    and e.occurrence = h.occurrence and (e.created_at, e.id) < (h.created_at, h.id)
            )
        )
    returning h.conversation_run_id;
end
$function$;

--: function public.chopsky_settle_said(message_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_settle_said(message_ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    keys uuid[];
    bodies uuid[];
    changed uuid[];
begin
    update public.conversation_messages m
    set body_id = public.chopsky_text_body_id(m.role, m.content, m.tool_call_id, m.name)
    where m.id = any (message_ids) and m.body_id is null and m.content is not null and m.parts is null and m.tool_calls is null;
    select array_agg(m.session_key), array_agg(m.body_id) into keys, bodies
    from public.conversation_messages m
    where m.id = any (message_ids) and m.body_id is not null and m.session_key is not null;
    changed := array(select distinct u from public.chopsky_settle_messages(keys, bodies) u where u is not null);
    if changed <> '{}' then
        perform public.recompute_runs(changed);
    end if;
end
$function$;

--: function public.chopsky_settle_scope(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_settle_scope(run_ids uuid[])
 RETURNS SETOF uuid
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    due record;
begin
    -- Looked up first: nearly always there is nothing to change, and merely to begin an update takes as long as the look.
    for due in
        select r.id, s.user_id, s.session_id, s.environment
        from public.conversation_runs r
        join (
            select
                c.conversation_run_id as id,
                (array_agg(c.scope ->> 'user_id' order by c.id = c.conversation_run_id desc, c.parent_span_id is not null, c.started_at, c.id)
                    filter (where c.scope ->> 'user_id' is not null))[1] as user_id,
                (array_agg(c.scope ->> 'session_id' order by c.id = c.conversation_run_id desc, c.parent_span_id is not null, c.started_at, c.id)
                    filter (where c.scope ->> 'session_id' is not null))[1] as session_id,
                (array_agg(c.scope ->> 'environment' order by c.id = c.conversation_run_id desc, c.parent_span_id is not null, c.started_at, c.id)
                    filter (where c.scope ->> 'environment' is not null))[1] as environment
            from public.conversation_spans c
            where c.conversation_run_id = any (run_ids)
            group by c.conversation_run_id
        ) s on s.id = r.id
        where not r.scope_by_hand and (r.user_id, r.session_id, r.environment) is distinct from (s.user_id, s.session_id, s.environment)
        order by r.id
    loop
        update public.conversation_runs r
        set user_id = due.user_id, session_id = due.session_id, environment = due.environment
        where r.id = due.id;
        return next due.id;
    end loop;
end
$function$;

--: function public.chopsky_settle_sessions(keys uuid[], patience interval)
CREATE OR REPLACE FUNCTION public.chopsky_settle_sessions(keys uuid[], patience interval DEFAULT '00:00:01'::interval)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    early uuid[];
    projects text[];
begin
    if coalesce(cardinality(keys), 0) = 0 then
        return;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    -- A session that an application made before its first run has no project yet: that run's it is.
    select array_agg(s.session_key), array_agg(r.project) into early, projects
    from unnest(keys) k (key)
    cross join lateral (
        select o.project, o.tenant_id, o.user_id, o.session_id from public.conversation_runs o
        where o.session_key = k.key and o.session_id is not null and o.project is not null and not o.merged
        limit 1
    ) r
    join public.conversation_sessions s on s.session_id = r.session_id and s.project is null and s.by_hand
        and s.user_id is not distinct from r.user_id and s.tenant_id is not distinct from r.tenant_id
        and not exists (select 1 from public.conversation_sessions e where e.session_key = k.key)
        and not exists (select 1 from public.conversation_runs o where o.session_key = s.session_key);
    perform public.chopsky_lock_sessions(keys || early, patience);
    if early is not null then
        update public.conversation_sessions s
        set project = e.project
        from unnest(early, projects) e (key, project)
        where s.session_key = e.key;
    end if;

    insert into public.conversation_sessions as s (
        id, session_id, project, tenant_id, user_id, by_hand, created_at, updated_at, last_activity_at
    )
    select
        -- "offset 0": each by the key, also where the plan was made while the table was small.
        case when exists (select 1 from public.conversation_sessions e where e.id = k.key offset 0) then gen_random_uuid() else k.key end,
        f.session_id, f.project, f.tenant_id, f.user_id, false, f.began, l.at, l.at
    from (select distinct u.key from unnest(keys) u (key)) k
    cross join lateral (
        select r.session_id, r.project, r.tenant_id, r.user_id, coalesce(r.started_at, r.created_at) as began
        from public.conversation_runs r
        where r.session_key = k.key and r.session_id is not null and not r.merged
        order by coalesce(r.started_at, r.created_at), r.id limit 1
    ) f
    cross join lateral (
        select coalesce(r.ended_at, r.started_at, r.created_at) as at
        from public.conversation_runs r
        where r.session_key = k.key and not r.merged
        order by coalesce(r.started_at, r.created_at) desc, r.id desc limit 1
    ) l
    order by k.key
    on conflict (session_key) do update
    set created_at = case when s.by_hand then s.created_at else excluded.created_at end,
        (last_activity_at, updated_at) = (
            select z.at, case when s.by_hand then greatest(s.updated_at, z.at) else z.at end
            from (select greatest(excluded.last_activity_at, s.driven_at, public.chopsky_said_by_hand(s.session_key)) as at) z
        )
    where s.last_activity_at <> greatest(excluded.last_activity_at, s.driven_at, public.chopsky_said_by_hand(s.session_key))
        or (not s.by_hand and s.created_at <> excluded.created_at);

    delete from public.conversation_sessions s
    where s.session_key = any (keys) and not s.by_hand
        and not exists (select 1 from public.conversation_runs r where r.session_key = s.session_key and not r.merged)
        and public.chopsky_said_by_hand(s.session_key) is null;
    perform set_config('chopsky_trace.recompute', was, true);
end
$function$;

--: function public.chopsky_settle_turns(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.chopsky_settle_turns(run_ids uuid[])
 RETURNS SETOF uuid
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
 SET enable_nestloop TO 'off'
AS $function$
begin
    return query with recursive span as materialized (
        select
            s.id, s.conversation_run_id as run_id, s.parent_span_id, s.kind, s.source, s.question_keys, s.answer_keys, s.started_at,
            s.ended_at, s.told -> 'rows' as told_rows, (s.parent_span_id is null or s.is_entry) and s.start_version is not null as is_first
        from public.conversation_spans s
        where s.conversation_run_id = any (run_ids)
    ), run as materialized (
        select s.run_id as id
        from span s
        group by s.run_id
        having bool_or(s.source = 'otel' and s.is_first) and bool_or(num_nonnulls(s.question_keys, s.answer_keys) > 0)
    ), told as materialized (
        select s.id, s.run_id, s.parent_span_id, s.kind = 'llm' as is_call, s.question_keys, s.answer_keys, s.started_at
        from run
        join span s on s.run_id = run.id
        where s.kind = 'llm' or s.question_keys is not null or s.answer_keys <> '{}'
    ), up (id, top_id, run_id, next_id, step) as (
        select t.id, t.id, t.run_id, t.parent_span_id, 1 from told t
        union all
        select
            u.id,
            -- Of those that are about a model.
            case when p.answer_keys is not null or p.kind in ('llm', 'embedding', 'image') then p.id else u.top_id end,
            u.run_id, p.parent_span_id, u.step + 1
        from up u
        join span p on p.id = u.next_id and p.run_id = u.run_id
        -- Parents may form a ring.
        where u.step < 100
    ), top as materialized (
        select distinct on (u.id) u.id, u.top_id from up u order by u.id, u.step desc
    ), claim as materialized (
        select distinct t.run_id, k.key
        from told t
        join top p on p.id = t.id and p.top_id = t.id
        cross join lateral unnest(t.answer_keys) k (key)
        where not t.is_call
    ), message as materialized (
        select
            m.id, m.conversation_run_id as run_id, m.session_key, m.span_id, m.body_id, m.role, m.is_internal, m.position,
            -- What only a claim asks for.
            case when m.role = 'assistant' and m.content <> '' and m.tool_calls is null and m.conversation_run_id in (select c.run_id from claim c)
                then substr(encode(sha256(convert_to(m.content, 'UTF8')), 'hex'), 1, 32)::uuid end as text_key
        from run
        cross join lateral (
            select m.* from public.conversation_messages m
            where m.conversation_run_id = run.id and m.role in ('user', 'assistant') and not m.is_history
                -- To ask for a tool is no answer to the user.
                and (m.content <> '' or m.tool_calls is null)
            offset 0
        ) m
    ), said as materialized (
        select
            m.id, m.run_id, m.session_key, m.span_id, m.body_id, m.role, m.is_internal, m.position, t.top_id,
            s.kind = 'llm' as is_call, s.ended_at, m.text_key
        from message m
        left join span h on h.id = m.span_id
        left join top t on t.id = m.span_id
        cross join lateral (
            select h.kind, h.source, h.ended_at, h.told_rows where h.id is not null
            union all
            -- One that has moved to another run.
            select e.kind, e.source, e.ended_at, e.told -> 'rows'
            from public.conversation_spans e where h.id is null and e.id = m.span_id
            offset 0
        ) s
        where s.source = 'otel'
            -- Of answers that two told of one call only one is shown.
            and (s.told_rows is null or not exists (
                select 1 from jsonb_array_elements(s.told_rows) e
                where e ->> 'as' = 'hidden' and (e -> 'row' ->> 'id')::uuid = m.id
            ))
), question as materialized (
        select distinct t.run_id, k.body_id
        from (
            select distinct on (p.top_id) t.run_id, t.question_keys
            from told t
            join top p on p.id = t.id
            where (t.id = p.top_id and not t.is_call and t.question_keys is not null) or (t.is_call and t.question_keys <> '{}')
            order by p.top_id, t.is_call, t.started_at, t.id
        ) t
        cross join lateral unnest(t.question_keys) k (body_id)
    ), asked as materialized (
        select distinct t.run_id, k.body_id from told t cross join lateral unnest(t.question_keys) k (body_id) where t.is_call
    ), answered as materialized (
        select distinct on (c.run_id, c.key) c.run_id, c.key, s.id
        from said s
        cross join lateral (values (s.text_key), (s.body_id)) v (key)
        join claim c on c.run_id = s.run_id and c.key = v.key
        where s.is_call and s.role = 'assistant'
        order by c.run_id, c.key, s.ended_at desc, s.span_id desc, s.position, s.id
    ), last_call as materialized (
        select distinct on (s.top_id) s.span_id
        from said s
        join span p on p.id = s.top_id
        where s.is_call and s.role = 'assistant' and coalesce(p.answer_keys, '{}') = '{}'
        order by s.top_id, s.ended_at desc, s.span_id desc
    ), due as materialized (
        select
            d.id, d.run_id, d.session_key, d.role, d.body_id, d.is_internal, d.is_shown,
            not d.is_shown and not d.is_call and (
                d.role = 'assistant' or not exists (select 1 from asked a where a.run_id = d.run_id and a.body_id = d.body_id)
            ) as gives_way
        from (
            select s.*, case
                when s.role = 'user' then
                    exists (select 1 from question q where q.run_id = s.run_id and q.body_id = s.body_id)
                when s.is_call then
                    s.id in (select a.id from answered a) or s.span_id in (select l.span_id from last_call l)
                else
                    exists (select 1 from claim c where c.run_id = s.run_id and c.key in (s.text_key, s.body_id))
                    and not exists (select 1 from answered a where a.run_id = s.run_id and a.key in (s.text_key, s.body_id))
                end as is_shown
            from said s
        ) d
    ), leaving as materialized (
        -- Where another run of the session may have counted on it, the body stays, as one that prompts tell of.
        select d.id, exists (
            select 1 from public.conversation_runs r where r.session_key = d.session_key and r.id <> d.run_id
        ) and (d.role = 'user' or not exists (
            select 1 from said c where c.run_id = d.run_id and c.body_id = d.body_id and c.is_call
        )) as is_history
        from due d where d.gives_way
    ), changed as (
        update public.conversation_messages m
        set is_internal = not m.is_internal
        where m.id = any (array(select d.id from due d where not d.gives_way and d.is_internal = d.is_shown))
        returning m.conversation_run_id
    ), kept as (
        update public.conversation_messages m
        set is_internal = true, is_history = true, occurrence = 0
        where m.id = any (array(select l.id from leaving l where l.is_history))
        returning m.conversation_run_id
    ), gone as (
        delete from public.conversation_messages m
        where m.id = any (array(select l.id from leaving l where not l.is_history))
        returning m.conversation_run_id
    )
    select c.conversation_run_id from changed c
    union select k.conversation_run_id from kept k
    union select g.conversation_run_id from gone g;
end
$function$;

--: function public.chopsky_share_messages(ids uuid[], owners uuid[], places integer[])
CREATE OR REPLACE FUNCTION public.chopsky_share_messages(ids uuid[], owners uuid[], places integer[])
 RETURNS SETOF uuid
 LANGUAGE sql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
    with member as materialized (
        select
            s.id as span_id, d.owner_id, d.place, s.conversation_run_id as run_id, s.end_version, s.told,
            c.id as call_id, c.conversation_run_id = s.conversation_run_id as is_at_home, c.cost, c.usage_source,
            case when c.output_tokens between 0 and 2147483647 then c.output_tokens::integer end as output_tokens
        from unnest(ids, owners, places) d (id, owner_id, place)
        join public.conversation_spans s on s.id = d.id
        join public.conversation_spans c on c.id = coalesce(d.owner_id, d.id)
        where d.owner_id is not null or s.told is not null
    ), live as materialized (
        select m.*
        from member x
        join public.conversation_messages m on m.conversation_run_id = x.run_id and m.span_id = x.span_id
        where m.role = 'assistant' and not m.is_history
    ), kept as materialized (
        select x.span_id as kept_of, e.value ->> 'as' as kept_as, r.*
        from member x
        cross join lateral jsonb_array_elements(x.told -> 'rows') e
        cross join lateral jsonb_populate_record(null::public.conversation_messages, e.value -> 'row') r
    ), own as materialized (
        -- A row that came again merges with what was kept of it, as it would have with itself.
        select
            coalesce(l.id, k.id) as id, coalesce(l.span_id, k.kept_of) as span_id, coalesce(l.body_id, k.body_id) as body_id,
            l.id is not null as is_live, k.kept_as,
            case when k.id is null then l.is_internal when l.id is null then k.is_internal
                when k.kept_as = 'hidden' and l.is_internal then k.is_internal else l.is_internal and k.is_internal end as is_internal,
            least(l.created_at, k.created_at) as created_at,
            case when (k.created_at, k.position) < (l.created_at, l.position) or l.id is null then k.position else l.position end as position,
            v.token_count, v.token_count_source, v.response_time_ms, v.cost, v.model, v.provider, v.version
        from live l
        full join kept k on k.id = l.id
        cross join lateral (
            select k.token_count, k.token_count_source, k.response_time_ms, k.cost, k.model, k.provider, k.version
            where k.id is not null and (l.id is null or coalesce(k.version, '') >= coalesce(l.version, ''))
            union all
            select l.token_count, l.token_count_source, l.response_time_ms, l.cost, l.model, l.provider, l.version
            where l.id is not null and (k.id is null or coalesce(k.version, '') < coalesce(l.version, ''))
        ) v
    ), placed as (
        select
            o.*, x.owner_id, x.call_id, x.run_id, x.is_at_home, x.cost as call_cost, x.output_tokens, x.usage_source,
            first_value(o.span_id) over (partition by x.call_id order by x.place) as teller,
            o.version = x.end_version and row_number() over (
                partition by o.span_id order by o.version is distinct from x.end_version, o.position, o.id
            ) = 1 as is_first
        from own o
        join member x on x.span_id = o.span_id
    ), due as materialized (
        select
            p.*,
            case
                when p.owner_id is null then null
                when p.span_id = p.teller then case when not p.is_first then null when p.is_at_home then 'carrier' else 'apart' end
                when exists (select 1 from own t where t.span_id = p.teller and t.body_id = p.body_id) then 'gone'
                else 'hidden'
            end as due_as
        from placed p
    ), written as (
        update public.conversation_messages m
        set is_internal = d.is_internal or coalesce(d.due_as = 'hidden', false),
            cost = case when d.due_as in ('hidden', 'apart') then 0 when d.is_first then d.call_cost else d.cost end,
            token_count = case when d.is_first and d.is_at_home and d.due_as is distinct from 'hidden' then d.output_tokens else d.token_count end,
            token_count_source = case when d.is_first and d.is_at_home and d.due_as is distinct from 'hidden' then d.usage_source else d.token_count_source end,
            response_time_ms = d.response_time_ms, model = d.model, provider = d.provider, version = d.version,
            created_at = d.created_at, position = d.position
        from due d
        where m.id = d.id and d.is_live and d.due_as is distinct from 'gone'
            and (d.due_as is not null or d.kept_as is not null)
            and (
                m.is_internal, m.cost, m.token_count, m.token_count_source, m.response_time_ms, m.model, m.provider, m.version,
                m.created_at, m.position
            ) is distinct from (
                d.is_internal or coalesce(d.due_as = 'hidden', false),
                case when d.due_as in ('hidden', 'apart') then 0 when d.is_first then d.call_cost else d.cost end,
                case when d.is_first and d.is_at_home and d.due_as is distinct from 'hidden' then d.output_tokens else d.token_count end,
                case when d.is_first and d.is_at_home and d.due_as is distinct from 'hidden' then d.usage_source else d.token_count_source end,
                d.response_time_ms, d.model, d.provider, d.version, d.created_at, d.position
            )
        returning m.conversation_run_id
    ), gone as (
        delete from public.conversation_messages m
        using due d
        where m.id = d.id and d.is_live and d.due_as = 'gone'
        returning m.conversation_run_id
    ), back as (
        insert into public.conversation_messages (
            id, body_id, conversation_run_id, span_id, session_id, tenant_id, user_id, role, content, parts, tool_calls,
            tool_call_id, name, is_internal, token_count, token_count_source, response_time_ms, cost, model, provider, metadata,
            session_key, position, version, created_at
        )
        select
            d.id, d.body_id, d.run_id, d.span_id, r.session_id, r.tenant_id, r.user_id, 'assistant', b.content, b.parts, b.tool_calls,
            b.tool_call_id, b.name, d.is_internal or coalesce(d.due_as = 'hidden', false),
            case when d.is_first and d.is_at_home and d.due_as is distinct from 'hidden' then d.output_tokens else d.token_count end,
            case when d.is_first and d.is_at_home and d.due_as is distinct from 'hidden' then d.usage_source else d.token_count_source end,
            d.response_time_ms,
            case when d.due_as in ('hidden', 'apart') then 0 when d.is_first then d.call_cost else d.cost end,
            d.model, d.provider, coalesce(b.metadata, '{}'), r.session_key, d.position, d.version, d.created_at
        from due d
        join public.conversation_runs r on r.id = d.run_id
        left join lateral (
            select o.content, o.parts, o.tool_calls, o.tool_call_id, o.name, o.metadata
            from public.conversation_messages o
            where o.body_id = d.body_id and num_nonnulls(o.content, o.parts, o.tool_calls) > 0 and o.conversation_run_id is not null
            order by o.session_key = r.session_key desc, o.id
            limit 1
        ) b on true
        where not d.is_live and d.due_as is distinct from 'gone'
        order by d.id
        on conflict (id) do nothing
        returning conversation_run_id
    ), list as (
        select
            d.span_id,
            jsonb_agg(jsonb_build_object('as', d.due_as, 'row', jsonb_build_object(
                'id', d.id, 'body_id', d.body_id, 'is_internal', d.is_internal, 'token_count', d.token_count,
                'token_count_source', d.token_count_source, 'response_time_ms', d.response_time_ms, 'cost', d.cost,
                'model', d.model, 'provider', d.provider, 'version', d.version, 'position', d.position,
                'created_at', d.created_at
            )) order by d.id) as rows
        from due d where d.due_as is not null group by d.span_id
    ), noted as (
        update public.conversation_spans s
        set told = case when x.owner_id is null then null when l.rows is null then s.told - 'rows'
            else s.told || jsonb_build_object('rows', l.rows) end
        from member x
        left join list l on l.span_id = x.span_id
        where s.id = x.span_id and s.told is distinct from (
            case when x.owner_id is null then null when l.rows is null then s.told - 'rows'
                else s.told || jsonb_build_object('rows', l.rows) end
        )
        returning s.conversation_run_id
    )
    select w.conversation_run_id from written w
    union select g.conversation_run_id from gone g
    union select b.conversation_run_id from back b
    union select n.conversation_run_id from noted n
$function$;

--: function public.chopsky_share_numbers(ids uuid[], owners uuid[], places integer[], sums boolean[])
CREATE OR REPLACE FUNCTION public.chopsky_share_numbers(ids uuid[], owners uuid[], places integer[], sums boolean[])
 RETURNS SETOF uuid
 LANGUAGE sql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
    with member as materialized (
        select d.owner_id, d.place, d.is_sum, t.*
        from unnest(ids, owners, places, sums) d (member_id, owner_id, place, is_sum)
        join public.conversation_spans s on s.id = d.member_id
        cross join lateral public.chopsky_as_told(s) t
        where d.owner_id is not null or s.told is not null
    ), best as (
        -- A whole that is known, then one that was reported, that fits its parts, that has most of them, that has a price.
        select distinct on (m.owner_id) m.owner_id as call_id, m.*
        from member m
        where m.owner_id is not null and not m.is_sum
        order by m.owner_id, m.total_tokens is null,
            array_position(array['reported', 'computed', 'estimated'], coalesce(m.usage_source, 'unknown')) nulls last,
            coalesce(m.usage_details ? 'violations', false),
            num_nonnulls(m.input_tokens, m.output_tokens, m.cache_read_tokens, m.cache_write_tokens, m.reasoning_tokens, m.audio_tokens) desc,
            m.cost is null, m.place
    ), heard as (
        select
            m.owner_id as call_id,
            (array_agg(m.response_id order by m.place) filter (where m.response_id is not null))[1] as response_id,
            -- A framework may say the name it was given; the provider's SDK has the answer's.
            (array_agg(m.model order by not m.is_provider, m.place) filter (where m.model is not null))[1] as model,
            (array_agg(m.finish_reason order by m.place) filter (where m.finish_reason is not null))[1] as finish_reason,
            (array_agg(m.time_to_first_token_ms order by m.place) filter (where m.time_to_first_token_ms is not null))[1] as time_to_first_token_ms
        from member m
        where m.owner_id is not null and not m.is_sum
        group by m.owner_id
    ), due as (
        select
            m.id, nullif(m.owner_id, m.id) as duplicate_of,
            case when m.owner_id is null then m.told else
                jsonb_build_object(
                    'end_version', m.end_version, 'input_tokens', m.input_tokens, 'output_tokens', m.output_tokens,
                    'total_tokens', m.total_tokens, 'cache_read_tokens', m.cache_read_tokens,
                    'cache_write_tokens', m.cache_write_tokens, 'reasoning_tokens', m.reasoning_tokens,
                    'audio_tokens', m.audio_tokens, 'usage_details', m.usage_details, 'usage_source', m.usage_source,
                    'cost', m.cost, 'cost_source', m.cost_source, 'reported_cost', m.reported_cost, 'price_rates', m.price_rates,
                    'response_id', m.response_id, 'model', m.model, 'finish_reason', m.finish_reason,
                    'time_to_first_token_ms', m.time_to_first_token_ms
                )
                || case when m.told ? 'rows' then jsonb_build_object('rows', m.told -> 'rows') else '{}' end
                || case when b.id is not null then jsonb_build_object('usage_of', b.id) else '{}' end
            end as told,
            -- Nobody else told of it: its own. The owner: the best. Another: nothing.
            x.input_tokens, x.output_tokens, x.total_tokens, x.cache_read_tokens, x.cache_write_tokens, x.reasoning_tokens,
            x.audio_tokens, x.usage_details, x.usage_source, x.cost, x.cost_source, x.reported_cost, x.price_rates,
            coalesce(m.response_id, h.response_id) as response_id, coalesce(h.model, m.model) as model,
            coalesce(m.finish_reason, h.finish_reason) as finish_reason,
            coalesce(m.time_to_first_token_ms, h.time_to_first_token_ms) as time_to_first_token_ms
        from member m
        left join best b on b.call_id = m.id
        left join heard h on h.call_id = m.id
        left join member x on x.id = case when m.owner_id is null then m.id else b.id end
    )
    update public.conversation_spans s
    set duplicate_of = d.duplicate_of, told = d.told,
        input_tokens = d.input_tokens, output_tokens = d.output_tokens, total_tokens = d.total_tokens,
        cache_read_tokens = d.cache_read_tokens, cache_write_tokens = d.cache_write_tokens,
        reasoning_tokens = d.reasoning_tokens, audio_tokens = d.audio_tokens, usage_details = d.usage_details,
        usage_source = d.usage_source, cost = d.cost, cost_source = d.cost_source, reported_cost = d.reported_cost,
        price_rates = d.price_rates, response_id = d.response_id, model = d.model, finish_reason = d.finish_reason,
        time_to_first_token_ms = d.time_to_first_token_ms
    from due d
    where s.id = d.id and (
        s.duplicate_of, s.told, s.input_tokens, s.output_tokens, s.total_tokens, s.cache_read_tokens, s.cache_write_tokens,
        s.reasoning_tokens, s.audio_tokens, s.usage_details, s.usage_source, s.cost, s.cost_source, s.reported_cost,
        s.price_rates, s.response_id, s.model, s.finish_reason, s.time_to_first_token_ms
    ) is distinct from (
        d.duplicate_of, d.told, d.input_tokens, d.output_tokens, d.total_tokens, d.cache_read_tokens, d.cache_write_tokens,
        d.reasoning_tokens, d.audio_tokens, d.usage_details, d.usage_source, d.cost, d.cost_source, d.reported_cost,
        d.price_rates, d.response_id, d.model, d.finish_reason, d.time_to_first_token_ms
    )
    returning s.conversation_run_id
$function$;

--: function public.chopsky_tenant_id()
CREATE OR REPLACE FUNCTION public.chopsky_tenant_id()
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select coalesce(auth.jwt() -> 'app_metadata' ->> 'tenant_id', auth.jwt() ->> 'tenant_id')
$function$;

--: function public.chopsky_text_body_id(role text, content text, tool_call_id text, name text)
CREATE OR REPLACE FUNCTION public.chopsky_text_body_id(role text, content text, tool_call_id text, name text)
 RETURNS uuid
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select encode(substr(sha256(convert_to(
        '[' || to_json(role)::text || ',' || to_json(content)::text || ',[],' || to_json(coalesce(tool_call_id, ''))::text || ','
        || to_json(case when role = 'assistant' then '' else coalesce(name, '') end)::text || ']', 'UTF8'
    )), 1, 16), 'hex')::uuid
$function$;

--: function public.chopsky_tombstone(kind text, id text, tenant_id text)
CREATE OR REPLACE FUNCTION public.chopsky_tombstone(kind text, id text, tenant_id text DEFAULT NULL::text)
 RETURNS bytea
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select sha256(
        k.key || convert_to(kind || coalesce(length(tenant_id) || ':' || tenant_id, '-') || chopsky_tombstone.id, 'UTF8')
    )
    from public.chopsky_keys k where k.name = 'tombstones'
$function$;

--: function public.chopsky_tombstones_kept()
CREATE OR REPLACE FUNCTION public.chopsky_tombstones_kept()
 RETURNS interval
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select case when exists (select 1 from public.retention_policies p where p.what = 'tombstones')
        then (select p.keep_for from public.retention_policies p where p.what = 'tombstones') else interval '1 year' end
$function$;

--: function public.chopsky_usage_key(day date, tenant_id text, user_id text, provider text, model text)
CREATE OR REPLACE FUNCTION public.chopsky_usage_key(day date, tenant_id text, user_id text, provider text, model text)
 RETURNS uuid
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO ''
AS $function$
begin
    return md5(
        (day - date '2000-01-01')::text || coalesce('.' || length(tenant_id) || ':' || tenant_id, '-')
        || coalesce('.' || length(user_id) || ':' || user_id, '-')
        || coalesce('.' || length(provider) || ':' || provider, '-') || coalesce('.' || length(model) || ':' || model, '-')
    )::uuid;
end
$function$;

--: function public.chopsky_write_contents(contents json)
CREATE OR REPLACE FUNCTION public.chopsky_write_contents(contents json)
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
    with given as (
        select
            r.id as run_id, r.session_key, g.*,
            -- Media that the session has need not be kept again: every turn sends the history's images anew.
            row_number() over (
                partition by case when g.kind = 'media' then r.session_key else r.id end, g.id order by g.data is null, r.id
            ) as place
        from json_to_recordset(contents) as g (
            conversation_run_id uuid, id uuid, kind text, text text, document jsonb, media_type text, size_bytes bigint, data text
        )
        -- A run that has joined another is a span of it now.
        join public.conversation_runs r on r.id = coalesce(
            (select n.id from public.conversation_runs n where n.id = g.conversation_run_id),
            (select s.conversation_run_id from public.conversation_spans s where s.id = g.conversation_run_id)
        )
    )
    insert into public.conversation_contents as c (conversation_run_id, id, kind, text, document, media_type, size_bytes, data)
    select g.run_id, g.id, g.kind, g.text, g.document, g.media_type, g.size_bytes, decode(g.data, 'base64')
    from given g
    where g.place = 1 and (g.kind <> 'media' or not exists (
        select 1
        from public.conversation_contents o
        join public.conversation_runs q on q.id = o.conversation_run_id
        where o.id = g.id and q.session_key = g.session_key and q.id <> g.run_id and (g.data is null or o.data is not null)
    ))
    order by g.run_id, g.id
    on conflict (conversation_run_id, id) do update
    set data = excluded.data
    where c.data is null and excluded.data is not null
$function$;

--: function public.chopsky_write_costs(costs json)
CREATE OR REPLACE FUNCTION public.chopsky_write_costs(costs json)
 RETURNS SETOF uuid
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_custom_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    run_ids uuid[];
    written uuid[];
    carriers uuid[];
begin
    perform set_config('chopsky_trace.recompute', 'on', true);
    run_ids := array(select distinct g.conversation_run_id from json_to_recordset(costs) as g (conversation_run_id uuid));
    -- As ingest does: runs first, in id order, then what is theirs.
    perform 1 from public.conversation_runs r where r.id = any (run_ids) order by r.id for no key update;

    with given as materialized (
        select * from json_to_recordset(costs) as g (
            id uuid, conversation_run_id uuid, start_version text, end_version text, old_cost numeric, old_cost_source text,
            cost numeric, cost_source text, price_rates jsonb
        )
    ), changed as (
        update public.conversation_spans s
        set cost = g.cost, cost_source = g.cost_source, price_rates = g.price_rates
        from given g
        where s.id = g.id and s.conversation_run_id = g.conversation_run_id and s.duplicate_of is null
            and (s.start_version, s.end_version, s.cost, s.cost_source)
                is not distinct from (g.start_version, g.end_version, g.old_cost, g.old_cost_source)
        returning s.id
    )
    select coalesce(array_agg(c.id), '{}') into written from changed c;
    -- Of a call that several told of: where its usage is from has the cost too, so that it stays when they are settled again.
    update public.conversation_spans s
    set told = s.told || jsonb_build_object('cost', c.cost, 'cost_source', c.cost_source, 'price_rates', c.price_rates)
    from public.conversation_spans c
    where c.id = any (written) and c.told is not null and s.id = (c.told ->> 'usage_of')::uuid;

    carriers := array(
        select distinct on (m.span_id) m.id
        from public.conversation_messages m
        -- Only a row that a call's end told of has a version.
        where m.conversation_run_id = any (run_ids) and m.span_id = any (written)
            and m.role = 'assistant' and not m.is_history and m.version is not null
        order by m.span_id, m.position, m.id
    ) || array(
        select (e.value #>> '{row,id}')::uuid
        from public.conversation_spans c
        join public.conversation_spans s on s.duplicate_of = c.id and s.conversation_run_id = c.conversation_run_id
        cross join lateral jsonb_array_elements(s.told -> 'rows') e
        where c.id = any (written) and c.told is not null and e.value ->> 'as' = 'carrier'
    );
    update public.conversation_messages m
    set cost = c.cost
    from public.conversation_spans s
    join public.conversation_spans c on c.id = coalesce(s.duplicate_of, s.id)
    where m.id = any (carriers) and s.id = m.span_id and m.cost is distinct from c.cost;

    run_ids := array(select distinct s.conversation_run_id from public.conversation_spans s where s.id = any (written));
    perform public.chopsky_recompute(run_ids, '{}');
    perform public.chopsky_count_usage(run_ids);
    perform set_config('chopsky_trace.recompute', was, true);
    return query select u from unnest(written) u;
end
$function$;

--: function public.chopsky_write_feedback(feedback json)
CREATE OR REPLACE FUNCTION public.chopsky_write_feedback(feedback json)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    given record;
    known uuid;
    written uuid[] := '{}';
    patience constant text := current_setting('lock_timeout');
begin
    -- Who gives the same by hand now has its row, and waits for runs that we have.
    perform set_config('lock_timeout', '50ms', true);
    for given in
        select
            g.id, g.about_id, g.answer, g.given_by, coalesce(g.key, 'user_satisfaction') as key,
            case when g.thumbs in ('up', 'down') then g.thumbs end as thumbs, s.score,
            -- What is no score of its kind is kept as what it is.
            coalesce(g.value, case when s.score is null then to_jsonb(g.score) end) as value,
            g.comment, coalesce(g.source, 'api') as source, coalesce(g.metadata, '{}') as metadata,
            coalesce(g.version, public.chopsky_feedback_version(coalesce(g.created_at, now()))) as version,
            coalesce(g.created_at, now()) as created_at, coalesce(g.updated_at, g.created_at, now()) as updated_at
        from json_to_recordset(feedback) as g (
            id uuid, about_id uuid, answer integer, given_by text, key text, thumbs text, score numeric, value jsonb,
            comment text, source text, metadata jsonb, version text, created_at timestamptz, updated_at timestamptz
        )
        cross join lateral (
            select case when g.score between -1e15 and 1e15 and (
                coalesce(g.key, 'user_satisfaction') <> 'user_satisfaction' or g.score between 1 and 5
            ) then g.score end as score
        ) s
        order by g.id
    loop
        loop
            -- Not yet derived, its target is what was named, and its user who was said.
            select f.id into known
            from public.conversation_feedback f
            where f.id = given.id or (
                f.target_id = case when given.answer > 0 then md5(given.about_id::text || '/' || given.answer::text)::uuid else given.about_id end
                and f.key = given.key and f.user_id is not distinct from given.given_by
            )
            order by f.id <> given.id limit 1;
            if found then
                perform public.chopsky_lock_feedback(array[known]);
                -- It went meanwhile.
                continue when not exists (select 1 from public.conversation_feedback f where f.id = known);
                update public.conversation_feedback f
                set thumbs = given.thumbs, score = given.score, value = given.value, comment = given.comment,
                    source = given.source, metadata = given.metadata, version = given.version, updated_at = given.updated_at
                where f.id = known and f.version < given.version;
                update public.conversation_feedback f set created_at = given.created_at
                where f.id = known and f.created_at > given.created_at;
                written := written || known;
                exit;
            end if;
            insert into public.conversation_feedback (
                id, about_id, answer, user_id, given_by, key, thumbs, score, value, comment, source, metadata, version,
                is_pending, created_at, updated_at
            )
            values (
                coalesce(given.id, gen_random_uuid()), given.about_id, given.answer, given.given_by, given.given_by, given.key,
                given.thumbs, given.score, given.value, given.comment, given.source, given.metadata, given.version,
                true, given.created_at, given.updated_at
            )
            on conflict do nothing
            returning id into known;
            if found then
                written := written || known;
                exit;
            end if;
            -- Somebody else was faster: theirs is there now.
        end loop;
    end loop;
    perform set_config('lock_timeout', patience, true);
    perform public.chopsky_place_feedback(written);
end
$function$;

--: function public.chopsky_write_messages(messages json)
CREATE OR REPLACE FUNCTION public.chopsky_write_messages(messages json)
 RETURNS uuid[]
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    keys uuid[];
    bodies uuid[];
    lost uuid[];
begin
    with given as materialized (
        select
            g.id, g.body_id, r.id as conversation_run_id, g.span_id, g.sequence, g.role, g.content, g.parts, g.tool_calls, g.tool_call_id,
            g.name, coalesce(g.is_internal, false) as is_internal,
            -- An impossible number costs that number, not the batch.
            case when g.token_count between 0 and 2147483647 then g.token_count::integer end as token_count, g.token_count_source,
            case when g.response_time_ms between 0 and 9999999999 then g.response_time_ms end as response_time_ms,
            case when g.cost between 0 and 9999999999999 then g.cost end as cost,
            g.model, g.provider, g.metadata, coalesce(g.is_history, false) as is_history, coalesce(g.occurrence, 0) as occurrence,
            coalesce(g.position, 0) as position, g.version, coalesce(g.created_at, now()) as created_at,
            r.session_key, r.session_id, r.tenant_id, r.user_id
        from json_to_recordset(messages) as g (
            id uuid, body_id uuid, conversation_run_id uuid, span_id uuid, sequence integer, role text, content text, parts jsonb,
            tool_calls jsonb, tool_call_id text, name text, is_internal boolean, token_count numeric, token_count_source text,
            response_time_ms numeric, cost numeric, model text, provider text, metadata jsonb, is_history boolean,
            occurrence integer, position integer, version text, created_at timestamptz
        )
        -- "offset 0", here and below: each by the key, also where the plan was made while the table was small.
        left join lateral (
            select o.id from public.conversation_runs o where o.id = g.conversation_run_id
            offset 0
        ) named on true
        -- A run that has joined another is a span of it now.
        cross join lateral (
            select o.id, o.session_key, o.session_id, o.tenant_id, o.user_id from public.conversation_runs o
            where o.id = coalesce(
                named.id, (select s.conversation_run_id from public.conversation_spans s where s.id = g.conversation_run_id)
            )
            offset 0
        ) r
    ), bare as materialized (
        -- Rows that only a reference made: nearly always none.
        select m.session_key, m.body_id from public.conversation_messages m
        where m.session_key in (select distinct g.session_key from given g)
            and m.body_id is not null and m.content is null and m.parts is null and m.tool_calls is null
    ), wanted as (
        select g.* from given g
        where not g.is_history or ((
            select count(*) from public.conversation_messages o
            where o.session_key = g.session_key and o.body_id = g.body_id and not o.is_history
        ) <= g.occurrence and not exists (
            select 1 from public.conversation_messages e
            where e.session_key = g.session_key and e.body_id = g.body_id and e.is_history
                and e.occurrence = g.occurrence and e.id <> g.id and (e.created_at, e.id) < (g.created_at, g.id)
        )) or (g.role is not null and exists (
            -- It brings the body that a row from an earlier batch still lacks; settling takes it away again.
            select 1 from bare e where e.session_key = g.session_key and e.body_id = g.body_id
        ))
    ), written as (
        insert into public.conversation_messages as m (
            id, body_id, conversation_run_id, span_id, session_id, tenant_id, user_id, sequence, role, content, parts, tool_calls,
            tool_call_id, name, is_internal, token_count, token_count_source, response_time_ms, cost, model, provider, metadata,
            session_key, is_history, occurrence, position, version, created_at
        )
        select
            w.id, w.body_id, w.conversation_run_id, w.span_id, w.session_id, w.tenant_id, w.user_id, w.sequence,
            -- A body that an earlier batch brought is not sent again: its row has it.
            coalesce(w.role, b.role, 'user'), coalesce(w.content, b.content), coalesce(w.parts, b.parts),
            coalesce(w.tool_calls, b.tool_calls), coalesce(w.tool_call_id, b.tool_call_id), coalesce(w.name, b.name),
            w.is_internal, w.token_count, w.token_count_source, w.response_time_ms,
            -- Only what an assistant said may have been paid somewhere else.
            coalesce(w.cost, case when w.is_history and w.body_id is not null and coalesce(w.role, b.role) <> 'assistant' then 0 end),
            w.model, w.provider, coalesce(w.metadata, b.metadata, '{}'), w.session_key, w.is_history, w.occurrence, w.position, w.version, w.created_at
        from wanted w
        left join lateral (
            select o.role, o.content, o.parts, o.tool_calls, o.tool_call_id, o.name, o.metadata
            from public.conversation_messages o
            where w.role is null and o.session_key = w.session_key and o.body_id = w.body_id
                and num_nonnulls(o.content, o.parts, o.tool_calls) > 0 and o.conversation_run_id is not null
            limit 1
        ) b on true
        order by w.id
        on conflict (id) do update
        set is_internal = m.is_internal and excluded.is_internal,
            created_at = least(m.created_at, excluded.created_at),
            position = case when (excluded.created_at, excluded.position) < (m.created_at, m.position)
                then excluded.position else m.position end,
            -- A row made from a reference alone gets its body when that comes.
            role = case when m.content is null and excluded.content is not null then excluded.role else m.role end,
            content = coalesce(m.content, excluded.content),
            parts = coalesce(m.parts, excluded.parts),
            tool_calls = coalesce(m.tool_calls, excluded.tool_calls),
            tool_call_id = coalesce(m.tool_call_id, excluded.tool_call_id),
            name = coalesce(m.name, excluded.name),
            metadata = case when m.metadata = '{}' then excluded.metadata else m.metadata end,
            span_id = case
                when excluded.version > coalesce(m.version, '') then excluded.span_id
                when m.version is null and (excluded.created_at, excluded.position) < (m.created_at, m.position) then excluded.span_id
                else m.span_id end,
            (token_count, token_count_source) = (
                select z.token_count, z.token_count_source
                from (values
                    (excluded.token_count, excluded.token_count_source, true), (m.token_count, m.token_count_source, false)
                ) z (token_count, token_count_source, is_new)
                where z.is_new = coalesce(excluded.version > coalesce(m.version, '') or (
                    m.version is null and excluded.version is null
                    and (excluded.token_count_source = 'computed', excluded.token_count) > (coalesce(m.token_count_source = 'computed', false), coalesce(m.token_count, -1))
                ), false)
            ),
            response_time_ms = case when excluded.version > coalesce(m.version, '') then excluded.response_time_ms else m.response_time_ms end,
            cost = case
                when excluded.version > coalesce(m.version, '') then excluded.cost
                when m.version is null and excluded.version is null then coalesce(m.cost, excluded.cost)
                else m.cost end,
            model = case when excluded.version > coalesce(m.version, '') then excluded.model else m.model end,
            provider = case when excluded.version > coalesce(m.version, '') then excluded.provider else m.provider end,
            version = case when excluded.version > coalesce(m.version, '') then excluded.version else m.version end
        -- A reference told again changes nothing, and must not leave a dead row behind.
        where (m.is_internal and not excluded.is_internal)
            or (excluded.created_at, excluded.position) < (m.created_at, m.position)
            or excluded.version > coalesce(m.version, '')
            or (m.content is null and excluded.content is not null)
            or (m.parts is null and excluded.parts is not null)
            or (m.tool_calls is null and excluded.tool_calls is not null)
            or (m.tool_call_id is null and excluded.tool_call_id is not null)
            or (m.name is null and excluded.name is not null)
            or (m.metadata = '{}' and excluded.metadata <> '{}')
            or (m.version is null and excluded.version is null and m.cost is null and excluded.cost is not null)
            or (m.version is null and excluded.version is null and (excluded.token_count_source = 'computed', excluded.token_count) > (coalesce(m.token_count_source = 'computed', false), coalesce(m.token_count, -1)))
        returning 1
    )
    select array_agg(g.session_key), array_agg(g.body_id) into keys, bodies
    from given g;
    perform public.chopsky_fill_messages(keys, bodies);
    lost := array(select public.chopsky_settle_messages(keys, bodies));
    return lost;
end
$function$;

--: function public.chopsky_write_prefixes(prefixes json)
CREATE OR REPLACE FUNCTION public.chopsky_write_prefixes(prefixes json)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    insert into public.conversation_prefixes (id, extends, length, bodies)
    select g.id, g.extends, g.length, g.bodies
    from json_to_recordset(prefixes) as g (id uuid, extends uuid, length integer, bodies uuid[])
    order by g.id
    on conflict (id) do nothing;
end
$function$;

--: function public.chopsky_write_spans(spans json)
CREATE OR REPLACE FUNCTION public.chopsky_write_spans(spans json)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    insert into public.conversation_spans as s (
        id, conversation_run_id, parent_span_id, kind, name, source, instrumentor, is_provider, is_entry, native_id, provider, model_requested, invocation_params, inputs,
        prompt_extends, prompt_take, prompt_prefix, prompt_bodies, prompt_names, question_keys, tags, metadata, scope, started_at, start_version,
        status, error, model, response_id, ended_at, response_time_ms, time_to_first_token_ms,
        input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, audio_tokens,
        usage_details, usage_source, cost, cost_source, reported_cost, price_rates, finish_reason, outputs, output_bodies, answer_keys, end_metadata, end_version
    )
    select
        r.id, r.conversation_run_id, r.parent_span_id, coalesce(r.kind, 'other'), r.name, r.source,
        r.instrumentor, coalesce(r.is_provider, false), coalesce(r.is_entry, false), r.native_id, r.provider, r.model_requested,
        r.invocation_params, r.inputs, r.prompt_extends, r.prompt_take, r.prompt_prefix, r.prompt_bodies, r.prompt_names, r.question_keys, coalesce(r.tags, '{}'), coalesce(r.metadata, '{}'),
        r.scope, r.started_at, r.start_version,
        coalesce(r.status, 'active'), r.error, r.model, r.response_id, r.ended_at, r.response_time_ms, r.time_to_first_token_ms,
        r.input_tokens, r.output_tokens, r.total_tokens, r.cache_read_tokens, r.cache_write_tokens, r.reasoning_tokens, r.audio_tokens,
        r.usage_details, r.usage_source, r.cost, r.cost_source, r.reported_cost, r.price_rates, r.finish_reason, r.outputs, r.output_bodies,
        r.answer_keys, r.end_metadata, r.end_version
    from json_to_recordset(spans) as r (
        id uuid, conversation_run_id uuid, parent_span_id uuid, kind text, name text, source text,
        instrumentor text, is_provider boolean, is_entry boolean, native_id text, provider text, model_requested text,
        invocation_params jsonb, inputs jsonb, prompt_extends uuid, prompt_take integer, prompt_prefix uuid, prompt_bodies uuid[], prompt_names jsonb, question_keys uuid[], tags text[], metadata jsonb,
        scope jsonb, started_at timestamptz, start_version text, status text, error text, model text, response_id text,
        ended_at timestamptz, response_time_ms numeric, time_to_first_token_ms numeric, input_tokens bigint, output_tokens bigint,
        total_tokens bigint, cache_read_tokens bigint, cache_write_tokens bigint, reasoning_tokens bigint, audio_tokens bigint,
        usage_details jsonb, usage_source text, cost numeric, cost_source text, reported_cost numeric, price_rates jsonb, finish_reason text, outputs jsonb,
        output_bodies uuid[], answer_keys uuid[], end_metadata jsonb, end_version text
    )
    order by r.id
    on conflict (id) do update
    set (
        parent_span_id, kind, name, source, instrumentor, is_provider, is_entry, native_id, provider, model_requested, invocation_params, inputs,
        prompt_extends, prompt_take, prompt_prefix, prompt_bodies, prompt_names, question_keys, tags, metadata, scope, started_at, start_version
    ) = (
        select x.* from (select
            excluded.parent_span_id, excluded.kind, excluded.name, excluded.source,
            excluded.instrumentor, excluded.is_provider, excluded.is_entry, excluded.native_id, excluded.provider, excluded.model_requested,
            excluded.invocation_params, excluded.inputs, excluded.prompt_extends, excluded.prompt_take, excluded.prompt_prefix, excluded.prompt_bodies,
            excluded.prompt_names, excluded.question_keys, excluded.tags, excluded.metadata, excluded.scope, excluded.started_at, excluded.start_version
        ) x where excluded.start_version > coalesce(s.start_version, '')
        union all
        select y.* from (select
            s.parent_span_id, s.kind, s.name, s.source, s.instrumentor, s.is_provider, s.is_entry, s.native_id, s.provider, s.model_requested,
            s.invocation_params, s.inputs, s.prompt_extends, s.prompt_take, s.prompt_prefix, s.prompt_bodies,
            s.prompt_names, s.question_keys, s.tags, s.metadata, s.scope, s.started_at, s.start_version
        ) y where not coalesce(excluded.start_version > coalesce(s.start_version, ''), false)
    ), (
        status, error, model, response_id, ended_at, response_time_ms, time_to_first_token_ms,
        input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, audio_tokens,
        usage_details, usage_source, cost, cost_source, reported_cost, price_rates, finish_reason, outputs, output_bodies, answer_keys, end_metadata, end_version
    ) = (
        select x.* from (select
            excluded.status, excluded.error, excluded.model, excluded.response_id, excluded.ended_at, excluded.response_time_ms,
            excluded.time_to_first_token_ms, excluded.input_tokens, excluded.output_tokens, excluded.total_tokens,
            excluded.cache_read_tokens, excluded.cache_write_tokens, excluded.reasoning_tokens, excluded.audio_tokens,
            excluded.usage_details, excluded.usage_source, excluded.cost, excluded.cost_source, excluded.reported_cost, excluded.price_rates,
            excluded.finish_reason, excluded.outputs, excluded.output_bodies, excluded.answer_keys, excluded.end_metadata, excluded.end_version
        ) x where excluded.end_version > coalesce(s.end_version, '')
        union all
        select y.* from (select
            s.status, s.error, s.model, s.response_id, s.ended_at, s.response_time_ms,
            s.time_to_first_token_ms, s.input_tokens, s.output_tokens, s.total_tokens,
            s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens, s.audio_tokens,
            s.usage_details, s.usage_source, s.cost, s.cost_source, s.reported_cost, s.price_rates,
            s.finish_reason, s.outputs, s.output_bodies, s.answer_keys, s.end_metadata, s.end_version
        ) y where not coalesce(excluded.end_version > coalesce(s.end_version, ''), false)
    ),
    -- The start knows the run better than an end that overtook it.
    conversation_run_id = case
        when excluded.start_version > coalesce(s.start_version, '') then excluded.conversation_run_id
        else s.conversation_run_id end
    where excluded.start_version > coalesce(s.start_version, '') or excluded.end_version > coalesce(s.end_version, '');
end
$function$;

--: function public.cleanup_expired_conversations()
CREATE OR REPLACE FUNCTION public.cleanup_expired_conversations()
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
 SET lock_timeout TO '700ms'
AS $function$
declare
    session_id uuid;
    done jsonb;
    removed integer := 0;
begin
    perform set_config('chopsky_trace.patience', '250 milliseconds', true);
    for session_id in select d from public.chopsky_due_sessions(1000, null, true) d loop
        begin
            done := public.chopsky_remove_session(session_id, 10000);
        exception when lock_not_available or deadlock_detected then
            done := null;
        end;
        removed := removed + coalesce((done ->> 'sessions')::integer, 0);
    end loop;
    perform set_config('chopsky_trace.patience', '', true);
    return removed;
end
$function$;

--: function public.cleanup_test_data()
CREATE OR REPLACE FUNCTION public.cleanup_test_data()
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    session_ids uuid[];
    run_ids uuid[];
    removed jsonb;
    profiles integer;
    sessions integer;
begin
    session_ids := array(select s.id from public.conversation_sessions s where s.metadata ? 'chopsky_sample' order by s.session_key);
    run_ids := array(
        select e.value::uuid from public.conversation_sessions s
        cross join lateral jsonb_array_elements_text(s.metadata -> 'chopsky_sample') e
        where s.id = any (session_ids)
    );
    perform 1 from public.conversation_runs r where r.id = any (run_ids) order by r.id for update;
    select jsonb_build_object(
        'runs', (select count(*) from public.conversation_runs r where r.id = any (run_ids)),
        'messages', (select count(*) from public.conversation_messages m where m.conversation_run_id = any (run_ids)),
        'calls', (select count(*) from public.conversation_spans s where s.conversation_run_id = any (run_ids) and s.kind = 'llm')
    ) into removed;
    delete from public.conversation_runs r where r.id = any (run_ids);
    -- One that somebody went on with is theirs now.
    update public.conversation_sessions s set metadata = s.metadata - 'chopsky_sample'
    where s.id = any (session_ids) and (
        exists (select 1 from public.conversation_runs r where r.session_key = s.session_key)
        or exists (select 1 from public.conversation_messages m where m.session_key = s.session_key and m.conversation_run_id is null)
    );
    delete from public.conversation_sessions s where s.id = any (session_ids) and s.metadata ? 'chopsky_sample';
    get diagnostics sessions = row_count;
    delete from public.user_profiles p where p.is_sample;
    get diagnostics profiles = row_count;
    return removed || jsonb_build_object('conversations', sessions, 'profiles', profiles);
end
$function$;

--: function public.clear_conversation_session(session_uuid uuid)
CREATE OR REPLACE FUNCTION public.clear_conversation_session(session_uuid uuid)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    began constant timestamptz := clock_timestamp();
    name text;
begin
    select s.session_id into name from public.conversation_sessions s where s.id = session_uuid;
    perform pg_advisory_xact_lock(hashtextextended(name, 0));
    -- As who removes it: first the session. Not in line, and only one that the caller may change.
    loop
        begin
            select s.session_id into name from public.conversation_sessions s where s.id = session_uuid for no key update nowait;
            exit;
        exception when lock_not_available then
            perform public.chopsky_give_way(began, '5 seconds', 'session');
        end;
    end loop;
    if name is null then
        raise exception 'There is no session % of yours', session_uuid
            using errcode = 'no_data_found', hint = 'conversation_session_id(session_id) finds a session by its name.';
    end if;
    perform set_config('chopsky_trace.clearing', session_uuid::text, true);
    -- Also one that only its runs had made stays: this changes it by hand.
    update public.conversation_sessions s set is_archived = s.is_archived where s.id = session_uuid;
    return current_setting('chopsky_trace.cleared')::bigint;
end
$function$;

--: function public.complete_conversation_session(session_uuid uuid)
CREATE OR REPLACE FUNCTION public.complete_conversation_session(session_uuid uuid)
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$ select public.chopsky_end_session(session_uuid, 'delivered') $function$;

--: view public.conversation_calls
create view public.conversation_calls with (security_invoker=true) as
 SELECT s.id,
    s.conversation_run_id,
    r.session_id,
    r.user_id,
    r.tenant_id,
    r.project,
    r.environment,
    s.parent_span_id,
    s.kind,
    s.name,
    s.source,
    s.provider,
    s.model,
    s.model_requested,
    s.status,
    s.started_at,
    s.ended_at,
    s.response_time_ms,
    s.time_to_first_token_ms,
        CASE
            WHEN ((s.kind = 'llm'::text) AND (NOT c.cache_hit)) THEN round((((s.output_tokens)::numeric * (1000)::numeric) / NULLIF(c.writing_ms, (0)::numeric)), 3)
            ELSE NULL::numeric
        END AS output_tokens_per_second,
    s.input_tokens,
    s.output_tokens,
    s.total_tokens,
    s.cache_read_tokens,
    s.cache_write_tokens,
    s.reasoning_tokens,
    s.audio_tokens,
    s.usage_source,
    s.cost,
    s.cost_source,
    c.cache_hit,
    s.finish_reason,
    s.error,
    s.duplicate_of
   FROM ((public.conversation_spans s
     JOIN public.conversation_runs r ON ((r.id = s.conversation_run_id)))
     CROSS JOIN LATERAL ( SELECT COALESCE((s.usage_details @> '{"cache_hit": true}'::jsonb), false) AS cache_hit,
            GREATEST((s.response_time_ms - COALESCE(s.time_to_first_token_ms, (0)::numeric)), (0)::numeric) AS writing_ms) c)
  WHERE (s.kind = ANY (ARRAY['llm'::text, 'embedding'::text, 'image'::text]));

--: function public.conversation_prompt(span_id uuid)
CREATE OR REPLACE FUNCTION public.conversation_prompt(span_id uuid)
 RETURNS TABLE("position" integer, role text, content text, parts jsonb, tool_calls jsonb, tool_call_id text, name text)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select
        b.place::integer, m.role, m.content, public.chopsky_restore(m.parts, m.conversation_run_id),
        public.chopsky_restore(m.tool_calls, m.conversation_run_id), m.tool_call_id,
        -- An assistant's name is no part of its body: what this call was given counts.
        case when m.role = 'assistant' then nullif(n.names ->> (b.place - 1)::text, '') else m.name end
    from public.conversation_spans s
    join public.conversation_runs r on r.id = s.conversation_run_id
    cross join lateral (select public.chopsky_prompt_names(s.id) as names) n
    cross join lateral unnest(public.chopsky_prompt_bodies(s.id)) with ordinality as b (body_id, place)
    left join lateral (
        -- The session's own row; else any row of that body: a system prompt may have very many, so none are sorted.
        -- A row made from a reference alone, or cleared, says nothing.
        (
            select c.role, c.content, c.parts, c.tool_calls, c.tool_call_id, c.name, c.conversation_run_id
            from public.conversation_messages c
            where c.session_key = r.session_key and c.body_id = b.body_id
                and (c.content is not null or c.parts is not null or c.tool_calls is not null)
            limit 1
        )
        union all
        (
            select c.role, c.content, c.parts, c.tool_calls, c.tool_call_id, c.name, c.conversation_run_id
            from public.conversation_messages c
            where c.body_id = b.body_id and (c.content is not null or c.parts is not null or c.tool_calls is not null)
            limit 1
        )
        limit 1
    ) m on true
    where s.id = conversation_prompt.span_id
    order by b.place
$function$;

--: function public.conversation_session_id(session_id text, tenant_id text, user_id text, project text)
CREATE OR REPLACE FUNCTION public.conversation_session_id(session_id text, tenant_id text DEFAULT NULL::text, user_id text DEFAULT NULL::text, project text DEFAULT NULL::text)
 RETURNS uuid
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
    wanted constant text := conversation_session_id.session_id;
    found_ids uuid[];
begin
    found_ids := array(
        select s.id from public.conversation_sessions s
        where s.session_id = wanted
            and (conversation_session_id.tenant_id is null or s.tenant_id = conversation_session_id.tenant_id)
            and (conversation_session_id.user_id is null or s.user_id = conversation_session_id.user_id)
            and (conversation_session_id.project is null or s.project = conversation_session_id.project)
        order by s.last_activity_at desc limit 2
    );
    if cardinality(found_ids) = 0 and wanted ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        found_ids := array(
            select s.id from public.conversation_sessions s
            where s.id = wanted::uuid
                and (conversation_session_id.tenant_id is null or s.tenant_id = conversation_session_id.tenant_id)
                and (conversation_session_id.user_id is null or s.user_id = conversation_session_id.user_id)
                and (conversation_session_id.project is null or s.project = conversation_session_id.project)
        );
    end if;
    if cardinality(found_ids) > 1 then
        raise exception 'Several sessions are named %', quote_literal(wanted)
            using errcode = 'cardinality_violation', hint = 'Say which by tenant_id, user_id and project.';
    end if;
    return found_ids[1];
end
$function$;

--: view public.conversation_session_totals
create view public.conversation_session_totals with (security_invoker=true) as
 SELECT s.id,
    s.session_id,
    s.session_key,
    s.project,
    s.tenant_id,
    s.user_id,
    s.title,
    s.state,
    s.last_activity_at,
    t.total_runs,
    t.total_messages,
    t.total_tokens_used,
    t.total_cost,
    t.average_response_time,
    t.unpriced_calls,
    t.unmeasured_calls
   FROM (public.conversation_sessions s
     CROSS JOIN LATERAL ( SELECT count(*) FILTER (WHERE (NOT o.is_message)) AS total_runs,
            COALESCE(sum(o.messages), (0)::bigint) AS total_messages,
            sum(o.tokens) AS total_tokens_used,
            sum(o.cost) AS total_cost,
            round(avg(o.response_time), 3) AS average_response_time,
            sum(o.unpriced) AS unpriced_calls,
            sum(o.unmeasured) AS unmeasured_calls
           FROM ( SELECT false AS is_message,
                    r.total_messages AS messages,
                    r.total_tokens_used AS tokens,
                    r.total_cost AS cost,
                    r.average_response_time AS response_time,
                    r.unpriced_calls AS unpriced,
                    r.unmeasured_calls AS unmeasured
                   FROM public.conversation_runs r
                  WHERE ((r.session_key = s.session_key) AND (NOT r.merged))
                UNION ALL
                 SELECT true,
                        CASE
                            WHEN m.is_internal THEN 0
                            ELSE 1
                        END AS "case",
                    m.token_count,
                    m.cost,
                    m.response_time_ms,
                    0,
                    0
                   FROM public.conversation_messages m
                  WHERE ((m.session_key = s.session_key) AND (m.conversation_run_id IS NULL))) o) t);

--: function public.conversation_session_transcript(session_id text, tenant_id text, user_id text, session_key uuid, after uuid, at_most integer)
CREATE OR REPLACE FUNCTION public.conversation_session_transcript(session_id text DEFAULT NULL::text, tenant_id text DEFAULT NULL::text, user_id text DEFAULT NULL::text, session_key uuid DEFAULT NULL::uuid, after uuid DEFAULT NULL::uuid, at_most integer DEFAULT 1000)
 RETURNS TABLE(conversation_run_id uuid, sequence integer, role text, content text, parts jsonb, created_at timestamp with time zone, message_id uuid)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
#variable_conflict use_column
declare
    wanted_session constant text := conversation_session_transcript.session_id;
    wanted_tenant constant text := conversation_session_transcript.tenant_id;
    wanted_user constant text := conversation_session_transcript.user_id;
    found_key uuid := conversation_session_transcript.session_key;
    from_at timestamptz := '-infinity';
    from_run uuid := '00000000-0000-0000-0000-000000000000';
    from_sequence integer := -1;
    page_size constant integer := least(at_most, 10000);
begin
    if found_key is null then
        -- Sorted: the planner would else look for one row of a common name by reading the table from its beginning.
        select r.session_key into found_key
        from public.conversation_runs r
        where r.session_id = wanted_session and (wanted_tenant is null or r.tenant_id = wanted_tenant)
            and (wanted_user is null or r.user_id = wanted_user) and not r.merged
        order by r.started_at desc limit 1;
        -- What was seen twice may have been filed differently the second time: that makes no second session.
        perform 1
        from public.conversation_runs r
        where r.session_id = wanted_session and (wanted_tenant is null or r.tenant_id = wanted_tenant)
            and (wanted_user is null or r.user_id = wanted_user) and r.session_key <> found_key
            and not r.merged
        order by r.started_at desc limit 1;
        if found then
            raise exception 'Several sessions are named %', quote_literal(wanted_session)
                using hint = 'Say which by tenant_id and user_id, or by session_key, a column of conversation_runs.';
        end if;
    end if;
    if after is not null then
        select coalesce(r.started_at, r.created_at), r.id, coalesce(m.sequence, 2147483647)
        into from_at, from_run, from_sequence
        from public.conversation_messages m
        join public.conversation_runs r on r.id = m.conversation_run_id
        where m.id = after;
        if not found then
            raise exception 'The message % is not stored', after using hint = 'Begin again without after.';
        end if;
    end if;
    return query
    select r.id, m.sequence, m.role, m.content, m.parts, m.created_at, m.id
    from public.conversation_runs r
    -- A limit for each run too: so runs are taken one by one, and no more of them than the page needs.
    cross join lateral (
        select i.id, i.sequence, i.role, i.content, i.parts, i.created_at
        from public.conversation_messages i
        where i.conversation_run_id = r.id and not i.is_internal
            and (r.id <> from_run or (coalesce(i.sequence, 2147483647), i.id) > (from_sequence, after))
        order by i.sequence, i.id
        limit page_size
    ) m
    where r.session_key = found_key and not r.merged
        and (coalesce(r.started_at, r.created_at), r.id) >= (from_at, from_run)
    order by coalesce(r.started_at, r.created_at), r.id, m.sequence, m.id
    limit page_size;
end
$function$;

--: function public.conversation_transcript(conversation_run_id uuid)
CREATE OR REPLACE FUNCTION public.conversation_transcript(conversation_run_id uuid)
 RETURNS TABLE(sequence integer, role text, content text, parts jsonb, created_at timestamp with time zone, message_id uuid)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select m.sequence, m.role, m.content, m.parts, m.created_at, m.id
    from public.conversation_messages m
    where m.conversation_run_id = conversation_transcript.conversation_run_id and not m.is_internal
    order by m.sequence
$function$;

--: view public.current_day_usage
create view public.current_day_usage with (security_invoker=true) as
 SELECT m.day,
    m.tenant_id,
    m.user_id,
    (sum(m.calls))::bigint AS calls,
    (sum(m.failed_calls))::bigint AS failed_calls,
    (sum(m.input_tokens))::bigint AS input_tokens,
    (sum(m.output_tokens))::bigint AS output_tokens,
    (sum(m.total_tokens))::bigint AS total_tokens,
    sum(m.total_cost) AS total_cost,
    (sum(m.unpriced_calls))::bigint AS unpriced_calls,
    (sum(m.unmeasured_calls))::bigint AS unmeasured_calls,
    (sum(m.messages))::bigint AS messages
   FROM (public.usage_metrics m
     CROSS JOIN ( SELECT) o)
  WHERE (m.day = ((now() AT TIME ZONE 'UTC'::text))::date)
  GROUP BY m.day, m.tenant_id, m.user_id;

--: view public.daily_message_volume
create view public.daily_message_volume with (security_invoker=true) as
 SELECT u.day,
    u.tenant_id,
    (sum(u.messages))::bigint AS messages,
    (sum(u.user_messages))::bigint AS user_messages,
    (sum(u.assistant_messages))::bigint AS assistant_messages,
    (sum(u.total_tokens))::bigint AS total_tokens,
    sum(u.total_cost) AS total_cost,
    (sum(u.unpriced_calls))::bigint AS unpriced_calls,
    (sum(u.unmeasured_calls))::bigint AS unmeasured_calls
   FROM (( SELECT m.day,
            m.tenant_id,
            m.messages,
            m.user_messages,
            m.assistant_messages,
            m.total_tokens,
            m.total_cost,
            m.unpriced_calls,
            m.unmeasured_calls
           FROM (public.usage_metrics m
             CROSS JOIN ( SELECT) o_1)
          WHERE ( SELECT ((CURRENT_USER = 'authenticated'::name) AND (NOT public.chopsky_reads_tenant())))
        UNION ALL
         SELECT t.day,
            t.tenant_id,
            t.messages,
            t.user_messages,
            t.assistant_messages,
            t.total_tokens,
            t.total_cost,
            t.unpriced_calls,
            t.unmeasured_calls
           FROM (public.usage_totals t
             CROSS JOIN ( SELECT) o_1)
          WHERE ( SELECT ((CURRENT_USER <> 'authenticated'::name) OR public.chopsky_reads_tenant()))) u
     CROSS JOIN ( SELECT) o)
  GROUP BY u.day, u.tenant_id;

--: view public.daily_message_volume_by_user
create view public.daily_message_volume_by_user with (security_invoker=true) as
 SELECT m.day,
    m.tenant_id,
    m.user_id,
    (sum(m.messages))::bigint AS messages,
    (sum(m.user_messages))::bigint AS user_messages,
    (sum(m.assistant_messages))::bigint AS assistant_messages,
    (sum(m.total_tokens))::bigint AS total_tokens,
    sum(m.total_cost) AS total_cost,
    (sum(m.unpriced_calls))::bigint AS unpriced_calls,
    (sum(m.unmeasured_calls))::bigint AS unmeasured_calls
   FROM (public.usage_metrics m
     CROSS JOIN ( SELECT) o)
  GROUP BY m.day, m.tenant_id, m.user_id;

--: function public.erase_user(user_id text, tenant_id text)
CREATE OR REPLACE FUNCTION public.erase_user(user_id text, tenant_id text DEFAULT NULL::text)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
#variable_conflict use_column
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    -- As it is stored.
    person constant text := case when erase_user.user_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        then lower(erase_user.user_id) else erase_user.user_id end;
    tenant constant text := erase_user.tenant_id;
    run_ids uuid[];
    further uuid[];
    said_ids uuid[];
    touched uuid[];
    keys uuid[];
    gone_keys uuid[];
    prefixes uuid[];
    counts jsonb;
    tables jsonb := '{}';
    part record;
    changed bigint;
    held bigint;
    receipt jsonb;
    erasure uuid := gen_random_uuid();
begin
    if coalesce(person, '') = '' then
        raise exception 'Nobody is named' using errcode = 'invalid_parameter_value', hint = 'Give the person''s user_id.';
    end if;
    -- What is under way is stored first, and seen here; what comes later sees the tombstone.
    perform pg_advisory_xact_lock(hashtextextended('chopsky_trace.erase', 0));
    perform set_config('chopsky_trace.recompute', 'on', true);
    insert into public.chopsky_keys (name) values ('tombstones') on conflict do nothing;
    insert into public.conversation_tombstones (hash, kind, erased_at)
    values (public.chopsky_tombstone('person', person, tenant), 'person', clock_timestamp())
    on conflict (hash) do update set erased_at = excluded.erased_at;

    run_ids := array(
        select r.id from public.conversation_runs r where r.user_id = person and (tenant is null or r.tenant_id = tenant)
    );
    -- As who removes a session by hand: first the sessions.
    keys := array(
        select s.session_key from public.conversation_sessions s
        where s.user_id = person and (tenant is null or s.tenant_id = tenant)
    );
    perform public.chopsky_lock_sessions(keys, '10 seconds');
    -- What saw the same calls and knows no user is the same conversation.
    loop
        further := array(
            select distinct r.id
            from public.conversation_spans s
            join public.conversation_spans o on o.duplicate_of = coalesce(s.duplicate_of, s.id) or o.id = s.duplicate_of
            join public.conversation_runs r on r.id = o.conversation_run_id
            where s.conversation_run_id = any (run_ids) and s.told is not null
                and (r.user_id is null or r.user_id = person) and r.id <> all (run_ids)
        );
        exit when further = '{}';
        run_ids := run_ids || further;
    end loop;
    run_ids := array(
        select r.id from public.conversation_runs r
        where r.id = any (run_ids) and not exists (
            select 1 from public.conversation_sessions s where s.session_key = r.session_key and s.legal_hold
        )
        order by r.id for update
    );
    said_ids := array(
        select m.id from public.conversation_messages m
        where m.user_id = person and (tenant is null or m.tenant_id = tenant)
            and (m.conversation_run_id is null or m.conversation_run_id <> all (run_ids))
            and not exists (select 1 from public.conversation_sessions s where s.session_key = m.session_key and s.legal_hold)
        order by m.id for update
    );
    touched := array(
        select distinct m.conversation_run_id from public.conversation_messages m
        where m.id = any (said_ids) and m.conversation_run_id is not null
    );
    perform public.chopsky_lock_runs(touched, '10 seconds');
    -- With those of runs that go along and know no user.
    gone_keys := array(
        select s.session_key from public.conversation_sessions s
        where s.session_key = any (keys || array(
            select r.session_key from public.conversation_runs r where r.id = any (run_ids) and r.session_id is not null
        ))
    );
    -- Alone with the roll-ups from here on: after all runs, and before the first row of theirs.
    if to_regprocedure('public.chopsky_keep_usage(uuid[])') is not null then
        perform pg_advisory_xact_lock(hashtextextended('chopsky_trace.usage', 0));
    end if;
    prefixes := array(
        select p.id from public.conversation_prefixes p where p.id in (select n from public.chopsky_named_ids(run_ids) n)
    );
    if to_regprocedure('public.chopsky_keep_usage(uuid[])') is not null then
        execute 'select public.chopsky_keep_usage($1)' using run_ids || said_ids;
    end if;
    perform public.chopsky_entomb_runs(run_ids);
    counts := public.chopsky_remove_runs(run_ids, true);
    -- Else what an application said of it would come back in its place.
    update public.conversation_messages m set said = null where m.id = any (said_ids) and m.said is not null;
    delete from public.conversation_messages m where m.id = any (said_ids);
    perform public.recompute_runs(touched);
    -- The sessions that nobody made went with their runs.
    tables := jsonb_build_object(
        'conversation_runs', counts -> 'runs', 'conversation_spans', counts -> 'spans',
        'conversation_messages', (counts ->> 'messages')::bigint + cardinality(said_ids), 'conversation_contents', counts -> 'contents'
    );
    delete from public.conversation_sessions s where s.session_key = any (keys) and not s.legal_hold;
    tables := tables || jsonb_build_object('conversation_sessions', cardinality(gone_keys) - (
        select count(*) from public.conversation_sessions s where s.session_key = any (gone_keys)
    ));
    -- The beginnings of long prompts are ids only, yet made of what was said. The longest first, where no other begins so.
    loop
        delete from public.conversation_prefixes p
        where p.id = any (prefixes)
            and not exists (select 1 from public.conversation_prefixes l where l.extends = p.id)
            and not exists (select 1 from public.conversation_spans s where s.prompt_prefix = p.id);
        exit when not found;
    end loop;
    -- A run that was given to somebody else by hand.
    update public.conversation_spans s set scope = s.scope - 'user_id'
    from public.conversation_runs r
    where r.scope_by_hand and s.conversation_run_id = r.id and s.scope ->> 'user_id' = person
        and (tenant is null or r.tenant_id = tenant) and r.user_id is distinct from person;

    if counts ->> 'feedback' <> '0' then
        tables := tables || jsonb_build_object('conversation_feedback', counts -> 'feedback');
    end if;
    for part in
        select p.table_name, p.column_name, exists (
            select 1 from pg_catalog.pg_attribute a
            where a.attrelid = to_regclass('public.' || p.table_name) and a.attname = 'tenant_id'
        ) as has_tenant
        from public.chopsky_person_columns() p
        where to_regclass('public.' || p.table_name) is not null
    loop
        execute format('delete from public.%I where %I = $1', part.table_name, part.column_name)
            || case when part.has_tenant then ' and ($2 is null or tenant_id = $2)' else '' end
        using person, tenant;
        get diagnostics changed = row_count;
        tables := tables || jsonb_build_object(part.table_name, coalesce((tables ->> part.table_name)::bigint, 0) + changed);
    end loop;
    changed := public.chopsky_forget_usage(person, tenant);
    select count(*) into held from public.conversation_sessions s
    where s.user_id = person and (tenant is null or s.tenant_id = tenant);

    receipt := jsonb_build_object(
        'erasure', erasure, 'erased_at', clock_timestamp(), 'tenant_id', tenant, 'rows', tables,
        'usage_rows_made_nobodys', changed, 'held_sessions', held,
        'out_of_reach', jsonb_build_array(
            'LangSmith, and whatever else is told of the same runs', 'logs of the models'' providers',
            'backups, replicas and the write-ahead log of this database, and its files until the next vacuum',
            'LangGraph checkpoints and all other tables of your application',
            'journals of hosts that are offline: what they send later is refused', 'dead letters beside the journals',
            'files that were exported'
        )
    );
    insert into public.conversation_erasures (id, receipt) values (erasure, receipt);
    perform set_config('chopsky_trace.recompute', was, true);
    return receipt;
end
$function$;

--: function public.generate_sample_data(email text)
CREATE OR REPLACE FUNCTION public.generate_sample_data(email text)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    seed constant text := 'chopsky-trace sample/' || lower(generate_sample_data.email) || '/';
    made jsonb := jsonb_build_object('profiles', 0, 'conversations', 0, 'runs', 0, 'messages', 0, 'calls', 0);
    who text;
    talk record;
    turn record;
    at timestamptz;
    run uuid;
    prompt uuid[];
    runs json[];
    spans json[];
    messages json[];
begin
    if coalesce(generate_sample_data.email, '') !~ '^[^@[:space:]]+@[^@[:space:]]+$' then
        raise exception 'Sample data need an email address like ann@example.com' using errcode = 'invalid_parameter_value';
    end if;
    select p.user_id into who from public.user_profiles p where lower(p.email) = lower(generate_sample_data.email);
    if who is null then
        who := 'sample-' || substr(md5(seed), 1, 12);
        insert into public.user_profiles (user_id, email, display_name, preferred_model_provider, preferred_model_name, daily_token_limit, is_sample)
        values (who, generate_sample_data.email, 'Sample of ' || split_part(generate_sample_data.email, '@', 1), 'openai', 'gpt-4o-mini', 100000, true)
        on conflict (user_id) do nothing;
        made := made || '{"profiles": 1}';
    end if;
    for talk in
        select t.title, t.days_ago, t.provider, t.model, t.turns, t.place
        from rows from (json_to_recordset('[
            {"title": "Dinner from the pantry", "days_ago": 6, "provider": "openai", "model": "gpt-4o-mini", "turns": [
                {"q": "I have eggs and spinach. What can I cook?", "a": "A spinach omelette: beat three eggs, wilt the spinach in butter, fold.", "in": 61, "out": 22, "cost": "0.00002235", "ms": 1240, "first": 310},
                {"q": "And without butter?", "a": "Take olive oil; the omelette stays as soft.", "in": 104, "out": 13, "cost": "0.0000234", "ms": 870, "first": 260}]},
            {"title": "Shopping list", "days_ago": 3, "provider": "anthropic", "model": "claude-3-5-haiku-20241022", "turns": [
                {"q": "What do I need for a chickpea stew for four?", "a": "Two tins of chickpeas, 800 g of tomatoes, an onion, garlic, cumin and stock.", "in": 68, "out": 31, "cost": "0.0001784", "ms": 1610, "first": 420},
                {"q": "Make it milder, please.", "a": "Leave out the cumin and add a carrot.", "in": 127, "out": 14, "cost": "0.0001576", "ms": 930, "first": 380}]},
            {"title": "How long does soup keep?", "days_ago": 1, "provider": "openai", "model": "gpt-4o-mini", "turns": [
                {"q": "How long does soup keep?", "a": "Three to four days in the fridge, three months frozen.", "in": 52, "out": 17, "cost": "0.000018", "ms": 760, "first": 240},
                {"q": "yes", "a": "Then cool it quickly, and label it with the date.", "in": 92, "out": 15, "cost": "0.0000228", "ms": 690, "first": 230}]}
        ]') as (title text, days_ago integer, provider text, model text, turns json)) with ordinality as t (title, days_ago, provider, model, turns, place)
    loop
        continue when exists (
            select 1 from public.conversation_sessions s where s.id = md5(seed || talk.place)::uuid
        );
        runs := '{}'; spans := '{}'; messages := '{}'; prompt := '{}';
        at := date_trunc('second', now()) - make_interval(days => talk.days_ago);
        insert into public.conversation_sessions (id, session_id, user_id, title, model_provider, model_name, metadata, created_at, last_activity_at)
        values (
            md5(seed || talk.place)::uuid, 'sample-' || substr(md5(seed || talk.place), 1, 12), who, talk.title, talk.provider, talk.model,
            jsonb_build_object('chopsky_sample', jsonb_build_array(
                md5(seed || talk.place || '/1')::uuid, md5(seed || talk.place || '/2')::uuid
            )), at, at
        );
        for turn in
            select t.* from rows from (json_to_recordset(talk.turns) as (q text, a text, "in" integer, out integer, cost numeric, ms integer, first integer))
                with ordinality as t (q, a, input_tokens, output_tokens, cost, ms, first_ms, place)
        loop
            run := md5(seed || talk.place || '/' || turn.place)::uuid;
            prompt := prompt || public.chopsky_text_body_id('user', turn.q, null, null);
            runs := runs || json_build_object(
                'id', run, 'project', 'sample', 'environment', 'demo', 'user_id', who,
                'session_id', 'sample-' || substr(md5(seed || talk.place), 1, 12), 'started_at', at
            );
            spans := spans || array[
                json_build_object(
                    'id', run, 'conversation_run_id', run, 'kind', 'chain', 'name', 'chef', 'source', 'langchain', 'started_at', at,
                    'start_version', '1', 'end_version', '1', 'status', 'completed', 'response_time_ms', turn.ms + 15,
                    'ended_at', at + make_interval(secs => (turn.ms + 15) / 1000.0), 'metadata', '{"chopsky_sample": true}'::json
                ),
                json_build_object(
                    'id', md5(run::text)::uuid, 'conversation_run_id', run, 'parent_span_id', run, 'kind', 'llm', 'name', 'chat', 'source', 'langchain',
                    'provider', talk.provider, 'model', talk.model, 'model_requested', talk.model, 'started_at', at, 'start_version', '1',
                    'end_version', '1', 'status', 'completed', 'ended_at', at + make_interval(secs => turn.ms / 1000.0),
                    'response_time_ms', turn.ms, 'time_to_first_token_ms', turn.first_ms, 'input_tokens', turn.input_tokens,
                    'output_tokens', turn.output_tokens, 'total_tokens', turn.input_tokens + turn.output_tokens, 'usage_source', 'reported',
                    'cost', turn.cost, 'cost_source', 'computed', 'finish_reason', 'stop', 'prompt_bodies', prompt,
                    'output_bodies', array[public.chopsky_text_body_id('assistant', turn.a, null, null)]
                )
            ];
            messages := messages || array[
                json_build_object(
                    'id', md5(run || 'q')::uuid, 'body_id', prompt[cardinality(prompt)], 'conversation_run_id', run, 'role', 'user',
                    'content', turn.q, 'position', 0, 'cost', 0, 'created_at', at
                ),
                json_build_object(
                    'id', md5(run || 'a')::uuid, 'body_id', public.chopsky_text_body_id('assistant', turn.a, null, null),
                    'conversation_run_id', run, 'span_id', md5(run::text)::uuid, 'role', 'assistant', 'content', turn.a, 'position', 0,
                    'token_count', turn.output_tokens, 'token_count_source', 'reported', 'cost', turn.cost, 'model', talk.model,
                    'provider', talk.provider, 'response_time_ms', turn.ms, 'version', '1', 'created_at', at + make_interval(secs => turn.ms / 1000.0)
                )
            ];
            prompt := prompt || public.chopsky_text_body_id('assistant', turn.a, null, null);
            at := at + interval '2 minutes';
        end loop;
        perform public.chopsky_ingest(json_build_object('runs', to_json(runs), 'spans', to_json(spans), 'messages', to_json(messages)));
        made := made || jsonb_build_object(
            'conversations', (made ->> 'conversations')::integer + 1, 'runs', (made ->> 'runs')::integer + cardinality(runs),
            'messages', (made ->> 'messages')::integer + cardinality(messages), 'calls', (made ->> 'calls')::integer + cardinality(runs)
        );
    end loop;
    return made || jsonb_build_object('user_id', who);
end
$function$;

--: function public.get_conversation_history(session_uuid uuid, at_most integer)
CREATE OR REPLACE FUNCTION public.get_conversation_history(session_uuid uuid, at_most integer DEFAULT 10)
 RETURNS TABLE(id uuid, conversation_run_id uuid, role text, content text, action_taken text, questions_asked jsonb, created_at timestamp with time zone)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
#variable_conflict use_column
declare
    key uuid;
    wanted constant integer := least(greatest(get_conversation_history.at_most, 0), 10000);
begin
    select s.session_key into key from public.conversation_sessions s where s.id = session_uuid;
    return query
    select l.id, l.conversation_run_id, l.role, l.content, l.action_taken, l.questions_asked, l.created_at
    from (
        (
            select m.id, m.conversation_run_id, m.role, m.content, m.action_taken, m.questions_asked, m.created_at, r.began, m.sequence
            from (
                select o.id, coalesce(o.started_at, o.created_at) as began
                from public.conversation_runs o where o.session_key = key and not o.merged
            ) r
            -- A limit for each run too: runs are taken one by one, and no more of them than are needed.
            cross join lateral (
                select i.id, i.conversation_run_id, i.role, i.content, i.action_taken, i.questions_asked, i.created_at, i.sequence
                from public.conversation_messages i
                where i.conversation_run_id = r.id and not i.is_internal
                order by i.sequence desc nulls first, i.id desc limit wanted
            ) m
            order by r.began desc, r.id desc, m.sequence desc nulls first, m.id desc
            limit wanted
        )
        union all
        (
            select m.id, m.conversation_run_id, m.role, m.content, m.action_taken, m.questions_asked, m.created_at, m.created_at, 0
            from public.conversation_messages m
            where m.session_key = key and m.conversation_run_id is null and not m.is_internal
            order by m.created_at desc limit wanted
        )
        order by began desc, sequence desc nulls first, created_at desc, id desc limit wanted
    ) l
    order by l.began, l.sequence nulls last, l.created_at, l.id;
end
$function$;

--: function public.get_session_cost(session_uuid uuid)
CREATE OR REPLACE FUNCTION public.get_session_cost(session_uuid uuid)
 RETURNS numeric
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select sum(c.cost)
    from public.conversation_sessions s
    cross join lateral (
        select r.total_cost as cost from public.conversation_runs r where r.session_key = s.session_key and not r.merged
        union all
        select m.cost from public.conversation_messages m where m.session_key = s.session_key and m.conversation_run_id is null
    ) c
    where s.id = session_uuid
$function$;

--: function public.get_session_message_stats(session_uuid uuid)
CREATE OR REPLACE FUNCTION public.get_session_message_stats(session_uuid uuid)
 RETURNS TABLE(role text, message_count bigint, total_tokens bigint, total_cost numeric, average_response_time numeric)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
    select m.role, count(*), sum(m.token_count), sum(m.cost), round(avg(m.response_time_ms), 3)
    from public.conversation_sessions s
    cross join lateral (
        select i.role, i.token_count, i.cost, i.response_time_ms
        from public.conversation_runs r join public.conversation_messages i on i.conversation_run_id = r.id
        where r.session_key = s.session_key and not r.merged and not i.is_internal
        union all
        select i.role, i.token_count, i.cost, i.response_time_ms
        from public.conversation_messages i
        where i.session_key = s.session_key and i.conversation_run_id is null and not i.is_internal
    ) m
    where s.id = session_uuid
    group by m.role
    order by m.role
$function$;

--: function public.increment_usage_metrics(tenant_id text, user_id text, provider text, model text, day date, calls bigint, input_tokens bigint, output_tokens bigint, total_tokens bigint, total_cost numeric, failed_calls bigint, cache_read_tokens bigint, cache_write_tokens bigint, reasoning_tokens bigint, response_time_ms numeric, messages bigint, user_messages bigint, assistant_messages bigint)
CREATE OR REPLACE FUNCTION public.increment_usage_metrics(tenant_id text DEFAULT NULL::text, user_id text DEFAULT NULL::text, provider text DEFAULT NULL::text, model text DEFAULT NULL::text, day date DEFAULT ((now() AT TIME ZONE 'UTC'::text))::date, calls bigint DEFAULT 1, input_tokens bigint DEFAULT NULL::bigint, output_tokens bigint DEFAULT NULL::bigint, total_tokens bigint DEFAULT NULL::bigint, total_cost numeric DEFAULT NULL::numeric, failed_calls bigint DEFAULT 0, cache_read_tokens bigint DEFAULT NULL::bigint, cache_write_tokens bigint DEFAULT NULL::bigint, reasoning_tokens bigint DEFAULT NULL::bigint, response_time_ms numeric DEFAULT NULL::numeric, messages bigint DEFAULT 0, user_messages bigint DEFAULT 0, assistant_messages bigint DEFAULT 0)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    whole constant bigint := coalesce(total_tokens, input_tokens + output_tokens, input_tokens, output_tokens);
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.usage', 0));
    perform public.chopsky_add_usage(array[row(
        public.chopsky_usage_key(day, tenant_id, user_id, provider, model), day, tenant_id, user_id, provider, model, 1,
        array[
            num_nonnulls(input_tokens), num_nonnulls(output_tokens), num_nonnulls(whole), num_nonnulls(cache_read_tokens),
            num_nonnulls(cache_write_tokens), num_nonnulls(reasoning_tokens), num_nonnulls(total_cost), num_nonnulls(response_time_ms)
        ],
        calls, failed_calls, input_tokens, output_tokens, whole, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost,
        case when total_cost is null then calls else 0 end, case when whole is null then calls else 0 end,
        response_time_ms, case when response_time_ms is null then 0 else calls end, messages, user_messages, assistant_messages
    )::public.usage_metrics], true, true);
end
$function$;

--: view public.message_feedback_summary
create view public.message_feedback_summary with (security_invoker=true) as
 SELECT f.message_id,
    f.conversation_run_id,
    count(*) AS feedback_count,
    count(*) FILTER (WHERE (f.thumbs = 'up'::text)) AS thumbs_up,
    count(*) FILTER (WHERE (f.thumbs = 'down'::text)) AS thumbs_down,
    round(avg(s.score), 2) AS average_score,
    count(*) FILTER (WHERE (f.comment <> ''::text)) AS comments,
    max(f.updated_at) AS last_feedback_at
   FROM (public.conversation_feedback f
     CROSS JOIN LATERAL ( SELECT
                CASE
                    WHEN (f.key = 'user_satisfaction'::text) THEN f.score
                    ELSE NULL::numeric
                END AS score) s)
  WHERE (f.message_id IS NOT NULL)
  GROUP BY f.message_id, f.conversation_run_id;

--: view public.monthly_usage_summary
create view public.monthly_usage_summary with (security_invoker=true) as
 SELECT (date_trunc('month'::text, (m.day)::timestamp without time zone))::date AS month,
    m.tenant_id,
    m.user_id,
    (sum(m.calls))::bigint AS calls,
    (sum(m.failed_calls))::bigint AS failed_calls,
    (sum(m.input_tokens))::bigint AS input_tokens,
    (sum(m.output_tokens))::bigint AS output_tokens,
    (sum(m.total_tokens))::bigint AS total_tokens,
    sum(m.total_cost) AS total_cost,
    (sum(m.unpriced_calls))::bigint AS unpriced_calls,
    (sum(m.unmeasured_calls))::bigint AS unmeasured_calls,
    (sum(m.messages))::bigint AS messages,
    count(DISTINCT m.day) AS active_days
   FROM (public.usage_metrics m
     CROSS JOIN ( SELECT) o)
  GROUP BY ((date_trunc('month'::text, (m.day)::timestamp without time zone))::date), m.tenant_id, m.user_id;

--: view public.performance_stats
create view public.performance_stats with (security_invoker=true) as
 SELECT t.relname AS table_name,
    pg_total_relation_size((t.relid)::regclass) AS total_bytes,
    pg_table_size((t.relid)::regclass) AS table_bytes,
    pg_indexes_size((t.relid)::regclass) AS index_bytes,
    t.n_live_tup AS live_rows,
    t.n_dead_tup AS dead_rows,
    t.n_tup_ins AS rows_inserted,
    t.n_tup_upd AS rows_updated,
    t.n_tup_del AS rows_deleted,
    t.seq_scan AS sequential_scans,
    t.idx_scan AS index_scans,
    GREATEST(t.last_vacuum, t.last_autovacuum) AS last_vacuum_at,
    GREATEST(t.last_analyze, t.last_autoanalyze) AS last_analyze_at,
    d.bytes AS database_bytes
   FROM (pg_stat_user_tables t
     CROSS JOIN ( SELECT pg_database_size(current_database()) AS bytes) d)
  WHERE (t.schemaname = 'public'::name)
  ORDER BY (pg_total_relation_size((t.relid)::regclass)) DESC;

--: view public.provider_usage_stats
create view public.provider_usage_stats with (security_invoker=true) as
 SELECT u.provider,
    u.model,
    (sum(u.calls))::bigint AS request_count,
    (sum(u.failed_calls))::bigint AS failed_calls,
    (sum(u.input_tokens))::bigint AS input_tokens,
    (sum(u.output_tokens))::bigint AS output_tokens,
    (sum(u.total_tokens))::bigint AS total_tokens,
    sum(u.total_cost) AS total_cost,
    (sum(u.unpriced_calls))::bigint AS unpriced_calls,
    (sum(u.unmeasured_calls))::bigint AS unmeasured_calls,
    round((sum(u.response_time_ms) / NULLIF(sum(u.timed_calls), (0)::numeric)), 3) AS average_response_time,
    min(u.day) AS first_used_on,
    max(u.day) AS last_used_on
   FROM (( SELECT m.day,
            m.provider,
            m.model,
            m.calls,
            m.failed_calls,
            m.input_tokens,
            m.output_tokens,
            m.total_tokens,
            m.total_cost,
            m.unpriced_calls,
            m.unmeasured_calls,
            m.response_time_ms,
            m.timed_calls
           FROM (public.usage_metrics m
             CROSS JOIN ( SELECT) o_1)
          WHERE ((m.day > (((now() AT TIME ZONE 'UTC'::text))::date - 30)) AND ( SELECT ((CURRENT_USER = 'authenticated'::name) AND (NOT public.chopsky_reads_tenant()))))
        UNION ALL
         SELECT t.day,
            t.provider,
            t.model,
            t.calls,
            t.failed_calls,
            t.input_tokens,
            t.output_tokens,
            t.total_tokens,
            t.total_cost,
            t.unpriced_calls,
            t.unmeasured_calls,
            t.response_time_ms,
            t.timed_calls
           FROM (public.usage_totals t
             CROSS JOIN ( SELECT) o_1)
          WHERE ((t.day > (((now() AT TIME ZONE 'UTC'::text))::date - 30)) AND ( SELECT ((CURRENT_USER <> 'authenticated'::name) OR public.chopsky_reads_tenant())))) u
     CROSS JOIN ( SELECT) o)
  WHERE ((u.calls > 0) OR (u.total_tokens IS NOT NULL) OR (u.total_cost IS NOT NULL))
  GROUP BY u.provider, u.model;

--: function public.rate_message(message_id uuid, thumbs text, score numeric, comment text, key text)
CREATE OR REPLACE FUNCTION public.rate_message(message_id uuid, thumbs text DEFAULT NULL::text, score numeric DEFAULT NULL::numeric, comment text DEFAULT NULL::text, key text DEFAULT 'user_satisfaction'::text)
 RETURNS uuid
 LANGUAGE sql
 SET search_path TO ''
AS $function$
    insert into public.conversation_feedback as f (message_id, thumbs, score, comment, key)
    values (rate_message.message_id, rate_message.thumbs, rate_message.score, rate_message.comment, rate_message.key)
    on conflict (target_id, user_id, key) do update
    set thumbs = excluded.thumbs, score = excluded.score, comment = excluded.comment
    returning f.id
$function$;

--: function public.rebuild_usage(since date)
CREATE OR REPLACE FUNCTION public.rebuild_usage(since date DEFAULT NULL::date)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    first_day constant date := coalesce(since, '-infinity');
    page uuid[];
    mended bigint;
    more bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('chopsky_trace.usage', 0));
    for page in
        select array_agg(o.id)
        from (
            select a.id, (row_number() over (order by a.id) - 1) / 500 as place
            from (
                select r.id from public.conversation_runs r where r.updated_at >= first_day::timestamp at time zone 'UTC'
                union
                select m.id from public.conversation_messages m
                where m.conversation_run_id is null and m.created_at >= first_day::timestamp at time zone 'UTC'
                union
                select c.owner_id from public.usage_contributions c where c.day >= first_day
            ) a
        ) o
        group by o.place order by o.place
    loop
        perform public.chopsky_count_usage(page);
    end loop;

    with wrong as materialized (
        select
            m.key, m.day, m.tenant_id, m.user_id, m.provider, m.model, m.contributions, m.known, m.calls, m.failed_calls,
            m.input_tokens, m.output_tokens, m.total_tokens, m.cache_read_tokens, m.cache_write_tokens, m.reasoning_tokens,
            m.total_cost, m.unpriced_calls, m.unmeasured_calls, m.response_time_ms, m.timed_calls, m.messages,
            m.user_messages, m.assistant_messages
        from public.usage_metrics m where m.day >= first_day
        except
        select
            s.key, s.day, s.tenant_id, s.user_id, s.provider, s.model, s.contributions, s.known, s.calls, s.failed_calls,
            s.input_tokens, s.output_tokens, s.total_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens,
            s.total_cost, s.unpriced_calls, s.unmeasured_calls, s.response_time_ms, s.timed_calls, s.messages,
            s.user_messages, s.assistant_messages
        from public.usage_sums s where s.day >= first_day
    ), gone as (
        delete from public.usage_metrics m
        using wrong w
        where m.key = w.key
        returning 1
    )
    select count(*) into mended from gone;
    with written as (
        insert into public.usage_metrics (
            key, day, tenant_id, user_id, provider, model, contributions, known, calls, failed_calls, input_tokens,
            output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost,
            unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages
        )
        select
            s.key, s.day, s.tenant_id, s.user_id, s.provider, s.model, s.contributions, s.known, s.calls, s.failed_calls,
            s.input_tokens, s.output_tokens, s.total_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens,
            s.total_cost, s.unpriced_calls, s.unmeasured_calls, s.response_time_ms, s.timed_calls, s.messages,
            s.user_messages, s.assistant_messages
        from public.usage_sums s where s.day >= first_day
        except
        select
            m.key, m.day, m.tenant_id, m.user_id, m.provider, m.model, m.contributions, m.known, m.calls, m.failed_calls,
            m.input_tokens, m.output_tokens, m.total_tokens, m.cache_read_tokens, m.cache_write_tokens, m.reasoning_tokens,
            m.total_cost, m.unpriced_calls, m.unmeasured_calls, m.response_time_ms, m.timed_calls, m.messages,
            m.user_messages, m.assistant_messages
        from public.usage_metrics m where m.day >= first_day
        returning 1
    )
    select mended + count(*) into mended from written;
    with wrong as materialized (
        select
            t.key, t.day, t.tenant_id, t.provider, t.model, t.contributions, t.known, t.calls, t.failed_calls,
            t.input_tokens, t.output_tokens, t.total_tokens, t.cache_read_tokens, t.cache_write_tokens, t.reasoning_tokens,
            t.total_cost, t.unpriced_calls, t.unmeasured_calls, t.response_time_ms, t.timed_calls, t.messages,
            t.user_messages, t.assistant_messages
        from public.usage_totals t where t.day >= first_day
        except
        select
            s.key, s.day, s.tenant_id, s.provider, s.model, s.contributions, s.known, s.calls, s.failed_calls,
            s.input_tokens, s.output_tokens, s.total_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens,
            s.total_cost, s.unpriced_calls, s.unmeasured_calls, s.response_time_ms, s.timed_calls, s.messages,
            s.user_messages, s.assistant_messages
        from public.usage_total_sums s where s.day >= first_day
    ), gone as (
        delete from public.usage_totals t
        using wrong w
        where t.key = w.key
        returning 1
    )
    select mended + count(*) into mended from gone;
    with written as (
        insert into public.usage_totals (
            key, day, tenant_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens,
            total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls,
            unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages
        )
        select
            s.key, s.day, s.tenant_id, s.provider, s.model, s.contributions, s.known, s.calls, s.failed_calls,
            s.input_tokens, s.output_tokens, s.total_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens,
            s.total_cost, s.unpriced_calls, s.unmeasured_calls, s.response_time_ms, s.timed_calls, s.messages,
            s.user_messages, s.assistant_messages
        from public.usage_total_sums s where s.day >= first_day
        except
        select
            t.key, t.day, t.tenant_id, t.provider, t.model, t.contributions, t.known, t.calls, t.failed_calls,
            t.input_tokens, t.output_tokens, t.total_tokens, t.cache_read_tokens, t.cache_write_tokens, t.reasoning_tokens,
            t.total_cost, t.unpriced_calls, t.unmeasured_calls, t.response_time_ms, t.timed_calls, t.messages,
            t.user_messages, t.assistant_messages
        from public.usage_totals t where t.day >= first_day
        returning 1
    )
    select mended + count(*) into mended from written;
    return mended;
end
$function$;

--: function public.recompute_runs(run_ids uuid[])
CREATE OR REPLACE FUNCTION public.recompute_runs(run_ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
    -- Always in id order: writers that lock the same runs then wait for each other instead of deadlocking.
    perform 1 from public.conversation_runs r where r.id = any (run_ids) order by r.id for no key update;
    perform public.chopsky_recompute(run_ids, run_ids);
    perform public.chopsky_settle_feedback(run_ids);
    perform public.chopsky_count_usage(run_ids);
end
$function$;

--: function public.update_session_activity()
CREATE OR REPLACE FUNCTION public.update_session_activity()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    is_traced constant boolean := coalesce(current_setting('chopsky_trace.recompute', true) = 'on', false);
    states constant text[] := array[
        'initial', 'gathering', 'clarifying', 'planning', 'confirming', 'delegated', 'reviewing', 'delivered', 'cancelled'
    ];
begin
    if new.state <> all (states) then
        raise exception 'There is no state % of a session', quote_literal(new.state)
            using errcode = 'check_violation', hint = 'It may be ' || array_to_string(states, ', ') || '.';
    end if;
    if tg_op = 'INSERT' then
        new.session_id := coalesce(new.session_id, new.id::text);
        new.by_hand := new.by_hand or not is_traced;
        if not is_traced and auth.jwt() ->> 'sub' is not null then
            -- What a signed-in user begins is theirs; a policy refuses another's name.
            new.user_id := coalesce(new.user_id, auth.jwt() ->> 'sub');
            new.tenant_id := coalesce(new.tenant_id, public.chopsky_tenant_id());
        end if;
    elsif new.state <> old.state and new.state <> all (public.chopsky_session_moves(old.state)) then
        raise exception 'A session that is % cannot become %', old.state, new.state
            using errcode = 'check_violation', hint = coalesce(
                'It may become ' || nullif(array_to_string(public.chopsky_session_moves(old.state), ', '), '') || '.',
                'It has come to its end: begin another session.'
            );
    end if;
    if new.state in ('delivered', 'cancelled') then
        new.completed_at := coalesce(new.completed_at, now());
    end if;
    if tg_op = 'UPDATE' and not is_traced then
        new.by_hand := true;
        new.updated_at := now();
        if (new.state, new.parsed_intent, new.answered_questions, new.pending_questions, new.selected_kb_ids, new.active_task_plan_id)
            is distinct from
            (old.state, old.parsed_intent, old.answered_questions, old.pending_questions, old.selected_kb_ids, old.active_task_plan_id)
        then
            new.driven_at := now();
            new.last_activity_at := greatest(new.last_activity_at, now());
        end if;
    end if;
    return new;
end
$function$;

--: function public.update_session_on_message()
CREATE OR REPLACE FUNCTION public.update_session_on_message()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    said record;
    session_uuid uuid;
    session public.conversation_sessions;
begin
    if was = 'on' or not exists (select 1 from changed c where c.conversation_run_id is null and c.session_id is not null) then
        return null;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    -- As ingest does: one writer at a time for a session, and before any row of it is locked.
    perform pg_advisory_xact_lock(k.key)
    from (
        select distinct hashtextextended(coalesce((
            select s.session_id from public.conversation_sessions s where s.id = coalesce(
                (select e.id from public.conversation_sessions e where e.session_key = n.session_key),
                public.conversation_session_id(n.session_id, n.tenant_id, n.user_id)
            )
        ), n.session_id), 0) as key
        from (
            select distinct c.session_id, c.tenant_id, c.user_id, c.session_key
            from changed c where c.conversation_run_id is null and c.session_id is not null
        ) n
        order by 1
    ) k;
    for said in
        select c.session_id, c.tenant_id, c.user_id, c.session_key, array_agg(c.id) as ids, max(c.created_at) as at
        from changed c where c.conversation_run_id is null and c.session_id is not null
        group by 1, 2, 3, 4 order by 1, 2, 3, 4
    loop
        session_uuid := coalesce(
            (select s.id from public.conversation_sessions s where s.session_key = said.session_key),
            public.conversation_session_id(said.session_id, said.tenant_id, said.user_id)
        );
        perform public.chopsky_lock_sessions(array(select s.session_key from public.conversation_sessions s where s.id = session_uuid), '10 seconds');
        select s.* into session from public.conversation_sessions s
        where s.id = coalesce(session_uuid, public.conversation_session_id(said.session_id, said.tenant_id, said.user_id))
        for no key update;
        if session.id is null then
            insert into public.conversation_sessions as s (session_id, tenant_id, user_id, by_hand)
            values (said.session_id, said.tenant_id, said.user_id, true)
            on conflict (session_key) do update set by_hand = true
            returning s.* into session;
        end if;
        update public.conversation_messages m
        set session_key = session.session_key, session_id = session.session_id, tenant_id = session.tenant_id, user_id = session.user_id
        where m.id = any (said.ids);
        update public.conversation_sessions s set last_activity_at = said.at, updated_at = greatest(s.updated_at, said.at)
        where s.id = session.id and s.last_activity_at < said.at;
        perform public.chopsky_settle_said(said.ids);
    end loop;
    perform set_config('chopsky_trace.recompute', was, true);
    return null;
end
$function$;

--: view public.usage_logs
create view public.usage_logs with (security_invoker=true) as
 SELECT s.id,
    r.user_id,
    r.tenant_id,
    c.id AS conversation_id,
    r.id AS conversation_run_id,
    m.id AS message_id,
    s.kind AS action,
    s.provider,
    COALESCE(s.model, s.model_requested) AS model,
    s.total_tokens AS tokens_used,
    s.cost AS cost_usd,
    s.status,
    s.metadata,
    COALESCE(s.started_at, s.ended_at, r.started_at, r.created_at) AS created_at
   FROM (((public.conversation_spans s
     JOIN public.conversation_runs r ON ((r.id = s.conversation_run_id)))
     LEFT JOIN public.conversation_sessions c ON (((c.session_key = r.session_key) AND (r.session_id IS NOT NULL))))
     LEFT JOIN LATERAL ( SELECT o.id
           FROM public.conversation_messages o
          WHERE ((o.conversation_run_id = r.id) AND (o.span_id = s.id) AND (o.role = 'assistant'::text) AND (NOT o.is_history))
          ORDER BY o."position", o.id
         LIMIT 1) m ON (true))
  WHERE ((s.kind = ANY (ARRAY['llm'::text, 'embedding'::text, 'image'::text])) AND (s.duplicate_of IS NULL))
UNION ALL
 SELECT m.id,
    m.user_id,
    m.tenant_id,
    c.id AS conversation_id,
    NULL::uuid AS conversation_run_id,
    m.id AS message_id,
    'message'::text AS action,
    m.provider,
    m.model,
    m.token_count AS tokens_used,
    m.cost AS cost_usd,
    'completed'::text AS status,
    m.metadata,
    m.created_at
   FROM (public.conversation_messages m
     LEFT JOIN public.conversation_sessions c ON ((c.session_key = m.session_key)))
  WHERE ((m.conversation_run_id IS NULL) AND (m.role = 'assistant'::text) AND (num_nonnulls(m.token_count, m.cost, m.model) > 0));

--: view public.usage_sums
create view public.usage_sums with (security_invoker=true) as
 SELECT x.key,
    x.day,
    x.tenant_id,
    x.user_id,
    x.provider,
    x.model,
    (sum(x.contributions))::bigint AS contributions,
    ARRAY[(sum(x.known[1]))::bigint, (sum(x.known[2]))::bigint, (sum(x.known[3]))::bigint, (sum(x.known[4]))::bigint, (sum(x.known[5]))::bigint, (sum(x.known[6]))::bigint, (sum(x.known[7]))::bigint, (sum(x.known[8]))::bigint] AS known,
    (sum(x.calls))::bigint AS calls,
    (sum(x.failed_calls))::bigint AS failed_calls,
    (sum(x.input_tokens))::bigint AS input_tokens,
    (sum(x.output_tokens))::bigint AS output_tokens,
    (sum(x.total_tokens))::bigint AS total_tokens,
    (sum(x.cache_read_tokens))::bigint AS cache_read_tokens,
    (sum(x.cache_write_tokens))::bigint AS cache_write_tokens,
    (sum(x.reasoning_tokens))::bigint AS reasoning_tokens,
    sum(x.total_cost) AS total_cost,
    (sum(x.unpriced_calls))::bigint AS unpriced_calls,
    (sum(x.unmeasured_calls))::bigint AS unmeasured_calls,
    sum(x.response_time_ms) AS response_time_ms,
    (sum(x.timed_calls))::bigint AS timed_calls,
    (sum(x.messages))::bigint AS messages,
    (sum(x.user_messages))::bigint AS user_messages,
    (sum(x.assistant_messages))::bigint AS assistant_messages
   FROM (( SELECT c.key,
            c.day,
            c.tenant_id,
            c.user_id,
            c.provider,
            c.model,
            1 AS contributions,
            ARRAY[(num_nonnulls(c.input_tokens))::bigint, (num_nonnulls(c.output_tokens))::bigint, (num_nonnulls(c.total_tokens))::bigint, (num_nonnulls(c.cache_read_tokens))::bigint, (num_nonnulls(c.cache_write_tokens))::bigint, (num_nonnulls(c.reasoning_tokens))::bigint, (num_nonnulls(c.total_cost))::bigint, (num_nonnulls(c.response_time_ms))::bigint] AS known,
            c.calls,
            c.failed_calls,
            c.input_tokens,
            c.output_tokens,
            c.total_tokens,
            c.cache_read_tokens,
            c.cache_write_tokens,
            c.reasoning_tokens,
            c.total_cost,
            c.unpriced_calls,
            c.unmeasured_calls,
            c.response_time_ms,
            c.timed_calls,
            c.messages,
            c.user_messages,
            c.assistant_messages
           FROM (public.usage_contributions c
             CROSS JOIN ( SELECT) o_1)
        UNION ALL
         SELECT k.key,
            k.day,
            k.tenant_id,
            k.user_id,
            k.provider,
            k.model,
            k.contributions,
            k.known,
            k.calls,
            k.failed_calls,
            k.input_tokens,
            k.output_tokens,
            k.total_tokens,
            k.cache_read_tokens,
            k.cache_write_tokens,
            k.reasoning_tokens,
            k.total_cost,
            k.unpriced_calls,
            k.unmeasured_calls,
            k.response_time_ms,
            k.timed_calls,
            k.messages,
            k.user_messages,
            k.assistant_messages
           FROM (public.usage_kept k
             CROSS JOIN ( SELECT) o_1)) x
     CROSS JOIN ( SELECT) o)
  GROUP BY x.key, x.day, x.tenant_id, x.user_id, x.provider, x.model;

--: view public.usage_total_sums
create view public.usage_total_sums with (security_invoker=true) as
 SELECT public.chopsky_usage_key(s.day, s.tenant_id, NULL::text, s.provider, s.model) AS key,
    s.day,
    s.tenant_id,
    s.provider,
    s.model,
    (sum(s.contributions))::bigint AS contributions,
    ARRAY[(sum(s.known[1]))::bigint, (sum(s.known[2]))::bigint, (sum(s.known[3]))::bigint, (sum(s.known[4]))::bigint, (sum(s.known[5]))::bigint, (sum(s.known[6]))::bigint, (sum(s.known[7]))::bigint, (sum(s.known[8]))::bigint] AS known,
    (sum(s.calls))::bigint AS calls,
    (sum(s.failed_calls))::bigint AS failed_calls,
    (sum(s.input_tokens))::bigint AS input_tokens,
    (sum(s.output_tokens))::bigint AS output_tokens,
    (sum(s.total_tokens))::bigint AS total_tokens,
    (sum(s.cache_read_tokens))::bigint AS cache_read_tokens,
    (sum(s.cache_write_tokens))::bigint AS cache_write_tokens,
    (sum(s.reasoning_tokens))::bigint AS reasoning_tokens,
    sum(s.total_cost) AS total_cost,
    (sum(s.unpriced_calls))::bigint AS unpriced_calls,
    (sum(s.unmeasured_calls))::bigint AS unmeasured_calls,
    sum(s.response_time_ms) AS response_time_ms,
    (sum(s.timed_calls))::bigint AS timed_calls,
    (sum(s.messages))::bigint AS messages,
    (sum(s.user_messages))::bigint AS user_messages,
    (sum(s.assistant_messages))::bigint AS assistant_messages
   FROM (public.usage_sums s
     CROSS JOIN ( SELECT) o)
  GROUP BY s.day, s.tenant_id, s.provider, s.model;

--: view public.user_activity_summary
create view public.user_activity_summary with (security_invoker=true) as
 SELECT u.user_id,
    p.email,
    p.display_name,
    p.role,
    (sum(u.conversations))::bigint AS total_conversations,
    (sum(u.runs))::bigint AS total_runs,
    (sum(u.messages))::bigint AS total_messages,
    (sum(u.tokens))::bigint AS total_tokens_used,
    sum(u.cost) AS total_cost_usd,
    (sum(u.unpriced))::bigint AS unpriced_calls,
    min(u.first_at) AS first_activity_at,
    max(u.last_at) AS last_activity_at
   FROM (( SELECT r.user_id,
            (0)::bigint AS conversations,
            count(*) AS runs,
            sum(r.total_messages) AS messages,
            sum(r.total_tokens_used) AS tokens,
            sum(r.total_cost) AS cost,
            sum(r.unpriced_calls) AS unpriced,
            min(COALESCE(r.started_at, r.created_at)) AS first_at,
            max(COALESCE(r.ended_at, r.started_at, r.created_at)) AS last_at
           FROM public.conversation_runs r
          WHERE ((r.user_id IS NOT NULL) AND (NOT r.merged))
          GROUP BY r.user_id
        UNION ALL
         SELECT s.user_id,
            count(*) AS count,
            (0)::bigint AS int8,
            (0)::bigint AS int8,
            NULL::numeric AS "numeric",
            NULL::numeric AS "numeric",
            (0)::bigint AS int8,
            min(s.created_at) AS min,
            max(s.last_activity_at) AS max
           FROM public.conversation_sessions s
          WHERE (s.user_id IS NOT NULL)
          GROUP BY s.user_id
        UNION ALL
         SELECT m.user_id,
            (0)::bigint AS int8,
            (0)::bigint AS int8,
            count(*) FILTER (WHERE (NOT m.is_internal)) AS count,
            (sum(m.token_count))::numeric AS sum,
            sum(m.cost) AS sum,
            (0)::bigint AS int8,
            min(m.created_at) AS min,
            max(m.created_at) AS max
           FROM public.conversation_messages m
          WHERE ((m.conversation_run_id IS NULL) AND (m.session_key IS NOT NULL) AND (m.user_id IS NOT NULL))
          GROUP BY m.user_id
        UNION ALL
         SELECT a.user_id,
            (0)::bigint AS int8,
            (0)::bigint AS int8,
            (0)::bigint AS int8,
            NULL::numeric AS "numeric",
            NULL::numeric AS "numeric",
            (0)::bigint AS int8,
            NULL::timestamp with time zone AS timestamptz,
            NULL::timestamp with time zone AS timestamptz
           FROM public.user_profiles a) u
     LEFT JOIN public.user_profiles p ON ((p.user_id = u.user_id)))
  GROUP BY u.user_id, p.email, p.display_name, p.role;

--: view public.user_usage
create view public.user_usage with (security_invoker=true) as
 SELECT m.day,
    m.tenant_id,
    m.user_id,
    m.provider,
    m.model,
    m.calls,
    m.failed_calls,
    m.input_tokens,
    m.output_tokens,
    m.total_tokens,
    m.cache_read_tokens,
    m.cache_write_tokens,
    m.reasoning_tokens,
    m.unmeasured_calls,
    round((m.response_time_ms / (NULLIF(m.timed_calls, 0))::numeric), 3) AS average_response_time,
    m.messages,
    m.user_messages,
    m.assistant_messages
   FROM (public.usage_metrics m
     CROSS JOIN ( SELECT) o);

--: trigger public.conversation_analytics conversation_analytics_scored_by_hand
CREATE TRIGGER conversation_analytics_scored_by_hand BEFORE INSERT OR UPDATE ON public.conversation_analytics FOR EACH ROW WHEN ((current_setting('chopsky_trace.recompute'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION public.chopsky_on_scores_by_hand();

--: trigger public.conversation_feedback conversation_feedback_deleted
CREATE TRIGGER conversation_feedback_deleted AFTER DELETE ON public.conversation_feedback REFERENCING OLD TABLE AS previous FOR EACH STATEMENT EXECUTE FUNCTION public.chopsky_on_feedback();

--: trigger public.conversation_feedback conversation_feedback_given
CREATE TRIGGER conversation_feedback_given BEFORE INSERT OR UPDATE ON public.conversation_feedback FOR EACH ROW EXECUTE FUNCTION public.chopsky_on_feedback_given();

--: trigger public.conversation_feedback conversation_feedback_inserted
CREATE TRIGGER conversation_feedback_inserted AFTER INSERT ON public.conversation_feedback REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.chopsky_on_feedback();

--: trigger public.conversation_feedback conversation_feedback_updated
CREATE TRIGGER conversation_feedback_updated AFTER UPDATE ON public.conversation_feedback REFERENCING OLD TABLE AS previous NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.chopsky_on_feedback();

--: trigger public.conversation_messages conversation_messages_by_hand
CREATE TRIGGER conversation_messages_by_hand BEFORE INSERT ON public.conversation_messages FOR EACH ROW WHEN (((new.conversation_run_id IS NOT NULL) AND (current_setting('chopsky_trace.recompute'::text, true) IS DISTINCT FROM 'on'::text))) EXECUTE FUNCTION public.chopsky_on_message_by_hand();

--: trigger public.conversation_messages conversation_messages_deleted
CREATE TRIGGER conversation_messages_deleted AFTER DELETE ON public.conversation_messages REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.chopsky_on_rows();

--: trigger public.conversation_messages conversation_messages_in_session
CREATE TRIGGER conversation_messages_in_session AFTER INSERT ON public.conversation_messages REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.update_session_on_message();

--: trigger public.conversation_messages conversation_messages_inserted
CREATE TRIGGER conversation_messages_inserted AFTER INSERT ON public.conversation_messages REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.chopsky_on_rows();

--: trigger public.conversation_messages conversation_messages_said_gone
CREATE TRIGGER conversation_messages_said_gone AFTER DELETE ON public.conversation_messages FOR EACH ROW WHEN (((old.said IS NOT NULL) AND (current_setting('chopsky_trace.recompute'::text, true) = 'on'::text))) EXECUTE FUNCTION public.chopsky_on_said_left();

--: trigger public.conversation_messages conversation_messages_said_moved
CREATE TRIGGER conversation_messages_said_moved AFTER UPDATE ON public.conversation_messages FOR EACH ROW WHEN (((old.said IS NOT NULL) AND (new.said IS NOT NULL) AND (old.session_key <> new.session_key))) EXECUTE FUNCTION public.chopsky_on_said_left();

--: trigger public.conversation_messages conversation_messages_updated
CREATE TRIGGER conversation_messages_updated AFTER UPDATE ON public.conversation_messages REFERENCING OLD TABLE AS previous NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.chopsky_on_rows();

--: trigger public.conversation_messages conversation_messages_with_feedback_deleted
CREATE TRIGGER conversation_messages_with_feedback_deleted AFTER DELETE ON public.conversation_messages REFERENCING OLD TABLE AS gone_messages FOR EACH STATEMENT EXECUTE FUNCTION public.chopsky_on_message_with_feedback_deleted();

--: trigger public.conversation_runs conversation_runs_edited_by_hand
CREATE TRIGGER conversation_runs_edited_by_hand BEFORE UPDATE ON public.conversation_runs FOR EACH ROW WHEN ((current_setting('chopsky_trace.recompute'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION public.chopsky_on_edit_by_hand();

--: trigger public.conversation_runs conversation_runs_gone
CREATE TRIGGER conversation_runs_gone AFTER DELETE ON public.conversation_runs REFERENCING OLD TABLE AS gone_runs FOR EACH STATEMENT EXECUTE FUNCTION public.chopsky_on_runs_gone();

--: trigger public.conversation_runs conversation_runs_left_session
CREATE TRIGGER conversation_runs_left_session AFTER UPDATE ON public.conversation_runs FOR EACH ROW WHEN (((old.session_id IS NOT NULL) AND ((old.session_key <> new.session_key) OR (new.merged AND (NOT old.merged))))) EXECUTE FUNCTION public.chopsky_on_run_of_session();

--: trigger public.conversation_runs conversation_runs_moved_by_hand
CREATE TRIGGER conversation_runs_moved_by_hand AFTER UPDATE ON public.conversation_runs FOR EACH ROW WHEN ((current_setting('chopsky_trace.recompute'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION public.chopsky_on_move_by_hand();

--: trigger public.conversation_runs conversation_runs_of_feedback_inserted
CREATE TRIGGER conversation_runs_of_feedback_inserted AFTER INSERT ON public.conversation_runs FOR EACH ROW WHEN ((current_setting('chopsky_trace.recompute'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION public.chopsky_on_run_of_feedback();

--: trigger public.conversation_runs conversation_runs_of_feedback_moved
CREATE TRIGGER conversation_runs_of_feedback_moved AFTER UPDATE ON public.conversation_runs FOR EACH ROW WHEN ((current_setting('chopsky_trace.recompute'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION public.chopsky_on_run_of_feedback();

--: trigger public.conversation_runs conversation_runs_of_session
CREATE TRIGGER conversation_runs_of_session AFTER INSERT OR UPDATE ON public.conversation_runs FOR EACH ROW WHEN (((new.session_id IS NOT NULL) AND (current_setting('chopsky_trace.recompute'::text, true) IS DISTINCT FROM 'on'::text))) EXECUTE FUNCTION public.chopsky_on_run_of_session();

--: trigger public.conversation_runs conversation_runs_usage_deleted
CREATE TRIGGER conversation_runs_usage_deleted AFTER DELETE ON public.conversation_runs REFERENCING OLD TABLE AS changed FOR EACH STATEMENT WHEN ((current_setting('chopsky_trace.recompute'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION public.chopsky_on_runs();

--: trigger public.conversation_runs conversation_runs_usage_updated
CREATE TRIGGER conversation_runs_usage_updated AFTER UPDATE ON public.conversation_runs REFERENCING OLD TABLE AS previous NEW TABLE AS changed FOR EACH STATEMENT WHEN ((current_setting('chopsky_trace.recompute'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION public.chopsky_on_runs();

--: trigger public.conversation_runs conversation_runs_with_feedback_deleted
CREATE TRIGGER conversation_runs_with_feedback_deleted AFTER DELETE ON public.conversation_runs REFERENCING OLD TABLE AS gone_runs FOR EACH STATEMENT EXECUTE FUNCTION public.chopsky_on_run_with_feedback_deleted();

--: trigger public.conversation_sessions conversation_sessions_activity
CREATE TRIGGER conversation_sessions_activity BEFORE INSERT OR UPDATE ON public.conversation_sessions FOR EACH ROW EXECUTE FUNCTION public.update_session_activity();

--: trigger public.conversation_sessions conversation_sessions_cleared
CREATE TRIGGER conversation_sessions_cleared AFTER UPDATE ON public.conversation_sessions FOR EACH ROW WHEN ((current_setting('chopsky_trace.clearing'::text, true) = (new.id)::text)) EXECUTE FUNCTION public.chopsky_on_session_cleared();

--: trigger public.conversation_sessions conversation_sessions_gone
CREATE TRIGGER conversation_sessions_gone AFTER DELETE ON public.conversation_sessions REFERENCING OLD TABLE AS gone_sessions FOR EACH STATEMENT WHEN ((current_setting('chopsky_trace.recompute'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION public.chopsky_on_session_gone();

--: trigger public.conversation_sessions conversation_sessions_moved
CREATE TRIGGER conversation_sessions_moved AFTER UPDATE ON public.conversation_sessions FOR EACH ROW WHEN ((old.session_key <> new.session_key)) EXECUTE FUNCTION public.chopsky_on_session_moved();

--: trigger public.conversation_sessions conversation_sessions_of_feedback_moved
CREATE TRIGGER conversation_sessions_of_feedback_moved AFTER UPDATE ON public.conversation_sessions FOR EACH ROW WHEN ((old.session_key <> new.session_key)) EXECUTE FUNCTION public.chopsky_on_session_of_feedback();

--: trigger public.conversation_spans conversation_spans_deleted
CREATE TRIGGER conversation_spans_deleted AFTER DELETE ON public.conversation_spans REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.chopsky_on_rows();

--: trigger public.conversation_spans conversation_spans_inserted
CREATE TRIGGER conversation_spans_inserted AFTER INSERT ON public.conversation_spans REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.chopsky_on_rows();

--: trigger public.conversation_spans conversation_spans_updated
CREATE TRIGGER conversation_spans_updated AFTER UPDATE ON public.conversation_spans REFERENCING OLD TABLE AS previous NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.chopsky_on_rows();

--: trigger public.model_prices model_prices_checked
CREATE TRIGGER model_prices_checked BEFORE INSERT OR UPDATE ON public.model_prices FOR EACH ROW EXECUTE FUNCTION public.chopsky_check_model_price();

--: trigger public.user_profiles user_profiles_edited
CREATE TRIGGER user_profiles_edited BEFORE UPDATE ON public.user_profiles FOR EACH ROW EXECUTE FUNCTION public.chopsky_on_profile();

--: row level security public.chopsky_keys
alter table public.chopsky_keys enable row level security;

--: row level security public.chopsky_migrations
alter table public.chopsky_migrations enable row level security;

--: row level security public.conversation_analytics
alter table public.conversation_analytics enable row level security;

--: row level security public.conversation_contents
alter table public.conversation_contents enable row level security;

--: row level security public.conversation_erasures
alter table public.conversation_erasures enable row level security;

--: row level security public.conversation_feedback
alter table public.conversation_feedback enable row level security;

--: row level security public.conversation_messages
alter table public.conversation_messages enable row level security;

--: row level security public.conversation_prefixes
alter table public.conversation_prefixes enable row level security;

--: row level security public.conversation_repricings
alter table public.conversation_repricings enable row level security;

--: row level security public.conversation_runs
alter table public.conversation_runs enable row level security;

--: row level security public.conversation_sessions
alter table public.conversation_sessions enable row level security;

--: row level security public.conversation_spans
alter table public.conversation_spans enable row level security;

--: row level security public.conversation_tombstones
alter table public.conversation_tombstones enable row level security;

--: row level security public.model_prices
alter table public.model_prices enable row level security;

--: row level security public.retention_policies
alter table public.retention_policies enable row level security;

--: row level security public.usage_contributions
alter table public.usage_contributions enable row level security;

--: row level security public.usage_kept
alter table public.usage_kept enable row level security;

--: row level security public.usage_metrics
alter table public.usage_metrics enable row level security;

--: row level security public.usage_totals
alter table public.usage_totals enable row level security;

--: row level security public.user_profiles
alter table public.user_profiles enable row level security;

--: row level security public.writer_status
alter table public.writer_status enable row level security;

--: policy public.chopsky_keys chopsky_keys_service
create policy chopsky_keys_service on public.chopsky_keys as permissive for all to service_role
using (true)
with check (true);

--: policy public.chopsky_migrations chopsky_migrations_service
create policy chopsky_migrations_service on public.chopsky_migrations as permissive for select to service_role
using (true);

--: policy public.conversation_analytics conversation_analytics_service
create policy conversation_analytics_service on public.conversation_analytics as permissive for all to service_role
using (true)
with check (true);

--: policy public.conversation_contents conversation_contents_service
create policy conversation_contents_service on public.conversation_contents as permissive for all to service_role
using (true)
with check (true);

--: policy public.conversation_erasures conversation_erasures_service
create policy conversation_erasures_service on public.conversation_erasures as permissive for all to service_role
using (true)
with check (true);

--: policy public.conversation_feedback conversation_feedback_change
create policy conversation_feedback_change on public.conversation_feedback as permissive for update to authenticated
using (((NOT is_internal) AND (user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))))
with check (((NOT is_internal) AND (user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))));

--: policy public.conversation_feedback conversation_feedback_give
create policy conversation_feedback_give on public.conversation_feedback as permissive for insert to authenticated
with check (((NOT is_internal) AND (user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))));

--: policy public.conversation_feedback conversation_feedback_read
create policy conversation_feedback_read on public.conversation_feedback as permissive for select to authenticated
using (((NOT is_internal) AND (((user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))) OR (tenant_id = ( SELECT
        CASE
            WHEN public.chopsky_reads_tenant() THEN public.chopsky_tenant_id()
            ELSE NULL::text
        END AS "case")))));

--: policy public.conversation_feedback conversation_feedback_service
create policy conversation_feedback_service on public.conversation_feedback as permissive for all to service_role
using (true)
with check (true);

--: policy public.conversation_feedback conversation_feedback_take_back
create policy conversation_feedback_take_back on public.conversation_feedback as permissive for delete to authenticated
using (((NOT is_internal) AND (user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))));

--: policy public.conversation_messages conversation_messages_read
create policy conversation_messages_read on public.conversation_messages as permissive for select to authenticated
using (((NOT is_internal) AND (role = ANY (ARRAY['user'::text, 'assistant'::text])) AND (((user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))) OR (tenant_id = ( SELECT
        CASE
            WHEN public.chopsky_reads_tenant() THEN public.chopsky_tenant_id()
            ELSE NULL::text
        END AS "case")))));

--: policy public.conversation_messages conversation_messages_service
create policy conversation_messages_service on public.conversation_messages as permissive for all to service_role
using (true)
with check (true);

--: policy public.conversation_prefixes conversation_prefixes_service
create policy conversation_prefixes_service on public.conversation_prefixes as permissive for all to service_role
using (true)
with check (true);

--: policy public.conversation_repricings conversation_repricings_service
create policy conversation_repricings_service on public.conversation_repricings as permissive for all to service_role
using (true)
with check (true);

--: policy public.conversation_runs conversation_runs_read
create policy conversation_runs_read on public.conversation_runs as permissive for select to authenticated
using ((((user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))) OR (tenant_id = ( SELECT
        CASE
            WHEN public.chopsky_reads_tenant() THEN public.chopsky_tenant_id()
            ELSE NULL::text
        END AS "case"))));

--: policy public.conversation_runs conversation_runs_service
create policy conversation_runs_service on public.conversation_runs as permissive for all to service_role
using (true)
with check (true);

--: policy public.conversation_sessions conversation_sessions_begin
create policy conversation_sessions_begin on public.conversation_sessions as permissive for insert to authenticated
with check (((user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))));

--: policy public.conversation_sessions conversation_sessions_drive
create policy conversation_sessions_drive on public.conversation_sessions as permissive for update to authenticated
using (((user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))))
with check (((user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))));

--: policy public.conversation_sessions conversation_sessions_read
create policy conversation_sessions_read on public.conversation_sessions as permissive for select to authenticated
using ((((user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))) OR (tenant_id = ( SELECT
        CASE
            WHEN public.chopsky_reads_tenant() THEN public.chopsky_tenant_id()
            ELSE NULL::text
        END AS "case"))));

--: policy public.conversation_sessions conversation_sessions_remove
create policy conversation_sessions_remove on public.conversation_sessions as permissive for delete to authenticated
using (((user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))));

--: policy public.conversation_sessions conversation_sessions_service
create policy conversation_sessions_service on public.conversation_sessions as permissive for all to service_role
using (true)
with check (true);

--: policy public.conversation_spans conversation_spans_service
create policy conversation_spans_service on public.conversation_spans as permissive for all to service_role
using (true)
with check (true);

--: policy public.conversation_tombstones conversation_tombstones_service
create policy conversation_tombstones_service on public.conversation_tombstones as permissive for all to service_role
using (true)
with check (true);

--: policy public.model_prices model_prices_service
create policy model_prices_service on public.model_prices as permissive for all to service_role
using (true)
with check (true);

--: policy public.retention_policies retention_policies_service
create policy retention_policies_service on public.retention_policies as permissive for all to service_role
using (true)
with check (true);

--: policy public.usage_contributions usage_contributions_service
create policy usage_contributions_service on public.usage_contributions as permissive for all to service_role
using (true)
with check (true);

--: policy public.usage_kept usage_kept_service
create policy usage_kept_service on public.usage_kept as permissive for all to service_role
using (true)
with check (true);

--: policy public.usage_metrics usage_metrics_read
create policy usage_metrics_read on public.usage_metrics as permissive for select to authenticated
using ((((user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))) OR (tenant_id = ( SELECT
        CASE
            WHEN public.chopsky_reads_tenant() THEN public.chopsky_tenant_id()
            ELSE NULL::text
        END AS "case"))));

--: policy public.usage_metrics usage_metrics_service
create policy usage_metrics_service on public.usage_metrics as permissive for all to service_role
using (true)
with check (true);

--: policy public.usage_totals usage_totals_read
create policy usage_totals_read on public.usage_totals as permissive for select to authenticated
using ((tenant_id = ( SELECT
        CASE
            WHEN public.chopsky_reads_tenant() THEN public.chopsky_tenant_id()
            ELSE NULL::text
        END AS "case")));

--: policy public.usage_totals usage_totals_service
create policy usage_totals_service on public.usage_totals as permissive for all to service_role
using (true)
with check (true);

--: policy public.user_profiles user_profiles_edit
create policy user_profiles_edit on public.user_profiles as permissive for update to authenticated
using (((user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))))
with check (((user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))));

--: policy public.user_profiles user_profiles_read
create policy user_profiles_read on public.user_profiles as permissive for select to authenticated
using ((((user_id = ( SELECT (( SELECT auth.jwt() AS jwt) ->> 'sub'::text))) AND ((tenant_id IS NULL) OR (tenant_id = ( SELECT public.chopsky_tenant_id() AS chopsky_tenant_id)))) OR (tenant_id = ( SELECT
        CASE
            WHEN public.chopsky_reads_tenant() THEN public.chopsky_tenant_id()
            ELSE NULL::text
        END AS "case"))));

--: policy public.user_profiles user_profiles_service
create policy user_profiles_service on public.user_profiles as permissive for all to service_role
using (true)
with check (true);

--: policy public.writer_status writer_status_service
create policy writer_status_service on public.writer_status as permissive for all to service_role
using (true)
with check (true);

--: grant public.archive_old_messages(older_than interval, tenant_id text, at_most integer) to service_role
grant execute on function public.archive_old_messages(older_than interval, tenant_id text, at_most integer) to service_role;

--: grant public.cancel_conversation_session(session_uuid uuid) to authenticated
grant execute on function public.cancel_conversation_session(session_uuid uuid) to authenticated;

--: grant public.cancel_conversation_session(session_uuid uuid) to service_role
grant execute on function public.cancel_conversation_session(session_uuid uuid) to service_role;

--: grant public.chopsky_add_counts(counts jsonb, more jsonb) to service_role
grant execute on function public.chopsky_add_counts(counts jsonb, more jsonb) to service_role;

--: grant public.chopsky_add_usage(deltas public.usage_metrics[], to_kept boolean, to_metrics boolean) to service_role
grant execute on function public.chopsky_add_usage(deltas public.usage_metrics[], to_kept boolean, to_metrics boolean) to service_role;

--: grant public.chopsky_as_told(span public.conversation_spans) to service_role
grant execute on function public.chopsky_as_told(span public.conversation_spans) to service_role;

--: grant public.chopsky_call_pairs(ids uuid[]) to service_role
grant execute on function public.chopsky_call_pairs(ids uuid[]) to service_role;

--: grant public.chopsky_claim_runs(wanted uuid[], going uuid[]) to service_role
grant execute on function public.chopsky_claim_runs(wanted uuid[], going uuid[]) to service_role;

--: grant public.chopsky_content(run_id uuid, content_id uuid) to service_role
grant execute on function public.chopsky_content(run_id uuid, content_id uuid) to service_role;

--: grant public.chopsky_count_due(older_than interval, tenant_id text) to service_role
grant execute on function public.chopsky_count_due(older_than interval, tenant_id text) to service_role;

--: grant public.chopsky_count_usage(owner_ids uuid[]) to service_role
grant execute on function public.chopsky_count_usage(owner_ids uuid[]) to service_role;

--: grant public.chopsky_decide_calls(members uuid[]) to service_role
grant execute on function public.chopsky_decide_calls(members uuid[]) to service_role;

--: grant public.chopsky_due_runs(what text, at_most bigint, older_than interval, tenant_id text, keys uuid[]) to service_role
grant execute on function public.chopsky_due_runs(what text, at_most bigint, older_than interval, tenant_id text, keys uuid[]) to service_role;

--: grant public.chopsky_due_sessions(at_most bigint, tenant_id text, expired_only boolean) to service_role
grant execute on function public.chopsky_due_sessions(at_most bigint, tenant_id text, expired_only boolean) to service_role;

--: grant public.chopsky_end_session(session_uuid uuid, state text) to authenticated
grant execute on function public.chopsky_end_session(session_uuid uuid, state text) to authenticated;

--: grant public.chopsky_end_session(session_uuid uuid, state text) to service_role
grant execute on function public.chopsky_end_session(session_uuid uuid, state text) to service_role;

--: grant public.chopsky_entomb_runs(run_ids uuid[]) to service_role
grant execute on function public.chopsky_entomb_runs(run_ids uuid[]) to service_role;

--: grant public.chopsky_erase_on_auth_delete(wanted boolean) to service_role
grant execute on function public.chopsky_erase_on_auth_delete(wanted boolean) to service_role;

--: grant public.chopsky_export_feedback(feedback_ids uuid[]) to service_role
grant execute on function public.chopsky_export_feedback(feedback_ids uuid[]) to service_role;

--: grant public.chopsky_export_messages(message_ids uuid[]) to service_role
grant execute on function public.chopsky_export_messages(message_ids uuid[]) to service_role;

--: grant public.chopsky_export_profiles(user_ids text[]) to service_role
grant execute on function public.chopsky_export_profiles(user_ids text[]) to service_role;

--: grant public.chopsky_export_runs(run_ids uuid[]) to service_role
grant execute on function public.chopsky_export_runs(run_ids uuid[]) to service_role;

--: grant public.chopsky_export_sessions(session_ids uuid[]) to service_role
grant execute on function public.chopsky_export_sessions(session_ids uuid[]) to service_role;

--: grant public.chopsky_feedback_targets(feedback_ids uuid[]) to service_role
grant execute on function public.chopsky_feedback_targets(feedback_ids uuid[]) to service_role;

--: grant public.chopsky_feedback_version(moment timestamp with time zone) to authenticated
grant execute on function public.chopsky_feedback_version(moment timestamp with time zone) to authenticated;

--: grant public.chopsky_feedback_version(moment timestamp with time zone) to service_role
grant execute on function public.chopsky_feedback_version(moment timestamp with time zone) to service_role;

--: grant public.chopsky_fill_messages(keys uuid[], bodies uuid[]) to service_role
grant execute on function public.chopsky_fill_messages(keys uuid[], bodies uuid[]) to service_role;

--: grant public.chopsky_follow_message(run_id uuid, place integer, said_at timestamp with time zone, provider text, model text) to service_role
grant execute on function public.chopsky_follow_message(run_id uuid, place integer, said_at timestamp with time zone, provider text, model text) to service_role;

--: grant public.chopsky_forget_usage(user_id text, tenant_id text) to service_role
grant execute on function public.chopsky_forget_usage(user_id text, tenant_id text) to service_role;

--: grant public.chopsky_give_way(began timestamp with time zone, patience interval, what text) to authenticated
grant execute on function public.chopsky_give_way(began timestamp with time zone, patience interval, what text) to authenticated;

--: grant public.chopsky_give_way(began timestamp with time zone, patience interval, what text) to service_role
grant execute on function public.chopsky_give_way(began timestamp with time zone, patience interval, what text) to service_role;

--: grant public.chopsky_going_runs(what text, due uuid[], tried uuid[], older_than interval, tenant_id text) to service_role
grant execute on function public.chopsky_going_runs(what text, due uuid[], tried uuid[], older_than interval, tenant_id text) to service_role;

--: grant public.chopsky_hand_over(leaving uuid[], going uuid[], OUT heirs uuid[], OUT messages integer, OUT passing integer) to service_role
grant execute on function public.chopsky_hand_over(leaving uuid[], going uuid[], OUT heirs uuid[], OUT messages integer, OUT passing integer) to service_role;

--: grant public.chopsky_import(lines json) to service_role
grant execute on function public.chopsky_import(lines json) to service_role;

--: grant public.chopsky_import_rows(table_name text, rows json) to service_role
grant execute on function public.chopsky_import_rows(table_name text, rows json) to service_role;

--: grant public.chopsky_ingest(payload json) to service_role
grant execute on function public.chopsky_ingest(payload json) to service_role;

--: grant public.chopsky_join_runs(candidates uuid[]) to service_role
grant execute on function public.chopsky_join_runs(candidates uuid[]) to service_role;

--: grant public.chopsky_keep_imported(rows json, OUT kept json, OUT refused bigint) to service_role
grant execute on function public.chopsky_keep_imported(rows json, OUT kept json, OUT refused bigint) to service_role;

--: grant public.chopsky_keep_usage(run_ids uuid[]) to service_role
grant execute on function public.chopsky_keep_usage(run_ids uuid[]) to service_role;

--: grant public.chopsky_keys to service_role
grant insert, select on table public.chopsky_keys to service_role;

--: grant public.chopsky_link_resumed(run_ids uuid[]) to service_role
grant execute on function public.chopsky_link_resumed(run_ids uuid[]) to service_role;

--: grant public.chopsky_lock_feedback(feedback_ids uuid[]) to service_role
grant execute on function public.chopsky_lock_feedback(feedback_ids uuid[]) to service_role;

--: grant public.chopsky_lock_runs(run_ids uuid[], patience interval) to service_role
grant execute on function public.chopsky_lock_runs(run_ids uuid[], patience interval) to service_role;

--: grant public.chopsky_lock_sessions(keys uuid[], patience interval) to service_role
grant execute on function public.chopsky_lock_sessions(keys uuid[], patience interval) to service_role;

--: grant public.chopsky_lock_usage(owner_ids uuid[]) to service_role
grant execute on function public.chopsky_lock_usage(owner_ids uuid[]) to service_role;

--: grant public.chopsky_merge_calls(run_ids uuid[]) to service_role
grant execute on function public.chopsky_merge_calls(run_ids uuid[]) to service_role;

--: grant public.chopsky_migrations to service_role
grant select on table public.chopsky_migrations to service_role;

--: grant public.chopsky_named_ids(run_ids uuid[]) to service_role
grant execute on function public.chopsky_named_ids(run_ids uuid[]) to service_role;

--: grant public.chopsky_nested_calls(run_ids uuid[]) to service_role
grant execute on function public.chopsky_nested_calls(run_ids uuid[]) to service_role;

--: grant public.chopsky_open_runs(runs json) to service_role
grant execute on function public.chopsky_open_runs(runs json) to service_role;

--: grant public.chopsky_pair_equal(session_key uuid, role text, content text, body_id uuid) to service_role
grant execute on function public.chopsky_pair_equal(session_key uuid, role text, content text, body_id uuid) to service_role;

--: grant public.chopsky_pair_messages(keys uuid[], bodies uuid[], every boolean) to service_role
grant execute on function public.chopsky_pair_messages(keys uuid[], bodies uuid[], every boolean) to service_role;

--: grant public.chopsky_pair_runs(run_ids uuid[]) to service_role
grant execute on function public.chopsky_pair_runs(run_ids uuid[]) to service_role;

--: grant public.chopsky_patience(otherwise interval) to service_role
grant execute on function public.chopsky_patience(otherwise interval) to service_role;

--: grant public.chopsky_person_columns() to service_role
grant execute on function public.chopsky_person_columns() to service_role;

--: grant public.chopsky_place_feedback(feedback_ids uuid[]) to service_role
grant execute on function public.chopsky_place_feedback(feedback_ids uuid[]) to service_role;

--: grant public.chopsky_prefix_bodies(prefix_id uuid) to service_role
grant execute on function public.chopsky_prefix_bodies(prefix_id uuid) to service_role;

--: grant public.chopsky_prompt_bodies(span_id uuid) to service_role
grant execute on function public.chopsky_prompt_bodies(span_id uuid) to service_role;

--: grant public.chopsky_prompt_names(span_id uuid) to service_role
grant execute on function public.chopsky_prompt_names(span_id uuid) to service_role;

--: grant public.chopsky_prune(batch integer, at_most integer, dry_run boolean, older_than interval, tenant_id text, for_at_most interval) to service_role
grant execute on function public.chopsky_prune(batch integer, at_most integer, dry_run boolean, older_than interval, tenant_id text, for_at_most interval) to service_role;

--: grant public.chopsky_prune_rows(at_most bigint, tenant_id text) to service_role
grant execute on function public.chopsky_prune_rows(at_most bigint, tenant_id text) to service_role;

--: grant public.chopsky_prunes() to service_role
grant execute on function public.chopsky_prunes() to service_role;

--: grant public.chopsky_rate_runs(run_ids uuid[]) to service_role
grant execute on function public.chopsky_rate_runs(run_ids uuid[]) to service_role;

--: grant public.chopsky_reads_tenant() to authenticated
grant execute on function public.chopsky_reads_tenant() to authenticated;

--: grant public.chopsky_reads_tenant() to service_role
grant execute on function public.chopsky_reads_tenant() to service_role;

--: grant public.chopsky_reap(older_than interval, at_most integer) to service_role
grant execute on function public.chopsky_reap(older_than interval, at_most integer) to service_role;

--: grant public.chopsky_recompute(run_ids uuid[], unordered uuid[]) to service_role
grant execute on function public.chopsky_recompute(run_ids uuid[], unordered uuid[]) to service_role;

--: grant public.chopsky_refuse_runs(run_ids uuid[]) to service_role
grant execute on function public.chopsky_refuse_runs(run_ids uuid[]) to service_role;

--: grant public.chopsky_related_calls(seeds uuid[]) to service_role
grant execute on function public.chopsky_related_calls(seeds uuid[]) to service_role;

--: grant public.chopsky_remove_content(run_ids uuid[], and_said boolean, going uuid[]) to service_role
grant execute on function public.chopsky_remove_content(run_ids uuid[], and_said boolean, going uuid[]) to service_role;

--: grant public.chopsky_remove_runs(run_ids uuid[], is_erasure boolean, going uuid[]) to service_role
grant execute on function public.chopsky_remove_runs(run_ids uuid[], is_erasure boolean, going uuid[]) to service_role;

--: grant public.chopsky_remove_session(session_uuid uuid, at_most integer) to service_role
grant execute on function public.chopsky_remove_session(session_uuid uuid, at_most integer) to service_role;

--: grant public.chopsky_resolve_feedback(feedback_ids uuid[]) to service_role
grant execute on function public.chopsky_resolve_feedback(feedback_ids uuid[]) to service_role;

--: grant public.chopsky_restore(value jsonb, run_id uuid, is_document boolean) to service_role
grant execute on function public.chopsky_restore(value jsonb, run_id uuid, is_document boolean) to service_role;

--: grant public.chopsky_said_by_hand(session_key uuid) to service_role
grant execute on function public.chopsky_said_by_hand(session_key uuid) to service_role;

--: grant public.chopsky_said_row(message public.conversation_messages) to service_role
grant execute on function public.chopsky_said_row(message public.conversation_messages) to service_role;

--: grant public.chopsky_schedule_prune(wanted boolean) to service_role
grant execute on function public.chopsky_schedule_prune(wanted boolean) to service_role;

--: grant public.chopsky_session_moves(state text) to authenticated
grant execute on function public.chopsky_session_moves(state text) to authenticated;

--: grant public.chopsky_session_moves(state text) to service_role
grant execute on function public.chopsky_session_moves(state text) to service_role;

--: grant public.chopsky_settle_feedback(run_ids uuid[]) to service_role
grant execute on function public.chopsky_settle_feedback(run_ids uuid[]) to service_role;

--: grant public.chopsky_settle_imported_feedback(feedback_ids uuid[]) to service_role
grant execute on function public.chopsky_settle_imported_feedback(feedback_ids uuid[]) to service_role;

--: grant public.chopsky_settle_messages(keys uuid[], bodies uuid[]) to service_role
grant execute on function public.chopsky_settle_messages(keys uuid[], bodies uuid[]) to service_role;

--: grant public.chopsky_settle_said(message_ids uuid[]) to service_role
grant execute on function public.chopsky_settle_said(message_ids uuid[]) to service_role;

--: grant public.chopsky_settle_scope(run_ids uuid[]) to service_role
grant execute on function public.chopsky_settle_scope(run_ids uuid[]) to service_role;

--: grant public.chopsky_settle_sessions(keys uuid[], patience interval) to service_role
grant execute on function public.chopsky_settle_sessions(keys uuid[], patience interval) to service_role;

--: grant public.chopsky_settle_turns(run_ids uuid[]) to service_role
grant execute on function public.chopsky_settle_turns(run_ids uuid[]) to service_role;

--: grant public.chopsky_share_messages(ids uuid[], owners uuid[], places integer[]) to service_role
grant execute on function public.chopsky_share_messages(ids uuid[], owners uuid[], places integer[]) to service_role;

--: grant public.chopsky_share_numbers(ids uuid[], owners uuid[], places integer[], sums boolean[]) to service_role
grant execute on function public.chopsky_share_numbers(ids uuid[], owners uuid[], places integer[], sums boolean[]) to service_role;

--: grant public.chopsky_tenant_id() to authenticated
grant execute on function public.chopsky_tenant_id() to authenticated;

--: grant public.chopsky_tenant_id() to service_role
grant execute on function public.chopsky_tenant_id() to service_role;

--: grant public.chopsky_text_body_id(role text, content text, tool_call_id text, name text) to service_role
grant execute on function public.chopsky_text_body_id(role text, content text, tool_call_id text, name text) to service_role;

--: grant public.chopsky_tombstone(kind text, id text, tenant_id text) to service_role
grant execute on function public.chopsky_tombstone(kind text, id text, tenant_id text) to service_role;

--: grant public.chopsky_tombstones_kept() to service_role
grant execute on function public.chopsky_tombstones_kept() to service_role;

--: grant public.chopsky_usage_key(day date, tenant_id text, user_id text, provider text, model text) to service_role
grant execute on function public.chopsky_usage_key(day date, tenant_id text, user_id text, provider text, model text) to service_role;

--: grant public.chopsky_write_contents(contents json) to service_role
grant execute on function public.chopsky_write_contents(contents json) to service_role;

--: grant public.chopsky_write_costs(costs json) to service_role
grant execute on function public.chopsky_write_costs(costs json) to service_role;

--: grant public.chopsky_write_feedback(feedback json) to service_role
grant execute on function public.chopsky_write_feedback(feedback json) to service_role;

--: grant public.chopsky_write_messages(messages json) to service_role
grant execute on function public.chopsky_write_messages(messages json) to service_role;

--: grant public.chopsky_write_prefixes(prefixes json) to service_role
grant execute on function public.chopsky_write_prefixes(prefixes json) to service_role;

--: grant public.chopsky_write_spans(spans json) to service_role
grant execute on function public.chopsky_write_spans(spans json) to service_role;

--: grant public.cleanup_expired_conversations() to service_role
grant execute on function public.cleanup_expired_conversations() to service_role;

--: grant public.cleanup_test_data() to service_role
grant execute on function public.cleanup_test_data() to service_role;

--: grant public.clear_conversation_session(session_uuid uuid) to authenticated
grant execute on function public.clear_conversation_session(session_uuid uuid) to authenticated;

--: grant public.clear_conversation_session(session_uuid uuid) to service_role
grant execute on function public.clear_conversation_session(session_uuid uuid) to service_role;

--: grant public.complete_conversation_session(session_uuid uuid) to authenticated
grant execute on function public.complete_conversation_session(session_uuid uuid) to authenticated;

--: grant public.complete_conversation_session(session_uuid uuid) to service_role
grant execute on function public.complete_conversation_session(session_uuid uuid) to service_role;

--: grant public.conversation_analytics to service_role
grant delete, insert, select, update on table public.conversation_analytics to service_role;

--: grant public.conversation_calls to service_role
grant select on table public.conversation_calls to service_role;

--: grant public.conversation_contents to service_role
grant delete, insert, select, update on table public.conversation_contents to service_role;

--: grant public.conversation_erasures to service_role
grant insert, select on table public.conversation_erasures to service_role;

--: grant public.conversation_feedback to authenticated
grant delete on table public.conversation_feedback to authenticated;

--: grant public.conversation_feedback to service_role
grant delete, insert, select, update on table public.conversation_feedback to service_role;

--: grant public.conversation_messages to service_role
grant delete, insert, select, update on table public.conversation_messages to service_role;

--: grant public.conversation_prefixes to service_role
grant delete, insert, select, update on table public.conversation_prefixes to service_role;

--: grant public.conversation_prompt(span_id uuid) to service_role
grant execute on function public.conversation_prompt(span_id uuid) to service_role;

--: grant public.conversation_repricings to service_role
grant insert, select, update on table public.conversation_repricings to service_role;

--: grant public.conversation_runs to service_role
grant delete, insert, select, update on table public.conversation_runs to service_role;

--: grant public.conversation_session_id(session_id text, tenant_id text, user_id text, project text) to authenticated
grant execute on function public.conversation_session_id(session_id text, tenant_id text, user_id text, project text) to authenticated;

--: grant public.conversation_session_id(session_id text, tenant_id text, user_id text, project text) to service_role
grant execute on function public.conversation_session_id(session_id text, tenant_id text, user_id text, project text) to service_role;

--: grant public.conversation_session_totals to authenticated
grant select on table public.conversation_session_totals to authenticated;

--: grant public.conversation_session_totals to service_role
grant select on table public.conversation_session_totals to service_role;

--: grant public.conversation_session_transcript(session_id text, tenant_id text, user_id text, session_key uuid, after uuid, at_most integer) to authenticated
grant execute on function public.conversation_session_transcript(session_id text, tenant_id text, user_id text, session_key uuid, after uuid, at_most integer) to authenticated;

--: grant public.conversation_session_transcript(session_id text, tenant_id text, user_id text, session_key uuid, after uuid, at_most integer) to service_role
grant execute on function public.conversation_session_transcript(session_id text, tenant_id text, user_id text, session_key uuid, after uuid, at_most integer) to service_role;

--: grant public.conversation_sessions to authenticated
grant delete on table public.conversation_sessions to authenticated;

--: grant public.conversation_sessions to service_role
grant delete, insert, select, update on table public.conversation_sessions to service_role;

--: grant public.conversation_spans to service_role
grant delete, insert, select, update on table public.conversation_spans to service_role;

--: grant public.conversation_tombstones to service_role
grant delete, insert, select, update on table public.conversation_tombstones to service_role;

--: grant public.conversation_transcript(conversation_run_id uuid) to authenticated
grant execute on function public.conversation_transcript(conversation_run_id uuid) to authenticated;

--: grant public.conversation_transcript(conversation_run_id uuid) to service_role
grant execute on function public.conversation_transcript(conversation_run_id uuid) to service_role;

--: grant public.current_day_usage to authenticated
grant select on table public.current_day_usage to authenticated;

--: grant public.current_day_usage to service_role
grant select on table public.current_day_usage to service_role;

--: grant public.daily_message_volume to authenticated
grant select on table public.daily_message_volume to authenticated;

--: grant public.daily_message_volume to service_role
grant select on table public.daily_message_volume to service_role;

--: grant public.daily_message_volume_by_user to authenticated
grant select on table public.daily_message_volume_by_user to authenticated;

--: grant public.daily_message_volume_by_user to service_role
grant select on table public.daily_message_volume_by_user to service_role;

--: grant public.erase_user(user_id text, tenant_id text) to service_role
grant execute on function public.erase_user(user_id text, tenant_id text) to service_role;

--: grant public.generate_sample_data(email text) to service_role
grant execute on function public.generate_sample_data(email text) to service_role;

--: grant public.get_conversation_history(session_uuid uuid, at_most integer) to authenticated
grant execute on function public.get_conversation_history(session_uuid uuid, at_most integer) to authenticated;

--: grant public.get_conversation_history(session_uuid uuid, at_most integer) to service_role
grant execute on function public.get_conversation_history(session_uuid uuid, at_most integer) to service_role;

--: grant public.get_session_cost(session_uuid uuid) to authenticated
grant execute on function public.get_session_cost(session_uuid uuid) to authenticated;

--: grant public.get_session_cost(session_uuid uuid) to service_role
grant execute on function public.get_session_cost(session_uuid uuid) to service_role;

--: grant public.get_session_message_stats(session_uuid uuid) to authenticated
grant execute on function public.get_session_message_stats(session_uuid uuid) to authenticated;

--: grant public.get_session_message_stats(session_uuid uuid) to service_role
grant execute on function public.get_session_message_stats(session_uuid uuid) to service_role;

--: grant public.increment_usage_metrics(tenant_id text, user_id text, provider text, model text, day date, calls bigint, input_tokens bigint, output_tokens bigint, total_tokens bigint, total_cost numeric, failed_calls bigint, cache_read_tokens bigint, cache_write_tokens bigint, reasoning_tokens bigint, response_time_ms numeric, messages bigint, user_messages bigint, assistant_messages bigint) to service_role
grant execute on function public.increment_usage_metrics(tenant_id text, user_id text, provider text, model text, day date, calls bigint, input_tokens bigint, output_tokens bigint, total_tokens bigint, total_cost numeric, failed_calls bigint, cache_read_tokens bigint, cache_write_tokens bigint, reasoning_tokens bigint, response_time_ms numeric, messages bigint, user_messages bigint, assistant_messages bigint) to service_role;

--: grant public.message_feedback_summary to authenticated
grant select on table public.message_feedback_summary to authenticated;

--: grant public.message_feedback_summary to service_role
grant select on table public.message_feedback_summary to service_role;

--: grant public.model_prices to service_role
grant delete, insert, select, update on table public.model_prices to service_role;

--: grant public.monthly_usage_summary to authenticated
grant select on table public.monthly_usage_summary to authenticated;

--: grant public.monthly_usage_summary to service_role
grant select on table public.monthly_usage_summary to service_role;

--: grant public.performance_stats to service_role
grant select on table public.performance_stats to service_role;

--: grant public.provider_usage_stats to authenticated
grant select on table public.provider_usage_stats to authenticated;

--: grant public.provider_usage_stats to service_role
grant select on table public.provider_usage_stats to service_role;

--: grant public.rate_message(message_id uuid, thumbs text, score numeric, comment text, key text) to authenticated
grant execute on function public.rate_message(message_id uuid, thumbs text, score numeric, comment text, key text) to authenticated;

--: grant public.rate_message(message_id uuid, thumbs text, score numeric, comment text, key text) to service_role
grant execute on function public.rate_message(message_id uuid, thumbs text, score numeric, comment text, key text) to service_role;

--: grant public.rebuild_usage(since date) to service_role
grant execute on function public.rebuild_usage(since date) to service_role;

--: grant public.recompute_runs(run_ids uuid[]) to service_role
grant execute on function public.recompute_runs(run_ids uuid[]) to service_role;

--: grant public.retention_policies to service_role
grant delete, insert, select, update on table public.retention_policies to service_role;

--: grant public.usage_contributions to service_role
grant delete, insert, select, update on table public.usage_contributions to service_role;

--: grant public.usage_kept to service_role
grant delete, insert, select, update on table public.usage_kept to service_role;

--: grant public.usage_logs to service_role
grant select on table public.usage_logs to service_role;

--: grant public.usage_metrics to service_role
grant delete, insert, select, update on table public.usage_metrics to service_role;

--: grant public.usage_sums to service_role
grant select on table public.usage_sums to service_role;

--: grant public.usage_total_sums to service_role
grant select on table public.usage_total_sums to service_role;

--: grant public.usage_totals to service_role
grant delete, insert, select, update on table public.usage_totals to service_role;

--: grant public.user_activity_summary to service_role
grant select on table public.user_activity_summary to service_role;

--: grant public.user_profiles to service_role
grant delete, insert, select, update on table public.user_profiles to service_role;

--: grant public.user_usage to authenticated
grant select on table public.user_usage to authenticated;

--: grant public.user_usage to service_role
grant select on table public.user_usage to service_role;

--: grant public.writer_status to service_role
grant delete, insert, select, update on table public.writer_status to service_role;

--: grant of columns public.conversation_feedback to authenticated
grant insert (conversation_run_id, message_id, user_id, key, thumbs, score, value, comment) on table public.conversation_feedback to authenticated;

--: grant of columns public.conversation_feedback to authenticated
grant select (id, about_id, conversation_run_id, message_id, target_id, session_id, tenant_id, user_id, key, thumbs, score, value, comment, created_at, updated_at) on table public.conversation_feedback to authenticated;

--: grant of columns public.conversation_feedback to authenticated
grant update (conversation_run_id, message_id, user_id, key, thumbs, score, value, comment) on table public.conversation_feedback to authenticated;

--: grant of columns public.conversation_messages to authenticated
grant select (id, conversation_run_id, session_id, tenant_id, user_id, sequence, role, content, parts, name, is_internal, response_time_ms, action_taken, questions_asked, session_key, created_at) on table public.conversation_messages to authenticated;

--: grant of columns public.conversation_runs to authenticated
grant select (id, name, tenant_id, user_id, session_id, status, total_messages, average_response_time, user_satisfaction_score, merged, session_key, started_at, ended_at, created_at, updated_at) on table public.conversation_runs to authenticated;

--: grant of columns public.conversation_sessions to authenticated
grant insert (id, session_id, tenant_id, user_id, title, state, parsed_intent, answered_questions, pending_questions, selected_kb_ids, active_task_plan_id, model_provider, model_name, temperature, max_tokens, document_chat, image_generation, web_search) on table public.conversation_sessions to authenticated;

--: grant of columns public.conversation_sessions to authenticated
grant select (id, session_id, project, tenant_id, user_id, session_key, title, is_archived, state, parsed_intent, answered_questions, pending_questions, selected_kb_ids, active_task_plan_id, model_provider, model_name, temperature, max_tokens, document_chat, image_generation, web_search, expires_at, created_at, updated_at, last_activity_at, completed_at) on table public.conversation_sessions to authenticated;

--: grant of columns public.conversation_sessions to authenticated
grant update (title, is_archived, state, parsed_intent, answered_questions, pending_questions, selected_kb_ids, active_task_plan_id, model_provider, model_name, temperature, max_tokens, document_chat, image_generation, web_search) on table public.conversation_sessions to authenticated;

--: grant of columns public.usage_metrics to authenticated
grant select (key, day, tenant_id, user_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages) on table public.usage_metrics to authenticated;

--: grant of columns public.usage_totals to authenticated
grant select (key, day, tenant_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages) on table public.usage_totals to authenticated;

--: grant of columns public.user_profiles to authenticated
grant select (user_id, id, tenant_id, email, display_name, avatar_url, role, preferred_model_provider, preferred_model_name, daily_token_limit, monthly_token_limit, created_at, updated_at) on table public.user_profiles to authenticated;

--: grant of columns public.user_profiles to authenticated
grant update (display_name, avatar_url, preferred_model_provider, preferred_model_name) on table public.user_profiles to authenticated;

--: comment public.archive_old_messages(older_than interval, tenant_id text, at_most integer)
comment on function public.archive_old_messages(older_than interval, tenant_id text, at_most integer) is 'Archives conversations in which nothing has happened for so long; returns how many. Nothing is removed; call it again until it returns 0.';

--: comment public.cancel_conversation_session(session_uuid uuid)
comment on function public.cancel_conversation_session(session_uuid uuid) is 'Marks a session as cancelled.';

--: comment public.chopsky_as_told(span public.conversation_spans)
comment on function public.chopsky_as_told(span public.conversation_spans) is 'The span with the numbers that it told itself.';

--: comment public.chopsky_claim_runs(wanted uuid[], going uuid[])
comment on function public.chopsky_claim_runs(wanted uuid[], going uuid[]) is 'Locks those of these runs that nobody is writing to, and may be removed; returns them.';

--: comment public.chopsky_content(run_id uuid, content_id uuid)
comment on function public.chopsky_content(run_id uuid, content_id uuid) is 'The content that a reference of this run stands for, if it is stored.';

--: comment public.chopsky_count_due(older_than interval, tenant_id text)
comment on function public.chopsky_count_due(older_than interval, tenant_id text) is 'What chopsky_prune would remove now, were nobody at any of it.';

--: comment public.chopsky_count_usage(owner_ids uuid[])
comment on function public.chopsky_count_usage(owner_ids uuid[]) is 'Brings usage_metrics up to date with these runs, and messages outside a run; ids of deleted ones take out what they had.';

--: comment public.chopsky_decide_calls(members uuid[])
comment on function public.chopsky_decide_calls(members uuid[]) is 'Which of these spans are one model call, and which of them owns it.';

--: comment public.chopsky_due_runs(what text, at_most bigint, older_than interval, tenant_id text, keys uuid[])
comment on function public.chopsky_due_runs(what text, at_most bigint, older_than interval, tenant_id text, keys uuid[]) is 'Runs that a policy (or older_than) says are to be removed, or to lose their messages or payloads.';

--: comment public.chopsky_due_sessions(at_most bigint, tenant_id text, expired_only boolean)
comment on function public.chopsky_due_sessions(at_most bigint, tenant_id text, expired_only boolean) is 'Sessions whose time is over: by their own expires_at, else by a policy.';

--: comment public.chopsky_entomb_runs(run_ids uuid[])
comment on function public.chopsky_entomb_runs(run_ids uuid[]) is 'Late records of these runs are refused from now on.';

--: comment public.chopsky_erase_on_auth_delete(wanted boolean)
comment on function public.chopsky_erase_on_auth_delete(wanted boolean) is 'Whether a user who is deleted in auth.users is erased here; false where there is no such table.';

--: comment public.chopsky_export_feedback(feedback_ids uuid[])
comment on function public.chopsky_export_feedback(feedback_ids uuid[]) is 'Feedback that belongs to no run that is here, as lines of JSON.';

--: comment public.chopsky_export_messages(message_ids uuid[])
comment on function public.chopsky_export_messages(message_ids uuid[]) is 'Messages that are in no run, as lines of JSON.';

--: comment public.chopsky_export_profiles(user_ids text[])
comment on function public.chopsky_export_profiles(user_ids text[]) is 'Profiles of users, as lines of JSON.';

--: comment public.chopsky_export_runs(run_ids uuid[])
comment on function public.chopsky_export_runs(run_ids uuid[]) is 'Each run with its session, spans, messages, contents, prefixes, analytics and feedback, as a line of JSON.';

--: comment public.chopsky_export_sessions(session_ids uuid[])
comment on function public.chopsky_export_sessions(session_ids uuid[]) is 'Each session with its messages outside any run, as a line of JSON.';

--: comment public.chopsky_feedback_version(moment timestamp with time zone)
comment on function public.chopsky_feedback_version(moment timestamp with time zone) is 'Of feedback given by hand: nanoseconds since 1970 in 20 digits, as records have it.';

--: comment public.chopsky_follow_message(run_id uuid, place integer, said_at timestamp with time zone, provider text, model text)
comment on function public.chopsky_follow_message(run_id uuid, place integer, said_at timestamp with time zone, provider text, model text) is 'Brings a run, its analytics and usage up to date with its latest message; false where there is more to derive.';

--: comment public.chopsky_forget_usage(user_id text, tenant_id text)
comment on function public.chopsky_forget_usage(user_id text, tenant_id text) is 'Adds a person''s usage to nobody''s, of the same tenants and days.';

--: comment public.chopsky_give_way(began timestamp with time zone, patience interval, what text)
comment on function public.chopsky_give_way(began timestamp with time zone, patience interval, what text) is 'Waits a moment for rows that others have; an error once patience is over.';

--: comment public.chopsky_going_runs(what text, due uuid[], tried uuid[], older_than interval, tenant_id text)
comment on function public.chopsky_going_runs(what text, due uuid[], tried uuid[], older_than interval, tenant_id text) is 'What goes in the same prune as these runs, of their sessions.';

--: comment public.chopsky_hand_over(leaving uuid[], going uuid[], OUT heirs uuid[], OUT messages integer, OUT passing integer)
comment on function public.chopsky_hand_over(leaving uuid[], going uuid[], OUT heirs uuid[], OUT messages integer, OUT passing integer) is 'Copies what runs that stay refer to, of runs that go, to the earliest of their session that stays.';

--: comment public.chopsky_import(lines json)
comment on function public.chopsky_import(lines json) is 'Writes lines of an export as they were; what is here already stays. Returns how much was written.';

--: comment public.chopsky_ingest(payload json)
comment on function public.chopsky_ingest(payload json) is 'Writes a batch of runs, spans and messages; repeating it changes nothing.';

--: comment public.chopsky_keep_usage(run_ids uuid[])
comment on function public.chopsky_keep_usage(run_ids uuid[]) is 'Keeps in usage_metrics what these runs used, though they are deleted next, in the same transaction.';

--: comment public.chopsky_keys
comment on table public.chopsky_keys is 'Random keys of this database, made when first needed. Without it nobody can tell whom a tombstone is of.';

--: comment public.chopsky_lock_feedback(feedback_ids uuid[])
comment on function public.chopsky_lock_feedback(feedback_ids uuid[]) is 'Locks this feedback for who holds its runs already.';

--: comment public.chopsky_lock_runs(run_ids uuid[], patience interval)
comment on function public.chopsky_lock_runs(run_ids uuid[], patience interval) is 'Locks these runs for who holds rows of them already.';

--: comment public.chopsky_lock_sessions(keys uuid[], patience interval)
comment on function public.chopsky_lock_sessions(keys uuid[], patience interval) is 'Locks these sessions for who holds runs already.';

--: comment public.chopsky_lock_usage(owner_ids uuid[])
comment on function public.chopsky_lock_usage(owner_ids uuid[]) is 'Locks what these runs, and messages outside a run, are counted in.';

--: comment public.chopsky_merge_calls(run_ids uuid[])
comment on function public.chopsky_merge_calls(run_ids uuid[]) is 'Settles which model calls of these runs were told of twice; returns the runs in which something changed.';

--: comment public.chopsky_migrations
comment on table public.chopsky_migrations is 'The steps of chopsky-trace''s schema that were applied here.';

--: comment public.chopsky_named_ids(run_ids uuid[])
comment on function public.chopsky_named_ids(run_ids uuid[]) is 'Ids that the prompts, payloads, messages and documents of these runs refer to.';

--: comment public.chopsky_open_runs(runs json)
comment on function public.chopsky_open_runs(runs json) is 'Makes and locks the runs of a batch, and says of each what its rows need; chopsky_ingest ends what this begins.';

--: comment public.chopsky_patience(otherwise interval)
comment on function public.chopsky_patience(otherwise interval) is 'How long to try for what others have.';

--: comment public.chopsky_person_columns()
comment on function public.chopsky_person_columns() is 'Tables, and their columns that name a person, whose rows erase_user deletes; those of runs, sessions, messages and usage it knows.';

--: comment public.chopsky_prefix_bodies(prefix_id uuid)
comment on function public.chopsky_prefix_bodies(prefix_id uuid) is 'The body ids that a list begins with, in order; NULL where a row of it is missing.';

--: comment public.chopsky_prompt_bodies(span_id uuid)
comment on function public.chopsky_prompt_bodies(span_id uuid) is 'Body ids of a model call''s prompt in order; NULL where a link of it is missing.';

--: comment public.chopsky_prompt_names(span_id uuid)
comment on function public.chopsky_prompt_names(span_id uuid) is 'Place, from 0, to the assistant''s name in a model call''s prompt; "" where it has none after all.';

--: comment public.chopsky_prune(batch integer, at_most integer, dry_run boolean, older_than interval, tenant_id text, for_at_most interval)
comment on function public.chopsky_prune(batch integer, at_most integer, dry_run boolean, older_than interval, tenant_id text, for_at_most interval) is 'Removes what retention_policies and expires_at say, or runs older than older_than; at most so many runs, for about so long. more: call it again.';

--: comment public.chopsky_prunes()
comment on function public.chopsky_prunes() is 'True where a policy or a session''s expires_at says that something goes.';

--: comment public.chopsky_reads_tenant()
comment on function public.chopsky_reads_tenant() is 'True for a tenant''s admin or support role (app_metadata.chopsky_role). Replace it to take roles from elsewhere.';

--: comment public.chopsky_reap(older_than interval, at_most integer)
comment on function public.chopsky_reap(older_than interval, at_most integer) is 'Marks spans as abandoned whose run has had no news for that long; returns how many runs it touched.';

--: comment public.chopsky_recompute(run_ids uuid[], unordered uuid[])
comment on function public.chopsky_recompute(run_ids uuid[], unordered uuid[]) is 'Derives these runs'' totals, status and analytics again; the sequence of messages in those that are unordered.';

--: comment public.chopsky_refuse_runs(run_ids uuid[])
comment on function public.chopsky_refuse_runs(run_ids uuid[]) is 'Takes out those of these runs that were erased, or are of a person who was and began before; returns them.';

--: comment public.chopsky_remove_content(run_ids uuid[], and_said boolean, going uuid[])
comment on function public.chopsky_remove_content(run_ids uuid[], and_said boolean, going uuid[]) is 'Takes from claimed runs their payloads, and with and_said their messages'' texts; the numbers stay.';

--: comment public.chopsky_remove_runs(run_ids uuid[], is_erasure boolean, going uuid[])
comment on function public.chopsky_remove_runs(run_ids uuid[], is_erasure boolean, going uuid[]) is 'Removes claimed runs with all that is theirs, but for what others of their session refer to; returns how much.';

--: comment public.chopsky_remove_session(session_uuid uuid, at_most integer)
comment on function public.chopsky_remove_session(session_uuid uuid, at_most integer) is 'Removes a session, or at most so many of its latest runs; NULL where it is held or in use.';

--: comment public.chopsky_restore(value jsonb, run_id uuid, is_document boolean)
comment on function public.chopsky_restore(value jsonb, run_id uuid, is_document boolean) is 'A message''s parts or tool calls with the run''s texts, documents and media put back; a reference whose content is not stored stays.';

--: comment public.chopsky_said_by_hand(session_key uuid)
comment on function public.chopsky_said_by_hand(session_key uuid) is 'When the latest message was written that is of this session and of no run.';

--: comment public.chopsky_schedule_prune(wanted boolean)
comment on function public.chopsky_schedule_prune(wanted boolean) is 'Has pg_cron call chopsky_prune every minute, or no more; false where pg_cron is missing.';

--: comment public.chopsky_session_moves(state text)
comment on function public.chopsky_session_moves(state text) is 'The states that a session may go to from this one. Replace it where yours go another way.';

--: comment public.chopsky_settle_feedback(run_ids uuid[])
comment on function public.chopsky_settle_feedback(run_ids uuid[]) is 'Derives the feedback on these runs again, and what waited for them.';

--: comment public.chopsky_settle_sessions(keys uuid[], patience interval)
comment on function public.chopsky_settle_sessions(keys uuid[], patience interval) is 'Makes the sessions of these keys follow from their runs and messages.';

--: comment public.chopsky_settle_turns(run_ids uuid[])
comment on function public.chopsky_settle_turns(run_ids uuid[]) is 'Derives which messages of these runs the user said and was answered; returns the runs in which one changed.';

--: comment public.chopsky_tenant_id()
comment on function public.chopsky_tenant_id() is 'Tenant of the current request, from the verified token. Replace it to take tenants from elsewhere.';

--: comment public.chopsky_text_body_id(role text, content text, tool_call_id text, name text)
comment on function public.chopsky_text_body_id(role text, content text, tool_call_id text, name text) is 'The body_id of a message that is a text and no more.';

--: comment public.chopsky_tombstone(kind text, id text, tenant_id text)
comment on function public.chopsky_tombstone(kind text, id text, tenant_id text) is 'The keyed hash by which a person or a run that was erased is known again.';

--: comment public.chopsky_tombstones_kept()
comment on function public.chopsky_tombstones_kept() is 'How long the tombstones of runs are kept: by the policy, else a year; NULL: for good.';

--: comment public.chopsky_usage_key(day date, tenant_id text, user_id text, provider text, model text)
comment on function public.chopsky_usage_key(day date, tenant_id text, user_id text, provider text, model text) is 'Names a row of the usage roll-ups: a hash, for names may be of any length, and NULL.';

--: comment public.chopsky_write_costs(costs json)
comment on function public.chopsky_write_costs(costs json) is 'Writes new costs of calls that are still as they were read, with their messages and run totals; returns which it wrote.';

--: comment public.chopsky_write_feedback(feedback json)
comment on function public.chopsky_write_feedback(feedback json) is 'Writes records of feedback, for runs that are stored or not yet; repeating it changes nothing.';

--: comment public.cleanup_expired_conversations()
comment on function public.cleanup_expired_conversations() is 'Removes sessions whose expires_at has passed, with all of theirs; returns how many. At most 1,000 a call.';

--: comment public.cleanup_test_data()
comment on function public.cleanup_test_data() is 'Removes what generate_sample_data made, and nothing else; returns what it removed.';

--: comment public.clear_conversation_session(session_uuid uuid)
comment on function public.clear_conversation_session(session_uuid uuid) is 'Removes the messages of a session and its runs with all that belongs to them, and keeps the session: of a signed-in user one of their own. Returns how many messages went.';

--: comment public.complete_conversation_session(session_uuid uuid)
comment on function public.complete_conversation_session(session_uuid uuid) is 'Marks a session as delivered.';

--: comment public.conversation_analytics
comment on table public.conversation_analytics is 'What can be said of a conversation run as a whole. A score that nothing is known for is NULL.';

--: comment public.conversation_analytics.completion_rate
comment on column public.conversation_analytics.completion_rate is '100 where the run completed, 0 where it failed or was abandoned; NULL while it is active or interrupted.';

--: comment public.conversation_analytics.conversation_quality_score
comment on column public.conversation_analytics.conversation_quality_score is 'Mean of what is known of two: the satisfaction score as (score - 1) * 25, and, once a run with spans is over, 100 less 25 an error and 10 a retry, at least 0.';

--: comment public.conversation_analytics.error_count
comment on column public.conversation_analytics.error_count is 'Spans that failed by themselves: a failure passed up through its parents counts once.';

--: comment public.conversation_analytics.retry_count
comment on column public.conversation_analytics.retry_count is 'Attempts after the first (LangChain''s retry:attempt:N, N from 2).';

--: comment public.conversation_analytics.scores_by_hand
comment on column public.conversation_analytics.scores_by_hand is 'Of the three scores those that a person wrote: they stay until the person writes NULL.';

--: comment public.conversation_analytics.user_engagement_score
comment on column public.conversation_analytics.user_engagement_score is '10 for each message that the user wrote in this run, at most 100; NULL where the run has no messages.';

--: comment public.conversation_calls
comment on view public.conversation_calls is 'One row per model call: its run, model, times, tokens and cost. A retry or fallback is a call of its own. For totals leave out rows with duplicate_of.';

--: comment public.conversation_calls.audio_tokens
comment on column public.conversation_calls.audio_tokens is 'In input and output.';

--: comment public.conversation_calls.cache_hit
comment on column public.conversation_calls.cache_hit is 'LangChain''s own cache answered: the tokens are those of the first call, the cost is 0.';

--: comment public.conversation_calls.cache_read_tokens
comment on column public.conversation_calls.cache_read_tokens is 'Part of input_tokens.';

--: comment public.conversation_calls.cache_write_tokens
comment on column public.conversation_calls.cache_write_tokens is 'Part of input_tokens.';

--: comment public.conversation_calls.conversation_run_id
comment on column public.conversation_calls.conversation_run_id is 'The run that the call was made in.';

--: comment public.conversation_calls.cost
comment on column public.conversation_calls.cost is 'USD. NULL = unknown.';

--: comment public.conversation_calls.cost_source
comment on column public.conversation_calls.cost_source is 'reported, computed, estimated or unknown.';

--: comment public.conversation_calls.duplicate_of
comment on column public.conversation_calls.duplicate_of is 'The span that carries the numbers, where one call was seen by two sources or a span sums the calls below it.';

--: comment public.conversation_calls.ended_at
comment on column public.conversation_calls.ended_at is 'The client''s clock; NULL while the call is under way.';

--: comment public.conversation_calls.environment
comment on column public.conversation_calls.environment is 'The run''s.';

--: comment public.conversation_calls.error
comment on column public.conversation_calls.error is 'Why the call failed.';

--: comment public.conversation_calls.finish_reason
comment on column public.conversation_calls.finish_reason is 'Why the model stopped, in the provider''s words.';

--: comment public.conversation_calls.id
comment on column public.conversation_calls.id is 'The span''s id.';

--: comment public.conversation_calls.input_tokens
comment on column public.conversation_calls.input_tokens is 'The whole: cached tokens are part of it. NULL = unknown.';

--: comment public.conversation_calls.kind
comment on column public.conversation_calls.kind is 'llm, embedding or image.';

--: comment public.conversation_calls.model
comment on column public.conversation_calls.model is 'The model that answered.';

--: comment public.conversation_calls.model_requested
comment on column public.conversation_calls.model_requested is 'The model that was asked for.';

--: comment public.conversation_calls.name
comment on column public.conversation_calls.name is 'The span''s name.';

--: comment public.conversation_calls.output_tokens
comment on column public.conversation_calls.output_tokens is 'The whole: reasoning tokens are part of it. NULL = unknown.';

--: comment public.conversation_calls.output_tokens_per_second
comment on column public.conversation_calls.output_tokens_per_second is 'output_tokens / (response_time_ms - time_to_first_token_ms) where it was streamed, else output_tokens / response_time_ms, times 1000. NULL where a part is unknown, the interval is 0, a cache answered, or nothing is written (embeddings).';

--: comment public.conversation_calls.parent_span_id
comment on column public.conversation_calls.parent_span_id is 'The span that made the call; NULL where the call is the root.';

--: comment public.conversation_calls.project
comment on column public.conversation_calls.project is 'The run''s.';

--: comment public.conversation_calls.provider
comment on column public.conversation_calls.provider is 'Who served the model.';

--: comment public.conversation_calls.reasoning_tokens
comment on column public.conversation_calls.reasoning_tokens is 'Part of output_tokens.';

--: comment public.conversation_calls.response_time_ms
comment on column public.conversation_calls.response_time_ms is 'Milliseconds from start to end.';

--: comment public.conversation_calls.session_id
comment on column public.conversation_calls.session_id is 'The run''s.';

--: comment public.conversation_calls.source
comment on column public.conversation_calls.source is 'Who told of the call.';

--: comment public.conversation_calls.started_at
comment on column public.conversation_calls.started_at is 'The client''s clock.';

--: comment public.conversation_calls.status
comment on column public.conversation_calls.status is 'active, completed, failed, interrupted or abandoned.';

--: comment public.conversation_calls.tenant_id
comment on column public.conversation_calls.tenant_id is 'The run''s.';

--: comment public.conversation_calls.time_to_first_token_ms
comment on column public.conversation_calls.time_to_first_token_ms is 'Milliseconds to the first streamed chunk that carried content, reasoning or data of a tool call. NULL where nothing was streamed.';

--: comment public.conversation_calls.total_tokens
comment on column public.conversation_calls.total_tokens is 'Input and output. NULL = unknown.';

--: comment public.conversation_calls.usage_source
comment on column public.conversation_calls.usage_source is 'reported, computed, estimated or unknown.';

--: comment public.conversation_calls.user_id
comment on column public.conversation_calls.user_id is 'The run''s.';

--: comment public.conversation_contents
comment on table public.conversation_contents is 'Long texts and documents once per run, media once per session; payloads hold a reference to them.';

--: comment public.conversation_contents.data
comment on column public.conversation_contents.data is 'The media itself, only where CHOPSKY_TRACE_KEEP_MEDIA was on.';

--: comment public.conversation_contents.kind
comment on column public.conversation_contents.kind is 'text, document or media.';

--: comment public.conversation_contents.size_bytes
comment on column public.conversation_contents.size_bytes is 'Of the text in UTF-8, of the document as JSON, of the media decoded.';

--: comment public.conversation_erasures
comment on table public.conversation_erasures is 'Receipts of erase_user: how many rows of which tables, and when. Not of whom.';

--: comment public.conversation_feedback
comment on table public.conversation_feedback is 'Feedback on a run, a span or a message: one per target, user and key, the last one stands.';

--: comment public.conversation_feedback.about_id
comment on column public.conversation_feedback.about_id is 'What was named: the id of a run, a span or a message, stored yet or not. Set from message_id, span_id or conversation_run_id.';

--: comment public.conversation_feedback.answer
comment on column public.conversation_feedback.answer is 'Which answer, from 0, of the model call that about_id names; NULL: about_id itself is meant.';

--: comment public.conversation_feedback.given_by
comment on column public.conversation_feedback.given_by is 'The user_id that was said with it; NULL: none was.';

--: comment public.conversation_feedback.is_internal
comment on column public.conversation_feedback.is_internal is 'True if it is about what an end user does not see: a span, a system prompt, tool traffic.';

--: comment public.conversation_feedback.is_pending
comment on column public.conversation_feedback.is_pending is 'True while what it is about is not stored.';

--: comment public.conversation_feedback.key
comment on column public.conversation_feedback.key is 'What is rated. user_satisfaction (score 1 to 5, or thumbs) makes the run''s user_satisfaction_score; others are free.';

--: comment public.conversation_feedback.source
comment on column public.conversation_feedback.source is 'app: by the tables or their API. api: by a tracer. Or what was said, for example model or langsmith.';

--: comment public.conversation_feedback.target_id
comment on column public.conversation_feedback.target_id is 'What it is about: the message, else what was named. Unique with user_id and key.';

--: comment public.conversation_feedback.user_id
comment on column public.conversation_feedback.user_id is 'Who gave it: as said, else whose conversation it is.';

--: comment public.conversation_feedback.version
comment on column public.conversation_feedback.version is 'When it was given, sortable: of two on the same the later one stands.';

--: comment public.conversation_messages
comment on table public.conversation_messages is 'One message of a conversation, stored once. conversation_run_id is the run that brought it in; NULL for rows written by hand outside a run.';

--: comment public.conversation_messages.action_taken
comment on column public.conversation_messages.action_taken is 'What the application did upon it; set by the application, as questions_asked and delegation_plan.';

--: comment public.conversation_messages.body_id
comment on column public.conversation_messages.body_id is 'Hash of role, content, tool calls, tool_call_id and name: equal bodies have equal ids. Prompts refer to bodies.';

--: comment public.conversation_messages.content
comment on column public.conversation_messages.content is 'The text, as a person reads it.';

--: comment public.conversation_messages.cost
comment on column public.conversation_messages.cost is 'USD. The first output message of a model call carries the call''s cost, others 0; NULL where the price is unknown.';

--: comment public.conversation_messages.is_history
comment on column public.conversation_messages.is_history is 'Known only from a prompt or payload, not from the run that said it; goes when its owner arrives.';

--: comment public.conversation_messages.is_internal
comment on column public.conversation_messages.is_internal is 'True for what the user neither said nor was answered: system prompts, stuffed prompts, tool traffic, intermediate answers.';

--: comment public.conversation_messages.parts
comment on column public.conversation_messages.parts is 'The content as the provider had it, where it was more than one text.';

--: comment public.conversation_messages.said
comment on column public.conversation_messages.said is 'The application''s own row of this message, which gave way to this one: what differs. Its id is the one that the application was given.';

--: comment public.conversation_messages.sequence
comment on column public.conversation_messages.sequence is 'Place within the run, from 1: by created_at, position, id.';

--: comment public.conversation_messages.token_count
comment on column public.conversation_messages.token_count is 'The message''s own size in tokens, set once: its call''s output tokens, or what the input grew by; NULL where it cannot be known.';

--: comment public.conversation_messages.token_count_source
comment on column public.conversation_messages.token_count_source is 'reported: by the call. computed: a share, by length, of what the call''s input grew by. estimated: from the length. unknown: the call reported none.';

--: comment public.conversation_prefixes
comment on table public.conversation_prefixes is 'The beginning of a long list of body ids, 64 at a time; prompts and payloads name the last row of theirs. Ids only, no content.';

--: comment public.conversation_prefixes.extends
comment on column public.conversation_prefixes.extends is 'The row whose list comes before these bodies.';

--: comment public.conversation_prefixes.id
comment on column public.conversation_prefixes.id is 'The first 128 bits of the SHA-256 of what it extends, if anything, and its bodies, in hex.';

--: comment public.conversation_prefixes.length
comment on column public.conversation_prefixes.length is 'Of the list that ends with these bodies.';

--: comment public.conversation_prompt(span_id uuid)
comment on function public.conversation_prompt(span_id uuid) is 'The exact prompt of a model call, in order. A row of NULLs is a message that is no longer stored.';

--: comment public.conversation_repricings
comment on table public.conversation_repricings is 'One row per reprice: there from its beginning, its counts moved in the same transactions as the costs.';

--: comment public.conversation_repricings.by_model
comment on column public.conversation_repricings.by_model is 'The same counts and costs for each provider and model; money as text.';

--: comment public.conversation_repricings.calls_from
comment on column public.conversation_repricings.calls_from is 'Calls that started then or later, and before calls_to; model, provider and tenant_id narrow them where they are not NULL.';

--: comment public.conversation_repricings.calls_skipped
comment on column public.conversation_repricings.calls_skipped is 'Calls that others kept changing meanwhile; they have their old cost.';

--: comment public.conversation_repricings.done_by
comment on column public.conversation_repricings.done_by is 'The database role that signed in, and application the name its connection gave.';

--: comment public.conversation_repricings.old_cost
comment on column public.conversation_repricings.old_cost is 'USD: the known costs of the calls seen, before; new_cost is after. NULL where none was known.';

--: comment public.conversation_repricings.prices
comment on column public.conversation_repricings.prices is 'Versions of what priced them: genai-prices, and the number and SHA-256 of the rows of model_prices.';

--: comment public.conversation_repricings.status
comment on column public.conversation_repricings.status is 'running, completed or interrupted. A row still running whose updated_at stands still is of a process that was killed.';

--: comment public.conversation_runs
comment on table public.conversation_runs is 'One conversation run: everything under one root span. id = the root run''s id = LangSmith''s trace id.';

--: comment public.conversation_runs.average_response_time
comment on column public.conversation_runs.average_response_time is 'Milliseconds: mean over the run''s own model calls.';

--: comment public.conversation_runs.content_removed
comment on column public.conversation_runs.content_removed is 'What a retention policy took away: payloads, or messages and payloads. NULL: nothing.';

--: comment public.conversation_runs.merged
comment on column public.conversation_runs.merged is 'True when all its model calls are duplicates of another run''s; such runs leave lists and totals.';

--: comment public.conversation_runs.resumed_at
comment on column public.conversation_runs.resumed_at is 'When a later run resumed this interrupted one.';

--: comment public.conversation_runs.resumes
comment on column public.conversation_runs.resumes is 'The interrupted run of the same session that this run resumes.';

--: comment public.conversation_runs.scope_by_hand
comment on column public.conversation_runs.scope_by_hand is 'Set by a manual UPDATE of user_id, session_id or environment, which then stays.';

--: comment public.conversation_runs.session_key
comment on column public.conversation_runs.session_key is 'Derived from project, tenant, user and session (the run''s own id without a session): messages are stored once within it.';

--: comment public.conversation_runs.total_cost
comment on column public.conversation_runs.total_cost is 'USD. Sum of the calls whose cost is known; unpriced_calls says how many are not in it.';

--: comment public.conversation_runs.total_tokens_used
comment on column public.conversation_runs.total_tokens_used is 'Tokens of the run''s own model calls, each counted once. NULL where no call reported any: unknown is never 0.';

--: comment public.conversation_runs.totals_by_hand
comment on column public.conversation_runs.totals_by_hand is 'Set by a manual UPDATE of the totals; a run without spans then keeps them.';

--: comment public.conversation_runs.unmeasured_calls
comment on column public.conversation_runs.unmeasured_calls is 'Ended model calls whose tokens are unknown.';

--: comment public.conversation_runs.unpriced_calls
comment on column public.conversation_runs.unpriced_calls is 'Ended model calls whose cost is unknown.';

--: comment public.conversation_session_id(session_id text, tenant_id text, user_id text, project text)
comment on function public.conversation_session_id(session_id text, tenant_id text, user_id text, project text) is 'The id of the session of this name, or of this id as text, that the caller may see; NULL where there is none.';

--: comment public.conversation_session_totals
comment on view public.conversation_session_totals is 'Sessions with the sums of their runs. Needs the right to read costs.';

--: comment public.conversation_session_transcript(session_id text, tenant_id text, user_id text, session_key uuid, after uuid, at_most integer)
comment on function public.conversation_session_transcript(session_id text, tenant_id text, user_id text, session_key uuid, after uuid, at_most integer) is 'What the user said and was answered in a session, run after run, under the caller''s row level security; a page of at most 10,000 messages.';

--: comment public.conversation_sessions
comment on table public.conversation_sessions is 'One session: what a user calls a conversation. Its runs have the same session_key.';

--: comment public.conversation_sessions.by_hand
comment on column public.conversation_sessions.by_hand is 'Made or changed by the application: kept when its last run goes.';

--: comment public.conversation_sessions.completed_at
comment on column public.conversation_sessions.completed_at is 'When it was delivered or cancelled.';

--: comment public.conversation_sessions.driven_at
comment on column public.conversation_sessions.driven_at is 'When the application last changed its state or what it works with.';

--: comment public.conversation_sessions.expires_at
comment on column public.conversation_sessions.expires_at is 'When it may be removed with all that belongs to it. NULL: never, but for a retention policy.';

--: comment public.conversation_sessions.last_activity_at
comment on column public.conversation_sessions.last_activity_at is 'End of its latest run or message, or when it was last driven, whichever is later.';

--: comment public.conversation_sessions.legal_hold
comment on column public.conversation_sessions.legal_hold is 'True: nothing removes it or what belongs to it.';

--: comment public.conversation_sessions.session_id
comment on column public.conversation_sessions.session_id is 'The application''s own name for it (thread_id, conversation id), any text; the id where it gave none.';

--: comment public.conversation_sessions.session_key
comment on column public.conversation_sessions.session_key is 'Derived from project, tenant, user and session_id, as in conversation_runs: join on it.';

--: comment public.conversation_sessions.state
comment on column public.conversation_sessions.state is 'Where the application has it. A session that nobody drives stays initial; see chopsky_session_moves.';

--: comment public.conversation_spans
comment on table public.conversation_spans is 'One unit of work in a conversation run. id = LangChain''s and LangSmith''s run id. Tokens and cost stand on the model call itself, never on its parents.';

--: comment public.conversation_spans.abandoned_at
comment on column public.conversation_spans.abandoned_at is 'Set by the reaper when no end came; a real end outranks it.';

--: comment public.conversation_spans.answer_keys
comment on column public.conversation_spans.answer_keys is 'OpenTelemetry, of a span that is no model call: each answer to the user that it tells of: the first half of its text''s SHA-256 or, where it has no text, its body_id; {} = none.';

--: comment public.conversation_spans.cost
comment on column public.conversation_spans.cost is 'In USD, computed from the tokens. NULL = unknown.';

--: comment public.conversation_spans.cost_source
comment on column public.conversation_spans.cost_source is 'reported, computed, estimated or unknown.';

--: comment public.conversation_spans.created_at
comment on column public.conversation_spans.created_at is 'When the server first had the span; started_at and ended_at are the client''s clock.';

--: comment public.conversation_spans.duplicate_of
comment on column public.conversation_spans.duplicate_of is 'The span that carries the numbers, where one call was seen by two sources or a span sums the calls below it; this one then has none.';

--: comment public.conversation_spans.input_tokens
comment on column public.conversation_spans.input_tokens is 'The whole: cached tokens are part of it. NULL = unknown.';

--: comment public.conversation_spans.inputs
comment on column public.conversation_spans.inputs is 'Payload; {"$message": id} stands for the message with that body_id, {"$messages": ...} for a run of them.';

--: comment public.conversation_spans.instrumentor
comment on column public.conversation_spans.instrumentor is 'OpenTelemetry: the scope that made the span. NULL: LangChain''s callbacks.';

--: comment public.conversation_spans.is_entry
comment on column public.conversation_spans.is_entry is 'OpenTelemetry: its parent is in another process, which may tell of it or not.';

--: comment public.conversation_spans.is_provider
comment on column public.conversation_spans.is_provider is 'Told by what wraps a provider''s SDK, or by that SDK itself, not by a framework over it.';

--: comment public.conversation_spans.kind
comment on column public.conversation_spans.kind is 'llm, chain, agent, tool, retriever, embedding, prompt, parser, image or other.';

--: comment public.conversation_spans.native_id
comment on column public.conversation_spans.native_id is 'The span''s own id where it came from, if that is no UUID.';

--: comment public.conversation_spans.output_tokens
comment on column public.conversation_spans.output_tokens is 'The whole: reasoning tokens are part of it. NULL = unknown.';

--: comment public.conversation_spans.parent_span_id
comment on column public.conversation_spans.parent_span_id is 'May lie outside the mirror: then the parent is external.';

--: comment public.conversation_spans.price_rates
comment on column public.conversation_spans.price_rates is 'The rates the cost was computed with, and where they are from.';

--: comment public.conversation_spans.prompt_extends
comment on column public.conversation_spans.prompt_extends is 'The model call whose prompt and output this prompt repeats, up to prompt_take messages; prompt_prefix and prompt_bodies follow.';

--: comment public.conversation_spans.prompt_names
comment on column public.conversation_spans.prompt_names is 'Place in the prompt, from 0, to the assistant''s name there, where it is not what prompt_extends says.';

--: comment public.conversation_spans.prompt_prefix
comment on column public.conversation_spans.prompt_prefix is 'The row of conversation_prefixes with which the rest of a long prompt begins; prompt_bodies follow.';

--: comment public.conversation_spans.question_keys
comment on column public.conversation_spans.question_keys is 'OpenTelemetry: the body_id of each message of the user''s that the span says is new with it.';

--: comment public.conversation_spans.reported_cost
comment on column public.conversation_spans.reported_cost is 'In USD, what the provider itself said that it charges; NULL where it says nothing.';

--: comment public.conversation_spans.told
comment on column public.conversation_spans.told is 'What this span itself told, where its numbers or its messages now follow from several spans of one call.';

--: comment public.conversation_spans.usage_source
comment on column public.conversation_spans.usage_source is 'reported, computed, estimated or unknown.';

--: comment public.conversation_tombstones
comment on table public.conversation_tombstones is 'What was erased and must not come back: keyed hashes, no ids.';

--: comment public.conversation_tombstones.erased_at
comment on column public.conversation_tombstones.erased_at is 'Runs of the person that began before are refused; later ones are new.';

--: comment public.conversation_tombstones.refused_runs
comment on column public.conversation_tombstones.refused_runs is 'How many batches brought records of such a run too late; they were not kept.';

--: comment public.conversation_transcript(conversation_run_id uuid)
comment on function public.conversation_transcript(conversation_run_id uuid) is 'What the user said and was answered in a run, under the caller''s row level security.';

--: comment public.current_day_usage
comment on view public.current_day_usage is 'Today (UTC) so far, by user. For who may read costs.';

--: comment public.daily_message_volume
comment on view public.daily_message_volume is 'Messages, tokens and cost by day (UTC) and tenant: one''s own, the tenant''s, or all, by who reads. For who may read costs.';

--: comment public.daily_message_volume_by_user
comment on view public.daily_message_volume_by_user is 'Messages, tokens and cost by day (UTC) and user. For who may read costs.';

--: comment public.erase_user(user_id text, tenant_id text)
comment on function public.erase_user(user_id text, tenant_id text) is 'Removes a person from every table, but for sessions under a legal hold, and refuses late records of what was before. Returns a receipt; it is kept in conversation_erasures.';

--: comment public.generate_sample_data(email text)
comment on function public.generate_sample_data(email text) is 'Makes a few conversations of the user with this address (and the profile where there is none); returns what it made. cleanup_test_data removes it.';

--: comment public.get_conversation_history(session_uuid uuid, at_most integer)
comment on function public.get_conversation_history(session_uuid uuid, at_most integer) is 'The latest messages of a session that its user said or was answered, the earliest of them first.';

--: comment public.get_session_cost(session_uuid uuid)
comment on function public.get_session_cost(session_uuid uuid) is 'USD: sum of what is known; NULL where nothing is. Needs the right to read costs.';

--: comment public.get_session_message_stats(session_uuid uuid)
comment on function public.get_session_message_stats(session_uuid uuid) is 'A session''s messages by role: how many, their tokens, their cost in USD, mean response time in milliseconds. Needs the right to read costs.';

--: comment public.increment_usage_metrics(tenant_id text, user_id text, provider text, model text, day date, calls bigint, input_tokens bigint, output_tokens bigint, total_tokens bigint, total_cost numeric, failed_calls bigint, cache_read_tokens bigint, cache_write_tokens bigint, reasoning_tokens bigint, response_time_ms numeric, messages bigint, user_messages bigint, assistant_messages bigint)
comment on function public.increment_usage_metrics(tenant_id text, user_id text, provider text, model text, day date, calls bigint, input_tokens bigint, output_tokens bigint, total_tokens bigint, total_cost numeric, failed_calls bigint, cache_read_tokens bigint, cache_write_tokens bigint, reasoning_tokens bigint, response_time_ms numeric, messages bigint, user_messages bigint, assistant_messages bigint) is 'Adds usage that no stored run tells of; response_time_ms is the sum over the calls.';

--: comment public.message_feedback_summary
comment on view public.message_feedback_summary is 'Per message: thumbs, mean satisfaction score (1 to 5), comments; of the feedback that the reader may see.';

--: comment public.model_prices
comment on table public.model_prices is 'The team''s own prices in USD, before the public price list. A row is the whole price of a model: what it does not name is charged as the whole it is part of (cached tokens as input), and audio, images put out, and searches not at all.';

--: comment public.model_prices.batch_factor
comment on column public.model_prices.batch_factor is 'The same for batches.';

--: comment public.model_prices.cache_write_mtok
comment on column public.model_prices.cache_write_mtok is 'What is written into the provider''s cache, for whatever time it has no price of its own.';

--: comment public.model_prices.flex_factor
comment on column public.model_prices.flex_factor is 'What the prices of tokens are multiplied by in the service tier flex. NULL: such a call has no price.';

--: comment public.model_prices.input_mtok
comment on column public.model_prices.input_mtok is 'USD per million tokens; so are the next five.';

--: comment public.model_prices.model
comment on column public.model_prices.model is 'The whole name, whatever its case. Either this or model_pattern.';

--: comment public.model_prices.model_pattern
comment on column public.model_prices.model_pattern is 'A regular expression of the whole name, without look-around and back references.';

--: comment public.model_prices.other_rates
comment on column public.model_prices.other_rates is 'Further prices by genai-prices'' key: {"input_audio_mtok": 40, "web_searches_kcount": 10}.';

--: comment public.model_prices.priority_factor
comment on column public.model_prices.priority_factor is 'The same for the service tier priority.';

--: comment public.model_prices.provider
comment on column public.model_prices.provider is 'As the framework reports it, or genai-prices'' id. NULL: any.';

--: comment public.model_prices.request_usd
comment on column public.model_prices.request_usd is 'USD for the call itself, beside its tokens.';

--: comment public.model_prices.source
comment on column public.model_prices.source is 'Where the price is from: a contract, a page.';

--: comment public.model_prices.tenant_id
comment on column public.model_prices.tenant_id is 'NULL: for all.';

--: comment public.model_prices.tiers
comment on column public.model_prices.tiers is 'Long contexts: [{"above_input_tokens": 200000, "input_mtok": 6}]. Above so many input tokens these prices hold for the whole call.';

--: comment public.model_prices.valid_from
comment on column public.model_prices.valid_from is 'The first moment it holds for, by the start of the call. NULL: always did.';

--: comment public.model_prices.valid_until
comment on column public.model_prices.valid_until is 'The first moment it no longer holds for. NULL: still does.';

--: comment public.monthly_usage_summary
comment on view public.monthly_usage_summary is 'Calls, tokens, cost and messages by month (UTC) and user. For who may read costs.';

--: comment public.monthly_usage_summary.month
comment on column public.monthly_usage_summary.month is 'Its first day.';

--: comment public.performance_stats
comment on view public.performance_stats is 'The tables of the schema public, the largest first, with the whole database''s size beside: as the server counts them.';

--: comment public.provider_usage_stats
comment on view public.provider_usage_stats is 'Calls, tokens, cost and mean response time (ms) by provider and model over the last 30 days (UTC, today included). For who may read costs.';

--: comment public.rate_message(message_id uuid, thumbs text, score numeric, comment text, key text)
comment on function public.rate_message(message_id uuid, thumbs text, score numeric, comment text, key text) is 'Thumbs (up, down), a score and a comment on a message of one''s own; returns the feedback''s id. Said again, it replaces what was said before.';

--: comment public.rebuild_usage(since date)
comment on function public.rebuild_usage(since date) is 'Makes the usage roll-ups anew, from a day on; returns how many rows were taken out or put in.';

--: comment public.recompute_runs(run_ids uuid[])
comment on function public.recompute_runs(run_ids uuid[]) is 'Derives these runs'' totals, status, sequence and analytics again from their spans and messages.';

--: comment public.retention_policies
comment on table public.retention_policies is 'How long things are kept. A tenant''s own rule goes before the general one; without a rule all is kept.';

--: comment public.retention_policies.keep_for
comment on column public.retention_policies.keep_for is 'From when the server first had it, or last heard of it. NULL: for good.';

--: comment public.retention_policies.tenant_id
comment on column public.retention_policies.tenant_id is 'NULL: all tenants that have no rule of their own.';

--: comment public.retention_policies.what
comment on column public.retention_policies.what is 'sessions: with all of theirs, after their last activity. runs: whole. messages: what was said, and payloads; numbers stay. payloads: inputs, outputs, texts and documents of spans. feedback. writer_status. tombstones: of runs, a year without a rule; those of persons stay.';

--: comment public.update_session_activity()
comment on function public.update_session_activity() is 'Keeps a session''s times, and its moves from state to state legal.';

--: comment public.update_session_on_message()
comment on function public.update_session_on_message() is 'Brings a message written by hand into its session, and the session''s last activity up to date.';

--: comment public.usage_contributions
comment on table public.usage_contributions is 'What a run, or a message outside a run, contributes to usage_metrics.';

--: comment public.usage_contributions.key
comment on column public.usage_contributions.key is 'As in usage_metrics.';

--: comment public.usage_kept
comment on table public.usage_kept is 'Sums of what was pruned, and of increment_usage_metrics: the part of usage_metrics that no run tells any more.';

--: comment public.usage_logs
comment on view public.usage_logs is 'One row per model call, and per answer that an application wrote by hand with its numbers.';

--: comment public.usage_logs.action
comment on column public.usage_logs.action is 'llm, embedding or image; message: written by hand.';

--: comment public.usage_logs.conversation_id
comment on column public.usage_logs.conversation_id is 'The session''s id.';

--: comment public.usage_logs.cost_usd
comment on column public.usage_logs.cost_usd is 'NULL = unknown.';

--: comment public.usage_logs.message_id
comment on column public.usage_logs.message_id is 'What the call answered.';

--: comment public.usage_logs.tokens_used
comment on column public.usage_logs.tokens_used is 'NULL = unknown.';

--: comment public.usage_metrics
comment on table public.usage_metrics is 'Usage by day (UTC), tenant, user, provider and model; outlives the runs that are pruned.';

--: comment public.usage_metrics.calls
comment on column public.usage_metrics.calls is 'Model calls that ended or were abandoned, each counted once; and assistant messages written by hand that name a provider or model.';

--: comment public.usage_metrics.contributions
comment on column public.usage_metrics.contributions is 'Runs, messages outside a run, and increments in this row.';

--: comment public.usage_metrics.input_tokens
comment on column public.usage_metrics.input_tokens is 'The whole: cached tokens are part of it. Sum of what is known.';

--: comment public.usage_metrics.key
comment on column public.usage_metrics.key is 'chopsky_usage_key of the row: one row of each day, tenant, user, provider and model, NULLs too.';

--: comment public.usage_metrics.known
comment on column public.usage_metrics.known is 'How many of them told input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, response_time_ms, in this order: a sum of none is NULL.';

--: comment public.usage_metrics.messages
comment on column public.usage_metrics.messages is 'Messages that are not internal; of users and assistants, and any other.';

--: comment public.usage_metrics.output_tokens
comment on column public.usage_metrics.output_tokens is 'The whole: reasoning tokens are part of it. Sum of what is known.';

--: comment public.usage_metrics.provider
comment on column public.usage_metrics.provider is 'NULL for what users wrote, and where nobody told.';

--: comment public.usage_metrics.response_time_ms
comment on column public.usage_metrics.response_time_ms is 'Sum over the timed_calls; the mean is response_time_ms / timed_calls.';

--: comment public.usage_metrics.total_cost
comment on column public.usage_metrics.total_cost is 'USD. Sum of what is known; unpriced_calls are not in it.';

--: comment public.usage_sums
comment on view public.usage_sums is 'Contributions and kept sums together: what usage_metrics is rebuilt from, and checked against.';

--: comment public.usage_total_sums
comment on view public.usage_total_sums is 'The same without users: what usage_totals is rebuilt from, and checked against.';

--: comment public.usage_totals
comment on table public.usage_totals is 'usage_metrics summed over users: by day (UTC), tenant, provider and model.';

--: comment public.user_activity_summary
comment on view public.user_activity_summary is 'What each user did and cost, with or without a profile. Sums are of what is known, NULL where nothing is.';

--: comment public.user_profiles
comment on table public.user_profiles is 'One user of the application, by the user_id that runs and sessions have. Runs need no profile.';

--: comment public.user_profiles.daily_token_limit
comment on column public.user_profiles.daily_token_limit is 'NULL: no limit. Stored, and not yet enforced; so are the other three.';

--: comment public.user_profiles.id
comment on column public.user_profiles.id is 'The same as user_id.';

--: comment public.user_profiles.is_sample
comment on column public.user_profiles.is_sample is 'Made by generate_sample_data: cleanup_test_data removes it.';

--: comment public.user_profiles.role
comment on column public.user_profiles.role is 'For the application. What a token may read is said by the token: see chopsky_reads_tenant.';

--: comment public.user_profiles.user_id
comment on column public.user_profiles.user_id is 'As runs and sessions have it; with Supabase, the text of auth.users.id.';

--: comment public.user_usage
comment on view public.user_usage is 'One''s own usage by day (UTC), provider and model, without costs; the tenant''s for who may read that.';

--: comment public.writer_status
comment on table public.writer_status is 'One row per writing process: last write, backlog, and losses counted by reason.';

--: comment public.writer_status.prices
comment on column public.writer_status.prices is 'The team''s own prices as it last read them: rows applied, unusable ones, why a look failed.';
