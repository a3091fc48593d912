-- One row per session: what a user calls a conversation. A session is one user's, in one tenant and project, so a guessed
-- session id neither shows nor takes over anybody else's. Every run with a session has its row here; an application may
-- make one before its first run, and drive it through its states.
create table public.conversation_sessions (
    id uuid primary key default gen_random_uuid(),
    session_id text not null,
    project text,
    tenant_id text,
    user_id text,
    session_key uuid not null unique generated always as (
        md5(
            coalesce(length(project) || ':' || project, '-') || coalesce(length(tenant_id) || ':' || tenant_id, '-')
            || coalesce(length(user_id) || ':' || user_id, '-') || session_id
        )::uuid
    ) stored,
    title text constraint conversation_sessions_title_at_most_500 check (char_length(title) <= 500),
    is_archived boolean not null default false,
    state text not null default 'initial' check (state in (
        'initial', 'gathering', 'clarifying', 'planning', 'confirming', 'delegated', 'reviewing', 'delivered', 'cancelled'
    )),
    parsed_intent jsonb,
    answered_questions jsonb not null default '{}',
    pending_questions jsonb not null default '[]',
    selected_kb_ids uuid[] not null default '{}',
    active_task_plan_id uuid,
    model_provider text,
    model_name text,
    temperature numeric(4, 3) check (temperature between 0 and 9),
    max_tokens integer check (max_tokens > 0),
    system_prompt text,
    document_chat boolean not null default false,
    image_generation boolean not null default false,
    web_search boolean not null default false,
    metadata jsonb not null default '{}',
    by_hand boolean not null default false,
    driven_at timestamptz,
    expires_at timestamptz,
    legal_hold boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    last_activity_at timestamptz not null default now(),
    completed_at timestamptz
);
comment on table public.conversation_sessions is 'One session: what a user calls a conversation. Its runs have the same session_key.';
comment on column public.conversation_sessions.session_id is 'The application''s own name for it (thread_id, conversation id), any text; the id where it gave none.';
comment on column public.conversation_sessions.session_key is 'Derived from project, tenant, user and session_id, as in conversation_runs: join on it.';
comment on column public.conversation_sessions.state is 'Where the application has it. A session that nobody drives stays initial; see chopsky_session_moves.';
comment on column public.conversation_sessions.by_hand is 'Made or changed by the application: kept when its last run goes.';
comment on column public.conversation_sessions.driven_at is 'When the application last changed its state or what it works with.';
comment on column public.conversation_sessions.expires_at is 'When it may be removed with all that belongs to it. NULL: never, but for a retention policy.';
comment on column public.conversation_sessions.legal_hold is 'True: nothing removes it or what belongs to it.';
comment on column public.conversation_sessions.last_activity_at is 'End of its latest run or message, or when it was last driven, whichever is later.';
comment on column public.conversation_sessions.completed_at is 'When it was delivered or cancelled.';

create index idx_sessions_user_id on public.conversation_sessions (user_id, last_activity_at desc, id desc);
create index idx_sessions_tenant_id on public.conversation_sessions (tenant_id, last_activity_at desc, id desc) where tenant_id is not null;
create index idx_sessions_last_activity_at on public.conversation_sessions (last_activity_at desc, id desc);
create index idx_sessions_session_id on public.conversation_sessions (session_id);
-- Few: those that an application has under way.
create index idx_sessions_active on public.conversation_sessions (state, last_activity_at desc)
    where state not in ('initial', 'delivered', 'cancelled');
create index idx_sessions_expires_at on public.conversation_sessions (expires_at) where expires_at is not null;
-- Messages written by hand, outside any run.
create index idx_messages_session_key on public.conversation_messages (session_key, created_at) where conversation_run_id is null;

