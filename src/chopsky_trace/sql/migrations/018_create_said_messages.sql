-- What an application says of a session itself, outside any run, and what a run of that session tells of the same message,
-- is one message: the run's row stays, and keeps in `said` what the application had said. Decided anew for all equal
-- messages of a session whenever one of them comes, goes or moves: from what is stored, not from its order.
alter table public.conversation_messages add column said jsonb;
comment on column public.conversation_messages.said is 'The application''s own row of this message, which gave way to this one: what differs. Its id is the one that the application was given.';

create index idx_messages_by_hand on public.conversation_messages (session_key, md5(coalesce(content, '')))
    where conversation_run_id is null or said is not null;
-- A message in parts is the same as its bare text, said by hand.
create index idx_messages_in_parts on public.conversation_messages (session_key, md5(coalesce(content, '')))
    where parts is not null and tool_calls is null and not is_history;

-- The body id that sources give to a message that is a text and no more.
create function public.chopsky_text_body_id(role text, content text, tool_call_id text, name text) returns uuid
language sql stable set search_path = ''
as $$
    select encode(substr(sha256(convert_to(
        '[' || to_json(role)::text || ',' || to_json(content)::text || ',[],' || to_json(coalesce(tool_call_id, ''))::text || ','
        || to_json(case when role = 'assistant' then '' else coalesce(name, '') end)::text || ']', 'UTF8'
    )), 1, 16), 'hex')::uuid
$$;
comment on function public.chopsky_text_body_id(text, text, text, text) is 'The body_id of a message that is a text and no more.';
revoke all on function public.chopsky_text_body_id(text, text, text, text) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_text_body_id(text, text, text, text) to service_role;

-- The application's row, as it was before it gave way to this one.
create function public.chopsky_said_row(message public.conversation_messages) returns public.conversation_messages
language sql stable set search_path = ''
as $$
    select r from jsonb_populate_record(null::public.conversation_messages, jsonb_build_object(
        'body_id', message.body_id, 'session_key', message.session_key, 'session_id', message.session_id,
        'tenant_id', message.tenant_id, 'user_id', message.user_id, 'role', message.role, 'content', message.content,
        'tool_calls', message.tool_calls, 'tool_call_id', message.tool_call_id, 'metadata', '{}'::jsonb,
        'is_internal', false, 'is_history', false, 'occurrence', 0, 'position', 0
    ) || message.said) r
$$;
revoke all on function public.chopsky_said_row(public.conversation_messages) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_said_row(public.conversation_messages) to service_role;

-- Of equal messages of a session: which of the application's are which of its runs'. The nearest in time first, and none
-- that are further apart than ten minutes: what was said again later is another message. Nor does what an application
-- shows give way to what its user does not see.
create function public.chopsky_pair_equal(session_key uuid, role text, content text, body_id uuid) returns void
language plpgsql set search_path = ''
as $$
declare
    at_most constant interval := interval '10 minutes';
    key constant uuid := chopsky_pair_equal.session_key;
    wanted_role constant text := chopsky_pair_equal.role;
    wanted constant text := coalesce(chopsky_pair_equal.content, '');
    -- Set where only an equal body will do: with tool calls the text is not what was said.
    wanted_body constant uuid := chopsky_pair_equal.body_id;
    -- Rows outside a run that went or came back.
    moved uuid[];
    near record;
    said_ids uuid[] := '{}';
    told_ids uuid[] := '{}';
