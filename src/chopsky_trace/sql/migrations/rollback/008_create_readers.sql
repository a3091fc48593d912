drop function public.chopsky_reap(interval, integer);
drop function public.conversation_transcript(uuid);
drop function public.conversation_prompt(uuid);
drop function public.chopsky_prompt_bodies(uuid);
