-- Who the users are, what each may spend, and what each did; sample data to try it with.
create table public.user_profiles (
    user_id text primary key,
    id text generated always as (user_id) stored,
    tenant_id text,
    email text unique,
    display_name text,
    avatar_url text,
    role text not null default 'user' check (role in ('user', 'admin', 'moderator')),
    preferred_model_provider text,
    preferred_model_name text,
    daily_token_limit bigint check (daily_token_limit >= 0),
    monthly_token_limit bigint check (monthly_token_limit >= 0),
    daily_cost_limit_usd numeric(24, 10) check (daily_cost_limit_usd >= 0 and daily_cost_limit_usd <> 'NaN'),
    monthly_cost_limit_usd numeric(24, 10) check (monthly_cost_limit_usd >= 0 and monthly_cost_limit_usd <> 'NaN'),
    is_sample boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table public.user_profiles is 'One user of the application, by the user_id that runs and sessions have. Runs need no profile.';
comment on column public.user_profiles.user_id is 'As runs and sessions have it; with Supabase, the text of auth.users.id.';
comment on column public.user_profiles.id is 'The same as user_id.';
comment on column public.user_profiles.role is 'For the application. What a token may read is said by the token: see chopsky_reads_tenant.';
comment on column public.user_profiles.daily_token_limit is 'NULL: no limit. Stored, and not yet enforced; so are the other three.';
comment on column public.user_profiles.is_sample is 'Made by generate_sample_data: cleanup_test_data removes it.';
create index idx_user_profiles_tenant_id on public.user_profiles (tenant_id) where tenant_id is not null;

revoke all on table public.user_profiles from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.user_profiles to service_role;
grant select (
    user_id, id, tenant_id, email, display_name, avatar_url, role, preferred_model_provider, preferred_model_name,
    daily_token_limit, monthly_token_limit, created_at, updated_at
), update (
    display_name, avatar_url, preferred_model_provider, preferred_model_name
) on table public.user_profiles to authenticated;

alter table public.user_profiles enable row level security;
create policy user_profiles_read on public.user_profiles for select to authenticated using (
    (
        user_id = (select (select auth.jwt()) ->> 'sub')
        and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
    ) or tenant_id = (select case when public.chopsky_reads_tenant() then public.chopsky_tenant_id() end)
);
create policy user_profiles_edit on public.user_profiles for update to authenticated using (
    user_id = (select (select auth.jwt()) ->> 'sub')
    and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
) with check (
    user_id = (select (select auth.jwt()) ->> 'sub')
    and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
);
create policy user_profiles_service on public.user_profiles for all to service_role using (true) with check (true);

create function public.chopsky_on_profile() returns trigger
language plpgsql set search_path = ''
as $$
begin
    new.updated_at := now();
    return new;
end
$$;
revoke all on function public.chopsky_on_profile() from public, anon, authenticated, service_role;
create trigger user_profiles_edited before update on public.user_profiles
    for each row execute function public.chopsky_on_profile();

create view public.usage_logs with (security_invoker = true) as
select
    s.id, r.user_id, r.tenant_id, c.id as conversation_id, r.id as conversation_run_id, m.id as message_id, s.kind as action, s.provider,
    coalesce(s.model, s.model_requested) as model, s.total_tokens as tokens_used, s.cost as cost_usd, s.status,
    s.metadata, coalesce(s.started_at, s.ended_at, r.started_at, r.created_at) as created_at
from public.conversation_spans s
join public.conversation_runs r on r.id = s.conversation_run_id
left join public.conversation_sessions c on c.session_key = r.session_key and r.session_id is not null
left join lateral (
    select o.id from public.conversation_messages o
    where o.conversation_run_id = r.id and o.span_id = s.id and o.role = 'assistant' and not o.is_history
    order by o.position, o.id limit 1
) m on true
where s.kind in ('llm', 'embedding', 'image') and s.duplicate_of is null
union all
select
    m.id, m.user_id, m.tenant_id, c.id, null, m.id, 'message', m.provider, m.model, m.token_count, m.cost, 'completed', m.metadata, m.created_at
from public.conversation_messages m
left join public.conversation_sessions c on c.session_key = m.session_key
where m.conversation_run_id is null and m.role = 'assistant' and num_nonnulls(m.token_count, m.cost, m.model) > 0;
comment on view public.usage_logs is 'One row per model call, and per answer that an application wrote by hand with its numbers.';
comment on column public.usage_logs.conversation_id is 'The session''s id.';
comment on column public.usage_logs.message_id is 'What the call answered.';
comment on column public.usage_logs.action is 'llm, embedding or image; message: written by hand.';
comment on column public.usage_logs.tokens_used is 'NULL = unknown.';
comment on column public.usage_logs.cost_usd is 'NULL = unknown.';
revoke all on table public.usage_logs from public, anon, authenticated, service_role;
grant select on table public.usage_logs to service_role;

create view public.user_activity_summary with (security_invoker = true) as
select
    u.user_id, p.email, p.display_name, p.role,
    sum(u.conversations)::bigint as total_conversations, sum(u.runs)::bigint as total_runs, sum(u.messages)::bigint as total_messages,
    sum(u.tokens)::bigint as total_tokens_used, sum(u.cost) as total_cost_usd, sum(u.unpriced)::bigint as unpriced_calls,
    min(u.first_at) as first_activity_at, max(u.last_at) as last_activity_at
from (
    select
        r.user_id, 0::bigint as conversations, count(*) as runs, sum(r.total_messages) as messages, sum(r.total_tokens_used) as tokens,
        sum(r.total_cost) as cost, sum(r.unpriced_calls) as unpriced, min(coalesce(r.started_at, r.created_at)) as first_at,
        max(coalesce(r.ended_at, r.started_at, r.created_at)) as last_at
    from public.conversation_runs r where r.user_id is not null and not r.merged group by r.user_id
    union all
    select s.user_id, count(*), 0::bigint, 0::bigint, null::numeric, null::numeric, 0::bigint, min(s.created_at), max(s.last_activity_at)
    from public.conversation_sessions s where s.user_id is not null group by s.user_id
    union all
    select m.user_id, 0::bigint, 0::bigint, count(*) filter (where not m.is_internal), sum(m.token_count)::numeric, sum(m.cost), 0::bigint, min(m.created_at), max(m.created_at)
    from public.conversation_messages m
    where m.conversation_run_id is null and m.session_key is not null and m.user_id is not null group by m.user_id
    union all
    select a.user_id, 0::bigint, 0::bigint, 0::bigint, null::numeric, null::numeric, 0::bigint, null::timestamptz, null::timestamptz from public.user_profiles a
) u
left join public.user_profiles p on p.user_id = u.user_id
group by u.user_id, p.email, p.display_name, p.role;
comment on view public.user_activity_summary is 'What each user did and cost, with or without a profile. Sums are of what is known, NULL where nothing is.';
revoke all on table public.user_activity_summary from public, anon, authenticated, service_role;
grant select on table public.user_activity_summary to service_role;

create view public.performance_stats with (security_invoker = true) as
select
    t.relname as table_name, pg_total_relation_size(t.relid) as total_bytes, pg_table_size(t.relid) as table_bytes,
    pg_indexes_size(t.relid) as index_bytes, t.n_live_tup as live_rows, t.n_dead_tup as dead_rows, t.n_tup_ins as rows_inserted,
    t.n_tup_upd as rows_updated, t.n_tup_del as rows_deleted, t.seq_scan as sequential_scans, t.idx_scan as index_scans,
    greatest(t.last_vacuum, t.last_autovacuum) as last_vacuum_at, greatest(t.last_analyze, t.last_autoanalyze) as last_analyze_at,
    d.bytes as database_bytes
from pg_catalog.pg_stat_user_tables t
cross join (select pg_database_size(current_database()) as bytes) d
where t.schemaname = 'public'
order by 2 desc;
comment on view public.performance_stats is 'The tables of the schema public, the largest first, with the whole database''s size beside: as the server counts them.';
revoke all on table public.performance_stats from public, anon, authenticated, service_role;
grant select on table public.performance_stats to service_role;

-- By the session: a message alone is not put away. It says nothing of what the application does with it.
create function public.archive_old_messages(older_than interval default '90 days', tenant_id text default null, at_most integer default 10000)
returns integer
language plpgsql set search_path = ''
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    archived integer;
begin
    -- Nobody drove them.
    perform set_config('chopsky_trace.recompute', 'on', true);
    update public.conversation_sessions s
    set is_archived = true
    where s.id in (
        select o.id from public.conversation_sessions o
        where o.last_activity_at < now() - older_than and not o.is_archived
            and (archive_old_messages.tenant_id is null or o.tenant_id = archive_old_messages.tenant_id)
        order by o.session_key limit at_most for no key update skip locked
    );
    get diagnostics archived = row_count;
    perform set_config('chopsky_trace.recompute', was, true);
    return archived;
end
$$;
comment on function public.archive_old_messages(interval, text, integer) is 'Archives conversations in which nothing has happened for so long; returns how many. Nothing is removed; call it again until it returns 0.';
revoke all on function public.archive_old_messages(interval, text, integer) from public, anon, authenticated, service_role;
grant execute on function public.archive_old_messages(interval, text, integer) to service_role;

-- Three conversations of two turns, as a writer would have stored them. Their ids follow from the address, so that a
-- second call finds them; each session names its runs, so that exactly these are removed.
create function public.generate_sample_data(email text) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    seed constant text := 'chopsky-trace sample/' || lower(generate_sample_data.email) || '/';
    made jsonb := jsonb_build_object('profiles', 0, 'conversations', 0, 'runs', 0, 'messages', 0, 'calls', 0);
    who text;
    talk record;
    turn record;
    at timestamptz;
    run uuid;
    prompt uuid[];
    runs json[];
    spans json[];
    messages json[];
begin
    if coalesce(generate_sample_data.email, '') !~ '^[^@[:space:]]+@[^@[:space:]]+$' then
        raise exception 'Sample data need an email address like ann@example.com' using errcode = 'invalid_parameter_value';
    end if;
    select p.user_id into who from public.user_profiles p where lower(p.email) = lower(generate_sample_data.email);
    if who is null then
        who := 'sample-' || substr(md5(seed), 1, 12);
        insert into public.user_profiles (user_id, email, display_name, preferred_model_provider, preferred_model_name, daily_token_limit, is_sample)
        values (who, generate_sample_data.email, 'Sample of ' || split_part(generate_sample_data.email, '@', 1), 'openai', 'gpt-4o-mini', 100000, true)
        on conflict (user_id) do nothing;
        made := made || '{"profiles": 1}';
    end if;
    for talk in
        select t.title, t.days_ago, t.provider, t.model, t.turns, t.place
        from rows from (json_to_recordset('[
            {"title": "Dinner from the pantry", "days_ago": 6, "provider": "openai", "model": "gpt-4o-mini", "turns": [
                {"q": "I have eggs and spinach. What can I cook?", "a": "A spinach omelette: beat three eggs, wilt the spinach in butter, fold.", "in": 61, "out": 22, "cost": "0.00002235", "ms": 1240, "first": 310},
                {"q": "And without butter?", "a": "Take olive oil; the omelette stays as soft.", "in": 104, "out": 13, "cost": "0.0000234", "ms": 870, "first": 260}]},
            {"title": "Shopping list", "days_ago": 3, "provider": "anthropic", "model": "claude-3-5-haiku-20241022", "turns": [
                {"q": "What do I need for a chickpea stew for four?", "a": "Two tins of chickpeas, 800 g of tomatoes, an onion, garlic, cumin and stock.", "in": 68, "out": 31, "cost": "0.0001784", "ms": 1610, "first": 420},
                {"q": "Make it milder, please.", "a": "Leave out the cumin and add a carrot.", "in": 127, "out": 14, "cost": "0.0001576", "ms": 930, "first": 380}]},
            {"title": "How long does soup keep?", "days_ago": 1, "provider": "openai", "model": "gpt-4o-mini", "turns": [
                {"q": "How long does soup keep?", "a": "Three to four days in the fridge, three months frozen.", "in": 52, "out": 17, "cost": "0.000018", "ms": 760, "first": 240},
                {"q": "yes", "a": "Then cool it quickly, and label it with the date.", "in": 92, "out": 15, "cost": "0.0000228", "ms": 690, "first": 230}]}
        ]') as (title text, days_ago integer, provider text, model text, turns json)) with ordinality as t (title, days_ago, provider, model, turns, place)
    loop
        continue when exists (
            select 1 from public.conversation_sessions s where s.id = md5(seed || talk.place)::uuid
        );
        runs := '{}'; spans := '{}'; messages := '{}'; prompt := '{}';
        at := date_trunc('second', now()) - make_interval(days => talk.days_ago);
        insert into public.conversation_sessions (id, session_id, user_id, title, model_provider, model_name, metadata, created_at, last_activity_at)
        values (
            md5(seed || talk.place)::uuid, 'sample-' || substr(md5(seed || talk.place), 1, 12), who, talk.title, talk.provider, talk.model,
            jsonb_build_object('chopsky_sample', jsonb_build_array(
                md5(seed || talk.place || '/1')::uuid, md5(seed || talk.place || '/2')::uuid
            )), at, at
        );
        for turn in
            select t.* from rows from (json_to_recordset(talk.turns) as (q text, a text, "in" integer, out integer, cost numeric, ms integer, first integer))
                with ordinality as t (q, a, input_tokens, output_tokens, cost, ms, first_ms, place)
        loop
            run := md5(seed || talk.place || '/' || turn.place)::uuid;
            prompt := prompt || public.chopsky_text_body_id('user', turn.q, null, null);
            runs := runs || json_build_object(
                'id', run, 'project', 'sample', 'environment', 'demo', 'user_id', who,
                'session_id', 'sample-' || substr(md5(seed || talk.place), 1, 12), 'started_at', at
            );
            spans := spans || array[
                json_build_object(
                    'id', run, 'conversation_run_id', run, 'kind', 'chain', 'name', 'chef', 'source', 'langchain', 'started_at', at,
                    'start_version', '1', 'end_version', '1', 'status', 'completed', 'response_time_ms', turn.ms + 15,
                    'ended_at', at + make_interval(secs => (turn.ms + 15) / 1000.0), 'metadata', '{"chopsky_sample": true}'::json
                ),
                json_build_object(
                    'id', md5(run::text)::uuid, 'conversation_run_id', run, 'parent_span_id', run, 'kind', 'llm', 'name', 'chat', 'source', 'langchain',
                    'provider', talk.provider, 'model', talk.model, 'model_requested', talk.model, 'started_at', at, 'start_version', '1',
                    'end_version', '1', 'status', 'completed', 'ended_at', at + make_interval(secs => turn.ms / 1000.0),
                    'response_time_ms', turn.ms, 'time_to_first_token_ms', turn.first_ms, 'input_tokens', turn.input_tokens,
                    'output_tokens', turn.output_tokens, 'total_tokens', turn.input_tokens + turn.output_tokens, 'usage_source', 'reported',
                    'cost', turn.cost, 'cost_source', 'computed', 'finish_reason', 'stop', 'prompt_bodies', prompt,
                    'output_bodies', array[public.chopsky_text_body_id('assistant', turn.a, null, null)]
                )
            ];
            messages := messages || array[
                json_build_object(
                    'id', md5(run || 'q')::uuid, 'body_id', prompt[cardinality(prompt)], 'conversation_run_id', run, 'role', 'user',
                    'content', turn.q, 'position', 0, 'cost', 0, 'created_at', at
                ),
                json_build_object(
                    'id', md5(run || 'a')::uuid, 'body_id', public.chopsky_text_body_id('assistant', turn.a, null, null),
                    'conversation_run_id', run, 'span_id', md5(run::text)::uuid, 'role', 'assistant', 'content', turn.a, 'position', 0,
                    'token_count', turn.output_tokens, 'token_count_source', 'reported', 'cost', turn.cost, 'model', talk.model,
                    'provider', talk.provider, 'response_time_ms', turn.ms, 'version', '1', 'created_at', at + make_interval(secs => turn.ms / 1000.0)
                )
            ];
            prompt := prompt || public.chopsky_text_body_id('assistant', turn.a, null, null);
            at := at + interval '2 minutes';
        end loop;
        perform public.chopsky_ingest(json_build_object('runs', to_json(runs), 'spans', to_json(spans), 'messages', to_json(messages)));
        made := made || jsonb_build_object(
            'conversations', (made ->> 'conversations')::integer + 1, 'runs', (made ->> 'runs')::integer + cardinality(runs),
            'messages', (made ->> 'messages')::integer + cardinality(messages), 'calls', (made ->> 'calls')::integer + cardinality(runs)
        );
    end loop;
    return made || jsonb_build_object('user_id', who);
end
$$;
comment on function public.generate_sample_data(text) is 'Makes a few conversations of the user with this address (and the profile where there is none); returns what it made. cleanup_test_data removes it.';
revoke all on function public.generate_sample_data(text) from public, anon, authenticated, service_role;
grant execute on function public.generate_sample_data(text) to service_role;

create function public.cleanup_test_data() returns jsonb
language plpgsql set search_path = ''
as $$
declare
    session_ids uuid[];
    run_ids uuid[];
    removed jsonb;
    profiles integer;
    sessions integer;
begin
    session_ids := array(select s.id from public.conversation_sessions s where s.metadata ? 'chopsky_sample' order by s.session_key);
    run_ids := array(
        select e.value::uuid from public.conversation_sessions s
        cross join lateral jsonb_array_elements_text(s.metadata -> 'chopsky_sample') e
        where s.id = any (session_ids)
    );
    perform 1 from public.conversation_runs r where r.id = any (run_ids) order by r.id for update;
    select jsonb_build_object(
        'runs', (select count(*) from public.conversation_runs r where r.id = any (run_ids)),
        'messages', (select count(*) from public.conversation_messages m where m.conversation_run_id = any (run_ids)),
        'calls', (select count(*) from public.conversation_spans s where s.conversation_run_id = any (run_ids) and s.kind = 'llm')
    ) into removed;
    delete from public.conversation_runs r where r.id = any (run_ids);
    -- One that somebody went on with is theirs now.
    update public.conversation_sessions s set metadata = s.metadata - 'chopsky_sample'
    where s.id = any (session_ids) and (
        exists (select 1 from public.conversation_runs r where r.session_key = s.session_key)
        or exists (select 1 from public.conversation_messages m where m.session_key = s.session_key and m.conversation_run_id is null)
    );
    delete from public.conversation_sessions s where s.id = any (session_ids) and s.metadata ? 'chopsky_sample';
    get diagnostics sessions = row_count;
    delete from public.user_profiles p where p.is_sample;
    get diagnostics profiles = row_count;
    return removed || jsonb_build_object('conversations', sessions, 'profiles', profiles);
end
$$;
comment on function public.cleanup_test_data() is 'Removes what generate_sample_data made, and nothing else; returns what it removed.';
revoke all on function public.cleanup_test_data() from public, anon, authenticated, service_role;
grant execute on function public.cleanup_test_data() to service_role;
