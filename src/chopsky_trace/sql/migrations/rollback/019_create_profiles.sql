drop function public.cleanup_test_data();
drop function public.generate_sample_data(text);
drop function public.archive_old_messages(interval, text, integer);
drop view public.performance_stats;
drop view public.user_activity_summary;
drop view public.usage_logs;
drop table public.user_profiles;
drop function public.chopsky_on_profile();
