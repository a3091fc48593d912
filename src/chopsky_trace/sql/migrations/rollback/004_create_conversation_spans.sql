drop table public.conversation_spans;