begin
    for near in
        with hand as materialized (
            select (h).id, (h).body_id, (h).created_at, (h).parts is null as is_plain, (h).is_internal
            from (
                select case when m.said is null then m else public.chopsky_said_row(m) end as h
                from public.conversation_messages m
                where m.session_key = key and (m.conversation_run_id is null or m.said is not null)
                    and md5(coalesce(m.content, '')) = md5(wanted) and coalesce(m.content, '') = wanted and m.role = wanted_role
                    and (m.body_id = wanted_body or (wanted_body is null and m.tool_calls is null))
            ) s
        ), told as materialized (
            select m.id, m.body_id, m.created_at, m.is_internal, m.conversation_run_id
            from public.conversation_messages m
            where m.session_key = key and m.body_id in (select h.body_id from hand h) and m.conversation_run_id is not null and not m.is_history
            union
            select m.id, m.body_id, m.created_at, m.is_internal, m.conversation_run_id
            from public.conversation_messages m
            where wanted_body is null and m.session_key = key and m.parts is not null and m.tool_calls is null and not m.is_history
                and md5(coalesce(m.content, '')) = md5(wanted) and m.content = wanted and m.role = wanted_role
                and m.conversation_run_id is not null
        ), place as (
            select
                t.id, t.body_id, t.created_at, t.is_internal, least(r.started_at, t.created_at) as first_at, greatest(r.ended_at, t.created_at) as last_at
            from told t
            join public.conversation_runs r on r.id = t.conversation_run_id
            -- A merged run is shown nowhere.
            where not r.merged
        )
        select h.id as said_id, p.id as told_id
        from hand h
        join place p on h.created_at between p.first_at - at_most and p.last_at + at_most
            and (h.body_id = p.body_id or (wanted_body is null and h.is_plain)) and (h.is_internal or not p.is_internal)
        order by
            greatest(p.first_at - h.created_at, h.created_at - p.last_at, interval '0'),
            greatest(p.created_at - h.created_at, h.created_at - p.created_at), h.created_at, h.id, p.created_at, p.id
    loop
        if near.said_id <> all (said_ids) and near.told_id <> all (told_ids) then
            said_ids := said_ids || near.said_id;
            told_ids := told_ids || near.told_id;
        end if;
    end loop;

    -- Those that are another's now, or nobody's, come back.
    with apart as materialized (
        select m.id, public.chopsky_said_row(m) as said_row
        from public.conversation_messages m
        where m.session_key = key and m.said is not null
            and md5(coalesce(m.content, '')) = md5(wanted) and coalesce(m.content, '') = wanted and m.role = wanted_role
            and (m.body_id = wanted_body or (wanted_body is null and m.tool_calls is null))
            and not exists (
                select 1 from unnest(said_ids, told_ids) d (said_id, told_id)
                where d.told_id = m.id and d.said_id = (m.said ->> 'id')::uuid
            )
    ), back as (
        insert into public.conversation_messages select (a.said_row).* from apart a order by a.id
        returning id
    ), cleared as (
        update public.conversation_messages m
        set said = null
        from apart a
        where m.id = a.id
    )
    select coalesce(array_agg(b.id), '{}') into moved from back b;

    with gone as (
        delete from public.conversation_messages h
        where h.id = any (said_ids) and h.conversation_run_id is null
        returning h.*
    ), kept as (
        update public.conversation_messages m
        set said = (
            select jsonb_object_agg(e.key, e.value) from jsonb_each(to_jsonb(g)) e
            where e.value <> 'null' and e.key not in (
                'session_key', 'session_id', 'tenant_id', 'user_id', 'role', 'content', 'tool_calls', 'tool_call_id', 'sequence'
            )
        )
        from unnest(said_ids, told_ids) d (said_id, told_id)
        join gone g on g.id = d.said_id
        where m.id = d.told_id
    )
    select moved || coalesce(array_agg(g.id), '{}') into moved from gone g;
    if moved <> '{}' then
        perform public.chopsky_count_usage(moved);
    end if;
end
$$;
revoke all on function public.chopsky_pair_equal(uuid, text, text, uuid) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_pair_equal(uuid, text, text, uuid) to service_role;

-- The same for every message of these bodies in these sessions. Nearly always there is none that an application said; and
-- of those that a prompt sends again each has its one row, with which it stays unless its run changed (`every`).
create function public.chopsky_pair_messages(keys uuid[], bodies uuid[], every boolean default false) returns void
language plpgsql set search_path = ''
as $$
declare
    was text;
    equal record;
