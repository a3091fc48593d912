-- batch --
-- The next runs to check, by id, with how much there is in them.
select min(b.id::text)::uuid as low, max(b.id::text)::uuid as high, count(*) as runs
from (
    select r.id from public.conversation_runs r
    where %(after)s::uuid is null or r.id > %(after)s
    order by r.id limit %(limit)s
) b

-- count_runs --
-- How many runs there are, for the progress bar.
select count(*) as runs from public.conversation_runs

-- totals --
-- Run totals derived again from spans and messages, by other means than recompute_runs. A total that was set by hand
-- stands where a run has no spans.
with run as (
    select * from public.conversation_runs r where r.id between %(low)s and %(high)s
), call as (
    select
        s.conversation_run_id as run_id, count(*) as spans,
        count(*) filter (where s.kind in ('llm', 'embedding', 'image')) as calls,
        count(*) filter (where s.kind in ('llm', 'embedding', 'image') and s.duplicate_of is not null) as duplicates,
        sum(p.input_tokens) filter (where c.owned) as input_tokens,
        sum(p.output_tokens) filter (where c.owned) as output_tokens,
        sum(p.total_tokens) filter (where c.owned) as total_tokens,
        sum(p.cost) filter (where c.owned) as cost,
        avg(p.response_time_ms) filter (where c.owned and s.kind = 'llm') as response_time,
        count(*) filter (where c.counted and p.cost is null) as unpriced,
        count(*) filter (where c.counted and p.total_tokens is null) as unmeasured
    from public.conversation_spans s
    cross join lateral (
        select o.owned, o.owned and s.ended_at is not null and (s.status <> 'failed' or s.time_to_first_token_ms is not null) as counted
        from (select s.kind in ('llm', 'embedding', 'image') and s.duplicate_of is null as owned) o
    ) c
    -- What no call can have used is in no sum.
    cross join lateral (
        select
            case when s.input_tokens between 0 and 1e15 then s.input_tokens end as input_tokens,
            case when s.output_tokens between 0 and 1e15 then s.output_tokens end as output_tokens,
            case when s.total_tokens between 0 and 1e15 then s.total_tokens end as total_tokens,
            case when s.cost between 0 and 1e12 then s.cost end as cost,
            case when s.response_time_ms between 0 and 9999999999 then s.response_time_ms end as response_time_ms
    ) p
    where s.conversation_run_id between %(low)s and %(high)s
    group by s.conversation_run_id
), turn as (
    select
        m.conversation_run_id as run_id, count(*) filter (where not m.is_internal) as messages,
        sum(m.token_count) filter (where m.span_id is null and not m.is_history and m.role <> 'assistant') as input_tokens,
        sum(m.token_count) filter (where m.span_id is null and not m.is_history and m.role = 'assistant') as output_tokens,
        sum(m.token_count) filter (where m.span_id is null and not m.is_history) as total_tokens,
        -- What is known of a message from a later prompt only was paid where it was said.
        sum(m.cost) filter (where m.span_id is null and not m.is_history) as cost,
        avg(m.response_time_ms) filter (where m.span_id is null and not m.is_history) as response_time
    from public.conversation_messages m
    where m.conversation_run_id between %(low)s and %(high)s
    group by m.conversation_run_id
), topmost as (
    -- Where the root is outside the mirror, the spans without a parent here tell how the run stands.
    select s.conversation_run_id as run_id, array_agg(distinct s.status) as statuses
    from public.conversation_spans s
    left join public.conversation_spans p on p.id = s.parent_span_id and p.conversation_run_id = s.conversation_run_id
    where s.conversation_run_id between %(low)s and %(high)s and p.id is null
    group by s.conversation_run_id
), under_way as (
    select distinct s.conversation_run_id as run_id from public.conversation_spans s
    where s.conversation_run_id between %(low)s and %(high)s and s.status = 'active'
), sums as (
    select
        r.id, coalesce(c.spans, 0) as spans,
        case
            when c.spans is null then r.status
            when root.id is not null then root.status
            when u.run_id is not null then 'active'
            when 'failed' = any (top.statuses) then 'failed'
            when 'abandoned' = any (top.statuses) then 'abandoned'
            else 'completed'
        end as status,
        r.totals_by_hand and c.spans is null as by_hand, r.totals_by_hand,
        coalesce(c.calls > 0 and c.calls = c.duplicates, false) as merged,
        coalesce(t.messages, 0) as messages,
        case when c.input_tokens is null and t.input_tokens is null then null else coalesce(c.input_tokens, 0) + coalesce(t.input_tokens, 0) end as input_tokens,
        case when c.output_tokens is null and t.output_tokens is null then null else coalesce(c.output_tokens, 0) + coalesce(t.output_tokens, 0) end as output_tokens,
        case when c.total_tokens is null and t.total_tokens is null then null else coalesce(c.total_tokens, 0) + coalesce(t.total_tokens, 0) end as total_tokens,
        case when c.cost is null and t.cost is null then null else coalesce(c.cost, 0) + coalesce(t.cost, 0) end as cost,
        round(coalesce(c.response_time, t.response_time), 3) as response_time,
        coalesce(c.unpriced, 0) as unpriced, coalesce(c.unmeasured, 0) as unmeasured
    from run r
    left join call c on c.run_id = r.id
    left join turn t on t.run_id = r.id
    left join topmost top on top.run_id = r.id
    left join under_way u on u.run_id = r.id
    left join lateral (
        -- The span with the run's id, else the earliest that says it has no parent.
        select o.id, o.status from public.conversation_spans o
        where o.conversation_run_id = r.id and (o.id = r.id or (o.parent_span_id is null and o.start_version is not null))
        order by o.id = r.id desc, o.started_at, o.id limit 1
    ) root on true
)
select
    r.id as conversation_run_id, null::uuid as span_id, null::uuid as message_id, v.field, v.stored, v.derived,
    case when v.derived is null then 'no span or message tells it' else 'the spans and messages of the run tell otherwise' end as cause
