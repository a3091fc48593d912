-- The one owner of a run's totals. Ingest calls it; triggers call it for rows written by hand.
create function public.recompute_runs(run_ids uuid[]) returns void
language plpgsql set search_path = ''
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
begin
    -- Always in id order: writers that lock the same runs then wait for each other instead of deadlocking.
    perform 1 from public.conversation_runs r where r.id = any (run_ids) order by r.id for no key update;
    perform set_config('chopsky_trace.recompute', 'on', true);

    update public.conversation_messages m
    set sequence = o.place
    from (
        select c.id, row_number() over (partition by c.conversation_run_id order by c.created_at, c.position, c.id) as place
        from public.conversation_messages c
        where c.conversation_run_id = any (run_ids)
    ) o
    where m.id = o.id and m.sequence is distinct from o.place;

    update public.conversation_runs r
    set total_messages = t.total_messages,
        total_input_tokens = case when t.keep then r.total_input_tokens else t.input_tokens end,
        total_output_tokens = case when t.keep then r.total_output_tokens else t.output_tokens end,
        total_tokens_used = case when t.keep then r.total_tokens_used else t.tokens end,
        total_cost = case when t.keep then r.total_cost else t.cost end,
        average_response_time = case when t.keep then r.average_response_time else t.response_time end,
        unpriced_calls = t.unpriced,
        unmeasured_calls = t.unmeasured,
        merged = t.calls > 0 and t.calls = t.duplicates,
        status = case when t.spans = 0 then r.status else coalesce(t.root_status, 'active') end,
        error = case when t.spans = 0 then r.error else t.root_error end,
        name = case when t.spans = 0 then r.name else coalesce(t.root_name, r.name) end,
        tags = case when t.spans = 0 then r.tags else coalesce(t.root_tags, r.tags) end,
        metadata = case when t.spans = 0 then r.metadata else coalesce(t.root_metadata, r.metadata) end,
        started_at = coalesce(t.started_at, r.started_at),
        ended_at = case when t.spans = 0 then r.ended_at else t.root_ended_at end,
        updated_at = now()
    from (
        select
            i.id, s.*, m.*,
            s.spans = 0 and i.totals_by_hand as keep,
            case when i.totals_by_hand and s.spans = 0 then i.total_messages else m.messages end as total_messages,
            coalesce(s.span_input, m.hand_input) + coalesce(case when s.span_input is not null then m.hand_input end, 0) as input_tokens,
            coalesce(s.span_output, m.hand_output) + coalesce(case when s.span_output is not null then m.hand_output end, 0) as output_tokens,
            coalesce(s.span_tokens, m.hand_tokens) + coalesce(case when s.span_tokens is not null then m.hand_tokens end, 0) as tokens,
            coalesce(s.span_cost, m.hand_cost) + coalesce(case when s.span_cost is not null then m.hand_cost end, 0) as cost,
            coalesce(s.span_time, m.hand_time) as response_time
        from public.conversation_runs i
        cross join lateral (
            select
                count(*) as spans,
                count(*) filter (where c.is_call) as calls,
                count(*) filter (where c.is_call and c.duplicate_of is not null) as duplicates,
                sum(c.input_tokens) filter (where c.duplicate_of is null) as span_input,
                sum(c.output_tokens) filter (where c.duplicate_of is null) as span_output,
                sum(c.total_tokens) filter (where c.duplicate_of is null) as span_tokens,
                sum(c.cost) filter (where c.duplicate_of is null) as span_cost,
                avg(c.response_time_ms) filter (where c.kind = 'llm' and c.duplicate_of is null) as span_time,
                count(*) filter (where c.is_counted and c.cost is null) as unpriced,
                count(*) filter (where c.is_counted and c.total_tokens is null) as unmeasured,
                min(c.started_at) as started_at,
                max(c.status) filter (where c.id = i.id) as root_status,
                max(c.error) filter (where c.id = i.id) as root_error,
                max(c.name) filter (where c.id = i.id) as root_name,
                max(c.ended_at) filter (where c.id = i.id) as root_ended_at,
                max(c.tags) filter (where c.id = i.id) as root_tags,
                (max(c.metadata::text) filter (where c.id = i.id))::jsonb as root_metadata
            from (
                select
                    s.id, s.kind, s.duplicate_of, s.input_tokens, s.output_tokens, s.total_tokens, s.cost, s.response_time_ms,
                    s.started_at, s.status, s.error, s.name, s.ended_at, s.tags, s.metadata,
                    s.kind in ('llm', 'embedding', 'image') as is_call,
                    -- A call refused before its first token used nothing that could be unknown.
                    s.kind in ('llm', 'embedding', 'image') and s.ended_at is not null and s.duplicate_of is null
                        and (s.status <> 'failed' or s.time_to_first_token_ms is not null) as is_counted
                from public.conversation_spans s
                where s.conversation_run_id = i.id
            ) c
        ) s
        cross join lateral (
            select
                count(*) filter (where not c.is_internal) as messages,
                sum(c.token_count) filter (where c.span_id is null and c.role <> 'assistant') as hand_input,
                sum(c.token_count) filter (where c.span_id is null and c.role = 'assistant') as hand_output,
                sum(c.token_count) filter (where c.span_id is null) as hand_tokens,
                sum(c.cost) filter (where c.span_id is null) as hand_cost,
                avg(c.response_time_ms) filter (where c.span_id is null) as hand_time
            from public.conversation_messages c
            where c.conversation_run_id = i.id
        ) m
        where i.id = any (run_ids)
    ) t
    where r.id = t.id;

    insert into public.conversation_analytics as a (conversation_run_id, error_count, retry_count)
    select i.id, coalesce(e.errors, 0), coalesce(e.retries, 0)
    from public.conversation_runs i
    cross join lateral (
        select
            count(*) filter (where s.status = 'failed' and not exists (
                select 1 from public.conversation_spans c
                where c.conversation_run_id = s.conversation_run_id and c.parent_span_id = s.id and c.status = 'failed'
            )) as errors,
            count(*) filter (where s.metadata ? 'retry_attempt') as retries
        from public.conversation_spans s
        where s.conversation_run_id = i.id and (s.status = 'failed' or s.metadata ? 'retry_attempt')
    ) e
    where i.id = any (run_ids)
    order by i.id
    on conflict (conversation_run_id) do update
    set error_count = excluded.error_count, retry_count = excluded.retry_count, updated_at = now()
    where (a.error_count, a.retry_count) is distinct from (excluded.error_count, excluded.retry_count);

    perform set_config('chopsky_trace.recompute', was, true);
