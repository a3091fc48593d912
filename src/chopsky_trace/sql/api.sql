-- list own_run_columns --
-- Of a run, what a signed-in user may read.
r.id, r.name, r.tenant_id, r.user_id, r.session_id, r.status, r.total_messages, r.average_response_time,
r.user_satisfaction_score, r.started_at, r.ended_at, r.created_at, r.updated_at

-- list said_columns --
-- Of a message, what a signed-in user may read, but for its id and its run.
m.session_id, m.tenant_id, m.user_id, m.sequence, m.role, m.content, m.parts, m.name,
m.is_internal, m.response_time_ms, m.action_taken, m.questions_asked, m.created_at

-- list inner_columns --
-- The same of a run's messages, with their ids.
i.id, i.session_id, i.tenant_id, i.user_id, i.sequence, i.role, i.content, i.parts, i.name, i.is_internal,
i.response_time_ms, i.action_taken, i.questions_asked, i.created_at

-- conversations --
-- One page of sessions, the latest active first. Like all that is not named otherwise here, it asks for no column that a
-- signed-in user may not read: row level security decides which rows there are.
select
    s.id, s.session_id, s.session_key, s.project, s.tenant_id, s.user_id, s.title, s.is_archived, s.state, s.expires_at,
    s.created_at, s.updated_at, s.last_activity_at, s.completed_at
from public.conversation_sessions s
where (%(user_id)s::text is null or s.user_id = %(user_id)s)
    and (%(tenant_id)s::text is null or s.tenant_id = %(tenant_id)s)
    and (%(project)s::text is null or s.project = %(project)s)
    and (%(state)s::text is null or s.state = %(state)s)
    and (%(archived)s::boolean is null or s.is_archived = %(archived)s)
    and (%(since)s::timestamptz is null or s.last_activity_at >= %(since)s)
    and (%(after)s::uuid is null or (s.last_activity_at, s.id) < (%(after_at)s::timestamptz, %(after)s::uuid))
order by s.last_activity_at desc, s.id desc
limit %(limit)s

-- conversations_named --
-- The sessions that a name or an id stands for: an application's own name for it, its id, or its key.
select n.id
from (
    select s.id, s.user_id, s.tenant_id, s.project from public.conversation_sessions s where s.session_id = %(called)s
    union
    select s.id, s.user_id, s.tenant_id, s.project from public.conversation_sessions s where s.id = %(id)s::uuid
    union
    select s.id, s.user_id, s.tenant_id, s.project from public.conversation_sessions s where s.session_key = %(id)s::uuid
) n
where (%(user_id)s::text is null or n.user_id = %(user_id)s)
    and (%(tenant_id)s::text is null or n.tenant_id = %(tenant_id)s)
    and (%(project)s::text is null or n.project = %(project)s)
order by n.id
limit 4

-- conversation --
-- One session with what its user works with.
select
    s.id, s.session_id, s.session_key, s.project, s.tenant_id, s.user_id, s.title, s.is_archived, s.state, s.parsed_intent,
    s.answered_questions, s.pending_questions, s.selected_kb_ids, s.active_task_plan_id, s.model_provider, s.model_name,
    s.temperature, s.max_tokens, s.document_chat, s.image_generation, s.web_search, s.expires_at, s.created_at, s.updated_at,
    s.last_activity_at, s.completed_at
from public.conversation_sessions s
where s.id = %(id)s

-- conversation_details --
-- What the application keeps to itself of a session. Not for a signed-in user.
select s.system_prompt, s.metadata, s.by_hand, s.driven_at, s.legal_hold
from public.conversation_sessions s
where s.id = %(id)s

-- conversation_totals --
-- Sums over sessions' runs, for who may read costs.
select
    t.id, t.total_runs, t.total_messages::bigint as total_messages, t.total_tokens_used::bigint as total_tokens_used, t.total_cost,
    t.average_response_time, t.unpriced_calls::bigint as unpriced_calls, t.unmeasured_calls::bigint as unmeasured_calls
from public.conversation_session_totals t
where t.id = any (%(ids)s::uuid[])

-- conversation_counts --
-- Those of the sums that a signed-in user may read.
select s.id, t.total_runs, t.total_messages, t.average_response_time
from public.conversation_sessions s
cross join lateral (
    select
        count(*) filter (where not o.is_message) as total_runs, coalesce(sum(o.messages), 0)::bigint as total_messages,
        round(avg(o.response_time), 3) as average_response_time
    from (
        select false as is_message, r.total_messages as messages, r.average_response_time as response_time
        from public.conversation_runs r where r.session_key = s.session_key and not r.merged
        union all
        select true, 1, m.response_time_ms
        from public.conversation_messages m
        where m.session_key = s.session_key and m.conversation_run_id is null and not m.is_internal
    ) o
) t
where s.id = any (%(ids)s::uuid[])