from sums s
join run r on r.id = s.id
cross join lateral (
    values
        ('total_messages', r.total_messages::text, s.messages::text, true),
        ('total_input_tokens', r.total_input_tokens::text, s.input_tokens::text, true),
        ('total_output_tokens', r.total_output_tokens::text, s.output_tokens::text, true),
        ('total_tokens_used', r.total_tokens_used::text, s.total_tokens::text, true),
        ('total_cost', trim_scale(r.total_cost)::text, trim_scale(s.cost)::text, true),
        ('average_response_time', trim_scale(r.average_response_time)::text, trim_scale(s.response_time)::text, true),
        ('unpriced_calls', r.unpriced_calls::text, s.unpriced::text, false),
        ('unmeasured_calls', r.unmeasured_calls::text, s.unmeasured::text, false),
        ('status', r.status, s.status, false),
        ('merged', r.merged::text, s.merged::text, false)
) v (field, stored, derived, is_total)
where v.stored is distinct from v.derived and not (s.by_hand and v.is_total)

-- analytics --
-- Error and retry counts derived again (a failure that was passed up through its parents counts once), and the scores that
-- nobody set by hand.
with failed as (
    select
        s.conversation_run_id as run_id,
        count(*) filter (where s.status = 'failed' and below.parent_span_id is null) as errors,
        count(*) filter (where s.metadata ? 'retry_attempt') as retries
    from public.conversation_spans s
    left join (
        select distinct c.conversation_run_id, c.parent_span_id from public.conversation_spans c
        where c.conversation_run_id between %(low)s and %(high)s and c.status = 'failed' and c.parent_span_id is not null
    ) below on below.conversation_run_id = s.conversation_run_id and below.parent_span_id = s.id
    where s.conversation_run_id between %(low)s and %(high)s and (s.status = 'failed' or s.metadata ? 'retry_attempt')
    group by s.conversation_run_id
), asked as (
    select m.conversation_run_id as run_id, count(*) filter (where m.role = 'user' and not m.is_internal) as messages
    from public.conversation_messages m
    where m.conversation_run_id between %(low)s and %(high)s
    group by m.conversation_run_id
)
select
    a.conversation_run_id, null::uuid as span_id, null::uuid as message_id, v.field, trim_scale(v.stored)::text as stored,
    trim_scale(v.derived)::text as derived, 'the run''s spans, messages and feedback tell otherwise' as cause
from public.conversation_analytics a
join public.conversation_runs r on r.id = a.conversation_run_id
left join failed f on f.run_id = a.conversation_run_id
left join asked q on q.run_id = a.conversation_run_id
cross join lateral (
    select round((coalesce(l.feedback, l.work) + coalesce(l.work, l.feedback)) / 2, 2) as quality
    from (
        select
            (r.user_satisfaction_score - 1) / 4 * 100 as feedback,
            case when r.status <> 'active' then greatest(0, 100 - coalesce(f.errors, 0) * 25 - coalesce(f.retries, 0) * 10) end as work
    ) l
) w
cross join lateral (
    values
        ('error_count', a.error_count::numeric, coalesce(f.errors, 0)::numeric),
        ('retry_count', a.retry_count, coalesce(f.retries, 0)),
        ('completion_rate', a.completion_rate, case when r.status = 'completed' then 100 when r.status in ('failed', 'abandoned') then 0 end),
        ('user_engagement_score', a.user_engagement_score, case when q.messages >= 10 then 100 else q.messages * 10 end),
        ('conversation_quality_score', a.conversation_quality_score, w.quality)
) v (field, stored, derived)
where a.conversation_run_id between %(low)s and %(high)s and v.stored is distinct from v.derived
    and v.field <> all (a.scores_by_hand)
    and exists (select 1 from public.conversation_spans s where s.conversation_run_id = a.conversation_run_id)

