-- prune --
-- One transaction of it: what is locked is given back before the next.
select public.chopsky_prune(%(batch)s, %(at_most)s, %(dry_run)s, %(older_than)s, %(tenant_id)s)

-- prunes --
-- Nearly always there is nothing to prune: then nothing is locked, either.
select public.chopsky_prunes()

-- schedule --
-- By pg_cron, where it is.
select public.chopsky_schedule_prune(%(wanted)s)

-- policies --
-- Whatever says how long something is kept.
select p.what, p.tenant_id, p.keep_for, p.updated_at
from public.retention_policies p
order by p.what, p.tenant_id nulls first

-- set_policy --
-- One rule for each kind of thing and tenant.
insert into public.retention_policies as p (what, tenant_id, keep_for)
values (%(what)s, %(tenant_id)s, %(keep_for)s)
on conflict (what, tenant_id) do update set keep_for = excluded.keep_for, updated_at = now()

-- remove_policy --
-- Then the general rule holds, or none.
delete from public.retention_policies p
where p.what = %(what)s and p.tenant_id is not distinct from %(tenant_id)s::text

-- erase_user --
-- The receipt has no name in it.
select public.erase_user(%(user_id)s, %(tenant_id)s)

-- erase_on_auth_delete --
-- False where there are no users of Supabase's.
select public.chopsky_erase_on_auth_delete(%(wanted)s)
