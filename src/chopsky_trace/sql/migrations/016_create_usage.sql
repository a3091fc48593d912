-- What was used, a row per day, tenant, user, provider and model. It moves by exact differences: what a run, or a message
-- written by hand outside one, contributes stands in usage_contributions, and only what changed there is added here. What is
-- pruned leaves its sums in usage_kept, so usage_metrics = contributions + kept: rebuild_usage makes it so, `check` compares.
-- Days are those of UTC: of a call's start, of a message's time. A minimum or maximum cannot be taken back out of a sum, so
-- first and last use are known to the day. A sum that nobody told is NULL, one that some told has those.
create function public.chopsky_usage_key(day date, tenant_id text, user_id text, provider text, model text) returns uuid
-- In SQL it would be planned at each call.
language plpgsql immutable set search_path = ''
as $$
begin
    return md5(
        (day - date '2000-01-01')::text || coalesce('.' || length(tenant_id) || ':' || tenant_id, '-')
        || coalesce('.' || length(user_id) || ':' || user_id, '-')
        || coalesce('.' || length(provider) || ':' || provider, '-') || coalesce('.' || length(model) || ':' || model, '-')
    )::uuid;
end
$$;
comment on function public.chopsky_usage_key(date, text, text, text, text) is 'Names a row of the usage roll-ups: a hash, for names may be of any length, and NULL.';
revoke all on function public.chopsky_usage_key(date, text, text, text, text) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_usage_key(date, text, text, text, text) to service_role;

create table public.usage_metrics (
    key uuid primary key,
    day date not null,
    tenant_id text,
    user_id text,
    provider text,
    model text,
    contributions bigint not null default 0,
    known bigint[] not null default '{0,0,0,0,0,0,0,0}',
    calls bigint not null default 0,
    failed_calls bigint not null default 0,
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    total_cost numeric(34, 10),
    unpriced_calls bigint not null default 0,
    unmeasured_calls bigint not null default 0,
    response_time_ms numeric(24, 3),
    timed_calls bigint not null default 0,
    messages bigint not null default 0,
    user_messages bigint not null default 0,
    assistant_messages bigint not null default 0
)
-- Rows of the current day are written again and again, in place.
with (fillfactor = 70);
comment on table public.usage_metrics is 'Usage by day (UTC), tenant, user, provider and model; outlives the runs that are pruned.';
comment on column public.usage_metrics.provider is 'NULL for what users wrote, and where nobody told.';
comment on column public.usage_metrics.contributions is 'Runs, messages outside a run, and increments in this row.';
comment on column public.usage_metrics.known is 'How many of them told input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, response_time_ms, in this order: a sum of none is NULL.';
comment on column public.usage_metrics.calls is 'Model calls that ended or were abandoned, each counted once; and assistant messages written by hand that name a provider or model.';
comment on column public.usage_metrics.input_tokens is 'The whole: cached tokens are part of it. Sum of what is known.';
comment on column public.usage_metrics.output_tokens is 'The whole: reasoning tokens are part of it. Sum of what is known.';
comment on column public.usage_metrics.total_cost is 'USD. Sum of what is known; unpriced_calls are not in it.';
comment on column public.usage_metrics.response_time_ms is 'Sum over the timed_calls; the mean is response_time_ms / timed_calls.';
comment on column public.usage_metrics.messages is 'Messages that are not internal; of users and assistants, and any other.';

comment on column public.usage_metrics.key is 'chopsky_usage_key of the row: one row of each day, tenant, user, provider and model, NULLs too.';

create index idx_usage_metrics_user_id_day on public.usage_metrics (user_id, day) where user_id is not null;
create index idx_usage_metrics_tenant_id_day on public.usage_metrics (tenant_id, day) where tenant_id is not null;
create index idx_usage_metrics_day on public.usage_metrics (day);

revoke all on table public.usage_metrics from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.usage_metrics to service_role;
-- No costs, as everywhere; total_cost and unpriced_calls open the views below, and `select *`, to them.
grant select (
    key, contributions, known, day, tenant_id, user_id, provider, model, calls, failed_calls, input_tokens, output_tokens, total_tokens,
    cache_read_tokens, cache_write_tokens, reasoning_tokens, unmeasured_calls, response_time_ms, timed_calls, messages,
    user_messages, assistant_messages
) on table public.usage_metrics to authenticated;
alter table public.usage_metrics enable row level security;
-- The tenant only for who may read it, NULL for others: the index then finds nothing, at once.
create policy usage_metrics_read on public.usage_metrics for select to authenticated using (
    (
        user_id = (select (select auth.jwt()) ->> 'sub')
        and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
    ) or tenant_id = (select case when public.chopsky_reads_tenant() then public.chopsky_tenant_id() end)
);
create policy usage_metrics_service on public.usage_metrics for all to service_role using (true) with check (true);

-- The same without users: what a tenant, or the operator, looks at has few rows then.
create table public.usage_totals (
    key uuid primary key,
    day date not null,
    tenant_id text,
    provider text,
    model text,
    contributions bigint not null default 0,
    known bigint[] not null default '{0,0,0,0,0,0,0,0}',
    calls bigint not null default 0,
    failed_calls bigint not null default 0,
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    total_cost numeric(34, 10),
    unpriced_calls bigint not null default 0,
    unmeasured_calls bigint not null default 0,
    response_time_ms numeric(24, 3),
    timed_calls bigint not null default 0,
    messages bigint not null default 0,
    user_messages bigint not null default 0,
    assistant_messages bigint not null default 0
)
with (fillfactor = 70);
comment on table public.usage_totals is 'usage_metrics summed over users: by day (UTC), tenant, provider and model.';
create index idx_usage_totals_day on public.usage_totals (day);
create index idx_usage_totals_tenant_id_day on public.usage_totals (tenant_id, day) where tenant_id is not null;

revoke all on table public.usage_totals from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.usage_totals to service_role;
grant select (
    key, contributions, known, day, tenant_id, provider, model, calls, failed_calls, input_tokens, output_tokens, total_tokens, cache_read_tokens,
    cache_write_tokens, reasoning_tokens, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages,
    assistant_messages
) on table public.usage_totals to authenticated;
alter table public.usage_totals enable row level security;
create policy usage_totals_read on public.usage_totals for select to authenticated using (
    tenant_id = (select case when public.chopsky_reads_tenant() then public.chopsky_tenant_id() end)
);
create policy usage_totals_service on public.usage_totals for all to service_role using (true) with check (true);

-- What each run (owner_id = its id), or message outside a run (its id), has in usage_metrics at present.
create table public.usage_contributions (
    owner_id uuid not null,
    key uuid not null,
    day date not null,
    tenant_id text,
    user_id text,
    provider text,
    model text,
    calls bigint not null default 0,
    failed_calls bigint not null default 0,
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    total_cost numeric(34, 10),
    unpriced_calls bigint not null default 0,
    unmeasured_calls bigint not null default 0,
    response_time_ms numeric(24, 3),
    timed_calls bigint not null default 0,
    messages bigint not null default 0,
    user_messages bigint not null default 0,
    assistant_messages bigint not null default 0,
    primary key (owner_id, key)
)
with (fillfactor = 80);
comment on table public.usage_contributions is 'What a run, or a message outside a run, contributes to usage_metrics.';
comment on column public.usage_contributions.key is 'As in usage_metrics.';
revoke all on table public.usage_contributions from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.usage_contributions to service_role;
alter table public.usage_contributions enable row level security;
create policy usage_contributions_service on public.usage_contributions for all to service_role using (true) with check (true);

-- What of usage_metrics has no rows behind it: of runs that were pruned, and what was added by hand.
create table public.usage_kept (like public.usage_metrics including defaults including indexes);
comment on table public.usage_kept is 'Sums of what was pruned, and of increment_usage_metrics: the part of usage_metrics that no run tells any more.';
revoke all on table public.usage_kept from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.usage_kept to service_role;
alter table public.usage_kept enable row level security;
create policy usage_kept_service on public.usage_kept for all to service_role using (true) with check (true);

-- Adds differences, in the order of the keys: writers wait for each other instead of deadlocking.
create function public.chopsky_add_usage(deltas public.usage_metrics[], to_kept boolean, to_metrics boolean) returns void
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    -- Without users.
    totals public.usage_metrics[] := deltas;
    -- Only what takes contributions away can leave a row empty.
    takes_away boolean := deltas[1].contributions < 0;
