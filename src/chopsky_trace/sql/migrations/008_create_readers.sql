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
    begun uuid[];
    found_bodies uuid[] := '{}';
begin
    -- A writer starts a full list at every 64th link.
    for step in 1..80 loop
        select s.prompt_extends, coalesce(s.prompt_take, 0) as prompt_take, s.prompt_prefix, s.prompt_bodies, s.output_bodies
        into link
        from public.conversation_spans s where s.id = next_id;
        if not found then
            return null;
        end if;
        own := link.prompt_bodies;
        if own is null then
            return null;
        end if;
        if link.prompt_prefix is not null then
            begun := public.chopsky_prefix_bodies(link.prompt_prefix);
            if begun is null then
                return null;
            end if;
            own := begun || own;
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

-- What {"$text": id}, {"$document": id} and {"$media": id, ...} in a message stand for, put back in its place. One pass
-- over the JSON's text: in it such an object begins nowhere but where it is one, since a string's quotes are escaped.
-- What is put back is not looked through again, but for the texts of a document; so nothing can go round in circles.
create function public.chopsky_restore(value jsonb, run_id uuid, is_document boolean default false) returns jsonb
language plpgsql stable set search_path = ''
as $$
declare
    id constant text := '[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}';
    quoted constant text := '"(?:[^"\\]|\\.)*"';
    reference constant text := '\{"\$(?:(?:text|document)": "' || id || '"|media": "' || id
        || '"(?:, "(?:media_type|prefix)": (?:null|' || quoted || ')|, "size_bytes": (?:null|[0-9]+))*)\}';
    told constant text := value::text;
    piece record;
    pieces text[] := '{}';
    content record;
    -- A few references to large contents could ask for more than a value can hold: then all of them stay.
    room bigint := 64000000;
begin
    if value is null or run_id is null or told not like '%{"$%' then
        return value;
    end if;
    for piece in
        select p.before_it, m.found[1] as found, m.found[1]::jsonb as held
        from regexp_split_to_table(told, reference) with ordinality p (before_it, place)
        left join regexp_matches(told, '(' || reference || ')', 'g') with ordinality m (found, place) on m.place = p.place
        order by p.place
    loop
        select
            c.size_bytes,
            case
                when c.size_bytes > room then null
                when c.kind = 'text' and piece.held ? '$text' then to_jsonb(c.text)::text
                when c.kind = 'document' and piece.held ? '$document' and not is_document
                    then public.chopsky_restore(c.document, run_id, true)::text
                when c.kind = 'media' and piece.held ? '$media'
                    then to_jsonb(coalesce(piece.held ->> 'prefix', '') || translate(encode(c.data, 'base64'), E'\n', ''))::text
            end as written
        into content
        from public.chopsky_content(
            run_id, coalesce(piece.held ->> '$text', piece.held ->> '$document', piece.held ->> '$media')::uuid
        ) c;
        if content.size_bytes > room or octet_length(content.written) > room then
            return value;
        end if;
        room := room - coalesce(octet_length(content.written), 0);
        pieces := array_append(pieces, piece.before_it || coalesce(content.written, piece.found, ''));
    end loop;
    return array_to_string(pieces, '')::jsonb;
end
$$;
comment on function public.chopsky_restore(jsonb, uuid, boolean) is 'A message''s parts or tool calls with the run''s texts, documents and media put back; a reference whose content is not stored stays.';
revoke all on function public.chopsky_restore(jsonb, uuid, boolean) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_restore(jsonb, uuid, boolean) to service_role;

-- The assistants' names in a call's prompt, by place from 0, where they have any: each call tells what differs from the
-- call that it extends.
create function public.chopsky_prompt_names(span_id uuid) returns jsonb
language sql stable set search_path = ''
as $$
    with recursive link (id, extends, names, wanted, step) as (
        select s.id, s.prompt_extends, s.prompt_names, coalesce(s.prompt_take, 0), 1
        from public.conversation_spans s where s.id = span_id
        union all
        select s.id, s.prompt_extends, s.prompt_names, least(l.wanted, coalesce(s.prompt_take, 0)), l.step + 1
        from link l
        join public.conversation_spans s on s.id = l.extends
        where l.step < 80
    )
    select coalesce(jsonb_object_agg(n.key, n.value order by l.step desc), '{}')
    from link l
    cross join lateral jsonb_each_text(l.names) n
    left join link above on above.step = l.step - 1
    where above.id is null or n.key::integer < above.wanted
$$;
comment on function public.chopsky_prompt_names(uuid) is 'Place, from 0, to the assistant''s name in a model call''s prompt; "" where it has none after all.';
revoke all on function public.chopsky_prompt_names(uuid) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_prompt_names(uuid) to service_role;