revoke all on table public.conversation_sessions from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.conversation_sessions to service_role;
-- What a user works with, and none of what the application keeps to itself: system prompt, metadata, holds.
grant select (
    id, session_id, session_key, project, tenant_id, user_id, title, is_archived, state, parsed_intent, answered_questions,
    pending_questions, selected_kb_ids, active_task_plan_id, model_provider, model_name, temperature, max_tokens,
    document_chat, image_generation, web_search, expires_at, created_at, updated_at, last_activity_at, completed_at
) on table public.conversation_sessions to authenticated;
grant insert (
    id, session_id, tenant_id, user_id, title, state, parsed_intent, answered_questions, pending_questions, selected_kb_ids,
    active_task_plan_id, model_provider, model_name, temperature, max_tokens, document_chat, image_generation, web_search
), update (
    title, is_archived, state, parsed_intent, answered_questions, pending_questions, selected_kb_ids, active_task_plan_id,
    model_provider, model_name, temperature, max_tokens, document_chat, image_generation, web_search
), delete on table public.conversation_sessions to authenticated;

alter table public.conversation_sessions enable row level security;
create policy conversation_sessions_read on public.conversation_sessions for select to authenticated using (
    (
        user_id = (select (select auth.jwt()) ->> 'sub')
        and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
    ) or tenant_id = (select case when public.chopsky_reads_tenant() then public.chopsky_tenant_id() end)
);
create policy conversation_sessions_begin on public.conversation_sessions for insert to authenticated with check (
    user_id = (select (select auth.jwt()) ->> 'sub')
    and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
);
create policy conversation_sessions_drive on public.conversation_sessions for update to authenticated using (
    user_id = (select (select auth.jwt()) ->> 'sub')
    and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
) with check (
    user_id = (select (select auth.jwt()) ->> 'sub')
    and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
);
create policy conversation_sessions_remove on public.conversation_sessions for delete to authenticated using (
    user_id = (select (select auth.jwt()) ->> 'sub')
    and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
);
create policy conversation_sessions_service on public.conversation_sessions for all to service_role using (true) with check (true);

-- The states that a session may go to from one. Replace it where yours go another way; delivered and cancelled are ends.
create function public.chopsky_session_moves(state text) returns text[]
language sql immutable set search_path = ''
as $$
    select case state
        when 'initial' then array['gathering', 'clarifying', 'planning', 'delivered', 'cancelled']
        when 'gathering' then array['clarifying', 'planning', 'delivered', 'cancelled']
        when 'clarifying' then array['gathering', 'planning', 'delivered', 'cancelled']
        when 'planning' then array['gathering', 'clarifying', 'confirming', 'delegated', 'delivered', 'cancelled']
        when 'confirming' then array['clarifying', 'planning', 'delegated', 'delivered', 'cancelled']
        when 'delegated' then array['planning', 'reviewing', 'delivered', 'cancelled']
        when 'reviewing' then array['planning', 'delegated', 'delivered', 'cancelled']
        else '{}'
    end
$$;
comment on function public.chopsky_session_moves(text) is 'The states that a session may go to from this one. Replace it where yours go another way.';
revoke all on function public.chopsky_session_moves(text) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_session_moves(text) to authenticated, service_role;

-- A session is as the application set it; what the tracer does to it is under recompute, and changes none of that.
create function public.update_session_activity() returns trigger
language plpgsql set search_path = ''
as $$
declare
    is_traced constant boolean := coalesce(current_setting('chopsky_trace.recompute', true) = 'on', false);
    states constant text[] := array[
        'initial', 'gathering', 'clarifying', 'planning', 'confirming', 'delegated', 'reviewing', 'delivered', 'cancelled'
    ];
begin
    if new.state <> all (states) then
        raise exception 'There is no state % of a session', quote_literal(new.state)
            using errcode = 'check_violation', hint = 'It may be ' || array_to_string(states, ', ') || '.';
    end if;
    if tg_op = 'INSERT' then
        new.session_id := coalesce(new.session_id, new.id::text);
        new.by_hand := new.by_hand or not is_traced;
        if not is_traced and auth.jwt() ->> 'sub' is not null then
            -- What a signed-in user begins is theirs; a policy refuses another's name.
            new.user_id := coalesce(new.user_id, auth.jwt() ->> 'sub');
            new.tenant_id := coalesce(new.tenant_id, public.chopsky_tenant_id());
        end if;
    elsif new.state <> old.state and new.state <> all (public.chopsky_session_moves(old.state)) then
        raise exception 'A session that is % cannot become %', old.state, new.state
            using errcode = 'check_violation', hint = coalesce(
                'It may become ' || nullif(array_to_string(public.chopsky_session_moves(old.state), ', '), '') || '.',
                'It has come to its end: begin another session.'
            );
    end if;
    if new.state in ('delivered', 'cancelled') then
        new.completed_at := coalesce(new.completed_at, now());
    end if;
    if tg_op = 'UPDATE' and not is_traced then
        new.by_hand := true;
        new.updated_at := now();
        if (new.state, new.parsed_intent, new.answered_questions, new.pending_questions, new.selected_kb_ids, new.active_task_plan_id)
            is distinct from
            (old.state, old.parsed_intent, old.answered_questions, old.pending_questions, old.selected_kb_ids, old.active_task_plan_id)
        then
            new.driven_at := now();
            new.last_activity_at := greatest(new.last_activity_at, now());
        end if;
    end if;
    return new;
