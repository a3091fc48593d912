-- The one owner of a run's totals; for runs that the caller has locked. Those whose messages have their places already are
-- not in `unordered`.
create function public.chopsky_recompute(run_ids uuid[], unordered uuid[]) returns void
language plpgsql set search_path = ''
-- One plan for good, and by index: planning anew costs more than it gains, and a table that was small when a plan was made
-- may be large before its statistics say so.
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
begin
    perform set_config('chopsky_trace.recompute', 'on', true);

    if unordered <> '{}' then
        update public.conversation_messages m
        set sequence = o.place
        from (
            select c.id, row_number() over (partition by c.conversation_run_id order by c.created_at, c.position, c.id) as place
            from public.conversation_messages c
            where c.conversation_run_id = any (unordered)
        ) o
        where m.id = o.id and m.sequence is distinct from o.place;
    end if;

    with span as (
        select
            c.conversation_run_id as run_id,
            count(*) as spans,
            count(*) filter (where c.status = 'failed') as failed,
            count(*) filter (where c.status = 'active') as active,
            -- The root has the run's id; where ids are derived, it is the earliest span that says it has no parent.
            (array_agg(c.id order by c.id = c.conversation_run_id desc, c.started_at, c.id) filter (where c.is_root))[1] as root_id,
            max(c.ended_at) as last_ended_at,
            min(c.started_at) as first_started_at,
            count(*) filter (where c.retried) as retries,
            count(*) filter (where c.is_call) as calls,
            count(*) filter (where c.is_owned) as owned,
            sum(c.input_tokens) filter (where c.is_owned) as span_input,
            sum(c.output_tokens) filter (where c.is_owned) as span_output,
            sum(c.total_tokens) filter (where c.is_owned) as span_tokens,
            sum(c.cost) filter (where c.is_owned) as span_cost,
            avg(c.response_time_ms) filter (where c.is_owned and c.kind = 'llm') as span_time,
            count(*) filter (where c.is_owned and c.is_charged and c.cost is null) as unpriced,
            count(*) filter (where c.is_owned and c.is_charged and c.total_tokens is null) as unmeasured
        from (
            select
                t.id, t.conversation_run_id, t.kind, t.status, t.started_at, t.ended_at, t.metadata ? 'retry_attempt' as retried,
                t.id = t.conversation_run_id or (t.parent_span_id is null and t.start_version is not null) as is_root,
                t.kind in ('llm', 'embedding', 'image') as is_call,
                t.kind in ('llm', 'embedding', 'image') and t.duplicate_of is null as is_owned,
                -- A call refused before its first token used nothing that could be unknown.
                t.ended_at is not null and (t.status <> 'failed' or t.time_to_first_token_ms is not null) as is_charged,
                -- An impossible number is stored as reported, but is none to a sum.
                case when t.input_tokens between 0 and 1000000000000000 then t.input_tokens end as input_tokens,
                case when t.output_tokens between 0 and 1000000000000000 then t.output_tokens end as output_tokens,
                case when t.total_tokens between 0 and 1000000000000000 then t.total_tokens end as total_tokens,
                case when t.cost between 0 and 1000000000000 then t.cost end as cost,
                case when t.response_time_ms between 0 and 9999999999 then t.response_time_ms end as response_time_ms
            from public.conversation_spans t
            where t.conversation_run_id = any (run_ids)
        ) c
        group by c.conversation_run_id
    ), message as (
        select
            c.conversation_run_id as run_id,
            count(*) filter (where not c.is_internal) as messages,
            count(*) filter (where not c.is_internal and c.role = 'user') as asked,
            sum(c.token_count) filter (where c.span_id is null and not c.is_history and c.role <> 'assistant') as hand_input,
            sum(c.token_count) filter (where c.span_id is null and not c.is_history and c.role = 'assistant') as hand_output,
            sum(c.token_count) filter (where c.span_id is null and not c.is_history) as hand_tokens,
            sum(c.cost) filter (where c.span_id is null and not c.is_history) as hand_cost,
            avg(c.response_time_ms) filter (where c.span_id is null and not c.is_history) as hand_time
        from public.conversation_messages c
        where c.conversation_run_id = any (run_ids)
        group by c.conversation_run_id
    ), facts as materialized (
        select
            i.id, s.*, m.messages, m.asked, m.hand_input, m.hand_output, m.hand_tokens, m.hand_cost, m.hand_time, o.error as root_error, coalesce(o.name, f.name) as root_name, coalesce(o.tags, f.tags) as root_tags,
            coalesce(o.metadata, f.metadata) as root_metadata, o.started_at as root_started_at,
            s.spans is null as bare,
            s.spans is null and i.totals_by_hand as keep, i.status as hand_status, i.user_satisfaction_score as satisfaction,
            -- A root outside the mirror never ends here: then the topmost spans that we have tell.
            case when o.id is not null then o.status when s.active > 0 then 'active' else (
                select case when bool_or(t.status = 'failed') then 'failed' when bool_or(t.status = 'abandoned') then 'abandoned'
                    else 'completed' end
                from public.conversation_spans t
                where t.conversation_run_id = i.id and not exists (
                    select 1 from public.conversation_spans p where p.id = t.parent_span_id and p.conversation_run_id = i.id
                )
            ) end as derived_status,
            case when o.id is not null then o.ended_at when s.active = 0 then s.last_ended_at end as derived_ended_at,
            -- A failure passed up through its parents is one failure.
            case when coalesce(s.failed, 0) = 0 then 0 else (
                select count(*) from public.conversation_spans f
                where f.conversation_run_id = i.id and f.status = 'failed' and not exists (
                    select 1 from public.conversation_spans c
                    where c.conversation_run_id = i.id and c.parent_span_id = f.id and c.status = 'failed'
                )
            ) end as errors
        from public.conversation_runs i
        left join span s on s.run_id = i.id
        left join message m on m.run_id = i.id
        left join lateral (
            select t.id, t.status, t.error, t.name, t.tags, t.metadata, t.started_at, t.ended_at
            from public.conversation_spans t where t.id = s.root_id
            offset 0
        ) o on true
        -- Of a root outside the mirror, what the first span beneath it says describes the run.
        left join lateral (
            select t.name, t.tags, t.metadata
            from public.conversation_spans t
            where o.id is null and t.conversation_run_id = i.id and t.start_version is not null and not exists (
                select 1 from public.conversation_spans p where p.id = t.parent_span_id and p.conversation_run_id = i.id
            )
            order by t.started_at, t.id limit 1
        ) f on true
        where i.id = any (run_ids)
    ), derived as (
        select d.*, case when d.bare then d.hand_status else d.derived_status end as final_status from facts d
    ), updated as (
        update public.conversation_runs r
        set total_messages = case when d.keep then r.total_messages else coalesce(d.messages, 0) end,
            -- What is known of both; NULL where nothing is.
            total_input_tokens = case when d.keep then r.total_input_tokens
                else coalesce(d.span_input + d.hand_input, d.span_input, d.hand_input) end,
            total_output_tokens = case when d.keep then r.total_output_tokens
                else coalesce(d.span_output + d.hand_output, d.span_output, d.hand_output) end,
            total_tokens_used = case when d.keep then r.total_tokens_used
                else coalesce(d.span_tokens + d.hand_tokens, d.span_tokens, d.hand_tokens) end,
            total_cost = case when d.keep then r.total_cost
                else coalesce(d.span_cost + d.hand_cost, d.span_cost, d.hand_cost) end,
            average_response_time = case when d.keep then r.average_response_time else coalesce(d.span_time, d.hand_time) end,
            unpriced_calls = coalesce(d.unpriced, 0),
            unmeasured_calls = coalesce(d.unmeasured, 0),
            merged = coalesce(d.calls > 0 and d.owned = 0, false),
            status = d.final_status,
            error = case when d.bare then r.error else d.root_error end,
            name = coalesce(d.root_name, r.name),
            tags = coalesce(d.root_tags, r.tags),
            metadata = coalesce(d.root_metadata, r.metadata),
            started_at = coalesce(d.root_started_at, d.first_started_at, r.started_at),
            ended_at = case when d.bare then r.ended_at else d.derived_ended_at end,
            updated_at = now()
        from derived d
        where r.id = d.id
    )
    insert into public.conversation_analytics as a (
        conversation_run_id, error_count, retry_count, completion_rate, user_engagement_score, conversation_quality_score
    )
    select d.id, d.errors, coalesce(d.retries, 0), c.completion, case when d.asked > 10 then 100 else 10 * d.asked end, q.quality
    from derived d
    cross join lateral (
        select case d.final_status when 'completed' then 100 when 'failed' then 0 when 'abandoned' then 0 end as completion
    ) c
    -- The mean of what is known: of feedback, and of how smoothly the work went, once it is over.
    cross join lateral (
        select avg(v.score) as quality
        from (values
            ((d.satisfaction - 1) * 25),
            (case when not d.bare and d.final_status <> 'active' then greatest(100 - 25 * d.errors - 10 * d.retries, 0) end)
        ) v (score)
    ) q
    order by d.id
    on conflict (conversation_run_id) do update
    set error_count = excluded.error_count, retry_count = excluded.retry_count,
        completion_rate = case when 'completion_rate' = any (a.scores_by_hand) then a.completion_rate else excluded.completion_rate end,
        user_engagement_score = case when 'user_engagement_score' = any (a.scores_by_hand) then a.user_engagement_score
            else excluded.user_engagement_score end,
        conversation_quality_score = case when 'conversation_quality_score' = any (a.scores_by_hand) then a.conversation_quality_score
            else excluded.conversation_quality_score end,
        updated_at = now()
    where (
        a.error_count, a.retry_count, a.completion_rate, a.user_engagement_score, a.conversation_quality_score
    ) is distinct from (
        excluded.error_count, excluded.retry_count, excluded.completion_rate, excluded.user_engagement_score,
        excluded.conversation_quality_score
    );

    perform set_config('chopsky_trace.recompute', was, true);
