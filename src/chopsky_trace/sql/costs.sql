-- columns --
-- What tells what calls cost and how many tokens they took, and whether a signed-in user may read it: of their own rows.
select c.relname as table, a.attname as column, has_column_privilege('authenticated', c.oid, a.attnum, 'select') as is_readable
from (values
    ('conversation_runs', array[
        'total_cost', 'total_tokens_used', 'total_input_tokens', 'total_output_tokens', 'unpriced_calls', 'unmeasured_calls'
    ]),
    ('conversation_messages', array['cost', 'token_count', 'token_count_source', 'model', 'provider']),
    ('usage_metrics', array['total_cost', 'unpriced_calls']),
    ('usage_totals', array['total_cost', 'unpriced_calls'])
) t (name, columns)
join pg_class c on c.oid = to_regclass('public.' || t.name)
join pg_attribute a on a.attrelid = c.oid and a.attname = any (t.columns)
order by c.relname, a.attnum
