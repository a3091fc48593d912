-- limit_time --
-- A table that somebody holds locked must not hold up the records.
select set_config('statement_timeout', %(milliseconds)s, true);

-- overrides --
-- The team's own prices, all of them: they are few, and a worker asks for them once a minute.
select * from public.model_prices order by id;

-- listed --
-- The same in an order for people: a model's prices one below the other, the latest first.
select p.*
from public.model_prices p
order by p.tenant_id nulls first, p.provider nulls first, coalesce(lower(p.model), p.model_pattern), p.valid_from desc nulls last, p.id;

-- put --
-- All rows of a file, or none. A row with an id replaces that row; one without replaces the row of the same tenant,
-- provider, model or pattern, and beginning.
with given as (
    select g.*
    from json_to_recordset(%(rows)s::json) as g (
        id uuid, tenant_id text, provider text, model text, model_pattern text, valid_from timestamptz, valid_until timestamptz,
        input_mtok numeric, output_mtok numeric, cache_read_mtok numeric, cache_write_mtok numeric, cache_write_5m_mtok numeric,
        cache_write_1h_mtok numeric, other_rates text, tiers text, flex_factor numeric, priority_factor numeric,
        batch_factor numeric, request_usd numeric, note text, source text
    )
), written as (
    insert into public.model_prices as p (
        id, tenant_id, provider, model, model_pattern, valid_from, valid_until, input_mtok, output_mtok, cache_read_mtok,
        cache_write_mtok, cache_write_5m_mtok, cache_write_1h_mtok, other_rates, tiers, flex_factor, priority_factor,
        batch_factor, request_usd, note, source
    )
    select
        coalesce(g.id, k.id, gen_random_uuid()), g.tenant_id, g.provider, g.model, g.model_pattern, g.valid_from, g.valid_until,
        g.input_mtok, g.output_mtok, g.cache_read_mtok, g.cache_write_mtok, g.cache_write_5m_mtok, g.cache_write_1h_mtok,
        coalesce(g.other_rates, '{}')::jsonb, coalesce(g.tiers, '[]')::jsonb, g.flex_factor, g.priority_factor, g.batch_factor,
        g.request_usd, g.note, g.source
    from given g
    left join public.model_prices k on g.id is null
        and (k.tenant_id, k.provider, lower(k.model), k.model_pattern, k.valid_from)
            is not distinct from (g.tenant_id, g.provider, lower(g.model), g.model_pattern, g.valid_from)
    on conflict (id) do update
    set tenant_id = excluded.tenant_id, provider = excluded.provider, model = excluded.model,
        model_pattern = excluded.model_pattern, valid_from = excluded.valid_from, valid_until = excluded.valid_until,
        input_mtok = excluded.input_mtok, output_mtok = excluded.output_mtok, cache_read_mtok = excluded.cache_read_mtok,
        cache_write_mtok = excluded.cache_write_mtok, cache_write_5m_mtok = excluded.cache_write_5m_mtok,
        cache_write_1h_mtok = excluded.cache_write_1h_mtok, other_rates = excluded.other_rates, tiers = excluded.tiers,
        flex_factor = excluded.flex_factor, priority_factor = excluded.priority_factor, batch_factor = excluded.batch_factor,
        request_usd = excluded.request_usd, note = excluded.note, source = excluded.source
    where (
        p.tenant_id, p.provider, p.model, p.model_pattern, p.valid_from, p.valid_until, p.input_mtok, p.output_mtok,
        p.cache_read_mtok, p.cache_write_mtok, p.cache_write_5m_mtok, p.cache_write_1h_mtok, p.other_rates, p.tiers,
        p.flex_factor, p.priority_factor, p.batch_factor, p.request_usd, p.note, p.source
    ) is distinct from (
        excluded.tenant_id, excluded.provider, excluded.model, excluded.model_pattern, excluded.valid_from,
        excluded.valid_until, excluded.input_mtok, excluded.output_mtok, excluded.cache_read_mtok,
        excluded.cache_write_mtok, excluded.cache_write_5m_mtok, excluded.cache_write_1h_mtok, excluded.other_rates,
        excluded.tiers, excluded.flex_factor, excluded.priority_factor, excluded.batch_factor, excluded.request_usd,
        excluded.note, excluded.source
    )
    returning p.xmax = 0 as is_new
)
select
    count(*) filter (where w.is_new) as added, count(*) filter (where not w.is_new) as changed,
    json_array_length(%(rows)s::json) - count(*) as unchanged
from written w;

-- remove --
-- Those that are there, so that the caller can tell which were not.
delete from public.model_prices p where p.id = any (%(ids)s::uuid[]) returning p.id;

-- unpriced --
-- Calls without a price, as recompute_runs counts them: one refused before its first token has no cost to be unknown.
select
    s.provider, coalesce(s.model, s.model_requested) as model, coalesce(s.price_rates ->> 'reason', 'not computed') as reason,
    count(*) as calls, sum(s.input_tokens)::bigint as input_tokens, sum(s.output_tokens)::bigint as output_tokens,
    min(coalesce(s.started_at, s.created_at)) as first_seen_at, max(coalesce(s.started_at, s.created_at)) as last_seen_at
from public.conversation_spans s
where s.kind in ('llm', 'embedding', 'image') and s.duplicate_of is null and s.cost is null and s.ended_at is not null
    and (s.status <> 'failed' or s.time_to_first_token_ms is not null)
    and (%(since)s::timestamptz is null or coalesce(s.started_at, s.created_at) >= %(since)s::timestamptz)
group by 1, 2, 3
order by calls desc, s.provider, model, reason
limit %(limit)s;

-- compared --
-- What providers said that calls cost, beside what we computed; sums of both only over calls that have both.
select
    s.provider, coalesce(s.model, s.model_requested) as model, count(*) as calls, sum(s.reported_cost) as reported_cost,
    count(s.cost) as compared_calls, sum(s.reported_cost) filter (where s.cost is not null) as reported_of_compared,
    sum(s.cost) as computed_of_compared, sum(s.reported_cost - s.cost) as difference,
    count(*) filter (where abs(s.reported_cost - s.cost) > greatest(0.000001, 0.001 * s.reported_cost)) as differing_calls
from public.conversation_spans s
where s.reported_cost is not null and s.duplicate_of is null
    and (%(since)s::timestamptz is null or coalesce(s.started_at, s.created_at) >= %(since)s::timestamptz)
group by 1, 2
order by abs(sum(s.reported_cost - s.cost)) desc nulls first, calls desc, s.provider, model
limit %(limit)s;
