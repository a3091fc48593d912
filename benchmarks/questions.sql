-- Conversations of half a year, made on the server: sizes by settings, so that every statement stays one round trip.
-- Triggers are off (session_replication_role), totals are written as the triggers would have left them.

-- sessions --
insert into public.conversation_sessions (
    id, session_id, project, tenant_id, user_id, created_at, updated_at, last_activity_at
)
select
    md5(length('bench') || ':bench' || length(w.tenant_id) || ':' || w.tenant_id || length(w.user_id) || ':' || w.user_id || w.session_id)::uuid,
    w.session_id, 'bench', w.tenant_id, w.user_id, w.at, w.at, w.at
from (
    select
        'session-' || n as session_id, 'user-' || n %% %(users)s as user_id, 'tenant-' || (n %% %(users)s) %% %(tenants)s as tenant_id,
        now() - interval '180 days' * (1 - n::float8 / %(sessions)s) as at
    from generate_series(0, %(sessions)s::integer - 1) n
) w

-- runs --
insert into public.conversation_runs (
    id, project, name, tenant_id, user_id, session_id, status, total_messages, total_tokens_used, total_input_tokens,
    total_output_tokens, total_cost, average_response_time, started_at, ended_at, created_at, updated_at
)
select
    md5('run ' || w.n)::uuid, 'bench', 'chat', 'tenant-' || (w.s %% %(users)s) %% %(tenants)s, 'user-' || w.s %% %(users)s, 'session-' || w.s,
    'completed', 10, 1500, 1000, 500, 0.0042, 850, w.at, w.at + interval '9 seconds', w.at, w.at
from (
    select n, n %% %(sessions)s as s, now() - interval '180 days' * (1 - n::float8 / %(runs)s) as at
    from generate_series(%(first)s::integer, %(last)s::integer) n
) w

-- messages --
insert into public.conversation_messages (
    id, body_id, conversation_run_id, span_id, session_id, tenant_id, user_id, sequence, role, content, token_count,
    token_count_source, response_time_ms, cost, model, provider, session_key, position, version, created_at
)
select
    md5('message ' || w.n || ' ' || p.place)::uuid, md5('body ' || w.n || ' ' || p.place)::uuid, r.id,
    case when p.place %% 2 = 0 then md5('span ' || w.n)::uuid end, r.session_id, r.tenant_id, r.user_id, p.place,
    case when p.place %% 2 = 1 then 'user' else 'assistant' end,
    repeat('Words that somebody said and somebody else was answered. ', 7) || w.n, 150, 'reported',
    case when p.place %% 2 = 0 then 850 end, case when p.place = 2 then 0.0042 else 0 end,
    case when p.place %% 2 = 0 then (array['gpt-4o', 'gpt-4o-mini', 'claude-sonnet-4-5', 'gemini-2.5-flash'])[1 + w.n %% 4] end,
    case when p.place %% 2 = 0 then (array['openai', 'openai', 'anthropic', 'google'])[1 + w.n %% 4] end,
    r.session_key, p.place, '1', r.started_at + p.place * interval '800 milliseconds'
from generate_series(%(first)s::integer, %(last)s::integer) w (n)
join public.conversation_runs r on r.id = md5('run ' || w.n)::uuid
cross join generate_series(1, 10) p (place)

-- spans --
insert into public.conversation_spans (
    id, conversation_run_id, parent_span_id, kind, name, source, provider, model, model_requested, status, started_at, ended_at,
    response_time_ms, time_to_first_token_ms, input_tokens, output_tokens, total_tokens, usage_source, cost, cost_source,
    finish_reason, start_version, end_version, created_at
)
select
    case when k.kind = 'chain' then r.id else md5('span ' || w.n)::uuid end, r.id, case when k.kind = 'llm' then r.id end,
    k.kind, k.kind, 'langchain', c.provider, c.model, c.model, 'completed', r.started_at, r.ended_at, 850,
    c.first_ms, c.input_tokens, c.output_tokens, c.total_tokens, c.reported, c.cost, c.computed, c.reason, '1', '1', r.created_at
from generate_series(%(first)s::integer, %(last)s::integer) w (n)
join public.conversation_runs r on r.id = md5('run ' || w.n)::uuid
cross join (values ('chain'), ('llm')) k (kind)
left join lateral (
    select
        (array['openai', 'openai', 'anthropic', 'google'])[1 + w.n %% 4] as provider,
        (array['gpt-4o', 'gpt-4o-mini', 'claude-sonnet-4-5', 'gemini-2.5-flash'])[1 + w.n %% 4] as model, 210 as first_ms,
        1000 as input_tokens, 500 as output_tokens, 1500 as total_tokens, 'reported' as reported, 0.0042 as cost,
        'computed' as computed, 'stop' as reason
    where k.kind = 'llm'
) c on true

-- analytics --
insert into public.conversation_analytics (
    conversation_run_id, completion_rate, user_engagement_score, conversation_quality_score, created_at, updated_at
)
select r.id, 100, 50, 100, r.created_at, r.created_at
from generate_series(%(first)s::integer, %(last)s::integer) w (n)
join public.conversation_runs r on r.id = md5('run ' || w.n)::uuid