-- said_before --
-- A session's latest messages before a place in it, the latest first: its runs' and those of no run. A limit for each run too,
-- so that runs are taken one by one, and no more of them than the page needs.
select l.*
from (
    (
        select
            m.id, r.id as conversation_run_id, @said_columns@,
            coalesce(r.started_at, r.created_at) as began, r.id as run_place, coalesce(m.sequence, 2147483647) as place
        from public.conversation_runs r
        cross join lateral (
            select @inner_columns@
            from public.conversation_messages i
            where i.conversation_run_id = r.id and (%(internal)s or not i.is_internal)
                and (
                    r.id is distinct from %(run)s::uuid
                    or (coalesce(i.sequence, 2147483647), i.id) < (%(place)s::integer, %(id)s::uuid)
                )
            order by i.sequence desc nulls first, i.id desc
            limit %(limit)s
        ) m
        where r.session_key = %(session_key)s and not r.merged
            and (%(began)s::timestamptz is null or (coalesce(r.started_at, r.created_at), r.id) <= (%(began)s::timestamptz, %(run)s::uuid))
        order by coalesce(r.started_at, r.created_at) desc, r.id desc, m.sequence desc nulls first, m.id desc
        limit %(limit)s
    )
    union all
    (
        select
            m.id, m.conversation_run_id, @said_columns@,
            m.created_at, '00000000-0000-0000-0000-000000000000'::uuid, 0
        from public.conversation_messages m
        where m.session_key = %(session_key)s and m.conversation_run_id is null and (%(internal)s or not m.is_internal)
            and (
                %(began)s::timestamptz is null
                or (m.created_at, '00000000-0000-0000-0000-000000000000'::uuid, 0, m.id)
                    < (%(began)s::timestamptz, %(run)s::uuid, %(place)s::integer, %(id)s::uuid)
            )
        order by m.created_at desc, m.id desc
        limit %(limit)s
    )
) l
order by l.began desc, l.run_place desc, l.place desc, l.id desc
limit %(limit)s

-- said_after --
-- A session's messages after a place in it, the earliest first; as said_before.
select l.*
from (
    (
        select
            m.id, r.id as conversation_run_id, @said_columns@,
            coalesce(r.started_at, r.created_at) as began, r.id as run_place, coalesce(m.sequence, 2147483647) as place
        from public.conversation_runs r
        cross join lateral (
            select @inner_columns@
            from public.conversation_messages i
            where i.conversation_run_id = r.id and (%(internal)s or not i.is_internal)
                and (
                    r.id is distinct from %(run)s::uuid
                    or (coalesce(i.sequence, 2147483647), i.id) > (%(place)s::integer, %(id)s::uuid)
                )
            order by i.sequence nulls last, i.id
            limit %(limit)s
        ) m
        where r.session_key = %(session_key)s and not r.merged
            and (%(began)s::timestamptz is null or (coalesce(r.started_at, r.created_at), r.id) >= (%(began)s::timestamptz, %(run)s::uuid))
        order by coalesce(r.started_at, r.created_at), r.id, m.sequence nulls last, m.id
        limit %(limit)s
    )
    union all
    (
        select
            m.id, m.conversation_run_id, @said_columns@,
            m.created_at, '00000000-0000-0000-0000-000000000000'::uuid, 0
        from public.conversation_messages m
        where m.session_key = %(session_key)s and m.conversation_run_id is null and (%(internal)s or not m.is_internal)
            and (
                %(began)s::timestamptz is null
                or (m.created_at, '00000000-0000-0000-0000-000000000000'::uuid, 0, m.id)
                    > (%(began)s::timestamptz, %(run)s::uuid, %(place)s::integer, %(id)s::uuid)
            )
        order by m.created_at, m.id
        limit %(limit)s
    )
) l
order by l.began, l.run_place, l.place, l.id
limit %(limit)s

-- message_details --
-- What a signed-in user may not read of messages.
select
    m.id, m.span_id, m.tool_calls, m.tool_call_id, m.token_count, m.token_count_source, m.cost, m.model, m.provider, m.metadata
from public.conversation_messages m
where m.id = any (%(ids)s::uuid[])

