-- The one way in for records: a batch as one JSON parameter, one round trip, one transaction, idempotent by id.
-- {"runs": [...], "spans": [...], "messages": [...], "contents": [...], "prefixes": [...], "feedback": [...]}; keys are the columns' names. The same call serves a REST client.
-- "turns" are the runs of which OpenTelemetry tells in the batch: what their user said and was answered is derived again.
-- "scoped": true says that the spans' own scope tells whose a run is; "link": true, that an interrupted run was resumed.

-- A later record of a register replaces its columns as a whole; an equal or earlier one changes nothing.
create function public.chopsky_write_spans(spans json) returns void
-- In SQL it would be planned at each call before PostgreSQL 18; so would others that a batch calls.
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
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
$$;
revoke all on function public.chopsky_write_spans(json) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_write_spans(json) to service_role;

-- Keeps, of the rows known only as history, those that no run of the session owns: occurrence n of a body stays only
-- while the session owns at most n of it, and only its earliest witness. What an application said itself gives way to a
-- run's row before that is counted. Returns the runs that lost a row.
create function public.chopsky_settle_messages(keys uuid[], bodies uuid[]) returns setof uuid
language plpgsql set search_path = ''
as $$
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
$$;
revoke all on function public.chopsky_settle_messages(uuid[], uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_settle_messages(uuid[], uuid[]) to service_role;

-- A run whose user, session, tenant or project a person changes takes its messages along: readers see them by these.
create function public.chopsky_on_move_by_hand() returns trigger
language plpgsql set search_path = ''
as $$
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
$$;
revoke all on function public.chopsky_on_move_by_hand() from public, anon, authenticated, service_role;

create trigger conversation_runs_moved_by_hand
after update on public.conversation_runs for each row
when (current_setting('chopsky_trace.recompute', true) is distinct from 'on')
execute function public.chopsky_on_move_by_hand();

-- A body may arrive after rows that only refer to it, with a record whose own row is another one: then they get it.
create function public.chopsky_fill_messages(keys uuid[], bodies uuid[]) returns void
language plpgsql set search_path = ''
as $$
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
$$;
revoke all on function public.chopsky_fill_messages(uuid[], uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_fill_messages(uuid[], uuid[]) to service_role;

-- Message rows; the merge of two records of one row is commutative: visible if either says so, the earlier place,
-- and the numbers of the later version. What no call said has no version: its size is told once, and should two ends tell
-- it, what follows from reported numbers stands before an estimate, then the higher. Returns runs whose rows went while settling.
create function public.chopsky_write_messages(messages json) returns uuid[]
language plpgsql set search_path = ''
as $$
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
$$;
revoke all on function public.chopsky_write_messages(json) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_write_messages(json) to service_role;

-- Runs that turned out to be spans of another run join it, messages and all. Returns the runs they joined.
create function public.chopsky_join_runs(candidates uuid[]) returns uuid[]
language plpgsql set search_path = ''
as $$
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
$$;
revoke all on function public.chopsky_join_runs(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_join_runs(uuid[]) to service_role;

-- Who a run belongs to, where its spans disagree: the root's word, else the earliest span's. Project and tenant never change.
-- What a person set by hand stays. Returns the runs that changed.
create function public.chopsky_settle_scope(run_ids uuid[]) returns setof uuid
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
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
$$;
revoke all on function public.chopsky_settle_scope(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_settle_scope(uuid[]) to service_role;

-- A run that resumes an interrupted one names it and marks it resumed, whichever of the two arrives last. All of the
-- session is derived again: what arrives late may stand between two that were linked.
create function public.chopsky_link_resumed(run_ids uuid[]) returns void
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
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
$$;
revoke all on function public.chopsky_link_resumed(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_link_resumed(uuid[]) to service_role;

-- Takes out again the runs that were erased; the step that knows which replaces this.
create function public.chopsky_refuse_runs(run_ids uuid[]) returns uuid[]
language sql set search_path = ''
as $$ select '{}'::uuid[] $$;
revoke all on function public.chopsky_refuse_runs(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_refuse_runs(uuid[]) to service_role;

-- Makes the runs of a batch that are not there yet, and locks all of them: one writer at a time per session and per run, in
-- one order for all, until the transaction ends. What is settled then is settled for good.
create function public.chopsky_open_runs(runs json)
returns table (
    id uuid, is_new boolean, is_late boolean, is_alone boolean, session_key uuid, session_id text, tenant_id text, user_id text
)
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
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
$$;
comment on function public.chopsky_open_runs(json) is 'Makes and locks the runs of a batch, and says of each what its rows need; chopsky_ingest ends what this begins.';
revoke all on function public.chopsky_open_runs(json) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_open_runs(json) to service_role;

-- "opened": true says that chopsky_open_runs was called in this transaction, that each run carries what it returned, and
-- that rows may have come by COPY since; "copied" are those of their messages that other runs of a session may know, too.
create function public.chopsky_ingest(payload json) returns jsonb
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
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
$$;
comment on function public.chopsky_ingest(json) is 'Writes a batch of runs, spans and messages; repeating it changes nothing.';
revoke all on function public.chopsky_ingest(json) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_ingest(json) to service_role;
