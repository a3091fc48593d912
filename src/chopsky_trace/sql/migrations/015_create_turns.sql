-- What the user said and was answered, where OpenTelemetry's spans tell of it: an agent's or a chain's span repeats what the
-- model calls in it were asked and answered, and may come before them, after them, or from another process. So it is derived
-- from what is there, each time some of it comes: it does not matter in which order.

-- For runs that the caller has locked. Of a topmost span that says what the user said, and was answered, that stands; of
-- another, what was new with the first call in it, and what the last one answered. An answer is shown with the last call that
-- gave it, and as a row of its own only where none did. A row that only a span below another brought gives way.
-- A run of which neither the root is here nor where it came in from another process, or of which no span claims anything, is left as it was told. Returns the runs in which a row changed.
create function public.chopsky_settle_turns(run_ids uuid[]) returns setof uuid
language plpgsql set search_path = ''
-- How many calls a run has no plan knows: the runs' spans and messages are read once, by index, all else is joined by hash.
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off set enable_nestloop = off
as $$
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
$$;
comment on function public.chopsky_settle_turns(uuid[]) is 'Derives which messages of these runs the user said and was answered; returns the runs in which one changed.';
revoke all on function public.chopsky_settle_turns(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_settle_turns(uuid[]) to service_role;
