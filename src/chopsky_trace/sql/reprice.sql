-- page --
-- The next calls to price again, by run and id, so that a run's calls stand together. A cost that was reported or written by
-- hand is not ours to change, and a call without an end has none yet. Asked for calls whose start is there, then for those
-- whose start was lost: as constants to the planner, so that either goes through the index by run and start.
select s.conversation_run_id, s.id
from public.conversation_spans s
where (
        (%(has_start)s and s.started_at >= %(since)s and s.started_at < %(until)s)
        or (
            not %(has_start)s and s.started_at is null
            and s.ended_at - coalesce(s.response_time_ms, 0)::float8 * interval '1 millisecond' >= %(since)s
            and s.ended_at - coalesce(s.response_time_ms, 0)::float8 * interval '1 millisecond' < %(until)s
        )
    )
    and (%(after_run)s::uuid is null or (s.conversation_run_id, s.id) > (%(after_run)s::uuid, %(after_id)s::uuid))
    and s.kind in ('llm', 'embedding', 'image') and s.ended_at is not null and s.duplicate_of is null
    and (s.cost_source in ('computed', 'estimated', 'unknown') or (s.cost_source is null and s.cost is null and s.usage_source is not null))
    and (%(model)s::text is null or %(model)s::text in (s.model, s.model_requested))
    and (%(provider)s::text is null or s.provider = %(provider)s)
    and (%(tenant_id)s::text is null or exists (
        select 1 from public.conversation_runs r where r.id = s.conversation_run_id and r.tenant_id = %(tenant_id)s
    ))
order by s.conversation_run_id, s.id
limit %(limit)s

-- calls --
-- All that the price of a call depends on, and what it is now; of those that are still ours to price.
select
    s.id, s.conversation_run_id, r.tenant_id, s.kind, s.provider, s.model, s.model_requested,
    coalesce(s.started_at, s.ended_at - coalesce(s.response_time_ms, 0)::float8 * interval '1 millisecond') as at,
    s.input_tokens, s.output_tokens, s.total_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens,
    s.audio_tokens, s.usage_details, s.usage_source, s.cost, s.cost_source, s.price_rates, s.start_version, s.end_version,
    -- A call refused before its first token used nothing that could be unknown.
    s.status <> 'failed' or s.time_to_first_token_ms is not null as is_charged
from public.conversation_spans s
join public.conversation_runs r on r.id = s.conversation_run_id
where s.id = any (%(ids)s) and s.duplicate_of is null and s.ended_at is not null
    and (s.cost_source in ('computed', 'estimated', 'unknown') or (s.cost_source is null and s.cost is null and s.usage_source is not null))
order by s.conversation_run_id, s.id

-- limit_waiting --
-- Whoever waits for a row holds those it has locked already: better to give them back soon, and sooner than the second
-- after which the server would end somebody's wait as a deadlock, perhaps a writer's.
select set_config('lock_timeout', '700ms', true)

-- write --
-- One statement a page: the spans, their messages and the totals of their runs.
select public.chopsky_write_costs(%(costs)s::json)

-- begin --
-- There before the first cost is changed, so that one which breaks off is seen.
insert into public.conversation_repricings (calls_from, calls_to, model, provider, tenant_id, prices)
values (%(since)s, %(until)s, %(model)s, %(provider)s, %(tenant_id)s, %(prices)s)
returning id

-- advance --
-- In the transaction of the costs it counts.
update public.conversation_repricings
set updated_at = clock_timestamp(), calls_seen = %(seen)s, calls_changed = %(changed)s, calls_skipped = %(skipped)s,
    old_cost = %(old_cost)s, new_cost = %(new_cost)s, by_model = %(by_model)s
where id = %(id)s

-- finish --
-- Its end, however it came.
update public.conversation_repricings
set status = %(status)s, ended_at = now(), updated_at = now()
where id = %(id)s;
