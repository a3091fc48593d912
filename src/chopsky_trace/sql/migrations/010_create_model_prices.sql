-- The team's own prices, which go before the public price list: what was negotiated, what runs on one's own machines, and
-- what the list lacks or has wrong. Of the rows that hold for a call, the first in this order is applied: one of its tenant
-- before one for all; an exact name before a pattern; one that names the provider before one for any; the name as reported
-- before a part of it; the latest valid_from; the lowest id.
create table public.model_prices (
    id uuid primary key default gen_random_uuid(),
    tenant_id text check (tenant_id <> ''),
    provider text check (provider <> '' and provider = lower(provider)),
    model text check (model <> '' and length(model) <= 512),
    model_pattern text check (length(model_pattern) between 1 and 200),
    valid_from timestamptz check (extract(year from valid_from at time zone 'UTC') between 1970 and 9998),
    valid_until timestamptz check (extract(year from valid_until at time zone 'UTC') between 1970 and 9998),
    -- NaN and infinity are above every bound.
    input_mtok numeric check (input_mtok >= 0 and input_mtok < 1e9 and scale(input_mtok) <= 12),
    output_mtok numeric check (output_mtok >= 0 and output_mtok < 1e9 and scale(output_mtok) <= 12),
    cache_read_mtok numeric check (cache_read_mtok >= 0 and cache_read_mtok < 1e9 and scale(cache_read_mtok) <= 12),
    cache_write_mtok numeric check (cache_write_mtok >= 0 and cache_write_mtok < 1e9 and scale(cache_write_mtok) <= 12),
    cache_write_5m_mtok numeric check (cache_write_5m_mtok >= 0 and cache_write_5m_mtok < 1e9 and scale(cache_write_5m_mtok) <= 12),
    cache_write_1h_mtok numeric check (cache_write_1h_mtok >= 0 and cache_write_1h_mtok < 1e9 and scale(cache_write_1h_mtok) <= 12),
    other_rates jsonb not null default '{}' check (jsonb_typeof(other_rates) = 'object'),
    tiers jsonb not null default '[]' check (jsonb_typeof(tiers) = 'array'),
    flex_factor numeric check (flex_factor >= 0 and flex_factor < 1000 and scale(flex_factor) <= 6),
    priority_factor numeric check (priority_factor >= 0 and priority_factor < 1000 and scale(priority_factor) <= 6),
    batch_factor numeric check (batch_factor >= 0 and batch_factor < 1000 and scale(batch_factor) <= 6),
    request_usd numeric check (request_usd >= 0 and request_usd < 1e6 and scale(request_usd) <= 12),
    note text check (note <> ''),
    source text check (source <> ''),
    created_at timestamptz not null default now(),
    constraint model_prices_model_or_pattern check (num_nonnulls(model, model_pattern) = 1),
    constraint model_prices_range_not_empty check (valid_from < valid_until),
    constraint model_prices_some_price check (num_nonnulls(input_mtok, output_mtok, request_usd) > 0 or other_rates <> '{}')
);
comment on table public.model_prices is 'The team''s own prices in USD, before the public price list. A row is the whole price of a model: what it does not name is charged as the whole it is part of (cached tokens as input), and audio, images put out, and searches not at all.';
comment on column public.model_prices.tenant_id is 'NULL: for all.';
comment on column public.model_prices.provider is 'As the framework reports it, or genai-prices'' id. NULL: any.';
comment on column public.model_prices.model is 'The whole name, whatever its case. Either this or model_pattern.';
comment on column public.model_prices.model_pattern is 'A regular expression of the whole name, without look-around and back references.';
comment on column public.model_prices.valid_from is 'The first moment it holds for, by the start of the call. NULL: always did.';
comment on column public.model_prices.valid_until is 'The first moment it no longer holds for. NULL: still does.';
comment on column public.model_prices.input_mtok is 'USD per million tokens; so are the next five.';
comment on column public.model_prices.cache_write_mtok is 'What is written into the provider''s cache, for whatever time it has no price of its own.';
comment on column public.model_prices.other_rates is 'Further prices by genai-prices'' key: {"input_audio_mtok": 40, "web_searches_kcount": 10}.';
comment on column public.model_prices.tiers is 'Long contexts: [{"above_input_tokens": 200000, "input_mtok": 6}]. Above so many input tokens these prices hold for the whole call.';
comment on column public.model_prices.flex_factor is 'What the prices of tokens are multiplied by in the service tier flex. NULL: such a call has no price.';
comment on column public.model_prices.priority_factor is 'The same for the service tier priority.';
comment on column public.model_prices.batch_factor is 'The same for batches.';
comment on column public.model_prices.request_usd is 'USD for the call itself, beside its tokens.';
comment on column public.model_prices.source is 'Where the price is from: a contract, a page.';