-- usage --
-- What each run contributes to the usage roll-ups, derived again from its calls and messages.
with run as (
    select
        r.id, r.tenant_id, r.user_id, coalesce(r.started_at, r.created_at) as began_at, r.total_input_tokens, r.total_output_tokens,
        r.total_tokens_used, r.total_cost, s.id is null and r.totals_by_hand as by_hand
    from public.conversation_runs r
    left join lateral (select c.id from public.conversation_spans c where c.conversation_run_id = r.id limit 1) s on true
    where r.id between %(low)s and %(high)s and not r.merged
), fact (run_id, used_at, provider, model, field, value) as (
    select s.conversation_run_id, coalesce(s.started_at, s.ended_at, s.created_at), s.provider, coalesce(s.model, s.model_requested), v.field, v.value
    from public.conversation_spans s
    cross join lateral (
        select (s.status <> 'failed' or s.time_to_first_token_ms is not null) and s.ended_at is not null as charged,
            coalesce(s.cost between 0 and 1e12, false) as priced, coalesce(s.total_tokens between 0 and 1e15, false) as measured,
            coalesce(s.response_time_ms between 0 and 9999999999, false) as timed
    ) c
    cross join lateral (
        values
            ('calls', 1, 1), ('failed_calls', (s.status = 'failed')::integer, 1), ('input_tokens', s.input_tokens, 1e15),
            ('output_tokens', s.output_tokens, 1e15), ('total_tokens', s.total_tokens, 1e15),
            ('cache_read_tokens', s.cache_read_tokens, 1e15), ('cache_write_tokens', s.cache_write_tokens, 1e15),
            ('reasoning_tokens', s.reasoning_tokens, 1e15), ('total_cost', s.cost, 1e12),
            ('unpriced_calls', (c.charged and not c.priced)::integer, 1), ('unmeasured_calls', (c.charged and not c.measured)::integer, 1),
            ('response_time_ms', s.response_time_ms, 9999999999), ('timed_calls', c.timed::integer, 1)
    ) v (field, value, most)
    where s.conversation_run_id between %(low)s and %(high)s and s.kind in ('llm', 'embedding', 'image') and s.duplicate_of is null
        and s.status <> 'active' and v.value between 0 and v.most
    union all
    select m.conversation_run_id, m.created_at, m.provider, m.model, v.field, v.value
    from public.conversation_messages m
    join run r on r.id = m.conversation_run_id
    cross join lateral (
        select not m.is_history and m.span_id is null as by_hand, m.role = 'assistant' as said,
            m.role = 'assistant' and (m.provider is not null or m.model is not null) as is_call
    ) c
    cross join lateral (
        values
            ('messages', (not m.is_internal)::integer), ('user_messages', (m.role = 'user' and not m.is_internal)::integer),
            ('assistant_messages', (c.said and not m.is_internal)::integer), ('calls', (c.by_hand and c.is_call)::integer),
            ('input_tokens', case when c.by_hand and not r.by_hand and not c.said then m.token_count end),
            ('output_tokens', case when c.by_hand and not r.by_hand and c.said then m.token_count end),
            ('total_tokens', case when c.by_hand and not r.by_hand then m.token_count end),
            ('total_cost', case when c.by_hand and not r.by_hand then m.cost end),
            ('unpriced_calls', (c.by_hand and not r.by_hand and c.is_call and m.cost is null)::integer),
            ('unmeasured_calls', (c.by_hand and not r.by_hand and c.is_call and m.token_count is null)::integer),
            ('response_time_ms', case when c.by_hand and not r.by_hand then m.response_time_ms end),
            ('timed_calls', (c.by_hand and not r.by_hand and m.response_time_ms is not null)::integer)
    ) v (field, value)
    where m.conversation_run_id between %(low)s and %(high)s and v.value is not null
    union all
    select r.id, r.began_at, null, null, v.field, v.value
    from run r
    cross join lateral (
        values ('input_tokens', r.total_input_tokens::numeric), ('output_tokens', r.total_output_tokens),
            ('total_tokens', r.total_tokens_used), ('total_cost', r.total_cost)
    ) v (field, value)
    where r.by_hand and v.value is not null
), both_sides (run_id, day, tenant_id, user_id, provider, model, field, stored, derived) as (
    select
        r.id, (greatest(least(f.used_at, '9999-12-31Z'), '0001-01-01Z') at time zone 'UTC')::date, r.tenant_id, r.user_id,
        f.provider, f.model, f.field, null::numeric, f.value
    from fact f
    join run r on r.id = f.run_id
    union all
    select c.owner_id, c.day, c.tenant_id, c.user_id, c.provider, c.model, e.key, e.value::numeric, null
    from public.usage_contributions c
    cross join lateral jsonb_each_text(
        to_jsonb(c) - array['owner_id', 'key', 'day', 'tenant_id', 'user_id', 'provider', 'model']
    ) e
    where c.owner_id between %(low)s and %(high)s and e.value is not null
        and exists (select 1 from public.conversation_runs r where r.id = c.owner_id)
), compared as (
    select b.run_id, b.day, b.tenant_id, b.user_id, b.provider, b.model, b.field, sum(b.stored) as stored, sum(b.derived) as derived
    from both_sides b
    group by 1, 2, 3, 4, 5, 6, 7
)
select
    c.run_id as conversation_run_id, null::uuid as span_id, null::uuid as message_id, c.field, trim_scale(c.stored)::text as stored,
    trim_scale(c.derived)::text as derived,
    'its usage says otherwise (' || concat_ws(', ', c.day, c.tenant_id, c.user_id, c.provider, c.model) || '): select rebuild_usage()' as cause
from compared c
-- A count that is 0 may have no row.
where case when c.field in ('calls', 'failed_calls', 'unpriced_calls', 'unmeasured_calls', 'timed_calls', 'messages', 'user_messages', 'assistant_messages')
    then coalesce(c.stored, 0) <> coalesce(c.derived, 0) else c.stored is distinct from c.derived end

-- sessions --
-- Every run of a session has the session's row.
select
    r.id as conversation_run_id, null::uuid as span_id, null::uuid as message_id, 'session_key' as field,
    r.session_key::text as stored, null::text as derived, 'no row of conversation_sessions has this session_key' as cause
from public.conversation_runs r
where r.id between %(low)s and %(high)s and r.session_id is not null and not r.merged
    and not exists (select 1 from public.conversation_sessions s where s.session_key = r.session_key)

