drop function public.chopsky_ingest(json);
drop function public.chopsky_link_resumed(uuid[]);
drop function public.chopsky_settle_scope(uuid[]);
drop function public.chopsky_join_runs(uuid[]);
drop function public.chopsky_write_messages(json);
drop trigger conversation_runs_moved_by_hand on public.conversation_runs;
drop function public.chopsky_on_move_by_hand();
drop function public.chopsky_settle_messages(uuid[], uuid[]);
drop function public.chopsky_write_spans(json);