begin
    if not exists (
        select 1 from public.conversation_messages m
        where m.session_key = any (keys) and (m.conversation_run_id is null or m.said is not null)
    ) then
        return;
    end if;
    was := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    perform set_config('chopsky_trace.recompute', 'on', true);
    for equal in
        select g.session_key, g.role, g.content, g.body_id
        from (
            select
                m.session_key, m.role, m.content, case when m.tool_calls is not null then m.body_id end as body_id,
                count(*) = 1 and bool_and(m.said is not null) as is_dealt
            from (select distinct u.session_key, u.body_id from unnest(keys, bodies) as u (session_key, body_id)) p
            join public.conversation_messages m on m.session_key = p.session_key and m.body_id = p.body_id and not m.is_history
            group by 1, 2, 3, 4
        ) g
        where (every or not g.is_dealt) and exists (
            select 1 from public.conversation_messages h
            where h.session_key = g.session_key and (h.conversation_run_id is null or h.said is not null)
                and md5(coalesce(h.content, '')) = md5(coalesce(g.content, ''))
        )
        order by g.session_key, g.role, g.body_id
    loop
        perform public.chopsky_pair_equal(equal.session_key, equal.role, equal.content, equal.body_id);
    end loop;
    perform set_config('chopsky_trace.recompute', was, true);
end
$$;
revoke all on function public.chopsky_pair_messages(uuid[], uuid[], boolean) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_pair_messages(uuid[], uuid[], boolean) to service_role;

-- Runs that began, ended or were merged: what was said about then may be theirs now.
create function public.chopsky_pair_runs(run_ids uuid[]) returns void
language plpgsql set search_path = ''
as $$
begin
    if not exists (
        select 1 from public.conversation_runs r
        join public.conversation_messages m on m.session_key = r.session_key
        where r.id = any (run_ids) and r.session_id is not null and (m.conversation_run_id is null or m.said is not null)
    ) then
        return;
    end if;
    perform public.chopsky_pair_messages(array_agg(m.session_key), array_agg(m.body_id), true)
    from public.conversation_messages m
    where m.conversation_run_id = any (run_ids) and m.body_id is not null and not m.is_history;
