-- list run_columns --
-- Of a run, all that people read of it.
r.id, r.project, r.environment, r.name, r.tenant_id, r.user_id, r.session_id, r.status, r.total_messages,
r.total_tokens_used, r.total_input_tokens, r.total_output_tokens, r.total_cost, r.average_response_time,
r.unpriced_calls, r.unmeasured_calls, r.user_satisfaction_score, r.error, r.tags, r.metadata, r.resumes, r.resumed_at,
r.merged, r.started_at, r.ended_at, r.created_at, r.updated_at, a.error_count, a.retry_count

-- list arriving_columns --
-- Of a run as it arrives.
r.id, r.project, r.name, r.tenant_id, r.user_id, r.session_id, r.status, r.total_messages, r.total_tokens_used,
r.total_input_tokens, r.total_output_tokens, r.total_cost, r.average_response_time, r.unpriced_calls, r.unmeasured_calls,
r.error, r.started_at, r.ended_at, r.created_at, r.updated_at

-- list message_columns --
-- Of a message, all that people read of it, but for its id and its run.
m.span_id, m.sequence, m.role, m.content, m.parts, m.tool_calls, m.tool_call_id, m.name,
m.is_internal, m.token_count, m.token_count_source, m.response_time_ms, m.cost, m.model, m.provider, m.created_at

-- list span_columns --
-- Of a span, all but its payloads.
s.id, s.conversation_run_id, s.parent_span_id, s.kind, s.name, s.source, s.instrumentor, s.is_provider, s.native_id, s.status, s.error, s.provider, s.model, s.model_requested,
s.started_at, s.ended_at, s.response_time_ms, s.time_to_first_token_ms, s.input_tokens, s.output_tokens, s.total_tokens,
s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens, s.audio_tokens, s.usage_source, s.cost, s.cost_source,
s.finish_reason, s.duplicate_of, s.tags,
(select c.output_tokens_per_second from public.conversation_calls c where c.id = s.id) as output_tokens_per_second

