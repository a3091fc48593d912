-- limit_statement --
-- For this transaction only: behind a transaction pooler the session belongs to somebody else a moment later. To wait for a lock
-- has its own end, before, so that a record is never blamed for what somebody else holds; and so has to wait for the client,
-- which, gone without a word, would else hold its runs locked until the server notices, hours later.
select
    set_config('statement_timeout', $1, true),
    set_config('lock_timeout', (($1::text::integer + 1) / 2)::text, true),
    set_config('idle_in_transaction_session_timeout', $2, true);

-- ingest --
-- A batch is one statement with one parameter: one round trip, no prepared statement, atomic, idempotent by id.
select public.chopsky_ingest($1::json);

-- open_runs --
-- Before COPY: the runs that its rows refer to, locked, and what each message repeats of its run.
select coalesce(json_agg(r), '[]') from public.chopsky_open_runs($1::json) r;

-- answer --
-- How far the server is: nothing is asked but an answer.
select;

-- reap --
-- Runs whose end never came are told from those under way.
select public.chopsky_reap(make_interval(secs => %(older_than_s)s));

-- runs_of_traces --
-- Spans about no model belong to a run where any process saw one of their trace that is.
select r.id from public.conversation_runs r where r.id = any (%(trace_ids)s::uuid[]);

-- report_status --
-- What a writer says of itself is seen in the database too, where nobody reads its logs.
insert into public.writer_status as w (
    writer_id, host, process_id, version, schema_number, started_at, backlog_records, backlog_bytes, stored_records, losses, prices
)
select r.writer_id, r.host, r.process_id, r.version, r.schema_number, r.started_at, r.backlog_records, r.backlog_bytes, r.stored_records, r.losses, coalesce(r.prices, '{}')
from json_to_record(%(status)s::json) as r (
    writer_id uuid, host text, process_id integer, version text, schema_number integer, started_at timestamptz,
    backlog_records bigint, backlog_bytes bigint, stored_records bigint, losses jsonb, prices jsonb
)
on conflict (writer_id) do update
set last_write_at = now(), version = excluded.version, schema_number = excluded.schema_number,
    backlog_records = excluded.backlog_records, backlog_bytes = excluded.backlog_bytes,
    stored_records = excluded.stored_records, losses = excluded.losses, prices = excluded.prices;
