drop function public.chopsky_import(json);
drop function public.chopsky_keep_imported(json);
drop function public.chopsky_import_rows(text, json);
drop function public.chopsky_export_sessions(uuid[]);
drop function public.chopsky_export_feedback(uuid[]);
drop function public.chopsky_export_profiles(text[]);
drop function public.chopsky_export_messages(uuid[]);
drop function public.chopsky_settle_imported_feedback(uuid[]);
drop function public.chopsky_export_runs(uuid[]);
select public.chopsky_erase_on_auth_delete(false);
drop function public.chopsky_erase_on_auth_delete(boolean);
drop index public.idx_conversation_prefixes_extends;
drop index public.idx_conversation_spans_prompt_prefix;
drop function public.erase_user(text, text);
drop function public.chopsky_forget_usage(text, text);
drop function public.chopsky_person_columns();
create or replace function public.chopsky_refuse_runs(run_ids uuid[]) returns uuid[]
language sql set search_path = ''
as $$ select '{}'::uuid[] $$;
comment on function public.chopsky_refuse_runs(uuid[]) is null;
create or replace function public.chopsky_entomb_runs(run_ids uuid[]) returns void
language sql set search_path = ''
as $$ select $$;
comment on function public.chopsky_entomb_runs(uuid[]) is null;
drop function public.chopsky_tombstone(text, text, text);
drop table public.conversation_erasures;
drop function public.chopsky_prunes();
drop function public.chopsky_schedule_prune(boolean);
drop function public.cleanup_expired_conversations();
drop function public.chopsky_prune(integer, integer, boolean, interval, text, interval);
drop function public.chopsky_count_due(interval, text);
drop function public.chopsky_tombstones_kept();
drop table public.conversation_tombstones;
drop table public.chopsky_keys;
drop function public.chopsky_prune_rows(bigint, text);
drop function public.chopsky_add_counts(jsonb, jsonb);
drop function public.chopsky_remove_session(uuid, integer);
drop function public.chopsky_due_sessions(bigint, text, boolean);
drop function public.chopsky_going_runs(text, uuid[], uuid[], interval, text);
drop function public.chopsky_due_runs(text, bigint, interval, text, uuid[]);
drop function public.chopsky_remove_content(uuid[], boolean, uuid[]);
drop function public.chopsky_remove_runs(uuid[], boolean, uuid[]);
drop function public.chopsky_claim_runs(uuid[], uuid[]);
drop function public.chopsky_hand_over(uuid[], uuid[]);
drop function public.chopsky_named_ids(uuid[]);
drop index public.idx_conversation_runs_content_removed;
alter table public.conversation_runs drop column content_removed;
drop table public.retention_policies;
