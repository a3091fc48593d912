-- list conversation_columns --
-- What an application knows of a conversation as a whole.
s.id, s.session_id, s.tenant_id, s.user_id, s.title, s.state, s.is_archived, s.metadata,
s.created_at, s.updated_at, s.last_activity_at, s.completed_at, s.expires_at

-- begin --
-- One of this name, user and tenant that is there is the same conversation; what is given is added to it. One that has
-- expired and was not removed yet is taken up again: for as long as is given, else for as long as it had.
with there as (
    update public.conversation_sessions s
    set title = coalesce(%(title)s, s.title), metadata = s.metadata || coalesce(%(metadata)s::jsonb, '{}'),
        expires_at = coalesce(
            now() + make_interval(secs => %(ttl_s)s),
            case when s.expires_at <= now() then now() + greatest(s.expires_at - s.created_at, interval '1 hour') else s.expires_at end
        )
    where s.id = (
        select e.id from public.conversation_sessions e
        where e.session_id = %(session_id)s
            and e.user_id is not distinct from %(user_id)s and e.tenant_id is not distinct from %(tenant_id)s
        order by e.last_activity_at desc limit 1
    )
    returning s.id
), made as (
    insert into public.conversation_sessions as s (session_id, tenant_id, user_id, title, metadata, expires_at)
    select
        %(session_id)s, %(tenant_id)s, %(user_id)s, %(title)s, coalesce(%(metadata)s::jsonb, '{}'),
        now() + make_interval(secs => %(ttl_s)s)
    where not exists (select 1 from there)
    -- Somebody was faster.
    on conflict (session_key) do update set by_hand = true
    returning s.id
)
select id from there union all select id from made;

-- find --
-- An id before a name: a run that was traced under this id by another user must not stand in its way.
select coalesce(
    (select s.id from public.conversation_sessions s where s.id = %(id)s), public.conversation_session_id(%(name)s)
) as id;

-- named --
-- Nobody else's conversation of that name, not even where this user has none.
select s.id from public.conversation_sessions s
where s.session_id = %(session_id)s
    and s.user_id is not distinct from %(user_id)s and s.tenant_id is not distinct from %(tenant_id)s
order by s.last_activity_at desc limit 1;

-- conversation --
-- What an application knows of a conversation as a whole.
select @conversation_columns@
from public.conversation_sessions s
where s.id = %(id)s;

-- of_user --
-- A user's list of conversations: neither what was put away nor what has expired and waits for its removal.
select @conversation_columns@
from public.conversation_sessions s
where s.user_id = %(user_id)s and (%(tenant_id)s::text is null or s.tenant_id = %(tenant_id)s)
    and not s.is_archived and (s.expires_at is null or s.expires_at > now())
order by s.last_activity_at desc, s.id desc
limit %(limit)s;

-- add_messages --
-- The triggers bring them into their session, and together with what its runs told of them. None into one that has expired:
-- they would go with it.
insert into public.conversation_messages (
    id, body_id, session_key, session_id, tenant_id, user_id, role, content, parts, tool_calls, tool_call_id, name, is_internal,
    token_count, response_time_ms, cost, model, provider, metadata, position, created_at
)
select
    m.id, m.body_id, s.session_key, s.session_id, s.tenant_id, s.user_id, m.role, m.content, m.parts, m.tool_calls, m.tool_call_id,
    m.name, m.is_internal, m.token_count, m.response_time_ms, m.cost, m.model, m.provider, coalesce(m.metadata, '{}'), m.position,
    m.created_at
from json_to_recordset(%(messages)s::json) as m (
    id uuid, body_id uuid, role text, content text, parts jsonb, tool_calls jsonb, tool_call_id text, name text, is_internal boolean,
    token_count integer, response_time_ms numeric, cost numeric, model text, provider text, metadata jsonb, position integer,
    created_at timestamptz
)
join public.conversation_sessions s on s.id = %(id)s and (s.expires_at is null or s.expires_at > now())
order by m.position
returning 1;

