-- guarded_step --
-- One of our steps as a file for the CLI or the SQL editor: applied only where our ledger does not have it.
do $chopsky_guard$
declare
    known text;
    not_ours text;
begin
    perform pg_catalog.pg_advisory_xact_lock({lock});
    if to_regclass('public.chopsky_migrations') is null then
        if {number} > 0 then
            raise exception 'chopsky-trace: {file} needs the files before it';
        end if;
        execute $chopsky_ledger${ledger}$chopsky_ledger$;
    end if;
    select m.sha256 into known from public.chopsky_migrations m where m.number = {number};
    if found then
        if known <> '{sha256}' then
            raise exception 'chopsky-trace: {file} was applied in another form'
                using hint = 'Export the files again with the version of chopsky-trace that applied it';
        end if;
        return;
    end if;
    if {number} <> (select count(*) from public.chopsky_migrations m where m.number < {number}) then
        raise exception 'chopsky-trace: {file} needs the files before it';
    end if;
    select pg_catalog.string_agg(o.name, ', ' order by o.name) into not_ours
    from (
        select c.relname::text as name from pg_catalog.pg_class c
        where c.relnamespace = pg_catalog.to_regnamespace('public') and c.relkind in ('r', 'p', 'v', 'm', 'f')
        union
        select p.proname::text from pg_catalog.pg_proc p where p.pronamespace = pg_catalog.to_regnamespace('public')
    ) o
    where o.name in ({creates});
    if not_ours is not null then
        raise exception 'chopsky-trace: public has objects of our names that are not ours: %', not_ours
            using hint = 'Rename or move them first';
    end if;
    execute $chopsky_step$
{sql}
$chopsky_step$;
    execute $chopsky_ledger${grants}$chopsky_ledger$;
    insert into public.chopsky_migrations (number, name, sha256) values ({number}, '{name}', '{sha256}');
end
$chopsky_guard$;

-- cli_ledger --
-- What `supabase db push` has applied here, and whether this role may keep it: no row where the CLI never was.
select
    has_schema_privilege(c.relnamespace, 'usage') and has_table_privilege(c.oid, 'select')
        and has_table_privilege(c.oid, 'insert') and has_table_privilege(c.oid, 'delete') as may_write
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'supabase_migrations' and c.relname = 'schema_migrations'
    -- An old CLI kept versions only, so nothing of it can be told to be ours.
    and 3 = (
        select count(*) from pg_catalog.pg_attribute a
        where a.attrelid = c.oid and a.attname in ('version', 'name', 'statements') and not a.attisdropped
    );

-- cli_versions --
-- Which of our files the CLI has applied, or has been told of.
select m.version
from supabase_migrations.schema_migrations m
join unnest(%(versions)s::text[], %(names)s::text[]) o (version, name) on o.version = m.version and o.name = m.name
order by m.version;

-- cli_record --
-- A file that need not be pushed any more, as the CLI itself would have recorded it.
insert into supabase_migrations.schema_migrations (version, name, statements)
values (%(version)s, %(name)s, %(statements)s)
on conflict (version) do nothing;

-- cli_forget --
-- A file that was taken back, so that the next push applies it again.
delete from supabase_migrations.schema_migrations where version = %(version)s and name = %(name)s;
