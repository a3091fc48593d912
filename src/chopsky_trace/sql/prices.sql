-- limit_time --
-- A table that somebody holds locked must not hold up the records.
select set_config('statement_timeout', %(milliseconds)s, true);

-- overrides --
-- The team's own prices, all of them: they are few, and a worker asks for them once a minute.
select * from public.model_prices order by id;
