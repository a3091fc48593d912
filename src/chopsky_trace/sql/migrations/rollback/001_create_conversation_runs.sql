drop table public.conversation_runs;