-- usage_sums --
-- The usage roll-ups against the sums of what they are made of; contributions of what is not stored; messages outside a run.
with wrong_metrics as (
    (select to_jsonb(m) as stored, null::jsonb as derived, m.day, m.tenant_id, m.user_id, m.provider, m.model from (
        select key, day, tenant_id, user_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages from public.usage_metrics except select key, day, tenant_id, user_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages from public.usage_sums
    ) m)
    union all
    (select null, to_jsonb(m), m.day, m.tenant_id, m.user_id, m.provider, m.model from (
        select key, day, tenant_id, user_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages from public.usage_sums except select key, day, tenant_id, user_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages from public.usage_metrics
    ) m)
), wrong_totals as (
    (select to_jsonb(t) as stored, null::jsonb as derived, t.day, t.tenant_id, null::text as user_id, t.provider, t.model from (
        select key, day, tenant_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages from public.usage_totals except select key, day, tenant_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages from public.usage_total_sums
    ) t)
    union all
    (select null, to_jsonb(t), t.day, t.tenant_id, null, t.provider, t.model from (
        select key, day, tenant_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages from public.usage_total_sums except select key, day, tenant_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages from public.usage_totals
    ) t)
), wrong (name, place, stored, derived) as (
    select 'usage_metrics', concat_ws(', ', w.day, w.tenant_id, w.user_id, w.provider, w.model), max(w.stored::text)::jsonb, max(w.derived::text)::jsonb
    from wrong_metrics w
    group by w.day, w.tenant_id, w.user_id, w.provider, w.model
    union all
    select 'usage_totals', concat_ws(', ', w.day, w.tenant_id, w.provider, w.model), max(w.stored::text)::jsonb, max(w.derived::text)::jsonb
    from wrong_totals w
    group by w.day, w.tenant_id, w.provider, w.model
)
select
    null::uuid as conversation_run_id, null::uuid as span_id, null::uuid as message_id, w.name || '.' || e.key as field,
    w.stored ->> e.key as stored, w.derived ->> e.key as derived,
    'what the roll-up is made of sums to otherwise (' || w.place || '): select rebuild_usage()' as cause
from wrong w
cross join lateral (
    select coalesce(a.key, b.key) as key
    from jsonb_each(w.stored) a
    full join jsonb_each(w.derived) b on b.key = a.key
    where a.value is distinct from b.value and coalesce(a.key, b.key) <> all (array['day', 'tenant_id', 'user_id', 'provider', 'model'])
) e
union all
select
    null, null, null, 'usage_contributions.owner_id', c.owner_id::text, null,
    'neither a run nor a message of that id is stored: select rebuild_usage()'
from public.usage_contributions c
where not exists (select 1 from public.conversation_runs r where r.id = c.owner_id)
    and not exists (select 1 from public.conversation_messages m where m.id = c.owner_id and m.conversation_run_id is null)
union all
select
    null, null, m.id, 'usage_contributions.' || v.field, trim_scale(v.stored)::text, trim_scale(v.derived)::text,
    'what the message, which is in no run, contributes is not this: select rebuild_usage()'
from public.conversation_messages m
left join public.usage_contributions c on c.owner_id = m.id
cross join lateral (
    values
        ('messages', c.messages::numeric, (not m.is_internal)::integer::numeric), ('total_tokens', c.total_tokens, m.token_count),
        ('total_cost', c.total_cost, m.cost)
) v (field, stored, derived)
where m.conversation_run_id is null and v.stored is distinct from v.derived

-- message_costs --
-- A call's cost stands on its first output message; together its messages carry what the call carries. Where several
-- told of the call, the messages of all of them are the call's.
select
    s.conversation_run_id, s.id as span_id, null::uuid as message_id, 'cost' as field, trim_scale(m.cost)::text as stored,
    trim_scale(s.cost)::text as derived, 'the messages of the call do not carry its cost' as cause
from (
    -- Where the first output's cost is unknown, the others' 0 does not make a sum.
    select
        c.conversation_run_id, coalesce(t.duplicate_of, t.id) as call_id,
        case when not bool_or(c.cost is null and c.version is not null) then sum(c.cost) end as cost
    from public.conversation_messages c
    join public.conversation_spans t on t.id = c.span_id
    where c.conversation_run_id between %(low)s and %(high)s and c.role = 'assistant' and not c.is_history
    group by c.conversation_run_id, coalesce(t.duplicate_of, t.id)
) m
join public.conversation_spans s on s.id = m.call_id
where s.kind = 'llm' and s.ended_at is not null and s.duplicate_of is null
    and m.cost is distinct from case when s.conversation_run_id = m.conversation_run_id then s.cost else 0 end

-- message_sizes --
-- The first output message of a call has its output tokens. Where another end told that message, the one that stands says no more.
select
    s.conversation_run_id, s.id as span_id, m.id as message_id, 'token_count' as field, m.token_count::text as stored,
    s.output_tokens::text as derived, 'the message does not carry the output tokens of its call' as cause
from public.conversation_messages m
join public.conversation_spans s on s.id = m.span_id and s.end_version = m.version
where m.conversation_run_id between %(low)s and %(high)s and m.role = 'assistant' and m.position = 0
    and s.kind = 'llm' and s.duplicate_of is null and m.token_count is distinct from s.output_tokens
    and coalesce(s.output_tokens, 0) between 0 and 2147483647

