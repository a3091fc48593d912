-- What people (and judges) say of a run, a span or a message. It may come before what it is about, and follows it: the
-- columns that name its run, span, message and owner are derived again whenever one of them arrives, moves or goes.
create table public.conversation_feedback (
    id uuid primary key default gen_random_uuid(),
    about_id uuid not null,
    answer integer check (answer >= 0),
    conversation_run_id uuid,
    span_id uuid,
    message_id uuid,
    target_id uuid not null generated always as (
        coalesce(message_id, case when answer > 0 then md5(about_id::text || '/' || answer::text)::uuid else about_id end)
    ) stored,
    session_id text,
    tenant_id text,
    user_id text,
    given_by text,
    key text not null default 'user_satisfaction',
    thumbs text check (thumbs in ('up', 'down')),
    score numeric check (score between -1e15 and 1e15),
    value jsonb,
    comment text,
    source text not null default 'app',
    metadata jsonb not null default '{}',
    is_internal boolean not null default false,
    is_pending boolean not null default false,
    version text collate "C" not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint conversation_feedback_satisfaction check (key <> 'user_satisfaction' or score between 1 and 5),
    -- One per target, user and key: on_conflict=target_id,user_id,key replaces it.
    constraint conversation_feedback_once unique nulls not distinct (target_id, user_id, key)
);
comment on table public.conversation_feedback is 'Feedback on a run, a span or a message: one per target, user and key, the last one stands.';
comment on column public.conversation_feedback.about_id is 'What was named: the id of a run, a span or a message, stored yet or not. Set from message_id, span_id or conversation_run_id.';
comment on column public.conversation_feedback.answer is 'Which answer, from 0, of the model call that about_id names; NULL: about_id itself is meant.';
comment on column public.conversation_feedback.target_id is 'What it is about: the message, else what was named. Unique with user_id and key.';
comment on column public.conversation_feedback.user_id is 'Who gave it: as said, else whose conversation it is.';
comment on column public.conversation_feedback.given_by is 'The user_id that was said with it; NULL: none was.';
comment on column public.conversation_feedback.key is 'What is rated. user_satisfaction (score 1 to 5, or thumbs) makes the run''s user_satisfaction_score; others are free.';
comment on column public.conversation_feedback.source is 'app: by the tables or their API. api: by a tracer. Or what was said, for example model or langsmith.';
comment on column public.conversation_feedback.is_internal is 'True if it is about what an end user does not see: a span, a system prompt, tool traffic.';
comment on column public.conversation_feedback.is_pending is 'True while what it is about is not stored.';
comment on column public.conversation_feedback.version is 'When it was given, sortable: of two on the same the later one stands.';

create index idx_conversation_feedback_conversation_run_id on public.conversation_feedback (conversation_run_id);
create index idx_conversation_feedback_message_id on public.conversation_feedback (message_id) where message_id is not null;
create index idx_conversation_feedback_user_id_created_at on public.conversation_feedback (user_id, created_at desc);
create index idx_conversation_feedback_tenant_id_created_at on public.conversation_feedback (tenant_id, created_at desc) where tenant_id is not null;
create index idx_conversation_feedback_pending on public.conversation_feedback (about_id) where is_pending;

revoke all on table public.conversation_feedback from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.conversation_feedback to service_role;
grant select (
    id, about_id, target_id, conversation_run_id, message_id, session_id, tenant_id, user_id, key, thumbs, score, value, comment, created_at, updated_at
) on table public.conversation_feedback to authenticated;
-- An upsert through the API sets every column that it names.
grant insert (conversation_run_id, message_id, user_id, key, thumbs, score, value, comment) on table public.conversation_feedback to authenticated;
grant update (conversation_run_id, message_id, user_id, key, thumbs, score, value, comment) on table public.conversation_feedback to authenticated;
grant delete on table public.conversation_feedback to authenticated;