begin
    if to_kept then
        insert into public.usage_kept as k (
            key, day, tenant_id, user_id, provider, model, contributions, known, calls, failed_calls, input_tokens,
            output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost,
            unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages
        )
        select
            d.key, d.day, d.tenant_id, d.user_id, d.provider, d.model, d.contributions, d.known, d.calls, d.failed_calls,
            d.input_tokens, d.output_tokens, d.total_tokens, d.cache_read_tokens, d.cache_write_tokens, d.reasoning_tokens,
            d.total_cost, d.unpriced_calls, d.unmeasured_calls, d.response_time_ms, d.timed_calls, d.messages,
            d.user_messages, d.assistant_messages
        from unnest(deltas) d
        order by d.key
        on conflict (key) do update
        set
            contributions = k.contributions + excluded.contributions,
            known = array[k.known[1] + excluded.known[1], k.known[2] + excluded.known[2], k.known[3] + excluded.known[3], k.known[4] + excluded.known[4], k.known[5] + excluded.known[5], k.known[6] + excluded.known[6], k.known[7] + excluded.known[7], k.known[8] + excluded.known[8]],
            calls = k.calls + excluded.calls, failed_calls = k.failed_calls + excluded.failed_calls,
            input_tokens = case when k.known[1] + excluded.known[1] > 0 then coalesce(k.input_tokens, 0) + coalesce(excluded.input_tokens, 0) end,
            output_tokens = case when k.known[2] + excluded.known[2] > 0 then coalesce(k.output_tokens, 0) + coalesce(excluded.output_tokens, 0) end,
            total_tokens = case when k.known[3] + excluded.known[3] > 0 then coalesce(k.total_tokens, 0) + coalesce(excluded.total_tokens, 0) end,
            cache_read_tokens = case when k.known[4] + excluded.known[4] > 0 then coalesce(k.cache_read_tokens, 0) + coalesce(excluded.cache_read_tokens, 0) end,
            cache_write_tokens = case when k.known[5] + excluded.known[5] > 0 then coalesce(k.cache_write_tokens, 0) + coalesce(excluded.cache_write_tokens, 0) end,
            reasoning_tokens = case when k.known[6] + excluded.known[6] > 0 then coalesce(k.reasoning_tokens, 0) + coalesce(excluded.reasoning_tokens, 0) end,
            total_cost = case when k.known[7] + excluded.known[7] > 0 then coalesce(k.total_cost, 0) + coalesce(excluded.total_cost, 0) end,
            unpriced_calls = k.unpriced_calls + excluded.unpriced_calls,
            unmeasured_calls = k.unmeasured_calls + excluded.unmeasured_calls,
            response_time_ms = case when k.known[8] + excluded.known[8] > 0 then coalesce(k.response_time_ms, 0) + coalesce(excluded.response_time_ms, 0) end,
            timed_calls = k.timed_calls + excluded.timed_calls, messages = k.messages + excluded.messages,
            user_messages = k.user_messages + excluded.user_messages,
            assistant_messages = k.assistant_messages + excluded.assistant_messages;
    end if;
    if not to_metrics then
        return;
    end if;
    -- One difference is of one row: it needs no sums.
    if cardinality(deltas) > 1 then
        takes_away := exists (select 1 from unnest(deltas) d where d.contributions < 0);
    end if;
    insert into public.usage_metrics as m (
        key, day, tenant_id, user_id, provider, model, contributions, known, calls, failed_calls, input_tokens,
        output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost,
        unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages
    )
    select
        d.key, d.day, d.tenant_id, d.user_id, d.provider, d.model, d.contributions, d.known, d.calls, d.failed_calls,
        d.input_tokens, d.output_tokens, d.total_tokens, d.cache_read_tokens, d.cache_write_tokens, d.reasoning_tokens,
        d.total_cost, d.unpriced_calls, d.unmeasured_calls, d.response_time_ms, d.timed_calls, d.messages,
        d.user_messages, d.assistant_messages
    from unnest(deltas) d
    order by d.key
    on conflict (key) do update
    set
        contributions = m.contributions + excluded.contributions,
        known = array[m.known[1] + excluded.known[1], m.known[2] + excluded.known[2], m.known[3] + excluded.known[3], m.known[4] + excluded.known[4], m.known[5] + excluded.known[5], m.known[6] + excluded.known[6], m.known[7] + excluded.known[7], m.known[8] + excluded.known[8]],
        calls = m.calls + excluded.calls, failed_calls = m.failed_calls + excluded.failed_calls,
        input_tokens = case when m.known[1] + excluded.known[1] > 0 then coalesce(m.input_tokens, 0) + coalesce(excluded.input_tokens, 0) end,
        output_tokens = case when m.known[2] + excluded.known[2] > 0 then coalesce(m.output_tokens, 0) + coalesce(excluded.output_tokens, 0) end,
        total_tokens = case when m.known[3] + excluded.known[3] > 0 then coalesce(m.total_tokens, 0) + coalesce(excluded.total_tokens, 0) end,
        cache_read_tokens = case when m.known[4] + excluded.known[4] > 0 then coalesce(m.cache_read_tokens, 0) + coalesce(excluded.cache_read_tokens, 0) end,
        cache_write_tokens = case when m.known[5] + excluded.known[5] > 0 then coalesce(m.cache_write_tokens, 0) + coalesce(excluded.cache_write_tokens, 0) end,
        reasoning_tokens = case when m.known[6] + excluded.known[6] > 0 then coalesce(m.reasoning_tokens, 0) + coalesce(excluded.reasoning_tokens, 0) end,
        total_cost = case when m.known[7] + excluded.known[7] > 0 then coalesce(m.total_cost, 0) + coalesce(excluded.total_cost, 0) end,
        unpriced_calls = m.unpriced_calls + excluded.unpriced_calls,
        unmeasured_calls = m.unmeasured_calls + excluded.unmeasured_calls,
        response_time_ms = case when m.known[8] + excluded.known[8] > 0 then coalesce(m.response_time_ms, 0) + coalesce(excluded.response_time_ms, 0) end,
        timed_calls = m.timed_calls + excluded.timed_calls, messages = m.messages + excluded.messages,
        user_messages = m.user_messages + excluded.user_messages,
        assistant_messages = m.assistant_messages + excluded.assistant_messages;
    if takes_away then
        delete from public.usage_metrics m
        where m.key in (select d.key from unnest(deltas) d where d.contributions < 0) and m.contributions = 0;
    end if;

    if cardinality(deltas) > 1 then
        select array_agg(row(
            null::uuid, d.day, d.tenant_id, null::text, d.provider, d.model, d.contributions, d.known, d.calls, d.failed_calls,
            d.input_tokens, d.output_tokens, d.total_tokens, d.cache_read_tokens, d.cache_write_tokens, d.reasoning_tokens,
            d.total_cost, d.unpriced_calls, d.unmeasured_calls, d.response_time_ms, d.timed_calls, d.messages, d.user_messages,
            d.assistant_messages
        )::public.usage_metrics) into totals
        from (
            select
                d.day, d.tenant_id, d.provider, d.model, sum(d.contributions) as contributions,
                array[
                    sum(d.known[1]), sum(d.known[2]), sum(d.known[3]), sum(d.known[4]), sum(d.known[5]), sum(d.known[6]),
                    sum(d.known[7]), sum(d.known[8])
                ]::bigint[] as known,
                sum(d.calls) as calls, sum(d.failed_calls) as failed_calls, sum(d.input_tokens) as input_tokens,
                sum(d.output_tokens) as output_tokens, sum(d.total_tokens) as total_tokens,
                sum(d.cache_read_tokens) as cache_read_tokens, sum(d.cache_write_tokens) as cache_write_tokens,
                sum(d.reasoning_tokens) as reasoning_tokens, sum(d.total_cost) as total_cost,
                sum(d.unpriced_calls) as unpriced_calls, sum(d.unmeasured_calls) as unmeasured_calls,
                sum(d.response_time_ms) as response_time_ms, sum(d.timed_calls) as timed_calls, sum(d.messages) as messages,
                sum(d.user_messages) as user_messages, sum(d.assistant_messages) as assistant_messages
            from unnest(deltas) d
            group by d.day, d.tenant_id, d.provider, d.model
        ) d;
    end if;
    insert into public.usage_totals as m (
        key, day, tenant_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens,
        total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls,
        unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages
    )
    select
        public.chopsky_usage_key(d.day, d.tenant_id, null, d.provider, d.model), d.day, d.tenant_id, d.provider, d.model,
        d.contributions, d.known, d.calls, d.failed_calls, d.input_tokens, d.output_tokens, d.total_tokens,
        d.cache_read_tokens, d.cache_write_tokens, d.reasoning_tokens, d.total_cost, d.unpriced_calls, d.unmeasured_calls,
        d.response_time_ms, d.timed_calls, d.messages, d.user_messages, d.assistant_messages
    from unnest(totals) d
    order by 1
    on conflict (key) do update
    set
        contributions = m.contributions + excluded.contributions,
        known = array[m.known[1] + excluded.known[1], m.known[2] + excluded.known[2], m.known[3] + excluded.known[3], m.known[4] + excluded.known[4], m.known[5] + excluded.known[5], m.known[6] + excluded.known[6], m.known[7] + excluded.known[7], m.known[8] + excluded.known[8]],
        calls = m.calls + excluded.calls, failed_calls = m.failed_calls + excluded.failed_calls,
        input_tokens = case when m.known[1] + excluded.known[1] > 0 then coalesce(m.input_tokens, 0) + coalesce(excluded.input_tokens, 0) end,
        output_tokens = case when m.known[2] + excluded.known[2] > 0 then coalesce(m.output_tokens, 0) + coalesce(excluded.output_tokens, 0) end,
        total_tokens = case when m.known[3] + excluded.known[3] > 0 then coalesce(m.total_tokens, 0) + coalesce(excluded.total_tokens, 0) end,
        cache_read_tokens = case when m.known[4] + excluded.known[4] > 0 then coalesce(m.cache_read_tokens, 0) + coalesce(excluded.cache_read_tokens, 0) end,
        cache_write_tokens = case when m.known[5] + excluded.known[5] > 0 then coalesce(m.cache_write_tokens, 0) + coalesce(excluded.cache_write_tokens, 0) end,
        reasoning_tokens = case when m.known[6] + excluded.known[6] > 0 then coalesce(m.reasoning_tokens, 0) + coalesce(excluded.reasoning_tokens, 0) end,
        total_cost = case when m.known[7] + excluded.known[7] > 0 then coalesce(m.total_cost, 0) + coalesce(excluded.total_cost, 0) end,
        unpriced_calls = m.unpriced_calls + excluded.unpriced_calls,
        unmeasured_calls = m.unmeasured_calls + excluded.unmeasured_calls,
        response_time_ms = case when m.known[8] + excluded.known[8] > 0 then coalesce(m.response_time_ms, 0) + coalesce(excluded.response_time_ms, 0) end,
        timed_calls = m.timed_calls + excluded.timed_calls, messages = m.messages + excluded.messages,
        user_messages = m.user_messages + excluded.user_messages,
        assistant_messages = m.assistant_messages + excluded.assistant_messages;
    if takes_away then
        delete from public.usage_totals t
        where t.contributions = 0 and t.key in (
            select public.chopsky_usage_key(d.day, d.tenant_id, null, d.provider, d.model)
            from unnest(totals) d where d.contributions < 0
        );
    end if;