-- messages --
-- The latest, the earliest of them first: what was said and answered, and whatever the application itself added.
select
    l.id, coalesce((l.said ->> 'id')::uuid, case when l.conversation_run_id is null then l.id end) as added_id, l.conversation_run_id,
    l.role, l.content, coalesce(l.said -> 'parts', l.parts) as parts, l.tool_calls, l.tool_call_id, coalesce(l.said ->> 'name', l.name) as name,
    l.model, l.provider, l.token_count, l.cost, l.response_time_ms,
    l.metadata || coalesce(l.said -> 'metadata', '{}') as metadata, l.created_at
from (
    select w.* from (
        (
            select (m.message).*, r.began
            from (
                select o.id, coalesce(o.started_at, o.created_at) as began
                from public.conversation_sessions s
                join public.conversation_runs o on o.session_key = s.session_key
                where s.id = %(id)s and not o.merged
            ) r
            cross join lateral (
                select i as message
                from public.conversation_messages i
                where i.conversation_run_id = r.id and (not i.is_internal or i.said is not null)
                order by i.sequence desc nulls first, i.id desc limit %(limit)s
            ) m
            order by r.began desc, r.id desc, (m.message).sequence desc nulls first, (m.message).id desc
            limit %(limit)s
        )
        union all
        (
            select m.*, m.created_at
            from public.conversation_sessions s
            join public.conversation_messages m on m.session_key = s.session_key and m.conversation_run_id is null
            where s.id = %(id)s
            order by m.created_at desc, m.position desc limit %(limit)s
        )
    ) w
    order by w.began desc, w.sequence desc nulls first, w.created_at desc, w.position desc, w.id desc limit %(limit)s
) l
order by l.began, l.sequence nulls last, l.created_at, l.position, l.id;

-- added --
-- What the application itself added and nothing else, in its order, as it was.
select
    coalesce((m.said ->> 'id')::uuid, m.id) as id, m.role, m.content, coalesce(m.said -> 'parts', case when m.said is null then m.parts end) as parts,
    m.tool_calls, m.tool_call_id, coalesce(m.said ->> 'name', m.name) as name, coalesce(m.said -> 'metadata', m.metadata) as metadata
from public.conversation_sessions s
join public.conversation_messages m on m.session_key = s.session_key and (m.conversation_run_id is null or m.said is not null)
where s.id = %(id)s
order by
    coalesce((m.said ->> 'created_at')::timestamptz, m.created_at), coalesce((m.said ->> 'position')::integer, m.position),
    coalesce((m.said ->> 'id')::uuid, m.id);

-- forget_rows --
-- What the application added and no run told of.
delete from public.conversation_messages m
using public.conversation_sessions s
where s.id = %(id)s and m.session_key = s.session_key and m.conversation_run_id is null;

-- forget_said --
-- What runs told of stays theirs.
update public.conversation_messages m
set said = null
from public.conversation_sessions s
where s.id = %(id)s and m.session_key = s.session_key and m.said is not null;

-- clear --
-- All that was said, whoever told of it; the conversation itself stays.
select public.clear_conversation_session(%(id)s) as removed;

-- extend --
-- From now on where it has expired; what never expires still never does.
update public.conversation_sessions s
set expires_at = greatest(s.expires_at, now()) + make_interval(secs => %(ttl_s)s)
where s.id = %(id)s and s.expires_at is not null
returning s.expires_at;

-- move --
-- Which moves are legal the database says.
update public.conversation_sessions s set state = %(state)s where s.id = %(id)s returning s.state;

-- stats --
-- Of the whole database. Messages as runs count them, and those of no run.
select
    (select count(*) from public.conversation_sessions) as total_conversations,
    (select coalesce(sum(r.total_messages), 0) from public.conversation_runs r where r.session_id is not null and not r.merged)
    + (select count(*) from public.conversation_messages m where m.conversation_run_id is null and m.session_key is not null and not m.is_internal)
    as total_messages,
    (select count(*) from public.conversation_sessions s where s.expires_at < now()) as expired_conversations;

-- can_clean_up --
-- Retention's own function is there from its migration on.
select to_regproc('public.cleanup_expired_conversations') is not null as there;

-- clean_up --
-- As retention does it, with its batches and holds.
select public.cleanup_expired_conversations() as removed;

-- remove_expired --
-- A conversation goes with its runs and messages, by its trigger.
with gone as (
    delete from public.conversation_sessions s where s.expires_at < now() and not s.legal_hold returning 1
)
select count(*) as removed from gone;
