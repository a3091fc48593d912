-- What each writer says of itself: the first place to look when something seems to be missing.
create table public.writer_status (
    writer_id uuid primary key,
    host text not null,
    process_id integer not null,
    version text not null,
    schema_number integer not null,
    started_at timestamptz not null,
    last_write_at timestamptz not null default now(),
    backlog_records bigint not null default 0,
    backlog_bytes bigint not null default 0,
    stored_records bigint not null default 0,
    losses jsonb not null default '{}',
    prices jsonb not null default '{}'
);
comment on table public.writer_status is 'One row per writing process: last write, backlog, and losses counted by reason.';
comment on column public.writer_status.prices is 'The team''s own prices as it last read them: rows applied, unusable ones, why a look failed.';
create index idx_writer_status_last_write_at on public.writer_status (last_write_at);

revoke all on table public.writer_status from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.writer_status to service_role;
alter table public.writer_status enable row level security;
create policy writer_status_service on public.writer_status for all to service_role using (true) with check (true);