end
$$;
revoke all on function public.chopsky_add_usage(public.usage_metrics[], boolean, boolean) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_add_usage(public.usage_metrics[], boolean, boolean) to service_role;

-- Counts runs, and messages outside a run, by their ids: what they contribute now takes the place of what they did. One that
-- is gone contributes nothing. The caller has locked the runs and derived their totals. Locks of the roll-up come last in a
-- transaction, for all writers of a tenant meet there.
create function public.chopsky_count_usage(owner_ids uuid[]) returns void
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    run_ids uuid[];
    -- Those whose totals a person set.
    by_hand uuid[];
    deltas public.usage_metrics[];
begin
    if owner_ids is null or owner_ids = '{}' then
        return;
    end if;
    -- rebuild_usage takes it alone.
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.usage', 0));
    select
        coalesce(array_agg(r.id), '{}'),
        -- Totals set by hand stand for the tokens and costs of all the run's messages.
        coalesce(array_agg(r.id) filter (where r.totals_by_hand and not exists (
            select 1 from public.conversation_spans s where s.conversation_run_id = r.id
        )), '{}')
    into run_ids, by_hand
    from public.conversation_runs r
    -- Who saw only what others carry contributes nothing.
    where r.id = any (owner_ids) and not r.merged;

    with part as (
        select
            s.conversation_run_id as owner_id, coalesce(s.started_at, s.ended_at, s.created_at) as used_at, null as tenant_id,
            null as user_id, s.provider, coalesce(s.model, s.model_requested) as model, 1 as calls,
            (s.status = 'failed')::integer as failed_calls,
            -- As in chopsky_recompute: what no call can have used is in no sum.
            case when s.input_tokens between 0 and 1000000000000000 then s.input_tokens end as input_tokens,
            case when s.output_tokens between 0 and 1000000000000000 then s.output_tokens end as output_tokens,
            case when s.total_tokens between 0 and 1000000000000000 then s.total_tokens end as total_tokens,
            case when s.cache_read_tokens between 0 and 1000000000000000 then s.cache_read_tokens end as cache_read_tokens,
            case when s.cache_write_tokens between 0 and 1000000000000000 then s.cache_write_tokens end as cache_write_tokens,
            case when s.reasoning_tokens between 0 and 1000000000000000 then s.reasoning_tokens end as reasoning_tokens,
            case when s.cost between 0 and 1000000000000 then s.cost end as total_cost,
            s.ended_at is not null and (s.status <> 'failed' or s.time_to_first_token_ms is not null) as is_charged,
            case when s.response_time_ms between 0 and 9999999999 then s.response_time_ms end as response_time_ms,
            0 as messages, 0 as user_messages, 0 as assistant_messages
        from public.conversation_spans s
        where s.conversation_run_id = any (run_ids) and s.kind in ('llm', 'embedding', 'image') and s.duplicate_of is null
            and s.status <> 'active'
        union all
        select
            m.owner_id, m.created_at, m.tenant_id, m.user_id, m.provider, m.model, m.is_call::integer, 0,
            case when m.is_told and m.role <> 'assistant' then m.token_count end,
            case when m.is_told and m.role = 'assistant' then m.token_count end,
            case when m.is_told then m.token_count end, null, null, null, case when m.is_told then m.cost end,
            m.is_call and m.is_told,
            case when m.is_told then m.response_time_ms end,
            (not m.is_internal)::integer, (not m.is_internal and m.role = 'user')::integer,
            (not m.is_internal and m.role = 'assistant')::integer
        from (
            -- Written by hand, a message says itself what it took; an assistant's that names its model is a call.
            select
                m.conversation_run_id as owner_id, null as tenant_id, null as user_id, m.created_at, m.provider, m.model, m.role,
                m.is_internal, m.token_count, m.cost, m.response_time_ms,
                m.span_id is null and not m.is_history and m.conversation_run_id <> all (by_hand) as is_told,
                m.span_id is null and not m.is_history and m.role = 'assistant' and num_nonnulls(m.provider, m.model) > 0 as is_call
            from public.conversation_messages m
            where m.conversation_run_id = any (run_ids) and (not m.is_internal or (m.span_id is null and not m.is_history))
            union all
            select
                m.id, m.tenant_id, m.user_id, m.created_at, m.provider, m.model, m.role, m.is_internal, m.token_count, m.cost,
                m.response_time_ms, true, m.role = 'assistant' and num_nonnulls(m.provider, m.model) > 0
            -- A message that was changed is told of as it was and as it is: once is enough.
            from (select distinct u.id from unnest(owner_ids) u (id)) o
            -- By id, however many are in no run.
            cross join lateral (select x.* from public.conversation_messages x where x.id = o.id offset 0) m
            where m.conversation_run_id is null
        ) m
        union all
        select
            r.id, coalesce(r.started_at, r.created_at), null, null, null, null, 0, 0, r.total_input_tokens, r.total_output_tokens,
            r.total_tokens_used, null, null, null, r.total_cost, false, null, 0, 0, 0
        from public.conversation_runs r
        where r.id = any (by_hand)
    ), summed as (
        select
            p.owner_id, p.day, p.tenant_id, p.user_id, p.provider, p.model,
            sum(p.calls) as calls, sum(p.failed_calls) as failed_calls, sum(p.input_tokens)::bigint as input_tokens,
            sum(p.output_tokens)::bigint as output_tokens, sum(p.total_tokens)::bigint as total_tokens,
            sum(p.cache_read_tokens)::bigint as cache_read_tokens, sum(p.cache_write_tokens)::bigint as cache_write_tokens,
            sum(p.reasoning_tokens)::bigint as reasoning_tokens, sum(p.total_cost) as total_cost,
            count(*) filter (where p.is_charged and p.total_cost is null) as unpriced_calls,
            count(*) filter (where p.is_charged and p.total_tokens is null) as unmeasured_calls,
            sum(p.response_time_ms) as response_time_ms, count(p.response_time_ms) as timed_calls, sum(p.messages) as messages,
            sum(p.user_messages) as user_messages, sum(p.assistant_messages) as assistant_messages
        from (
            -- The clock may be anybody's.
            select
                g.*, (greatest(least(g.used_at, '9999-12-31Z'), '0001-01-01Z') at time zone 'UTC')::date as day
            from part g
        ) p
        group by p.owner_id, p.day, p.tenant_id, p.user_id, p.provider, p.model
    ), fresh as materialized (
        select
            s.owner_id,
            -- chopsky_usage_key, which is too slow to call for each.
            md5(
                (s.day - date '2000-01-01')::text || coalesce('.' || length(w.tenant_id) || ':' || w.tenant_id, '-')
                || coalesce('.' || length(w.user_id) || ':' || w.user_id, '-')
                || coalesce('.' || length(s.provider) || ':' || s.provider, '-')
                || coalesce('.' || length(s.model) || ':' || s.model, '-')
            )::uuid as key,
            s.day, w.tenant_id, w.user_id, s.provider, s.model, s.calls, s.failed_calls, s.input_tokens, s.output_tokens,
            s.total_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens, s.total_cost, s.unpriced_calls,
            s.unmeasured_calls, s.response_time_ms, s.timed_calls, s.messages, s.user_messages, s.assistant_messages
        from summed s
        -- By id, whatever the plan was made for.
        left join lateral (
            select r.id, r.tenant_id, r.user_id from public.conversation_runs r where r.id = s.owner_id offset 0
        ) r on true
        cross join lateral (
            select case when r.id is null then s.tenant_id else r.tenant_id end, case when r.id is null then s.user_id else r.user_id end
        ) w (tenant_id, user_id)
    ), old as materialized (
        select
            c.owner_id, c.key,
            c.day, c.tenant_id, c.user_id, c.provider, c.model, c.calls, c.failed_calls, c.input_tokens, c.output_tokens,
            c.total_tokens, c.cache_read_tokens, c.cache_write_tokens, c.reasoning_tokens, c.total_cost, c.unpriced_calls,
            c.unmeasured_calls, c.response_time_ms, c.timed_calls, c.messages, c.user_messages, c.assistant_messages
        from public.usage_contributions c
        where c.owner_id = any (owner_ids)
    ), added as materialized (
        select * from fresh except select * from old
    ), taken as materialized (
        select * from old except select * from fresh
    ), gone as (
        delete from public.usage_contributions c
        using taken t
        where c.owner_id = t.owner_id and c.key = t.key
            and not exists (select 1 from added a where a.owner_id = t.owner_id and a.key = t.key)
    ), written as (
        insert into public.usage_contributions as c (
            owner_id, key,
            day, tenant_id, user_id, provider, model, calls, failed_calls, input_tokens, output_tokens, total_tokens,
            cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls, unmeasured_calls,
            response_time_ms, timed_calls, messages, user_messages, assistant_messages
        )
        select a.* from added a
        on conflict (owner_id, key) do update
        set (
            calls, failed_calls, input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens,
            reasoning_tokens, total_cost, unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages,
            user_messages, assistant_messages
        ) = (
            excluded.calls, excluded.failed_calls, excluded.input_tokens, excluded.output_tokens, excluded.total_tokens,
            excluded.cache_read_tokens, excluded.cache_write_tokens, excluded.reasoning_tokens, excluded.total_cost,
            excluded.unpriced_calls, excluded.unmeasured_calls, excluded.response_time_ms, excluded.timed_calls,
            excluded.messages, excluded.user_messages, excluded.assistant_messages
        )
    ), delta as (
        select
            x.key, x.day, x.tenant_id, x.user_id, x.provider, x.model, sum(x.sign) as contributions,
            array[
                coalesce(sum(x.sign) filter (where x.input_tokens is not null), 0),
                coalesce(sum(x.sign) filter (where x.output_tokens is not null), 0),
                coalesce(sum(x.sign) filter (where x.total_tokens is not null), 0),
                coalesce(sum(x.sign) filter (where x.cache_read_tokens is not null), 0),
                coalesce(sum(x.sign) filter (where x.cache_write_tokens is not null), 0),
                coalesce(sum(x.sign) filter (where x.reasoning_tokens is not null), 0),
                coalesce(sum(x.sign) filter (where x.total_cost is not null), 0),
                coalesce(sum(x.sign) filter (where x.response_time_ms is not null), 0)
            ]::bigint[] as known,
            sum(x.sign * x.calls)::bigint as calls, sum(x.sign * x.failed_calls)::bigint as failed_calls,
            sum(x.sign * x.input_tokens)::bigint as input_tokens, sum(x.sign * x.output_tokens)::bigint as output_tokens,
            sum(x.sign * x.total_tokens)::bigint as total_tokens,
            sum(x.sign * x.cache_read_tokens)::bigint as cache_read_tokens,
            sum(x.sign * x.cache_write_tokens)::bigint as cache_write_tokens,
            sum(x.sign * x.reasoning_tokens)::bigint as reasoning_tokens,
            sum(x.sign * x.total_cost)::numeric(34, 10) as total_cost,
            sum(x.sign * x.unpriced_calls)::bigint as unpriced_calls,
            sum(x.sign * x.unmeasured_calls)::bigint as unmeasured_calls,
            sum(x.sign * x.response_time_ms)::numeric(24, 3) as response_time_ms,
            sum(x.sign * x.timed_calls)::bigint as timed_calls, sum(x.sign * x.messages)::bigint as messages,
            sum(x.sign * x.user_messages)::bigint as user_messages,
            sum(x.sign * x.assistant_messages)::bigint as assistant_messages
        from (select 1 as sign, a.* from added a union all select -1, t.* from taken t) x
        group by x.key, x.day, x.tenant_id, x.user_id, x.provider, x.model
    )
    select array_agg(row(d.*)::public.usage_metrics) into deltas from delta d;
    if deltas is not null then
        perform public.chopsky_add_usage(deltas, false, true);
    end if;
