-- realtime_publication --
-- Supabase Realtime sends what this publication has: whether it is there, and whether this role may change it.
select
    p.oid is not null as is_there,
    coalesce(p.puballtables, false) as all_tables,
    exists (
        select 1 from pg_catalog.pg_publication_namespace s
        where s.pnpubid = p.oid and s.pnnspid = pg_catalog.to_regnamespace('public')
    ) as all_of_public,
    pg_catalog.pg_get_userbyid(p.pubowner) as owner,
    case when p.oid is null then has_database_privilege(current_database(), 'create')
        else pg_catalog.pg_has_role(p.pubowner, 'usage') end as may_change,
    current_user::text as role,
    current_setting('wal_level') as wal_level
from (values ('supabase_realtime')) w (name)
left join pg_catalog.pg_publication p on p.pubname = w.name;

-- realtime_tables --
-- Each table that may be sent: what a signed-in user may read of it, and what is sent. A generated column cannot be
-- sent before PostgreSQL 18, so none is.
select
    c.relname::text as name,
    pg_catalog.pg_has_role(c.relowner, 'usage') as is_ours,
    c.relreplident::text as replica_identity,
    c.relrowsecurity as has_row_security,
    coalesce((
        select array_agg(a.attname::text order by a.attnum) from pg_catalog.pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
            and has_column_privilege('authenticated', c.oid, a.attnum, 'select')
    ), '{}') as readable,
    coalesce((
        select array_agg(a.attname::text order by a.attnum)
        from pg_catalog.pg_index i
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey)
        where i.indrelid = c.oid and i.indisprimary
    ), '{}') as key,
    r.oid is not null as is_sent,
    r.prqual is not null as is_filtered,
    (
        select array_agg(a.attname::text order by a.attnum) from pg_catalog.pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            and (r.prattrs is null or a.attnum = any (r.prattrs))
    ) as sent
from pg_catalog.pg_class c
left join pg_catalog.pg_publication p on p.pubname = 'supabase_realtime'
left join pg_catalog.pg_publication_rel r on r.prrelid = c.oid and r.prpubid = p.oid
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname = any (%(tables)s)
order by array_position(%(tables)s, c.relname::text);
