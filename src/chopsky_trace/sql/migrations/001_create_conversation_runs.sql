-- One row per conversation run: everything under one root span. The id is the root's id, which is LangSmith's trace id.
create table public.conversation_runs (
    id uuid primary key default gen_random_uuid(),
    project text,
    environment text,
    name text,
    tenant_id text,
    user_id text,
    session_id text,
    status text not null default 'active'
        check (status in ('active', 'completed', 'failed', 'interrupted', 'abandoned')),
    total_messages integer not null default 0 check (total_messages >= 0),
    total_tokens_used bigint check (total_tokens_used >= 0),
    total_input_tokens bigint check (total_input_tokens >= 0),
    total_output_tokens bigint check (total_output_tokens >= 0),
    total_cost numeric(24, 10) check (total_cost >= 0 and total_cost <> 'NaN'),
    average_response_time numeric(14, 3) check (average_response_time >= 0),
    unpriced_calls integer not null default 0,
    unmeasured_calls integer not null default 0,
    user_satisfaction_score numeric(3, 2) check (user_satisfaction_score between 1 and 5),
    error text,
    tags text[] not null default '{}',
    metadata jsonb not null default '{}',
    resumes uuid,
    resumed_at timestamptz,
    merged boolean not null default false,
    totals_by_hand boolean not null default false,
    scope_by_hand boolean not null default false,
    -- Messages are settled within this key: two users or two tenants of a thread "1" never share one.
    session_key uuid not null generated always as (
        case when session_id is null then id else md5(
            coalesce(length(project) || ':' || project, '-') || coalesce(length(tenant_id) || ':' || tenant_id, '-')
            || coalesce(length(user_id) || ':' || user_id, '-') || session_id
        )::uuid end
    ) stored,
    started_at timestamptz,
    ended_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
)
-- A run's totals follow its spans, mostly more than once: in place, if the page has room for a row that is longer by then.
with (fillfactor = 35);
comment on table public.conversation_runs is 'One conversation run: everything under one root span. id = the root run''s id = LangSmith''s trace id.';
comment on column public.conversation_runs.total_tokens_used is 'Tokens of the run''s own model calls, each counted once. NULL where no call reported any: unknown is never 0.';
comment on column public.conversation_runs.total_cost is 'USD. Sum of the calls whose cost is known; unpriced_calls says how many are not in it.';
comment on column public.conversation_runs.average_response_time is 'Milliseconds: mean over the run''s own model calls.';
comment on column public.conversation_runs.unpriced_calls is 'Ended model calls whose cost is unknown.';
comment on column public.conversation_runs.unmeasured_calls is 'Ended model calls whose tokens are unknown.';
comment on column public.conversation_runs.resumes is 'The interrupted run of the same session that this run resumes.';
comment on column public.conversation_runs.resumed_at is 'When a later run resumed this interrupted one.';
comment on column public.conversation_runs.merged is 'True when all its model calls are duplicates of another run''s; such runs leave lists and totals.';
comment on column public.conversation_runs.totals_by_hand is 'Set by a manual UPDATE of the totals; a run without spans then keeps them.';
comment on column public.conversation_runs.scope_by_hand is 'Set by a manual UPDATE of user_id, session_id or environment, which then stays.';
comment on column public.conversation_runs.session_key is 'Derived from project, tenant, user and session (the run''s own id without a session): messages are stored once within it.';

create index idx_conversation_runs_user_id_created_at on public.conversation_runs (user_id, created_at desc);
create index idx_conversation_runs_status_created_at on public.conversation_runs (status, created_at desc);
create index idx_conversation_runs_session_id on public.conversation_runs (session_id, started_at desc) where session_id is not null;
create index idx_conversation_runs_tenant_id_created_at on public.conversation_runs (tenant_id, created_at desc) where tenant_id is not null;
create index idx_conversation_runs_created_at on public.conversation_runs (created_at desc, id desc);

revoke all on table public.conversation_runs from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.conversation_runs to service_role;
-- No cost, tokens, metadata or error text: what a call costs is not the end user's to see unless you grant it.
grant select (
    id, name, tenant_id, user_id, session_id, status, total_messages, average_response_time,
    user_satisfaction_score, started_at, ended_at, created_at, updated_at
) on table public.conversation_runs to authenticated;

alter table public.conversation_runs enable row level security;
-- Twice select: once to run once per statement, and once more for Supabase's linter, which reads the text.
-- The tenant is NULL for who may not read it: its index then finds nothing, at once.
create policy conversation_runs_read on public.conversation_runs for select to authenticated using (
    (
        user_id = (select (select auth.jwt()) ->> 'sub')
        and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
    ) or tenant_id = (select case when public.chopsky_reads_tenant() then public.chopsky_tenant_id() end)
);
create policy conversation_runs_service on public.conversation_runs for all to service_role using (true) with check (true);