end
$$;
comment on function public.update_session_activity() is 'Keeps a session''s times, and its moves from state to state legal.';
revoke all on function public.update_session_activity() from public, anon, authenticated, service_role;
create trigger conversation_sessions_activity before insert or update on public.conversation_sessions
    for each row execute function public.update_session_activity();

-- Who removes a session by hand has its row and waits for its runs; who asks for this has runs.
create function public.chopsky_lock_sessions(keys uuid[], patience interval default '1 second') returns void
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    began constant timestamptz := clock_timestamp();
    wanted record;
begin
    -- One after the other, in order: who tries for the same waits with nothing that the first still wants.
    for wanted in
        select s.session_key as key from public.conversation_sessions s where s.session_key = any (keys) order by s.session_key
    loop
        loop
            perform 1 from public.conversation_sessions s where s.session_key = wanted.key for no key update skip locked;
            exit when found or not exists (select 1 from public.conversation_sessions s where s.session_key = wanted.key);
            perform public.chopsky_give_way(began, public.chopsky_patience(patience), 'session');
        end loop;
    end loop;
end
$$;
comment on function public.chopsky_lock_sessions(uuid[], interval) is 'Locks these sessions for who holds runs already.';
revoke all on function public.chopsky_lock_sessions(uuid[], interval) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_lock_sessions(uuid[], interval) to service_role;

-- The rows of these sessions follow from their runs and from what was written by hand: made where there is none, gone
-- with the last of these where the application never touched them. A pure function of what is stored, whatever came when.
create function public.chopsky_settle_sessions(keys uuid[], patience interval default '1 second') returns void
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    early uuid[];
    projects text[];
begin
    if coalesce(cardinality(keys), 0) = 0 then
        return;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    -- A session that an application made before its first run has no project yet: that run's it is.
    select array_agg(s.session_key), array_agg(r.project) into early, projects
    from unnest(keys) k (key)
    cross join lateral (
        select o.project, o.tenant_id, o.user_id, o.session_id from public.conversation_runs o
        where o.session_key = k.key and o.session_id is not null and o.project is not null and not o.merged
        limit 1
    ) r
    join public.conversation_sessions s on s.session_id = r.session_id and s.project is null and s.by_hand
        and s.user_id is not distinct from r.user_id and s.tenant_id is not distinct from r.tenant_id
        and not exists (select 1 from public.conversation_sessions e where e.session_key = k.key)
        and not exists (select 1 from public.conversation_runs o where o.session_key = s.session_key);
    perform public.chopsky_lock_sessions(keys || early, patience);
    if early is not null then
        update public.conversation_sessions s
        set project = e.project
        from unnest(early, projects) e (key, project)
        where s.session_key = e.key;
    end if;

    insert into public.conversation_sessions as s (
        id, session_id, project, tenant_id, user_id, by_hand, created_at, updated_at, last_activity_at
    )
    select
        -- "offset 0": each by the key, also where the plan was made while the table was small.
        case when exists (select 1 from public.conversation_sessions e where e.id = k.key offset 0) then gen_random_uuid() else k.key end,
        f.session_id, f.project, f.tenant_id, f.user_id, false, f.began, l.at, l.at
    from (select distinct u.key from unnest(keys) u (key)) k
    cross join lateral (
        select r.session_id, r.project, r.tenant_id, r.user_id, coalesce(r.started_at, r.created_at) as began
        from public.conversation_runs r
        where r.session_key = k.key and r.session_id is not null and not r.merged
        order by coalesce(r.started_at, r.created_at), r.id limit 1
    ) f
    cross join lateral (
        select coalesce(r.ended_at, r.started_at, r.created_at) as at
        from public.conversation_runs r
        where r.session_key = k.key and not r.merged
        order by coalesce(r.started_at, r.created_at) desc, r.id desc limit 1
    ) l
    order by k.key
    on conflict (session_key) do update
    set created_at = case when s.by_hand then s.created_at else excluded.created_at end,
        (last_activity_at, updated_at) = (
            select z.at, case when s.by_hand then greatest(s.updated_at, z.at) else z.at end
            from (select greatest(excluded.last_activity_at, s.driven_at, public.chopsky_said_by_hand(s.session_key)) as at) z
        )
    where s.last_activity_at <> greatest(excluded.last_activity_at, s.driven_at, public.chopsky_said_by_hand(s.session_key))
        or (not s.by_hand and s.created_at <> excluded.created_at);

    delete from public.conversation_sessions s
    where s.session_key = any (keys) and not s.by_hand
        and not exists (select 1 from public.conversation_runs r where r.session_key = s.session_key and not r.merged)
        and public.chopsky_said_by_hand(s.session_key) is null;
    perform set_config('chopsky_trace.recompute', was, true);