end
$$;
comment on function public.chopsky_count_usage(uuid[]) is 'Brings usage_metrics up to date with these runs, and messages outside a run; ids of deleted ones take out what they had.';
revoke all on function public.chopsky_count_usage(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_count_usage(uuid[]) to service_role;

-- One message by hand, the latest of its run and all that is new there: totals, analytics and usage follow from one reading of the
-- run's calls and messages, as chopsky_recompute and chopsky_count_usage have them; what only spans tell of is as it was. Its
-- writer waits for it, and merely to begin the statements of those two, which can do many runs and anything, takes longer than
-- all of this. Returns whether that was all; if not, nothing was done.
create function public.chopsky_follow_message(
    run_id uuid, place integer, said_at timestamptz, provider text, model text
) returns boolean
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    -- The clock may be anybody's.
    said_on constant date := (greatest(least(said_at, '9999-12-31Z'), '0001-01-01Z') at time zone 'UTC')::date;
    run record;
    rated record;
    is_first boolean;
    part record;
    was record;
    -- What of the run is of the message's day, provider and model.
    counted record;
    usage_key uuid;
    rows bigint := 0;
    latest bigint := 0;
    shown bigint := 0;
    asked bigint := 0;
    input numeric;
    output numeric;
    tokens numeric;
    cost numeric;
    timed_calls bigint := 0;
    hand_ms numeric;
    timed_messages bigint := 0;
begin
    select
        r.tenant_id, r.user_id, r.status, r.user_satisfaction_score as satisfaction, r.merged or r.totals_by_hand as is_other,
        r.unpriced_calls > 0 or r.unmeasured_calls > 0 as has_calls
    into run
    from public.conversation_runs r where r.id = run_id for no key update skip locked;
    if not found or run.is_other then
        return false;
    end if;
    select a.user_engagement_score as score, 'user_engagement_score' = any (a.scores_by_hand) as stands into rated
    from public.conversation_analytics a where a.conversation_run_id = run_id;
    is_first := not found;
    -- Of a run of an application's own its messages are all there is.
    if is_first and (
        run.has_calls or exists (select 1 from public.conversation_spans s where s.conversation_run_id = run_id)
    ) then
        return false;
    end if;
    for part in
        select
            g.is_counted, sum(g.call) as calls, sum(g.input_tokens) as input_tokens, sum(g.output_tokens) as output_tokens,
            sum(g.total_tokens) as total_tokens, sum(g.cost) as total_cost,
            count(*) filter (where g.is_charged and g.cost is null) as unpriced_calls,
            count(*) filter (where g.is_charged and g.total_tokens is null) as unmeasured_calls,
            sum(g.response_time_ms) as response_time_ms, count(g.response_time_ms) as timed_calls,
            sum(g.shown) as messages, sum(g.asked) as user_messages, sum(g.answered) as assistant_messages,
            count(g.response_time_ms) filter (where g.kind = 'llm') as timed_models,
            sum(g.response_time_ms) filter (where g.kind is null) as hand_ms,
            count(g.response_time_ms) filter (where g.kind is null) as timed_messages,
            count(*) filter (where g.kind is null) as rows, sum(g.latest) as latest
        from (
            select
                s.kind,
                s.status <> 'active'
                    and (s.provider, coalesce(s.model, s.model_requested)) is not distinct from (chopsky_follow_message.provider, chopsky_follow_message.model)
                    and (greatest(least(coalesce(s.started_at, s.ended_at, s.created_at), '9999-12-31Z'), '0001-01-01Z') at time zone 'UTC')::date = said_on as is_counted,
                1 as call,
                case when s.input_tokens between 0 and 1000000000000000 then s.input_tokens end as input_tokens,
                case when s.output_tokens between 0 and 1000000000000000 then s.output_tokens end as output_tokens,
                case when s.total_tokens between 0 and 1000000000000000 then s.total_tokens end as total_tokens,
                case when s.cost between 0 and 1000000000000 then s.cost end as cost,
                s.ended_at is not null and (s.status <> 'failed' or s.time_to_first_token_ms is not null) as is_charged,
                case when s.response_time_ms between 0 and 9999999999 then s.response_time_ms end as response_time_ms,
                0 as shown, 0 as asked, 0 as answered, 0 as latest
            from public.conversation_spans s
            where s.conversation_run_id = run_id and s.kind in ('llm', 'embedding', 'image') and s.duplicate_of is null
            union all
            select
                null,
                (m.provider, m.model) is not distinct from (chopsky_follow_message.provider, chopsky_follow_message.model)
                    and (greatest(least(m.created_at, '9999-12-31Z'), '0001-01-01Z') at time zone 'UTC')::date = said_on,
                m.is_call::integer, case when m.is_told and m.role <> 'assistant' then m.token_count end,
                case when m.is_told and m.role = 'assistant' then m.token_count end, case when m.is_told then m.token_count end,
                case when m.is_told then m.cost end, m.is_call, case when m.is_told then m.response_time_ms end,
                (not m.is_internal)::integer, (not m.is_internal and m.role = 'user')::integer,
                (not m.is_internal and m.role = 'assistant')::integer, (m.created_at >= said_at)::integer
            from (
                select
                    c.provider, c.model, c.created_at, c.role, c.is_internal, c.token_count, c.cost, c.response_time_ms,
                    c.span_id is null and not c.is_history as is_told,
                    c.span_id is null and not c.is_history and c.role = 'assistant' and num_nonnulls(c.provider, c.model) > 0 as is_call
                from public.conversation_messages c where c.conversation_run_id = run_id
            ) m
        ) g
        group by g.is_counted
    loop
        if part.is_counted then
            counted := part;
        end if;
        rows := rows + part.rows;
        latest := latest + part.latest;
        shown := shown + part.messages;
        asked := asked + part.user_messages;
        input := coalesce(input + part.input_tokens, input, part.input_tokens);
        output := coalesce(output + part.output_tokens, output, part.output_tokens);
        tokens := coalesce(tokens + part.total_tokens, tokens, part.total_tokens);
        cost := coalesce(cost + part.total_cost, cost, part.total_cost);
        timed_calls := timed_calls + part.timed_models;
        hand_ms := coalesce(hand_ms + part.hand_ms, hand_ms, part.hand_ms);
        timed_messages := timed_messages + part.timed_messages;
    end loop;
    -- Not the latest, or somebody wrote another at the same time: then places change.
    if rows <> place or latest <> 1 or counted is null then
        return false;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    update public.conversation_runs r
    set total_messages = shown, total_input_tokens = input, total_output_tokens = output, total_tokens_used = tokens, total_cost = cost,
        average_response_time = case when timed_calls > 0 then r.average_response_time else hand_ms / nullif(timed_messages, 0) end,
        updated_at = now()
    where r.id = run_id;
    if is_first then
        insert into public.conversation_analytics (
            conversation_run_id, completion_rate, user_engagement_score, conversation_quality_score
        )
        values (
            run_id, case run.status when 'completed' then 100 when 'failed' then 0 when 'abandoned' then 0 end, least(10 * asked, 100),
            (run.satisfaction - 1) * 25
        );
    elsif rated.score is distinct from least(10 * asked, 100) and not rated.stands then
        update public.conversation_analytics a set user_engagement_score = least(10 * asked, 100), updated_at = now()
        where a.conversation_run_id = run_id;
    end if;
    perform set_config('chopsky_trace.recompute', 'off', true);

    -- rebuild_usage takes it alone.
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.usage', 0));
    usage_key := public.chopsky_usage_key(said_on, run.tenant_id, run.user_id, provider, model);
    select c.* into was from public.usage_contributions c where c.owner_id = run_id and c.key = usage_key;
    insert into public.usage_contributions as c (
        owner_id, key, day, tenant_id, user_id, provider, model, calls, input_tokens, output_tokens, total_tokens,
        total_cost, unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages,
        assistant_messages
    )
    values (
        run_id, usage_key, said_on, run.tenant_id, run.user_id, chopsky_follow_message.provider, chopsky_follow_message.model,
        counted.calls, counted.input_tokens, counted.output_tokens, counted.total_tokens, counted.total_cost,
        counted.unpriced_calls, counted.unmeasured_calls, counted.response_time_ms, counted.timed_calls,
        counted.messages, counted.user_messages, counted.assistant_messages
    )
    on conflict (owner_id, key) do update
    set (
        calls, input_tokens, output_tokens, total_tokens, total_cost, unpriced_calls, unmeasured_calls, response_time_ms,
        timed_calls, messages, user_messages, assistant_messages
    ) = (
        excluded.calls, excluded.input_tokens, excluded.output_tokens, excluded.total_tokens, excluded.total_cost,
        excluded.unpriced_calls, excluded.unmeasured_calls, excluded.response_time_ms, excluded.timed_calls,
        excluded.messages, excluded.user_messages, excluded.assistant_messages
    );
    perform public.chopsky_add_usage(array[row(
        usage_key, said_on, run.tenant_id, run.user_id, provider, model, 1 - num_nonnulls(was.key),
        array[
            num_nonnulls(counted.input_tokens) - num_nonnulls(was.input_tokens),
            num_nonnulls(counted.output_tokens) - num_nonnulls(was.output_tokens),
            num_nonnulls(counted.total_tokens) - num_nonnulls(was.total_tokens), 0, 0, 0,
            num_nonnulls(counted.total_cost) - num_nonnulls(was.total_cost),
            num_nonnulls(counted.response_time_ms) - num_nonnulls(was.response_time_ms)
        ],
        counted.calls - coalesce(was.calls, 0), 0,
        case when num_nonnulls(counted.input_tokens, was.input_tokens) > 0 then coalesce(counted.input_tokens, 0) - coalesce(was.input_tokens, 0) end,
        case when num_nonnulls(counted.output_tokens, was.output_tokens) > 0 then coalesce(counted.output_tokens, 0) - coalesce(was.output_tokens, 0) end,
        case when num_nonnulls(counted.total_tokens, was.total_tokens) > 0 then coalesce(counted.total_tokens, 0) - coalesce(was.total_tokens, 0) end,
        null, null, null,
        case when num_nonnulls(counted.total_cost, was.total_cost) > 0 then coalesce(counted.total_cost, 0) - coalesce(was.total_cost, 0) end,
        counted.unpriced_calls - coalesce(was.unpriced_calls, 0),
        counted.unmeasured_calls - coalesce(was.unmeasured_calls, 0),
        case when num_nonnulls(counted.response_time_ms, was.response_time_ms) > 0 then coalesce(counted.response_time_ms, 0) - coalesce(was.response_time_ms, 0) end,
        counted.timed_calls - coalesce(was.timed_calls, 0), counted.messages - coalesce(was.messages, 0),
        counted.user_messages - coalesce(was.user_messages, 0),
        counted.assistant_messages - coalesce(was.assistant_messages, 0)
    )::public.usage_metrics], false, true);
    return true;
end
$$;
comment on function public.chopsky_follow_message(uuid, integer, timestamptz, text, text) is 'Brings a run, its analytics and usage up to date with its latest message; false where there is more to derive.';
revoke all on function public.chopsky_follow_message(uuid, integer, timestamptz, text, text) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_follow_message(uuid, integer, timestamptz, text, text) to service_role;

-- Before several deletions whose parts are counted one by one: all that they take out of is locked at once, in order.
create function public.chopsky_lock_usage(owner_ids uuid[]) returns void
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.usage', 0));
    perform 1 from public.usage_metrics m
    where m.key in (select c.key from public.usage_contributions c where c.owner_id = any (owner_ids))
    order by m.key for update;
    perform 1 from public.usage_totals t
    where t.key in (
        select public.chopsky_usage_key(c.day, c.tenant_id, null, c.provider, c.model)
        from public.usage_contributions c where c.owner_id = any (owner_ids)
    )
    order by t.key for update;
end
$$;
comment on function public.chopsky_lock_usage(uuid[]) is 'Locks what these runs, and messages outside a run, are counted in.';
revoke all on function public.chopsky_lock_usage(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_lock_usage(uuid[]) to service_role;

-- To be called in the transaction that prunes, before the runs (or messages outside a run) are deleted: usage_metrics then
-- stays as it is. Only of what is deleted whole; what of it arrives once more later counts once more.
create function public.chopsky_keep_usage(run_ids uuid[]) returns void
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    deltas public.usage_metrics[];
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.usage', 0));
    with moved as (
        delete from public.usage_contributions c where c.owner_id = any (run_ids) returning c.*
    ), delta as (
        select
            c.key, c.day, c.tenant_id, c.user_id, c.provider, c.model, count(*) as contributions,
            array[
                count(c.input_tokens), count(c.output_tokens), count(c.total_tokens), count(c.cache_read_tokens),
                count(c.cache_write_tokens), count(c.reasoning_tokens), count(c.total_cost), count(c.response_time_ms)
            ] as known,
            sum(c.calls)::bigint as calls, sum(c.failed_calls)::bigint as failed_calls,
            sum(c.input_tokens)::bigint as input_tokens, sum(c.output_tokens)::bigint as output_tokens,
            sum(c.total_tokens)::bigint as total_tokens, sum(c.cache_read_tokens)::bigint as cache_read_tokens,
            sum(c.cache_write_tokens)::bigint as cache_write_tokens, sum(c.reasoning_tokens)::bigint as reasoning_tokens,
            sum(c.total_cost) as total_cost, sum(c.unpriced_calls)::bigint as unpriced_calls,
            sum(c.unmeasured_calls)::bigint as unmeasured_calls, sum(c.response_time_ms) as response_time_ms,
            sum(c.timed_calls)::bigint as timed_calls, sum(c.messages)::bigint as messages,
            sum(c.user_messages)::bigint as user_messages, sum(c.assistant_messages)::bigint as assistant_messages
        from moved c
        group by c.key, c.day, c.tenant_id, c.user_id, c.provider, c.model
    )
    select array_agg(row(d.*)::public.usage_metrics) into deltas from delta d;
    if deltas is not null then
        perform public.chopsky_add_usage(deltas, true, false);
    end if;
end
$$;
comment on function public.chopsky_keep_usage(uuid[]) is 'Keeps in usage_metrics what these runs used, though they are deleted next, in the same transaction.';
revoke all on function public.chopsky_keep_usage(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_keep_usage(uuid[]) to service_role;

-- Usage that no run tells of: n = n + what is given, one statement however many do it at once. NULL is unknown, not 0; a call
-- whose cost or tokens are not given is counted as unpriced or unmeasured.
create function public.increment_usage_metrics(
    tenant_id text default null, user_id text default null, provider text default null, model text default null,
    day date default (now() at time zone 'UTC')::date, calls bigint default 1, input_tokens bigint default null,
    output_tokens bigint default null, total_tokens bigint default null, total_cost numeric default null,
    failed_calls bigint default 0, cache_read_tokens bigint default null, cache_write_tokens bigint default null,
    reasoning_tokens bigint default null, response_time_ms numeric default null, messages bigint default 0,
    user_messages bigint default 0, assistant_messages bigint default 0
) returns void
language plpgsql set search_path = ''
as $$
declare
    whole constant bigint := coalesce(total_tokens, input_tokens + output_tokens, input_tokens, output_tokens);
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.usage', 0));
    perform public.chopsky_add_usage(array[row(
        public.chopsky_usage_key(day, tenant_id, user_id, provider, model), day, tenant_id, user_id, provider, model, 1,
        array[
            num_nonnulls(input_tokens), num_nonnulls(output_tokens), num_nonnulls(whole), num_nonnulls(cache_read_tokens),
            num_nonnulls(cache_write_tokens), num_nonnulls(reasoning_tokens), num_nonnulls(total_cost), num_nonnulls(response_time_ms)
        ],
        calls, failed_calls, input_tokens, output_tokens, whole, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost,
        case when total_cost is null then calls else 0 end, case when whole is null then calls else 0 end,
        response_time_ms, case when response_time_ms is null then 0 else calls end, messages, user_messages, assistant_messages
    )::public.usage_metrics], true, true);
end
$$;
comment on function public.increment_usage_metrics(text, text, text, text, date, bigint, bigint, bigint, bigint, numeric, bigint, bigint, bigint, bigint, numeric, bigint, bigint, bigint) is 'Adds usage that no stored run tells of; response_time_ms is the sum over the calls.';
revoke all on function public.increment_usage_metrics(text, text, text, text, date, bigint, bigint, bigint, bigint, numeric, bigint, bigint, bigint, bigint, numeric, bigint, bigint, bigint) from public, anon, authenticated, service_role;
grant execute on function public.increment_usage_metrics(text, text, text, text, date, bigint, bigint, bigint, bigint, numeric, bigint, bigint, bigint, bigint, numeric, bigint, bigint, bigint) to service_role;

-- Views have two range entries each: of one alone PostgreSQL 15 writes the definition differently than 16 and newer, and a
-- schema is verified by its text.

-- What usage_metrics should be.
create view public.usage_sums with (security_invoker = true) as
select
    x.key, x.day, x.tenant_id, x.user_id, x.provider, x.model, sum(x.contributions)::bigint as contributions,
    array[
        sum(x.known[1]), sum(x.known[2]), sum(x.known[3]), sum(x.known[4]), sum(x.known[5]), sum(x.known[6]),
        sum(x.known[7]), sum(x.known[8])
    ]::bigint[] as known,
    sum(x.calls)::bigint as calls, sum(x.failed_calls)::bigint as failed_calls, sum(x.input_tokens)::bigint as input_tokens,
    sum(x.output_tokens)::bigint as output_tokens, sum(x.total_tokens)::bigint as total_tokens,
    sum(x.cache_read_tokens)::bigint as cache_read_tokens, sum(x.cache_write_tokens)::bigint as cache_write_tokens,
    sum(x.reasoning_tokens)::bigint as reasoning_tokens, sum(x.total_cost) as total_cost,
    sum(x.unpriced_calls)::bigint as unpriced_calls, sum(x.unmeasured_calls)::bigint as unmeasured_calls,
    sum(x.response_time_ms) as response_time_ms, sum(x.timed_calls)::bigint as timed_calls,
    sum(x.messages)::bigint as messages, sum(x.user_messages)::bigint as user_messages,
    sum(x.assistant_messages)::bigint as assistant_messages
from (
    select
        c.key, c.day, c.tenant_id, c.user_id, c.provider, c.model, 1 as contributions,
        array[num_nonnulls(c.input_tokens), num_nonnulls(c.output_tokens), num_nonnulls(c.total_tokens), num_nonnulls(c.cache_read_tokens), num_nonnulls(c.cache_write_tokens), num_nonnulls(c.reasoning_tokens), num_nonnulls(c.total_cost), num_nonnulls(c.response_time_ms)]::bigint[] as known,
        c.calls, c.failed_calls, c.input_tokens, c.output_tokens, c.total_tokens, c.cache_read_tokens, c.cache_write_tokens,
        c.reasoning_tokens, c.total_cost, c.unpriced_calls, c.unmeasured_calls, c.response_time_ms, c.timed_calls,
        c.messages, c.user_messages, c.assistant_messages
    from public.usage_contributions c cross join (select) o
    union all
    select
        k.key, k.day, k.tenant_id, k.user_id, k.provider, k.model, k.contributions, k.known, k.calls, k.failed_calls,
        k.input_tokens, k.output_tokens, k.total_tokens, k.cache_read_tokens, k.cache_write_tokens, k.reasoning_tokens,
        k.total_cost, k.unpriced_calls, k.unmeasured_calls, k.response_time_ms, k.timed_calls, k.messages, k.user_messages,
        k.assistant_messages
    from public.usage_kept k cross join (select) o
) x cross join (select) o
group by x.key, x.day, x.tenant_id, x.user_id, x.provider, x.model;
comment on view public.usage_sums is 'Contributions and kept sums together: what usage_metrics is rebuilt from, and checked against.';
revoke all on table public.usage_sums from public, anon, authenticated, service_role;
grant select on table public.usage_sums to service_role;

create view public.usage_total_sums with (security_invoker = true) as
select
    public.chopsky_usage_key(s.day, s.tenant_id, null, s.provider, s.model) as key,
    s.day, s.tenant_id, s.provider, s.model, sum(s.contributions)::bigint as contributions,
    array[
        sum(s.known[1]), sum(s.known[2]), sum(s.known[3]), sum(s.known[4]), sum(s.known[5]), sum(s.known[6]),
        sum(s.known[7]), sum(s.known[8])
    ]::bigint[] as known,
    sum(s.calls)::bigint as calls, sum(s.failed_calls)::bigint as failed_calls, sum(s.input_tokens)::bigint as input_tokens,
    sum(s.output_tokens)::bigint as output_tokens, sum(s.total_tokens)::bigint as total_tokens,
    sum(s.cache_read_tokens)::bigint as cache_read_tokens, sum(s.cache_write_tokens)::bigint as cache_write_tokens,
    sum(s.reasoning_tokens)::bigint as reasoning_tokens, sum(s.total_cost) as total_cost,
    sum(s.unpriced_calls)::bigint as unpriced_calls, sum(s.unmeasured_calls)::bigint as unmeasured_calls,
    sum(s.response_time_ms) as response_time_ms, sum(s.timed_calls)::bigint as timed_calls,
    sum(s.messages)::bigint as messages, sum(s.user_messages)::bigint as user_messages,
    sum(s.assistant_messages)::bigint as assistant_messages
from public.usage_sums s cross join (select) o
group by s.day, s.tenant_id, s.provider, s.model;
comment on view public.usage_total_sums is 'The same without users: what usage_totals is rebuilt from, and checked against.';
revoke all on table public.usage_total_sums from public, anon, authenticated, service_role;
grant select on table public.usage_total_sums to service_role;

-- Counts every run and message anew, from that day on, then sums anew. Writers wait meanwhile; readers do not. Returns how
-- many rows of the roll-ups were not what they should be.
create function public.rebuild_usage(since date default null) returns bigint
language plpgsql set search_path = ''
as $$
declare
    first_day constant date := coalesce(since, '-infinity');
    page uuid[];
    mended bigint;
    more bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('chopsky_trace.usage', 0));
    for page in
        select array_agg(o.id)
        from (
            select a.id, (row_number() over (order by a.id) - 1) / 500 as place
            from (
                select r.id from public.conversation_runs r where r.updated_at >= first_day::timestamp at time zone 'UTC'
                union
                select m.id from public.conversation_messages m
                where m.conversation_run_id is null and m.created_at >= first_day::timestamp at time zone 'UTC'
                union
                select c.owner_id from public.usage_contributions c where c.day >= first_day
            ) a
        ) o
        group by o.place order by o.place
    loop
        perform public.chopsky_count_usage(page);
    end loop;

    with wrong as materialized (
        select
            m.key, m.day, m.tenant_id, m.user_id, m.provider, m.model, m.contributions, m.known, m.calls, m.failed_calls,
            m.input_tokens, m.output_tokens, m.total_tokens, m.cache_read_tokens, m.cache_write_tokens, m.reasoning_tokens,
            m.total_cost, m.unpriced_calls, m.unmeasured_calls, m.response_time_ms, m.timed_calls, m.messages,
            m.user_messages, m.assistant_messages
        from public.usage_metrics m where m.day >= first_day
        except
        select
            s.key, s.day, s.tenant_id, s.user_id, s.provider, s.model, s.contributions, s.known, s.calls, s.failed_calls,
            s.input_tokens, s.output_tokens, s.total_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens,
            s.total_cost, s.unpriced_calls, s.unmeasured_calls, s.response_time_ms, s.timed_calls, s.messages,
            s.user_messages, s.assistant_messages
        from public.usage_sums s where s.day >= first_day
    ), gone as (
        delete from public.usage_metrics m
        using wrong w
        where m.key = w.key
        returning 1
    )
    select count(*) into mended from gone;
    with written as (
        insert into public.usage_metrics (
            key, day, tenant_id, user_id, provider, model, contributions, known, calls, failed_calls, input_tokens,
            output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost,
            unpriced_calls, unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages
        )
        select
            s.key, s.day, s.tenant_id, s.user_id, s.provider, s.model, s.contributions, s.known, s.calls, s.failed_calls,
            s.input_tokens, s.output_tokens, s.total_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens,
            s.total_cost, s.unpriced_calls, s.unmeasured_calls, s.response_time_ms, s.timed_calls, s.messages,
            s.user_messages, s.assistant_messages
        from public.usage_sums s where s.day >= first_day
        except
        select
            m.key, m.day, m.tenant_id, m.user_id, m.provider, m.model, m.contributions, m.known, m.calls, m.failed_calls,
            m.input_tokens, m.output_tokens, m.total_tokens, m.cache_read_tokens, m.cache_write_tokens, m.reasoning_tokens,
            m.total_cost, m.unpriced_calls, m.unmeasured_calls, m.response_time_ms, m.timed_calls, m.messages,
            m.user_messages, m.assistant_messages
        from public.usage_metrics m where m.day >= first_day
        returning 1
    )
    select mended + count(*) into mended from written;
    with wrong as materialized (
        select
            t.key, t.day, t.tenant_id, t.provider, t.model, t.contributions, t.known, t.calls, t.failed_calls,
            t.input_tokens, t.output_tokens, t.total_tokens, t.cache_read_tokens, t.cache_write_tokens, t.reasoning_tokens,
            t.total_cost, t.unpriced_calls, t.unmeasured_calls, t.response_time_ms, t.timed_calls, t.messages,
            t.user_messages, t.assistant_messages
        from public.usage_totals t where t.day >= first_day
        except
        select
            s.key, s.day, s.tenant_id, s.provider, s.model, s.contributions, s.known, s.calls, s.failed_calls,
            s.input_tokens, s.output_tokens, s.total_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens,
            s.total_cost, s.unpriced_calls, s.unmeasured_calls, s.response_time_ms, s.timed_calls, s.messages,
            s.user_messages, s.assistant_messages
        from public.usage_total_sums s where s.day >= first_day
    ), gone as (
        delete from public.usage_totals t
        using wrong w
        where t.key = w.key
        returning 1
    )
    select mended + count(*) into mended from gone;
    with written as (
        insert into public.usage_totals (
            key, day, tenant_id, provider, model, contributions, known, calls, failed_calls, input_tokens, output_tokens,
            total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_cost, unpriced_calls,
            unmeasured_calls, response_time_ms, timed_calls, messages, user_messages, assistant_messages
        )
        select
            s.key, s.day, s.tenant_id, s.provider, s.model, s.contributions, s.known, s.calls, s.failed_calls,
            s.input_tokens, s.output_tokens, s.total_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens,
            s.total_cost, s.unpriced_calls, s.unmeasured_calls, s.response_time_ms, s.timed_calls, s.messages,
            s.user_messages, s.assistant_messages
        from public.usage_total_sums s where s.day >= first_day
        except
        select
            t.key, t.day, t.tenant_id, t.provider, t.model, t.contributions, t.known, t.calls, t.failed_calls,
            t.input_tokens, t.output_tokens, t.total_tokens, t.cache_read_tokens, t.cache_write_tokens, t.reasoning_tokens,
            t.total_cost, t.unpriced_calls, t.unmeasured_calls, t.response_time_ms, t.timed_calls, t.messages,
            t.user_messages, t.assistant_messages
        from public.usage_totals t where t.day >= first_day
        returning 1
    )
    select mended + count(*) into mended from written;
    return mended;
end
$$;
comment on function public.rebuild_usage(date) is 'Makes the usage roll-ups anew, from a day on; returns how many rows were taken out or put in.';
revoke all on function public.rebuild_usage(date) from public, anon, authenticated, service_role;
grant execute on function public.rebuild_usage(date) to service_role;

-- Runs that a person changes or that are deleted. Inside ingest, which may delete a run that is a span of another, these do
-- nothing: it counts once, at its end. So must whoever else deletes with that setting.
create function public.chopsky_on_runs() returns trigger
language plpgsql set search_path = ''
as $$
declare
    touched uuid[];
    rated uuid[];
begin
    if tg_op = 'DELETE' then
        perform public.chopsky_count_usage(array(select c.id from changed c));
        return null;
    end if;
    -- What scores are made of; a status only where no spans tell another.
    rated := array(
        select c.id
        from changed c
        join previous p on p.id = c.id
        where c.user_satisfaction_score is distinct from p.user_satisfaction_score
            or (c.status <> p.status and not exists (
                select 1 from public.conversation_spans s where s.conversation_run_id = c.id
            ))
        order by c.id
    );
    touched := array(
        select c.id
        from changed c
        join previous p on p.id = c.id
        where (
            c.tenant_id, c.user_id, c.merged, c.totals_by_hand, c.total_input_tokens, c.total_output_tokens, c.total_tokens_used,
            c.total_cost, c.started_at
        ) is distinct from (
            p.tenant_id, p.user_id, p.merged, p.totals_by_hand, p.total_input_tokens, p.total_output_tokens, p.total_tokens_used,
            p.total_cost, p.started_at
        )
    );
    if rated <> '{}' then
        perform public.chopsky_recompute(rated, '{}');
    end if;
    perform public.chopsky_count_usage(touched || rated);
    return null;
end
$$;
revoke all on function public.chopsky_on_runs() from public, anon, authenticated, service_role;
create trigger conversation_runs_usage_updated after update on public.conversation_runs
    referencing old table as previous new table as changed for each statement
    when (current_setting('chopsky_trace.recompute', true) is distinct from 'on') execute function public.chopsky_on_runs();
create trigger conversation_runs_usage_deleted after delete on public.conversation_runs
    referencing old table as changed for each statement
    when (current_setting('chopsky_trace.recompute', true) is distinct from 'on') execute function public.chopsky_on_runs();

-- This view and the next: a signed-in user reads their own rows; their tenant's administrator, and roles that are not the
-- API's, the tenant's or all, from the table without users. Of this one the last 30 days.
create view public.provider_usage_stats with (security_invoker = true) as
select
    u.provider, u.model, sum(u.calls)::bigint as request_count, sum(u.failed_calls)::bigint as failed_calls,
    sum(u.input_tokens)::bigint as input_tokens, sum(u.output_tokens)::bigint as output_tokens,
    sum(u.total_tokens)::bigint as total_tokens, sum(u.total_cost) as total_cost,
    sum(u.unpriced_calls)::bigint as unpriced_calls, sum(u.unmeasured_calls)::bigint as unmeasured_calls,
    round(sum(u.response_time_ms) / nullif(sum(u.timed_calls), 0), 3) as average_response_time,
    min(u.day) as first_used_on, max(u.day) as last_used_on
from (
    select
        m.day, m.provider, m.model, m.calls, m.failed_calls, m.input_tokens, m.output_tokens, m.total_tokens, m.total_cost,
        m.unpriced_calls, m.unmeasured_calls, m.response_time_ms, m.timed_calls
    from public.usage_metrics m cross join (select) o
    where m.day > (now() at time zone 'UTC')::date - 30
        and (select current_user = 'authenticated' and not public.chopsky_reads_tenant())
    union all
    select
        t.day, t.provider, t.model, t.calls, t.failed_calls, t.input_tokens, t.output_tokens, t.total_tokens, t.total_cost,
        t.unpriced_calls, t.unmeasured_calls, t.response_time_ms, t.timed_calls
    from public.usage_totals t cross join (select) o
    where t.day > (now() at time zone 'UTC')::date - 30
        and (select current_user <> 'authenticated' or public.chopsky_reads_tenant())
) u cross join (select) o
where u.calls > 0 or u.total_tokens is not null or u.total_cost is not null
group by u.provider, u.model;
comment on view public.provider_usage_stats is 'Calls, tokens, cost and mean response time (ms) by provider and model over the last 30 days (UTC, today included). For who may read costs.';

create view public.daily_message_volume with (security_invoker = true) as
select
    u.day, u.tenant_id, sum(u.messages)::bigint as messages, sum(u.user_messages)::bigint as user_messages,
    sum(u.assistant_messages)::bigint as assistant_messages, sum(u.total_tokens)::bigint as total_tokens,
    sum(u.total_cost) as total_cost, sum(u.unpriced_calls)::bigint as unpriced_calls,
    sum(u.unmeasured_calls)::bigint as unmeasured_calls
from (
    select
        m.day, m.tenant_id, m.messages, m.user_messages, m.assistant_messages, m.total_tokens, m.total_cost, m.unpriced_calls,
        m.unmeasured_calls
    from public.usage_metrics m cross join (select) o
    where (select current_user = 'authenticated' and not public.chopsky_reads_tenant())
    union all
    select
        t.day, t.tenant_id, t.messages, t.user_messages, t.assistant_messages, t.total_tokens, t.total_cost, t.unpriced_calls,
        t.unmeasured_calls
    from public.usage_totals t cross join (select) o
    where (select current_user <> 'authenticated' or public.chopsky_reads_tenant())
) u cross join (select) o
group by u.day, u.tenant_id;
comment on view public.daily_message_volume is 'Messages, tokens and cost by day (UTC) and tenant: one''s own, the tenant''s, or all, by who reads. For who may read costs.';

create view public.daily_message_volume_by_user with (security_invoker = true) as
select
    m.day, m.tenant_id, m.user_id, sum(m.messages)::bigint as messages, sum(m.user_messages)::bigint as user_messages,
    sum(m.assistant_messages)::bigint as assistant_messages, sum(m.total_tokens)::bigint as total_tokens,
    sum(m.total_cost) as total_cost, sum(m.unpriced_calls)::bigint as unpriced_calls,
    sum(m.unmeasured_calls)::bigint as unmeasured_calls
from public.usage_metrics m cross join (select) o
group by m.day, m.tenant_id, m.user_id;
comment on view public.daily_message_volume_by_user is 'Messages, tokens and cost by day (UTC) and user. For who may read costs.';

create view public.monthly_usage_summary with (security_invoker = true) as
select
    date_trunc('month', m.day::timestamp)::date as month, m.tenant_id, m.user_id, sum(m.calls)::bigint as calls,
    sum(m.failed_calls)::bigint as failed_calls, sum(m.input_tokens)::bigint as input_tokens,
    sum(m.output_tokens)::bigint as output_tokens, sum(m.total_tokens)::bigint as total_tokens, sum(m.total_cost) as total_cost,
    sum(m.unpriced_calls)::bigint as unpriced_calls, sum(m.unmeasured_calls)::bigint as unmeasured_calls,
    sum(m.messages)::bigint as messages, count(distinct m.day) as active_days
from public.usage_metrics m cross join (select) o
group by 1, m.tenant_id, m.user_id;
comment on view public.monthly_usage_summary is 'Calls, tokens, cost and messages by month (UTC) and user. For who may read costs.';
comment on column public.monthly_usage_summary.month is 'Its first day.';

create view public.current_day_usage with (security_invoker = true) as
select
    m.day, m.tenant_id, m.user_id, sum(m.calls)::bigint as calls, sum(m.failed_calls)::bigint as failed_calls,
    sum(m.input_tokens)::bigint as input_tokens, sum(m.output_tokens)::bigint as output_tokens,
    sum(m.total_tokens)::bigint as total_tokens, sum(m.total_cost) as total_cost, sum(m.unpriced_calls)::bigint as unpriced_calls,
    sum(m.unmeasured_calls)::bigint as unmeasured_calls, sum(m.messages)::bigint as messages
from public.usage_metrics m cross join (select) o
where m.day = (now() at time zone 'UTC')::date
group by m.day, m.tenant_id, m.user_id;
comment on view public.current_day_usage is 'Today (UTC) so far, by user. For who may read costs.';

create view public.user_usage with (security_invoker = true) as
select
    m.day, m.tenant_id, m.user_id, m.provider, m.model, m.calls, m.failed_calls, m.input_tokens, m.output_tokens, m.total_tokens,
    m.cache_read_tokens, m.cache_write_tokens, m.reasoning_tokens, m.unmeasured_calls,
    round(m.response_time_ms / nullif(m.timed_calls, 0), 3) as average_response_time, m.messages, m.user_messages,
    m.assistant_messages
from public.usage_metrics m cross join (select) o;
comment on view public.user_usage is 'One''s own usage by day (UTC), provider and model, without costs; the tenant''s for who may read that.';

do $$
declare
    name text;
begin
    foreach name in array array[
        'provider_usage_stats', 'daily_message_volume', 'daily_message_volume_by_user', 'monthly_usage_summary',
        'current_day_usage', 'user_usage'
    ] loop
        execute format('revoke all on table public.%I from public, anon, authenticated, service_role', name);
        execute format('grant select on table public.%I to authenticated, service_role', name);
    end loop;
end
$$;

-- Where runs were stored before.
select public.rebuild_usage();