alter table public.conversation_feedback enable row level security;
create policy conversation_feedback_read on public.conversation_feedback for select to authenticated using (
    not is_internal and ((
        user_id = (select (select auth.jwt()) ->> 'sub')
        and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
    ) or tenant_id = (select case when public.chopsky_reads_tenant() then public.chopsky_tenant_id() end))
);
-- That its target is the user's own the trigger below has proved, once, when it was given: it fills these columns.
create policy conversation_feedback_give on public.conversation_feedback for insert to authenticated with check (
    not is_internal and user_id = (select (select auth.jwt()) ->> 'sub')
    and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
);
create policy conversation_feedback_change on public.conversation_feedback for update to authenticated
using (
    not is_internal and user_id = (select (select auth.jwt()) ->> 'sub')
    and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
)
with check (
    not is_internal and user_id = (select (select auth.jwt()) ->> 'sub')
    and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
);
create policy conversation_feedback_take_back on public.conversation_feedback for delete to authenticated using (
    not is_internal and user_id = (select (select auth.jwt()) ->> 'sub')
    and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
);
create policy conversation_feedback_service on public.conversation_feedback for all to service_role using (true) with check (true);

create view public.message_feedback_summary with (security_invoker = true) as
select
    f.message_id,
    f.conversation_run_id,
    count(*) as feedback_count,
    count(*) filter (where f.thumbs = 'up') as thumbs_up,
    count(*) filter (where f.thumbs = 'down') as thumbs_down,
    round(avg(s.score), 2) as average_score,
    count(*) filter (where f.comment <> '') as comments,
    max(f.updated_at) as last_feedback_at
from public.conversation_feedback f
cross join lateral (select case when f.key = 'user_satisfaction' then f.score end as score) s
where f.message_id is not null
group by f.message_id, f.conversation_run_id;
comment on view public.message_feedback_summary is 'Per message: thumbs, mean satisfaction score (1 to 5), comments; of the feedback that the reader may see.';
revoke all on table public.message_feedback_summary from public, anon, authenticated, service_role;
grant select on table public.message_feedback_summary to authenticated, service_role;

create function public.chopsky_feedback_version(moment timestamptz) returns text
language sql immutable set search_path = ''
as $$
    select lpad((extract(epoch from moment) * 1000000)::bigint::text, 17, '0') || '000-hand'
$$;
comment on function public.chopsky_feedback_version(timestamptz) is 'Of feedback given by hand: nanoseconds since 1970 in 20 digits, as records have it.';
revoke all on function public.chopsky_feedback_version(timestamptz) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_feedback_version(timestamptz) to authenticated, service_role;

