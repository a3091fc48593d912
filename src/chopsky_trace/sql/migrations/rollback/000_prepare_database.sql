-- The API's roles and the schema auth stay: other things may have come to use them, and on Supabase they are not ours.
drop function public.chopsky_reads_tenant();
drop function public.chopsky_tenant_id();