-- duplicates --
-- Calls that were told of twice and count twice, or are called so without cause: by the same response id, by nesting, and
-- by what they name and carry. Twins without an id are not derived again.
with call as (
    select
        s.*, coalesce(s.instrumentor, s.source) as told_by, coalesce(s.duplicate_of, s.id) as call_id, r.tenant_id,
        coalesce(s.usage_details @> '{"cache_hit": true}', false) as cache_hit
    from public.conversation_spans s
    join public.conversation_runs r on r.id = s.conversation_run_id
    where s.conversation_run_id between %(low)s and %(high)s and s.kind in ('llm', 'embedding', 'image')
), nested as (
    select n.outer_id, count(*) filter (where i.status <> 'failed') as calls, count(*) as tries
    from public.chopsky_nested_calls(array(
        select distinct c.conversation_run_id
        from call c
        join public.conversation_spans b on b.conversation_run_id = c.conversation_run_id and b.parent_span_id = c.id
    )) n
    join call i on i.id = n.id
    group by n.outer_id
), found (run_id, id, field, stored, derived, cause) as (
    select c.conversation_run_id, c.id, 'duplicate_of', c.duplicate_of::text, least(o.id, c.id)::text, o.told_by || ' told of the same response'
    from call c
    cross join lateral (
        select s.id, coalesce(s.instrumentor, s.source) as told_by
        from public.conversation_spans s
        join public.conversation_runs r on r.id = s.conversation_run_id
        where hashtextextended(s.response_id, 0) = hashtextextended(c.response_id, 0) and s.response_id = c.response_id
            and s.id <> c.id and s.kind = c.kind and coalesce(s.instrumentor, s.source) <> c.told_by
            and r.tenant_id is not distinct from c.tenant_id and s.start_version is not null
            and s.started_at <= c.ended_at and c.started_at <= s.ended_at
            and not coalesce(s.usage_details @> '{"cache_hit": true}', false)
            and coalesce(s.duplicate_of, s.id) <> c.call_id
            -- Each may have a partner already.
            and not exists (
                select 1
                from public.conversation_spans m
                join public.conversation_spans n on coalesce(n.instrumentor, n.source) = coalesce(m.instrumentor, m.source)
                where (m.id = coalesce(s.duplicate_of, s.id) or m.duplicate_of = coalesce(s.duplicate_of, s.id))
                    and (n.id = c.call_id or n.duplicate_of = c.call_id)
            )
        limit 1
    ) o
    where c.response_id is not null and c.start_version is not null and not c.cache_hit
    union all
    select c.conversation_run_id, c.id, 'duplicate_of', null, null,
        case when n.calls > 1 then 'it sums the calls below it, and counts beside them'
            else 'the call below it is the same, and counts beside it' end
    from nested n
    join call c on c.id = n.outer_id
    where case when n.calls > 1 or (n.calls = 0 and n.tries > 1) then c.duplicate_of is null else not exists (
        select 1
        from public.chopsky_nested_calls(array[c.conversation_run_id]) b
        join call i on i.id = b.id
        where b.outer_id = c.id and i.call_id = c.call_id
    ) end
    union all
    select c.conversation_run_id, c.id, 'duplicate_of', c.duplicate_of::text, null,
        case when o.id is null then 'what it is a duplicate of is not stored' else 'what it is a duplicate of is itself one' end
    from call c
    left join public.conversation_spans o on o.id = c.duplicate_of
    where c.duplicate_of is not null and (o.id is null or o.duplicate_of is not null)
    union all
    select c.conversation_run_id, c.id, v.field, v.stored, null, 'a duplicate has none'
    from call c
    cross join lateral (values ('total_tokens', c.total_tokens::text), ('input_tokens', c.input_tokens::text), ('output_tokens', c.output_tokens::text), ('cost', c.cost::text)) v (field, stored)
    where c.duplicate_of is not null and v.stored is not null
    union all
    -- The one whose usage the owner has; and whether another told more.
    select c.conversation_run_id, c.id, v.field, v.stored, v.derived, 'the best that was told of the call is another'
    from call c
    join public.conversation_spans b on b.id = (c.told ->> 'usage_of')::uuid
    cross join lateral (
        values
            ('input_tokens', c.input_tokens::text, b.told ->> 'input_tokens'), ('output_tokens', c.output_tokens::text, b.told ->> 'output_tokens'),
            ('total_tokens', c.total_tokens::text, b.told ->> 'total_tokens'),
            ('cost', trim_scale(c.cost)::text, trim_scale((b.told ->> 'cost')::numeric)::text)
    ) v (field, stored, derived)
    where c.duplicate_of is null and v.stored is distinct from v.derived
    union all
    select c.conversation_run_id, c.id, 'total_tokens', null, m.told ->> 'total_tokens', 'another told how many the call used'
    from call c
    join public.conversation_spans m on m.duplicate_of = c.id and m.told ->> 'total_tokens' is not null
    where c.duplicate_of is null and c.total_tokens is null and not exists (
        -- What a sum of calls told is not the call's.
        select 1 from nested n where n.outer_id = m.id and n.calls > 1
    )
)
select f.run_id as conversation_run_id, f.id as span_id, null::uuid as message_id, f.field, f.stored, f.derived, f.cause
from found f
join public.conversation_runs r on r.id = f.run_id
where r.status <> 'active' or r.updated_at < now() - %(patience)s::interval

