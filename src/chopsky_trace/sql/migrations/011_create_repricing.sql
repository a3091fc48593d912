-- The past priced again: what each `chopsky-trace reprice` looked at and changed, and the one way in for new costs.
create table public.conversation_repricings (
    id uuid primary key default gen_random_uuid(),
    status text not null default 'running' check (status in ('running', 'completed', 'interrupted')),
    started_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    ended_at timestamptz,
    calls_from timestamptz not null,
    calls_to timestamptz not null,
    model text,
    provider text,
    tenant_id text,
    prices jsonb not null default '{}',
    calls_seen bigint not null default 0 check (calls_seen >= 0),
    calls_changed bigint not null default 0 check (calls_changed >= 0),
    calls_skipped bigint not null default 0 check (calls_skipped >= 0),
    old_cost numeric,
    new_cost numeric,
    by_model jsonb not null default '[]',
    done_by text not null default session_user,
    application text default nullif(current_setting('application_name', true), '')
);
comment on table public.conversation_repricings is 'One row per reprice: there from its beginning, its counts moved in the same transactions as the costs.';
comment on column public.conversation_repricings.status is 'running, completed or interrupted. A row still running whose updated_at stands still is of a process that was killed.';
comment on column public.conversation_repricings.calls_from is 'Calls that started then or later, and before calls_to; model, provider and tenant_id narrow them where they are not NULL.';
comment on column public.conversation_repricings.prices is 'Versions of what priced them: genai-prices, and the number and SHA-256 of the rows of model_prices.';
comment on column public.conversation_repricings.calls_skipped is 'Calls that others kept changing meanwhile; they have their old cost.';
comment on column public.conversation_repricings.old_cost is 'USD: the known costs of the calls seen, before; new_cost is after. NULL where none was known.';
comment on column public.conversation_repricings.by_model is 'The same counts and costs for each provider and model; money as text.';
comment on column public.conversation_repricings.done_by is 'The database role that signed in, and application the name its connection gave.';
create index idx_conversation_repricings_started_at on public.conversation_repricings (started_at desc);

revoke all on table public.conversation_repricings from public, anon, authenticated, service_role;
-- No delete: what was done to the books stays on record.
grant select, insert, update on table public.conversation_repricings to service_role;
alter table public.conversation_repricings enable row level security;
create policy conversation_repricings_service on public.conversation_repricings for all to service_role using (true) with check (true);

-- New costs of calls: on the span, on its first output message, and in its run's totals. A call that is no longer as it was
-- read (another record came, another cost) keeps what it has. Returns the calls that were written.
create function public.chopsky_write_costs(costs json) returns setof uuid
language plpgsql set search_path = ''
-- Planned anew for each page: only then is it known how many runs and calls it is about.
set plan_cache_mode = force_custom_plan set enable_seqscan = off set jit = off
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    run_ids uuid[];
    written uuid[];
    carriers uuid[];
begin
    perform set_config('chopsky_trace.recompute', 'on', true);
    run_ids := array(select distinct g.conversation_run_id from json_to_recordset(costs) as g (conversation_run_id uuid));
    -- As ingest does: runs first, in id order, then what is theirs.
    perform 1 from public.conversation_runs r where r.id = any (run_ids) order by r.id for no key update;

    with given as materialized (
        select * from json_to_recordset(costs) as g (
            id uuid, conversation_run_id uuid, start_version text, end_version text, old_cost numeric, old_cost_source text,
            cost numeric, cost_source text, price_rates jsonb
        )
    ), changed as (
        update public.conversation_spans s
        set cost = g.cost, cost_source = g.cost_source, price_rates = g.price_rates
        from given g
        where s.id = g.id and s.conversation_run_id = g.conversation_run_id and s.duplicate_of is null
            and (s.start_version, s.end_version, s.cost, s.cost_source)
                is not distinct from (g.start_version, g.end_version, g.old_cost, g.old_cost_source)
        returning s.id
    )
    select coalesce(array_agg(c.id), '{}') into written from changed c;
    -- Of a call that several told of: where its usage is from has the cost too, so that it stays when they are settled again.
    update public.conversation_spans s
    set told = s.told || jsonb_build_object('cost', c.cost, 'cost_source', c.cost_source, 'price_rates', c.price_rates)
    from public.conversation_spans c
    where c.id = any (written) and c.told is not null and s.id = (c.told ->> 'usage_of')::uuid;

    carriers := array(
        select distinct on (m.span_id) m.id
        from public.conversation_messages m
        -- Only a row that a call's end told of has a version.
        where m.conversation_run_id = any (run_ids) and m.span_id = any (written)
            and m.role = 'assistant' and not m.is_history and m.version is not null
        order by m.span_id, m.position, m.id
    ) || array(
        select (e.value #>> '{row,id}')::uuid
        from public.conversation_spans c
        join public.conversation_spans s on s.duplicate_of = c.id and s.conversation_run_id = c.conversation_run_id
        cross join lateral jsonb_array_elements(s.told -> 'rows') e
        where c.id = any (written) and c.told is not null and e.value ->> 'as' = 'carrier'
    );
    update public.conversation_messages m
    set cost = c.cost
    from public.conversation_spans s
    join public.conversation_spans c on c.id = coalesce(s.duplicate_of, s.id)
    where m.id = any (carriers) and s.id = m.span_id and m.cost is distinct from c.cost;

    run_ids := array(select distinct s.conversation_run_id from public.conversation_spans s where s.id = any (written));
    perform public.chopsky_recompute(run_ids, '{}');
    perform public.chopsky_count_usage(run_ids);
    perform set_config('chopsky_trace.recompute', was, true);
    return query select u from unnest(written) u;
end
$$;
comment on function public.chopsky_write_costs(json) is 'Writes new costs of calls that are still as they were read, with their messages and run totals; returns which it wrote.';
revoke all on function public.chopsky_write_costs(json) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_write_costs(json) to service_role;
