drop table public.conversation_analytics;