-- parts --
-- A whole includes its parts, and no count is negative. What a provider reported is stored as it was.
select
    s.conversation_run_id, s.id as span_id, null::uuid as message_id, v.field, v.part::text as stored, v.whole::text as derived,
    v.cause || coalesce(' (' || coalesce(s.provider || ' ', '') || coalesce(s.model, s.model_requested) || ')', '') as cause
from public.conversation_spans s
cross join lateral (
    values
        ('cache tokens', coalesce(s.cache_read_tokens, 0) + coalesce(s.cache_write_tokens, 0), s.input_tokens, 'cached tokens exceed the input tokens that include them'),
        ('reasoning_tokens', s.reasoning_tokens, s.output_tokens, 'reasoning tokens exceed the output tokens that include them'),
        ('audio_tokens', s.audio_tokens, s.input_tokens + s.output_tokens, 'audio tokens exceed the tokens that include them'),
        ('total_tokens', s.input_tokens + s.output_tokens, s.total_tokens, 'input and output exceed the total'),
        ('tokens', 0::bigint, least(
            s.input_tokens, s.output_tokens, s.total_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens, s.audio_tokens
        ), 'a count is negative')
) v (field, part, whole, cause)
where s.conversation_run_id between %(low)s and %(high)s and v.part > v.whole

-- ends_without_start --
-- An end whose start never came: its name, parent and inputs are unknown. Runs under way may still be on their way in.
select
    s.conversation_run_id, s.id as span_id, null::uuid as message_id, 'start_version' as field, null::text as stored, null::text as derived,
    'its end arrived, its start did not' as cause
from public.conversation_spans s
join public.conversation_runs r on r.id = s.conversation_run_id
where s.conversation_run_id between %(low)s and %(high)s and s.start_version is null and s.end_version is not null
    and (r.status <> 'active' or r.updated_at < now() - %(patience)s::interval)

-- active_too_long --
-- Spans without an end in runs that have had no news for so long; a writer marks them abandoned when it next looks.
select
    s.conversation_run_id, s.id as span_id, null::uuid as message_id, 'status' as field, s.status as stored, 'abandoned' as derived,
    'no end since ' || to_char(coalesce(s.started_at, s.created_at) at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC' as cause
from public.conversation_spans s
where s.conversation_run_id between %(low)s and %(high)s and s.status = 'active' and s.end_version is null
    and s.created_at < now() - %(patience)s::interval
    and not exists (
        select 1 from public.conversation_spans n
        where n.conversation_run_id = s.conversation_run_id and n.created_at >= now() - %(patience)s::interval
    )

-- orphans --
-- A parent that is not stored. It is external, and no orphan, where the run's own root is not stored either (then the
-- trace began outside the mirror) or where the span is the root. A parent in another run is always wrong.
select
    s.conversation_run_id, s.id as span_id, null::uuid as message_id, 'parent_span_id' as field, s.parent_span_id::text as stored,
    null::text as derived,
    case when p.id is null then 'its parent is not stored, although the root of its run is'
        else 'its parent belongs to run ' || p.conversation_run_id end as cause
from public.conversation_spans s
join public.conversation_runs r on r.id = s.conversation_run_id
left join public.conversation_spans p on p.id = s.parent_span_id
where s.conversation_run_id between %(low)s and %(high)s and s.parent_span_id is not null and s.id <> s.conversation_run_id
    and (
        (p.id is null and exists (select 1 from public.conversation_spans o where o.id = s.conversation_run_id))
        or p.conversation_run_id <> s.conversation_run_id
    )
    and (r.status <> 'active' or r.updated_at < now() - %(patience)s::interval)

-- sequences --
-- A run's messages are numbered from 1 without a gap, by (created_at, position, id).
select
    o.conversation_run_id, null::uuid as span_id, o.id as message_id, 'sequence' as field, o.sequence::text as stored,
    o.place::text as derived, 'the messages before it are ' || (o.place - 1) as cause
from (
    select
        m.id, m.conversation_run_id, m.sequence,
        row_number() over (partition by m.conversation_run_id order by m.created_at, m.position, m.id) as place
    from public.conversation_messages m
    where m.conversation_run_id between %(low)s and %(high)s
) o
where o.sequence is distinct from o.place

-- prompts --
-- Prompts that cannot be put together again. Chains are followed forward from the full lists, for all calls of the
-- batch at once; only what that does not reach is asked of chopsky_prompt_bodies, one by one.
with recursive node (top, id, extends, length, own) as (
    -- The rows of conversation_prefixes, always a shorter one: no ring.
    select p.id, p.id, p.extends, p.length, cardinality(p.bodies)
    from public.conversation_prefixes p
    where p.id in (
        select s.prompt_prefix from public.conversation_spans s
        where s.conversation_run_id between %(low)s and %(high)s and s.prompt_prefix is not null
    )
    union all
    select n.top, p.id, p.extends, p.length, cardinality(p.bodies)
    from node n
    join public.conversation_prefixes p on p.id = n.extends and p.length < n.length
), prefix as materialized (
    select n.top as id, max(n.length) as length from node n group by n.top having sum(n.own) = max(n.length)
), call as materialized (
    -- own: NULL where what the prompt begins with is not all there.
    select
        s.id, s.conversation_run_id, s.prompt_extends, coalesce(s.prompt_take, 0) as take, s.prompt_prefix,
        cardinality(s.prompt_bodies) + case when s.prompt_prefix is null then 0 else x.length end as own,
        coalesce(cardinality(s.output_bodies), 0) as out
    from public.conversation_spans s
    left join prefix x on x.id = s.prompt_prefix
    where s.conversation_run_id between %(low)s and %(high)s and s.prompt_bodies is not null
), chain (id, length, depth) as (
    select c.id, c.own + c.out, 1 from call c where c.prompt_extends is null and c.own is not null
    union all
    select c.id, c.take + c.own + c.out, p.depth + 1
    from chain p
    join call c on c.prompt_extends = p.id
    where c.take <= p.length and c.own is not null and p.depth < 80
), unreached as materialized (
    select c.* from call c where not exists (select 1 from chain p where p.id = c.id)
)
select
    u.conversation_run_id, u.id as span_id, null::uuid as message_id, 'prompt' as field, u.prompt_extends::text as stored, null::text as derived,
    case
        when u.own is null then 'what it begins with is not all stored'
        when p.id is null then 'the call it extends is not stored'
        when p.prompt_bodies is null then 'the call it extends has no prompt'
        when coalesce(p.prompt_take, 0) + case when p.prompt_prefix is null then 0 else x.length end + cardinality(p.prompt_bodies)
                + coalesce(cardinality(p.output_bodies), 0) < u.take
            then 'the call it extends has fewer messages than it takes'
        else 'a call before it cannot be rebuilt, or the chain is a ring or too long'
    end as cause