end
$$;
comment on function public.recompute_runs(uuid[]) is 'Derives these runs'' totals, status, sequence and analytics again from their spans and messages.';
revoke all on function public.recompute_runs(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.recompute_runs(uuid[]) to service_role;

-- Rows written by hand. Inside ingest these do nothing: it recomputes once, at its end.
create function public.chopsky_on_rows() returns trigger
language plpgsql set search_path = ''
as $$
declare
    touched uuid[];
begin
    if current_setting('chopsky_trace.recompute', true) = 'on' then
        return null;
    end if;
    select array_agg(distinct n.conversation_run_id) into touched
    from changed n where n.conversation_run_id is not null;
    if touched is null then
        return null;
    end if;
    if tg_table_name = 'conversation_messages' and tg_op = 'INSERT' then
        perform set_config('chopsky_trace.recompute', 'on', true);
        update public.conversation_messages m
        set session_key = r.session_key, session_id = coalesce(m.session_id, r.session_id),
            tenant_id = coalesce(m.tenant_id, r.tenant_id), user_id = coalesce(m.user_id, r.user_id)
        from public.conversation_runs r
        where r.id = m.conversation_run_id and m.session_key is null and m.id in (select c.id from changed c);
        perform set_config('chopsky_trace.recompute', 'off', true);
    end if;
    perform public.recompute_runs(touched);
    return null;
end
$$;
revoke all on function public.chopsky_on_rows() from public, anon, authenticated, service_role;

create trigger conversation_messages_inserted after insert on public.conversation_messages
    referencing new table as changed for each statement execute function public.chopsky_on_rows();
create trigger conversation_messages_updated after update on public.conversation_messages
    referencing new table as changed for each statement execute function public.chopsky_on_rows();
create trigger conversation_messages_deleted after delete on public.conversation_messages
    referencing old table as changed for each statement execute function public.chopsky_on_rows();
create trigger conversation_spans_inserted after insert on public.conversation_spans
    referencing new table as changed for each statement execute function public.chopsky_on_rows();
create trigger conversation_spans_updated after update on public.conversation_spans
    referencing new table as changed for each statement execute function public.chopsky_on_rows();
create trigger conversation_spans_deleted after delete on public.conversation_spans
    referencing old table as changed for each statement execute function public.chopsky_on_rows();

-- A total set by hand stays, in a run that has no spans to derive it from.
create function public.chopsky_on_totals_by_hand() returns trigger
language plpgsql set search_path = ''
as $$
begin
    new.totals_by_hand := true;
    new.total_tokens_used := coalesce(new.total_tokens_used, new.total_input_tokens + new.total_output_tokens);
    new.updated_at := now();
    return new;
end
$$;
revoke all on function public.chopsky_on_totals_by_hand() from public, anon, authenticated, service_role;

create trigger conversation_runs_totals_by_hand
before update of total_messages, total_tokens_used, total_input_tokens, total_output_tokens, total_cost, average_response_time
on public.conversation_runs for each row
when (current_setting('chopsky_trace.recompute', true) is distinct from 'on')
execute function public.chopsky_on_totals_by_hand();