end
$$;
comment on function public.chopsky_settle_sessions(uuid[], interval) is 'Makes the sessions of these keys follow from their runs and messages.';
revoke all on function public.chopsky_settle_sessions(uuid[], interval) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_settle_sessions(uuid[], interval) to service_role;

create function public.chopsky_said_by_hand(session_key uuid) returns timestamptz
language plpgsql stable set search_path = ''
as $$
begin
    return (
        select max(m.created_at) from public.conversation_messages m
        where m.session_key = chopsky_said_by_hand.session_key and m.conversation_run_id is null
    );
end
$$;
comment on function public.chopsky_said_by_hand(uuid) is 'When the latest message was written that is of this session and of no run.';
revoke all on function public.chopsky_said_by_hand(uuid) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_said_by_hand(uuid) to service_role;

create function public.chopsky_on_run_of_session() returns trigger
language plpgsql set search_path = ''
as $$
begin
    perform public.chopsky_settle_sessions(array_remove(array[
        case when tg_op <> 'INSERT' then old.session_key end, case when tg_op <> 'DELETE' then new.session_key end
    ], null), case tg_op when 'INSERT' then interval '10 seconds' else '1 second' end);
    return null;
end
$$;
revoke all on function public.chopsky_on_run_of_session() from public, anon, authenticated, service_role;
-- By hand; ingest settles its own once, at its end.
create trigger conversation_runs_of_session after insert or update on public.conversation_runs for each row
when (new.session_id is not null and current_setting('chopsky_trace.recompute', true) is distinct from 'on')
execute function public.chopsky_on_run_of_session();
-- However a run leaves its session.
create trigger conversation_runs_left_session after update on public.conversation_runs for each row
when (old.session_id is not null and (old.session_key <> new.session_key or (new.merged and not old.merged)))
execute function public.chopsky_on_run_of_session();
create function public.chopsky_on_runs_gone() returns trigger
language plpgsql set search_path = ''
as $$
begin
    perform public.chopsky_settle_sessions(array(
        select distinct r.session_key from gone_runs r where r.session_id is not null
    ));
    return null;
end
$$;
revoke all on function public.chopsky_on_runs_gone() from public, anon, authenticated, service_role;
create trigger conversation_runs_gone after delete on public.conversation_runs
    referencing old table as gone_runs for each statement execute function public.chopsky_on_runs_gone();

