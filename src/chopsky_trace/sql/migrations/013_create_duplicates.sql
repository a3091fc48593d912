-- One model call seen twice is one call: by a framework and by what wraps the provider's SDK, in one trace or in two, by
-- LangChain's callbacks and OpenTelemetry in one process. All rows stay; the owner carries the numbers, the others name it
-- in duplicate_of and have none. Everything here follows from what the spans told (`told` where a row says something else
-- by now), so it does not matter in which order they came.

-- By its hash: an id of any length fits.
create index idx_conversation_spans_response_id on public.conversation_spans (hashtextextended(response_id, 0))
    where response_id is not null;
-- Twins are looked for by what they told, on the other side only: without OpenTelemetry the first of the two is empty.
create index idx_conversation_spans_provider_calls on public.conversation_spans
    ((coalesce((told ->> 'input_tokens')::bigint, input_tokens)), started_at)
    where is_provider and kind in ('llm', 'embedding', 'image');
create index idx_conversation_spans_framework_calls on public.conversation_spans
    ((coalesce((told ->> 'input_tokens')::bigint, input_tokens)), started_at)
    where not is_provider and kind in ('llm', 'embedding', 'image');
create index idx_conversation_spans_duplicate_of on public.conversation_spans (duplicate_of) where duplicate_of is not null;
create index idx_conversation_spans_told on public.conversation_spans (conversation_run_id) where told is not null;

-- A span as its own records have it, whatever it carries now.
create function public.chopsky_as_told(span public.conversation_spans) returns public.conversation_spans
language sql stable set search_path = ''
as $$
    select jsonb_populate_record(
        span, case when span.told ->> 'end_version' is not distinct from span.end_version then span.told end
    )
$$;
comment on function public.chopsky_as_told(public.conversation_spans) is 'The span with the numbers that it told itself.';
revoke all on function public.chopsky_as_told(public.conversation_spans) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_as_told(public.conversation_spans) to service_role;

-- Calls inside a call of their kind, each with the nearest such. What a tool does within a call is its own.
create function public.chopsky_nested_calls(run_ids uuid[]) returns table (id uuid, outer_id uuid)
language sql stable set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
    with recursive up (id, kind, run_id, next_id, step) as (
        select s.id, s.kind, s.conversation_run_id, s.parent_span_id, 1
        from public.conversation_spans s
        where s.conversation_run_id = any (run_ids) and s.kind in ('llm', 'embedding', 'image')
            and s.start_version is not null and s.parent_span_id is not null
        union all
        select u.id, u.kind, u.run_id, p.parent_span_id, u.step + 1
        from up u
        join public.conversation_spans p on p.id = u.next_id
        where p.conversation_run_id = u.run_id and p.kind not in (u.kind, 'tool') and p.parent_span_id is not null
            -- Parents may form a ring.
            and u.step < 100
    )
    select u.id, p.id
    from up u
    join public.conversation_spans p on p.id = u.next_id
    where p.conversation_run_id = u.run_id and p.kind = u.kind and p.start_version is not null and p.id <> u.id
