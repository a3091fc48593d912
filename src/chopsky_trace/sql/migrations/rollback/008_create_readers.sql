drop function public.chopsky_reap(interval, integer);
revoke select (session_key, merged) on table public.conversation_runs from authenticated;
drop function public.conversation_session_transcript(text, text, text, uuid, uuid, integer);
drop index public.idx_conversation_runs_session_key_began;
drop function public.conversation_transcript(uuid);
drop function public.conversation_prompt(uuid);
drop function public.chopsky_prompt_names(uuid);
drop function public.chopsky_restore(jsonb, uuid, boolean);
drop function public.chopsky_prompt_bodies(uuid);
