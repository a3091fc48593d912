-- What Supabase has and a plain PostgreSQL lacks: the API's roles and the functions that read a request's claims.
-- On Supabase every statement here finds its object and does nothing.
do $$
declare
    api_role text;
begin
    foreach api_role in array array['anon', 'authenticated', 'service_role'] loop
        if to_regrole(api_role) is null then
            begin
                execute format('create role %I nologin', api_role);
            exception
                -- Roles belong to the cluster: another database's migration may have been first.
                when duplicate_object or unique_violation then null;
            end;
        end if;
    end loop;
end
$$;

do $$
begin
    if to_regnamespace('auth') is null then
        create schema auth;
        revoke all on schema auth from public;
        grant usage on schema auth to anon, authenticated, service_role;
    end if;
    if to_regprocedure('auth.jwt()') is null then
        create function auth.jwt() returns jsonb language sql stable set search_path = '' as $function$
            select coalesce(
                nullif(current_setting('request.jwt.claim', true), ''),
                nullif(current_setting('request.jwt.claims', true), '')
            )::jsonb
        $function$;
        revoke all on function auth.jwt() from public;
        grant execute on function auth.jwt() to anon, authenticated, service_role;
    end if;
    if to_regprocedure('auth.uid()') is null then
        create function auth.uid() returns uuid language sql stable set search_path = '' as $function$
            select (auth.jwt() ->> 'sub')::uuid
        $function$;
        revoke all on function auth.uid() from public;
        grant execute on function auth.uid() to anon, authenticated, service_role;
    end if;
    -- On Supabase the API roles have this already; on plain PostgreSQL 15+ nobody but the owner may see inside a schema it cannot use.
    if not has_schema_privilege('authenticated', 'public', 'usage') then
        grant usage on schema public to anon, authenticated, service_role;
    end if;
end
$$;

-- The tenant of the signed-in user. Replace it where your tenants come from elsewhere; keep it stable, and never
-- read user_metadata: users can write that themselves.
create or replace function public.chopsky_tenant_id() returns text
language sql stable set search_path = ''
as $$
    select coalesce(auth.jwt() -> 'app_metadata' ->> 'tenant_id', auth.jwt() ->> 'tenant_id')
$$;
comment on function public.chopsky_tenant_id() is 'Tenant of the current request, from the verified token. Replace it to take tenants from elsewhere.';

-- Whether the signed-in user may read the whole tenant rather than their own rows.
create or replace function public.chopsky_reads_tenant() returns boolean
language sql stable set search_path = ''
as $$
    select coalesce(auth.jwt() -> 'app_metadata' ->> 'chopsky_role' in ('admin', 'support'), false)
$$;
comment on function public.chopsky_reads_tenant() is 'True for a tenant''s admin or support role (app_metadata.chopsky_role). Replace it to take roles from elsewhere.';

revoke all on function public.chopsky_tenant_id() from public, anon, authenticated, service_role;
revoke all on function public.chopsky_reads_tenant() from public, anon, authenticated, service_role;
grant execute on function public.chopsky_tenant_id() to authenticated, service_role;
grant execute on function public.chopsky_reads_tenant() to authenticated, service_role;