-- Before a row given by hand is checked and stored. It runs with the caller's rights: what row level security hides from
-- them they cannot rate, and what they only may read (a tenant's admin) is not theirs to rate either.
create function public.chopsky_on_feedback_given() returns trigger
language plpgsql set search_path = ''
as $$
declare
    -- An end user: neither the service nor who is above row level security.
    is_bound constant boolean := row_security_active('public.conversation_feedback')
        and not pg_has_role(current_user, 'service_role', 'usage');
    target record;
begin
    if not is_bound and current_setting('chopsky_trace.recompute', true) = 'on' then
        return new;
    end if;
    new.version := public.chopsky_feedback_version(clock_timestamp());
    if tg_op = 'UPDATE' then
        if coalesce(new.message_id, new.conversation_run_id) is distinct from coalesce(old.message_id, old.conversation_run_id) then
            raise exception 'Feedback stays with what it is about'
                using errcode = 'check_violation', hint = 'Delete it, and give another.';
        end if;
        -- An upsert that names the message only says nothing of its run.
        new.message_id := old.message_id;
        new.conversation_run_id := old.conversation_run_id;
        new.updated_at := now();
        if new.user_id is distinct from old.user_id then
            new.given_by := new.user_id;
        end if;
        if is_bound then
            new.source := 'app';
        end if;
        return new;
    end if;

    new.given_by := coalesce(new.given_by, new.user_id);
    new.about_id := coalesce(new.about_id, new.message_id, new.span_id, new.conversation_run_id);
    if new.about_id is null then
        raise exception 'Feedback is about something: a message_id or a conversation_run_id'
            using errcode = 'not_null_violation';
    end if;
    select m.id, m.conversation_run_id, m.session_id, m.tenant_id, m.user_id, m.is_internal or m.role not in ('user', 'assistant') as is_internal
    into target
    from public.conversation_messages m where m.id = new.about_id;
    if found then
        new.message_id := case when new.answer is null then target.id end;
    else
        select null::uuid, r.id as conversation_run_id, r.session_id, r.tenant_id, r.user_id, false as is_internal
        into target
        from public.conversation_runs r where r.id = new.about_id;
    end if;
    if found then
        new.conversation_run_id := target.conversation_run_id;
        new.session_id := target.session_id;
        new.tenant_id := target.tenant_id;
        new.user_id := coalesce(new.given_by, target.user_id);
        new.is_internal := target.is_internal;
    end if;
    if is_bound and (not found or (target.user_id = (auth.jwt() ->> 'sub')) is not true) then
        raise exception 'There is no such message or conversation run of yours' using errcode = 'insufficient_privilege';
    end if;
    -- Without the target nobody knows yet; the trigger after it looks once more, where nobody is in between.
    new.is_pending := not found;
    return new;
end
$$;
revoke all on function public.chopsky_on_feedback_given() from public, anon, authenticated, service_role;
create trigger conversation_feedback_given before insert or update on public.conversation_feedback
    for each row execute function public.chopsky_on_feedback_given();

-- What these are about, as it is stored now. Where that is nowhere, the row's own word stays.
create function public.chopsky_feedback_targets(feedback_ids uuid[])
returns table (
    id uuid, conversation_run_id uuid, span_id uuid, message_id uuid, session_id text, tenant_id text, user_id text,
    is_internal boolean, is_pending boolean
)
language sql stable set search_path = ''
as $$
    select
        f.id,
        case when t.is_known then t.conversation_run_id else f.conversation_run_id end,
        case when t.is_known then t.span_id else f.span_id end,
        t.message_id,
        case when t.is_known then t.session_id else f.session_id end,
        case when t.is_known then t.tenant_id else f.tenant_id end,
        coalesce(f.given_by, case when t.is_known then t.user_id else f.user_id end),
        case when t.is_known then t.is_internal else f.is_internal end,
        not t.is_known or (f.answer is not null and t.message_id is null)
    from public.conversation_feedback f
    left join public.conversation_messages named on named.id = f.about_id and f.answer is null
    left join public.conversation_runs run on run.id = f.about_id and f.answer is null
    left join public.conversation_spans span
        -- A message that went (the same answer, told by two) leaves its call.
        on span.id = case when named.id is null and run.id is null and f.message_id is not null and f.answer is null then f.span_id else f.about_id end
        and named.id is null and run.id is null
    left join lateral (
        -- Of a call that several told of, the answer that is shown.
        select m.*
        from public.conversation_spans c
        join public.conversation_messages m on m.conversation_run_id = c.conversation_run_id and m.span_id = c.id
        where c.id in (span.id, span.duplicate_of) and (f.answer is not null or f.message_id is not null)
            and m.role = 'assistant' and not m.is_history
        order by m.is_internal, c.id <> span.id, m.position, m.id
        offset coalesce(f.answer, 0) limit 1
    ) answered on true
    left join public.conversation_runs above on above.id = span.conversation_run_id
    cross join lateral (
        select
            num_nonnulls(named.id, run.id, span.id) > 0 as is_known,
            case
                when named.id is not null then named.conversation_run_id when run.id is not null then run.id
                when answered.id is not null then answered.conversation_run_id else span.conversation_run_id
            end as conversation_run_id,
            coalesce(named.span_id, span.id) as span_id,
            coalesce(named.id, answered.id) as message_id,
            case when named.id is not null then named.session_id when run.id is not null then run.session_id
                when answered.id is not null then answered.session_id else above.session_id end as session_id,
            case when named.id is not null then named.tenant_id when run.id is not null then run.tenant_id
                when answered.id is not null then answered.tenant_id else above.tenant_id end as tenant_id,
            case when named.id is not null then named.user_id when run.id is not null then run.user_id
                when answered.id is not null then answered.user_id else above.user_id end as user_id,
            case
                when named.id is not null then named.is_internal or named.role not in ('user', 'assistant')
                when run.id is not null then false when answered.id is not null then answered.is_internal else true
            end as is_internal
    ) t
    where f.id = any (feedback_ids)
$$;
revoke all on function public.chopsky_feedback_targets(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_feedback_targets(uuid[]) to service_role;

-- Who changes feedback by hand has its row and wants its run, to rate it; who asks for this has the run.
create function public.chopsky_lock_feedback(feedback_ids uuid[]) returns void
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    began constant timestamptz := clock_timestamp();
    wanted record;
begin
    -- One after the other, in order: who tries for the same waits with nothing that the first still wants.
    for wanted in
        select f.id as key from public.conversation_feedback f where f.id = any (feedback_ids) order by f.id
    loop
        loop
            perform 1 from public.conversation_feedback f where f.id = wanted.key for update skip locked;
            exit when found or not exists (select 1 from public.conversation_feedback f where f.id = wanted.key);
            perform public.chopsky_give_way(began, public.chopsky_patience('6 seconds'), 'feedback');
        end loop;
    end loop;
end
$$;
comment on function public.chopsky_lock_feedback(uuid[]) is 'Locks this feedback for who holds its runs already.';
revoke all on function public.chopsky_lock_feedback(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_lock_feedback(uuid[]) to service_role;

-- Derives these again, and where two turn out to say the same of the same, keeps the later. A row that somebody else is
-- changing is left to them: they do this too, when they have the lock on its run. Returns the runs to rate again.
create function public.chopsky_resolve_feedback(feedback_ids uuid[]) returns uuid[]
language plpgsql set search_path = ''
as $$
declare
    known public.conversation_feedback;
    other public.conversation_feedback;
    target record;
    target_key uuid;
    touched uuid[] := '{}';
begin
    for target in
        select t.*
        from public.chopsky_feedback_targets(feedback_ids) t
        join public.conversation_feedback f on f.id = t.id
        where (f.conversation_run_id, f.span_id, f.message_id, f.session_id, f.tenant_id, f.user_id, f.is_internal, f.is_pending)
            is distinct from (t.conversation_run_id, t.span_id, t.message_id, t.session_id, t.tenant_id, t.user_id, t.is_internal, t.is_pending)
        order by t.id
    loop
        select f.* into known from public.conversation_feedback f where f.id = target.id for update skip locked;
        continue when not found;
        if known.key = 'user_satisfaction' then
            touched := touched || known.conversation_run_id || target.conversation_run_id;
        end if;
        target_key := coalesce(
            target.message_id,
            case when known.answer > 0 then md5(known.about_id::text || '/' || known.answer::text)::uuid else known.about_id end
        );
        perform public.chopsky_lock_feedback(array(
            select f.id from public.conversation_feedback f
            where f.target_id = target_key and f.key = known.key and f.user_id is not distinct from target.user_id and f.id <> known.id
        ));
        select f.* into other
        from public.conversation_feedback f
        where f.target_id = target_key and f.key = known.key and f.user_id is not distinct from target.user_id and f.id <> known.id;
        if found and (other.version, other.id) > (known.version, known.id) then
            delete from public.conversation_feedback f where f.id = known.id;
            update public.conversation_feedback f set created_at = least(f.created_at, known.created_at) where f.id = other.id;
            continue;
        elsif found then
            delete from public.conversation_feedback f where f.id = other.id;
        end if;
        update public.conversation_feedback f
        set conversation_run_id = target.conversation_run_id, span_id = target.span_id, message_id = target.message_id,
            session_id = target.session_id, tenant_id = target.tenant_id, user_id = target.user_id,
            is_internal = target.is_internal, is_pending = target.is_pending,
            created_at = least(f.created_at, other.created_at)
        where f.id = known.id;
    end loop;
    return array(select distinct u from unnest(touched) u where u is not null);
end
$$;
revoke all on function public.chopsky_resolve_feedback(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_resolve_feedback(uuid[]) to service_role;

-- A run's satisfaction: the mean of its scores from 1 to 5; thumbs without a score are 5 or 1; NULL without any.
create function public.chopsky_rate_runs(run_ids uuid[]) returns void
language plpgsql set search_path = ''
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    rated uuid[];
begin
    if coalesce(cardinality(run_ids), 0) = 0 then
        return;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    -- With the lock, whatever others gave before is seen. By hand one waits in line: nobody who has a run does for feedback.
    if public.chopsky_patience(null) is null then
        perform 1 from public.conversation_runs r where r.id = any (run_ids) order by r.id for no key update;
    else
        perform public.chopsky_lock_runs(run_ids, '2 seconds');
    end if;
    with changed as (
        update public.conversation_runs r
        set user_satisfaction_score = s.score, updated_at = now()
        from (
            select i.id, round(avg(coalesce(f.score, case f.thumbs when 'up' then 5 when 'down' then 1 end)), 2) as score
            from unnest(run_ids) as i (id)
            left join public.conversation_feedback f on f.conversation_run_id = i.id and f.key = 'user_satisfaction'
            group by i.id
        ) s
        where r.id = s.id and r.user_satisfaction_score is distinct from s.score
        returning r.id
    )
    select array_agg(c.id) into rated from changed c;
    if rated is not null then
        -- The quality score follows.
        perform public.chopsky_recompute(rated, '{}');
    end if;
    perform set_config('chopsky_trace.recompute', was, true);
end
$$;
revoke all on function public.chopsky_rate_runs(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_rate_runs(uuid[]) to service_role;

-- Derives new feedback, and rates its runs. Who finds no target waits for all who may be bringing it, and looks again;
-- who brings rows (chopsky_settle_feedback) has said so before looking for feedback: one of the two sees the other.
create function public.chopsky_place_feedback(feedback_ids uuid[]) returns void
language plpgsql set search_path = ''
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    touched uuid[];
begin
    perform set_config('chopsky_trace.recompute', 'on', true);
    touched := public.chopsky_resolve_feedback(feedback_ids) || array(
        select f.conversation_run_id from public.conversation_feedback f
        where f.id = any (feedback_ids) and f.key = 'user_satisfaction' and f.conversation_run_id is not null
    );
    perform public.chopsky_rate_runs(touched);
    if exists (select 1 from public.conversation_feedback f where f.id = any (feedback_ids) and f.is_pending) then
        perform pg_advisory_xact_lock(hashtextextended('chopsky_trace.feedback', 0));
    end if;
    -- Also of what was there: its message may have come while we waited for the lock on its run. A run that somebody is
    -- writing to they rate themselves: they are waiting to look for feedback until we have done.
    touched := public.chopsky_resolve_feedback(feedback_ids);
    perform public.chopsky_rate_runs(array(
        select r.id from public.conversation_runs r where r.id = any (touched) order by r.id for no key update skip locked
    ));
    perform set_config('chopsky_trace.recompute', was, true);
end
$$;
revoke all on function public.chopsky_place_feedback(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_place_feedback(uuid[]) to service_role;

-- Records of feedback: {"id", "about_id", "answer", "given_by", "key", "thumbs", "score", "value", "comment", "source",
-- "metadata", "version", "created_at", "updated_at"}. Of two on the same target, user and key the later version stands.
create function public.chopsky_write_feedback(feedback json) returns void
language plpgsql set search_path = ''
as $$
declare
    given record;
    known uuid;
    written uuid[] := '{}';
    patience constant text := current_setting('lock_timeout');
begin
    -- Who gives the same by hand now has its row, and waits for runs that we have.
    perform set_config('lock_timeout', '50ms', true);
    for given in
        select
            g.id, g.about_id, g.answer, g.given_by, coalesce(g.key, 'user_satisfaction') as key,
            case when g.thumbs in ('up', 'down') then g.thumbs end as thumbs, s.score,
            -- What is no score of its kind is kept as what it is.
            coalesce(g.value, case when s.score is null then to_jsonb(g.score) end) as value,
            g.comment, coalesce(g.source, 'api') as source, coalesce(g.metadata, '{}') as metadata,
            coalesce(g.version, public.chopsky_feedback_version(coalesce(g.created_at, now()))) as version,
            coalesce(g.created_at, now()) as created_at, coalesce(g.updated_at, g.created_at, now()) as updated_at
        from json_to_recordset(feedback) as g (
            id uuid, about_id uuid, answer integer, given_by text, key text, thumbs text, score numeric, value jsonb,
            comment text, source text, metadata jsonb, version text, created_at timestamptz, updated_at timestamptz
        )
        cross join lateral (
            select case when g.score between -1e15 and 1e15 and (
                coalesce(g.key, 'user_satisfaction') <> 'user_satisfaction' or g.score between 1 and 5
            ) then g.score end as score
        ) s
        order by g.id
    loop
        loop
            -- Not yet derived, its target is what was named, and its user who was said.
            select f.id into known
            from public.conversation_feedback f
            where f.id = given.id or (
                f.target_id = case when given.answer > 0 then md5(given.about_id::text || '/' || given.answer::text)::uuid else given.about_id end
                and f.key = given.key and f.user_id is not distinct from given.given_by
            )
            order by f.id <> given.id limit 1;
            if found then
                perform public.chopsky_lock_feedback(array[known]);
                -- It went meanwhile.
                continue when not exists (select 1 from public.conversation_feedback f where f.id = known);
                update public.conversation_feedback f
                set thumbs = given.thumbs, score = given.score, value = given.value, comment = given.comment,
                    source = given.source, metadata = given.metadata, version = given.version, updated_at = given.updated_at
                where f.id = known and f.version < given.version;
                update public.conversation_feedback f set created_at = given.created_at
                where f.id = known and f.created_at > given.created_at;
                written := written || known;
                exit;
            end if;
            insert into public.conversation_feedback (
                id, about_id, answer, user_id, given_by, key, thumbs, score, value, comment, source, metadata, version,
                is_pending, created_at, updated_at
            )
            values (
                coalesce(given.id, gen_random_uuid()), given.about_id, given.answer, given.given_by, given.given_by, given.key,
                given.thumbs, given.score, given.value, given.comment, given.source, given.metadata, given.version,
                true, given.created_at, given.updated_at
            )
            on conflict do nothing
            returning id into known;
            if found then
                written := written || known;
                exit;
            end if;
            -- Somebody else was faster: theirs is there now.
        end loop;
    end loop;
    perform set_config('lock_timeout', patience, true);
    perform public.chopsky_place_feedback(written);
end
$$;
comment on function public.chopsky_write_feedback(json) is 'Writes records of feedback, for runs that are stored or not yet; repeating it changes nothing.';
revoke all on function public.chopsky_write_feedback(json) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_write_feedback(json) to service_role;

-- The feedback on these runs, which the caller has locked: some of it may have waited for them, or follow them elsewhere.
-- The last thing in a transaction that brings rows: who waits for its lock waits for nothing of ours.
create function public.chopsky_settle_feedback(run_ids uuid[]) returns void
language plpgsql set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    found_ids uuid[];
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('chopsky_trace.feedback', 0));
    found_ids := array(select f.id from public.conversation_feedback f where f.conversation_run_id = any (run_ids));
    -- Nearly always there is none. Where there is much (of runs that never come), it is looked up row by row, never read through.
    if exists (select 1 from public.conversation_feedback f where f.is_pending) then
        found_ids := found_ids || array(
            select f.id from public.conversation_feedback f where f.is_pending and f.about_id = any (run_ids)
            union all
            select l.id
            from public.conversation_spans s
            cross join lateral (
                select f.id from public.conversation_feedback f where f.about_id = s.id and f.is_pending offset 0
            ) l
            where s.conversation_run_id = any (run_ids)
            union all
            select l.id
            from public.conversation_messages m
            cross join lateral (
                select f.id from public.conversation_feedback f where f.about_id = m.id and f.is_pending offset 0
            ) l
            where m.conversation_run_id = any (run_ids)
        );
    end if;
    if found_ids <> '{}' then
        perform set_config('chopsky_trace.recompute', 'on', true);
        perform public.chopsky_rate_runs(public.chopsky_resolve_feedback(found_ids));
        perform set_config('chopsky_trace.recompute', was, true);
    end if;
end
$$;
comment on function public.chopsky_settle_feedback(uuid[]) is 'Derives the feedback on these runs again, and what waited for them.';
revoke all on function public.chopsky_settle_feedback(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_settle_feedback(uuid[]) to service_role;

-- After feedback by hand. With its owner's rights, for a user may rate their run but not write to it; nobody may call it.
create function public.chopsky_on_feedback() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
    if current_setting('chopsky_trace.recompute', true) = 'on' then
        return null;
    end if;
    if tg_op <> 'INSERT' then
        perform public.chopsky_rate_runs(array(
            select distinct p.conversation_run_id from previous p
            where p.key = 'user_satisfaction' and p.conversation_run_id is not null
        ));
    end if;
    if tg_op <> 'DELETE' then
        perform public.chopsky_place_feedback(array(select c.id from changed c));
    end if;
    if tg_op = 'INSERT' then
        if exists (
            select 1 from changed c join public.conversation_feedback f on f.id = c.id where f.is_pending and not c.is_pending
        ) then
            raise exception 'What the feedback is about has just been removed' using errcode = 'foreign_key_violation';
        end if;
    elsif tg_op = 'UPDATE' then
        delete from public.conversation_feedback f
        using changed c where f.id = c.id and f.is_pending and not c.is_pending;
    end if;
    return null;
end
$$;
revoke all on function public.chopsky_on_feedback() from public, anon, authenticated, service_role;
create trigger conversation_feedback_inserted after insert on public.conversation_feedback
    referencing new table as changed for each statement execute function public.chopsky_on_feedback();
create trigger conversation_feedback_updated after update on public.conversation_feedback
    referencing old table as previous new table as changed for each statement execute function public.chopsky_on_feedback();
create trigger conversation_feedback_deleted after delete on public.conversation_feedback
    referencing old table as previous for each statement execute function public.chopsky_on_feedback();

-- Runs written by hand: feedback may have waited for them, and goes where they go.
create function public.chopsky_on_run_of_feedback() returns trigger
language plpgsql set search_path = ''
as $$
begin
    if tg_op = 'UPDATE' then
        if (old.session_id, old.tenant_id, old.user_id) is not distinct from (new.session_id, new.tenant_id, new.user_id) then
            return null;
        end if;
    end if;
    perform public.chopsky_settle_feedback(array[new.id]);
    return null;
end
$$;
revoke all on function public.chopsky_on_run_of_feedback() from public, anon, authenticated, service_role;
create trigger conversation_runs_of_feedback_inserted after insert on public.conversation_runs for each row
    when (current_setting('chopsky_trace.recompute', true) is distinct from 'on')
    execute function public.chopsky_on_run_of_feedback();
create trigger conversation_runs_of_feedback_moved after update on public.conversation_runs for each row
    when (current_setting('chopsky_trace.recompute', true) is distinct from 'on')
    execute function public.chopsky_on_run_of_feedback();

-- Feedback goes with its run, unless what it is about is in another run now. Whoever may delete the run may do so with all of it.
create function public.chopsky_on_run_with_feedback_deleted() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
    gone uuid[];
    found_ids uuid[];
begin
    gone := array(select d.id from gone_runs d);
    found_ids := array(select f.id from public.conversation_feedback f where f.conversation_run_id = any (gone) order by f.id);
    if found_ids = '{}' then
        return null;
    end if;
    perform set_config('chopsky_trace.recompute', 'on', true);
    perform public.chopsky_rate_runs(public.chopsky_resolve_feedback(found_ids));
    -- What somebody is changing now they remove themselves (chopsky_on_feedback): they wait for a run that is gone then.
    delete from public.conversation_feedback f where f.id in (
        select o.id from public.conversation_feedback o
        where o.id = any (found_ids) and o.conversation_run_id = any (gone) order by o.id for update skip locked
    );
    perform set_config('chopsky_trace.recompute', was, true);
    return null;
end
$$;
revoke all on function public.chopsky_on_run_with_feedback_deleted() from public, anon, authenticated, service_role;
create trigger conversation_runs_with_feedback_deleted after delete on public.conversation_runs
    referencing old table as gone_runs for each statement execute function public.chopsky_on_run_with_feedback_deleted();

-- Messages of no run: what was said of one goes with it, and follows its session.
create function public.chopsky_on_message_with_feedback_deleted() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
    delete from public.conversation_feedback f
    where f.conversation_run_id is null and f.message_id in (select d.id from gone_messages d where d.conversation_run_id is null);
    return null;
end
$$;
revoke all on function public.chopsky_on_message_with_feedback_deleted() from public, anon, authenticated, service_role;
create trigger conversation_messages_with_feedback_deleted after delete on public.conversation_messages
    referencing old table as gone_messages for each statement execute function public.chopsky_on_message_with_feedback_deleted();

create function public.chopsky_on_session_of_feedback() returns trigger
language plpgsql set search_path = ''
as $$
declare
    was text := coalesce(nullif(current_setting('chopsky_trace.recompute', true), ''), 'off');
begin
    perform set_config('chopsky_trace.recompute', 'on', true);
    perform public.chopsky_resolve_feedback(array(
        select f.id
        from public.conversation_messages m
        join public.conversation_feedback f on f.message_id = m.id
        where m.session_key = new.session_key and m.conversation_run_id is null
    ));
    perform set_config('chopsky_trace.recompute', was, true);
    return null;
end
$$;
revoke all on function public.chopsky_on_session_of_feedback() from public, anon, authenticated, service_role;
create trigger conversation_sessions_of_feedback_moved after update on public.conversation_sessions for each row
    when (old.session_key <> new.session_key)
    execute function public.chopsky_on_session_of_feedback();

-- What a thumbs button calls: rates one's own message; again, and it replaces what was said before.
create function public.rate_message(
    message_id uuid, thumbs text default null, score numeric default null, comment text default null, key text default 'user_satisfaction'
) returns uuid
language sql set search_path = ''
as $$
    insert into public.conversation_feedback as f (message_id, thumbs, score, comment, key)
    values (rate_message.message_id, rate_message.thumbs, rate_message.score, rate_message.comment, rate_message.key)
    on conflict (target_id, user_id, key) do update
    set thumbs = excluded.thumbs, score = excluded.score, comment = excluded.comment
    returning f.id
$$;
comment on function public.rate_message(uuid, text, numeric, text, text) is 'Thumbs (up, down), a score and a comment on a message of one''s own; returns the feedback''s id. Said again, it replaces what was said before.';
revoke all on function public.rate_message(uuid, text, numeric, text, text) from public, anon, authenticated, service_role;
grant execute on function public.rate_message(uuid, text, numeric, text, text) to authenticated, service_role;
