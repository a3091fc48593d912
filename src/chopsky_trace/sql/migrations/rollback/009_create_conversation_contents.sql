drop function public.chopsky_prefix_bodies(uuid);
drop function public.chopsky_write_prefixes(json);
drop table public.conversation_prefixes;
drop function public.chopsky_content(uuid, uuid);
drop function public.chopsky_write_contents(json);
drop table public.conversation_contents;
