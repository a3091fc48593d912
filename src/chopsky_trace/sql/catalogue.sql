-- schema_objects --
-- What public holds, read from the catalogue and written as SQL, the same on every version from 15: the source of
-- sql/schema.sql, and what `migrate --verify` compares with it.
with relation as (
    select c.oid, c.relname, format('public.%I', c.relname) as name, c.relrowsecurity, c.relowner, c.relacl
    from pg_catalog.pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
        and not exists (select 1 from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'e')
), routine as (
    select p.oid, format('public.%I(%s)', p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)) as name, p.proowner, p.proacl
    from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
        and not exists (select 1 from pg_catalog.pg_depend d where d.objid = p.oid and d.deptype = 'e')
), viewed as (
    select c.oid, format('public.%I', c.relname) as name, c.relowner, c.relacl, c.reloptions
    from pg_catalog.pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'v'
        and not exists (select 1 from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'e')
), attribute as (
    select
        a.attrelid, a.attnum, a.attname,
        format('    %I %s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod))
        || coalesce((
            select format(' collate %I', l.collname) from pg_catalog.pg_collation l, pg_catalog.pg_type t
            where l.oid = a.attcollation and t.oid = a.atttypid and a.attcollation <> t.typcollation
        ), '')
        || case when a.attnotnull then ' not null' else '' end
        || coalesce((
            select case when a.attgenerated = '' then format(' default %s', pg_catalog.pg_get_expr(d.adbin, d.adrelid))
                else format(' generated always as (%s) stored', pg_catalog.pg_get_expr(d.adbin, d.adrelid)) end
            from pg_catalog.pg_attrdef d where d.adrelid = a.attrelid and d.adnum = a.attnum
        ), '') as line
    from pg_catalog.pg_attribute a
    where a.attrelid in (select r.oid from relation r) and a.attnum > 0 and not a.attisdropped
)
select o.* from (
select 1 as place, 'table' as kind, r.name, format(
    e'create table %s (\n%s\n);', r.name, (select string_agg(a.line, e',\n' order by a.attnum) from attribute a where a.attrelid = r.oid)
) as sql
from relation r
union all
select 2, 'constraint', format('%s %I', r.name, n.conname),
    format('alter table %s add constraint %I %s;', r.name, n.conname, pg_catalog.pg_get_constraintdef(n.oid))
from pg_catalog.pg_constraint n
join relation r on r.oid = n.conrelid
-- From 18 on "not null" is a constraint too; it stands with its column.
where n.contype in ('p', 'u', 'c', 'x')
union all
select 3, 'foreign key', format('%s %I', r.name, n.conname),
    format('alter table %s add constraint %I %s;', r.name, n.conname, pg_catalog.pg_get_constraintdef(n.oid))
from pg_catalog.pg_constraint n
join relation r on r.oid = n.conrelid
where n.contype = 'f' and n.conparentid = 0
union all
select 4, 'index', c.relname::text, pg_catalog.pg_get_indexdef(i.indexrelid) || ';'
from pg_catalog.pg_index i
join relation r on r.oid = i.indrelid
join pg_catalog.pg_class c on c.oid = i.indexrelid
where not exists (select 1 from pg_catalog.pg_constraint n where n.conindid = i.indexrelid and n.contype in ('p', 'u', 'x'))
union all
select 5, 'function', f.name, rtrim(pg_catalog.pg_get_functiondef(f.oid), e'\n') || ';' from routine f
union all
select 5, 'view', v.name, format(
    e'create view %s%s as\n%s', v.name, ' with (' || array_to_string(v.reloptions, ', ') || ')', pg_catalog.pg_get_viewdef(v.oid)
)
from viewed v
union all
select 6, 'trigger', format('%s %I', r.name, t.tgname), pg_catalog.pg_get_triggerdef(t.oid) || ';'
from pg_catalog.pg_trigger t
join relation r on r.oid = t.tgrelid
where not t.tgisinternal
union all
select 7, 'row level security', r.name, format('alter table %s enable row level security;', r.name) from relation r where r.relrowsecurity
union all
select 8, 'policy', format('%s %I', r.name, p.policyname), format(
    'create policy %I on %s as %s for %s to %s%s%s;', p.policyname, r.name, lower(p.permissive), lower(p.cmd),
    (select string_agg(quote_ident(u::text), ', ' order by u::text) from unnest(p.roles) u),
    coalesce(e'\nusing (' || p.qual || ')', ''), coalesce(e'\nwith check (' || p.with_check || ')', '')
)
from pg_catalog.pg_policies p
join relation r on r.relname = p.tablename
where p.schemaname = 'public'
union all
select 9, 'grant', format('%s to %s', o.name, g.grantee), format(
    'grant %s on %s %s to %s;', g.privileges, o.object_kind, o.name, g.grantee
)
from (
    select r.name, 'table' as object_kind, r.relowner as owner, coalesce(r.relacl, pg_catalog.acldefault('r', r.relowner)) as acl from relation r
    union all
    select v.name, 'table', v.relowner, coalesce(v.relacl, pg_catalog.acldefault('r', v.relowner)) from viewed v
    union all
    select f.name, 'function', f.proowner, coalesce(f.proacl, pg_catalog.acldefault('f', f.proowner)) from routine f
) o
cross join lateral (
    select case x.grantee when 0 then 'public' else quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) end as grantee,
        string_agg(lower(x.privilege_type), ', ' order by x.privilege_type) as privileges
    from pg_catalog.aclexplode(o.acl) x where x.grantee <> o.owner group by x.grantee
) g
union all
select 10, 'grant of columns', format('%s to %s', r.name, g.grantee), format(
    'grant %s (%s) on table %s to %s;', g.privilege, string_agg(quote_ident(g.attname), ', ' order by g.attnum), r.name, g.grantee
)
from relation r
join lateral (
    select a.attname, a.attnum, lower(x.privilege_type) as privilege,
        case x.grantee when 0 then 'public' else quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) end as grantee
    from pg_catalog.pg_attribute a
    cross join lateral pg_catalog.aclexplode(a.attacl) x
    where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
) g on true
group by r.name, g.grantee, g.privilege
union all
select 11, 'comment', r.name, format('comment on table %s is %L;', r.name, d.description)
from relation r
join pg_catalog.pg_description d on d.objoid = r.oid and d.classoid = 'pg_catalog.pg_class'::regclass and d.objsubid = 0
union all
select 11, 'comment', format('%s.%I', r.name, a.attname), format('comment on column %s.%I is %L;', r.name, a.attname, d.description)
from relation r
join pg_catalog.pg_description d on d.objoid = r.oid and d.classoid = 'pg_catalog.pg_class'::regclass and d.objsubid > 0
join attribute a on a.attrelid = r.oid and a.attnum = d.objsubid
union all
select 11, 'comment', v.name, format('comment on view %s is %L;', v.name, d.description)
from viewed v
join pg_catalog.pg_description d on d.objoid = v.oid and d.classoid = 'pg_catalog.pg_class'::regclass and d.objsubid = 0
union all
select 11, 'comment', format('%s.%I', v.name, a.attname), format('comment on column %s.%I is %L;', v.name, a.attname, d.description)
from viewed v
join pg_catalog.pg_description d on d.objoid = v.oid and d.classoid = 'pg_catalog.pg_class'::regclass and d.objsubid > 0
join pg_catalog.pg_attribute a on a.attrelid = v.oid and a.attnum = d.objsubid
union all
select 11, 'comment', f.name, format('comment on function %s is %L;', f.name, d.description)
from routine f
join pg_catalog.pg_description d on d.objoid = f.oid and d.classoid = 'pg_catalog.pg_proc'::regclass
) o
order by o.place, o.name collate "C", o.sql collate "C";