-- own_runs --
-- One page of the runs that a signed-in user may read, with the columns that they may.
select @own_run_columns@
from public.conversation_runs r
where not r.merged
    and (%(user_id)s::text is null or r.user_id = %(user_id)s)
    and (%(session_id)s::text is null or r.session_id = %(session_id)s)
    and (%(tenant_id)s::text is null or r.tenant_id = %(tenant_id)s)
    and (%(status)s::text is null or r.status = %(status)s)
    and (%(since)s::timestamptz is null or (
        r.created_at >= %(since)s::timestamptz - interval '1 day' and coalesce(r.started_at, r.created_at) >= %(since)s::timestamptz
    ))
    and (%(after)s::uuid is null or (r.created_at, r.id) < (%(after_at)s::timestamptz, %(after)s::uuid))
order by r.created_at desc, r.id desc
limit %(limit)s

-- own_run --
-- One run as a signed-in user may read it.
select @own_run_columns@
from public.conversation_runs r
where r.id = %(id)s

-- run_costs --
-- What runs cost, for who may read it.
select
    r.id, r.total_tokens_used, r.total_input_tokens, r.total_output_tokens, r.total_cost, r.unpriced_calls, r.unmeasured_calls
from public.conversation_runs r
where r.id = any (%(ids)s::uuid[])

-- message_costs --
-- What messages cost, for who may read it.
select m.id, m.token_count, m.token_count_source, m.cost, m.model, m.provider
from public.conversation_messages m
where m.id = any (%(ids)s::uuid[])

-- own_messages --
-- One page of a run's messages as a signed-in user may read them.
select
    m.id, m.conversation_run_id, @said_columns@
from public.conversation_messages m
where m.conversation_run_id = %(run_id)s and not m.is_internal and coalesce(m.sequence, 2147483647) > %(after)s
order by m.sequence nulls last, m.id
limit %(limit)s

-- stats --
-- How much there is. Messages as runs count them, and those of no run.
select
    (select count(*) from public.conversation_sessions) as total_conversations,
    (
        select coalesce(sum(r.total_messages), 0)::bigint from public.conversation_runs r
        where r.session_id is not null and not r.merged
    ) + (
        select count(*) from public.conversation_messages m
        where m.conversation_run_id is null and m.session_key is not null and not m.is_internal
    ) as total_messages,
    (select count(*) from public.conversation_sessions s where s.expires_at < now()) as expired_conversations

-- reads_policies --
-- Whether this role may read how long things are kept: a server may have one that only acts for users.
select has_table_privilege('public.retention_policies', 'select') as is_granted

-- time_to_live --
-- For how many hours conversations are kept after their last activity: in the user's tenant, or in all that have no rule of
-- their own. NULL: for good, unless they have an expires_at.
select extract(epoch from p.keep_for)::double precision / 3600 as ttl_hours
from public.retention_policies p
where p.what = 'sessions' and (p.tenant_id is null or p.tenant_id = public.chopsky_tenant_id())
order by p.tenant_id nulls last
limit 1

-- patience --
-- How long a statement of this transaction may take, and no longer than the transaction: a pooler may stand between.
select set_config('statement_timeout', %(milliseconds)s, true)

-- sign_in --
-- The rest of the transaction is a signed-in user's, as Supabase's API has it: their role and the claims of their token.
select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %(claims)s, true)

-- step_in --
-- The next statements are the server's own role's; the claims stay.
select set_config('role', 'none', true)

-- step_back --
-- And the signed-in user's again.
select set_config('role', 'authenticated', true)

-- scope --
-- Whether the signed-in user reads their whole tenant; whose rows are theirs otherwise; which costs they may read, as
-- `chopsky-trace costs` grants them.
select
    public.chopsky_reads_tenant() as reads_tenant, (select auth.jwt()) ->> 'sub' as user_id,
    (
        select bool_and(has_column_privilege('public.conversation_runs', c.name, 'select'))
        from unnest(array[
            'total_tokens_used', 'total_input_tokens', 'total_output_tokens', 'total_cost', 'unpriced_calls', 'unmeasured_calls'
        ]) c (name)
    ) as reads_run_costs,
    (
        select bool_and(has_column_privilege('public.conversation_messages', c.name, 'select'))
        from unnest(array['token_count', 'token_count_source', 'cost', 'model', 'provider']) c (name)
    ) as reads_message_costs

-- clear --
-- Removes what was said in a session, with its runs; the session stays.
select public.clear_conversation_session(%(id)s) as messages
