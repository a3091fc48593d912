-- run_page --
-- The next runs of an export, in an order that stays while others write.
select r.id, r.created_at
from public.conversation_runs r
where (%(after_id)s::uuid is null or (r.created_at, r.id) > (%(after_at)s::timestamptz, %(after_id)s::uuid))
    and (%(project)s::text is null or r.project = %(project)s)
    and (%(tenant_id)s::text is null or r.tenant_id = %(tenant_id)s)
    and (%(user_id)s::text is null or r.user_id = %(user_id)s)
    and (%(session_id)s::text is null or r.session_id = %(session_id)s)
    and (%(status)s::text is null or r.status = %(status)s)
    and (%(since)s::timestamptz is null or coalesce(r.started_at, r.created_at) >= %(since)s)
    and (%(until)s::timestamptz is null or coalesce(r.started_at, r.created_at) < %(until)s)
order by r.created_at, r.id
limit %(limit)s

-- session_page --
-- Sessions that have no run, or messages outside any: nothing else would bring them.
select s.id, s.created_at
from public.conversation_sessions s
where (%(after_id)s::uuid is null or (s.created_at, s.id) > (%(after_at)s::timestamptz, %(after_id)s::uuid))
    and (%(project)s::text is null or s.project = %(project)s)
    and (%(tenant_id)s::text is null or s.tenant_id = %(tenant_id)s)
    and (%(user_id)s::text is null or s.user_id = %(user_id)s)
    and (%(session_id)s::text is null or s.session_id = %(session_id)s)
    and %(status)s::text is null
    and (%(since)s::timestamptz is null or s.last_activity_at >= %(since)s)
    and (%(until)s::timestamptz is null or s.created_at < %(until)s)
    and (
        exists (select 1 from public.conversation_messages m where m.session_key = s.session_key and m.conversation_run_id is null)
        or not exists (select 1 from public.conversation_runs r where r.session_key = s.session_key)
    )
order by s.created_at, s.id
limit %(limit)s

-- message_page --
-- Messages in no run and in no session, by the index of those that are in no run.
select m.id, m.created_at
from public.conversation_messages m
where m.conversation_run_id is null and m.session_key is null
    and (%(after_id)s::uuid is null or (m.created_at, m.id) > (%(after_at)s::timestamptz, %(after_id)s::uuid))
    and num_nonnulls(%(project)s::text, %(status)s::text, %(session_id)s::text) = 0
    and (%(tenant_id)s::text is null or m.tenant_id = %(tenant_id)s)
    and (%(user_id)s::text is null or m.user_id = %(user_id)s)
    and (%(since)s::timestamptz is null or m.created_at >= %(since)s)
    and (%(until)s::timestamptz is null or m.created_at < %(until)s)
order by m.created_at, m.id
limit %(limit)s

-- profile_page --
-- Profiles of users; none where only some runs are asked for.
select p.user_id, p.created_at
from public.user_profiles p
where (%(after_id)s::text is null or p.user_id > %(after_id)s::text)
    and num_nonnulls(
        %(project)s::text, %(status)s::text, %(session_id)s::text, %(since)s::timestamptz, %(until)s::timestamptz
    ) = 0
    and (%(tenant_id)s::text is null or p.tenant_id = %(tenant_id)s)
    and (%(user_id)s::text is null or p.user_id = %(user_id)s)
order by p.user_id
limit %(limit)s

-- feedback_page --
-- Feedback that no run brings. By id: that order has an index.
select f.id, f.created_at
from public.conversation_feedback f
where (%(after_id)s::uuid is null or f.id > %(after_id)s::uuid)
    and not exists (select 1 from public.conversation_runs r where r.id = f.conversation_run_id)
    -- Which project and what state it may come to be of nobody knows.
    and num_nonnulls(%(project)s::text, %(status)s::text) = 0
    and (%(tenant_id)s::text is null or f.tenant_id = %(tenant_id)s)
    and (%(user_id)s::text is null or f.user_id = %(user_id)s)
    and (%(session_id)s::text is null or f.session_id = %(session_id)s)
    and (%(since)s::timestamptz is null or f.created_at >= %(since)s)
    and (%(until)s::timestamptz is null or f.created_at < %(until)s)
order by f.id
limit %(limit)s

-- runs --
-- Lines of runs.
select e.exported from public.chopsky_export_runs(%(ids)s) e

-- sessions --
-- Lines of sessions.
select e.exported from public.chopsky_export_sessions(%(ids)s) e

-- messages --
-- Lines of messages.
select e.exported from public.chopsky_export_messages(%(ids)s) e

-- profiles --
-- Lines of profiles.
select e.exported from public.chopsky_export_profiles(%(ids)s) e

-- feedback --
-- Lines of feedback.
select e.exported from public.chopsky_export_feedback(%(ids)s) e

-- import --
-- Some lines, as one array.
select public.chopsky_import(%(lines)s::json)

-- messages_csv --
-- For people: what was said, a row a message.
select
    m.id, m.conversation_run_id, r.project, m.tenant_id, m.user_id, m.session_id, m.sequence, m.role, m.content, m.is_internal,
    m.model, m.provider, m.token_count, m.cost, m.response_time_ms, m.created_at
from public.conversation_messages m
join public.conversation_runs r on r.id = m.conversation_run_id
where r.id = any (%(ids)s)
order by r.created_at, r.id, m.sequence, m.id

-- runs_csv --
-- For people: a row a run.
select
    r.id, r.project, r.environment, r.name, r.tenant_id, r.user_id, r.session_id, r.status, r.total_messages, r.total_input_tokens,
    r.total_output_tokens, r.total_tokens_used, r.total_cost, r.unpriced_calls, r.unmeasured_calls, r.average_response_time,
    r.user_satisfaction_score, r.error, r.started_at, r.ended_at, r.created_at
from public.conversation_runs r
where r.id = any (%(ids)s)
order by r.created_at, r.id