end
$$;
comment on function public.chopsky_recompute(uuid[], uuid[]) is 'Derives these runs'' totals, status and analytics again; the sequence of messages in those that are unordered.';
revoke all on function public.chopsky_recompute(uuid[], uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_recompute(uuid[], uuid[]) to service_role;

create function public.recompute_runs(run_ids uuid[]) returns void
language plpgsql set search_path = ''
as $$
begin
    -- Always in id order: writers that lock the same runs then wait for each other instead of deadlocking.
    perform 1 from public.conversation_runs r where r.id = any (run_ids) order by r.id for no key update;
    perform public.chopsky_recompute(run_ids, run_ids);
    perform public.chopsky_settle_feedback(run_ids);
    perform public.chopsky_count_usage(run_ids);
end
$$;
comment on function public.recompute_runs(uuid[]) is 'Derives these runs'' totals, status, sequence and analytics again from their spans and messages.';
revoke all on function public.recompute_runs(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.recompute_runs(uuid[]) to service_role;

-- Locks are taken in one order: runs by id, then sessions, then roll-ups. Who changes a message, feedback or a session by hand has
-- its row before anything of ours is asked, and wants the run after it. So nobody who holds a row which others reach the
-- other way round stands in line for the next: they try for a while, and then give way as a whole. No ring of waiters comes
-- of it. A writer's batch, which has little patience (chopsky_trace.patience), comes again.
create function public.chopsky_give_way(began timestamptz, patience interval, what text) returns void
language plpgsql set search_path = ''
as $$
begin
    if clock_timestamp() > began + patience then
        raise exception 'Somebody else is at the same %', what
            using errcode = 'lock_not_available', hint = 'Nothing was changed. Try again.';
    end if;
    perform pg_sleep(0.005);
end
$$;
comment on function public.chopsky_give_way(timestamptz, interval, text) is 'Waits a moment for rows that others have; an error once patience is over.';
revoke all on function public.chopsky_give_way(timestamptz, interval, text) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_give_way(timestamptz, interval, text) to authenticated, service_role;

-- As long as the transaction has said, else as long as the caller would.
create function public.chopsky_patience(otherwise interval) returns interval
language sql stable set search_path = ''
as $$ select coalesce(nullif(current_setting('chopsky_trace.patience', true), '')::interval, otherwise) $$;
comment on function public.chopsky_patience(interval) is 'How long to try for what others have.';
revoke all on function public.chopsky_patience(interval) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_patience(interval) to service_role;

create function public.chopsky_lock_runs(run_ids uuid[], patience interval default '1 second') returns void
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    began constant timestamptz := clock_timestamp();
    wanted record;
begin
    -- One after the other, in order: who tries for the same waits with nothing that the first still wants.
    for wanted in
        select r.id as key from public.conversation_runs r where r.id = any (run_ids) order by r.id
    loop
        loop
            perform 1 from public.conversation_runs r where r.id = wanted.key for no key update skip locked;
            exit when found or not exists (select 1 from public.conversation_runs r where r.id = wanted.key);
            perform public.chopsky_give_way(began, patience, 'conversation run');
        end loop;
    end loop;
end
$$;
comment on function public.chopsky_lock_runs(uuid[], interval) is 'Locks these runs for who holds rows of them already.';
revoke all on function public.chopsky_lock_runs(uuid[], interval) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_lock_runs(uuid[], interval) to service_role;

-- What a message by hand has from its run, before it is written: changed afterwards, it would be written three times.
create function public.chopsky_on_message_by_hand() returns trigger
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    run record;
begin
    select
        r.session_key, r.session_id, r.tenant_id, r.user_id,
        -- As if it were the latest; where it is not, or another is written at the same time, chopsky_recompute says what it is.
        coalesce((
            select m.sequence from public.conversation_messages m
            where m.conversation_run_id = new.conversation_run_id order by m.created_at desc, m.sequence desc limit 1
        ), 0) + 1 as place
    into run
    from public.conversation_runs r where r.id = new.conversation_run_id;
    if new.session_key is null and found then
        new.session_key := run.session_key;
        new.session_id := coalesce(new.session_id, run.session_id);
        new.tenant_id := coalesce(new.tenant_id, run.tenant_id);
        new.user_id := coalesce(new.user_id, run.user_id);
    end if;
    new.sequence := run.place;
    return new;
end
$$;
revoke all on function public.chopsky_on_message_by_hand() from public, anon, authenticated, service_role;
create trigger conversation_messages_by_hand before insert on public.conversation_messages for each row
when (new.conversation_run_id is not null and current_setting('chopsky_trace.recompute', true) is distinct from 'on')
execute function public.chopsky_on_message_by_hand();

-- Rows written by hand. Inside ingest these do nothing: it recomputes once, at its end.
create function public.chopsky_on_rows() returns trigger
language plpgsql set search_path = ''
as $$
declare
    touched uuid[];
    others uuid[];
    -- Messages that are in no run.
    loose uuid[] := '{}';
    said record;
begin
    if current_setting('chopsky_trace.recompute', true) = 'on' then
        return null;
    end if;
    if tg_table_name = 'conversation_messages' and tg_op = 'INSERT' then
        select
            c.conversation_run_id as run_id, c.sequence as place, c.created_at as said_at, c.provider, c.model,
            c.span_id is null and not c.is_history and not exists (select 1 from changed o where o.id <> c.id) as is_plain
        into said
        from changed c limit 1;
        if said.is_plain and said.run_id is not null
            and public.chopsky_follow_message(said.run_id, said.place, said.said_at, said.provider, said.model)
        then
            return null;
        end if;
    end if;
    select array_agg(distinct n.conversation_run_id) into touched
    from changed n where n.conversation_run_id is not null;
    if tg_op = 'UPDATE' then
        -- A row that moved to another run leaves the one it was in.
        select array_agg(distinct n.conversation_run_id) into touched
        from (select c.conversation_run_id from changed c union all select p.conversation_run_id from previous p) n
        where n.conversation_run_id is not null;
    end if;
    if tg_table_name = 'conversation_messages' then
        loose := array(select c.id from changed c where c.conversation_run_id is null);
        if tg_op = 'UPDATE' then
            loose := loose || array(select p.id from previous p where p.conversation_run_id is null);
        end if;
    end if;
    if touched is null then
        perform public.chopsky_count_usage(loose);
        return null;
    end if;
    if tg_table_name = 'conversation_spans' and tg_op = 'DELETE' then
        -- A call that others told of, too, is theirs now.
        select array_agg(distinct s.conversation_run_id) into others
        from public.conversation_spans s
        where s.duplicate_of in (select c.id from changed c where c.told is not null);
        if others is not null then
            perform set_config('chopsky_trace.recompute', 'on', true);
            perform public.chopsky_lock_runs(others);
            touched := touched || others || public.chopsky_merge_calls(others);
            perform set_config('chopsky_trace.recompute', 'off', true);
        end if;
    end if;
    -- Nobody else is after a row that is new.
    perform public.chopsky_lock_runs(touched, case tg_op when 'INSERT' then interval '10 seconds' else '1 second' end);
    perform public.chopsky_recompute(touched, touched);
    perform public.chopsky_count_usage(touched || loose);
    return null;
end
$$;
revoke all on function public.chopsky_on_rows() from public, anon, authenticated, service_role;

create trigger conversation_messages_inserted after insert on public.conversation_messages
    referencing new table as changed for each statement execute function public.chopsky_on_rows();
create trigger conversation_messages_updated after update on public.conversation_messages
    referencing old table as previous new table as changed for each statement execute function public.chopsky_on_rows();
create trigger conversation_messages_deleted after delete on public.conversation_messages
    referencing old table as changed for each statement execute function public.chopsky_on_rows();
create trigger conversation_spans_inserted after insert on public.conversation_spans
    referencing new table as changed for each statement execute function public.chopsky_on_rows();
create trigger conversation_spans_updated after update on public.conversation_spans
    referencing old table as previous new table as changed for each statement execute function public.chopsky_on_rows();
create trigger conversation_spans_deleted after delete on public.conversation_spans
    referencing old table as changed for each statement execute function public.chopsky_on_rows();

-- What a person sets by hand stays: a run's user, session and environment, and totals where no spans tell others.
create function public.chopsky_on_edit_by_hand() returns trigger
language plpgsql set search_path = ''
as $$
begin
    if (new.user_id, new.session_id, new.environment) is distinct from (old.user_id, old.session_id, old.environment) then
        new.scope_by_hand := true;
    end if;
    if (new.total_messages, new.total_tokens_used, new.total_input_tokens, new.total_output_tokens, new.total_cost, new.average_response_time)
        is distinct from
        (old.total_messages, old.total_tokens_used, old.total_input_tokens, old.total_output_tokens, old.total_cost, old.average_response_time)
    then
        new.totals_by_hand := true;
        new.total_tokens_used := coalesce(new.total_tokens_used, new.total_input_tokens + new.total_output_tokens);
    end if;
    new.updated_at := now();
    return new;
end
$$;
revoke all on function public.chopsky_on_edit_by_hand() from public, anon, authenticated, service_role;

create trigger conversation_runs_edited_by_hand
before update on public.conversation_runs for each row
when (current_setting('chopsky_trace.recompute', true) is distinct from 'on')
execute function public.chopsky_on_edit_by_hand();

-- A score that a person writes stays until they write NULL, which gives it back to what the run tells.
create function public.chopsky_on_scores_by_hand() returns trigger
language plpgsql set search_path = ''
as $$
begin
    new.scores_by_hand := array(
        select v.name
        from (values
            ('completion_rate', new.completion_rate, case when tg_op = 'UPDATE' then old.completion_rate end),
            ('user_engagement_score', new.user_engagement_score, case when tg_op = 'UPDATE' then old.user_engagement_score end),
            ('conversation_quality_score', new.conversation_quality_score, case when tg_op = 'UPDATE' then old.conversation_quality_score end)
        ) v (name, score, old_score)
        where v.score is not null and (
            v.score is distinct from v.old_score or (tg_op = 'UPDATE' and v.name = any (old.scores_by_hand))
        )
    );
    new.updated_at := now();
    return new;
end
$$;
revoke all on function public.chopsky_on_scores_by_hand() from public, anon, authenticated, service_role;

create trigger conversation_analytics_scored_by_hand
before insert or update on public.conversation_analytics for each row
when (current_setting('chopsky_trace.recompute', true) is distinct from 'on')
execute function public.chopsky_on_scores_by_hand();