-- A session that is renamed, or given to a user, takes along what belongs to it.
create function public.chopsky_on_session_moved() returns trigger
language plpgsql set search_path = ''
as $$
begin
    if current_setting('chopsky_trace.recompute', true) is distinct from 'on' then
        perform 1 from public.conversation_runs r where r.session_key = old.session_key order by r.id for no key update;
        update public.conversation_runs r
        set session_id = new.session_id, project = new.project, tenant_id = new.tenant_id, user_id = new.user_id
        where r.session_key = old.session_key;
    end if;
    update public.conversation_messages m
    set session_key = new.session_key, session_id = new.session_id, tenant_id = new.tenant_id, user_id = new.user_id
    where m.session_key = old.session_key and m.conversation_run_id is null;
    perform public.chopsky_settle_said(array(
        select m.id from public.conversation_messages m where m.session_key = new.session_key and m.conversation_run_id is null
    ));
    return null;
end
$$;
revoke all on function public.chopsky_on_session_moved() from public, anon, authenticated, service_role;
create trigger conversation_sessions_moved after update on public.conversation_sessions for each row
when (old.session_key <> new.session_key) execute function public.chopsky_on_session_moved();

-- What a person had removed must not come back with a late record; the step that knows how replaces this.
create function public.chopsky_entomb_runs(run_ids uuid[]) returns void
language sql set search_path = ''
as $$ select $$;
revoke all on function public.chopsky_entomb_runs(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_entomb_runs(uuid[]) to service_role;

-- As its owner, because a user may remove a conversation, yet no single run or message of it.
create function public.chopsky_on_session_gone() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
    held uuid;
    keys uuid[];
    run_ids uuid[];
    said_ids uuid[];
begin
    select s.id into held from gone_sessions s where s.legal_hold order by s.id limit 1;
    if found then
        raise exception 'The session % is under a legal hold', held
            using errcode = 'restrict_violation', hint = 'Set legal_hold to false first.';
    end if;
    keys := array(select s.session_key from gone_sessions s);
    run_ids := array(select r.id from public.conversation_runs r where r.session_key = any (keys) order by r.id for update);
    said_ids := array(
        select m.id from public.conversation_messages m where m.session_key = any (keys) and m.conversation_run_id is null
        order by m.id for update
    );
    if to_regprocedure('public.chopsky_lock_usage(uuid[])') is not null then
        execute 'select public.chopsky_lock_usage($1)' using run_ids || said_ids;
    end if;
    delete from public.conversation_runs r where r.id = any (run_ids);
    perform public.chopsky_entomb_runs(run_ids);
    delete from public.conversation_messages m where m.id = any (said_ids);
    return null;
end
$$;
revoke all on function public.chopsky_on_session_gone() from public, anon, authenticated, service_role;
-- Under recompute only a row that nothing belongs to goes.
create trigger conversation_sessions_gone after delete on public.conversation_sessions
referencing old table as gone_sessions for each statement
when (current_setting('chopsky_trace.recompute', true) is distinct from 'on')
execute function public.chopsky_on_session_gone();

-- The one look-up from what an application calls a session, or from its id, to the session.
create function public.conversation_session_id(
    session_id text, tenant_id text default null, user_id text default null, project text default null
) returns uuid
language plpgsql stable set search_path = ''
as $$
declare
    wanted constant text := conversation_session_id.session_id;
    found_ids uuid[];
begin
    found_ids := array(
        select s.id from public.conversation_sessions s
        where s.session_id = wanted
            and (conversation_session_id.tenant_id is null or s.tenant_id = conversation_session_id.tenant_id)
            and (conversation_session_id.user_id is null or s.user_id = conversation_session_id.user_id)
            and (conversation_session_id.project is null or s.project = conversation_session_id.project)
        order by s.last_activity_at desc limit 2
    );
    if cardinality(found_ids) = 0 and wanted ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        found_ids := array(
            select s.id from public.conversation_sessions s
            where s.id = wanted::uuid
                and (conversation_session_id.tenant_id is null or s.tenant_id = conversation_session_id.tenant_id)
                and (conversation_session_id.user_id is null or s.user_id = conversation_session_id.user_id)
                and (conversation_session_id.project is null or s.project = conversation_session_id.project)
        );
    end if;
    if cardinality(found_ids) > 1 then
        raise exception 'Several sessions are named %', quote_literal(wanted)
            using errcode = 'cardinality_violation', hint = 'Say which by tenant_id, user_id and project.';
    end if;
    return found_ids[1];
end
$$;
comment on function public.conversation_session_id(text, text, text, text) is 'The id of the session of this name, or of this id as text, that the caller may see; NULL where there is none.';
revoke all on function public.conversation_session_id(text, text, text, text) from public, anon, authenticated, service_role;
grant execute on function public.conversation_session_id(text, text, text, text) to authenticated, service_role;

-- Messages written by hand outside a run find their session, by its name or its id, and make it where there is none.
create function public.update_session_on_message() returns trigger
language plpgsql set search_path = ''
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    said record;
    session_uuid uuid;
    session public.conversation_sessions;
begin
    if was = 'on' or not exists (select 1 from changed c where c.conversation_run_id is null and c.session_id is not null) then
        return null;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    -- As ingest does: one writer at a time for a session, and before any row of it is locked.
    perform pg_advisory_xact_lock(k.key)
    from (
        select distinct hashtextextended(coalesce((
            select s.session_id from public.conversation_sessions s where s.id = coalesce(
                (select e.id from public.conversation_sessions e where e.session_key = n.session_key),
                public.conversation_session_id(n.session_id, n.tenant_id, n.user_id)
            )
        ), n.session_id), 0) as key
        from (
            select distinct c.session_id, c.tenant_id, c.user_id, c.session_key
            from changed c where c.conversation_run_id is null and c.session_id is not null
        ) n
        order by 1
    ) k;
    for said in
        select c.session_id, c.tenant_id, c.user_id, c.session_key, array_agg(c.id) as ids, max(c.created_at) as at
        from changed c where c.conversation_run_id is null and c.session_id is not null
        group by 1, 2, 3, 4 order by 1, 2, 3, 4
    loop
        session_uuid := coalesce(
            (select s.id from public.conversation_sessions s where s.session_key = said.session_key),
            public.conversation_session_id(said.session_id, said.tenant_id, said.user_id)
        );
        perform public.chopsky_lock_sessions(array(select s.session_key from public.conversation_sessions s where s.id = session_uuid), '10 seconds');
        select s.* into session from public.conversation_sessions s
        where s.id = coalesce(session_uuid, public.conversation_session_id(said.session_id, said.tenant_id, said.user_id))
        for no key update;
        if session.id is null then
            insert into public.conversation_sessions as s (session_id, tenant_id, user_id, by_hand)
            values (said.session_id, said.tenant_id, said.user_id, true)
            on conflict (session_key) do update set by_hand = true
            returning s.* into session;
        end if;
        update public.conversation_messages m
        set session_key = session.session_key, session_id = session.session_id, tenant_id = session.tenant_id, user_id = session.user_id
        where m.id = any (said.ids);
        update public.conversation_sessions s set last_activity_at = said.at, updated_at = greatest(s.updated_at, said.at)
        where s.id = session.id and s.last_activity_at < said.at;
        perform public.chopsky_settle_said(said.ids);
    end loop;
    perform set_config('chopsky_trace.recompute', was, true);
    return null;
end
$$;
comment on function public.update_session_on_message() is 'Brings a message written by hand into its session, and the session''s last activity up to date.';
revoke all on function public.update_session_on_message() from public, anon, authenticated, service_role;
-- Triggers fire by name: this one before conversation_messages_inserted, for sessions are locked before roll-ups.
create trigger conversation_messages_in_session after insert on public.conversation_messages
    referencing new table as changed for each statement execute function public.update_session_on_message();

-- What an application asks of a session by its id. Each runs as its caller: row level security and grants decide.

create function public.chopsky_end_session(session_uuid uuid, state text) returns void
language plpgsql set search_path = ''
as $$
begin
    update public.conversation_sessions s set state = chopsky_end_session.state
    where s.id = session_uuid and s.state <> chopsky_end_session.state;
    if not found and not exists (
        select 1 from public.conversation_sessions s where s.id = session_uuid and s.state = chopsky_end_session.state
    ) then
        raise exception 'There is no session %', session_uuid
            using errcode = 'no_data_found', hint = 'conversation_session_id(session_id) finds a session by its name.';
    end if;
end
$$;
revoke all on function public.chopsky_end_session(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_end_session(uuid, text) to authenticated, service_role;

create function public.complete_conversation_session(session_uuid uuid) returns void
language sql set search_path = ''
as $$ select public.chopsky_end_session(session_uuid, 'delivered') $$;
comment on function public.complete_conversation_session(uuid) is 'Marks a session as delivered.';
revoke all on function public.complete_conversation_session(uuid) from public, anon, authenticated, service_role;
grant execute on function public.complete_conversation_session(uuid) to authenticated, service_role;

create function public.cancel_conversation_session(session_uuid uuid) returns void
language sql set search_path = ''
as $$ select public.chopsky_end_session(session_uuid, 'cancelled') $$;
comment on function public.cancel_conversation_session(uuid) is 'Marks a session as cancelled.';
revoke all on function public.cancel_conversation_session(uuid) from public, anon, authenticated, service_role;
grant execute on function public.cancel_conversation_session(uuid) to authenticated, service_role;

create function public.get_conversation_history(session_uuid uuid, at_most integer default 10)
returns table (
    id uuid, conversation_run_id uuid, role text, content text, action_taken text, questions_asked jsonb, created_at timestamptz
)
language plpgsql stable set search_path = ''
-- Planned for the number asked for.
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    key uuid;
    wanted constant integer := least(greatest(get_conversation_history.at_most, 0), 10000);
begin
    select s.session_key into key from public.conversation_sessions s where s.id = session_uuid;
    return query
    select l.id, l.conversation_run_id, l.role, l.content, l.action_taken, l.questions_asked, l.created_at
    from (
        (
            select m.id, m.conversation_run_id, m.role, m.content, m.action_taken, m.questions_asked, m.created_at, r.began, m.sequence
            from (
                select o.id, coalesce(o.started_at, o.created_at) as began
                from public.conversation_runs o where o.session_key = key and not o.merged
            ) r
            -- A limit for each run too: runs are taken one by one, and no more of them than are needed.
            cross join lateral (
                select i.id, i.conversation_run_id, i.role, i.content, i.action_taken, i.questions_asked, i.created_at, i.sequence
                from public.conversation_messages i
                where i.conversation_run_id = r.id and not i.is_internal
                order by i.sequence desc nulls first, i.id desc limit wanted
            ) m
            order by r.began desc, r.id desc, m.sequence desc nulls first, m.id desc
            limit wanted
        )
        union all
        (
            select m.id, m.conversation_run_id, m.role, m.content, m.action_taken, m.questions_asked, m.created_at, m.created_at, 0
            from public.conversation_messages m
            where m.session_key = key and m.conversation_run_id is null and not m.is_internal
            order by m.created_at desc limit wanted
        )
        order by began desc, sequence desc nulls first, created_at desc, id desc limit wanted
    ) l
    order by l.began, l.sequence nulls last, l.created_at, l.id;
end
$$;
comment on function public.get_conversation_history(uuid, integer) is 'The latest messages of a session that its user said or was answered, the earliest of them first.';
revoke all on function public.get_conversation_history(uuid, integer) from public, anon, authenticated, service_role;
grant execute on function public.get_conversation_history(uuid, integer) to authenticated, service_role;

create function public.get_session_cost(session_uuid uuid) returns numeric
language sql stable set search_path = ''
as $$
    select sum(c.cost)
    from public.conversation_sessions s
    cross join lateral (
        select r.total_cost as cost from public.conversation_runs r where r.session_key = s.session_key and not r.merged
        union all
        select m.cost from public.conversation_messages m where m.session_key = s.session_key and m.conversation_run_id is null
    ) c
    where s.id = session_uuid
$$;
comment on function public.get_session_cost(uuid) is 'USD: sum of what is known; NULL where nothing is. Needs the right to read costs.';
revoke all on function public.get_session_cost(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_session_cost(uuid) to authenticated, service_role;

create function public.get_session_message_stats(session_uuid uuid)
returns table (role text, message_count bigint, total_tokens bigint, total_cost numeric, average_response_time numeric)
language sql stable set search_path = ''
as $$
    select m.role, count(*), sum(m.token_count), sum(m.cost), round(avg(m.response_time_ms), 3)
    from public.conversation_sessions s
    cross join lateral (
        select i.role, i.token_count, i.cost, i.response_time_ms
        from public.conversation_runs r join public.conversation_messages i on i.conversation_run_id = r.id
        where r.session_key = s.session_key and not r.merged and not i.is_internal
        union all
        select i.role, i.token_count, i.cost, i.response_time_ms
        from public.conversation_messages i
        where i.session_key = s.session_key and i.conversation_run_id is null and not i.is_internal
    ) m
    where s.id = session_uuid
    group by m.role
    order by m.role
$$;
comment on function public.get_session_message_stats(uuid) is 'A session''s messages by role: how many, their tokens, their cost in USD, mean response time in milliseconds. Needs the right to read costs.';
revoke all on function public.get_session_message_stats(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_session_message_stats(uuid) to authenticated, service_role;

-- Sums over a session's runs; nothing is counted twice, because nothing is stored twice.
create view public.conversation_session_totals with (security_invoker = true) as
select
    s.id, s.session_id, s.session_key, s.project, s.tenant_id, s.user_id, s.title, s.state, s.last_activity_at,
    t.total_runs, t.total_messages, t.total_tokens_used, t.total_cost, t.average_response_time, t.unpriced_calls, t.unmeasured_calls
from public.conversation_sessions s
cross join lateral (
    select
        count(*) filter (where not o.is_message) as total_runs, coalesce(sum(o.messages), 0) as total_messages,
        sum(o.tokens) as total_tokens_used, sum(o.cost) as total_cost, round(avg(o.response_time), 3) as average_response_time,
        sum(o.unpriced) as unpriced_calls, sum(o.unmeasured) as unmeasured_calls
    from (
        select
            false as is_message, r.total_messages as messages, r.total_tokens_used as tokens, r.total_cost as cost,
            r.average_response_time as response_time, r.unpriced_calls as unpriced, r.unmeasured_calls as unmeasured
        from public.conversation_runs r where r.session_key = s.session_key and not r.merged
        union all
        select true, case when m.is_internal then 0 else 1 end, m.token_count, m.cost, m.response_time_ms, 0, 0
        from public.conversation_messages m where m.session_key = s.session_key and m.conversation_run_id is null
    ) o
) t;
comment on view public.conversation_session_totals is 'Sessions with the sums of their runs. Needs the right to read costs.';
revoke all on table public.conversation_session_totals from public, anon, authenticated, service_role;
grant select on table public.conversation_session_totals to authenticated, service_role;

-- Where runs were stored before.
select public.chopsky_settle_sessions(array(
    select distinct r.session_key from public.conversation_runs r where r.session_id is not null
));

-- And where messages were, outside any run: those of no session that is there by now make theirs, in no project.
do $$
begin
    perform set_config('chopsky_trace.recompute', 'on', true);
    insert into public.conversation_sessions (session_id, tenant_id, user_id, by_hand, created_at, updated_at, last_activity_at)
    select m.session_id, m.tenant_id, m.user_id, true, min(m.created_at), max(m.created_at), max(m.created_at)
    from public.conversation_messages m
    where m.conversation_run_id is null and m.session_id is not null and not exists (
        select 1 from public.conversation_sessions s
        where s.session_id = m.session_id and s.tenant_id is not distinct from m.tenant_id and s.user_id is not distinct from m.user_id
    )
    group by m.session_id, m.tenant_id, m.user_id;
    update public.conversation_messages m
    set session_key = (
        select s.session_key from public.conversation_sessions s
        where s.session_id = m.session_id and s.tenant_id is not distinct from m.tenant_id and s.user_id is not distinct from m.user_id
        order by s.last_activity_at desc, s.id limit 1
    )
    where m.conversation_run_id is null and m.session_id is not null
        and not exists (select 1 from public.conversation_sessions s where s.session_key = m.session_key);
    update public.conversation_sessions s
    set last_activity_at = m.at, updated_at = greatest(s.updated_at, m.at)
    from (
        select l.session_key, max(l.created_at) as at
        from public.conversation_messages l where l.conversation_run_id is null and l.session_key is not null
        group by l.session_key
    ) m
    where s.session_key = m.session_key and s.last_activity_at < m.at;
    perform set_config('chopsky_trace.recompute', 'off', true);
end
$$;
