drop function public.chopsky_content(uuid, uuid);
drop function public.chopsky_write_contents(json);
drop table public.conversation_contents;
