drop view public.conversation_calls;