from unreached u
left join public.conversation_spans p on p.id = u.prompt_extends
left join public.conversation_prefixes x on x.id = p.prompt_prefix
where public.chopsky_prompt_bodies(u.id) is null

-- references --
-- What a prompt, an output, a payload, a message or a document refers to and that is nowhere stored, or was cleared.
-- An object is a reference where it has exactly these keys and uuids: payloads may hold others that only look so.
with recursive payload (run_id, span_id, message_id, field, value) as (
    select s.conversation_run_id, s.id, null::uuid, p.field, p.value
    from public.conversation_spans s
    cross join lateral (
        values ('inputs', s.inputs), ('outputs', s.outputs), ('invocation_params', s.invocation_params),
            ('metadata', s.metadata), ('end_metadata', s.end_metadata)
    ) p (field, value)
    where s.conversation_run_id between %(low)s and %(high)s and p.value is not null
    union all
    select m.conversation_run_id, null, m.id, p.field, p.value
    from public.conversation_messages m
    cross join lateral (values ('parts', m.parts), ('tool_calls', m.tool_calls)) p (field, value)
    where m.conversation_run_id between %(low)s and %(high)s and p.value is not null
    union all
    select c.conversation_run_id, null, null, 'document ' || c.id, c.document
    from public.conversation_contents c
    where c.conversation_run_id between %(low)s and %(high)s and c.document is not null
), held as materialized (
    select distinct p.run_id, p.span_id, p.message_id, p.field, k.name, v.value
    from payload p
    -- strict: each object once, also where arrays are on the way to it.
    cross join lateral jsonb_path_query(
        p.value,
        'strict $.** ? (@.type() == "object") ? (exists (@."$message") || exists (@."$messages") || exists (@."$text") || exists (@."$document") || exists (@."$media") || exists (@."$content"))'
    ) v (value)
    cross join (
        values ('$message', '{$message}'::text[]), ('$messages', '{$messages,$of,$prefix}'), ('$text', '{$text}'),
            ('$document', '{$document}'), ('$content', '{$content}'), ('$media', '{$media,media_type,size_bytes,prefix}')
    ) k (name, keys)
    where v.value ? k.name and v.value - k.keys = '{}'
), listed as (
    select
        h.run_id, h.span_id, h.message_id, h.field, h.name, i.value #>> '{}' as id,
        jsonb_typeof(i.value) = 'string' and (i.value #>> '{}') ~ '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' as is_id
    from held h
    cross join lateral jsonb_array_elements(case
        when h.name <> '$messages' then jsonb_build_array(h.value -> h.name)
        when jsonb_typeof(h.value -> '$messages') = 'array' then h.value -> '$messages'
        else '[]' end) i (value)
), begun as materialized (
    -- What begins with a prefix.
    select s.conversation_run_id as run_id, s.id as span_id, null::uuid as message_id, 'prompt' as field, 'prompt' as name,
        s.prompt_prefix as prefix
    from public.conversation_spans s
    where s.conversation_run_id between %(low)s and %(high)s and s.prompt_prefix is not null
    union
    select h.run_id, h.span_id, h.message_id, h.field, h.name, case when f.is_id then (h.value ->> '$prefix')::uuid end
    from held h
    cross join lateral (select h.value ->> '$prefix' ~ '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' as is_id) f
    where h.name = '$messages' and f.is_id
), node (top, id, extends, length, own) as (
    -- The rows of conversation_prefixes, always a shorter one: no ring.
    select p.id, p.id, p.extends, p.length, cardinality(p.bodies)
    from public.conversation_prefixes p
    where p.id in (select b.prefix from begun b)
    union all
    select n.top, p.id, p.extends, p.length, cardinality(p.bodies)
    from node n
    join public.conversation_prefixes p on p.id = n.extends and p.length < n.length
), prefix as materialized (
    select n.top as id, max(n.length) as length from node n group by n.top having sum(n.own) = max(n.length)
), unsaid as materialized (
    select n.id, b.body_id
    from (select distinct n.id from node n) n
    join public.conversation_prefixes p on p.id = n.id
    cross join lateral unnest(p.bodies) b (body_id)
    where not exists (
        select 1 from public.conversation_messages m
        where m.body_id = b.body_id and (m.content is not null or m.parts is not null or m.tool_calls is not null)
    )
), wanted as materialized (
    select l.run_id, l.span_id, l.message_id, l.field, l.name, case when l.is_id then l.id::uuid end as id
    from listed l where l.is_id
    union
    select s.conversation_run_id, s.id, null, 'prompt', 'prompt', unnest(s.prompt_bodies)
    from public.conversation_spans s
    where s.conversation_run_id between %(low)s and %(high)s
    union
    -- Of prefixes only what is missing: every turn of a session repeats them.
    select b.run_id, b.span_id, b.message_id, b.field, b.name, u.body_id
    from begun b
    join node n on n.top = b.prefix
    join unsaid u on u.id = n.id
    union
    select s.conversation_run_id, s.id, null, 'output', 'output', unnest(s.output_bodies)
    from public.conversation_spans s
    where s.conversation_run_id between %(low)s and %(high)s
), stretch as materialized (
    select
        h.run_id, h.span_id, h.message_id, h.field, case when f.is_stretch then (h.value #>> '{$of,0}')::uuid end as of,
        case when f.is_stretch then (h.value #>> '{$of,2}')::integer end as upto
    from held h
    cross join lateral (
        select h.name = '$messages' and jsonb_typeof(h.value -> '$of') = 'array' and jsonb_array_length(
                case when jsonb_typeof(h.value -> '$of') = 'array' then h.value -> '$of' else '[]' end
            ) = 3
            and (h.value #>> '{$of,0}') ~ '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$'
            and (h.value #>> '{$of,1}') ~ '^[0-9]{1,9}$' and (h.value #>> '{$of,2}') ~ '^[0-9]{1,9}$' as is_stretch
    ) f
    where f.is_stretch
), call as materialized (
    select
        s.id, s.prompt_extends, coalesce(s.prompt_take, 0) as take,
        cardinality(s.prompt_bodies) + case when s.prompt_prefix is null then 0 else x.length end
            + coalesce(cardinality(s.output_bodies), 0) as own
    from public.conversation_spans s
    left join prefix x on x.id = s.prompt_prefix
    where s.conversation_run_id between %(low)s and %(high)s and s.prompt_bodies is not null
        and exists (select 1 from stretch)
), chain (id, length, depth) as (
    -- As in prompts: whose chain is whole, for all calls at once.
    select c.id, c.own, 1 from call c where c.prompt_extends is null and c.own is not null
    union all
    select c.id, c.take + c.own, p.depth + 1
    from chain p
    join call c on c.prompt_extends = p.id
    where c.take <= p.length and c.own is not null and p.depth < 80
), dangling as (
    select
        w.run_id, w.span_id, w.message_id, w.field, w.name, w.id,
        case when exists (select 1 from public.conversation_messages m where m.body_id = w.id)
            then 'the message with this body_id has no content any more' else 'no message with this body_id is stored' end as cause
    from wanted w
    where w.name in ('prompt', 'output', '$message', '$messages', '$content') and not exists (
        select 1 from public.conversation_messages m
        where m.body_id = w.id and (m.content is not null or m.parts is not null or m.tool_calls is not null)
    )
    union all
    select
        w.run_id, w.span_id, w.message_id, w.field, w.name, w.id,
        case when c.id is null then 'its run has no content with this id' else 'the content with this id is empty or of another kind' end
    from wanted w
    left join lateral public.chopsky_content(w.run_id, w.id) c on true
    where w.name in ('$text', '$document', '$media')
        -- Media whose bytes were not kept are no exception: the reference says what they were.
        and (c.id is null or '$' || c.kind <> w.name or (c.kind = 'text' and c.text is null) or (c.kind = 'document' and c.document is null))
    union all
    select b.run_id, b.span_id, b.message_id, b.field, '$prefix', b.prefix, 'what the list begins with is not all stored'
    from begun b
    where not exists (select 1 from prefix x where x.id = b.prefix)
    union all
    select
        t.run_id, t.span_id, t.message_id, t.field, '$of', t.of,
        case when s.id is null then 'the call that it is a stretch of is not stored'
            else 'the prompt and output of the call have fewer messages, or cannot be rebuilt' end
    from stretch t
    left join chain c on c.id = t.of and c.length >= t.upto
    left join public.conversation_spans s on s.id = t.of
    left join lateral (select public.chopsky_prompt_bodies(t.of) as bodies) p on c.id is null
    where c.id is null and (
        p.bodies is null or cardinality(p.bodies) + coalesce(cardinality(s.output_bodies), 0) < t.upto
    )
)
select
    d.run_id as conversation_run_id, d.span_id, d.message_id, d.field, d.id::text as stored, null::text as derived,
    case when d.name like '$%%' then d.name || ': ' else '' end || d.cause as cause, d.name as reference
from dangling d
join public.conversation_runs r on r.id = d.run_id
where r.status <> 'active' or r.updated_at < now() - %(patience)s::interval

-- counts --
-- How much of the mirror this batch was.
select
    (select count(*) from public.conversation_spans s where s.conversation_run_id between %(low)s and %(high)s) as spans,
    (select count(*) from public.conversation_messages m where m.conversation_run_id between %(low)s and %(high)s) as messages,
    (
        select count(*) from public.conversation_spans s
        where s.conversation_run_id between %(low)s and %(high)s and s.prompt_bodies is not null
    ) as prompts
