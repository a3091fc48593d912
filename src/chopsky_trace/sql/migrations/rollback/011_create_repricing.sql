drop function public.chopsky_write_costs(json);
drop table public.conversation_repricings;