$$;
revoke all on function public.chopsky_nested_calls(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_nested_calls(uuid[]) to service_role;

-- Which calls may be one with one of these, nesting apart: (1) the same response id, told by different sources at one time;
-- (2) a framework's call and a provider's within it, one of them without a response id, that agree in tokens and model.
-- 10 ms: what clocks and their rounding may make of one moment. 15 minutes: how long before the provider's call a
-- framework's is looked for. A cache's answer is no call of the model, and one id told twice by one source is two calls.
create function public.chopsky_call_pairs(ids uuid[]) returns table (how integer, id uuid, other_id uuid)
language sql stable set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
    with mine as materialized (
        select t.id, t.response_id, t.input_tokens, t.is_provider, t.started_at, t.ended_at
        from public.conversation_spans s
        cross join lateral public.chopsky_as_told(s) t
        where s.id = any (ids) and s.kind in ('llm', 'embedding', 'image') and s.start_version is not null
    ), candidate as materialized (
        -- By index alone, so that few are looked at; offset 0, or the planner would take an index for as small as it was.
        select 1 as how, m.id as a_id, x.id as b_id
        from mine m
        cross join lateral (
            select s.id
            from public.conversation_spans s
            where hashtextextended(s.response_id, 0) = hashtextextended(m.response_id, 0) and s.response_id is not null
            offset 0
        ) x
        where x.id <> m.id
        union
        select 2, m.id, x.id
        from mine m
        cross join lateral (
            select s.id
            from public.conversation_spans s
            where s.is_provider and s.kind in ('llm', 'embedding', 'image')
                and coalesce((s.told ->> 'input_tokens')::bigint, s.input_tokens) = m.input_tokens
                and s.started_at between m.started_at - interval '10 milliseconds' and m.ended_at + interval '10 milliseconds'
                and (m.response_id is null or s.response_id is null or s.told is not null)
            offset 0
        ) x
        where not m.is_provider
        union
        select 2, x.id, m.id
        from mine m
        cross join lateral (
            select s.id
            from public.conversation_spans s
            where not s.is_provider and s.kind in ('llm', 'embedding', 'image')
                and coalesce((s.told ->> 'input_tokens')::bigint, s.input_tokens) = m.input_tokens
                and s.started_at between m.started_at - interval '15 minutes' and m.started_at + interval '10 milliseconds'
                and (m.response_id is null or s.response_id is null or s.told is not null)
            offset 0
        ) x
        where m.is_provider
    ), pair (how, a, b) as (
        select c.how, a, b
        from candidate c
        join public.conversation_spans s on s.id = c.a_id
        join public.conversation_spans t on t.id = c.b_id
        join public.conversation_runs r on r.id = s.conversation_run_id
        join public.conversation_runs q on q.id = t.conversation_run_id and q.tenant_id is not distinct from r.tenant_id
        cross join lateral public.chopsky_as_told(s) a
        cross join lateral public.chopsky_as_told(t) b
        where case when c.how = 1 then
            a.response_id = b.response_id
            and a.started_at <= coalesce(b.ended_at, b.started_at) + interval '10 milliseconds'
            and b.started_at <= coalesce(a.ended_at, a.started_at) + interval '10 milliseconds'
        else
            (a.response_id is null or b.response_id is null)
            and a.input_tokens > 0 and a.input_tokens = b.input_tokens
            and coalesce(a.output_tokens, 0) = coalesce(b.output_tokens, 0) and (a.kind = 'embedding' or a.output_tokens > 0)
            and b.started_at >= a.started_at - interval '10 milliseconds' and b.ended_at <= a.ended_at + interval '10 milliseconds'
            and (
                coalesce(a.model, a.model_requested) is null or coalesce(b.model, b.model_requested) is null
                or exists (
                    select 1
                    from (values (a.model), (a.model_requested)) f (name)
                    cross join (values (b.model), (b.model_requested)) p (name)
                    -- openai/gpt-4o, and gpt-4o-2024-08-06, by which gpt-4o was answered.
                    cross join lateral (
                        select regexp_replace(lower(f.name), '^.*/', '') as f, regexp_replace(lower(p.name), '^.*/', '') as p
                    ) n
                    where n.f = n.p or left(n.f, length(n.p) + 1) in (n.p || '-', n.p || ':', n.p || '@')
                        or left(n.p, length(n.f) + 1) in (n.f || '-', n.f || ':', n.f || '@')
                )
            )
        end
    )
    select distinct p.how, case when p.how = 2 then (p.a).id else least((p.a).id, (p.b).id) end,
        case when p.how = 2 then (p.b).id else greatest((p.a).id, (p.b).id) end
    from pair p
    where (p.a).kind = (p.b).kind and (p.a).start_version is not null and (p.b).start_version is not null
        and coalesce((p.a).instrumentor, (p.a).source) <> coalesce((p.b).instrumentor, (p.b).source)
        and not coalesce((p.a).usage_details @> '{"cache_hit": true}', false)
        and not coalesce((p.b).usage_details @> '{"cache_hit": true}', false)
$$;
revoke all on function public.chopsky_call_pairs(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_call_pairs(uuid[]) to service_role;

-- What of these calls is one call, for a set that leaves out none that any of them may be one with: the owner of each
-- (NULL: nobody else told of it), its place among those who told, and whether it only sums the calls below it.
create function public.chopsky_decide_calls(members uuid[])
returns table (id uuid, owner_id uuid, place integer, is_sum boolean)
language plpgsql stable set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    ids uuid[];
    sources text[];
    -- All sources of a group, at its first.
    told_by text[];
    is_part boolean[];
    -- Of each a place in these arrays: of another in its group, of the call that it is nested in and one with, of the call in it.
    groups integer[];
    wraps integer[];
    inner_of integer[];
    sums boolean[];
    is_wrapper boolean[];
    pair record;
    one integer;
    other integer;
    step integer := 0;
    changed boolean := true;
begin
    select array_agg(s.id order by s.id), array_agg(coalesce(s.instrumentor, s.source) order by s.id),
        array_agg(s.parent_span_id is not null order by s.id)
    into ids, sources, is_part
    from public.conversation_spans s where s.id = any (members);
    if ids is null then
        return;
    end if;
    told_by := sources;
    groups := array(select generate_series(1, cardinality(ids)));
    wraps := array_fill(0, array[cardinality(ids)]);
    inner_of := wraps;
    sums := array_fill(false, array[cardinality(ids)]);
    is_wrapper := sums;

    -- A call with one call in it, failed tries apart, is that call; with several, their sum.
    for pair in
        with nest as (
            select n.outer_id, s.id, s.status = 'failed' as failed, s.started_at
            from public.chopsky_nested_calls(array(
                select distinct s.conversation_run_id from public.conversation_spans s where s.id = any (ids)
            )) n
            join public.conversation_spans s on s.id = n.id
            where n.outer_id = any (ids) and n.id = any (ids)
        )
        select
            array_position(ids, n.outer_id) as outer_at,
            array_position(ids, (array_agg(n.id order by n.failed, n.started_at desc, n.id))[1]) as inner_at,
            case when bool_and(n.failed) then count(*) else count(*) filter (where not n.failed) end as calls
        from nest n group by n.outer_id
    loop
        inner_of[pair.outer_at] := pair.inner_at;
        sums[pair.outer_at] := pair.calls > 1;
    end loop;
    -- What is one with a sum is a sum, too.
    while changed loop
        changed := false;
        for one in 1..cardinality(ids) loop
            if not sums[one] and inner_of[one] > 0 and sums[inner_of[one]] then
                sums[one] := true;
                changed := true;
            end if;
        end loop;
    end loop;

    for pair in
        select p.how, array_position(ids, p.id) as one, array_position(ids, p.other_id) as other
        from (
            select 0 as how, i.id, ids[i.inner_at] as other_id
            from unnest(ids, inner_of, sums) i (id, inner_at, is_sum) where i.inner_at > 0 and not i.is_sum
            union all
            select c.how, c.id, c.other_id from public.chopsky_call_pairs(ids) c
        ) p
        join public.conversation_spans a on a.id = p.id
        join public.conversation_spans b on b.id = p.other_id
        where p.id = any (ids) and p.other_id = any (ids)
        -- Of twins the framework's that began last first, each with what ended last in it: this leaves the fewest alone.
        order by p.how, case when p.how = 1 then greatest(a.started_at, b.started_at) - least(a.started_at, b.started_at) end,
            a.started_at desc, p.id, b.ended_at desc, p.other_id
    loop
        one := pair.one;
        while groups[one] <> one loop
            one := groups[one];
        end loop;
        other := pair.other;
        while groups[other] <> other loop
            other := groups[other];
        end loop;
        if pair.how = 0 then
            wraps[pair.other] := pair.one;
            is_wrapper[pair.one] := sources[pair.one] = sources[pair.other];
        -- No source tells of one call twice.
        elsif sums[pair.one] or sums[pair.other] or string_to_array(told_by[one], e'\x1f') && string_to_array(told_by[other], e'\x1f') then
            continue;
        end if;
        if one <> other then
            groups[other] := one;
            told_by[one] := told_by[one] || e'\x1f' || told_by[other];
        end if;
    end loop;
    for one in 1..cardinality(ids) loop
        other := one;
        while groups[other] <> other loop
            other := groups[other];
        end loop;
        groups[one] := other;
    end loop;

    -- Whether a call is part of a trace its outermost says; a sum goes with the last call in it.
    for one in 1..cardinality(ids) loop
        other := one;
        for step in 1..100 loop
            exit when wraps[other] = 0;
            other := wraps[other];
        end loop;
        is_part[one] := is_part[other];
        if sums[one] then
            other := one;
            for step in 1..100 loop
                exit when not sums[other];
                other := inner_of[other];
            end loop;
            groups[one] := groups[other];
        end if;
    end loop;

    return query
    select
        r.id, case when r.size > 1 then first_value(r.id) over (partition by r.team order by r.place) end, r.place::integer, r.is_sum
    from (
        select
            m.id, m.team, m.is_sum, count(*) over (partition by m.team) as size,
            row_number() over (
                partition by m.team
                order by m.is_sum, m.is_wrapper, not m.is_part, s.is_provider, s.source is distinct from 'langchain',
                    s.started_at, m.id
            ) as place
        from unnest(ids, groups, sums, is_wrapper, is_part) m (id, team, is_sum, is_wrapper, is_part)
        join public.conversation_spans s on s.id = m.id
    ) r;
end
$$;
comment on function public.chopsky_decide_calls(uuid[]) is 'Which of these spans are one model call, and which of them owns it.';
revoke all on function public.chopsky_decide_calls(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_decide_calls(uuid[]) to service_role;

-- All spans that may be one call with these, or with one that may, or once were; few, but for a load of equal calls,
-- where the first 2,000 must do.
create function public.chopsky_related_calls(seeds uuid[]) returns uuid[]
language plpgsql stable set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    members uuid[] := seeds;
    frontier uuid[] := seeds;
begin
    while frontier <> '{}' and cardinality(members) < 2000 loop
        frontier := array(
            select distinct o.id
            from (
                select unnest(array[p.id, p.other_id]) as id from public.chopsky_call_pairs(frontier) p
                union all
                select unnest(array[n.id, n.outer_id])
                from public.chopsky_nested_calls(array(
                    select distinct s.conversation_run_id from public.conversation_spans s where s.id = any (frontier)
                )) n
                union all
                select s.id from public.conversation_spans s where s.duplicate_of = any (frontier)
                union all
                select unnest(array[s.duplicate_of, x.id])
                from public.conversation_spans s
                cross join lateral (
                    select d.id from public.conversation_spans d where d.duplicate_of = s.duplicate_of offset 0
                ) x
                where s.id = any (frontier) and s.duplicate_of is not null
            ) o
            where o.id <> all (members)
        );
        members := members || frontier;
    end loop;
    return members;
end
$$;
revoke all on function public.chopsky_related_calls(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_related_calls(uuid[]) to service_role;

-- The numbers: the owner has the best usage that was told, as a whole, and what it lacks of the rest; the others have none.
create function public.chopsky_share_numbers(ids uuid[], owners uuid[], places integer[], sums boolean[]) returns setof uuid
language sql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
    with member as materialized (
        select d.owner_id, d.place, d.is_sum, t.*
        from unnest(ids, owners, places, sums) d (member_id, owner_id, place, is_sum)
        join public.conversation_spans s on s.id = d.member_id
        cross join lateral public.chopsky_as_told(s) t
        where d.owner_id is not null or s.told is not null
    ), best as (
        -- A whole that is known, then one that was reported, that fits its parts, that has most of them, that has a price.
        select distinct on (m.owner_id) m.owner_id as call_id, m.*
        from member m
        where m.owner_id is not null and not m.is_sum
        order by m.owner_id, m.total_tokens is null,
            array_position(array['reported', 'computed', 'estimated'], coalesce(m.usage_source, 'unknown')) nulls last,
            coalesce(m.usage_details ? 'violations', false),
            num_nonnulls(m.input_tokens, m.output_tokens, m.cache_read_tokens, m.cache_write_tokens, m.reasoning_tokens, m.audio_tokens) desc,
            m.cost is null, m.place
    ), heard as (
        select
            m.owner_id as call_id,
            (array_agg(m.response_id order by m.place) filter (where m.response_id is not null))[1] as response_id,
            -- A framework may say the name it was given; the provider's SDK has the answer's.
            (array_agg(m.model order by not m.is_provider, m.place) filter (where m.model is not null))[1] as model,
            (array_agg(m.finish_reason order by m.place) filter (where m.finish_reason is not null))[1] as finish_reason,
            (array_agg(m.time_to_first_token_ms order by m.place) filter (where m.time_to_first_token_ms is not null))[1] as time_to_first_token_ms
        from member m
        where m.owner_id is not null and not m.is_sum
        group by m.owner_id
    ), due as (
        select
            m.id, nullif(m.owner_id, m.id) as duplicate_of,
            case when m.owner_id is null then m.told else
                jsonb_build_object(
                    'end_version', m.end_version, 'input_tokens', m.input_tokens, 'output_tokens', m.output_tokens,
                    'total_tokens', m.total_tokens, 'cache_read_tokens', m.cache_read_tokens,
                    'cache_write_tokens', m.cache_write_tokens, 'reasoning_tokens', m.reasoning_tokens,
                    'audio_tokens', m.audio_tokens, 'usage_details', m.usage_details, 'usage_source', m.usage_source,
                    'cost', m.cost, 'cost_source', m.cost_source, 'reported_cost', m.reported_cost, 'price_rates', m.price_rates,
                    'response_id', m.response_id, 'model', m.model, 'finish_reason', m.finish_reason,
                    'time_to_first_token_ms', m.time_to_first_token_ms
                )
                || case when m.told ? 'rows' then jsonb_build_object('rows', m.told -> 'rows') else '{}' end
                || case when b.id is not null then jsonb_build_object('usage_of', b.id) else '{}' end
            end as told,
            -- Nobody else told of it: its own. The owner: the best. Another: nothing.
            x.input_tokens, x.output_tokens, x.total_tokens, x.cache_read_tokens, x.cache_write_tokens, x.reasoning_tokens,
            x.audio_tokens, x.usage_details, x.usage_source, x.cost, x.cost_source, x.reported_cost, x.price_rates,
            coalesce(m.response_id, h.response_id) as response_id, coalesce(h.model, m.model) as model,
            coalesce(m.finish_reason, h.finish_reason) as finish_reason,
            coalesce(m.time_to_first_token_ms, h.time_to_first_token_ms) as time_to_first_token_ms
        from member m
        left join best b on b.call_id = m.id
        left join heard h on h.call_id = m.id
        left join member x on x.id = case when m.owner_id is null then m.id else b.id end
    )
    update public.conversation_spans s
    set duplicate_of = d.duplicate_of, told = d.told,
        input_tokens = d.input_tokens, output_tokens = d.output_tokens, total_tokens = d.total_tokens,
        cache_read_tokens = d.cache_read_tokens, cache_write_tokens = d.cache_write_tokens,
        reasoning_tokens = d.reasoning_tokens, audio_tokens = d.audio_tokens, usage_details = d.usage_details,
        usage_source = d.usage_source, cost = d.cost, cost_source = d.cost_source, reported_cost = d.reported_cost,
        price_rates = d.price_rates, response_id = d.response_id, model = d.model, finish_reason = d.finish_reason,
        time_to_first_token_ms = d.time_to_first_token_ms
    from due d
    where s.id = d.id and (
        s.duplicate_of, s.told, s.input_tokens, s.output_tokens, s.total_tokens, s.cache_read_tokens, s.cache_write_tokens,
        s.reasoning_tokens, s.audio_tokens, s.usage_details, s.usage_source, s.cost, s.cost_source, s.reported_cost,
        s.price_rates, s.response_id, s.model, s.finish_reason, s.time_to_first_token_ms
    ) is distinct from (
        d.duplicate_of, d.told, d.input_tokens, d.output_tokens, d.total_tokens, d.cache_read_tokens, d.cache_write_tokens,
        d.reasoning_tokens, d.audio_tokens, d.usage_details, d.usage_source, d.cost, d.cost_source, d.reported_cost,
        d.price_rates, d.response_id, d.model, d.finish_reason, d.time_to_first_token_ms
    )
    returning s.conversation_run_id
$$;
revoke all on function public.chopsky_share_numbers(uuid[], uuid[], integer[], boolean[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_share_numbers(uuid[], uuid[], integer[], boolean[]) to service_role;

-- The messages that a call put out are kept from the first who told any: the others' go where their body is there already,
-- and are internal where it is not, for prompts may refer to it. told.rows has each row that is not as it came:
-- "as": carrier (has the call's numbers), apart (of another run than the call's: costs nothing), hidden, gone.
create function public.chopsky_share_messages(ids uuid[], owners uuid[], places integer[]) returns setof uuid
language sql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
    with member as materialized (
        select
            s.id as span_id, d.owner_id, d.place, s.conversation_run_id as run_id, s.end_version, s.told,
            c.id as call_id, c.conversation_run_id = s.conversation_run_id as is_at_home, c.cost, c.usage_source,
            case when c.output_tokens between 0 and 2147483647 then c.output_tokens::integer end as output_tokens
        from unnest(ids, owners, places) d (id, owner_id, place)
        join public.conversation_spans s on s.id = d.id
        join public.conversation_spans c on c.id = coalesce(d.owner_id, d.id)
        where d.owner_id is not null or s.told is not null
    ), live as materialized (
        select m.*
        from member x
        join public.conversation_messages m on m.conversation_run_id = x.run_id and m.span_id = x.span_id
        where m.role = 'assistant' and not m.is_history
    ), kept as materialized (
        select x.span_id as kept_of, e.value ->> 'as' as kept_as, r.*
        from member x
        cross join lateral jsonb_array_elements(x.told -> 'rows') e
        cross join lateral jsonb_populate_record(null::public.conversation_messages, e.value -> 'row') r
    ), own as materialized (
        -- A row that came again merges with what was kept of it, as it would have with itself.
        select
            coalesce(l.id, k.id) as id, coalesce(l.span_id, k.kept_of) as span_id, coalesce(l.body_id, k.body_id) as body_id,
            l.id is not null as is_live, k.kept_as,
            case when k.id is null then l.is_internal when l.id is null then k.is_internal
                when k.kept_as = 'hidden' and l.is_internal then k.is_internal else l.is_internal and k.is_internal end as is_internal,
            least(l.created_at, k.created_at) as created_at,
            case when (k.created_at, k.position) < (l.created_at, l.position) or l.id is null then k.position else l.position end as position,
            v.token_count, v.token_count_source, v.response_time_ms, v.cost, v.model, v.provider, v.version
        from live l
        full join kept k on k.id = l.id
        cross join lateral (
            select k.token_count, k.token_count_source, k.response_time_ms, k.cost, k.model, k.provider, k.version
            where k.id is not null and (l.id is null or coalesce(k.version, '') >= coalesce(l.version, ''))
            union all
            select l.token_count, l.token_count_source, l.response_time_ms, l.cost, l.model, l.provider, l.version
            where l.id is not null and (k.id is null or coalesce(k.version, '') < coalesce(l.version, ''))
        ) v
    ), placed as (
        select
            o.*, x.owner_id, x.call_id, x.run_id, x.is_at_home, x.cost as call_cost, x.output_tokens, x.usage_source,
            first_value(o.span_id) over (partition by x.call_id order by x.place) as teller,
            o.version = x.end_version and row_number() over (
                partition by o.span_id order by o.version is distinct from x.end_version, o.position, o.id
            ) = 1 as is_first
        from own o
        join member x on x.span_id = o.span_id
    ), due as materialized (
        select
            p.*,
            case
                when p.owner_id is null then null
                when p.span_id = p.teller then case when not p.is_first then null when p.is_at_home then 'carrier' else 'apart' end
                when exists (select 1 from own t where t.span_id = p.teller and t.body_id = p.body_id) then 'gone'
                else 'hidden'
            end as due_as
        from placed p
    ), written as (
        update public.conversation_messages m
        set is_internal = d.is_internal or coalesce(d.due_as = 'hidden', false),
            cost = case when d.due_as in ('hidden', 'apart') then 0 when d.is_first then d.call_cost else d.cost end,
            token_count = case when d.is_first and d.is_at_home and d.due_as is distinct from 'hidden' then d.output_tokens else d.token_count end,
            token_count_source = case when d.is_first and d.is_at_home and d.due_as is distinct from 'hidden' then d.usage_source else d.token_count_source end,
            response_time_ms = d.response_time_ms, model = d.model, provider = d.provider, version = d.version,
            created_at = d.created_at, position = d.position
        from due d
        where m.id = d.id and d.is_live and d.due_as is distinct from 'gone'
            and (d.due_as is not null or d.kept_as is not null)
            and (
                m.is_internal, m.cost, m.token_count, m.token_count_source, m.response_time_ms, m.model, m.provider, m.version,
                m.created_at, m.position
            ) is distinct from (
                d.is_internal or coalesce(d.due_as = 'hidden', false),
                case when d.due_as in ('hidden', 'apart') then 0 when d.is_first then d.call_cost else d.cost end,
                case when d.is_first and d.is_at_home and d.due_as is distinct from 'hidden' then d.output_tokens else d.token_count end,
                case when d.is_first and d.is_at_home and d.due_as is distinct from 'hidden' then d.usage_source else d.token_count_source end,
                d.response_time_ms, d.model, d.provider, d.version, d.created_at, d.position
            )
        returning m.conversation_run_id
    ), gone as (
        delete from public.conversation_messages m
        using due d
        where m.id = d.id and d.is_live and d.due_as = 'gone'
        returning m.conversation_run_id
    ), back as (
        insert into public.conversation_messages (
            id, body_id, conversation_run_id, span_id, session_id, tenant_id, user_id, role, content, parts, tool_calls,
            tool_call_id, name, is_internal, token_count, token_count_source, response_time_ms, cost, model, provider, metadata,
            session_key, position, version, created_at
        )
        select
            d.id, d.body_id, d.run_id, d.span_id, r.session_id, r.tenant_id, r.user_id, 'assistant', b.content, b.parts, b.tool_calls,
            b.tool_call_id, b.name, d.is_internal or coalesce(d.due_as = 'hidden', false),
            case when d.is_first and d.is_at_home and d.due_as is distinct from 'hidden' then d.output_tokens else d.token_count end,
            case when d.is_first and d.is_at_home and d.due_as is distinct from 'hidden' then d.usage_source else d.token_count_source end,
            d.response_time_ms,
            case when d.due_as in ('hidden', 'apart') then 0 when d.is_first then d.call_cost else d.cost end,
            d.model, d.provider, coalesce(b.metadata, '{}'), r.session_key, d.position, d.version, d.created_at
        from due d
        join public.conversation_runs r on r.id = d.run_id
        left join lateral (
            select o.content, o.parts, o.tool_calls, o.tool_call_id, o.name, o.metadata
            from public.conversation_messages o
            where o.body_id = d.body_id and num_nonnulls(o.content, o.parts, o.tool_calls) > 0 and o.conversation_run_id is not null
            order by o.session_key = r.session_key desc, o.id
            limit 1
        ) b on true
        where not d.is_live and d.due_as is distinct from 'gone'
        order by d.id
        on conflict (id) do nothing
        returning conversation_run_id
    ), list as (
        select
            d.span_id,
            jsonb_agg(jsonb_build_object('as', d.due_as, 'row', jsonb_build_object(
                'id', d.id, 'body_id', d.body_id, 'is_internal', d.is_internal, 'token_count', d.token_count,
                'token_count_source', d.token_count_source, 'response_time_ms', d.response_time_ms, 'cost', d.cost,
                'model', d.model, 'provider', d.provider, 'version', d.version, 'position', d.position,
                'created_at', d.created_at
            )) order by d.id) as rows
        from due d where d.due_as is not null group by d.span_id
    ), noted as (
        update public.conversation_spans s
        set told = case when x.owner_id is null then null when l.rows is null then s.told - 'rows'
            else s.told || jsonb_build_object('rows', l.rows) end
        from member x
        left join list l on l.span_id = x.span_id
        where s.id = x.span_id and s.told is distinct from (
            case when x.owner_id is null then null when l.rows is null then s.told - 'rows'
                else s.told || jsonb_build_object('rows', l.rows) end
        )
        returning s.conversation_run_id
    )
    select w.conversation_run_id from written w
    union select g.conversation_run_id from gone g
    union select b.conversation_run_id from back b
    union select n.conversation_run_id from noted n
$$;
revoke all on function public.chopsky_share_messages(uuid[], uuid[], integer[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_share_messages(uuid[], uuid[], integer[]) to service_role;

-- Settles which calls of these runs are one with others', there or anywhere. The caller has locked the runs; returns those,
-- and others, in which something changed.
create function public.chopsky_merge_calls(run_ids uuid[]) returns uuid[]
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    -- Calls that this transaction wrote, or whose run it did: a row's age in transactions is then 0, or less in one within.
    fresh uuid[];
    calls uuid[];
    parents uuid[];
    seeds uuid[];
    members uuid[];
    locked uuid[] := run_ids;
    further uuid[];
    owners uuid[];
    places integer[];
    sums boolean[];
    changed uuid[];
begin
    -- What a later end replaced is told by its columns again.
    update public.conversation_spans s
    set told = jsonb_build_object('end_version', s.end_version, 'rows', coalesce(s.told -> 'rows', '[]'))
    where s.conversation_run_id = any (run_ids) and s.told is not null and s.told ->> 'end_version' is distinct from s.end_version;
    -- In one go: with every batch all its runs' spans are read for this.
    select
        coalesce(array_agg(s.id) filter (
            where s.kind in ('llm', 'embedding', 'image') and s.start_version is not null and (
                age(s.xmin) <= 0
                or (select age(r.xmin) from public.conversation_runs r where r.id = s.conversation_run_id) <= 0
            )
        ), '{}'),
        array_agg(s.id) filter (where s.kind in ('llm', 'embedding', 'image')),
        array_agg(s.parent_span_id) filter (where s.parent_span_id is not null)
    into fresh, calls, parents
    from public.conversation_spans s
    where s.conversation_run_id = any (run_ids);
    -- Two writers with one side each: who comes second waits, and sees the other's. Calls with an id wait for that id;
    -- twins by their tokens, where one lacks an id, and only for what could be their twin.
    perform case when k.is_shared then pg_advisory_xact_lock_shared(k.key) else pg_advisory_xact_lock(k.key) end
    from (
        select w.key, bool_and(w.is_shared) as is_shared
        from public.conversation_spans s
        cross join lateral (
            values
                (hashtextextended(s.response_id, 1), false),
                (hashtextextended(s.input_tokens::text, 2), not (s.is_provider and s.response_id is null)),
                (case when s.is_provider or s.response_id is null then hashtextextended(s.input_tokens::text, 3) end, s.is_provider)
        ) w (key, is_shared)
        where s.id = any (fresh) and w.key is not null
        group by w.key order by w.key
    ) k;
    seeds := array(
        with mine as materialized (
            select s.id, s.response_id, s.is_provider, s.input_tokens, s.started_at, s.ended_at
            from public.conversation_spans s where s.id = any (fresh)
        )
        select s.id
        from mine s
        where s.response_id is not null and exists (
            select 1 from public.conversation_spans o
            where hashtextextended(o.response_id, 0) = hashtextextended(s.response_id, 0) and o.response_id is not null and o.id <> s.id
            offset 0
        )
        union
        select s.id
        from mine s
        where not s.is_provider and exists (
            select 1 from public.conversation_spans o
            where o.is_provider and o.kind in ('llm', 'embedding', 'image')
                and coalesce((o.told ->> 'input_tokens')::bigint, o.input_tokens) = s.input_tokens
                and o.started_at between s.started_at - interval '10 milliseconds' and s.ended_at + interval '10 milliseconds'
                and (s.response_id is null or o.response_id is null or o.told is not null)
            offset 0
        )
        union
        select s.id
        from mine s
        where s.is_provider and exists (
            select 1 from public.conversation_spans o
            where not o.is_provider and o.kind in ('llm', 'embedding', 'image')
                and coalesce((o.told ->> 'input_tokens')::bigint, o.input_tokens) = s.input_tokens
                and o.started_at between s.started_at - interval '15 minutes' and s.started_at + interval '10 milliseconds'
                and (s.response_id is null or o.response_id is null or o.told is not null)
            offset 0
        )
        union
        select s.id from public.conversation_spans s where s.conversation_run_id = any (run_ids) and s.told is not null
    );
    -- Nearly no run has a call with anything below it.
    further := array(select unnest(calls) intersect select unnest(parents));
    if further <> '{}' then
        further := array(select distinct s.conversation_run_id from public.conversation_spans s where s.id = any (further));
        seeds := array(
            select unnest(seeds) union select unnest(array[n.id, n.outer_id]) from public.chopsky_nested_calls(further) n
        );
    end if;
    if seeds = '{}' then
        return '{}';
    end if;
    loop
        members := public.chopsky_related_calls(seeds);
        further := array(
            select distinct s.conversation_run_id from public.conversation_spans s
            where s.id = any (members) and s.conversation_run_id <> all (locked)
        );
        exit when further = '{}';
        -- Looked at again once they are ours: others may have written to them meanwhile.
        perform 1 from public.conversation_runs r where r.id = any (further) order by r.id for no key update;
        locked := locked || further;
    end loop;
    select array_agg(d.id order by d.id), array_agg(d.owner_id order by d.id), array_agg(d.place order by d.id), array_agg(d.is_sum order by d.id)
    into members, owners, places, sums
    from public.chopsky_decide_calls(members) d;
    changed := array(select public.chopsky_share_numbers(members, owners, places, sums));
    return changed || array(select public.chopsky_share_messages(members, owners, places));
end
$$;
comment on function public.chopsky_merge_calls(uuid[]) is 'Settles which model calls of these runs were told of twice; returns the runs in which something changed.';
revoke all on function public.chopsky_merge_calls(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_merge_calls(uuid[]) to service_role;
