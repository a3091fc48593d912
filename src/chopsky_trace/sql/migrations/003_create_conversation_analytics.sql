-- One row per conversation run: what can be said of it as a whole.
create table public.conversation_analytics (
    id uuid primary key default gen_random_uuid(),
    conversation_run_id uuid not null unique references public.conversation_runs (id) on delete cascade,
    completion_rate numeric(5, 2) check (completion_rate between 0 and 100),
    user_engagement_score numeric(5, 2) check (user_engagement_score between 0 and 100),
    conversation_quality_score numeric(5, 2) check (conversation_quality_score between 0 and 100),
    error_count integer not null default 0 check (error_count >= 0),
    retry_count integer not null default 0 check (retry_count >= 0),
    scores_by_hand text[] not null default '{}',
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table public.conversation_analytics is 'What can be said of a conversation run as a whole. A score that nothing is known for is NULL.';
comment on column public.conversation_analytics.completion_rate is '100 where the run completed, 0 where it failed or was abandoned; NULL while it is active or interrupted.';
comment on column public.conversation_analytics.user_engagement_score is '10 for each message that the user wrote in this run, at most 100; NULL where the run has no messages.';
comment on column public.conversation_analytics.conversation_quality_score is 'Mean of what is known of two: the satisfaction score as (score - 1) * 25, and, once a run with spans is over, 100 less 25 an error and 10 a retry, at least 0.';
comment on column public.conversation_analytics.scores_by_hand is 'Of the three scores those that a person wrote: they stay until the person writes NULL.';
comment on column public.conversation_analytics.error_count is 'Spans that failed by themselves: a failure passed up through its parents counts once.';
comment on column public.conversation_analytics.retry_count is 'Attempts after the first (LangChain''s retry:attempt:N, N from 2).';

-- The seeds' name; the unique constraint above already is this index, and a second one would be a duplicate.
alter index public.conversation_analytics_conversation_run_id_key rename to idx_conversation_analytics_conversation_run_id;
create index idx_conversation_analytics_quality_score on public.conversation_analytics (conversation_quality_score)
    where conversation_quality_score is not null;

revoke all on table public.conversation_analytics from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.conversation_analytics to service_role;

alter table public.conversation_analytics enable row level security;
create policy conversation_analytics_service on public.conversation_analytics for all to service_role using (true) with check (true);
