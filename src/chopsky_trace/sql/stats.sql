-- table_sizes --
-- How big each of our tables is, how it is read, and what vacuum has left of it. Rows are the planner's estimate.
select
    c.relname::text as name,
    nullif(c.reltuples, -1)::bigint as estimated_rows,
    pg_catalog.pg_total_relation_size(c.oid) as total_bytes,
    pg_catalog.pg_table_size(c.oid) as table_bytes,
    pg_catalog.pg_indexes_size(c.oid) as index_bytes,
    s.n_live_tup as live_rows,
    s.n_dead_tup as dead_rows,
    s.n_dead_tup::float8 / nullif(s.n_live_tup + s.n_dead_tup, 0) as dead_share,
    s.n_mod_since_analyze as changed_since_analyze,
    s.seq_scan as sequential_scans,
    s.idx_scan as index_scans,
    greatest(s.last_vacuum, s.last_autovacuum) as vacuumed_at,
    greatest(s.last_analyze, s.last_autoanalyze) as analyzed_at
from pg_catalog.pg_class c
left join pg_catalog.pg_stat_all_tables s on s.relid = c.oid
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname = any (%(tables)s)
order by total_bytes desc, name;

-- index_use --
-- Which indexes are read, and what those cost that are not. A unique one earns its place by refusing.
select
    i.relname::text as name,
    t.relname::text as table_name,
    pg_catalog.pg_relation_size(i.oid) as bytes,
    s.idx_scan as scans,
    s.idx_tup_read as entries_read,
    s.idx_tup_fetch as rows_fetched,
    x.indisunique as is_unique,
    x.indisvalid as is_valid
from pg_catalog.pg_index x
join pg_catalog.pg_class i on i.oid = x.indexrelid
join pg_catalog.pg_class t on t.oid = x.indrelid
left join pg_catalog.pg_stat_all_indexes s on s.indexrelid = i.oid
where t.relnamespace = 'public'::regnamespace and t.relkind = 'r' and t.relname = any (%(tables)s)
order by scans desc nulls last, bytes desc, name;

-- connections --
-- Who is connected to this database and in which state; the longest time in it shows a transaction left open.
select
    a.usename::text as role,
    nullif(a.application_name, '') as application,
    coalesce(a.state, 'unknown') as state,
    count(*) as connections,
    extract(epoch from max(pg_catalog.clock_timestamp() - a.state_change))::float8 as longest_s
from pg_catalog.pg_stat_activity a
where a.datname = current_database() and a.backend_type = 'client backend'
group by a.usename, a.application_name, a.state
order by connections desc, role, application, state;

-- server_limits --
-- What the server allows, how much of it is taken by all databases, and since when it counts.
select
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
        as most_connections,
    (select count(*) from pg_catalog.pg_stat_activity a where a.backend_type = 'client backend') as all_connections,
    pg_catalog.pg_database_size(current_database()) as database_bytes,
    (select d.stats_reset from pg_catalog.pg_stat_database d where d.datname = current_database()) as counted_since,
    (
        select e.extnamespace::regnamespace::text from pg_catalog.pg_extension e where e.extname = 'pg_stat_statements'
    ) as statements_schema;

-- slow_statements --
-- Statements that name our tables or functions, by mean time. Texts have no values in them; commands that may hold some
-- (create role ... password) are left out.
select
    s.calls,
    s.mean_exec_time as mean_ms,
    s.total_exec_time as total_ms,
    s.max_exec_time as longest_ms,
    s.rows,
    pg_catalog.pg_get_userbyid(s.userid)::text as role,
    s.query as statement
from {schema}.pg_stat_statements s
where s.dbid = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
    and s.query ~* '^\s*(--[^\n]*\n\s*)*(select|insert|update|delete|merge|with|copy|call)\y'
    and s.query ~* ('\y(' || array_to_string(%(names)s::text[], '|') || ')\y')
order by s.mean_exec_time desc
limit %(limit)s;