-- One row for a name from a moment on; an import finds the row that it replaces by this.
create unique index idx_model_prices_key on public.model_prices
    (tenant_id, provider, lower(model), model_pattern, valid_from) nulls not distinct;

-- Says what is wrong with a row, where a constraint could only say that something is.
create function public.chopsky_check_model_price() returns trigger
language plpgsql set search_path = ''
as $$
declare
    -- Without what stands for itself.
    bare text := regexp_replace(regexp_replace(new.model_pattern, '\\.', 'x', 'g'), '\[[^\]]*\]', 'x', 'g');
    rate record;
    tier jsonb;
    above numeric;
    last numeric := 0;
begin
    if bare ~ '\(\?[^:]|[*+?}][*+?{]' or new.model_pattern ~ '\\[^dDwWsS.^$*+?()\[\]{}|\\/:@, _-]|\[[.:=]' then
        raise exception 'model_pattern is no pattern of model names: %', new.model_pattern using
            errcode = 'invalid_regular_expression',
            hint = 'Use characters, ., [a-z], \d, \w, |, ( ), *, +, ?, {2,4}; no look-around, back references or lazy repetition.';
    end if;
    -- Fails with the reason where it is no regular expression.
    perform '' ~ ('^(?:' || new.model_pattern || ')$') where new.model_pattern is not null;
    for rate in
        select r.key, r.value from jsonb_each(case jsonb_typeof(new.other_rates) when 'object' then new.other_rates else '{}' end) r
        union all
        select t.key, t.value
        from jsonb_array_elements(case jsonb_typeof(new.tiers) when 'array' then new.tiers else '[]' end) e
        cross join lateral jsonb_each(case jsonb_typeof(e) when 'object' then e else '{"": null}' end) t
        where t.key <> 'above_input_tokens'
    loop
        if rate.key !~ '^[a-z0-9]+(_[a-z0-9]+)*_(mtok|kcount|hours)$' then
            raise exception '"%" is no price key', rate.key using
                errcode = 'check_violation', hint = 'Price keys are like input_audio_mtok and web_searches_kcount.';
        end if;
        if jsonb_typeof(rate.value) <> 'number' then
            raise exception 'the price of % is no number', rate.key using errcode = 'check_violation';
        end if;
        if (rate.value)::numeric not between 0 and 999999999 or scale((rate.value)::numeric) > 12 then
            raise exception 'the price of % is negative, too large or too fine: %', rate.key, rate.value using errcode = 'check_violation';
        end if;
    end loop;
    for tier in select e from jsonb_array_elements(case jsonb_typeof(new.tiers) when 'array' then new.tiers else '[]' end) e loop
        above := case when jsonb_typeof(tier -> 'above_input_tokens') = 'number' then (tier ->> 'above_input_tokens')::numeric end;
        if above is null or above <= last or above <> trunc(above) or above > 1e12 then
            raise exception 'each tier has above_input_tokens, a whole number above the last one''s and above 0' using errcode = 'check_violation';
        end if;
        last := above;
    end loop;
    return new;
end
$$;
revoke all on function public.chopsky_check_model_price() from public, anon, authenticated, service_role;

create trigger model_prices_checked
before insert or update on public.model_prices for each row
execute function public.chopsky_check_model_price();

revoke all on table public.model_prices from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.model_prices to service_role;
alter table public.model_prices enable row level security;
create policy model_prices_service on public.model_prices for all to service_role using (true) with check (true);
