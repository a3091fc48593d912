drop table public.writer_status;
