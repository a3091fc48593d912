drop function public.chopsky_settle_turns(uuid[]);