create function public.conversation_prompt(span_id uuid)
returns table ("position" integer, role text, content text, parts jsonb, tool_calls jsonb, tool_call_id text, name text)
language sql stable set search_path = ''
as $$
    select
        b.place::integer, m.role, m.content, public.chopsky_restore(m.parts, m.conversation_run_id),
        public.chopsky_restore(m.tool_calls, m.conversation_run_id), m.tool_call_id,
        -- An assistant's name is no part of its body: what this call was given counts.
        case when m.role = 'assistant' then nullif(n.names ->> (b.place - 1)::text, '') else m.name end
    from public.conversation_spans s
    join public.conversation_runs r on r.id = s.conversation_run_id
    cross join lateral (select public.chopsky_prompt_names(s.id) as names) n
    cross join lateral unnest(public.chopsky_prompt_bodies(s.id)) with ordinality as b (body_id, place)
    left join lateral (
        -- The session's own row; else any row of that body: a system prompt may have very many, so none are sorted.
        -- A row made from a reference alone, or cleared, says nothing.
        (
            select c.role, c.content, c.parts, c.tool_calls, c.tool_call_id, c.name, c.conversation_run_id
            from public.conversation_messages c
            where c.session_key = r.session_key and c.body_id = b.body_id
                and (c.content is not null or c.parts is not null or c.tool_calls is not null)
            limit 1
        )
        union all
        (
            select c.role, c.content, c.parts, c.tool_calls, c.tool_call_id, c.name, c.conversation_run_id
            from public.conversation_messages c
            where c.body_id = b.body_id and (c.content is not null or c.parts is not null or c.tool_calls is not null)
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

-- A session's runs, and in the order they were held, a page from anywhere in it.
create index idx_conversation_runs_session_key_began
    on public.conversation_runs (session_key, (coalesce(started_at, created_at)), id);
-- What tells sessions of one name apart, and a run seen twice; neither says what a call cost.
grant select (session_key, merged) on table public.conversation_runs to authenticated;

-- Sessions of one name in two tenants, or of two users, are two: where the arguments leave several, it says so rather
-- than mix them. `after` is the message_id that the page before ended with.
create function public.conversation_session_transcript(
    session_id text default null, tenant_id text default null, user_id text default null, session_key uuid default null,
    after uuid default null, at_most integer default 1000
)
returns table (
    conversation_run_id uuid, sequence integer, role text, content text, parts jsonb, created_at timestamptz, message_id uuid
)
language plpgsql stable set search_path = ''
-- Planned for the page asked for: a plan for pages of any size reads the whole session.
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    wanted_session constant text := conversation_session_transcript.session_id;
    wanted_tenant constant text := conversation_session_transcript.tenant_id;
    wanted_user constant text := conversation_session_transcript.user_id;
    found_key uuid := conversation_session_transcript.session_key;
    from_at timestamptz := '-infinity';
    from_run uuid := '00000000-0000-0000-0000-000000000000';
    from_sequence integer := -1;
    page_size constant integer := least(at_most, 10000);
begin
    if found_key is null then
        -- Sorted: the planner would else look for one row of a common name by reading the table from its beginning.
        select r.session_key into found_key
        from public.conversation_runs r
        where r.session_id = wanted_session and (wanted_tenant is null or r.tenant_id = wanted_tenant)
            and (wanted_user is null or r.user_id = wanted_user) and not r.merged
        order by r.started_at desc limit 1;
        -- What was seen twice may have been filed differently the second time: that makes no second session.
        perform 1
        from public.conversation_runs r
        where r.session_id = wanted_session and (wanted_tenant is null or r.tenant_id = wanted_tenant)
            and (wanted_user is null or r.user_id = wanted_user) and r.session_key <> found_key
            and not r.merged
        order by r.started_at desc limit 1;
        if found then
            raise exception 'Several sessions are named %', quote_literal(wanted_session)
                using hint = 'Say which by tenant_id and user_id, or by session_key, a column of conversation_runs.';
        end if;
    end if;
    if after is not null then
        select coalesce(r.started_at, r.created_at), r.id, coalesce(m.sequence, 2147483647)
        into from_at, from_run, from_sequence
        from public.conversation_messages m
        join public.conversation_runs r on r.id = m.conversation_run_id
        where m.id = after;
        if not found then
            raise exception 'The message % is not stored', after using hint = 'Begin again without after.';
        end if;
    end if;
    return query
    select r.id, m.sequence, m.role, m.content, m.parts, m.created_at, m.id
    from public.conversation_runs r
    -- A limit for each run too: so runs are taken one by one, and no more of them than the page needs.
    cross join lateral (
        select i.id, i.sequence, i.role, i.content, i.parts, i.created_at
        from public.conversation_messages i
        where i.conversation_run_id = r.id and not i.is_internal
            and (r.id <> from_run or (coalesce(i.sequence, 2147483647), i.id) > (from_sequence, after))
        order by i.sequence, i.id
        limit page_size
    ) m
    where r.session_key = found_key and not r.merged
        and (coalesce(r.started_at, r.created_at), r.id) >= (from_at, from_run)
    order by coalesce(r.started_at, r.created_at), r.id, m.sequence, m.id
    limit page_size;
end
$$;
comment on function public.conversation_session_transcript(text, text, text, uuid, uuid, integer) is 'What the user said and was answered in a session, run after run, under the caller''s row level security; a page of at most 10,000 messages.';
revoke all on function public.conversation_session_transcript(text, text, text, uuid, uuid, integer) from public, anon, authenticated, service_role;
grant execute on function public.conversation_session_transcript(text, text, text, uuid, uuid, integer) to authenticated, service_role;

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