-- runs --
-- One page of conversation runs, newest first. created_at (the server's clock) orders and bounds it, because it is
-- indexed with every filter; a run never arrives a day before it starts. The neighbours' ids tell how many characters name a run.
select
    r.id, r.project, r.environment, r.name, r.tenant_id, r.user_id, r.session_id, r.status, r.total_messages,
    r.total_tokens_used, r.total_input_tokens, r.total_output_tokens, r.total_cost, r.average_response_time,
    r.unpriced_calls, r.unmeasured_calls, r.user_satisfaction_score, r.error, r.tags, r.started_at, r.ended_at,
    r.created_at, r.updated_at, a.error_count, a.retry_count,
    (select n.id from public.conversation_runs n where n.id < r.id order by n.id desc limit 1) as id_before,
    (select n.id from public.conversation_runs n where n.id > r.id order by n.id limit 1) as id_after
from public.conversation_runs r
left join public.conversation_analytics a on a.conversation_run_id = r.id
where not r.merged
    and (%(user_id)s::text is null or r.user_id = %(user_id)s)
    and (%(session_id)s::text is null or r.session_id = %(session_id)s)
    and (%(tenant_id)s::text is null or r.tenant_id = %(tenant_id)s)
    and (%(project)s::text is null or r.project = %(project)s)
    and (%(status)s::text is null or r.status = %(status)s)
    and (%(since)s::timestamptz is null or (
        r.created_at >= %(since)s::timestamptz - interval '1 day' and coalesce(r.started_at, r.created_at) >= %(since)s::timestamptz
    ))
    and (%(after)s::uuid is null or (r.created_at, r.id) < (
        coalesce(%(after_at)s::timestamptz, (select c.created_at from public.conversation_runs c where c.id = %(after)s)), %(after)s::uuid
    ))
order by r.created_at desc, r.id desc
limit %(limit)s

-- run --
-- One run with all that people read of it.
select @run_columns@
from public.conversation_runs r
left join public.conversation_analytics a on a.conversation_run_id = r.id
where r.id = %(id)s

-- runs_of_prefix --
-- Runs whose id begins so: a range of ids, so that the primary key answers.
select r.id from public.conversation_runs r where r.id between %(low)s and %(high)s order by r.id limit %(limit)s

-- spans_of_prefix --
-- Spans whose id begins so, each with its run.
select s.id, s.conversation_run_id from public.conversation_spans s where s.id between %(low)s and %(high)s order by s.id limit %(limit)s

-- sessions --
-- The sessions of this name, a few at most: two tenants' or two users' sessions of one name are two. Sorted, because
-- the planner would else look for one row of a common name by reading the table from its beginning.
with recursive named (session_key, seen) as (
    (select r.session_key, array[r.session_key] from public.conversation_runs r where r.session_id = %(session_id)s and not r.merged order by r.started_at desc limit 1)
    union all
    select n.session_key, o.seen || n.session_key
    from named o
    cross join lateral (
        select r.session_key from public.conversation_runs r
        where r.session_id = %(session_id)s and r.session_key <> all (o.seen) and not r.merged
        order by r.started_at desc limit 1
    ) n
    where cardinality(o.seen) < %(limit)s
)
select o.session_key, r.session_id, r.project, r.tenant_id, r.user_id
from named o
cross join lateral (select * from public.conversation_runs c where c.session_key = o.session_key limit 1) r

-- session_of_key --
-- The session that has this key.
select r.session_key, r.session_id from public.conversation_runs r
where r.session_key = %(session_key)s and r.session_id is not null limit 1

-- session_runs --
-- One page of a session's runs in the order they were held, from the run on that the page before ended in.
select @run_columns@
from public.conversation_runs r
left join public.conversation_analytics a on a.conversation_run_id = r.id
where r.session_key = %(session_key)s and not r.merged
    and (coalesce(r.started_at, r.created_at), r.id) >= (
        case when %(from_run)s::uuid is null then '-infinity'
            else (select coalesce(c.started_at, c.created_at) from public.conversation_runs c where c.id = %(from_run)s) end,
        coalesce(%(from_run)s::uuid, '00000000-0000-0000-0000-000000000000')
    )
order by coalesce(r.started_at, r.created_at), r.id
limit %(limit)s

-- session_messages --
-- One page of a session's messages, run after run, from a place in a run on. A limit for each run too, so that runs are
-- taken one by one, and no more of them than the page needs.
select
    m.id, r.id as conversation_run_id, @message_columns@
from public.conversation_runs r
cross join lateral (
    select i.*
    from public.conversation_messages i
    where i.conversation_run_id = r.id
        and (%(internal)s or not i.is_internal)
        and (r.id is distinct from %(from_run)s::uuid or coalesce(i.sequence, 2147483647) > %(after)s)
    order by i.sequence, i.id
    limit %(limit)s
) m
where r.session_key = %(session_key)s and not r.merged
    and (coalesce(r.started_at, r.created_at), r.id) >= (
        case when %(from_run)s::uuid is null then '-infinity'
            else (select coalesce(c.started_at, c.created_at) from public.conversation_runs c where c.id = %(from_run)s) end,
        coalesce(%(from_run)s::uuid, '00000000-0000-0000-0000-000000000000')
    )
order by coalesce(r.started_at, r.created_at), r.id, m.sequence, m.id
limit %(limit)s

-- messages --
-- One page of a run's messages in order. A message whose sequence nobody has set yet comes last.
select
    m.id, m.conversation_run_id, @message_columns@
from public.conversation_messages m
where m.conversation_run_id = %(run_id)s
    and (%(internal)s or not m.is_internal)
    and coalesce(m.sequence, 2147483647) > %(after)s
order by m.sequence nulls last, m.id
limit %(limit)s

-- feedback --
-- What was said of a run and of what is in it, the latest first.
select
    f.id, f.about_id, f.conversation_run_id, f.span_id, f.message_id, f.user_id, f.key, f.thumbs, f.score, f.value, f.comment, f.source,
    f.metadata, f.created_at, f.updated_at, m.sequence as message_sequence
from public.conversation_feedback f
left join public.conversation_messages m on m.id = f.message_id
where f.conversation_run_id = %(run_id)s
order by f.updated_at desc, f.id
limit %(limit)s

-- spans --
-- One page of a run's spans as a call tree needs them: without payloads. Parents come before their children where clocks agree.
select @span_columns@
from public.conversation_spans s
where s.conversation_run_id = %(run_id)s
    and (%(after)s::uuid is null or (coalesce(s.started_at, s.created_at), s.id) > (
        select coalesce(c.started_at, c.created_at), c.id from public.conversation_spans c where c.id = %(after)s
    ))
order by coalesce(s.started_at, s.created_at), s.id
limit %(limit)s

-- spans_below --
-- A span and everything below it, within its run; bounded, and safe where parents form a ring.
with recursive below (id) as (
    select s.id from public.conversation_spans s where s.id = %(span_id)s
    union
    select c.id
    from below b
    join public.conversation_spans c on c.conversation_run_id = %(run_id)s and c.parent_span_id = b.id
), picked as (
    select b.id from below b limit %(limit)s
)
select @span_columns@
from picked p
join public.conversation_spans s on s.id = p.id
order by coalesce(s.started_at, s.created_at), s.id

-- neighbours --
-- The ids before and after each of these spans' ids, among spans and runs alike, for an id may name either: they tell
-- how many characters name a span.
select
    i.id,
    array[
        (select n.id from public.conversation_spans n where n.id < i.id order by n.id desc limit 1),
        (select n.id from public.conversation_spans n where n.id > i.id order by n.id limit 1),
        (select n.id from public.conversation_runs n where n.id < i.id order by n.id desc limit 1),
        (select n.id from public.conversation_runs n where n.id > i.id order by n.id limit 1)
    ] as neighbours
from unnest(%(ids)s::uuid[]) i (id)

-- span --
-- One span with its payloads.
select s.*, c.output_tokens_per_second
from public.conversation_spans s
left join public.conversation_calls c on c.id = s.id
where s.id = %(id)s

-- span_ids --
-- One page of a run's spans as `spans` has them: which they are, so that their payloads can be read a few at a time.
select s.id
from public.conversation_spans s
where s.conversation_run_id = %(run_id)s
    and (%(after)s::uuid is null or (coalesce(s.started_at, s.created_at), s.id) > (
        select coalesce(c.started_at, c.created_at), c.id from public.conversation_spans c where c.id = %(after)s
    ))
order by coalesce(s.started_at, s.created_at), s.id
limit %(limit)s

-- spans_whole --
-- Spans with their payloads, and the key within which their messages are stored.
select s.*, r.session_key, public.chopsky_prompt_names(s.id) as names
from public.conversation_spans s
join public.conversation_runs r on r.id = s.conversation_run_id
where s.id = any (%(ids)s::uuid[])

-- stretches --
-- The messages of these calls, prompt and output; NULL where a link of the prompt is missing.
select s.id, p.bodies || coalesce(s.output_bodies, '{}') as bodies
from public.conversation_spans s
cross join lateral (select public.chopsky_prompt_bodies(s.id) as bodies) p
where s.id = any (%(ids)s::uuid[]) and p.bodies is not null

-- prefixes --
-- What long lists of messages begin with; NULL where a row of it is missing.
select i.id, public.chopsky_prefix_bodies(i.id) as bodies
from unnest(%(ids)s::uuid[]) i (id)

-- bodies --
-- Messages by body: the session's own row, else any row of that body, as conversation_prompt takes them.
select
    w.session_key, w.body_id, m.conversation_run_id, m.role, m.content, m.parts, m.tool_calls, m.tool_call_id, m.name,
    coalesce(octet_length(m.content), 0) + coalesce(octet_length(m.parts::text), 0) + coalesce(octet_length(m.tool_calls::text), 0)
        as size_bytes
from unnest(%(keys)s::uuid[], %(bodies)s::uuid[]) w (session_key, body_id)
cross join lateral (
    (
        select c.* from public.conversation_messages c
        where c.session_key = w.session_key and c.body_id = w.body_id
            and (c.content is not null or c.parts is not null or c.tool_calls is not null)
        limit 1
    )
    union all
    (
        select c.* from public.conversation_messages c
        where c.body_id = w.body_id and (c.content is not null or c.parts is not null or c.tool_calls is not null)
        limit 1
    )
    limit 1
) m

-- contents --
-- Texts, documents and media of runs.
select w.conversation_run_id, c.id, c.kind, c.text, c.document, c.size_bytes, c.data
from unnest(%(runs)s::uuid[], %(ids)s::uuid[]) w (conversation_run_id, id)
cross join lateral public.chopsky_content(w.conversation_run_id, w.id) c

-- prompt --
-- The exact prompt of a model call, put together again from references.
select p.position, p.role, p.content, p.parts, p.tool_calls, p.tool_call_id, p.name
from public.conversation_prompt(%(span_id)s) p
order by p.position

-- cost_by_run --
-- What runs cost, by something a run has; the row with is_total sums all of them. Sums are of what is known, with the
-- number of calls that are not in them beside.
select
    grouping(k.key) = 1 as is_total, k.key, null::text as provider, count(*) as runs, null::bigint as calls,
    sum(r.total_input_tokens)::bigint as input_tokens, sum(r.total_output_tokens)::bigint as output_tokens,
    sum(r.total_tokens_used)::bigint as total_tokens,
    sum(r.total_cost) as cost, sum(o.cost) as reported_cost, coalesce(sum(o.calls), 0)::bigint as reported_calls,
    coalesce(sum(r.unpriced_calls), 0)::bigint as unpriced_calls, coalesce(sum(r.unmeasured_calls), 0)::bigint as unmeasured_calls
from public.conversation_runs r
left join (
    select s.conversation_run_id as run_id, sum(s.reported_cost) as cost, count(*) as calls
    from public.conversation_spans s
    where s.reported_cost is not null and s.duplicate_of is null
    group by 1
) o on o.run_id = r.id
cross join lateral (
    select case %(by)s
        when 'user' then r.user_id
        when 'tenant' then r.tenant_id
        when 'session' then r.session_id
        when 'project' then r.project
        when 'day' then to_char(coalesce(r.started_at, r.created_at) at time zone 'UTC', 'YYYY-MM-DD')
    end as key
) k
where not r.merged
    and (%(since)s::timestamptz is null or (
        r.created_at >= %(since)s::timestamptz - interval '1 day' and coalesce(r.started_at, r.created_at) >= %(since)s::timestamptz
    ))
group by grouping sets ((k.key), ())
order by is_total desc, case when %(by)s = 'day' then k.key end desc, cost desc nulls last, total_tokens desc nulls last, k.key
limit %(limit)s

-- cost_by_model --
-- The same by model: calls each counted once, then messages without a span, then runs whose totals were set by hand.
with run as (
    select r.id, r.totals_by_hand, r.total_input_tokens, r.total_output_tokens, r.total_tokens_used, r.total_cost
    from public.conversation_runs r
    where not r.merged
        and (%(since)s::timestamptz is null or (
            r.created_at >= %(since)s::timestamptz - interval '1 day' and coalesce(r.started_at, r.created_at) >= %(since)s::timestamptz
        ))
), by_hand as (
    select r.* from run r
    where r.totals_by_hand and not exists (select 1 from public.conversation_spans s where s.conversation_run_id = r.id)
), part as (
    select
        s.conversation_run_id as run_id, coalesce(s.model, s.model_requested) as key, s.provider, s.is_call::integer as calls,
        s.input_tokens, s.output_tokens, s.total_tokens, s.cost, s.reported_cost, s.time_to_first_token_ms,
        -- As in conversation_calls.
        case when s.kind = 'llm' and s.output_tokens is not null and not coalesce(s.usage_details @> '{"cache_hit": true}', false)
            then greatest(s.response_time_ms - coalesce(s.time_to_first_token_ms, 0), 0) end as writing_ms,
        (s.is_counted and s.cost is null)::integer as unpriced, (s.is_counted and s.total_tokens is null)::integer as unmeasured
    from (
        select
            c.*, c.kind in ('llm', 'embedding', 'image') and c.ended_at is not null as is_call,
            -- As in recompute_runs: a call refused before its first token used nothing that could be unknown.
            c.kind in ('llm', 'embedding', 'image') and c.ended_at is not null
                and (c.status <> 'failed' or c.time_to_first_token_ms is not null) as is_counted
        from run r
        join public.conversation_spans c on c.conversation_run_id = r.id
        where c.duplicate_of is null
            and (c.kind in ('llm', 'embedding', 'image') or c.cost is not null or c.total_tokens is not null)
    ) s
    union all
    select
        m.conversation_run_id, m.model, m.provider, 0,
        case when m.role <> 'assistant' then m.token_count end, case when m.role = 'assistant' then m.token_count end,
        m.token_count, m.cost, null, null, null, 0, 0
    from run r
    join public.conversation_messages m on m.conversation_run_id = r.id
    where m.span_id is null and not m.is_history and (m.token_count is not null or m.cost <> 0)
        and not exists (select 1 from by_hand h where h.id = r.id)
    union all
    select h.id, null, null, 0, h.total_input_tokens, h.total_output_tokens, h.total_tokens_used, h.total_cost, null, null, null, 0, 0
    from by_hand h
)
select
    grouping(p.key) = 1 as is_total, p.key, p.provider, count(distinct p.run_id) as runs, coalesce(sum(p.calls), 0) as calls,
    sum(p.input_tokens)::bigint as input_tokens, sum(p.output_tokens)::bigint as output_tokens,
    sum(p.total_tokens)::bigint as total_tokens,
    sum(p.cost) as cost, sum(p.reported_cost) as reported_cost, count(p.reported_cost) as reported_calls,
    coalesce(sum(p.unpriced), 0) as unpriced_calls, coalesce(sum(p.unmeasured), 0) as unmeasured_calls,
    round(avg(p.time_to_first_token_ms), 3) as time_to_first_token_ms,
    round(sum(p.output_tokens) filter (where p.writing_ms > 0) * 1000 / sum(p.writing_ms) filter (where p.writing_ms > 0), 3) as output_tokens_per_second
from part p
group by grouping sets ((p.key, p.provider), ())
order by is_total desc, cost desc nulls last, total_tokens desc nulls last, p.key, p.provider
limit %(limit)s

-- writers --
-- What each writer says of itself, the latest first.
select
    w.writer_id, w.host, w.process_id, w.version, w.schema_number, w.started_at, w.last_write_at, w.backlog_records,
    w.backlog_bytes, w.stored_records, w.losses, w.prices
from public.writer_status w
order by w.last_write_at desc
limit %(limit)s

-- runs_new --
-- Runs that arrived since; the caller asks for a little overlap, because transactions commit out of order.
select @arriving_columns@
from public.conversation_runs r
where r.created_at >= %(since)s and not r.merged
order by r.created_at desc, r.id desc
limit %(limit)s

-- runs_of_ids --
-- These runs as they stand now.
select @arriving_columns@
from public.conversation_runs r
where r.id = any (%(ids)s) and not r.merged
order by r.created_at, r.id

-- runs_active --
-- Runs under way, the latest first.
select r.id from public.conversation_runs r where r.status = 'active' order by r.created_at desc limit %(limit)s

-- server_time --
-- The server's clock.
select clock_timestamp() as server_time

-- role --
-- Who we are to the server, and whether row level security would hide rows from us.
select
    current_user as name, current_database() as database, current_setting('server_version_num')::integer as server_version,
    pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' as is_read_only,
    o.rolsuper as is_superuser, o.rolbypassrls as bypasses_rls, o.rolcreatedb as creates_databases, o.rolcreaterole as creates_roles,
    has_schema_privilege('public', 'usage') as may_use_schema, has_schema_privilege('public', 'create') as may_create,
    coalesce((select pg_has_role(s.oid, 'usage') from pg_roles s where s.rolname = 'service_role'), false) as is_service_role
from pg_roles o
where o.rolname = current_user

-- grants --
-- For each table of ours: which verbs we lack, whether its policies apply to us, and which verbs strangers have.
select
    t.name, c.oid is not null as is_there,
    case when c.oid is null then '{}' else array(
        select v.verb from unnest(array['select', 'insert', 'update', 'delete']) v (verb) where not has_table_privilege(c.oid, v.verb)
    ) end as lacks,
    coalesce(row_security_active(c.oid), false) as row_security_applies,
    case when c.oid is null then '{}' else array(
        select v.verb from unnest(array['select', 'insert', 'update', 'delete', 'truncate']) v (verb)
        where to_regrole('anon') is not null and has_table_privilege('anon', c.oid, v.verb)
    ) end as anon_has
from unnest(%(tables)s::text[]) t (name)
left join pg_class c on c.oid = to_regclass('public.' || t.name)
order by t.name

-- functions --
-- For each function of ours: whether it is there and whether we may call it.
select f.name, p.oid is not null as is_there, coalesce(has_function_privilege(p.oid, 'execute'), false) as may_call
from unnest(%(functions)s::text[]) f (name)
left join pg_proc p on p.oid = to_regprocedure('public.' || f.name)
order by f.name

-- probe_limit --
-- As a writer's batch.
select set_config('statement_timeout', %(timeout_ms)s, true)

-- probe_write --
-- A run with one span and one message, the way a writer stores them.
select public.chopsky_ingest(%(payload)s::json) as result

-- probe_read --
-- The same run as a reader sees it.
select r.status, r.total_messages, r.total_tokens_used, r.total_cost, t.content
from public.conversation_runs r
left join lateral public.conversation_transcript(r.id) t on true
where r.id = %(id)s

-- probe_remove --
-- The probe goes before its transaction ends, so nobody else ever sees it; its span and message go with it.
delete from public.conversation_runs r where r.id = %(id)s returning r.id
