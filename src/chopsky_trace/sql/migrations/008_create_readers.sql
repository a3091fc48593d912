-- What a model call was given, message by message, put together again from references.

-- The body ids of a call's prompt, in order, without and with its own output.
create function public.chopsky_prompt_bodies(span_id uuid) returns uuid[]
language plpgsql stable set search_path = ''
as $$
declare
    link record;
    next_id uuid := span_id;
    -- How many of the link's prompt and output are wanted; NULL: the whole prompt, no output.
    wanted integer;
    own uuid[];
    found_bodies uuid[] := '{}';
begin
    -- A writer starts a full list at every 64th link.
    for step in 1..80 loop
        select s.prompt_extends, coalesce(s.prompt_take, 0) as prompt_take, s.prompt_bodies, s.output_bodies into link
        from public.conversation_spans s where s.id = next_id;
        if not found then
            return null;
        end if;
        own := link.prompt_bodies;
        if own is null then
            return null;
        end if;
        if wanted is not null then
            own := (own || coalesce(link.output_bodies, '{}'))[1:greatest(wanted - link.prompt_take, 0)];
            if link.prompt_take + cardinality(own) < wanted then
                return null;
            end if;
        end if;
        found_bodies := own || found_bodies;
        if link.prompt_extends is null then
            return found_bodies;
        end if;
        wanted := least(coalesce(wanted, link.prompt_take), link.prompt_take);
        next_id := link.prompt_extends;
    end loop;
    return null;
end
$$;
comment on function public.chopsky_prompt_bodies(uuid) is 'Body ids of a model call''s prompt in order; NULL where a link of it is missing.';
revoke all on function public.chopsky_prompt_bodies(uuid) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_prompt_bodies(uuid) to service_role;

create function public.conversation_prompt(span_id uuid)
returns table ("position" integer, role text, content text, parts jsonb, tool_calls jsonb, tool_call_id text, name text)
language sql stable set search_path = ''
as $$
    select b.place::integer, m.role, m.content, m.parts, m.tool_calls, m.tool_call_id, m.name
    from public.conversation_spans s
    join public.conversation_runs r on r.id = s.conversation_run_id
    cross join lateral unnest(public.chopsky_prompt_bodies(s.id)) with ordinality as b (body_id, place)
    left join lateral (
        -- The session's own row; else any row of that body: a system prompt may have very many, so none are sorted.
        (
            select c.role, c.content, c.parts, c.tool_calls, c.tool_call_id, c.name
            from public.conversation_messages c
            where c.session_key = r.session_key and c.body_id = b.body_id
                -- A row that only a reference made has nothing to show: its body was lost, or is still on its way.
                and num_nonnulls(c.content, c.parts, c.tool_calls) > 0
            limit 1
        )
        union all
        (
            select c.role, c.content, c.parts, c.tool_calls, c.tool_call_id, c.name
            from public.conversation_messages c
            where c.body_id = b.body_id and num_nonnulls(c.content, c.parts, c.tool_calls) > 0
            limit 1
        )
        limit 1
    ) m on true
    where s.id = conversation_prompt.span_id
    order by b.place
$$;
comment on function public.conversation_prompt(uuid) is 'The exact prompt of a model call, in order. A row of NULLs is a message that is no longer stored.';
revoke all on function public.conversation_prompt(uuid) from public, anon, authenticated, service_role;
grant execute on function public.conversation_prompt(uuid) to service_role;

create function public.conversation_transcript(conversation_run_id uuid)
returns table (sequence integer, role text, content text, parts jsonb, created_at timestamptz, message_id uuid)
language sql stable set search_path = ''
as $$
    select m.sequence, m.role, m.content, m.parts, m.created_at, m.id
    from public.conversation_messages m
    where m.conversation_run_id = conversation_transcript.conversation_run_id and not m.is_internal
    order by m.sequence
$$;
comment on function public.conversation_transcript(uuid) is 'What the user said and was answered in a run, under the caller''s row level security.';
revoke all on function public.conversation_transcript(uuid) from public, anon, authenticated, service_role;
grant execute on function public.conversation_transcript(uuid) to authenticated, service_role;

-- Runs and spans that no end came for. A real end outranks this whenever it arrives.
create function public.chopsky_reap(older_than interval, at_most integer default 1000) returns integer
language plpgsql set search_path = ''
as $$
declare
    touched uuid[];
begin
    if not pg_try_advisory_xact_lock(hashtextextended('chopsky_trace.reap', 0)) then
        return 0;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    -- Runs first, then their spans: the order in which ingest locks them. What a writer holds is not without news.
    touched := array(
        select r.id
        from public.conversation_runs r
        where r.id in (
            select s.conversation_run_id
            from public.conversation_spans s
            where s.status = 'active' and s.end_version is null and s.created_at < now() - older_than
                and not exists (
                    select 1 from public.conversation_spans n
                    where n.conversation_run_id = s.conversation_run_id and n.created_at >= now() - older_than
                )
        )
        order by r.id limit at_most for no key update skip locked
    );
    update public.conversation_spans s set status = 'abandoned', abandoned_at = now()
    where s.conversation_run_id = any (touched) and s.status = 'active' and s.end_version is null
        and s.created_at < now() - older_than;
    if touched <> '{}' then
        perform public.recompute_runs(touched);
    end if;
    perform set_config('chopsky_trace.recompute', 'off', true);
    return cardinality(touched);
end
$$;
comment on function public.chopsky_reap(interval, integer) is 'Marks spans as abandoned whose run has had no news for that long; returns how many runs it touched.';
revoke all on function public.chopsky_reap(interval, integer) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_reap(interval, integer) to service_role;