end
$$;
revoke all on function public.chopsky_pair_runs(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_pair_runs(uuid[]) to service_role;

-- Messages that an application said, once they are in their session.
create function public.chopsky_settle_said(message_ids uuid[]) returns void
language plpgsql set search_path = ''
as $$
declare
    keys uuid[];
    bodies uuid[];
    changed uuid[];
begin
    update public.conversation_messages m
    set body_id = public.chopsky_text_body_id(m.role, m.content, m.tool_call_id, m.name)
    where m.id = any (message_ids) and m.body_id is null and m.content is not null and m.parts is null and m.tool_calls is null;
    select array_agg(m.session_key), array_agg(m.body_id) into keys, bodies
    from public.conversation_messages m
    where m.id = any (message_ids) and m.body_id is not null and m.session_key is not null;
    changed := array(select distinct u from public.chopsky_settle_messages(keys, bodies) u where u is not null);
    if changed <> '{}' then
        perform public.recompute_runs(changed);
    end if;
end
$$;
revoke all on function public.chopsky_settle_said(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_settle_said(uuid[]) to service_role;

-- A row that goes because another told of the same call, or leaves for another session, takes nothing along of what an
-- application said in this one. What goes with its whole run, or by hand, goes.
create function public.chopsky_on_said_left() returns trigger
language plpgsql set search_path = ''
as $$
declare
    back public.conversation_messages;
begin
    if tg_op = 'DELETE' then
        if not exists (select 1 from public.conversation_runs r where r.id = old.conversation_run_id) then
            return null;
        end if;
    elsif not exists (select 1 from public.conversation_sessions s where s.session_key = old.session_key) then
        -- The session itself has another name or owner.
        return null;
    end if;
    if tg_op = 'UPDATE' then
        update public.conversation_messages m set said = null where m.id = old.id;
    end if;
    back := public.chopsky_said_row(old);
    insert into public.conversation_messages select (back).*;
    perform public.chopsky_settle_said(array[back.id]);
    return null;
end
$$;
revoke all on function public.chopsky_on_said_left() from public, anon, authenticated, service_role;
create trigger conversation_messages_said_gone after delete on public.conversation_messages for each row
when (old.said is not null and current_setting('chopsky_trace.recompute', true) = 'on')
execute function public.chopsky_on_said_left();
create trigger conversation_messages_said_moved after update on public.conversation_messages for each row
when (old.said is not null and new.said is not null and old.session_key <> new.session_key)
execute function public.chopsky_on_said_left();

-- Removes what was said in a session, and keeps the session. As its owner, because a user may clear a conversation, yet remove
-- no single run or message of it. Only clear_conversation_session leads here: it changes the session for its caller, so that
-- row level security has said by then whose it is.
create function public.chopsky_on_session_cleared() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
    run_ids uuid[];
    said_ids uuid[];
    removed bigint;
begin
    -- The session follows what goes, and is changed again.
    perform set_config('chopsky_trace.clearing', '', true);
    if new.legal_hold then
        raise exception 'The session % is under a legal hold', new.id
            using errcode = 'restrict_violation', hint = 'Set legal_hold to false first.';
    end if;
    run_ids := array(select r.id from public.conversation_runs r where r.session_key = new.session_key order by r.id for update);
    said_ids := array(
        select m.id from public.conversation_messages m
        where m.session_key = new.session_key and m.conversation_run_id is null order by m.id for update
    );
    removed := cardinality(said_ids) + (select count(*) from public.conversation_messages m where m.conversation_run_id = any (run_ids));
    perform public.chopsky_entomb_runs(run_ids);
    perform public.chopsky_lock_usage(run_ids || said_ids);
    delete from public.conversation_runs r where r.id = any (run_ids);
    delete from public.conversation_messages m where m.id = any (said_ids);
    perform set_config('chopsky_trace.cleared', removed::text, true);
    return null;
end
$$;
revoke all on function public.chopsky_on_session_cleared() from public, anon, authenticated, service_role;
create trigger conversation_sessions_cleared after update on public.conversation_sessions for each row
when (current_setting('chopsky_trace.clearing', true) = new.id::text)
execute function public.chopsky_on_session_cleared();

create function public.clear_conversation_session(session_uuid uuid) returns bigint
language plpgsql set search_path = ''
as $$
declare
    began constant timestamptz := clock_timestamp();
    name text;
begin
    select s.session_id into name from public.conversation_sessions s where s.id = session_uuid;
    perform pg_advisory_xact_lock(hashtextextended(name, 0));
    -- As who removes it: first the session. Not in line, and only one that the caller may change.
    loop
        begin
            select s.session_id into name from public.conversation_sessions s where s.id = session_uuid for no key update nowait;
            exit;
        exception when lock_not_available then
            perform public.chopsky_give_way(began, '5 seconds', 'session');
        end;
    end loop;
    if name is null then
        raise exception 'There is no session % of yours', session_uuid
            using errcode = 'no_data_found', hint = 'conversation_session_id(session_id) finds a session by its name.';
    end if;
    perform set_config('chopsky_trace.clearing', session_uuid::text, true);
    -- Also one that only its runs had made stays: this changes it by hand.
    update public.conversation_sessions s set is_archived = s.is_archived where s.id = session_uuid;
    return current_setting('chopsky_trace.cleared')::bigint;
end
$$;
comment on function public.clear_conversation_session(uuid) is 'Removes the messages of a session and its runs with all that belongs to them, and keeps the session: of a signed-in user one of their own. Returns how many messages went.';
revoke all on function public.clear_conversation_session(uuid) from public, anon, authenticated, service_role;
grant execute on function public.clear_conversation_session(uuid) to authenticated, service_role;
