-- Every span of a run, so that the mirror is complete. Two registers a row: start-owned and end-owned columns, each
-- replaced as a whole by the later record of its kind (start_version, end_version: source rank, seen_at, digest).
create table public.conversation_spans (
    id uuid primary key,
    conversation_run_id uuid not null references public.conversation_runs (id) on delete cascade,
    -- owned by the start
    parent_span_id uuid,
    kind text not null default 'other',
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
    tags text[] not null default '{}',
    metadata jsonb not null default '{}',
    scope jsonb,
    started_at timestamptz,
    start_version text collate "C",
    -- owned by the end
    status text not null default 'active',
    error text,
    model text,
    response_id text,
    ended_at timestamptz,
    response_time_ms numeric(14, 3),
    time_to_first_token_ms numeric(14, 3),
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    audio_tokens bigint,
    usage_details jsonb,
    usage_source text,
    cost numeric(24, 10),
    cost_source text,
    reported_cost numeric(24, 10),
    price_rates jsonb,
    finish_reason text,
    outputs jsonb,
    output_bodies uuid[],
    answer_keys uuid[],
    end_metadata jsonb,
    end_version text collate "C",
    -- owned by neither
    duplicate_of uuid,
    told jsonb,
    abandoned_at timestamptz,
    created_at timestamptz not null default now()
);
comment on table public.conversation_spans is 'One unit of work in a conversation run. id = LangChain''s and LangSmith''s run id. Tokens and cost stand on the model call itself, never on its parents.';
comment on column public.conversation_spans.parent_span_id is 'May lie outside the mirror: then the parent is external.';
comment on column public.conversation_spans.kind is 'llm, chain, agent, tool, retriever, embedding, prompt, parser, image or other.';
comment on column public.conversation_spans.instrumentor is 'OpenTelemetry: the scope that made the span. NULL: LangChain''s callbacks.';
comment on column public.conversation_spans.is_provider is 'Told by what wraps a provider''s SDK, or by that SDK itself, not by a framework over it.';
comment on column public.conversation_spans.is_entry is 'OpenTelemetry: its parent is in another process, which may tell of it or not.';
comment on column public.conversation_spans.native_id is 'The span''s own id where it came from, if that is no UUID.';
comment on column public.conversation_spans.inputs is 'Payload; {"$message": id} stands for the message with that body_id, {"$messages": ...} for a run of them.';
comment on column public.conversation_spans.prompt_names is 'Place in the prompt, from 0, to the assistant''s name there, where it is not what prompt_extends says.';
comment on column public.conversation_spans.prompt_extends is 'The model call whose prompt and output this prompt repeats, up to prompt_take messages; prompt_prefix and prompt_bodies follow.';
comment on column public.conversation_spans.prompt_prefix is 'The row of conversation_prefixes with which the rest of a long prompt begins; prompt_bodies follow.';
comment on column public.conversation_spans.question_keys is 'OpenTelemetry: the body_id of each message of the user''s that the span says is new with it.';
comment on column public.conversation_spans.answer_keys is 'OpenTelemetry, of a span that is no model call: each answer to the user that it tells of: the first half of its text''s SHA-256 or, where it has no text, its body_id; {} = none.';
comment on column public.conversation_spans.input_tokens is 'The whole: cached tokens are part of it. NULL = unknown.';
comment on column public.conversation_spans.output_tokens is 'The whole: reasoning tokens are part of it. NULL = unknown.';
comment on column public.conversation_spans.usage_source is 'reported, computed, estimated or unknown.';
comment on column public.conversation_spans.cost_source is 'reported, computed, estimated or unknown.';
comment on column public.conversation_spans.cost is 'In USD, computed from the tokens. NULL = unknown.';
comment on column public.conversation_spans.reported_cost is 'In USD, what the provider itself said that it charges; NULL where it says nothing.';
comment on column public.conversation_spans.price_rates is 'The rates the cost was computed with, and where they are from.';
comment on column public.conversation_spans.duplicate_of is 'The span that carries the numbers, where one call was seen by two sources or a span sums the calls below it; this one then has none.';
comment on column public.conversation_spans.told is 'What this span itself told, where its numbers or its messages now follow from several spans of one call.';
comment on column public.conversation_spans.abandoned_at is 'Set by the reaper when no end came; a real end outranks it.';
comment on column public.conversation_spans.created_at is 'When the server first had the span; started_at and ended_at are the client''s clock.';

create index idx_conversation_spans_conversation_run_id on public.conversation_spans (conversation_run_id, started_at);
create index idx_conversation_spans_reported_cost on public.conversation_spans (conversation_run_id) where reported_cost is not null;
create index idx_conversation_spans_open on public.conversation_spans (created_at) where status = 'active';

revoke all on table public.conversation_spans from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.conversation_spans to service_role;

alter table public.conversation_spans enable row level security;
create policy conversation_spans_service on public.conversation_spans for all to service_role using (true) with check (true);
