-- list feedback_columns --
-- Of one opinion, what also a signed-in user may read.
f.id, f.about_id, f.conversation_run_id, f.message_id, f.user_id, f.key, f.thumbs, f.score, f.value, f.comment, f.created_at,
f.updated_at

-- own_target --
-- What a signed-in user may rate by an id: a message of theirs that they see, else a run of theirs.
select m.id as message_id, null::uuid as conversation_run_id
from public.conversation_messages m
where m.id = %(about)s and m.user_id = (select auth.jwt()) ->> 'sub' and m.role in ('user', 'assistant') and not m.is_internal
union all
select null, r.id
from public.conversation_runs r
where r.id = %(about)s and r.user_id = (select auth.jwt()) ->> 'sub'
order by message_id nulls last
limit 1

-- answered --
-- The message that an answer of a model call became: of a call that several told of, the one that is shown.
select m.id
from public.conversation_spans s
cross join lateral unnest(array[s.id, s.duplicate_of]) as named (id)
join public.conversation_spans c on c.id = named.id
join public.conversation_messages m on m.conversation_run_id = c.conversation_run_id and m.span_id = c.id
where s.id = %(about)s and m.role = 'assistant' and not m.is_history
order by m.is_internal, c.id <> s.id, m.position, m.id
offset %(answer)s limit 1

-- give_own --
-- A signed-in user's word on what is theirs; their latest on the same stands. Its owner, its place and its right to be are
-- found by the table's trigger.
insert into public.conversation_feedback as f (message_id, conversation_run_id, key, thumbs, score, value, comment)
values (%(message_id)s, %(conversation_run_id)s, %(key)s, %(thumbs)s, %(score)s, %(value)s::jsonb, %(comment)s)
on conflict (target_id, user_id, key) do update
set thumbs = excluded.thumbs, score = excluded.score, value = excluded.value, comment = excluded.comment
returning f.id

-- give --
-- Anybody's word on anything, stored yet or not; the latest of the same user on the same stands.
insert into public.conversation_feedback as f (about_id, answer, user_id, key, thumbs, score, value, comment, source)
values (%(about)s, %(answer)s, %(user_id)s, %(key)s, %(thumbs)s, %(score)s, %(value)s::jsonb, %(comment)s, %(source)s)
on conflict (target_id, user_id, key) do update
set thumbs = excluded.thumbs, score = excluded.score, value = excluded.value, comment = excluded.comment, source = excluded.source
returning f.id

-- given --
-- One, as it is stored.
select @feedback_columns@
from public.conversation_feedback f
where f.id = %(id)s

-- of_run --
-- What was said of a run and of what is in it, the latest first; what a signed-in user may read of it.
select
    @feedback_columns@, m.sequence as message_sequence
from public.conversation_feedback f
left join public.conversation_messages m on m.id = f.message_id
where f.conversation_run_id = %(run_id)s
order by f.updated_at desc, f.id
limit %(limit)s

-- of_conversation --
-- One page of what was said of a session's runs and messages, the latest first.
select l.*
from (
    select @feedback_columns@
    from public.conversation_runs r
    join public.conversation_feedback f on f.conversation_run_id = r.id
    where r.session_key = %(session_key)s
    union all
    select @feedback_columns@
    from public.conversation_messages m
    join public.conversation_feedback f on f.message_id = m.id
    where m.session_key = %(session_key)s and m.conversation_run_id is null
) l
where %(after)s::uuid is null or (l.updated_at, l.id) < (%(after_at)s::timestamptz, %(after)s::uuid)
order by l.updated_at desc, l.id desc
limit %(limit)s

-- details --
-- What a signed-in user may not read of it.
select f.id, f.span_id, f.source, f.metadata
from public.conversation_feedback f
where f.id = any (%(ids)s::uuid[])

-- take_back --
-- Removes one; of a signed-in user's only their own, as row level security has it.
delete from public.conversation_feedback f where f.id = %(id)s returning f.id
