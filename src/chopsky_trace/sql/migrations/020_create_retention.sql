-- How long things are kept, and what removes them: in batches, around what writers hold, with the roll-ups of usage kept and
-- every prompt that stays still exact.
create table public.retention_policies (
    id uuid primary key default gen_random_uuid(),
    what text not null check (
        what in ('sessions', 'runs', 'messages', 'payloads', 'feedback', 'writer_status', 'tombstones')
    ),
    tenant_id text,
    keep_for interval check (keep_for > interval '0'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint retention_policies_once unique nulls not distinct (what, tenant_id),
    constraint retention_policies_have_no_tenant check (what not in ('writer_status', 'tombstones') or tenant_id is null)
);
comment on table public.retention_policies is 'How long things are kept. A tenant''s own rule goes before the general one; without a rule all is kept.';
comment on column public.retention_policies.what is 'sessions: with all of theirs, after their last activity. runs: whole. messages: what was said, and payloads; numbers stay. payloads: inputs, outputs, texts and documents of spans. feedback. writer_status. tombstones: of runs, a year without a rule; those of persons stay.';
comment on column public.retention_policies.tenant_id is 'NULL: all tenants that have no rule of their own.';
comment on column public.retention_policies.keep_for is 'From when the server first had it, or last heard of it. NULL: for good.';
revoke all on table public.retention_policies from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.retention_policies to service_role;
alter table public.retention_policies enable row level security;
create policy retention_policies_service on public.retention_policies for all to service_role using (true) with check (true);

alter table public.conversation_runs add column content_removed text check (content_removed in ('payloads', 'messages'));
comment on column public.conversation_runs.content_removed is 'What a retention policy took away: payloads, or messages and payloads. NULL: nothing.';
create index idx_conversation_runs_content_removed on public.conversation_runs (content_removed, created_at);

-- Every id that these runs' prompts, payloads, messages and documents name: bodies, contents, prefixes. What only looks like
-- one is among them: it is asked what must stay.
create function public.chopsky_named_ids(run_ids uuid[]) returns setof uuid
language plpgsql stable set search_path = ''
-- Planned once: a session of few runs takes less time than the plan.
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
begin
    return query
    with recursive told (text) as (
        select concat_ws(' ', s.inputs, s.outputs, s.invocation_params, s.metadata, s.end_metadata)
        from public.conversation_spans s where s.conversation_run_id = any (run_ids)
        union all
        select concat_ws(' ', m.parts, m.tool_calls)
        from public.conversation_messages m where m.conversation_run_id = any (run_ids) and num_nonnulls(m.parts, m.tool_calls) > 0
        union all
        select c.document::text
        from public.conversation_contents c where c.conversation_run_id = any (run_ids) and c.document is not null
    ), named (id) as materialized (
        select (f.found)[1]::uuid
        from told t
        cross join lateral regexp_matches(t.text, '"([0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12})"', 'g') f (found)
        where t.text like '%{"$%'
        union
        select unnest(s.prompt_bodies || s.output_bodies || s.prompt_prefix)
        from public.conversation_spans s where s.conversation_run_id = any (run_ids)
    ), node (id, extends, length, bodies) as (
        select p.id, p.extends, p.length, p.bodies from public.conversation_prefixes p join named n on n.id = p.id
        union
        select p.id, p.extends, p.length, p.bodies
        from node n join public.conversation_prefixes p on p.id = n.extends and p.length < n.length
    )
    select n.id from named n where n.id is not null
    union
    select n.id from node n
    union
    select unnest(n.bodies) from node n;
end
$$;
comment on function public.chopsky_named_ids(uuid[]) is 'Ids that the prompts, payloads, messages and documents of these runs refer to.';
revoke all on function public.chopsky_named_ids(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_named_ids(uuid[]) to service_role;

-- What a run of the session that stays still refers to, of runs that go: the earliest that stays gets a copy of each message,
-- as history that is not shown, and of the contents and media in it. As if the session's next prompt had told it. Runs that are
-- going, too, only later, get what is nowhere else, and only where none stays for good. Returns the runs that got any, how many
-- messages, and how many of those will go with a run that is going.
create function public.chopsky_hand_over(
    leaving uuid[], going uuid[], out heirs uuid[], out messages integer, out passing integer
)
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    session record;
    staying uuid[];
    stays boolean;
    named uuid[];
    named_yet uuid[];
    given integer;
begin
    heirs := '{}';
    messages := 0;
    passing := 0;
    for session in
        select r.session_key as key, array_agg(r.id) as leaving
        from public.conversation_runs r
        where r.id = any (chopsky_hand_over.leaving) and r.session_id is not null
        group by r.session_key order by r.session_key
    loop
        staying := array(
            select r.id from public.conversation_runs r
            where r.session_key = session.key and r.id <> all (chopsky_hand_over.leaving)
                and r.content_removed is distinct from 'messages'
            order by r.id = any (chopsky_hand_over.going), coalesce(r.started_at, r.created_at), r.id
        );
        continue when staying = '{}';
        stays := staying[1] <> all (chopsky_hand_over.going);
        named := array(
            select n from public.chopsky_named_ids(array(select u from unnest(staying) u where u <> all (chopsky_hand_over.going))) n
        );
        named_yet := array(
            select n from public.chopsky_named_ids(array(select u from unnest(staying) u where u = any (chopsky_hand_over.going))) n
        );
        continue when named = '{}' and named_yet = '{}';
        with moved as materialized (
            insert into public.conversation_messages as o (
                id, body_id, conversation_run_id, session_id, tenant_id, user_id, role, content, parts, tool_calls, tool_call_id,
                name, is_internal, token_count, token_count_source, cost, model, provider, metadata, session_key, is_history,
                occurrence, position, created_at
            )
            select
                md5(staying[1]::text || m.body_id::text || p.occurrence::text)::uuid, m.body_id, staying[1], m.session_id, m.tenant_id,
                m.user_id, m.role, m.content, m.parts, m.tool_calls, m.tool_call_id, m.name, true, m.token_count,
                m.token_count_source, 0, m.model, m.provider, m.metadata, m.session_key, true, p.occurrence, m.position, m.created_at
            from (
                select l.*, row_number() over (partition by l.body_id, l.is_history order by l.created_at, l.id) - 1 as place
                from public.conversation_messages l
                where l.conversation_run_id = any (session.leaving) and num_nonnulls(l.content, l.parts, l.tool_calls) > 0
                    and (l.body_id = any (named) or (l.body_id = any (named_yet) and not exists (
                        select 1 from public.conversation_messages k
                        where k.session_key = session.key and k.body_id = l.body_id and k.conversation_run_id = any (staying)
                            and num_nonnulls(k.content, k.parts, k.tool_calls) > 0
                    )))
            ) m
            -- Its place among the session's equal messages: after those that stay.
            cross join lateral (
                select (case when m.is_history then m.occurrence else m.place + (
                    select count(*) from public.conversation_messages k
                    where k.session_key = session.key and k.body_id = m.body_id and not k.is_history
                        and k.conversation_run_id <> all (session.leaving)
                ) end)::integer as occurrence
            ) p
            order by 1
            on conflict (id) do nothing
            returning o.parts, o.tool_calls
        ), inside as (
            select (f.found)[1]::uuid as id
            from moved m
            cross join lateral regexp_matches(concat_ws(' ', m.parts, m.tool_calls), '"([0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12})"', 'g') f (found)
            where concat_ws(' ', m.parts, m.tool_calls) like '%{"$%'
        ), deeper as (
            select i.id from inside i
            union
            select (f.found)[1]::uuid
            from inside i
            join public.conversation_contents c on c.id = i.id and c.conversation_run_id = any (session.leaving)
            cross join lateral regexp_matches(c.document::text, '"([0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12})"', 'g') f (found)
        ), kept as (
            insert into public.conversation_contents as o (
                conversation_run_id, id, kind, text, document, media_type, size_bytes, data, created_at
            )
            select distinct on (c.id)
                staying[1], c.id, c.kind, c.text, c.document, c.media_type, c.size_bytes, c.data, c.created_at
            from public.conversation_contents c
            where c.conversation_run_id = any (session.leaving)
                and (c.id in (select d.id from deeper d) or (c.kind = 'media' and (
                    c.id = any (named) or (c.id = any (named_yet) and not exists (
                        select 1 from public.conversation_contents k
                        where k.conversation_run_id = any (staying) and k.id = c.id and (k.data is not null or c.data is null)
                    ))
                )))
            order by c.id, c.data is null, c.conversation_run_id
            on conflict (conversation_run_id, id) do update set data = excluded.data
            where o.data is null and excluded.data is not null
        )
        select count(*) into given from moved;
        if given > 0 then
            heirs := heirs || staying[1];
            messages := messages + case when stays then given else 0 end;
            passing := passing + case when stays then 0 else given end;
        end if;
    end loop;
end
$$;
comment on function public.chopsky_hand_over(uuid[], uuid[]) is 'Copies what runs that stay refer to, of runs that go, to the earliest of their session that stays.';
revoke all on function public.chopsky_hand_over(uuid[], uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_hand_over(uuid[], uuid[]) to service_role;

-- Of these runs those that nobody else is at, with the sessions they are in: locked until the transaction ends. Waits for
-- nobody. With them come runs that saw only what these carry, and are locked whose numbers or messages will follow.
create function public.chopsky_claim_runs(wanted uuid[], going uuid[] default '{}') returns uuid[]
language plpgsql set search_path = ''
set plan_cache_mode = force_custom_plan set enable_seqscan = off set jit = off
as $$
declare
    all_wanted uuid[];
    needed uuid[];
    locked uuid[];
    refused uuid[];
begin
    all_wanted := wanted || array(
        select distinct r.id
        from public.conversation_spans s
        join public.conversation_spans o on o.duplicate_of = s.id
        join public.conversation_runs r on r.id = o.conversation_run_id
        where s.conversation_run_id = any (wanted) and s.told is not null and r.merged and r.id <> all (wanted)
    );
    -- As ingest does, yet without waiting: the session first, then the rows.
    all_wanted := array(
        select r.id
        from (select r.id, r.session_id from public.conversation_runs r where r.id = any (all_wanted) order by r.session_id, r.id) r
        where r.session_id is null or pg_try_advisory_xact_lock(hashtextextended(r.session_id, 0))
    );
    needed := all_wanted || array(
        select o.conversation_run_id
        from public.conversation_spans s
        join public.conversation_spans o on o.duplicate_of = s.id
        where s.conversation_run_id = any (all_wanted) and s.told is not null
    ) || array(
        select h.id
        from (select distinct r.session_key from public.conversation_runs r where r.id = any (all_wanted) and r.session_id is not null) k
        cross join lateral (
            select r.id from public.conversation_runs r
            where r.session_key = k.session_key and r.id <> all (all_wanted) and r.content_removed is distinct from 'messages'
            order by r.id = any (going), coalesce(r.started_at, r.created_at), r.id limit 1
        ) h
    );
    locked := array(select r.id from public.conversation_runs r where r.id = any (needed) order by r.id for update skip locked);
    -- Whoever needs a row that is somebody else's now stays for this time, and all of its session.
    refused := array(select u from unnest(needed) u where u <> all (locked));
    if refused <> '{}' then
        refused := refused || array(
            select s.conversation_run_id
            from public.conversation_spans o
            join public.conversation_spans s on s.id = o.duplicate_of
            where o.conversation_run_id = any (refused)
        );
        refused := refused || array(
            select r.id from public.conversation_runs r
            where r.session_key in (select x.session_key from public.conversation_runs x where x.id = any (refused) and x.session_id is not null)
        );
    end if;
    return array(
        select r.id
        from public.conversation_runs r
        where r.id = any (all_wanted) and r.id = any (locked) and r.id <> all (refused) and not exists (
            select 1 from public.conversation_sessions s where s.session_key = r.session_key and s.legal_hold
        )
    );
end
$$;
comment on function public.chopsky_claim_runs(uuid[], uuid[]) is 'Locks those of these runs that nobody is writing to, and may be removed; returns them.';
revoke all on function public.chopsky_claim_runs(uuid[], uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_claim_runs(uuid[], uuid[]) to service_role;

-- Removes runs that the caller has claimed, with all that is theirs; what they used stays in the roll-ups. An erasure hands
-- nothing over, and leaves no usage that the caller has not kept. going: runs that will be removed next.
create function public.chopsky_remove_runs(run_ids uuid[], is_erasure boolean default false, going uuid[] default '{}') returns jsonb
language plpgsql set search_path = ''
set plan_cache_mode = force_custom_plan set enable_seqscan = off set jit = off
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    counts jsonb;
    others uuid[];
    heirs uuid[] := '{}';
    given integer := 0;
    passing integer := 0;
    resumed uuid[];
    feedback bigint := 0;
begin
    perform set_config('chopsky_trace.recompute', 'on', true);
    counts := jsonb_build_object(
        'runs', cardinality(run_ids),
        'spans', (select count(*) from public.conversation_spans s where s.conversation_run_id = any (run_ids)),
        'messages', (select count(*) from public.conversation_messages m where m.conversation_run_id = any (run_ids)),
        'contents', (select count(*) from public.conversation_contents c where c.conversation_run_id = any (run_ids))
    );
    if not is_erasure then
        select h.heirs, h.messages, h.passing into heirs, given, passing from public.chopsky_hand_over(run_ids, going) h;
    end if;
    -- A call that others told of, too, is theirs now.
    others := array(
        select distinct o.conversation_run_id
        from public.conversation_spans s
        join public.conversation_spans o on o.duplicate_of = s.id
        where s.conversation_run_id = any (run_ids) and s.told is not null and o.conversation_run_id <> all (run_ids)
    );
    resumed := array(
        select r.id from public.conversation_runs r
        where r.session_key in (select g.session_key from public.conversation_runs g where g.id = any (run_ids) and g.session_id is not null)
            and r.resumes = any (run_ids) and r.id <> all (run_ids)
    );
    if to_regclass('public.conversation_feedback') is not null then
        execute 'select public.chopsky_lock_feedback(array(select f.id from public.conversation_feedback f where f.conversation_run_id = any ($1)))'
        using run_ids;
        execute 'delete from public.conversation_feedback f where f.conversation_run_id = any ($1)' using run_ids;
        get diagnostics feedback = row_count;
    end if;
    -- The last locks, as everywhere, are the roll-ups'.
    if not is_erasure and to_regprocedure('public.chopsky_keep_usage(uuid[])') is not null then
        execute 'select public.chopsky_keep_usage($1)' using run_ids;
    end if;
    delete from public.conversation_runs r where r.id = any (run_ids);
    if is_erasure and to_regprocedure('public.chopsky_count_usage(uuid[])') is not null then
        execute 'select public.chopsky_count_usage($1)' using run_ids;
    end if;
    if others <> '{}' then
        others := others || array(select u from unnest(public.chopsky_merge_calls(others)) u where u is not null);
    end if;
    if others <> '{}' or heirs <> '{}' then
        perform public.recompute_runs(array(select distinct u from unnest(others || heirs) u));
    end if;
    if resumed <> '{}' then
        perform public.chopsky_link_resumed(resumed);
    end if;
    perform set_config('chopsky_trace.recompute', was, true);
    -- What is only passed on counts with the run that it goes with.
    return counts || jsonb_build_object(
        'messages', (counts ->> 'messages')::bigint - passing, 'feedback', feedback, 'messages_kept', given
    );
end
$$;
comment on function public.chopsky_remove_runs(uuid[], boolean, uuid[]) is 'Removes claimed runs with all that is theirs, but for what others of their session refer to; returns how much.';
revoke all on function public.chopsky_remove_runs(uuid[], boolean, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_remove_runs(uuid[], boolean, uuid[]) to service_role;

-- Takes from claimed runs their payloads, and with `and_said` what was said, too. Numbers, times and states stay.
create function public.chopsky_remove_content(run_ids uuid[], and_said boolean, going uuid[] default '{}') returns jsonb
language plpgsql set search_path = ''
set plan_cache_mode = force_custom_plan set enable_seqscan = off set jit = off
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    heirs uuid[] := '{}';
    given integer := 0;
    passing integer := 0;
    named uuid[];
    contents bigint;
begin
    perform set_config('chopsky_trace.recompute', 'on', true);
    if and_said then
        select h.heirs, h.messages, h.passing into heirs, given, passing from public.chopsky_hand_over(run_ids, going) h;
        update public.conversation_messages m
        set body_id = null, content = null, parts = null, tool_calls = null, tool_call_id = null, questions_asked = null,
            delegation_plan = null, metadata = '{}', said = null
        where m.conversation_run_id = any (run_ids);
        -- What a call was given is gone, so nothing says any more what it was.
        update public.conversation_spans s
        set inputs = null, outputs = null, prompt_extends = null, prompt_take = null, prompt_prefix = null, prompt_bodies = null,
            prompt_names = null, output_bodies = null, error = null, end_metadata = null, told = s.told - 'rows',
            -- What counts and links follow from.
            metadata = jsonb_strip_nulls(jsonb_build_object(
                'retry_attempt', s.metadata -> 'retry_attempt', 'resume', case when s.metadata ? 'resume' then true end
            ))
        where s.conversation_run_id = any (run_ids);
    else
        update public.conversation_spans s set inputs = null, outputs = null
        where s.conversation_run_id = any (run_ids) and num_nonnulls(s.inputs, s.outputs) > 0;
    end if;
    -- Media are there once for all of a session.
    named := array(
        select n from public.chopsky_named_ids(run_ids || array(
            select r.id from public.conversation_runs r
            where r.session_key in (
                select g.session_key
                from public.conversation_runs g
                join public.conversation_contents c on c.conversation_run_id = g.id and c.kind = 'media'
                where g.id = any (run_ids)
            )
        )) n
    );
    -- Documents before the texts that they name.
    delete from public.conversation_contents c
    where c.conversation_run_id = any (run_ids) and c.kind <> 'text' and c.id <> all (named);
    get diagnostics contents = row_count;
    named := array(select n from public.chopsky_named_ids(run_ids) n);
    delete from public.conversation_contents c
    where c.conversation_run_id = any (run_ids) and c.kind = 'text' and c.id <> all (named);
    update public.conversation_runs r
    set content_removed = case when and_said then 'messages' else 'payloads' end, updated_at = now(),
        error = case when not and_said then r.error end,
        metadata = case when not and_said then r.metadata when r.metadata ? 'resume' then '{"resume": true}' else '{}' end
    where r.id = any (run_ids);
    if heirs <> '{}' then
        perform public.recompute_runs(heirs);
    end if;
    perform set_config('chopsky_trace.recompute', was, true);
    return jsonb_build_object('contents', contents, 'messages_kept', given);
end
$$;
comment on function public.chopsky_remove_content(uuid[], boolean, uuid[]) is 'Takes from claimed runs their payloads, and with and_said their messages'' texts; the numbers stay.';
revoke all on function public.chopsky_remove_content(uuid[], boolean, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_remove_content(uuid[], boolean, uuid[]) to service_role;

-- What is due by the policies, or by `older_than` alone; `at_most` of it, the earliest first. A run's age counts from when the
-- server first had it: a client's clock may be anything. What is under way or under a legal hold is not due.
create function public.chopsky_due_runs(
    what text, at_most bigint, older_than interval default null, tenant_id text default null, keys uuid[] default null
) returns setof uuid
language plpgsql stable set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    wanted constant text := chopsky_due_runs.what;
    rule record;
begin
    for rule in
        select p.tenant_id, p.keep_for, false as is_given
        from public.retention_policies p
        where chopsky_due_runs.older_than is null and p.what = wanted and p.keep_for is not null
            and (chopsky_due_runs.tenant_id is null or coalesce(p.tenant_id, chopsky_due_runs.tenant_id) = chopsky_due_runs.tenant_id)
        union all
        select null, chopsky_due_runs.older_than, true where chopsky_due_runs.older_than is not null
    loop
        return query
        select r.id
        from public.conversation_runs r
        where r.created_at < now() - rule.keep_for and (chopsky_due_runs.keys is null or r.session_key = any (chopsky_due_runs.keys))
            and (chopsky_due_runs.tenant_id is null or r.tenant_id = chopsky_due_runs.tenant_id)
            and (rule.tenant_id is null or r.tenant_id = rule.tenant_id)
            and (rule.tenant_id is not null or rule.is_given or not exists (
                select 1 from public.retention_policies p where p.what = wanted and p.tenant_id = r.tenant_id
            ))
            and r.status <> 'active'
            -- One that saw only what another's calls are goes with that.
            and (wanted <> 'runs' or not r.merged)
            and (wanted <> 'payloads' or r.content_removed is null)
            and (wanted <> 'messages' or r.content_removed is null or r.content_removed = 'payloads')
            and not exists (select 1 from public.conversation_sessions s where s.session_key = r.session_key and s.legal_hold)
        order by r.created_at, r.id
        limit at_most;
    end loop;
end
$$;
comment on function public.chopsky_due_runs(text, bigint, interval, text, uuid[]) is 'Runs that a policy (or older_than) says are to be removed, or to lose their messages or payloads.';
revoke all on function public.chopsky_due_runs(text, bigint, interval, text, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_due_runs(text, bigint, interval, text, uuid[]) to service_role;

-- All that is due of the sessions that these runs are in, but for what was tried, with runs that saw only what those carry.
create function public.chopsky_going_runs(what text, due uuid[], tried uuid[], older_than interval, tenant_id text) returns uuid[]
language plpgsql stable set search_path = ''
set plan_cache_mode = force_custom_plan set enable_seqscan = off set jit = off
as $$
declare
    keys constant uuid[] := array(
        select distinct r.session_key from public.conversation_runs r where r.id = any (due) and r.session_id is not null
    );
    going uuid[];
begin
    if keys = '{}' then
        return '{}';
    end if;
    going := array(
        select d from public.chopsky_due_runs(what, 9000000000000000, older_than, chopsky_going_runs.tenant_id, keys) d
        where d <> all (tried)
    );
    return case when what <> 'runs' then going else going || array(
        select distinct r.id
        from public.conversation_runs r
        join public.conversation_spans o on o.conversation_run_id = r.id
        join public.conversation_spans s on s.id = o.duplicate_of and s.conversation_run_id = any (going) and s.told is not null
        where r.session_key = any (keys) and r.merged
    ) end;
end
$$;
comment on function public.chopsky_going_runs(text, uuid[], uuid[], interval, text) is 'What goes in the same prune as these runs, of their sessions.';
revoke all on function public.chopsky_going_runs(text, uuid[], uuid[], interval, text) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_going_runs(text, uuid[], uuid[], interval, text) to service_role;

create function public.chopsky_due_sessions(at_most bigint, tenant_id text default null, expired_only boolean default false)
returns setof uuid
language sql stable set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
    select d.id
    from (
        (
            select s.id, s.expires_at as due_at
            from public.conversation_sessions s
            where s.expires_at <= now() and not s.legal_hold
                and (chopsky_due_sessions.tenant_id is null or s.tenant_id = chopsky_due_sessions.tenant_id)
            order by s.expires_at limit at_most
        )
        union
        (
            select s.id, s.last_activity_at
            from public.retention_policies p
            join public.conversation_sessions s on p.tenant_id is null or s.tenant_id = p.tenant_id
            where p.what = 'sessions' and not expired_only and s.last_activity_at < now() - p.keep_for
                and (p.tenant_id is not null or not exists (
                    select 1 from public.retention_policies o where o.what = 'sessions' and o.tenant_id = s.tenant_id
                ))
                -- A session's own date stands before any rule.
                and s.expires_at is null and not s.legal_hold
                and (chopsky_due_sessions.tenant_id is null or s.tenant_id = chopsky_due_sessions.tenant_id)
            order by s.last_activity_at limit at_most
        )
    ) d
    order by d.due_at, d.id
    limit at_most
$$;
comment on function public.chopsky_due_sessions(bigint, text, boolean) is 'Sessions whose time is over: by their own expires_at, else by a policy.';
revoke all on function public.chopsky_due_sessions(bigint, text, boolean) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_due_sessions(bigint, text, boolean) to service_role;

-- Removes one session: at most so many of its runs, the latest first, for none refers to a later one; the session once it has
-- none. NULL: somebody else is at it, or it is held.
create function public.chopsky_remove_session(session_uuid uuid, at_most integer) returns jsonb
language plpgsql set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    session public.conversation_sessions;
    run_ids uuid[];
    going uuid[];
    said_ids uuid[];
    counts jsonb;
begin
    select s.* into session from public.conversation_sessions s where s.id = session_uuid and not s.legal_hold;
    if not found or not pg_try_advisory_xact_lock(hashtextextended(session.session_id, 0)) then
        return null;
    end if;
    perform public.chopsky_lock_sessions(array[session.session_key]);
    run_ids := array(
        select r.id from public.conversation_runs r where r.session_key = session.session_key
        order by r.created_at desc, r.id desc limit at_most
    );
    going := array(select r.id from public.conversation_runs r where r.session_key = session.session_key);
    if not (public.chopsky_claim_runs(run_ids, going) @> run_ids) then
        return null;
    end if;
    counts := public.chopsky_remove_runs(run_ids, going => going) || '{"sessions": 0}';
    perform public.chopsky_entomb_runs(run_ids);
    if exists (select 1 from public.conversation_runs r where r.session_key = session.session_key) then
        return counts;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    said_ids := array(
        select m.id from public.conversation_messages m
        where m.session_key = session.session_key and m.conversation_run_id is null
    );
    if said_ids <> '{}' and to_regprocedure('public.chopsky_keep_usage(uuid[])') is not null then
        execute 'select public.chopsky_keep_usage($1)' using said_ids;
    end if;
    delete from public.conversation_messages m where m.id = any (said_ids);
    -- One that nobody drove went with its last run.
    delete from public.conversation_sessions s where s.id = session_uuid;
    perform set_config('chopsky_trace.recompute', was, true);
    return counts || jsonb_build_object('sessions', 1, 'messages', (counts ->> 'messages')::bigint + cardinality(said_ids));
end
$$;
comment on function public.chopsky_remove_session(uuid, integer) is 'Removes a session, or at most so many of its latest runs; NULL where it is held or in use.';
revoke all on function public.chopsky_remove_session(uuid, integer) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_remove_session(uuid, integer) to service_role;

-- One transaction: call it again until it says that nothing is left. Nobody waits for it for long, and it for nobody.
create function public.chopsky_prune(
    batch integer default 100, at_most integer default 1000, dry_run boolean default false,
    older_than interval default null, tenant_id text default null, for_at_most interval default null
) returns jsonb
language plpgsql set search_path = ''
set lock_timeout = '700ms' set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    counts jsonb := '{"sessions": 0, "runs": 0, "spans": 0, "messages": 0, "contents": 0, "feedback": 0, "messages_kept": 0,
        "runs_without_messages": 0, "runs_without_payloads": 0, "writer_status": 0, "tombstones": 0, "busy": 0, "more": false}';
    -- Rows that are left of at_most.
    rest bigint := greatest(at_most, 1);
    step integer := greatest(batch, 1);
    ends_at constant timestamptz := coalesce(clock_timestamp() + for_at_most, 'infinity');
    part text;
    due uuid[];
    going uuid[];
    tried uuid[];
    claimed uuid[];
    session_id uuid;
    done jsonb;
begin
    if dry_run then
        return public.chopsky_count_due(older_than, tenant_id);
    end if;
    if not pg_try_advisory_xact_lock(hashtextextended('chopsky_trace.prune', 0)) then
        return counts || '{"busy": 1, "more": true}';
    end if;
    perform set_config('chopsky_trace.patience', '250 milliseconds', true);
    if older_than is null then
        for session_id in select d from public.chopsky_due_sessions(rest, chopsky_prune.tenant_id) d loop
            begin
                loop
                    done := public.chopsky_remove_session(session_id, least(step, rest)::integer);
                    counts := public.chopsky_add_counts(counts, coalesce(done, '{"busy": 1}'));
                    rest := rest - greatest((done ->> 'runs')::bigint, 1);
                    exit when done is null or (done ->> 'sessions')::integer = 1 or rest <= 0 or clock_timestamp() > ends_at;
                end loop;
            exception when lock_not_available or deadlock_detected then
                counts := public.chopsky_add_counts(counts, '{"busy": 1}');
            end;
            exit when rest <= 0 or clock_timestamp() > ends_at;
        end loop;
    end if;
    foreach part in array case when older_than is null then array['runs', 'messages', 'payloads'] else array['runs'] end loop
        tried := '{}';
        while rest > 0 and clock_timestamp() < ends_at loop
            -- Beyond those that somebody else was at.
            due := array(
                select d from public.chopsky_due_runs(part, cardinality(tried) + least(step, rest), older_than, chopsky_prune.tenant_id) d
                where d <> all (tried) limit least(step, rest)
            );
            exit when due = '{}';
            going := case when part = 'payloads' then '{}'
                else public.chopsky_going_runs(part, due, tried, older_than, chopsky_prune.tenant_id) end;
            -- Of a session the latest first, for none refers to a later one.
            if going <> '{}' then
                due := array(
                    select r.id from public.conversation_runs r where r.id = any (due) and r.session_id is null
                    union all
                    select l.id
                    from (
                        select r.session_key, count(*) as runs from public.conversation_runs r
                        where r.id = any (due) and r.session_id is not null
                        group by r.session_key
                    ) k
                    cross join lateral (
                        select r.id from public.conversation_runs r
                        where r.session_key = k.session_key and r.id = any (going) and (part <> 'runs' or not r.merged)
                        order by r.created_at desc, r.id desc limit k.runs
                    ) l
                );
            end if;
            begin
                claimed := public.chopsky_claim_runs(due, going);
                done := case when claimed = '{}' then '{}'
                    when part = 'runs' then public.chopsky_remove_runs(claimed, going => going)
                    else public.chopsky_remove_content(claimed, part = 'messages', going)
                        || jsonb_build_object('runs_without_' || part, cardinality(claimed)) end;
            exception when lock_not_available or deadlock_detected then
                claimed := '{}';
                done := '{}';
            end;
            tried := tried || array(select u from unnest(due) u where u <> all (claimed));
            counts := public.chopsky_add_counts(counts, done);
            rest := rest - cardinality(due);
        end loop;
        counts := public.chopsky_add_counts(counts, jsonb_build_object('busy', cardinality(tried)));
    end loop;
    if older_than is null then
        counts := public.chopsky_add_counts(counts, public.chopsky_prune_rows(rest, chopsky_prune.tenant_id));
    end if;
    perform set_config('chopsky_trace.patience', '', true);
    return counts || jsonb_build_object('more', rest <= 0 or clock_timestamp() > ends_at);
end
$$;
comment on function public.chopsky_prune(integer, integer, boolean, interval, text, interval) is 'Removes what retention_policies and expires_at say, or runs older than older_than; at most so many runs, for about so long. more: call it again.';
revoke all on function public.chopsky_prune(integer, integer, boolean, interval, text, interval) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_prune(integer, integer, boolean, interval, text, interval) to service_role;

create function public.chopsky_add_counts(counts jsonb, more jsonb) returns jsonb
language sql immutable set search_path = ''
as $$
    select coalesce(jsonb_object_agg(k.key, coalesce((counts ->> k.key)::bigint, 0) + coalesce((more ->> k.key)::bigint, 0)), '{}')
        || case when counts ? 'more' then jsonb_build_object('more', counts -> 'more') else '{}' end
    from (select jsonb_object_keys(counts) as key union select jsonb_object_keys(more)) k
    where k.key <> 'more'
$$;
revoke all on function public.chopsky_add_counts(jsonb, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_add_counts(jsonb, jsonb) to service_role;

-- Rows that nothing depends on.
create function public.chopsky_prune_rows(at_most bigint, tenant_id text) returns jsonb
language plpgsql set search_path = ''
as $$
#variable_conflict use_column
declare
    keep_for interval;
    writers bigint := 0;
    given bigint := 0;
    tombstones bigint := 0;
begin
    select p.keep_for into keep_for from public.retention_policies p where p.what = 'writer_status';
    if keep_for is not null and chopsky_prune_rows.tenant_id is null then
        delete from public.writer_status w where w.writer_id in (
            select o.writer_id from public.writer_status o where o.last_write_at < now() - keep_for
            order by o.last_write_at limit greatest(at_most, 1) for update skip locked
        );
        get diagnostics writers = row_count;
    end if;
    if to_regclass('public.conversation_feedback') is not null
        and exists (select 1 from public.retention_policies p where p.what = 'feedback') then
        execute '
            delete from public.conversation_feedback f where f.id in (
                select o.id
                from public.conversation_feedback o
                join public.retention_policies p on p.what = ''feedback'' and (p.tenant_id = o.tenant_id or (
                    p.tenant_id is null and not exists (
                        select 1 from public.retention_policies q where q.what = ''feedback'' and q.tenant_id = o.tenant_id
                    )
                ))
                where o.created_at < now() - p.keep_for and ($2 is null or o.tenant_id = $2) and not exists (
                    select 1
                    from public.conversation_runs r
                    join public.conversation_sessions s on s.session_key = r.session_key
                    where r.id = o.conversation_run_id and s.legal_hold
                )
                order by o.id limit $1 for update of o skip locked
            )' using greatest(at_most, 1), chopsky_prune_rows.tenant_id;
        get diagnostics given = row_count;
    end if;
    if chopsky_prune_rows.tenant_id is null then
        delete from public.conversation_tombstones t where t.hash in (
            select o.hash from public.conversation_tombstones o
            where o.kind = 'run' and o.erased_at < now() - public.chopsky_tombstones_kept()
            order by o.erased_at limit greatest(at_most, 1) for update skip locked
        );
        get diagnostics tombstones = row_count;
    end if;
    return jsonb_build_object('writer_status', writers, 'feedback', given, 'tombstones', tombstones);
end
$$;
revoke all on function public.chopsky_prune_rows(bigint, text) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_prune_rows(bigint, text) to service_role;

-- Erasing a person. What is left is a hash of who, under a key that only this database has: it refuses late records.
create table public.chopsky_keys (
    name text primary key,
    -- 244 random bits, without an extension
    key bytea not null default uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
);
comment on table public.chopsky_keys is 'Random keys of this database, made when first needed. Without it nobody can tell whom a tombstone is of.';
revoke all on table public.chopsky_keys from public, anon, authenticated, service_role;
-- A key that goes takes what it told with it.
grant select, insert on table public.chopsky_keys to service_role;
alter table public.chopsky_keys enable row level security;
create policy chopsky_keys_service on public.chopsky_keys for all to service_role using (true) with check (true);
-- Now, and not by two who remove something at the same time.
insert into public.chopsky_keys (name) values ('tombstones');

create table public.conversation_tombstones (
    hash bytea primary key,
    kind text not null check (kind in ('person', 'run')),
    erased_at timestamptz not null default now(),
    refused_runs bigint not null default 0,
    last_refused_at timestamptz
);
comment on table public.conversation_tombstones is 'What was erased and must not come back: keyed hashes, no ids.';
comment on column public.conversation_tombstones.erased_at is 'Runs of the person that began before are refused; later ones are new.';
comment on column public.conversation_tombstones.refused_runs is 'How many batches brought records of such a run too late; they were not kept.';
revoke all on table public.conversation_tombstones from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.conversation_tombstones to service_role;
create index idx_conversation_tombstones_erased_at on public.conversation_tombstones (erased_at) where kind = 'run';
alter table public.conversation_tombstones enable row level security;
create policy conversation_tombstones_service on public.conversation_tombstones for all to service_role using (true) with check (true);

-- A run's tombstone has done its work once no journal can be left that tells of it. A person's, one small row each, stays: it
-- refuses whatever began before the erasure, and that has no age.
create function public.chopsky_tombstones_kept() returns interval
language sql stable set search_path = ''
as $$
    select case when exists (select 1 from public.retention_policies p where p.what = 'tombstones')
        then (select p.keep_for from public.retention_policies p where p.what = 'tombstones') else interval '1 year' end
$$;
comment on function public.chopsky_tombstones_kept() is 'How long the tombstones of runs are kept: by the policy, else a year; NULL: for good.';
revoke all on function public.chopsky_tombstones_kept() from public, anon, authenticated, service_role;
grant execute on function public.chopsky_tombstones_kept() to service_role;

-- What chopsky_prune would do, all of it.
create function public.chopsky_count_due(older_than interval default null, tenant_id text default null) returns jsonb
language sql stable set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
    with session as materialized (
        select s.session_key
        from public.chopsky_due_sessions(9000000000000000, chopsky_count_due.tenant_id) d
        join public.conversation_sessions s on s.id = d
        where older_than is null
    ), run as materialized (
        select r.id from session s join public.conversation_runs r on r.session_key = s.session_key
        union
        select public.chopsky_due_runs('runs', 9000000000000000, older_than, chopsky_count_due.tenant_id)
    )
    select jsonb_build_object(
        'sessions', (select count(*) from session),
        'runs', (select count(*) from run),
        'spans', (select count(*) from public.conversation_spans s where s.conversation_run_id in (select id from run)),
        'messages', (select count(*) from public.conversation_messages m where m.conversation_run_id in (select id from run)),
        'contents', (select count(*) from public.conversation_contents c where c.conversation_run_id in (select id from run)),
        'feedback', (
            select count(*) from public.conversation_feedback f
            where f.conversation_run_id in (select id from run) or (
                older_than is null and (chopsky_count_due.tenant_id is null or f.tenant_id = chopsky_count_due.tenant_id)
                and exists (
                    select 1 from public.retention_policies p
                    where p.what = 'feedback' and f.created_at < now() - p.keep_for and (p.tenant_id = f.tenant_id or (
                        p.tenant_id is null and not exists (
                            select 1 from public.retention_policies q where q.what = 'feedback' and q.tenant_id = f.tenant_id
                        )
                    ))
                ) and not exists (
                    select 1
                    from public.conversation_runs r
                    join public.conversation_sessions s on s.session_key = r.session_key
                    where r.id = f.conversation_run_id and s.legal_hold
                )
            )
        ),
        'runs_without_messages', (
            select count(*) from public.chopsky_due_runs('messages', 9000000000000000, null, chopsky_count_due.tenant_id) d
            where older_than is null and d not in (select id from run)
        ),
        'runs_without_payloads', (
            select count(*) from public.chopsky_due_runs('payloads', 9000000000000000, null, chopsky_count_due.tenant_id) d
            where older_than is null and d not in (select id from run)
                and d not in (select public.chopsky_due_runs('messages', 9000000000000000, null, chopsky_count_due.tenant_id))
        ),
        'writer_status', (
            select count(*) from public.writer_status w
            join public.retention_policies p on p.what = 'writer_status' and w.last_write_at < now() - p.keep_for
            where older_than is null and chopsky_count_due.tenant_id is null
        ),
        'tombstones', (
            select count(*) from public.conversation_tombstones t
            where older_than is null and chopsky_count_due.tenant_id is null
                and t.kind = 'run' and t.erased_at < now() - public.chopsky_tombstones_kept()
        ),
        'more', false
    )
$$;
comment on function public.chopsky_count_due(interval, text) is 'What chopsky_prune would remove now, were nobody at any of it.';
revoke all on function public.chopsky_count_due(interval, text) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_count_due(interval, text) to service_role;

create function public.cleanup_expired_conversations() returns integer
language plpgsql set search_path = ''
set lock_timeout = '700ms'
as $$
declare
    session_id uuid;
    done jsonb;
    removed integer := 0;
begin
    perform set_config('chopsky_trace.patience', '250 milliseconds', true);
    for session_id in select d from public.chopsky_due_sessions(1000, null, true) d loop
        begin
            done := public.chopsky_remove_session(session_id, 10000);
        exception when lock_not_available or deadlock_detected then
            done := null;
        end;
        removed := removed + coalesce((done ->> 'sessions')::integer, 0);
    end loop;
    perform set_config('chopsky_trace.patience', '', true);
    return removed;
end
$$;
comment on function public.cleanup_expired_conversations() is 'Removes sessions whose expires_at has passed, with all of theirs; returns how many. At most 1,000 a call.';
revoke all on function public.cleanup_expired_conversations() from public, anon, authenticated, service_role;
grant execute on function public.cleanup_expired_conversations() to service_role;

-- chopsky_prune by pg_cron, every minute for less than a second, where that extension is. Returns whether it is there.
create function public.chopsky_schedule_prune(wanted boolean) returns boolean
language plpgsql set search_path = ''
as $$
begin
    if to_regprocedure('cron.schedule(text,text,text)') is null then
        return false;
    end if;
    if wanted then
        execute 'select cron.schedule($1, $2, $3)'
        using 'chopsky-trace prune', '* * * * *', 'select public.chopsky_prune(20, 1000, for_at_most => ''700 milliseconds'')';
    else
        execute 'select cron.unschedule(j.jobid) from cron.job j where j.jobname = $1' using 'chopsky-trace prune';
    end if;
    return true;
end
$$;
comment on function public.chopsky_schedule_prune(boolean) is 'Has pg_cron call chopsky_prune every minute, or no more; false where pg_cron is missing.';
revoke all on function public.chopsky_schedule_prune(boolean) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_schedule_prune(boolean) to service_role;

-- Whether a writer has anything to prune: asked before it does, at most hourly.
create function public.chopsky_prunes() returns boolean
language sql stable set search_path = ''
as $$
    select exists (select 1 from public.retention_policies p where p.keep_for is not null)
        or exists (select 1 from public.conversation_sessions s where s.expires_at <= now())
        or exists (select 1 from public.conversation_tombstones t where t.kind = 'run' and t.erased_at < now() - interval '1 year')
$$;
comment on function public.chopsky_prunes() is 'True where a policy or a session''s expires_at says that something goes.';
revoke all on function public.chopsky_prunes() from public, anon, authenticated, service_role;
grant execute on function public.chopsky_prunes() to service_role;

create table public.conversation_erasures (
    id uuid primary key default gen_random_uuid(),
    erased_at timestamptz not null default now(),
    receipt jsonb not null
);
comment on table public.conversation_erasures is 'Receipts of erase_user: how many rows of which tables, and when. Not of whom.';
revoke all on table public.conversation_erasures from public, anon, authenticated, service_role;
-- No delete: that it was done stays on record.
grant select, insert on table public.conversation_erasures to service_role;
alter table public.conversation_erasures enable row level security;
create policy conversation_erasures_service on public.conversation_erasures for all to service_role using (true) with check (true);

create function public.chopsky_tombstone(kind text, id text, tenant_id text default null) returns bytea
language sql stable set search_path = ''
as $$
    select sha256(
        k.key || convert_to(kind || coalesce(length(tenant_id) || ':' || tenant_id, '-') || chopsky_tombstone.id, 'UTF8')
    )
    from public.chopsky_keys k where k.name = 'tombstones'
$$;
comment on function public.chopsky_tombstone(text, text, text) is 'The keyed hash by which a person or a run that was erased is known again.';
revoke all on function public.chopsky_tombstone(text, text, text) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_tombstone(text, text, text) to service_role;

create or replace function public.chopsky_entomb_runs(run_ids uuid[]) returns void
language sql set search_path = ''
as $$
    insert into public.chopsky_keys (name) values ('tombstones') on conflict do nothing;
    insert into public.conversation_tombstones (hash, kind)
    select public.chopsky_tombstone('run', i.id::text), 'run'
    from unnest(run_ids) i (id)
    order by 1
    on conflict (hash) do nothing
$$;
comment on function public.chopsky_entomb_runs(uuid[]) is 'Late records of these runs are refused from now on.';

-- At the end of a batch, whichever way its rows came: what nobody else has seen yet is taken out again.
create or replace function public.chopsky_refuse_runs(run_ids uuid[]) returns uuid[]
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    hashes bytea[];
    refused uuid[];
begin
    if not exists (select 1 from public.conversation_tombstones) then
        return '{}';
    end if;
    select coalesce(array_agg(distinct f.id), '{}'), array_agg(distinct f.hash order by f.hash)
    into refused, hashes
    from (
        select r.id, t.hash
        from public.conversation_runs r
        cross join lateral (
            values
                (public.chopsky_tombstone('run', r.id::text), false),
                (public.chopsky_tombstone('person', r.user_id), true),
                (public.chopsky_tombstone('person', r.user_id, r.tenant_id), true)
        ) h (hash, is_person)
        join public.conversation_tombstones t on t.hash = h.hash
        where r.id = any (run_ids)
            -- By the client's clock, as the run says it itself; one that says nothing yet is looked at again when it does.
            and (not h.is_person or t.erased_at > least(
                r.started_at, (select min(s.started_at) from public.conversation_spans s where s.conversation_run_id = r.id)
            ))
            and not exists (select 1 from public.conversation_sessions s where s.session_key = r.session_key and s.legal_hold)
    ) f;
    if refused = '{}' then
        return refused;
    end if;
    perform public.chopsky_remove_runs(refused, true);
    perform public.chopsky_entomb_runs(refused);
    perform 1 from public.conversation_tombstones t where t.hash = any (hashes) order by t.hash for no key update;
    update public.conversation_tombstones t set refused_runs = t.refused_runs + 1, last_refused_at = now()
    where t.hash = any (hashes);
    return refused;
end
$$;
comment on function public.chopsky_refuse_runs(uuid[]) is 'Takes out those of these runs that were erased, or are of a person who was and began before; returns them.';

-- Tables that say of whom a row is, beside those of runs, sessions and messages. A test finds one that is missing here.
create function public.chopsky_person_columns() returns table (table_name text, column_name text)
language sql immutable set search_path = ''
as $$
    values ('conversation_feedback', 'user_id'), ('conversation_feedback', 'given_by'), ('user_profiles', 'user_id')
$$;
comment on function public.chopsky_person_columns() is 'Tables, and their columns that name a person, whose rows erase_user deletes; those of runs, sessions, messages and usage it knows.';
revoke all on function public.chopsky_person_columns() from public, anon, authenticated, service_role;
grant execute on function public.chopsky_person_columns() to service_role;

-- Usage stays, as nobody's: a tenant's bill must still add up. Returns how many rows named the person.
create function public.chopsky_forget_usage(user_id text, tenant_id text) returns bigint
language plpgsql set search_path = ''
as $$
#variable_conflict use_column
declare
    named public.usage_metrics[];
    nameless public.usage_metrics[];
begin
    -- Alone: others add to these rows in an order of their own.
    perform pg_advisory_xact_lock(hashtextextended('chopsky_trace.usage', 0));
    with taken as (
        delete from public.usage_kept k
        where k.user_id = chopsky_forget_usage.user_id
            and (chopsky_forget_usage.tenant_id is null or k.tenant_id = chopsky_forget_usage.tenant_id)
        returning k.*
    )
    select
        array_agg(row(
            t.key, t.day, t.tenant_id, t.user_id, t.provider, t.model, -t.contributions,
            array(select -u.n from unnest(t.known) with ordinality u (n, place) order by u.place), -t.calls, -t.failed_calls,
            -t.input_tokens, -t.output_tokens, -t.total_tokens, -t.cache_read_tokens, -t.cache_write_tokens, -t.reasoning_tokens,
            -t.total_cost, -t.unpriced_calls, -t.unmeasured_calls, -t.response_time_ms, -t.timed_calls, -t.messages,
            -t.user_messages, -t.assistant_messages
        )::public.usage_metrics),
        array_agg(row(
            public.chopsky_usage_key(t.day, t.tenant_id, null, t.provider, t.model), t.day, t.tenant_id, null, t.provider, t.model,
            t.contributions, t.known, t.calls, t.failed_calls, t.input_tokens, t.output_tokens, t.total_tokens,
            t.cache_read_tokens, t.cache_write_tokens, t.reasoning_tokens, t.total_cost, t.unpriced_calls, t.unmeasured_calls,
            t.response_time_ms, t.timed_calls, t.messages, t.user_messages, t.assistant_messages
        )::public.usage_metrics)
    into named, nameless
    from taken t;
    if named is null then
        return 0;
    end if;
    perform public.chopsky_add_usage(nameless, true, true);
    perform public.chopsky_add_usage(named, false, true);
    return cardinality(named);
end
$$;
comment on function public.chopsky_forget_usage(text, text) is 'Adds a person''s usage to nobody''s, of the same tenants and days.';
revoke all on function public.chopsky_forget_usage(text, text) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_forget_usage(text, text) to service_role;

create function public.erase_user(user_id text, tenant_id text default null) returns jsonb
language plpgsql set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    -- As it is stored.
    person constant text := case when erase_user.user_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        then lower(erase_user.user_id) else erase_user.user_id end;
    tenant constant text := erase_user.tenant_id;
    run_ids uuid[];
    further uuid[];
    said_ids uuid[];
    touched uuid[];
    keys uuid[];
    gone_keys uuid[];
    prefixes uuid[];
    counts jsonb;
    tables jsonb := '{}';
    part record;
    changed bigint;
    held bigint;
    receipt jsonb;
    erasure uuid := gen_random_uuid();
begin
    if coalesce(person, '') = '' then
        raise exception 'Nobody is named' using errcode = 'invalid_parameter_value', hint = 'Give the person''s user_id.';
    end if;
    -- What is under way is stored first, and seen here; what comes later sees the tombstone.
    perform pg_advisory_xact_lock(hashtextextended('chopsky_trace.erase', 0));
    perform set_config('chopsky_trace.recompute', 'on', true);
    insert into public.chopsky_keys (name) values ('tombstones') on conflict do nothing;
    insert into public.conversation_tombstones (hash, kind, erased_at)
    values (public.chopsky_tombstone('person', person, tenant), 'person', clock_timestamp())
    on conflict (hash) do update set erased_at = excluded.erased_at;

    run_ids := array(
        select r.id from public.conversation_runs r where r.user_id = person and (tenant is null or r.tenant_id = tenant)
    );
    -- As who removes a session by hand: first the sessions.
    keys := array(
        select s.session_key from public.conversation_sessions s
        where s.user_id = person and (tenant is null or s.tenant_id = tenant)
    );
    perform public.chopsky_lock_sessions(keys, '10 seconds');
    -- What saw the same calls and knows no user is the same conversation.
    loop
        further := array(
            select distinct r.id
            from public.conversation_spans s
            join public.conversation_spans o on o.duplicate_of = coalesce(s.duplicate_of, s.id) or o.id = s.duplicate_of
            join public.conversation_runs r on r.id = o.conversation_run_id
            where s.conversation_run_id = any (run_ids) and s.told is not null
                and (r.user_id is null or r.user_id = person) and r.id <> all (run_ids)
        );
        exit when further = '{}';
        run_ids := run_ids || further;
    end loop;
    run_ids := array(
        select r.id from public.conversation_runs r
        where r.id = any (run_ids) and not exists (
            select 1 from public.conversation_sessions s where s.session_key = r.session_key and s.legal_hold
        )
        order by r.id for update
    );
    said_ids := array(
        select m.id from public.conversation_messages m
        where m.user_id = person and (tenant is null or m.tenant_id = tenant)
            and (m.conversation_run_id is null or m.conversation_run_id <> all (run_ids))
            and not exists (select 1 from public.conversation_sessions s where s.session_key = m.session_key and s.legal_hold)
        order by m.id for update
    );
    touched := array(
        select distinct m.conversation_run_id from public.conversation_messages m
        where m.id = any (said_ids) and m.conversation_run_id is not null
    );
    perform public.chopsky_lock_runs(touched, '10 seconds');
    -- With those of runs that go along and know no user.
    gone_keys := array(
        select s.session_key from public.conversation_sessions s
        where s.session_key = any (keys || array(
            select r.session_key from public.conversation_runs r where r.id = any (run_ids) and r.session_id is not null
        ))
    );
    -- Alone with the roll-ups from here on: after all runs, and before the first row of theirs.
    if to_regprocedure('public.chopsky_keep_usage(uuid[])') is not null then
        perform pg_advisory_xact_lock(hashtextextended('chopsky_trace.usage', 0));
    end if;
    prefixes := array(
        select p.id from public.conversation_prefixes p where p.id in (select n from public.chopsky_named_ids(run_ids) n)
    );
    if to_regprocedure('public.chopsky_keep_usage(uuid[])') is not null then
        execute 'select public.chopsky_keep_usage($1)' using run_ids || said_ids;
    end if;
    perform public.chopsky_entomb_runs(run_ids);
    counts := public.chopsky_remove_runs(run_ids, true);
    -- Else what an application said of it would come back in its place.
    update public.conversation_messages m set said = null where m.id = any (said_ids) and m.said is not null;
    delete from public.conversation_messages m where m.id = any (said_ids);
    perform public.recompute_runs(touched);
    -- The sessions that nobody made went with their runs.
    tables := jsonb_build_object(
        'conversation_runs', counts -> 'runs', 'conversation_spans', counts -> 'spans',
        'conversation_messages', (counts ->> 'messages')::bigint + cardinality(said_ids), 'conversation_contents', counts -> 'contents'
    );
    delete from public.conversation_sessions s where s.session_key = any (keys) and not s.legal_hold;
    tables := tables || jsonb_build_object('conversation_sessions', cardinality(gone_keys) - (
        select count(*) from public.conversation_sessions s where s.session_key = any (gone_keys)
    ));
    -- The beginnings of long prompts are ids only, yet made of what was said. The longest first, where no other begins so.
    loop
        delete from public.conversation_prefixes p
        where p.id = any (prefixes)
            and not exists (select 1 from public.conversation_prefixes l where l.extends = p.id)
            and not exists (select 1 from public.conversation_spans s where s.prompt_prefix = p.id);
        exit when not found;
    end loop;
    -- A run that was given to somebody else by hand.
    update public.conversation_spans s set scope = s.scope - 'user_id'
    from public.conversation_runs r
    where r.scope_by_hand and s.conversation_run_id = r.id and s.scope ->> 'user_id' = person
        and (tenant is null or r.tenant_id = tenant) and r.user_id is distinct from person;

    if counts ->> 'feedback' <> '0' then
        tables := tables || jsonb_build_object('conversation_feedback', counts -> 'feedback');
    end if;
    for part in
        select p.table_name, p.column_name, exists (
            select 1 from pg_catalog.pg_attribute a
            where a.attrelid = to_regclass('public.' || p.table_name) and a.attname = 'tenant_id'
        ) as has_tenant
        from public.chopsky_person_columns() p
        where to_regclass('public.' || p.table_name) is not null
    loop
        execute format('delete from public.%I where %I = $1', part.table_name, part.column_name)
            || case when part.has_tenant then ' and ($2 is null or tenant_id = $2)' else '' end
        using person, tenant;
        get diagnostics changed = row_count;
        tables := tables || jsonb_build_object(part.table_name, coalesce((tables ->> part.table_name)::bigint, 0) + changed);
    end loop;
    changed := public.chopsky_forget_usage(person, tenant);
    select count(*) into held from public.conversation_sessions s
    where s.user_id = person and (tenant is null or s.tenant_id = tenant);

    receipt := jsonb_build_object(
        'erasure', erasure, 'erased_at', clock_timestamp(), 'tenant_id', tenant, 'rows', tables,
        'usage_rows_made_nobodys', changed, 'held_sessions', held,
        'out_of_reach', jsonb_build_array(
            'LangSmith, and whatever else is told of the same runs', 'logs of the models'' providers',
            'backups, replicas and the write-ahead log of this database, and its files until the next vacuum',
            'LangGraph checkpoints and all other tables of your application',
            'journals of hosts that are offline: what they send later is refused', 'dead letters beside the journals',
            'files that were exported'
        )
    );
    insert into public.conversation_erasures (id, receipt) values (erasure, receipt);
    perform set_config('chopsky_trace.recompute', was, true);
    return receipt;
end
$$;
comment on function public.erase_user(text, text) is 'Removes a person from every table, but for sessions under a legal hold, and refuses late records of what was before. Returns a receipt; it is kept in conversation_erasures.';
revoke all on function public.erase_user(text, text) from public, anon, authenticated, service_role;
grant execute on function public.erase_user(text, text) to service_role;

create index idx_conversation_spans_prompt_prefix on public.conversation_spans (prompt_prefix) where prompt_prefix is not null;
create index idx_conversation_prefixes_extends on public.conversation_prefixes (extends) where extends is not null;

-- The trigger's function is made with it, and takes it along when it goes: whose the table is not can make a trigger on it,
-- and not drop one. It runs as its owner, because whoever deletes users of auth has no rights here.
create function public.chopsky_erase_on_auth_delete(wanted boolean) returns boolean
language plpgsql set search_path = ''
as $$
begin
    if to_regclass('auth.users') is null then
        return false;
    end if;
    execute 'drop function if exists public.chopsky_on_auth_user_gone() cascade';
    if wanted then
        execute $ddl$
            create function public.chopsky_on_auth_user_gone() returns trigger
            language plpgsql security definer set search_path = ''
            as $function$
            begin
                perform public.erase_user(old.id::text);
                return null;
            end
            $function$
        $ddl$;
        execute 'revoke all on function public.chopsky_on_auth_user_gone() from public, anon, authenticated, service_role';
        execute 'create trigger chopsky_erase_user after delete on auth.users for each row
            execute function public.chopsky_on_auth_user_gone()';
    end if;
    return true;
end
$$;
comment on function public.chopsky_erase_on_auth_delete(boolean) is 'Whether a user who is deleted in auth.users is erased here; false where there is no such table.';
revoke all on function public.chopsky_erase_on_auth_delete(boolean) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_erase_on_auth_delete(boolean) to service_role;

-- What of the mirror goes into a file, and comes back from it, row for row.

-- A run with all that is its own, as one JSON object; what it begins long prompts with, and its session.
create function public.chopsky_export_runs(run_ids uuid[]) returns table (id uuid, exported text)
language plpgsql stable set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    run record;
    rated json;
begin
    for run in
        select r.* from public.conversation_runs r where r.id = any (run_ids) order by r.created_at, r.id
    loop
        rated := null;
        if to_regclass('public.conversation_feedback') is not null then
            execute 'select json_agg(f order by f.id) from public.conversation_feedback f where f.conversation_run_id = $1'
            into rated using run.id;
        end if;
        id := run.id;
        exported := (
            -- Line ends in it are only those that json_agg puts between: in strings they are escaped.
            select replace(json_build_object(
                'run', row_to_json(r),
                'session', (select row_to_json(s) from public.conversation_sessions s where s.session_key = r.session_key),
                'analytics', (select row_to_json(a) from public.conversation_analytics a where a.conversation_run_id = r.id),
                'spans', (select json_agg(s order by s.started_at, s.id) from public.conversation_spans s where s.conversation_run_id = r.id),
                'messages', (select json_agg(m order by m.sequence, m.id) from public.conversation_messages m where m.conversation_run_id = r.id),
                'contents', (select json_agg(c order by c.id) from public.conversation_contents c where c.conversation_run_id = r.id),
                'prefixes', (
                    select json_agg(p order by p.length, p.id) from public.conversation_prefixes p
                    where p.id in (select n from public.chopsky_named_ids(array[r.id]) n)
                ),
                'feedback', rated
            )::text, E'\n', '')
            from public.conversation_runs r where r.id = run.id
        );
        return next;
    end loop;
end
$$;
comment on function public.chopsky_export_runs(uuid[]) is 'Each run with its session, spans, messages, contents, prefixes, analytics and feedback, as a line of JSON.';
revoke all on function public.chopsky_export_runs(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_export_runs(uuid[]) to service_role;

-- A session with what was written by hand outside any run.
create function public.chopsky_export_sessions(session_ids uuid[]) returns table (id uuid, exported text)
language sql stable set search_path = ''
as $$
    select s.id, replace(json_build_object(
        'session', row_to_json(s),
        'messages', (
            select json_agg(m order by m.created_at, m.id) from public.conversation_messages m
            where m.session_key = s.session_key and m.conversation_run_id is null
        )
    )::text, E'\n', '')
    from public.conversation_sessions s
    where s.id = any (session_ids)
    order by s.created_at, s.id
$$;
comment on function public.chopsky_export_sessions(uuid[]) is 'Each session with its messages outside any run, as a line of JSON.';
revoke all on function public.chopsky_export_sessions(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_export_sessions(uuid[]) to service_role;

-- What no run and no session brings: messages that are in neither.
create function public.chopsky_export_messages(message_ids uuid[]) returns table (id uuid, exported text)
language sql stable set search_path = ''
as $$
    select m.id, replace(json_build_object('messages', json_build_array(row_to_json(m)))::text, E'\n', '')
    from public.conversation_messages m
    where m.id = any (message_ids) and m.conversation_run_id is null
    order by m.created_at, m.id
$$;
comment on function public.chopsky_export_messages(uuid[]) is 'Messages that are in no run, as lines of JSON.';
revoke all on function public.chopsky_export_messages(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_export_messages(uuid[]) to service_role;

create function public.chopsky_export_profiles(user_ids text[]) returns table (id text, exported text)
language sql stable set search_path = ''
as $$
    select p.user_id, replace(json_build_object('profiles', json_build_array(row_to_json(p)))::text, E'\n', '')
    from public.user_profiles p
    where p.user_id = any (user_ids)
    order by p.user_id
$$;
comment on function public.chopsky_export_profiles(text[]) is 'Profiles of users, as lines of JSON.';
revoke all on function public.chopsky_export_profiles(text[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_export_profiles(text[]) to service_role;

-- Feedback that no run brings: its run has not come yet, or what it is about is in none.
create function public.chopsky_export_feedback(feedback_ids uuid[]) returns table (id uuid, exported text)
language plpgsql stable set search_path = ''
as $$
begin
    if to_regclass('public.conversation_feedback') is not null then
        return query execute '
            select f.id, replace(json_build_object(''feedback'', json_build_array(row_to_json(f)))::text, E''\n'', '''')
            from public.conversation_feedback f where f.id = any ($1) order by f.id'
        using feedback_ids;
    end if;
end
$$;
comment on function public.chopsky_export_feedback(uuid[]) is 'Feedback that belongs to no run that is here, as lines of JSON.';
revoke all on function public.chopsky_export_feedback(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_export_feedback(uuid[]) to service_role;

-- Feedback that came alone: none of who was erased, nor on what was; the rest finds what it is about if that is here.
create function public.chopsky_settle_imported_feedback(feedback_ids uuid[]) returns bigint
language plpgsql set search_path = ''
as $$
declare
    refused bigint;
begin
    delete from public.conversation_feedback f
    using public.conversation_tombstones t
    where f.id = any (feedback_ids) and (
        t.hash in (
            public.chopsky_tombstone('run', f.about_id::text), public.chopsky_tombstone('run', f.conversation_run_id::text)
        ) or (f.created_at < t.erased_at and t.hash in (
            public.chopsky_tombstone('person', f.user_id), public.chopsky_tombstone('person', f.user_id, f.tenant_id),
            public.chopsky_tombstone('person', f.given_by), public.chopsky_tombstone('person', f.given_by, f.tenant_id)
        ))
    );
    get diagnostics refused = row_count;
    perform public.chopsky_place_feedback(feedback_ids);
    return refused;
end
$$;
revoke all on function public.chopsky_settle_imported_feedback(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_settle_imported_feedback(uuid[]) to service_role;

-- Rows as they were, of a table whose names the caller does not choose; those that are there stay as they are.
create function public.chopsky_import_rows(table_name text, rows json) returns bigint
language plpgsql set search_path = ''
as $$
declare
    columns text;
    written bigint;
begin
    if rows is null or json_typeof(rows) <> 'array' or to_regclass('public.' || quote_ident(table_name)) is null then
        return 0;
    end if;
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) into columns
    from pg_catalog.pg_attribute a
    where a.attrelid = to_regclass('public.' || quote_ident(table_name)) and a.attnum > 0 and not a.attisdropped and a.attgenerated = '';
    execute format(
        'insert into public.%1$I (%2$s) select %2$s from json_populate_recordset(null::public.%1$I, $1) on conflict do nothing',
        table_name, columns
    ) using rows;
    get diagnostics written = row_count;
    return written;
end
$$;
revoke all on function public.chopsky_import_rows(text, json) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_import_rows(text, json) to service_role;

-- Of rows that name whose they are those that nobody erased here gave or owned; and how many others there were.
create function public.chopsky_keep_imported(rows json, out kept json, out refused bigint)
language plpgsql stable set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
begin
    kept := rows;
    refused := 0;
    if rows is null or json_typeof(rows) <> 'array' or not exists (select 1 from public.conversation_tombstones t where t.kind = 'person') then
        return;
    end if;
    with given as materialized (
        select
            e.item, e.place, e.item ->> 'user_id' as user_id, e.item ->> 'given_by' as given_by, e.item ->> 'tenant_id' as tenant_id,
            (e.item ->> 'created_at')::timestamptz as created_at, (e.item ->> 'session_key')::uuid as session_key
        from json_array_elements(rows) with ordinality e (item, place)
    ), erased as materialized (
        select p.user_id, p.tenant_id, max(t.erased_at) as at
        from (select g.user_id, g.tenant_id from given g union select g.given_by, g.tenant_id from given g) p
        join public.conversation_tombstones t on t.hash in (
            public.chopsky_tombstone('person', p.user_id), public.chopsky_tombstone('person', p.user_id, p.tenant_id)
        )
        group by 1, 2
    ), judged as (
        select g.item, g.place, exists (
            select 1 from erased e
            where e.user_id in (g.user_id, g.given_by) and e.tenant_id is not distinct from g.tenant_id and g.created_at < e.at
        ) and not exists (
            select 1 from public.conversation_sessions s where s.session_key = g.session_key and s.legal_hold
        ) as is_refused
        from given g
    )
    select coalesce(json_agg(j.item order by j.place) filter (where not j.is_refused), '[]'), count(*) filter (where j.is_refused)
    into kept, refused
    from judged j;
end
$$;
revoke all on function public.chopsky_keep_imported(json) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_keep_imported(json) to service_role;

-- Lines of an export. Rows are settled already: nothing of a run is derived again, but a session's row follows from all its
-- runs that are here. A run that is here stays as it is; what was erased, or is of who was, is refused, as everywhere.
create function public.chopsky_import(lines json) returns jsonb
language plpgsql set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
    counts jsonb := '{"runs": 0, "present": 0, "refused": 0, "sessions": 0, "spans": 0, "messages": 0, "contents": 0, "prefixes": 0, "feedback": 0, "profiles": 0}';
    line json;
    run_id uuid;
    session json;
    said json;
    rated json;
    profiles json;
    others bigint;
    unsaid bigint;
    unrated bigint;
    unknown bigint;
    written jsonb;
    fresh uuid[] := '{}';
    -- Of each of these: what was written with it, and what its prompts begin with.
    of_runs jsonb[] := '{}';
    begun json[] := '{}';
    -- Sessions: that were not here, and that came on a line of their own.
    made uuid[] := '{}';
    alone uuid[] := '{}';
    said_ids uuid[] := '{}';
    keys uuid[] := '{}';
    given_ids uuid[] := '{}';
    refused uuid[];
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.erase', 0));
    perform set_config('chopsky_trace.recompute', 'on', true);
    perform pg_advisory_xact_lock(k.key)
    from (
        select distinct hashtextextended(coalesce(e -> 'run' ->> 'session_id', e -> 'session' ->> 'session_id'), 0) as key
        from json_array_elements(lines) e order by 1
    ) k
    where k.key is not null;
    for line in
        select e from json_array_elements(lines) e order by (e -> 'run' ->> 'id')::uuid nulls last
    loop
        run_id := (line -> 'run' ->> 'id')::uuid;
        session := case when json_typeof(line -> 'session') = 'object' then line -> 'session' end;
        select k.kept, k.refused into said, unsaid from public.chopsky_keep_imported(line -> 'messages') k;
        select k.kept, k.refused into rated, unrated from public.chopsky_keep_imported(line -> 'feedback') k;
        select k.kept, k.refused into profiles, unknown from public.chopsky_keep_imported(line -> 'profiles') k;
        if session is not null then
            select k.refused into others from public.chopsky_keep_imported(json_build_array(session)) k;
            if others = 0 then
                if public.chopsky_import_rows('conversation_sessions', json_build_array(session)) > 0 then
                    made := made || (session ->> 'id')::uuid;
                end if;
                if run_id is null then
                    alone := alone || (session ->> 'id')::uuid;
                end if;
            elsif run_id is null then
                counts := public.chopsky_add_counts(counts, jsonb_build_object(
                    'refused', 1 + case json_typeof(line -> 'messages') when 'array' then json_array_length(line -> 'messages') else 0 end
                ));
                continue;
            end if;
        end if;
        if run_id is not null and public.chopsky_import_rows('conversation_runs', json_build_array(line -> 'run')) = 0 then
            counts := public.chopsky_add_counts(counts, '{"present": 1}');
            continue;
        end if;
        if run_id is not null then
            fresh := fresh || run_id;
            keys := keys || array(select r.session_key from public.conversation_runs r where r.id = run_id and r.session_id is not null);
            perform public.chopsky_import_rows('conversation_analytics', json_build_array(line -> 'analytics'))
            where json_typeof(line -> 'analytics') = 'object';
        else
            if session is null then
                given_ids := given_ids || array(
                    select (e ->> 'id')::uuid from json_array_elements(case json_typeof(rated) when 'array' then rated else '[]' end) e
                    where not exists (select 1 from public.conversation_feedback f where f.id = (e ->> 'id')::uuid)
                );
            end if;
            said_ids := said_ids || array(
                select (m ->> 'id')::uuid from json_array_elements(case json_typeof(said) when 'array' then said else '[]' end) m
            );
        end if;
        written := jsonb_build_object(
            'runs', case when run_id is null then 0 else 1 end,
            'refused', unsaid + unrated + unknown,
            'spans', public.chopsky_import_rows('conversation_spans', line -> 'spans'),
            'messages', public.chopsky_import_rows('conversation_messages', said),
            'contents', public.chopsky_import_rows('conversation_contents', line -> 'contents'),
            'feedback', public.chopsky_import_rows('conversation_feedback', rated),
            'profiles', public.chopsky_import_rows('user_profiles', profiles)
        );
        if run_id is null then
            counts := public.chopsky_add_counts(counts, written);
        else
            of_runs := array_append(of_runs, written);
            begun := array_append(begun, line -> 'prefixes');
        end if;
    end loop;
    refused := public.chopsky_refuse_runs(fresh);
    for place in 1 .. cardinality(fresh) loop
        -- With a run that is refused goes all that came with it.
        counts := public.chopsky_add_counts(counts, case when fresh[place] = any (refused) then '{"refused": 1}' else
            of_runs[place] || jsonb_build_object('prefixes', public.chopsky_import_rows('conversation_prefixes', begun[place]))
        end);
    end loop;
    fresh := array(select u from unnest(fresh) u where u <> all (refused));
    delete from public.conversation_sessions s
    where s.id = any (made) and s.id <> all (alone)
        and not exists (select 1 from public.conversation_runs r where r.session_key = s.session_key)
        and not exists (select 1 from public.conversation_messages m where m.session_key = s.session_key);
    perform public.chopsky_settle_sessions(array(select distinct u from unnest(keys) u));
    if fresh <> '{}' or given_ids <> '{}' then
        unrated := public.chopsky_settle_imported_feedback(given_ids || array(
            -- It may have waited here for what comes now.
            select f.id from public.conversation_feedback f where f.is_pending and f.about_id = any (fresh || said_ids)
        ));
        counts := public.chopsky_add_counts(counts, jsonb_build_object('feedback', -unrated, 'refused', unrated));
    end if;
    if to_regprocedure('public.chopsky_count_usage(uuid[])') is not null then
        execute 'select public.chopsky_count_usage($1)' using fresh || said_ids;
    end if;
    perform set_config('chopsky_trace.recompute', 'off', true);
    return public.chopsky_add_counts(counts, jsonb_build_object(
        'sessions', (select count(*) from public.conversation_sessions s where s.id = any (made))
    ));
end
$$;
comment on function public.chopsky_import(json) is 'Writes lines of an export as they were; what is here already stays. Returns how much was written.';
revoke all on function public.chopsky_import(json) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_import(json) to service_role;
